/*
 * Limits learned from refusals (relay/limits.h): additive increase, and a decrease to where the relay refused. Called
 * by the pool; never acts, never logs.
 */
#include "relay/limits.h"

#include <stdio.h>
#include <string.h>

#define SAME_EVENT (USEC_PER_SEC / 2)  /* connections that reach a limit together say the same thing */
#define BURST_LEAST (USEC_PER_SEC / 4) /* a shorter one tells nothing of a rate */
#define KEPT_FIRST (60 * USEC_PER_SEC)
#define KEPT_MOST (86400 * USEC_PER_SEC)
#define KEPT_MESSAGES 2000U                   /* besides: what is refused then is less than one of a thousand */
#define KEPT_ANYHOW (6 * 3600 * USEC_PER_SEC) /* … or so long, where there is little mail */
#define ALLOWED_KEPT (3600 * USEC_PER_SEC)
#define RAISES_MOST 4   /* the steps double until they are as large as that, sixteen times the first */
#define RATE_LEAST 10   /* one message in a hundred seconds */
#define RATE_MESSAGES 5 /* accepted of late, or there is nothing to go by */
#define RATE_ANYHOW (1800 * USEC_PER_SEC) /* as KEPT_ANYHOW: a rate that is too low holds up all mail */

const char *const limit_names[LIMIT_KINDS] = {"max_connections", "max_messages", "max_age", "idle_timeout", "rate"};

/* ---- the rate of what is accepted ---- */

static void roll(struct limits *limits)
{
	int64_t now = clock_now() / USEC_PER_SEC;
	if (now - limits->second >= LIMITS_SECONDS)
		memset(limits->accepted, 0, sizeof(limits->accepted));
	else
		while (limits->second < now)
			limits->accepted[++limits->second % LIMITS_SECONDS] = 0;
	limits->second = now;
}

void limits_note_accepted(struct limits *limits)
{
	usec_t now = clock_now();
	if (now - limits->last > USEC_PER_SEC) {
		limits->busy_since = now;
		limits->busy = 0;
	}
	limits->last = now;
	limits->busy++;
	roll(limits);
	limits->accepted[limits->second % LIMITS_SECONDS]++;
	for (unsigned i = 0; i < LIMIT_KINDS; i++)
		limits->of[i].before_raise++;
}

/*
 * The highest rate over the last 1, 2, 4 … seconds. After a burst that used up what a relay allows for a minute it
 * falls with each second, until it is what the relay allows; after a burst within what it allows it stays.
 */
static int64_t rate_accepted(struct limits *limits)
{
	int64_t best = 0, sum = 0;
	roll(limits);
	for (int64_t length = 1; length <= LIMITS_SECONDS; length++) {
		sum += limits->accepted[(limits->second - length + 1 + LIMITS_SECONDS) % LIMITS_SECONDS];
		bool power = (length & (length - 1)) == 0;
		if (power && sum * LIMITS_RATE_UNIT / length > best)
			best = sum * LIMITS_RATE_UNIT / length;
	}
	return best;
}

/* Since messages have come one upon the other: a burst may be shorter than a second. */
static int64_t rate_of_burst(const struct limits *limits)
{
	usec_t since = clock_now() - limits->busy_since;
	return limits->busy * LIMITS_RATE_UNIT * USEC_PER_SEC / (since > BURST_LEAST ? since : BURST_LEAST);
}

/* ---- learning ---- */

/*
 * How often it is to be met at the same value. Times agree by chance where a relay was restarted now and then; and one
 * that allowed more a while ago may just be starting.
 */
static unsigned often_enough(const struct limit *limit, enum limit_kind kind, int64_t at)
{
	if (limit->allowed > at && clock_now() - limit->allowed_at < ALLOWED_KEPT)
		return 4;
	return kind == LIMIT_AGE || kind == LIMIT_IDLE ? 3 : 2;
}

/* What is further apart has nothing to do with each other. */
static usec_t sightings_kept(enum limit_kind kind)
{
	return kind == LIMIT_CONNECTIONS ? 300 * USEC_PER_SEC
	       : kind == LIMIT_MESSAGES  ? 3600 * USEC_PER_SEC
					 : KEPT_ANYHOW;
}

static bool agree(enum limit_kind kind, int64_t a, int64_t b)
{
	int64_t difference = a > b ? a - b : b - a;
	switch (kind) {
	case LIMIT_CONNECTIONS: /* what the relay held besides, of which we know nothing, changes */
		return true;
	case LIMIT_MESSAGES:
		return a == b;
	default:
		return difference <= (a > b ? a : b) / 10;
	}
}

/* Where to stay, so that it is not met again. */
static int64_t below(enum limit_kind kind, int64_t met)
{
	return kind == LIMIT_AGE ? met - met / 20 : kind == LIMIT_IDLE ? met - met / 10 : met;
}

