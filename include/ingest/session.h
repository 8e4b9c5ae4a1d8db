/*
 * One session of the MTA over LMTP (RFC 2033) or SMTP (RFC 5321): commands in, replies out, one message at a time.
 * Called by the listener; hands complete messages to the router and writes their verdicts back. It never decides one
 * itself but for a message that cannot be taken.
 */
#ifndef INGEST_SESSION_H
#define INGEST_SESSION_H

#include "relaypool.h"
#include "smtp/ehlo.h"
#include "smtp/tag.h"

#define SESSION_STOP_PATIENCE (5 * USEC_PER_SEC)

struct router;

enum protocol { PROTOCOL_LMTP = 0, PROTOCOL_SMTP, PROTOCOL_COUNT };

enum session_state {
	SESSION_ACCEPTED = 0, /* nothing was said yet; over TCP a client that talks now is refused */
	SESSION_GREETING, /* the greeting is being written; over TCP the client's user is looked up when it has been */
	SESSION_HELLO,    /* greeted: LHLO or EHLO is awaited */
	SESSION_READY,    /* between two transactions */
	SESSION_ENVELOPE, /* MAIL was accepted: RCPT and DATA are awaited */
	SESSION_BODY,     /* 354 was said: the message is being read */
	SESSION_VERDICTS, /* the end of data was read: verdicts are awaited, the MTA is watched but not read */
	SESSION_CLOSING,  /* the last reply is being written, nothing is read any more */
	SESSION_STATES
};
extern const char *const session_state_names[SESSION_STATES];

/* The way into the relay room (relay/route.h): main fills in the router's own functions, tests theirs. */
struct ingest_router {
	struct router *router;
	void (*take)(struct router *router, struct message *message);
	void (*abandon)(struct router *router, struct message *message);
	void (*offer)(const struct router *router, struct capabilities *out);
};

/* How far the end has come. */
enum ingest_stop {
	INGEST_OPEN = 0,
	INGEST_LAST, /* a client that has begun may hand over one more message; then its session ends */
	INGEST_OVER  /* a session ends as soon as it is between two transactions */
};

/* What all sessions share. The listener owns it; it outlives them. */
struct ingest {
	struct ingest_router relay;
	struct tag_key key;
	struct conf *conf; /* held: what new messages are routed by, who may send them */
	enum ingest_stop stop;
	struct list sessions;                 /* in order of arrival */
	void (*ended)(struct ingest *ingest); /* a session has gone: there is room for another */
};

/* Begins a session on an accepted, non-blocking socket, which it takes over. It frees itself when it ends. */
void session_start(struct ingest *ingest, enum protocol protocol, int fd);

/*
 * After `stop` was set: 421 for every session that ends now. INGEST_LAST: where the client rests since its last message;
 * one that has connected, said LHLO or is at its message gets the verdicts first, or 421 after SESSION_STOP_PATIENCE
 * without a command. A fresh session that is told 421 makes Postfix suspend all mail.
 */
void sessions_stop(struct ingest *ingest);
/* Ends every session at once, without a word. Messages that wait are abandoned. */
void sessions_end(struct ingest *ingest);

struct session_view {
	const char *protocol; /* "LMTP" or "SMTP" */
	const char *peer;     /* "unix" or an address */
	int64_t uid;          /* -1 not known */
	const char *state;
	const char *queue_id;   /* of the message under way; "" if none or not known */
	size_t recipients;      /* of the message under way */
	usec_t age;             /* since it was accepted */
	usec_t since;           /* in this state */
	unsigned long messages; /* that got their verdicts in this session */
};
typedef void session_view_fn(const struct session_view *view, void *arg);
void sessions_each(const struct ingest *ingest, session_view_fn *fn, void *arg);
/* Every message that the MTA is handing over now. */
void sessions_each_wait(const struct ingest *ingest, wait_fn *fn, void *arg);

#endif
