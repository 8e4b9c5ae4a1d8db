/*
 * Unit tests of observe/door and of the judgement behind it. What the kernel would tell of a connection is what a test
 * says (--wrap), but for those with a real connection; time is the fake clock's.
 */
#include <config.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/net.h"
#include "check_observe.h"
#include "door_private.h"
#include "turn.h"

#define MSEC USEC_PER_MSEC
#define COUNT(array) ((int)(sizeof(array) / sizeof *(array)))

/* ---- the kernel's part ---- */

static bool real, gone, no_descriptors;
static struct net_turn told;
static atomic_uint questions;

enum net_answer __real_net_tcp_turn(const struct sockaddr *local, const struct sockaddr *peer, struct net_turn *out);
enum net_answer __wrap_net_tcp_turn(const struct sockaddr *local, const struct sockaddr *peer, struct net_turn *out);
enum net_answer __wrap_net_tcp_turn(const struct sockaddr *local, const struct sockaddr *peer, struct net_turn *out)
{
	atomic_fetch_add(&questions, 1);
	if (real)
		return __real_net_tcp_turn(local, peer, out);
	if (gone || no_descriptors)
		return gone ? NET_NO_CONNECTION : NET_NOT_ASKED;
	*out = told;
	return NET_TOLD;
}

/* Ages in milliseconds. What is younger than the last is a segment more. */
static void tell(unsigned unread, int sent, int received)
{
	static usec_t sent_at, received_at;
	told.unread = unread;
	told.sent = sent * MSEC;
	told.received = received * MSEC;
	told.data_sent += clock_now() - told.sent > sent_at;
	told.data_received += clock_now() - told.received > received_at;
	sent_at = clock_now() - told.sent;
	received_at = clock_now() - told.received;
}

static void setup(void)
{
	clock_fake_start();
	tell(0, 0, 0);
}

static void teardown(void)
{
	clock_fake_stop();
}

static void pass(int msec)
{
	clock_fake_advance(msec * MSEC);
}

/* ---- the judgement ---- */

#define ANY TURN_UNKNOWN

/* Ages in milliseconds; what came, was answered and was acknowledged by itself since the step, and its turn. */
static const struct {
	unsigned unread;
	int sent, received;
	unsigned came, answers, acknowledgements;
	enum turn step;
	bool in_body;
	enum turn turn;
} judgements[] = {
	/* what is unread is the MTA's, whatever else */
	{6, 900, 0, 1, 0, 0, ANY, false, TURN_MTA},
	{6, 0, 900, 1, 1, 0, ANY, false, TURN_MTA},
	{6, 900, 0, 9, 1, 0, ANY, true, TURN_MTA},
	/* who spoke last waits */
	{0, 900, 904, 1, 1, 0, ANY, false, TURN_CLIENT},
	{0, 904, 900, 1, 1, 0, ANY, false, TURN_UNANSWERED},
	{0, 904, 900, 1, 0, 0, TURN_CLIENT, false, TURN_UNANSWERED},
	/* … but an MTA that owed an answer, and has sent nothing since, owes it still, whatever came */
	{0, 904, 900, 0, 0, 0, TURN_MTA, false, TURN_MTA},
	{0, 904, 100, 2, 0, 1, TURN_MTA, false, TURN_MTA},
	{0, 900, 904, 0, 0, 0, TURN_MTA, false, TURN_MTA},
	{0, 904, 100, 1, 1, 1, TURN_MTA, false, TURN_UNANSWERED},
	/* in the body the client speaks without answers; its end looks like a pause */
	{0, 900, 904, 0, 1, 0, ANY, true, TURN_CLIENT},
	{0, 9000, 100, 9, 1, 0, ANY, true, TURN_CLIENT},
	{0, 9000, 499, 9, 1, 0, ANY, true, TURN_CLIENT},
	{0, 9000, 500, 9, 1, 0, ANY, true, TURN_UNKNOWN},
	{0, 900, 900, 0, 1, 0, ANY, true, TURN_CLIENT},
	{0, 900, 900, 1, 1, 1, ANY, true, TURN_UNKNOWN},
	/* within one tick: nothing was answered */
	{0, 900, 900, 0, 0, 0, TURN_MTA, false, TURN_MTA},
	{0, 900, 900, 0, 0, 0, TURN_CLIENT, false, TURN_CLIENT},
	{0, 900, 900, 0, 0, 0, ANY, false, TURN_UNKNOWN},
	{0, 900, 900, 0, 0, 1, ANY, false, TURN_UNANSWERED},
	{0, 900, 900, 1, 0, 1, ANY, false, TURN_UNANSWERED},
	/* … nothing came since the answer */
	{0, 900, 900, 0, 1, 0, ANY, false, TURN_CLIENT},
	/* … what came was acknowledged with an answer, or not yet at all */
	{0, 900, 900, 1, 1, 0, ANY, false, TURN_CLIENT},
	{0, 100, 100, 1, 1, 0, ANY, false, TURN_UNKNOWN},
	/* … or by itself */
	{0, 900, 900, 1, 1, 1, ANY, false, TURN_UNANSWERED},
	{0, 900, 900, 1, 1, 1, TURN_MTA, false, TURN_UNANSWERED},
	{0, 900, 900, 1, 1, 1, TURN_UNANSWERED, false, TURN_UNANSWERED},
	{0, 900, 900, 1, 1, 1, TURN_CLIENT, false, TURN_CLIENT},
	{0, 900, 900, 2, 1, 1, TURN_CLIENT, false, TURN_UNANSWERED},
	{0, 900, 900, 1, 2, 1, TURN_MTA, false, TURN_CLIENT},
	{0, 900, 900, 2, 2, 2, TURN_MTA, false, TURN_UNANSWERED},
	{0, 900, 900, 2, 2, 1, ANY, false, TURN_UNKNOWN},
};

