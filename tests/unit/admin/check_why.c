/* why: what the daemon tells of one message, and how relaypoolctl shows where its time went. */
#include <stdio.h>
#include <string.h>

#include "base/journey.h"
#include "check_admin.h"
#include "client.h"
#include "rooms.h"

#define MSEC USEC_PER_MSEC

/* One that has its verdict, as the rooms tell of it; its stages are the test's. */
static struct journey_view *settle(void)
{
	struct journey_view *view = &rooms.journeys[rooms.journey_count++];
	*view = (struct journey_view){.queue_id = "4fXyZ1",
				      .relay = "socketlabs",
				      .host = "smtp.socketlabs.com[198.51.100.7]:465",
				      .at = 1764331200 * USEC_PER_SEC,
				      .settled = true,
				      .recipients = 1,
				      .connection = 4,
				      .use = 17,
				      .held_by = CAUSE_COUNT,
				      .text = "250 2.0.0 Ok: queued as 77"};
	journey_init(&view->journey);
	return view;
}

/* One in the MTA's queue for `queued`. */
static struct journey_view *queue(usec_t queued)
{
	struct journey_view *view = settle();
	*view = (struct journey_view){.queue_id = "4fXyZ1", .relay = "-", .host = "-", .journey = view->journey};
	view->at = clock_wall() - queued;
	journey_add(&view->journey, STAGE_CLIENT, 300 * MSEC);
	journey_add(&view->journey, STAGE_MTA, 100 * MSEC);
	return view;
}

/* One under way that has been in `stage` for `spent`. */
static struct transaction_view *send_off(enum stage stage, usec_t spent, enum cause cause)
{
	struct transaction_view *view = &rooms.transactions[rooms.transaction_count++];
	*view = (struct transaction_view){
		.queue_id = "4fXyZ1", .relay = "socketlabs", .host = "-", .recipients = 1, .cause = cause};
	journey_init(&view->journey);
	journey_add(&view->journey, STAGE_INGEST, 20 * MSEC);
	journey_add(&view->journey, stage, spent);
	view->journey.stage = stage;
	return view;
}

static json_t *ask_why(void)
{
	return ask("{\"verb\":\"why\",\"args\":[\"4fXyZ1\"]}");
}

static const json_t *journey_of(const json_t *answer, size_t i)
{
	return json_array_get(json_object_get(answer, "journeys"), i);
}

static double spent_in(const json_t *journey, const char *stage)
{
	return json_number_value(json_object_get(json_object_get(journey, "stages"), stage));
}

/* ---- the daemon ---- */

START_TEST(a_verdict_comes_with_all_stages_and_null_for_those_not_seen)
{
	struct journey_view *view = settle();
	journey_add(&view->journey, STAGE_POOL, 2500 * MSEC);
	journey_add(&view->journey, STAGE_MAIL, 0);
	view->held_by = CAUSE_RATE;
	json_t *answer = ask_why();
	const json_t *row = journey_of(answer, 0), *stages = json_object_get(row, "stages");
	ck_assert_str_eq(string_of(answer, "queue_id"), "4fXyZ1");
	ck_assert_str_eq(string_of(row, "state"), "settled");
	ck_assert_str_eq(string_of(row, "status"), "sent");
	ck_assert(json_is_false(json_object_get(row, "ambiguous")));
	ck_assert(json_real_value(json_object_get(row, "at")) == 1764331200);
	ck_assert_int_eq(json_integer_value(json_object_get(row, "use")), 17);
	ck_assert_uint_eq(json_object_size(stages), STAGE_COUNT);
	ck_assert(spent_in(row, "pool") == 2.5);
	ck_assert(json_is_real(json_object_get(stages, "mail")) && spent_in(row, "mail") == 0);
	ck_assert(json_is_null(json_object_get(stages, "client")));
	ck_assert(json_real_value(json_object_get(row, "total")) == 2.5);
	ck_assert(json_is_null(json_object_get(row, "stage")));
	ck_assert_str_eq(string_of(row, "longest"), "pool");
	ck_assert_str_eq(string_of(row, "holder"), "relaypool");
	ck_assert_str_eq(string_of(row, "cause"), "rate");
	json_decref(answer);
}
END_TEST

