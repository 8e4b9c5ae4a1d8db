/*
 * libmilter's callbacks: they copy what they need into the session, write the tag at the end of message, and return.
 * Main starts and stops it; the callbacks run on libmilter's threads, and Debian's build moves one session between
 * them, so all state hangs on smfi_setpriv(). Nothing here refuses, waits, or changes anything but the tag.
 */
#include <config.h>

#include "observe/milter.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <fnmatch.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <libmilter/mfapi.h>

#include "base/conf.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/rate.h"
#include "door_private.h"
#include "libmilter_log.h"
#include "quiet.h"

/*
 * Seconds without a command after which libmilter ends a session. Longer than a slow client needs for a large message,
 * since between MAIL and the end of message the MTA tells us nothing; its own 7210 would keep a half-sent command's
 * thread for two hours.
 */
#define SESSION_TIMEOUT 3600
/* Octets of a header's value that a `headers` condition looks at. */
#define HEADER_VALUE_MAX 1024
/* What the MTAs call the way to relaypoold (contrib): Postfix's transport, Sendmail's mailer. */
#define MAILER "relaypool"
/* Octets of an address that a notice of outbound mail carries (RFC 5321: 254); there is none of a longer one. */
#define ADDRESS_MAX 512
/* One such notice in this time: it says that mail is on its way, not how much. */
#define NOTICE_INTERVAL USEC_PER_SEC
/* Sessions a second, and at once, of which the door learns more than is free of cost. */
#define SAMPLE_RATE 10
#define SAMPLE_BURST 10

static struct {
	struct milter_settings settings; /* never written while the thread runs */
	bool started;
	atomic_bool stopping;

	pthread_mutex_t mutex; /* protects conf and sample */
	struct conf *conf;
	struct rate sample;

	atomic_ulong connections, messages, tagged;

	/* The one notice of outbound mail; it belongs to the thread that has set `taken`, then to the loop's. */
	struct {
		atomic_bool taken;
		_Atomic usec_t next; /* clock_now() before which there is none */
		bool has_sender;
		char sender[ADDRESS_MAX], recipient[ADDRESS_MAX];
	} notice;
} milter = {.mutex = PTHREAD_MUTEX_INITIALIZER};

/* One SMTP session of the MTA, or one submission by sendmail(1). */
struct session {
	struct conf *conf;              /* held: a reload never changes a session under way */
	struct door *door;              /* owned */
	unsigned long protocol;         /* what was negotiated */
	struct sockaddr_storage client; /* AF_UNSPEC if not known */
	uint64_t headers;               /* bit i: a header condition of route i holds for the present message */
	bool has_sender;                /* of the present message; only if a route asks for senders */
	char sender[ADDRESS_MAX];
};

static struct session *session_create(void)
{
	struct session *session = mem_alloc(sizeof *session);
	pthread_mutex_lock(&milter.mutex);
	session->conf = conf_ref(milter.conf);
	pthread_mutex_unlock(&milter.mutex);
	session->door = door_enter();
	atomic_fetch_add(&milter.connections, 1);
	return session;
}

/* The session, made where the MTA begins another one on the same socket without negotiating (SMFIC_QUIT_NC). */
static struct session *session_of(SMFICTX *ctx)
{
	struct session *session = smfi_getpriv(ctx);
	if (session == NULL) {
		session = session_create();
		smfi_setpriv(ctx, session);
	}
	return session;
}

/* What a callback returns that has nothing to say: no reply at all where the MTA agreed to wait for none. */
static sfsistat nothing_to_say(const struct session *session, unsigned long no_reply)
{
	return (session->protocol & no_reply) != 0 ? SMFIS_NOREPLY : SMFIS_CONTINUE;
}

/* A warning about the MTA, once in a process: it would be the same for each session. */
static void warn_once(atomic_flag *said, const char *text)
{
	if (!atomic_flag_test_and_set(said))
		log_warning("milter: %s", text);
}

/* ---- which routes hold ---- */

static bool client_matches(const struct route_conf *route, const struct session *session)
{
	sa_family_t family = session->client.ss_family;
	if (family != AF_INET && family != AF_INET6)
		return false;
	for (size_t i = 0; i < route->client_count; i++)
		if (network_contains(&route->clients[i], (const struct sockaddr *)&session->client))
			return true;
	return false;
}

static bool user_matches(const struct route_conf *route, const char *user)
{
	if (user == NULL || *user == '\0')
		return false;
	for (size_t i = 0; i < route->user_count; i++)
		if (fnmatch(route->users[i], user, 0) == 0)
			return true;
	return false;
}

