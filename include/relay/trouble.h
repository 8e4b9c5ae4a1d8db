/*
 * Every disposition of trouble stands here: what a failure does to the message, the recipient, the connection and the
 * relay. Called by connection (what is this reply worth?), pool (what of the relay?) and delivery (what of the message?).
 * Decides only; never acts.
 */
#ifndef RELAY_TROUBLE_H
#define RELAY_TROUBLE_H

#include "relay/pipeline.h"
#include "relay/transaction.h"
#include "relaypool.h"
#include "smtp/reply.h"

#define TROUBLE_LOSSES_MAX 5 /* a message under which so many connections were lost is deferred */

/* What a reply is worth to the connection that read it. */
enum reply_worth {
	WORTH_GOOD = 0, /* what was asked for */
	WORTH_REFUSAL,  /* 4xx or 5xx that may be believed */
	WORTH_STALE,    /* first command of a reused connection: it was going away already; tell nobody */
	WORTH_CLOSING,  /* 421: the relay ends this connection; it has not taken what this reply is about */
	WORTH_CONFUSED  /* cannot be, or is never a verdict: close, repeat what has none in a simpler way */
};

/*
 * `early`: the command was not completely written when the reply came. `reused_first`: it answers the first command of
 * a transaction on a connection that has carried another. `transaction` NULL outside transactions.
 */
enum reply_worth trouble_reply(enum command_kind kind, const struct reply *reply, const struct transaction *transaction,
			       bool early, bool reused_first);

/* What a transaction needs after it came back. */
enum disposition {
	DISPOSE_SETTLE = 0, /* its recipients get the verdicts it has */
	DISPOSE_DEFER,      /* its recipients get one local reply */
	DISPOSE_REPLAY,     /* again at this relay, on another connection */
	DISPOSE_WAIT,       /* again when the relay takes more, or at another one if this takes nothing */
	DISPOSE_NEXT_RELAY, /* at the next relay of the route; if there is none, its recipients get one local reply */
	DISPOSE_FORGET      /* nobody waits for it */
};
/* May mark the transaction `plain`, and counts the loss. */
enum disposition trouble_transaction(struct transaction *transaction, enum transaction_end end);

/* The local reply to a transaction that is DISPOSE_DEFER or DISPOSE_NEXT_RELAY after `end`. The caller's. */
struct reply *trouble_defer(const struct transaction *transaction, enum transaction_end end, const char *relay);

/* Whether recipient `i` of an END_REPLIED transaction is to be tried in another one: too many recipients. */
bool trouble_recipient_again(const struct transaction *transaction, size_t i);

/* What a connection that could not be set up means for its relay. */
enum setup_fault {
	FAULT_PASSING = 0, /* network, a 4xx, nonsense, no token at present: back off, down after several in a row */
	FAULT_SETTINGS     /* name, certificate, password, no TLS: down at once, only the administrator can help */
};
/*
 * From the stage in which it failed and the reply or local failure text; `settings`: it is known to be the settings'
 * fault. `token_kept`: the token was read some time ago, and the next attempt reads a new one.
 */
enum setup_fault trouble_setup(enum stage stage, const struct reply *reply, bool settings, bool token_kept);

/* Whether a connection that failed while others work may have been one more than the relay allows. */
bool trouble_one_too_many(enum stage stage, bool settings);

/*
 * The reply by which the relay wants the whole transaction later, for there is too much at once; NULL: it does not.
 * `fresh`: its connection had carried nothing before. Borrowed.
 */
struct reply *trouble_throttle(const struct transaction *transaction, enum transaction_end end, bool fresh);

/* How long to wait after the `failures`-th failure in a row, without jitter. */
usec_t trouble_backoff(enum setup_fault fault, unsigned failures);
/* So many passing failures in a row make a relay without a connection "down". */
#define TROUBLE_FAILURES_DOWN 3

/*
 * The richest mode to use from now on, after so many transactions in a row were confused: begun behind the body of
 * another, or in a group of their own. One orderly end of the same kind sets its count back to 0.
 */
enum pipeline_mode trouble_mode(enum pipeline_mode mode, unsigned confused_overlap, unsigned confused_group);
#define TROUBLE_CONFUSED_MAX 2
/* A simpler mode is kept for so long, then the richer one is tried again. */
#define TROUBLE_MODE_KEPT (3600 * USEC_PER_SEC)

#endif