/* Who held a message in its longest stage, of which nothing was seen but that it was there. */
START_TEST(a_holder_that_was_not_seen_is_not_named)
{
	static const char *const holders[STAGE_COUNT] = {
		[STAGE_CLIENT] = "client",   [STAGE_MTA] = "mta",        [STAGE_QUEUE] = "unknown",
		[STAGE_INGEST] = "mta",      [STAGE_POOL] = "relay",     [STAGE_DNS] = "network",
		[STAGE_CONNECT] = "network", [STAGE_BANNER] = "unknown", [STAGE_EHLO] = "unknown",
		[STAGE_TLS] = "unknown",     [STAGE_AUTH] = "unknown",   [STAGE_MAIL] = "unknown",
		[STAGE_RCPT] = "unknown",    [STAGE_DATA] = "unknown",   [STAGE_BODY] = "unknown",
		[STAGE_REPLY] = "unknown",
	};
	struct journey_view *view = settle();
	view->held_by = CAUSE_THROTTLE;
	journey_init(&view->journey);
	journey_add(&view->journey, (enum stage)_i, USEC_PER_SEC);
	json_t *answer = ask_why();
	ck_assert_str_eq(string_of(journey_of(answer, 0), "longest"), stage_names[_i]);
	ck_assert_str_eq(string_of(journey_of(answer, 0), "holder"), holders[_i]);
	json_decref(answer);
}
END_TEST

/* … and of which it was seen that it was held by this. */
START_TEST(who_was_seen_to_hold_it_is_named)
{
	static const struct {
		enum cause cause;
		const char *holder;
	} seen[] = {
		{CAUSE_ANSWER, "relay"}, {CAUSE_WINDOW, "relay"}, {CAUSE_PATH, "network"}, {CAUSE_TOKEN, "relaypool"}};
	struct journey_view *view = settle();
	for (size_t i = 0; i < 4; i++) {
		journey_init(&view->journey);
		journey_enter(&view->journey, (enum stage)_i, 0);
		journey_look(&view->journey, seen[i].cause);
		journey_enter(&view->journey, STAGE_COUNT, USEC_PER_SEC);
		json_t *answer = ask_why();
		ck_assert_str_eq(string_of(journey_of(answer, 0), "holder"), seen[i].holder);
		ck_assert_str_eq(string_of(journey_of(answer, 0), "cause"), cause_names[seen[i].cause]);
		json_decref(answer);
	}
}
END_TEST

START_TEST(a_pool_that_nothing_is_known_of_holds_nothing)
{
	journey_add(&settle()->journey, STAGE_POOL, USEC_PER_SEC);
	json_t *answer = ask_why();
	ck_assert_str_eq(string_of(journey_of(answer, 0), "holder"), "unknown");
	ck_assert(json_is_null(json_object_get(journey_of(answer, 0), "cause")));
	json_decref(answer);
}
END_TEST

START_TEST(what_is_queued_is_held_by_nobody_that_was_seen)
{
	queue(90 * USEC_PER_SEC);
	json_t *answer = ask_why();
	const json_t *row = journey_of(answer, 0);
	ck_assert_str_eq(string_of(row, "state"), "queued");
	ck_assert_str_eq(string_of(row, "stage"), "queue");
	ck_assert_str_eq(string_of(row, "holder"), "unknown");
	ck_assert(json_is_null(json_object_get(row, "cause")));
	ck_assert(json_is_null(json_object_get(row, "status")));
	ck_assert(json_is_null(json_object_get(row, "relay")));
	ck_assert(json_is_null(json_object_get(row, "connection")));
	ck_assert(spent_in(row, "queue") == 90);
	ck_assert(json_real_value(json_object_get(row, "total")) == 90.4);
	json_decref(answer);
}
END_TEST

