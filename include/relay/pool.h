/*
 * The connections of one relay, and the transactions that wait for one. State is membership of a list; pool_move()
 * alone moves connections. Owned by the router; never decides what becomes of a transaction that came back.
 */
#ifndef RELAY_POOL_H
#define RELAY_POOL_H

#include "base/conf.h"
#include "base/rate.h"
#include "relay/connection.h"
#include "relay/demand.h"
#include "relay/governor.h"
#include "relay/limits.h"
#include "relay/memory.h"
#include "relay/route.h"
#include "relay/transaction.h"
#include "relaypool.h"

/* What the router is told; from inside its own calls only by pool_withdraw(), pool_cancel_waiting(), pool_free(). */
struct pool_owner {
	void (*back)(struct transaction *t, enum transaction_end end); /* t->pool is still set */
	void (*announced)(struct pool *pool, const struct capabilities *caps);
	void (*learned)(struct pool *pool); /* something that is to be remembered: pool_learned() */
	/* Retired or stopped, and nothing is left in it; perhaps told again. The router frees a retired one. */
	void (*empty)(struct pool *pool);
};

/* Bits: why nothing new is begun in a pool. */
enum pool_hold {
	HOLD_PAUSED = 1 << 0,  /* ctl pause */
	HOLD_DRAINED = 1 << 1, /* ctl drain: paused, and connections are closed as they become free */
	HOLD_STOPPED = 1 << 2, /* the daemon ends */
	HOLD_RETIRED = 1 << 3  /* its relay is no longer configured, or another pool has taken its place */
};

struct pool {
	struct list node;         /* among the router's pools */
	struct list account_node; /* among its account's pools */
	struct conf *conf;        /* held, for relay */
	const struct relay_conf *relay;
	struct account *account;
	const struct pool_owner *owner;
	struct tls_context *tls;
	struct token_source *token; /* NULL if the relay needs none */

	/* connections, by state */
	struct list opening;   /* from connection_create() to ready */
	struct list idle;      /* a stack: the one used last is first, so that the others age out */
	struct list busy;      /* with transactions */
	struct list closing;   /* QUIT sent, the relay's EOF awaited */
	struct list lingering; /* closed here, perhaps not yet there */

	struct list waiting;     /* transactions, in order of arrival; those to be repeated first */
	struct list alone;       /* those that wait for a connection of their own */
	struct timer dispatch;   /* at the next turn of the loop: give and open */
	struct timer retry;      /* back-off: nothing is opened while it is armed */
	struct timer settled;    /* set up since the last failure, a connection may stay: looks whether it did */
	struct timer paced;      /* the rate allows the next one then, or a pause ends */
	struct timer worthwhile; /* one more connection is worth its set-up then */
	struct rate rate;
	struct demand demand;
	usec_t pause;               /* how long the last one was, while the relay wants its mail later; 0 */
	usec_t paused_until;        /* clock_now() */
	unsigned long accepted;     /* messages */
	unsigned long throttled_at; /* `accepted` when the relay wanted mail later, last */
	usec_t throttled_when;      /* clock_now() then; 0: never */
	struct reply *throttle_why; /* what it said then, until it has accepted one; NULL */
	usec_t pause_told;          /* clock_now() when the log was told of a pause; 0: never */
	const void *throttled;      /* the message it was about, to be compared only */
	unsigned hold;              /* bits of enum pool_hold */

	/* why the first that waits is not given to a connection: how long it was so in all, up to `held_since` */
	enum cause held_by; /* since then; CAUSE_COUNT: none waits, or it is not known yet */
	usec_t held_since;
	usec_t held_total[CAUSE_COUNT];

	/* health */
	bool proven;          /* the last thing we know is good */
	unsigned failures;    /* in a row; what is set up counts as no success before it stays or carries something */
	usec_t failed_at;     /* clock_now() at the last of them */
	unsigned lost_in_row; /* transactions lost with their connection, in a row */
	bool losing;          /* it takes connections and loses what they carry */
	bool dropping;        /* it takes connections and closes them before they carry anything */
	struct reply *down;   /* why nothing can be sent; NULL while it may work */
	bool told_down;       /* EVENT_RELAY_DOWN was published, EVENT_RELAY_UP not yet */
	usec_t down_since;

	/* how to talk */
	size_t first_host;
	struct sockaddr_storage known;
	socklen_t known_length;
	enum pipeline_mode mode;
	usec_t mode_until; /* a simpler mode is kept until then; 0: not simplified */
	char mode_why[256];
	unsigned confused_overlap, confused_group;
	unsigned depth;     /* in MODE_DEEP: what the connection that was heard last has in flight at most */
	struct reply *mark; /* what it answered RSET with; NULL: not known */

