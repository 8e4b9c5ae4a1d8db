/* relaypoolctl, run as an administrator runs it, against the control socket of this process: tables and exit codes. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/net.h"
#include "check_admin.h"
#include "client.h"
#include "rooms.h"

/* Rows as long as they get. */
static void fill_rooms(void)
{
	rooms.pools[0] = (struct pool_view){
		.relay = "a-provider-with-a-name-as-long-as-the-parser-allows-for-a-relay",
		.account = "a",
		.state = "draining",
		.mode = "lockstep",
		.retry_in = -1,
		.max_connections = 1000,
		.opening = 1000,
		.idle = 1000,
		.busy = 1000,
		.waiting = 12345,
		.oldest_wait = 539 * USEC_PER_SEC,
	};
	for (unsigned i = 0; i < LIMIT_KINDS; i++)
		rooms.pools[0].limits[i] = (struct limit_view){
			.in_force = 86400 * USEC_PER_SEC,
			.configured = 86400 * USEC_PER_SEC,
			.learned = 1764331200 * USEC_PER_SEC,
			.why = "421 4.4.5 Too many connections from your host, and many more words about it",
		};
	rooms.stats = (struct stats_view){.relay = rooms.pools[0].relay,
					  .counts = {.sent = 123456789, .deferred = 1234567, .bounced = 123456}};
	rooms.connections[0] =
		(struct connection_view){.relay = "email-smtp",
					 .id = 1234567,
					 .host = "email-smtp.eu-west-1.amazonaws.com[2001:db8:1:2:3:4:5:6]:465",
					 .state = "handshake",
					 .waits_for = "connect",
					 .age = 86399 * USEC_PER_SEC,
					 .since = 599 * USEC_PER_SEC,
					 .uses = 10000,
					 .in_flight = 100,
					 .tls = "-",
					 .round_trip = 250 * USEC_PER_MSEC};
	rooms.connection_count = 1;
	rooms.sessions[0] = (struct session_view){.protocol = "LMTP",
						  .peer = "2001:db8:1234:5678:9abc:def0:1234:5678",
						  .uid = 4294967294,
						  .state = "verdicts",
						  .queue_id = "4fXyZ1AbCdEfGhIj",
						  .recipients = 1000,
						  .age = 86400 * USEC_PER_SEC,
						  .since = 599 * USEC_PER_SEC,
						  .messages = 1234567};
	rooms.session_count = 1;
}

START_TEST(tables_fit_80_columns)
{
	fill_rooms();
	ck_assert_int_eq(RUN("status"), 0);
	expect_80_columns();
	ck_assert_int_eq(RUN("pools"), 0);
	expect_80_columns();
	expect_says("123456789");
	ck_assert_int_eq(RUN("connections"), 0);
	expect_80_columns();
	expect_says("email-smtp");
	ck_assert_int_eq(RUN("limits"), 0);
	expect_80_columns();
	expect_says("max_connections");
	ck_assert_int_eq(RUN("sessions"), 0);
	expect_80_columns();
	expect_says("4fXyZ1AbCdEfGhIj");
	ck_assert_int_eq(RUN("help"), 0);
	expect_80_columns();
}
END_TEST

START_TEST(no_verb_means_status)
{
	ck_assert_int_eq(run((const char *const[]){"relaypoolctl", "-s", rooms.socket_path, NULL}), 0);
	expect_says("running");
	expect_says("up 1d01h");
	expect_says(rooms.conf_path);
	expect_says("socketlabs");
}
END_TEST

START_TEST(what_is_not_known_is_a_hyphen)
{
	rooms.connections[0] = (struct connection_view){.relay = "socketlabs",
							.id = 4,
							.host = "-",
							.state = "idle",
							.waits_for = "-",
							.tls = "-",
							.round_trip = -1};
	rooms.connection_count = 1;
	ck_assert_int_eq(RUN("connections"), 0);
	expect_says(" - -\n");
	ck_assert_int_eq(RUN("pools", "socketlabs"), 0);
	expect_says("announced        -\n");
}
END_TEST

START_TEST(what_a_relay_said_cannot_steer_the_terminal)
{
	rooms.pools[0].state = "down";
	rooms.pools[0].reason = "\x1b[2J\a535 no";
	ck_assert_int_eq(RUN("pools"), 1);
	expect_says("socketlabs is down: ?[2J?535 no; next attempt in -\n");
}
END_TEST

START_TEST(a_relay_that_is_down_makes_exit_code_1)
{
	ck_assert_int_eq(RUN("status"), 0);
	rooms.pools[0].state = "down";
	rooms.pools[0].reason = "connect: Connection refused";
	rooms.pools[0].retry_in = 12 * USEC_PER_SEC;
	ck_assert_int_eq(RUN("status"), 1);
	expect_says("socketlabs is down: connect: Connection refused; next attempt in 12.0s");
	ck_assert_int_eq(RUN("pools", "socketlabs"), 1);
}
END_TEST

