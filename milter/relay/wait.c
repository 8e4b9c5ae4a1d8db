/*
 * What is waited for in the relay room, and since when. Connections note their steps here, the pool asks why mail
 * waits, the router tells both. Decides nothing; the socket is only asked what its kernel knows.
 */
#include "wait.h"

#include <event2/bufferevent.h>

#include "base/journey.h"
#include "base/path.h"
#include "connection_private.h"
#include "smtp/reply.h"

#define PATH_WORTH (200 * USEC_PER_MSEC) /* a shorter wait says nothing about the path */
#define BODY_SLOW 16384                  /* octets a second: with less, a body does not get on */

/* ---- what connections note ---- */

/* A body is written when the kernel has it, not when it is queued. */
static enum stage stage_of(const struct connection *c)
{
	const struct command *awaited = pipeline_awaited(&c->pipeline);
	bool leaving = awaited != NULL && command_is_body(awaited->kind) && awaited->end > c->drained;
	return leaving ? STAGE_BODY : connection_stage(c);
}

static enum stage stage_of_transaction(const struct connection *c, const struct transaction *t)
{
	const struct command *awaited = pipeline_awaited(&c->pipeline);
	if (c->ready_at < 0) /* it is set up for this one alone */
		return connection_stage(c);
	if (c->writing == t && !connection_body_paused(c))
		return STAGE_BODY;
	if (awaited == NULL || awaited->transaction != t)
		return STAGE_POOL; /* its turn has not come, or it is not begun */
	return command_is_body(awaited->kind) && awaited->end > c->drained ? STAGE_BODY : command_stage(awaited->kind);
}

static void note_transactions(struct connection *c)
{
	if (c->doomed) /* they are about to be given back: what they were in is where it ended */
		return;
	for (struct list *n = c->transactions.next; n != &c->transactions; n = n->next) {
		struct transaction *t = LIST_ENTRY_OF(n, struct transaction, node);
		enum stage stage = stage_of_transaction(c, t);
		if (t->journey.stage != stage)
			transaction_enter(t, stage);
	}
}

void wait_begin(struct connection *c)
{
	journey_init(&c->set_up);
	c->wait_stage = STAGE_COUNT;
	c->body_seen = -1;
	if (c->token_source != NULL)
		wait_note_state(c);
}

void wait_note_state(struct connection *c)
{
	if (c->ready_at < 0 && c->state < CONNECTION_IDLE)
		journey_enter(&c->set_up, connection_stage(c), clock_now());
	else if (c->set_up.stage != STAGE_COUNT)
		journey_enter(&c->set_up, STAGE_COUNT, clock_now());
	wait_note(c);
}

void wait_note(struct connection *c)
{
	enum stage stage = stage_of(c);
	if (stage != c->wait_stage || c->replies != c->wait_replies) {
		c->wait_stage = stage;
		c->wait_replies = c->replies;
		c->wait_since = clock_now();
		c->wait_lost = false;
	}
	note_transactions(c);
}

void wait_note_reply(struct connection *c, const struct command *command)
{
	c->replies++;
	if (command->transaction != NULL && command->transaction->journey.stage != command_stage(command->kind))
		transaction_enter(command->transaction, command_stage(command->kind));
}

void wait_note_body(struct connection *c)
{
	if (c->writing->journey.stage != STAGE_BODY)
		transaction_enter(c->writing, STAGE_BODY);
}

void wait_note_drained(struct connection *c)
{
	if (c->wait_stage == STAGE_BODY && !c->doomed)
		wait_note(c);
}

/* ---- what a connection waits for ---- */

static enum cause cause_by_state(const struct connection *c)
{
	switch (c->state) {
	case CONNECTION_TOKEN:
		return CAUSE_TOKEN;
	case CONNECTION_RESOLVING:
		return CAUSE_DNS;
	case CONNECTION_CONNECTING:
		return CAUSE_CONNECT;
	default:
		return CAUSE_ANSWER;
	}
}

/*
 * While a body is written. It gets on if enough has left since the mark, which then moves on to this look: however much
 * left before, a body that comes to a halt is waited for from there. Was it the relay's window that held us, for the
 * most part since the mark?
 */
