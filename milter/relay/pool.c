/*
 * The pool of one relay: gives waiting transactions to connections, opens and retires connections, backs off.
 * Driven by its connections, by the clock and by the router. Never decides what becomes of a message.
 */
#include "relay/pool.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "alone.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/publish.h"
#include "health.h"
#include "learn.h"
#include "pool_private.h"
#include "smtp/reply.h"
#include "wait.h"

#define OVERLAP_PATIENCE USEC_PER_SEC /* nothing is put behind a body whose reply takes longer, if that can be helped */

static unsigned connection_numbers; /* connections are numbered through the daemon's life */

static void on_dispatch(void *arg);
static const struct connection_owner callbacks;

/* ---- life ---- */

static time_t modified(const char *path)
{
	struct stat status;
	return path != NULL && stat(path, &status) == 0 ? status.st_mtime : 0;
}

static void configure(struct pool *pool, const struct relay_conf *relay)
{
	char error[NET_ERROR_SIZE];
	pool->conf = conf_ref(relay->conf);
	pool->relay = relay;
	pool->ca_changed = modified(relay->tls_ca_file);
	if (relay->tls != TLS_NONE) {
		pool->tls = tls_context_create(relay->tls_verify, relay->tls_ca_file, error, sizeof(error));
		if (pool->tls == NULL)
			pool->down = reply_local(LOCAL_RELAY_DOWN, 451, "4.7.5", "TLS cannot be set up: %s", error);
	}
	if (relay->token_file != NULL || relay->token_command != NULL)
		pool->token = token_source_create(relay);
}

static void join_account(struct pool *pool, struct account *account)
{
	pool->account = account;
	list_append(&account->pools, &pool->account_node);
}

static void leave_account(struct pool *pool)
{
	list_remove(&pool->account_node);
	account_release(pool->account);
	pool->account = NULL;
}

struct pool *pool_create(const struct relay_conf *relay, struct account *account, const struct pool_owner *owner,
			 const struct learned *learned)
{
	struct pool *pool = mem_alloc(sizeof(*pool));
	struct list *lists[] = {&pool->node,    &pool->account_node, &pool->opening, &pool->idle, &pool->busy,
				&pool->closing, &pool->lingering,    &pool->waiting, &pool->alone};
	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
		list_init(lists[i]);
	pool->owner = owner;
	pool->progress = clock_now();
	pool->held_by = CAUSE_COUNT;
	timer_init(&pool->dispatch, "dispatch", on_dispatch, pool);
	timer_init(&pool->retry, "connect back-off", on_dispatch, pool);
	timer_init(&pool->settled, "connection that stays", health_on_settled, pool);
	timer_init(&pool->paced, "rate", on_dispatch, pool);
	timer_init(&pool->worthwhile, "one more connection", on_dispatch, pool);
	join_account(pool, account);
	configure(pool, relay);
	learn_recall(pool, learned);
	pool_set_rate(pool);
	pool_dispatch_soon(pool);
	return pool;
}

static void destroy_all(struct list *list)
{
	while (!list_empty(list))
		connection_destroy(connection_of_node(list->next));
}

void pool_free(struct pool *pool)
{
	pool->hold |= HOLD_STOPPED;
	struct list *lists[] = {&pool->opening, &pool->idle, &pool->busy, &pool->closing, &pool->lingering};
	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
		destroy_all(lists[i]);
	struct reply *stopping = reply_local(LOCAL_SHUTDOWN, 451, "4.3.2", "relaypoold is stopping");
	pool_cancel_waiting(pool, stopping);
	reply_unref(&stopping);
	timer_cancel(&pool->dispatch);
	timer_cancel(&pool->retry);
	timer_cancel(&pool->settled);
	timer_cancel(&pool->paced);
	timer_cancel(&pool->worthwhile);
	list_remove(&pool->node);
	leave_account(pool);
	reply_unref(&pool->down);
	reply_unref(&pool->mark);
	reply_unref(&pool->throttle_why);
	token_source_free(pool->token);
	tls_context_free(pool->tls);
	conf_unref(&pool->conf);
	free(pool);
}

