/*
 * How many transactions a connection may have in flight: a control loop that looks for the smallest number that keeps the
 * relay busy. Told by the connection what came back; knows the clock and nothing else.
 */
#ifndef RELAY_DEPTH_H
#define RELAY_DEPTH_H

#include "relaypool.h"

struct depth {
	unsigned now, most;
	usec_t shortest; /* from the first octet of a message to its verdict; 0: not known yet */
	usec_t spacing;  /* between two verdicts while the relay had work, smoothed; 0: not known yet */
	usec_t last;     /* clock_now() at the last verdict */
	bool busy;       /* the relay had more to do then */
};

/* Begins with `first`, at least 1 and at most `most`. */
void depth_init(struct depth *depth, unsigned first, unsigned most);
/*
 * A message had its verdict, so long after its first octet; `more`: others are in flight. One more is allowed as long as
 * the shortest such time holds more of them than that, at the relay's pace.
 */
void depth_clean(struct depth *depth, bool more, usec_t took);
/* Anything irregular: one at a time, and from there upwards again. */
void depth_irregular(struct depth *depth);

#endif