/* `condition` is "Name: pattern"; `value` is unfolded. */
static bool header_matches(const char *condition, const char *name, const char *value)
{
	size_t length = strlen(name);
	if (strncasecmp(condition, name, length) != 0 || condition[length] != ':')
		return false;
	const char *pattern = condition + length + 1;
	pattern += strspn(pattern, " \t");
	return fnmatch(pattern, value, FNM_CASEFOLD) == 0;
}

/* A header's value on one line, without white space at its ends (RFC 5322 §2.2.3); cut to the size. */
static void unfold(const char *value, char out[HEADER_VALUE_MAX])
{
	size_t length = 0;
	for (value += strspn(value, " \t\r\n"); *value != '\0' && length < HEADER_VALUE_MAX - 1; value++)
		if (*value != '\r' && *value != '\n')
			out[length++] = *value;
	while (length > 0 && (out[length - 1] == ' ' || out[length - 1] == '\t'))
		length--;
	out[length] = '\0';
}

static bool route_holds(const struct session *session, size_t index, const char *user)
{
	const struct route_conf *route = &session->conf->routes[index];
	return route_conf_needs_tag(route) && (route->client_count == 0 || client_matches(route, session)) &&
	       (route->user_count == 0 || user_matches(route, user)) &&
	       (route->header_count == 0 || (session->headers & (uint64_t)1 << index) != 0);
}

/* The names of all routes that hold, comma separated. False if they do not fit into a tag. */
static bool list_routes(const struct session *session, const char *user, char *out, size_t size)
{
	size_t used = 0;
	out[0] = '\0';
	for (size_t i = 0; i < session->conf->route_count; i++) {
		if (!route_holds(session, i, user))
			continue;
		int length =
			snprintf(out + used, size - used, "%s%s", used > 0 ? "," : "", session->conf->routes[i].name);
		if (length < 0 || (size_t)length >= size - used)
			return false;
		used += (size_t)length;
	}
	return true;
}

/* ---- the tag ---- */

/* Both Postfix and Sendmail make queue ids of letters and digits; anything else is not one. */
static bool queue_id_valid(const char *id, size_t size)
{
	size_t length = id == NULL ? 0 : strlen(id);
	if (length == 0 || length >= size)
		return false;
	for (size_t i = 0; i < length; i++)
		if (!isalnum((unsigned char)id[i]))
			return false;
	return true;
}

/* The present message's, NULL if the MTA does not say a proper one. Borrowed from libmilter for the callback. */
static const char *queue_id_of(SMFICTX *ctx)
{
	const char *id = smfi_getsymval(ctx, (char *)"i");
	return queue_id_valid(id, sizeof((struct tag *)NULL)->queue_id) ? id : NULL;
}

/* The header's value for the message that has just ended. False if it has to go without a tag. */
static bool make_tag(SMFICTX *ctx, const struct session *session, const char *id, char value[TAG_VALUE_MAX])
{
	static atomic_flag no_id = ATOMIC_FLAG_INIT, too_long = ATOMIC_FLAG_INIT;
	struct tag tag;
	if (id == NULL) {
		warn_once(&no_id,
			  "the MTA sent a message without a queue id (macro i at the end of message): such mail "
			  "is not tagged and takes the route that sender and recipients alone give");
		return false;
	}
	strcpy(tag.queue_id, id);
	tag.time = clock_wall();
	if (!list_routes(session, smfi_getsymval(ctx, (char *)"{auth_authen}"), tag.routes, sizeof tag.routes) ||
	    !tag_format(&tag, &milter.settings.key, value)) {
		warn_once(&too_long,
			  "the names of all routes that hold for one message do not fit into its tag: such mail "
			  "is not tagged; shorten the names of the routes");
		return false;
	}
	return true;
}

/* ---- the notice of outbound mail ---- */

/* The address in an argument of MAIL or RCPT; mail by sendmail(1) has it without angle brackets. */
static bool copy_address(const char *argument, char out[ADDRESS_MAX])
{
	size_t length = strlen(argument);
	if (length >= 2 && argument[0] == '<' && argument[length - 1] == '>') {
		argument++;
		length -= 2;
	}
	if (length >= ADDRESS_MAX)
		return false;
	memcpy(out, argument, length);
	out[length] = '\0';
	return true;
}

static void on_notice(void *unused)
{
	(void)unused;
	milter.settings.outbound(milter.notice.has_sender ? milter.notice.sender : NULL, milter.notice.recipient);
	atomic_store(&milter.notice.taken, false);
}

static bool notice_due(void)
{
	return clock_now() >= atomic_load(&milter.notice.next);
}

