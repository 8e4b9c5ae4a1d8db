/*
 * The router: owns pools, accounts and deliveries, and is the relay room's only door. Called by ingest, admin and
 * main. What becomes of a message is delivery.c's matter, what becomes of a connection pool.c's.
 */
#include "relay/route.h"

#include <stdlib.h>
#include <string.h>

#include "base/conf.h"
#include "base/mem.h"
#include "relay/delivery.h"
#include "relay/memory.h"
#include "relay/pool.h"
#include "relay/probe.h"
#include "smtp/reply.h"
#include "smtp/tag.h"
#include "wait.h"

#define TICK (USEC_PER_SEC / 4)
#define TAG_ROOM (sizeof(TAG_HEADER) + TAG_VALUE_MAX)

struct router {
	struct delivery_router base; /* first: pools and deliveries get to it */
	struct conf *conf;           /* held */
	struct list accounts;
	struct memory *memory;
	struct timer tick; /* while there is mail: shares */
	unsigned ticks;
	struct timer finish; /* tells main that all is over, from the loop */
	void (*done)(void *arg);
	void *done_arg;
};

static const struct pool_owner callbacks;
static void on_deliveries_over(struct delivery_router *base);
static struct router *the_router; /* pools tell it what they announce; there is one for each process */

static struct pool *pool_of(struct list *node)
{
	return LIST_ENTRY_OF(node, struct pool, node);
}

/* The pool of a relay that takes transactions: retired ones only bring theirs to an end. */
static struct pool *live_pool(struct delivery_router *base, const char *relay)
{
	LIST_EACH (node, next, &base->pools) {
		struct pool *pool = pool_of(node);
		if (!(pool->hold & HOLD_RETIRED) && strcmp(pool->relay->name, relay) == 0)
			return pool;
	}
	return NULL;
}

static void add_pool(struct router *router, const struct relay_conf *relay, bool unclean)
{
	struct account *account = account_get(&router->accounts, relay->account, unclean);
	struct pool *pool = pool_create(relay, account, &callbacks, memory_learned(router->memory, relay->name));
	const struct capabilities *caps = memory_announced(router->memory, relay->name);
	pool->recipients_announced = caps ? caps->rcpt_max : 0;
	LIST_EACH (node, next, &router->base.pools) { /* what was last told or ordered of it stands, and its rate */
		struct pool *before = pool_of(node);
		if (strcmp(before->relay->name, relay->name) != 0)
			continue;
		pool->told_down = before->told_down;
		pool->rate.next = before->rate.next;
		pool->hold = before->hold & (HOLD_PAUSED | HOLD_DRAINED);
	}
	list_append(&router->base.pools, &pool->node);
}

static void on_finish(void *arg)
{
	struct router *router = arg;
	router->done(router->done_arg);
}

static void on_tick(void *arg)
{
	struct router *router = arg;
	unsigned now = (unsigned)list_count(&router->base.deliveries);
	if (now < router->base.peak && ++router->ticks % 4 == 0) /* forgotten slowly, within minutes */
		router->base.peak -= 1 + (router->base.peak - now) / 90;
	LIST_EACH (node, next, &router->base.pools)
		delivery_share(&router->base, pool_of(node));
	if (!list_empty(&router->base.deliveries))
		timer_arm(&router->tick, TICK);
}

struct router *router_create(struct conf *conf, bool unclean)
{
	struct router *router = mem_alloc(sizeof(*router));
	list_init(&router->base.pools);
	list_init(&router->base.deliveries);
	list_init(&router->base.probes);
	list_init(&router->accounts);
	router->base.pool = live_pool;
	router->base.quiet = on_deliveries_over;
	router->conf = conf_ref(conf);
	router->memory = memory_create(conf->spool_directory);
	timer_init(&router->tick, "shares", on_tick, router);
	timer_init(&router->finish, "all is over", on_finish, router);
	the_router = router;
	for (size_t i = 0; i < conf->relay_count; i++)
		add_pool(router, &conf->relays[i], unclean);
	return router;
}

