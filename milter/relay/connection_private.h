/*
 * What the files of one connection share: connection.c (its life and its end), dial.c (getting a socket),
 * handshake.c (until it is authenticated), conversation.c (transactions). Private to the relay room.
 */
#ifndef MILTER_RELAY_CONNECTION_PRIVATE_H
#define MILTER_RELAY_CONNECTION_PRIVATE_H

#include <openssl/ssl.h>

#include "base/net.h"
#include "base/resolve.h"
#include "relay/auth.h"
#include "relay/connection.h"
#include "relay/depth.h"
#include "smtp/dot.h"
#include "smtp/reply.h"

#define READ_MAX ((size_t)64 * 1024)         /* octets of replies read and not yet understood */
#define BODY_QUEUED_MAX ((size_t)256 * 1024) /* octets of a body queued and not yet written */
#define MARK_CHANGES_MAX 3                   /* a relay that answers RSET differently each time has no mark */
#define BLIND_MAX ((size_t)256 * 1024)       /* larger bodies go by BDAT only when their recipients were answered */
#define BURDEN_MAX ((size_t)1024 * 1024)     /* octets of messages in flight behind which no other goes */

struct connection {
	struct list node; /* on one of the pool's lists, by state */
	struct pool *pool;
	const struct connection_owner *owner;
	struct conf *conf; /* held, for relay */
	const struct relay_conf *relay;
	struct tls_context *tls_context;
	struct token_source *token_source;
	const struct limits *limits;
	unsigned id;
	enum connection_state state;
	usec_t state_since, created, ready_at, age_limit;

	/* what it waits for: wait.c */
	struct journey set_up; /* its stages until it was ready */
	enum stage wait_stage; /* STAGE_COUNT: nothing */
	usec_t wait_since;
	unsigned long replies;      /* read so far: each begins another wait */
	unsigned long wait_replies; /* … when this one began */
	bool wait_lost;             /* the path was seen to lose what was written, and it is not acknowledged yet */
	usec_t body_seen;           /* clock_now() at the look by which this body last got on, or the first; -1 */
	uint64_t body_drained;      /* … and what had been drained then */
	usec_t body_window;         /* … and how long the window had held us by then */
	usec_t body_since;          /* since when it is waited for, by the looks */

	/* on the way to READY */
	struct resolve *resolve;
	size_t first_host, hosts_tried;
	struct sockaddr_storage *addresses; /* of the host being tried */
	socklen_t *lengths;
	size_t address_count, address_next;
	struct sockaddr_storage known; /* the address that worked last time */
	socklen_t known_length;
	unsigned address_turn; /* the address to begin with, if none is known to work */
	char host[NET_NAME_SIZE];
	char *token;
	bool token_kept; /* it was not read for this connection */
	struct auth *auth;
	struct reply *connect_trouble; /* of the last address that did not work */

	/* the socket */
	struct bufferevent *bev;    /* NULL: no socket */
	SSL *ssl;                   /* owned by bev */
	struct evbuffer *flight;    /* being composed; written in one go by flush() */
	uint64_t appended, drained; /* octets handed to bev in all, and written by it to the kernel in all */
	bool lossy;                 /* the path loses packets: how it is sent has been adapted to that */
	int tail;                   /* after the end of TLS: the socket, until the relay closes it too; -1 */
	struct event *tail_event;
	struct timer timer; /* the limit of whatever is waited for */
	struct timer turn;  /* consequences of a loss, at the next turn of the loop */

