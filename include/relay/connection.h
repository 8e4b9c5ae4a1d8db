/*
 * One connection to a relay: resolving, connecting, TLS, AUTH, then transactions, then QUIT, then the wait until its
 * slot may be used again. Owned by a pool, which hears of it through `owner`; never chooses work, never counts slots.
 */
#ifndef RELAY_CONNECTION_H
#define RELAY_CONNECTION_H

#include "base/conf.h"
#include "base/tls.h"
#include "relay/limits.h"
#include "relay/pipeline.h"
#include "relay/route.h"
#include "relay/token.h"
#include "relay/trouble.h"
#include "relaypool.h"

/* Where a connection is. The comment names the pool's list it is on. */
enum connection_state {
	CONNECTION_TOKEN = 0,  /* opening: an access token is fetched; no socket yet, but the slot is taken */
	CONNECTION_RESOLVING,  /* opening: its host's addresses are looked up */
	CONNECTION_CONNECTING, /* opening: TCP handshake; or one timed out, its slot lingers before the next address */
	CONNECTION_BANNER,     /* opening: waits for 220 */
	CONNECTION_EHLO,       /* opening: waits for the reply to EHLO, before or after TLS */
	CONNECTION_STARTTLS,   /* opening: waits for the reply to STARTTLS */
	CONNECTION_TLS,        /* opening: TLS handshake */
	CONNECTION_AUTH,       /* opening: AUTH exchange */
	CONNECTION_IDLE,       /* idle: authenticated, carries nothing, watched for readability */
	CONNECTION_BUSY,       /* busy: carries transactions */
	CONNECTION_QUITTING,   /* closing: QUIT was sent, waits for 221 and the relay's EOF */
	CONNECTION_LINGERING,  /* lingering: our socket is closed, the relay's end may not be yet */
	CONNECTION_GONE,       /* on no list: its slot is free, and so is its memory after owner->gone() */
	CONNECTION_STATES
};
extern const char *const connection_state_names[CONNECTION_STATES];

/* What the pool is told. From inside a call of the pool only moved() is called, and back() by connection_destroy(). */
struct connection_owner {
	void (*moved)(struct connection *c); /* its state changed: put it on the right list */
	void (*ready)(struct connection *c); /* set up: it is idle for the first time, caps are known */
	void (*room)(struct connection *c);  /* it may take one more transaction now */
	void (*failed)(struct connection *c, enum stage stage, struct reply *why, bool settings); /* before ready */
	void (*lost)(struct connection *c, const char *why); /* after ready; why is NULL after our QUIT */
	void (*back)(struct connection *c, struct transaction *t, enum transaction_end end);
	void (*expired)(struct connection *c); /* idle for its idle-timeout or older than its age */
	void (*gone)(struct connection *c);    /* its slot is free; the pool lets go of it, it frees itself */
};

/* How a relay ended a connection between two transactions. */
struct connection_end {
	usec_t age;        /* since the connection was begun */
	usec_t idle;       /* from the end of its last transaction to this, or to the beginning of the next one */
	unsigned messages; /* that came to their end on it */
};

/* What is worth knowing of a set-up, kept where the connection is for one transaction alone. "" if not seen. */
#define TRACE_ADDRESSES 8
struct connection_trace {
	size_t address_count; /* that the name of the host tried last has */
	char addresses[TRACE_ADDRESSES][NET_NAME_SIZE];
	char banner[512];
	char tls[128];
	char mechanism[32];
	char auth[512]; /* the last reply to AUTH */
};

struct connection_settings {
	const struct relay_conf *relay; /* its snapshot is held by the connection */
	const struct connection_owner *owner;
	struct pool *pool;
	struct tls_context *tls;    /* borrowed; outlives the connection */
	struct token_source *token; /* borrowed; NULL if the relay needs none */
	unsigned id;
	unsigned turn;                 /* how many addresses of a host to leave for later, if none is known to work */
	size_t first_host;             /* which of the relay's hosts to try first */
	struct sockaddr_storage known; /* the address that worked last; tried first where it is the host's */
	socklen_t known_length;        /* 0: none */
	enum pipeline_mode mode;       /* at most */
	unsigned depth;                /* to begin with, in MODE_DEEP */
	const struct limits *limits;   /* learned; borrowed, outlives the connection */
	struct reply *mark;            /* what another answered RSET with; a reference is taken; NULL: not known */
	struct transaction *alone;     /* carried from the beginning, and nothing else; NULL: it is for any */
};

