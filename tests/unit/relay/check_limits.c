/* Limits are learned from refusals, kept, and tried again: by a simulated relay and the scripted clock. */
#include "check_relay.h"
#include "relay/limits.h"

static struct limits limits;

static void begin(void)
{
	clock_fake_start();
	limits = (struct limits){.second = 0};
}

static int64_t value(enum limit_kind kind)
{
	return limits.of[kind].value;
}

/* Refused there, a second after what was before. */
static bool met(enum limit_kind kind, int64_t at)
{
	clock_fake_advance(USEC_PER_SEC);
	return limits_met(&limits, kind, at, "421 No more");
}

START_TEST(once_is_not_enough)
{
	ck_assert(!met(LIMIT_MESSAGES, 50));
	ck_assert_int_eq(value(LIMIT_MESSAGES), 0);
	ck_assert(met(LIMIT_MESSAGES, 50));
	ck_assert_int_eq(value(LIMIT_MESSAGES), 50);
	ck_assert_str_eq(limits.of[LIMIT_MESSAGES].why, "421 No more");
}
END_TEST

START_TEST(twice_at_different_places_is_no_limit)
{
	ck_assert(!met(LIMIT_MESSAGES, 50));
	ck_assert(!met(LIMIT_MESSAGES, 20));
	ck_assert(!met(LIMIT_MESSAGES, 90));
	ck_assert(!met(LIMIT_MESSAGES, 0));
}
END_TEST

START_TEST(ten_connections_that_end_together_are_one_refusal)
{
	ck_assert(!met(LIMIT_MESSAGES, 50));
	for (unsigned i = 0; i < 9; i++)
		ck_assert(!limits_met(&limits, LIMIT_MESSAGES, 50, "421 No more"));
	ck_assert(met(LIMIT_MESSAGES, 50));
}
END_TEST

START_TEST(times_are_kept_clear_of)
{
	ck_assert(!met(LIMIT_AGE, 100 * USEC_PER_SEC));
	ck_assert(!met(LIMIT_AGE, 104 * USEC_PER_SEC));
	ck_assert(met(LIMIT_AGE, 102 * USEC_PER_SEC));
	ck_assert_int_eq(value(LIMIT_AGE), 95 * USEC_PER_SEC);
	ck_assert(!met(LIMIT_IDLE, 10 * USEC_PER_SEC));
	ck_assert(!met(LIMIT_IDLE, 10 * USEC_PER_SEC));
	ck_assert(met(LIMIT_IDLE, 10 * USEC_PER_SEC));
	ck_assert_int_eq(value(LIMIT_IDLE), 9 * USEC_PER_SEC);
}
END_TEST

START_TEST(what_is_allowed_is_no_limit)
{
	ck_assert(!met(LIMIT_CONNECTIONS, 1));
	ck_assert(met(LIMIT_CONNECTIONS, 1));
	ck_assert(limits_allowed(&limits, LIMIT_CONNECTIONS, 3));
	ck_assert_int_eq(value(LIMIT_CONNECTIONS), 3);
	ck_assert(!limits_allowed(&limits, LIMIT_CONNECTIONS, 2));
	ck_assert_int_eq(value(LIMIT_CONNECTIONS), 3);
}
END_TEST

static void accept_many(unsigned count)
{
	while (count-- > 0)
		limits_note_accepted(&limits);
}

START_TEST(it_is_tried_higher_after_a_while_and_enough_messages)
{
	ck_assert(!met(LIMIT_MESSAGES, 50));
	ck_assert(met(LIMIT_MESSAGES, 50));
	ck_assert(!limits_raise(&limits, LIMIT_MESSAGES, 0));
	clock_fake_advance(60 * USEC_PER_SEC);
	ck_assert(!limits_raise(&limits, LIMIT_MESSAGES, 0));
	accept_many(2000);
	ck_assert(limits_raise(&limits, LIMIT_MESSAGES, 0));
	ck_assert_int_eq(value(LIMIT_MESSAGES), 55);
	ck_assert(!limits_raise(&limits, LIMIT_MESSAGES, 0));
}
END_TEST

