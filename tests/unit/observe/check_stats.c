/* Unit tests of observe/stats: what is counted, and the line that a minute of it makes. */
#include <config.h>

#include <stdio.h>
#include <string.h>

#include "base/conf.h"
#include "base/log_limit.h"
#include "base/publish.h"
#include "check_observe.h"
#include "observe/outcome.h"
#include "observe/stats.h"
#include "smtp/reply.h"

#define MINUTE (60 * USEC_PER_SEC)

static void setup(void)
{
	clock_fake_start();
	lines_start();
	stats_start();
}

static void teardown(void)
{
	stats_stop();
	stats_set_gauges(NULL);
	publish_reset();
	lines_stop();
	clock_fake_stop();
}

static void settle(const char *relay, enum status status, unsigned recipients, unsigned connection, unsigned use)
{
	struct event event = {
		.kind = EVENT_OUTCOME,
		.relay = relay,
		.host = "-",
		.status = status,
		.recipients = recipients,
		.connection = connection,
		.use = use,
		.delays = {.queue = -1, .pool = 2 * USEC_PER_MSEC, .setup = -1, .transfer = 100 * USEC_PER_MSEC},
	};
	publish(&event);
}

static void open_connection(const char *relay, unsigned connection)
{
	struct event event = {.kind = EVENT_CONNECTION_OPENED, .relay = relay, .host = "-", .connection = connection};
	publish(&event);
}

static void close_connection(const char *relay, unsigned connection, unsigned use)
{
	struct event event = {
		.kind = EVENT_CONNECTION_CLOSED, .relay = relay, .host = "-", .connection = connection, .use = use};
	publish(&event);
}

static bool three_of_ten(const char *relay, struct stats_gauges *gauges)
{
	*gauges = (struct stats_gauges){.active = 3, .idle = 7, .waiting = 1};
	return strcmp(relay, "ses") == 0;
}

static struct stats_view seen;

static void take_view(const struct stats_view *view, void *arg)
{
	if (strcmp(view->relay, arg) == 0)
		seen = *view;
}

static struct stats_counts total_of(const char *relay)
{
	seen = (struct stats_view){0};
	stats_each(take_view, (void *)relay);
	return seen.counts;
}

START_TEST(the_line_has_the_documented_form)
{
	stats_set_gauges(three_of_ten);
	open_connection("ses", 1);
	for (unsigned i = 1; i <= 20; i++)
		settle("ses", STATUS_SENT, 2, 1, i);
	settle("ses", STATUS_DEFERRED, 3, 1, 21);
	settle("ses", STATUS_BOUNCED, 1, 1, 22);
	close_connection("ses", 1, 22);
	clock_fake_advance(MINUTE);
	ck_assert_str_eq(
		lines_get(0),
		"statistics: relay=ses, interval=60, sent=40, deferred=3, bounced=1, ambiguous=0, active=3, idle=7, "
		"waiting=1, opened=1, closed=1, reused=21, wait_p95=0.002, transfer_p50=0.1, transfer_p95=0.1");
	ck_assert_int_eq(lines_level(0), LOG_LEVEL_INFO);
	ck_assert_uint_eq(lines_count(), 1);
}
END_TEST

START_TEST(each_minute_counts_anew_and_a_quiet_one_has_no_line)
{
	settle("ses", STATUS_SENT, 1, 0, 0);
	clock_fake_advance(MINUTE);
	ck_assert_uint_eq(lines_count(), 1);
	clock_fake_advance(5 * MINUTE);
	ck_assert_uint_eq(lines_count(), 1);
	settle("ses", STATUS_SENT, 4, 0, 0);
	clock_fake_advance(MINUTE);
	ck_assert_ptr_nonnull(strstr(lines_get(1), "interval=60, sent=4, "));
	ck_assert_uint_eq(total_of("ses").sent, 5);
}
END_TEST

START_TEST(each_relay_has_its_own_line)
{
	settle("ses", STATUS_SENT, 1, 0, 0);
	settle("zoho", STATUS_DEFERRED, 2, 0, 0);
	clock_fake_advance(MINUTE);
	ck_assert_ptr_nonnull(strstr(lines_get(0), "relay=ses, interval=60, sent=1, deferred=0, "));
	ck_assert_ptr_nonnull(strstr(lines_get(1), "relay=zoho, interval=60, sent=0, deferred=2, "));
}
END_TEST

START_TEST(without_a_pool_or_times_there_are_dashes)
{
	struct event event = {.kind = EVENT_OUTCOME,
			      .relay = "-",
			      .host = "-",
			      .status = STATUS_DEFERRED,
			      .recipients = 1,
			      .delays = {-1, -1, -1, -1}};
	stats_set_gauges(three_of_ten);
	publish(&event);
	clock_fake_advance(MINUTE);
	ck_assert_ptr_nonnull(strstr(lines_get(0), "relay=-, "));
	ck_assert_ptr_nonnull(strstr(lines_get(0), "active=-, idle=-, waiting=-, "));
	ck_assert_ptr_nonnull(strstr(lines_get(0), "wait_p95=-, transfer_p50=-, transfer_p95=-"));
}
END_TEST

