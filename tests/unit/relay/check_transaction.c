/* What a transaction's replies add up to, and which relay can take it. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/spool.h"
#include "check_relay.h"
#include "smtp/reply.h"

static struct transaction *t;

static void begin(void)
{
	t = a_transaction(2);
}

static void end(void)
{
	end_transaction(t);
}

static struct reply *code(int value)
{
	return reply_local(LOCAL_INGEST, value, "", "x"); /* whoever said it */
}

START_TEST(accepted_recipients_are_counted)
{
	ck_assert_uint_eq(transaction_accepted(t), 0);
	t->mail_reply = code(250);
	t->rcpt_replies[0] = code(250);
	t->rcpt_replies[1] = code(550);
	ck_assert_uint_eq(transaction_accepted(t), 1);
	ck_assert(!transaction_pointless(t));
}
END_TEST

START_TEST(a_refused_sender_makes_the_rest_pointless)
{
	t->mail_reply = code(550);
	ck_assert(transaction_pointless(t));
	ck_assert_ptr_eq(transaction_verdict(t, 1), t->mail_reply);
}
END_TEST

START_TEST(refused_recipients_make_the_rest_pointless)
{
	t->mail_reply = code(250);
	t->rcpt_replies[0] = code(550);
	ck_assert(!transaction_pointless(t));
	t->rcpt_replies[1] = code(450);
	ck_assert(transaction_pointless(t));
}
END_TEST

START_TEST(each_recipient_has_its_own_verdict)
{
	t->mail_reply = code(250);
	t->rcpt_replies[0] = code(550);
	t->rcpt_replies[1] = code(250);
	t->data_reply = code(354);
	t->final_reply = code(250);
	ck_assert_ptr_eq(transaction_verdict(t, 0), t->rcpt_replies[0]);
	ck_assert_ptr_eq(transaction_verdict(t, 1), t->final_reply);
}
END_TEST

START_TEST(restart_forgets_the_attempt)
{
	t->mail_reply = code(250);
	t->rcpt_replies[1] = code(250);
	t->begun = 5;
	t->losses = 2;
	transaction_restart(t);
	ck_assert_ptr_null(t->mail_reply);
	ck_assert_ptr_null(t->rcpt_replies[1]);
	ck_assert_int_eq(t->begun, -1);
	ck_assert_uint_eq(t->losses, 2);
}
END_TEST

static void unfit(unsigned caps_bits, uint64_t size, enum local_failure expected)
{
	struct capabilities caps = {.bits = caps_bits, .size = size};
	struct reply *why = transaction_unfit(t, &caps);
	ck_assert_int_eq(why ? why->local : LOCAL_NONE, expected);
	reply_unref(&why);
}

START_TEST(a_message_above_the_limit_is_refused_for_good)
{
	unfit(CAP_SIZE, spool_size(t->message->body) - 1, LOCAL_SIZE);
	unfit(CAP_SIZE, spool_size(t->message->body), LOCAL_NONE);
	unfit(CAP_SIZE, 0, LOCAL_NONE);
}
END_TEST

START_TEST(smtputf8_is_needed_only_for_what_is_not_ascii)
{
	t->message->smtputf8 = true;
	unfit(0, 0, LOCAL_NONE);
	t->message->header_8bit = true;
	unfit(0, 0, LOCAL_SMTPUTF8);
	unfit(CAP_SMTPUTF8, 0, LOCAL_NONE);
	t->message->header_8bit = false;
	free(t->message->sender);
	t->message->sender = mem_strdup("j\xc3\xb6rg@example.org");
	unfit(0, 0, LOCAL_SMTPUTF8);
}
END_TEST

START_TEST(eight_bits_need_8bitmime_only_where_they_are)
{
	t->message->body_8bit = true;
	unfit(0, 0, LOCAL_NONE);
	t->message->has_8bit = true;
	unfit(0, 0, LOCAL_FEATURE);
	unfit(CAP_8BITMIME, 0, LOCAL_NONE);
}
END_TEST

START_TEST(a_wish_for_notification_needs_dsn)
{
	t->recipients[1]->notify_success = true;
	unfit(0, 0, LOCAL_FEATURE);
	unfit(CAP_DSN, 0, LOCAL_NONE);
	t->recipients[1]->notify_success = false;
	free(t->recipients[0]->params);
	t->recipients[0]->params = mem_strdup(" NOTIFY=never");
	unfit(0, 0, LOCAL_FEATURE);
}
END_TEST

Suite *transaction_suite(void)
{
	Suite *suite = suite_create("transaction");
	TCase *tests = tcase_create("transaction");
	tcase_add_checked_fixture(tests, begin, end);
	tcase_add_test(tests, accepted_recipients_are_counted);
	tcase_add_test(tests, a_refused_sender_makes_the_rest_pointless);
	tcase_add_test(tests, refused_recipients_make_the_rest_pointless);
	tcase_add_test(tests, each_recipient_has_its_own_verdict);
	tcase_add_test(tests, restart_forgets_the_attempt);
	tcase_add_test(tests, a_message_above_the_limit_is_refused_for_good);
	tcase_add_test(tests, smtputf8_is_needed_only_for_what_is_not_ascii);
	tcase_add_test(tests, eight_bits_need_8bitmime_only_where_they_are);
	tcase_add_test(tests, a_wish_for_notification_needs_dsn);
	suite_add_tcase(suite, tests);
	return suite;
}
