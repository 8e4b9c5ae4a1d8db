/* stalls, latency and stats: what the daemon tells, and the tables of relaypoolctl. */
#include <stdio.h>
#include <string.h>

#include "check_admin.h"
#include "client.h"
#include "rooms.h"

static struct stall_view *stall(bool open, enum stage stage, enum cause cause, usec_t age)
{
	struct stall_view *view = &rooms.stalls[rooms.stall_count++];
	*view = (struct stall_view){.id = 90 + (unsigned)rooms.stall_count,
				    .relay = "socketlabs",
				    .stage = stage,
				    .cause = cause,
				    .open = open,
				    .began = 1764331200 * USEC_PER_SEC,
				    .age = age,
				    .limit = 5 * USEC_PER_SEC,
				    .waiting = open ? 7 : 0,
				    .messages = 23,
				    .queue_id = "4fXyZ1"};
	return view;
}

static void see(const char *relay, enum stage stage, unsigned long recent)
{
	struct latency_quantiles *quantiles = &rooms.quantiles[rooms.latency_count];
	if (recent > 0)
		*quantiles = (struct latency_quantiles){.seen = recent,
							.p50 = 10 * USEC_PER_MSEC,
							.p95 = 95 * USEC_PER_MSEC,
							.p99 = 1500 * USEC_PER_MSEC,
							.longest = 8 * USEC_PER_SEC};
	else
		*quantiles = (struct latency_quantiles){.p50 = -1, .p95 = -1, .p99 = -1, .longest = -1};
	rooms.latencies[rooms.latency_count++] =
		(struct latency_view){.relay = relay, .stage = stage, .seen = 1000, .sum = 20 * USEC_PER_SEC};
}

/* ---- the daemon ---- */

START_TEST(stalls_are_those_that_are_open_or_all)
{
	stall(true, STAGE_REPLY, CAUSE_ANSWER, 17400 * USEC_PER_MSEC);
	stall(false, STAGE_CLIENT, CAUSE_DOOR, 6 * USEC_PER_SEC)->relay = "-";
	json_t *answer = ask("{\"verb\":\"stalls\"}");
	const json_t *stalls = json_object_get(answer, "stalls"), *row = json_array_get(stalls, 0);
	ck_assert_uint_eq(json_array_size(stalls), 1);
	ck_assert_int_eq(json_integer_value(json_object_get(row, "id")), 91);
	ck_assert_str_eq(string_of(row, "stage"), "reply");
	ck_assert_str_eq(string_of(row, "holder"), "relay");
	ck_assert_str_eq(string_of(row, "cause"), "answer");
	ck_assert(json_is_true(json_object_get(row, "open")));
	ck_assert(json_real_value(json_object_get(row, "began")) == 1764331200);
	ck_assert(json_real_value(json_object_get(row, "age")) == 17.4);
	ck_assert(json_real_value(json_object_get(row, "limit")) == 5);
	ck_assert_int_eq(json_integer_value(json_object_get(row, "waiting")), 7);
	ck_assert_int_eq(json_integer_value(json_object_get(row, "messages")), 23);
	ck_assert_str_eq(string_of(row, "queue_id"), "4fXyZ1");
	json_decref(answer);
	answer = ask("{\"verb\":\"stalls\",\"args\":[\"all\"]}");
	row = json_array_get(json_object_get(answer, "stalls"), 1);
	ck_assert(json_is_false(json_object_get(row, "open")));
	ck_assert(json_is_null(json_object_get(row, "relay")));
	ck_assert_str_eq(string_of(row, "holder"), "unknown");
	json_decref(answer);
	expect_refusal("{\"verb\":\"stalls\",\"args\":[\"some\"]}", "usage", "all");
}
END_TEST

START_TEST(stalls_beyond_the_limit_are_left_out_and_counted)
{
	stall(true, STAGE_REPLY, CAUSE_ANSWER, USEC_PER_SEC);
	rooms.stall_repeat = CONTROL_ROWS_MAX + 1;
	json_t *answer = ask("{\"verb\":\"stalls\"}");
	ck_assert_uint_eq(json_array_size(json_object_get(answer, "stalls")), CONTROL_ROWS_MAX);
	ck_assert_int_eq(json_integer_value(json_object_get(answer, "left_out")), 2);
	json_decref(answer);
}
END_TEST

