/*
 * Whether a relay works: what fails in a row, how long nothing is tried then, when it is down and up again. Part of the
 * pool, private to the relay room; never opens or gives anything.
 */
#ifndef MILTER_RELAY_HEALTH_H
#define MILTER_RELAY_HEALTH_H

#include "relay/pool.h"

/*
 * One more failure in a row: back off, and see whether anything can still be sent without `lost`. What fails while it
 * backs off belongs to the same failure.
 */
void health_fail(struct pool *pool, struct connection *lost, struct reply *why, enum setup_fault fault);
/* What was set up since the last failure has stayed, or a transaction came to its end on it. */
void health_prove(struct pool *pool);
/* A connection is set up. */
void health_note_ready(struct pool *pool);
/* One that was ready has gone; one that the relay closed before it was given anything is no better than no greeting. */
void health_note_lost(struct pool *pool, struct connection *c, const char *why);
/* A transaction came back. */
void health_note_back(struct pool *pool, struct connection *c, const struct transaction *t, enum transaction_end end);
void health_on_settled(void *pool); /* of pool->settled */

/* Nothing forbids to open a connection, but for the account. */
bool health_may_open(const struct pool *pool);
/* Its tls-ca-file or OpenSSL itself is of no use: `down` says so, and only a reload helps. */
bool health_cannot_encrypt(const struct pool *pool);

#endif
