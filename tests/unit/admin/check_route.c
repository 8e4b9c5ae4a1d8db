/* test-route at the control socket and on the screen: an answer that comes later, to whom, and what it says. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/loop.h"
#include "check_admin.h"
#include "client.h"
#include "relay/probe.h"
#include "rooms.h"
#include "smtp/reply.h"

#define TEST "{\"verb\":\"test-route\",\"args\":[\"user@example.org\"]}\n"

/* A client that waits for the end of a test. */
static int asked(const char *line)
{
	int fd = rooms_connect();
	client_say(fd, line);
	return fd;
}

/* What it was answered. The caller's. */
static json_t *heard(int fd)
{
	bool ended;
	char *text = client_hear(fd, &ended);
	json_t *answer = json_loads(text, 0, NULL);
	ck_assert_msg(json_is_object(answer), "not an object: %s", text);
	free(text);
	close(fd);
	loop_settle();
	return answer;
}

static void end_probe(void)
{
	rooms_end_probe(rooms_good_result());
	loop_settle();
}

/* ---- an answer that comes later ---- */

START_TEST(the_answer_comes_when_the_test_has_ended)
{
	bool ended;
	int fd = asked(TEST);
	char *text = client_hear(fd, &ended);
	ck_assert_str_eq(text, "");
	ck_assert(!ended);
	free(text);
	ck_assert_ptr_nonnull(rooms.probe);
	json_decref(ask("{\"verb\":\"pools\"}")); /* others are served meanwhile */
	end_probe();
	json_t *answer = heard(fd);
	ck_assert(json_is_true(json_object_get(answer, "accepted")));
	ck_assert_str_eq(string_of(answer, "relay"), "socketlabs");
	ck_assert_uint_eq(rooms.cancelled, 0);
	json_decref(answer);
}
END_TEST

START_TEST(further_requests_wait_for_it)
{
	bool ended;
	int fd = asked(TEST "{\"verb\":\"version\"}\n");
	char *text = client_hear(fd, &ended);
	ck_assert_str_eq(text, "");
	free(text);
	end_probe();
	text = client_hear(fd, &ended);
	char *test = strstr(text, "\"accepted\":true"), *version = strstr(text, "libevent");
	ck_assert(test && version && test < version);
	free(text);
	close(fd);
}
END_TEST

START_TEST(who_goes_gives_it_up)
{
	close(asked(TEST));
	loop_settle();
	ck_assert_uint_eq(rooms.cancelled, 1);
	ck_assert_uint_eq(rooms.probes, 0);
	json_decref(ask("{\"verb\":\"pools\"}"));
}
END_TEST

START_TEST(who_has_said_all_still_gets_its_answer)
{
	int fd = asked(TEST);
	shutdown(fd, SHUT_WR);
	loop_settle();
	ck_assert_uint_eq(rooms.cancelled, 0);
	end_probe();
	json_t *answer = heard(fd);
	ck_assert(json_is_true(json_object_get(answer, "accepted")));
	json_decref(answer);
}
END_TEST

START_TEST(one_that_never_ends_is_given_up)
{
	int fd = asked(TEST);
	clock_fake_advance(CONTROL_LATER - 1);
	loop_settle();
	ck_assert_uint_eq(rooms.cancelled, 0);
	clock_fake_advance(1);
	loop_settle();
	ck_assert_uint_eq(rooms.cancelled, 1);
	ck_assert(client_cut(fd));
	close(fd);
}
END_TEST

START_TEST(a_few_at_once_and_no_more)
{
	int fds[CONTROL_LATER_MAX];
	for (size_t i = 0; i < CONTROL_LATER_MAX; i++)
		fds[i] = asked(TEST);
	ck_assert_uint_eq(rooms.probes, CONTROL_LATER_MAX);
	expect_refusal("{\"verb\":\"test-route\",\"args\":[\"user@example.org\"]}", "failed", "4 such tests");
	ck_assert_uint_eq(rooms.probes, CONTROL_LATER_MAX);
	close(fds[0]);
	loop_settle();
	close(asked(TEST)); /* there is room again */
	loop_settle();
	ck_assert_uint_eq(rooms.cancelled, 2);
	for (size_t i = 1; i < CONTROL_LATER_MAX; i++)
		close(fds[i]);
	loop_settle();
	ck_assert_uint_eq(rooms.cancelled, CONTROL_LATER_MAX + 1);
}
END_TEST

