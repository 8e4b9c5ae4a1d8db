/* What the files of the unit tests of the room setup share. */
#ifndef CHECK_SETUP_H
#define CHECK_SETUP_H

#include <check.h>

Suite *list_suite(void);
Suite *plan_suite(void);
Suite *report_suite(void);
Suite *run_suite(void);
Suite *sendmail_suite(void);
Suite *store_suite(void);

#endif
