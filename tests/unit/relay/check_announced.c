/* What relays announced is remembered over a restart, and a broken file costs nothing. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "check_relay.h"
#include "relay/announced.h"

static char directory[] = "/tmp/check_announced.XXXXXX";

static void quiet(enum log_level level, const char *line)
{
	(void)level;
	(void)line;
}

static void begin(void)
{
	ck_assert_ptr_nonnull(mkdtemp(directory));
	log_capture(quiet);
}

static void end(void)
{
	char path[sizeof(directory) + 32];
	snprintf(path, sizeof(path), "%s/announced.json", directory);
	(void)unlink(path);
	ck_assert_int_eq(rmdir(directory), 0);
	log_capture(NULL);
}

START_TEST(it_survives_a_restart)
{
	struct capabilities caps = {.bits = CAP_PIPELINING | CAP_SIZE, .size = 1000};
	struct announced *a = announced_create(directory);
	ck_assert_ptr_null(announced_get(a, "far"));
	announced_set(a, "far", &caps);
	announced_free(a);
	a = announced_create(directory);
	ck_assert_ptr_nonnull(announced_get(a, "far"));
	ck_assert_uint_eq(announced_get(a, "far")->bits, caps.bits);
	ck_assert_uint_eq(announced_get(a, "far")->size, 1000);
	announced_free(a);
}
END_TEST

START_TEST(a_broken_file_is_as_good_as_none)
{
	char path[sizeof(directory) + 32];
	snprintf(path, sizeof(path), "%s/announced.json", directory);
	FILE *file = fopen(path, "w");
	fputs("{\"far\": [1, 2", file);
	fclose(file);
	struct announced *a = announced_create(directory);
	ck_assert_ptr_null(announced_get(a, "far"));
	announced_free(a);
}
END_TEST

START_TEST(a_directory_that_is_not_there_costs_only_the_memory)
{
	struct capabilities caps = {.bits = CAP_PIPELINING};
	struct announced *a = announced_create("/nonexistent");
	announced_set(a, "far", &caps);
	ck_assert_uint_eq(announced_get(a, "far")->bits, CAP_PIPELINING);
	announced_free(a);
}
END_TEST

Suite *announced_suite(void)
{
	Suite *suite = suite_create("announced");
	TCase *tests = tcase_create("announced");
	tcase_add_checked_fixture(tests, begin, end);
	tcase_add_test(tests, it_survives_a_restart);
	tcase_add_test(tests, a_broken_file_is_as_good_as_none);
	tcase_add_test(tests, a_directory_that_is_not_there_costs_only_the_memory);
	suite_add_tcase(suite, tests);
	return suite;
}