START_TEST(who_has_the_word_is_judged)
{
	const struct turn_step step = {.told = {.data_sent = UINT32_MAX, .data_received = 7, .acknowledgements = 3},
				       .turn = judgements[_i].step};
	const struct net_turn now = {.unread = judgements[_i].unread,
				     .sent = judgements[_i].sent * MSEC,
				     .received = judgements[_i].received * MSEC,
				     .data_sent = UINT32_MAX + judgements[_i].answers,
				     .data_received = 7 + judgements[_i].came,
				     .acknowledgements = 3 + judgements[_i].acknowledgements};
	ck_assert_int_eq(turn_judge(&now, &step, judgements[_i].in_body), judgements[_i].turn);
}
END_TEST

START_TEST(without_anything_to_compare_a_tie_is_not_judged)
{
	const struct net_turn now = {.sent = 900 * MSEC, .received = 900 * MSEC, .data_sent = 1, .data_received = 1};
	ck_assert_int_eq(turn_judge(&now, NULL, false), TURN_UNKNOWN);
	ck_assert_int_eq(turn_judge(&now, NULL, true), TURN_UNKNOWN);
}
END_TEST

/* At the very beginning only as many answers as questions tell: TLS makes the answers more, never the questions. */
START_TEST(at_the_beginning_a_tie_is_judged_with_care)
{
	const struct turn_step step = {.turn = TURN_UNKNOWN};
	struct net_turn now = {
		.sent = 900 * MSEC, .received = 900 * MSEC, .data_sent = 3, .data_received = 3, .acknowledgements = 2};
	ck_assert_int_eq(turn_judge(&now, &step, false), TURN_UNANSWERED);
	now.data_sent = 4;
	ck_assert_int_eq(turn_judge(&now, &step, false), TURN_UNKNOWN);
}
END_TEST

/* ---- counting ---- */

/* An interval of a second, in milliseconds, up to a callback. */
static const struct {
	int sent, received, came, answers;
	enum turn before;
	int client, mta, unknown;
} steps[] = {
	{2000, 0, 1, 0, TURN_CLIENT, 1000, 0, 0},
	{2000, 300, 1, 0, TURN_CLIENT, 700, 300, 0},
	{2000, 2000, 1, 0, TURN_CLIENT, 0, 1000, 0},
	{2000, 2000, 0, 0, TURN_MTA, 0, 1000, 0},
	{400, 100, 1, 1, TURN_MTA, 300, 700, 0},
	{400, 100, 2, 2, TURN_MTA, 900, 100, 0},
	{0, 900, 1, 1, TURN_MTA, 0, 1000, 0},
	/* what had not been answered was a command, as now shows */
	{2000, 1000, 0, 0, TURN_UNANSWERED, 0, 1000, 0},
	{400, 100, 1, 1, TURN_UNANSWERED, 300, 700, 0},
	/* … or half of one, perhaps */
	{0, 100, 1, 2, TURN_UNANSWERED, 400, 600, 0}, /* of which 500 when it was looked at */
	{2000, 100, 1, 0, TURN_UNANSWERED, 0, 100, 900},
	{400, 100, 2, 1, TURN_UNANSWERED, 0, 100, 900},
	{400, 100, 2, 2, TURN_UNANSWERED, 0, 100, 900},
	{100, 400, 1, 1, TURN_UNANSWERED, 0, 400, 600},
};

START_TEST(the_time_up_to_a_callback_is_divided)
{
	const struct turn_step before = {.told.received = 500 * MSEC, .turn = steps[_i].before};
	const struct net_turn now = {.sent = steps[_i].sent * MSEC,
				     .received = steps[_i].received * MSEC,
				     .data_received = (uint32_t)steps[_i].came,
				     .data_sent = (uint32_t)steps[_i].answers};
	struct turn_times times = {0};
	turn_count_step(&times, 5000 * MSEC, 6000 * MSEC, &now, &before);
	ck_assert_int_eq(times.client, steps[_i].client * MSEC);
	ck_assert_int_eq(times.mta, steps[_i].mta * MSEC);
	ck_assert_int_eq(times.unknown, steps[_i].unknown * MSEC);
}
END_TEST

