/* Unit tests of observe/journeys: what the door noted and what outcomes tell, joined by queue id. */
#include <config.h>

#include <stdio.h>
#include <string.h>

#include "base/journey.h"
#include "base/publish.h"
#include "check_observe.h"
#include "fake_door.h"
#include "observe/journeys.h"
#include "observe/latency.h"
#include "smtp/reply.h"

#define MS USEC_PER_MSEC
#define SECOND USEC_PER_SEC
#define KEPT 4096 /* as in journeys.c */

static struct reply *sent, *refused;

static void setup(void)
{
	clock_fake_start();
	fake_door_start();
	latency_start();
	journeys_start();
	sent = reply_local(LOCAL_INGEST, 250, "2.0.0", "Ok: queued as 77");
	refused = reply_local(LOCAL_INGEST, 550, "5.1.1", "User unknown");
}

static void teardown(void)
{
	journeys_stop();
	latency_stop();
	publish_reset();
	reply_unref(&sent);
	reply_unref(&refused);
	fake_door_stop();
	clock_fake_stop();
}

/* ---- messages ---- */

static struct message message_of(const char *queue_id)
{
	struct message message = {.arrived = clock_now(), .complete = clock_now(), .queue_time = -1};
	snprintf(message.queue_id, sizeof message.queue_id, "%s", queue_id);
	return message;
}

static void arrive(struct message *message)
{
	struct event event = {.kind = EVENT_ARRIVED, .relay = "-", .host = "-", .message = message};
	publish(&event);
}

/* 10 ms for ingest, and for every stage that there always is. */
static void settle(const struct message *message, struct reply *reply, unsigned recipients)
{
	struct journey journey;
	journey_init(&journey);
	for (enum stage stage = STAGE_INGEST; stage <= STAGE_POOL; stage++)
		journey_add(&journey, stage, 10 * MS);
	for (enum stage stage = STAGE_MAIL; stage < STAGE_COUNT; stage++)
		journey_add(&journey, stage, 10 * MS);
	struct event event = {
		.kind = EVENT_OUTCOME,
		.relay = "ses",
		.host = "ses[192.0.2.1]:25",
		.message = message,
		.reply = reply,
		.status = reply_status_of(reply),
		.recipients = recipients,
		.connection = 4,
		.use = 2,
		.journey = &journey,
		.held_by = CAUSE_CAP,
	};
	publish(&event);
}

static void come_and_go(const char *queue_id, usec_t takes)
{
	struct message message = message_of(queue_id);
	arrive(&message);
	clock_fake_advance(takes);
	settle(&message, sent, 1);
}

/* ---- views ---- */

#define VIEWS_MAX 8
static struct journey_view views[VIEWS_MAX];
static char texts[VIEWS_MAX][256];
static unsigned view_count;

static void on_view(const struct journey_view *view, void *arg)
{
	const char *queue_id = arg;
	ck_assert_str_eq(view->queue_id, queue_id);
	ck_assert_int_eq(view->total, journey_total(&view->journey));
	ck_assert_int_eq(view->journey.stage, STAGE_COUNT);
	if (view_count < VIEWS_MAX) {
		snprintf(texts[view_count], sizeof texts[0], "%s", view->text != NULL ? view->text : "");
		views[view_count] = *view;
	}
	view_count++;
}

static unsigned find(const char *queue_id)
{
	view_count = 0;
	bool found = journeys_find(queue_id, on_view, (void *)queue_id);
	ck_assert(found == (view_count > 0));
	return view_count;
}

static unsigned queued(void)
{
	unsigned count = 0;
	usec_t since;
	const char *queue_id;
	return journeys_queued(&count, &since, &queue_id) ? count : 0;
}

