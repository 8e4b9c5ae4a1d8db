/* Every disposition: reply or loss in, decision out. */
#include <stdio.h>
#include <string.h>

#include "check_relay.h"
#include "relay/trouble.h"
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

static struct reply *said(const char *line)
{
	char text[512];
	size_t used;
	const char *why;
	struct reply *reply = NULL;
	snprintf(text, sizeof(text), "%s\r\n", line);
	ck_assert_int_eq(reply_parse(text, strlen(text), &used, &reply, &why), REPLY_COMPLETE);
	return reply;
}

static void exchange(const char *mail, const char *first, const char *second)
{
	t->mail_reply = mail ? said(mail) : NULL;
	t->rcpt_replies[0] = first ? said(first) : NULL;
	t->rcpt_replies[1] = second ? said(second) : NULL;
}

static enum reply_worth worth(enum command_kind kind, const char *line)
{
	struct reply *reply = said(line);
	enum reply_worth result = trouble_reply(kind, reply, t, false, false);
	reply_unref(&reply);
	return result;
}

START_TEST(wanted_replies_are_good)
{
	t->pipelined = true;
	ck_assert_int_eq(worth(COMMAND_MAIL, "250 2.1.0 Ok"), WORTH_GOOD);
	exchange("250 Ok", "250 Ok", "250 Ok");
	ck_assert_int_eq(worth(COMMAND_DATA, "354 go"), WORTH_GOOD);
	ck_assert_int_eq(worth(COMMAND_BODY, "250 queued"), WORTH_GOOD);
}
END_TEST

START_TEST(a_positive_reply_of_another_command_is_confusion)
{
	exchange("250 Ok", "250 Ok", "250 Ok");
	ck_assert_int_eq(worth(COMMAND_DATA, "250 Ok"), WORTH_CONFUSED);
	ck_assert_int_eq(worth(COMMAND_BODY, "354 go"), WORTH_CONFUSED);
}
END_TEST

START_TEST(an_early_reply_is_confusion)
{
	struct reply *reply = said("250 2.0.0 queued");
	ck_assert_int_eq(trouble_reply(COMMAND_BODY, reply, t, true, false), WORTH_CONFUSED);
	reply_unref(&reply);
}
END_TEST

START_TEST(an_accepted_recipient_of_a_refused_sender_is_confusion)
{
	exchange("550 5.7.1 no", NULL, NULL);
	ck_assert_int_eq(worth(COMMAND_RCPT, "250 Ok"), WORTH_CONFUSED);
	ck_assert_int_eq(worth(COMMAND_DATA, "354 go"), WORTH_CONFUSED);
	ck_assert_int_eq(worth(COMMAND_RCPT, "503 need MAIL"), WORTH_REFUSAL);
}
END_TEST

START_TEST(complaints_about_pipelining_are_never_verdicts)
{
	t->pipelined = true;
	ck_assert_int_eq(worth(COMMAND_MAIL, "503 5.5.1 pipelined after end of DATA"), WORTH_CONFUSED);
	ck_assert_int_eq(worth(COMMAND_MAIL, "500 5.5.1 pipelining not supported"), WORTH_CONFUSED);
	t->plain = true;
	ck_assert_int_eq(worth(COMMAND_MAIL, "503 5.5.1 no"), WORTH_REFUSAL);
}
END_TEST

START_TEST(data_refused_for_good_is_asked_again_in_plain)
{
	t->pipelined = true;
	exchange("250 Ok", "250 Ok", "450 later");
	ck_assert_int_eq(worth(COMMAND_DATA, "554 5.7.1 no"), WORTH_CONFUSED);
	ck_assert_int_eq(worth(COMMAND_DATA, "451 4.3.0 later"), WORTH_REFUSAL);
	t->plain = true;
	ck_assert_int_eq(worth(COMMAND_DATA, "554 5.7.1 no"), WORTH_REFUSAL);
}
END_TEST

START_TEST(data_deferred_is_asked_again_where_a_recipient_would_bounce)
{
	t->pipelined = true;
	exchange("250 Ok", "250 Ok", "550 no");
	ck_assert_int_eq(worth(COMMAND_DATA, "451 4.3.0 later"), WORTH_CONFUSED);
	t->plain = true;
	ck_assert_int_eq(worth(COMMAND_DATA, "451 4.3.0 later"), WORTH_REFUSAL);
}
END_TEST