START_TEST(one_refusal_brings_back_what_was_known_and_for_longer)
{
	ck_assert(!met(LIMIT_MESSAGES, 50));
	ck_assert(met(LIMIT_MESSAGES, 50));
	clock_fake_advance(60 * USEC_PER_SEC);
	accept_many(2000);
	ck_assert(limits_raise(&limits, LIMIT_MESSAGES, 0));
	ck_assert(met(LIMIT_MESSAGES, 50));
	ck_assert_int_eq(value(LIMIT_MESSAGES), 50);
	clock_fake_advance(60 * USEC_PER_SEC);
	accept_many(2000);
	ck_assert(!limits_raise(&limits, LIMIT_MESSAGES, 0));
	clock_fake_advance(60 * USEC_PER_SEC);
	ck_assert(limits_raise(&limits, LIMIT_MESSAGES, 0));
}
END_TEST

START_TEST(with_little_mail_it_is_tried_after_hours)
{
	ck_assert(!met(LIMIT_CONNECTIONS, 3));
	ck_assert(met(LIMIT_CONNECTIONS, 3));
	clock_fake_advance(21000 * USEC_PER_SEC);
	ck_assert(!limits_raise(&limits, LIMIT_CONNECTIONS, 10));
	clock_fake_advance(600 * USEC_PER_SEC);
	ck_assert(limits_raise(&limits, LIMIT_CONNECTIONS, 10));
	ck_assert_int_eq(value(LIMIT_CONNECTIONS), 4);
}
END_TEST

START_TEST(at_the_configured_value_it_is_forgotten)
{
	ck_assert(!met(LIMIT_CONNECTIONS, 9));
	ck_assert(met(LIMIT_CONNECTIONS, 9));
	clock_fake_advance(86400 * USEC_PER_SEC);
	ck_assert(limits_raise(&limits, LIMIT_CONNECTIONS, 10));
	ck_assert_int_eq(value(LIMIT_CONNECTIONS), 0);
	ck_assert(!limits_raise(&limits, LIMIT_CONNECTIONS, 10));
	ck_assert(met(LIMIT_CONNECTIONS, 9));
	ck_assert_int_eq(value(LIMIT_CONNECTIONS), 9);
}
END_TEST

START_TEST(the_smaller_one_is_in_force)
{
	ck_assert_int_eq(limits_least(&limits, LIMIT_MESSAGES, 0), 0);
	ck_assert_int_eq(limits_least(&limits, LIMIT_MESSAGES, 20), 20);
	ck_assert(!met(LIMIT_MESSAGES, 50));
	ck_assert(met(LIMIT_MESSAGES, 50));
	ck_assert_int_eq(limits_least(&limits, LIMIT_MESSAGES, 0), 50);
	ck_assert_int_eq(limits_least(&limits, LIMIT_MESSAGES, 20), 20);
	ck_assert_int_eq(limits_least(&limits, LIMIT_MESSAGES, 100), 50);
}
END_TEST

/* Fourteen a second and then no more: the rate is near that, whatever came before. */
START_TEST(a_burst_shows_the_rate_where_it_was_refused)
{
	accept_many(1);
	clock_fake_advance(60 * USEC_PER_SEC);
	for (unsigned second = 0; second < 4; second++) {
		accept_many(14);
		clock_fake_advance(USEC_PER_SEC);
	}
	accept_many(14);
	ck_assert(limits_throttled(&limits, false, "454 Throttling failure"));
	ck_assert_int_ge(value(LIMIT_RATE), 12 * LIMITS_RATE_UNIT);
	ck_assert_int_le(value(LIMIT_RATE), 16 * LIMITS_RATE_UNIT);
}
END_TEST

/* Twenty a second, of which the first third of a second tells. */
START_TEST(a_short_burst_is_measured_by_its_own_length)
{
	clock_fake_advance(9800 * USEC_PER_MSEC);
	for (unsigned i = 0; i < 8; i++) {
		accept_many(1);
		clock_fake_advance(50 * USEC_PER_MSEC);
	}
	ck_assert(limits_throttled(&limits, false, "454 Throttling failure"));
	ck_assert_int_ge(value(LIMIT_RATE), 16 * LIMITS_RATE_UNIT);
	ck_assert_int_le(value(LIMIT_RATE), 20 * LIMITS_RATE_UNIT);
}
END_TEST

