/*
 * What each verb of the control socket answers: the views of the rooms as JSON, one function for each verb.
 * Called by control.c. Keys are snake_case, times are seconds, what is not known is null; all of it is described in
 * relaypoolctl(8). Never touches a socket.
 */
#include <config.h>

#include "answer.h"

#include <confuse.h>
#include <event2/event.h>
#include <gsasl.h>
#include <libmilter/mfapi.h>
#include <openssl/crypto.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/spool.h"
#include "ingest/listener.h"
#include "observe/stats.h"
#include "relay/route.h"

const char *const refusal_names[REFUSALS] = {
	[REFUSAL_FAILED] = "failed",
	[REFUSAL_USAGE] = "usage",
	[REFUSAL_PERMISSION] = "permission",
};

/* Rows of a list while it is made. */
struct rows {
	json_t *array;
	const char *relay; /* only this one's; NULL: all */
	size_t left_out;   /* beyond CONTROL_ROWS_MAX */
};

/* ---- values ---- */

/* Takes over `value`. Memory that is not there ends the process, as everywhere (base/mem.h). */
static void put(json_t *object, const char *key, json_t *value)
{
	if (json_object_set_new(object, key, value) == -1)
		abort();
}

/* jansson takes valid UTF-8 only; what is not becomes '?', so that an odd octet never costs the whole answer. */
static json_t *text(const char *string)
{
	if (!string)
		return json_null();
	json_t *value = json_string(string);
	if (value)
		return value;
	char *clean = mem_strdup(string);
	for (char *c = clean; *c; c++)
		if ((unsigned char)*c > 126)
			*c = '?';
	value = json_string(clean);
	free(clean);
	return value;
}

static json_t *count(unsigned long number)
{
	return json_integer((json_int_t)number);
}

static json_t *seconds(usec_t time)
{
	return time < 0 ? json_null() : json_real((double)time / (double)USEC_PER_SEC);
}

static json_t *answer_new(void)
{
	json_t *answer = json_object();
	put(answer, "schema", json_integer(CONTROL_SCHEMA));
	return answer;
}

json_t *answer_refuse(enum refusal refusal, const char *format, ...)
{
	char sentence[CONF_ERROR_SIZE];
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(sentence, sizeof(sentence), format, arguments);
	va_end(arguments);
	json_t *answer = answer_new();
	put(answer, "error", text(sentence));
	put(answer, "reason", text(refusal_names[refusal]));
	return answer;
}

/* ---- rows ---- */

/* True if this row is to be made. */
static bool rows_want(struct rows *rows, const char *relay)
{
	if (rows->relay && relay && strcmp(rows->relay, relay) != 0)
		return false;
	if (json_array_size(rows->array) < CONTROL_ROWS_MAX)
		return true;
	rows->left_out++;
	return false;
}

static void rows_add(struct rows *rows, json_t *row)
{
	if (json_array_append_new(rows->array, row) == -1)
		abort();
}

static void rows_put(json_t *answer, const char *key, struct rows *rows)
{
	put(answer, key, rows->array);
	if (rows->left_out > 0)
		put(answer, "left_out", count(rows->left_out));
}

/* What was counted for a relay; zeros and nulls if it never had anything to do. */
struct tally {
	const char *relay;
	json_t *row;
};

static void tally_fill(const struct stats_view *stats, void *arg)
{
	struct tally *tally = arg;
	if (strcmp(stats->relay, tally->relay) != 0)
		return;
	put(tally->row, "sent", count(stats->counts.sent));
	put(tally->row, "deferred", count(stats->counts.deferred));
	put(tally->row, "bounced", count(stats->counts.bounced));
	put(tally->row, "ambiguous", count(stats->counts.ambiguous));
	put(tally->row, "wait_p50", seconds(stats->wait_p50));
	put(tally->row, "wait_p95", seconds(stats->wait_p95));
	put(tally->row, "transfer_p50", seconds(stats->transfer_p50));
	put(tally->row, "transfer_p95", seconds(stats->transfer_p95));
}

static void tally_put(json_t *row, const char *relay)
{
	static const char *const counts[] = {"sent", "deferred", "bounced", "ambiguous"};
	static const char *const times[] = {"wait_p50", "wait_p95", "transfer_p50", "transfer_p95"};
	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++)
		put(row, counts[i], count(0));
	for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++)
		put(row, times[i], json_null());
	struct tally tally = {.relay = relay, .row = row};
	stats_each(tally_fill, &tally);
}

