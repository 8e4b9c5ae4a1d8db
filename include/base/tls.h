/*
 * OpenSSL behind a few calls: one client context per relay, verification by name, session resumption.
 * Called by the connection; never writes or reads a socket itself (libevent's bufferevent_openssl does).
 */
#ifndef BASE_TLS_H
#define BASE_TLS_H

#include "relaypool.h"

typedef struct ssl_st SSL;
struct tls_context;

/*
 * A client context: TLS 1.2 or newer, verifying against `ca_file` (NULL: the system's store) unless verify is false.
 * NULL with one sentence in `error` if the file cannot be used.
 */
struct tls_context *tls_context_create(bool verify, const char *ca_file, char *error, size_t error_size) MUST_CHECK;
void tls_context_free(struct tls_context *context); /* its SSLs may live on; NULL is allowed */

/*
 * A new client SSL for `host`: SNI, host name (or IP address) check, the last session of this context for
 * resumption. The caller owns it (a bufferevent takes it over). NULL if OpenSSL refuses.
 */
SSL *tls_client_create(struct tls_context *context, const char *host) MUST_CHECK;

/*
 * Why the handshake failed, for an administrator: certificate expired, issuer unknown, name not in the certificate,
 * or OpenSSL's own words; the relay is not named. True if it was the certificate that was not trusted (as opposed to
 * the network).
 */
bool tls_failure(SSL *ssl, char *text, size_t text_size);
/* "TLSv1.3 TLS_AES_256_GCM_SHA384, resumed" for debugging and ctl. Returns `out`. */
const char *tls_describe(SSL *ssl, char *out, size_t size);
bool tls_resumed(SSL *ssl);

#endif
