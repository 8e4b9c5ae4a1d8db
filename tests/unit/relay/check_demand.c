/* When one more connection is worth it: the waiting is summed, and compared with what a set-up takes. */
#include "check_relay.h"
#include "relay/demand.h"

#define SET_UP (800 * USEC_PER_MSEC)

static struct demand demand;

static void begin(void)
{
	clock_fake_start();
	demand = (struct demand){.at = clock_now()};
	demand_note_set_up(&demand, SET_UP);
}

START_TEST(nobody_waits)
{
	demand_note_waiting(&demand, 0);
	clock_fake_advance(10 * SET_UP);
	ck_assert_int_eq(demand_due(&demand), -1);
}
END_TEST

START_TEST(one_message_waits_as_long_as_a_set_up_takes)
{
	demand_note_waiting(&demand, 1);
	usec_t due = demand_due(&demand);
	ck_assert_int_ge(due, SET_UP);
	ck_assert_int_le(due, SET_UP + 1);
	clock_fake_advance(due);
	ck_assert_int_eq(demand_due(&demand), 0);
}
END_TEST

START_TEST(eight_messages_wait_an_eighth)
{
	demand_note_waiting(&demand, 8);
	ck_assert_int_le(demand_due(&demand), SET_UP / 8 + 1);
	clock_fake_advance(SET_UP / 8 + 1);
	ck_assert_int_eq(demand_due(&demand), 0);
}
END_TEST

START_TEST(what_was_waited_is_kept_while_the_number_changes)
{
	demand_note_waiting(&demand, 1);
	clock_fake_advance(SET_UP / 2);
	demand_note_waiting(&demand, 4);
	ck_assert_int_le(demand_due(&demand), SET_UP / 8 + 1);
}
END_TEST

START_TEST(it_is_forgotten_when_nobody_waits)
{
	demand_note_waiting(&demand, 4);
	clock_fake_advance(SET_UP / 8);
	demand_note_waiting(&demand, 0);
	demand_note_waiting(&demand, 1);
	ck_assert_int_ge(demand_due(&demand), SET_UP);
}
END_TEST

START_TEST(each_connection_begins_it_anew)
{
	demand_note_waiting(&demand, 4);
	clock_fake_advance(SET_UP / 4 + 1);
	ck_assert_int_eq(demand_due(&demand), 0);
	demand_note_opened(&demand);
	demand_note_waiting(&demand, 3);
	ck_assert_int_ge(demand_due(&demand), SET_UP / 3);
}
END_TEST

START_TEST(the_set_up_is_smoothed)
{
	demand_note_set_up(&demand, 2 * SET_UP);
	ck_assert_int_gt(demand.set_up, SET_UP);
	ck_assert_int_lt(demand.set_up, 2 * SET_UP);
	for (unsigned i = 0; i < 50; i++)
		demand_note_set_up(&demand, 0);
	ck_assert_int_ge(demand.set_up, 1);
	ck_assert_int_le(demand.set_up, 4);
}
END_TEST

Suite *demand_suite(void)
{
	Suite *suite = suite_create("demand");
	TCase *tests = tcase_create("demand");
	tcase_add_checked_fixture(tests, begin, clock_fake_stop);
	tcase_add_test(tests, nobody_waits);
	tcase_add_test(tests, one_message_waits_as_long_as_a_set_up_takes);
	tcase_add_test(tests, eight_messages_wait_an_eighth);
	tcase_add_test(tests, what_was_waited_is_kept_while_the_number_changes);
	tcase_add_test(tests, it_is_forgotten_when_nobody_waits);
	tcase_add_test(tests, each_connection_begins_it_anew);
	tcase_add_test(tests, the_set_up_is_smoothed);
	suite_add_tcase(suite, tests);
	return suite;
}
