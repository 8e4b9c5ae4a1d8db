/*
 * getaddrinfo(3) off the loop. Called by relay/dial. Who asks for a name that is being looked up shares that look-up; one
 * that nobody waits for any more is not begun, or goes on in its thread until it is asked for again. No cache:
 * connections are long-lived, and the system's resolver has one.
 */
#include <config.h>

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/loop.h"
#include "base/mem.h"
#include "base/resolve.h"

#define ADDRESSES_MAX 32 /* what a name server says is bounded here */

enum lookup_stage {
	LOOKUP_WAITING = 0, /* for a worker */
	LOOKUP_BEGUN,       /* or done, or it needs none: an address in numbers */
	LOOKUP_DROPPED      /* nobody waited for it any more before a worker had begun */
};

/* One question to the system, for all who ask it while it is under way: a dead name holds one worker and no more. */
struct lookup {
	struct list node;   /* on `lookups` while it may be joined */
	struct list askers; /* of struct resolve */
	struct timer timer; /* a numeric address: the answer is given at the next turn of the loop */
	char *host;
	char port[8];
	_Atomic enum lookup_stage stage; /* moved on from LOOKUP_WAITING once, by the worker or by the loop */
	/* Written by the worker, read when it has ended. */
	struct addrinfo *found;
	int error;        /* EAI_… */
	int system_error; /* errno, for EAI_SYSTEM */
};

struct resolve {
	struct list node;
	struct lookup *lookup; /* NULL: it is being answered */
	resolve_done_fn *done;
	void *arg;
};

static struct list lookups = {&lookups, &lookups}; /* loop thread only */

static void look_up(struct lookup *lookup, int flags)
{
	struct addrinfo hints = {.ai_flags = AI_NUMERICSERV | flags, .ai_socktype = SOCK_STREAM};
	lookup->error = getaddrinfo(lookup->host, lookup->port, &hints, &lookup->found);
	lookup->system_error = errno;
	if (lookup->error != 0)
		lookup->found = NULL;
}

static void lookup_free(struct lookup *lookup)
{
	if (lookup->found)
		freeaddrinfo(lookup->found);
	free(lookup->host);
	free(lookup);
}

static bool leave_waiting(struct lookup *lookup, enum lookup_stage next)
{
	enum lookup_stage waiting = LOOKUP_WAITING;
	return atomic_compare_exchange_strong(&lookup->stage, &waiting, next);
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

/* Tells all who wait for it, and frees it. Those may cancel one another, and ask anew. */
static void answer(struct lookup *lookup)
{
	struct sockaddr_storage addresses[ADDRESSES_MAX];
	socklen_t lengths[ADDRESSES_MAX];
	struct resolved result = {.addresses = addresses, .lengths = lengths};
	memset(addresses, 0, sizeof addresses);
	if (lookup->error == EAI_SYSTEM)
		result.error = strerror(lookup->system_error);
	else if (lookup->error != 0)
		result.error = gai_strerror(lookup->error);
	else
		result.count = interleave(lookup->found, addresses, lengths);
	while (!list_empty(&lookup->askers)) {
		struct resolve *resolve = LIST_ENTRY_OF(lookup->askers.next, struct resolve, node);
		list_remove(&resolve->node);
		resolve->lookup = NULL;
		resolve->done(&result, resolve->arg);
		free(resolve);
	}
	lookup_free(lookup);
}

static void on_timer(void *arg)
{
	answer(arg);
}

/* On a worker thread. */
static void work(void *arg)
{
	if (leave_waiting(arg, LOOKUP_BEGUN))
		look_up(arg, AI_ADDRCONFIG);
}

static void on_worked(void *arg)
{
	struct lookup *lookup = arg;
	list_remove(&lookup->node);
	answer(lookup);
}

static struct lookup *find(const char *host, const char *port)
{
	LIST_EACH (node, next, &lookups) {
		struct lookup *lookup = LIST_ENTRY_OF(node, struct lookup, node);
		if (strcmp(lookup->host, host) == 0 && strcmp(lookup->port, port) == 0)
			return lookup;
	}
	return NULL;
}

static struct lookup *begin(const char *host, const char *port)
{
	struct lookup *lookup = mem_alloc(sizeof *lookup);
	list_init(&lookup->node);
	list_init(&lookup->askers);
	timer_init(&lookup->timer, "a numeric address", on_timer, lookup);
	lookup->host = mem_strdup(host);
	snprintf(lookup->port, sizeof lookup->port, "%s", port);
	look_up(lookup, AI_NUMERICHOST);
	if (lookup->error == EAI_NONAME) {
		list_append(&lookups, &lookup->node);
		loop_offload(work, on_worked, lookup);
	} else {
		atomic_store(&lookup->stage, LOOKUP_BEGUN);
		timer_arm(&lookup->timer, 0);
	}
	return lookup;
}

struct resolve *resolve_start(const char *host, uint16_t port, resolve_done_fn *done, void *arg)
{
	char digits[8];
	snprintf(digits, sizeof digits, "%u", port);
	struct resolve *resolve = mem_alloc(sizeof *resolve);
	resolve->done = done;
	resolve->arg = arg;
	resolve->lookup = find(host, digits);
	if (!resolve->lookup)
		resolve->lookup = begin(host, digits);
	list_append(&resolve->lookup->askers, &resolve->node);
	return resolve;
}

void resolve_cancel(struct resolve *resolve)
{
	struct lookup *lookup = resolve ? resolve->lookup : NULL;
	if (!lookup)
		return;
	list_remove(&resolve->node);
	free(resolve);
	if (!list_empty(&lookup->askers))
		return;
	if (timer_armed(&lookup->timer)) {
		timer_cancel(&lookup->timer);
		lookup_free(lookup);
	} else if (leave_waiting(lookup, LOOKUP_DROPPED)) {
		list_remove(&lookup->node); /* who asks from now on needs another */
	}
}