static bool window_holds(struct connection *c, const struct path *path)
{
	usec_t now = clock_now();
	bool first = c->body_seen < 0;
	double written = first ? 0 : (double)(c->drained - c->body_drained);
	bool window = path->shut || (!first && 2 * (path->window_limit - c->body_window) > now - c->body_seen);
	if (first || (written > 0 && written * (double)USEC_PER_SEC >= BODY_SLOW * (double)(now - c->body_seen))) {
		c->body_since = first ? c->wait_since : now;
		c->body_seen = now;
		c->body_drained = c->drained;
		c->body_window = path->window_limit;
	}
	return window;
}

/* For who is in the stage that is waited in: a set-up, or transactions. */
static void note_look(struct connection *c, enum cause cause)
{
	if (c->set_up.stage == c->wait_stage)
		journey_look(&c->set_up, cause);
	for (struct list *n = c->transactions.next; n != &c->transactions; n = n->next) {
		struct transaction *t = LIST_ENTRY_OF(n, struct transaction, node);
		if (t->journey.stage == c->wait_stage)
			journey_look(&t->journey, cause);
	}
}

/* False: the path was not looked at, or not for long enough; then it is what it is unless more is seen. */
static bool see_cause(struct connection *c, enum cause *cause)
{
	struct path path;
	bool body = c->wait_stage == STAGE_BODY, first = c->body_seen < 0;
	*cause = body ? CAUSE_PATH : cause_by_state(c);
	if (!body && *cause != CAUSE_ANSWER)
		return true;
	if (c->bev == NULL || (!body && clock_now() - c->wait_since < PATH_WORTH) ||
	    !path_look(bufferevent_getfd(c->bev), &path))
		return false;
	/* Between two attempts of the kernel to send it again nothing shows: what was seen counts. */
	c->wait_lost = path.lost || (c->wait_lost && path.unacknowledged);
	if (body)
		*cause = window_holds(c, &path) ? CAUSE_WINDOW : CAUSE_PATH;
	else
		*cause = c->wait_lost ? CAUSE_PATH : path.shut ? CAUSE_WINDOW : CAUSE_ANSWER;
	return !body || !first || *cause == CAUSE_WINDOW;
}

static enum cause cause_of(struct connection *c)
{
	enum cause cause;
	if (see_cause(c, &cause))
		note_look(c, cause);
	return cause;
}

/* A body that gets on is waited for only since it last did; cause_of() has just looked. */
static usec_t since_of(const struct connection *c)
{
	bool looked = c->wait_stage == STAGE_BODY && c->body_seen >= 0;
	return looked && c->body_since > c->wait_since ? c->body_since : c->wait_since;
}

static const struct transaction *first_of(const struct connection *c)
{
	return LIST_ENTRY_OF(c->transactions.next, const struct transaction, node);
}

static void tell_connection(struct connection *c, wait_fn *fn, void *arg)
{
	if (c->wait_stage == STAGE_COUNT || c->doomed || c->state > CONNECTION_BUSY)
		return;
	bool carries = !list_empty(&c->transactions);
	if (carries && first_of(c)->probe) /* it holds up no mail */
		return;
	enum cause cause = cause_of(c);
	const struct wait wait = {
		.relay = c->relay->name,
		.stage = c->wait_stage,
		.cause = cause,
		.since = since_of(c),
		.connection = c->id,
		.messages = (unsigned)list_count(&c->transactions),
		.queue_id = carries ? first_of(c)->message->queue_id : "",
	};
	fn(&wait, arg);
}

/* ---- what a pool waits for ---- */

/* No connection can be had for the first of those who wait. */
static enum cause cause_of_full(const struct pool *pool)
{
	size_t leaving = list_count(&pool->closing) + list_count(&pool->lingering);
	size_t working = list_count(&pool->busy) + list_count(&pool->idle);
	if (clock_now() < pool->account->not_before)
		return CAUSE_SLOT;
	if (account_sockets(pool->account) > pool_sockets(pool))
		return CAUSE_ACCOUNT;
	return leaving > working ? CAUSE_SLOT : CAUSE_CAP;
}

