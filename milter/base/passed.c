/*
 * Sockets that a service manager passes: found by their address, given to whoever serves it, closed if nobody does.
 * Called by main, which takes them and closes the rest, and by whoever opens an endpoint. Never makes a socket.
 */
#include <config.h>

#include "base/passed.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/process.h"

#define FIRST_FD 3      /* SD_LISTEN_FDS_START */
#define PASSED_MAX 1024 /* more is no number of sockets */

struct passed {
	int fd;     /* -1: given away, or closed */
	bool named; /* `endpoint` is where it listens; else it is not a listening stream socket that we could serve */
	char name[128]; /* the manager's word for it; "-" if it has none */
	struct endpoint endpoint;
};

/* Set at the start and kept to the end: the manager goes on listening. */
static struct passed *sockets;
static size_t socket_count;

/* The next word between colons of `*words`, which moves on; it may be NULL. */
static void name_take(const char **words, char *name, size_t size)
{
	size_t length = *words ? strcspn(*words, ":") : 0;
	snprintf(name, size, "%.*s", (int)length, length > 0 ? *words : "");
	if (length == 0)
		snprintf(name, size, "-");
	if (*words)
		*words = (*words)[length] == ':' ? *words + length + 1 : NULL;
}

static void take(struct passed *passed, int fd)
{
	int flags = fcntl(fd, F_GETFL);
	passed->fd = flags == -1 ? -1 : fd;
	passed->named = flags != -1 && fcntl(fd, F_SETFD, FD_CLOEXEC) == 0 &&
			fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0 && net_listening_at(fd, &passed->endpoint);
}

void passed_take(void)
{
	const char *names = getenv("LISTEN_FDNAMES");
	int64_t pid = process_take_number("LISTEN_PID"), count = process_take_number("LISTEN_FDS");
	if (pid == getpid() && count > 0 && count <= PASSED_MAX) {
		socket_count = (size_t)count;
		sockets = mem_array(socket_count, sizeof(*sockets));
	}
	for (size_t i = 0; i < socket_count; i++) {
		take(&sockets[i], FIRST_FD + (int)i);
		name_take(&names, sockets[i].name, sizeof(sockets[i].name));
	}
	unsetenv("LISTEN_FDNAMES");
	unsetenv("LISTEN_PIDFDID");
}

int passed_socket(const struct endpoint *endpoint)
{
	for (size_t i = 0; i < socket_count; i++) {
		int fd = sockets[i].fd;
		if (fd == -1 || !sockets[i].named || !endpoint_same_place(&sockets[i].endpoint, endpoint))
			continue;
		sockets[i].fd = -1;
		return fd;
	}
	return -1;
}

bool passed_has(const struct endpoint *endpoint)
{
	for (size_t i = 0; i < socket_count; i++)
		if (sockets[i].named && endpoint_same_place(&sockets[i].endpoint, endpoint))
			return true;
	return false;
}

void passed_close_rest(void)
{
	char name[NET_NAME_SIZE];
	for (size_t i = 0; i < socket_count; i++) {
		if (sockets[i].fd == -1)
			continue;
		if (sockets[i].named)
			log_warning("passed: endpoint=%s, name=%s (closed: neither lmtp, smtp nor control has this "
				    "address: correct relaypool.conf or the socket unit)",
				    endpoint_format(&sockets[i].endpoint, name), sockets[i].name);
		else
			log_warning("passed: descriptor=%d, name=%s (closed: only a stream socket that listens at a "
				    "path or an address can be served: correct the socket unit)",
				    sockets[i].fd, sockets[i].name);
		close(sockets[i].fd);
		sockets[i].fd = -1;
	}
}
