/*
 * One message on its way: recipients are grouped into transactions by route, what comes back is repeated, sent to the
 * next relay or settled, and the deadline is kept. Called by the router. Never touches a connection.
 */
#include "relay/delivery.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/conf.h"
#include "base/journey.h"
#include "base/mem.h"
#include "base/publish.h"
#include "base/spool.h"
#include "relay/trouble.h"
#include "smtp/envelope.h"
#include "smtp/reply.h"
#include "wait.h"

#define SHARE_RECENT (300 * USEC_PER_SEC) /* a relay that had mail so recently has a claim to its share */
#define SHARE_SESSIONS 20U                /* an MTA uses so many at least: Postfix's default for one destination */
#define SHARE_LEAST 2U

/* What the delivery's timer is for. */
enum delivery_phase {
	DELIVERY_NEW = 0, /* to be routed at the next turn of the loop */
	DELIVERY_OPEN,    /* transactions may begin, until reply-reserve is all that is left */
	DELIVERY_LATE     /* nothing begins any more; what runs may end, until the deadline */
};

struct delivery {
	struct list node;
	struct delivery_router *router;
	struct message *message; /* held */
	struct list transactions;
	enum delivery_phase phase;
	struct timer timer;
};

static void on_timer(void *arg);

/* ---- verdicts ---- */

static void fill_times(struct event *event, const struct message *m, const struct transaction *t)
{
	usec_t now = clock_now();
	event->delays.queue = m->queue_time;
	event->delays.pool = t ? t->waited + (t->connection ? 0 : now - t->queued) : -1;
	event->delays.setup = t && t->connection ? (t->setup > 0 ? t->setup : 0) : -1;
	/* Begun once and waiting again: nothing is being transferred. */
	event->delays.transfer = t && t->connection && t->begun >= 0 ? now - t->begun : -1;
	event->delay = now - m->arrived + (m->queue_time > 0 ? m->queue_time : 0);
}

/* All stages up to now. Without a transaction there was only the way in. */
static struct journey journey_of(const struct message *m, const struct transaction *t)
{
	struct journey journey;
	if (t != NULL) {
		journey = t->journey;
	} else {
		journey_init(&journey);
		journey_add(&journey, STAGE_INGEST, m->complete - m->arrived);
		journey_enter(&journey, STAGE_POOL, m->complete);
	}
	journey_enter(&journey, STAGE_COUNT, clock_now());
	return journey;
}

void delivery_publish(const struct message *m, const struct transaction *t, struct reply *reply, unsigned count,
		      bool repeated)
{
	const struct connection *c = t ? t->connection : NULL;
	struct journey journey = journey_of(m, t);
	struct event event = {
		.kind = EVENT_OUTCOME,
		.relay = t && t->pool ? t->pool->relay->name : "-",
		.host = c ? connection_host(c) : "-",
		.connection = c ? connection_id(c) : 0,
		.use = c ? t->use : 0,
		.message = m,
		.reply = reply,
		.status = reply_status_of(reply),
		.ambiguous = reply->local == LOCAL_AMBIGUOUS,
		.recipients = count,
		.repeated = repeated,
		.journey = &journey,
		.held_by = t ? transaction_held_by(t) : CAUSE_COUNT,
	};
	fill_times(&event, m, t);
	publish(&event);
}

/* Gives each recipient its verdict; those with the same one are told of together. verdicts[i] NULL: not yet. */
static void settle(struct transaction *t, struct reply *const *verdicts)
{
	bool repeated = false;
	for (size_t i = 0; i < t->recipient_count; i++) {
		unsigned same = 0;
		if (verdicts[i] == NULL || t->recipients[i]->verdict != NULL)
			continue;
		for (size_t j = i; j < t->recipient_count; j++)
			same += verdicts[j] == verdicts[i];
		delivery_publish(t->message, t, verdicts[i], same, repeated);
		repeated = true;
		for (size_t j = i; j < t->recipient_count; j++)
			if (verdicts[j] == verdicts[i])
				message_settle(t->recipients[j], verdicts[j]);
	}
}

static void settle_all(struct transaction *t, struct reply *reply)
{
	struct reply **verdicts = mem_array(t->recipient_count, sizeof(struct reply *));
	for (size_t i = 0; i < t->recipient_count; i++)
		verdicts[i] = reply;
	settle(t, verdicts);
	free(verdicts);
}

static void drop(struct transaction *t)
{
	list_remove(&t->sibling);
	transaction_free(t);
}