	struct limits limits; /* those the relay has and does not state */

	usec_t progress;             /* clock_now() when the relay last said something of use */
	usec_t last_mail;            /* clock_now() when a transaction was last given to it */
	size_t recipients_announced; /* the most in one transaction (LIMITS RCPTMAX, RFC 9422); 0: not stated */
	size_t recipients_learned;   /* from 452; 0: never */
	usec_t recipients_until;     /* when that is forgotten, for it may have been a full mailbox */
	time_t ca_changed;           /* modification time of tls-ca-file when it was read */

	/* since the start */
	unsigned long transactions, reused, replayed, opened, closed, failed;
};

/* `learned`: in an earlier run; NULL: nothing. */
struct pool *pool_create(const struct relay_conf *relay, struct account *account, const struct pool_owner *owner,
			 const struct learned *learned);
/* Destroys what is left; transactions come back from inside this call as END_CANCELLED or as their loss demands. */
void pool_free(struct pool *pool);

/*
 * A new snapshot of its relay. False, and nothing is changed, if connections made under it would not be
 * interchangeable with those it has: then it is to be retired, and another pool made.
 */
bool pool_reconfigure(struct pool *pool, const struct relay_conf *relay) MUST_CHECK;

/* Takes a transaction; `again`: it has been here before and goes first. */
void pool_submit(struct pool *pool, struct transaction *t, bool again);
/*
 * Takes one that is to have a connection of its own, `alone`; it comes back as any other. Back-off does not hold it up.
 * While it waits it is not among those that pool_submit() took: it waits no longer by pool_leave_alone(), and comes
 * back as END_CANCELLED if the pool is held.
 */
void pool_submit_alone(struct pool *pool, struct transaction *t);
void pool_leave_alone(struct transaction *t);
/* It waits no longer: off the list, without a word to anybody. */
void pool_leave(struct transaction *t);
/* While it waits it comes back at once (END_WITHDRAWN), else when its connection lets go of it. */
void pool_withdraw(struct pool *pool, struct transaction *t);
/* The deadline: the connection that carries it is closed, it comes back soon. Asserts that one does. */
void pool_expire(struct transaction *t);
/* Every transaction that waits comes back as END_CANCELLED with this reply. */
void pool_cancel_waiting(struct pool *pool, struct reply *reply);

void pool_hold(struct pool *pool, enum pool_hold why);
void pool_unhold(struct pool *pool, unsigned why);
/* Replaces every connection as it becomes free, and tries at once where it was backing off. */
void pool_reconnect(struct pool *pool);

/* What was learned of the relay, to be remembered; and forgets it. */
void pool_learned(const struct pool *pool, struct learned *out);
void pool_forget(struct pool *pool);

/* The relay took so many recipients of a transaction and wanted the rest in another one. */
void pool_learn_recipients(struct pool *pool, size_t taken);
/* How many recipients go into one transaction; 0: as many as there are. */
size_t pool_most_recipients(const struct pool *pool);

void pool_dispatch_soon(struct pool *pool);
/* Mail is on its way to it: if it is quiet, one connection is opened, if that may be. Not for one that is down. */
void pool_warm(struct pool *pool);
/* Gives up one idle connection for another pool of the account. False if it has none to spare. */
bool pool_give_up_idle(struct pool *pool);
/* Connections that it would open now for mail, or as a probe, if the account had slots. */
unsigned pool_needs(const struct pool *pool);
unsigned pool_sockets(const struct pool *pool); /* every socket that counts against the cap, computed */
unsigned pool_opening(const struct pool *pool); /* connections that are being set up for mail */
bool pool_tries(const struct pool *pool);       /* after a pause: what is under way shows whether it takes more */
unsigned pool_staying(const struct pool *pool); /* connections that are not about to end */
bool pool_usable(const struct pool *pool);      /* a transaction given to it would be begun: not held, not down */
bool pool_stalled(const struct pool *pool);     /* mail waits, and the relay has said nothing of use for a while */
#define POOL_STALLED USEC_PER_SEC
unsigned pool_in_flight(const struct pool *pool);
/* It has wanted its mail later twice in a row, nothing was accepted in between, and it is given nothing now. */
bool pool_takes_nothing(const struct pool *pool);
bool pool_quiet(const struct pool *pool); /* no transaction, no socket */
void pool_view(const struct pool *pool, struct pool_view *view);
void pool_each_connection(const struct pool *pool, connection_view_fn *fn, void *arg);

#endif
