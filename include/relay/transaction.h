/*
 * A transaction (RFC 5321 §3.3): MAIL, RCPT, DATA, body and end of data of one message at one relay, for some of its
 * recipients. Made by a delivery, kept by a pool, carried by a connection, which gives it back exactly once for every
 * time that it took it. It holds its message and remembers what the relay said.
 */
#ifndef RELAY_TRANSACTION_H
#define RELAY_TRANSACTION_H

#include "relaypool.h"
#include "smtp/ehlo.h"

/* How a connection, or the pool before it had one, gives a transaction back. */
enum transaction_end {
	END_REPLIED = 0, /* every recipient has a reply of the relay that may be believed */
	END_UNSENT,      /* the connection was lost before the end of data was written: the relay cannot have it */
	END_CLOSING,     /* the relay said 421, or 451 4.4.2 to the first command: it goes away and has taken nothing */
	END_CONFUSED,    /* a reply cannot be what its command allows, or is never a verdict: repeat it more simply */
	END_UNKNOWN,     /* the end of data was written and no reply came: the relay may have it */
	END_THROTTLED,   /* the relay wants it later: there is too much at once; `last_trouble` is what it said */
	END_REFUSED,     /* not begun: this relay cannot take it, `local` says why; another relay may */
	END_CANCELLED,   /* not begun, or given up before the end of data: `local` is the verdict */
	END_WITHDRAWN    /* as asked by transaction->withdrawn: nobody waits for a verdict */
};
extern const char *const transaction_end_names[];

struct transaction {
	struct list node;              /* on a pool's waiting list or among a connection's transactions */
	struct list sibling;           /* among the transactions of its message, for the delivery */
	struct message *message;       /* held */
	struct recipient **recipients; /* borrowed from the message */
	size_t recipient_count;
	void *delivery;                /* that made it, borrowed */
	struct pool *pool;             /* where it waits or runs, or was last; NULL before the first */
	struct connection *connection; /* that carries it; NULL while it waits */
	size_t relay_index;            /* which relay of the route it is at */

	/* this attempt: cleared by transaction_restart() */
	struct reply *mail_reply;    /* what the relay said, NULL while it has not */
	struct reply **rcpt_replies; /* one for each recipient */
	struct reply *data_reply;
	struct reply *final_reply; /* to the end of data */
	struct reply *local;       /* END_REFUSED, END_CANCELLED: why; of no meaning after any other end */
	bool overlapped;           /* its envelope was written behind the body of another transaction */
	bool pipelined;            /* more than one of its commands was written without waiting */
	bool chunked;              /* its body goes by BDAT, other transactions may be in flight with it */
	bool blind;                /* chunked, and small enough to go before the replies to its recipients */
	bool unfit_deep;           /* what happened to it shows that the relay cannot be talked to the deep way */
	bool stale;                /* lost before its first reply, on a connection that had carried others */
	bool unheard;              /* never answered behind the body of another, whose reply did come */
	usec_t begun;              /* clock_now() at its first octet; -1 */
	unsigned use;              /* how many its connection has taken, this one included */

	/* It has a connection of its own, opened for it, which carries nothing else: its journey begins with the set-up. */
	bool alone;
	bool probe; /* no message: its envelope, and RSET in place of DATA */

	/* all attempts */
	bool plain;                 /* command by command from now on: its replies have made no sense before */
	bool withdrawn;             /* do not go further than must be */
	size_t unfit;               /* relays of the route that can never take it */
	unsigned losses;            /* connections lost under it, stale ones not counted */
	unsigned throttles;         /* how often the relay wanted it later, others of that time not counted */
	unsigned long throttled_at; /* messages the pool had had accepted by then */
	struct reply *last_trouble; /* what went wrong in the last attempt, for the verdict if there is no other */
	usec_t queued;              /* clock_now() when it began to wait for a connection */
	usec_t waited;              /* in the pool so far, without set-up */
	usec_t setup;               /* besides that, for a connection being set up; -1: never waited for one */
	struct journey journey;     /* from the end of data at LMTP on */
	/*
	 * What its time in the pool was for, set-ups included. While it waits, less what the pool's own total was when it
	 * began: pool_leave() adds what it is then, so that who waits is not looked at meanwhile.
	 */
	usec_t held[CAUSE_COUNT];
};

/* For the recipients `from` holds (copied); a reference to the message is taken. */
struct transaction *transaction_create(struct message *message, struct recipient *const *from, size_t count);
void transaction_free(struct transaction *transaction); /* must be on no list */

/* Its clock goes on, perhaps in the same stage; what it spent on its connection behind others is their turn. */
void transaction_enter(struct transaction *transaction, enum stage stage);
/* What its wait in the pool was for, for the most part; CAUSE_COUNT: it has hardly waited. Not while it waits. */
enum cause transaction_held_by(const struct transaction *transaction);

/* Forgets the attempt before: a connection takes it anew. */
void transaction_restart(struct transaction *transaction);

/* Recipients with a 2xx reply to RCPT, computed; 0 if MAIL was refused. */
size_t transaction_accepted(const struct transaction *transaction);
/* The relay has taken responsibility for it, for one recipient at least. */
bool transaction_taken(const struct transaction *transaction);
/* No further command of it makes sense: MAIL refused, or every RCPT answered and refused. */
bool transaction_pointless(const struct transaction *transaction);

/*
 * Whether a relay that announced `caps` can take the message: NULL, or the local reply that says why not
 * (RFC 1870 §6.1, 6152 §3, 6531 §3.5, 3461 §5.2.2). The caller's.
 */
struct reply *transaction_unfit(const struct transaction *transaction, const struct capabilities *caps);

/* The reply that counts for recipient `i` once it is END_REPLIED. Borrowed. */
struct reply *transaction_verdict(const struct transaction *transaction, size_t i);

#endif