START_TEST(what_is_queued_is_held_as_an_open_stall_tells)
{
	struct journey_view *view = queue(90 * USEC_PER_SEC);
	view->outbound = true;
	rooms.stalls[rooms.stall_count++] = (struct stall_view){
		.relay = "-", .stage = STAGE_QUEUE, .cause = CAUSE_PROCESSES, .open = true, .queue_id = "4other"};
	rooms.stalls[rooms.stall_count++] =
		(struct stall_view){.relay = "-", .stage = STAGE_QUEUE, .cause = CAUSE_MANAGER, .queue_id = "4fXyZ1"};
	rooms.stalls[rooms.stall_count++] = (struct stall_view){
		.relay = "ses", .stage = STAGE_REPLY, .cause = CAUSE_ANSWER, .open = true, .queue_id = "4third"};
	json_t *answer = ask_why();
	ck_assert_str_eq(string_of(journey_of(answer, 0), "holder"), "mta");
	ck_assert_str_eq(string_of(journey_of(answer, 0), "cause"), "processes");
	json_decref(answer);
	view->outbound = false; /* perhaps local, and delivered long ago */
	answer = ask_why();
	ck_assert_str_eq(string_of(journey_of(answer, 0), "holder"), "unknown");
	json_decref(answer);
	view->outbound = true;
	rooms.stalls[0].open = false;
	answer = ask_why();
	ck_assert_str_eq(string_of(journey_of(answer, 0), "holder"), "unknown");
	json_decref(answer);
}
END_TEST

/* Behind a relay that does not answer the pool is full: that only follows. */
START_TEST(a_full_pool_behind_a_stall_is_held_as_the_stall_is)
{
	send_off(STAGE_POOL, 3980 * MSEC, CAUSE_CAP);
	rooms.stalls[rooms.stall_count++] = (struct stall_view){
		.relay = "ses", .stage = STAGE_REPLY, .cause = CAUSE_PATH, .open = true, .queue_id = "4other"};
	rooms.stalls[rooms.stall_count++] = (struct stall_view){
		.relay = "socketlabs", .stage = STAGE_REPLY, .cause = CAUSE_ANSWER, .open = true, .queue_id = "4third"};
	json_t *answer = ask_why();
	ck_assert_str_eq(string_of(journey_of(answer, 0), "holder"), "relay");
	ck_assert_str_eq(string_of(journey_of(answer, 0), "cause"), "answer");
	json_decref(answer);
	rooms.stalls[1].open = false;
	answer = ask_why();
	ck_assert_str_eq(string_of(journey_of(answer, 0), "cause"), "cap");
	json_decref(answer);
}
END_TEST

START_TEST(a_queue_id_may_be_as_mailq_and_the_log_write_it)
{
	settle();
	ck_assert_int_eq(RUN("why", "4fXyZ1*"), 0);
	ck_assert_int_eq(RUN("why", "4fXyZ1!"), 0);
	ck_assert_int_eq(RUN("why", "4fXyZ1-"), 0);
	ck_assert_int_eq(RUN("why", "4fXyZ1:"), 0);
	ck_assert_int_eq(RUN("why", "4fXyZ12"), 1);
	ck_assert_int_eq(RUN("why", "test-route"), 1);
	expect_says("nothing is known of test-route:");
}
END_TEST

