/* Unit tests of observe/histogram: quantiles near enough, from bounded memory, whatever was added. */
#include <config.h>

#include "check_observe.h"
#include "histogram.h"

static struct histogram histogram;

static void empty(void)
{
	histogram = (struct histogram){0};
}

START_TEST(nothing_seen_has_no_quantile)
{
	histogram_add(&histogram, -1);
	ck_assert_int_eq(histogram_quantile(&histogram, 95), -1);
}
END_TEST

START_TEST(small_values_are_exact)
{
	for (usec_t i = 0; i < 60; i++)
		histogram_add(&histogram, i);
	ck_assert_int_eq(histogram_quantile(&histogram, 50), 29);
	ck_assert_int_eq(histogram_quantile(&histogram, 95), 56);
	ck_assert_int_eq(histogram_quantile(&histogram, 100), 59);
}
END_TEST

START_TEST(any_value_is_within_half_a_percent)
{
	for (usec_t value = 1; value < 4000 * USEC_PER_SEC; value += value / 3 + 1) {
		empty();
		histogram_add(&histogram, value);
		histogram_add(&histogram, 4200 * USEC_PER_SEC);
		usec_t found = histogram_quantile(&histogram, 50);
		ck_assert_int_le(found, value + value / 200);
		ck_assert_int_ge(found, value - value / 200);
	}
}
END_TEST

START_TEST(a_quantile_never_exceeds_what_was_seen)
{
	histogram_add(&histogram, 100001);
	ck_assert_int_le(histogram_quantile(&histogram, 95), 100001);
}
END_TEST

START_TEST(a_tail_of_a_twentieth_does_not_move_p95)
{
	for (int i = 0; i < 950; i++)
		histogram_add(&histogram, 10);
	for (int i = 0; i < 50; i++)
		histogram_add(&histogram, 60);
	ck_assert_int_eq(histogram_quantile(&histogram, 95), 10);
	ck_assert_int_eq(histogram_quantile(&histogram, 96), 60);
}
END_TEST

START_TEST(several_are_read_as_one_in_one_pass)
{
	static struct histogram other, both;
	static const unsigned percents[] = {0, 1, 50, 50, 95, 99, 100};
	const struct histogram *const parts[] = {&histogram, &other};
	usec_t found[7];
	for (usec_t i = 1; i <= 1000; i++) {
		histogram_add(i % 3 == 0 ? &histogram : &other, i * i * 7);
		histogram_add(&both, i * i * 7);
	}
	histogram_quantiles(parts, 2, percents, 7, found);
	for (size_t i = 0; i < 7; i++)
		ck_assert_int_eq(found[i], histogram_quantile(&both, percents[i]));
	ck_assert_int_eq(found[6], 7000000);
	histogram_quantiles(parts, 0, percents, 7, found);
	for (size_t i = 0; i < 7; i++)
		ck_assert_int_eq(found[i], -1);
}
END_TEST

START_TEST(huge_values_stay_in_bounds)
{
	histogram_add(&histogram, INT64_MAX);
	histogram_add(&histogram, ((usec_t)1 << 32) + 5);
	ck_assert_int_eq(histogram.seen, 2);
	ck_assert_int_le(histogram_quantile(&histogram, 50), (usec_t)1 << 32);
}
END_TEST

Suite *histogram_suite(void)
{
	Suite *suite = suite_create("histogram");
	TCase *tcase = tcase_create("histogram");
	tcase_add_checked_fixture(tcase, empty, NULL);
	tcase_add_test(tcase, nothing_seen_has_no_quantile);
	tcase_add_test(tcase, small_values_are_exact);
	tcase_add_test(tcase, any_value_is_within_half_a_percent);
	tcase_add_test(tcase, a_quantile_never_exceeds_what_was_seen);
	tcase_add_test(tcase, a_tail_of_a_twentieth_does_not_move_p95);
	tcase_add_test(tcase, several_are_read_as_one_in_one_pass);
	tcase_add_test(tcase, huge_values_stay_in_bounds);
	suite_add_tcase(suite, tcase);
	return suite;
}
