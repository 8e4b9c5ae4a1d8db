/* What is known of relays is remembered over a restart, and a broken file costs nothing. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "check_relay.h"
#include "relay/memory.h"

static char directory[] = "/tmp/check_memory.XXXXXX";

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
	snprintf(path, sizeof(path), "%s/relays.json", directory);
	(void)unlink(path);
	ck_assert_int_eq(rmdir(directory), 0);
	log_capture(NULL);
}

START_TEST(it_survives_a_restart)
{
	struct capabilities caps = {.bits = CAP_PIPELINING | CAP_SIZE, .size = 1000};
	struct memory *a = memory_create(directory);
	ck_assert_ptr_null(memory_announced(a, "far"));
	memory_set_announced(a, "far", &caps);
	memory_free(a);
	a = memory_create(directory);
	ck_assert_ptr_nonnull(memory_announced(a, "far"));
	ck_assert_uint_eq(memory_announced(a, "far")->bits, caps.bits);
	ck_assert_uint_eq(memory_announced(a, "far")->size, 1000);
	memory_free(a);
}
END_TEST

START_TEST(what_was_learned_survives_as_well)
{
	struct learned learned = {
		.mode = MODE_CLASSIC, .mode_until = 1764331200 * USEC_PER_SEC, .mode_why = "503 what"};
	learned.limits[LIMIT_MESSAGES] =
		(struct limit){.value = 55, .before = 50, .learned = 1, .raised = 2, .kept = 3, .why = "421 \"no\""};
	learned.limits[LIMIT_AGE] = (struct limit){.value = 1, .learned = 1};
	learned.limits[LIMIT_RATE] = (struct limit){.value = INT64_MAX, .learned = 1};
	struct memory *m = memory_create(directory);
	ck_assert_ptr_null(memory_learned(m, "far"));
	memory_set_learned(m, "far", &learned);
	ck_assert_ptr_null(memory_announced(m, "far"));
	memory_free(m);
	m = memory_create(directory);
	const struct learned *again = memory_learned(m, "far");
	ck_assert_ptr_nonnull(again);
	ck_assert_int_eq(again->mode, MODE_CLASSIC);
	ck_assert_int_eq(again->mode_until, learned.mode_until);
	ck_assert_str_eq(again->mode_why, "503 what");
	const struct limit *limit = &again->limits[LIMIT_MESSAGES];
	ck_assert_int_eq(limit->value, 55);
	ck_assert_int_eq(limit->before, 50);
	ck_assert_int_eq(limit->learned, 1);
	ck_assert_int_eq(limit->raised, 2);
	ck_assert_int_eq(limit->kept, 3);
	ck_assert_str_eq(limit->why, "421 \"no\"");
	/* No relay was ever seen to have such ones. */
	ck_assert_int_eq(again->limits[LIMIT_AGE].value, 0);
	ck_assert_int_eq(again->limits[LIMIT_RATE].value, 0);
	memory_free(m);
}
END_TEST

/* Whoever edits the file, or half a disk: what makes no sense counts as nothing. */
START_TEST(odd_values_are_nothing)
{
	char path[sizeof(directory) + 32];
	snprintf(path, sizeof(path), "%s/relays.json", directory);
	FILE *file = fopen(path, "w");
	fputs("{\"far\": {\"learned\": {\"mode\": \"fast\", \"limits\": {\"rate\": {\"value\": -5, \"why\": 3},"
	      " \"max_messages\": 7}}}, \"near\": \"PIPELINING\"}",
	      file);
	fclose(file);
	struct memory *m = memory_create(directory);
	ck_assert_int_eq(memory_learned(m, "far")->mode, MODE_COUNT);
	ck_assert_int_eq(memory_learned(m, "far")->limits[LIMIT_RATE].value, 0);
	ck_assert_str_eq(memory_learned(m, "far")->limits[LIMIT_RATE].why, "");
	ck_assert_int_eq(memory_learned(m, "far")->limits[LIMIT_MESSAGES].value, 0);
	ck_assert_ptr_null(memory_announced(m, "near"));
	ck_assert_ptr_null(memory_learned(m, "near"));
	memory_free(m);
}
END_TEST

START_TEST(a_broken_file_is_as_good_as_none)
{
	char path[sizeof(directory) + 32];
	snprintf(path, sizeof(path), "%s/relays.json", directory);
	FILE *file = fopen(path, "w");
	fputs("{\"far\": [1, 2", file);
	fclose(file);
	struct memory *a = memory_create(directory);
	ck_assert_ptr_null(memory_announced(a, "far"));
	memory_free(a);
}
END_TEST

START_TEST(a_directory_that_is_not_there_costs_only_the_memory)
{
	struct capabilities caps = {.bits = CAP_PIPELINING};
	struct memory *a = memory_create("/nonexistent");
	memory_set_announced(a, "far", &caps);
	ck_assert_uint_eq(memory_announced(a, "far")->bits, CAP_PIPELINING);
	memory_free(a);
}
END_TEST

Suite *memory_suite(void)
{
	Suite *suite = suite_create("memory");
	TCase *tests = tcase_create("memory");
	tcase_add_checked_fixture(tests, begin, end);
	tcase_add_test(tests, it_survives_a_restart);
	tcase_add_test(tests, what_was_learned_survives_as_well);
	tcase_add_test(tests, odd_values_are_nothing);
	tcase_add_test(tests, a_broken_file_is_as_good_as_none);
	tcase_add_test(tests, a_directory_that_is_not_there_costs_only_the_memory);
	suite_add_tcase(suite, tests);
	return suite;
}