START_TEST(short_times_are_the_clients_and_without_the_kernel_unknown)
{
	const struct net_turn now = {.sent = 2000 * MSEC, .received = 2000 * MSEC};
	struct turn_times times = {0};
	turn_count_step(&times, 0, 49 * MSEC, &now, NULL);
	ck_assert_int_eq(times.client, 49 * MSEC);
	turn_count_step(&times, 0, 10 * MSEC, NULL, NULL);
	ck_assert_int_eq(times.client + times.mta, 49 * MSEC);
	ck_assert_int_eq(times.unknown, 10 * MSEC);
}
END_TEST

/* An interval of a second up to a look. */
static const struct {
	unsigned unread;
	int sent, received;
	enum turn turn;
	bool in_body, was_unread;
	int client, mta, unknown;
} counts[] = {
	{0, 2000, 2000, TURN_MTA, false, false, 0, 1000, 0},
	{0, 2000, 400, TURN_MTA, false, false, 0, 1000, 0},
	{0, 700, 400, TURN_UNANSWERED, false, false, 600, 0, 0},
	{0, 2000, 1000, TURN_UNANSWERED, false, false, 0, 0, 0},
	{9, 2000, 400, TURN_MTA, false, false, 600, 400, 0},
	{9, 2000, 400, TURN_MTA, true, true, 0, 1000, 0},
	{0, 2000, 2004, TURN_CLIENT, false, false, 1000, 0, 0},
	{0, 300, 900, TURN_CLIENT, false, false, 400, 600, 0},
	{0, 300, 300, TURN_CLIENT, false, false, 1000, 0, 0},
	{0, 2000, 100, TURN_CLIENT, true, false, 900, 0, 0},
	{0, 2000, 600, TURN_UNKNOWN, true, false, 400, 0, 0},
	{0, 2000, 2000, TURN_UNKNOWN, true, false, 0, 0, 0},
	{0, 300, 900, TURN_CLIENT, true, false, 400, 600, 0},
	{0, 900, 900, TURN_UNKNOWN, false, false, 0, 0, 1000},
	{0, 100, 100, TURN_UNKNOWN, false, false, 0, 0, 0},
};

START_TEST(the_time_up_to_a_look_is_divided)
{
	const struct net_turn now = {
		.unread = counts[_i].unread, .sent = counts[_i].sent * MSEC, .received = counts[_i].received * MSEC};
	const struct turn_step before = {.told.unread = counts[_i].was_unread ? 1 : 0};
	struct turn_times times = {0};
	usec_t to =
		turn_count_look(&times, 5000 * MSEC, 6000 * MSEC, &now, counts[_i].turn, counts[_i].in_body, &before);
	ck_assert_int_eq(times.client, counts[_i].client * MSEC);
	ck_assert_int_eq(times.mta, counts[_i].mta * MSEC);
	ck_assert_int_eq(times.unknown, counts[_i].unknown * MSEC);
	ck_assert_int_eq(times.client + times.mta + times.unknown, to - 5000 * MSEC);
}
END_TEST

/* ---- sessions ---- */

static const struct door_macros macros = {.daemon_addr = "192.0.2.25", .daemon_port = "25"};

static struct sockaddr_storage client_at(const char *address, uint16_t port)
{
	struct sockaddr_storage client = {.ss_family = AF_INET};
	((struct sockaddr_in *)&client)->sin_port = htons(port);
	ck_assert_int_eq(inet_pton(AF_INET, address, &((struct sockaddr_in *)&client)->sin_addr), 1);
	return client;
}

static struct door *connected(void)
{
	struct sockaddr_storage client = client_at("198.51.100.1", 40000);
	struct door *door = door_enter();
	door_connected(door, (struct sockaddr *)&client, &macros);
	return door;
}

static struct {
	unsigned count, of[CAUSE_COUNT];
	struct wait last;
	char queue_id[64];
} waits;

static void take_wait(const struct wait *wait, void *arg)
{
	(void)arg;
	waits.count++;
	waits.of[wait->cause]++;
	waits.last = *wait;
	snprintf(waits.queue_id, sizeof waits.queue_id, "%s", wait->queue_id);
}

static void look(void)
{
	memset(&waits, 0, sizeof waits);
	door_each_wait(take_wait, NULL);
}

static void expect_wait(enum stage stage, enum cause cause, int since)
{
	look();
	ck_assert_uint_eq(waits.count, 1);
	ck_assert_str_eq(waits.last.relay, "-");
	ck_assert_int_eq(waits.last.stage, stage);
	ck_assert_int_eq(waits.last.cause, cause);
	ck_assert_int_eq(clock_now() - waits.last.since, since * MSEC);
	ck_assert_uint_eq(waits.last.messages, 1);
}

static struct {
	unsigned count;
	struct door_note first, last;
} notes;

