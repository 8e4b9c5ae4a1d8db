/*
 * When one more connection is worth its set-up: told by the pool who waits, says when the waiting has cost as much as a
 * set-up does. Knows the clock and nothing else.
 */
#ifndef RELAY_DEMAND_H
#define RELAY_DEMAND_H

#include "relaypool.h"

struct demand {
	usec_t set_up;  /* what it takes, smoothed; 0: none was measured yet */
	usec_t spent;   /* waited by all together, since somebody began to wait or the last one was opened */
	size_t waiting; /* messages for which there is no connection, not even one that is being set up */
	usec_t at;      /* clock_now() until when `spent` is counted */
};

/* A connection was set up in this time. */
void demand_note_set_up(struct demand *demand, usec_t took);
/* So many wait from now on. */
void demand_note_waiting(struct demand *demand, size_t waiting);
/* One is being opened. */
void demand_note_opened(struct demand *demand);
/* In what time one more is worth it, if nothing changes: 0 now, -1 never. */
usec_t demand_due(const struct demand *demand);

#endif
