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
 * at the very beginning, where only TLS, which speaks unasked, makes answers more. Never the MTA: that it owes an answer
 * has been found before.
 */
static enum turn judge_tie(const struct net_turn *now, const struct turn_step *step)
{
	if (step == NULL)
		return TURN_UNKNOWN;
	uint32_t came = now->data_received - step->told.data_received, answers = now->data_sent - step->told.data_sent;
	uint32_t acknowledgements = now->acknowledgements - step->told.acknowledgements;
	if (answers == 0)
		return came > 0 || acknowledgements > 0 ? TURN_UNANSWERED : step->turn;
	if (came == 0)
		return TURN_CLIENT;
	if (acknowledgements == 0)
		return now->received >= DELAYED_ACK_MAX ? TURN_CLIENT : TURN_UNKNOWN;
	if (step->turn == TURN_CLIENT)
		return came > answers ? TURN_UNANSWERED : TURN_CLIENT;
	if (step->turn != TURN_UNKNOWN)
		return came >= answers ? TURN_UNANSWERED : TURN_CLIENT;
	return answers == 1 || (step->told.data_sent == 0 && came == answers) ? TURN_UNANSWERED : TURN_UNKNOWN;
}

/* The client has the word all along, unless the message is complete: and that cannot be seen from here. */
static enum turn judge_body(const struct net_turn *now, const struct turn_step *step)
{
	bool only_answered = step != NULL && now->data_received == step->told.data_received &&
			     now->data_sent != step->told.data_sent; /* 354, and nothing since */
	return only_answered || now->received < DRIBBLE_MAX ? TURN_CLIENT : TURN_UNKNOWN;
}

/* It had the word at `step`, and has sent nothing since: whatever came since, that has to wait. */
static bool owes_answer(const struct net_turn *now, const struct turn_step *step)
{
	return step != NULL && step->turn == TURN_MTA && now->data_sent == step->told.data_sent;
}

enum turn turn_judge(const struct net_turn *now, const struct turn_step *step, bool in_body)
{
	if (now->unread > 0 || owes_answer(now, step))
		return TURN_MTA;
	if (now->sent < now->received)
		return TURN_CLIENT;
	if (in_body)
		return judge_body(now, step);
	return now->received < now->sent ? TURN_UNANSWERED : judge_tie(now, step);
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

/*
 * How much of an interval had passed when the MTA answered, if it had the word at its beginning. With two answers since
 * the first one's time is lost; what had been unanswered at `before` was so for as long as it had been there.
 */
static usec_t until_answer(usec_t interval, const struct net_turn *now, const struct turn_step *before)
{
	if (before == NULL || before->turn == TURN_CLIENT || before->turn == TURN_UNKNOWN)
		return 0;
	uint32_t answers = now->data_sent - before->told.data_sent;
	if (answers == 1)
		return interval - smaller(interval, now->sent);
	if (before->turn == TURN_MTA)
		return answers == 0 ? interval : 0;
	return answers == 2 ? before->told.received : 0;
}

/*
 * What was unanswered was a command if nothing came to it before its answer: all that came since came after that, as
 * one segment. At a callback that one is a command too, with an answer of its own or not yet; then their order need not
 * be told within a tick. Everything else may have been the second half.
 */
static bool may_have_been_half(const struct net_turn *now, const struct turn_step *before, bool callback)
{
	if (before == NULL || before->turn != TURN_UNANSWERED)
		return false;
	uint32_t came = now->data_received - before->told.data_received;
	uint32_t answers = now->data_sent - before->told.data_sent;
	if (came != 1)
		return came > 1;
	if (answers == 1)
		return now->received > now->sent || (now->received == now->sent && !callback);
	return answers != 2 || !callback;
}

/* Counts an interval up to the last octets that came. Returns how long ago that was. */
static usec_t count_until_octets(struct turn_times *times, usec_t interval, const struct net_turn *now,
				 const struct turn_step *before, bool callback)
{
	usec_t since_received = smaller(interval, now->received), part = interval - since_received;
	if (may_have_been_half(now, before, callback))
		times->unknown += part;
	else
		count(times, part, smaller(part, until_answer(interval, now, before)));
	return since_received;
}

void turn_count_step(struct turn_times *times, usec_t from, usec_t to, const struct net_turn *now,
		     const struct turn_step *before)
{
	usec_t interval = to - from;
	if (now == NULL)
		times->unknown += interval;
	else if (interval < SHORT)
		count(times, interval, 0);
	else
		times->mta += count_until_octets(times, interval, now, before, true);
}

usec_t turn_count_look(struct turn_times *times, usec_t from, usec_t to, const struct net_turn *now, enum turn turn,
		       bool in_body, const struct turn_step *before)
{
	usec_t interval = to - from;
	if (turn == TURN_MTA) {
		bool all = now->unread == 0 || before->told.unread > 0; /* it owed an answer, or did not catch up */
		count(times, interval, all ? interval : smaller(interval, now->received));
		return to;
	}
	/* What came last may have been a command, or the end of the message: the callback there will tell. */
	if (turn == TURN_UNANSWERED || (in_body && now->sent >= now->received))
		return to - count_until_octets(times, interval, now, in_body ? NULL : before, false);
	if (turn == TURN_CLIENT) {
		/* Before its last answer the MTA was at work on what had come last before that. */
		usec_t since_received = count_until_octets(times, interval, now, in_body ? NULL : before, false);
		usec_t work = since_received - smaller(interval, now->sent);
		count(times, since_received, work > 0 ? work : 0);
		return to;
	}
	if (now->received < DELAYED_ACK_MAX)
		return from; /* acknowledgements may still be on their way */
	times->unknown += interval;
	return to;
}
