/*
 * Certificates made at run time, one of each kind that a scripted relay may show. Called by the scripted relay and the
 * world; made once for the process, nothing outlives it.
 */
#ifndef SCENARIO_CERTIFICATE_H
#define SCENARIO_CERTIFICATE_H

#include <openssl/ssl.h>
#include <stdbool.h>

enum certificate {
	CERTIFICATE_GOOD = 0,   /* for 127.0.0.1 to 127.0.0.4, trusted */
	CERTIFICATE_WRONG_NAME, /* for another host, trusted */
	CERTIFICATE_EXPIRED,    /* trusted, but its time is over */
	CERTIFICATE_UNKNOWN,    /* right name, but nobody vouches for it */
	CERTIFICATES
};
extern const char *const certificate_names[CERTIFICATES];

/* Makes them all; false if OpenSSL or the file refuses. `ca_file`: the trusted ones are written there (PEM). */
bool certificates_create(const char *ca_file) __attribute__((warn_unused_result));
void certificates_free(void);
/* A server's context that shows this one; borrowed. */
SSL_CTX *certificate_context(enum certificate certificate);

#endif