START_TEST(latency_tells_of_one_relay_or_all)
{
	see("-", STAGE_CLIENT, 0);
	see("socketlabs", STAGE_REPLY, 12);
	rooms.stall_limit = 4500 * USEC_PER_MSEC;
	json_t *answer = ask("{\"verb\":\"latency\"}");
	const json_t *rows = json_object_get(answer, "latency"), *row = json_array_get(rows, 0);
	ck_assert_uint_eq(json_array_size(rows), 2);
	ck_assert_str_eq(string_of(row, "relay"), "-");
	ck_assert(json_is_null(json_object_get(row, "p50"))); /* nothing of late */
	ck_assert(json_is_null(json_object_get(row, "max")));
	ck_assert(json_real_value(json_object_get(row, "mean")) == 0.02);
	json_decref(answer);
	answer = ask("{\"verb\":\"latency\",\"args\":[\"socketlabs\"]}");
	rows = json_object_get(answer, "latency");
	row = json_array_get(rows, 0);
	ck_assert_uint_eq(json_array_size(rows), 1);
	ck_assert_str_eq(string_of(row, "stage"), "reply");
	ck_assert(json_real_value(json_object_get(row, "p99")) == 1.5);
	ck_assert(json_real_value(json_object_get(row, "max")) == 8);
	ck_assert(json_real_value(json_object_get(row, "limit")) == 4.5);
	json_decref(answer);
	expect_refusal("{\"verb\":\"latency\",\"args\":[\"sokcetlabs\"]}", "usage", "relays are: socketlabs");
}
END_TEST

START_TEST(stats_tell_counts_rates_and_stages)
{
	see("ses", STAGE_REPLY, 1);
	see("socketlabs", STAGE_REPLY, 12);
	rooms.stats = (struct stats_view){.relay = "socketlabs",
					  .counts = {.sent = 180122, .deferred = 2, .opened = 17, .reused = 825},
					  .wait_p50 = -1,
					  .wait_p95 = 250 * USEC_PER_MSEC,
					  .transfer_p50 = -1,
					  .transfer_p95 = -1};
	json_t *answer = ask("{\"verb\":\"stats\",\"args\":[\"socketlabs\"]}");
	const json_t *row = json_array_get(json_object_get(answer, "stats"), 0);
	ck_assert_int_eq(json_integer_value(json_object_get(row, "sent")), 180122);
	ck_assert_int_eq(json_integer_value(json_object_get(row, "reused")), 825);
	ck_assert(json_real_value(json_object_get(row, "sent_per_second")) == 2); /* in the 90061 s of the rooms */
	ck_assert(json_is_null(json_object_get(row, "wait_p50")));
	ck_assert(json_real_value(json_object_get(row, "wait_p95")) == 0.25);
	ck_assert_uint_eq(json_array_size(json_object_get(row, "stages")), 1);
	ck_assert_uint_eq(rooms.views_shown, 1); /* the stages of other relays cost nothing */
	ck_assert_uint_eq(rooms.quantiles_asked, 1);
	json_decref(answer);
	expect_refusal("{\"verb\":\"stats\",\"args\":[\"sokcetlabs\"]}", "usage", "relays are: socketlabs");
}
END_TEST

/* ---- the screen ---- */

START_TEST(the_status_tells_of_open_stalls)
{
	ck_assert_int_eq(RUN("status"), 0);
	stall(false, STAGE_REPLY, CAUSE_ANSWER, 9 * USEC_PER_SEC);
	stall(true, STAGE_REPLY, CAUSE_ANSWER, 9 * USEC_PER_SEC);
	stall(true, STAGE_POOL, CAUSE_RATE, 9 * USEC_PER_SEC);
	ck_assert_int_eq(RUN("status"), 0);
	expect_says("stalls         2, 14 messages wait now: relaypoolctl stalls\n");
}
END_TEST

