/* The suites of the room admin, one for each module; check_admin.c runs them all. */
#ifndef TESTS_UNIT_ADMIN_CHECK_ADMIN_H
#define TESTS_UNIT_ADMIN_CHECK_ADMIN_H

#include <check.h>

Suite *control_suite(void);
Suite *ctl_suite(void);
Suite *flush_suite(void);
Suite *manual_suite(void);
Suite *metrics_suite(void);
Suite *route_suite(void);
Suite *scrape_suite(void);
Suite *time_suite(void);
Suite *top_suite(void);
Suite *why_suite(void);

#endif