START_TEST(data_without_recipients_is_refused_naturally)
{
	t->pipelined = true;
	exchange("250 Ok", "550 no", "550 no");
	ck_assert_int_eq(worth(COMMAND_DATA, "503 5.5.1 no valid recipients"), WORTH_REFUSAL);
}
END_TEST

START_TEST(the_first_command_of_a_reused_connection_tells_of_staleness)
{
	static const struct {
		const char *line;
		enum reply_worth worth;
	} cases[] = {
		{"421 4.4.2 timeout", WORTH_STALE},
		{"451 4.4.2 timeout", WORTH_STALE},
		{"451 4.7.1 greylisted", WORTH_REFUSAL},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct reply *reply = said(cases[i].line);
		ck_assert_int_eq(trouble_reply(COMMAND_MAIL, reply, t, false, true), cases[i].worth);
		reply_unref(&reply);
	}
	ck_assert_int_eq(worth(COMMAND_MAIL, "421 4.4.2 timeout"), WORTH_CLOSING);
	ck_assert_int_eq(worth(COMMAND_MAIL, "451 4.4.2 timeout"), WORTH_REFUSAL);
}
END_TEST

START_TEST(what_is_lost_before_the_end_of_data_is_replayed)
{
	ck_assert_int_eq(trouble_transaction(t, END_UNSENT), DISPOSE_REPLAY);
	ck_assert_int_eq(trouble_transaction(t, END_CLOSING), DISPOSE_REPLAY);
	ck_assert(!t->plain);
	ck_assert_int_eq(trouble_transaction(t, END_CONFUSED), DISPOSE_REPLAY);
	ck_assert(t->plain);
}
END_TEST

START_TEST(what_may_have_been_taken_is_never_replayed)
{
	ck_assert_int_eq(trouble_transaction(t, END_UNKNOWN), DISPOSE_DEFER);
	struct reply *reply = trouble_defer(t, END_UNKNOWN, "far");
	ck_assert_int_eq(reply->code, 451);
	ck_assert_str_eq(reply->enhanced, "4.4.2");
	ck_assert_int_eq(reply->local, LOCAL_AMBIGUOUS);
	reply_unref(&reply);
}
END_TEST

START_TEST(replays_end)
{
	for (int i = 1; i < TROUBLE_LOSSES_MAX; i++)
		ck_assert_int_eq(trouble_transaction(t, END_UNSENT), DISPOSE_REPLAY);
	ck_assert_int_eq(trouble_transaction(t, END_UNSENT), DISPOSE_NEXT_RELAY);
	struct reply *reply = trouble_defer(t, END_UNSENT, "far");
	ck_assert_int_eq(reply->local, LOCAL_CONNECTION);
	reply_unref(&reply);
}
END_TEST

START_TEST(stale_connections_are_not_counted)
{
	t->stale = true;
	for (int i = 0; i < 3 * TROUBLE_LOSSES_MAX; i++)
		ck_assert_int_eq(trouble_transaction(t, END_UNSENT), DISPOSE_REPLAY);
}
END_TEST

START_TEST(one_recipient_too_many_goes_in_another_transaction)
{
	exchange("250 Ok", "250 Ok", "452 4.5.3 too many recipients");
	ck_assert(trouble_recipient_again(t, 1));
	ck_assert(!trouble_recipient_again(t, 0));
}
END_TEST

START_TEST(no_recipient_taken_means_no_other_transaction)
{
	exchange("250 Ok", "452 4.5.3 too many recipients", "452 4.5.3 too many recipients");
	ck_assert(!trouble_recipient_again(t, 0));
}
END_TEST

START_TEST(a_full_mailbox_is_not_too_many_recipients)
{
	exchange("250 Ok", "250 Ok", "452 4.2.2 mailbox full");
	ck_assert(!trouble_recipient_again(t, 1));
}
END_TEST

/* Whether the whole transaction is to come later, if MAIL was answered so. */
static bool throttles(const char *line)
{
	exchange(line, "503 no sender", "503 no sender");
	bool result = trouble_throttle(t, END_REPLIED, false) != NULL;
	transaction_restart(t);
	return result;
}