static void pool_row(const struct pool_view *pool, void *arg)
{
	struct rows *rows = arg;
	if (!rows_want(rows, pool->relay))
		return;
	char announced[512];
	json_t *row = json_object();
	put(row, "relay", text(pool->relay));
	put(row, "account", text(pool->account));
	put(row, "state", text(pool->state));
	put(row, "mode", text(pool->mode));
	put(row, "mode_reason", text(pool->mode_reason));
	put(row, "mode_for", seconds(pool->mode_for));
	put(row, "reason", text(pool->reason));
	put(row, "retry_in", seconds(pool->retry_in));
	put(row, "max_connections", count(pool->max_connections));
	put(row, "opening", count(pool->opening));
	put(row, "idle", count(pool->idle));
	put(row, "busy", count(pool->busy));
	put(row, "closing", count(pool->closing));
	put(row, "lingering", count(pool->lingering));
	put(row, "account_sockets", count(pool->account_sockets));
	put(row, "account_max", count(pool->account_max));
	put(row, "waiting", count(pool->waiting));
	put(row, "oldest_wait", pool->waiting > 0 ? seconds(pool->oldest_wait) : json_null());
	tally_put(row, pool->relay);
	put(row, "transactions", count(pool->transactions));
	put(row, "reused", count(pool->reused));
	put(row, "replayed", count(pool->replayed));
	put(row, "opened", count(pool->opened));
	put(row, "closed", count(pool->closed));
	put(row, "failed", count(pool->failed));
	put(row, "announced",
	    pool->announced ? text(capabilities_format(pool->announced, announced, sizeof(announced))) : json_null());
	rows_add(rows, row);
}

/* In messages, seconds, messages a second. */
static json_t *limit_value(enum limit_kind kind, int64_t value)
{
	if (value == 0)
		return json_null();
	if (kind == LIMIT_CONNECTIONS || kind == LIMIT_MESSAGES)
		return json_integer(value);
	return json_real((double)value / (double)(kind == LIMIT_RATE ? LIMITS_RATE_UNIT : USEC_PER_SEC));
}

static void limit_rows(const struct pool_view *pool, void *arg)
{
	struct rows *rows = arg;
	for (enum limit_kind kind = 0; kind < LIMIT_KINDS; kind++) {
		const struct limit_view *limit = &pool->limits[kind];
		if (!rows_want(rows, pool->relay))
			return;
		json_t *row = json_object();
		put(row, "relay", text(pool->relay));
		put(row, "limit", text(limit_names[kind]));
		put(row, "in_force", limit_value(kind, limit->in_force));
		put(row, "configured", limit_value(kind, limit->configured));
		put(row, "learned",
		    limit->learned > 0 ? json_real((double)limit->learned / (double)USEC_PER_SEC) : json_null());
		put(row, "why", text(limit->learned > 0 ? limit->why : NULL));
		rows_add(rows, row);
	}
}

static void connection_row(const struct connection_view *connection, void *arg)
{
	struct rows *rows = arg;
	if (!rows_want(rows, connection->relay))
		return;
	json_t *row = json_object();
	put(row, "id", count(connection->id));
	put(row, "relay", text(connection->relay));
	put(row, "host", text(connection->host));
	put(row, "state", text(connection->state));
	put(row, "waits_for", text(connection->waits_for));
	put(row, "age", seconds(connection->age));
	put(row, "since", seconds(connection->since));
	put(row, "uses", count(connection->uses));
	put(row, "in_flight", count(connection->in_flight));
	put(row, "tls", text(connection->tls));
	put(row, "round_trip", seconds(connection->round_trip));
	rows_add(rows, row);
}

static void session_row(const struct session_view *session, void *arg)
{
	struct rows *rows = arg;
	if (!rows_want(rows, NULL))
		return;
	json_t *row = json_object();
	put(row, "protocol", text(session->protocol));
	put(row, "peer", text(session->peer));
	put(row, "uid", session->uid < 0 ? json_null() : json_integer(session->uid));
	put(row, "state", text(session->state));
	put(row, "queue_id", text(*session->queue_id ? session->queue_id : NULL));
	put(row, "recipients", count(session->recipients));
	put(row, "age", seconds(session->age));
	put(row, "since", seconds(session->since));
	put(row, "messages", count(session->messages));
	rows_add(rows, row);
}