START_TEST(a_journey_is_joined_by_queue_id)
{
	fake_door_note("Q1", 100 * MS, 30 * MS, true);
	int64_t at = clock_wall();
	clock_fake_advance(2 * SECOND);
	ck_assert_uint_eq(find("Q1"), 1);
	ck_assert(!views[0].settled);
	ck_assert_str_eq(views[0].relay, "-");
	ck_assert_str_eq(views[0].host, "-");
	ck_assert_int_eq(views[0].at, at);
	ck_assert_int_eq(views[0].journey.spent[STAGE_QUEUE], 2 * SECOND);
	ck_assert_int_eq(views[0].total, 2130 * MS);

	struct message message = message_of("Q1");
	arrive(&message);
	clock_fake_advance(60 * MS);
	ck_assert_uint_eq(find("Q1"), 1); /* the relay room tells of the rest */
	ck_assert(!views[0].settled);
	ck_assert_int_eq(views[0].total, 2130 * MS);
	settle(&message, sent, 3);
	ck_assert_uint_eq(find("Q1"), 1);
	ck_assert(views[0].settled);
	ck_assert_str_eq(views[0].relay, "ses");
	ck_assert_str_eq(views[0].host, "ses[192.0.2.1]:25");
	ck_assert_int_eq(views[0].status, STATUS_SENT);
	ck_assert_uint_eq(views[0].recipients, 3);
	ck_assert_uint_eq(views[0].connection, 4);
	ck_assert_uint_eq(views[0].use, 2);
	ck_assert_int_eq(views[0].held_by, CAUSE_CAP);
	ck_assert_ptr_nonnull(strstr(texts[0], "queued as 77"));
	ck_assert_int_eq(views[0].at, clock_wall());
	ck_assert_int_eq(views[0].journey.spent[STAGE_CLIENT], 100 * MS);
	ck_assert_int_eq(views[0].journey.spent[STAGE_MTA], 30 * MS);
	ck_assert_int_eq(views[0].journey.spent[STAGE_QUEUE], 2 * SECOND);
	ck_assert_int_eq(views[0].total, 2200 * MS); /* seven stages of 10 ms here */
	ck_assert_uint_eq(journeys_counts().seen, 1);
	ck_assert_uint_eq(journeys_counts().partial, 0);
}
END_TEST

START_TEST(what_the_door_did_not_see_is_not_invented)
{
	struct message message = message_of("Q1");
	settle(&message, sent, 1);
	ck_assert_uint_eq(find("Q1"), 1);
	ck_assert_int_eq(views[0].journey.spent[STAGE_CLIENT], -1);
	ck_assert_int_eq(views[0].journey.spent[STAGE_QUEUE], -1);
	ck_assert_uint_eq(journeys_counts().partial, 1);

	message = message_of("Q2");
	message.queue_time = 5 * SECOND;
	settle(&message, sent, 1);
	find("Q2");
	ck_assert_int_eq(views[0].journey.spent[STAGE_QUEUE], 5 * SECOND);
	ck_assert_int_eq(views[0].journey.spent[STAGE_CLIENT], -1);

	fake_door_note("Q3", -1, -1, true);
	message = message_of("Q3");
	settle(&message, sent, 1);
	find("Q3");
	ck_assert_int_eq(views[0].journey.spent[STAGE_CLIENT], -1);
	ck_assert_int_eq(views[0].journey.spent[STAGE_QUEUE], 0);
	ck_assert_uint_eq(journeys_counts().partial, 3);
	ck_assert_uint_eq(journeys_counts().seen, 0);
}
END_TEST

START_TEST(several_outcomes_of_one_message)
{
	fake_door_note("Q1", 1 * MS, 1 * MS, true);
	clock_fake_advance(SECOND);
	struct message message = message_of("Q1");
	arrive(&message);
	settle(&message, sent, 2);
	clock_fake_advance(SECOND);
	settle(&message, refused, 1);
	ck_assert_uint_eq(find("Q1"), 2);
	ck_assert_int_eq(views[0].status, STATUS_BOUNCED); /* the newest first */
	ck_assert_int_eq(views[1].status, STATUS_SENT);
	for (unsigned i = 0; i < 2; i++) {
		ck_assert_int_eq(views[i].journey.spent[STAGE_QUEUE], SECOND);
		ck_assert_int_eq(views[i].journey.spent[STAGE_CLIENT], 1 * MS);
	}
	ck_assert_uint_eq(journeys_counts().seen, 2);
}
END_TEST

START_TEST(one_that_is_tried_again_has_all_of_its_time_in_the_queue)
{
	fake_door_note("Q1", 1 * MS, 1 * MS, true);
	clock_fake_advance(SECOND);
	come_and_go("Q1", SECOND);
	ck_assert_uint_eq(queued(), 0);
	clock_fake_advance(300 * SECOND);
	ck_assert_uint_eq(queued(), 0); /* it waits for its time, not for the queue manager */
	come_and_go("Q1", SECOND);
	ck_assert_uint_eq(find("Q1"), 2);
	ck_assert_int_eq(views[0].journey.spent[STAGE_QUEUE], 302 * SECOND);
	ck_assert_int_eq(views[1].journey.spent[STAGE_QUEUE], SECOND);
	ck_assert_int_eq(views[0].journey.spent[STAGE_CLIENT], 1 * MS);
}
END_TEST