/* The words of real servers: ecosystem.md's providers, Postfix, Exchange. */
START_TEST(what_is_about_the_pace_is_no_verdict)
{
	ck_assert(throttles("454 Throttling failure: Maximum sending rate exceeded."));
	ck_assert(throttles("450 4.7.1 Error: too much mail from 192.0.2.1"));
	ck_assert(throttles("450 4.7.1 Error: too many connections from 192.0.2.1"));
	ck_assert(
		throttles("432 4.3.2 Concurrent connections limit exceeded. Visit https://aka.ms/concurrent_sending"));
	ck_assert(throttles("451 4.7.0 Slow down, rate limit of 30 a minute"));
}
END_TEST

START_TEST(what_is_about_the_message_is_a_verdict)
{
	ck_assert(!throttles("250 2.1.0 Ok"));
	ck_assert(!throttles("550 5.7.1 too many messages, go away"));
	ck_assert(!throttles("454 Throttling failure: Daily message quota exceeded."));
	ck_assert(!throttles("450 4.2.0 Greylisted: too many new senders"));
	ck_assert(!throttles("452 4.5.3 Too many recipients"));
	ck_assert(!throttles("452 4.2.2 Mailbox full: limit exceeded"));
	ck_assert(!throttles("454 4.7.1 Relay access denied"));
	ck_assert(!throttles("421 4.7.0 too many errors"));
	ck_assert(!throttles("451 4.3.0 Temporary failure"));
	ck_assert(!throttles("432 4.3.2 STOREDRV; Recipient thread limit exceeded"));
	ck_assert(!throttles("450 4.1.2 <joe@throttled.example>: Recipient address rejected: Domain not found"));
	ck_assert(!throttles("450 4.7.1 mail.slow-down.example: Helo command rejected: Host not found"));
	ck_assert(!throttles("451 4.7.24 SPF: too many DNS lookups in the policy of example.org"));
	ck_assert(!throttles("452 4.3.1 Message size limit exceeded"));
	ck_assert(!throttles("452 4.7.0 Monthly sending rate exceeded"));
	ck_assert(!throttles("452 4.2.1 <busy@example.org> is receiving too many messages right now"));
}
END_TEST

START_TEST(what_is_said_to_a_recipient_is_about_that_one)
{
	exchange("250 Ok", "450 4.7.1 Rate limit exceeded", "450 4.7.1 Rate limit exceeded");
	t->data_reply = said("554 5.5.1 no valid recipients");
	ck_assert_ptr_null(trouble_throttle(t, END_REPLIED, false));
	ck_assert(!trouble_recipient_again(t, 0));
}
END_TEST

START_TEST(at_the_end_of_data_as_well)
{
	exchange("250 Ok", "250 Ok", "250 Ok");
	t->final_reply = said("454 Throttling failure: Maximum sending rate exceeded.");
	ck_assert_ptr_eq(trouble_throttle(t, END_REPLIED, false), t->final_reply);
	ck_assert_int_eq(trouble_transaction(t, END_THROTTLED), DISPOSE_WAIT);
	ck_assert_uint_eq(t->losses, 0);
}
END_TEST

START_TEST(a_421_about_the_pace_counts_on_a_fresh_connection)
{
	t->last_trouble = said("421 4.7.0 Too many messages, slow down");
	ck_assert_ptr_nonnull(trouble_throttle(t, END_CLOSING, true));
	ck_assert_ptr_null(trouble_throttle(t, END_CLOSING, false));
	ck_assert_ptr_null(trouble_throttle(t, END_UNSENT, true));
	t->stale = true;
	ck_assert_ptr_null(trouble_throttle(t, END_CLOSING, true));
}
END_TEST

START_TEST(one_connection_too_many_fails_where_it_is_looked_at)
{
	ck_assert(trouble_one_too_many(STAGE_BANNER, true));
	ck_assert(trouble_one_too_many(STAGE_EHLO, false));
	ck_assert(trouble_one_too_many(STAGE_AUTH, false));
	ck_assert(!trouble_one_too_many(STAGE_AUTH, true));
	ck_assert(!trouble_one_too_many(STAGE_TLS, true));
	ck_assert(!trouble_one_too_many(STAGE_DNS, false));
	ck_assert(!trouble_one_too_many(STAGE_CONNECT, false));
}
END_TEST

