/*
 * The journeys of messages, by queue id: from the client's connection at the MTA to the relay's verdict. Joins what the
 * door noted with what outcomes tell; keeps the last few thousand. Started by main, asked by ctl (`why`).
 */
#ifndef OBSERVE_JOURNEYS_H
#define OBSERVE_JOURNEYS_H

#include "relaypool.h"

/* One message as far as it is known here: in the MTA's queue, or with the outcome of some of its recipients. */
struct journey_view {
	const char *queue_id;
	const char *relay, *host; /* "-": none yet */
	struct journey journey;   /* its clock stands */
	usec_t total;             /* of what was seen */
	int64_t at;               /* clock_wall() at the verdict, or at the end of message while it is in the queue */
	bool settled;       /* an outcome; else it is in the MTA's queue, or here, and then its queue time stands */
	bool outbound;      /* not settled: the MTA said that it comes to us; else perhaps not, or it was not asked */
	enum status status; /* settled only, like all below */
	bool ambiguous;
	unsigned recipients, connection, use;
	enum cause held_by; /* what its wait in the pool was for, for the most part; CAUSE_COUNT: nothing */
	const char *text;   /* the verdict, one line */
};

struct journey_counts {
	unsigned long seen;    /* outcomes of which all stages from the client on were seen */
	unsigned long partial; /* … of which some were not */
	unsigned long expired; /* messages at the door that never came over LMTP: local ones, for the most part */
	unsigned long lost;    /* notes of the door that were forgotten for want of room */
};

/* Subscribes. Loop thread only, like all of this. */
void journeys_start(void);
/* Forgets everything. Does not unsubscribe. */
void journeys_stop(void);
/* Takes what the door has noted. Called by stall's tick, and before anything is looked up. */
void journeys_catch_up(void);
/* Every view of a queue id, newest first. False if there is none. */
bool journeys_find(const char *queue_id, void (*fn)(const struct journey_view *view, void *arg), void *arg);
/*
 * The message of which this may be a copy that Sendmail made, as it does for queue groups and for more recipients than
 * an envelope may have: the copies' header names the message, and so they are known by its id. The process that made
 * copies gave them the next ids; but it gave such ids to bounces and to later messages as well. False if none is known.
 */
bool journeys_original(const char *queue_id, char *original, size_t size);
/*
 * Messages in the MTA's queue that are known to come to us and were not overtaken by newer ones: how many, since when
 * the oldest one waits (clock_now()), and its queue id. False if there is none.
 */
bool journeys_queued(unsigned *count, usec_t *since, const char **queue_id);
struct journey_counts journeys_counts(void);

#endif
