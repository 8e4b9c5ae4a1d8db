/*
 * The two queues of a connection, to send and awaiting reply, and the one predicate that decides about pipelining.
 * Called by the connection only; knows commands and their order, never a socket.
 */
#ifndef RELAY_PIPELINE_H
#define RELAY_PIPELINE_H

#include "relay/transaction.h"
#include "relaypool.h"

/* How much is written without waiting; each relay has the richest that it announced and behaved well with. */
enum pipeline_mode {
	MODE_LOCKSTEP = 0, /* no PIPELINING: one command at a time */
	MODE_CLASSIC,      /* MAIL, RCPT, DATA in one flight, then the body (RFC 2920): 2 round trips a message */
	MODE_OVERLAP,      /* the body of one and MAIL, RCPT, DATA of the next in one flight (§3.1): 1 round trip */
	MODE_DEEP,         /* MAIL, RCPT, BDAT (RFC 3030) of several messages in flight: the round trip hardly counts */
	MODE_COUNT
};
extern const char *const pipeline_mode_names[MODE_COUNT];

/* What is written, or, for the banner and the TLS handshake, only waited for. */
enum command_kind {
	COMMAND_BANNER = 0, /* nothing is written: the relay speaks first */
	COMMAND_EHLO,
	COMMAND_STARTTLS,
	COMMAND_AUTH, /* AUTH and every line of the exchange */
	COMMAND_RSET,
	COMMAND_MAIL,
	COMMAND_RCPT,
	COMMAND_DATA,
	COMMAND_BODY, /* body and end of data: as one command, its reply is the verdict */
	COMMAND_BDAT, /* BDAT LAST and its octets: as one command, its reply is the verdict once the mark has come */
	COMMAND_MARK, /* RSET behind BDAT: its reply is always the same and shows that replies have not slipped */
	COMMAND_UNDO, /* RSET in place of DATA: a probe ends */
	COMMAND_QUIT,
	COMMAND_KINDS
};
extern const char *const command_names[COMMAND_KINDS];

struct command {
	struct list node;
	enum command_kind kind;
	struct transaction *transaction; /* NULL outside transactions; borrowed */
	size_t recipient;                /* COMMAND_RCPT: which */
	char *line;                      /* the caller's text to write, without CRLF; owned; NULL: made when sent */
	uint64_t end; /* position in the output stream behind its last octet; UINT64_MAX: not complete */
};

struct pipeline {
	struct list to_send;
	struct list awaiting;
	enum pipeline_mode mode;
};

void pipeline_init(struct pipeline *pipeline);
void pipeline_clear(struct pipeline *pipeline); /* frees all commands */

/* Queues a command. `line` is taken over (secrets: it is overwritten before it is freed). */
void pipeline_queue(struct pipeline *pipeline, enum command_kind kind, struct transaction *transaction,
		    size_t recipient, char *line);
/* The next command that may be written now, or NULL. Still queued. */
struct command *pipeline_sendable(const struct pipeline *pipeline);
/* It was written (or begun): it awaits its reply. */
void pipeline_sent(struct pipeline *pipeline, struct command *command, uint64_t end);
/* The command whose reply comes next, or NULL. */
struct command *pipeline_awaited(const struct pipeline *pipeline);
/* The command is done with, wherever it is. */
void pipeline_drop(struct command *command);
/* Drops what is queued and not yet sent of a transaction. */
void pipeline_drop_unsent(struct pipeline *pipeline, const struct transaction *transaction);

bool pipeline_quiet(const struct pipeline *pipeline); /* nothing to send, nothing awaited */

/* The richest way to talk, at most `mode`, to a relay that announced `caps`. */
enum pipeline_mode pipeline_mode_for(enum pipeline_mode mode, const struct capabilities *caps);

bool command_is_body(enum command_kind kind); /* a message itself, and with it its end: COMMAND_BODY, COMMAND_BDAT */
/* The replies a command allows besides 4xx and 5xx (RFC 5321 §4.3.2, 4954 §4, 3207 §4). */
bool command_allows(enum command_kind kind, int code);
/* The stage in which its reply is awaited. */
enum stage command_stage(enum command_kind kind);

#endif
