/*
 * Sockets that a service manager has opened and passes at the start (sd_listen_fds(3), without its library). main takes
 * them first of all; whoever needs an endpoint's socket asks here before making one. The manager made such a socket,
 * keeps it over our restart and removes it: nobody here binds, probes, changes or removes it, a descriptor is closed and
 * no more.
 */
#ifndef BASE_PASSED_H
#define BASE_PASSED_H

#include "base/net.h"
#include "relaypool.h"

/*
 * Takes what the environment tells of, and takes that out of the environment: what we start is not to believe it its own.
 * Before the process forks, opens anything or has threads.
 */
void passed_take(void);

/*
 * The socket that was passed for the endpoint: it listens, is non-blocking and close-on-exec, and is the caller's. -1 if
 * none was passed, or it was asked for before.
 */
int passed_socket(const struct endpoint *endpoint) MUST_CHECK;

/* Whether one was passed for it. True for good: the manager listens there, even when we have closed our descriptor. */
bool passed_has(const struct endpoint *endpoint);

/* Closes those that nobody has asked for; the log names each and says what to do. */
void passed_close_rest(void);

#endif
