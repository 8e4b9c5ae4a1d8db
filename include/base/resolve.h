/*
 * Name to addresses, off the loop. Called by relay/dial for a connection; never blocks, numeric addresses
 * are answered without a thread. Those who ask for the same host and port while it is looked up share one look-up.
 */
#ifndef BASE_RESOLVE_H
#define BASE_RESOLVE_H

#include <sys/socket.h>

#include "relaypool.h"

struct resolved {
	struct sockaddr_storage *addresses; /* in the resolver's order, families interleaved (RFC 8305 §4); port set */
	socklen_t *lengths;
	size_t count;
	const char *error; /* NULL, or why there are none */
};

/* `result` is borrowed for the call. */
typedef void resolve_done_fn(const struct resolved *result, void *arg);

struct resolve;
/* done() is called once from the loop, never from inside this call. */
struct resolve *resolve_start(const char *host, uint16_t port, resolve_done_fn *done, void *arg);
/* done() will not be called; not to be used after it was. NULL is allowed. */
void resolve_cancel(struct resolve *resolve);

#endif
