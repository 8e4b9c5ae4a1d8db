/*
 * What pool.c does for the other files of a pool, health.c and learn.c. Private to the relay room.
 */
#ifndef MILTER_RELAY_POOL_PRIVATE_H
#define MILTER_RELAY_POOL_PRIVATE_H

#include "relay/pool.h"

#define PAUSE_FIRST USEC_PER_SEC /* nothing is given to a relay that wants its mail later; doubled each time */

/* Publishes an event; `c` and `text` may be NULL. */
void pool_tell(struct pool *pool, enum event_kind kind, const struct connection *c, const char *text);
/* Every transaction that waits comes back with this end and, as `local`, this reply. */
void pool_give_back_waiting(struct pool *pool, struct reply *why, enum transaction_end end);
/* The rate that was configured or learned is in force from now on. */
void pool_set_rate(struct pool *pool);
/* Nothing may begin at present: the rate, or a pause. Else it counts as begun. */
bool pool_paced(struct pool *pool);
/* One more connection, for any transaction or for one alone. */
struct connection *pool_open(struct pool *pool, struct transaction *alone);
/* Gives nothing to the relay for so long. */
void pool_pause(struct pool *pool, usec_t wait);

#endif
