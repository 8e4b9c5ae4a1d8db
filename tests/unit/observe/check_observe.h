/* The suites of the room observe, one for each module; check_observe.c runs them all. */
#ifndef TESTS_UNIT_OBSERVE_CHECK_OBSERVE_H
#define TESTS_UNIT_OBSERVE_CHECK_OBSERVE_H

#include <check.h>

#include "base/log.h"

Suite *door_suite(void);
Suite *histogram_suite(void);
Suite *journeys_suite(void);
Suite *latency_suite(void);
Suite *milter_suite(void);
Suite *outcome_suite(void);
Suite *quiet_suite(void);
Suite *seconds_suite(void);
Suite *stall_suite(void);
Suite *stats_suite(void);

/* Log lines, taken instead of written. */
#define LINES_MAX 512
void lines_start(void); /* debug lines too */
void lines_stop(void);
unsigned lines_count(void);
const char *lines_get(unsigned index); /* "" if there is none */
enum log_level lines_level(unsigned index);
void lines_forget(void);

#endif