START_TEST(ambiguous_recipients_are_counted_among_the_deferred)
{
	struct event event = {.kind = EVENT_OUTCOME,
			      .relay = "ses",
			      .host = "-",
			      .status = STATUS_DEFERRED,
			      .ambiguous = true,
			      .recipients = 5};
	publish(&event);
	ck_assert_uint_eq(total_of("ses").ambiguous, 5);
	ck_assert_uint_eq(total_of("ses").deferred, 5);
}
END_TEST

START_TEST(a_transaction_with_several_verdicts_is_one_reuse)
{
	open_connection("ses", 7);
	settle("ses", STATUS_SENT, 1, 7, 1);
	ck_assert_uint_eq(total_of("ses").reused, 0);
	settle("ses", STATUS_BOUNCED, 1, 7, 2);
	settle("ses", STATUS_DEFERRED, 1, 7, 2);
	settle("ses", STATUS_SENT, 3, 7, 2);
	ck_assert_uint_eq(total_of("ses").reused, 1);
}
END_TEST

START_TEST(transactions_without_an_outcome_are_counted_by_the_next_or_by_the_close)
{
	open_connection("ses", 7);
	settle("ses", STATUS_SENT, 1, 7, 4);
	ck_assert_uint_eq(total_of("ses").reused, 3);
	close_connection("ses", 7, 6);
	ck_assert_uint_eq(total_of("ses").reused, 5);
	settle("ses", STATUS_DEFERRED, 1, 7, 6); /* told after the close */
	ck_assert_uint_eq(total_of("ses").reused, 5);
}
END_TEST

START_TEST(an_unused_connection_is_no_reuse)
{
	open_connection("ses", 7);
	close_connection("ses", 7, 0);
	open_connection("ses", 8);
	close_connection("ses", 8, 1);
	ck_assert_uint_eq(total_of("ses").reused, 0);
	ck_assert_uint_eq(total_of("ses").opened, 2);
	ck_assert_uint_eq(total_of("ses").closed, 2);
}
END_TEST

/* An outcome of a message that has waited, or not (CAUSE_COUNT). */
static void settle_waited(const struct message *message, enum cause held_by, const struct reply *reply, bool repeated)
{
	struct event event = {.kind = EVENT_OUTCOME,
			      .relay = "ses",
			      .host = "-",
			      .message = message,
			      .status = reply_status_of(reply),
			      .recipients = 3,
			      .reply = reply,
			      .delays = {-1, -1, -1, -1},
			      .held_by = held_by,
			      .repeated = repeated};
	publish(&event);
}

START_TEST(replies_are_counted_by_class_and_local_ones_apart)
{
	static const struct message message;
	static const struct {
		int code;
		enum local_failure local;
	} said[] = {{250, LOCAL_NONE},      {250, LOCAL_NONE},       {451, LOCAL_NONE},
		    {550, LOCAL_AMBIGUOUS}, {451, LOCAL_CONNECTION}, {552, LOCAL_SIZE}};
	for (size_t i = 0; i < sizeof said / sizeof said[0]; i++) {
		struct reply reply = {.code = said[i].code, .local = said[i].local};
		settle_waited(&message, CAUSE_COUNT, &reply, false);
	}
	struct reply refusal = {.code = 550, .local = LOCAL_NONE};
	settle_waited(&message, CAUSE_COUNT, &refusal, false);
	total_of("ses");
	ck_assert_uint_eq(seen.totals.replies[STATS_REPLY_2XX], 2);
	ck_assert_uint_eq(seen.totals.replies[STATS_REPLY_4XX], 1);
	ck_assert_uint_eq(seen.totals.replies[STATS_REPLY_5XX], 1);
	ck_assert_uint_eq(seen.totals.replies[STATS_REPLY_LOCAL], 3);
}
END_TEST

START_TEST(a_message_with_several_verdicts_has_waited_once)
{
	struct message first = {.arrived = 1}, second = {.arrived = 2};
	struct reply sent = {.code = 250}, refused = {.code = 550};
	settle_waited(&first, CAUSE_CAP, &sent, false);
	settle_waited(&first, CAUSE_CAP, &refused, true);
	settle_waited(&second, CAUSE_CAP, &sent, false);
	second.arrived = 3; /* another one in the same place */
	settle_waited(&second, CAUSE_RATE, &sent, false);
	settle_waited(&first, CAUSE_COUNT, &sent, false);
	total_of("ses");
	ck_assert_uint_eq(seen.totals.waited[CAUSE_CAP], 2);
	ck_assert_uint_eq(seen.totals.waited[CAUSE_RATE], 1);
	ck_assert_uint_eq(seen.totals.waited[CAUSE_CLIENT], 0);
}
END_TEST

