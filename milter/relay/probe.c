/*
 * Probes (probe.h): each is one transaction that a pool and a connection carry as any other; here it is made, limited
 * in time, and what came of it is told. Called by the router. Never touches a connection but to close it.
 */
#include "relay/probe.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/chance.h"
#include "base/journey.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/spool.h"
#include "relay/trouble.h"
#include "smtp/envelope.h"
#include "smtp/reply.h"
#include "wait.h"

#define TEXT_SIZE 512

const char *const probe_end_names[PROBE_ENDS] = {"accepted", "refused", "failed", "given-up"};

struct probe {
	struct list node; /* router->probes */
	struct transaction *transaction;
	struct timer limit;
	bool timed_out;
	enum cause cause;    /* what it waited for in the pool when its time was up */
	probe_done_fn *done; /* NULL: nobody waits */
	void *arg;
};

/* ---- the message ---- */

static bool is_ascii(const char *text)
{
	for (; *text != '\0'; text++)
		if ((unsigned char)*text > 127)
			return false;
	return true;
}

/* Who answers it answers a machine: Auto-Submitted keeps vacation notices away (RFC 3834). */
static char *compose(const struct conf *conf, const struct probe_request *request, const char *route, const char *relay)
{
	char date[64];
	time_t now = (time_t)(clock_wall() / USEC_PER_SEC);
	struct tm utc;
	bool null = *request->sender == '\0';
	gmtime_r(&now, &utc);
	(void)strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S +0000", &utc);
	return mem_printf("From: <%s%s>\r\n"
			  "To: <%s>\r\n"
			  "Subject: relaypool test message\r\n"
			  "Date: %s\r\n"
			  "Message-ID: <%llx.%08x@%s>\r\n"
			  "Auto-Submitted: auto-generated\r\n"
			  "\r\n"
			  "This is a test message. An administrator of %s sent it with\r\n"
			  "relaypoolctl test-route --send, by the route %s and the relay %s.\r\n"
			  "It needs no answer.\r\n",
			  null ? "postmaster@" : request->sender, null ? conf->hostname : "", request->recipient, date,
			  (unsigned long long)clock_wall(), chance(), conf->hostname, conf->hostname, route, relay);
}

/* NULL if there is no room for its body. */
static struct message *make_message(struct conf *conf, const struct probe_request *request, const char *route,
				    const char *relay)
{
	char *body = compose(conf, request, route, relay);
	struct message *m = message_create(conf);
	(void)snprintf(m->queue_id, sizeof(m->queue_id), "%s", PROBE_QUEUE_ID);
	m->sender = mem_strdup(request->sender);
	m->params = mem_strdup("");
	message_add_recipient(m, mem_strdup(request->recipient), mem_strdup(""), false);
	m->smtputf8 = !is_ascii(request->sender) || !is_ascii(request->recipient);
	m->header_8bit = m->has_8bit = m->body_8bit = m->smtputf8;
	m->arrived = m->complete = clock_now();
	m->deadline = clock_now() + conf->deadline;
	m->body = spool_create(strlen(body));
	if (!spool_append(m->body, body, strlen(body)))
		message_unref(&m);
	free(body);
	return m;
}

/* ---- the end ---- */

static bool good(const struct reply *reply)
{
	return reply != NULL && reply_status_of(reply) == STATUS_SENT;
}

/* The reply by which it was refused, if it came to that. */
static struct reply *refusing_reply(const struct transaction *t)
{
	struct reply *said[] = {t->mail_reply, t->rcpt_replies[0], t->data_reply, t->final_reply};
	for (size_t i = 0; i < sizeof(said) / sizeof(said[0]); i++)
		if (said[i] != NULL && said[i]->code >= 400)
			return said[i];
	return NULL;
}

static bool accepted(const struct transaction *t, enum transaction_end end)
{
	bool envelope = good(t->mail_reply) && good(t->rcpt_replies[0]);
	return envelope && (t->probe ? end == END_REPLIED : good(t->final_reply));
}

