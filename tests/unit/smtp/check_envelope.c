/*
 * The life of a message: recipients, references, verdicts.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "check_smtp.h"
#include "smtp/envelope.h"
#include "smtp/reply.h"

static unsigned told;
static struct recipient *told_of;

static void settled(struct message *message, struct recipient *recipient)
{
	ck_assert_ptr_eq(recipient->message, message);
	ck_assert_ptr_nonnull(recipient->verdict);
	told++;
	told_of = recipient;
}

/* A message to three recipients whose owner counts the verdicts. */
static struct message *three_recipients(void)
{
	struct message *message = message_create(NULL);

	message->sender = mem_strdup("sender@example.org");
	message->params = mem_strdup(" RET=HDRS");
	message->settled = settled;
	message->owner = &told;
	for (int i = 0; i < 3; i++)
		message_add_recipient(message, mem_printf("r%d@example.com", i), mem_strdup(""), i == 2);
	told = 0;
	return message;
}

START_TEST(a_new_message_knows_nothing)
{
	struct message *message = message_create(NULL);

	ck_assert_int_eq(message->queue_time, -1);
	ck_assert_uint_eq(message->recipient_count, 0);
	ck_assert_uint_eq(message_unsettled(message), 0);
	ck_assert_str_eq(message->queue_id, "");
	message_unref(&message);
	ck_assert_ptr_null(message);
}
END_TEST

START_TEST(recipients_keep_their_order_and_know_their_message)
{
	struct message *message = message_create(NULL);

	for (int i = 0; i < 1000; i++)
		message_add_recipient(message, mem_printf("r%d@example.com", i), mem_strdup(" NOTIFY=NEVER"),
				      i % 2 == 1);
	ck_assert_uint_eq(message->recipient_count, 1000);
	ck_assert_uint_eq(message_unsettled(message), 1000);
	for (int i = 0; i < 1000; i++) {
		char *address = mem_printf("r%d@example.com", i);

		ck_assert_str_eq(message->recipients[i].address, address);
		ck_assert_ptr_eq(message->recipients[i].message, message);
		ck_assert_ptr_null(message->recipients[i].verdict);
		ck_assert_int_eq(message->recipients[i].route, -1);
		ck_assert_int_eq(message->recipients[i].notify_success, i % 2 == 1);
		free(address);
	}
	message_unref(&message);
}
END_TEST

START_TEST(a_verdict_is_kept_and_told_to_the_owner)
{
	struct message *message = three_recipients();
	struct reply *reply = reply_local(LOCAL_NO_ROUTE, 451, "4.3.5", "no route");

	message_settle(&message->recipients[1], reply);
	ck_assert_uint_eq(told, 1);
	ck_assert_ptr_eq(told_of, &message->recipients[1]);
	ck_assert_uint_eq(message_unsettled(message), 2);
	message_settle(&message->recipients[0], reply);
	message_settle(&message->recipients[2], reply);
	ck_assert_uint_eq(told, 3);
	ck_assert_uint_eq(message_unsettled(message), 0);
	reply_unref(&reply);
	ck_assert_str_eq(message->recipients[2].verdict->text, "no route");
	message_unref(&message);
}
END_TEST

START_TEST(nobody_is_told_once_the_session_has_ended)
{
	struct message *message = three_recipients();
	struct reply *reply = reply_local(LOCAL_SHUTDOWN, 451, "4.3.2", "stopping");

	message->abandoned = true;
	message_settle(&message->recipients[0], reply);
	message->abandoned = false;
	message->owner = NULL;
	message_settle(&message->recipients[1], reply);
	ck_assert_uint_eq(told, 0);
	ck_assert_uint_eq(message_unsettled(message), 1);
	reply_unref(&reply);
	message_unref(&message);
}
END_TEST

START_TEST(a_second_verdict_ends_the_process)
{
	struct message *message = three_recipients();
	struct reply *reply = reply_local(LOCAL_SHUTDOWN, 451, "4.3.2", "stopping");

	message_settle(&message->recipients[0], reply);
	message_settle(&message->recipients[0], reply);
}
END_TEST

START_TEST(a_message_lives_until_its_last_reference)
{
	struct message *message = three_recipients(), *second = message_ref(message);

	message_unref(&message);
	ck_assert_ptr_null(message);
	ck_assert_str_eq(second->recipients[2].address, "r2@example.com");
	message_unref(&second);
}
END_TEST

Suite *envelope_suite(void)
{
	Suite *suite = suite_create("envelope");
	TCase *tcase = tcase_create("envelope");

	tcase_add_test(tcase, a_new_message_knows_nothing);
	tcase_add_test(tcase, recipients_keep_their_order_and_know_their_message);
	tcase_add_test(tcase, a_verdict_is_kept_and_told_to_the_owner);
	tcase_add_test(tcase, nobody_is_told_once_the_session_has_ended);
	tcase_add_test_raise_signal(tcase, a_second_verdict_ends_the_process, SIGABRT);
	tcase_add_test(tcase, a_message_lives_until_its_last_reference);
	suite_add_tcase(suite, tcase);
	return suite;
}
