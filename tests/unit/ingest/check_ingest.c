/* Runs the unit tests of the room ingest. CK_RUN_SUITE=session runs those of one module. */
#include <signal.h>
#include <stdlib.h>

#include "check_ingest.h"

int main(void)
{
	signal(SIGPIPE, SIG_IGN); /* as the daemon does */
	SRunner *runner = srunner_create(listener_suite());
	srunner_add_suite(runner, message_suite());
	srunner_add_suite(runner, session_suite());
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