START_TEST(a_milter_that_stopped_makes_exit_code_1)
{
	rooms.milter_lost = true;
	ck_assert_int_eq(RUN("status"), 1);
	expect_says("stopped by itself");
}
END_TEST

START_TEST(j_prints_what_the_daemon_said)
{
	ck_assert_int_eq(RUN("-j", "pools"), 0);
	json_t *answer = json_loads(output, 0, NULL);
	ck_assert_uint_eq(json_array_size(json_object_get(answer, "pools")), 1);
	json_decref(answer);
	ck_assert_int_eq(RUN("-j", "pools", "nobody"), 2);
	expect_says("\"reason\":\"usage\"");
}
END_TEST

START_TEST(a_wrong_command_line_is_exit_code_2)
{
	ck_assert_int_eq(RUN("explode"), 2);
	expect_says("no verb \"explode\"");
	ck_assert_int_eq(RUN("status", "socketlabs"), 2);
	ck_assert_int_eq(RUN("pools", "a", "b"), 2);
	ck_assert_int_eq(RUN("-c", "x", "pools"), 2);
	ck_assert_int_eq(RUN("-q"), 2);
	ck_assert_int_eq(RUN("pools", "sokcetlabs"), 2);
	expect_says("relays are: socketlabs");
}
END_TEST

START_TEST(one_domain_at_a_time)
{
	static const char *const wrong[] = {"a.example,b.example", "a.example b.example", "", "x')"};
	ck_assert_int_eq(RUN("setup", "postfix", "--domain", wrong[_i]), 2);
	expect_says("--domain takes one domain, as in example.org");
	ck_assert_int_eq(RUN("setup", "sendmail", "--domain", "a.example", "--domain", wrong[_i]), 2);
}
END_TEST

static unsigned lines_of_output(void)
{
	unsigned lines = 0;
	for (const char *c = output; *c != '\0'; c++)
		lines += *c == '\n';
	return lines;
}

START_TEST(a_wrong_option_is_the_last_but_one_line)
{
	static const char *const wrong[][4] = {
		{"-q"},
		{"--frm"},
		{"pools", "--frm"},
		{"test-route", "a@b", "--force"},
		{"test-route", "a@b", "--from"},
		{"setup", "postfix", "--domain"},
		{"top", "-q"},
		{"providers", "-q"},
	};
	const char *const *words = wrong[_i];
	ck_assert_int_eq(RUN(words[0], words[1], words[2], words[3]), 2);
	ck_assert_uint_eq(lines_of_output(), 2);
	expect_says("option");
	expect_says("\nrelaypoolctl: \"relaypoolctl help\" lists the verbs and their options\n");
}
END_TEST

START_TEST(help_may_be_asked_for_in_any_way)
{
	static const char *const ways[][2] = {{"help"},
					      {"-h"},
					      {"--help"},
					      {"pools", "--help"},
					      {"setup", "--help"},
					      {"top", "--help"},
					      {"providers", "--help"}};
	ck_assert_int_eq(RUN(ways[_i][0], ways[_i][1]), 0);
	expect_says("usage: relaypoolctl");
	expect_80_columns();
}
END_TEST

/* Which presets are installed, if any, is this host's. */
START_TEST(presets_need_no_daemon)
{
	ck_assert_int_eq(run((const char *const[]){"relaypoolctl", "-s", "/nonexistent/sock", "providers", NULL}), 0);
	expect_says("/relaypool/providers");
	expect_80_columns();
	ck_assert_int_eq(RUN("providers", "-j"), 0);
	json_t *answer = json_loads(output, 0, NULL);
	ck_assert_int_eq(json_integer_value(json_object_get(answer, "schema")), 1);
	ck_assert_uint_eq(json_array_size(json_object_get(answer, "directories")), 2);
	ck_assert(json_is_array(json_object_get(answer, "providers")));
	json_decref(answer);
	ck_assert_int_eq(RUN("providers", "../relaypool"), 1);
	expect_says("there is no preset \"../relaypool\"; relaypoolctl providers lists them");
	ck_assert_int_eq(RUN("providers", "a", "b"), 2);
	ck_assert_int_eq(RUN("-c", "x", "providers"), 2);
	ck_assert_int_eq(RUN("-d", "2", "providers"), 2);
}
END_TEST

START_TEST(no_daemon_is_exit_code_3)
{
	ck_assert_int_eq(run((const char *const[]){"relaypoolctl", "-s", "/nonexistent/sock", "status", NULL}), 3);
	expect_says("does not run");
}
END_TEST

START_TEST(not_for_this_user_is_exit_code_4)
{
	rooms.peer = 4712;
	ck_assert_int_eq(RUN("reload"), 4);
	expect_says("root");
	ck_assert_str_eq(rooms.called, "");
}
END_TEST