	/* what is said on it */
	struct capabilities caps;
	struct pipeline pipeline;
	struct list transactions;    /* in flight, in the order of their commands */
	struct transaction *writing; /* whose body is being written */
	uint64_t body_offset;
	usec_t body_complete;  /* clock_now() when the last end of data was composed */
	uint64_t drained_seen; /* `drained` when the limit was set */
	struct dot_encoder dot;
	struct connection_trace *trace; /* NULL unless it was opened for one transaction alone */
	unsigned uses;                  /* transactions taken */
	usec_t idled;                   /* before the last one was, if it was idle */
	unsigned finished;              /* of those, given back after an exchange to the end */
	enum transaction_end last_end;  /* of the last one given back; of no meaning before */
	struct depth depth;
	struct reply *mark;    /* the reply to RSET; MODE_DEEP knows by it that replies have not slipped */
	bool mark_sure;        /* it was the same twice, here or the first time on another connection */
	unsigned mark_changes; /* how often it was another one */
	bool dirty;            /* the relay may have a transaction open: RSET before the next */
	bool retiring;
	bool quit; /* QUIT was queued: nothing comes behind it */

	/* how it ended */
	bool doomed;
	bool open_beneath;     /* … but for the socket below TLS: its slot is not free yet */
	bool peer_closed;      /* the relay has ended it: no need to linger, but for `tail` */
	bool confused;         /* it ended because replies made no sense */
	bool stalled;          /* it ended because a reply, or room for octets, did not come in time */
	struct reply *goodbye; /* 421 in mid-stream: nothing is sent, what the relay still says is listened to */
	bool aborted;          /* it ended by the pool's will */
	bool settings;         /* it ended for a reason that only the administrator can mend */
	enum stage failed_stage;
	struct reply *why;
	usec_t linger;
	bool relay_ended; /* between two transactions, as `end` says */
	struct connection_end end;
};

/* A withdrawn body by BDAT stops short while transactions before it still await their verdict. */
static inline bool connection_body_paused(const struct connection *c)
{
	return c->writing != NULL && c->writing->withdrawn && c->transactions.next != &c->writing->node;
}

/* connection.c: its life and its end */
enum stage connection_stage(const struct connection *c); /* what is waited for; STAGE_COUNT: nothing */
void connection_set_state(struct connection *c, enum connection_state state);
/* Sets the one timer to the limit of what is waited for now; called after every step forward. */
void connection_arm_limit(struct connection *c);
/* The connection is over: its socket is closed, consequences follow at the next turn of the loop. Takes `why` over. */
void connection_doom(struct connection *c, struct reply *why);
void connection_doom_lost(struct connection *c, const char *what);     /* the network, a limit */
void connection_doom_confused(struct connection *c, const char *what); /* replies made no sense */
void connection_close_socket(struct connection *c);
/* The relay is ending it: noted if no transaction has got an answer on it yet. */
void connection_note_end(struct connection *c);
/* Gives a transaction back: from here on it is the owner's. */
void connection_give_back(struct connection *c, struct transaction *t, enum transaction_end end);
/* The end of data of this transaction was written to the kernel: the relay may have it (DESIGN, promise 3). */
bool connection_committed(const struct connection *c, const struct transaction *t);

/* dial.c: from a name to a socket, with TLS if it begins so */
const struct host_port *connection_tried(const struct connection *c); /* the host being tried */
void dial_next_host(struct connection *c);
void dial_next_address(struct connection *c); /* of this host; the next host when there is none left */
void dial_token(const struct token_answer *answer, void *connection); /* a token_done_fn; dials next */
void dial_timed_out(struct connection *c); /* no connection to this address within its limit */
void dial_start_tls(struct connection *c); /* the plain socket becomes a TLS one */

/* handshake.c: until it is authenticated */
void handshake_banner(struct connection *c); /* connected, and encrypted if TLS is implicit */
void handshake_ehlo(struct connection *c);   /* before STARTTLS and, encrypted, after it */
void handshake_reply(struct connection *c, enum command_kind kind, const struct reply *reply);
/* reply_line(), without what it may repeat of an AUTH exchange that is under way. */
const char *handshake_line(const struct connection *c, const struct reply *reply, char *out, size_t size);

/* conversation.c: commands out, replies in */
void connection_send(struct connection *c);    /* composes whatever may be written now */
void connection_flush(struct connection *c);   /* writes it in one go */
void connection_advance(struct connection *c); /* everything that can go forward does */
bool conversation_read(struct connection *c);  /* every complete reply that has come; true if there was one */

#endif
