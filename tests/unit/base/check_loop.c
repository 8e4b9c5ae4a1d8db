/* Unit tests of base/loop: timers by the real and the fake clock, calls from other threads, offloaded work. */
#include <config.h>

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>

#include "base/loop.h"
#include "base/mem.h"
#include "check_base.h"

static unsigned calls;

static void count_call(void *arg)
{
	(void)arg;
	calls++;
}

static void stop_loop(void *arg)
{
	(void)arg;
	loop_stop();
}

static void setup(void)
{
	calls = 0;
	ck_assert(loop_create());
}

static void teardown(void)
{
	loop_free();
}

START_TEST(the_loop_fires_timers_by_the_real_clock)
{
	struct timer late, early;
	timer_init(&late, "late", stop_loop, NULL);
	timer_init(&early, "early", count_call, NULL);
	timer_arm(&late, 30 * USEC_PER_MSEC);
	timer_arm(&early, 10 * USEC_PER_MSEC);
	usec_t start = clock_now();
	loop_run();
	usec_t took = clock_now() - start;
	ck_assert_uint_eq(calls, 1);
	ck_assert_int_ge(took, 30 * USEC_PER_MSEC);
	ck_assert_int_lt(took, 5 * USEC_PER_SEC);
}
END_TEST

START_TEST(a_timer_armed_before_the_loop_was_created_fires)
{
	loop_free();
	struct timer stop;
	timer_init(&stop, "stop", stop_loop, NULL);
	timer_arm(&stop, 0);
	ck_assert(loop_create());
	loop_run();
	ck_assert(!timer_armed(&stop));
}
END_TEST

/* Nothing else is to happen in between: a timer of 0 waits until the loop turns. */
static void arm_chain(void *arg)
{
	if (++calls < 5)
		timer_arm(arg, 0);
	else
		loop_stop();
}

START_TEST(timers_armed_by_timers_fire)
{
	struct timer chain;
	timer_init(&chain, "chain", arm_chain, &chain);
	timer_arm(&chain, 0);
	loop_run();
	ck_assert_uint_eq(calls, 5);
}
END_TEST

START_TEST(settle_fires_what_is_due_by_the_fake_clock)
{
	clock_fake_start();
	struct timer now, later;
	timer_init(&now, "now", count_call, NULL);
	timer_init(&later, "later", count_call, NULL);
	timer_arm(&now, 0);
	timer_arm(&later, USEC_PER_SEC);
	loop_settle();
	ck_assert_uint_eq(calls, 1);
	clock_fake_advance(USEC_PER_SEC);
	ck_assert_uint_eq(calls, 2);
	clock_fake_stop();
}
END_TEST

/* Each octet read on one end is answered on the other until ten have gone. */
static void pass_on(evutil_socket_t fd, short what, void *arg)
{
	(void)what;
	char octet;
	ck_assert_int_eq(read(fd, &octet, 1), 1);
	if (++calls < 10)
		ck_assert_int_eq(write(*(int *)arg, &octet, 1), 1);
}

START_TEST(settle_goes_on_until_the_sockets_are_quiet)
{
	int pair[2];
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	struct event *a = event_new(loop_base(), pair[0], EV_READ | EV_PERSIST, pass_on, &pair[0]);
	struct event *b = event_new(loop_base(), pair[1], EV_READ | EV_PERSIST, pass_on, &pair[1]);
	event_add(a, NULL), event_add(b, NULL);
	ck_assert_int_eq(write(pair[0], "x", 1), 1);
	loop_settle();
	ck_assert_uint_eq(calls, 10);
	event_free(a), event_free(b);
	close(pair[0]), close(pair[1]);
}
END_TEST

/* ---- posts ---- */

static char order[8];

static void note_order(void *arg)
{
	strcat(order, arg);
}

START_TEST(posts_are_called_in_order)
{
	order[0] = '\0';
	ck_assert(loop_post(note_order, "a"));
	ck_assert(loop_post(note_order, "b"));
	ck_assert(loop_post(note_order, "c"));
	ck_assert_str_eq(order, "");
	loop_settle();
	ck_assert_str_eq(order, "abc");
}
END_TEST

START_TEST(a_full_queue_of_posts_refuses_and_recovers)
{
	unsigned taken = 0;
	while (taken < 100000 && loop_post(count_call, NULL))
		taken++;
	ck_assert_uint_eq(taken, 4096);
	ck_assert(!loop_post(count_call, NULL));
	loop_settle();
	ck_assert_uint_eq(calls, taken);
	ck_assert(loop_post(count_call, NULL));
	loop_settle();
	ck_assert_uint_eq(calls, taken + 1);
}
END_TEST

START_TEST(without_a_loop_a_post_is_refused)
{
	loop_free();
	ck_assert(!loop_post(count_call, NULL));
}
END_TEST

START_TEST(posts_left_over_are_not_called_by_the_next_loop)
{
	ck_assert(loop_post(count_call, NULL));
	loop_free();
	ck_assert(loop_create());
	loop_settle();
	ck_assert_uint_eq(calls, 0);
}
END_TEST

#define POSTERS 4
#define POSTS_EACH 20000

static void count_until_all(void *arg)
{
	(void)arg;
	if (++calls == POSTERS * POSTS_EACH)
		loop_stop();
}

static void *post_many(void *arg)
{
	for (unsigned i = 0; i < POSTS_EACH; i++)
		while (!loop_post(count_until_all, NULL))
			sched_yield();
	return arg;
}

