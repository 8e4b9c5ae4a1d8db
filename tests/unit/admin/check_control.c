/* The control socket: what it answers, to whom, and what a hostile client costs. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/loop.h"
#include "check_admin.h"
#include "client.h"
#include "rooms.h"

/* ---- answers ---- */

START_TEST(pools_tell_times_in_seconds_and_unknown_as_null)
{
	rooms.pools[0].waiting = 1;
	rooms.pools[0].oldest_wait = 1500 * USEC_PER_MSEC;
	json_t *answer = ask("{\"verb\":\"pools\"}");
	const json_t *pool = json_array_get(json_object_get(answer, "pools"), 0);
	ck_assert_str_eq(string_of(pool, "relay"), "socketlabs");
	ck_assert(json_real_value(json_object_get(pool, "oldest_wait")) == 1.5);
	ck_assert(json_is_null(json_object_get(pool, "retry_in")));
	ck_assert(json_is_null(json_object_get(pool, "reason")));
	ck_assert(json_is_null(json_object_get(pool, "announced")));
	ck_assert_int_eq(json_integer_value(json_object_get(pool, "sent")), 0);
	ck_assert(json_is_null(json_object_get(pool, "wait_p95")));
	json_decref(answer);
}
END_TEST

START_TEST(pools_tell_what_was_counted)
{
	rooms.stats = (struct stats_view){.relay = "socketlabs",
					  .counts = {.sent = 17, .ambiguous = 2},
					  .wait_p50 = -1,
					  .wait_p95 = 250 * USEC_PER_MSEC,
					  .transfer_p50 = -1,
					  .transfer_p95 = -1};
	json_t *answer = ask("{\"verb\":\"pools\",\"args\":[\"socketlabs\"]}");
	const json_t *pool = json_array_get(json_object_get(answer, "pools"), 0);
	ck_assert_int_eq(json_integer_value(json_object_get(pool, "sent")), 17);
	ck_assert_int_eq(json_integer_value(json_object_get(pool, "ambiguous")), 2);
	ck_assert(json_real_value(json_object_get(pool, "wait_p95")) == 0.25);
	json_decref(answer);
}
END_TEST

START_TEST(a_name_narrows_pools_and_connections)
{
	rooms.pools[1] = rooms.pools[0];
	rooms.pools[1].relay = "ses";
	rooms.pool_count = 2;
	rooms.connections[0] = (struct connection_view){
		.relay = "ses", .id = 4, .state = "idle", .waits_for = "-", .tls = "-", .round_trip = -1};
	rooms.connection_count = 1;
	json_t *answer = ask("{\"verb\":\"pools\",\"args\":[\"ses\"]}");
	ck_assert_uint_eq(json_array_size(json_object_get(answer, "pools")), 1);
	json_decref(answer);
	answer = ask("{\"verb\":\"connections\",\"args\":[\"socketlabs\"]}");
	ck_assert_uint_eq(json_array_size(json_object_get(answer, "connections")), 0);
	json_decref(answer);
	answer = ask("{\"verb\":\"connections\"}");
	ck_assert_uint_eq(json_array_size(json_object_get(answer, "connections")), 1);
	json_decref(answer);
}
END_TEST

