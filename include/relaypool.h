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
extern const char *const stage_names[STAGE_COUNT + 1]; /* the last is "-": none */

/* Who keeps a message waiting. One at a time; unknown where two cannot be told apart from here, never a guess. */
enum holder {
	HOLDER_CLIENT = 0, /* whoever hands the message to the MTA */
	HOLDER_MTA,        /* the MTA, with its policy, its disk, its queue manager and the milters before us */
	HOLDER_RELAYPOOL,  /* ourselves: our limits, our processor time */
	HOLDER_NETWORK,    /* name service and the path to the relay */
	HOLDER_RELAY,      /* the relay: its policy or its work */
	HOLDER_UNKNOWN,    /* two of them cannot be told apart */
	HOLDER_COUNT
};
extern const char *const holder_names[HOLDER_COUNT];

/* What exactly is waited for. Each has one holder: cause_holders[]. The same words in log, metrics and ctl. */
enum cause {
	CAUSE_CLIENT = 0, /* the client has the word */
	CAUSE_SERVER,     /* the MTA has the word: policy, disk, milters before us */
	CAUSE_DOOR,       /* client or MTA: the kernel does not tell who of them has the word */
	CAUSE_MANAGER,    /* the MTA's queue manager brings nothing, though there is room */
	CAUSE_PROCESSES,  /* it brings mail, but fewer messages at once than wait: too few delivery processes */
	CAUSE_HANDOVER,   /* the MTA's LMTP client is slow to hand a message over */
	CAUSE_CAP,        /* every connection that max-connections (or what was learned of it) allows is at work */
	CAUSE_ACCOUNT,    /* the connections of the account are taken by other relays of it */
	CAUSE_RATE,       /* rate, configured or learned */
	CAUSE_SLOT,       /* slots are not free yet: after an unclean start, or at relays that lag behind */
	CAUSE_TURN,       /* on a connection, behind the messages before it */
	CAUSE_SETUP,      /* for a connection that is being set up */
	CAUSE_HELD,       /* ctl pause or drain */
	CAUSE_TOKEN,      /* token-command or token-file */
	CAUSE_LOOP,       /* our event loop is late: no processor time, or too much to do */
	CAUSE_LOG,        /* the syslog socket takes no lines; no mail waits for it */
	CAUSE_DNS,        /* the relay's name is looked up */
	CAUSE_CONNECT,    /* no answer to the TCP handshake yet */
	CAUSE_PATH,       /* what we sent is not acknowledged by the relay's kernel */
	CAUSE_ANSWER,     /* the relay has all that it needs and does not answer */
	CAUSE_WINDOW,     /* the relay does not read the body */
	CAUSE_THROTTLE,   /* the relay wanted its mail later: 421, 432, 45x */
	CAUSE_BACKOFF,    /* after failures of the relay the next attempt is not due yet */
	CAUSE_PROGRESS,   /* mail waits and nothing comes to its end, though no stage is over its limit */
	CAUSE_COUNT
};
extern const char *const cause_names[CAUSE_COUNT + 1]; /* the last is "-": none */
extern const enum holder cause_holders[CAUSE_COUNT];

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

/* ---- time: where a message's went, and what is waited for now ---- */

/*
 * The time that a message has spent in each stage. It is in one stage at any moment, so the stages add up to the whole.
 * base/journey.h has the functions.
 */
struct journey {
	usec_t spent[STAGE_COUNT]; /* microseconds, -1: not seen */
	enum stage stage;          /* where it is; STAGE_COUNT: nowhere, its clock stands */
	usec_t since;              /* clock_now() up to which `spent` counts */
	/* What was seen to hold it there, at most of the looks: an enum cause; CAUSE_COUNT: nobody has looked. */
	unsigned char causes[STAGE_COUNT];
	uint16_t looks[STAGE_COUNT]; /* that saw it, less those that saw something else since */
};

/* Something that lasts at this moment, as a room tells whoever asks. Everything is borrowed for the call. */
struct wait {
	const char *relay; /* "-" at the MTA's door */
	enum stage stage;  /* STAGE_COUNT: no message's, for CAUSE_LOOP and CAUSE_LOG */
	enum cause cause;
	usec_t since;         /* clock_now() when it began */
	unsigned connection;  /* 0: none */
	unsigned messages;    /* that it holds up */
	const char *queue_id; /* of one of them; "" if none or not known */
};
typedef void wait_fn(const struct wait *wait, void *arg);

/* ---- events: what the rooms publish and observe subscribes to (base/publish.h) ---- */

enum event_kind {
	EVENT_OUTCOME = 0,       /* recipients of one message got the same verdict */
	EVENT_CONNECTION_OPENED, /* a connection is authenticated and ready */
	EVENT_CONNECTION_CLOSED, /* a connection that was ready has gone */
	EVENT_CONNECTION_FAILED, /* a connection could not be set up; no text: EVENT_RELAY_DOWN has told why */
	EVENT_ARRIVED,           /* a message has come from the MTA, complete */
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
	unsigned use;        /* OUTCOME: how many transactions it had carried, this one included; CLOSED: in all */
	const char *text;    /* why: one line for an administrator; NULL: nothing to say, or RELAY_DOWN told it */
	usec_t took;         /* OPENED: set-up time; else 0 */
	/* OUTCOME: all stages from ingest to reply; OPENED: those of the set-up. Its clock stands. NULL elsewhere. */
	const struct journey *journey;
	const struct message *message; /* OUTCOME, ARRIVED, REPLAYED */

	/* EVENT_OUTCOME only */
	const struct reply *reply;
	enum status status;
	bool ambiguous;      /* the end of data had been written and no reply came */
	unsigned recipients; /* how many this line is about */
	bool repeated; /* other recipients of the same transaction had another verdict, and its times were told then */
	struct delays delays;
	usec_t delay;       /* all of it: MAIL at LMTP (or queue) to verdict */
	enum cause held_by; /* what its wait in the pool was for, for the most part; CAUSE_COUNT: it has not waited */
};

#endif