/* Sixty in a minute, however quick: the longer it refuses, the nearer it is to one a second. */
START_TEST(a_window_shows_itself_while_it_refuses)
{
	for (unsigned i = 0; i < 4; i++) {
		accept_many(15);
		clock_fake_advance(USEC_PER_SEC / 2);
	}
	ck_assert(limits_throttled(&limits, false, "450 too much mail"));
	ck_assert_int_gt(value(LIMIT_RATE), 20 * LIMITS_RATE_UNIT);
	for (unsigned wait = 1; wait <= 16; wait *= 2) {
		clock_fake_advance(wait * USEC_PER_SEC);
		ck_assert(limits_throttled(&limits, false, "450 too much mail"));
	}
	ck_assert_int_ge(value(LIMIT_RATE), LIMITS_RATE_UNIT * 8 / 10);
	ck_assert_int_le(value(LIMIT_RATE), 2 * LIMITS_RATE_UNIT);
}
END_TEST

START_TEST(with_little_mail_there_is_nothing_to_go_by)
{
	ck_assert(!limits_throttled(&limits, false, "454 Throttling failure"));
	accept_many(4);
	ck_assert(!limits_throttled(&limits, false, "454 Throttling failure"));
	ck_assert_int_eq(value(LIMIT_RATE), 0);
}
END_TEST

/* Ten a second are known; five are brought and taken, and one message is refused: that is another matter. */
START_TEST(a_relay_that_takes_others_below_the_rate_is_not_too_slow)
{
	accept_many(12);
	clock_fake_advance(USEC_PER_SEC);
	ck_assert(limits_throttled(&limits, false, "454 Throttling failure"));
	int64_t known = value(LIMIT_RATE);
	clock_fake_advance(100 * USEC_PER_SEC);
	for (unsigned i = 0; i < 10; i++) {
		accept_many(5);
		clock_fake_advance(USEC_PER_SEC);
	}
	ck_assert(!limits_throttled(&limits, true, "454 Throttling failure"));
	ck_assert_int_eq(value(LIMIT_RATE), known);
}
END_TEST

START_TEST(a_rate_that_was_known_is_brought_back)
{
	accept_many(10);
	clock_fake_advance(USEC_PER_SEC);
	ck_assert(limits_throttled(&limits, false, "454 Throttling failure"));
	int64_t known = value(LIMIT_RATE);
	clock_fake_advance(60 * USEC_PER_SEC);
	accept_many(2000);
	ck_assert(limits_raise(&limits, LIMIT_RATE, 0));
	ck_assert_int_gt(value(LIMIT_RATE), known);
	ck_assert(limits_throttled(&limits, true, "454 Throttling failure"));
	ck_assert_int_eq(value(LIMIT_RATE), known);
}
END_TEST

START_TEST(what_is_far_apart_is_no_limit)
{
	ck_assert(!met(LIMIT_CONNECTIONS, 1));
	clock_fake_advance(301 * USEC_PER_SEC);
	ck_assert(!met(LIMIT_CONNECTIONS, 1));
	ck_assert(!met(LIMIT_MESSAGES, 7));
	clock_fake_advance(3601 * USEC_PER_SEC);
	ck_assert(!met(LIMIT_MESSAGES, 7));
}
END_TEST

START_TEST(what_was_allowed_in_between_is_no_limit)
{
	ck_assert(!met(LIMIT_CONNECTIONS, 1));
	ck_assert(!limits_allowed(&limits, LIMIT_CONNECTIONS, 2));
	ck_assert(!met(LIMIT_CONNECTIONS, 1));
}
END_TEST

START_TEST(less_than_was_allowed_lately_takes_longer)
{
	ck_assert(!limits_allowed(&limits, LIMIT_CONNECTIONS, 10));
	for (unsigned i = 0; i < 3; i++)
		ck_assert(!met(LIMIT_CONNECTIONS, 1));
	ck_assert(met(LIMIT_CONNECTIONS, 1));
}
END_TEST

START_TEST(what_was_allowed_long_ago_is_forgotten)
{
	ck_assert(!limits_allowed(&limits, LIMIT_CONNECTIONS, 10));
	clock_fake_advance(3601 * USEC_PER_SEC);
	ck_assert(!met(LIMIT_CONNECTIONS, 1));
	ck_assert(met(LIMIT_CONNECTIONS, 1));
}
END_TEST

START_TEST(a_clock_that_was_ahead_keeps_no_limit_for_ever)
{
	ck_assert(!met(LIMIT_CONNECTIONS, 3));
	ck_assert(met(LIMIT_CONNECTIONS, 3));
	limits.of[LIMIT_CONNECTIONS].raised += 365 * 86400 * USEC_PER_SEC;
	ck_assert(!limits_raise(&limits, LIMIT_CONNECTIONS, 10));
	clock_fake_advance(21600 * USEC_PER_SEC);
	ck_assert(limits_raise(&limits, LIMIT_CONNECTIONS, 10));
}
END_TEST