static void config_row(const char *key, const char *value, void *arg)
{
	struct rows *rows = arg;
	json_t *row = json_object();
	put(row, "key", text(key));
	put(row, "value", text(value));
	rows_add(rows, row);
}

/* ---- verbs that look ---- */

typedef json_t *answer_fn(const struct control_doors *doors, const char *argument);

static json_t *answer_status(const struct control_doors *doors, const char *argument)
{
	(void)argument;
	struct control_view view;
	doors->look(&view);
	char endpoint[NET_NAME_SIZE];
	json_t *answer = answer_new();
	put(answer, "version", text(PACKAGE_VERSION));
	put(answer, "pid", count((unsigned long)getpid()));
	put(answer, "state", text(view.state));
	put(answer, "uptime", seconds(clock_now() - view.started));
	put(answer, "config_path", text(view.conf->path));
	put(answer, "config_loaded", json_real((double)view.loaded / (double)USEC_PER_SEC));
	put(answer, "milter", text(endpoint_format(&view.began->milter, endpoint)));
	put(answer, "milter_serves", json_boolean(!view.milter_lost));
	json_t *lmtp = json_array();
	for (size_t i = 0; i < view.conf->lmtp_count; i++)
		if (json_array_append_new(lmtp, text(endpoint_format(&view.conf->lmtp[i], endpoint))) == -1)
			abort();
	put(answer, "lmtp", lmtp);
	put(answer, "smtp", view.conf->has_smtp ? text(endpoint_format(&view.conf->smtp, endpoint)) : json_null());
	put(answer, "sessions", count(listener_sessions(doors->listener)));
	put(answer, "memory", count(spool_memory()));
	put(answer, "memory_limit", count(view.conf->memory_limit));
	put(answer, "files", count(spool_files()));
	put(answer, "log_dropped", count(log_dropped()));
	struct rows rows = {.array = json_array()};
	router_each_pool(doors->router, pool_row, &rows);
	rows_put(answer, "pools", &rows);
	return answer;
}

static json_t *answer_unknown_relay(const struct control_doors *doors, const char *relay)
{
	struct control_view view;
	doors->look(&view);
	char names[512] = "";
	size_t length = 0;
	for (size_t i = 0; i < view.conf->relay_count && length < sizeof(names); i++)
		length += (size_t)snprintf(names + length, sizeof(names) - length, "%s%s", i > 0 ? ", " : "",
					   view.conf->relays[i].name);
	return answer_refuse(REFUSAL_USAGE, "there is no relay \"%s\"; relays are: %s", relay, names);
}

static json_t *answer_pools(const struct control_doors *doors, const char *argument)
{
	struct rows rows = {.array = json_array(), .relay = argument};
	router_each_pool(doors->router, pool_row, &rows);
	if (argument && json_array_size(rows.array) == 0) {
		json_decref(rows.array);
		return answer_unknown_relay(doors, argument);
	}
	json_t *answer = answer_new();
	rows_put(answer, "pools", &rows);
	return answer;
}

static json_t *answer_limits(const struct control_doors *doors, const char *argument)
{
	struct rows rows = {.array = json_array(), .relay = argument};
	router_each_pool(doors->router, limit_rows, &rows);
	if (argument && json_array_size(rows.array) == 0) {
		json_decref(rows.array);
		return answer_unknown_relay(doors, argument);
	}
	json_t *answer = answer_new();
	rows_put(answer, "limits", &rows);
	return answer;
}

static json_t *answer_connections(const struct control_doors *doors, const char *argument)
{
	struct control_view view;
	doors->look(&view);
	struct rows rows = {.array = json_array(), .relay = argument};
	router_each_connection(doors->router, connection_row, &rows);
	if (argument && json_array_size(rows.array) == 0 && !conf_relay(view.conf, argument)) {
		json_decref(rows.array);
		return answer_unknown_relay(doors, argument);
	}
	json_t *answer = answer_new();
	rows_put(answer, "connections", &rows);
	return answer;
}

static json_t *answer_sessions(const struct control_doors *doors, const char *argument)
{
	(void)argument;
	struct rows rows = {.array = json_array()};
	listener_each_session(doors->listener, session_row, &rows);
	json_t *answer = answer_new();
	rows_put(answer, "sessions", &rows);
	return answer;
}

static json_t *answer_config(const struct control_doors *doors, const char *argument)
{
	(void)argument;
	struct control_view view;
	doors->look(&view);
	struct rows rows = {.array = json_array()};
	conf_show(view.conf, config_row, &rows);
	json_t *answer = answer_new();
	put(answer, "path", text(view.conf->path));
	rows_put(answer, "keys", &rows);
	return answer;
}

