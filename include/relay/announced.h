/*
 * What each relay announced last, kept over a restart: LHLO mirrors it before the first connection is made.
 * Called by the router; a file that cannot be read or written costs nothing but that memory.
 */
#ifndef RELAY_ANNOUNCED_H
#define RELAY_ANNOUNCED_H

#include "relaypool.h"
#include "smtp/ehlo.h"

struct announced;

/* Reads DIRECTORY/announced.json if it is there. */
struct announced *announced_create(const char *directory);
void announced_free(struct announced *announced);
/* NULL if nothing is known. Borrowed until the next announced_set() of that relay. */
const struct capabilities *announced_get(const struct announced *announced, const char *relay);
/* Remembers, and writes the file if something changed. */
void announced_set(struct announced *announced, const char *relay, const struct capabilities *caps);

#endif
