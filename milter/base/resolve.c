/*
 * getaddrinfo(3) off the loop. Called by the pool; a look-up that is cancelled goes on in its thread, and nobody hears
 * of it. No cache: connections are long-lived, and the system's resolver has one.
 */
#include <config.h>

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/loop.h"
#include "base/mem.h"
#include "base/resolve.h"

#define ADDRESSES_MAX 32 /* what a name server says is bounded here */

struct resolve {
	char *host;
	char port[8];
	resolve_done_fn *done; /* loop thread only; NULL: cancelled */
	void *arg;
	struct timer timer; /* a numeric address: the answer is given at the next turn of the loop */
	/* Written by the worker, read when it has ended. */
	struct addrinfo *found;
	int error;        /* EAI_… */
	int system_error; /* errno, for EAI_SYSTEM */
};

static void look_up(struct resolve *resolve, int flags)
{
	struct addrinfo hints = {.ai_flags = AI_NUMERICSERV | flags, .ai_socktype = SOCK_STREAM};
	resolve->error = getaddrinfo(resolve->host, resolve->port, &hints, &resolve->found);
	resolve->system_error = errno;
	if (resolve->error != 0)
		resolve->found = NULL;
}

static void resolve_free(struct resolve *resolve)
{
	if (resolve->found)
		freeaddrinfo(resolve->found);
	free(resolve->host);
	free(resolve);
}

/* The next address of the family, or not of the family, from `from` on. */
static const struct addrinfo *next_address(const struct addrinfo *from, int family, bool of_family)
{
	while (from && (from->ai_family == family) != of_family)
		from = from->ai_next;
	return from;
}

/* RFC 8305 §4: the families take turns, beginning with that of the resolver's first address. */
static size_t interleave(const struct addrinfo *found, struct sockaddr_storage *addresses, socklen_t *lengths)
{
	const struct addrinfo *turns[2] = {found, next_address(found, found->ai_family, false)};
	size_t count = 0;
	for (unsigned turn = 0; count < ADDRESSES_MAX && (turns[0] || turns[1]); turn = 1 - turn) {
		const struct addrinfo *next = turns[turn];
		if (!next)
			continue;
		memcpy(&addresses[count], next->ai_addr, next->ai_addrlen);
		lengths[count++] = next->ai_addrlen;
		turns[turn] = next_address(next->ai_next, found->ai_family, turn == 0);
	}
	return count;
}

static void answer(struct resolve *resolve)
{
	struct sockaddr_storage addresses[ADDRESSES_MAX];
	socklen_t lengths[ADDRESSES_MAX];
	struct resolved result = {.addresses = addresses, .lengths = lengths};
	memset(addresses, 0, sizeof addresses);
	if (resolve->error == EAI_SYSTEM)
		result.error = strerror(resolve->system_error);
	else if (resolve->error != 0)
		result.error = gai_strerror(resolve->error);
	else
		result.count = interleave(resolve->found, addresses, lengths);
	resolve->done(&result, resolve->arg);
}

static void on_timer(void *arg)
{
	answer(arg);
	resolve_free(arg);
}

/* On a worker thread. */
static void work(void *arg)
{
	look_up(arg, AI_ADDRCONFIG);
}

static void on_worked(void *arg)
{
	struct resolve *resolve = arg;
	if (resolve->done)
		answer(resolve);
	resolve_free(resolve);
}

struct resolve *resolve_start(const char *host, uint16_t port, resolve_done_fn *done, void *arg)
{
	struct resolve *resolve = mem_alloc(sizeof *resolve);
	resolve->host = mem_strdup(host);
	snprintf(resolve->port, sizeof resolve->port, "%u", port);
	resolve->done = done;
	resolve->arg = arg;
	timer_init(&resolve->timer, "a numeric address", on_timer, resolve);
	look_up(resolve, AI_NUMERICHOST);
	if (resolve->error == EAI_NONAME)
		loop_offload(work, on_worked, resolve);
	else
		timer_arm(&resolve->timer, 0);
	return resolve;
}

void resolve_cancel(struct resolve *resolve)
{
	if (!resolve)
		return;
	resolve->done = NULL;
	if (timer_armed(&resolve->timer)) {
		timer_cancel(&resolve->timer);
		resolve_free(resolve);
	}
}
