/* The suites of the room ingest, one for each module; check_ingest.c runs them all. */
#ifndef TESTS_UNIT_INGEST_CHECK_INGEST_H
#define TESTS_UNIT_INGEST_CHECK_INGEST_H

#include <check.h>

Suite *listener_suite(void);
Suite *message_suite(void);
Suite *session_suite(void);

#endif
