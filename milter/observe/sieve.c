/*
 * Leaves out lines of outcomes: as the configuration says, or, with `auto`, while there are many of them, so that a
 * busy day neither fills the disk nor meets the log daemon's own limit, which spares nothing. Slow and failed ones are
 * never left out by `auto`. Called by outcome.c; writes no line but about itself.
 */
#include <config.h>

#include "sieve.h"

#include <string.h>

#include "base/conf.h"
#include "base/log.h"

static struct {
	enum log_messages messages;
	usec_t slow;
	unsigned counts[SIEVE_WINDOW]; /* outcomes of each of the last seconds; of second S at [S % SIEVE_WINDOW] */
	int64_t second;                /* up to which `counts` goes */
	struct timer look;             /* armed while lines are left out */
	unsigned long left_out;        /* since they began to be */
	unsigned long total;
} sieve = {.messages = LOG_MESSAGES_ALL};

/* Outcomes of the window that ends now. */
static unsigned recent(void)
{
	int64_t now = clock_now() / USEC_PER_SEC;
	unsigned sum = 0;
	if (now - sieve.second >= SIEVE_WINDOW)
		memset(sieve.counts, 0, sizeof sieve.counts);
	else
		for (int64_t second = sieve.second + 1; second <= now; second++)
			sieve.counts[second % SIEVE_WINDOW] = 0;
	sieve.second = now;
	for (unsigned i = 0; i < SIEVE_WINDOW; i++)
		sum += sieve.counts[i];
	return sum;
}

static bool thinning(void)
{
	return timer_armed(&sieve.look);
}

static void end_thinning(void)
{
	if (!thinning())
		return;
	timer_cancel(&sieve.look);
	log_notice("outcomes: event=all, left_out=%lu", sieve.left_out);
	sieve.left_out = 0;
}

static void look_again(void *unused)
{
	(void)unused;
	timer_arm(&sieve.look, USEC_PER_SEC);
	if (recent() < SIEVE_FEW * SIEVE_WINDOW)
		end_thinning();
}

static void begin_thinning(unsigned count)
{
	timer_init(&sieve.look, "rate of outcomes", look_again, NULL);
	timer_arm(&sieve.look, USEC_PER_SEC);
	log_notice("outcomes: event=thinned, rate=%u (only slow and failed ones have a line)", count / SIEVE_WINDOW);
}

/* Not what the MTA kept it for: that says nothing about us or the relay. */
static bool is_slow(const struct event *outcome)
{
	usec_t queue = outcome->delays.queue > 0 ? outcome->delays.queue : 0;
	return outcome->delay - queue >= sieve.slow;
}

void sieve_configure(const struct conf *conf)
{
	sieve.messages = conf->log_messages;
	sieve.slow = conf->slow_message;
	if (sieve.messages != LOG_MESSAGES_AUTO)
		end_thinning();
}

bool sieve_passes(const struct event *outcome)
{
	unsigned count = recent() + 1;
	sieve.counts[sieve.second % SIEVE_WINDOW]++;
	if (sieve.messages == LOG_MESSAGES_AUTO && !thinning() && count >= SIEVE_MANY * SIEVE_WINDOW)
		begin_thinning(count);
	if (sieve.messages == LOG_MESSAGES_ALL || (sieve.messages == LOG_MESSAGES_AUTO && !thinning()))
		return true;
	if (sieve.messages != LOG_MESSAGES_NONE && (outcome->status != STATUS_SENT || is_slow(outcome)))
		return true;
	if (thinning()) {
		sieve.left_out++;
		sieve.total++;
	}
	return false;
}

unsigned long sieve_left_out(void)
{
	return sieve.total;
}

void sieve_stop(void)
{
	end_thinning();
}
