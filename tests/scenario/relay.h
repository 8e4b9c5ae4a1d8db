/*
 * The scripted relay: an ESMTP server in the process of the test, on its event loop and its clock, that behaves well
 * unless a rule says what to do instead at some step. It counts sockets, keeps what it accepted and what it was sent,
 * and watches that the client keeps to the RFCs. Driven by the world; relay.c has sockets, behaviour.c the dialogue.
 */
#ifndef SCENARIO_RELAY_H
#define SCENARIO_RELAY_H

#include <event2/bufferevent.h>
#include <event2/listener.h>

#include "certificate.h"
#include "limits.h"
#include "relaypool.h"

/* Where in a connection's life a rule takes hold. */
enum step {
	STEP_CONNECT = 0, /* accepted; nothing said yet */
	STEP_BANNER,      /* in place of the greeting */
	STEP_EHLO,        /* EHLO or HELO came */
	STEP_STARTTLS,    /* STARTTLS came */
	STEP_TLS,         /* the handshake is due */
	STEP_AUTH,        /* AUTH came */
	STEP_AUTH_LINE,   /* a line within AUTH came */
	STEP_MAIL,
	STEP_RCPT,
	STEP_DATA,
	STEP_BDAT, /* BDAT came, its octets have not been looked at */
	STEP_BODY, /* the first octets of a body, or of a chunk, came */
	STEP_END,  /* the end of data, or all of the last chunk, came */
	STEP_RSET,
	STEP_QUIT,
	STEP_UNKNOWN, /* any other command */
	STEP_EOF,     /* the client closed */
	STEP_IDLE,    /* never of itself: for `do` */
	STEP_COUNT
};
extern const char *const step_names[STEP_COUNT];

enum action_kind {
	ACTION_DEFAULT = 0, /* what it would have done without the rule */
	ACTION_SAY,         /* the text and CRLF */
	ACTION_RAW,         /* the text alone */
	ACTION_LONG,        /* the text, filled up with x to so many octets, and CRLF */
	ACTION_LINES,       /* a reply with this code and so many lines */
	ACTION_ACCEPT,      /* takes the message over without saying so */
	ACTION_HANDSHAKE,   /* begins TLS */
	ACTION_NOTIFY,      /* ends TLS, and leaves the socket open */
	ACTION_WAIT,        /* goes on later; reads nothing meanwhile */
	ACTION_CLOSE,       /* FIN, after what was said */
	ACTION_RESET,       /* RST, after what was said */
	ACTION_SILENT,      /* reads on, never says anything again */
	ACTION_DEAF,        /* reads nothing any more and says nothing */
	ACTION_KINDS
};
extern const char *const action_names[ACTION_KINDS];

struct action {
	enum action_kind kind;
	char *text;
	size_t length;
	unsigned number; /* octets or lines */
	usec_t delay;
};

/* What to do at a step, the from-th to the to-th time that it fits. */
struct rule {
	struct list node; /* relay.rules */
	enum step step;
	unsigned from, to;
	unsigned every;      /* from the from-th on only each such one; 0, 1: all */
	unsigned connection; /* 0: on any */
	bool pipelined;      /* only if more has come behind the command */
	char *with;          /* the command holds this text; NULL: any */
	unsigned seen;
	struct action *actions;
	size_t count;
};

/* How what it says reaches the network. */
enum pace {
	PACE_JOINED = 0, /* as much in one packet as there is */
	PACE_LINES,      /* each line apart */
	PACE_OCTETS,     /* each octet apart */
	PACES
};
extern const char *const pace_names[PACES];

enum relay_mode {
	MODE_GREETING = 0, /* the banner has not been said */
	MODE_COMMANDS,
	MODE_AUTH, /* a line of an AUTH exchange is due */
	MODE_BODY,
	MODE_CHUNK, /* the octets of a BDAT are due */
	MODE_HANDSHAKE,
	MODE_SILENT,
	MODE_DEAF,
	MODE_CLOSED
};

/* A message the relay took responsibility for. */
struct letter;
struct accepted {
	struct list node; /* relay.accepted */
	unsigned number;  /* 1 is the first one of the relay */
	unsigned connection;
	char *mail; /* the MAIL and RCPT lines as they came */
	char **rcpts;
	size_t rcpt_count;
	char *body; /* without dot-stuffing and the end of data; by BDAT as it came */
	size_t length;
	bool sorted;           /* the world has found out whose it is */
	struct letter *letter; /* the world's; NULL: nobody's */
	struct list of_letter; /* letter.accepted */
};

/* A line that the client sent. */
struct heard {
	struct list node; /* relay.heard */
	unsigned connection;
	char *line;
};

struct relay_connection {
	struct list node; /* relay.connections, from accept to the end of the scenario */
	struct scripted_relay *relay;
	unsigned number;         /* 1, 2, … at this relay */
	struct bufferevent *bev; /* what is read and written: `clear`, or TLS on top of it; NULL once closed */
	struct bufferevent *clear;
	enum relay_mode mode;
	usec_t eof_at;    /* the client closed; -1 */
	usec_t closed_at; /* we have; of no meaning before */

