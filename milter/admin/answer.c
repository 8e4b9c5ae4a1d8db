/*
 * What each verb of the control socket answers: the views of the rooms as JSON, one function for each verb.
 * Called by control.c. Keys are snake_case, times are seconds, what is not known is null; all of it is described in
 * relaypoolctl(8). Never touches a socket.
 */
#include <config.h>

#include "answer_private.h"

#include <confuse.h>
#include <event2/event.h>
#include <gsasl.h>
#include <libmilter/mfapi.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "admin/metrics.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/spool.h"
#include "ingest/listener.h"
#include "observe/stall.h"
#include "observe/stats.h"
#include "relay/route.h"

/* ---- rows ---- */

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
	answer_put(tally->row, "sent", answer_count(stats->counts.sent));
	answer_put(tally->row, "deferred", answer_count(stats->counts.deferred));
	answer_put(tally->row, "bounced", answer_count(stats->counts.bounced));
	answer_put(tally->row, "ambiguous", answer_count(stats->counts.ambiguous));
	answer_put(tally->row, "wait_p50", answer_seconds(stats->wait_p50));
	answer_put(tally->row, "wait_p95", answer_seconds(stats->wait_p95));
	answer_put(tally->row, "transfer_p50", answer_seconds(stats->transfer_p50));
	answer_put(tally->row, "transfer_p95", answer_seconds(stats->transfer_p95));
}

static void tally_put(json_t *row, const char *relay)
{
	static const char *const counts[] = {"sent", "deferred", "bounced", "ambiguous"};
	static const char *const times[] = {"wait_p50", "wait_p95", "transfer_p50", "transfer_p95"};
	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++)
		answer_put(row, counts[i], answer_count(0));
	for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++)
		answer_put(row, times[i], json_null());
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
	answer_put(row, "relay", answer_text(pool->relay));
	answer_put(row, "account", answer_text(pool->account));
	answer_put(row, "state", answer_text(pool->state));
	answer_put(row, "mode", answer_text(pool->mode));
	answer_put(row, "mode_reason", answer_text(pool->mode_reason));
	answer_put(row, "mode_for", answer_seconds(pool->mode_for));
	answer_put(row, "reason", answer_text(pool->reason));
	answer_put(row, "retry_in", answer_seconds(pool->retry_in));
	answer_put(row, "max_connections", answer_count(pool->max_connections));
	answer_put(row, "opening", answer_count(pool->opening));
	answer_put(row, "idle", answer_count(pool->idle));
	answer_put(row, "busy", answer_count(pool->busy));
	answer_put(row, "closing", answer_count(pool->closing));
	answer_put(row, "lingering", answer_count(pool->lingering));
	answer_put(row, "account_sockets", answer_count(pool->account_sockets));
	answer_put(row, "account_max", answer_count(pool->account_max));
	answer_put(row, "waiting", answer_count(pool->waiting));
	answer_put(row, "oldest_wait", pool->waiting > 0 ? answer_seconds(pool->oldest_wait) : json_null());
	tally_put(row, pool->relay);
	answer_put(row, "transactions", answer_count(pool->transactions));
	answer_put(row, "reused", answer_count(pool->reused));
	answer_put(row, "replayed", answer_count(pool->replayed));
	answer_put(row, "opened", answer_count(pool->opened));
	answer_put(row, "closed", answer_count(pool->closed));
	answer_put(row, "failed", answer_count(pool->failed));
	answer_put(row, "announced",
		   pool->announced ? answer_text(capabilities_format(pool->announced, announced, sizeof(announced)))
				   : json_null());
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
		answer_put(row, "relay", answer_text(pool->relay));
		answer_put(row, "limit", answer_text(limit_names[kind]));
		answer_put(row, "in_force", limit_value(kind, limit->in_force));
		answer_put(row, "configured", limit_value(kind, limit->configured));
		answer_put(row, "learned",
			   limit->learned > 0 ? json_real((double)limit->learned / (double)USEC_PER_SEC) : json_null());
		answer_put(row, "why", answer_text(limit->learned > 0 ? limit->why : NULL));
		rows_add(rows, row);
	}
}

