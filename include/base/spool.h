/*
 * Octets in memory up to a limit, then in an unlinked file; written once, readable many times.
 * Used for bodies; knows nothing of mail. Memory of all spools together is bounded: what does not fit goes to file, so
 * that nobody ever waits for memory and half-read bodies can never lock each other out.
 */
#ifndef BASE_SPOOL_H
#define BASE_SPOOL_H

#include <sys/types.h>

#include "relaypool.h"

/*
 * For all spools from now on: bytes of memory together, and the directory for files. A spool keeps in memory at most
 * an eighth of the limit.
 */
void spool_configure(uint64_t memory_limit, const char *directory);

/* `expected`: the size announced, 0 if none. Reserves memory for it if that fits, else it begins as a file. */
struct spool *spool_create(uint64_t expected);
void spool_free(struct spool *spool); /* NULL is allowed */

/* False (errno: ENOSPC and the like) if it could be kept neither in memory nor in a file; the spool is useless then. */
bool spool_append(struct spool *spool, const void *data, size_t length) MUST_CHECK;
uint64_t spool_size(const struct spool *spool);
/* Reads up to `length` octets from `offset`. How many, 0 at the end, -1 with errno. */
ssize_t spool_read(const struct spool *spool, uint64_t offset, void *out, size_t length) MUST_CHECK;

/* Memory that all spools hold or have reserved; how many are files. */
uint64_t spool_memory(void);
unsigned spool_files(void);

#endif