START_TEST(settings_are_told_from_passing_trouble)
{
	struct reply *wrong = said("535 5.7.8 bad password"), *busy = said("454 4.7.0 too many logins");
	ck_assert_int_eq(trouble_setup(STAGE_AUTH, wrong, false, false), FAULT_SETTINGS);
	ck_assert_int_eq(trouble_setup(STAGE_AUTH, wrong, false, true), FAULT_PASSING);
	ck_assert_int_eq(trouble_setup(STAGE_BANNER, wrong, false, true), FAULT_SETTINGS);
	ck_assert_int_eq(trouble_setup(STAGE_AUTH, busy, false, false), FAULT_PASSING);
	ck_assert_int_eq(trouble_setup(STAGE_TLS, NULL, true, false), FAULT_SETTINGS);
	ck_assert_int_eq(trouble_setup(STAGE_CONNECT, NULL, false, false), FAULT_PASSING);
	reply_unref(&wrong);
	reply_unref(&busy);
}
END_TEST

START_TEST(back_off_grows_and_is_bounded)
{
	ck_assert_int_eq(trouble_backoff(FAULT_PASSING, 1), USEC_PER_SEC);
	ck_assert_int_eq(trouble_backoff(FAULT_PASSING, 3), 4 * USEC_PER_SEC);
	ck_assert_int_eq(trouble_backoff(FAULT_PASSING, 1000), 60 * USEC_PER_SEC);
	ck_assert_int_eq(trouble_backoff(FAULT_SETTINGS, 1), 60 * USEC_PER_SEC);
	ck_assert_int_eq(trouble_backoff(FAULT_SETTINGS, 1000), 600 * USEC_PER_SEC);
}
END_TEST

START_TEST(modes_become_simpler_step_by_step)
{
	ck_assert_int_eq(trouble_mode(MODE_OVERLAP, 1, 0), MODE_OVERLAP);
	ck_assert_int_eq(trouble_mode(MODE_OVERLAP, TROUBLE_CONFUSED_MAX, 0), MODE_CLASSIC);
	ck_assert_int_eq(trouble_mode(MODE_OVERLAP, 0, TROUBLE_CONFUSED_MAX), MODE_LOCKSTEP);
	ck_assert_int_eq(trouble_mode(MODE_CLASSIC, TROUBLE_CONFUSED_MAX, 0), MODE_CLASSIC);
}
END_TEST

Suite *trouble_suite(void)
{
	Suite *suite = suite_create("trouble");
	TCase *tests = tcase_create("trouble");
	tcase_add_checked_fixture(tests, begin, end);
	tcase_add_test(tests, wanted_replies_are_good);
	tcase_add_test(tests, a_positive_reply_of_another_command_is_confusion);
	tcase_add_test(tests, an_early_reply_is_confusion);
	tcase_add_test(tests, an_accepted_recipient_of_a_refused_sender_is_confusion);
	tcase_add_test(tests, complaints_about_pipelining_are_never_verdicts);
	tcase_add_test(tests, data_refused_for_good_is_asked_again_in_plain);
	tcase_add_test(tests, data_deferred_is_asked_again_where_a_recipient_would_bounce);
	tcase_add_test(tests, data_without_recipients_is_refused_naturally);
	tcase_add_test(tests, the_first_command_of_a_reused_connection_tells_of_staleness);
	tcase_add_test(tests, what_is_lost_before_the_end_of_data_is_replayed);
	tcase_add_test(tests, what_may_have_been_taken_is_never_replayed);
	tcase_add_test(tests, replays_end);
	tcase_add_test(tests, stale_connections_are_not_counted);
	tcase_add_test(tests, one_recipient_too_many_goes_in_another_transaction);
	tcase_add_test(tests, no_recipient_taken_means_no_other_transaction);
	tcase_add_test(tests, a_full_mailbox_is_not_too_many_recipients);
	tcase_add_test(tests, what_is_about_the_pace_is_no_verdict);
	tcase_add_test(tests, what_is_about_the_message_is_a_verdict);
	tcase_add_test(tests, what_is_said_to_a_recipient_is_about_that_one);
	tcase_add_test(tests, at_the_end_of_data_as_well);
	tcase_add_test(tests, a_421_about_the_pace_counts_on_a_fresh_connection);
	tcase_add_test(tests, one_connection_too_many_fails_where_it_is_looked_at);
	tcase_add_test(tests, settings_are_told_from_passing_trouble);
	tcase_add_test(tests, back_off_grows_and_is_bounded);
	tcase_add_test(tests, modes_become_simpler_step_by_step);
	suite_add_tcase(suite, tests);
	return suite;
}