static void take_note(const struct door_note *note, void *arg)
{
	(void)arg;
	if (notes.count++ == 0)
		notes.first = *note;
	notes.last = *note;
}

static unsigned long take_notes(void)
{
	memset(&notes, 0, sizeof notes);
	return door_take_notes(take_note, NULL);
}

static void expect_note(const char *queue_id, int client, int mta, int unknown)
{
	ck_assert_uint_eq(take_notes(), 0);
	ck_assert_uint_eq(notes.count, 1);
	ck_assert_str_eq(notes.last.queue_id, queue_id);
	ck_assert_int_eq(notes.last.client, client < 0 ? -1 : client * MSEC);
	ck_assert_int_eq(notes.last.mta, mta < 0 ? -1 : mta * MSEC);
	ck_assert_int_eq(notes.last.unknown, unknown * MSEC);
}

START_TEST(a_message_is_told_of_from_mail_to_its_end)
{
	struct door *door = connected();
	pass(1000);
	tell(0, 900, 1000);
	look();
	ck_assert_uint_eq(waits.count, 0);
	tell(0, 1000, 0);
	door_mail(door, true);
	expect_wait(STAGE_CLIENT, CAUSE_DOOR, 0); /* too early to ask */
	pass(300);
	tell(0, 299, 300);
	expect_wait(STAGE_CLIENT, CAUSE_CLIENT, 299);
	tell(0, 300, 0);
	door_data(door, "4fXyZ1");
	pass(100);
	tell(0, 99, 0);
	door_end(door, "4fXyZ1");
	look();
	ck_assert_uint_eq(waits.count, 0);
	pass(7);
	expect_note("4fXyZ1", 1299, 101, 0);
	ck_assert_int_eq(notes.last.ended, clock_now() - 7 * MSEC);
	ck_assert(!notes.last.outbound);
	door_leave(door);
}
END_TEST

START_TEST(a_later_message_begins_with_its_mail)
{
	struct door *door = connected();
	door_mail(door, true);
	door_end(door, "1st");
	take_notes();
	pass(60000);
	tell(0, 59000, 60000);
	look();
	ck_assert_uint_eq(waits.count, 0);
	tell(0, 59000, 0);
	door_mail(door, true);
	door_outbound(door);
	pass(1000);
	tell(0, 1000, 0);
	door_data(door, "2nd");
	door_end(door, "2nd");
	expect_note("2nd", 1000, 0, 0);
	ck_assert(notes.last.outbound);
	door_leave(door);
}
END_TEST

/* Postfix tells of MAIL only at DATA, if at all: what the MTA did meanwhile counts, the idle time before does not. */
START_TEST(a_message_told_of_late_has_the_time_that_the_mta_took)
{
	struct door *door = connected();
	door_mail(door, false);
	door_end(door, "1st");
	take_notes();
	pass(5000);
	tell(0, 4999, 5000);
	look();
	ck_assert_uint_eq(waits.count, 0);
	pass(3000);
	tell(0, 7999, 3000);
	look();
	ck_assert_uint_eq(waits.count, 0);
	tell(0, 0, 0);
	if (_i == 0)
		door_mail(door, false);
	door_data(door, "2nd");
	expect_wait(STAGE_CLIENT, CAUSE_DOOR, 0);
	door_end(door, "2nd");
	expect_note("2nd", 0, 3000, 0);
	door_leave(door);
}
END_TEST

/* Whoever connects can do that, and have the MTA not read what else it sends: no mail waits for it. */
START_TEST(without_a_message_nothing_is_told)
{
	struct door *door = connected();
	for (int i = 0; i < 2; i++) {
		pass(3000);
		tell(0, 3000, 2990);
		look();
		ck_assert_uint_eq(waits.count, 0);
		pass(3000);
		tell(6, 6000, 2000);
		look();
		ck_assert_uint_eq(waits.count, 0);
		door_mail(door, true);
		door_abort(door);
	}
	door_mail(door, true);
	door_end(door, "4fXyZ1");
	pass(1000);
	tell(0, 900, 1000);
	look();
	pass(3000);
	tell(6, 3900, 2000);
	look();
	ck_assert_uint_eq(waits.count, 0);
	door_leave(door);
}
END_TEST

/* Its disk, after the milters are done with the message. */
START_TEST(what_the_mta_does_after_the_end_is_not_the_next_messages)
{
	struct door *door = connected();
	door_data(door, "1st");
	door_end(door, "1st");
	take_notes();
	pass(3000);
	tell(0, 8000, 3000);
	expect_wait(STAGE_MTA, CAUSE_SERVER, 3000);
	tell(0, 0, 0);
	door_data(door, "2nd");
	door_end(door, "2nd");
	expect_note("2nd", 0, 0, 0);
	door_leave(door);
}
END_TEST

/*
 * "RCPT TO:<b" has been read, and nothing follows; or the whole line has, and a policy server sleeps. Only afterwards
 * it shows which: `came` with the answer that ended it.
 */