/* ---- counting: always from the lists ---- */

unsigned pool_sockets(const struct pool *pool)
{
	return (unsigned)(list_count(&pool->opening) + list_count(&pool->idle) + list_count(&pool->busy) +
			  list_count(&pool->closing) + list_count(&pool->lingering));
}

/* Less those that are for one transaction alone. */
static size_t for_mail(const struct list *list)
{
	size_t count = 0;
	for (struct list *n = list->next; n != list; n = n->next)
		count += !connection_is_alone(connection_of_node(n));
	return count;
}

unsigned pool_opening(const struct pool *pool)
{
	return (unsigned)for_mail(&pool->opening);
}

static size_t live_connections(const struct pool *pool)
{
	return for_mail(&pool->opening) + list_count(&pool->idle) + for_mail(&pool->busy);
}

bool pool_tries(const struct pool *pool)
{
	return pool->pause > 0 && for_mail(&pool->busy) > 0;
}

unsigned pool_in_flight(const struct pool *pool)
{
	size_t in_flight = 0;
	for (struct list *n = pool->busy.next; n != &pool->busy; n = n->next)
		in_flight += connection_in_flight(connection_of_node(n));
	return (unsigned)in_flight;
}

unsigned pool_staying(const struct pool *pool)
{
	const struct list *lists[] = {&pool->opening, &pool->idle, &pool->busy};
	unsigned staying = 0;
	for (size_t i = 0; i < 3; i++)
		for (struct list *n = lists[i]->next; n != lists[i]; n = n->next)
			staying += !connection_life_over(connection_of_node(n));
	return staying;
}

bool pool_stalled(const struct pool *pool)
{
	if (list_empty(&pool->waiting) || clock_now() < pool->account->not_before)
		return false;
	usec_t since = LIST_ENTRY_OF(pool->waiting.next, struct transaction, node)->queued;
	return clock_now() - (pool->progress > since ? pool->progress : since) >= POOL_STALLED;
}

bool pool_takes_nothing(const struct pool *pool)
{
	return pool->pause > PAUSE_FIRST && pool->paused_until > clock_now();
}

bool pool_quiet(const struct pool *pool)
{
	return list_empty(&pool->waiting) && list_empty(&pool->alone) && pool_sockets(pool) == 0;
}

bool pool_usable(const struct pool *pool)
{
	return pool->hold == 0 && pool->down == NULL;
}

/* ---- what the wait in it is for ---- */

/*
 * The time of the queue is added up by what holds its first; each that waits remembers in held[] how the totals stood when
 * it came. So what a change costs does not depend on how many wait.
 */
static void count_held(struct pool *pool)
{
	usec_t now = clock_now();
	if (pool->held_by != CAUSE_COUNT)
		pool->held_total[pool->held_by] += now - pool->held_since;
	pool->held_since = now;
}

static void note_held(struct pool *pool, enum cause cause)
{
	count_held(pool);
	pool->held_by = cause;
}

static void begin_wait(struct pool *pool, struct transaction *t)
{
	count_held(pool);
	for (size_t i = 0; i < CAUSE_COUNT; i++)
		t->held[i] -= pool->held_total[i];
}

void pool_leave(struct transaction *t)
{
	list_remove(&t->node);
	count_held(t->pool);
	for (size_t i = 0; i < CAUSE_COUNT; i++)
		t->held[i] += t->pool->held_total[i];
	transaction_enter(t, STAGE_POOL); /* from here on, behind others on its connection */
}

/* ---- what the files of a pool share ---- */

