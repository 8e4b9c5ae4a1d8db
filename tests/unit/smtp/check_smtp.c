/*
 * Runs the unit tests of the room smtp.
 */
#include <stdlib.h>

#include "check_smtp.h"

int main(void)
{
	SRunner *runner = srunner_create(suite_command());
	int failed;

	srunner_add_suite(runner, suite_ehlo());
	srunner_add_suite(runner, suite_reply());
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
