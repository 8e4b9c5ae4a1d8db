/* The suites of the room base, one for each module; check_base.c runs them all. */
#ifndef TESTS_UNIT_BASE_CHECK_BASE_H
#define TESTS_UNIT_BASE_CHECK_BASE_H

#include <check.h>
#include <stdbool.h>

/* Whether packets can be lost here by a filter at a socket: some kernels let only root attach one. */
bool may_lose_packets(void);

Suite *chance_suite(void);
Suite *clock_suite(void);
Suite *conf_suite(void);
Suite *congestion_suite(void);
Suite *journey_suite(void);
Suite *log_suite(void);
Suite *loop_suite(void);
Suite *mem_suite(void);
Suite *net_suite(void);
Suite *passed_suite(void);
Suite *path_suite(void);
Suite *process_suite(void);
Suite *provider_suite(void);
Suite *publish_suite(void);
Suite *rate_suite(void);
Suite *resolve_suite(void);
Suite *spool_suite(void);
Suite *tls_suite(void);
Suite *watchdog_suite(void);

#endif