void pool_tell(struct pool *pool, enum event_kind kind, const struct connection *c, const char *text)
{
	struct event event = {
		.kind = kind,
		.relay = pool->relay->name,
		.host = c ? connection_host(c) : "-",
		.connection = c ? connection_id(c) : 0,
		.use = c ? connection_uses(c) : 0,
		.text = text,
		.took = kind == EVENT_CONNECTION_OPENED ? connection_ready_at(c) - connection_created(c) : 0,
		.journey = kind == EVENT_CONNECTION_OPENED ? connection_set_up(c) : NULL,
	};
	publish(&event);
}

/* The list is emptied first: what is told to the router may bring new ones. */
void pool_give_back_waiting(struct pool *pool, struct reply *why, enum transaction_end end)
{
	struct list leaving;
	list_init(&leaving);
	while (!list_empty(&pool->waiting)) {
		struct list *node = pool->waiting.next;
		list_remove(node);
		list_append(&leaving, node);
	}
	while (!list_empty(&leaving)) {
		struct transaction *t = LIST_ENTRY_OF(leaving.next, struct transaction, node);
		pool_leave(t);
		reply_unref(&t->local);
		t->local = reply_ref(why);
		pool->owner->back(t, end);
	}
}

/* ---- what connections tell ---- */

/* The relay said something of use. One that only ever loses what it is given does not get on by connecting anew. */
static void note_progress(struct pool *pool)
{
	if (pool->lost_in_row == 0)
		pool->progress = clock_now();
}

/* The only mover of connections: the list follows from the state. */
static void pool_move(struct connection *c)
{
	struct pool *pool = connection_pool(c);
	struct list *node = connection_node(c);
	if (connection_state(c) >= CONNECTION_QUITTING)
		account_note_leaving(pool->account);
	list_remove(node);
	if (connection_state(c) >= CONNECTION_EHLO && connection_state(c) <= CONNECTION_AUTH)
		note_progress(pool);
	switch (connection_state(c)) {
	case CONNECTION_IDLE:
		list_prepend(&pool->idle, node);
		break;
	case CONNECTION_BUSY:
		list_append(&pool->busy, node);
		break;
	case CONNECTION_QUITTING:
		list_append(&pool->closing, node);
		break;
	case CONNECTION_LINGERING:
		list_append(&pool->lingering, node);
		break;
	case CONNECTION_GONE:
		break;
	default:
		list_append(&pool->opening, node);
		break;
	}
}

static void on_ready(struct connection *c)
{
	struct pool *pool = connection_pool(c);
	pool->opened++;
	note_progress(pool);
	pool->known_length = connection_address(c, &pool->known);
	health_note_ready(pool);
	demand_note_set_up(&pool->demand, connection_ready_at(c) - connection_created(c));
	learn_ready(pool);
	pool_tell(pool, EVENT_CONNECTION_OPENED, c, NULL);
	pool->owner->announced(pool, connection_announced(c));
	if (connection_is_alone(c))
		alone_begin(pool, c);
	else if (pool->hold & ~(unsigned)HOLD_PAUSED)
		connection_retire(c);
	pool_dispatch_soon(pool);
}

static void on_failed(struct connection *c, enum stage stage, struct reply *why, bool settings)
{
	struct pool *pool = connection_pool(c);
	if (connection_aborted(c)) {
		pool_dispatch_soon(pool); /* given up here: it says nothing of the relay */
		return;
	}
	pool->failed++;
	bool was_down = pool->down != NULL;
	if (!timer_armed(&pool->retry) && learn_refused(pool, stage, why, settings))
		health_prove(pool); /* the relay is well: it is one more than it allows */
	else
		health_fail(pool, c, why, trouble_setup(stage, why, settings, false));
	bool told = !was_down && pool->down != NULL; /* that it is down says it all, in one line */
	pool_tell(pool, EVENT_CONNECTION_FAILED, c, told ? NULL : why->text);
	pool_dispatch_soon(pool);
}

