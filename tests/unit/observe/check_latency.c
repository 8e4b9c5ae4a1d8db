/* Unit tests of observe/latency: percentiles, counts, and what is usual at a relay. */
#include <config.h>

#include <stdio.h>
#include <string.h>

#include "base/journey.h"
#include "base/publish.h"
#include "check_observe.h"
#include "observe/latency.h"

#define MS USEC_PER_MSEC
#define SECOND USEC_PER_SEC
#define MINUTE (60 * USEC_PER_SEC)

static void setup(void)
{
	clock_fake_start();
	latency_start();
}

static void teardown(void)
{
	latency_stop();
	publish_reset();
	clock_fake_stop();
}

static struct latency_view found;
static unsigned views;
static struct {
	const char *relay;
	enum stage stage;
} looked_for;

static void on_view(const struct latency_view *view, void *arg)
{
	(void)arg;
	views++;
	if (strcmp(view->relay, looked_for.relay) == 0 && view->stage == looked_for.stage)
		found = *view;
}

static const struct latency_view *view_of(const char *relay, enum stage stage)
{
	looked_for.relay = relay;
	looked_for.stage = stage;
	views = 0;
	memset(&found, 0, sizeof found);
	latency_each(on_view, NULL);
	return &found;
}

static struct latency_quantiles recent(const char *relay)
{
	return latency_quantiles(relay, STAGE_REPLY);
}

static void note(const char *relay, usec_t spent, unsigned times)
{
	while (times-- > 0)
		latency_note(relay, STAGE_REPLY, spent);
}

static bool about(usec_t value, usec_t expected)
{
	return value >= expected - expected / 100 && value <= expected + expected / 100;
}

START_TEST(percentiles_are_of_what_was_seen)
{
	for (unsigned i = 1; i <= 1000; i++)
		latency_note("ses", STAGE_REPLY, i * MS);
	latency_note("ses", STAGE_REPLY, -1);
	const struct latency_view *view = view_of("ses", STAGE_REPLY);
	struct latency_quantiles quantiles = recent("ses");
	ck_assert_uint_eq(quantiles.seen, 1000);
	ck_assert(about(quantiles.p50, 500 * MS));
	ck_assert(about(quantiles.p95, 950 * MS));
	ck_assert(about(quantiles.p99, 990 * MS));
	ck_assert_int_eq(quantiles.longest, 1000 * MS);
	ck_assert_uint_eq(view->seen, 1000);
	ck_assert_int_eq(view->sum, 500500 * MS);
	ck_assert_uint_eq(views, 1);
}
END_TEST

START_TEST(a_percentile_is_never_beyond_the_longest)
{
	latency_note("ses", STAGE_REPLY, 1234567);
	struct latency_quantiles quantiles = recent("ses");
	ck_assert(about(quantiles.p50, 1234567));
	ck_assert_int_le(quantiles.p50, quantiles.longest);
	ck_assert_int_le(quantiles.p99, quantiles.longest);
	ck_assert_int_eq(quantiles.longest, 1234567);
}
END_TEST

START_TEST(each_time_is_in_one_bucket)
{
	latency_note("ses", STAGE_REPLY, 0);
	latency_note("ses", STAGE_REPLY, 1000);
	latency_note("ses", STAGE_REPLY, 1001);
	latency_note("ses", STAGE_REPLY, 600 * SECOND);
	latency_note("ses", STAGE_REPLY, 600 * SECOND + 1);
	const struct latency_view *view = view_of("ses", STAGE_REPLY);
	ck_assert_uint_eq(view->buckets[0], 2);
	ck_assert_uint_eq(view->buckets[1], 1);
	ck_assert_uint_eq(view->buckets[LATENCY_BUCKETS - 1], 1);
	unsigned long within = 0;
	for (size_t i = 0; i < LATENCY_BUCKETS; i++)
		within += view->buckets[i];
	ck_assert_uint_eq(within, 4);
	ck_assert_uint_eq(view->seen, 5);
	for (size_t i = 1; i < LATENCY_BUCKETS; i++)
		ck_assert_int_gt(latency_bounds[i], latency_bounds[i - 1]);
}
END_TEST

