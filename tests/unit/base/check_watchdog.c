/* The watchdog: fed twice in each interval while the loop turns, and only then. */
#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/loop.h"
#include "base/process.h"
#include "base/watchdog.h"
#include "check_base.h"

#define INTERVAL (30 * USEC_PER_SEC)

static int manager; /* its socket */

static void setup(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	char name[64];
	snprintf(name, sizeof(name), "@relaypool-check-%ld", (long)getpid());
	strcpy(address.sun_path + 1, name + 1);
	manager = socket(AF_UNIX, SOCK_DGRAM, 0);
	socklen_t length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name));
	ck_assert_int_eq(bind(manager, (struct sockaddr *)&address, length), 0);
	setenv("NOTIFY_SOCKET", name, 1);
	process_take_manager();
	ck_assert(loop_create());
}

static void teardown(void)
{
	watchdog_stop();
	ck_assert_int_eq(clock_next_due(), -1);
	loop_free();
	close(manager);
}

/* `microseconds` as the environment has it; `pid` 0: it names none. */
static void start(long long microseconds, pid_t pid)
{
	char text[32];
	snprintf(text, sizeof(text), "%lld", microseconds);
	setenv("WATCHDOG_USEC", text, 1);
	snprintf(text, sizeof(text), "%ld", (long)pid);
	if (pid > 0)
		setenv("WATCHDOG_PID", text, 1);
	watchdog_take();
	ck_assert_ptr_null(getenv("WATCHDOG_USEC"));
	ck_assert_ptr_null(getenv("WATCHDOG_PID"));
	watchdog_start();
}

/* How often it was fed since the last call. */
static unsigned meals(void)
{
	char said[32];
	unsigned count = 0;
	ssize_t length;
	while ((length = recv(manager, said, sizeof(said) - 1, MSG_DONTWAIT)) > 0) {
		said[length] = '\0';
		ck_assert_str_eq(said, "WATCHDOG=1");
		count++;
	}
	return count;
}

START_TEST(it_is_fed_twice_in_each_interval)
{
	clock_fake_start();
	start(INTERVAL, _i == 0 ? getpid() : 0);
	ck_assert_uint_eq(meals(), 1);
	for (int i = 0; i < 10; i++) {
		clock_fake_advance(INTERVAL / 2 - 1);
		ck_assert_uint_eq(meals(), 0);
		clock_fake_advance(1);
		ck_assert_uint_eq(meals(), 1);
	}
	watchdog_stop();
	clock_fake_advance(10 * INTERVAL);
	ck_assert_uint_eq(meals(), 0);
	clock_fake_stop();
}
END_TEST

START_TEST(a_loop_that_hangs_does_not_feed_it)
{
	start(40 * USEC_PER_MSEC, getpid());
	ck_assert_uint_eq(meals(), 1);
	usleep(200000); /* somebody holds the loop */
	ck_assert_uint_eq(meals(), 0);
	loop_settle();
	ck_assert_uint_eq(meals(), 1);
}
END_TEST

START_TEST(another_process_is_watched_or_none)
{
	clock_fake_start();
	if (_i == 0)
		start(INTERVAL, getppid());
	else if (_i == 1)
		start(0, getpid());
	else {
		watchdog_take();
		watchdog_start();
	}
	clock_fake_advance(10 * INTERVAL);
	ck_assert_uint_eq(meals(), 0);
	clock_fake_stop();
}
END_TEST

Suite *watchdog_suite(void)
{
	Suite *suite = suite_create("watchdog");
	TCase *all = tcase_create("watchdog");
	tcase_add_checked_fixture(all, setup, teardown);
	tcase_add_loop_test(all, it_is_fed_twice_in_each_interval, 0, 2);
	tcase_add_test(all, a_loop_that_hangs_does_not_feed_it);
	tcase_add_loop_test(all, another_process_is_watched_or_none, 0, 3);
	suite_add_tcase(suite, all);
	return suite;
}