void router_free(struct router *router)
{
	router->base.stopping = true;
	delivery_refuse_new(&router->base);
	while (!list_empty(&router->base.pools))
		pool_free(pool_of(router->base.pools.next));
	timer_cancel(&router->tick);
	timer_cancel(&router->finish);
	memory_free(router->memory);
	conf_unref(&router->conf);
	the_router = NULL;
	free(router);
}

static void retire(struct pool *pool)
{
	pool_hold(pool, HOLD_RETIRED);
}

void router_reload(struct router *router, struct conf *conf)
{
	struct conf *old = router->conf;
	router->conf = conf_ref(conf);
	LIST_EACH (node, next, &router->base.pools) {
		struct pool *pool = pool_of(node);
		const struct relay_conf *relay = conf_relay(conf, pool->relay->name);
		if (pool->hold & HOLD_RETIRED)
			continue;
		if (relay == NULL || !pool_reconfigure(pool, relay))
			retire(pool);
	}
	for (size_t i = 0; i < conf->relay_count; i++)
		if (live_pool(&router->base, conf->relays[i].name) == NULL)
			add_pool(router, &conf->relays[i], false);
	LIST_EACH (again, next_again, &router->base.pools)
		if (pool_of(again)->hold & HOLD_RETIRED)
			delivery_resubmit(pool_of(again));
	conf_unref(&old);
}

void router_take(struct router *router, struct message *message)
{
	delivery_begin(&router->base, message);
	if (!timer_armed(&router->tick))
		timer_arm(&router->tick, TICK);
}

void router_abandon(struct router *router, struct message *message)
{
	delivery_abandon(&router->base, message);
}

/* Whether the sender is needed to tell which route a message takes. */
static bool senders_matter(const struct conf *conf)
{
	for (size_t i = 0; i < conf->route_count; i++)
		if (conf->routes[i].sender_count > 0 && !route_conf_needs_tag(&conf->routes[i]))
			return true;
	return false;
}

void router_warm(struct router *router, const char *sender, const char *recipient)
{
	if (sender == NULL && senders_matter(router->conf))
		return;
	/* Which tag it will have is not known before its end; most mail takes the route that needs none. */
	int index = delivery_route(router->conf, 0, sender, recipient);
	const struct route_conf *route = index < 0 ? NULL : &router->conf->routes[index];
	for (size_t i = 0; route != NULL && i < route->relay_count; i++) {
		struct pool *pool = live_pool(&router->base, route->relays[i]->name);
		if (pool != NULL && pool_usable(pool)) {
			pool_warm(pool);
			return;
		}
	}
}

void router_offer(const struct router *router, struct capabilities *out)
{
	size_t count = router->conf->relay_count;
	const struct capabilities **known = mem_array(count, sizeof(*known));
	for (size_t i = 0; i < count; i++)
		known[i] = memory_announced(router->memory, router->conf->relays[i].name);
	capabilities_mirror(known, count, out);
	if (out->size > 0) /* the MTA counts the tag, which the relay never sees */
		out->size += TAG_ROOM;
	free(known);
}

/* ---- the end ---- */

static void finish_if_over(struct router *router)
{
	if (!router->base.stopping || router->done == NULL || !list_empty(&router->base.deliveries))
		return;
	LIST_EACH (node, next, &router->base.pools)
		if (!pool_quiet(pool_of(node)))
			return;
	if (!timer_armed(&router->finish))
		timer_arm(&router->finish, 0);
}

/* Nothing begins any more, and who waits has his verdict. */
static void stop(struct router *router)
{
	struct reply *stopping = reply_local(LOCAL_SHUTDOWN, 451, "4.3.2", "relaypoold is stopping");
	router->base.stopping = true;
	LIST_EACH (node, next, &router->base.pools) {
		pool_cancel_waiting(pool_of(node), stopping);
		pool_hold(pool_of(node), HOLD_STOPPED);
	}
	reply_unref(&stopping);
	probe_stop_all(&router->base, false);
	delivery_refuse_new(&router->base);
}

void router_shutdown(struct router *router, void (*done)(void *arg), void *arg)
{
	router->done = done;
	router->done_arg = arg;
	stop(router);
	finish_if_over(router);
}

void router_abort(struct router *router)
{
	stop(router);
	probe_stop_all(&router->base, true);
	delivery_abort_all(&router->base);
}

