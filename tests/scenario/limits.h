/*
 * What a scripted relay allows without a word about it (`server a: most-connections=3 …`, run_scenarios.c): the limits,
 * and what it says to whoever goes beyond them. Kept by limits.c, obeyed by behaviour.c.
 */
#ifndef SCENARIO_LIMITS_H
#define SCENARIO_LIMITS_H

#include <limits.h>

#include "relaypool.h"

struct relay_connection;

#define NO_LIMIT UINT_MAX
#define TIMES_MOST 64 /* that are remembered for most-in-any */

/* Where a connection too many is told so. */
enum limits_refuses {
	REFUSES_BANNER = 0, /* in place of the greeting */
	REFUSES_AUTH,       /* only those that have authenticated count */
	REFUSES_SILENT,     /* closed without a greeting */
	REFUSES_COUNT
};

/* One for each scripted relay. */
struct relay_limits {
	unsigned connections; /* at once; NO_LIMIT */
	enum limits_refuses refuses;
	usec_t counts_longer; /* how long a connection that has ended is one of them */
	unsigned messages;    /* of one connection; NO_LIMIT */
	usec_t life;          /* of a connection; 0: no limit */
	usec_t idle;          /* without a command; 0: no limit */
	unsigned rate;        /* messages in a window; NO_LIMIT */
	usec_t window;
	unsigned any_rate; /* messages in any stretch of time of `any_window`; 0: no limit */
	usec_t any_window;
	double refill; /* tokens of the bucket a second; 0: no bucket */
	double burst;  /* tokens it holds at most */
	bool at_end;   /* they are taken at the end of data, not at MAIL */
	bool mute;     /* without words that say why */

	/* what has happened */
	usec_t window_began;
	unsigned window_count;
	usec_t times[TIMES_MOST]; /* of the last `any_rate` messages, a ring */
	unsigned times_count;     /* how many there were */
	double tokens;
	usec_t tokens_at;
	unsigned refused; /* connections and transactions, since the last `mark` */
	unsigned expired; /* connections that were closed in their idle time, since the last `mark` */
};

/* The same for each connection. */
struct limits_of_connection {
	bool admitted; /* counts among the connections at once */
	unsigned messages;
	usec_t began;
	struct timer life, idle;
};

/* What to say to a step; `text` NULL: nothing. */
struct refusal {
	const char *text;
	bool closes;
};

void limits_init(struct relay_limits *limits);
/* "KEY=VALUE" of a `server` line. False if it is no limit. */
bool limits_set(struct relay_limits *limits, const char *setting) MUST_CHECK;

void limits_begin(struct relay_connection *c);
void limits_touch(struct relay_connection *c); /* something has come, or was said */
void limits_end(struct relay_connection *c);
/* Judges what is asked at the step under way, and counts it. NULL if it is within the limits. */
const struct refusal *limits_refuse(struct relay_connection *c);

#endif