START_TEST(percentiles_are_of_ten_to_twenty_minutes)
{
	note("ses", 100 * MS, 10);
	clock_fake_advance(10 * MINUTE);
	note("ses", 200 * MS, 10);
	ck_assert_uint_eq(recent("ses").seen, 20);
	clock_fake_advance(10 * MINUTE);
	ck_assert_uint_eq(recent("ses").seen, 10);
	ck_assert_int_eq(recent("ses").longest, 200 * MS);
	clock_fake_advance(10 * MINUTE);
	ck_assert_uint_eq(recent("ses").seen, 0);
	ck_assert_int_eq(recent("ses").p50, -1);
	ck_assert_int_eq(recent("ses").longest, -1);
	ck_assert_uint_eq(view_of("ses", STAGE_REPLY)->seen, 20);
}
END_TEST

START_TEST(what_is_older_than_twenty_minutes_is_gone_however_rarely_one_looks)
{
	note("ses", 100 * MS, 10);
	clock_fake_advance(19 * MINUTE); /* nothing happens meanwhile */
	ck_assert_uint_eq(recent("ses").seen, 10);
	clock_fake_advance(2 * MINUTE);
	ck_assert_uint_eq(recent("ses").seen, 0);
	note("ses", 100 * MS, 10);
	clock_fake_advance(60 * MINUTE);
	ck_assert_uint_eq(recent("ses").seen, 0);
}
END_TEST

/* ---- what is usual ---- */

START_TEST(nothing_is_usual_before_enough_is_known)
{
	ck_assert_int_eq(latency_p99("ses", STAGE_REPLY), -1);
	note("ses", 100 * MS, 19);
	ck_assert_int_eq(latency_p99("ses", STAGE_REPLY), -1);
	note("ses", 100 * MS, 1);
	ck_assert_int_eq(latency_p99("ses", STAGE_REPLY), 100 * MS);
	ck_assert_int_eq(latency_p99("zoho", STAGE_REPLY), -1);
	ck_assert_int_eq(latency_p99("ses", STAGE_MAIL), -1);
}
END_TEST

START_TEST(a_relay_that_always_takes_long_is_usual)
{
	note("ses", 2 * SECOND, 30);
	ck_assert_int_eq(latency_p99("ses", STAGE_REPLY), 2 * SECOND);
	note("ses", 7 * SECOND, 300); /* not four times as long */
	ck_assert_int_eq(latency_p99("ses", STAGE_REPLY), 2 * SECOND);
	clock_fake_advance(10 * MINUTE);
	note("ses", 7 * SECOND, 1);
	ck_assert_int_eq(latency_p99("ses", STAGE_REPLY), 7 * SECOND);
}
END_TEST

/* Never four times what was just before, and soon hundreds of times what is usual. */
START_TEST(a_relay_that_becomes_slower_step_by_step_is_unusual)
{
	note("ses", 200 * MS, 20);
	for (usec_t spent = 200 * MS; spent < 300 * SECOND; spent += spent / 2)
		note("ses", spent, 3);
	ck_assert_int_eq(latency_p99("ses", STAGE_REPLY), 200 * MS);
}
END_TEST

START_TEST(a_relay_that_becomes_slow_is_not_learned_while_normal_ones_come)
{
	note("ses", 100 * MS, 100);
	for (unsigned i = 0; i < 120; i++) { /* ten hours */
		clock_fake_advance(5 * MINUTE);
		note("ses", 2 * SECOND, 100);
		note("ses", 100 * MS, 1);
	}
	ck_assert_int_eq(latency_p99("ses", STAGE_REPLY), 100 * MS);
}
END_TEST

