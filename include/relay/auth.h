/*
 * One AUTH exchange (RFC 4954): which mechanism, and what to answer. CRAM-MD5 and SCRAM by GNU SASL; PLAIN, LOGIN,
 * XOAUTH2 and OAUTHBEARER are one string each. Called by the connection; never touches the socket, never logs.
 */
#ifndef RELAY_AUTH_H
#define RELAY_AUTH_H

#include "relaypool.h"
#include "smtp/ehlo.h"

struct auth;

/*
 * Picks the first mechanism of relay_conf.auth that the relay announced (without an `auth` key: SCRAM-SHA-256,
 * SCRAM-SHA-1, CRAM-MD5 are skipped under TLS in favour of PLAIN, LOGIN, which cost one round trip less; without TLS
 * they come first; XOAUTH2 or OAUTHBEARER when the relay has a token). `token` is borrowed for the call, NULL if
 * there is none. NULL with a sentence in `error`: which mechanisms the relay offers and which are allowed.
 */
struct auth *auth_create(const struct relay_conf *relay, const struct capabilities *caps, const char *host, bool tls,
			 const char *token, char *error, size_t error_size) MUST_CHECK;
void auth_free(struct auth *auth); /* overwrites secrets; NULL is allowed */
const char *auth_mechanism(const struct auth *auth);

/*
 * The line to send, without CRLF: first "AUTH mechanism [initial response]", then the answer to each 334. `challenge`
 * is the text of the 334 reply (base64), NULL the first time. The line is the caller's, free with mem_free_secret().
 * False with a sentence in `error` if the challenge makes no sense; then send "*".
 */
bool auth_next(struct auth *auth, const char *challenge, char **line, char *error, size_t error_size) MUST_CHECK;

/*
 * After 235: true unless the mechanism lets the relay prove that it knows the password (SCRAM) and it has not.
 */
bool auth_accept(struct auth *auth) MUST_CHECK;

/*
 * Puts asterisks over whatever `text`, words of the relay, repeats of the exchange: responses and the token, or eight
 * octets of them, and the password. There are servers that echo a line which they do not understand.
 */
void auth_blank(const struct auth *auth, char *text);

#endif
