/* Unit tests of observe/outcome: the exact form of each line, and that a failure is not repeated all the time. */
#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/conf.h"
#include "base/log_limit.h"
#include "base/publish.h"
#include "base/spool.h"
#include "check_observe.h"
#include "observe/outcome.h"
#include "smtp/reply.h"

static struct message message;
static struct reply *reply;

static void setup(void)
{
	clock_fake_start();
	spool_configure(1 << 20, "/tmp");
	lines_start();
	outcome_start();
	message = (struct message){.queue_id = "4fXyZ1"};
}

static void teardown(void)
{
	outcome_stop();
	publish_reset();
	lines_stop();
	reply_unref(&reply);
	spool_free(message.body);
	clock_fake_stop();
}

static void say(const char *text)
{
	size_t used;
	const char *why;
	reply_unref(&reply);
	ck_assert_int_eq(reply_parse(text, strlen(text), &used, &reply, &why), REPLY_COMPLETE);
}

/* Of a message that went out as in DESIGN section 6. */
static struct event outcome_event(void)
{
	return (struct event){
		.kind = EVENT_OUTCOME,
		.relay = "socketlabs",
		.host = "smtp.socketlabs.com[198.51.100.7]:465",
		.connection = 4,
		.use = 17,
		.message = &message,
		.reply = reply,
		.status = reply_status_of(reply),
		.recipients = 1,
		.delays = {.queue = 10000, .pool = 0, .setup = 0, .transfer = 110000},
		.delay = 120000,
	};
}

START_TEST(an_outcome_has_the_documented_form)
{
	char octets[4213];
	memset(octets, 'x', sizeof octets);
	message.body = spool_create(0);
	ck_assert(spool_append(message.body, octets, sizeof octets));
	say("250 2.0.0 Ok: queued as 77\r\n");
	struct event event = outcome_event();
	publish(&event);
	ck_assert_str_eq(lines_get(0),
			 "4fXyZ1: relay=socketlabs, host=smtp.socketlabs.com[198.51.100.7]:465, conn=4, conn_use=17, "
			 "nrcpt=1, size=4213, delay=0.12, delays=0.01/0/0/0.11, dsn=2.0.0, "
			 "status=sent (250 2.0.0 Ok: queued as 77)");
	ck_assert_int_eq(lines_level(0), LOG_LEVEL_INFO);
	ck_assert_uint_eq(lines_count(), 1);
}
END_TEST

START_TEST(what_was_not_observed_is_a_dash)
{
	message.queue_id[0] = '\0';
	reply = reply_local(LOCAL_NO_ROUTE, 451, "4.3.5", "no route matches");
	struct event event = {
		.kind = EVENT_OUTCOME,
		.relay = "-",
		.host = "-",
		.message = &message,
		.reply = reply,
		.status = STATUS_DEFERRED,
		.recipients = 3,
		.delays = {-1, -1, -1, -1},
		.delay = -1,
	};
	publish(&event);
	ck_assert_str_eq(lines_get(0), "-: relay=-, host=-, conn=-, conn_use=-, nrcpt=3, size=-, delay=-, "
				       "delays=-/-/-/-, dsn=4.3.5, status=deferred (451 4.3.5 no route matches)");
}
END_TEST

START_TEST(an_ambiguous_outcome_is_deferred_with_our_own_text)
{
	reply = reply_local(LOCAL_AMBIGUOUS, 451, "4.4.2", "end of data written, no reply");
	struct event event = outcome_event();
	event.ambiguous = true;
	publish(&event);
	ck_assert_ptr_nonnull(
		strstr(lines_get(0), "dsn=4.4.2, status=deferred (451 4.4.2 end of data written, no reply)"));
}
END_TEST

START_TEST(a_bounce_is_bounced_and_gets_a_dsn_code_if_the_relay_gave_none)
{
	say("550 no such user\r\n");
	struct event event = outcome_event();
	publish(&event);
	ck_assert_ptr_nonnull(strstr(lines_get(0), "dsn=5.0.0, status=bounced (550 no such user)"));
}
END_TEST

START_TEST(a_long_reply_is_cut_and_one_of_many_lines_is_one_line)
{
	char text[6000] = "";
	for (int i = 0; i < 40; i++)
		strcat(text, "250-a line of a very talkative relay that says nothing of any use at all\r\n");
	strcat(text, "250 end\r\n");
	say(text);
	struct event event = outcome_event();
	publish(&event);
	const char *line = lines_get(0);
	ck_assert_uint_eq(lines_count(), 1);
	ck_assert_ptr_null(strchr(line, '\n'));
	ck_assert_uint_lt(strlen(line), 800);
	ck_assert_int_eq(line[strlen(line) - 1], ')');
}
END_TEST

