/* The rooms that admin looks into, played by the tests. */
#include "rooms.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"
#include "observe/door.h"
#include "relay/probe.h"
#include "smtp/reply.h"

struct rooms rooms;

/* ---- relay ---- */

void router_each_pool(const struct router *router, pool_view_fn *fn, void *arg)
{
	(void)router;
	for (size_t i = 0; i < rooms.pool_count; i++)
		for (size_t j = 0; j <= rooms.pool_repeat; j++)
			fn(&rooms.pools[i], arg);
}

void router_each_connection(const struct router *router, connection_view_fn *fn, void *arg)
{
	(void)router;
	for (size_t i = 0; i < rooms.connection_count; i++)
		fn(&rooms.connections[i], arg);
}

void router_each_wait(const struct router *router, wait_fn *fn, void *arg)
{
	(void)router;
	for (size_t i = 0; i < rooms.wait_count; i++)
		fn(&rooms.waits[i], arg);
}

static bool called(const char *verb, const char *relay)
{
	snprintf(rooms.called, sizeof(rooms.called), "%s %s", verb, relay ? relay : "all");
	return !relay || conf_relay(rooms.conf, relay);
}

bool router_pause(struct router *router, const char *relay)
{
	(void)router;
	return called("pause", relay);
}

bool router_resume(struct router *router, const char *relay)
{
	(void)router;
	return called("resume", relay);
}

bool router_drain(struct router *router, const char *relay)
{
	(void)router;
	return called("drain", relay);
}

bool router_reconnect(struct router *router, const char *relay)
{
	(void)router;
	return called("reconnect", relay);
}

bool router_forget(struct router *router, const char *relay)
{
	(void)router;
	return called("forget", relay);
}

int router_route(const struct router *router, const char *sender, const char *recipient)
{
	(void)router, (void)sender, (void)recipient;
	return rooms.route;
}

const char *const probe_end_names[PROBE_ENDS] = {"accepted", "refused", "failed", "given-up"};

struct probe {
	probe_done_fn *done;
	void *arg;
};

struct probe *router_probe(struct router *router, const struct probe_request *request, probe_done_fn *done, void *arg,
			   char *error)
{
	(void)router;
	snprintf(rooms.probed, sizeof(rooms.probed), "%s %s%s", request->sender, request->recipient,
		 request->send ? " send" : "");
	if (rooms.nobody) {
		snprintf(error, PROBE_ERROR_SIZE, "%s", rooms.nobody);
		return NULL;
	}
	rooms.probe = mem_alloc(sizeof(*rooms.probe));
	*rooms.probe = (struct probe){.done = done, .arg = arg};
	rooms.probes++;
	return rooms.probe;
}

void probe_cancel(struct probe *probe)
{
	if (probe == rooms.probe)
		rooms.probe = NULL;
	rooms.cancelled++;
	rooms.probes--;
	free(probe);
}

void rooms_end_probe(const struct probe_result *result)
{
	struct probe *probe = rooms.probe;
	ck_assert_ptr_nonnull(probe);
	rooms.probe = NULL;
	rooms.probes--;
	probe->done(result, probe->arg);
	free(probe);
}

static struct reply *good_reply; /* freed by rooms_close() */

struct probe_result *rooms_good_result(void)
{
	static const struct connection_trace trace = {
		.address_count = 2,
		.addresses = {"198.51.100.7", "198.51.100.8"},
		.banner = "220 smtp.socketlabs.com ESMTP",
		.tls = "TLSv1.3 TLS_AES_256_GCM_SHA384",
		.mechanism = "PLAIN",
		.auth = "235 2.7.0 Authentication successful",
	};
	static const struct capabilities announced = {.bits = CAP_PIPELINING | CAP_8BITMIME};
	static struct probe_result result;
	static struct journey journey;
	for (enum stage stage = 0; stage < STAGE_COUNT; stage++)
		journey.spent[stage] = stage < STAGE_POOL ? -1 : (usec_t)stage * 10 * USEC_PER_MSEC;
	journey.spent[STAGE_DATA] = journey.spent[STAGE_BODY] = -1;
	if (!good_reply)
		good_reply = reply_local(LOCAL_INGEST, 250, "2.1.0", "Ok");
	result = (struct probe_result){
		.end = PROBE_ACCEPTED,
		.why = "250 2.1.0",
		.stage = STAGE_COUNT,
		.cause = CAUSE_COUNT,
		.relay = &rooms.conf->relays[0],
		.host = "smtp.socketlabs.com[198.51.100.7]:465",
		.connection = 4,
		.trace = &trace,
		.announced = &announced,
		.journey = &journey,
		.mail = good_reply,
		.rcpt = good_reply,
	};
	return &result;
}

