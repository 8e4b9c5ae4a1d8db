/* Unit tests of base/clock: order and time of timers, and the fake clock. */
#include <config.h>

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "check_base.h"

static char fired[64];
static usec_t fired_at[64];
static usec_t start;

/* A timer that writes its name, one letter, into `fired`. */
static void write_name(void *arg)
{
	const struct timer *timer = arg;
	size_t length = strlen(fired);
	fired_at[length] = clock_now() - start;
	fired[length] = timer->name[0];
}

static void letter_init(struct timer *timer, const char *name)
{
	timer_init(timer, name, write_name, timer);
}

static void setup(void)
{
	clock_fake_start();
	start = clock_now();
	memset(fired, 0, sizeof fired);
}

static void teardown(void)
{
	ck_assert_int_eq(clock_next_due(), -1);
	clock_fake_stop();
}

START_TEST(timers_fire_in_order_of_due)
{
	struct timer a, b, c;
	letter_init(&a, "a"), letter_init(&b, "b"), letter_init(&c, "c");
	timer_arm(&c, 3000);
	timer_arm(&a, 1000);
	timer_arm(&b, 2000);
	ck_assert_int_eq(clock_next_due(), start + 1000);
	clock_fake_advance(10000);
	ck_assert_str_eq(fired, "abc");
	ck_assert_int_eq(fired_at[0], 1000);
	ck_assert_int_eq(fired_at[1], 2000);
	ck_assert_int_eq(fired_at[2], 3000);
	ck_assert_int_eq(clock_now(), start + 10000);
}
END_TEST

START_TEST(timers_of_equal_due_fire_in_order_of_arming)
{
	static const char *const names[] = {"a", "b", "c", "d", "e", "f", "g", "h", "i"};
	struct timer timers[9];
	for (size_t i = 0; i < 9; i++) {
		letter_init(&timers[i], names[i]);
		timer_arm(&timers[i], 500);
	}
	timer_arm(&timers[0], 500); /* armed anew: now the last */
	clock_fake_advance(500);
	ck_assert_str_eq(fired, "bcdefghia");
}
END_TEST

START_TEST(a_timer_is_not_fired_before_it_is_due)
{
	struct timer a;
	letter_init(&a, "a");
	timer_arm(&a, 1000);
	clock_fake_advance(999);
	ck_assert_str_eq(fired, "");
	ck_assert(timer_armed(&a));
	clock_fake_advance(1);
	ck_assert_str_eq(fired, "a");
	ck_assert(!timer_armed(&a));
}
END_TEST

START_TEST(arming_with_zero_fires_at_the_next_turn)
{
	struct timer a;
	letter_init(&a, "a");
	timer_arm(&a, 0);
	ck_assert_str_eq(fired, "");
	clock_fire_due();
	ck_assert_str_eq(fired, "a");
}
END_TEST

START_TEST(a_negative_delay_is_zero)
{
	struct timer a, b;
	letter_init(&a, "a"), letter_init(&b, "b");
	timer_arm(&a, 0);
	timer_arm(&b, -5000);
	clock_fire_due();
	ck_assert_str_eq(fired, "ab");
}
END_TEST

START_TEST(a_cancelled_timer_is_not_fired)
{
	struct timer a, b, c;
	letter_init(&a, "a"), letter_init(&b, "b"), letter_init(&c, "c");
	timer_arm(&a, 10);
	timer_arm(&b, 20);
	timer_arm(&c, 30);
	timer_cancel(&b);
	timer_cancel(&b); /* harmless */
	ck_assert(!timer_armed(&b));
	clock_fake_advance(100);
	ck_assert_str_eq(fired, "ac");
}
END_TEST

static void arm_itself_with_zero(void *arg)
{
	write_name(arg);
	timer_arm(arg, 0);
}

START_TEST(a_timer_that_arms_itself_fires_once_a_turn)
{
	struct timer a;
	timer_init(&a, "a", arm_itself_with_zero, &a);
	timer_arm(&a, 0);
	clock_fire_due();
	ck_assert_str_eq(fired, "a");
	clock_fire_due();
	ck_assert_str_eq(fired, "aa");
	timer_cancel(&a);
}
END_TEST