static void on_lost(struct connection *c, const char *why)
{
	struct pool *pool = connection_pool(c);
	health_note_lost(pool, c, why);
	if (why != NULL && !connection_is_alone(c)) {
		pool->depth = 1;
		learn_lost(pool, c, why);
	}
	pool_tell(pool, EVENT_CONNECTION_CLOSED, c, why);
	pool->closed++;
	pool_dispatch_soon(pool);
}

static void on_gone(struct connection *c)
{
	struct pool *pool = connection_pool(c);
	list_remove(connection_node(c));
	note_progress(pool); /* until now its slot was what was waited for */
	account_note_gone(pool->account);
	account_slot_free(pool->account);
	pool_dispatch_soon(pool);
}

static void on_expired(struct connection *c)
{
	struct pool *pool = connection_pool(c);
	usec_t patience = pool->relay->idle_timeout;
	/* By the relay: another one is opened instead. */
	bool closed_soon = limits_least(&pool->limits, LIMIT_IDLE, patience) < patience;
	if (connection_life_over(c) || live_connections(pool) > pool->relay->min_connections || pool->hold ||
	    closed_soon)
		connection_retire(c);
	else
		connection_keep(c);
	pool_dispatch_soon(pool);
}

static void on_back(struct connection *c, struct transaction *t, enum transaction_end end)
{
	struct pool *pool = connection_pool(c);
	if (t->alone) {
		end = alone_back(pool, c, t, end);
	} else {
		learn_transaction(pool, c, t, end);
		health_note_back(pool, c, t, end);
		end = learn_throttle(pool, c, t, end);
	}
	if (end == END_REPLIED || end == END_THROTTLED)
		note_progress(pool);
	pool->owner->back(t, end);
	pool_dispatch_soon(pool);
}

/* ---- giving and opening ---- */

static void account_times(struct transaction *t, const struct connection *c)
{
	usec_t now = clock_now();
	usec_t wait = now - t->queued;
	usec_t ready = connection_ready_at(c);
	if (ready >= t->queued) { /* it was set up while this one waited */
		usec_t from = connection_created(c) > t->queued ? connection_created(c) : t->queued;
		t->setup = (t->setup < 0 ? 0 : t->setup) + ready - from;
		wait -= ready - from;
		wait_share_set_up(t, c);
	}
	t->waited += wait;
}

static void give(struct pool *pool, struct connection *c, struct transaction *t)
{
	pool_leave(t);
	struct reply *unfit = transaction_unfit(t, connection_announced(c));
	if (unfit != NULL) {
		reply_unref(&t->local);
		t->local = unfit;
		pool->owner->back(t, END_REFUSED);
		return;
	}
	pool->transactions++;
	if (connection_uses(c) > 0)
		pool->reused++;
	t->connection = c;
	connection_take(c, t);
	account_times(t, c);
}

/* The reply to the body before takes its time, and a connection of one's own can be had. */
static bool another_is_better(const struct pool *pool, const struct connection *c)
{
	return connection_reply_wait(c) >= OVERLAP_PATIENCE &&
	       (pool_opening(pool) > 0 || (health_may_open(pool) && account_may_open(pool->account)));
}

/* An idle connection, the one used last; or the least loaded busy one that may take one more. */
static struct connection *find_room(struct pool *pool, const struct transaction *t)
{
	LIST_EACH (node, next, &pool->idle)
		if (connection_has_room(connection_of_node(node)))
			return connection_of_node(node);
	struct connection *best = NULL;
	LIST_EACH (busy, next_busy, &pool->busy) {
		struct connection *c = connection_of_node(busy);
		if (connection_has_room_behind(c, t) && !another_is_better(pool, c) &&
		    (best == NULL || connection_burden(c) < connection_burden(best)))
			best = c;
	}
	return best;
}

void pool_set_rate(struct pool *pool)
{
	double configured = pool->relay->rate, learned = (double)pool->limits.of[LIMIT_RATE].value / LIMITS_RATE_UNIT;
	rate_spread(&pool->rate, learned > 0 && (configured == 0 || learned < configured) ? learned : configured);
}