START_TEST(the_end_of_the_socket_gives_all_up)
{
	int fds[] = {asked(TEST), asked(TEST)};
	control_free(rooms.control);
	rooms.control = NULL;
	ck_assert_uint_eq(rooms.cancelled, 2);
	close(fds[0]);
	close(fds[1]);
}
END_TEST

/* ---- what is asked ---- */

static char logged[512];

static void keep_log(enum log_level level, const char *line)
{
	(void)level;
	snprintf(logged, sizeof(logged), "%s", line);
}

static void expect_probed(const char *line, const char *probed)
{
	int fd = asked(line);
	ck_assert_str_eq(rooms.probed, probed);
	close(fd);
	loop_settle();
}

START_TEST(sender_and_recipient_reach_the_relay_room)
{
	char postmaster[256];
	snprintf(postmaster, sizeof(postmaster), "postmaster@%s user@example.org", rooms.conf->hostname);
	expect_probed(TEST, postmaster);
	expect_probed("{\"verb\":\"test-route\",\"args\":[\"user@example.org\",\"from=me@example.com\"]}\n",
		      "me@example.com user@example.org");
	expect_probed("{\"verb\":\"test-route\",\"args\":[\"<user@example.org>\",\"send\",\"from=<>\"]}\n",
		      " user@example.org send");
	expect_probed("{\"verb\":\"test-route\",\"args\":[\"j\\u00fcrgen@example.org\",\"from=me@example.com\"]}\n",
		      "me@example.com j\xc3\xbcrgen@example.org");
}
END_TEST

START_TEST(nothing_but_addresses_passes)
{
	static const char *const wrong[] = {
		"[]",
		"[\"user@\"]",
		"[\"<>\"]",
		"[\"user@example.org>SIZE=1\"]",
		"[\"a@b.example,c@d.example\"]",
		"[\"user@example.org\\r\\nDATA\"]",
		"[\"user@example.org\\u0000\"]",
		"[\"us er@example.org\"]",
		"[\"user@example.org\",\"from=a@b>\"]",
		"[\"user@example.org\",\"from=\"]",
		"[\"user@example.org\",\"from=<a@b.example\"]",
		"[\"user@example.org\",\"from=a@b.example\",\"from=c@d.example\"]",
		"[\"user@example.org\",\"send\",\"send\"]",
		"[\"user@example.org\",\"sent\"]",
		"[\"user@example.org\",\"\"]",
		"[\"user@example.org\",7]",
		"[\"user@example.org\",\"from=a@b.example\",\"send\",\"more\"]",
		"\"user@example.org\"",
	};
	char line[1024], longest[CONTROL_ARGUMENT_MAX + 2];
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		snprintf(line, sizeof(line), "{\"verb\":\"test-route\",\"args\":%s}", wrong[i]);
		expect_refusal(line, "usage", "");
	}
	memset(longest, 'a', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	snprintf(line, sizeof(line), "{\"verb\":\"test-route\",\"args\":[\"a@b.example\",\"from=%s\"]}", longest);
	expect_refusal(line, "usage", "at most 255 octets");
	ck_assert_str_eq(rooms.probed, "");
}
END_TEST

START_TEST(a_stranger_may_not_test)
{
	rooms.peer = 4712;
	expect_refusal("{\"verb\":\"test-route\",\"args\":[\"user@example.org\"]}", "permission", "root");
	ck_assert_str_eq(rooms.probed, "");
}
END_TEST

START_TEST(the_log_has_the_relay_and_no_address)
{
	log_capture(keep_log);
	rooms.peer = 0;
	int fd = asked(TEST);
	end_probe();
	ck_assert_str_eq(logged, "control: verb=test-route, relay=socketlabs, uid=0, result=done");
	close(fd);
}
END_TEST

