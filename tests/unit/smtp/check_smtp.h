/*
 * The suites of the room smtp, one for each module. check_smtp.c runs them.
 */
#ifndef CHECK_SMTP_H
#define CHECK_SMTP_H

#include <check.h>

Suite *suite_command(void);
Suite *suite_ehlo(void);
Suite *suite_reply(void);

#endif