void pool_pause(struct pool *pool, usec_t wait)
{
	pool->paused_until = clock_now() + wait;
	timer_arm(&pool->paced, wait);
}

bool pool_paced(struct pool *pool)
{
	if (timer_armed(&pool->paced))
		return true;
	usec_t wait = rate_take(&pool->rate, clock_now());
	if (wait > 0)
		timer_arm(&pool->paced, wait);
	return wait > 0;
}

static void give_waiting(struct pool *pool)
{
	struct connection *c;
	if (pool->hold)
		return;
	while (!list_empty(&pool->waiting)) {
		struct transaction *t = LIST_ENTRY_OF(pool->waiting.next, struct transaction, node);
		if (pool_tries(pool) || (c = find_room(pool, t)) == NULL)
			return;
		if (alone_is_next(pool)) {
			pool_dispatch_soon(pool);
			return;
		}
		if (pool_paced(pool))
			return;
		give(pool, c, t);
	}
}

/* Why mail waits is left to the next dispatch: to count connections for each message would cost too much. */
static void on_room(struct connection *c)
{
	struct pool *pool = connection_pool(c);
	if (list_empty(&pool->waiting))
		return;
	give_waiting(pool);
	if (list_empty(&pool->waiting))
		note_held(pool, CAUSE_COUNT);
}

/* Of those who wait and those who are about to lose their connection, how many have none in sight. */
static size_t without(const struct pool *pool)
{
	size_t leaving = 0, spare = pool_opening(pool) + list_count(&pool->idle);
	for (struct list *n = pool->busy.next; n != &pool->busy; n = n->next) {
		const struct connection *c = connection_of_node(n);
		leaving += !connection_is_alone(c) && (connection_last_use(c) || connection_life_over(c));
	}
	size_t demand = list_count(&pool->waiting) + leaving;
	return demand > spare ? demand - spare : 0;
}

/*
 * How many more connections are wanted: to keep warm, and one more when the waiting has cost as much as its set-up
 * will. Where that was never measured, one for each who waits; where the rate is what holds them, none but the first.
 */
static size_t wanted(struct pool *pool)
{
	size_t live = live_connections(pool), waiting = without(pool), want = 0;
	size_t missing = live < pool->relay->min_connections ? pool->relay->min_connections - live : 0;
	if (timer_armed(&pool->paced))
		waiting = live == 0 && waiting > 0;
	demand_note_waiting(&pool->demand, waiting);
	usec_t due = demand_due(&pool->demand);
	if (due > 0)
		timer_arm(&pool->worthwhile, due);
	else
		timer_cancel(&pool->worthwhile);
	if (pool->demand.set_up == 0)
		want = waiting;
	else if (waiting > 0)
		want = live == 0 || due == 0;
	return want > missing ? want : missing;
}

struct connection *pool_open(struct pool *pool, struct transaction *alone)
{
	struct connection_settings settings = {
		.relay = pool->relay,
		.owner = &callbacks,
		.pool = pool,
		.tls = pool->tls,
		.token = pool->token,
		.id = ++connection_numbers,
		.first_host = pool->first_host,
		.known = pool->known,
		.known_length = pool->known_length,
		.turn = pool->failures,
		.mode = pool->mode,
		.depth = pool->depth,
		.mark = pool->mark,
		.limits = &pool->limits,
		.alone = alone,
	};
	if (alone == NULL)
		demand_note_opened(&pool->demand);
	return connection_create(&settings);
}

unsigned pool_needs(const struct pool *pool)
{
	size_t spare = pool_opening(pool) + list_count(&pool->idle), waiting = list_count(&pool->waiting);
	unsigned alone = pool->hold ? 0 : (unsigned)list_count(&pool->alone);
	if (!health_may_open(pool) || (timer_armed(&pool->paced) && live_connections(pool) > 0))
		return alone;
	if (pool->down != NULL)
		return alone + (pool_opening(pool) == 0);
	return alone + (waiting > spare ? (unsigned)(waiting - spare) : 0);
}