START_TEST(limits_are_told_in_messages_and_seconds)
{
	rooms.pools[0].limits[LIMIT_CONNECTIONS] = (struct limit_view){
		.in_force = 10, .configured = 20, .learned = 1764331200 * USEC_PER_SEC, .why = "421 4.4.5 Too many"};
	rooms.pools[0].limits[LIMIT_IDLE] =
		(struct limit_view){.in_force = 4500 * USEC_PER_MSEC, .configured = 60 * USEC_PER_SEC};
	rooms.pools[0].limits[LIMIT_RATE] = (struct limit_view){.in_force = 500, .configured = 0};
	json_t *answer = ask("{\"verb\":\"limits\",\"args\":[\"socketlabs\"]}");
	const json_t *limits = json_object_get(answer, "limits"), *row = json_array_get(limits, LIMIT_CONNECTIONS);
	ck_assert_uint_eq(json_array_size(limits), LIMIT_KINDS);
	ck_assert_str_eq(string_of(row, "limit"), "max_connections");
	ck_assert_int_eq(json_integer_value(json_object_get(row, "in_force")), 10);
	ck_assert_int_eq(json_integer_value(json_object_get(row, "configured")), 20);
	ck_assert(json_real_value(json_object_get(row, "learned")) == 1764331200);
	ck_assert_str_eq(string_of(row, "why"), "421 4.4.5 Too many");
	row = json_array_get(limits, LIMIT_IDLE);
	ck_assert(json_real_value(json_object_get(row, "in_force")) == 4.5);
	ck_assert(json_is_null(json_object_get(row, "why")));
	row = json_array_get(limits, LIMIT_RATE);
	ck_assert(json_real_value(json_object_get(row, "in_force")) == 0.5);
	ck_assert(json_is_null(json_object_get(row, "configured")));
	json_decref(answer);
}
END_TEST

START_TEST(an_unknown_relay_is_answered_with_those_there_are)
{
	expect_refusal("{\"verb\":\"limits\",\"args\":[\"sokcetlabs\"]}", "usage", "relays are: socketlabs");
	expect_refusal("{\"verb\":\"forget\",\"args\":[\"sokcetlabs\"]}", "usage", "relays are: socketlabs");
	expect_refusal("{\"verb\":\"pools\",\"args\":[\"sokcetlabs\"]}", "usage", "relays are: socketlabs");
	expect_refusal("{\"verb\":\"connections\",\"args\":[\"sokcetlabs\"]}", "usage", "relays are: socketlabs");
	expect_refusal("{\"verb\":\"pause\",\"args\":[\"sokcetlabs\"]}", "usage", "relays are: socketlabs");
}
END_TEST

START_TEST(octets_that_are_not_utf8_never_cost_the_answer)
{
	rooms.pools[0].reason = "535 \xff\xfe no";
	json_t *answer = ask("{\"verb\":\"pools\"}");
	ck_assert_str_eq(string_of(json_array_get(json_object_get(answer, "pools"), 0), "reason"), "535 ?? no");
	json_decref(answer);
}
END_TEST

START_TEST(rows_beyond_the_limit_are_left_out_and_counted)
{
	rooms.pool_repeat = CONTROL_ROWS_MAX + 4;
	json_t *answer = ask("{\"verb\":\"pools\"}");
	ck_assert_uint_eq(json_array_size(json_object_get(answer, "pools")), CONTROL_ROWS_MAX);
	ck_assert_int_eq(json_integer_value(json_object_get(answer, "left_out")), 5);
	json_decref(answer);
}
END_TEST

START_TEST(status_and_sessions_tell_of_the_sessions)
{
	rooms.sessions[0] = (struct session_view){
		.protocol = "LMTP", .peer = "unix", .uid = -1, .state = "ready", .queue_id = "", .age = USEC_PER_SEC};
	rooms.session_count = 1;
	json_t *answer = ask("{\"verb\":\"status\"}");
	ck_assert_int_eq(json_integer_value(json_object_get(answer, "sessions")), 1);
	ck_assert_str_eq(string_of(answer, "config_path"), rooms.conf_path);
	ck_assert(json_is_true(json_object_get(answer, "milter_serves")));
	ck_assert(json_is_false(json_object_get(answer, "config_changed")));
	ck_assert_uint_eq(json_array_size(json_object_get(answer, "pools")), 1);
	json_decref(answer);
	answer = ask("{\"verb\":\"sessions\"}");
	const json_t *session = json_array_get(json_object_get(answer, "sessions"), 0);
	ck_assert(json_is_null(json_object_get(session, "uid")));
	ck_assert(json_is_null(json_object_get(session, "queue_id")));
	ck_assert(json_real_value(json_object_get(session, "age")) == 1);
	json_decref(answer);
}
END_TEST