static void on_deliveries_over(struct delivery_router *base)
{
	finish_if_over(LIST_ENTRY_OF(base, struct router, base));
}

static void on_pool_empty(struct pool *pool)
{
	if (pool->hold & HOLD_RETIRED)
		pool_free(pool);
	finish_if_over(the_router);
}

static void on_announced(struct pool *pool, const struct capabilities *caps)
{
	pool->recipients_announced = caps->rcpt_max;
	memory_set_announced(the_router->memory, pool->relay->name, caps);
}

static void on_learned(struct pool *pool)
{
	struct learned learned;
	if (pool->hold & HOLD_RETIRED) /* another pool of this name may know better */
		return;
	pool_learned(pool, &learned);
	memory_set_learned(the_router->memory, pool->relay->name, &learned);
}

static void on_back(struct transaction *t, enum transaction_end end)
{
	if (t->alone)
		probe_back(t, end);
	else
		delivery_back(t, end);
}

static const struct pool_owner callbacks = {
	.back = on_back,
	.announced = on_announced,
	.learned = on_learned,
	.empty = on_pool_empty,
};

/* ---- ctl ---- */

/* Does something to one relay's pool, or to all. False if there is none of that name. */
static bool each_named(struct router *router, const char *relay, void (*act)(struct pool *pool))
{
	bool found = relay == NULL;
	LIST_EACH (node, next, &router->base.pools) {
		struct pool *pool = pool_of(node);
		if ((pool->hold & HOLD_RETIRED) || (relay != NULL && strcmp(pool->relay->name, relay) != 0))
			continue;
		found = true;
		act(pool);
	}
	return found;
}

static void act_pause(struct pool *pool)
{
	pool_hold(pool, HOLD_PAUSED);
}

static void act_resume(struct pool *pool)
{
	pool_unhold(pool, HOLD_PAUSED | HOLD_DRAINED);
}

static void act_drain(struct pool *pool)
{
	pool_hold(pool, HOLD_DRAINED);
}

bool router_pause(struct router *router, const char *relay)
{
	return each_named(router, relay, act_pause);
}

bool router_resume(struct router *router, const char *relay)
{
	return each_named(router, relay, act_resume);
}

bool router_drain(struct router *router, const char *relay)
{
	return each_named(router, relay, act_drain);
}

bool router_forget(struct router *router, const char *relay)
{
	return each_named(router, relay, pool_forget);
}

bool router_reconnect(struct router *router, const char *relay)
{
	return each_named(router, relay, pool_reconnect);
}

int router_route(const struct router *router, const char *sender, const char *recipient)
{
	return delivery_route(router->conf, 0, sender, recipient);
}

struct probe *router_probe(struct router *router, const struct probe_request *request, probe_done_fn *done, void *arg,
			   char *error)
{
	return probe_begin(&router->base, router->conf, request, done, arg, error);
}

void router_each_pool(const struct router *router, pool_view_fn *fn, void *arg)
{
	for (const struct list *n = router->base.pools.next; n != &router->base.pools; n = n->next) {
		struct pool_view view;
		const struct pool *pool = LIST_ENTRY_OF(n, struct pool, node);
		pool_view(pool, &view);
		view.announced = memory_announced(router->memory, pool->relay->name);
		if (view.announced != NULL)
			view.mode = pipeline_mode_names[pipeline_mode_for(pool->mode, view.announced)];
		fn(&view, arg);
	}
}

void router_each_connection(const struct router *router, connection_view_fn *fn, void *arg)
{
	for (const struct list *n = router->base.pools.next; n != &router->base.pools; n = n->next)
		pool_each_connection(LIST_ENTRY_OF(n, struct pool, node), fn, arg);
}

void router_each_transaction(const struct router *router, void (*fn)(const struct transaction_view *view, void *arg),
			     void *arg)
{
	delivery_each_transaction(&router->base, fn, arg);
}

void router_each_wait(const struct router *router, wait_fn *fn, void *arg)
{
	for (const struct list *n = router->base.pools.next; n != &router->base.pools; n = n->next)
		wait_each(LIST_ENTRY_OF(n, struct pool, node), fn, arg);
}
