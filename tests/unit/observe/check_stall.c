/* Unit tests of observe/stall: what is over its limit, told once while it lasts and once when it has ended. */
#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/conf.h"
#include "base/journey.h"
#include "base/publish.h"
#include "check_observe.h"
#include "fake_door.h"
#include "observe/journeys.h"
#include "observe/latency.h"
#include "observe/stall.h"

#define MS USEC_PER_MSEC
#define SECOND USEC_PER_SEC
#define TICK (250 * MS)

/* ---- the rooms, played ---- */

#define WAITS_MAX 512
static struct wait waits[WAITS_MAX];
static char relays[WAITS_MAX][16];
static size_t wait_count;
static unsigned session_count;
static bool bodies_get_on; /* then they are waited for since this moment, as the relay room has it */

static void tell_waits(wait_fn *fn, void *arg)
{
	for (size_t i = 0; i < wait_count; i++) {
		if (bodies_get_on && waits[i].stage == STAGE_BODY)
			waits[i].since = clock_now();
		fn(&waits[i], arg);
	}
}

static unsigned count_sessions(void)
{
	return session_count;
}

/* Something that is waited for from now on. */
static struct wait *begin(const char *relay, enum stage stage, enum cause cause, unsigned messages)
{
	ck_assert_uint_lt(wait_count, WAITS_MAX);
	struct wait *wait = &waits[wait_count];
	snprintf(relays[wait_count], sizeof relays[0], "%s", relay);
	*wait = (struct wait){.relay = relays[wait_count],
			      .stage = stage,
			      .cause = cause,
			      .since = clock_now(),
			      .connection = (unsigned)wait_count + 1,
			      .messages = messages,
			      .queue_id = messages > 0 ? "Q1" : ""};
	wait_count++;
	return wait;
}

static void end_all(void)
{
	wait_count = 0;
}

static void outcome(const char *relay, enum stage stage, usec_t spent)
{
	struct journey journey;
	journey_init(&journey);
	journey_add(&journey, stage, spent);
	struct event event = {.kind = EVENT_OUTCOME, .relay = relay, .host = "-", .recipients = 1, .journey = &journey};
	publish(&event);
}

static void arrived(void)
{
	struct message message = {.queue_time = -1, .arrived = clock_now()};
	snprintf(message.queue_id, sizeof message.queue_id, "SEEN");
	struct event event = {.kind = EVENT_ARRIVED, .relay = "-", .host = "-", .message = &message};
	publish(&event);
}

static void setup(void)
{
	clock_fake_start();
	lines_start();
	fake_door_start();
	latency_start();
	journeys_start();
	stall_start(tell_waits, count_sessions);
	wait_count = session_count = 0;
	bodies_get_on = false;
}

static void teardown(void)
{
	stall_stop();
	journeys_stop();
	latency_stop();
	publish_reset();
	fake_door_stop();
	lines_stop();
	clock_fake_stop();
}

/* ---- what is told ---- */

static struct stall_view views[512];
static unsigned view_count, open_count;

static void on_view(const struct stall_view *view, void *arg)
{
	(void)arg;
	ck_assert_uint_lt(view_count, sizeof views / sizeof views[0]);
	views[view_count++] = *view;
	open_count += view->open;
}

static const struct stall_view *view(unsigned index)
{
	view_count = open_count = 0;
	stall_each(on_view, NULL);
	ck_assert_uint_lt(index, view_count);
	return &views[index];
}

static unsigned open_stalls(void)
{
	view_count = open_count = 0;
	stall_each(on_view, NULL);
	return open_count;
}

static unsigned lines_with(const char *text)
{
	unsigned count = 0;
	for (unsigned i = 0; i < lines_count(); i++)
		count += strstr(lines_get(i), text) != NULL;
	return count;
}

static void nothing_is_told_for(usec_t time)
{
	clock_fake_advance(time);
	ck_assert_str_eq(lines_get(0), "");
}

/* ---- one stall ---- */

