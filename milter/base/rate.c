/*
 * The generic cell rate algorithm (ITU-T I.371): one number, the time at which the next cell is expected. Called by
 * the pool; never reads a clock and never waits.
 */
#include <config.h>

#include "base/rate.h"

#define INTERVAL_MAX (86400 * USEC_PER_SEC)
#define LATE (20 * USEC_PER_MSEC) /* that a timer may be */
#define LATE_FROM 5               /* cells a second; between fewer it is next to nothing */

/* `next` stays: a reload does not give away a second burst. */
static void set_interval(struct rate *rate, double per_second, usec_t second)
{
	double exact = per_second > 0 ? (double)second / per_second : 0;
	rate->interval = exact < (double)INTERVAL_MAX ? (usec_t)exact : INTERVAL_MAX;
	if ((double)rate->interval < exact && rate->interval < INTERVAL_MAX)
		rate->interval++; /* rounded up: the rate is a cap */
}

void rate_set(struct rate *rate, double per_second, unsigned burst)
{
	set_interval(rate, per_second, USEC_PER_SEC);
	rate->tolerance = rate->interval * (burst > 1 ? burst - 1 : 0);
}

void rate_spread(struct rate *rate, double per_second)
{
	rate->tolerance = per_second >= LATE_FROM ? LATE : 0;
	set_interval(rate, per_second,
		     USEC_PER_SEC + rate->tolerance); /* what is made up for is within the second too */
}

usec_t rate_take(struct rate *rate, usec_t now)
{
	if (rate->interval == 0)
		return 0;
	if (rate->next < now)
		rate->next = now;
	if (rate->next > now + rate->tolerance + rate->interval)
		rate->next = now + rate->tolerance + rate->interval; /* counted at a slower rate, before a reload */
	usec_t wait = rate->next - rate->tolerance - now;
	if (wait > 0)
		return wait;
	rate->next += rate->interval;
	return 0;
}
