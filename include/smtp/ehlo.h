/*
 * What a relay announced (RFC 5321 §4.1.1.1), and what LHLO offers the MTA in turn. Pure functions, fuzzed.
 */
#ifndef SMTP_EHLO_H
#define SMTP_EHLO_H

#include "relaypool.h"

enum capability {
	CAP_PIPELINING = 1 << 0,         /* RFC 2920 */
	CAP_8BITMIME = 1 << 1,           /* RFC 6152 */
	CAP_SIZE = 1 << 2,               /* RFC 1870 */
	CAP_DSN = 1 << 3,                /* RFC 3461 */
	CAP_SMTPUTF8 = 1 << 4,           /* RFC 6531 */
	CAP_CHUNKING = 1 << 5,           /* RFC 3030 */
	CAP_STARTTLS = 1 << 6,           /* RFC 3207 */
	CAP_AUTH = 1 << 7,               /* RFC 4954 */
	CAP_ENHANCEDSTATUSCODES = 1 << 8 /* RFC 2034 */
};

struct capabilities {
	unsigned bits;     /* of enum capability */
	uint64_t size;     /* SIZE's figure; 0: no limit stated */
	char auth[256];    /* mechanisms, upper case, each preceded and followed by a space: " PLAIN LOGIN " */
	unsigned mail_max; /* LIMITS MAILMAX (RFC 9422); 0: not stated */
	unsigned rcpt_max; /* LIMITS RCPTMAX */
};

struct reply;
/* From a 250 reply to EHLO. Unknown keywords are ignored; "AUTH=PLAIN" (old spelling) counts as AUTH PLAIN. */
void capabilities_parse(const struct reply *ehlo, struct capabilities *out);
bool capabilities_auth(const struct capabilities *caps, const char *mechanism);
/* "PIPELINING SIZE=10240000 8BITMIME": for ctl and the saved state. Returns `out`. */
const char *capabilities_format(const struct capabilities *caps, char *out, size_t size);
/* The inverse. Words that are unknown are ignored. */
void capabilities_read(const char *text, struct capabilities *out);

/*
 * What LHLO offers, mirrored from `count` relays (NULL entries: nothing known of that relay): SMTPUTF8 and SIZE as the
 * union, 8BITMIME and DSN as the intersection. While nothing is known of any: SMTPUTF8, 8BITMIME, SIZE without a
 * figure, no DSN. A relay of which nothing is known takes DSN out and changes nothing else.
 */
void capabilities_mirror(const struct capabilities *const *relays, size_t count, struct capabilities *out);

#endif