START_TEST(it_begins_within_a_tick_and_ends_once)
{
	clock_fake_advance(100 * MS);
	begin("ses", STAGE_REPLY, CAUSE_ANSWER, 1);
	nothing_is_told_for(5 * SECOND - 1);
	clock_fake_advance(TICK + 1);
	ck_assert_uint_eq(lines_count(), 1);
	ck_assert_ptr_nonnull(
		strstr(lines_get(0), "stall: event=begin, id=1, relay=ses, stage=reply, holder=relay, age=5."));
	ck_assert_ptr_nonnull(strstr(lines_get(0), ", limit=5.0, waiting=1, cause=answer"));
	ck_assert_int_eq(lines_level(0), LOG_LEVEL_WARNING);
	clock_fake_advance(30 * SECOND);
	ck_assert_uint_eq(lines_count(), 1);
	ck_assert(view(0)->open);
	ck_assert_int_ge(view(0)->age, 34 * SECOND);
	ck_assert_uint_eq(view(0)->waiting, 1);
	ck_assert_str_eq(view(0)->queue_id, "Q1");
	usec_t lasted = view(0)->age;
	end_all();
	outcome("ses", STAGE_REPLY, lasted);
	clock_fake_advance(4 * SECOND);
	ck_assert_uint_eq(lines_count(), 1);
	clock_fake_advance(SECOND + TICK);
	ck_assert_uint_eq(lines_count(), 2);
	char expected[64];
	snprintf(expected, sizeof expected, "age=%.1f, messages=1, cause=answer", (double)lasted / SECOND);
	ck_assert_ptr_nonnull(strstr(lines_get(1), "stall: event=end, id=1, relay=ses, stage=reply, holder=relay, "));
	ck_assert_msg(strstr(lines_get(1), expected) != NULL, "%s", lines_get(1));
	clock_fake_advance(60 * SECOND);
	ck_assert_uint_eq(lines_count(), 2);
	ck_assert(!view(0)->open);
	ck_assert_uint_eq(view(0)->waiting, 0);
	ck_assert_uint_eq(view(0)->messages, 1);
	ck_assert_uint_eq(stall_count(STAGE_REPLY, HOLDER_RELAY), 1);
	ck_assert_uint_eq(stall_count(STAGE_REPLY, HOLDER_NETWORK), 0);
}
END_TEST

START_TEST(it_began_when_the_wait_began)
{
	int64_t began = clock_wall();
	begin("ses", STAGE_REPLY, CAUSE_ANSWER, 1);
	clock_fake_advance(20 * SECOND);
	ck_assert_int_eq(view(0)->began, began);
}
END_TEST

START_TEST(a_hundred_connections_are_one_stall)
{
	for (unsigned i = 0; i < 100; i++) {
		begin("ses", STAGE_REPLY, CAUSE_ANSWER, 2);
		clock_fake_advance(10 * MS);
	}
	clock_fake_advance(10 * SECOND);
	ck_assert_uint_eq(open_stalls(), 1);
	ck_assert_uint_eq(lines_count(), 1);
	ck_assert_uint_eq(view(0)->waiting, 200);
	ck_assert_int_ge(view(0)->age, 10 * SECOND); /* of the oldest */
}
END_TEST

START_TEST(what_has_different_causes_is_different_stalls)
{
	begin("ses", STAGE_REPLY, CAUSE_ANSWER, 1);
	begin("ses", STAGE_REPLY, CAUSE_PATH, 1);
	begin("ses", STAGE_MAIL, CAUSE_ANSWER, 1);
	begin("zoho", STAGE_REPLY, CAUSE_ANSWER, 1);
	clock_fake_advance(10 * SECOND);
	ck_assert_uint_eq(open_stalls(), 4);
	ck_assert_uint_eq(lines_with("relay=zoho"), 1);
	ck_assert_uint_eq(lines_with("holder=network"), 1);
	ck_assert_uint_eq(lines_with("id=4"), 1);
}
END_TEST

START_TEST(two_relays_apart)
{
	begin("ses", STAGE_REPLY, CAUSE_ANSWER, 1);
	struct wait *other = begin("zoho", STAGE_REPLY, CAUSE_ANSWER, 1);
	clock_fake_advance(10 * SECOND);
	ck_assert_uint_eq(open_stalls(), 2);
	for (unsigned i = 0; i < 40; i++) { /* zoho goes on, slowly enough for nobody to notice; ses does not */
		other->since = clock_now();
		outcome("zoho", STAGE_REPLY, SECOND);
		clock_fake_advance(SECOND);
	}
	ck_assert_uint_eq(open_stalls(), 1);
	ck_assert_str_eq(view(0)->relay, "ses");
	ck_assert_uint_eq(lines_with("event=end"), 1);
	ck_assert_uint_eq(lines_with("event=begin"), 2);
}
END_TEST

START_TEST(what_flickers_is_one_stall)
{
	struct wait *wait = begin("ses", STAGE_REPLY, CAUSE_ANSWER, 1);
	for (unsigned i = 0; i < 20; i++) { /* each takes 8 s, the limit is 5 s */
		clock_fake_advance(8 * SECOND);
		outcome("ses", STAGE_REPLY, 8 * SECOND);
		wait->since = clock_now();
	}
	ck_assert_uint_eq(lines_count(), 1);
	ck_assert_uint_eq(view(0)->messages, 20);
	end_all();
	clock_fake_advance(6 * SECOND);
	ck_assert_uint_eq(lines_count(), 2);
	ck_assert_ptr_nonnull(strstr(lines_get(1), "messages=20, "));
}
END_TEST

