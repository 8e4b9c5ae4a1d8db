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
 * Both spoke within one tick of the kernel's clock, as happens all the time with a client in the same room. The segments
 * since the last callback tell who was second: an answer takes the acknowledgement of the question with it, but what has
 * no answer is acknowledged by itself. One answer and something that came: the client could have sent it before the
 * answer too, but then it would have been answered along with it.
 */
static enum turn judge_tie(const struct net_turn *now, const struct net_turn *step)
{
	if (step == NULL)
		return TURN_UNKNOWN;
	uint32_t came = now->data_received - step->data_received, answers = now->data_sent - step->data_sent;
	uint32_t acknowledgements = now->acknowledgements - step->acknowledgements;
	if (answers == 0)
		return came > 0 || acknowledgements > 0 ? TURN_MTA : TURN_UNKNOWN;
	if (came == 0)
		return TURN_CLIENT;
	if (acknowledgements == 0)
		return now->received >= DELAYED_ACK_MAX ? TURN_CLIENT : TURN_UNKNOWN;
	return answers == 1 ? TURN_MTA : TURN_UNKNOWN;
}

/* The client has the word all along, unless the message is complete: and that cannot be seen from here. */
static enum turn judge_body(const struct net_turn *now, const struct net_turn *step)
{
	bool only_answered = step != NULL && now->data_received == step->data_received &&
			     now->data_sent != step->data_sent; /* 354, and nothing since */
	return only_answered || now->received < DRIBBLE_MAX ? TURN_CLIENT : TURN_UNKNOWN;
}

enum turn turn_judge(const struct net_turn *now, const struct net_turn *step, bool in_body)
{
	if (now->unread > 0)
		return TURN_MTA;
	if (now->sent < now->received)
		return TURN_CLIENT;
	if (in_body)
		return judge_body(now, step);
	return now->received < now->sent ? TURN_MTA : judge_tie(now, step);
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

void turn_count_step(struct turn_times *times, usec_t from, usec_t to, const struct net_turn *now)
{
	usec_t interval = to - from;
	if (now == NULL)
		times->unknown += interval;
	else
		count(times, interval, interval < SHORT ? 0 : smaller(interval, now->received));
}

/* The MTA's part of an interval at whose end it has the word. What came before it spoke was its own too, most likely. */
static usec_t part_of_mta(usec_t interval, const struct net_turn *now, bool was_unread)
{
	if (now->unread > 0 && was_unread)
		return interval;
	usec_t part = smaller(interval, now->received);
	return now->unread == 0 && now->sent >= now->received ? part + interval - smaller(interval, now->sent) : part;
}

bool turn_count_look(struct turn_times *times, usec_t from, usec_t to, const struct net_turn *now, enum turn turn,
		     bool in_body, bool was_unread)
{
	usec_t interval = to - from;
	if (turn == TURN_MTA) {
		count(times, interval, part_of_mta(interval, now, was_unread));
		return true;
	}
	if (turn == TURN_CLIENT) {
		/* Before its last answer the MTA was at work on what had come last before that. */
		usec_t work = smaller(interval, now->received) - smaller(interval, now->sent);
		count(times, interval, work > 0 ? work : 0);
		return true;
	}
	/* The end of message will tell of a body; and acknowledgements may still be on their way. */
	if (in_body || now->received < DELAYED_ACK_MAX)
		return false;
	times->unknown += interval;
	return true;
}
