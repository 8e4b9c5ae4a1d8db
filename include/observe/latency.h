/*
 * How long each stage takes at each relay: percentiles of the last while, from which the limits of stalls are learned,
 * and counts since the start for metrics. Listens to events, asked by stall, ctl and metrics; decides nothing.
 */
#ifndef OBSERVE_LATENCY_H
#define OBSERVE_LATENCY_H

#include "relaypool.h"

/* Upper bounds of the buckets in microseconds, ascending; beyond the last one there is +Inf. */
#define LATENCY_BUCKETS 18
extern const usec_t latency_bounds[LATENCY_BUCKETS];

struct latency_view {
	const char *relay; /* "-": stages at the MTA's door and before a relay is chosen */
	enum stage stage;
	/* since the start */
	unsigned long seen;
	usec_t sum;
	unsigned long buckets[LATENCY_BUCKETS]; /* seen in this bucket alone, not in those below it */
};

/* Of the last 10 to 20 minutes; -1 where nothing was seen. */
struct latency_quantiles {
	unsigned long seen;
	usec_t p50, p95, p99, longest;
};

/* Subscribes. Loop thread only, like all of this. */
void latency_start(void);
/* Forgets everything. Does not unsubscribe. */
void latency_stop(void);
/* Something that comes by no event: client, mta and queue. `relay` "-" where none is known. Negative: not observed. */
void latency_note(const char *relay, enum stage stage, usec_t spent);
/*
 * The 99th percentile of what is usual; -1 while that is not known: before 20 times, 5 of a set-up. It is of the last few
 * hundred times of a while that has passed, ten minutes at least but for the first one. Times far above it
 * (LATENCY_UNUSUAL times, and above the floor) are no part of it, unless nothing else has come for ten minutes.
 */
#define LATENCY_UNUSUAL 4
#define LATENCY_UNUSUAL_FLOOR USEC_PER_SEC
usec_t latency_p99(const char *relay, enum stage stage);
/* Every relay and stage that was ever seen, relays in the order in which they were first seen. Borrowed. */
typedef void latency_fn(const struct latency_view *view, void *arg);
void latency_each(latency_fn *fn, void *arg);
/* Those of one relay; none if it was never seen. */
void latency_of(const char *relay, latency_fn *fn, void *arg);
/* For one stage at a relay. It reads thousands of classes: only for who shows them. */
struct latency_quantiles latency_quantiles(const char *relay, enum stage stage);

#endif