START_TEST(half_a_command_is_nobodys_until_it_shows_whose_it_was)
{
	bool half = _i == 1;
	struct door *door = connected();
	door_mail(door, true);
	pass(300);
	tell(0, 299, 298);
	expect_wait(STAGE_CLIENT, CAUSE_DOOR, 298);
	for (int i = 1; i < 10; i++) {
		pass(300);
		tell(0, 300 * (i + 1) - 1, 300 * (i + 1) - 2);
		expect_wait(STAGE_CLIENT, CAUSE_DOOR, 300 * (i + 1) - 2);
	}
	tell(0, 10, 0);
	told.data_received += half;
	door_data(door, "4fXyZ1");
	door_end(door, "4fXyZ1");
	if (half)
		expect_note("4fXyZ1", -1, -1, 2998);
	else
		expect_note("4fXyZ1", 11, 2989, 0);
	door_leave(door);
}
END_TEST

START_TEST(an_answer_seen_by_a_look_shows_that_it_was_the_mtas)
{
	struct door *door = connected();
	door_mail(door, true);
	pass(1000);
	tell(0, 999, 900);
	expect_wait(STAGE_CLIENT, CAUSE_DOOR, 900);
	pass(1000);
	tell(0, 100, 1900);
	expect_wait(STAGE_CLIENT, CAUSE_CLIENT, 100);
	tell(0, 100, 0);
	door_data(door, "4fXyZ1");
	door_end(door, "4fXyZ1");
	expect_note("4fXyZ1", 199, 1801, 0);
	door_leave(door);
}
END_TEST

START_TEST(a_slow_answer_is_the_mtas)
{
	struct door *door = connected();
	door_mail(door, true);
	pass(250);
	tell(0, 350, 250);
	expect_wait(STAGE_MTA, CAUSE_SERVER, 250);
	pass(2000);
	tell(0, 2350, 1000); /* a client that does not wait for the answer */
	expect_wait(STAGE_MTA, CAUSE_SERVER, 2250);
	pass(100);
	tell(0, 1, 0);
	door_data(door, "4fXyZ1");
	door_end(door, "4fXyZ1");
	expect_note("4fXyZ1", 1, 2349, 0);
	door_leave(door);
}
END_TEST

START_TEST(an_mta_that_does_not_read_has_the_word_since_it_was_first_seen)
{
	struct door *door = connected();
	door_mail(door, true);
	door_data(door, "4fXyZ1");
	pass(1000);
	tell(4096, 1000, 10);
	expect_wait(STAGE_MTA, CAUSE_SERVER, 10);
	ck_assert_str_eq(waits.queue_id, "4fXyZ1");
	pass(1000);
	tell(8192, 2000, 10);
	expect_wait(STAGE_MTA, CAUSE_SERVER, 1010);
	tell(0, 2000, 0);
	door_end(door, "4fXyZ1");
	expect_note("4fXyZ1", 990, 1010, 0);
	door_leave(door);
}
END_TEST

START_TEST(a_body_that_dribbles_is_the_clients_since_it_began)
{
	struct door *door = connected();
	door_mail(door, true);
	door_data(door, "4fXyZ1");
	for (int i = 1; i <= 10; i++) {
		pass(1000);
		tell(0, 1000 * i - 1, 100);
		expect_wait(STAGE_CLIENT, CAUSE_CLIENT, 1000 * i);
	}
	tell(0, 9999, 20);
	door_end(door, "4fXyZ1");
	expect_note("4fXyZ1", 9980, 20, 0);
	door_leave(door);
}
END_TEST

START_TEST(a_body_that_stands_still_is_told_at_its_end)
{
	static const int ages[] = {5000, 0};
	struct door *door = connected();
	door_mail(door, true);
	door_data(door, "4fXyZ1");
	pass(5000);
	tell(0, 5000, 4990);
	expect_wait(STAGE_CLIENT, CAUSE_DOOR, 4990);
	tell(0, 5000, ages[_i]);
	door_end(door, "4fXyZ1");
	expect_note("4fXyZ1", _i == 0 ? 10 : 5000, _i == 0 ? 4990 : 0, 0);
	door_leave(door);
}
END_TEST

START_TEST(what_nobody_can_tell_makes_the_times_of_its_message_unknown)
{
	struct door *door = connected();
	door_mail(door, false);
	pass(3000);
	tell(0, 3000, 3000);
	expect_wait(STAGE_CLIENT, CAUSE_DOOR, 3000);
	tell(0, 0, 0);
	door_data(door, "1st");
	door_end(door, "1st");
	expect_note("1st", -1, -1, 3000);
	door_mail(door, true);
	door_data(door, "2nd");
	door_end(door, "2nd");
	expect_note("2nd", 0, 0, 0);
	door_leave(door);
}
END_TEST