static void open_wanted(struct pool *pool)
{
	/* A relay that is down is tried whenever its back-off ends, whether mail waits or not. */
	size_t want = pool->down != NULL ? pool_opening(pool) == 0 : wanted(pool);
	while (want-- > 0 && health_may_open(pool)) {
		bool needed = pool_needs(pool) > 0;
		if (!needed && !account_has_spare(pool->account, pool))
			return; /* warm ones come last: their slots are needed by other relays of the account */
		if (!account_may_open(pool->account)) {
			if (needed)
				(void)account_make_room(pool->account, pool);
			return;
		}
		(void)pool_open(pool, NULL);
		pool_dispatch_soon(pool); /* when the next one would be worth it is to be seen anew */
		if (account_turn_over(pool->account, pool))
			return;
	}
}

/* More sockets than the cap allows after a reload: idle ones go. */
static void shrink(struct pool *pool)
{
	struct list *lists[] = {&pool->idle, &pool->busy};
	for (size_t i = 0; i < 2; i++)
		LIST_EACH (node, next, lists[i])
			if (account_staying(pool->account) > account_max(pool->account))
				connection_retire(connection_of_node(node));
}

static void on_dispatch(void *arg)
{
	struct pool *pool = arg;
	learn_try_again(pool);
	shrink(pool);
	give_waiting(pool);
	alone_open(pool);
	open_wanted(pool);
	note_held(pool, wait_cause(pool));
	if (list_empty(&pool->waiting) && !list_empty(&pool->idle))
		account_idle(pool->account, pool);
	if ((pool->hold & (HOLD_STOPPED | HOLD_RETIRED)) && pool_quiet(pool))
		pool->owner->empty(pool);
}

void pool_learn_recipients(struct pool *pool, size_t taken)
{
	if (taken < 2) /* one was taken, the next may just have a full mailbox */
		return;
	pool->recipients_learned = taken;
	pool->recipients_until = clock_now() + TROUBLE_MODE_KEPT;
}

size_t pool_most_recipients(const struct pool *pool)
{
	size_t learned = clock_now() < pool->recipients_until ? pool->recipients_learned : 0;
	size_t announced = pool->recipients_announced;
	return learned == 0 || (announced > 0 && announced < learned) ? announced : learned;
}

void pool_dispatch_soon(struct pool *pool)
{
	if (!timer_armed(&pool->dispatch))
		timer_arm(&pool->dispatch, 0);
}

/* ---- what the router asks ---- */

void pool_submit(struct pool *pool, struct transaction *t, bool again)
{
	assert(list_empty(&t->node));
	transaction_enter(t, STAGE_POOL);
	t->pool = pool;
	t->connection = NULL;
	pool->last_mail = clock_now();
	t->queued = clock_now();
	begin_wait(pool, t);
	if (again)
		list_prepend(&pool->waiting, &t->node);
	else
		list_append(&pool->waiting, &t->node);
	pool_dispatch_soon(pool);
}

void pool_submit_alone(struct pool *pool, struct transaction *t)
{
	assert(t->alone && list_empty(&t->node));
	transaction_enter(t, STAGE_POOL);
	t->pool = pool;
	t->connection = NULL;
	t->queued = clock_now();
	list_append(&pool->alone, &t->node);
	pool_dispatch_soon(pool);
}

void pool_leave_alone(struct transaction *t)
{
	assert(t->connection == NULL);
	list_remove(&t->node);
}

void pool_withdraw(struct pool *pool, struct transaction *t)
{
	if (t->connection != NULL) {
		connection_withdraw(t->connection, t);
		return;
	}
	pool_leave(t);
	pool->owner->back(t, END_WITHDRAWN);
}