START_TEST(the_id_of_a_copy_shows_the_message)
{
	settle();
	rooms.copy = "4fXyZ2";
	json_t *answer = ask("{\"verb\":\"why\",\"args\":[\"4fXyZ2\"]}");
	ck_assert_str_eq(string_of(answer, "queue_id"), "4fXyZ2");
	ck_assert_str_eq(string_of(answer, "copy_of"), "4fXyZ1");
	ck_assert_str_eq(string_of(journey_of(answer, 0), "state"), "settled");
	json_decref(answer);
	ck_assert_int_eq(RUN("why", "4fXyZ2"), 0);
	expect_says("4fXyZ2 itself is not known here. It may be a copy that Sendmail made of");
	answer = ask_why();
	ck_assert(json_is_null(json_object_get(answer, "copy_of")));
	json_decref(answer);
}
END_TEST

/* The door knew it before; it is one row, from the client to now. */
START_TEST(what_is_under_way_is_not_in_the_queue_any_more)
{
	journey_add(&queue(10 * USEC_PER_SEC)->journey, STAGE_QUEUE, 6 * USEC_PER_SEC);
	send_off(STAGE_POOL, 3980 * MSEC, CAUSE_CAP);
	json_t *answer = ask_why();
	const json_t *row = journey_of(answer, 0);
	ck_assert_uint_eq(json_array_size(json_object_get(answer, "journeys")), 1);
	ck_assert_str_eq(string_of(row, "state"), "under_way");
	ck_assert_str_eq(string_of(row, "stage"), "pool");
	ck_assert_str_eq(string_of(row, "holder"), "relaypool");
	ck_assert_str_eq(string_of(row, "cause"), "cap");
	ck_assert(spent_in(row, "client") == 0.3);
	ck_assert(spent_in(row, "queue") == 6);
	ck_assert(spent_in(row, "pool") == 3.98);
	json_decref(answer);
}
END_TEST

START_TEST(what_is_handed_over_is_under_way)
{
	queue(10 * USEC_PER_SEC);
	rooms.handed = (struct wait){.relay = "-",
				     .stage = STAGE_INGEST,
				     .cause = CAUSE_HANDOVER,
				     .since = clock_now() - 2 * USEC_PER_SEC,
				     .queue_id = "4fXyZ1"};
	json_t *answer = ask_why();
	const json_t *row = journey_of(answer, 0);
	ck_assert_uint_eq(json_array_size(json_object_get(answer, "journeys")), 1);
	ck_assert_str_eq(string_of(row, "state"), "under_way");
	ck_assert_str_eq(string_of(row, "stage"), "ingest");
	ck_assert_str_eq(string_of(row, "holder"), "mta");
	ck_assert(spent_in(row, "ingest") == 2);
	ck_assert(spent_in(row, "client") == 0.3);
	json_decref(answer);
}
END_TEST

START_TEST(what_arrives_is_held_by_whoever_has_the_word)
{
	rooms.arriving = (struct wait){.relay = "-",
				       .stage = STAGE_CLIENT,
				       .cause = CAUSE_CLIENT,
				       .since = clock_now() - 7 * USEC_PER_SEC,
				       .queue_id = "4fXyZ1"};
	json_t *answer = ask_why();
	const json_t *row = journey_of(answer, 0);
	ck_assert_str_eq(string_of(row, "state"), "arriving");
	ck_assert_str_eq(string_of(row, "holder"), "client");
	ck_assert(spent_in(row, "client") == 7);
	ck_assert(json_is_null(json_object_get(json_object_get(row, "stages"), "mta")));
	json_decref(answer);
	rooms.arriving.queue_id = "4other";
	expect_refusal("{\"verb\":\"why\",\"args\":[\"4fXyZ1\"]}", "failed", "nothing is known of 4fXyZ1");
}
END_TEST

START_TEST(an_unknown_message_is_answered_with_where_to_look)
{
	settle();
	send_off(STAGE_REPLY, USEC_PER_SEC, CAUSE_ANSWER);
	expect_refusal("{\"verb\":\"why\",\"args\":[\"4none\"]}", "failed", "last few thousand messages");
	expect_refusal("{\"verb\":\"why\",\"args\":[\"4none\"]}", "failed", "mailq");
	expect_refusal("{\"verb\":\"why\"}", "usage", "needs the queue id");
}
END_TEST