START_TEST(no_stall_is_one_calm_sentence)
{
	ck_assert_int_eq(RUN("stalls"), 0);
	ck_assert_str_eq(output, "Nothing is held up; relaypoolctl stalls all shows what was.\n");
	ck_assert_int_eq(RUN("stalls", "all"), 0);
	ck_assert_str_eq(output, "Nothing is held up now.\n");
	ck_assert_int_eq(RUN("stalls", "shape"), 0);
	ck_assert_str_eq(output, "Nothing is held up, and nothing was of late.\n");
}
END_TEST

START_TEST(open_stalls_come_first_and_make_exit_code_1)
{
	stall(false, STAGE_POOL, CAUSE_CAP, 75 * USEC_PER_SEC);
	ck_assert_int_eq(RUN("stalls", "all"), 0);
	expect_says("Nothing is held up now.\n\nOver:\n");
	stall(true, STAGE_REPLY, CAUSE_ANSWER, 17400 * USEC_PER_MSEC);
	ck_assert_int_eq(RUN("stalls"), 1);
	expect_says("ID RELAY      STAGE HOLDER CAUSE    AGE LIMIT WAIT MSGS ");
	expect_says("\n92 socketlabs reply relay  answer 17.4s  5.0s    7   23 ");
	ck_assert_ptr_null(strstr(output, "pool"));
	ck_assert_int_eq(RUN("stalls", "--all"), 1);
	const char *open = strstr(output, "\n92 "), *past = strstr(output, "\n91 ");
	ck_assert(open && past && open < past);
	expect_80_columns();
}
END_TEST

START_TEST(the_shape_counts_stalls_by_stage_and_age)
{
	stall(true, STAGE_REPLY, CAUSE_ANSWER, 17400 * USEC_PER_MSEC);
	stall(false, STAGE_REPLY, CAUSE_ANSWER, 5 * USEC_PER_SEC);
	stall(false, STAGE_POOL, CAUSE_CAP, 4999 * USEC_PER_MSEC);
	stall(false, STAGE_POOL, CAUSE_CAP, 60 * USEC_PER_SEC);
	stall(false, STAGE_COUNT, CAUSE_LOOP, 900 * USEC_PER_MSEC)->relay = "-";
	static const char expected[] = "              T    <1s    1-5   5-15  15-60    >60\n"
				       "   TOTAL      5      1      1      1      1      1\n"
				       "    pool      2      0      1      0      0      1\n"
				       "   reply      2      0      0      1      1      0\n"
				       "       -      1      1      0      0      0      0\n";
	ck_assert_int_eq(RUN("stalls", "shape"), 1);
	ck_assert_str_eq(output, expected);
	ck_assert_int_eq(RUN("stalls", "--shape"), 1);
	ck_assert_str_eq(output, expected);
	ck_assert_int_eq(RUN("-j", "stalls", "shape"), 0);
	expect_says("\"stage\":\"pool\"");
	rooms.stalls[0].open = false;
	ck_assert_int_eq(RUN("stalls", "shape"), 0);
	ck_assert_str_eq(output, expected);
}
END_TEST

START_TEST(the_longest_rows_fit_80_columns)
{
	struct stall_view *view = stall(true, STAGE_CONNECT, CAUSE_PROCESSES, 86399 * USEC_PER_SEC);
	view->id = 4294967295;
	view->relay = "a-provider-with-a-name-as-long-as-the-parser-allows-for-a-relay";
	view->limit = 599 * USEC_PER_SEC;
	view->waiting = 99999;
	view->messages = 9999999;
	ck_assert_int_eq(RUN("stalls"), 1);
	expect_80_columns();
	expect_says("4294967295 a-pr");
	see(view->relay, STAGE_CONNECT, 123456789);
	rooms.latencies[0].seen = (unsigned long)123456789012ULL; /* fewer digits where long has 32 bits */
	rooms.quantiles[0].longest = 86399 * USEC_PER_SEC;
	rooms.stall_limit = 599 * USEC_PER_SEC;
	ck_assert_int_eq(RUN("latency"), 0);
	expect_80_columns();
	char seen[24];
	snprintf(seen, sizeof seen, "%lu", rooms.latencies[0].seen);
	expect_says(seen);
	rooms.stats = (struct stats_view){.relay = view->relay,
					  .counts = {.sent = 123456789,
						     .deferred = 1234567,
						     .bounced = 123456,
						     .ambiguous = 12345,
						     .opened = 1234567,
						     .closed = 1234567,
						     .reused = 123456789},
					  .wait_p95 = 599 * USEC_PER_SEC,
					  .transfer_p95 = 599 * USEC_PER_SEC};
	ck_assert_int_eq(RUN("stats"), 0);
	expect_80_columns();
	expect_says("123456789");
}
END_TEST

