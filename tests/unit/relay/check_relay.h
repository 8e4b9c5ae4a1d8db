/* The suites of the room relay, one for each module. Collected by check_relay.c. */
#ifndef TESTS_UNIT_RELAY_CHECK_RELAY_H
#define TESTS_UNIT_RELAY_CHECK_RELAY_H

#include <check.h>

#include "relay/transaction.h"

Suite *auth_suite(void);
Suite *demand_suite(void);
Suite *depth_suite(void);
Suite *limits_suite(void);
Suite *memory_suite(void);
Suite *pipeline_suite(void);
Suite *token_suite(void);
Suite *transaction_suite(void);
Suite *trouble_suite(void);
Suite *wait_suite(void);

/* A transaction with `recipients` recipients, of a message with a body of some octets. Frees itself and the message. */
struct transaction *a_transaction(size_t recipients);
void end_transaction(struct transaction *t);

#endif
