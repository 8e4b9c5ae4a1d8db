/* Runs the unit tests of the room base. CK_RUN_SUITE=clock runs those of one module. */
#include <errno.h>
#include <linux/filter.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "check_base.h"

bool may_lose_packets(void)
{
	struct sock_filter all = BPF_STMT(BPF_RET | BPF_K, 0);
	struct sock_fprog program = {.len = 1, .filter = &all};
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	bool refused = setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) != 0 && errno == EPERM;
	close(fd);
	if (refused && geteuid() != 0)
		puts("skipped: what needs a socket filter, since this kernel lets only root attach one");
	return !refused || geteuid() == 0;
}

int main(void)
{
	SRunner *runner = srunner_create(chance_suite());
	srunner_add_suite(runner, clock_suite());
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
