/*
 * Transactions: their life, and what can be read from their replies. Called by delivery, pool, connection and trouble.
 * Never writes to a socket, never settles a recipient.
 */
#include "relay/transaction.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/journey.h"
#include "base/mem.h"
#include "base/spool.h"
#include "smtp/envelope.h"
#include "smtp/reply.h"

#define HELD_LEAST USEC_PER_MSEC /* who was held by something no longer was not held by it */

const char *const transaction_end_names[] = {"replied",   "unsent",  "closing",   "confused", "unknown",
					     "throttled", "refused", "cancelled", "withdrawn"};

struct transaction *transaction_create(struct message *message, struct recipient *const *from, size_t count)
{
	struct transaction *t = mem_alloc(sizeof(*t));
	list_init(&t->node);
	list_init(&t->sibling);
	t->message = message_ref(message);
	t->recipients = mem_array(count, sizeof(t->recipients[0]));
	memcpy(t->recipients, from, count * sizeof(t->recipients[0]));
	t->recipient_count = count;
	t->rcpt_replies = mem_array(count, sizeof(t->rcpt_replies[0]));
	t->setup = -1;
	t->begun = -1;
	journey_init(&t->journey);
	journey_add(&t->journey, STAGE_INGEST, message->complete - message->arrived);
	journey_enter(&t->journey, STAGE_POOL, message->complete);
	return t;
}

void transaction_free(struct transaction *t)
{
	assert(list_empty(&t->node) && list_empty(&t->sibling));
	transaction_restart(t);
	reply_unref(&t->last_trouble);
	message_unref(&t->message);
	free(t->rcpt_replies);
	free(t->recipients);
	free(t);
}

/* Its clock runs in the pool's stage, but it has a connection. */
static usec_t behind(const struct transaction *t)
{
	return t->journey.stage == STAGE_POOL && t->connection != NULL ? clock_now() - t->journey.since : 0;
}

void transaction_enter(struct transaction *t, enum stage stage)
{
	t->held[CAUSE_TURN] += behind(t);
	journey_enter(&t->journey, stage, clock_now());
}

enum cause transaction_held_by(const struct transaction *t)
{
	enum cause most = CAUSE_COUNT;
	usec_t longest = HELD_LEAST - 1;
	for (enum cause cause = 0; cause < CAUSE_COUNT; cause++) {
		usec_t held = t->held[cause] + (cause == CAUSE_TURN ? behind(t) : 0);
		if (held > longest) {
			most = cause;
			longest = held;
		}
	}
	return most;
}

void transaction_restart(struct transaction *t)
{
	reply_unref(&t->mail_reply);
	for (size_t i = 0; i < t->recipient_count; i++)
		reply_unref(&t->rcpt_replies[i]);
	reply_unref(&t->data_reply);
	reply_unref(&t->final_reply);
	reply_unref(&t->local);
	t->overlapped = false;
	t->pipelined = false;
	t->chunked = false;
	t->blind = false;
	t->unfit_deep = false;
	t->stale = false;
	t->unheard = false;
	t->begun = -1;
}

static bool positive(const struct reply *reply)
{
	return reply != NULL && reply_status_of(reply) == STATUS_SENT;
}

size_t transaction_accepted(const struct transaction *t)
{
	size_t accepted = 0;
	for (size_t i = 0; i < t->recipient_count; i++)
		accepted += positive(t->rcpt_replies[i]);
	return t->mail_reply != NULL && !positive(t->mail_reply) ? 0 : accepted;
}

bool transaction_taken(const struct transaction *t)
{
	return positive(t->final_reply) && transaction_accepted(t) > 0;
}

bool transaction_pointless(const struct transaction *t)
{
	if (t->mail_reply != NULL && !positive(t->mail_reply))
		return true;
	for (size_t i = 0; i < t->recipient_count; i++)
		if (t->rcpt_replies[i] == NULL || positive(t->rcpt_replies[i]))
			return false;
	return true;
}

/* Whether the message can do without SMTPUTF8: only addresses and header would need it. */
static bool needs_smtputf8(const struct transaction *t)
{
	if (!t->message->smtputf8)
		return false;
	if (t->message->header_8bit)
		return true;
	for (const char *p = t->message->sender; *p; p++)
		if ((unsigned char)*p > 127)
			return true;
	for (size_t i = 0; i < t->recipient_count; i++)
		for (const char *p = t->recipients[i]->address; *p; p++)
			if ((unsigned char)*p > 127)
				return true;
	return false;
}

/* NOTIFY=SUCCESS asks for what a relay without DSN cannot give, NOTIFY=NEVER forbids what it may do. */
static bool needs_dsn(const struct transaction *t)
{
	for (size_t i = 0; i < t->recipient_count; i++)
		if (t->recipients[i]->notify_success || strcasestr(t->recipients[i]->params, "NOTIFY=NEVER") != NULL)
			return true;
	return false;
}

struct reply *transaction_unfit(const struct transaction *t, const struct capabilities *caps)
{
	uint64_t size = spool_size(t->message->body);
	if ((caps->bits & CAP_SIZE) && caps->size > 0 && size > caps->size)
		return reply_local(LOCAL_SIZE, 552, "5.3.4",
				   "Message of %llu octets is larger than the relay's limit of %llu",
				   (unsigned long long)size, (unsigned long long)caps->size);
	if (!(caps->bits & CAP_SMTPUTF8) && needs_smtputf8(t))
		return reply_local(LOCAL_SMTPUTF8, 553, "5.6.7",
				   "Internationalized addresses or headers, but the relay does not announce SMTPUTF8");
	if (!(caps->bits & CAP_8BITMIME) && t->message->body_8bit && t->message->has_8bit)
		return reply_local(LOCAL_FEATURE, 451, "4.6.3",
				   "The relay does not announce 8BITMIME; convert the message when it is tried again");
	if (!(caps->bits & CAP_DSN) && needs_dsn(t))
		return reply_local(LOCAL_FEATURE, 451, "4.3.0",
				   "The relay does not announce DSN; NOTIFY is not offered when it is tried again");
	return NULL;
}

struct reply *transaction_verdict(const struct transaction *t, size_t i)
{
	if (t->mail_reply != NULL && !positive(t->mail_reply))
		return t->mail_reply;
	assert(t->rcpt_replies[i] != NULL);
	if (!positive(t->rcpt_replies[i]))
		return t->rcpt_replies[i];
	return t->final_reply != NULL ? t->final_reply : t->data_reply;
}