START_TEST(two_parts_of_one_message)
{
	fake_door_note("Q1", 1 * MS, 1 * MS, true);
	clock_fake_advance(SECOND);
	struct message one = message_of("Q1");
	arrive(&one);
	clock_fake_advance(SECOND);
	struct message other = message_of("Q1");
	arrive(&other);
	settle(&other, sent, 1);
	settle(&one, sent, 1);
	ck_assert_uint_eq(find("Q1"), 2);
	ck_assert_int_eq(views[0].journey.spent[STAGE_QUEUE], SECOND);
	ck_assert_int_eq(views[1].journey.spent[STAGE_QUEUE], 2 * SECOND);
}
END_TEST

START_TEST(an_id_that_is_used_again_is_another_message)
{
	fake_door_note("Q1", 1 * MS, 1 * MS, true);
	come_and_go("Q1", SECOND);
	clock_fake_advance(3600 * SECOND);
	fake_door_note("Q1", 50 * MS, 60 * MS, true);
	clock_fake_advance(SECOND);
	come_and_go("Q1", SECOND);
	ck_assert_uint_eq(find("Q1"), 2);
	ck_assert_int_eq(views[0].journey.spent[STAGE_CLIENT], 50 * MS);
	ck_assert_int_eq(views[0].journey.spent[STAGE_QUEUE], SECOND);
	ck_assert_int_eq(views[1].journey.spent[STAGE_CLIENT], 1 * MS);
}
END_TEST

/* A local message has no note; what its tag says of its time in the queue shows that it is not the one of old. */
START_TEST(an_id_that_is_used_again_without_a_note_is_not_joined_with_the_old_one)
{
	fake_door_note("Q1", 1 * MS, 1 * MS, true);
	come_and_go("Q1", SECOND);
	clock_fake_advance(3600 * SECOND);
	struct message message = message_of("Q1");
	message.queue_time = 2 * SECOND;
	arrive(&message);
	settle(&message, sent, 1);
	ck_assert_uint_eq(find("Q1"), 2);
	ck_assert_int_eq(views[0].journey.spent[STAGE_CLIENT], -1);
	ck_assert_int_eq(views[0].journey.spent[STAGE_QUEUE], 2 * SECOND);
}
END_TEST

START_TEST(a_note_that_comes_after_the_outcome_is_no_message_in_the_queue)
{
	usec_t ended = clock_now();
	come_and_go("Q1", 5 * MS);
	fake_door_note_at("Q1", ended);
	journeys_catch_up();
	ck_assert_uint_eq(queued(), 0);
	ck_assert_uint_eq(find("Q1"), 1);
	ck_assert(views[0].settled);
}
END_TEST

START_TEST(a_note_that_comes_after_the_arrival_is_joined)
{
	usec_t ended = clock_now();
	clock_fake_advance(5 * MS);
	struct message message = message_of("Q1");
	arrive(&message);
	fake_door_note_at("Q1", ended);
	settle(&message, sent, 1);
	ck_assert_uint_eq(queued(), 0);
	ck_assert_uint_eq(find("Q1"), 1);
	ck_assert_int_eq(views[0].journey.spent[STAGE_QUEUE], 5 * MS);
	ck_assert_int_eq(views[0].journey.spent[STAGE_CLIENT], 0);
}
END_TEST

START_TEST(messages_without_an_id_are_left_alone)
{
	come_and_go("", SECOND);
	come_and_go("", SECOND);
	ck_assert_uint_eq(find(""), 0);
	ck_assert_uint_eq(journeys_counts().seen, 0);
}
END_TEST

START_TEST(the_longest_id_is_not_cut)
{
	char queue_id[64];
	memset(queue_id, 'Q', 63);
	queue_id[63] = '\0';
	fake_door_note(queue_id, 1, 1, true);
	come_and_go(queue_id, 1);
	ck_assert_uint_eq(find(queue_id), 1);
	ck_assert_int_eq(views[0].journey.spent[STAGE_CLIENT], 1);
}
END_TEST