START_TEST(status_tells_that_the_file_is_another_one_by_now)
{
	const struct timespec earlier[2] = {{.tv_sec = 1}, {.tv_sec = 1}}; /* as cp -p lays an old one there */
	ck_assert_int_eq(utimensat(AT_FDCWD, rooms.conf_path, earlier, 0), 0);
	json_t *answer = ask("{\"verb\":\"status\"}");
	ck_assert(json_is_true(json_object_get(answer, "config_changed")));
	json_decref(answer);
	ck_assert_int_eq(unlink(rooms.conf_path), 0);
	answer = ask("{\"verb\":\"status\"}");
	ck_assert(json_is_null(json_object_get(answer, "config_changed")));
	json_decref(answer);
}
END_TEST

START_TEST(check_reads_the_file_and_loads_nothing)
{
	json_t *answer = ask("{\"verb\":\"check\"}");
	ck_assert(json_is_true(json_object_get(answer, "valid")));
	json_decref(answer);
	rooms_write_conf("relay \"socketlabs\" { hots = \"smtp.socketlabs.com\" }\n");
	answer = ask("{\"verb\":\"check\"}");
	ck_assert(json_is_false(json_object_get(answer, "valid")));
	ck_assert_ptr_nonnull(strstr(string_of(answer, "problem"), "relaypool.conf:1:"));
	json_decref(answer);
	ck_assert_str_eq(rooms.called, "");
}
END_TEST

START_TEST(config_shows_no_secret)
{
	char conf[512], secret[64];
	snprintf(secret, sizeof(secret), "%s/secret", rooms.directory);
	FILE *file = fopen(secret, "w");
	fputs("open sesame\n", file);
	fclose(file);
	chmod(secret, 0600);
	snprintf(conf, sizeof(conf), "relay \"a\" { host = \"h\" username = \"u\" password-file = \"%s\" }\n", secret);
	rooms_write_conf(conf);
	char error[CONF_ERROR_SIZE];
	conf_unref(&rooms.conf);
	rooms.conf = conf_load(rooms.conf_path, error);
	ck_assert_msg(rooms.conf != NULL, "%s", error);
	json_t *answer = ask("{\"verb\":\"config\"}");
	char *text = json_dumps(answer, 0);
	ck_assert_ptr_nonnull(strstr(text, "relay.a.host"));
	ck_assert_ptr_null(strstr(text, "sesame"));
	free(text);
	json_decref(answer);
	unlink(secret);
}
END_TEST

START_TEST(version_names_the_libraries)
{
	json_t *answer = ask("{\"verb\":\"version\"}");
	ck_assert_ptr_nonnull(string_of(answer, "openssl"));
	ck_assert_ptr_nonnull(string_of(answer, "libmilter"));
	json_decref(answer);
}
END_TEST

/* ---- changes ---- */

static const uid_t stranger = 4712;

START_TEST(a_stranger_may_look_and_not_change)
{
	static const char *const verbs[] = {"reload", "pause", "resume", "drain", "reconnect", "forget"};
	char line[64];
	rooms.peer = stranger;
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		snprintf(line, sizeof(line), "{\"verb\":\"%s\"}", verbs[i]);
		expect_refusal(line, "permission", "root");
	}
	ck_assert_str_eq(rooms.called, "");
	json_t *answer = ask("{\"verb\":\"status\"}");
	ck_assert_ptr_null(json_object_get(answer, "error"));
	json_decref(answer);
}
END_TEST

static void expect_done(uid_t peer, const char *line, const char *called)
{
	rooms.peer = peer;
	rooms.called[0] = '\0';
	json_t *answer = ask(line);
	ck_assert_msg(!json_object_get(answer, "error"), "%s", string_of(answer, "error"));
	ck_assert_str_eq(rooms.called, called);
	json_decref(answer);
}

START_TEST(root_the_daemon_and_its_user_may_change)
{
	expect_done(0, "{\"verb\":\"pause\",\"args\":[\"socketlabs\"]}", "pause socketlabs");
	expect_done(geteuid(), "{\"verb\":\"resume\",\"args\":[]}", "resume all");
	expect_done(4711, "{\"verb\":\"drain\"}", "drain all");
	expect_done(4711, "{\"verb\":\"reconnect\"}", "reconnect all");
	expect_done(4711, "{\"verb\":\"forget\",\"args\":[\"socketlabs\"]}", "forget socketlabs");
	expect_done(4711, "{\"verb\":\"reload\"}", "reload");
}
END_TEST