enum cause wait_cause(const struct pool *pool)
{
	if (list_empty(&pool->waiting))
		return CAUSE_COUNT;
	if (pool->hold)
		return CAUSE_HELD;
	/* A pause lasts to its end, even if something that had begun before is taken. */
	if (pool->paused_until > clock_now() || pool_tries(pool))
		return CAUSE_THROTTLE;
	if (timer_armed(&pool->retry))
		return CAUSE_BACKOFF;
	if (timer_armed(&pool->paced))
		return CAUSE_RATE;
	if (pool_opening(pool) > 0)
		return CAUSE_SETUP;
	return account_may_open(pool->account) ? CAUSE_TURN : cause_of_full(pool);
}

enum cause wait_cause_alone(const struct pool *pool)
{
	if (pool->hold)
		return CAUSE_HELD;
	if (!account_may_open(pool->account))
		return cause_of_full(pool);
	return pool->paused_until > clock_now() ? CAUSE_THROTTLE : timer_armed(&pool->paced) ? CAUSE_RATE : CAUSE_TURN;
}

/* In the order in which a connection goes through them. */
static const enum stage set_up_stages[] = {STAGE_DNS, STAGE_CONNECT, STAGE_BANNER, STAGE_EHLO, STAGE_TLS, STAGE_AUTH};

/*
 * The stages of the set-up that lay within the wait of a transaction move from its time in the pool to theirs. What
 * came before it began to wait is left out, the first stages first.
 */
void wait_share_set_up(struct transaction *t, const struct connection *c)
{
	usec_t begun = connection_created(c), ready = connection_ready_at(c);
	usec_t missed = t->queued > begun ? t->queued - begun : 0;
	usec_t waited = ready - (t->queued > begun ? t->queued : begun), shared = 0;
	for (size_t i = 0; i < sizeof(set_up_stages) / sizeof(set_up_stages[0]); i++) {
		usec_t spent = connection_set_up(c)->spent[set_up_stages[i]];
		if (spent < 0)
			continue;
		usec_t before = missed < spent ? missed : spent;
		missed -= before;
		if (before > 0 && before == spent)
			continue;
		spent = spent - before < waited - shared ? spent - before : waited - shared;
		journey_add(&t->journey, set_up_stages[i], spent);
		journey_share_looks(&t->journey, connection_set_up(c), set_up_stages[i]);
		shared += spent;
	}
	t->journey.spent[STAGE_POOL] -= shared;
}

static void tell_pool(const struct pool *pool, wait_fn *fn, void *arg)
{
	if (list_empty(&pool->waiting))
		return;
	const struct transaction *first = LIST_ENTRY_OF(pool->waiting.next, const struct transaction, node);
	usec_t since = first->queued;
	for (const struct list *n = pool->waiting.next; n != &pool->waiting; n = n->next)
		if (LIST_ENTRY_OF(n, const struct transaction, node)->queued < since)
			since = LIST_ENTRY_OF(n, const struct transaction, node)->queued;
	const struct wait wait = {
		.relay = pool->relay->name,
		.stage = STAGE_POOL,
		.cause = wait_cause(pool),
		.since = since,
		.messages = (unsigned)list_count(&pool->waiting),
		.queue_id = first->message->queue_id,
	};
	fn(&wait, arg);
}

void wait_each(const struct pool *pool, wait_fn *fn, void *arg)
{
	const struct list *lists[] = {&pool->opening, &pool->busy};
	for (size_t i = 0; i < 2; i++)
		for (struct list *n = lists[i]->next; n != lists[i]; n = n->next)
			tell_connection(connection_of_node(n), fn, arg);
	tell_pool(pool, fn, arg);
}

void wait_view(const struct transaction *t, struct transaction_view *view)
{
	struct connection *c = t->connection;
	*view = (struct transaction_view){
		.queue_id = t->message->queue_id,
		.relay = t->pool != NULL ? t->pool->relay->name : "-",
		.host = c != NULL ? connection_host(c) : "-",
		.connection = c != NULL ? connection_id(c) : 0,
		.use = c != NULL ? t->use : 0,
		.recipients = (unsigned)t->recipient_count,
		.journey = t->journey,
		.cause = c == NULL && t->pool != NULL                  ? wait_cause(t->pool)
			 : c == NULL || t->journey.stage == STAGE_POOL ? CAUSE_TURN
								       : cause_of(c),
		.trouble = t->last_trouble != NULL ? t->last_trouble->text : NULL,
	};
	enum stage stage = t->journey.stage;
	journey_enter(&view->journey, stage, clock_now());
}