static void end_if_done(struct delivery *d)
{
	if (d->phase == DELIVERY_NEW || !list_empty(&d->transactions))
		return;
	assert(d->message->abandoned || message_unsettled(d->message) == 0);
	timer_cancel(&d->timer);
	list_remove(&d->node);
	message_unref(&d->message);
	if (list_empty(&d->router->deliveries))
		d->router->quiet(d->router);
	free(d);
}

/* ---- where a transaction goes ---- */

static const struct route_conf *route_of(const struct transaction *t)
{
	return &t->message->conf->routes[t->recipients[0]->route];
}

static struct reply *down_reply(const struct pool *pool)
{
	usec_t wait = timer_armed(&pool->retry) ? pool->retry.due - clock_now() : 0;
	return reply_local(LOCAL_RELAY_DOWN, pool->down->code, pool->down->enhanced,
			   "relay %s cannot be used for %lld s now: %s; next attempt in %lld s", pool->relay->name,
			   (long long)((clock_now() - pool->down_since) / USEC_PER_SEC), pool->down->text,
			   (long long)(wait / USEC_PER_SEC));
}

struct pool *delivery_choose(struct delivery_router *router, const struct route_conf *route, size_t *index,
			     struct reply **why)
{
	size_t from = *index;
	*why = NULL;
	for (unsigned held = 0; held < 2; held++)
		for (size_t i = from; i < route->relay_count; i++) {
			struct pool *pool = router->pool(router, route->relays[i]->name);
			if (pool == NULL)
				continue;
			*index = i;
			if (held ? pool->down == NULL : pool_usable(pool) && !pool_takes_nothing(pool)) {
				reply_unref(why);
				return pool;
			}
			if (pool->down != NULL && *why == NULL)
				*why = down_reply(pool);
		}
	return NULL;
}

static void give_up(struct transaction *t, struct reply *reply)
{
	if (reply != NULL) {
		settle_all(t, reply);
	} else {
		struct reply *none = reply_local(LOCAL_NO_ROUTE, 451, "4.3.5", "no relay of route %s is configured",
						 route_of(t)->name);
		settle_all(t, none);
		reply_unref(&none);
	}
	drop(t);
}

/* A relay says that it can never take it, but not all of the route have been asked: another attempt may find one. */
static struct reply *refused_by_some(struct transaction *t, struct reply *said)
{
	char line[512];
	if (reply_status_of(said) != STATUS_BOUNCED || t->unfit == route_of(t)->relay_count)
		return reply_ref(said);
	return reply_local(LOCAL_RELAY_DOWN, 451, "4.4.1", "relay %s cannot take it, others cannot be asked now: %s",
			   t->pool->relay->name, reply_line(said, line, sizeof(line)));
}

static struct reply *may_not_begin(const struct delivery *d, const struct transaction *t)
{
	char last[512] = "";
	if (d->router->stopping)
		return reply_local(LOCAL_SHUTDOWN, 451, "4.3.2", "relaypoold is stopping");
	if (d->phase != DELIVERY_LATE)
		return NULL;
	const struct reply *trouble = t->last_trouble ? t->last_trouble : t->pool ? t->pool->throttle_why : NULL;
	if (trouble != NULL)
		(void)reply_line(trouble, last, sizeof(last));
	return reply_local(LOCAL_NO_TIME, 451, "4.3.2",
			   "waited too long to begin the transaction within the deadline%s%s", *last ? "; last: " : "",
			   last);
}

/* How many of its sessions the MTA spends on this relay: waiting or under way. */
static unsigned held_by(const struct pool *pool)
{
	return (unsigned)list_count(&pool->waiting) + pool_in_flight(pool);
}

/* How many of the sessions one relay may hold: as many as any other that has had mail lately. */
static unsigned share_of(const struct delivery_router *router, const struct pool *pool)
{
	unsigned claims = 1, sessions = router->peak > SHARE_SESSIONS ? router->peak : SHARE_SESSIONS;
	for (const struct list *n = router->pools.next; n != &router->pools; n = n->next) {
		const struct pool *other = LIST_ENTRY_OF(n, struct pool, node);
		if (other != pool && !(other->hold & HOLD_RETIRED) && other->last_mail > 0 &&
		    clock_now() - other->last_mail < SHARE_RECENT)
			claims++;
	}
	unsigned share = sessions / claims;
	return claims == 1 ? UINT32_MAX : share > SHARE_LEAST ? share : SHARE_LEAST;
}

static struct reply *beyond_share(const struct pool *pool)
{
	return reply_local(
		LOCAL_CAPACITY, 451, "4.3.2",
		"relay %s does not keep up: %u messages of it wait here already, other relays have had mail lately",
		pool->relay->name, (unsigned)list_count(&pool->waiting));
}