/* Client, its port, the macros. */
static const struct {
	const char *client;
	uint16_t port;
	struct door_macros macros;
	bool asked;
} ends[] = {
	{NULL, 0, {"192.0.2.25", "25", NULL}, false},
	{"127.0.0.1", 0, {"127.0.0.1", "25", NULL}, false}, /* by sendmail(1) */
	{"198.51.100.1", 40000, {"192.0.2.25", NULL, NULL}, false},
	{"198.51.100.1", 40000, {"192.0.2.25", "smtp", NULL}, false},
	{"198.51.100.1", 40000, {"192.0.2.25", "70000", NULL}, false},
	{"198.51.100.1", 40000, {"192.0.2.25", "", NULL}, false},
	{"198.51.100.1", 40000, {"192.0.2.25", "25", NULL}, true},
	{"198.51.100.1", 40000, {"0.0.0.0", "25", "192.0.2.25"}, true},
	{"198.51.100.1", 40000, {NULL, "25", "IPv6:2001:db8::1"}, true},
	{"198.51.100.1", 40000, {"nonsense", "25", NULL}, true},
};

START_TEST(where_the_connection_is_not_known_nobody_is_asked_and_nothing_is_told)
{
	struct sockaddr_storage client = {0};
	struct door *door = door_enter();
	if (ends[_i].client != NULL)
		client = client_at(ends[_i].client, ends[_i].port);
	door_connected(door, ends[_i].client != NULL ? (struct sockaddr *)&client : NULL, &ends[_i].macros);
	ck_assert_uint_eq(atomic_load(&questions) > 0, ends[_i].asked);
	door_mail(door, true);
	pass(1000);
	tell(0, 990, 1000);
	expect_wait(STAGE_CLIENT, ends[_i].asked ? CAUSE_CLIENT : CAUSE_DOOR, ends[_i].asked ? 990 : 1000);
	tell(0, 1000, 0);
	door_end(door, "4fXyZ1");
	if (ends[_i].asked)
		expect_note("4fXyZ1", 990, 10, 0);
	else
		expect_note("4fXyZ1", -1, -1, 1000);
	door_leave(door);
}
END_TEST

/* A proxy's client, or an MTA on another host: all of the session stays unknown. */
START_TEST(a_connection_that_the_kernel_does_not_know_is_asked_for_once)
{
	gone = true;
	struct door *door = connected();
	for (int i = 0; i < 3; i++) {
		door_mail(door, true);
		pass(1000);
		expect_wait(STAGE_CLIENT, CAUSE_DOOR, 1000);
		door_data(door, "4fXyZ1");
		door_end(door, "4fXyZ1");
		expect_note("4fXyZ1", -1, -1, 1000);
	}
	ck_assert_uint_eq(atomic_load(&questions), 1);
	door_leave(door);
}
END_TEST

/* As when relaypoold has run out of descriptors: at the connection, at a look, at a callback. */
START_TEST(a_session_of_which_the_kernel_could_not_be_asked_is_asked_for_again)
{
	no_descriptors = true;
	struct door *door = connected();
	no_descriptors = false;
	door_mail(door, true);
	pass(1000);
	tell(0, 999, 1000);
	expect_wait(STAGE_CLIENT, CAUSE_CLIENT, 999);
	no_descriptors = true;
	pass(1000);
	expect_wait(STAGE_CLIENT, CAUSE_DOOR, 2000);
	no_descriptors = false;
	tell(0, 1999, 2000);
	expect_wait(STAGE_CLIENT, CAUSE_CLIENT, 1999);
	tell(0, 1999, 0);
	door_data(door, "1st");
	door_end(door, "1st");
	expect_note("1st", 1999, 1, 0);
	no_descriptors = true;
	door_mail(door, true);
	pass(1000);
	door_data(door, "2nd");
	door_end(door, "2nd");
	expect_note("2nd", -1, -1, 1000);
	no_descriptors = false;
	tell(0, 0, 0);
	door_mail(door, true);
	pass(1000);
	tell(0, 999, 0);
	door_data(door, "3rd");
	door_end(door, "3rd");
	expect_note("3rd", 999, 1, 0);
	door_leave(door);
}
END_TEST

START_TEST(an_abort_ends_the_message_and_leaves_the_connections_time)
{
	struct door *door = connected();
	pass(40);
	door_abort(door); /* as Postfix says at EHLO */
	door_mail(door, true);
	pass(1000);
	tell(0, 999, 1000);
	door_abort(door);
	look();
	ck_assert_uint_eq(waits.count, 0);
	door_mail(door, true);
	pass(40);
	tell(0, 0, 0);
	door_end(door, "2nd");
	expect_note("2nd", 40, 0, 0);
	door_leave(door);
	door = connected();
	pass(40);
	door_abort(door);
	door_mail(door, true);
	door_end(door, "3rd");
	expect_note("3rd", 40, 0, 0);
	door_leave(door);
}
END_TEST

START_TEST(a_message_without_a_queue_id_leaves_no_note)
{
	struct door *door = connected();
	door_mail(door, true);
	door_end(door, NULL);
	take_notes();
	ck_assert_uint_eq(notes.count, 0);
	door_leave(door);
}
END_TEST