/* ---- the screen ---- */

START_TEST(the_sentence_names_who_held_a_settled_message)
{
	struct journey_view *view = settle();
	journey_add(&view->journey, STAGE_QUEUE, 20 * MSEC);
	journey_add(&view->journey, STAGE_POOL, 11900 * MSEC);
	journey_add(&view->journey, STAGE_REPLY, 480 * MSEC);
	view->held_by = CAUSE_CAP;
	ck_assert_int_eq(RUN("why", "4fXyZ1"), 0);
	expect_80_columns();
	expect_says("4fXyZ1: sent, 1 recipient, 20");
	expect_says("relay       socketlabs\nhost        smtp.socketlabs.com[198.51.100.7]:465\n"
		    "connection  4\nuse         17\n");
	expect_says("  client               -\n");
	expect_says("  pool            11.900  ################################################\n");
	expect_says("  reply            0.480  ##\n");
	expect_says("  queue            0.020\n");
	expect_says("  total           12.400\n");
	expect_says("250 2.0.0 Ok: queued as 77\n");
	expect_says("Of 12.4 s, 11.9 s were spent waiting for a connection: held by relaypool (cap:\n"
		    "no connection free of those that max-connections");
}
END_TEST

START_TEST(what_took_less_than_a_second_was_held_up_by_nothing)
{
	struct journey_view *view = settle();
	journey_add(&view->journey, STAGE_REPLY, 120 * MSEC);
	ck_assert_int_eq(RUN("why", "4fXyZ1"), 0);
	expect_says("Nothing held it up: it took 0.12 s in all.\n");
	journey_add(&view->journey, STAGE_MAIL, 700 * MSEC);
	journey_add(&view->journey, STAGE_DATA, 700 * MSEC);
	ck_assert_int_eq(RUN("why", "4fXyZ1"), 0);
	expect_says("Nothing held it up for long: of 1.5 s, stage mail took the most, 0.70 s.\n");
	journey_init(&view->journey);
	ck_assert_int_eq(RUN("why", "4fXyZ1"), 0);
	expect_says("Nothing was seen of its way.\n");
	expect_says("  total            0.000\n");
}
END_TEST

START_TEST(a_stage_that_nobody_looked_at_was_held_by_nobody_in_particular)
{
	struct journey_view *view = settle();
	journey_add(&view->journey, STAGE_BODY, 1100 * MSEC);
	ck_assert_int_eq(RUN("why", "4fXyZ1"), 0);
	expect_says("Of 1.1 s, 1.1 s were spent sending the body: by whom is unknown, it was too\n"
		    "short to be looked at.\n");
	journey_add(&view->journey, STAGE_QUEUE, 4000 * USEC_PER_SEC);
	ck_assert_int_eq(RUN("why", "4fXyZ1"), 0);
	expect_says("Of 1h06m, 1h06m were spent in the MTA's queue: by whom is unknown, as the queue\n"
		    "is not looked into: it may have been tried before, as shown then; or it waited\n"
		    "for the queue manager or for a delivery process, which stalls tells while it\n"
		    "lasts.\n");
	expect_80_columns();
}
END_TEST

START_TEST(a_deferred_message_is_with_the_mta_again)
{
	struct journey_view *view = settle();
	view->status = STATUS_DEFERRED;
	view->ambiguous = true;
	view->recipients = 3;
	view->text = "451 4.4.2 the connection was lost after the end of data";
	journey_add(&view->journey, STAGE_POOL, 120 * MSEC);
	ck_assert_int_eq(RUN("why", "4fXyZ1"), 0);
	expect_says("It was deferred after 0.12 s.\nThe MTA keeps it in its queue and tries again.\n");
	journey_init(&view->journey);
	journey_add(&view->journey, STAGE_REPLY, 30 * USEC_PER_SEC);
	view->journey.causes[STAGE_REPLY] = CAUSE_PATH;
	ck_assert_int_eq(RUN("why", "4fXyZ1"), 0);
	expect_says("deferred, and maybe delivered, 3 recipients, ");
	expect_says("Of 30.0 s, 30.0 s were spent waiting for the verdict: held by network (path:\n"
		    "what was sent not acknowledged by the relay's system).\n"
		    "The MTA keeps it in its queue and tries again.\n");
}
END_TEST