/* ---- the MTA's queue ---- */

/* The door's ids have been seen to come: else none is missed. */
static void ids_come(void)
{
	fake_door_note("SEEN", 1, 1, true);
	struct message message = message_of("SEEN");
	arrive(&message);
	settle(&message, sent, 1);
	clock_fake_advance(1);
}

START_TEST(behind_a_content_filter_nothing_is_missed)
{
	fake_door_note("BEFORE", 1, 1, true);
	journeys_catch_up();
	ck_assert_uint_eq(queued(), 0); /* nothing is known yet */
	ids_come();
	fake_door_note("NEXT", 1, 1, true);
	journeys_catch_up();
	ck_assert_uint_eq(queued(), 1);
	for (unsigned i = 0; i < 8; i++) {
		char queue_id[16];
		snprintf(queue_id, sizeof queue_id, "FILTERED%u", i);
		struct message message = message_of(queue_id);
		arrive(&message);
		ck_assert_uint_eq(queued(), i < 7);
		settle(&message, sent, 1);
	}
	ids_come();
	fake_door_note("LAST", 1, 1, true);
	journeys_catch_up();
	ck_assert_uint_eq(queued(), 1);
}
END_TEST

START_TEST(what_is_known_to_come_is_counted)
{
	unsigned count;
	usec_t since;
	const char *queue_id;
	ids_come();
	clock_fake_advance(SECOND);
	usec_t first = clock_now();
	ck_assert(!journeys_queued(&count, &since, &queue_id));
	fake_door_note("Q1", 1, 1, true);
	clock_fake_advance(SECOND);
	fake_door_note("Q2", 1, 1, false); /* perhaps local */
	fake_door_note("Q3", 1, 1, true);
	journeys_catch_up();
	ck_assert(journeys_queued(&count, &since, &queue_id));
	ck_assert_uint_eq(count, 2);
	ck_assert_int_eq(since, first);
	ck_assert_str_eq(queue_id, "Q1");
	come_and_go("Q1", SECOND);
	ck_assert(journeys_queued(&count, &since, &queue_id));
	ck_assert_uint_eq(count, 1);
	ck_assert_str_eq(queue_id, "Q3");
}
END_TEST

/* On hold, or deferred because its destination is: the queue manager has brought newer ones since. */
START_TEST(one_that_newer_ones_have_overtaken_is_not_waited_for)
{
	fake_door_note("HELD", 1, 1, true);
	clock_fake_advance(SECOND);
	fake_door_note("Q2", 1, 1, true);
	clock_fake_advance(SECOND);
	fake_door_note("Q3", 1, 1, true);
	come_and_go("Q2", SECOND);
	ck_assert_uint_eq(queued(), 1);
	come_and_go("Q3", SECOND);
	ck_assert_uint_eq(queued(), 0);
	clock_fake_advance(7200 * SECOND);
	come_and_go("HELD", SECOND); /* and is joined all the same */
	ck_assert_uint_eq(find("HELD"), 1);
	ck_assert_int_eq(views[0].journey.spent[STAGE_QUEUE], 7204 * SECOND);
}
END_TEST

START_TEST(notes_that_come_in_another_order)
{
	unsigned count;
	usec_t since, now = clock_now();
	const char *queue_id;
	fake_door_note_at("Q2", now + 20);
	fake_door_note_at("Q1", now + 10);
	clock_fake_advance(SECOND);
	fake_door_note_at("Q4", now + 40);
	fake_door_note_at("Q0", now + 5);
	come_and_go("Q1", SECOND);
	ck_assert(journeys_queued(&count, &since, &queue_id));
	ck_assert_uint_eq(count, 2);
	ck_assert_int_eq(since, now + 20);
	ck_assert_str_eq(queue_id, "Q2");
}
END_TEST

START_TEST(a_message_that_stays_here_expires)
{
	fake_door_note("LOCAL", 1, 1, false);
	journeys_catch_up();
	clock_fake_advance(600 * SECOND);
	journeys_catch_up();
	ck_assert_uint_eq(journeys_counts().expired, 0);
	ck_assert_uint_eq(find("LOCAL"), 1);
	clock_fake_advance(2 * SECOND);
	journeys_catch_up();
	ck_assert_uint_eq(journeys_counts().expired, 1);
	ck_assert_uint_eq(find("LOCAL"), 0);
	ck_assert_uint_eq(journeys_counts().lost, 0);
}
END_TEST

