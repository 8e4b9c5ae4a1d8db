/* Runs the unit tests of the room base. CK_RUN_SUITE=clock runs those of one module. */
#include <stdlib.h>

#include "check_base.h"

int main(void)
{
	SRunner *runner = srunner_create(clock_suite());
	srunner_add_suite(runner, conf_suite());
	srunner_add_suite(runner, congestion_suite());
	srunner_add_suite(runner, journey_suite());
	srunner_add_suite(runner, log_suite());
	srunner_add_suite(runner, loop_suite());
	srunner_add_suite(runner, mem_suite());
	srunner_add_suite(runner, net_suite());
	srunner_add_suite(runner, passed_suite());
	srunner_add_suite(runner, path_suite());
	srunner_add_suite(runner, process_suite());
	srunner_add_suite(runner, provider_suite());
	srunner_add_suite(runner, publish_suite());
	srunner_add_suite(runner, rate_suite());
	srunner_add_suite(runner, resolve_suite());
	srunner_add_suite(runner, spool_suite());
	srunner_add_suite(runner, tls_suite());
	srunner_add_suite(runner, watchdog_suite());
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