/* What else there is to tell of it; the caller's. */
static struct reply *trouble_of(const struct probe *p, enum transaction_end end)
{
	const struct transaction *t = p->transaction;
	long long seconds = (long long)(PROBE_LIMIT / USEC_PER_SEC);
	if (p->timed_out && end == END_UNKNOWN)
		return reply_local(LOCAL_AMBIGUOUS, 451, "4.4.2",
				   "the relay may have the message: no reply to the end of data within %lld s",
				   seconds);
	if (p->timed_out && t->connection == NULL)
		return reply_local(LOCAL_RELAY_DOWN, 451, "4.3.2", "%s within %lld s",
				   p->cause == CAUSE_RATE || p->cause == CAUSE_THROTTLE ? "its turn did not come"
											: "no connection was free",
				   seconds);
	if (p->timed_out)
		return reply_local(LOCAL_RELAY_DOWN, 451, "4.4.2", "no answer, %lld s after the test began", seconds);
	if ((end == END_REFUSED || end == END_CANCELLED) && t->local != NULL)
		return reply_ref(t->local);
	if (end == END_UNKNOWN || t->last_trouble == NULL)
		return trouble_defer(t, END_UNKNOWN, t->pool->relay->name);
	return reply_ref(t->last_trouble);
}

static void tell_log(const struct probe_result *result)
{
	log_notice("test-route: relay=%s, host=%s, conn=%u, stage=%s, result=%s (%s)", result->relay->name,
		   result->host, result->connection, stage_names[result->stage], probe_end_names[result->end],
		   result->why);
}

static void free_probe(struct probe *p)
{
	struct transaction *t = p->transaction;
	timer_cancel(&p->limit);
	list_remove(&p->node);
	transaction_free(t);
	free(p);
}

/* What the relay does not announce is found out when the turn is MAIL's, which is not begun then. */
static enum stage ended_in(const struct transaction *t)
{
	enum local_failure why = t->local != NULL ? t->local->local : LOCAL_NONE;
	bool unfit = why == LOCAL_SIZE || why == LOCAL_SMTPUTF8 || why == LOCAL_FEATURE;
	return t->journey.stage == STAGE_POOL && unfit ? STAGE_MAIL : t->journey.stage;
}

/* `why` is what it comes down to; what was sent counts as any message once it was begun. */
static void finish(struct probe *p, enum probe_end how, struct reply *why)
{
	struct transaction *t = p->transaction;
	struct connection *c = t->connection;
	char text[TEXT_SIZE], clean[TEXT_SIZE];
	struct journey journey = t->journey;
	enum stage stage = ended_in(t);
	if (!t->probe && t->begun >= 0)
		delivery_publish(t->message, t, why, 1, false);
	journey_enter(&journey, STAGE_COUNT, clock_now());
	(void)snprintf(text, sizeof(text), "%s",
		       reply_is_remote(why) ? reply_line(why, clean, sizeof(clean)) : why->text);
	const struct probe_result result = {
		.end = p->done == NULL && how == PROBE_FAILED ? PROBE_GIVEN_UP : how,
		.why = text,
		.stage = how == PROBE_ACCEPTED ? STAGE_COUNT : stage,
		.cause = p->cause,
		.ambiguous = why->local == LOCAL_AMBIGUOUS,
		.relay = t->pool->relay,
		.host = c != NULL ? connection_host(c) : "-",
		.connection = c != NULL ? connection_id(c) : 0,
		.trace = c != NULL ? connection_trace(c) : NULL,
		.announced = c != NULL ? connection_announced(c) : NULL,
		.journey = &journey,
		.mail = t->mail_reply,
		.rcpt = t->rcpt_replies[0],
		.data = t->data_reply,
		.reply = t->final_reply,
	};
	tell_log(&result);
	if (p->done != NULL)
		p->done(&result, p->arg);
	free_probe(p);
}

void probe_back(struct transaction *t, enum transaction_end end)
{
	struct probe *p = t->delivery;
	struct reply *why;
	enum probe_end how;
	if (accepted(t, end)) {
		how = PROBE_ACCEPTED;
		why = reply_ref(t->probe ? t->rcpt_replies[0] : t->final_reply);
	} else if (refusing_reply(t) != NULL) {
		how = PROBE_REFUSED;
		why = reply_ref(refusing_reply(t));
	} else {
		why = trouble_of(p, end);
		how = reply_is_remote(why) ? PROBE_REFUSED : PROBE_FAILED; /* 421 is no reply to keep */
	}
	finish(p, how, why);
	reply_unref(&why);
}