START_TEST(stopped_it_ends_what_is_open)
{
	begin("ses", STAGE_REPLY, CAUSE_ANSWER, 1);
	begin("zoho", STAGE_CONNECT, CAUSE_CONNECT, 0);
	begin("zoho", STAGE_POOL, CAUSE_SETUP, 3);
	clock_fake_advance(10 * SECOND);
	ck_assert_uint_eq(open_stalls(), 2);
	stall_stop();
	ck_assert_uint_eq(lines_with("event=end"), 2);
	ck_assert_uint_eq(open_stalls(), 0);
	ck_assert_uint_eq(stall_count(STAGE_REPLY, HOLDER_RELAY), 0);
	clock_fake_advance(60 * SECOND);
	ck_assert_uint_eq(lines_count(), 4);
}
END_TEST

START_TEST(the_past_is_bounded)
{
	for (unsigned i = 0; i < 300; i++) {
		begin("ses", STAGE_REPLY, CAUSE_ANSWER, 1);
		clock_fake_advance(6 * SECOND);
		end_all();
		clock_fake_advance(10 * SECOND);
	}
	ck_assert_uint_eq(open_stalls(), 0);
	ck_assert_uint_eq(view_count, 256);
	ck_assert_uint_eq(views[0].id, 300);
	ck_assert_uint_eq(views[255].id, 45);
	ck_assert_uint_eq(stall_count(STAGE_REPLY, HOLDER_RELAY), 300);
}
END_TEST

START_TEST(open_ones_come_first)
{
	begin("ses", STAGE_REPLY, CAUSE_ANSWER, 1);
	clock_fake_advance(6 * SECOND);
	end_all();
	clock_fake_advance(10 * SECOND);
	begin("zoho", STAGE_REPLY, CAUSE_ANSWER, 1);
	clock_fake_advance(6 * SECOND);
	ck_assert(view(0)->open);
	ck_assert_str_eq(views[0].relay, "zoho");
	ck_assert(!views[1].open);
}
END_TEST

/* ---- what only follows ---- */

START_TEST(a_full_pool_behind_a_relay_that_does_not_answer)
{
	begin("ses", STAGE_POOL, CAUSE_CAP, 6); /* as long as the reply, or a little longer */
	clock_fake_advance(TICK + 50 * MS);
	begin("ses", STAGE_REPLY, CAUSE_ANSWER, 1);
	clock_fake_advance(30 * SECOND);
	ck_assert_uint_eq(lines_count(), 1);
	ck_assert_ptr_nonnull(strstr(lines_get(0), "stage=reply"));
	ck_assert_ptr_nonnull(strstr(lines_get(0), "waiting=7")); /* who waits behind it is held up by the same */
	ck_assert_uint_eq(view(0)->waiting, 7);
}
END_TEST

START_TEST(a_set_up_that_mail_waits_for)
{
	begin("ses", STAGE_POOL, CAUSE_SETUP, 2);
	clock_fake_advance(60 * MS); /* DNS and TCP */
	begin("ses", STAGE_BANNER, CAUSE_ANSWER, 0);
	clock_fake_advance(20 * SECOND);
	ck_assert_uint_eq(lines_count(), 1);
	ck_assert_ptr_nonnull(strstr(lines_get(0), "stage=banner"));
	ck_assert_ptr_nonnull(strstr(lines_get(0), "waiting=2"));
}
END_TEST

START_TEST(a_set_up_that_nobody_waits_for)
{
	begin("ses", STAGE_BANNER, CAUSE_ANSWER, 0);
	begin("ses", STAGE_REPLY, CAUSE_ANSWER, 1)->since += 100 * SECOND;
	nothing_is_told_for(20 * SECOND);
}
END_TEST

START_TEST(a_full_pool_whose_relay_answers_in_time)
{
	begin("ses", STAGE_POOL, CAUSE_CAP, 6);
	struct wait *wait = begin("ses", STAGE_REPLY, CAUSE_ANSWER, 1);
	for (unsigned i = 0; i < 6; i++) {
		clock_fake_advance(SECOND);
		wait->since = clock_now();
		outcome("ses", STAGE_REPLY, SECOND);
	}
	ck_assert_uint_eq(lines_count(), 1);
	ck_assert_ptr_nonnull(strstr(lines_get(0), "stage=pool, holder=relaypool, age=5.0"));
	ck_assert_ptr_nonnull(strstr(lines_get(0), "waiting=6, cause=cap"));
}
END_TEST

