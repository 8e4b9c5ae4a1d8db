/*
 * What a pool learns (learn.h). Decided by trouble.c, depth.c and limits.c; here it is told to the pool's connections,
 * the log and the router.
 */
#include "learn.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "pool_private.h"
#include "smtp/reply.h"

#define PAUSE_MOST (60 * USEC_PER_SEC)
#define PAUSE_TOLD (60 * USEC_PER_SEC) /* the log is told of pauses no more often */
#define IDLE_LEAST (5 * USEC_PER_SEC)  /* closed sooner after its last message, it was not closed for being idle */
#define IDLE_NONE USEC_PER_SEC         /* … but for that message */
#define AGE_LEAST (10 * USEC_PER_SEC)  /* what does not live as long has another reason */
#define THROTTLES_MAX 3                /* a message that is wanted later so often while others are taken */
#define THROTTLES_TOGETHER (300 * USEC_PER_SEC) /* so near to each other they have one reason */
#define TEXT_SIZE 256

/* ---- limits ---- */

int64_t learn_configured(const struct pool *pool, enum limit_kind kind)
{
	const struct relay_conf *relay = pool->relay;
	switch (kind) {
	case LIMIT_CONNECTIONS:
		return relay->max_connections;
	case LIMIT_MESSAGES:
		return relay->max_messages;
	case LIMIT_AGE:
		return relay->max_age;
	case LIMIT_IDLE:
		return relay->idle_timeout;
	case LIMIT_RATE:
		return (int64_t)(relay->rate * LIMITS_RATE_UNIT);
	case LIMIT_KINDS:
		break;
	}
	return 0;
}

static int64_t in_force(const struct pool *pool, enum limit_kind kind)
{
	return limits_least(&pool->limits, kind, learn_configured(pool, kind));
}

/* What the relay said, without who it is, which the line says anyhow. */
static const char *words_of(const char *why)
{
	const char *said = strstr(why, " said: "), *port = strstr(why, "]:");
	if (said != NULL)
		return said + strlen(" said: ");
	if (port == NULL)
		return why;
	port += strlen("]:") + strspn(port + strlen("]:"), "0123456789");
	return strncmp(port, ": ", 2) == 0 ? port + 2 : why;
}

/* A limit has changed: `before` was in force. */
static void changed(struct pool *pool, enum limit_kind kind, int64_t before, const char *why)
{
	char from[32], to[32];
	int64_t after = in_force(pool, kind);
	pool->owner->learned(pool);
	if (before == after)
		return;
	limits_format(kind, before, from, sizeof(from));
	limits_format(kind, after, to, sizeof(to));
	if (after != 0 && (before == 0 || after < before))
		log_warning("throttle: relay=%s, %s=%s->%s (%s)", pool->relay->name, limit_names[kind], from, to, why);
	else
		log_notice("throttle: relay=%s, %s=%s->%s (%s)", pool->relay->name, limit_names[kind], from, to, why);
	if (kind == LIMIT_RATE)
		pool_set_rate(pool);
	if (kind == LIMIT_CONNECTIONS)
		account_slot_free(pool->account);
}

static void met(struct pool *pool, enum limit_kind kind, int64_t at, const char *why)
{
	int64_t before = in_force(pool, kind);
	if (limits_met(&pool->limits, kind, at, words_of(why)))
		changed(pool, kind, before, words_of(why));
}

bool learn_refused(struct pool *pool, enum stage stage, const struct reply *why, bool settings)
{
	unsigned ready = account_ready(pool->account);
	bool works = !list_empty(&pool->idle) || !list_empty(&pool->busy); /* not only other relays of the account */
	if (!works || !trouble_one_too_many(stage, settings))
		return false;
	if (account_lags(pool->account, pool->limits.of[LIMIT_CONNECTIONS].value))
		return true;
	met(pool, LIMIT_CONNECTIONS, ready, why->text);
	return ready >= account_max(pool->account);
}

void learn_ready(struct pool *pool)
{
	int64_t before = in_force(pool, LIMIT_CONNECTIONS);
	if (limits_allowed(&pool->limits, LIMIT_CONNECTIONS, account_ready(pool->account)))
		changed(pool, LIMIT_CONNECTIONS, before, "it takes as many");
}

