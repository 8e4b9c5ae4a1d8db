/*
 * How relaypoolctl shows each answer: tables for people, and what the answer means for the exit code. Called by ctl.c
 * and top.c. It never asks the daemon; why, stalls and test-route have files of their own.
 */
#include <config.h>

#include "ctl.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- tables ---- */

static const struct column pool_columns[] = {
	{"RELAY", "relay", KIND_TEXT, true},       {"STATE", "state", KIND_TEXT, false},
	{"BUSY", "busy", KIND_COUNT, false},       {"IDLE", "idle", KIND_COUNT, false},
	{"OPENING", "opening", KIND_COUNT, false}, {"MAX", "max_connections", KIND_COUNT, false},
	{"WAIT", "waiting", KIND_COUNT, false},    {"OLDEST", "oldest_wait", KIND_SECONDS, false},
	{"SENT", "sent", KIND_COUNT, false},       {"DEFER", "deferred", KIND_COUNT, false},
	{"BOUNCE", "bounced", KIND_COUNT, false},
};

const struct table pools_table = TABLE("pools", pool_columns);

static const struct column pool_details[] = {
	{"relay", "relay", KIND_TEXT, false},
	{"account", "account", KIND_TEXT, false},
	{"state", "state", KIND_TEXT, false},
	{"reason", "reason", KIND_TEXT, false},
	{"next attempt in", "retry_in", KIND_SECONDS, false},
	{"mode", "mode", KIND_TEXT, false},
	{"because", "mode_reason", KIND_TEXT, false},
	{"for another", "mode_for", KIND_SECONDS, false},
	{"announced", "announced", KIND_TEXT, false},
	{"max-connections", "max_connections", KIND_COUNT, false},
	{"busy", "busy", KIND_COUNT, false},
	{"idle", "idle", KIND_COUNT, false},
	{"opening", "opening", KIND_COUNT, false},
	{"closing", "closing", KIND_COUNT, false},
	{"lingering", "lingering", KIND_COUNT, false},
	{"account sockets", "account_sockets", KIND_COUNT, false},
	{"account limit", "account_max", KIND_COUNT, false},
	{"waiting", "waiting", KIND_COUNT, false},
	{"oldest wait", "oldest_wait", KIND_SECONDS, false},
	{"sent", "sent", KIND_COUNT, false},
	{"deferred", "deferred", KIND_COUNT, false},
	{"bounced", "bounced", KIND_COUNT, false},
	{"ambiguous", "ambiguous", KIND_COUNT, false},
	{"wait p50", "wait_p50", KIND_SECONDS, false},
	{"wait p95", "wait_p95", KIND_SECONDS, false},
	{"transfer p50", "transfer_p50", KIND_SECONDS, false},
	{"transfer p95", "transfer_p95", KIND_SECONDS, false},
	{"transactions", "transactions", KIND_COUNT, false},
	{"reused", "reused", KIND_COUNT, false},
	{"replayed", "replayed", KIND_COUNT, false},
	{"opened", "opened", KIND_COUNT, false},
	{"closed", "closed", KIND_COUNT, false},
	{"failed", "failed", KIND_COUNT, false},
};
static const struct table pool_record = TABLE(NULL, pool_details);

static const struct column connection_columns[] = {
	{"ID", "id", KIND_COUNT, false},
	{"RELAY", "relay", KIND_TEXT, true},
	{"STATE", "state", KIND_TEXT, false},
	{"FOR", "waits_for", KIND_TEXT, false},
	{"AGE", "age", KIND_SECONDS, false},
	{"SINCE", "since", KIND_SECONDS, false},
	{"USES", "uses", KIND_COUNT, false},
	{"NOW", "in_flight", KIND_COUNT, false},
	{"RTT", "round_trip", KIND_SECONDS, false},
	{"HOST", "host", KIND_TEXT, true},
};
const struct table connections_table = TABLE("connections", connection_columns);

static const struct column limit_columns[] = {
	{"RELAY", "relay", KIND_TEXT, true},      {"LIMIT", "limit", KIND_TEXT, false},
	{"NOW", "in_force", KIND_COUNT, false},   {"CONFIGURED", "configured", KIND_COUNT, false},
	{"LEARNED", "learned", KIND_TIME, false}, {"WHY", "why", KIND_TEXT, true},
};
static const struct table limits_table = TABLE("limits", limit_columns);