START_TEST(one_that_was_long_in_the_queue_is_not_lost_on_its_way)
{
	fake_door_note("OLD", 7 * MS, 1, true);
	clock_fake_advance(3600 * SECOND);
	journeys_catch_up();
	struct message message = message_of("OLD");
	arrive(&message);
	for (unsigned i = 0; i < 200; i++) {
		clock_fake_advance(SECOND);
		journeys_catch_up();
	}
	settle(&message, sent, 1);
	ck_assert_uint_eq(find("OLD"), 1);
	ck_assert_int_eq(views[0].journey.spent[STAGE_CLIENT], 7 * MS);
	ck_assert_int_eq(views[0].journey.spent[STAGE_QUEUE], 3600 * SECOND);
	ck_assert_uint_eq(journeys_counts().expired, 0);
}
END_TEST

START_TEST(an_hour_in_the_queue_is_the_end)
{
	ids_come();
	fake_door_note("OLD", 1, 1, true);
	journeys_catch_up();
	clock_fake_advance(3600 * SECOND);
	journeys_catch_up();
	ck_assert_uint_eq(queued(), 1);
	clock_fake_advance(2 * SECOND);
	journeys_catch_up();
	ck_assert_uint_eq(queued(), 0);
	ck_assert_uint_eq(journeys_counts().expired, 1);
}
END_TEST

/* ---- bounds ---- */

START_TEST(what_is_too_much_is_forgotten_oldest_first_and_counted)
{
	char queue_id[16];
	ids_come();
	for (unsigned i = 0; i < KEPT + 100; i++) {
		snprintf(queue_id, sizeof queue_id, "Q%u", i);
		fake_door_note(queue_id, 1, 1, true);
	}
	fake_door_lose(7);
	clock_fake_advance(2 * SECOND);
	journeys_catch_up();
	ck_assert_uint_eq(journeys_counts().lost, 107);
	ck_assert_uint_eq(queued(), KEPT);
	ck_assert_uint_eq(find("Q99"), 0);
	ck_assert_uint_eq(find("Q100"), 1);
}
END_TEST

START_TEST(the_last_thousands_of_outcomes_are_kept)
{
	char queue_id[16];
	for (unsigned i = 0; i < KEPT + 50; i++) {
		snprintf(queue_id, sizeof queue_id, "Q%u", i);
		fake_door_note(queue_id, (usec_t)i, 1, true);
		come_and_go(queue_id, MS);
	}
	ck_assert_uint_eq(find("Q49"), 0);
	for (unsigned i = 50; i < KEPT + 50; i++) { /* two or more of them share a bucket */
		snprintf(queue_id, sizeof queue_id, "Q%u", i);
		ck_assert_uint_eq(find(queue_id), 1);
		ck_assert_int_eq(views[0].journey.spent[STAGE_CLIENT], i);
	}
	ck_assert_uint_eq(journeys_counts().seen, KEPT + 50);
}
END_TEST

/* The entry that is joined may be the one whose place in the ring is needed. */
/* As Sendmail makes them: seconds, a count, the process. */
START_TEST(a_copy_of_sendmail_is_found_by_the_id_before_it)
{
	static const char *const known[] = {"6ASJxpBj000328", "6ASJxpBq000328", "6ASJxpBk000329", "6ASJxoBl000328"};
	char original[64] = "";

	for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
		struct message message = message_of(known[i]);
		settle(&message, sent, 1);
	}
	ck_assert(journeys_original("6ASJxpBn000328", original, sizeof original));
	ck_assert_str_eq(original, "6ASJxpBj000328");
	ck_assert(journeys_original("6ASJxpBr000328", original, sizeof original));
	ck_assert_str_eq(original, "6ASJxpBq000328");
	ck_assert(!journeys_original("6ASJxpBi000328", original, sizeof original)); /* made before all that is known */
	ck_assert(!journeys_original("6ASJxqBn000328", original, sizeof original)); /* of another second */
	ck_assert(!journeys_original("6ASJxpBn000327", original, sizeof original)); /* of another process */
	ck_assert(!journeys_original("6ASJxpBn00328", original, sizeof original));
}
END_TEST