/* ---- what is told ---- */

START_TEST(routes_and_relays_are_explained)
{
	char error[CONF_ERROR_SIZE];
	rooms_write_conf("relay \"socketlabs\" { host = \"smtp.socketlabs.com\" }\n"
			 "route \"staff\" { relays = \"socketlabs\" users = \"*\" clients = \"192.0.2.0/24\" }\n"
			 "route \"partner\" { relays = \"socketlabs\" recipients = \"@partner.example\" }\n"
			 "route \"mine\" { relays = \"socketlabs\" senders = \"@example.com\" }\n"
			 "route \"rest\" { relays = \"socketlabs\" }\n");
	conf_unref(&rooms.conf);
	rooms.conf = conf_load(rooms.conf_path, error);
	ck_assert_msg(rooms.conf != NULL, "%s", error);
	rooms.route = 2;
	rooms.pools[0].state = "down";
	rooms.pools[0].reason = "535 no";
	rooms.pools[0].retry_in = 12 * USEC_PER_SEC;
	int fd = asked("{\"verb\":\"test-route\",\"args\":[\"user@example.org\",\"from=me@example.com\"]}\n");
	end_probe();
	json_t *answer = heard(fd);
	const json_t *routes = json_object_get(answer, "routes");
	ck_assert_uint_eq(json_array_size(routes), 3);
	ck_assert_uint_eq(json_array_size(json_object_get(json_array_get(routes, 0), "needs")), 2);
	ck_assert(json_is_false(json_object_get(json_array_get(routes, 1), "recipient")));
	ck_assert(json_is_null(json_object_get(json_array_get(routes, 1), "sender")));
	ck_assert(json_is_true(json_object_get(json_array_get(routes, 2), "sender")));
	ck_assert(json_is_true(json_object_get(json_array_get(routes, 2), "taken")));
	ck_assert_str_eq(string_of(answer, "route"), "mine");
	const json_t *relay = json_array_get(json_object_get(answer, "relays"), 0);
	ck_assert_str_eq(string_of(relay, "state"), "down");
	ck_assert(json_real_value(json_object_get(relay, "retry_in")) == 12);
	json_decref(answer);
}
END_TEST

START_TEST(nobody_to_ask_is_an_answer_at_once)
{
	rooms.nobody = "relay socketlabs is paused or drained: relaypoolctl resume socketlabs";
	json_t *answer = ask("{\"verb\":\"test-route\",\"args\":[\"user@example.org\"]}");
	ck_assert(json_is_false(json_object_get(answer, "accepted")));
	ck_assert_str_eq(string_of(answer, "text"), rooms.nobody);
	ck_assert(json_is_null(json_object_get(answer, "stages")));
	json_decref(answer);
}
END_TEST

START_TEST(times_leave_out_the_pool_and_what_was_not_seen)
{
	int fd = asked(TEST);
	end_probe();
	json_t *answer = heard(fd);
	const json_t *stages = json_object_get(answer, "stages");
	double mail = json_real_value(json_object_get(stages, "mail")),
	       rcpt = json_real_value(json_object_get(stages, "rcpt"));
	double open = json_real_value(json_object_get(answer, "open"));
	ck_assert(mail > 0 && rcpt > 0 && open > mail + rcpt - 1e-6 && open < mail + rcpt + 1e-6);
	ck_assert(json_real_value(json_object_get(answer, "first")) > open);
	ck_assert(json_is_null(json_object_get(stages, "data")));
	ck_assert(json_is_null(json_object_get(stages, "reply")));
	ck_assert(json_is_number(json_object_get(stages, "rset")));
	ck_assert(json_is_null(json_object_get(json_object_get(answer, "replies"), "data")));
	json_decref(answer);
}
END_TEST

/* ---- on the screen ---- */

/* relaypoolctl waits: the test ends while it does. */
static struct timer ending;
static const struct probe_result *ends_with;