/* ---- connections and relays ---- */

static void connection_failed(const char *relay, const char *host, const char *text)
{
	struct event event = {.kind = EVENT_CONNECTION_FAILED, .relay = relay, .host = host, .text = text};
	publish(&event);
}

START_TEST(a_failed_connection_is_a_warning)
{
	connection_failed("ses", "mail.example[192.0.2.1]:587", "Connection refused");
	ck_assert_str_eq(lines_get(0),
			 "warning: connection: relay=ses, event=failed, host=mail.example[192.0.2.1]:587, "
			 "count=1, age=0 (Connection refused)");
	ck_assert_int_eq(lines_level(0), LOG_LEVEL_WARNING);
}
END_TEST

START_TEST(a_failure_that_was_told_already_has_no_line)
{
	connection_failed("ses", "mail.example[192.0.2.1]:587", NULL);
	ck_assert_uint_eq(lines_count(), 0);
}
END_TEST

START_TEST(the_same_failure_is_written_once_a_minute_with_its_count)
{
	for (int i = 0; i < 30; i++) {
		connection_failed("ses", "a[192.0.2.1]:587", "Connection refused");
		clock_fake_advance(USEC_PER_SEC);
	}
	ck_assert_uint_eq(lines_count(), 1);
	clock_fake_advance(31 * USEC_PER_SEC);
	ck_assert_uint_eq(lines_count(), 2);
	ck_assert_str_eq(lines_get(1), "warning: connection: relay=ses, event=failed, host=a[192.0.2.1]:587, count=29, "
				       "age=31 (Connection refused)");
}
END_TEST

START_TEST(after_a_quiet_minute_a_failure_is_written_at_once)
{
	connection_failed("ses", "-", "Connection refused");
	clock_fake_advance(61 * USEC_PER_SEC);
	ck_assert_uint_eq(lines_count(), 1);
	connection_failed("ses", "-", "Connection refused");
	ck_assert_uint_eq(lines_count(), 2);
	ck_assert_ptr_nonnull(strstr(lines_get(1), "count=1, "));
}
END_TEST

START_TEST(another_text_or_another_relay_is_another_failure)
{
	connection_failed("ses", "-", "Connection refused");
	connection_failed("ses", "-", "Connection timed out");
	connection_failed("zoho", "-", "Connection refused");
	ck_assert_uint_eq(lines_count(), 3);
}
END_TEST

START_TEST(a_relay_that_never_says_the_same_twice_fills_no_memory)
{
	char text[40];
	for (int i = 0; i < 200; i++) {
		snprintf(text, sizeof text, "421 busy, session %d", i);
		connection_failed("ses", "-", text);
		connection_failed("ses", "-", text);
	}
	/* As many as are kept in mind are written once; the others are counted. */
	ck_assert_uint_eq(lines_count(), 64);
	log_limit_tell();
	ck_assert_str_eq(lines_get(64), "log: line=connection, unlogged=272");
	outcome_stop();
	ck_assert_uint_eq(lines_count(), 65 + 64); /* what each of the 64 was held back for */
}
END_TEST

START_TEST(what_was_held_back_is_written_at_the_end)
{
	connection_failed("ses", "-", "Connection refused");
	connection_failed("ses", "-", "Connection refused");
	outcome_stop();
	ck_assert_uint_eq(lines_count(), 2);
	ck_assert_int_eq(clock_next_due(), -1);
}
END_TEST

START_TEST(what_was_held_back_is_not_told_as_news)
{
	struct event up = {.kind = EVENT_RELAY_UP, .relay = "ses"};
	connection_failed("ses", "-", "Connection refused");
	connection_failed("ses", "-", "Connection refused");
	connection_failed("zoho", "-", "Connection refused");
	connection_failed("zoho", "-", "Connection refused");
	clock_fake_advance(20 * USEC_PER_SEC);
	publish(&up);
	ck_assert_uint_eq(lines_count(), 4);
	ck_assert_str_eq(lines_get(2), "warning: connection: relay=ses, event=failed, host=-, count=1, age=20 "
				       "(Connection refused)");
	ck_assert_str_eq(lines_get(3), "relay: relay=ses, event=up");
	outcome_stop();
	ck_assert_uint_eq(lines_count(), 5);
	ck_assert_str_eq(lines_get(4), "warning: connection: relay=zoho, event=failed, host=-, count=1, age=20 "
				       "(Connection refused)");
}
END_TEST

