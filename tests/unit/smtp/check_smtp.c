/* Runs the unit tests of the room smtp. CK_RUN_SUITE=reply runs those of one module. */
#include <stdlib.h>

#include "check_smtp.h"

int main(void)
{
	SRunner *runner = srunner_create(command_suite());
	int failed;

	srunner_add_suite(runner, dot_suite());
	srunner_add_suite(runner, ehlo_suite());
	srunner_add_suite(runner, envelope_suite());
	srunner_add_suite(runner, header_suite());
	srunner_add_suite(runner, reply_suite());
	srunner_add_suite(runner, tag_suite());
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
