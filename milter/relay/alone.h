/*
 * Transactions that have a connection of their own, opened for them alone. Called by pool.c, which keeps those that
 * wait on its list `alone`. Private to the relay room.
 */
#ifndef MILTER_RELAY_ALONE_H
#define MILTER_RELAY_ALONE_H

#include "relay/pool.h"

/* Opens what may be opened now, and sees to it that there will be room for the rest. */
void alone_open(struct pool *pool);
/* The first of them may begin now and came before all mail that waits: the rate is to be its own. */
bool alone_is_next(const struct pool *pool);
/* The connection is set up: what it was opened for begins. */
void alone_begin(struct pool *pool, struct connection *c);
/* Came back from its connection: what that says of the relay; how it ended, as it is to be told. */
enum transaction_end alone_back(struct pool *pool, struct connection *c, struct transaction *t,
				enum transaction_end end);
/* Those that wait come back as END_CANCELLED with this reply. */
void alone_give_back(struct pool *pool, struct reply *why);

#endif
