/*
 * The generic cell rate algorithm (GCRA): so many a second, with a burst. Called by the pool for `rate`;
 * never waits itself, it says how long.
 */
#ifndef BASE_RATE_H
#define BASE_RATE_H

#include "relaypool.h"

struct rate {
	usec_t interval; /* between two cells; 0 = no limit */
	usec_t tolerance;
	usec_t next; /* theoretical arrival time of the next cell */
};

/* `per_second` cells a second, up to `burst` at once (at least 1). per_second 0 = no limit. */
void rate_set(struct rate *rate, double per_second, unsigned burst);
/*
 * Spread over the second, none at once because there were fewer before: no second has more than `per_second`. A clock
 * that is late by some milliseconds costs nothing; for that the rate is 2 % lower, from 5 a second on.
 */
void rate_spread(struct rate *rate, double per_second);
/* 0 if one may go now and has been counted, else how long to wait (microseconds); nothing is counted then. */
usec_t rate_take(struct rate *rate, usec_t now);

#endif