START_TEST(a_relay_that_takes_nothing_at_all_is_not_too_slow)
{
	accept_many(100);
	ck_assert(limits_throttled(&limits, false, "450 too much mail"));
	clock_fake_advance(100 * USEC_PER_SEC);
	int64_t before = value(LIMIT_RATE);
	ck_assert(!limits_throttled(&limits, false, "450 too much mail"));
	ck_assert_int_eq(value(LIMIT_RATE), before);
}
END_TEST

START_TEST(the_steps_grow_while_nothing_is_refused)
{
	ck_assert(!met(LIMIT_MESSAGES, 100));
	ck_assert(met(LIMIT_MESSAGES, 100));
	static const int64_t expected[] = {110, 132, 184, 328, 656, 1312};
	for (unsigned i = 0; i < 6; i++) {
		clock_fake_advance(86400 * USEC_PER_SEC);
		ck_assert(limits_raise(&limits, LIMIT_MESSAGES, 0));
		ck_assert_int_eq(value(LIMIT_MESSAGES), expected[i]);
	}
}
END_TEST

START_TEST(they_are_written_as_people_write_them)
{
	char text[32];
	ck_assert_str_eq(limits_format(LIMIT_CONNECTIONS, 10, text, sizeof(text)), "10");
	ck_assert_str_eq(limits_format(LIMIT_IDLE, 4500 * USEC_PER_MSEC, text, sizeof(text)), "4.5");
	ck_assert_str_eq(limits_format(LIMIT_RATE, 500, text, sizeof(text)), "0.5");
	ck_assert_str_eq(limits_format(LIMIT_RATE, 0, text, sizeof(text)), "0");
	ck_assert_str_eq(limits_format(LIMIT_AGE, 3600 * USEC_PER_SEC, text, sizeof(text)), "3600");
	ck_assert_str_eq(limits_format(LIMIT_MESSAGES, 1000, text, sizeof(text)), "1000");
}
END_TEST

Suite *limits_suite(void)
{
	Suite *suite = suite_create("limits");
	TCase *tests = tcase_create("limits");
	tcase_add_checked_fixture(tests, begin, clock_fake_stop);
	tcase_add_test(tests, once_is_not_enough);
	tcase_add_test(tests, twice_at_different_places_is_no_limit);
	tcase_add_test(tests, ten_connections_that_end_together_are_one_refusal);
	tcase_add_test(tests, times_are_kept_clear_of);
	tcase_add_test(tests, what_is_allowed_is_no_limit);
	tcase_add_test(tests, it_is_tried_higher_after_a_while_and_enough_messages);
	tcase_add_test(tests, one_refusal_brings_back_what_was_known_and_for_longer);
	tcase_add_test(tests, with_little_mail_it_is_tried_after_hours);
	tcase_add_test(tests, at_the_configured_value_it_is_forgotten);
	tcase_add_test(tests, the_smaller_one_is_in_force);
	tcase_add_test(tests, a_burst_shows_the_rate_where_it_was_refused);
	tcase_add_test(tests, a_short_burst_is_measured_by_its_own_length);
	tcase_add_test(tests, a_window_shows_itself_while_it_refuses);
	tcase_add_test(tests, with_little_mail_there_is_nothing_to_go_by);
	tcase_add_test(tests, a_relay_that_takes_others_below_the_rate_is_not_too_slow);
	tcase_add_test(tests, a_rate_that_was_known_is_brought_back);
	tcase_add_test(tests, what_is_far_apart_is_no_limit);
	tcase_add_test(tests, what_was_allowed_in_between_is_no_limit);
	tcase_add_test(tests, less_than_was_allowed_lately_takes_longer);
	tcase_add_test(tests, what_was_allowed_long_ago_is_forgotten);
	tcase_add_test(tests, a_clock_that_was_ahead_keeps_no_limit_for_ever);
	tcase_add_test(tests, a_relay_that_takes_nothing_at_all_is_not_too_slow);
	tcase_add_test(tests, the_steps_grow_while_nothing_is_refused);
	tcase_add_test(tests, they_are_written_as_people_write_them);
	suite_add_tcase(suite, tests);
	return suite;
}