START_TEST(the_sentence_names_who_holds_a_message_now)
{
	send_off(STAGE_REPLY, 8200 * MSEC, CAUSE_ANSWER);
	ck_assert_int_eq(RUN("why", "4fXyZ1"), 0);
	expect_says("4fXyZ1: under way, 1 recipient\nrelay       socketlabs\n\n");
	expect_says("It has waited 8.2 s in stage reply: held by relay (answer: no answer from a\n");
	rooms.transaction_count = 0;
	queue(4000 * USEC_PER_SEC);
	ck_assert_int_eq(RUN("why", "4fXyZ1"), 0);
	expect_says("4fXyZ1: accepted by the MTA, ");
	expect_says("The MTA has accepted it, and it has not come here since: it is in the queue\n"
		    "(mailq tells), on hold, or the MTA delivers it by itself, or has done so long\n"
		    "ago.\n");
	rooms.journey_count = 0;
	rooms.arriving =
		(struct wait){.stage = STAGE_MTA, .cause = CAUSE_DOOR, .since = clock_now(), .queue_id = "4fXyZ1"};
	ck_assert_int_eq(RUN("why", "4fXyZ1"), 0);
	expect_says("4fXyZ1: arriving at the MTA\n");
	expect_says("It has waited 0.00 s in stage mta: by whom is unknown (door: client or MTA:\n");
	expect_80_columns();
}
END_TEST

START_TEST(each_journey_is_shown_what_is_under_way_first)
{
	struct journey_view *view = settle();
	view->relay = "ses";
	journey_add(&view->journey, STAGE_REPLY, 2 * USEC_PER_SEC);
	view = settle();
	view->status = STATUS_BOUNCED;
	journey_add(&view->journey, STAGE_RCPT, 3 * USEC_PER_SEC);
	send_off(STAGE_POOL, 5 * USEC_PER_SEC, CAUSE_HELD)->recipients = 2;
	ck_assert_int_eq(RUN("why", "4fXyZ1"), 0);
	const char *under_way = strstr(output, "4fXyZ1: under way, 2 recipients\n"),
		   *sent = strstr(output, "\n\n4fXyZ1: sent, "), *bounced = strstr(output, "\n\n4fXyZ1: bounced, ");
	ck_assert_msg(under_way && sent && bounced && under_way < sent && sent < bounced, "%s", output);
	expect_80_columns();
}
END_TEST

START_TEST(a_hostile_verdict_is_folded_and_cannot_steer_the_terminal)
{
	struct journey_view *view = settle();
	view->host = "a-host-whose-name-is-as-long-as-a-domain-allows-it-to-be.and.longer.example[2001:db8::1]:465";
	view->text = "550 \x1b[2J\r\n\xc2\x9b"
		     "2J \xff "
		     "https://a.very.long.word.example/without/any/space/that/would/allow/a/line/to/end/before/the/"
		     "eightieth/column and then some more words of which there are too many for one line";
	journey_add(&view->journey, STAGE_REPLY, 2 * USEC_PER_SEC);
	ck_assert_int_eq(RUN("why", "4fXyZ1"), 0);
	expect_80_columns();
	expect_says("550 ?[2J????2J ?");
	expect_says("eightieth");
	ck_assert_ptr_null(strchr(output, '\x1b'));
	view->text = " 550 5.7.1 \xc2\x9b"
		     "2J gr\xc3\xbc\xc3\x9f  ";
	ck_assert_int_eq(RUN("why", "4fXyZ1"), 0);
	expect_says("\n550 5.7.1 ??2J gr\xc3\xbc\xc3\x9f\n");
}
END_TEST