/* The slowness of a reply that is below its limit excuses the pool for a moment only. */
START_TEST(a_full_pool_is_told_soon)
{
	struct wait *reply = begin("ses", STAGE_REPLY, CAUSE_ANSWER, 1);
	begin("ses", STAGE_POOL, CAUSE_CAP, 6);
	for (unsigned i = 0; i < 2; i++) {
		clock_fake_advance(4900 * MS);
		reply->since = clock_now();
		outcome("ses", STAGE_REPLY, 4900 * MS);
	}
	ck_assert_uint_eq(lines_with("stage=pool"), 1);
	ck_assert_uint_eq(lines_count(), 1);
}
END_TEST

static const struct {
	enum cause cause;
	const char *holder;
} told[] = {
	{CAUSE_RATE, "relaypool"}, {CAUSE_HELD, "relaypool"}, {CAUSE_ACCOUNT, "relaypool"},
	{CAUSE_THROTTLE, "relay"}, {CAUSE_BACKOFF, "relay"},
};

START_TEST(what_the_pool_waits_for_besides_its_relay)
{
	char text[64];
	begin("ses", STAGE_POOL, told[_i].cause, 1);
	begin("ses", STAGE_REPLY, CAUSE_ANSWER, 1);
	clock_fake_advance(10 * SECOND);
	snprintf(text, sizeof text, "stage=pool, holder=%s", told[_i].holder);
	ck_assert_msg(lines_with(text) == 1, "%s", lines_get(0));
	ck_assert_uint_eq(lines_with("stage=reply"), 1);
}
END_TEST

/* Each connection carries one message: what the first in the pool waits for changes all the time. */
START_TEST(a_full_pool_is_one_stall_whatever_makes_it_full)
{
	static const enum cause causes[] = {CAUSE_SETUP, CAUSE_CAP, CAUSE_SETUP, CAUSE_SLOT, CAUSE_TURN, CAUSE_CAP};
	struct wait *wait = begin("ses", STAGE_POOL, CAUSE_CAP, 3);
	for (unsigned i = 0; i < 60; i++) {
		wait->cause = causes[i % 6];
		clock_fake_advance(SECOND);
	}
	ck_assert_uint_eq(lines_count(), 1);
	ck_assert_int_eq(view(0)->cause, CAUSE_CAP);
	wait->cause = CAUSE_RATE;
	clock_fake_advance(SECOND);
	ck_assert_uint_eq(lines_count(), 2);
	ck_assert_ptr_nonnull(strstr(lines_get(1), "cause=rate"));
	clock_fake_advance(10 * SECOND);
	ck_assert_uint_eq(lines_with("event=end"), 1);
	ck_assert_uint_eq(open_stalls(), 1);
}
END_TEST

START_TEST(an_attempt_between_two_back_offs_is_no_other_stall)
{
	struct wait *wait = begin("ses", STAGE_POOL, CAUSE_BACKOFF, 3);
	for (unsigned i = 0; i < 20; i++) {
		clock_fake_advance(6 * SECOND);
		wait->cause = CAUSE_SETUP;
		clock_fake_advance(SECOND);
		wait->cause = CAUSE_BACKOFF;
	}
	ck_assert_uint_eq(lines_count(), 1);
	ck_assert_int_eq(view(0)->cause, CAUSE_BACKOFF);
	ck_assert_uint_eq(stall_count(STAGE_POOL, HOLDER_RELAY), 1);
}
END_TEST

/* ---- the MTA's queue ---- */

/* The door's ids have been seen to come. */
static void ids_come(void)
{
	fake_door_note("SEEN", 1, 1, true);
	arrived();
	clock_fake_advance(1);
}

START_TEST(a_queue_manager_that_brings_nothing)
{
	ids_come();
	fake_door_note("Q7", 1, 1, true);
	fake_door_note("Q8", 1, 1, true);
	nothing_is_told_for(30 * SECOND - 1);
	clock_fake_advance(TICK + 1);
	ck_assert_uint_eq(lines_count(), 1);
	ck_assert_ptr_nonnull(strstr(lines_get(0), "relay=-, stage=queue, holder=mta, age=30."));
	ck_assert_ptr_nonnull(strstr(lines_get(0), "waiting=2, cause=manager"));
	ck_assert_str_eq(view(0)->queue_id, "Q7");
}
END_TEST

START_TEST(a_queue_manager_that_brings_something)
{
	ids_come();
	fake_door_note("Q7", 1, 1, true);
	for (unsigned i = 0; i < 30; i++) {
		arrived();
		clock_fake_advance(4 * SECOND);
	}
	ck_assert_uint_eq(lines_count(), 0);
}
END_TEST

