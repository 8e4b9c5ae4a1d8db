/* The depth of a connection: as many in flight as keep a simulated relay busy, and one after any trouble. */
#include "check_relay.h"
#include "relay/depth.h"

#define ROUND_TRIP (100 * USEC_PER_MSEC)

static struct depth depth;

static void begin(void)
{
	clock_fake_start();
	depth_init(&depth, 1, 32);
}

/* A relay that needs `work` for each message, with as many in flight as the depth allows, for `count` messages. */
static void serve(usec_t work, unsigned count)
{
	usec_t sent[64], free_at = clock_now();
	unsigned first = 0, behind = 0;
	while (count-- > 0) {
		while (behind - first < depth.now)
			sent[behind++ % 64] = clock_now();
		usec_t arrived = sent[first % 64] + ROUND_TRIP / 2;
		free_at = (free_at > arrived ? free_at : arrived) + work;
		usec_t back = free_at + ROUND_TRIP / 2;
		clock_fake_advance(back > clock_now() ? back - clock_now() : 0);
		depth_clean(&depth, behind - first > 1, clock_now() - sent[first % 64]);
		first++;
	}
}

START_TEST(a_quick_relay_gets_all_that_is_allowed)
{
	serve(USEC_PER_MSEC, 500);
	ck_assert_uint_ge(depth.now, 31);
}
END_TEST

/* 120 ms hold 6 messages of 20 ms; as much again, one served, one behind. */
START_TEST(a_slow_relay_gets_no_more_than_keeps_it_busy)
{
	serve(20 * USEC_PER_MSEC, 500);
	ck_assert_uint_ge(depth.now, 12);
	ck_assert_uint_le(depth.now, 15);
}
END_TEST

START_TEST(a_relay_that_becomes_slower_gets_less)
{
	serve(5 * USEC_PER_MSEC, 300);
	ck_assert_uint_ge(depth.now, 20);
	serve(50 * USEC_PER_MSEC, 300);
	ck_assert_uint_le(depth.now, 9);
}
END_TEST

START_TEST(it_grows_by_one_for_each_message)
{
	for (unsigned i = 1; i <= 10; i++) {
		ck_assert_uint_eq(depth.now, i);
		depth_clean(&depth, true, ROUND_TRIP);
	}
}
END_TEST

START_TEST(after_trouble_it_begins_anew)
{
	serve(USEC_PER_MSEC, 500);
	depth_irregular(&depth);
	ck_assert_uint_eq(depth.now, 1);
	serve(USEC_PER_MSEC, 500);
	ck_assert_uint_ge(depth.now, 31);
}
END_TEST

START_TEST(it_begins_within_its_bounds)
{
	depth_init(&depth, 0, 8);
	ck_assert_uint_eq(depth.now, 1);
	depth_init(&depth, 20, 8);
	ck_assert_uint_eq(depth.now, 8);
}
END_TEST

Suite *depth_suite(void)
{
	Suite *suite = suite_create("depth");
	TCase *tests = tcase_create("depth");
	tcase_add_checked_fixture(tests, begin, clock_fake_stop);
	tcase_add_test(tests, a_quick_relay_gets_all_that_is_allowed);
	tcase_add_test(tests, a_slow_relay_gets_no_more_than_keeps_it_busy);
	tcase_add_test(tests, a_relay_that_becomes_slower_gets_less);
	tcase_add_test(tests, it_grows_by_one_for_each_message);
	tcase_add_test(tests, after_trouble_it_begins_anew);
	tcase_add_test(tests, it_begins_within_its_bounds);
	suite_add_tcase(suite, tests);
	return suite;
}