static const struct column session_columns[] = {
	{"BY", "protocol", KIND_TEXT, false},        {"PEER", "peer", KIND_TEXT, true},
	{"UID", "uid", KIND_COUNT, false},           {"STATE", "state", KIND_TEXT, false},
	{"QUEUE-ID", "queue_id", KIND_TEXT, false},  {"RCPTS", "recipients", KIND_COUNT, false},
	{"AGE", "age", KIND_SECONDS, false},         {"SINCE", "since", KIND_SECONDS, false},
	{"MESSAGES", "messages", KIND_COUNT, false},
};
static const struct table sessions_table = TABLE("sessions", session_columns);

static const struct column stats_columns[] = {
	{"RELAY", "relay", KIND_TEXT, true},         {"SENT", "sent", KIND_COUNT, false},
	{"DEFER", "deferred", KIND_COUNT, false},    {"BOUNCE", "bounced", KIND_COUNT, false},
	{"MAYBE", "ambiguous", KIND_COUNT, false},   {"SENT/S", "sent_per_second", KIND_RATE, false},
	{"OPENED", "opened", KIND_COUNT, false},     {"REUSED", "reused", KIND_COUNT, false},
	{"WAIT95", "wait_p95", KIND_SECONDS, false}, {"SEND95", "transfer_p95", KIND_SECONDS, false},
};
static const struct table stats_table = TABLE("stats", stats_columns);

static const struct column stats_details[] = {
	{"relay", "relay", KIND_TEXT, false},
	{"sent", "sent", KIND_COUNT, false},
	{"deferred", "deferred", KIND_COUNT, false},
	{"bounced", "bounced", KIND_COUNT, false},
	{"ambiguous", "ambiguous", KIND_COUNT, false},
	{"sent/s", "sent_per_second", KIND_RATE, false},
	{"deferred/s", "deferred_per_second", KIND_RATE, false},
	{"bounced/s", "bounced_per_second", KIND_RATE, false},
	{"opened", "opened", KIND_COUNT, false},
	{"closed", "closed", KIND_COUNT, false},
	{"reused", "reused", KIND_COUNT, false},
	{"wait p50", "wait_p50", KIND_SECONDS, false},
	{"wait p95", "wait_p95", KIND_SECONDS, false},
	{"transfer p50", "transfer_p50", KIND_SECONDS, false},
	{"transfer p95", "transfer_p95", KIND_SECONDS, false},
};
static const struct table stats_record = TABLE(NULL, stats_details);

static const struct column stage_columns[] = {
	{"STAGE", "stage", KIND_TEXT, false}, {"RECENT", "recent", KIND_COUNT, false},
	{"P50", "p50", KIND_SECONDS, false},  {"P95", "p95", KIND_SECONDS, false},
	{"P99", "p99", KIND_SECONDS, false},  {"MAX", "max", KIND_SECONDS, false},
	{"SEEN", "seen", KIND_COUNT, false},
};
static const struct table stages_table = TABLE("stages", stage_columns);

static const struct column latency_columns[] = {
	{"RELAY", "relay", KIND_TEXT, true},     {"STAGE", "stage", KIND_TEXT, false},
	{"RECENT", "recent", KIND_COUNT, false}, {"P50", "p50", KIND_SECONDS, false},
	{"P95", "p95", KIND_SECONDS, false},     {"P99", "p99", KIND_SECONDS, false},
	{"MAX", "max", KIND_SECONDS, false},     {"SEEN", "seen", KIND_COUNT, false},
	{"LIMIT", "limit", KIND_SECONDS, false},
};
static const struct table latency_table = TABLE("latency", latency_columns);

/* ---- verbs ---- */

static int show_pools(const json_t *answer, const char *argument)
{
	const json_t *pools = json_object_get(answer, "pools");
	int code = EXIT_OK;
	size_t i;
	const json_t *pool;
	if (argument)
		record_print(stdout, json_array_get(pools, 0), &pool_record);
	else
		rows_print(stdout, SCREEN_WIDTH, answer, &pools_table);
	json_array_foreach((json_t *)pools, i, pool)
	{
		const char *state = json_string_value(json_object_get(pool, "state"));
		char reason[CELL_SIZE], retry[CELL_SIZE], relay[CELL_SIZE];
		if (!state || strcmp(state, "down") != 0)
			continue;
		code = EXIT_PROBLEM;
		if (!argument)
			printf("%s is down: %s; next attempt in %s\n", format_key(pool, "relay", KIND_TEXT, relay),
			       format_key(pool, "reason", KIND_TEXT, reason),
			       format_key(pool, "retry_in", KIND_SECONDS, retry));
	}
	return code;
}