void learn_lost(struct pool *pool, const struct connection *c, const char *why)
{
	struct connection_end end;
	if (!connection_ended(c, &end))
		return;
	enum limit_kind kind = end.idle >= IDLE_LEAST ? LIMIT_IDLE : LIMIT_MESSAGES;
	int64_t at = kind == LIMIT_IDLE ? end.idle : end.idle < IDLE_NONE ? end.messages : 0;
	const struct limit *limit = &pool->limits.of[kind];
	bool known = limit->value > 0 && at >= limit->value;
	met(pool, kind, at, why);
	/* One ending, one limit: its age only where there is no other reason. */
	if (!known && limit->seen > 0 && end.age >= AGE_LEAST)
		met(pool, LIMIT_AGE, end.age, why);
}

/* ---- the rate ---- */

static void note_accepted(struct pool *pool)
{
	limits_note_accepted(&pool->limits);
	pool->accepted++;
	pool->pause = 0;
	reply_unref(&pool->throttle_why);
}

/* The next pause, longer than the last one while nothing is accepted. */
static void pause_for(struct pool *pool, struct reply *why)
{
	char line[TEXT_SIZE];
	usec_t now = clock_now();
	pool->pause = pool->pause == 0 ? PAUSE_FIRST : pool->pause < PAUSE_MOST / 2 ? 2 * pool->pause : PAUSE_MOST;
	reply_unref(&pool->throttle_why);
	pool->throttle_why = reply_ref(why);
	if (pool->pause_told == 0 || now - pool->pause_told >= PAUSE_TOLD) {
		pool->pause_told = now;
		log_warning("throttle: relay=%s, pause=%lld (%s)", pool->relay->name,
			    (long long)(pool->pause / USEC_PER_SEC), reply_line(why, line, sizeof(line)));
	}
	pool_pause(pool, pool->pause);
}

/* The relay takes others and not this one, again and again: it is about the message. */
static bool about_the_message(const struct pool *pool, struct transaction *t)
{
	if (t->throttles == 0 || pool->accepted > t->throttled_at)
		t->throttles++;
	t->throttled_at = pool->accepted;
	return t->throttles >= THROTTLES_MAX;
}

/* Once may be a whim of the relay, and the same message twice may be about that message. */
static bool says_something(const struct pool *pool, const struct transaction *t)
{
	return pool->throttled_when > 0 && clock_now() - pool->throttled_when < THROTTLES_TOGETHER &&
	       pool->throttled != t->message;
}

static void learn_rate(struct pool *pool, const struct reply *why)
{
	char line[TEXT_SIZE];
	int64_t before = in_force(pool, LIMIT_RATE);
	(void)reply_line(why, line, sizeof(line));
	if (limits_throttled(&pool->limits, pool->accepted > pool->throttled_at, line))
		changed(pool, LIMIT_RATE, before, line);
}

enum transaction_end learn_throttle(struct pool *pool, const struct connection *c, struct transaction *t,
				    enum transaction_end end)
{
	struct reply *why = trouble_throttle(t, end, connection_finished(c) == 0);
	if (why == NULL && end == END_REPLIED && transaction_taken(t))
		note_accepted(pool);
	bool pausing = pool->paused_until > clock_now(); /* it was under way already when another was refused */
	if (why == NULL || (!pausing && about_the_message(pool, t)))
		return end;
	why = reply_ref(why);
	reply_unref(&t->last_trouble);
	t->last_trouble = why;
	if (pausing)
		return END_THROTTLED;
	if (says_something(pool, t))
		learn_rate(pool, why);
	pool->throttled_at = pool->accepted;
	pool->throttled_when = clock_now();
	pool->throttled = t->message;
	pause_for(pool, why);
	return END_THROTTLED;
}

/* ---- the way to talk ---- */

static void tell_connections(struct pool *pool, enum pipeline_mode mode)
{
	struct list *lists[] = {&pool->opening, &pool->idle, &pool->busy};
	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
		LIST_EACH (node, next, lists[i])
			connection_simplify(connection_of_node(node), mode);
}

static void simplify(struct pool *pool, enum pipeline_mode mode, const char *why)
{
	if (mode >= pool->mode)
		return;
	log_notice("relay: relay=%s, event=mode, mode=%s->%s (%s)", pool->relay->name, pipeline_mode_names[pool->mode],
		   pipeline_mode_names[mode], why);
	pool->mode = mode;
	pool->mode_until = clock_now() + TROUBLE_MODE_KEPT;
	(void)snprintf(pool->mode_why, sizeof(pool->mode_why), "%s", why);
	tell_connections(pool, mode);
	pool->owner->learned(pool);
}

/* How the next connections begin in MODE_DEEP. */
static void learn_depth(struct pool *pool, const struct connection *c, const struct transaction *t)
{
	if (t->chunked)
		pool->depth = connection_depth(c);
	reply_unref(&pool->mark);
	if (connection_mark(c) != NULL)
		pool->mark = reply_ref(connection_mark(c));
}