/* To the loop. One that finds another on its way, or no room there, is not missed. */
static void give_notice(const struct session *session, const char *recipient)
{
	if (atomic_exchange(&milter.notice.taken, true))
		return;
	/* Once more: another thread's may have been given since. */
	bool given = notice_due() && copy_address(recipient, milter.notice.recipient);
	if (given) {
		milter.notice.has_sender = session->has_sender;
		memcpy(milter.notice.sender, session->sender, sizeof milter.notice.sender);
		atomic_store(&milter.notice.next, clock_now() + NOTICE_INTERVAL);
		given = loop_post(on_notice, NULL);
	}
	if (!given)
		atomic_store(&milter.notice.taken, false);
}

/* ---- callbacks, in the order in which the MTA causes them ---- */

static bool sample_due(void)
{
	pthread_mutex_lock(&milter.mutex);
	bool due = rate_take(&milter.sample, clock_now()) == 0;
	pthread_mutex_unlock(&milter.mutex);
	return due;
}

static bool wants_senders(const struct conf *conf)
{
	for (size_t i = 0; i < conf->route_count; i++)
		if (conf->routes[i].sender_count > 0)
			return true;
	return false;
}

/*
 * What the MTA keeps to itself. Asked for are the steps that some route's conditions need, and the connection and DATA,
 * where the door divides the time. MAIL and RCPT tell it more: they cost more, so only a sample of sessions is asked
 * for them, and for RCPT those that begin while some relay is quiet. MAIL is also where the conditions of the last
 * message are forgotten. Headers come with their end: libmilter does not let a message without any go from DATA to its
 * end otherwise, and forgets to answer.
 */
static unsigned long steps_not_needed(const struct conf *conf, bool sampled)
{
	bool users = false, recipients = sampled || quiet_some();
	for (size_t i = 0; i < conf->route_count; i++)
		users = users || conf->routes[i].user_count > 0;
	unsigned long steps = SMFIP_NOHELO | SMFIP_NOBODY | SMFIP_NOUNKNOWN;
	if (!recipients)
		steps |= SMFIP_NORCPT;
	if (!conf->wants_headers)
		steps |= SMFIP_NOHDRS | SMFIP_NOEOH;
	if (!sampled && !users && !(recipients && wants_senders(conf)) && !conf->wants_headers)
		steps |= SMFIP_NOMAIL;
	return steps;
}

/*
 * Where the MTA need not wait for us. But what has no reply Postfix keeps back until something has one, or DATA comes.
 * So the connection has one, or its client could not be looked at before; and in a sample of sessions MAIL, so that a
 * client is seen that begins a message and falls silent.
 */
static unsigned long replies_not_needed(bool sampled)
{
	return SMFIP_NR_RCPT | SMFIP_NR_DATA | SMFIP_NR_HDR | SMFIP_NR_EOH | (sampled ? 0 : SMFIP_NR_MAIL);
}

static sfsistat mlfi_negotiate(SMFICTX *ctx, unsigned long actions, unsigned long protocol, unsigned long unused2,
			       unsigned long unused3, unsigned long *want_actions, unsigned long *want_protocol,
			       unsigned long *want2, unsigned long *want3)
{
	static atomic_flag no_header = ATOMIC_FLAG_INIT;
	(void)unused2, (void)unused3;
	struct session *session = session_of(ctx);
	if ((actions & SMFIF_ADDHDRS) == 0)
		warn_once(&no_header,
			  "the MTA does not let a milter add headers: its mail is not tagged and takes the route "
			  "that sender and recipients alone give");
	if ((actions & SMFIF_SETSYMLIST) != 0) {
		smfi_setsymlist(ctx, SMFIM_CONNECT, (char *)"{daemon_addr} {daemon_port} {if_addr}");
		smfi_setsymlist(ctx, SMFIM_ENVFROM, (char *)"{auth_authen}");
		smfi_setsymlist(ctx, SMFIM_ENVRCPT, (char *)"{rcpt_mailer}");
		smfi_setsymlist(ctx, SMFIM_DATA, (char *)"i");
		smfi_setsymlist(ctx, SMFIM_EOM, (char *)"i");
	}
	bool sampled = sample_due();
	session->protocol = protocol & (steps_not_needed(session->conf, sampled) | replies_not_needed(sampled));
	*want_actions = actions & SMFIF_ADDHDRS;
	*want_protocol = session->protocol;
	*want2 = *want3 = 0;
	return SMFIS_CONTINUE;
}