START_TEST(too_few_processes)
{
	ids_come();
	fake_door_note("Q7", 1, 1, true);
	session_count = 2;
	struct wait *one = begin("ses", STAGE_REPLY, CAUSE_ANSWER, 1),
		    *other = begin("ses", STAGE_REPLY, CAUSE_ANSWER, 1);
	for (unsigned i = 0; i < 31; i++) {
		arrived();
		one->since = other->since = clock_now();
		outcome("ses", STAGE_REPLY, SECOND);
		clock_fake_advance(SECOND);
	}
	ck_assert_uint_eq(lines_count(), 1);
	ck_assert_ptr_nonnull(strstr(lines_get(0), "stage=queue, holder=mta, age=30."));
	ck_assert_ptr_nonnull(strstr(lines_get(0), "waiting=1, cause=processes"));
}
END_TEST

START_TEST(a_queue_behind_a_relay_that_does_not_answer)
{
	ids_come();
	fake_door_note("Q7", 1, 1, true);
	session_count = 1;
	begin("ses", STAGE_REPLY, CAUSE_ANSWER, 1);
	clock_fake_advance(120 * SECOND);
	ck_assert_uint_eq(lines_count(), 1);
	ck_assert_ptr_nonnull(strstr(lines_get(0), "stage=reply"));
}
END_TEST

START_TEST(a_queue_behind_a_full_pool)
{
	fake_door_note("Q7", 1, 1, true);
	session_count = 2;
	struct wait *wait = begin("ses", STAGE_REPLY, CAUSE_ANSWER, 1);
	begin("ses", STAGE_POOL, CAUSE_CAP, 1);
	for (unsigned i = 0; i < 60; i++) {
		wait->since = clock_now();
		outcome("ses", STAGE_REPLY, SECOND);
		clock_fake_advance(SECOND);
	}
	ck_assert_uint_eq(lines_count(), 1);
	ck_assert_ptr_nonnull(strstr(lines_get(0), "stage=pool"));
}
END_TEST

START_TEST(what_waits_at_the_door)
{
	const struct wait wait = {.relay = "-",
				  .stage = STAGE_CLIENT,
				  .cause = CAUSE_CLIENT,
				  .since = clock_now(),
				  .messages = 1,
				  .queue_id = ""};
	fake_door_wait(&wait);
	nothing_is_told_for(60 * SECOND - 1);
	clock_fake_advance(TICK + 1);
	ck_assert_ptr_nonnull(strstr(lines_get(0), "relay=-, stage=client, holder=client"));
	ck_assert_str_eq(view(0)->queue_id, "");
}
END_TEST

/* ---- progress ---- */

/* No step is over its limit, for they begin again and again; but nothing comes to its end. */
static void run_in_circles(enum stage first, enum stage second, unsigned seconds)
{
	struct wait *wait = begin("ses", first, CAUSE_ANSWER, 1);
	for (unsigned i = 0; i < seconds; i++) {
		wait->stage = i % 8 < 4 ? first : second;
		wait->since = clock_now();
		clock_fake_advance(SECOND);
	}
}

START_TEST(nothing_comes_to_its_end)
{
	run_in_circles(STAGE_MAIL, STAGE_RCPT, 120);
	ck_assert_uint_eq(lines_count(), 1);
	ck_assert_ptr_nonnull(strstr(lines_get(0), "relay=ses, "));
	ck_assert_ptr_nonnull(strstr(lines_get(0), "age=20."));
	ck_assert_ptr_nonnull(strstr(lines_get(0), "waiting=1, cause=progress"));
	ck_assert_uint_eq(open_stalls(), 1);
	outcome("ses", STAGE_REPLY, SECOND);
	end_all();
	run_in_circles(STAGE_MAIL, STAGE_RCPT, 12);
	ck_assert_uint_eq(lines_with("event=end"), 1);
	ck_assert_uint_eq(lines_with("event=begin"), 1);
}
END_TEST

START_TEST(nothing_comes_to_its_end_and_mail_waits)
{
	begin("ses", STAGE_POOL, CAUSE_SETUP, 3)->since += 1000 * SECOND; /* not over its own limit */
	run_in_circles(STAGE_MAIL, STAGE_RCPT, 60);
	ck_assert_uint_eq(lines_count(), 1);
	ck_assert_ptr_nonnull(strstr(lines_get(0), "waiting=4, cause=progress"));
	ck_assert_uint_eq(view(0)->waiting, 4);
}
END_TEST

