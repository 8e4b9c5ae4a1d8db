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

static void look(struct journey *journey, enum cause cause, unsigned times)
{
	while (times-- > 0)
		journey_look(journey, cause);
}

START_TEST(what_most_looks_have_seen_is_the_cause)
{
	struct journey journey;
	journey_init(&journey);
	look(&journey, CAUSE_ANSWER, 1); /* it is nowhere */
	for (size_t i = 0; i < STAGE_COUNT; i++)
		ck_assert_int_eq(journey.causes[i], CAUSE_COUNT);
	journey_enter(&journey, STAGE_BODY, 0);
	look(&journey, CAUSE_PATH, 3);
	ck_assert_int_eq(journey.causes[STAGE_BODY], CAUSE_PATH);
	look(&journey, CAUSE_WINDOW, 7);
	look(&journey, CAUSE_PATH, 2);
	ck_assert_int_eq(journey.causes[STAGE_BODY], CAUSE_WINDOW);
	journey_enter(&journey, STAGE_REPLY, 0);
	ck_assert_int_eq(journey.causes[STAGE_REPLY], CAUSE_COUNT);
	look(&journey, CAUSE_ANSWER, 100000);
	look(&journey, CAUSE_PATH, 30000);
	ck_assert_int_eq(journey.causes[STAGE_REPLY], CAUSE_ANSWER);
	journey_enter(&journey, STAGE_BODY, 0); /* what was seen before still counts */
	look(&journey, CAUSE_PATH, 1);
	ck_assert_int_eq(journey.causes[STAGE_BODY], CAUSE_WINDOW);
}
END_TEST

START_TEST(looks_are_shared_by_stage)
{
	struct journey journey, other;
	journey_init(&journey);
	journey_init(&other);
	journey_enter(&other, STAGE_BANNER, 0);
	journey_share_looks(&journey, &other, STAGE_BANNER);
	ck_assert_int_eq(journey.causes[STAGE_BANNER], CAUSE_COUNT);
	look(&other, CAUSE_PATH, 2);
	journey_share_looks(&journey, &other, STAGE_EHLO);
	ck_assert_int_eq(journey.causes[STAGE_BANNER], CAUSE_COUNT);
	journey_share_looks(&journey, &other, STAGE_BANNER);
	ck_assert_int_eq(journey.causes[STAGE_BANNER], CAUSE_PATH);
	journey_init(&other);
	journey_enter(&other, STAGE_BANNER, 0);
	look(&other, CAUSE_ANSWER, 1);
	journey_share_looks(&journey, &other, STAGE_BANNER); /* of another connection, looked at less */
	ck_assert_int_eq(journey.causes[STAGE_BANNER], CAUSE_PATH);
	look(&other, CAUSE_ANSWER, 2);
	journey_share_looks(&journey, &other, STAGE_BANNER);
	ck_assert_int_eq(journey.causes[STAGE_BANNER], CAUSE_ANSWER);
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
	tcase_add_test(tcase, what_most_looks_have_seen_is_the_cause);
	tcase_add_test(tcase, looks_are_shared_by_stage);
	suite_add_tcase(suite, tcase);
	return suite;
}