START_TEST(a_failed_reload_says_why)
{
	rooms.reload_error = "relaypool.conf:7: unknown key";
	expect_refusal("{\"verb\":\"reload\"}", "failed", "relaypool.conf:7: unknown key");
	rooms.reload_error = NULL;
	rooms.reload_note = "needs a restart to take effect: milter";
	json_t *answer = ask("{\"verb\":\"reload\"}");
	ck_assert_str_eq(string_of(answer, "note"), rooms.reload_note);
	json_decref(answer);
}
END_TEST

/* ---- hostile clients ---- */

START_TEST(what_is_no_request_gets_a_clear_answer)
{
	expect_refusal("pools", "usage", "one line of JSON");
	expect_refusal("[]", "usage", "a request is");
	expect_refusal("{\"verb\":7}", "usage", "a request is");
	expect_refusal("{\"verb\":\"pools\",\"args\":\"socketlabs\"}", "usage", "a request is");
	expect_refusal("{\"verb\":\"pools\",\"args\":[7]}", "usage", "a request is");
	expect_refusal("{\"verb\":\"explode\"}", "usage", "no verb \"explode\"");
	expect_refusal("{\"verb\":\"status\",\"args\":[\"a\"]}", "usage", "too many arguments");
	expect_refusal("{\"verb\":\"pools\",\"args\":[\"a\",\"b\"]}", "usage", "too many arguments");
	expect_refusal("{\"verb\":\"pause\",\"args\":[\"a\\nrelaypoold: all is well\"]}", "usage", "one word");
	expect_refusal("{\"verb\":\"pause\",\"args\":[\"\"]}", "usage", "one word");
	expect_refusal("", "usage", "one line of JSON");
}
END_TEST

START_TEST(a_line_too_long_is_refused_and_the_client_cut)
{
	char line[CONTROL_LINE_MAX + 2000];
	memset(line, ' ', sizeof(line));
	line[sizeof(line) - 1] = '\0';
	int fd = rooms_connect();
	client_say(fd, line);
	bool ended;
	char *text = client_hear(fd, &ended);
	ck_assert_ptr_nonnull(strstr(text, "at most 8192 octets"));
	ck_assert(ended);
	free(text);
	close(fd);
}
END_TEST

START_TEST(requests_are_answered_in_order_however_they_arrive)
{
	bool ended;
	int fd = rooms_connect();
	client_say(fd, "{\"verb\":\"version\"}\n{\"verb\":\"pools\"}\n{\"verb\":");
	client_say(fd, "\"sessions\"}\n");
	char *text = client_hear(fd, &ended);
	char *version = strstr(text, "libevent"), *pools = strstr(text, "\"pools\""),
	     *sessions = strstr(text, "\"sessions\"");
	ck_assert(version && pools && sessions && version < pools && pools < sessions);
	ck_assert(!ended);
	free(text);
	close(fd);
}
END_TEST

START_TEST(who_has_said_all_still_gets_its_answer)
{
	bool ended;
	int fd = rooms_connect();
	ck_assert_int_gt(send(fd, "{\"verb\":\"pools\"}\n", 17, 0), 0);
	shutdown(fd, SHUT_WR);
	loop_settle();
	char *text = client_hear(fd, &ended);
	ck_assert_ptr_nonnull(strstr(text, "socketlabs"));
	ck_assert(ended);
	free(text);
	close(fd);
}
END_TEST

START_TEST(a_silent_client_is_cut_and_a_trickle_does_not_help)
{
	int silent = rooms_connect(), trickling = rooms_connect();
	for (int i = 0; i < 9; i++) {
		clock_fake_advance(USEC_PER_SEC);
		client_say(trickling, " ");
	}
	ck_assert(!client_cut(silent));
	clock_fake_advance(USEC_PER_SEC);
	loop_settle();
	ck_assert(client_cut(silent));
	ck_assert(client_cut(trickling));
	close(silent);
	close(trickling);
}
END_TEST