static struct timer victim;

static void cancel_victim(void *arg)
{
	write_name(arg);
	timer_cancel(&victim);
}

START_TEST(a_due_timer_may_be_cancelled_by_an_earlier_one)
{
	struct timer a;
	timer_init(&a, "a", cancel_victim, &a);
	letter_init(&victim, "v");
	timer_arm(&a, 5);
	timer_arm(&victim, 5);
	clock_fake_advance(5);
	ck_assert_str_eq(fired, "a");
}
END_TEST

static unsigned changes;

static void count_change(void)
{
	changes++;
}

START_TEST(a_new_earliest_timer_is_told)
{
	struct timer a, b, c;
	letter_init(&a, "a"), letter_init(&b, "b"), letter_init(&c, "c");
	changes = 0;
	clock_on_change(count_change);
	timer_arm(&b, 20);
	ck_assert_uint_eq(changes, 1);
	timer_arm(&c, 30);
	ck_assert_uint_eq(changes, 1);
	timer_arm(&a, 10);
	ck_assert_uint_eq(changes, 2);
	clock_on_change(NULL);
	timer_cancel(&a), timer_cancel(&b), timer_cancel(&c);
}
END_TEST

START_TEST(wall_time_moves_with_the_fake_clock)
{
	int64_t wall = clock_wall();
	clock_fake_advance(600 * USEC_PER_SEC);
	ck_assert_int_eq(clock_wall() - wall, 600 * USEC_PER_SEC);
	ck_assert_int_eq(clock_now() - start, 600 * USEC_PER_SEC);
}
END_TEST

/* Against a plain search of all timers, over many random armings and cancellings. */
START_TEST(the_heap_keeps_its_order)
{
	struct timer timers[200];
	for (size_t i = 0; i < 200; i++)
		letter_init(&timers[i], "x");
	srand(7);
	for (unsigned round = 0; round < 5000; round++) {
		struct timer *timer = &timers[rand() % 200];
		if (rand() % 3 == 0)
			timer_cancel(timer);
		else
			timer_arm(timer, rand() % 1000);
		usec_t earliest = -1;
		for (size_t i = 0; i < 200; i++)
			if (timer_armed(&timers[i]) && (earliest < 0 || timers[i].due < earliest))
				earliest = timers[i].due;
		ck_assert_int_eq(clock_next_due(), earliest);
	}
	for (size_t i = 0; i < 200; i++)
		timer_cancel(&timers[i]);
}
END_TEST

START_TEST(the_real_clock_goes_on)
{
	clock_fake_stop();
	usec_t before = clock_now();
	while (clock_now() == before)
		;
	ck_assert_int_gt(clock_now(), before);
	ck_assert_int_gt(clock_wall(), 1577836800 * USEC_PER_SEC); /* 2020 */
}
END_TEST

Suite *clock_suite(void)
{
	Suite *suite = suite_create("clock");
	TCase *tcase = tcase_create("clock");
	tcase_set_timeout(tcase, 60);
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, timers_fire_in_order_of_due);
	tcase_add_test(tcase, timers_of_equal_due_fire_in_order_of_arming);
	tcase_add_test(tcase, a_timer_is_not_fired_before_it_is_due);
	tcase_add_test(tcase, arming_with_zero_fires_at_the_next_turn);
	tcase_add_test(tcase, a_negative_delay_is_zero);
	tcase_add_test(tcase, a_cancelled_timer_is_not_fired);
	tcase_add_test(tcase, a_timer_that_arms_itself_fires_once_a_turn);
	tcase_add_test(tcase, a_due_timer_may_be_cancelled_by_an_earlier_one);
	tcase_add_test(tcase, a_new_earliest_timer_is_told);
	tcase_add_test(tcase, wall_time_moves_with_the_fake_clock);
	tcase_add_test(tcase, the_heap_keeps_its_order);
	tcase_add_test(tcase, the_real_clock_goes_on);
	suite_add_tcase(suite, tcase);
	return suite;
}
