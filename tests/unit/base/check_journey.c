/* Unit tests of base/journey: one stage at a time, and all of them add up. */
#include <config.h>

#include "base/journey.h"
#include "check_base.h"

START_TEST(nothing_is_seen_at_first)
{
	struct journey journey;
	journey_init(&journey);
	for (size_t i = 0; i < STAGE_COUNT; i++)
		ck_assert_int_eq(journey.spent[i], -1);
	ck_assert_int_eq(journey.stage, STAGE_COUNT);
	ck_assert_int_eq(journey_total(&journey), 0);
}
END_TEST

START_TEST(time_belongs_to_the_stage_before)
{
	struct journey journey;
	journey_init(&journey);
	journey_enter(&journey, STAGE_POOL, 1000);
	ck_assert_int_eq(journey.spent[STAGE_POOL], 0);
	journey_enter(&journey, STAGE_MAIL, 1500);
	journey_enter(&journey, STAGE_RCPT, 1500);
	journey_enter(&journey, STAGE_POOL, 1700);
	journey_enter(&journey, STAGE_COUNT, 2000);
	ck_assert_int_eq(journey.spent[STAGE_POOL], 800);
	ck_assert_int_eq(journey.spent[STAGE_MAIL], 0);
	ck_assert_int_eq(journey.spent[STAGE_RCPT], 200);
	ck_assert_int_eq(journey.spent[STAGE_DATA], -1);
	ck_assert_int_eq(journey_total(&journey), 1000);
}
END_TEST

START_TEST(a_clock_that_stands_counts_nothing)
{
	struct journey journey;
	journey_init(&journey);
	journey_enter(&journey, STAGE_COUNT, 10);
	journey_enter(&journey, STAGE_REPLY, 5000);
	journey_enter(&journey, STAGE_COUNT, 6000);
	journey_enter(&journey, STAGE_COUNT, 9000);
	journey_enter(&journey, STAGE_REPLY, 20000);
	journey_enter(&journey, STAGE_REPLY, 20001);
	ck_assert_int_eq(journey.spent[STAGE_REPLY], 1001);
	ck_assert_int_eq(journey_total(&journey), 1001);
}
END_TEST

START_TEST(what_was_measured_elsewhere_is_added)
{
	struct journey journey;
	journey_init(&journey);
	journey_add(&journey, STAGE_CLIENT, -1);
	ck_assert_int_eq(journey.spent[STAGE_CLIENT], -1);
	journey_add(&journey, STAGE_CLIENT, 0);
	ck_assert_int_eq(journey.spent[STAGE_CLIENT], 0);
	journey_add(&journey, STAGE_CLIENT, 70);
	journey_add(&journey, STAGE_CLIENT, -5);
	journey_add(&journey, STAGE_MTA, 30);
	ck_assert_int_eq(journey_total(&journey), 100);
}
END_TEST

Suite *journey_suite(void)
{
	Suite *suite = suite_create("journey");
	TCase *tcase = tcase_create("journey");
	tcase_add_test(tcase, nothing_is_seen_at_first);
	tcase_add_test(tcase, time_belongs_to_the_stage_before);
	tcase_add_test(tcase, a_clock_that_stands_counts_nothing);
	tcase_add_test(tcase, what_was_measured_elsewhere_is_added);
	suite_add_tcase(suite, tcase);
	return suite;
}