START_TEST(a_line_names_the_host_once)
{
	connection_failed("ses", "a[192.0.2.1]:587", "a[192.0.2.1]:587: Connection refused");
	ck_assert_ptr_nonnull(strstr(lines_get(0), "host=a[192.0.2.1]:587, count=1, age=0 (Connection refused)"));
	connection_failed("ses", "a[192.0.2.1]:587", "a[192.0.2.1]:587 said: 535 no (in reply to AUTH)");
	ck_assert_ptr_nonnull(strstr(lines_get(1), "(said: 535 no (in reply to AUTH))"));
	connection_failed("zoho", "a[192.0.2.1]:58", "a[192.0.2.1]:587: Connection refused");
	ck_assert_ptr_nonnull(strstr(lines_get(2), "(a[192.0.2.1]:587: Connection refused)"));
}
END_TEST

START_TEST(a_relay_down_and_up_is_told)
{
	struct event down = {.kind = EVENT_RELAY_DOWN, .relay = "ses", .host = "-", .text = "Connection refused"};
	struct event up = {.kind = EVENT_RELAY_UP, .relay = "ses", .host = "-"};
	publish(&down);
	publish(&up);
	ck_assert_str_eq(lines_get(0), "warning: relay: relay=ses, event=down (Connection refused)");
	ck_assert_str_eq(lines_get(1), "relay: relay=ses, event=up");
	ck_assert_int_eq(lines_level(1), LOG_LEVEL_NOTICE);
}
END_TEST

START_TEST(the_life_of_a_connection_is_for_debugging)
{
	struct event event = {.kind = EVENT_CONNECTION_OPENED,
			      .relay = "ses",
			      .host = "a[192.0.2.1]:587",
			      .connection = 4,
			      .took = 412000};
	publish(&event);
	event.kind = EVENT_REPLAYED;
	event.text = "421 4.4.2 idle too long";
	publish(&event);
	event.kind = EVENT_CONNECTION_CLOSED;
	event.use = 17;
	event.text = NULL;
	publish(&event);
	ck_assert_str_eq(lines_get(0),
			 "connection: relay=ses, event=opened, conn=4, host=a[192.0.2.1]:587, setup=0.41");
	ck_assert_str_eq(lines_get(1), "connection: relay=ses, event=replayed, conn=4, host=a[192.0.2.1]:587 "
				       "(421 4.4.2 idle too long)");
	ck_assert_str_eq(lines_get(2),
			 "connection: relay=ses, event=closed, conn=4, host=a[192.0.2.1]:587, conn_use=17");
	for (unsigned i = 0; i < 3; i++)
		ck_assert_int_eq(lines_level(i), LOG_LEVEL_DEBUG);
}
END_TEST

/* ---- which outcomes have a line ---- */

static struct conf conf;

static void configure(enum log_messages messages)
{
	conf.log_messages = messages;
	conf.slow_message = 5 * USEC_PER_SEC;
	outcome_configure(&conf);
}

/* One that took `seconds`, `queue` of them in the MTA's queue. */
static void settle(const char *verdict, usec_t seconds, usec_t queue)
{
	say(verdict);
	struct event event = outcome_event();
	event.delays.queue = queue * USEC_PER_SEC;
	event.delay = seconds * USEC_PER_SEC;
	publish(&event);
}

#define SENT "250 ok\r\n"

START_TEST(only_what_is_chosen_has_a_line)
{
	static const struct {
		enum log_messages messages;
		unsigned lines;
	} choices[] = {
		{LOG_MESSAGES_ALL, 5}, {LOG_MESSAGES_AUTO, 5}, {LOG_MESSAGES_SLOW_FAILED, 3}, {LOG_MESSAGES_NONE, 0}};
	for (size_t i = 0; i < sizeof choices / sizeof *choices; i++) {
		lines_forget();
		configure(choices[i].messages);
		settle(SENT, 0, 0);
		settle(SENT, 9, 7); /* the MTA's queue does not make it slow */
		settle(SENT, 9, 4);
		settle("450 later\r\n", 0, 0);
		settle("550 no\r\n", 0, 0);
		ck_assert_uint_eq(lines_count(), choices[i].lines);
	}
	ck_assert_uint_eq(outcome_left_out(), 0);
}
END_TEST