static void connection_row(const struct connection_view *connection, void *arg)
{
	struct rows *rows = arg;
	if (!rows_want(rows, connection->relay))
		return;
	json_t *row = json_object();
	answer_put(row, "id", answer_count(connection->id));
	answer_put(row, "relay", answer_text(connection->relay));
	answer_put(row, "host", answer_text(connection->host));
	answer_put(row, "state", answer_text(connection->state));
	answer_put(row, "waits_for", answer_text(connection->waits_for));
	answer_put(row, "age", answer_seconds(connection->age));
	answer_put(row, "since", answer_seconds(connection->since));
	answer_put(row, "uses", answer_count(connection->uses));
	answer_put(row, "in_flight", answer_count(connection->in_flight));
	answer_put(row, "tls", answer_text(connection->tls));
	answer_put(row, "round_trip", answer_seconds(connection->round_trip));
	rows_add(rows, row);
}

static void session_row(const struct session_view *session, void *arg)
{
	struct rows *rows = arg;
	if (!rows_want(rows, NULL))
		return;
	json_t *row = json_object();
	answer_put(row, "protocol", answer_text(session->protocol));
	answer_put(row, "peer", answer_text(session->peer));
	answer_put(row, "uid", session->uid < 0 ? json_null() : json_integer(session->uid));
	answer_put(row, "state", answer_text(session->state));
	answer_put(row, "queue_id", answer_text(*session->queue_id ? session->queue_id : NULL));
	answer_put(row, "recipients", answer_count(session->recipients));
	answer_put(row, "age", answer_seconds(session->age));
	answer_put(row, "since", answer_seconds(session->since));
	answer_put(row, "messages", answer_count(session->messages));
	rows_add(rows, row);
}

static void config_row(const char *key, const char *value, void *arg)
{
	struct rows *rows = arg;
	json_t *row = json_object();
	answer_put(row, "key", answer_text(key));
	answer_put(row, "value", answer_text(value));
	rows_add(rows, row);
}

/* ---- verbs that look ---- */

struct held_up {
	unsigned long stalls, messages;
};

static void count_open(const struct stall_view *stall, void *arg)
{
	struct held_up *held_up = arg;
	if (!stall->open)
		return;
	held_up->stalls++;
	held_up->messages += stall->waiting;
}

/* Whether the file is another one by now than the one that was loaded; null: it cannot be looked at. */
static json_t *config_changed(const struct conf *conf)
{
	int64_t modified = file_modified(conf->path);
	return modified == -1 || conf->modified == -1 ? json_null() : json_boolean(modified != conf->modified);
}

