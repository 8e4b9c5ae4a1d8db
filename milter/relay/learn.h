/*
 * What a pool learns from its connections: how far it may pipeline, how deep, and which limits the relay has. Part of
 * the pool, private to the relay room; tells the router what is to be remembered, never gives or opens anything.
 */
#ifndef MILTER_RELAY_LEARN_H
#define MILTER_RELAY_LEARN_H

#include "relay/memory.h"
#include "relay/pool.h"

/* What the end of a transaction says about the way to talk, and about the depth. */
void learn_transaction(struct pool *pool, const struct connection *c, const struct transaction *t,
		       enum transaction_end end);
/*
 * What it says about the rate: END_THROTTLED instead of `end` if the relay wants the message later. Then nothing is
 * given to it for a moment, which grows while it goes on refusing.
 */
enum transaction_end learn_throttle(struct pool *pool, const struct connection *c, struct transaction *t,
				    enum transaction_end end) MUST_CHECK;
/* A connection could not be set up while others work: true if it is one too many by what is known now. */
bool learn_refused(struct pool *pool, enum stage stage, const struct reply *why, bool settings) MUST_CHECK;
/* One more is set up. */
void learn_ready(struct pool *pool);
/* The relay has ended a connection between two messages. */
void learn_lost(struct pool *pool, const struct connection *c, const char *why);
/* What has been known long enough is tried anew. */
void learn_try_again(struct pool *pool);

/* What was learned in an earlier run; NULL: nothing. */
void learn_recall(struct pool *pool, const struct learned *learned);

/* The limit by relaypool.conf, as limits.h counts it; 0: none. */
int64_t learn_configured(const struct pool *pool, enum limit_kind kind);

#endif
