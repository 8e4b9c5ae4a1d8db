/*
 * What is known of each relay, kept over a restart: what it announced last, which LHLO mirrors before the first
 * connection is made, and what was learned of it. Called by the router; a file that cannot be read or written costs
 * nothing but that memory.
 */
#ifndef RELAY_MEMORY_H
#define RELAY_MEMORY_H

#include "relay/limits.h"
#include "relay/pipeline.h"
#include "relaypool.h"
#include "smtp/ehlo.h"

/* What was learned of a relay. */
struct learned {
	char identity[256];      /* of the relay it was learned of; another one's is not believed */
	enum pipeline_mode mode; /* at most; MODE_COUNT: nothing was learned of it */
	int64_t mode_until;      /* clock_wall() */
	char mode_why[256];
	struct limit limits[LIMIT_KINDS];
};

struct memory;

/* Reads DIRECTORY/relays.json if it is there. */
struct memory *memory_create(const char *directory);
void memory_free(struct memory *memory);

/* NULL if nothing is known. Borrowed until the next memory_set_…() of that relay. */
const struct capabilities *memory_announced(const struct memory *memory, const char *relay);
const struct learned *memory_learned(const struct memory *memory, const char *relay);
/* Remembers. What was announced is written to the file only if it has changed. */
void memory_set_announced(struct memory *memory, const char *relay, const struct capabilities *caps);
void memory_set_learned(struct memory *memory, const char *relay, const struct learned *learned);

#endif