START_TEST(a_large_body_that_gets_on_is_progress)
{
	bodies_get_on = true;
	begin("ses", STAGE_BODY, CAUSE_PATH, 1);
	nothing_is_told_for(300 * SECOND);
	bodies_get_on = false;
	clock_fake_advance(6 * SECOND);
	ck_assert_uint_eq(lines_count(), 1);
	ck_assert_ptr_nonnull(strstr(lines_get(0), "stage=body, holder=network, age=5."));
}
END_TEST

START_TEST(a_quiet_relay_makes_progress)
{
	nothing_is_told_for(3600 * SECOND);
	run_in_circles(STAGE_MAIL, STAGE_RCPT, 10);
	end_all();
	clock_fake_advance(SECOND);
	run_in_circles(STAGE_MAIL, STAGE_RCPT, 18); /* the time begins anew */
	ck_assert_uint_eq(lines_count(), 0);
}
END_TEST

START_TEST(hundreds_of_relays)
{
	char name[16];
	for (unsigned i = 0; i < 200; i++) {
		snprintf(name, sizeof name, "relay%u", i);
		begin(name, STAGE_POOL, CAUSE_SETUP, 1);
		begin(name, STAGE_CONNECT, CAUSE_CONNECT, 0);
	}
	clock_fake_advance(4 * SECOND);
	ck_assert_uint_eq(open_stalls(), 200);
	ck_assert_uint_eq(lines_with("stage=connect"), 200);
	ck_assert_uint_eq(lines_with("relay=relay199, "), 1);
}
END_TEST

/* ---- our own delay ---- */

/* Nothing of ours runs for so long: real time, for the scripted clock leaves out no timer. None has passed before. */
static void block(usec_t real)
{
	usleep((useconds_t)real);
	clock_fake_stop();
	clock_fake_start();
	clock_fire_due();
}

static void learn(const char *relay, enum stage stage, usec_t spent)
{
	for (unsigned i = 0; i < 20; i++)
		latency_note(relay, stage, spent);
}

START_TEST(a_loop_that_was_blocked_is_told)
{
	begin("ses", STAGE_REPLY, CAUSE_ANSWER, 1)->since -= 4500 * MS;
	block(1400 * MS);
	ck_assert_uint_eq(lines_count(), 1); /* and not that the relay is slow, for we have not listened */
	ck_assert_ptr_nonnull(strstr(lines_get(0), "relay=-, stage=-, holder=relaypool, age=1."));
	ck_assert_ptr_nonnull(strstr(lines_get(0), "limit=1.0, waiting=0, cause=loop"));
	end_all();
	clock_fake_advance(2 * SECOND);
	ck_assert_uint_eq(lines_count(), 2);
	ck_assert_ptr_nonnull(strstr(lines_get(1), "event=end, id=1, relay=-, stage=-, holder=relaypool, age=1."));
	ck_assert_uint_eq(stall_count(STAGE_COUNT, HOLDER_RELAYPOOL), 1);
}
END_TEST

START_TEST(a_stall_does_not_end_because_we_did_not_look)
{
	learn("ses", STAGE_REPLY, 10 * MS);
	begin("ses", STAGE_REPLY, CAUSE_ANSWER, 1)->since -= 10 * SECOND;
	clock_fake_advance(TICK);
	ck_assert_uint_eq(open_stalls(), 1);
	block(2800 * MS);
	ck_assert_uint_eq(open_stalls(), 2);
	clock_fake_advance(10 * SECOND);
	ck_assert_uint_eq(lines_with("stage=reply"), 1);
	ck_assert_uint_eq(open_stalls(), 1);
}
END_TEST

/* ---- limits ---- */

START_TEST(a_limit_is_learned)
{
	ck_assert_int_eq(stall_limit("ses", STAGE_REPLY), 5 * SECOND);
	learn("ses", STAGE_REPLY, 2 * SECOND);
	ck_assert_int_eq(stall_limit("ses", STAGE_REPLY), 8 * SECOND);
	learn("zoho", STAGE_REPLY, 20 * MS);
	ck_assert_int_eq(stall_limit("zoho", STAGE_REPLY), SECOND);
	ck_assert_int_eq(stall_limit("zoho", STAGE_MAIL), 5 * SECOND);
	begin("zoho", STAGE_REPLY, CAUSE_ANSWER, 1);
	begin("ses", STAGE_REPLY, CAUSE_ANSWER, 1);
	clock_fake_advance(7 * SECOND);
	ck_assert_uint_eq(lines_count(), 1);
	ck_assert_ptr_nonnull(strstr(lines_get(0), "relay=zoho, stage=reply, holder=relay, age=1."));
	clock_fake_advance(2 * SECOND);
	ck_assert_uint_eq(lines_count(), 2);
	ck_assert_ptr_nonnull(strstr(lines_get(1), "relay=ses, stage=reply, holder=relay, age=8."));
}
END_TEST