static int show_status(const json_t *answer, const char *argument)
{
	char a[CELL_SIZE], b[CELL_SIZE], c[CELL_SIZE], d[CELL_SIZE];
	printf("relaypoold %s, %s, pid %s, up %s\n", format_key(answer, "version", KIND_TEXT, a),
	       format_key(answer, "state", KIND_TEXT, b), format_key(answer, "pid", KIND_COUNT, c),
	       format_key(answer, "uptime", KIND_SECONDS, d));
	printf("configuration  %s\n", format_key(answer, "config_path", KIND_TEXT, a));
	printf("loaded         %s\n", format_key(answer, "config_loaded", KIND_TIME, a));
	if (json_is_true(json_object_get(answer, "config_changed")))
		printf("               the file has changed since then: relaypoolctl reload\n");
	bool serves = !json_is_false(json_object_get(answer, "milter_serves"));
	printf("milter         %s%s\n", format_key(answer, "milter", KIND_TEXT, a),
	       serves ? "" : ", stopped by itself: restart relaypoold");
	size_t i;
	const json_t *lmtp;
	json_array_foreach(json_object_get(answer, "lmtp"), i, lmtp)
		printf("lmtp           %s\n", format_cell(lmtp, KIND_TEXT, a));
	if (json_is_string(json_object_get(answer, "smtp")))
		printf("smtp           %s\n", format_key(answer, "smtp", KIND_TEXT, a));
	printf("sessions       %s\n", format_key(answer, "sessions", KIND_COUNT, a));
	printf("bodies         %s of %s in memory, %s in files\n", format_key(answer, "memory", KIND_BYTES, a),
	       format_key(answer, "memory_limit", KIND_BYTES, b), format_key(answer, "files", KIND_COUNT, c));
	if (json_integer_value(json_object_get(answer, "log_dropped")) > 0)
		printf("log            %s lines were lost: the system's logger is too slow or stopped\n",
		       format_key(answer, "log_dropped", KIND_COUNT, a));
	if (json_integer_value(json_object_get(answer, "stalls")) > 0)
		printf("stalls         %s, %s messages wait now: relaypoolctl stalls\n",
		       format_key(answer, "stalls", KIND_COUNT, a), format_key(answer, "held_up", KIND_COUNT, b));
	printf("\n");
	int code = show_pools(answer, argument);
	return serves ? code : EXIT_PROBLEM;
}

static int show_connections(const json_t *answer, const char *argument)
{
	(void)argument;
	rows_print(stdout, SCREEN_WIDTH, answer, &connections_table);
	return EXIT_OK;
}

static int show_limits(const json_t *answer, const char *argument)
{
	(void)argument;
	rows_print(stdout, SCREEN_WIDTH, answer, &limits_table);
	return EXIT_OK;
}

static int show_sessions(const json_t *answer, const char *argument)
{
	(void)argument;
	rows_print(stdout, SCREEN_WIDTH, answer, &sessions_table);
	return EXIT_OK;
}

/* As it came: the text is made of our own words and numbers, and of names in the configuration. */
static int show_metrics(const json_t *answer, const char *argument)
{
	(void)argument;
	const char *metrics = json_string_value(json_object_get(answer, "metrics"));
	fputs(metrics ? metrics : "", stdout);
	return EXIT_OK;
}

static int show_config(const json_t *answer, const char *argument)
{
	(void)argument;
	char key[CELL_SIZE], value[CELL_SIZE];
	size_t i;
	const json_t *row;
	printf("# %s\n", format_key(answer, "path", KIND_TEXT, value));
	json_array_foreach(json_object_get(answer, "keys"), i, row)
		printf("%s = %s\n", format_key(row, "key", KIND_TEXT, key), format_key(row, "value", KIND_TEXT, value));
	return EXIT_OK;
}

