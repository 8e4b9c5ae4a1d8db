/*
 * Whether somebody listens on a socket of relaypoold's. Called for each MTA before it is told to use it: mail that nobody
 * takes would wait. Speaks to nobody.
 */
#include <config.h>

#include "setup/listening.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/mem.h"

#define CONNECT_LIMIT 2 /* seconds */

/* 0 if somebody listens there, else why not. */
static int probe_unix(const char *path)
{
	const struct timeval limit = {.tv_sec = CONNECT_LIMIT};
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), reason = 0;
	if (fd == -1 || setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) == -1 ||
	    connect(fd, (struct sockaddr *)&address, sizeof(address)) == -1)
		reason = errno;
	if (fd != -1)
		close(fd);
	return reason;
}

/*
 * The same, without a connection that relaypoold would log as refused, as nobody speaks on it: an address that is
 * listened on cannot be had by another socket.
 */
static int probe_inet(const struct endpoint *endpoint)
{
	char port[8];
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
	struct addrinfo *found;
	snprintf(port, sizeof(port), "%u", endpoint->port);
	if (getaddrinfo(endpoint->host, port, &hints, &found) != 0)
		return ENOENT;
	int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0), yes = 1, reason = ECONNREFUSED;
	if (fd == -1 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)) == -1 ||
	    bind(fd, found->ai_addr, found->ai_addrlen) == -1)
		reason = errno == EADDRINUSE ? 0 : errno;
	if (fd != -1)
		close(fd);
	freeaddrinfo(found);
	return reason;
}

int listening_probe(const struct endpoint *endpoint)
{
	return endpoint->kind == ENDPOINT_UNIX ? probe_unix(endpoint->path) : probe_inet(endpoint);
}

/* Why, and what to do first; the caller's. */
static char *reason_of(const struct endpoint *endpoint, int reason)
{
	char *directory = mem_strdup(endpoint->kind == ENDPOINT_UNIX ? endpoint->path : "/");
	*strrchr(directory, '/') = '\0';
	bool lacks = reason == ENOENT && *directory && access(directory, F_OK) == -1;
	char *text =
		lacks ? mem_printf("There is no directory %s: make it as the README says, then start relaypoold.",
				   directory)
		      : mem_printf(
				"Nobody listens there (%s): start relaypoold first; if it runs, stop it and its socket "
				"units, and start it again.",
				strerror(reason));
	free(directory);
	return text;
}

void listening_check(const struct endpoint *endpoint, const char *name, const char *meanwhile, struct report *report)
{
	int reason = listening_probe(endpoint);
	if (reason == EACCES) {
		report_note(report, "socket", name, "Whether relaypoold listens there can be seen by root only.");
		return;
	}
	char text[NET_NAME_SIZE], *first = reason ? reason_of(endpoint, reason) : NULL;
	char *why = reason ? mem_printf("%s %s", first, meanwhile) : NULL;
	report_add(report, &(struct finding){.state = reason ? FINDING_WRONG : FINDING_OK,
					     .where = "socket",
					     .name = name,
					     .is = reason ? endpoint_format(endpoint, text) : NULL,
					     .why = why,
					     .stops = reason != 0});
	free(why);
	free(first);
}