struct connection *connection_create(const struct connection_settings *settings);

/* Room: idle, or behind a body that is completely queued; and its life is not over. */
bool connection_has_room(const struct connection *c);
/*
 * Room for `t` behind the body of another: not for one that is to go command by command, since it would begin only
 * after that one's reply; nor for one whose deadline would close the connection under it.
 */
bool connection_has_room_behind(const struct connection *c, const struct transaction *t);
/* Takes a transaction; it will come back once by owner->back. Asserts that there is room. */
void connection_take(struct connection *c, struct transaction *t);
/* It is ready, and begins the one it was opened for; `unfit`, taken over: that comes back with this as `local`. */
void connection_begin_alone(struct connection *c, struct reply *unfit);
/* The message's session ended: goes no further than it must (DESIGN §2.3). */
void connection_withdraw(struct connection *c, struct transaction *t);
/* From now on no richer than `mode`; what is under way comes to its end as it began. */
void connection_simplify(struct connection *c, enum pipeline_mode mode);
/* Says QUIT as soon as nothing is under way. */
void connection_retire(struct connection *c);
/* owner->expired was heard, and it is to stay: its limit is set anew. */
void connection_keep(struct connection *c);
/* Closes now; transactions come back (END_UNSENT or END_UNKNOWN) by a later turn of the loop. */
void connection_abort(struct connection *c, const char *why);
/* For the end of the process: closes and frees, transactions come back from inside this call. */
void connection_destroy(struct connection *c);

struct transaction *connection_alone(const struct connection *c); /* while it has it; NULL: it is for any, or was */
bool connection_is_alone(const struct connection *c);
const struct connection_trace *connection_trace(const struct connection *c); /* NULL unless it is alone */
bool connection_aborted(const struct connection *c);                         /* it ended by the pool's will */
struct list *connection_node(struct connection *c);                          /* for the pool's lists */
struct connection *connection_of_node(struct list *node);
enum connection_state connection_state(const struct connection *c);
struct pool *connection_pool(const struct connection *c);
const struct capabilities *connection_announced(const struct connection *c);
unsigned connection_id(const struct connection *c);
unsigned connection_uses(const struct connection *c);
socklen_t connection_address(const struct connection *c, struct sockaddr_storage *out); /* once connected */
const char *connection_host(const struct connection *c); /* "name[address]:port", "-" before that is known */
usec_t connection_created(const struct connection *c);
usec_t connection_ready_at(const struct connection *c);              /* -1 before */
const struct journey *connection_set_up(const struct connection *c); /* the stages of its set-up; borrowed */
unsigned connection_finished(const struct connection *c);            /* transactions that came to their end on it */
/* False unless the relay ended it, and by no transaction's fault. */
bool connection_ended(const struct connection *c, struct connection_end *out) MUST_CHECK;
/* QUIT was written behind a body, and the relay ended the connection instead of answering to that. */
bool connection_quit_was_heeded(const struct connection *c);
bool connection_last_use(const struct connection *c);     /* the next transaction would be its last one */
bool connection_life_over(const struct connection *c);    /* max-messages, max-age, or told to retire */
usec_t connection_reply_wait(const struct connection *c); /* for the reply to a complete body, so far; 0: none is due */
size_t connection_load(const struct connection *c);       /* octets queued and not yet written */
size_t connection_burden(const struct connection *c);     /* octets of the messages in flight, and some for each */
size_t connection_in_flight(const struct connection *c);
unsigned connection_depth(const struct connection *c);
struct reply *connection_mark(const struct connection *c); /* borrowed; NULL: not known */
void connection_view(const struct connection *c, struct connection_view *view, char *tls, size_t tls_size);

#endif