static json_t *answer_check(const struct control_doors *doors, const char *argument)
{
	(void)argument;
	struct control_view view;
	doors->look(&view);
	char error[CONF_ERROR_SIZE] = "";
	struct conf *conf = conf_load(view.conf->path, error);
	json_t *answer = answer_new();
	put(answer, "path", text(view.conf->path));
	put(answer, "valid", json_boolean(conf));
	put(answer, "problem", conf ? json_null() : text(error));
	put(answer, "warning", conf ? text(conf->warning) : json_null());
	conf_unref(&conf);
	return answer;
}

static json_t *answer_version(const struct control_doors *doors, const char *argument)
{
	(void)doors;
	(void)argument;
	unsigned major, minor, patch;
	smfi_version(&major, &minor, &patch);
	char milter[32];
	snprintf(milter, sizeof(milter), "%u.%u.%u", major, minor, patch);
	json_t *answer = answer_new();
	put(answer, "version", text(PACKAGE_VERSION));
	put(answer, "libmilter", text(milter));
	put(answer, "libevent", text(event_get_version()));
	put(answer, "openssl", text(OpenSSL_version(OPENSSL_VERSION_STRING)));
	put(answer, "libgsasl", text(gsasl_check_version(NULL)));
	put(answer, "libconfuse", text(confuse_version));
	put(answer, "jansson", text(JANSSON_VERSION));
	return answer;
}

/* ---- verbs that change something ---- */

static json_t *answer_done(enum admin_verb verb, const char *relay, const char *note)
{
	json_t *answer = answer_new();
	put(answer, "done", text(admin_verbs[verb].name));
	put(answer, "relay", text(relay));
	put(answer, "note", text(note));
	return answer;
}

static json_t *answer_reload(const struct control_doors *doors, const char *argument)
{
	(void)argument;
	char report[CONF_ERROR_SIZE] = "";
	if (!doors->reload(report))
		return answer_refuse(REFUSAL_FAILED, "the running configuration stays in force: %s", report);
	return answer_done(ADMIN_RELOAD, NULL, *report ? report : NULL);
}

static json_t *answer_pause(const struct control_doors *doors, const char *argument)
{
	return router_pause(doors->router, argument) ? answer_done(ADMIN_PAUSE, argument, NULL)
						     : answer_unknown_relay(doors, argument);
}

static json_t *answer_resume(const struct control_doors *doors, const char *argument)
{
	return router_resume(doors->router, argument) ? answer_done(ADMIN_RESUME, argument, NULL)
						      : answer_unknown_relay(doors, argument);
}

static json_t *answer_drain(const struct control_doors *doors, const char *argument)
{
	return router_drain(doors->router, argument) ? answer_done(ADMIN_DRAIN, argument, NULL)
						     : answer_unknown_relay(doors, argument);
}

static json_t *answer_reconnect(const struct control_doors *doors, const char *argument)
{
	return router_reconnect(doors->router, argument) ? answer_done(ADMIN_RECONNECT, argument, NULL)
							 : answer_unknown_relay(doors, argument);
}

static json_t *answer_forget(const struct control_doors *doors, const char *argument)
{
	return router_forget(doors->router, argument) ? answer_done(ADMIN_FORGET, argument, NULL)
						      : answer_unknown_relay(doors, argument);
}

static answer_fn *const answers[ADMIN_VERBS] = {
	[ADMIN_STATUS] = answer_status,           [ADMIN_POOLS] = answer_pools,
	[ADMIN_FORGET] = answer_forget,           [ADMIN_LIMITS] = answer_limits,
	[ADMIN_CONNECTIONS] = answer_connections, [ADMIN_SESSIONS] = answer_sessions,
	[ADMIN_CONFIG] = answer_config,           [ADMIN_CHECK] = answer_check,
	[ADMIN_RELOAD] = answer_reload,           [ADMIN_PAUSE] = answer_pause,
	[ADMIN_RESUME] = answer_resume,           [ADMIN_DRAIN] = answer_drain,
	[ADMIN_RECONNECT] = answer_reconnect,     [ADMIN_VERSION] = answer_version,
};

json_t *answer_make(const struct control_doors *doors, enum admin_verb verb, const char *argument)
{
	return answers[verb](doors, argument);
}
