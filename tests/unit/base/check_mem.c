/* Unit tests of base/mem. */
#include <config.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/mem.h"
#include "check_base.h"

START_TEST(memory_is_zeroed)
{
	unsigned char *memory = mem_array(64, 16);
	for (size_t i = 0; i < 1024; i++)
		ck_assert_uint_eq(memory[i], 0);
	free(memory);
}
END_TEST

START_TEST(nothing_asked_for_is_no_failure)
{
	void *a = mem_alloc(0), *b = mem_realloc(NULL, 0);
	ck_assert_ptr_nonnull(a);
	ck_assert_ptr_nonnull(b);
	free(a), free(b);
}
END_TEST

START_TEST(copies_end_where_they_must)
{
	char *whole = mem_strdup("relay"), *part = mem_strndup("relay", 3), *more = mem_strndup("relay", 99);
	char *made = mem_printf("%s=%d", "port", 25);
	ck_assert_str_eq(whole, "relay");
	ck_assert_str_eq(part, "rel");
	ck_assert_str_eq(more, "relay");
	ck_assert_str_eq(made, "port=25");
	free(whole), free(part), free(more), free(made);
}
END_TEST

START_TEST(a_size_that_overflows_ends_the_process)
{
	(void)!freopen("/dev/null", "w", stderr);
	setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
	free(mem_array(SIZE_MAX / 2, 3));
}
END_TEST

START_TEST(no_secret_need_be_given)
{
	mem_free_secret(NULL);
	mem_free_secret(mem_strdup("secret"));
}
END_TEST

Suite *mem_suite(void)
{
	Suite *suite = suite_create("mem");
	TCase *tcase = tcase_create("mem");
	tcase_add_test(tcase, memory_is_zeroed);
	tcase_add_test(tcase, nothing_asked_for_is_no_failure);
	tcase_add_test(tcase, copies_end_where_they_must);
	tcase_add_test_raise_signal(tcase, a_size_that_overflows_ends_the_process, SIGABRT);
	tcase_add_test(tcase, no_secret_need_be_given);
	suite_add_tcase(suite, tcase);
	return suite;
}