void pool_expire(struct transaction *t)
{
	assert(t->connection != NULL);
	connection_abort(t->connection, "closed, the message's deadline has passed");
}

void pool_cancel_waiting(struct pool *pool, struct reply *reply)
{
	pool_give_back_waiting(pool, reply, END_CANCELLED);
	alone_give_back(pool, reply);
}

static void retire_list(struct list *list)
{
	LIST_EACH (node, next, list)
		connection_retire(connection_of_node(node));
}

static void retire_all(struct pool *pool)
{
	retire_list(&pool->opening);
	retire_list(&pool->idle);
	retire_list(&pool->busy);
}

/* Mail can wait for the end of a pause, or go to the pool that takes this one's place; a question about it cannot. */
static void refuse_alone(struct pool *pool, enum pool_hold why)
{
	struct reply *reply = reply_local(LOCAL_RELAY_DOWN, 451, "4.3.2", "relay %s %s", pool->relay->name,
					  why == HOLD_RETIRED   ? "was changed by a reload meanwhile"
					  : why == HOLD_STOPPED ? "is closed, relaypoold is stopping"
								: "was paused or drained meanwhile");
	alone_give_back(pool, reply);
	reply_unref(&reply);
}

void pool_hold(struct pool *pool, enum pool_hold why)
{
	pool->hold |= why;
	refuse_alone(pool, why);
	if (why != HOLD_PAUSED)
		retire_all(pool);
	if (why == HOLD_STOPPED)
		LIST_EACH (node, next, &pool->opening)
			connection_abort(connection_of_node(node), "relaypoold is stopping");
	pool_dispatch_soon(pool);
}

void pool_unhold(struct pool *pool, unsigned why)
{
	pool->hold &= ~why;
	pool_dispatch_soon(pool);
}

void pool_reconnect(struct pool *pool)
{
	retire_all(pool);
	timer_cancel(&pool->retry);
	pool->failures = 0;
	pool->dropping = false;
	if (!health_cannot_encrypt(pool))
		reply_unref(&pool->down);
	pool_dispatch_soon(pool);
}

void pool_warm(struct pool *pool)
{
	bool quiet = live_connections(pool) == 0;
	/* Slots that other relays of the account need for the mail they have are theirs. */
	if (quiet && health_may_open(pool) && account_may_open(pool->account) && account_has_spare(pool->account, pool))
		(void)pool_open(pool, NULL);
}

bool pool_give_up_idle(struct pool *pool)
{
	bool needed = !list_empty(&pool->waiting) && !timer_armed(&pool->paced);
	if (list_empty(&pool->idle) || needed)
		return false;
	connection_retire(connection_of_node(pool->idle.prev));
	return true;
}

