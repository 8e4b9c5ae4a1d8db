/* Runs the unit tests of the room setup. CK_RUN_SUITE=store runs those of one module. */
#include <stdlib.h>

#include "check_setup.h"

int main(void)
{
	SRunner *runner = srunner_create(list_suite());
	srunner_add_suite(runner, plan_suite());
	srunner_add_suite(runner, report_suite());
	srunner_add_suite(runner, run_suite());
	srunner_add_suite(runner, sendmail_suite());
	srunner_add_suite(runner, store_suite());
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
