/*
 * Transactions that have a connection of their own (alone.h): they wait for a slot as all do, within the account's
 * cap, and make one free where none becomes free by itself. Called by pool.c. What happens to them says something of
 * the relay where it is good news, as with any connection; what they end by is decided by who made them.
 */
#include "alone.h"

#include "health.h"
#include "learn.h"
#include "pool_private.h"
#include "smtp/reply.h"

static struct transaction *first_of(const struct pool *pool)
{
	return LIST_ENTRY_OF(pool->alone.next, struct transaction, node);
}

/* All mail that came before it has a connection: the next slot is its own. */
static bool its_turn(const struct pool *pool, const struct transaction *t)
{
	const struct list *first = pool->waiting.next;
	return list_empty(&pool->waiting) || LIST_ENTRY_OF(first, const struct transaction, node)->queued >= t->queued;
}

bool alone_is_next(const struct pool *pool)
{
	if (list_empty(&pool->alone) || timer_armed(&pool->paced) || !account_may_open(pool->account))
		return false;
	const struct transaction *t = first_of(pool);
	return !t->probe && its_turn(pool, t);
}

static struct connection *least_burdened(const struct pool *pool)
{
	struct connection *least = NULL;
	for (struct list *n = pool->busy.next; n != &pool->busy; n = n->next) {
		struct connection *c = connection_of_node(n);
		if (!connection_is_alone(c) && (least == NULL || connection_burden(c) < connection_burden(least)))
			least = c;
	}
	return least;
}

/* The account is full: a connection without mail goes, or else one as soon as it has sent what it has. */
static void make_room(struct pool *pool, const struct transaction *t)
{
	if (clock_now() < pool->account->not_before || account_staying(pool->account) < account_max(pool->account))
		return; /* one is about to be free */
	if (pool_give_up_idle(pool) || account_make_room(pool->account, pool))
		return;
	struct connection *c = its_turn(pool, t) ? least_burdened(pool) : NULL;
	if (c != NULL)
		connection_retire(c);
}

static void give_back(struct pool *pool, struct transaction *t, struct reply *why, enum transaction_end end)
{
	list_remove(&t->node);
	reply_unref(&t->local);
	t->local = reply_ref(why);
	pool->owner->back(t, end);
}

/* The back-off after failures is for mail: this one is there to see what happens. */
void alone_open(struct pool *pool)
{
	while (!list_empty(&pool->alone) && !pool->hold) {
		struct transaction *t = first_of(pool);
		if (health_cannot_encrypt(pool)) {
			give_back(pool, t, pool->down, END_REFUSED);
			continue;
		}
		if (!account_may_open(pool->account)) {
			make_room(pool, t);
			return;
		}
		if (!t->probe && pool_paced(pool))
			return;
		list_remove(&t->node);
		t->waited = clock_now() - t->queued;
		transaction_restart(t);
		t->connection = pool_open(pool, t);
		(void)account_turn_over(pool->account, pool);
	}
}

void alone_begin(struct pool *pool, struct connection *c)
{
	struct transaction *t = connection_alone(c);
	t->setup = connection_ready_at(c) - connection_created(c);
	if (!t->probe)
		pool->transactions++;
	connection_begin_alone(c, transaction_unfit(t, connection_announced(c)));
}

enum transaction_end alone_back(struct pool *pool, struct connection *c, struct transaction *t,
				enum transaction_end end)
{
	if (end == END_REPLIED)
		health_note_back(pool, c, t, end);
	return t->probe ? end : learn_throttle(pool, c, t, end);
}

void alone_give_back(struct pool *pool, struct reply *why)
{
	while (!list_empty(&pool->alone))
		give_back(pool, first_of(pool), why, END_CANCELLED);
}