static bool same_text(const char *a, const char *b)
{
	return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

/* What makes two connections interchangeable: endpoint, account, credentials, TLS level and name, life. */
static bool same_connections(const struct relay_conf *a, const struct relay_conf *b)
{
	if (a->host_count != b->host_count || a->tls != b->tls || a->tls_verify != b->tls_verify ||
	    a->max_messages != b->max_messages || a->max_age != b->max_age || a->idle_timeout != b->idle_timeout ||
	    a->streaming != b->streaming || a->auth_count != b->auth_count ||
	    memcmp(a->timeouts, b->timeouts, sizeof(a->timeouts)) != 0)
		return false;
	for (size_t i = 0; i < a->host_count; i++)
		if (strcmp(a->hosts[i].host, b->hosts[i].host) != 0 || a->hosts[i].port != b->hosts[i].port)
			return false;
	for (size_t i = 0; i < a->auth_count; i++)
		if (strcmp(a->auth[i], b->auth[i]) != 0)
			return false;
	return same_text(a->username, b->username) && same_text(a->password, b->password) &&
	       same_text(a->tls_ca_file, b->tls_ca_file) && same_text(a->token_file, b->token_file) &&
	       same_text(a->token_command, b->token_command) && same_text(a->account, b->account) &&
	       same_text(a->conf->hostname, b->conf->hostname);
}

bool pool_reconfigure(struct pool *pool, const struct relay_conf *relay)
{
	if (!same_connections(pool->relay, relay) || pool->ca_changed != modified(relay->tls_ca_file))
		return false;
	struct conf *old = pool->conf;
	pool->conf = conf_ref(relay->conf);
	pool->relay = relay;
	conf_unref(&old);
	pool_set_rate(pool);
	account_slot_free(pool->account); /* the cap may have grown, or shrunk */
	return true;
}

void pool_each_connection(const struct pool *pool, connection_view_fn *fn, void *arg)
{
	const struct list *lists[] = {&pool->busy, &pool->idle, &pool->opening, &pool->closing, &pool->lingering};
	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
		for (struct list *n = lists[i]->next; n != lists[i]; n = n->next) {
			struct connection_view view;
			char tls[128];
			connection_view(connection_of_node(n), &view, tls, sizeof(tls));
			fn(&view, arg);
		}
}

static const char *state_name(const struct pool *pool)
{
	if (pool->hold & HOLD_RETIRED)
		return "retiring";
	if (pool->hold & (HOLD_DRAINED | HOLD_STOPPED))
		return "draining";
	if (pool->hold & HOLD_PAUSED)
		return "paused";
	if (pool->down != NULL)
		return "down";
	return pool->proven ? "up" : "unknown";
}

void pool_view(const struct pool *pool, struct pool_view *view)
{
	memset(view, 0, sizeof(*view));
	view->relay = pool->relay->name;
	view->account = pool->account->name;
	view->state = state_name(pool);
	view->mode = pipeline_mode_names[pool->mode];
	view->mode_reason = pool->mode_until > 0 ? pool->mode_why : NULL;
	view->mode_for = pool->mode_until > 0 ? pool->mode_until - clock_now() : -1;
	view->reason = pool->down ? pool->down->text : pool->throttle_why ? pool->throttle_why->text : NULL;
	view->retry_in = timer_armed(&pool->retry) ? pool->retry.due - clock_now() : -1;
	if (pool->down == NULL && pool->paused_until > clock_now())
		view->retry_in = pool->paused_until - clock_now();
	view->max_connections = pool->relay->max_connections;
	view->opening = (unsigned)list_count(&pool->opening);
	view->idle = (unsigned)list_count(&pool->idle);
	view->busy = (unsigned)list_count(&pool->busy);
	view->closing = (unsigned)list_count(&pool->closing);
	view->lingering = (unsigned)list_count(&pool->lingering);
	view->account_sockets = account_sockets(pool->account);
	view->account_max = account_max(pool->account);
	view->waiting = (unsigned)list_count(&pool->waiting);
	if (!list_empty(&pool->waiting))
		view->oldest_wait = clock_now() - LIST_ENTRY_OF(pool->waiting.next, struct transaction, node)->queued;
	view->transactions = pool->transactions;
	view->reused = pool->reused;
	view->replayed = pool->replayed;
	view->opened = pool->opened;
	view->closed = pool->closed;
	view->failed = pool->failed;
	for (enum limit_kind kind = 0; kind < LIMIT_KINDS; kind++)
		view->limits[kind] = (struct limit_view){
			.configured = learn_configured(pool, kind),
			.in_force = limits_least(&pool->limits, kind, learn_configured(pool, kind)),
			.learned = pool->limits.of[kind].learned,
			.why = pool->limits.of[kind].why,
		};
}

static const struct connection_owner callbacks = {
	.moved = pool_move,
	.ready = on_ready,
	.room = on_room,
	.failed = on_failed,
	.lost = on_lost,
	.back = on_back,
	.expired = on_expired,
	.gone = on_gone,
};
