/*
 * Counters and times of each relay, and the `statistics:` line once a minute for each relay with traffic in it.
 * Started by main, listens to events (base/publish.h), read by ctl and metrics. It only counts; it decides nothing.
 */
#ifndef OBSERVE_STATS_H
#define OBSERVE_STATS_H

#include "relaypool.h"

struct stats_counts {
	unsigned long sent, deferred, bounced; /* recipients, by status */
	unsigned long ambiguous;               /* those of the deferred that the relay may have taken all the same */
	unsigned long opened, closed;          /* connections that were authenticated and ready */
	unsigned long reused;                  /* transactions on a connection beyond its first */
};

/* Whose verdicts, and which. */
enum stats_reply { STATS_REPLY_2XX = 0, STATS_REPLY_4XX, STATS_REPLY_5XX, STATS_REPLY_LOCAL, STATS_REPLIES };

/* What is counted for metrics only. */
struct stats_totals {
	unsigned long failed;                 /* connections that could not be set up */
	unsigned long replayed;               /* transactions, unseen by the MTA */
	unsigned long replies[STATS_REPLIES]; /* final ones: one for all recipients of a message that it settles */
	unsigned long waited[CAUSE_COUNT];    /* messages that waited in the pool, by what for, for the most part */
};

/* All of it since the start. */
struct stats_view {
	const char *relay;
	struct stats_counts counts;
	struct stats_totals totals;
	usec_t wait_p50, wait_p95, transfer_p50, transfer_p95; /* -1: none observed */
};

/* What the pool of a relay has at this moment. */
struct stats_gauges {
	unsigned active;  /* connections with a transaction on them */
	unsigned idle;    /* ready connections without */
	unsigned waiting; /* transactions that wait for a connection */
};
/* False if there is no such pool. */
typedef bool stats_gauges_fn(const char *relay, struct stats_gauges *gauges);

/* Subscribes and begins the first minute. Loop thread only, like all of this. */
void stats_start(void);
/* Writes the lines of the minute that has begun and forgets everything. Does not unsubscribe. */
void stats_stop(void);
/* Where `active`, `idle` and `waiting` of the line come from; until it is set they are "-". */
void stats_set_gauges(stats_gauges_fn *gauges);

/* Every relay that anything was counted for, in the order in which they were first seen. The view is borrowed. */
void stats_each(void (*fn)(const struct stats_view *view, void *arg), void *arg);

#endif