START_TEST(when_there_are_many_only_slow_and_failed_ones_have_a_line)
{
	configure(LOG_MESSAGES_AUTO);
	for (unsigned i = 0; i < 99; i++)
		settle(SENT, 0, 0);
	ck_assert_uint_eq(lines_count(), 99);
	lines_forget();
	settle(SENT, 0, 0);
	settle(SENT, 0, 0);
	settle(SENT, 9, 0);
	settle("450 later\r\n", 0, 0);
	ck_assert_uint_eq(lines_count(), 3);
	ck_assert_str_eq(lines_get(0), "outcomes: event=thinned, rate=20 (only slow and failed ones have a line)");
	ck_assert_ptr_nonnull(strstr(lines_get(1), "delay=9, "));
	ck_assert_ptr_nonnull(strstr(lines_get(2), "status=deferred"));
	ck_assert_uint_eq(outcome_left_out(), 2);
	clock_fake_advance(5 * USEC_PER_SEC); /* the timer alone ends it: no more come */
	ck_assert_str_eq(lines_get(3), "outcomes: event=all, left_out=2");
	ck_assert_int_eq(clock_next_due(), -1);
	settle(SENT, 0, 0);
	ck_assert_uint_eq(lines_count(), 5);
}
END_TEST

/* `rate` outcomes in each of some seconds. */
static void settle_for(unsigned seconds, unsigned rate)
{
	for (unsigned i = 0; i < seconds; i++) {
		clock_fake_advance(USEC_PER_SEC);
		for (unsigned j = 0; j < rate; j++)
			settle(SENT, 0, 0);
	}
}

START_TEST(a_rate_between_the_two_changes_nothing)
{
	configure(LOG_MESSAGES_AUTO);
	settle_for(60, 15);
	ck_assert_uint_eq(outcome_left_out(), 0);
	settle_for(6, 30);
	unsigned long before = outcome_left_out();
	ck_assert_uint_gt(before, 0);
	lines_forget();
	settle_for(60, 15);
	ck_assert_uint_eq(outcome_left_out(), before + 60 * 15);
	ck_assert_uint_eq(lines_count(), 0);
	settle_for(10, 5);
	ck_assert_ptr_nonnull(strstr(lines_get(0), "outcomes: event=all, left_out="));
}
END_TEST

START_TEST(another_choice_or_the_end_ends_the_leaving_out)
{
	configure(LOG_MESSAGES_AUTO);
	settle_for(1, 101);
	lines_forget();
	configure(LOG_MESSAGES_AUTO); /* a reload alone does not */
	ck_assert_uint_eq(lines_count(), 0);
	configure(LOG_MESSAGES_ALL);
	ck_assert_str_eq(lines_get(0), "outcomes: event=all, left_out=2");
	settle(SENT, 0, 0);
	ck_assert_uint_eq(lines_count(), 2);
	configure(LOG_MESSAGES_AUTO);
	settle(SENT, 0, 0);
	lines_forget();
	outcome_stop();
	ck_assert_str_eq(lines_get(0), "outcomes: event=all, left_out=1");
	ck_assert_int_eq(clock_next_due(), -1);
}
END_TEST

Suite *outcome_suite(void)
{
	Suite *suite = suite_create("outcome");
	TCase *tcase = tcase_create("outcome");
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, an_outcome_has_the_documented_form);
	tcase_add_test(tcase, what_was_not_observed_is_a_dash);
	tcase_add_test(tcase, an_ambiguous_outcome_is_deferred_with_our_own_text);
	tcase_add_test(tcase, a_bounce_is_bounced_and_gets_a_dsn_code_if_the_relay_gave_none);
	tcase_add_test(tcase, a_long_reply_is_cut_and_one_of_many_lines_is_one_line);
	tcase_add_test(tcase, a_failed_connection_is_a_warning);
	tcase_add_test(tcase, a_failure_that_was_told_already_has_no_line);
	tcase_add_test(tcase, the_same_failure_is_written_once_a_minute_with_its_count);
	tcase_add_test(tcase, after_a_quiet_minute_a_failure_is_written_at_once);
	tcase_add_test(tcase, another_text_or_another_relay_is_another_failure);
	tcase_add_test(tcase, a_relay_that_never_says_the_same_twice_fills_no_memory);
	tcase_add_test(tcase, what_was_held_back_is_written_at_the_end);
	tcase_add_test(tcase, what_was_held_back_is_not_told_as_news);
	tcase_add_test(tcase, a_line_names_the_host_once);
	tcase_add_test(tcase, a_relay_down_and_up_is_told);
	tcase_add_test(tcase, the_life_of_a_connection_is_for_debugging);
	tcase_add_test(tcase, only_what_is_chosen_has_a_line);
	tcase_add_test(tcase, when_there_are_many_only_slow_and_failed_ones_have_a_line);
	tcase_add_test(tcase, a_rate_between_the_two_changes_nothing);
	tcase_add_test(tcase, another_choice_or_the_end_ends_the_leaving_out);
	suite_add_tcase(suite, tcase);
	return suite;
}
