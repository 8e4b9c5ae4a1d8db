/* The suites of the room smtp, one for each module; check_smtp.c runs them all. */
#ifndef TESTS_UNIT_SMTP_CHECK_SMTP_H
#define TESTS_UNIT_SMTP_CHECK_SMTP_H

#include <check.h>

Suite *command_suite(void);
Suite *dot_suite(void);
Suite *ehlo_suite(void);
Suite *envelope_suite(void);
Suite *header_suite(void);
Suite *reply_suite(void);
Suite *tag_suite(void);

#endif