START_TEST(who_never_reads_is_cut_and_delays_nobody)
{
	bool ended;
	rooms.pool_repeat = CONTROL_ROWS_MAX - 1; /* more than a socket buffer holds */
	int fd = rooms_connect();
	client_say(fd, "{\"verb\":\"pools\"}\n{\"verb\":\"pools\"}\n");
	rooms.pool_repeat = 0;
	json_decref(ask("{\"verb\":\"pools\"}"));
	clock_fake_advance(CONTROL_PATIENCE);
	loop_settle();
	char *text = client_hear(fd, &ended);
	ck_assert(ended);
	ck_assert_ptr_null(strchr(text, '\n')); /* a part of the first answer, no second one */
	free(text);
	close(fd);
}
END_TEST

START_TEST(one_client_too_many_is_turned_away)
{
	int clients[CONTROL_CLIENTS_MAX];
	for (int i = 0; i < CONTROL_CLIENTS_MAX; i++)
		clients[i] = rooms_connect();
	bool ended;
	int fd = rooms_connect();
	char *text = client_hear(fd, &ended);
	ck_assert(ended);
	ck_assert_ptr_nonnull(strstr(text, "too many others"));
	free(text);
	close(fd);
	close(clients[0]);
	loop_settle();
	json_decref(ask("{\"verb\":\"pools\"}"));
	for (int i = 1; i < CONTROL_CLIENTS_MAX; i++) {
		ck_assert(!client_cut(clients[i]));
		close(clients[i]);
	}
}
END_TEST

Suite *control_suite(void)
{
	Suite *suite = suite_create("control");
	TCase *answers = tcase_create("answers");
	tcase_add_checked_fixture(answers, rooms_open, rooms_close);
	tcase_add_test(answers, pools_tell_times_in_seconds_and_unknown_as_null);
	tcase_add_test(answers, pools_tell_what_was_counted);
	tcase_add_test(answers, a_name_narrows_pools_and_connections);
	tcase_add_test(answers, limits_are_told_in_messages_and_seconds);
	tcase_add_test(answers, an_unknown_relay_is_answered_with_those_there_are);
	tcase_add_test(answers, octets_that_are_not_utf8_never_cost_the_answer);
	tcase_add_test(answers, rows_beyond_the_limit_are_left_out_and_counted);
	tcase_add_test(answers, status_and_sessions_tell_of_the_sessions);
	tcase_add_test(answers, status_tells_that_the_file_is_another_one_by_now);
	tcase_add_test(answers, check_reads_the_file_and_loads_nothing);
	tcase_add_test(answers, config_shows_no_secret);
	tcase_add_test(answers, version_names_the_libraries);
	suite_add_tcase(suite, answers);
	TCase *changes = tcase_create("changes");
	tcase_add_checked_fixture(changes, rooms_open, rooms_close);
	tcase_add_test(changes, a_stranger_may_look_and_not_change);
	tcase_add_test(changes, root_the_daemon_and_its_user_may_change);
	tcase_add_test(changes, a_failed_reload_says_why);
	suite_add_tcase(suite, changes);
	TCase *hostile = tcase_create("hostile");
	tcase_add_checked_fixture(hostile, rooms_open, rooms_close);
	tcase_add_test(hostile, what_is_no_request_gets_a_clear_answer);
	tcase_add_test(hostile, a_line_too_long_is_refused_and_the_client_cut);
	tcase_add_test(hostile, requests_are_answered_in_order_however_they_arrive);
	tcase_add_test(hostile, who_has_said_all_still_gets_its_answer);
	tcase_add_test(hostile, a_silent_client_is_cut_and_a_trickle_does_not_help);
	tcase_add_test(hostile, who_never_reads_is_cut_and_delays_nobody);
	tcase_add_test(hostile, one_client_too_many_is_turned_away);
	suite_add_tcase(suite, hostile);
	return suite;
}
