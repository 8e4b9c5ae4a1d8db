/*
 * The door as the milter sees it: it tells what the MTA's callbacks say of a session, in their order, on libmilter's
 * threads, one at a time for each session. None of this waits. Private to this room.
 */
#ifndef MILTER_OBSERVE_DOOR_PRIVATE_H
#define MILTER_OBSERVE_DOOR_PRIVATE_H

#include <sys/socket.h>

#include "observe/door.h"

struct door;

/* A session begins; ended by door_leave(), which frees it. */
struct door *door_enter(void);
void door_leave(struct door *door);

/* The MTA's end of the connection, as its macros have it; NULL: not given. */
struct door_macros {
	const char *daemon_addr, *daemon_port, *if_addr;
};
/* `client` NULL: it came by no network, or the MTA does not say. */
void door_connected(struct door *door, const struct sockaddr *client, const struct door_macros *macros);
/*
 * `awaited`: the MTA waits for the milter's reply. Otherwise Postfix keeps MAIL to itself until DATA; so this comes
 * late, and the time since the last message may have been anybody's. It need not come: then the message begins with
 * DATA.
 */
void door_mail(struct door *door, bool awaited);
/* A recipient was accepted that goes to relaypoold. */
void door_outbound(struct door *door);
/* `queue_id` NULL: not known. Without one there is no note of the message. */
void door_data(struct door *door, const char *queue_id);
void door_end(struct door *door, const char *queue_id);
/* There is no message any more; harmless if there was none. */
void door_abort(struct door *door);

#endif