static void end_now(void *arg)
{
	(void)arg;
	if (rooms.probe)
		rooms_end_probe(ends_with);
	else
		timer_arm(&ending, 0);
}

#define RUN_TEST(result, ...)                                                                     \
	(ends_with = (result), timer_init(&ending, "test", end_now, NULL), timer_arm(&ending, 0), \
	 run((const char *const[]){"relaypoolctl", "-s", rooms.socket_path, __VA_ARGS__, NULL}))

START_TEST(an_accepted_recipient_is_exit_code_0)
{
	ck_assert_int_eq(RUN_TEST(rooms_good_result(), "test-route", "user@example.org", "--from", "me@example.com"),
			 0);
	ck_assert_str_eq(rooms.probed, "me@example.com user@example.org");
	expect_80_columns();
	expect_says("route      default: taken, it has no conditions\n");
	expect_says("relay      socketlabs: asked, up\n");
	expect_says("2 addresses: 198.51.100.7 198.51.100.8");
	expect_says("auth       PLAIN: 235 2.7.0 Authentication successful");
	expect_says("0.100 s\n");
	expect_says("no message was sent");
	expect_says("Accepted. A first message takes");
	ck_assert_ptr_null(strstr(output, "data "));
}
END_TEST

START_TEST(one_that_is_not_accepted_is_exit_code_1)
{
	struct reply *said = reply_local(LOCAL_INGEST, 550, "5.7.1",
					 "\x1b[2Jsender is not verified, and many more words about what to do, until "
					 "the line is full");
	struct probe_result *result = rooms_good_result();
	result->end = PROBE_REFUSED;
	result->stage = STAGE_MAIL;
	result->mail = said;
	result->rcpt = NULL;
	result->why = said->text;
	ck_assert_int_eq(RUN_TEST(result, "test-route", "user@example.org"), 1);
	expect_80_columns();
	expect_says("Not accepted, it ended in stage mail.\n");
	expect_says("?[2Jsender is not verified, and many more words");
	expect_says("until the line\nis full\n");
	expect_says("Many providers take only senders that were verified");
	ck_assert_int_eq(RUN_TEST(result, "-j", "test-route", "user@example.org"), 1);
	reply_unref(&said);
}
END_TEST

/* It is no word against the recipient that the connection was lost, or that another time is better. */
START_TEST(what_the_relay_has_not_said_is_not_told)
{
	struct reply *later = reply_local(LOCAL_INGEST, 450, "4.2.0", "greylisted");
	struct probe_result *result = rooms_good_result();
	result->end = PROBE_FAILED;
	result->stage = STAGE_RCPT;
	result->rcpt = NULL;
	result->why = "connection closed (at RCPT)";
	ck_assert_int_eq(RUN_TEST(result, "test-route", "user@example.org"), 1);
	expect_says("connection closed (at RCPT)\n");
	ck_assert_ptr_null(strstr(output, "does not take this recipient"));
	result->end = PROBE_REFUSED;
	result->rcpt = later;
	ck_assert_int_eq(RUN_TEST(result, "test-route", "user@example.org"), 1);
	ck_assert_ptr_null(strstr(output, "does not take this recipient"));
	result->end = PROBE_FAILED;
	result->stage = STAGE_BANNER; /* which was 220, or 554 */
	ck_assert_int_eq(RUN_TEST(result, "test-route", "user@example.org"), 1);
	ck_assert_ptr_null(strstr(output, "says nothing"));
	reply_unref(&later);
}
END_TEST

START_TEST(a_wait_in_the_pool_has_its_cause)
{
	struct probe_result *result = rooms_good_result();
	*result = (struct probe_result){.end = PROBE_FAILED,
					.stage = STAGE_POOL,
					.cause = CAUSE_CAP,
					.why = "no connection was free within 60 s",
					.relay = result->relay,
					.host = "-",
					.journey = result->journey};
	ck_assert_int_eq(RUN_TEST(result, "test-route", "user@example.org"), 1);
	expect_says("no connection was free within 60 s");
	expect_says("What it waited for: no connection free");
	expect_80_columns();
}
END_TEST

