/*
 * What is waited for: on a connection, which notes its steps here, and in a pool. Private to the relay room; told to
 * whoever asks through the router. Never changes what happens.
 */
#ifndef MILTER_RELAY_WAIT_H
#define MILTER_RELAY_WAIT_H

#include "relay/pool.h"
#include "relay/route.h"

struct command;

/* ---- noted by a connection; the clocks of its transactions (struct journey) follow ---- */

void wait_begin(struct connection *c);      /* it has just been made */
void wait_note_state(struct connection *c); /* its state has changed */
/* Something was written or read. A reply's time counts from when it could have come: all before it was read. */
void wait_note(struct connection *c);
void wait_note_reply(struct connection *c, const struct command *command); /* before it is obeyed */
void wait_note_body(struct connection *c);                                 /* the body was queued to its end */
void wait_note_drained(struct connection *c);                              /* octets were handed to the kernel */

/* ---- asked of a pool ---- */

/* Why the first of those who wait is not given to a connection; CAUSE_COUNT: nobody waits, or it is about to be. */
enum cause wait_cause(const struct pool *pool);
/* Why a transaction that is to have a connection of its own has none yet, if one waits for it. */
enum cause wait_cause_alone(const struct pool *pool);
/* The transaction is given to a connection that was set up while it waited: where that time went. */
void wait_share_set_up(struct transaction *t, const struct connection *c);
void wait_each(const struct pool *pool, wait_fn *fn, void *arg);
/* What one transaction waits for now. */
void wait_view(const struct transaction *t, struct transaction_view *view);

#endif