/* ---- ingest, observe ---- */

size_t listener_sessions(const struct listener *listener)
{
	(void)listener;
	return rooms.session_count;
}

void listener_each_session(const struct listener *listener, session_view_fn *fn, void *arg)
{
	(void)listener;
	for (size_t i = 0; i < rooms.session_count; i++)
		fn(&rooms.sessions[i], arg);
}

void stats_each(void (*fn)(const struct stats_view *view, void *arg), void *arg)
{
	if (rooms.stats.relay)
		fn(&rooms.stats, arg);
}

void router_each_transaction(const struct router *router, void (*fn)(const struct transaction_view *view, void *arg),
			     void *arg)
{
	(void)router;
	for (size_t i = 0; i < rooms.transaction_count; i++)
		fn(&rooms.transactions[i], arg);
}

void door_each_wait(wait_fn *fn, void *arg)
{
	if (rooms.arriving.queue_id)
		fn(&rooms.arriving, arg);
}

void listener_each_wait(const struct listener *listener, wait_fn *fn, void *arg)
{
	(void)listener;
	if (rooms.handed.queue_id)
		fn(&rooms.handed, arg);
}

bool journeys_find(const char *queue_id, void (*fn)(const struct journey_view *view, void *arg), void *arg)
{
	bool found = false;
	for (size_t i = 0; i < rooms.journey_count; i++) {
		if (strcmp(rooms.journeys[i].queue_id, queue_id) != 0)
			continue;
		fn(&rooms.journeys[i], arg);
		found = true;
	}
	return found;
}

bool journeys_original(const char *queue_id, char *original, size_t size)
{
	if (rooms.copy == NULL || strcmp(rooms.copy, queue_id) != 0)
		return false;
	snprintf(original, size, "4fXyZ1");
	return true;
}

/* Each bound twice the last, from 1 ms on. */
const usec_t latency_bounds[LATENCY_BUCKETS] = {
	1000,   2000,    4000,    8000,    16000,   32000,    64000,    128000,   256000,
	512000, 1024000, 2048000, 4096000, 8192000, 16384000, 32768000, 65536000, 131072000,
};

static void show_latency(const char *relay, latency_fn *fn, void *arg)
{
	for (size_t i = 0; i < rooms.latency_count; i++)
		for (size_t j = 0; j <= rooms.latency_repeat; j++)
			if (!relay || strcmp(rooms.latencies[i].relay, relay) == 0) {
				rooms.views_shown++;
				fn(&rooms.latencies[i], arg);
			}
}

void latency_each(latency_fn *fn, void *arg)
{
	show_latency(NULL, fn, arg);
}

void latency_of(const char *relay, latency_fn *fn, void *arg)
{
	show_latency(relay, fn, arg);
}

struct latency_quantiles latency_quantiles(const char *relay, enum stage stage)
{
	rooms.quantiles_asked++;
	for (size_t i = 0; i < rooms.latency_count; i++)
		if (rooms.latencies[i].stage == stage && strcmp(rooms.latencies[i].relay, relay) == 0)
			return rooms.quantiles[i];
	return (struct latency_quantiles){.p50 = -1, .p95 = -1, .p99 = -1, .longest = -1};
}

