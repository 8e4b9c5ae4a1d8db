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
#define RAISES_MOST 4               /* the steps double until they are as large as that, sixteen times the first */
#define RATE_LEAST 10               /* one message in a hundred seconds */
#define RATE_FIRST LIMITS_RATE_UNIT /* the first refusal alone says little where there was little mail */

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

/* How often it is to be met at the same value. Times agree by chance where a relay was restarted now and then. */
static unsigned often_enough(enum limit_kind kind)
{
	return kind == LIMIT_AGE || kind == LIMIT_IDLE ? 3 : 2;
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
	bool same = seen > 0 && agree(kind, seen, at);
	bool more = kind == LIMIT_CONNECTIONS ? at > seen : at < seen;
	limit->sightings = same ? limit->sightings + 1 : 1;
	limit->seen = !same || more ? at : seen;
	limit->seen_at = clock_now();
	return limit->sightings >= often_enough(kind) && set(limit, below(kind, limit->seen), why);
}

bool limits_throttled(struct limits *limits, const char *why)
{
	struct limit *limit = &limits->of[LIMIT_RATE];
	int64_t value = rate_accepted(limits) * 9 / 10, burst = rate_of_burst(limits) * 9 / 10;
	if (limit->value == 0 && burst > value)
		value = burst;
	if (value == 0 && limit->value > 0)
		return false; /* it takes nothing at all, whatever the rate */
	int64_t least = limit->value > 0 ? limit->value / 2 : RATE_FIRST;
	if (value < least)
		value = least;
	if (limit->value > 0 && value >= limit->value)
		value = limit->value * 9 / 10;
	return set(limit, value > RATE_LEAST ? value : RATE_LEAST, why);
}

bool limits_allowed(struct limits *limits, enum limit_kind kind, int64_t at)
{
	struct limit *limit = &limits->of[kind];
	if (limit->value == 0 || limit->value >= at)
		return false;
	limit->value = at;
	return true;
}

static bool time_to_raise(const struct limit *limit)
{
	usec_t stood = clock_wall() - limit->raised;
	return limit->value > 0 && stood >= limit->kept &&
	       (limit->before_raise >= KEPT_MESSAGES || stood >= KEPT_ANYHOW);
}

bool limits_raise(struct limits *limits, enum limit_kind kind, int64_t configured)
{
	struct limit *limit = &limits->of[kind];
	if (!time_to_raise(limit))
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
	if (kind == LIMIT_CONNECTIONS || kind == LIMIT_MESSAGES)
		(void)snprintf(out, size, "%lld", (long long)value);
	else
		(void)snprintf(out, size, "%.3g",
			       (double)value / (double)(kind == LIMIT_RATE ? LIMITS_RATE_UNIT : USEC_PER_SEC));
	return out;
}
