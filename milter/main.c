/*
 * relaypoold: its whole life on one page. Reads the configuration, opens what needs root, gives root up, runs the loop,
 * reloads on SIGHUP, ends on SIGTERM or SIGINT. Knows the rooms by their doors only, and no mail.
 */
#include <config.h>

#include <errno.h>
#include <event2/event.h>
#include <getopt.h>
#include <inttypes.h>
#include <libgen.h>
#include <openssl/crypto.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "admin/control.h"
#include "admin/flush.h"
#include "admin/scrape.h"
#include "base/conf.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/passed.h"
#include "base/process.h"
#include "base/spool.h"
#include "base/watchdog.h"
#include "ingest/listener.h"
#include "observe/journeys.h"
#include "observe/latency.h"
#include "observe/milter.h"
#include "observe/outcome.h"
#include "observe/stall.h"
#include "observe/stats.h"
#include "relay/governor.h"
#include "relay/route.h"

#define DEFAULT_CONF SYSCONFDIR "/relaypool/relaypool.conf"
#define DRAIN_LIMIT (20 * USEC_PER_SEC) /* for what the MTA has begun to hand over when we are told to stop */
#define CLOSE_LIMIT (10 * USEC_PER_SEC) /* then, for what is being sent */
#define ABORT_LIMIT USEC_PER_SEC        /* then, to write the last verdicts to the MTA */
#define STOP_INTERVAL (20 * USEC_PER_MSEC)
#define LOG_LIMIT USEC_PER_SEC /* for the logger to take the last lines */
#define ERROR_SIZE CONF_ERROR_SIZE
#define EXIT_USAGE 2

enum life {
	LIFE_RUNNING = 0,
	LIFE_DRAINING, /* no new sessions; what the MTA has begun to hand over goes to the relays as ever */
	LIFE_CLOSING,  /* what still waits is deferred; what is being sent runs to its end */
	LIFE_ABORTED   /* the limit passed or a second signal came: what was left got its verdicts from here */
};

/* The daemon. Loop thread only. */
static struct {
	const char *path; /* of the configuration */
	bool foreground, verbose;
	struct process_user user;
	bool unclean; /* the last run did not end properly */
	struct tag_key key;

	struct conf *conf;  /* the running configuration */
	struct conf *began; /* what the keys that wait for a restart still come from */
	int64_t loaded;
	usec_t started;
	struct router *router;
	struct listener *listener;
	struct control *control;
	struct scrape *scrape;
	bool milter_lost;
	struct event *hangup, *terminate, *interrupt;

	enum life life;
	bool relays_done;    /* nothing runs at a relay any more, and all connections are gone */
	bool cut_off;        /* … only since we have closed our ends */
	usec_t limit;        /* of the present stage of the end */
	struct timer ending; /* looks whether the end has come */
} self;

/* ---- reload ---- */