static bool set(struct limit *limit, int64_t value, const char *why)
{
	bool again = limit->before > 0 && value >= limit->before;
	int64_t old = limit->value;
	if (again)
		limit->kept = limit->kept * 2 < KEPT_MOST ? limit->kept * 2 : KEPT_MOST;
	else
		limit->kept = KEPT_FIRST;
	limit->value = again ? limit->before : value;
	limit->before = limit->seen = 0;
	limit->sightings = 0;
	limit->raises = limit->before_raise = 0;
	limit->learned = limit->raised = clock_wall();
	(void)snprintf(limit->why, sizeof(limit->why), "%s", why);
	return limit->value != old;
}

bool limits_met(struct limits *limits, enum limit_kind kind, int64_t at, const char *why)
{
	struct limit *limit = &limits->of[kind];
	int64_t seen = limit->seen;
	bool one_event = seen > 0 && clock_now() - limit->seen_at < SAME_EVENT;
	if (at <= 0)
		return false;
	if (limit->before > 0 && at >= limit->before)
		return set(limit, at, why);
	if (one_event) { /* the most that was reached counts; its time stays, or a steady stream would be one event */
		limit->seen = seen > at ? seen : at;
		return false;
	}
	bool fresh = clock_now() - limit->seen_at < sightings_kept(kind);
	bool same = seen > 0 && fresh && agree(kind, seen, at);
	bool more = kind == LIMIT_CONNECTIONS ? at > seen : at < seen;
	limit->sightings = same ? limit->sightings + 1 : 1;
	limit->seen = !same || more ? at : seen;
	limit->seen_at = clock_now();
	return limit->sightings >= often_enough(limit, kind, limit->seen) && set(limit, below(kind, limit->seen), why);
}

static unsigned accepted_lately(const struct limits *limits)
{
	unsigned sum = 0;
	for (unsigned i = 0; i < LIMITS_SECONDS; i++)
		sum += limits->accepted[i];
	return sum;
}

bool limits_throttled(struct limits *limits, bool selective, const char *why)
{
	struct limit *limit = &limits->of[LIMIT_RATE];
	int64_t accepted = rate_accepted(limits), burst = rate_of_burst(limits), known = limit->value;
	if (accepted_lately(limits) < RATE_MESSAGES)
		return false; /* it takes next to nothing, whatever the rate */
	if (limit->before > 0)
		return set(limit, limit->before, why);
	if (known > 0 && selective && burst * 10 < known * 7)
		return false; /* it takes others, and they are far from what is known: it is not the rate */
	int64_t value = (known == 0 && burst > accepted ? burst : accepted) * 9 / 10;
	if (value < known / 2)
		value = known / 2;
	if (known > 0 && value >= known)
		value = known * 9 / 10;
	return set(limit, value > RATE_LEAST ? value : RATE_LEAST, why);
}

bool limits_allowed(struct limits *limits, enum limit_kind kind, int64_t at)
{
	struct limit *limit = &limits->of[kind];
	if (limit->seen < at)
		limit->seen = limit->sightings = 0;
	if (limit->allowed <= at || clock_now() - limit->allowed_at >= ALLOWED_KEPT) {
		limit->allowed = at;
		limit->allowed_at = clock_now();
	}
	if (limit->value == 0 || limit->value >= at)
		return false;
	limit->value = at;
	return true;
}

static bool time_to_raise(struct limit *limit, enum limit_kind kind)
{
	if (limit->raised > clock_wall()) /* the clock was wrong then */
		limit->raised = clock_wall();
	usec_t stood = clock_wall() - limit->raised;
	return limit->value > 0 && stood >= limit->kept &&
	       (limit->before_raise >= KEPT_MESSAGES || stood >= (kind == LIMIT_RATE ? RATE_ANYHOW : KEPT_ANYHOW));
}

bool limits_raise(struct limits *limits, enum limit_kind kind, int64_t configured)
{
	struct limit *limit = &limits->of[kind];
	if (!time_to_raise(limit, kind))
		return false;
	int64_t step = kind == LIMIT_CONNECTIONS || limit->value < 10 ? 1 : limit->value / 10;
	step <<= limit->raises;
	limit->before = limit->value;
	limit->value += step < limit->value ? step : limit->value;
	limit->raises += limit->raises < RAISES_MOST;
	if (configured > 0 && limit->value >= configured)
		limit->value = 0;
	limit->before_raise = 0;
	limit->raised = clock_wall();
	return true;
}

/* ---- reading ---- */

int64_t limits_least(const struct limits *limits, enum limit_kind kind, int64_t configured)
{
	int64_t learned = limits->of[kind].value;
	return learned > 0 && (configured == 0 || learned < configured) ? learned : configured;
}

const char *limits_format(enum limit_kind kind, int64_t value, char *out, size_t size)
{
	double unit = kind == LIMIT_RATE                        ? LIMITS_RATE_UNIT
		      : kind == LIMIT_AGE || kind == LIMIT_IDLE ? USEC_PER_SEC
								: 1;
	int length = snprintf(out, size, "%.3f", (double)value / unit);
	while (length > 0 && out[length - 1] == '0')
		out[--length] = '\0';
	if (length > 0 && out[length - 1] == '.')
		out[--length] = '\0';
	return out;
}
