/*
 * How many sockets may be open: accounts and their caps, shared by the pools of relays that use one account.
 * Asked by a pool before it opens a connection; never opens or closes one itself.
 */
#ifndef RELAY_GOVERNOR_H
#define RELAY_GOVERNOR_H

#include "relaypool.h"

#define GOVERNOR_UNCLEAN_WAIT \
	(5 * USEC_PER_SEC) /* after an unclean start the old process's sockets may still be open */

/* One account at a provider. Its sockets are counted from its pools, never kept. */
struct account {
	struct list node;  /* among the router's accounts */
	struct list pools; /* of struct pool, by their account_node; the one served longest ago first */
	char *name;
	usec_t not_before; /* clock_now() before which nothing may be opened */
	struct timer wait; /* until then */
};

/* The account of that name, made if there is none. `unclean`: a new one waits first. */
struct account *account_get(struct list *accounts, const char *name, bool unclean);
/* Frees it if no pool is left in it. */
void account_release(struct account *account);

unsigned account_staying(const struct account *account); /* connections that are not about to end */
unsigned account_sockets(const struct account *account);
unsigned account_ready(const struct account *account); /* connections that are set up */
/* The smallest max-connections of the relays in it, or fewer where a relay was seen to allow fewer. */
unsigned account_max(const struct account *account);
/* One more socket may be opened now. */
bool account_may_open(const struct account *account);
/* A slot is free besides those that other pools of the account need for their mail. */
bool account_has_spare(const struct account *account, const struct pool *pool);
/* `pool` has an idle connection and no mail: pools of a full account that have mail look again. */
void account_idle(struct account *account, const struct pool *pool);
/*
 * The account is full: asks another pool that has an idle connection to give it up for `pool`, unless a slot is about
 * to be free anyhow. True if there will be one.
 */
bool account_make_room(struct account *account, const struct pool *pool);
/* A slot is free or a cap has grown: every pool of the account looks whether it wants it, in the order of the list. */
void account_slot_free(struct account *account);
/*
 * `pool` has opened a connection and is the last in the list now. True if others need one of the slots that are left:
 * every pool looks again, it is to open no more before.
 */
bool account_turn_over(struct account *account, struct pool *pool);

#endif