static bool same_text(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

/* Keys whose new value waits for a restart. */
static void list_restart_keys(const struct conf *old, const struct conf *new, char text[CONF_ERROR_SIZE])
{
	const struct {
		const char *key;
		bool changed;
	} keys[] = {
		{"milter", !endpoint_equal(&old->milter, &new->milter)},
		{"control", !endpoint_equal(&old->control, &new->control)},
		{"socket-mode of milter and control", old->socket_mode != new->socket_mode},
		{"socket-group of milter and control", !same_text(old->socket_group, new->socket_group)},
		{"user", !same_text(old->user, new->user)},
		{"spool-directory", !same_text(old->spool_directory, new->spool_directory)},
	};
	size_t length = 0;
	text[0] = '\0';
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		if (keys[i].changed)
			length += (size_t)snprintf(text + length, CONF_ERROR_SIZE - length, "%s%s",
						   length > 0 ? ", " : "needs a restart to take effect: ", keys[i].key);
}

/* What the running configuration has that is likely a mistake. */
static void warn(void)
{
	if (self.conf->warning)
		log_warning("configuration: %s", self.conf->warning);
}

/* Every socket that the new snapshot asks for, or none. */
static bool reload_sockets(struct conf *conf, char why[NET_ERROR_SIZE])
{
	bool done = scrape_prepare(self.scrape, conf, why) && listener_reload(self.listener, conf, why);
	scrape_settle(self.scrape, done);
	return done;
}

static bool refuse_reload(const char *why)
{
	log_error("reload: the running configuration stays: %s", why);
	return false;
}

/* Loads the file again; on failure the running configuration stays, whole. */
static bool load_again(char text[CONF_ERROR_SIZE])
{
	char why[NET_ERROR_SIZE];
	struct conf *conf = conf_load(self.path, text);
	if (conf && !reload_sockets(conf, why)) {
		snprintf(text, CONF_ERROR_SIZE, "%s", why);
		conf_unref(&conf);
	}
	if (!conf)
		return refuse_reload(text);
	router_reload(self.router, conf);
	milter_set_conf(conf);
	stall_configure(conf);
	outcome_configure(conf);
	spool_configure(conf->memory_limit, self.began->spool_directory);
	list_restart_keys(self.began, conf, text);
	conf_unref(&self.conf);
	self.conf = conf;
	self.loaded = clock_wall();
	log_notice("reload: path=%s, relays=%zu, routes=%zu", conf->path, conf->relay_count, conf->route_count);
	if (*text)
		log_warning("reload: %s", text);
	warn();
	if (!*text && conf->warning)
		snprintf(text, CONF_ERROR_SIZE, "warning: %s", conf->warning);
	return true;
}

static bool reload(char text[CONF_ERROR_SIZE])
{
	char notice[64];
	if (self.life != LIFE_RUNNING) {
		snprintf(text, CONF_ERROR_SIZE, "relaypoold is stopping");
		return refuse_reload(text);
	}
	snprintf(notice, sizeof(notice), "RELOADING=1\nMONOTONIC_USEC=%" PRId64, clock_now());
	process_notify(notice);
	bool done = load_again(text);
	process_notify("READY=1");
	return done;
}

/* ---- the end ---- */

static void relays_done(void *arg)
{
	(void)arg;
	self.relays_done = true;
}

static void abort_transactions(void)
{
	self.life = LIFE_ABORTED;
	self.limit = clock_now() + ABORT_LIMIT;
	self.cut_off = !self.relays_done;
	listener_hurry(self.listener);
	router_abort(self.router);
	self.relays_done = true;
}

/* What still waits goes back to the MTA's queue, and connections end when they are free. */
static void close_relays(void)
{
	self.life = LIFE_CLOSING;
	self.limit = clock_now() + CLOSE_LIMIT;
	if (listener_sessions(self.listener) > 0)
		log_notice("drain: sessions=%zu, limit=%d (what waits for a relay is deferred)",
			   listener_sessions(self.listener), (int)(CLOSE_LIMIT / USEC_PER_SEC));
	listener_hurry(self.listener);
	router_shutdown(self.router, relays_done, NULL);
}

/* The end has come when nothing runs and every verdict is written, or when the time is up. */
static void look_at_end(void *arg)
{
	(void)arg;
	bool handed_over = listener_sessions(self.listener) == 0;
	bool late = clock_now() >= self.limit;
	if ((self.relays_done && handed_over) || (late && self.life == LIFE_ABORTED)) {
		loop_stop();
		return;
	}
	if (self.life == LIFE_DRAINING && (handed_over || late))
		close_relays();
	else if (late)
		abort_transactions();
	timer_arm(&self.ending, STOP_INTERVAL);
}

static void drain(void)
{
	log_notice("drain: sessions=%zu, limit=%d", listener_sessions(self.listener),
		   (int)(DRAIN_LIMIT / USEC_PER_SEC));
	process_notify("STOPPING=1");
	self.life = LIFE_DRAINING;
	self.limit = clock_now() + DRAIN_LIMIT;
	listener_stop(self.listener);
	timer_arm(&self.ending, 0);
}

/* ---- while it runs ---- */

static void on_hangup(evutil_socket_t signal_number, short what, void *arg)
{
	(void)signal_number, (void)what, (void)arg;
	char text[CONF_ERROR_SIZE];
	(void)reload(text); /* the log has it */
}

/* The first signal lets what is under way end, the second does not. */
static void on_terminate(evutil_socket_t signal_number, short what, void *arg)
{
	(void)signal_number, (void)what, (void)arg;
	if (self.life == LIFE_RUNNING)
		drain();
	else if (self.life != LIFE_ABORTED)
		abort_transactions();
}

/* Mail goes on without tags, by the routes that sender and recipients alone give. */
static void on_milter_lost(void *arg)
{
	(void)arg;
	self.milter_lost = true;
	log_error("milter: stopped by itself: routes with clients, users or headers do not match until relaypoold is "
		  "restarted");
}

/* Observe never calls into the relay room itself. */
static void on_outbound(const char *sender, const char *recipient)
{
	router_warm(self.router, sender, recipient);
}

static void look(struct control_view *out)
{
	*out = (struct control_view){
		.conf = self.conf,
		.began = self.began,
		.loaded = self.loaded,
		.started = self.started,
		.state = self.life == LIFE_RUNNING ? "running" : "stopping",
		.milter_lost = self.milter_lost,
	};
}

/* ---- the beginning ---- */

/* It cannot start: why goes to the log and to whoever started it. */
static int refuse(const char *why)
{
	if (!self.foreground)
		fprintf(stderr, "relaypoold: %s\n", why);
	log_fatal("%s", why);
	log_close(LOG_LIMIT);
	if (!self.unclean)
		process_unlock();
	return EXIT_FAILURE;
}

struct gauges {
	const char *relay;
	struct stats_gauges *out;
	bool found;
};

static void fill_gauges(const struct pool_view *pool, void *arg)
{
	struct gauges *gauges = arg;
	if (strcmp(pool->relay, gauges->relay) != 0)
		return;
	*gauges->out = (struct stats_gauges){.active = pool->busy, .idle = pool->idle, .waiting = pool->waiting};
	gauges->found = true;
}

/* The statistics ask: observe never looks into the relay room itself. */
static bool pool_gauges(const char *relay, struct stats_gauges *out)
{
	struct gauges gauges = {.relay = relay, .out = out};
	router_each_pool(self.router, fill_gauges, &gauges);
	return gauges.found;
}

/* The stall watch asks likewise. */
static void tell_waits(wait_fn *fn, void *arg)
{
	const struct wait log = {.relay = "-",
				 .stage = STAGE_COUNT,
				 .cause = CAUSE_LOG,
				 .since = clock_now() - log_stuck_for(),
				 .queue_id = ""};
	router_each_wait(self.router, fn, arg);
	listener_each_wait(self.listener, fn, arg);
	fn(&log, arg);
}

static unsigned count_sessions(void)
{
	return (unsigned)listener_sessions(self.listener);
}

/* In the spool directory everything is done as the daemon's user. */
static bool open_spool(char error[PROCESS_ERROR_SIZE])
{
	const char *directory = self.conf->spool_directory;
	if (!process_directory(directory, 0700, &self.user, error))
		return false;
	char *lock = mem_printf("%s/running", directory), *key = mem_printf("%s/tag.key", directory);
	process_act_as(&self.user);
	bool done = process_lock(lock, &self.unclean, error) && tag_key_load(key, &self.key, error, PROCESS_ERROR_SIZE);
	process_act_as_self();
	free(lock);
	free(key);
	spool_configure(self.conf->memory_limit, directory);
	return done;
}

static char *directory_of(const struct endpoint *endpoint)
{
	char *path = mem_strdup(endpoint->path), *directory = mem_strdup(dirname(path));
	free(path);
	return directory;
}

/* What the verbs and the metrics look at. */
static struct control_doors doors = {.look = look, .reload = reload};

/* A service manager's, or one of our own in a directory that is made if it is missing. */
static int control_socket(gid_t group, char error[PROCESS_ERROR_SIZE])
{
	int fd = passed_socket(&self.conf->control);
	if (fd != -1)
		return fd;
	char *directory = directory_of(&self.conf->control);
	bool there = process_directory(directory, 0755, &self.user, error);
	free(directory);
	return there ? net_listen(&self.conf->control, group, self.conf->socket_mode, error) : -1;
}

static bool open_control(gid_t group, char error[PROCESS_ERROR_SIZE])
{
	int fd = control_socket(group, error);
	if (fd == -1)
		return false;
	doors.owner = self.user.uid;
	doors.router = self.router;
	doors.listener = self.listener;
	self.control = control_create(fd, &doors);
	return true;
}

/* No mail waits for those who count it. */
static void open_metrics(void)
{
	char why[NET_ERROR_SIZE];
	self.scrape = scrape_create(&doors);
	bool done = scrape_prepare(self.scrape, self.conf, why);
	scrape_settle(self.scrape, done);
	if (!done)
		log_warning("start: nothing is told to Prometheus: %s", why);
}

static bool open_lmtp(char error[PROCESS_ERROR_SIZE])
{
	self.router = router_create(self.conf, self.unclean);
	const struct ingest_router door = {
		.router = self.router, .take = router_take, .abandon = router_abandon, .offer = router_offer};
	self.listener = listener_create(self.conf, &self.key, &door, error);
	return self.listener != NULL;
}

static bool open_milter(gid_t group, char error[PROCESS_ERROR_SIZE])
{
	char name[NET_NAME_SIZE];
	if (passed_has(&self.conf->milter)) {
		snprintf(
			error, PROCESS_ERROR_SIZE,
			"milter = \"%s\": the service manager has passed this socket, and libmilter takes none that it "
			"has not made: take it out of the socket unit",
			endpoint_format(&self.conf->milter, name));
		return false;
	}
	const struct milter_settings settings = {.endpoint = self.conf->milter,
						 .group = group,
						 .mode = self.conf->socket_mode,
						 .key = self.key,
						 .lost = on_milter_lost,
						 .outbound = on_outbound};
	return milter_start(&settings, self.conf, error);
}

/* The group that a socket has which the daemon's user makes; -1 where it has that already. */
static gid_t group_of(const struct endpoint *endpoint)
{
	struct stat status;
	char *directory = directory_of(endpoint);
	bool inherited = stat(directory, &status) == 0 && (status.st_mode & S_ISGID) != 0;
	free(directory);
	return self.conf->socket_group || inherited ? (gid_t)-1 : self.user.gid;
}

/* What root made is the daemon's all the same, so that a reload may change it. */
static bool give_away(const struct endpoint *endpoint, char error[PROCESS_ERROR_SIZE])
{
	char why[NET_ERROR_SIZE];
	if (!self.user.change || passed_has(endpoint) ||
	    net_set_owner(endpoint, self.user.uid, group_of(endpoint), why))
		return true;
	snprintf(error, PROCESS_ERROR_SIZE, "cannot give a socket to user %s: %s", self.user.name, why);
	return false;
}

/* The sockets, while we may still give them a group. */
static bool open_sockets(char error[PROCESS_ERROR_SIZE])
{
	gid_t group;
	if (!process_group_find(self.conf->socket_group, &group, error) || !open_lmtp(error) ||
	    !open_control(group, error) || !open_milter(group, error))
		return false;
	open_metrics();
	passed_close_rest();
	for (size_t i = 0; i < self.conf->lmtp_count; i++)
		if (!give_away(&self.conf->lmtp[i], error))
			return false;
	return give_away(&self.conf->control, error) && give_away(&self.conf->milter, error);
}

static struct event *on_signal(int number, event_callback_fn handler)
{
	struct event *event = evsignal_new(loop_base(), number, handler, NULL);
	if (!event || evsignal_add(event, NULL) == -1)
		abort();
	return event;
}

static void take_signals(void)
{
	self.hangup = on_signal(SIGHUP, on_hangup);
	self.terminate = on_signal(SIGTERM, on_terminate);
	self.interrupt = on_signal(SIGINT, on_terminate);
}

/* Everything up to the loop, in this order: what needs root, then what must not have it. */
static bool start(char error[ERROR_SIZE])
{
	passed_take(); /* they are passed to this process, and what it opens comes after them */
	watchdog_take();
	process_take_manager();
	bool placed = self.foreground || process_background(error); /* before there are threads */
	log_open(self.foreground ? LOG_TO_STDERR : LOG_TO_SYSLOG, self.verbose);
	self.conf = placed ? conf_load(self.path, error) : NULL;
	if (!self.conf || !process_user_find(self.conf->user, &self.user, error))
		return false;
	self.began = conf_ref(self.conf);
	process_limits();
	if (!loop_create()) {
		snprintf(error, ERROR_SIZE, "cannot make an event loop: %s", strerror(errno));
		return false;
	}
	timer_init(&self.ending, "end", look_at_end, NULL);
	take_signals();
	outcome_start();
	outcome_configure(self.conf);
	stats_start();
	stats_set_gauges(pool_gauges);
	latency_start();
	journeys_start();
	stall_configure(self.conf);
	self.started = clock_now();
	self.loaded = clock_wall();
	if (!open_spool(error) || !open_sockets(error) || !process_drop(&self.user, error))
		return false;
	stall_start(tell_waits, count_sessions);
	return true;
}

/* ---- */

/* From here on it works. */
static void announce(void)
{
	char error[CONF_ERROR_SIZE];
	log_notice("start: version=%s, relays=%zu, routes=%zu, unclean=%s", PACKAGE_VERSION, self.conf->relay_count,
		   self.conf->route_count, self.unclean ? "yes" : "no");
	warn();
	if (geteuid() == 0)
		log_warning("start: running as root: set user in %s", self.path);
	struct conf *conf = conf_load(self.path, error);
	if (!conf)
		log_warning("start: a reload would fail, since the daemon's user cannot read what root could: %s",
			    error);
	conf_unref(&conf);
	process_ready();
	process_notify("READY=1");
	watchdog_start();
	char *directory = directory_of(&self.conf->control);
	flush_start(directory);
	free(directory);
	flush_request("start");
}

/* The relays have seen the end of every connection, also of those that a run before us left (DESIGN, promise 4). */
static bool ends_cleanly(void)
{
	bool others_ended = !self.unclean || clock_now() >= self.started + GOVERNOR_UNCLEAN_WAIT;
	return self.relays_done && !self.cut_off && others_ended;
}

static int finish(void)
{
	flush_stop();
	watchdog_stop();
	control_free(self.control);
	scrape_free(self.scrape);
	if (!passed_has(&self.began->control))
		unlink(self.began->control.path);
	listener_free(self.listener);
	stats_stop(); /* it still asks the router, and so do the stalls */
	stall_stop();
	router_free(self.router);
	outcome_stop();
	journeys_stop();
	latency_stop();
	event_free(self.hangup);
	event_free(self.terminate);
	event_free(self.interrupt);
	milter_stop();
	loop_free();
	log_notice("stop: version=%s, drained=%s", PACKAGE_VERSION, self.life == LIFE_ABORTED ? "no" : "yes");
	if (ends_cleanly())
		process_unlock();
	conf_unref(&self.conf);
	conf_unref(&self.began);
	log_close(LOG_LIMIT);
	return EXIT_SUCCESS;
}

static int usage(void)
{
	printf("usage: relaypoold [-f] [-v] [-c FILE]\n"
	       "       relaypoold -t [-c FILE]\n"
	       "       relaypoold -V\n"
	       "\n"
	       "  -c FILE     the configuration, instead of\n"
	       "              %s\n"
	       "  -f          stay in the foreground, log to standard error\n"
	       "  -t          test the configuration and exit\n"
	       "  -v          log what is useful for finding faults as well\n"
	       "  -V          the version\n"
	       "  -h, --help  this text\n",
	       DEFAULT_CONF);
	return EXIT_SUCCESS;
}

static int refuse_usage(void)
{
	fputs("relaypoold: \"relaypoold --help\" lists the options\n", stderr);
	return EXIT_USAGE;
}

/* What root reads at the start the daemon's user has to read at a reload. Root is given up for it, for good. */
static void test_as_user(const char *name)
{
	struct process_user user;
	char error[CONF_ERROR_SIZE];
	if (!process_user_find(name, &user, error) || (user.change && !process_drop(&user, error))) {
		fprintf(stderr, "warning: %s\n", error);
		return;
	}
	struct conf *conf = user.change ? conf_load(self.path, error) : NULL;
	if (user.change && !conf)
		fprintf(stderr, "warning: a reload would fail, since user %s cannot read what root can: %s\n",
			user.name, error);
	conf_unref(&conf);
}

static int test(void)
{
	char error[CONF_ERROR_SIZE] = "";
	struct conf *conf = conf_load(self.path, error);
	bool valid = conf != NULL;
	if (valid && conf->warning)
		fprintf(stderr, "warning: %s\n", conf->warning);
	if (valid)
		test_as_user(conf->user);
	if (valid)
		printf("%s is valid\n", self.path);
	else
		fprintf(stderr, "%s\n", error);
	conf_unref(&conf);
	return valid ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int run(void)
{
	char error[ERROR_SIZE] = "";
	if (!start(error))
		return refuse(error);
	announce();
	loop_run();
	return finish();
}

int main(int argc, char **argv)
{
	static const struct option words[] = {{"help", no_argument, NULL, 'h'}, {0}};
	int (*life)(void) = run;
	const char *path = DEFAULT_CONF;
	int option;
	/* libmilter's threads make tags until the process has ended. */
	OPENSSL_init_crypto(OPENSSL_INIT_NO_ATEXIT, NULL);
	while ((option = getopt_long(argc, argv, "fc:tvVh", words, NULL)) != -1) {
		switch (option) {
		case 'f':
			self.foreground = true;
			break;
		case 'c':
			path = optarg;
			break;
		case 't':
			life = test;
			break;
		case 'v':
			self.verbose = true;
			break;
		case 'V':
			printf("relaypoold %s\n", PACKAGE_VERSION);
			return EXIT_SUCCESS;
		case 'h':
			return usage();
		default:
			return refuse_usage();
		}
	}
	if (optind < argc) {
		fprintf(stderr, "relaypoold: there are no arguments but options, and \"%s\" is none\n", argv[optind]);
		return refuse_usage();
	}
	char *absolute = realpath(path, NULL); /* in the background we work in another directory */
	self.path = absolute ? absolute : path;
	int code = life();
	free(absolute);
	return code;
}