	/* writing */
	struct evbuffer *unsaid; /* waits for its turn, with a pace other than joined */
	bool in_packet;          /* the last piece has not reached the kernel */
	enum action_kind ending; /* close or reset once all is written; else default */

	/* the step under way */
	enum step step;
	const struct action *actions; /* NULL: all are done */
	size_t action_count, action_next;
	char *command;  /* the line it is about; NULL */
	int first_code; /* of the first reply said at this step; 0: none yet */
	struct timer wait;

	/* what holds at present */
	struct limits_of_connection limits;
	bool tls;
	bool notified;   /* TLS has been ended, the socket has not */
	char *announced; /* the reply to the last EHLO; NULL before */
	bool authenticated;
	unsigned auth_line;    /* lines of this AUTH exchange so far */
	struct accepted *open; /* the transaction; NULL: none since the last end of data, RSET, EHLO */
	bool untidy;           /* something was refused since: RSET is in order */
	enum step body_by;     /* STEP_DATA or STEP_BDAT came since the last MAIL, RSET, EHLO; STEP_CONNECT: neither */
	bool body_begun;
	bool slipped; /* it has said more than it was asked: the client may take one reply for another */
	struct evbuffer *body;

	/* the chunk under way */
	size_t chunk_left;   /* octets to come */
	bool chunk_last;     /* LAST */
	bool swallowed;      /* refused, or answered before its end: its octets go nowhere */
	const char *refusal; /* to be said when they have come; NULL: nothing */
};

#define FILL_COUNT 3

struct scripted_relay {
	char *name;
	char address[16];
	uint16_t port;
	unsigned window; /* SO_RCVBUF; 0: as the system has it */
	int fd;          /* keeps the port; owned by the listener while there is one */
	struct evconnlistener *listener;
	bool stopped;         /* by the scenario: stays so until it is started again */
	int fill[FILL_COUNT]; /* sockets that take all places of the listen queue, while it is a black hole; -1 */

	enum pace pace;
	uint32_t chaos; /* seed, then state: now and then it deviates at random; 0: never */
	enum certificate certificate;
	bool implicit_tls;
	bool starttls;  /* announce it */
	bool needs_tls; /* nothing but EHLO and STARTTLS may come in clear */
	char *username; /* AUTH is announced and demanded; NULL */
	char *password;
	char *offers; /* EHLO keywords with their parameters, separated by commas; STARTTLS and AUTH come by themselves */
	char *without; /* keywords left out all the same, separated by commas; "" for none */
	struct relay_limits limits;

	struct list rules;
	struct list connections;
	struct list accepted;
	struct list heard;
	unsigned opened; /* connections ever */
	unsigned peak;   /* sockets at once */

	/* called with a sentence when the client does what no client may */
	void (*violation)(const char *text, void *arg);
	/* called with each line of the dialogue, for the transcript */
	void (*said)(const struct relay_connection *c, const char *who, const char *text, void *arg);
	/* called when a socket was accepted */
	void (*counted)(void *arg);
	void *arg;
};

/* Listens on 127.0.0.N; a free port. NULL with errno. */
struct scripted_relay *scripted_relay_create(const char *name, unsigned host_number);
void scripted_relay_free(struct scripted_relay *relay);

/* New connections are refused / taken again / neither (the SYN gets no answer). */
void scripted_relay_stop(struct scripted_relay *relay);
bool scripted_relay_start(struct scripted_relay *relay) MUST_CHECK;
bool scripted_relay_black_hole(struct scripted_relay *relay) MUST_CHECK;

/*
 * Sockets held at the client's expense: open here, less those the client closed more than a second ago (which its slot
 * need not wait for).
 */
unsigned scripted_relay_sockets(const struct scripted_relay *relay);
/* Neither the client has closed it nor we. */
bool scripted_relay_holds(const struct relay_connection *c);
/* How many there are of these. */
unsigned scripted_relay_open(const struct scripted_relay *relay);

/*
 * A body is being read, and part of it waits in the kernel for room here: it comes, but in real time, so that scripted
 * time must not move meanwhile.
 */
bool scripted_relay_body_coming(const struct scripted_relay *relay);

/* ---- relay.c for behaviour.c ---- */

void relay_write(struct relay_connection *c, const char *data, size_t length);
void relay_end(struct relay_connection *c,
	       enum action_kind how); /* ACTION_CLOSE or ACTION_RESET, after what was said */
void relay_handshake(struct relay_connection *c);
void relay_notify(struct relay_connection *c); /* close_notify, behind what has been written */
void relay_complain(struct relay_connection *c, const char *format, ...) PRINTF_LIKE(2, 3);

/* ---- behaviour.c for relay.c ---- */

/* Does what is to be done at this step; `command` is taken over, NULL for none. */
void behaviour_step(struct relay_connection *c, enum step step, char *command);
/* Does this now, whatever is under way; the actions are borrowed until done. */
void behaviour_do(struct relay_connection *c, const struct action *actions, size_t count);
void behaviour_resume(void *connection); /* for the timer of ACTION_WAIT */
/* Looks at what has come; call when anything has changed. */
void behaviour_proceed(struct relay_connection *c);
void accepted_free(struct accepted *accepted);
void rule_free(struct rule *rule);

#endif