START_TEST(a_message_is_sent_only_when_told_so)
{
	ck_assert_int_eq(RUN_TEST(rooms_good_result(), "test-route", "--send", "user@example.org"), 0);
	ck_assert_ptr_nonnull(strstr(rooms.probed, " send"));
	expect_says("Sent. A first message");
}
END_TEST

START_TEST(a_wrong_command_line_is_exit_code_2)
{
	ck_assert_int_eq(RUN("test-route"), 2);
	ck_assert_int_eq(RUN("test-route", "a@b.example", "c@d.example"), 2);
	ck_assert_int_eq(RUN("test-route", "--from"), 2);
	ck_assert_int_eq(RUN("pools", "--send"), 2);
	expect_says("test-route only");
	ck_assert_int_eq(RUN("pools", "--from", "a@b.example"), 2);
	ck_assert_int_eq(RUN("test-route", "user@"), 2);
	expect_says("no address to send to");
	ck_assert_int_eq(RUN("test-route", "user@example.org", "--from", "a b@example.org"), 2);
	ck_assert_int_eq(RUN("test-route", "user@example.org", "--all"), 2);
	ck_assert_int_eq(RUN("test-route", ""), 2);
	expect_says("test-route: the address is empty");
	ck_assert_int_eq(RUN("test-route", "Joe <joe@example.org>"), 2);
	expect_says("an address alone is needed, as in user@example.org, not \"Joe <joe@example.org>\"");
	ck_assert_int_eq(RUN("test-route", "user@example.org", "--from", ""), 2);
	expect_says("--from is empty: the null sender is \"<>\"");
	ck_assert_int_eq(RUN("why", ""), 2);
	expect_says("why: the argument is empty");
	ck_assert_str_eq(rooms.probed, "");
}
END_TEST

Suite *route_suite(void)
{
	Suite *suite = suite_create("route");
	TCase *later = tcase_create("later");
	tcase_add_checked_fixture(later, rooms_open, rooms_close);
	tcase_add_test(later, the_answer_comes_when_the_test_has_ended);
	tcase_add_test(later, further_requests_wait_for_it);
	tcase_add_test(later, who_goes_gives_it_up);
	tcase_add_test(later, who_has_said_all_still_gets_its_answer);
	tcase_add_test(later, one_that_never_ends_is_given_up);
	tcase_add_test(later, a_few_at_once_and_no_more);
	tcase_add_test(later, the_end_of_the_socket_gives_all_up);
	suite_add_tcase(suite, later);
	TCase *question = tcase_create("question");
	tcase_add_checked_fixture(question, rooms_open, rooms_close);
	tcase_add_test(question, sender_and_recipient_reach_the_relay_room);
	tcase_add_test(question, nothing_but_addresses_passes);
	tcase_add_test(question, a_stranger_may_not_test);
	tcase_add_test(question, the_log_has_the_relay_and_no_address);
	suite_add_tcase(suite, question);
	TCase *answer = tcase_create("answer");
	tcase_add_checked_fixture(answer, rooms_open, rooms_close);
	tcase_add_test(answer, routes_and_relays_are_explained);
	tcase_add_test(answer, nobody_to_ask_is_an_answer_at_once);
	tcase_add_test(answer, times_leave_out_the_pool_and_what_was_not_seen);
	suite_add_tcase(suite, answer);
	TCase *screen = tcase_create("screen");
	tcase_add_checked_fixture(screen, rooms_open, rooms_close);
	tcase_set_timeout(screen, 60);
	tcase_add_test(screen, an_accepted_recipient_is_exit_code_0);
	tcase_add_test(screen, one_that_is_not_accepted_is_exit_code_1);
	tcase_add_test(screen, what_the_relay_has_not_said_is_not_told);
	tcase_add_test(screen, a_wait_in_the_pool_has_its_cause);
	tcase_add_test(screen, a_message_is_sent_only_when_told_so);
	tcase_add_test(screen, a_wrong_command_line_is_exit_code_2);
	suite_add_tcase(suite, screen);
	return suite;
}