/* Whether a stalled relay would hold more than its share with `more` messages besides those it has. */
static bool over_share(const struct delivery_router *router, const struct pool *pool, unsigned more)
{
	return pool_stalled(pool) && held_by(pool) + more > share_of(router, pool);
}

static void submit(struct delivery *d, struct transaction *t, bool again);

/* This relay will not do: the next one of the route, or else the reply `why`. */
static void move_on(struct delivery *d, struct transaction *t, struct reply *why)
{
	if (t->relay_index + 1 < route_of(t)->relay_count && !t->withdrawn) {
		t->relay_index++;
		t->losses = 0;
		submit(d, t, false);
	} else {
		give_up(t, why);
	}
}

static void submit(struct delivery *d, struct transaction *t, bool again)
{
	struct reply *why = may_not_begin(d, t);
	struct pool *pool = why ? NULL : delivery_choose(d->router, route_of(t), &t->relay_index, &why);
	if (pool == NULL) {
		give_up(t, why);
	} else if (!again && over_share(d->router, pool, 1)) {
		why = beyond_share(pool);
		move_on(d, t, why);
	} else {
		/* Whom the relay wants later goes behind the others: it may be about this one after all. */
		pool_submit(pool, t, again && t->throttles == 0);
	}
	reply_unref(&why);
}

/* Puts recipients of one route into a transaction of their own. */
static struct transaction *add_transaction(struct delivery *d, struct recipient *const *recipients, size_t count)
{
	struct transaction *t = transaction_create(d->message, recipients, count);
	t->delivery = d;
	t->queued = clock_now();
	list_append(&d->transactions, &t->sibling);
	return t;
}

/* ---- what comes back ---- */

/* The relay took some recipients and wants the rest in another transaction. */
static void send_rest(struct delivery *d, struct transaction *t)
{
	struct recipient **rest = mem_array(t->recipient_count, sizeof(struct recipient *));
	size_t count = 0;
	for (size_t i = 0; i < t->recipient_count; i++)
		if (trouble_recipient_again(t, i))
			rest[count++] = t->recipients[i];
	if (count > 0) {
		struct transaction *another = add_transaction(d, rest, count);
		another->relay_index = t->relay_index;
		another->journey = t->journey;
		memcpy(another->held, t->held, sizeof(another->held));
		pool_learn_recipients(t->pool, transaction_accepted(t));
		submit(d, another, true);
	}
	free(rest);
}

static void settle_replied(struct delivery *d, struct transaction *t)
{
	struct reply **verdicts = mem_array(t->recipient_count, sizeof(struct reply *));
	for (size_t i = 0; i < t->recipient_count; i++)
		verdicts[i] = trouble_recipient_again(t, i) ? NULL : transaction_verdict(t, i);
	settle(t, verdicts);
	free(verdicts);
	if (!t->withdrawn)
		send_rest(d, t);
	drop(t);
}

static void replay(struct delivery *d, struct transaction *t)
{
	struct event event = {
		.kind = EVENT_REPLAYED,
		.relay = t->pool->relay->name,
		.host = t->connection ? connection_host(t->connection) : "-",
		.connection = t->connection ? connection_id(t->connection) : 0,
		.message = t->message,
		.text = t->last_trouble ? t->last_trouble->text : NULL,
	};
	publish(&event);
	t->pool->replayed++;
	if (t->withdrawn)
		drop(t);
	else
		submit(d, t, true);
}

/* This relay cannot take it, or has lost it too often. */
static void try_next_relay(struct delivery *d, struct transaction *t, enum transaction_end end)
{
	struct reply *why = NULL;
	if (end == END_REFUSED) {
		t->unfit += reply_status_of(t->local) == STATUS_BOUNCED;
		why = refused_by_some(t, t->local);
	} else {
		why = trouble_defer(t, end, t->pool->relay->name);
	}
	move_on(d, t, why);
	reply_unref(&why);
}

static bool another_is_usable(struct delivery *d, const struct transaction *t)
{
	const struct route_conf *route = route_of(t);
	for (size_t i = t->relay_index + 1; i < route->relay_count; i++) {
		const struct pool *pool = d->router->pool(d->router, route->relays[i]->name);
		if (pool != NULL && pool_usable(pool) && !pool_takes_nothing(pool))
			return true;
	}
	return false;
}

/* What waits for a relay that takes nothing goes where it is taken; whoever comes when the pause is over tries it. */
static void leave(struct pool *pool)
{
	LIST_EACH (node, next, &pool->waiting) {
		struct transaction *t = LIST_ENTRY_OF(node, struct transaction, node);
		struct delivery *d = t->delivery;
		if (!another_is_usable(d, t))
			continue;
		pool_leave(t);
		move_on(d, t, pool->throttle_why);
		end_if_done(d);
	}
}