/* Each message waits a little longer than the one before it: that is not what is usual. */
START_TEST(a_pool_that_falls_behind_is_told_until_it_has_caught_up)
{
	learn("ses", STAGE_POOL, 10 * MS);
	struct wait *wait = begin("ses", STAGE_POOL, CAUSE_CAP, 600);
	for (unsigned i = 1; i <= 300; i++) {
		wait->since = clock_now() - i * SECOND;
		outcome("ses", STAGE_POOL, i * SECOND);
		clock_fake_advance(SECOND);
	}
	ck_assert_uint_eq(lines_count(), 1);
	ck_assert_uint_eq(open_stalls(), 1);
	end_all();
	clock_fake_advance(6 * SECOND);
	ck_assert_uint_eq(lines_with("event=end"), 1);
}
END_TEST

START_TEST(a_relay_that_becomes_slower_step_by_step_is_told)
{
	learn("ses", STAGE_REPLY, 200 * MS);
	for (usec_t spent = 200 * MS; spent < 60 * SECOND; spent += spent / 2)
		for (unsigned i = 0; i < 3; i++) {
			begin("ses", STAGE_REPLY, CAUSE_ANSWER, 1);
			clock_fake_advance(spent);
			outcome("ses", STAGE_REPLY, spent);
			end_all();
		}
	ck_assert_uint_eq(lines_count(), 1);
	ck_assert_ptr_nonnull(strstr(lines_get(0), "age=1."));
}
END_TEST

/* What is learned meanwhile is for later ones. */
START_TEST(what_is_learned_does_not_end_a_stall)
{
	for (unsigned i = 0; i < 40; i++) {
		begin("ses", STAGE_REPLY, CAUSE_ANSWER, 1);
		clock_fake_advance(9 * SECOND);
		outcome("ses", STAGE_REPLY, 9 * SECOND);
		end_all();
	}
	ck_assert_int_eq(stall_limit("ses", STAGE_REPLY), 36 * SECOND);
	ck_assert_uint_eq(lines_count(), 1);
	ck_assert_uint_eq(open_stalls(), 1);
	clock_fake_advance(60 * SECOND);
	begin("ses", STAGE_REPLY, CAUSE_ANSWER, 1);
	clock_fake_advance(9 * SECOND);
	ck_assert_uint_eq(lines_with("event=begin"), 1);
}
END_TEST

START_TEST(every_stage_has_a_limit)
{
	for (enum stage stage = 0; stage <= STAGE_COUNT; stage++) {
		ck_assert_int_ge(stall_limit("ses", stage), SECOND);
		ck_assert_int_le(stall_limit("ses", stage), 60 * SECOND);
	}
}
END_TEST

static char conf_path[] = "/tmp/check_stall.XXXXXX";

static struct conf *conf_of(const char *top, const char *relay)
{
	char error[CONF_ERROR_SIZE];
	FILE *file = fopen(conf_path, "w");
	ck_assert_ptr_nonnull(file);
	fprintf(file,
		"milter = \"unix:/nonexistent/m\"\nlmtp = \"unix:/nonexistent/l\"\nhostname = \"a.example\"\n%s\n"
		"relay \"ses\" { host = \"ses.example\"\n tls = \"none\"\n %s\n }\n"
		"relay \"zoho\" { host = \"zoho.example\"\n tls = \"none\"\n }\n"
		"route \"default\" { relays = { \"ses\" } }\n",
		top, relay);
	fclose(file);
	struct conf *conf = conf_load(conf_path, error);
	ck_assert_msg(conf != NULL, "%s", error);
	return conf;
}

static void configure(const char *top, const char *relay)
{
	struct conf *conf = conf_of(top, relay);
	stall_configure(conf);
	conf_unref(&conf);
}

