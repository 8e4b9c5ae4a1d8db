/*
 * SMTP replies (RFC 5321 §4.2): read from a relay, made here for local failures, written to the MTA.
 * One result type for both, so that whoever looks at a failure need not ask where it came from. No sockets.
 */
#ifndef SMTP_REPLY_H
#define SMTP_REPLY_H

#include "relaypool.h"

/* Which local failure a reply stands for. The text says it to an administrator. */
enum local_failure {
	LOCAL_NONE = 0,   /* not local: the relay said it */
	LOCAL_CONNECTION, /* 451 4.4.2: connections were lost, again and again, before the end of data was written */
	LOCAL_AMBIGUOUS,  /* 451 4.4.2: end of data written, no reply: the relay may have the message */
	LOCAL_PROTOCOL,   /* 451 4.5.0: the relay's replies made no sense, again and again */
	LOCAL_RELAY_DOWN, /* 451 4.4.1: no connection can be had at present (refused, DNS, TLS, AUTH); says why */
	LOCAL_NO_TIME,    /* 451 4.3.2: less than reply-reserve was left of the deadline */
	LOCAL_CAPACITY,   /* 451 4.3.2: the relay's share of the waiting places is taken */
	LOCAL_SHUTDOWN,   /* 451 4.3.2: relaypoold is stopping */
	LOCAL_NO_ROUTE,   /* 451 4.3.5: no route matches and there is none without conditions */
	LOCAL_FEATURE,    /* 451 4.3.0, 4.6.3: the relay no longer announces what LHLO offered (8BITMIME, DSN) */
	LOCAL_SIZE,       /* 552 5.3.4: larger than any relay of the route takes (RFC 1870 §6.1) */
	LOCAL_SMTPUTF8,   /* 553 5.6.7: no relay of the route takes internationalized mail (RFC 6531 §3.5) */
	LOCAL_INGEST,     /* what the listener itself answers: syntax, sequence, content */
	LOCAL_FAILURES
};
extern const char *const local_failure_names[LOCAL_FAILURES];

#define REPLY_TEXT_MAX 4096 /* octets of text kept of one reply, all lines together */
#define REPLY_LINE_MAX 2048 /* longer reply lines are not a reply (RFC 5321 allows 512) */
#define REPLY_LINES_MAX 128

/* Counted and immutable once made. */
struct reply {
	unsigned refs;
	int code; /* 200…599 */
	enum local_failure local;
	char enhanced[12]; /* "2.0.0" (RFC 2034), or "" if the reply had none */
	char text[];       /* without the codes; lines separated by '\n'; printable ASCII and UTF-8 only */
};

enum reply_status {
	REPLY_INCOMPLETE = 0, /* more octets are needed */
	REPLY_COMPLETE,
	REPLY_INVALID /* this can never become a reply */
};

/*
 * Reads one reply from the beginning of `data`. On COMPLETE `*used` octets were taken and `*reply` is the caller's
 * (one reference). On INVALID `*reply` is NULL and `*why` a constant sentence. Lines end in CRLF or, tolerated, LF.
 * Control characters in the text become '?'.
 */
enum reply_status reply_parse(const char *data, size_t length, size_t *used, struct reply **reply,
			      const char **why) MUST_CHECK;

/* A local reply. `enhanced` like "4.4.2". The caller's. */
struct reply *reply_local(enum local_failure failure, int code, const char *enhanced, const char *format, ...)
	PRINTF_LIKE(4, 5);
struct reply *reply_ref(struct reply *reply);
void reply_unref(struct reply **reply); /* and sets the pointer to NULL; NULL inside is allowed */

static inline bool reply_is_remote(const struct reply *r)
{
	return r->local == LOCAL_NONE;
}
enum status reply_status_of(const struct reply *reply); /* 2xx sent, 5xx bounced, everything else deferred */

/*
 * The enhanced status code to log and to pass on: the relay's own if it has the class of the code, else X.0.0.
 */
const char *reply_dsn(const struct reply *reply, char out[12]);

/* Appends the reply as it goes to the MTA: all lines, with enhanced code, each ending in CRLF. */
struct evbuffer;
void reply_write(const struct reply *reply, struct evbuffer *out);
/* "250 2.0.0 Ok: queued as 77": one line for logs, lines joined by a space, cut to `size`. Returns `out`. */
const char *reply_line(const struct reply *reply, char *out, size_t size);

#endif
