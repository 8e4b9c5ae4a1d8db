/*
 * The map: every word of relaypool's vocabulary, read this first.
 * Every other file may include it; it includes nothing of ours but the base types.
 * It never declares a function of a module: each module has its own header.
 *
 *   MTA --LMTP--> session --message--> route --transaction--> pool --> connection ==> relay
 *     <---------------------------- one verdict per recipient ----------------------
 */
#ifndef RELAYPOOL_H
#define RELAYPOOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/list.h"

struct conf;        /* one immutable, counted reading of relaypool.conf (base/conf.h) */
struct relay_conf;  /* one `relay` section of it */
struct route_conf;  /* one `route` section of it */
struct reply;       /* an SMTP reply, said by a relay or made here (smtp/reply.h) */
struct spool;       /* octets in memory or in an unlinked file (base/spool.h) */
struct transaction; /* MAIL … end of data of one message at one relay (relay/transaction.h) */
struct connection;  /* one socket to a relay (relay/connection.h) */
struct pool;        /* the connections of one relay (relay/pool.h) */

/* A function whose failure must not be overlooked. */
#define MUST_CHECK __attribute__((warn_unused_result))
#define PRINTF_LIKE(text, first) __attribute__((format(printf, text, first)))

/* A named stretch of a message's time. The same words in log, metrics, ctl and manual. */
enum stage {
	STAGE_CLIENT = 0, /* the client has the word: between its connection and its end of message */
	STAGE_MTA,        /* the MTA has the word: between two milter callbacks */
	STAGE_QUEUE,      /* in the MTA's queue: end of message at the milter to MAIL at LMTP */
	STAGE_INGEST,     /* the MTA hands the message over LMTP */
	STAGE_POOL,       /* waiting for a connection */
	STAGE_DNS,        /* resolving the relay's name */
	STAGE_CONNECT,    /* TCP connection being made */
	STAGE_BANNER,     /* waiting for the 220 greeting */
	STAGE_EHLO,       /* waiting for the reply to EHLO */
	STAGE_TLS,        /* STARTTLS and the handshake */
	STAGE_AUTH,       /* AUTH exchange */
	STAGE_MAIL,       /* waiting for the reply to MAIL */
	STAGE_RCPT,       /* waiting for a reply to RCPT */
	STAGE_DATA,       /* waiting for 354 */
	STAGE_BODY,       /* writing the body */
	STAGE_REPLY,      /* waiting for the reply to the end of data */
	STAGE_COUNT
};
extern const char *const stage_names[STAGE_COUNT];

/* What became of a recipient. */
enum status {
	STATUS_SENT = 0, /* the relay said 2xx for it */
	STATUS_DEFERRED, /* 4xx, from the relay or from here: the MTA tries again */
	STATUS_BOUNCED,  /* 5xx: the MTA returns it to the sender */
	STATUS_COUNT
};
extern const char *const status_names[STATUS_COUNT];

/* One recipient of a message. Owned by the message. */
struct recipient {
	char *address;       /* forward-path without the angle brackets */
	char *params;        /* NOTIFY and ORCPT as received, each preceded by a space; "" for none */
	bool notify_success; /* NOTIFY names SUCCESS: matters where a relay has no DSN (RFC 3461) */
	struct message *message;
	struct reply *verdict; /* NULL until settled; then never changes */
	int route;             /* index into the configuration's routes; -1 until routed */
};

/*
 * A message as the MTA handed it over, complete. Created by a session, counted: the session holds it until the
 * verdicts are written, each transaction holds it until it is given back.
 */
struct message {
	unsigned refs;
	char queue_id[64]; /* the MTA's; "" if not known */
	char *sender;      /* reverse-path without the angle brackets; "" for the null path */
	char *params;      /* RET and ENVID as received, each preceded by a space; "" for none */
	bool body_8bit;    /* BODY=8BITMIME was given */
	bool smtputf8;     /* SMTPUTF8 was given */
	bool has_8bit;     /* an octet above 127 stands in the body or header */
	bool header_8bit;  /* … in the header */
	struct recipient *recipients;
	size_t recipient_count;
	struct spool *body; /* header and body as they go out: tag removed, not dot-stuffed, ends in CRLF */
	uint64_t routes;    /* bit i: the tag says that route i's client, user and header conditions hold */
	struct conf *conf;  /* the configuration it is routed by, held */

	usec_t queue_time; /* spent in the MTA's queue, microseconds; -1 if not known */
	usec_t arrived;    /* clock_now() at MAIL */
	usec_t complete;   /* clock_now() at end of data */
	usec_t deadline;   /* clock_now() at which every verdict must be given */
	bool abandoned;    /* the MTA's session ended: nobody waits for verdicts any more */

	/* Called once per recipient that gets its verdict. The recipient's verdict is set. */
	void (*settled)(struct message *message, struct recipient *recipient);
	void *owner; /* the session, for settled(); NULL once abandoned */
};

/* ---- events: what the rooms publish and observe subscribes to (base/publish.h) ---- */

enum event_kind {
	EVENT_OUTCOME = 0,       /* recipients of one message got the same verdict */
	EVENT_CONNECTION_OPENED, /* a connection is authenticated and ready */
	EVENT_CONNECTION_CLOSED, /* a connection that was ready has gone */
	EVENT_CONNECTION_FAILED, /* a connection could not be set up */
	EVENT_REPLAYED,          /* a transaction is repeated on another connection, unseen by the MTA */
	EVENT_RELAY_DOWN,        /* nothing can be sent to a relay at present */
	EVENT_RELAY_UP,          /* it works again */
	EVENT_KINDS
};

/* The four times of `delays=`; -1 where not observed (written as "-"). */
struct delays {
	usec_t queue;    /* in the MTA's queue */
	usec_t pool;     /* waiting for a connection */
	usec_t setup;    /* setting one up, as far as this message waited for it */
	usec_t transfer; /* first octet written to final reply */
};

struct event {
	enum event_kind kind;
	usec_t at;           /* clock_now() */
	const char *relay;   /* its name; "-" where no relay was asked. Borrowed for the call */
	const char *host;    /* "name[address]:port"; "-" where not connected */
	unsigned connection; /* number of the connection, 0 = none */
	unsigned use;     /* EVENT_OUTCOME: how many transactions it had carried, this one included; CLOSED: in all */
	const char *text; /* why: for an administrator, one line; NULL if there is nothing to say */
	usec_t took;      /* OPENED: set-up time; else 0 */

	/* EVENT_OUTCOME only */
	const struct message *message;
	const struct reply *reply;
	enum status status;
	bool ambiguous;      /* the end of data had been written and no reply came */
	unsigned recipients; /* how many this line is about */
	struct delays delays;
	usec_t delay; /* all of it: MAIL at LMTP (or queue) to verdict */
};

#endif
