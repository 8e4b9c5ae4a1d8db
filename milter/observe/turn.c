/*
 * Who has the word. In a dialogue it is the one who did not speak last; while the body is sent it is the client as long
 * as octets come. Called by door.c; reads no clock and asks nobody.
 */
#include <config.h>

#include "turn.h"

/* A client that sends a body is slow, not silent, while its octets come no further apart. */
#define DRIBBLE_MAX (500 * USEC_PER_MSEC)
/* By then a kernel has acknowledged what it was not given an answer to (Linux: TCP_DELACK_MAX). */
#define DELAYED_ACK_MAX (200 * USEC_PER_MSEC)
/* An interval not worth dividing: the kernel's clock ticks every 1 to 10 ms. */
#define SHORT (50 * USEC_PER_MSEC)

/*
 * Both spoke within one tick of the kernel's clock, as happens all the time with a client in the same room. The
 * segments since `step` tell who was second: an answer takes the acknowledgement of the question with it, but what has
 * no answer is acknowledged by itself. An acknowledgement by itself may also have been of something earlier; then the
 * number of questions and answers decides, if it is known who began. With one answer it began with the MTA; so it did
 * at the very beginning, where only TLS, which speaks unasked, makes answers more.
 */
static enum turn judge_tie(const struct net_turn *now, const struct turn_step *step)
{
	if (step == NULL)
		return TURN_UNKNOWN;
	uint32_t came = now->data_received - step->told.data_received, answers = now->data_sent - step->told.data_sent;
	uint32_t acknowledgements = now->acknowledgements - step->told.acknowledgements;
	if (answers == 0)
		return came > 0 || acknowledgements > 0 ? TURN_MTA : step->turn;
	if (came == 0)
		return TURN_CLIENT;
	if (acknowledgements == 0)
		return now->received >= DELAYED_ACK_MAX ? TURN_CLIENT : TURN_UNKNOWN;
	if (step->turn == TURN_CLIENT)
		return came > answers ? TURN_MTA : TURN_CLIENT;
	if (step->turn == TURN_MTA)
		return came >= answers ? TURN_MTA : TURN_CLIENT;
	return answers == 1 || (step->told.data_sent == 0 && came == answers) ? TURN_MTA : TURN_UNKNOWN;
}

/* The client has the word all along, unless the message is complete: and that cannot be seen from here. */
static enum turn judge_body(const struct net_turn *now, const struct turn_step *step)
{
	bool only_answered = step != NULL && now->data_received == step->told.data_received &&
			     now->data_sent != step->told.data_sent; /* 354, and nothing since */
	return only_answered || now->received < DRIBBLE_MAX ? TURN_CLIENT : TURN_UNKNOWN;
}

enum turn turn_judge(const struct net_turn *now, const struct turn_step *step, bool in_body)
{
	if (now->unread > 0)
		return TURN_MTA;
	if (now->sent < now->received)
		return TURN_CLIENT;
	if (in_body)
		return judge_body(now, step);
	return now->received < now->sent ? TURN_MTA : judge_tie(now, step);
}

bool turn_settled(const struct net_turn *now, enum turn turn)
{
	return turn != TURN_UNKNOWN && now->unread == 0 && now->received >= DELAYED_ACK_MAX;
}

static usec_t smaller(usec_t a, usec_t b)
{
	return a < b ? a : b;
}

static void count(struct turn_times *times, usec_t interval, usec_t mta)
{
	times->mta += mta;
	times->client += interval - mta;
}

/* How much of an interval that began with the MTA's word had passed when it gave the word away, if it did so once. */
static usec_t until_answer(usec_t interval, const struct net_turn *now, const struct turn_step *before)
{
	if (before == NULL || before->turn != TURN_MTA || now->data_sent - before->told.data_sent > 1)
		return 0;
	return now->data_sent == before->told.data_sent ? interval : interval - smaller(interval, now->sent);
}

void turn_count_step(struct turn_times *times, usec_t from, usec_t to, const struct net_turn *now,
		     const struct turn_step *before)
{
	usec_t interval = to - from;
	if (now == NULL) {
		times->unknown += interval;
	} else if (interval < SHORT) {
		count(times, interval, 0);
	} else {
		usec_t mta = smaller(interval, now->received) + until_answer(interval, now, before);
		count(times, interval, smaller(interval, mta));
	}
}

/* The MTA's part of an interval at whose end it has the word; what came before it spoke was most likely its own. */
static usec_t part_of_mta(usec_t interval, const struct net_turn *now, bool was_unread)
{
	if (now->unread > 0 && was_unread)
		return interval;
	usec_t part = smaller(interval, now->received);
	return now->unread == 0 && now->sent >= now->received ? part + interval - smaller(interval, now->sent) : part;
}

usec_t turn_count_look(struct turn_times *times, usec_t from, usec_t to, const struct net_turn *now, enum turn turn,
		       bool in_body, bool was_unread)
{
	usec_t interval = to - from, since_received = smaller(interval, now->received);
	if (turn == TURN_MTA) {
		count(times, interval, part_of_mta(interval, now, was_unread));
		return to;
	}
	/* What came last may have been the end of the message: the callback there will tell. */
	if (in_body && now->sent >= now->received) {
		times->client += interval - since_received;
		return to - since_received;
	}
	if (turn == TURN_CLIENT) {
		/* Before its last answer the MTA was at work on what had come last before that. */
		usec_t work = since_received - smaller(interval, now->sent);
		count(times, interval, work > 0 ? work : 0);
		return to;
	}
	if (now->received < DELAYED_ACK_MAX)
		return from; /* acknowledgements may still be on their way */
	times->unknown += interval;
	return to;
}
