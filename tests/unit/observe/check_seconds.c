/* Unit tests of observe/seconds: durations as log lines show them. */
#include <config.h>

#include "check_observe.h"
#include "seconds.h"

static char out[SECONDS_SIZE];

START_TEST(short_has_two_significant_digits_like_postfix)
{
	ck_assert_str_eq(seconds_short(0, out), "0");
	ck_assert_str_eq(seconds_short(4999, out), "0");
	ck_assert_str_eq(seconds_short(5000, out), "0.01");
	ck_assert_str_eq(seconds_short(100000, out), "0.1");
	ck_assert_str_eq(seconds_short(123456, out), "0.12");
	ck_assert_str_eq(seconds_short(994999, out), "0.99");
	ck_assert_str_eq(seconds_short(995000, out), "1");
	ck_assert_str_eq(seconds_short(1234567, out), "1.2");
	ck_assert_str_eq(seconds_short(9949999, out), "9.9");
	ck_assert_str_eq(seconds_short(9950000, out), "10");
	ck_assert_str_eq(seconds_short(17 * USEC_PER_SEC, out), "17");
	ck_assert_str_eq(seconds_short(432500 * USEC_PER_MSEC, out), "433");
	ck_assert_str_eq(seconds_short(100000 * USEC_PER_SEC, out), "100000");
}
END_TEST

START_TEST(fine_goes_to_the_millisecond)
{
	ck_assert_str_eq(seconds_fine(499, out), "0");
	ck_assert_str_eq(seconds_fine(2000, out), "0.002");
	ck_assert_str_eq(seconds_fine(101499, out), "0.101");
	ck_assert_str_eq(seconds_fine(240000, out), "0.24");
	ck_assert_str_eq(seconds_fine(17250 * USEC_PER_MSEC, out), "17.25");
	ck_assert_str_eq(seconds_fine(20 * USEC_PER_SEC, out), "20");
}
END_TEST

START_TEST(not_observed_is_a_dash_and_not_0)
{
	ck_assert_str_eq(seconds_short(-1, out), "-");
	ck_assert_str_eq(seconds_fine(-1, out), "-");
}
END_TEST

START_TEST(any_duration_fits)
{
	ck_assert_str_eq(seconds_fine(INT64_MAX / 2, out), "4611686018427.388");
	ck_assert_str_eq(seconds_short(INT64_MAX / 2, out), "4611686018427");
}
END_TEST

Suite *seconds_suite(void)
{
	Suite *suite = suite_create("seconds");
	TCase *tcase = tcase_create("seconds");
	tcase_add_test(tcase, short_has_two_significant_digits_like_postfix);
	tcase_add_test(tcase, fine_goes_to_the_millisecond);
	tcase_add_test(tcase, not_observed_is_a_dash_and_not_0);
	tcase_add_test(tcase, any_duration_fits);
	suite_add_tcase(suite, tcase);
	return suite;
}