START_TEST(every_cause_is_explained_within_80_columns)
{
	send_off(STAGE_POOL, 86400 * USEC_PER_SEC, (enum cause)_i)->host = "smtp.socketlabs.com[198.51.100.7]:465";
	ck_assert_int_eq(RUN("why", "4fXyZ1"), 0);
	char expected[32];
	snprintf(expected, sizeof(expected), "(%s:", cause_names[_i]);
	expect_says(expected);
	expect_80_columns();
}
END_TEST

START_TEST(exit_codes_are_as_for_other_verbs)
{
	ck_assert_int_eq(RUN("why"), 2);
	expect_says("relaypoolctl why QUEUE-ID");
	ck_assert_int_eq(RUN("why", "4none"), 1);
	expect_says("relaypoolctl: nothing is known of 4none: ");
	ck_assert_int_eq(RUN("why", "a", "b"), 2);
	ck_assert_int_eq(RUN("-j", "why", "4none"), 1);
	expect_says("\"reason\":\"failed\"");
}
END_TEST

Suite *why_suite(void)
{
	Suite *suite = suite_create("why");
	TCase *answers = tcase_create("answers");
	tcase_add_checked_fixture(answers, rooms_open, rooms_close);
	tcase_add_test(answers, a_verdict_comes_with_all_stages_and_null_for_those_not_seen);
	tcase_add_loop_test(answers, a_holder_that_was_not_seen_is_not_named, 0, STAGE_COUNT);
	tcase_add_loop_test(answers, who_was_seen_to_hold_it_is_named, STAGE_BANNER, STAGE_COUNT);
	tcase_add_test(answers, a_pool_that_nothing_is_known_of_holds_nothing);
	tcase_add_test(answers, what_is_queued_is_held_by_nobody_that_was_seen);
	tcase_add_test(answers, what_is_queued_is_held_as_an_open_stall_tells);
	tcase_add_test(answers, a_full_pool_behind_a_stall_is_held_as_the_stall_is);
	tcase_add_test(answers, a_queue_id_may_be_as_mailq_and_the_log_write_it);
	tcase_add_test(answers, the_id_of_a_copy_shows_the_message);
	tcase_add_test(answers, what_is_under_way_is_not_in_the_queue_any_more);
	tcase_add_test(answers, what_is_handed_over_is_under_way);
	tcase_add_test(answers, what_arrives_is_held_by_whoever_has_the_word);
	tcase_add_test(answers, an_unknown_message_is_answered_with_where_to_look);
	suite_add_tcase(suite, answers);
	TCase *screen = tcase_create("screen");
	tcase_add_checked_fixture(screen, rooms_open, rooms_close);
	tcase_set_timeout(screen, 60);
	tcase_add_test(screen, the_sentence_names_who_held_a_settled_message);
	tcase_add_test(screen, what_took_less_than_a_second_was_held_up_by_nothing);
	tcase_add_test(screen, a_stage_that_nobody_looked_at_was_held_by_nobody_in_particular);
	tcase_add_test(screen, a_deferred_message_is_with_the_mta_again);
	tcase_add_test(screen, the_sentence_names_who_holds_a_message_now);
	tcase_add_test(screen, each_journey_is_shown_what_is_under_way_first);
	tcase_add_test(screen, a_hostile_verdict_is_folded_and_cannot_steer_the_terminal);
	tcase_add_loop_test(screen, every_cause_is_explained_within_80_columns, 0, CAUSE_COUNT);
	tcase_add_test(screen, exit_codes_are_as_for_other_verbs);
	suite_add_tcase(suite, screen);
	return suite;
}
