/* Runs the unit tests of the room relay. CK_RUN_SUITE=trouble runs those of one module. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/spool.h"
#include "check_relay.h"
#include "smtp/envelope.h"

struct transaction *a_transaction(size_t recipients)
{
	static const char body[] = "Subject: x\r\n\r\nbody\r\n";
	struct message *m = message_create(NULL);
	m->sender = mem_strdup("alice@example.org");
	m->params = mem_strdup("");
	m->body = spool_create(sizeof(body) - 1);
	ck_assert(spool_append(m->body, body, sizeof(body) - 1));
	for (size_t i = 0; i < recipients; i++)
		message_add_recipient(m, mem_printf("r%zu@example.net", i), mem_strdup(""), false);
	struct recipient **all = mem_array(recipients, sizeof(*all));
	for (size_t i = 0; i < recipients; i++)
		all[i] = &m->recipients[i];
	struct transaction *t = transaction_create(m, all, recipients);
	free(all);
	message_unref(&m);
	return t;
}

void end_transaction(struct transaction *t)
{
	transaction_free(t);
}

int main(void)
{
	spool_configure(1 << 20, "/tmp");
	SRunner *runner = srunner_create(auth_suite());
	srunner_add_suite(runner, demand_suite());
	srunner_add_suite(runner, depth_suite());
	srunner_add_suite(runner, limits_suite());
	srunner_add_suite(runner, memory_suite());
	srunner_add_suite(runner, pipeline_suite());
	srunner_add_suite(runner, token_suite());
	srunner_add_suite(runner, transaction_suite());
	srunner_add_suite(runner, trouble_suite());
	srunner_add_suite(runner, wait_suite());
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