START_TEST(ids_of_postfix_are_copies_of_nothing)
{
	char original[64];
	struct message message = message_of("4jcLds05xz1dHhS");

	settle(&message, sent, 1);
	ck_assert(!journeys_original("4jcLds06xz1dHhS", original, sizeof original));
	ck_assert(!journeys_original("4jcLds", original, sizeof original));
	ck_assert(!journeys_original("", original, sizeof original));
}
END_TEST

START_TEST(one_message_may_fill_the_ring)
{
	fake_door_note("Q1", 9 * MS, 1, true);
	struct message message = message_of("Q1");
	arrive(&message);
	for (unsigned i = 0; i < KEPT + 10; i++)
		settle(&message, sent, 1);
	ck_assert_uint_eq(find("Q1"), KEPT);
	ck_assert_int_eq(views[0].journey.spent[STAGE_CLIENT], 9 * MS);
}
END_TEST

START_TEST(it_can_be_started_again)
{
	come_and_go("Q1", 1);
	fake_door_note("Q2", 1, 1, true);
	journeys_catch_up();
	journeys_stop();
	publish_reset();
	journeys_start();
	ck_assert_uint_eq(find("Q1"), 0);
	ck_assert_uint_eq(queued(), 0);
	ck_assert_uint_eq(journeys_counts().partial, 0);
	come_and_go("Q1", 1);
	ck_assert_uint_eq(find("Q1"), 1);
}
END_TEST

static unsigned long queue_times;

static void on_latency(const struct latency_view *view, void *arg)
{
	(void)arg;
	if (view->stage == STAGE_QUEUE && strcmp(view->relay, "-") == 0)
		queue_times = view->seen;
}

START_TEST(the_time_in_the_queue_counts_once)
{
	fake_door_note("Q1", 1, 1, true);
	clock_fake_advance(SECOND);
	come_and_go("Q1", SECOND);
	come_and_go("Q1", SECOND); /* tried again: that time is no measure of the queue manager */
	latency_each(on_latency, NULL);
	ck_assert_uint_eq(queue_times, 1);
}
END_TEST

Suite *journeys_suite(void)
{
	Suite *suite = suite_create("journeys");
	TCase *tcase = tcase_create("journeys");
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, a_journey_is_joined_by_queue_id);
	tcase_add_test(tcase, what_the_door_did_not_see_is_not_invented);
	tcase_add_test(tcase, several_outcomes_of_one_message);
	tcase_add_test(tcase, one_that_is_tried_again_has_all_of_its_time_in_the_queue);
	tcase_add_test(tcase, two_parts_of_one_message);
	tcase_add_test(tcase, an_id_that_is_used_again_is_another_message);
	tcase_add_test(tcase, an_id_that_is_used_again_without_a_note_is_not_joined_with_the_old_one);
	tcase_add_test(tcase, a_note_that_comes_after_the_outcome_is_no_message_in_the_queue);
	tcase_add_test(tcase, a_note_that_comes_after_the_arrival_is_joined);
	tcase_add_test(tcase, messages_without_an_id_are_left_alone);
	tcase_add_test(tcase, the_longest_id_is_not_cut);
	tcase_add_test(tcase, what_is_known_to_come_is_counted);
	tcase_add_test(tcase, one_that_newer_ones_have_overtaken_is_not_waited_for);
	tcase_add_test(tcase, notes_that_come_in_another_order);
	tcase_add_test(tcase, a_message_that_stays_here_expires);
	tcase_add_test(tcase, one_that_was_long_in_the_queue_is_not_lost_on_its_way);
	tcase_add_test(tcase, behind_a_content_filter_nothing_is_missed);
	tcase_add_test(tcase, an_hour_in_the_queue_is_the_end);
	tcase_add_test(tcase, what_is_too_much_is_forgotten_oldest_first_and_counted);
	tcase_add_test(tcase, the_last_thousands_of_outcomes_are_kept);
	tcase_add_test(tcase, a_copy_of_sendmail_is_found_by_the_id_before_it);
	tcase_add_test(tcase, ids_of_postfix_are_copies_of_nothing);
	tcase_add_test(tcase, one_message_may_fill_the_ring);
	tcase_add_test(tcase, it_can_be_started_again);
	tcase_add_test(tcase, the_time_in_the_queue_counts_once);
	suite_add_tcase(suite, tcase);
	return suite;
}
