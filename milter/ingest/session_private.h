/*
 * One session, as its two halves see it: session.c (its life, what is read and written) and dialogue.c (what each
 * command means). Nobody else includes this.
 */
#ifndef INGEST_SESSION_PRIVATE_H
#define INGEST_SESSION_PRIVATE_H

#include "ingest/message.h"
#include "ingest/session.h"
#include "peer.h"

struct bufferevent;

/* What differs between the two protocols. */
struct flavour {
	const char *name;     /* in views */
	const char *greeting; /* in the 220 */
	const char *hello;    /* the command that begins a session */
	size_t recipients;    /* in one transaction */
	const char *too_many; /* what a further one is told */
};

extern const struct flavour flavours[PROTOCOL_COUNT];

struct session {
	struct list node;
	struct ingest *ingest; /* borrowed */
	const struct flavour *flavour;
	struct bufferevent *stream;
	struct evbuffer *replies; /* what was said since the last write */
	struct peer peer;
	enum session_state state;
	usec_t opened;
	usec_t entered; /* the state */
	usec_t rested;  /* when the last message got its verdicts, or the session began */
	struct timer limit;
	struct timer next;  /* fires at the next turn of the loop: for what is left to be written, obeyed or ended */
	struct timer start; /* fires at the next turn of the loop: by then it shows who talks first */
	bool resting;       /* in SESSION_READY: nothing was begun since the last message's verdicts */
	bool swallowing;    /* the rest of an over-long line is being thrown away */
	unsigned errors;
	unsigned long messages;
	struct capabilities offered; /* at LHLO */

	/* Of the transaction. */
	char ident[64];            /* XFORWARD IDENT; it comes before MAIL */
	struct message *message;   /* held from MAIL until the verdicts are written */
	uint64_t expected;         /* SIZE= */
	int64_t mail_wall;         /* clock_wall() at MAIL */
	struct incoming *incoming; /* only in SESSION_BODY */
	size_t answered;           /* verdicts written, in the order of the recipients */
};

/* Appends one reply line, without its CRLF; everything said in one turn of the loop goes out in one write. */
void session_say(struct session *session, const char *format, ...) PRINTF_LIKE(2, 3);
void session_enter(struct session *session, enum session_state state);
/* Between two transactions: the only point where a session may be ended from here without harm. */
void session_rest(struct session *session);
/* True if the session was told to go because relaypoold is stopping: MTAs try with RSET whether it is still of use. */
bool session_let_go(struct session *session);
/* Forgets the message under way. One that waits for verdicts is withdrawn. */
void session_drop_transaction(struct session *session);
/* After the last reply: nothing is read any more, and the session ends once the reply is written. */
void session_hang_up(struct session *session);
/* Logs why the peer may not go on, says the reply and hangs up. */
void session_refuse_peer(struct session *session, const char *reply, const char *why);
/* For struct message. */
void session_settled(struct message *message, struct recipient *recipient);

/* ---- dialogue.c ---- */

/* One command line without its CRLF. It may change the state. */
void dialogue_obey(struct session *session, const char *line);
/* Says the reply to a mistake and counts it. */
void dialogue_complain(struct session *session, const char *reply);

#endif
