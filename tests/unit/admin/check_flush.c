/* Requests to flush the MTA's queue: when they are made, and how often. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "admin/flush.h"
#include "base/log.h"
#include "check_admin.h"

static char directory[32], file[64];
static unsigned warnings;

static void count_warnings(enum log_level level, const char *line)
{
	(void)line;
	warnings += level == LOG_LEVEL_WARNING;
}

static void setup(void)
{
	strcpy(directory, "/tmp/check_flush.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(directory));
	snprintf(file, sizeof(file), "%s/flush", directory);
	warnings = 0;
	log_capture(count_warnings);
	clock_fake_start();
	flush_start(directory);
}

static void teardown(void)
{
	flush_stop();
	ck_assert_int_eq(clock_next_due(), -1); /* no timer is left */
	clock_fake_stop();
	log_capture(NULL);
	unlink(file);
	rmdir(directory);
}

/* Takes the request, as the path unit does. */
static bool taken(void)
{
	return unlink(file) == 0;
}

START_TEST(the_first_request_is_made_at_once)
{
	flush_request("start");
	ck_assert(taken());
}
END_TEST

START_TEST(repeats_are_a_minute_apart_and_none_is_lost)
{
	flush_request("start");
	ck_assert(taken());
	flush_request("absence");
	flush_request("absence");
	clock_fake_advance(FLUSH_APART - 1);
	ck_assert(!taken());
	clock_fake_advance(1);
	ck_assert(taken());
	clock_fake_advance(2 * FLUSH_APART);
	ck_assert(!taken());
}
END_TEST

START_TEST(a_loop_that_stood_still_asks)
{
	int64_t now = clock_wall();
	flush_beat(now + FLUSH_ABSENCE);
	ck_assert(!taken());
	flush_beat(now + 2 * FLUSH_ABSENCE + 1);
	ck_assert(taken());
}
END_TEST

START_TEST(time_that_passes_beat_by_beat_asks_for_nothing)
{
	clock_fake_advance(600 * USEC_PER_SEC);
	ck_assert(!taken());
}
END_TEST

START_TEST(a_clock_set_back_asks_for_nothing)
{
	flush_beat(clock_wall() - 3600 * USEC_PER_SEC);
	ck_assert(!taken());
}
END_TEST

START_TEST(a_directory_that_is_gone_costs_a_warning_only)
{
	rmdir(directory);
	flush_request("start");
	ck_assert_uint_eq(warnings, 1);
	clock_fake_advance(FLUSH_APART);
	ck_assert_int_eq(mkdir(directory, 0700), 0);
	flush_request("absence");
	ck_assert(taken());
}
END_TEST

Suite *flush_suite(void)
{
	Suite *suite = suite_create("flush");
	TCase *requests = tcase_create("requests");
	tcase_add_checked_fixture(requests, setup, teardown);
	tcase_add_test(requests, the_first_request_is_made_at_once);
	tcase_add_test(requests, repeats_are_a_minute_apart_and_none_is_lost);
	tcase_add_test(requests, a_loop_that_stood_still_asks);
	tcase_add_test(requests, time_that_passes_beat_by_beat_asks_for_nothing);
	tcase_add_test(requests, a_clock_set_back_asks_for_nothing);
	tcase_add_test(requests, a_directory_that_is_gone_costs_a_warning_only);
	suite_add_tcase(suite, requests);
	return suite;
}