START_TEST(posts_of_several_threads_all_arrive)
{
	pthread_t threads[POSTERS];
	for (size_t i = 0; i < POSTERS; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, post_many, NULL), 0);
	loop_run();
	ck_assert_uint_eq(calls, POSTERS * POSTS_EACH);
	for (size_t i = 0; i < POSTERS; i++)
		pthread_join(threads[i], NULL);
}
END_TEST

/* ---- offloaded work ---- */

struct errand {
	pthread_t worked_on, done_on;
	sigset_t mask;
	unsigned worked, done;
};

static void work_errand(void *arg)
{
	struct errand *errand = arg;
	errand->worked_on = pthread_self();
	pthread_sigmask(SIG_SETMASK, NULL, &errand->mask);
	errand->worked++;
}

static void end_errand(void *arg)
{
	struct errand *errand = arg;
	errand->done_on = pthread_self();
	errand->done++;
}

START_TEST(work_is_done_elsewhere_and_ends_on_the_loop)
{
	struct errand errand = {0};
	loop_offload(work_errand, end_errand, &errand);
	ck_assert_uint_eq(errand.done, 0);
	loop_settle();
	ck_assert_uint_eq(errand.worked, 1);
	ck_assert_uint_eq(errand.done, 1);
	ck_assert(!pthread_equal(errand.worked_on, pthread_self()));
	ck_assert(pthread_equal(errand.done_on, pthread_self()));
	ck_assert_int_eq(sigismember(&errand.mask, SIGTERM), 1);
	ck_assert_int_eq(sigismember(&errand.mask, SIGHUP), 1);
	sigset_t ours;
	pthread_sigmask(SIG_SETMASK, NULL, &ours);
	ck_assert_int_eq(sigismember(&ours, SIGTERM), 0);
}
END_TEST

static atomic_uint at_work, most_at_work;

static void work_a_while(void *arg)
{
	(void)arg;
	unsigned now = atomic_fetch_add(&at_work, 1) + 1;
	unsigned most = atomic_load(&most_at_work);
	while (now > most && !atomic_compare_exchange_weak(&most_at_work, &most, now))
		;
	usleep(2000);
	atomic_fetch_sub(&at_work, 1);
}

START_TEST(at_most_four_work_at_once_and_all_are_done)
{
	for (unsigned i = 0; i < 40; i++)
		loop_offload(work_a_while, count_call, NULL);
	loop_settle();
	ck_assert_uint_eq(calls, 40);
	ck_assert_uint_gt(atomic_load(&most_at_work), 1);
	ck_assert_uint_le(atomic_load(&most_at_work), 4);
}
END_TEST

START_TEST(done_arrives_though_the_queue_of_posts_is_full)
{
	loop_offload(work_a_while, count_call, NULL);
	while (loop_post(count_call, NULL))
		;
	loop_settle();
	ck_assert_uint_eq(calls, 4096 + 1);
}
END_TEST

static void free_arg(void *arg)
{
	calls++;
	free(arg);
}

START_TEST(freeing_the_loop_ends_what_was_offloaded)
{
	for (unsigned i = 0; i < 10; i++)
		loop_offload(work_a_while, free_arg, mem_alloc(16));
	loop_free();
	ck_assert_uint_eq(calls, 10);
}
END_TEST

static atomic_bool released, left;

static void work_until_released(void *arg)
{
	(void)arg;
	while (!atomic_load(&released))
		usleep(1000);
	atomic_store(&left, true);
}

START_TEST(freeing_the_loop_does_not_wait_for_stuck_work)
{
	loop_offload(work_until_released, count_call, NULL);
	usec_t start = clock_now();
	loop_free();
	usec_t took = clock_now() - start;
	ck_assert_int_lt(took, 5 * USEC_PER_SEC);
	ck_assert_uint_eq(calls, 0);
	/* A new loop is not disturbed when the work ends after all. */
	ck_assert(loop_create());
	atomic_store(&released, true);
	while (!atomic_load(&left))
		usleep(1000);
	loop_settle();
	ck_assert_uint_eq(calls, 0);
}
END_TEST

Suite *loop_suite(void)
{
	Suite *suite = suite_create("loop");
	TCase *tcase = tcase_create("loop");
	tcase_set_timeout(tcase, 60);
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, the_loop_fires_timers_by_the_real_clock);
	tcase_add_test(tcase, a_timer_armed_before_the_loop_was_created_fires);
	tcase_add_test(tcase, timers_armed_by_timers_fire);
	tcase_add_test(tcase, settle_fires_what_is_due_by_the_fake_clock);
	tcase_add_test(tcase, settle_goes_on_until_the_sockets_are_quiet);
	tcase_add_test(tcase, posts_are_called_in_order);
	tcase_add_test(tcase, a_full_queue_of_posts_refuses_and_recovers);
	tcase_add_test(tcase, without_a_loop_a_post_is_refused);
	tcase_add_test(tcase, posts_left_over_are_not_called_by_the_next_loop);
	tcase_add_test(tcase, posts_of_several_threads_all_arrive);
	tcase_add_test(tcase, work_is_done_elsewhere_and_ends_on_the_loop);
	tcase_add_test(tcase, at_most_four_work_at_once_and_all_are_done);
	tcase_add_test(tcase, done_arrives_though_the_queue_of_posts_is_full);
	tcase_add_test(tcase, freeing_the_loop_ends_what_was_offloaded);
	tcase_add_test(tcase, freeing_the_loop_does_not_wait_for_stuck_work);
	suite_add_tcase(suite, tcase);
	return suite;
}