START_TEST(a_relay_that_stays_slow_is_learned_after_ten_minutes)
{
	note("ses", 100 * MS, 100);
	clock_fake_advance(60 * MINUTE);
	note("ses", 2 * SECOND, 20);
	clock_fake_advance(10 * MINUTE - 1);
	note("ses", 2 * SECOND, 20);
	ck_assert_int_eq(latency_p99("ses", STAGE_REPLY), 100 * MS);
	clock_fake_advance(1);
	note("ses", 2 * SECOND, 19);
	ck_assert_int_eq(latency_p99("ses", STAGE_REPLY), -1);
	note("ses", 2 * SECOND, 1);
	ck_assert_int_eq(latency_p99("ses", STAGE_REPLY), 2 * SECOND);
}
END_TEST

START_TEST(what_is_short_is_never_unusual)
{
	note("ses", 1 * MS, 100);
	note("ses", 1 * SECOND, 100); /* a thousand times as long, and no longer than a second */
	clock_fake_advance(10 * MINUTE);
	note("ses", 1 * SECOND, 1);
	ck_assert_int_eq(latency_p99("ses", STAGE_REPLY), 1 * SECOND);
}
END_TEST

START_TEST(one_in_a_hundred_does_not_count)
{
	note("ses", 300 * MS, 20);
	note("ses", 900 * MS, 100);
	note("ses", 300 * MS, 253); /* the last 256 alone */
	clock_fake_advance(10 * MINUTE);
	note("ses", 900 * MS, 1);
	ck_assert_int_eq(latency_p99("ses", STAGE_REPLY), 900 * MS); /* 4 of 256 */
	note("ses", 900 * MS, 2);
	note("ses", 300 * MS, 253);
	clock_fake_advance(10 * MINUTE);
	note("ses", 300 * MS, 1);
	ck_assert_int_eq(latency_p99("ses", STAGE_REPLY), 300 * MS);
}
END_TEST

/* ---- events ---- */

static void tell(enum event_kind kind, const char *relay, const struct journey *journey)
{
	struct event event = {.kind = kind, .relay = relay, .host = "-", .journey = journey};
	publish(&event);
}

START_TEST(a_set_up_counts_with_its_connection_alone)
{
	struct journey journey;
	journey_init(&journey);
	for (enum stage stage = STAGE_INGEST; stage < STAGE_COUNT; stage++)
		journey_add(&journey, stage, 10 * MS);
	tell(EVENT_OUTCOME, "ses", &journey);
	ck_assert_uint_eq(view_of("ses", STAGE_REPLY)->seen, 1);
	ck_assert_uint_eq(view_of("ses", STAGE_POOL)->seen, 1);
	ck_assert_uint_eq(view_of("ses", STAGE_BANNER)->seen, 0);
	ck_assert_uint_eq(view_of("ses", STAGE_INGEST)->seen, 0);
	ck_assert_uint_eq(view_of("-", STAGE_INGEST)->seen, 1);
	tell(EVENT_CONNECTION_OPENED, "ses", &journey);
	ck_assert_uint_eq(view_of("ses", STAGE_REPLY)->seen, 1);
	for (enum stage stage = STAGE_DNS; stage <= STAGE_AUTH; stage++)
		ck_assert_uint_eq(view_of("ses", stage)->seen, 1);
	tell(EVENT_OUTCOME, "ses", NULL);
	tell(EVENT_CONNECTION_CLOSED, "ses", &journey);
	ck_assert_uint_eq(view_of("ses", STAGE_REPLY)->seen, 1);
}
END_TEST

START_TEST(a_stage_that_was_not_seen_does_not_count)
{
	struct journey journey;
	journey_init(&journey);
	journey_add(&journey, STAGE_MAIL, 0);
	tell(EVENT_OUTCOME, "ses", &journey);
	ck_assert_uint_eq(view_of("ses", STAGE_MAIL)->seen, 1);
	ck_assert_uint_eq(view_of("ses", STAGE_REPLY)->seen, 0);
	ck_assert_uint_eq(views, 1);
}
END_TEST