START_TEST(a_limit_is_configured)
{
	int fd = mkstemp(conf_path);
	ck_assert_int_ge(fd, 0);
	close(fd);
	configure("stall-limits = { \"reply=10\", \"queue=60\" }", "stall-limits = { \"reply=2.5\" }");
	learn("zoho", STAGE_REPLY, 20 * MS);
	ck_assert_int_eq(stall_limit("ses", STAGE_REPLY), 2500 * MS);
	ck_assert_int_eq(stall_limit("zoho", STAGE_REPLY), 10 * SECOND);
	ck_assert_int_eq(stall_limit("-", STAGE_QUEUE), 60 * SECOND);
	ck_assert_int_eq(stall_limit("gone", STAGE_REPLY), 10 * SECOND);
	ck_assert_int_eq(stall_limit("ses", STAGE_MAIL), 5 * SECOND);
	begin("ses", STAGE_REPLY, CAUSE_ANSWER, 1);
	clock_fake_advance(3 * SECOND);
	ck_assert_uint_eq(lines_count(), 1);
	configure("", "stall-limits = { \"mail=300\" }"); /* a reload */
	ck_assert_int_eq(stall_limit("ses", STAGE_REPLY), 5 * SECOND);
	ck_assert_int_eq(stall_limit("zoho", STAGE_REPLY), SECOND);
	ck_assert_int_eq(stall_limit("ses", STAGE_MAIL), 300 * SECOND);
	clock_fake_advance(30 * SECOND);
	ck_assert_uint_eq(lines_with("event=begin"), 2 - (lines_with("event=end") == 0));
	stall_configure(NULL);
	ck_assert_int_eq(stall_limit("ses", STAGE_MAIL), 5 * SECOND);
	unlink(conf_path);
}
END_TEST

START_TEST(a_stall_counts_each_message_once)
{
	begin("ses", STAGE_REPLY, CAUSE_ANSWER, 3);
	clock_fake_advance(8 * SECOND);
	end_all();
	for (unsigned i = 0; i < 3; i++)
		outcome("ses", STAGE_REPLY, 8 * SECOND);
	outcome("ses", STAGE_REPLY, SECOND);       /* not held up */
	outcome("zoho", STAGE_REPLY, 80 * SECOND); /* elsewhere */
	clock_fake_advance(8 * SECOND);
	ck_assert_uint_eq(view(0)->messages, 3);
}
END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_test(tcase, it_begins_within_a_tick_and_ends_once);
	tcase_add_test(tcase, it_began_when_the_wait_began);
	tcase_add_test(tcase, a_hundred_connections_are_one_stall);
	tcase_add_test(tcase, what_has_different_causes_is_different_stalls);
	tcase_add_test(tcase, two_relays_apart);
	tcase_add_test(tcase, what_flickers_is_one_stall);
	tcase_add_test(tcase, stopped_it_ends_what_is_open);
	tcase_add_test(tcase, the_past_is_bounded);
	tcase_add_test(tcase, open_ones_come_first);
	tcase_add_test(tcase, a_stall_counts_each_message_once);
	tcase_add_test(tcase, a_full_pool_behind_a_relay_that_does_not_answer);
	tcase_add_test(tcase, a_set_up_that_mail_waits_for);
	tcase_add_test(tcase, a_set_up_that_nobody_waits_for);
	tcase_add_test(tcase, a_full_pool_whose_relay_answers_in_time);
	tcase_add_test(tcase, a_full_pool_is_told_soon);
	tcase_add_loop_test(tcase, what_the_pool_waits_for_besides_its_relay, 0, (int)(sizeof told / sizeof told[0]));
	tcase_add_test(tcase, a_full_pool_is_one_stall_whatever_makes_it_full);
	tcase_add_test(tcase, an_attempt_between_two_back_offs_is_no_other_stall);
	tcase_add_test(tcase, a_queue_manager_that_brings_nothing);
	tcase_add_test(tcase, a_queue_manager_that_brings_something);
	tcase_add_test(tcase, too_few_processes);
	tcase_add_test(tcase, a_queue_behind_a_relay_that_does_not_answer);
	tcase_add_test(tcase, a_queue_behind_a_full_pool);
	tcase_add_test(tcase, what_waits_at_the_door);
	tcase_add_test(tcase, nothing_comes_to_its_end);
	tcase_add_test(tcase, nothing_comes_to_its_end_and_mail_waits);
	tcase_add_test(tcase, a_large_body_that_gets_on_is_progress);
	tcase_add_test(tcase, a_quiet_relay_makes_progress);
	tcase_add_test(tcase, hundreds_of_relays);
	tcase_add_test(tcase, a_loop_that_was_blocked_is_told);
	tcase_add_test(tcase, a_stall_does_not_end_because_we_did_not_look);
	tcase_add_test(tcase, a_limit_is_learned);
	tcase_add_test(tcase, a_pool_that_falls_behind_is_told_until_it_has_caught_up);
	tcase_add_test(tcase, a_relay_that_becomes_slower_step_by_step_is_told);
	tcase_add_test(tcase, what_is_learned_does_not_end_a_stall);
	tcase_add_test(tcase, every_stage_has_a_limit);
	tcase_add_test(tcase, a_limit_is_configured);
}

Suite *stall_suite(void)
{
	Suite *suite = suite_create("stall");
	TCase *tcase = tcase_create("stall");
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_set_timeout(tcase, 20);
	add_tests(tcase);
	suite_add_tcase(suite, tcase);
	return suite;
}
