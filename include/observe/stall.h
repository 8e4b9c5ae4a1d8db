/*
 * Stalls: a stage over its limit, reported while it lasts and once more when it ends. Looks four times a second at what
 * the rooms say they wait for; what one cause holds up is one stall. Started by main, read by ctl and metrics. It never
 * calls the rooms but by the one function that main gives it.
 */
#ifndef OBSERVE_STALL_H
#define OBSERVE_STALL_H

#include "relaypool.h"

/* Tells everything that is waited for now in the rooms that observe may not include. */
typedef void stall_waits_fn(wait_fn *fn, void *arg);
/* How many LMTP sessions the MTA has open. */
typedef unsigned stall_sessions_fn(void);

struct stall_view {
	unsigned id;
	const char *relay; /* "-" at the MTA's door */
	enum stage stage;
	enum cause cause;
	bool open;
	int64_t began;        /* clock_wall() when the wait began, not when it was reported */
	usec_t age, limit;    /* age: so far, or in all */
	unsigned waiting;     /* messages held up now; 0 when it has ended */
	unsigned messages;    /* held up in all, so far */
	const char *queue_id; /* of the first one held up; "" if not known */
};

/* The snapshot with the limits that are configured (held); NULL: none is. All others are learned. */
void stall_configure(struct conf *conf);
/* Subscribes and begins to look. Loop thread only, like all of this. */
void stall_start(stall_waits_fn *waits, stall_sessions_fn *sessions);
/* Ends what is open, with its line. Does not unsubscribe. */
void stall_stop(void);

/* Open ones first, then past ones, newest first; at most a few hundred are kept. The view is borrowed. */
void stall_each(void (*fn)(const struct stall_view *view, void *arg), void *arg);
/* Since the start, stalls that began. */
unsigned long stall_count(enum stage stage, enum holder holder);
/* The limit of a stage at a relay at this moment, in microseconds. */
usec_t stall_limit(const char *relay, enum stage stage);

#endif