static char order[4][8];

static void on_order(const struct latency_view *view, void *arg)
{
	unsigned *count = arg;
	if (*count < 4)
		snprintf(order[*count], sizeof order[0], "%s", view->relay);
	++*count;
}

START_TEST(relays_come_in_the_order_in_which_they_were_seen)
{
	unsigned count = 0;
	note("zoho", 1, 1);
	note("ses", 1, 1);
	note("zoho", 1, 1);
	note("a", 1, 1);
	latency_each(on_order, &count);
	ck_assert_uint_eq(count, 3);
	ck_assert_str_eq(order[0], "zoho");
	ck_assert_str_eq(order[1], "ses");
	ck_assert_str_eq(order[2], "a");
}
END_TEST

START_TEST(one_relay_is_shown_alone)
{
	note("zoho", 1, 1);
	note("ses", 1 * SECOND, 3);
	latency_note("ses", STAGE_MAIL, 1);
	looked_for.relay = "ses";
	looked_for.stage = STAGE_REPLY;
	views = 0;
	latency_of("ses", on_view, NULL);
	ck_assert_uint_eq(views, 2);
	ck_assert_uint_eq(found.seen, 3);
	latency_of("nobody", on_view, NULL);
	ck_assert_uint_eq(views, 2);
	ck_assert_uint_eq(latency_quantiles("nobody", STAGE_REPLY).seen, 0);
	ck_assert_int_eq(latency_quantiles("nobody", STAGE_REPLY).longest, -1);
	ck_assert_int_eq(latency_quantiles("ses", STAGE_DATA).p50, -1);
}
END_TEST

START_TEST(hundreds_of_relays)
{
	char name[16];
	for (unsigned round = 0; round < 30; round++)
		for (unsigned i = 0; i < 300; i++) {
			snprintf(name, sizeof name, "relay%u", i);
			note(name, (i + 1) * MS, 1);
		}
	for (unsigned i = 0; i < 300; i++) {
		snprintf(name, sizeof name, "relay%u", i);
		ck_assert_int_eq(latency_p99(name, STAGE_REPLY), (i + 1) * MS);
	}
	ck_assert_uint_eq(view_of("relay299", STAGE_REPLY)->seen, 30);
	ck_assert_uint_eq(views, 300);
}
END_TEST

Suite *latency_suite(void)
{
	Suite *suite = suite_create("latency");
	TCase *tcase = tcase_create("latency");
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, percentiles_are_of_what_was_seen);
	tcase_add_test(tcase, a_percentile_is_never_beyond_the_longest);
	tcase_add_test(tcase, each_time_is_in_one_bucket);
	tcase_add_test(tcase, percentiles_are_of_ten_to_twenty_minutes);
	tcase_add_test(tcase, what_is_older_than_twenty_minutes_is_gone_however_rarely_one_looks);
	tcase_add_test(tcase, nothing_is_usual_before_enough_is_known);
	tcase_add_test(tcase, a_relay_that_always_takes_long_is_usual);
	tcase_add_test(tcase, a_relay_that_becomes_slower_step_by_step_is_unusual);
	tcase_add_test(tcase, a_relay_that_becomes_slow_is_not_learned_while_normal_ones_come);
	tcase_add_test(tcase, a_relay_that_stays_slow_is_learned_after_ten_minutes);
	tcase_add_test(tcase, what_is_short_is_never_unusual);
	tcase_add_test(tcase, one_in_a_hundred_does_not_count);
	tcase_add_test(tcase, a_set_up_counts_with_its_connection_alone);
	tcase_add_test(tcase, a_stage_that_was_not_seen_does_not_count);
	tcase_add_test(tcase, relays_come_in_the_order_in_which_they_were_seen);
	tcase_add_test(tcase, one_relay_is_shown_alone);
	tcase_add_test(tcase, hundreds_of_relays);
	suite_add_tcase(suite, tcase);
	return suite;
}
