/* Runs the unit tests of the room admin. CK_RUN_SUITE=control runs those of one module. */
#include <signal.h>
#include <stdlib.h>

#include "check_admin.h"

int main(void)
{
	signal(SIGPIPE, SIG_IGN); /* as the daemon does */
	SRunner *runner = srunner_create(control_suite());
	srunner_add_suite(runner, ctl_suite());
	srunner_add_suite(runner, flush_suite());
	srunner_add_suite(runner, manual_suite());
	srunner_add_suite(runner, metrics_suite());
	srunner_add_suite(runner, route_suite());
	srunner_add_suite(runner, scrape_suite());
	srunner_add_suite(runner, time_suite());
	srunner_add_suite(runner, top_suite());
	srunner_add_suite(runner, why_suite());
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
