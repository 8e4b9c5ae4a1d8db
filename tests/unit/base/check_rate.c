/* Unit tests of base/rate: burst, steady rate, changes of the rate. */
#include <config.h>

#include "base/rate.h"
#include "check_base.h"

#define START (5000 * USEC_PER_SEC)

START_TEST(no_rate_is_no_limit)
{
	struct rate rate = {0};
	rate_set(&rate, 0, 1);
	for (unsigned i = 0; i < 1000; i++)
		ck_assert_int_eq(rate_take(&rate, START), 0);
}
END_TEST

START_TEST(a_burst_goes_at_once_and_no_more)
{
	struct rate rate = {0};
	rate_set(&rate, 10, 3);
	for (unsigned i = 0; i < 3; i++)
		ck_assert_int_eq(rate_take(&rate, START), 0);
	ck_assert_int_eq(rate_take(&rate, START), 100 * USEC_PER_MSEC);
	ck_assert_int_eq(rate_take(&rate, START), 100 * USEC_PER_MSEC); /* a refusal counts nothing */
	ck_assert_int_eq(rate_take(&rate, START + 40 * USEC_PER_MSEC), 60 * USEC_PER_MSEC);
	ck_assert_int_eq(rate_take(&rate, START + 100 * USEC_PER_MSEC), 0);
}
END_TEST

START_TEST(a_burst_of_zero_is_one)
{
	struct rate rate = {0};
	rate_set(&rate, 1, 0);
	ck_assert_int_eq(rate_take(&rate, START), 0);
	ck_assert_int_eq(rate_take(&rate, START), USEC_PER_SEC);
}
END_TEST

START_TEST(a_long_pause_gives_no_more_than_the_burst)
{
	struct rate rate = {0};
	rate_set(&rate, 10, 3);
	ck_assert_int_eq(rate_take(&rate, START), 0);
	usec_t later = START + 3600 * USEC_PER_SEC;
	for (unsigned i = 0; i < 3; i++)
		ck_assert_int_eq(rate_take(&rate, later), 0);
	ck_assert_int_gt(rate_take(&rate, later), 0);
}
END_TEST

START_TEST(the_rate_is_never_exceeded)
{
	struct rate rate = {0};
	rate_set(&rate, 3, 1); /* a third of a second is no whole number of microseconds */
	unsigned taken = 0;
	for (usec_t now = START; now < START + 1000 * USEC_PER_SEC; taken++)
		for (usec_t wait; (wait = rate_take(&rate, now)) > 0;)
			now += wait;
	ck_assert_uint_le(taken, 3001);
	ck_assert_uint_ge(taken, 2999);
}
END_TEST

START_TEST(a_faster_rate_holds_at_once)
{
	struct rate rate = {0};
	rate_set(&rate, 1.0 / 3600, 1);
	ck_assert_int_eq(rate_take(&rate, START), 0);
	rate_set(&rate, 100, 1);
	ck_assert_int_le(rate_take(&rate, START), 10 * USEC_PER_MSEC);
}
END_TEST

START_TEST(setting_the_rate_again_gives_no_second_burst)
{
	struct rate rate = {0};
	rate_set(&rate, 10, 2);
	ck_assert_int_eq(rate_take(&rate, START), 0);
	ck_assert_int_eq(rate_take(&rate, START), 0);
	rate_set(&rate, 10, 2);
	ck_assert_int_gt(rate_take(&rate, START), 0);
}
END_TEST

START_TEST(a_tiny_rate_is_bounded)
{
	struct rate rate = {0};
	rate_set(&rate, 1e-30, 1);
	ck_assert_int_eq(rate_take(&rate, START), 0);
	ck_assert_int_eq(rate_take(&rate, START), 86400 * USEC_PER_SEC);
}
END_TEST

/* As under load: each wait takes some milliseconds more. */
START_TEST(a_late_clock_costs_next_to_nothing_and_no_second_has_more)
{
	static const unsigned rates[] = {1, 4, 5, 14, 40, 49, 50, 99, 150, 1000, 10000};
	static usec_t taken[10 * 10000 + 1];
	for (size_t i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
		struct rate rate = {0};
		unsigned per_second = rates[i], count = 0;
		rate_spread(&rate, per_second);
		for (usec_t now = START; now < START + 10 * USEC_PER_SEC;) {
			usec_t wait = rate_take(&rate, now);
			if (wait == 0)
				taken[count++] = now;
			else
				now += wait + 4 * USEC_PER_MSEC;
			if (wait == 0 && count > per_second)
				ck_assert_int_ge(now - taken[count - 1 - per_second], USEC_PER_SEC);
		}
		ck_assert_uint_ge(count, per_second * 10 * 97 / 100);
		ck_assert_uint_le(count, per_second * 10 + 1);
	}
}
END_TEST

Suite *rate_suite(void)
{
	Suite *suite = suite_create("rate");
	TCase *tcase = tcase_create("rate");
	tcase_add_test(tcase, no_rate_is_no_limit);
	tcase_add_test(tcase, a_burst_goes_at_once_and_no_more);
	tcase_add_test(tcase, a_burst_of_zero_is_one);
	tcase_add_test(tcase, a_long_pause_gives_no_more_than_the_burst);
	tcase_add_test(tcase, the_rate_is_never_exceeded);
	tcase_add_test(tcase, a_faster_rate_holds_at_once);
	tcase_add_test(tcase, setting_the_rate_again_gives_no_second_burst);
	tcase_add_test(tcase, a_tiny_rate_is_bounded);
	tcase_add_test(tcase, a_late_clock_costs_next_to_nothing_and_no_second_has_more);
	suite_add_tcase(suite, tcase);
	return suite;
}