START_TEST(of_many_sessions_those_are_looked_at_that_nobody_looked_at_longest)
{
	struct door *doors[200];
	tell(0, 0, 0);
	for (int i = 0; i < COUNT(doors); i++) {
		doors[i] = connected();
		if (i % 2 == 0)
			door_mail(doors[i], true);
	}
	pass(300);
	tell(0, 290, 300);
	for (unsigned turn = 1; turn <= 3; turn++) {
		atomic_store(&questions, 0);
		pass(1);
		look();
		ck_assert_uint_eq(atomic_load(&questions), 64);
		ck_assert_uint_eq(waits.count, 100);
		ck_assert_uint_eq(waits.of[CAUSE_CLIENT], turn == 1 ? 64 : 100);
		ck_assert_uint_eq(waits.of[CAUSE_CLIENT] + waits.of[CAUSE_DOOR], 100);
	}
	for (int i = 0; i < COUNT(doors); i++)
		door_leave(doors[i]);
	look();
	ck_assert_uint_eq(waits.count, 0);
}
END_TEST

/* ---- notes ---- */

START_TEST(the_oldest_notes_are_lost_and_counted)
{
	char id[32];
	struct door *door = connected();
	for (int i = 0; i < 5000; i++) {
		snprintf(id, sizeof id, "%d", i);
		door_mail(door, true);
		door_end(door, id);
	}
	ck_assert_uint_eq(take_notes(), 904);
	ck_assert_uint_eq(notes.count, 4096);
	ck_assert_str_eq(notes.first.queue_id, "904");
	ck_assert_str_eq(notes.last.queue_id, "4999");
	ck_assert_uint_eq(take_notes(), 0);
	ck_assert_uint_eq(notes.count, 0);
	door_leave(door);
}
END_TEST

/* ---- many threads ---- */

static void *many_messages(void *arg)
{
	for (int i = 0; i < 200; i++) {
		struct door *door = connected();
		for (int j = 0; j < 5; j++) {
			door_mail(door, j % 2 == 0);
			door_outbound(door);
			door_data(door, "4fXyZ1");
			door_end(door, "4fXyZ1");
		}
		door_mail(door, true);
		door_abort(door);
		door_leave(door);
	}
	return arg;
}

static void *advance(void *arg)
{
	while (!atomic_load((atomic_bool *)arg)) {
		clock_fake_advance(300 * MSEC);
		usleep(100);
	}
	return NULL;
}

START_TEST(sessions_come_and_go_while_they_are_looked_at)
{
	pthread_t threads[8], time;
	atomic_bool over = false;
	unsigned long seen = 0;
	tell(0, 100, 101);
	ck_assert_int_eq(pthread_create(&time, NULL, advance, &over), 0);
	for (int i = 0; i < COUNT(threads); i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, many_messages, NULL), 0);
	for (int i = 0; i < 300; i++) {
		look();
		ck_assert_uint_le(waits.count, COUNT(threads));
		seen += take_notes();
		seen += notes.count;
		usleep(100);
	}
	for (int i = 0; i < COUNT(threads); i++)
		pthread_join(threads[i], NULL);
	atomic_store(&over, true);
	pthread_join(time, NULL);
	seen += take_notes();
	seen += notes.count;
	ck_assert_uint_eq(seen, COUNT(threads) * 200 * 5);
	look();
	ck_assert_uint_eq(waits.count, 0);
}
END_TEST

/* ---- a real connection ---- */

static struct sockaddr_in name_of(int fd, int (*get)(int, struct sockaddr *, socklen_t *))
{
	struct sockaddr_in name;
	socklen_t length = sizeof name;
	ck_assert_int_eq(get(fd, (struct sockaddr *)&name, &length), 0);
	return name;
}

static int get_local(int fd, struct sockaddr *name, socklen_t *length)
{
	return getsockname(fd, name, length);
}

static void say(int from, int to, const char *text)
{
	char octets[64];
	ck_assert_int_eq(write(from, text, strlen(text)), (ssize_t)strlen(text));
	ck_assert_int_eq(read(to, octets, sizeof octets), (ssize_t)strlen(text));
}

/*
 * Question and answer within one tick of the kernel's clock, then silence: of the MTA, of the client, of an MTA that has
 * not even answered MAIL, and of whom nobody knows, as half a command looks the same.
 */
