/* Who is at the other end of a session, and whether that user may hand over mail. Private to the room. */
#ifndef INGEST_PEER_H
#define INGEST_PEER_H

#include <sys/types.h>

#include "base/net.h"

struct peer {
	int fd;                   /* borrowed from the session */
	bool tcp;                 /* else a unix socket */
	bool loopback;            /* TCP: the address is this host's own */
	char name[NET_NAME_SIZE]; /* "unix" or the address */
	int64_t uid;              /* as last looked up; -1 not known */
};

void peer_init(struct peer *peer, int fd);
/* Something can be read already. */
bool peer_talks(const struct peer *peer);
/* The peer closed its end or reset the connection, whatever may still be there to read. */
bool peer_gone(const struct peer *peer);

/* NULL, or why a peer is not even greeted. Over TCP its user is looked up only after that, by peer_user_refusal(). */
const char *peer_refusal(struct peer *peer, const struct conf *conf);
/* NULL, or why the user at the other end may not hand over mail. Looks the user up now. */
const char *peer_user_refusal(struct peer *peer, const struct conf *conf);

#endif
