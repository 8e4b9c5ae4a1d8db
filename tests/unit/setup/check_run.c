/* setup/run.h: a program's output, exit code and complaints; its limits. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "check_setup.h"
#include "setup/run.h"

static struct run run;
static char error[SETUP_ERROR_SIZE];

static bool shell(const char *script, unsigned seconds)
{
	return run_program((const char *const[]){"sh", "-c", script, NULL}, seconds, &run, error);
}

START_TEST(output_and_arguments_are_as_they_are)
{
	ck_assert_msg(run_program((const char *const[]){"printf", "%s|", "a b", "$HOME;", "", NULL}, 10, &run, error),
		      "%s", error);
	ck_assert_str_eq(run.output, "a b|$HOME;||");
	ck_assert_str_eq(run.complaint, "");
	run_free(&run);
}
END_TEST

START_TEST(a_failure_says_what_the_program_said_last)
{
	ck_assert(!shell("echo out; echo first >&2; echo 'fatal: no such map' >&2; exit 3", 10));
	ck_assert_str_eq(error, "sh failed (exit code 3): fatal: no such map");
	ck_assert_int_eq(run.code, 3);
	ck_assert_str_eq(run.output, "out\n");
	run_free(&run);
	ck_assert(!shell("kill -9 $$", 10));
	ck_assert_str_eq(error, "sh was ended by a signal");
	run_free(&run);
}
END_TEST

START_TEST(a_program_that_is_not_there_is_named)
{
	ck_assert(!run_program((const char *const[]){"no-such-postconf", NULL}, 10, &run, error));
	ck_assert_str_eq(error, "there is no program no-such-postconf on this host");
	run_free(&run);
}
END_TEST

START_TEST(what_does_not_end_is_ended_with_its_children)
{
	usec_t begin = clock_now();
	ck_assert(!shell("sleep 60 & sleep 60", 1));
	ck_assert_str_eq(error, "sh has not ended within 1 seconds");
	run_free(&run);
	/* Also one that has closed its outputs. */
	ck_assert(!shell("exec >&- 2>&-; sleep 60", 1));
	ck_assert_str_eq(error, "sh has not ended within 1 seconds");
	run_free(&run);
	ck_assert_int_lt(clock_now() - begin, 20 * USEC_PER_SEC);
}
END_TEST

START_TEST(output_is_bounded)
{
	ck_assert(!shell("while :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done", 30));
	ck_assert_str_eq(error, "sh printed more than 8 MiB");
	run_free(&run);
	ck_assert_msg(shell("head -c 100000 /dev/zero | tr '\\0' x >&2", 30), "%s", error);
	ck_assert_uint_eq(strlen(run.complaint), RUN_COMPLAINT_MAX);
	run_free(&run);
}
END_TEST

START_TEST(the_environment_is_ours)
{
	setenv("MAIL_CONFIG", "/etc/postfix-two", 1);
	setenv("LANG", "de_DE", 1);
	setenv("LD_SOMETHING", "x", 1);
	setenv("PATH", "/bin:/usr/bin", 1);
	ck_assert_msg(shell("env | sort", 10), "%s", error);
	ck_assert_ptr_nonnull(strstr(run.output, "MAIL_CONFIG=/etc/postfix-two\n"));
	ck_assert_ptr_nonnull(strstr(run.output, "LC_ALL=C\n"));
	ck_assert_ptr_nonnull(strstr(run.output, "PATH=/bin:/usr/bin:/usr/sbin:"));
	ck_assert_ptr_null(strstr(run.output, "LD_SOMETHING"));
	ck_assert_ptr_null(strstr(run.output, "LANG"));
	run_free(&run);
}
END_TEST

Suite *run_suite(void)
{
	Suite *suite = suite_create("run");
	TCase *tests = tcase_create("programs");
	tcase_set_timeout(tests, 60);
	tcase_add_test(tests, output_and_arguments_are_as_they_are);
	tcase_add_test(tests, a_failure_says_what_the_program_said_last);
	tcase_add_test(tests, a_program_that_is_not_there_is_named);
	tcase_add_test(tests, what_does_not_end_is_ended_with_its_children);
	tcase_add_test(tests, output_is_bounded);
	tcase_add_test(tests, the_environment_is_ours);
	suite_add_tcase(suite, tests);
	return suite;
}
