/*
 * Who of client and MTA has the word in an SMTP session, judged from what the kernel tells of its connection. Pure
 * functions, for door.c. They say that they do not know where that is so. Private to this room.
 */
#ifndef MILTER_OBSERVE_TURN_H
#define MILTER_OBSERVE_TURN_H

#include "base/net.h"
#include "relaypool.h"

enum turn { TURN_CLIENT = 0, TURN_MTA, TURN_UNKNOWN };

/*
 * `step`: what the kernel told at the last milter callback of the session, when the MTA had the word or had just given
 * it away; NULL if it was not asked. `in_body`: since DATA, where the client speaks without answers.
 */
enum turn turn_judge(const struct net_turn *now, const struct net_turn *step, bool in_body);

struct turn_times {
	usec_t client, mta, unknown;
};
/*
 * Counts the time from `from` to `to`, a milter callback: it belongs to the client up to its last octets, then to the
 * MTA. Up to 50 ms all of it is the client's. `now` NULL: it is unknown.
 */
void turn_count_step(struct turn_times *times, usec_t from, usec_t to, const struct net_turn *now);
/*
 * Counts the time from `from` to `to`, when the kernel was asked between two callbacks. `was_unread`: at `from` there were
 * unread octets too. False, and nothing is counted, if this can be told better later.
 */
bool turn_count_look(struct turn_times *times, usec_t from, usec_t to, const struct net_turn *now, enum turn turn,
		     bool in_body, bool was_unread) MUST_CHECK;

#endif
