/*
 * SMTP and LMTP commands: written to relays, read from the MTA (RFC 5321 §4.1, RFC 2033). Pure functions, fuzzed.
 */
#ifndef SMTP_COMMAND_H
#define SMTP_COMMAND_H

#include "relaypool.h"

#define COMMAND_LINE_MAX 4096 /* octets of a command line with its CRLF; RFC 5321's 512 plus what extensions add */
#define COMMAND_PATH_MAX 1024 /* octets of a path; RFC 5321 says 256, RFC 6531 and source routes make it longer */

/* What the MTA may say to us. */
enum verb {
	VERB_UNKNOWN = 0,
	VERB_LHLO,
	VERB_EHLO,
	VERB_HELO,
	VERB_MAIL,
	VERB_RCPT,
	VERB_DATA,
	VERB_RSET,
	VERB_NOOP,
	VERB_VRFY,
	VERB_QUIT,
	VERB_XFORWARD,
	VERB_COUNT
};
extern const char *const verb_names[VERB_COUNT];

/* The verb at the beginning of a line without its CRLF; `*arguments` points behind it and one space, into `line`. */
enum verb command_verb(const char *line, const char **arguments);

/* MAIL FROM:<…> with its parameters. Strings are the caller's to free. */
struct mail_arguments {
	char *sender;   /* without angle brackets; "" for <> */
	uint64_t size;  /* SIZE=, 0 if not given */
	bool body_8bit; /* BODY=8BITMIME */
	bool smtputf8;
	char *params; /* " RET=…" and " ENVID=…" as given, "" for neither */
};
/* RCPT TO:<…> with its parameters. */
struct rcpt_arguments {
	char *address;
	char *params; /* " NOTIFY=…" and " ORCPT=…" as given, "" for neither */
	bool notify_success;
};

/*
 * False with a reply in `*refusal` (the caller's): 501 5.5.4 for syntax, 555 5.5.4 for an unknown parameter, 501 5.1.7
 * or 5.1.3 for a bad path; nothing is allocated then. AUTH= is read and forgotten. A sender or recipient with
 * CR, LF, NUL or other control characters is refused.
 */
bool command_parse_mail(const char *arguments, struct mail_arguments *mail, struct reply **refusal) MUST_CHECK;
bool command_parse_rcpt(const char *arguments, struct rcpt_arguments *rcpt, struct reply **refusal) MUST_CHECK;
void mail_arguments_clear(struct mail_arguments *mail);
void rcpt_arguments_clear(struct rcpt_arguments *rcpt);

/* The value of XFORWARD IDENT=, xtext decoded (Postfix XFORWARD_README); "" if absent, [UNAVAILABLE] or too long. */
void command_xforward_ident(const char *arguments, char *out, size_t size);

struct evbuffer;
/* Each appends one command line with CRLF. `size` 0: no SIZE=. */
void command_write_mail(struct evbuffer *out, const char *sender, uint64_t size, bool body_8bit, bool smtputf8,
			const char *params);
void command_write_rcpt(struct evbuffer *out, const char *address, const char *params);

#endif
