/*
 * Who of client and MTA has the word in an SMTP session, judged from what the kernel tells of its connection. Pure
 * functions, for door.c. They say that they do not know where that is so. Private to this room.
 */
#ifndef MILTER_OBSERVE_TURN_H
#define MILTER_OBSERVE_TURN_H

#include "base/net.h"
#include "relaypool.h"

/*
 * TURN_MTA: it owes an answer, or does not read. TURN_UNANSWERED: the client spoke last, and all of it was read. If that
 * was a whole command it is the MTA's turn, if it was half of one the client's; the kernel knows of no commands.
 */
enum turn { TURN_CLIENT = 0, TURN_MTA, TURN_UNANSWERED, TURN_UNKNOWN };

/* What the kernel told at some earlier moment of the session, and who had the word then. */
struct turn_step {
	struct net_turn told;
	enum turn turn;
};
/* `step` NULL: it was not asked before. `in_body`: since DATA, where the client speaks without answers. */
enum turn turn_judge(const struct net_turn *now, const struct turn_step *step, bool in_body);
/* Whether what was judged will do as a step: nothing is on its way any more that belongs to it. */
bool turn_settled(const struct net_turn *now, enum turn turn);

struct turn_times {
	usec_t client, mta, unknown;
};
/*
 * Counts the time from `from` to `to`, a milter callback: there the client's last octets have become a command, so it
 * belongs to the client up to them, then to the MTA; but if the MTA had the word at `from` (`before`, NULL: not known),
 * to the MTA up to its one answer. What was unanswered then is the MTA's if it was answered as it was, else unknown. Up
 * to 50 ms all of it is the client's. `now` NULL: it is unknown.
 */
void turn_count_step(struct turn_times *times, usec_t from, usec_t to, const struct net_turn *now,
		     const struct turn_step *before);
/*
 * Counts the time from `from` to `to`, when the kernel was asked between two callbacks and `turn` was judged; `before`
 * is what it told before that. Returns up to when it is counted: what can be told better later is left.
 */
usec_t turn_count_look(struct turn_times *times, usec_t from, usec_t to, const struct net_turn *now, enum turn turn,
		       bool in_body, const struct turn_step *before) MUST_CHECK;

#endif