/* ---- giving up ---- */

/* What the relay was told of a message cannot be taken back: its verdict is worth waiting for. */
static bool on_its_way(const struct transaction *t)
{
	return t->data_reply != NULL && t->data_reply->code == 354;
}

/* It comes back from inside this call if it waits, else by a later turn of the loop. */
static void give_up(struct probe *p, const char *why)
{
	struct transaction *t = p->transaction;
	if (t->connection != NULL) {
		connection_abort(t->connection, why);
		return;
	}
	pool_leave_alone(t);
	reply_unref(&t->local);
	t->local = reply_local(LOCAL_RELAY_DOWN, 451, "4.3.2", "%s", why);
	probe_back(t, END_CANCELLED);
}

static void on_limit(void *arg)
{
	struct probe *p = arg;
	p->timed_out = true;
	if (p->transaction->connection == NULL)
		p->cause = wait_cause_alone(p->transaction->pool);
	give_up(p, "test-route has waited long enough");
}

void probe_cancel(struct probe *p)
{
	p->done = NULL;
	if (!on_its_way(p->transaction))
		give_up(p, "nobody waits for test-route any more");
}

void probe_stop_all(struct delivery_router *router, bool now)
{
	LIST_EACH (node, next, &router->probes) {
		struct probe *p = LIST_ENTRY_OF(node, struct probe, node);
		if (now || !on_its_way(p->transaction))
			give_up(p, "relaypoold is stopping");
	}
}

/* ---- the beginning ---- */

/* Where mail would go; else, among relays that are down, the one that it would try first. */
static struct pool *choose(struct delivery_router *router, const struct route_conf *route, char error[PROBE_ERROR_SIZE])
{
	size_t index = 0;
	struct reply *why;
	struct pool *pool = delivery_choose(router, route, &index, &why);
	for (size_t i = 0; pool == NULL && i < route->relay_count; i++) {
		struct pool *down = router->pool(router, route->relays[i]->name);
		if (down != NULL && down->hold == 0)
			pool = down;
	}
	reply_unref(&why);
	if (pool == NULL)
		(void)snprintf(error, PROBE_ERROR_SIZE, "no relay of route %s can be asked now", route->name);
	else if (pool->hold != 0)
		(void)snprintf(error, PROBE_ERROR_SIZE, "relay %s is paused or drained: relaypoolctl resume %s",
			       pool->relay->name, pool->relay->name);
	return pool != NULL && pool->hold == 0 ? pool : NULL;
}

static struct transaction *make_transaction(struct probe *p, struct message *m, bool send)
{
	struct recipient *recipient = &m->recipients[0];
	struct transaction *t = transaction_create(m, &recipient, 1);
	journey_init(&t->journey); /* it came by no way in */
	t->delivery = p;
	t->alone = true;
	t->plain = true;
	t->probe = !send;
	return t;
}

struct probe *probe_begin(struct delivery_router *router, struct conf *conf, const struct probe_request *request,
			  probe_done_fn *done, void *arg, char error[PROBE_ERROR_SIZE])
{
	int index = delivery_route(conf, 0, request->sender, request->recipient);
	if (index < 0 || router->stopping) {
		(void)snprintf(error, PROBE_ERROR_SIZE, "%s",
			       router->stopping ? "relaypoold is stopping"
						: "no route of relaypool.conf matches this sender and recipient");
		return NULL;
	}
	struct pool *pool = choose(router, &conf->routes[index], error);
	if (pool == NULL)
		return NULL;
	struct message *m = make_message(conf, request, conf->routes[index].name, pool->relay->name);
	if (m == NULL) {
		(void)snprintf(error, PROBE_ERROR_SIZE, "there is no room in spool-directory for a message");
		return NULL;
	}
	m->recipients[0].route = index;
	struct probe *p = mem_alloc(sizeof(*p));
	p->transaction = make_transaction(p, m, request->send);
	p->cause = CAUSE_COUNT;
	p->done = done;
	p->arg = arg;
	message_unref(&m);
	timer_init(&p->limit, "test-route", on_limit, p);
	timer_arm(&p->limit, PROBE_LIMIT);
	list_append(&router->probes, &p->node);
	pool_submit_alone(pool, p->transaction);
	return p;
}