static int show_check(const json_t *answer, const char *argument)
{
	(void)argument;
	char text[CELL_SIZE];
	if (json_is_true(json_object_get(answer, "valid"))) {
		printf("%s is valid\n", format_key(answer, "path", KIND_TEXT, text));
		if (json_is_string(json_object_get(answer, "warning")))
			printf("warning: %s\n", format_key(answer, "warning", KIND_TEXT, text));
		return EXIT_OK;
	}
	printf("%s\n", format_key(answer, "problem", KIND_TEXT, text));
	return EXIT_PROBLEM;
}

static int show_done(const json_t *answer, const char *argument)
{
	char text[CELL_SIZE];
	printf("%s: done%s%s\n", format_key(answer, "done", KIND_TEXT, text), argument ? ", " : "",
	       argument ? argument : "");
	if (json_is_string(json_object_get(answer, "note")))
		printf("%s\n", format_key(answer, "note", KIND_TEXT, text));
	return EXIT_OK;
}

static int show_version(const json_t *answer, const char *argument)
{
	(void)argument;
	static const struct column columns[] = {
		{"relaypoold", "version", KIND_TEXT, false}, {"libmilter", "libmilter", KIND_TEXT, false},
		{"libevent", "libevent", KIND_TEXT, false},  {"openssl", "openssl", KIND_TEXT, false},
		{"libgsasl", "libgsasl", KIND_TEXT, false},  {"libconfuse", "libconfuse", KIND_TEXT, false},
		{"jansson", "jansson", KIND_TEXT, false},
	};
	printf("%-16s %s\n", "relaypoolctl", PACKAGE_VERSION);
	static const struct table table = TABLE(NULL, columns);
	record_print(stdout, answer, &table);
	return EXIT_OK;
}

static int show_latency(const json_t *answer, const char *argument)
{
	(void)argument;
	if (json_array_size(json_object_get(answer, latency_table.rows)) == 0)
		printf("No message has been seen yet.\n");
	else
		rows_print(stdout, SCREEN_WIDTH, answer, &latency_table);
	return EXIT_OK;
}

static int show_stats(const json_t *answer, const char *argument)
{
	const json_t *row = json_array_get(json_object_get(answer, stats_table.rows), 0);
	if (!row) {
		printf("Nothing has been counted yet.\n");
	} else if (argument) {
		record_print(stdout, row, &stats_record);
		printf("\n");
		rows_print(stdout, SCREEN_WIDTH, row, &stages_table);
	} else {
		rows_print(stdout, SCREEN_WIDTH, answer, &stats_table);
	}
	return EXIT_OK;
}

show_fn *const shows[ADMIN_VERBS] = {
	[ADMIN_STATUS] = show_status,   [ADMIN_POOLS] = show_pools,           [ADMIN_CONNECTIONS] = show_connections,
	[ADMIN_LIMITS] = show_limits,   [ADMIN_SESSIONS] = show_sessions,     [ADMIN_WHY] = show_why,
	[ADMIN_STALLS] = show_stalls,   [ADMIN_STATS] = show_stats,           [ADMIN_LATENCY] = show_latency,
	[ADMIN_CONFIG] = show_config,   [ADMIN_CHECK] = show_check,           [ADMIN_RELOAD] = show_done,
	[ADMIN_PAUSE] = show_done,      [ADMIN_RESUME] = show_done,           [ADMIN_DRAIN] = show_done,
	[ADMIN_RECONNECT] = show_done,  [ADMIN_FORGET] = show_done,           [ADMIN_VERSION] = show_version,
	[ADMIN_METRICS] = show_metrics, [ADMIN_TEST_ROUTE] = show_test_route,
};

/* ---- what is wrong ---- */

int complain(int code, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	fputs("relaypoolctl: ", stderr);
	vfprintf(stderr, format, arguments);
	fputc('\n', stderr);
	va_end(arguments);
	return code;
}

int show_refusal(const json_t *answer)
{
	const char *reason = json_string_value(json_object_get(answer, "reason"));
	char text[CELL_SIZE];
	complain(EXIT_PROBLEM, "%s", format_key(answer, "error", KIND_TEXT, text));
	if (reason && strcmp(reason, "permission") == 0)
		return EXIT_PERMISSION;
	return reason && strcmp(reason, "usage") == 0 ? EXIT_USAGE : EXIT_PROBLEM;
}