void stall_each(void (*fn)(const struct stall_view *view, void *arg), void *arg)
{
	for (size_t i = 0; i < rooms.stall_count; i++)
		for (size_t j = 0; j <= rooms.stall_repeat; j++)
			fn(&rooms.stalls[i], arg);
}

usec_t stall_limit(const char *relay, enum stage stage)
{
	(void)relay;
	(void)stage;
	return rooms.stall_limit;
}

unsigned long stall_count(enum stage stage, enum holder holder)
{
	return rooms.stalls_begun[stage][holder];
}

struct journey_counts journeys_counts(void)
{
	return rooms.journeys_counted;
}

struct milter_counts milter_counts(void)
{
	return rooms.milter;
}

/* ---- who is at the other end; the linker puts it in the place of the real one (--wrap) ---- */

bool __wrap_net_peer_credentials(int fd, uid_t *uid, gid_t *gid);

bool __wrap_net_peer_credentials(int fd, uid_t *uid, gid_t *gid)
{
	(void)fd;
	*uid = rooms.peer;
	*gid = 0;
	return true;
}

/* ---- main ---- */

static void look(struct control_view *out)
{
	*out = (struct control_view){.conf = rooms.conf,
				     .began = rooms.conf,
				     .loaded = 1700000000 * USEC_PER_SEC,
				     .started = clock_now() - 90061 * USEC_PER_SEC,
				     .state = "running",
				     .milter_lost = rooms.milter_lost};
}

static bool reload(char text[CONF_ERROR_SIZE])
{
	snprintf(rooms.called, sizeof(rooms.called), "reload");
	const char *said = rooms.reload_error ? rooms.reload_error : rooms.reload_note;
	snprintf(text, CONF_ERROR_SIZE, "%s", said ? said : "");
	return !rooms.reload_error;
}

void rooms_write_conf(const char *text)
{
	FILE *file = fopen(rooms.conf_path, "w");
	ck_assert_ptr_nonnull(file);
	fputs(text, file);
	fclose(file);
}

static int listen_on(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	ck_assert_int_ne(fd, -1);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	ck_assert_int_eq(listen(fd, 128), 0);
	return fd;
}

int rooms_connect(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", rooms.socket_path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	loop_settle();
	return fd;
}

static void no_log(enum log_level level, const char *line)
{
	(void)level;
	(void)line;
}

void rooms_open(void)
{
	char error[CONF_ERROR_SIZE];
	rooms = (struct rooms){.pool_count = 1, .peer = geteuid(), .directory = "/tmp/check_admin.XXXXXX"};
	rooms.doors = (struct control_doors){.owner = 4711, .look = look, .reload = reload};
	rooms.pools[0] = (struct pool_view){.relay = "socketlabs",
					    .account = "server1234@smtp.socketlabs.com",
					    .state = "up",
					    .mode = "classic",
					    .retry_in = -1,
					    .max_connections = 10,
					    .idle = 7,
					    .busy = 3,
					    .account_sockets = 10,
					    .account_max = 10};
	log_capture(no_log);
	ck_assert_ptr_nonnull(mkdtemp(rooms.directory));
	snprintf(rooms.socket_path, sizeof(rooms.socket_path), "%s/control.sock", rooms.directory);
	snprintf(rooms.conf_path, sizeof(rooms.conf_path), "%s/relaypool.conf", rooms.directory);
	rooms_write_conf("relay \"socketlabs\" { host = \"smtp.socketlabs.com\" }\n");
	rooms.conf = conf_load(rooms.conf_path, error);
	ck_assert_msg(rooms.conf != NULL, "%s", error);
	ck_assert(loop_create());
	clock_fake_start();
	rooms.control = control_create(listen_on(rooms.socket_path), &rooms.doors);
}

void rooms_close(void)
{
	control_free(rooms.control);
	clock_fake_stop();
	loop_free();
	reply_unref(&good_reply);
	conf_unref(&rooms.conf);
	unlink(rooms.socket_path);
	unlink(rooms.conf_path);
	rmdir(rooms.directory);
	log_capture(NULL);
}
