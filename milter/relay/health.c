/*
 * Whether a relay works (health.h): failures in a row and the back-off after them, down and up. Called by pool.c as its
 * connections tell; decided by trouble.c.
 */
#include "health.h"

#include <stdlib.h>

#include "base/chance.h"
#include "pool_private.h"
#include "smtp/reply.h"

#define LOST_MAX 5 /* so many transactions in a row lost with their connection count as one failure */
/* A connection that stays so long is set up for good. Shorter than any relay waits for a command, even under stress. */
#define SETTLED (5 * USEC_PER_SEC)

static void go_down(struct pool *pool, struct reply *why)
{
	if (pool->down == NULL)
		pool->down_since = clock_now();
	if (!pool->told_down) {
		pool->told_down = true;
		pool_tell(pool, EVENT_RELAY_DOWN, NULL, why->text);
	}
	reply_unref(&pool->down);
	pool->down = reply_ref(why);
	/* Who waits goes to the next relay of its route, or back to the MTA. */
	pool_give_back_waiting(pool, why, END_REFUSED);
}

static void come_up(struct pool *pool)
{
	if (!pool->losing) { /* else only a transaction that comes to its end shows that it works again */
		pool->proven = true;
		timer_cancel(&pool->retry);
	}
	if (pool->told_down)
		pool_tell(pool, EVENT_RELAY_UP, NULL, NULL);
	pool->told_down = false;
	reply_unref(&pool->down);
}

void health_prove(struct pool *pool)
{
	pool->losing = pool->dropping = false;
	pool->failures = 0;
	timer_cancel(&pool->settled);
	come_up(pool);
}

/* A connection that may still carry something, besides `lost`. */
static bool alive(const struct pool *pool, struct connection *lost)
{
	size_t live = list_count(&pool->idle) + list_count(&pool->busy);
	enum connection_state state = connection_state(lost);
	return live > (state == CONNECTION_IDLE || state == CONNECTION_BUSY);
}

void health_fail(struct pool *pool, struct connection *lost, struct reply *why, enum setup_fault fault)
{
	if (timer_armed(&pool->retry) || pool->hold & ~(unsigned)HOLD_PAUSED)
		return;
	pool->proven = false;
	pool->failures++;
	pool->failed_at = clock_now();
	timer_cancel(&pool->settled);
	pool->first_host++;
	pool->known_length = 0;
	usec_t wait = trouble_backoff(fault, pool->failures);
	timer_arm(&pool->retry, wait - wait / 4 + (usec_t)(chance_below(500) * (uint64_t)wait / 1000));
	if ((pool->losing || !alive(pool, lost)) &&
	    (fault == FAULT_SETTINGS || pool->failures >= TROUBLE_FAILURES_DOWN))
		go_down(pool, why);
}

void health_note_ready(struct pool *pool)
{
	if (!pool->dropping) /* else it may be closed at once like the ones before */
		come_up(pool);
	if (pool->failures > 0 && !timer_armed(&pool->settled))
		timer_arm(&pool->settled, SETTLED);
}

/* When the connection that has stayed longest since the last failure was set up; -1: there is none. */
static usec_t standing_since(const struct pool *pool)
{
	const struct list *lists[] = {&pool->idle, &pool->busy};
	usec_t since = -1;
	for (size_t i = 0; i < 2; i++)
		for (struct list *n = lists[i]->next; n != lists[i]; n = n->next) {
			usec_t ready = connection_ready_at(connection_of_node(n));
			if (ready >= pool->failed_at && (since < 0 || ready < since))
				since = ready;
		}
	return since;
}

void health_on_settled(void *arg)
{
	struct pool *pool = arg;
	usec_t since = standing_since(pool);
	usec_t left = since < 0 ? 0 : since + SETTLED - clock_now();
	if (left > 0)
		timer_arm(&pool->settled, left);
	else if (since >= 0 && !pool->losing)
		health_prove(pool);
	pool_dispatch_soon(pool);
}

/* Set up, and closed by the relay before it was given anything: no better than no greeting. */
static bool dropped(const struct connection *c, const char *why)
{
	return why != NULL && connection_uses(c) == 0 && !connection_life_over(c) &&
	       clock_now() - connection_ready_at(c) < SETTLED;
}

void health_note_lost(struct pool *pool, struct connection *c, const char *why)
{
	if (!dropped(c, why))
		return;
	pool->dropping = true;
	struct reply *trouble = reply_local(LOCAL_RELAY_DOWN, 451, "4.4.2",
					    "connections are closed as soon as they are set up: %s", why);
	health_fail(pool, c, trouble, FAULT_PASSING);
	reply_unref(&trouble);
}

/* A relay that takes connections and then fails is no better than one that takes none. */
static void lose_again(struct pool *pool, struct connection *c, const struct transaction *t)
{
	char line[512];
	pool->lost_in_row = 0;
	pool->losing = true;
	struct reply *why = reply_local(LOCAL_RELAY_DOWN, 451, "4.4.2", "connections are lost again and again: %s",
					reply_line(t->last_trouble, line, sizeof(line)));
	health_fail(pool, c, why, FAULT_PASSING);
	reply_unref(&why);
}

void health_note_back(struct pool *pool, struct connection *c, const struct transaction *t, enum transaction_end end)
{
	if (end == END_REPLIED || end == END_THROTTLED) {
		pool->lost_in_row = 0;
		if (pool->losing || (pool->failures > 0 && connection_ready_at(c) >= pool->failed_at))
			health_prove(pool);
	} else if ((end == END_UNSENT || end == END_CONFUSED || end == END_CLOSING) && !t->stale) {
		pool->lost_in_row++;
	}
	if (pool->lost_in_row >= LOST_MAX && t->last_trouble != NULL)
		lose_again(pool, c, t);
}

bool health_cannot_encrypt(const struct pool *pool)
{
	return pool->relay->tls != TLS_NONE && pool->tls == NULL;
}

bool health_may_open(const struct pool *pool)
{
	if (pool->hold || timer_armed(&pool->retry) || health_cannot_encrypt(pool))
		return false;
	if (pool->dropping && timer_armed(&pool->settled))
		return false; /* the trial is set up, and will show whether it stays */
	/* After a failure one trial at a time; a probe is none of them. */
	return pool->failures == 0 || pool_opening(pool) == 0;
}