START_TEST(failures_and_repeats_are_counted_and_make_no_line)
{
	struct event failed = {.kind = EVENT_CONNECTION_FAILED, .relay = "ses", .host = "-", .text = NULL};
	struct event replayed = {.kind = EVENT_REPLAYED, .relay = "ses", .host = "-"};
	publish(&failed);
	publish(&failed);
	publish(&replayed);
	clock_fake_advance(MINUTE);
	ck_assert_uint_eq(lines_count(), 0);
	total_of("ses");
	ck_assert_uint_eq(seen.totals.failed, 2);
	ck_assert_uint_eq(seen.totals.replayed, 1);
}
END_TEST

START_TEST(the_end_writes_the_minute_that_has_begun)
{
	clock_fake_advance(MINUTE + 25 * USEC_PER_SEC);
	settle("ses", STATUS_SENT, 1, 0, 0);
	stats_stop();
	ck_assert_ptr_nonnull(strstr(lines_get(0), "relay=ses, interval=25, sent=1, "));
	ck_assert_int_eq(clock_next_due(), -1);
}
END_TEST

START_TEST(what_the_log_lacks_is_told_in_its_minute)
{
	static struct log_limit limit = LOG_LIMIT_OF("sample", 600, 1);
	const struct conf conf = {.log_messages = LOG_MESSAGES_AUTO, .slow_message = USEC_PER_SEC};
	outcome_start();
	outcome_configure(&conf);
	struct reply *reply = reply_local(LOCAL_NO_ROUTE, 250, "2.0.0", "ok");
	struct message message = {.queue_id = "4fXyZ1"};
	struct event event = {.kind = EVENT_OUTCOME,
			      .relay = "ses",
			      .message = &message,
			      .reply = reply,
			      .recipients = 1,
			      .delay = -1};
	for (unsigned i = 0; i < 130; i++)
		publish(&event);
	for (unsigned i = 0; i < 4; i++)
		(void)!log_limit_passes(&limit, NULL);
	clock_fake_advance(30 * USEC_PER_SEC);
	lines_forget();
	clock_fake_advance(30 * USEC_PER_SEC);
	ck_assert_ptr_nonnull(strstr(lines_get(0), "statistics: relay=ses, interval=60, "));
	ck_assert_str_eq(lines_get(1), "log: interval=60, dropped=0, left_out=31");
	ck_assert_str_eq(lines_get(2), "log: line=sample, unlogged=3");
	clock_fake_advance(MINUTE);
	ck_assert_uint_eq(lines_count(), 3);
	outcome_stop();
	reply_unref(&reply);
}
END_TEST

START_TEST(ctl_sees_times_since_the_start)
{
	settle("ses", STATUS_SENT, 1, 0, 0);
	clock_fake_advance(3 * MINUTE);
	total_of("ses");
	ck_assert_int_le(seen.transfer_p95, 100 * USEC_PER_MSEC);
	ck_assert_int_ge(seen.transfer_p50, 99 * USEC_PER_MSEC);
	ck_assert_int_ge(seen.wait_p50, 1990);
	ck_assert_int_le(seen.wait_p95, 2000);
}
END_TEST

Suite *stats_suite(void)
{
	Suite *suite = suite_create("stats");
	TCase *tcase = tcase_create("stats");
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, the_line_has_the_documented_form);
	tcase_add_test(tcase, each_minute_counts_anew_and_a_quiet_one_has_no_line);
	tcase_add_test(tcase, each_relay_has_its_own_line);
	tcase_add_test(tcase, without_a_pool_or_times_there_are_dashes);
	tcase_add_test(tcase, ambiguous_recipients_are_counted_among_the_deferred);
	tcase_add_test(tcase, a_transaction_with_several_verdicts_is_one_reuse);
	tcase_add_test(tcase, transactions_without_an_outcome_are_counted_by_the_next_or_by_the_close);
	tcase_add_test(tcase, an_unused_connection_is_no_reuse);
	tcase_add_test(tcase, replies_are_counted_by_class_and_local_ones_apart);
	tcase_add_test(tcase, a_message_with_several_verdicts_has_waited_once);
	tcase_add_test(tcase, failures_and_repeats_are_counted_and_make_no_line);
	tcase_add_test(tcase, the_end_writes_the_minute_that_has_begun);
	tcase_add_test(tcase, what_the_log_lacks_is_told_in_its_minute);
	tcase_add_test(tcase, ctl_sees_times_since_the_start);
	suite_add_tcase(suite, tcase);
	return suite;
}