/* The relay wants it later. Where it has taken nothing at all for a while, the next one of the route is better. */
static void wait_for_the_relay(struct delivery *d, struct transaction *t)
{
	if (t->withdrawn)
		drop(t);
	else if (pool_takes_nothing(t->pool) && another_is_usable(d, t))
		move_on(d, t, t->last_trouble);
	else
		submit(d, t, true);
}

void delivery_back(struct transaction *t, enum transaction_end end)
{
	struct delivery *d = t->delivery;
	struct pool *pool = t->pool;
	struct reply *reply;
	switch (trouble_transaction(t, end)) {
	case DISPOSE_SETTLE:
		settle_replied(d, t);
		break;
	case DISPOSE_DEFER:
		reply = trouble_defer(t, end, t->pool->relay->name);
		give_up(t, reply);
		reply_unref(&reply);
		break;
	case DISPOSE_REPLAY:
		replay(d, t);
		break;
	case DISPOSE_WAIT:
		wait_for_the_relay(d, t);
		break;
	case DISPOSE_NEXT_RELAY:
		try_next_relay(d, t, end);
		break;
	case DISPOSE_FORGET:
		drop(t);
		break;
	}
	end_if_done(d);
	if (end == END_THROTTLED && pool_takes_nothing(pool))
		leave(pool); /* last: it may end any delivery */
}

/* ---- routing ---- */

int delivery_route(const struct conf *conf, uint64_t tagged, const char *sender, const char *recipient)
{
	for (size_t i = 0; i < conf->route_count; i++) {
		const struct route_conf *route = &conf->routes[i];
		if (route_conf_needs_tag(route) && !(tagged & (UINT64_C(1) << i)))
			continue;
		if (conf_address_matches(route->senders, route->sender_count, sender) &&
		    conf_address_matches(route->recipients, route->recipient_count, recipient))
			return (int)i;
	}
	return -1;
}

static void settle_unrouted(struct message *m)
{
	struct reply *none = reply_local(LOCAL_NO_ROUTE, 451, "4.3.5",
					 "no route of relaypool.conf matches this sender and recipient");
	unsigned count = 0;
	for (size_t i = 0; i < m->recipient_count; i++)
		count += m->recipients[i].route < 0;
	if (count > 0)
		delivery_publish(m, NULL, none, count, false);
	for (size_t i = 0; i < m->recipient_count; i++)
		if (m->recipients[i].route < 0)
			message_settle(&m->recipients[i], none);
	reply_unref(&none);
}

/* As many recipients in one transaction as the first relay of the route is known to take. */
static size_t most_recipients(struct delivery *d, int route)
{
	const struct route_conf *conf = &d->message->conf->routes[route];
	const struct pool *pool = d->router->pool(d->router, conf->relays[0]->name);
	size_t most = pool != NULL ? pool_most_recipients(pool) : 0;
	return most > 0 ? most : d->message->recipient_count;
}

static void begin_route(struct delivery *d, int route)
{
	struct message *m = d->message;
	struct recipient **group = mem_array(m->recipient_count, sizeof(struct recipient *));
	size_t count = 0, most = most_recipients(d, route);
	for (size_t i = 0; i < m->recipient_count; i++) {
		if (m->recipients[i].route == route)
			group[count++] = &m->recipients[i];
		if (count > 0 && (count == most || i + 1 == m->recipient_count)) {
			submit(d, add_transaction(d, group, count), false);
			count = 0;
		}
	}
	free(group);
}

static void begin(struct delivery *d)
{
	struct message *m = d->message;
	d->phase = DELIVERY_OPEN;
	for (size_t i = 0; i < m->recipient_count; i++)
		m->recipients[i].route = delivery_route(m->conf, m->routes, m->sender, m->recipients[i].address);
	settle_unrouted(m);
	usec_t left = m->deadline - m->conf->reply_reserve - clock_now();
	timer_arm(&d->timer, left > 0 ? left : 0);
	for (int route = 0; route < (int)m->conf->route_count; route++)
		begin_route(d, route);
	end_if_done(d);
}

/* ---- time ---- */

