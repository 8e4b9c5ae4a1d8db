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
	unsigned crowd; /* how many connections were set up at once lately, and when the first of them left */
	usec_t crowd_at;
	usec_t lag;        /* how long the relay counts a connection that has ended */
	usec_t not_before; /* clock_now() before which nothing may be opened */
	struct timer wait; /* until then */
};

/* The account of that name, made if there is none. `unclean`: a new one waits first. */
struct account *account_get(struct list *accounts, const char *name, bool unclean);
/* Frees it if no pool is left in it. */
void account_release(struct account *account);

unsigned account_staying(const struct account *account); /* connections that are not about to end */
unsigned account_sockets(const struct account *account);
/*
 * Connections that are set up, or were until a moment ago: a relay may count one for a while that has ended. So
 * account_note_leaving() is called before each of them ends.
 */
unsigned account_ready(const struct account *account);
void account_note_leaving(struct account *account);
/*
 * The relay refused a connection and allows `most`: whether the reason is that it still counts one that has ended. Then
 * a slot stays taken a little longer from now on.
 */
bool account_lags(struct account *account, int64_t most);
/* The slot of a connection is free, as far as we can see. */
void account_note_gone(struct account *account);
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