static json_t *answer_status(const struct control_doors *doors, const char *argument)
{
	(void)argument;
	struct control_view view;
	doors->look(&view);
	char endpoint[NET_NAME_SIZE];
	json_t *answer = answer_new();
	answer_put(answer, "version", answer_text(PACKAGE_VERSION));
	answer_put(answer, "pid", answer_count((unsigned long)getpid()));
	answer_put(answer, "state", answer_text(view.state));
	answer_put(answer, "uptime", answer_seconds(clock_now() - view.started));
	answer_put(answer, "config_path", answer_text(view.conf->path));
	answer_put(answer, "config_loaded", json_real((double)view.loaded / (double)USEC_PER_SEC));
	answer_put(answer, "config_changed", config_changed(view.conf));
	answer_put(answer, "milter", answer_text(endpoint_format(&view.began->milter, endpoint)));
	answer_put(answer, "milter_serves", json_boolean(!view.milter_lost));
	json_t *lmtp = json_array();
	for (size_t i = 0; i < view.conf->lmtp_count; i++)
		if (json_array_append_new(lmtp, answer_text(endpoint_format(&view.conf->lmtp[i], endpoint))) == -1)
			abort();
	answer_put(answer, "lmtp", lmtp);
	answer_put(answer, "smtp",
		   view.conf->has_smtp ? answer_text(endpoint_format(&view.conf->smtp, endpoint)) : json_null());
	answer_put(answer, "sessions", answer_count(listener_sessions(doors->listener)));
	answer_put(answer, "memory", answer_count(spool_memory()));
	answer_put(answer, "memory_limit", answer_count(view.conf->memory_limit));
	answer_put(answer, "files", answer_count(spool_files()));
	answer_put(answer, "log_dropped", answer_count(log_dropped()));
	struct held_up held_up = {0};
	stall_each(count_open, &held_up);
	answer_put(answer, "stalls", answer_count(held_up.stalls));
	answer_put(answer, "held_up", answer_count(held_up.messages));
	struct rows rows = {.array = json_array()};
	router_each_pool(doors->router, pool_row, &rows);
	rows_put(answer, "pools", &rows);
	return answer;
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

static json_t *answer_metrics(const struct control_doors *doors, const char *argument)
{
	(void)argument;
	size_t length;
	char *metrics = metrics_text(doors, &length);
	json_t *answer = answer_new();
	answer_put(answer, "content_type", answer_text(METRICS_CONTENT_TYPE));
	answer_put(answer, "metrics", answer_text(metrics));
	free(metrics);
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
	answer_put(answer, "path", answer_text(view.conf->path));
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
	answer_put(answer, "path", answer_text(view.conf->path));
	answer_put(answer, "valid", json_boolean(conf));
	answer_put(answer, "problem", conf ? json_null() : answer_text(error));
	answer_put(answer, "warning", conf ? answer_text(conf->warning) : json_null());
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
	answer_put(answer, "version", answer_text(PACKAGE_VERSION));
	answer_put(answer, "libmilter", answer_text(milter));
	answer_put(answer, "libevent", answer_text(event_get_version()));
	answer_put(answer, "openssl", answer_text(OpenSSL_version(OPENSSL_VERSION_STRING)));
	answer_put(answer, "libgsasl", answer_text(gsasl_check_version(NULL)));
	answer_put(answer, "libconfuse", answer_text(confuse_version));
	answer_put(answer, "jansson", answer_text(JANSSON_VERSION));
	return answer;
}

/* ---- verbs that change something ---- */

static json_t *answer_done(enum admin_verb verb, const char *relay, const char *note)
{
	json_t *answer = answer_new();
	answer_put(answer, "done", answer_text(admin_verbs[verb].name));
	answer_put(answer, "relay", answer_text(relay));
	answer_put(answer, "note", answer_text(note));
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
	[ADMIN_STATUS] = answer_status,
	[ADMIN_POOLS] = answer_pools,
	[ADMIN_FORGET] = answer_forget,
	[ADMIN_LIMITS] = answer_limits,
	[ADMIN_CONNECTIONS] = answer_connections,
	[ADMIN_SESSIONS] = answer_sessions,
	[ADMIN_WHY] = answer_why,
	[ADMIN_STALLS] = answer_stalls,
	[ADMIN_STATS] = answer_stats,
	[ADMIN_LATENCY] = answer_latency,
	[ADMIN_METRICS] = answer_metrics,
	[ADMIN_CONFIG] = answer_config,
	[ADMIN_CHECK] = answer_check,
	[ADMIN_RELOAD] = answer_reload,
	[ADMIN_PAUSE] = answer_pause,
	[ADMIN_RESUME] = answer_resume,
	[ADMIN_DRAIN] = answer_drain,
	[ADMIN_RECONNECT] = answer_reconnect,
	[ADMIN_VERSION] = answer_version,
};

json_t *answer_make(const struct control_doors *doors, enum admin_verb verb, const struct arguments *arguments,
		    later_done_fn *done, void *arg, struct later **later)
{
	if (verb == ADMIN_TEST_ROUTE)
		return answer_test_route(doors, arguments, done, arg, later);
	return answers[verb](doors, arguments->count > 0 ? arguments->words[0] : NULL);
}