/* The request is longer than a socket's buffer, so that the daemon has closed before all of it is written. */
START_TEST(a_daemon_that_turns_it_away_is_still_heard)
{
	static char longest[120 * 1024];
	memset(longest, 1, sizeof(longest) - 1); /* in JSON six times as long */
	ck_assert_int_eq(RUN("pools", longest), 2);
	expect_says("a request has at most");
	int others[CONTROL_CLIENTS_MAX];
	for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++)
		others[i] = rooms_connect();
	ck_assert_int_eq(RUN("pools", longest), 1);
	expect_says("too many others are connected");
	for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++)
		close(others[i]);
}
END_TEST

START_TEST(changes_say_what_was_done)
{
	ck_assert_int_eq(RUN("pause", "socketlabs"), 0);
	expect_says("pause: done, socketlabs");
	ck_assert_str_eq(rooms.called, "pause socketlabs");
	rooms.reload_note = "needs a restart to take effect: milter";
	ck_assert_int_eq(RUN("reload"), 0);
	expect_says("needs a restart");
	rooms.reload_error = "relaypool.conf:7: unknown key";
	ck_assert_int_eq(RUN("reload"), 1);
	expect_says("the running configuration stays in force: relaypool.conf:7: unknown key");
}
END_TEST

START_TEST(check_works_with_and_without_a_daemon)
{
	ck_assert_int_eq(RUN("check"), 0);
	rooms_write_conf("relay \"socketlabs\" { hots = \"smtp.socketlabs.com\" }\n");
	ck_assert_int_eq(RUN("check"), 1);
	expect_says("relaypool.conf:1:");
	ck_assert_int_eq(RUN("-j", "check"), 1);
	static const char nowhere[] = "/nonexistent/sock";
	ck_assert_int_eq(
		run((const char *const[]){"relaypoolctl", "-s", nowhere, "-c", rooms.conf_path, "check", NULL}), 1);
	expect_says("relaypool.conf:1:");
	rooms_write_conf("relay \"socketlabs\" { host = \"smtp.socketlabs.com\" }\n");
	ck_assert_int_eq(
		run((const char *const[]){"relaypoolctl", "-s", nowhere, "-c", rooms.conf_path, "check", NULL}), 0);
	expect_says("is valid");
}
END_TEST

/* As a service manager does, while its daemon cannot start: nobody there could say why. */
START_TEST(check_looks_itself_where_nobody_answers)
{
	struct endpoint endpoint = {.kind = ENDPOINT_UNIX};
	char error[NET_ERROR_SIZE];
	snprintf(endpoint.path, sizeof(endpoint.path), "%s.held", rooms.socket_path);
	int fd = net_listen(&endpoint, (gid_t)-1, 0600, error);
	ck_assert_msg(fd != -1, "%s", error);
	ck_assert_int_eq(run((const char *const[]){"relaypoolctl", "-s", endpoint.path, "check", NULL}), 1);
	expect_says("relaypool.conf");
	close(fd);
	unlink(endpoint.path);
}
END_TEST

Suite *ctl_suite(void)
{
	Suite *suite = suite_create("ctl");
	TCase *screen = tcase_create("screen");
	tcase_add_checked_fixture(screen, rooms_open, rooms_close);
	tcase_set_timeout(screen, 60);
	tcase_add_test(screen, tables_fit_80_columns);
	tcase_add_test(screen, no_verb_means_status);
	tcase_add_test(screen, what_is_not_known_is_a_hyphen);
	tcase_add_test(screen, what_a_relay_said_cannot_steer_the_terminal);
	tcase_add_test(screen, j_prints_what_the_daemon_said);
	tcase_add_test(screen, changes_say_what_was_done);
	suite_add_tcase(suite, screen);
	TCase *codes = tcase_create("exit codes");
	tcase_add_checked_fixture(codes, rooms_open, rooms_close);
	tcase_set_timeout(codes, 60);
	tcase_add_test(codes, a_relay_that_is_down_makes_exit_code_1);
	tcase_add_test(codes, a_milter_that_stopped_makes_exit_code_1);
	tcase_add_test(codes, a_wrong_command_line_is_exit_code_2);
	tcase_add_loop_test(codes, one_domain_at_a_time, 0, 4);
	tcase_add_loop_test(codes, a_wrong_option_is_the_last_but_one_line, 0, 8);
	tcase_add_loop_test(codes, help_may_be_asked_for_in_any_way, 0, 7);
	tcase_add_test(codes, presets_need_no_daemon);
	tcase_add_test(codes, no_daemon_is_exit_code_3);
	tcase_add_test(codes, a_daemon_that_turns_it_away_is_still_heard);
	tcase_add_test(codes, not_for_this_user_is_exit_code_4);
	tcase_add_test(codes, check_works_with_and_without_a_daemon);
	tcase_add_test(codes, check_looks_itself_where_nobody_answers);
	suite_add_tcase(suite, codes);
	return suite;
}
