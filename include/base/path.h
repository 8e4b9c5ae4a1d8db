/*
 * What the kernel knows of octets on their way to a relay (TCP_INFO): so that a wait can be put down to the network or
 * to the relay. Asked by the relay room while something is waited for; changes nothing on the socket.
 */
#ifndef BASE_PATH_H
#define BASE_PATH_H

#include "relaypool.h"

struct path {
	bool unacknowledged; /* octets are under way, or were lost */
	bool lost;           /* … and should have been acknowledged by now, or are being sent again */
	bool shut;           /* octets wait here, none is under way: the other end takes no more */
	usec_t window_limit; /* time since the beginning in which its receive window was what held us */
};

/* False if the kernel does not tell. */
bool path_look(int fd, struct path *out) MUST_CHECK;

#endif