START_TEST(the_kernel_tells_who_is_silent)
{
	char port[8];
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int listener = socket(AF_INET, SOCK_STREAM, 0), client = socket(AF_INET, SOCK_STREAM, 0);
	real = true;
	clock_fake_stop();
	ck_assert_int_eq(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
	ck_assert_int_eq(listen(listener, 1), 0);
	address = name_of(listener, get_local);
	ck_assert_int_eq(connect(client, (struct sockaddr *)&address, sizeof address), 0);
	int server = accept(listener, NULL, NULL);
	snprintf(port, sizeof port, "%u", ntohs(address.sin_port));
	struct sockaddr_in peer = name_of(client, get_local);
	struct door *door = door_enter();
	/* what Sendmail says of a client on its own host */
	door_connected(door, (struct sockaddr *)&peer,
		       &(struct door_macros){.daemon_addr = "0.0.0.0", .daemon_port = port});
	say(server, client, "220\r\n");
	say(client, server, "MAIL\r\n");
	door_mail(door, true);
	if (_i != 2)
		say(server, client, "250\r\n");
	if (_i == 0)
		say(client, server, "RCPT\r\n");
	else if (_i == 3)
		say(client, server, "RC");
	usleep(500 * 1000);
	look();
	ck_assert_uint_eq(waits.count, 1);
	static const enum cause causes[] = {CAUSE_DOOR, CAUSE_CLIENT, CAUSE_SERVER, CAUSE_DOOR};
	ck_assert_int_eq(waits.last.cause, causes[_i]);
	ck_assert_int_eq(waits.last.stage, _i == 2 ? STAGE_MTA : STAGE_CLIENT);
	ck_assert_int_ge(clock_now() - waits.last.since, 400 * MSEC);
	if (_i == 1)
		say(client, server, "RCPT\r\n");
	else if (_i == 3)
		say(client, server, "PT\r\n");
	say(server, client, "250\r\n");
	say(client, server, "DATA\r\n");
	door_data(door, "4fXyZ1");
	door_end(door, "4fXyZ1");
	take_notes();
	ck_assert_uint_eq(notes.count, 1);
	if (_i == 3)
		ck_assert_int_ge(notes.last.unknown, 400 * MSEC);
	else
		ck_assert_int_ge(_i == 1 ? notes.last.client : notes.last.mta, 400 * MSEC);
	ck_assert_int_eq(notes.last.unknown > 0, _i == 3);
	door_leave(door);
	close(client), close(server), close(listener);
}
END_TEST

static TCase *turn_case(void)
{
	TCase *tcase = tcase_create("turn");
	tcase_add_loop_test(tcase, who_has_the_word_is_judged, 0, COUNT(judgements));
	tcase_add_test(tcase, without_anything_to_compare_a_tie_is_not_judged);
	tcase_add_test(tcase, at_the_beginning_a_tie_is_judged_with_care);
	tcase_add_loop_test(tcase, the_time_up_to_a_callback_is_divided, 0, COUNT(steps));
	tcase_add_test(tcase, short_times_are_the_clients_and_without_the_kernel_unknown);
	tcase_add_loop_test(tcase, the_time_up_to_a_look_is_divided, 0, COUNT(counts));
	return tcase;
}

Suite *door_suite(void)
{
	Suite *suite = suite_create("door");
	TCase *tcase = tcase_create("sessions");
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_set_timeout(tcase, 60);
	tcase_add_test(tcase, a_message_is_told_of_from_mail_to_its_end);
	tcase_add_test(tcase, a_later_message_begins_with_its_mail);
	tcase_add_loop_test(tcase, a_message_told_of_late_has_the_time_that_the_mta_took, 0, 2);
	tcase_add_test(tcase, without_a_message_nothing_is_told);
	tcase_add_test(tcase, what_the_mta_does_after_the_end_is_not_the_next_messages);
	tcase_add_loop_test(tcase, half_a_command_is_nobodys_until_it_shows_whose_it_was, 0, 2);
	tcase_add_test(tcase, an_answer_seen_by_a_look_shows_that_it_was_the_mtas);
	tcase_add_test(tcase, a_slow_answer_is_the_mtas);
	tcase_add_test(tcase, an_mta_that_does_not_read_has_the_word_since_it_was_first_seen);
	tcase_add_test(tcase, a_body_that_dribbles_is_the_clients_since_it_began);
	tcase_add_loop_test(tcase, a_body_that_stands_still_is_told_at_its_end, 0, 2);
	tcase_add_test(tcase, what_nobody_can_tell_makes_the_times_of_its_message_unknown);
	tcase_add_loop_test(tcase, where_the_connection_is_not_known_nobody_is_asked_and_nothing_is_told, 0,
			    COUNT(ends));
	tcase_add_test(tcase, a_connection_that_the_kernel_does_not_know_is_asked_for_once);
	tcase_add_test(tcase, a_session_of_which_the_kernel_could_not_be_asked_is_asked_for_again);
	tcase_add_test(tcase, an_abort_ends_the_message_and_leaves_the_connections_time);
	tcase_add_test(tcase, a_message_without_a_queue_id_leaves_no_note);
	tcase_add_test(tcase, of_many_sessions_those_are_looked_at_that_nobody_looked_at_longest);
	tcase_add_test(tcase, the_oldest_notes_are_lost_and_counted);
	tcase_add_test(tcase, sessions_come_and_go_while_they_are_looked_at);
	tcase_add_loop_test(tcase, the_kernel_tells_who_is_silent, 0, 4);
	suite_add_tcase(suite, turn_case());
	suite_add_tcase(suite, tcase);
	return suite;
}