START_TEST(latency_and_stats_of_a_relay_are_shown)
{
	see("-", STAGE_CLIENT, 3);
	see("socketlabs", STAGE_REPLY, 12);
	rooms.stall_limit = 4500 * USEC_PER_MSEC;
	rooms.stats = (struct stats_view){.relay = "socketlabs", .counts = {.sent = 42}};
	ck_assert_int_eq(RUN("latency", "socketlabs"), 0);
	expect_says("socketlabs reply     12 10ms 95ms 1.5s 8.0s 1000  4.5s\n");
	ck_assert_ptr_null(strstr(output, "client"));
	ck_assert_int_eq(RUN("latency", "-"), 0);
	expect_says("client");
	ck_assert_int_eq(RUN("stats", "socketlabs"), 0);
	expect_says("sent             42\n");
	expect_says("reply     12 10ms 95ms 1.5s 8.0s 1000\n");
	ck_assert_int_eq(RUN("stats"), 0);
	expect_says("RELAY      SENT");
}
END_TEST

START_TEST(nothing_seen_yet_is_said)
{
	ck_assert_int_eq(RUN("latency"), 0);
	ck_assert_str_eq(output, "No message has been seen yet.\n");
	ck_assert_int_eq(RUN("latency", "socketlabs"), 0);
	ck_assert_int_eq(RUN("stats", "socketlabs"), 0);
	ck_assert_str_eq(output, "Nothing has been counted yet.\n");
}
END_TEST

START_TEST(a_wrong_command_line_is_refused)
{
	ck_assert_int_eq(RUN("stalls", "some"), 2);
	expect_says("stalls takes all, shape or nothing");
	ck_assert_int_eq(RUN("stalls", "all", "--shape"), 2);
	ck_assert_int_eq(RUN("pause", "--all"), 2);
	expect_says("--all goes with stalls only");
	ck_assert_str_eq(rooms.called, "");
	ck_assert_int_eq(RUN("latency", "sokcetlabs"), 2);
	expect_says("relays are: socketlabs");
	ck_assert_int_eq(RUN("stalls", "-d", "1"), 2);
	expect_says("-d goes with top only");
}
END_TEST

Suite *time_suite(void)
{
	Suite *suite = suite_create("time");
	TCase *answers = tcase_create("answers");
	tcase_add_checked_fixture(answers, rooms_open, rooms_close);
	tcase_add_test(answers, stalls_are_those_that_are_open_or_all);
	tcase_add_test(answers, stalls_beyond_the_limit_are_left_out_and_counted);
	tcase_add_test(answers, latency_tells_of_one_relay_or_all);
	tcase_add_test(answers, stats_tell_counts_rates_and_stages);
	suite_add_tcase(suite, answers);
	TCase *screen = tcase_create("screen");
	tcase_add_checked_fixture(screen, rooms_open, rooms_close);
	tcase_set_timeout(screen, 60);
	tcase_add_test(screen, the_status_tells_of_open_stalls);
	tcase_add_test(screen, no_stall_is_one_calm_sentence);
	tcase_add_test(screen, open_stalls_come_first_and_make_exit_code_1);
	tcase_add_test(screen, the_shape_counts_stalls_by_stage_and_age);
	tcase_add_test(screen, the_longest_rows_fit_80_columns);
	tcase_add_test(screen, latency_and_stats_of_a_relay_are_shown);
	tcase_add_test(screen, nothing_seen_yet_is_said);
	tcase_add_test(screen, a_wrong_command_line_is_refused);
	suite_add_tcase(suite, screen);
	return suite;
}