static sfsistat mlfi_connect(SMFICTX *ctx, char *hostname, _SOCK_ADDR *address)
{
	(void)hostname;
	struct session *session = session_of(ctx);
	if (address != NULL && address->sa_family == AF_INET)
		memcpy(&session->client, address, sizeof(struct sockaddr_in));
	else if (address != NULL && address->sa_family == AF_INET6)
		memcpy(&session->client, address, sizeof(struct sockaddr_in6));
	door_connected(session->door, (const struct sockaddr *)&session->client,
		       &(struct door_macros){.daemon_addr = smfi_getsymval(ctx, (char *)"{daemon_addr}"),
					     .daemon_port = smfi_getsymval(ctx, (char *)"{daemon_port}"),
					     .if_addr = smfi_getsymval(ctx, (char *)"{if_addr}")});
	return SMFIS_CONTINUE;
}

static sfsistat mlfi_envfrom(SMFICTX *ctx, char **arguments)
{
	struct session *session = session_of(ctx);
	session->headers = 0;
	session->has_sender = wants_senders(session->conf) && copy_address(arguments[0], session->sender);
	door_mail(session->door, (session->protocol & SMFIP_NR_MAIL) == 0);
	return nothing_to_say(session, SMFIP_NR_MAIL);
}

/* The MTA has accepted the recipient. */
static sfsistat mlfi_envrcpt(SMFICTX *ctx, char **arguments)
{
	struct session *session = session_of(ctx);
	const char *mailer = smfi_getsymval(ctx, (char *)"{rcpt_mailer}");
	if (mailer != NULL && strcmp(mailer, MAILER) == 0) {
		door_outbound(session->door);
		if (quiet_some() && notice_due())
			give_notice(session, arguments[0]);
	}
	return nothing_to_say(session, SMFIP_NR_RCPT);
}

static sfsistat mlfi_data(SMFICTX *ctx)
{
	struct session *session = session_of(ctx);
	door_data(session->door, queue_id_of(ctx));
	return nothing_to_say(session, SMFIP_NR_DATA);
}

static sfsistat mlfi_header(SMFICTX *ctx, char *name, char *value)
{
	struct session *session = session_of(ctx);
	if (session->conf->wants_headers) {
		char text[HEADER_VALUE_MAX];
		unfold(value, text);
		for (size_t i = 0; i < session->conf->route_count; i++)
			for (size_t j = 0; j < session->conf->routes[i].header_count; j++)
				if (header_matches(session->conf->routes[i].headers[j], name, text))
					session->headers |= (uint64_t)1 << i;
	}
	return nothing_to_say(session, SMFIP_NR_HDR);
}

static sfsistat mlfi_eoh(SMFICTX *ctx)
{
	return nothing_to_say(session_of(ctx), SMFIP_NR_EOH);
}

static sfsistat mlfi_eom(SMFICTX *ctx)
{
	struct session *session = session_of(ctx);
	char value[TAG_VALUE_MAX];
	const char *id = queue_id_of(ctx);
	atomic_fetch_add(&milter.messages, 1);
	door_end(session->door, id);
	if (make_tag(ctx, session, id, value) && smfi_insheader(ctx, 0, (char *)TAG_HEADER, value) == MI_SUCCESS)
		atomic_fetch_add(&milter.tagged, 1);
	session->headers = 0;
	return SMFIS_CONTINUE;
}

static sfsistat mlfi_abort(SMFICTX *ctx)
{
	struct session *session = session_of(ctx);
	session->headers = 0;
	door_abort(session->door);
	return SMFIS_CONTINUE;
}

static sfsistat mlfi_close(SMFICTX *ctx)
{
	struct session *session = smfi_getpriv(ctx);
	if (session != NULL) {
		smfi_setpriv(ctx, NULL);
		door_leave(session->door);
		conf_unref(&session->conf);
		free(session);
	}
	return SMFIS_CONTINUE;
}

/* ---- start and stop ---- */

/* On a thread of its own, with all signals blocked. */
static void *serve(void *unused)
{
	const struct timespec pause = {.tv_nsec = 100 * 1000 * 1000};
	(void)unused;
	smfi_main();
	while (!atomic_load(&milter.stopping) && !loop_post(milter.settings.lost, milter.settings.arg))
		nanosleep(&pause, NULL);
	return NULL;
}

/* As libmilter spells it: it wants inet6 for an IPv6 address. */
static void libmilter_endpoint(const struct endpoint *endpoint, char out[NET_NAME_SIZE])
{
	if (endpoint->kind == ENDPOINT_UNIX)
		snprintf(out, NET_NAME_SIZE, "unix:%s", endpoint->path);
	else if (strchr(endpoint->host, ':') != NULL)
		snprintf(out, NET_NAME_SIZE, "inet6:%u@[%s]", endpoint->port, endpoint->host);
	else
		snprintf(out, NET_NAME_SIZE, "inet:%u@%s", endpoint->port, endpoint->host);
}