/* Reply-reserve is all that is left: what has not begun goes back to the MTA, unambiguously. */
static void become_late(struct delivery *d)
{
	usec_t left = d->message->deadline - clock_now();
	d->phase = DELIVERY_LATE;
	timer_arm(&d->timer, left > 0 ? left : 0);
	LIST_EACH (node, next, &d->transactions) {
		struct transaction *t = LIST_ENTRY_OF(node, struct transaction, sibling);
		if (t->connection != NULL)
			continue;
		struct reply *why = may_not_begin(d, t);
		pool_leave(t);
		give_up(t, why);
		reply_unref(&why);
	}
	end_if_done(d);
}

static void expire(struct delivery *d)
{
	LIST_EACH (node, next, &d->transactions) {
		struct transaction *t = LIST_ENTRY_OF(node, struct transaction, sibling);
		pool_expire(t);
	}
}

static void on_timer(void *arg)
{
	struct delivery *d = arg;
	switch (d->phase) {
	case DELIVERY_NEW:
		begin(d);
		break;
	case DELIVERY_OPEN:
		become_late(d);
		break;
	case DELIVERY_LATE:
		expire(d);
		break;
	}
}

/* ---- what the router asks ---- */

void delivery_begin(struct delivery_router *router, struct message *message)
{
	struct delivery *d = mem_alloc(sizeof(*d));
	d->router = router;
	d->message = message_ref(message);
	list_init(&d->transactions);
	timer_init(&d->timer, "delivery", on_timer, d);
	list_append(&router->deliveries, &d->node);
	unsigned count = (unsigned)list_count(&router->deliveries);
	if (count > router->peak)
		router->peak = count;
	timer_arm(&d->timer, 0);
}

static struct delivery *delivery_of(struct delivery_router *router, const struct message *message)
{
	LIST_EACH (node, next, &router->deliveries)
		if (LIST_ENTRY_OF(node, struct delivery, node)->message == message)
			return LIST_ENTRY_OF(node, struct delivery, node);
	return NULL;
}

void delivery_abandon(struct delivery_router *router, struct message *message)
{
	struct delivery *d = delivery_of(router, message);
	message->abandoned = true;
	message->owner = NULL;
	if (d == NULL)
		return;
	d->phase = d->phase == DELIVERY_NEW ? DELIVERY_OPEN : d->phase;
	/* What waits comes back at once and goes; the delivery stays until the last is back. */
	struct list holder;
	list_init(&holder);
	list_append(&d->transactions, &holder);
	while (d->transactions.next != &holder) {
		struct transaction *t = LIST_ENTRY_OF(d->transactions.next, struct transaction, sibling);
		list_remove(&t->sibling);
		list_append(&d->transactions, &t->sibling);
		pool_withdraw(t->pool, t);
	}
	list_remove(&holder);
	end_if_done(d);
}

void delivery_resubmit(struct pool *pool)
{
	while (!list_empty(&pool->waiting)) {
		/* From the end: each goes before those that are there already. */
		struct transaction *t = LIST_ENTRY_OF(pool->waiting.prev, struct transaction, node);
		struct delivery *d = t->delivery;
		pool_leave(t);
		t->waited += clock_now() - t->queued;
		t->queued = clock_now();
		submit(d, t, true);
		end_if_done(d);
	}
}

void delivery_share(struct delivery_router *router, struct pool *pool)
{
	struct reply *why = beyond_share(pool);
	while (over_share(router, pool, 0) && list_count(&pool->waiting) > 1) {
		/* The newest go: those that wait longest are served next. */
		struct transaction *t = LIST_ENTRY_OF(pool->waiting.prev, struct transaction, node);
		struct delivery *d = t->delivery;
		pool_leave(t);
		move_on(d, t, why);
		end_if_done(d);
	}
	reply_unref(&why);
}

void delivery_refuse_new(struct delivery_router *router)
{
	assert(router->stopping);
	LIST_EACH (node, next, &router->deliveries) {
		struct delivery *d = LIST_ENTRY_OF(node, struct delivery, node);
		if (d->phase == DELIVERY_NEW)
			begin(d);
	}
}

void delivery_abort_all(struct delivery_router *router)
{
	LIST_EACH (node, next, &router->deliveries)
		expire(LIST_ENTRY_OF(node, struct delivery, node));
}

void delivery_each_transaction(const struct delivery_router *router,
			       void (*fn)(const struct transaction_view *view, void *arg), void *arg)
{
	for (const struct list *n = router->deliveries.next; n != &router->deliveries; n = n->next) {
		const struct delivery *d = LIST_ENTRY_OF(n, const struct delivery, node);
		for (const struct list *i = d->transactions.next; i != &d->transactions; i = i->next) {
			struct transaction_view view;
			wait_view(LIST_ENTRY_OF(i, const struct transaction, sibling), &view);
			fn(&view, arg);
		}
	}
}
