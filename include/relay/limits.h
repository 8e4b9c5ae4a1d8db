/*
 * The limits that a relay has and does not state, learned from how it refuses. Told by the pool what was seen; knows
 * the clock and numbers, never a connection. What was learned is tried a little higher after a while, so that it is
 * forgotten slowly.
 */
#ifndef RELAY_LIMITS_H
#define RELAY_LIMITS_H

#include "relaypool.h"

enum limit_kind {
	LIMIT_CONNECTIONS = 0, /* of the account, at once */
	LIMIT_MESSAGES,        /* of one connection */
	LIMIT_AGE,             /* of one connection, microseconds */
	LIMIT_IDLE,            /* of a connection without mail, microseconds */
	LIMIT_RATE,            /* messages in LIMITS_RATE_UNIT seconds */
	LIMIT_KINDS
};
#define LIMITS_RATE_UNIT 1000

/* One of them. All up to `why` is kept over a restart. */
struct limit {
	int64_t value;   /* the most that the relay allows, as far as is known; 0: no limit was met */
	int64_t before;  /* of `value`, until it was raised last: one refusal brings it back; 0: never raised */
	int64_t learned; /* clock_wall() when it was last met; 0: never */
	int64_t raised;  /* clock_wall() when it was last met or raised */
	usec_t kept;     /* how long it stays as it is; longer each time that raising it was refused */
	char why[256];   /* what the relay said then */

	int64_t seen;          /* where it refused last, but not yet often enough; 0 */
	usec_t seen_at;        /* clock_now() then */
	unsigned sightings;    /* how often, in a row, it refused there */
	int64_t allowed;       /* the most that it allowed lately; 0: nothing was told */
	usec_t allowed_at;     /* clock_now() then */
	unsigned before_raise; /* messages accepted since it was met or raised */
	unsigned raises;       /* since it was met */
};

#define LIMITS_SECONDS 64
struct limits {
	struct limit of[LIMIT_KINDS];
	unsigned accepted[LIMITS_SECONDS]; /* messages of each of the last seconds, a ring */
	int64_t second;                    /* the latest of them */
	int64_t busy;            /* messages since `busy_since`, without a second in between that brought none */
	usec_t busy_since, last; /* clock_now() */
	bool quit_alone;         /* QUIT behind a body has cost its verdict: it waits for that, until a restart */
};

/* As in log and ctl: "max_connections", "max_messages", "max_age", "idle_timeout", "rate". */
extern const char *const limit_names[LIMIT_KINDS];

/*
 * The relay refused what went beyond `at`: so many connections that it has, messages that a connection carried, and so
 * on. A limit is believed when it was met twice, a time three times, what is less than was allowed within the hour four
 * times, at the same value (connections: at any) and not too long after each other; at once where it was known before it was raised. Refusals within half a second are one. True if
 * the limit in force has changed.
 */
bool limits_met(struct limits *limits, enum limit_kind kind, int64_t at, const char *why) MUST_CHECK;
/*
 * The same for the rate, which is a little less than what was accepted of late. `selective`: it has accepted others since
 * it refused last; where these were far from what is known, the rate stays. It also stays where next to nothing was
 * accepted: then it is not the rate that matters.
 */
bool limits_throttled(struct limits *limits, bool selective, const char *why) MUST_CHECK;
/* The relay has allowed so much: a limit below that is none, nor was one seen. True if it has changed. */
bool limits_allowed(struct limits *limits, enum limit_kind kind, int64_t at) MUST_CHECK;
/*
 * Whether it is time to try a limit a little higher, and does. `configured`: where nothing is left to be learned, 0 if
 * there is no such value. True if it has changed.
 */
bool limits_raise(struct limits *limits, enum limit_kind kind, int64_t configured) MUST_CHECK;

/* A message was accepted. */
void limits_note_accepted(struct limits *limits);

/* The smaller of a learned limit and a configured one; 0 stands for none, as in relaypool.conf. */
int64_t limits_least(const struct limits *limits, enum limit_kind kind, int64_t configured);

/* "10", "4.5", for log and ctl: seconds, and messages a second. Returns `out`. */
const char *limits_format(enum limit_kind kind, int64_t value, char *out, size_t size);

#endif