static bool listen_here(const struct milter_settings *settings, char error[NET_ERROR_SIZE])
{
	char name[NET_NAME_SIZE];
	/* libmilter would remove a stale socket, and a live one as well. */
	if (!net_clear_stale(&settings->endpoint, error))
		return false;
	libmilter_endpoint(&settings->endpoint, name);
	if (smfi_setconn(name) != MI_SUCCESS || smfi_settimeout(SESSION_TIMEOUT) != MI_SUCCESS) {
		snprintf(error, NET_ERROR_SIZE, "%s: libmilter cannot listen there", name);
		return false;
	}
	mode_t old = umask(0777 & ~settings->mode); /* from its first moment, not only after chmod(2) */
	errno = 0;
	bool listening = smfi_opensocket(false) == MI_SUCCESS;
	int reason = errno;
	umask(old);
	if (!listening) {
		snprintf(error, NET_ERROR_SIZE, "%s: libmilter cannot listen there: %s", name,
			 reason != 0 ? strerror(reason) : "its own line in the log says why");
		return false;
	}
	return net_set_access(&settings->endpoint, settings->group, settings->mode, error);
}

static bool register_filter(void)
{
	struct smfiDesc filter = {
		.xxfi_name = (char *)"relaypool",
		.xxfi_version = SMFI_VERSION,
		.xxfi_flags = SMFIF_ADDHDRS,
		.xxfi_connect = mlfi_connect,
		.xxfi_envfrom = mlfi_envfrom,
		.xxfi_envrcpt = mlfi_envrcpt,
		.xxfi_data = mlfi_data,
		.xxfi_header = mlfi_header,
		.xxfi_eoh = mlfi_eoh,
		.xxfi_eom = mlfi_eom,
		.xxfi_abort = mlfi_abort,
		.xxfi_close = mlfi_close,
		.xxfi_negotiate = mlfi_negotiate,
	};
	return smfi_register(filter) == MI_SUCCESS;
}

/*
 * libmilter waits for SIGHUP, SIGTERM and SIGINT on a thread of its own, and ends at any of them. That the main thread
 * keeps them unblocked does not keep them for it: one that comes while another is pending there, as after SIGCONT, goes
 * to libmilter. So this stands before the C library's function of the same name, for libmilter's thread alone; nobody
 * else in this process calls it.
 */
int sigwait(const sigset_t *set, int *number)
{
	(void)set;
	(void)number;
	for (;;)
		pause();
}

/* libmilter's threads inherit the mask. */
static int start_thread(void)
{
	sigset_t all, old;
	pthread_t thread;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	int reason = pthread_create(&thread, NULL, serve, NULL);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (reason == 0)
		pthread_detach(thread);
	return reason;
}

bool milter_start(const struct milter_settings *settings, struct conf *conf, char error[NET_ERROR_SIZE])
{
	assert(!milter.started);
	milter.settings = *settings;
	libmilter_log_start();
	if (!register_filter()) {
		snprintf(error, NET_ERROR_SIZE, "this libmilter is not the one that relaypoold was built with");
		return false;
	}
	if (!listen_here(settings, error))
		return false;
	rate_set(&milter.sample, SAMPLE_RATE, SAMPLE_BURST);
	quiet_start();
	milter_set_conf(conf);
	int reason = start_thread();
	if (reason != 0) {
		snprintf(error, NET_ERROR_SIZE, "its thread cannot be started: %s", strerror(reason));
		return false;
	}
	milter.started = true;
	return true;
}

void milter_set_conf(struct conf *conf)
{
	pthread_mutex_lock(&milter.mutex);
	struct conf *old = milter.conf;
	milter.conf = conf_ref(conf);
	pthread_mutex_unlock(&milter.mutex);
	if (old != NULL)
		conf_unref(&old);
	quiet_set_relays(conf);
}

/*
 * Not by smfi_stop(): it waits for a lock that libmilter's listener holds while it polls for up to 5 s, then destroys
 * it under those who wait for it; and it leaves the sessions under way without answers.
 */
void milter_stop(void)
{
	if (!milter.started || atomic_exchange(&milter.stopping, true))
		return;
	quiet_stop();
	if (milter.settings.endpoint.kind == ENDPOINT_UNIX)
		unlink(milter.settings.endpoint.path);
}

struct milter_counts milter_counts(void)
{
	return (struct milter_counts){
		.connections = atomic_load(&milter.connections),
		.messages = atomic_load(&milter.messages),
		.tagged = atomic_load(&milter.tagged),
	};
}