void learn_transaction(struct pool *pool, const struct connection *c, const struct transaction *t,
		       enum transaction_end end)
{
	if (end == END_UNKNOWN && connection_quit_was_heeded(c) && !pool->limits.quit_alone) {
		pool->limits.quit_alone = true;
		log_notice("relay: relay=%s, event=quit (%s)", pool->relay->name,
			   t->last_trouble ? t->last_trouble->text : "-");
	}
	if (t->unfit_deep) {
		pool->depth = 1;
		simplify(pool, MODE_OVERLAP,
			 t->last_trouble ? t->last_trouble->text : "its reply to RSET tells nothing");
	}
	if (end == END_REPLIED)
		learn_depth(pool, c, t);
	bool in_body = end == END_CONFUSED && t->final_reply != NULL; /* says nothing about its group */
	if (!t->pipelined || in_body || (end != END_CONFUSED && end != END_REPLIED && !t->unheard))
		return;
	unsigned *count = t->overlapped ? &pool->confused_overlap : &pool->confused_group;
	*count = end == END_REPLIED ? 0 : *count + 1;
	enum pipeline_mode mode = trouble_mode(pool->mode, pool->confused_overlap, pool->confused_group);
	simplify(pool, mode, t->last_trouble ? t->last_trouble->text : "confused");
}

/* ---- time, memory ---- */

static enum pipeline_mode configured_mode(const struct relay_conf *relay)
{
	static const enum pipeline_mode modes[] = {
		[STREAMING_OFF] = MODE_CLASSIC, [STREAMING_AUTO] = MODE_OVERLAP, [STREAMING_DEEP] = MODE_DEEP};
	return modes[relay->streaming];
}

static void forget_mode(struct pool *pool)
{
	pool->mode = configured_mode(pool->relay);
	pool->mode_until = 0;
	pool->confused_group = pool->confused_overlap = 0;
}

void learn_try_again(struct pool *pool)
{
	if (pool->mode_until > 0 && clock_now() >= pool->mode_until) {
		forget_mode(pool);
		pool->owner->learned(pool);
	}
	for (enum limit_kind kind = 0; kind < LIMIT_KINDS; kind++) {
		int64_t before = in_force(pool, kind);
		if (limits_raise(&pool->limits, kind, learn_configured(pool, kind)))
			changed(pool, kind, before, "to see whether it still holds");
	}
}

/* Whose limits they are: a relay of the same name may be another provider's by now. */
static const char *identify(const struct pool *pool, char *out, size_t size)
{
	(void)snprintf(out, size, "%s:%u %s", pool->relay->hosts[0].host, pool->relay->hosts[0].port,
		       pool->relay->account);
	return out;
}

void learn_recall(struct pool *pool, const struct learned *learned)
{
	char identity[sizeof(learned->identity)];
	forget_mode(pool);
	if (learned == NULL || strcmp(learned->identity, identify(pool, identity, sizeof(identity))) != 0)
		return;
	for (unsigned i = 0; i < LIMIT_KINDS; i++)
		pool->limits.of[i] = learned->limits[i];
	int64_t left = learned->mode_until - clock_wall();
	if (learned->mode < pool->mode && left > 0) {
		pool->mode = learned->mode;
		pool->mode_until = clock_now() + (left < TROUBLE_MODE_KEPT ? left : TROUBLE_MODE_KEPT);
		(void)snprintf(pool->mode_why, sizeof(pool->mode_why), "%s", learned->mode_why);
	}
}

void pool_learned(const struct pool *pool, struct learned *out)
{
	*out = (struct learned){.mode = MODE_COUNT};
	(void)identify(pool, out->identity, sizeof(out->identity));
	if (pool->mode_until > 0) {
		out->mode = pool->mode;
		out->mode_until = clock_wall() + pool->mode_until - clock_now();
		(void)snprintf(out->mode_why, sizeof(out->mode_why), "%s", pool->mode_why);
	}
	for (unsigned i = 0; i < LIMIT_KINDS; i++)
		out->limits[i] = pool->limits.of[i];
}

void pool_forget(struct pool *pool)
{
	pool->limits = (struct limits){.second = 0};
	pool->pause = 0;
	reply_unref(&pool->throttle_why);
	pool->depth = 1;
	pool->recipients_learned = 0;
	forget_mode(pool);
	pool_set_rate(pool);
	pool_pause(pool, 0);
	account_slot_free(pool->account);
	pool->owner->learned(pool);
}
