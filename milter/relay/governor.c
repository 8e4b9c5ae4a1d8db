/*
 * Accounts: the hard cap on sockets, shared by pools. Asked by pools; never opens or closes anything itself.
 */
#include "relay/governor.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "relay/pool.h"

#define LAG_FIRST (50 * USEC_PER_MSEC)
#define LAG_MOST USEC_PER_SEC
#define CROWD_KEPT (2 * USEC_PER_SEC) /* a server learns from its child processes how many connections it has */

static struct pool *pool_of(struct list *node)
{
	return LIST_ENTRY_OF(node, struct pool, account_node);
}

static void on_waited(void *arg)
{
	account_slot_free(arg);
}

struct account *account_get(struct list *accounts, const char *name, bool unclean)
{
	LIST_EACH (node, next, accounts) {
		struct account *known = LIST_ENTRY_OF(node, struct account, node);
		if (strcmp(known->name, name) == 0)
			return known;
	}
	struct account *account = mem_alloc(sizeof(*account));
	list_init(&account->pools);
	account->name = mem_strdup(name);
	timer_init(&account->wait, "slots after an unclean start", on_waited, account);
	if (unclean) {
		account->not_before = clock_now() + GOVERNOR_UNCLEAN_WAIT;
		timer_arm(&account->wait, GOVERNOR_UNCLEAN_WAIT);
	}
	list_append(accounts, &account->node);
	return account;
}

void account_release(struct account *account)
{
	if (!list_empty(&account->pools))
		return;
	timer_cancel(&account->wait);
	list_remove(&account->node);
	free(account->name);
	free(account);
}

unsigned account_sockets(const struct account *account)
{
	unsigned sockets = 0;
	for (struct list *n = account->pools.next; n != &account->pools; n = n->next)
		sockets += pool_sockets(pool_of(n));
	return sockets;
}

unsigned account_staying(const struct account *account)
{
	unsigned staying = 0;
	for (struct list *n = account->pools.next; n != &account->pools; n = n->next)
		staying += pool_staying(pool_of(n));
	return staying;
}

static unsigned ready_now(const struct account *account)
{
	size_t ready = 0;
	for (struct list *n = account->pools.next; n != &account->pools; n = n->next)
		ready += list_count(&pool_of(n)->idle) + list_count(&pool_of(n)->busy);
	return (unsigned)ready;
}

static bool crowd_is_over(const struct account *account)
{
	return clock_now() - account->crowd_at >= CROWD_KEPT;
}

unsigned account_ready(const struct account *account)
{
	unsigned ready = ready_now(account);
	return ready > account->crowd || crowd_is_over(account) ? ready : account->crowd;
}

void account_note_leaving(struct account *account)
{
	unsigned ready = ready_now(account);
	if (ready < account->crowd && !crowd_is_over(account))
		return;
	account->crowd = ready;
	account->crowd_at = clock_now();
}

static void wait_until(struct account *account, usec_t when)
{
	if (when <= account->not_before)
		return;
	account->not_before = when;
	timer_arm(&account->wait, when - clock_now());
}

bool account_lags(struct account *account, int64_t most)
{
	if (most <= 0 || account_ready(account) < most || ready_now(account) >= most)
		return false;
	account->lag = account->lag == 0 ? LAG_FIRST : account->lag < LAG_MOST / 2 ? 2 * account->lag : LAG_MOST;
	wait_until(account, clock_now() + account->lag);
	return true;
}

void account_note_gone(struct account *account)
{
	if (account->lag > 0)
		wait_until(account, clock_now() + account->lag);
}

unsigned account_max(const struct account *account)
{
	unsigned max = UINT_MAX;
	for (struct list *n = account->pools.next; n != &account->pools; n = n->next) {
		const struct pool *pool = pool_of(n);
		unsigned least = (unsigned)limits_least(&pool->limits, LIMIT_CONNECTIONS, pool->relay->max_connections);
		if (!(pool->hold & HOLD_RETIRED) && least < max)
			max = least;
	}
	return max == UINT_MAX ? 0 : max;
}

bool account_may_open(const struct account *account)
{
	return clock_now() >= account->not_before && account_sockets(account) < account_max(account);
}

bool account_has_spare(const struct account *account, const struct pool *pool)
{
	unsigned needed = 0;
	for (struct list *n = account->pools.next; n != &account->pools; n = n->next)
		needed += pool_of(n) != pool ? pool_needs(pool_of(n)) : 0;
	return account_sockets(account) + needed < account_max(account);
}

void account_idle(struct account *account, const struct pool *pool)
{
	if (account_may_open(account))
		return;
	LIST_EACH (node, next, &account->pools)
		if (pool_of(node) != pool && pool_needs(pool_of(node)) > 0)
			pool_dispatch_soon(pool_of(node));
}

/* A slot that is about to be free will do. */
static bool room_is_coming(const struct account *account)
{
	for (struct list *n = account->pools.next; n != &account->pools; n = n->next)
		if (!list_empty(&pool_of(n)->closing) || !list_empty(&pool_of(n)->lingering))
			return true;
	return false;
}

bool account_make_room(struct account *account, const struct pool *pool)
{
	if (room_is_coming(account))
		return true;
	LIST_EACH (node, next, &account->pools) {
		struct pool *other = pool_of(node);
		if (other != pool && pool_give_up_idle(other))
			return true;
	}
	return false;
}

void account_slot_free(struct account *account)
{
	/* Armed anew where it is armed already: whose connection has just ended would else always look first. */
	LIST_EACH (node, next, &account->pools)
		timer_arm(&pool_of(node)->dispatch, 0);
}

bool account_turn_over(struct account *account, struct pool *pool)
{
	list_remove(&pool->account_node);
	list_append(&account->pools, &pool->account_node);
	if (!account_may_open(account))
		return false;
	LIST_EACH (node, next, &account->pools)
		if (pool_of(node) != pool && pool_needs(pool_of(node)) > 0) {
			account_slot_free(account);
			return true;
		}
	return false;
}
