/*
 * Octets in memory, or in a file without a name. Called by ingest for bodies, read by the connections that send them.
 * Memory is reserved before it is used; a spool that is refused more moves to its file and never waits.
 */
#include <config.h>

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/log_limit.h"
#include "base/mem.h"
#include "base/spool.h"

#define SHARE 8 /* one spool's part of the limit: an eighth */
/* What is reserved at a time beyond the announced size: as much again, between these. */
#define STEP_MIN 4096
#define STEP_MAX (64 * 1024)

enum place {
	PLACE_MEMORY = 0, /* all of it is in memory, within what is reserved */
	PLACE_FILE,       /* all of it is in the file; nothing is reserved */
	PLACE_NONE        /* it could be kept nowhere: useless */
};

struct spool {
	enum place place;
	int error; /* PLACE_NONE: why */
	uint64_t size;
	uint64_t reserved;
	char *memory; /* PLACE_MEMORY: `allocated` octets of those reserved */
	uint64_t allocated;
	int fd; /* PLACE_FILE: -1 until the first octet is written */
};

static uint64_t memory_limit;
static char *directory;
static uint64_t memory_reserved; /* by all spools */
static unsigned file_count;

void spool_configure(uint64_t limit, const char *path)
{
	memory_limit = limit < PTRDIFF_MAX ? limit : PTRDIFF_MAX; /* where addresses have 32 bits there is no more */
	free(directory);
	directory = mem_strdup(path);
}

uint64_t spool_memory(void)
{
	return memory_reserved;
}

unsigned spool_files(void)
{
	return file_count;
}

/* ---- memory ---- */

/* Reserves `size` octets in all for this spool, which holds fewer. False if that is more than it may have. */
static bool reserve(struct spool *spool, uint64_t size)
{
	uint64_t others = memory_reserved - spool->reserved;
	if (size > memory_limit / SHARE || others > memory_limit || size > memory_limit - others)
		return false;
	memory_reserved = others + size;
	spool->reserved = size;
	return true;
}

static bool reserve_for(struct spool *spool, uint64_t size)
{
	if (size <= spool->reserved)
		return true;
	uint64_t step = spool->reserved < STEP_MIN ? STEP_MIN : spool->reserved > STEP_MAX ? STEP_MAX : spool->reserved;
	uint64_t generous = spool->reserved + step;
	return (generous > size && reserve(spool, generous)) || reserve(spool, size);
}

static void append_to_memory(struct spool *spool, const void *data, size_t length)
{
	if (spool->allocated < spool->reserved) {
		spool->memory = mem_realloc(spool->memory, (size_t)spool->reserved);
		spool->allocated = spool->reserved;
	}
	memcpy(spool->memory + spool->size, data, length);
	spool->size += length;
}

static void release_memory(struct spool *spool)
{
	memory_reserved -= spool->reserved;
	spool->reserved = 0;
	free(spool->memory);
	spool->memory = NULL;
	spool->allocated = 0;
}

/* ---- the file ---- */

/* A file that has no name, so that it is gone when we are, however we go. -1 with errno. */
static int open_unnamed(void)
{
	int fd = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != ENOENT))
		return fd;
	char *path = mem_printf("%s/spool.XXXXXX", directory); /* a file system without O_TMPFILE */
	fd = mkostemp(path, O_CLOEXEC);
	if (fd >= 0 && unlink(path) != 0) {
		int error = errno;
		close(fd);
		errno = error;
		fd = -1;
	}
	free(path);
	return fd;
}

static void close_file(struct spool *spool)
{
	if (spool->fd < 0)
		return;
	close(spool->fd);
	spool->fd = -1;
	file_count--;
}

static bool append_to_file(struct spool *spool, const void *data, size_t length)
{
	if (spool->fd < 0) {
		spool->fd = open_unnamed();
		if (spool->fd < 0)
			return false;
		file_count++;
	}
	for (size_t done = 0; done < length;) {
		ssize_t n = pwrite(spool->fd, (const char *)data + done, length - done, (off_t)(spool->size + done));
		if (n < 0 && errno != EINTR)
			return false;
		if (n > 0)
			done += (size_t)n;
	}
	spool->size += length;
	return true;
}

/* Writes what is in memory to the file and frees the memory. */
static bool move_to_file(struct spool *spool)
{
	uint64_t size = spool->size;
	spool->place = PLACE_FILE;
	spool->size = 0;
	bool ok = size == 0 || append_to_file(spool, spool->memory, (size_t)size);
	int error = errno;
	release_memory(spool);
	errno = error;
	return ok;
}

/* ---- the spool ---- */

struct spool *spool_create(uint64_t expected)
{
	assert(directory); /* spool_configure() comes first */
	struct spool *spool = mem_alloc(sizeof *spool);
	spool->fd = -1;
	spool->place = reserve(spool, expected) ? PLACE_MEMORY : PLACE_FILE;
	return spool;
}

void spool_free(struct spool *spool)
{
	if (!spool)
		return;
	release_memory(spool);
	close_file(spool);
	free(spool);
}

/* It is useless from now on. */
static void give_up(struct spool *spool, int error)
{
	static struct log_limit limit = LOG_LIMIT_OF("spool", 60, 1);
	unsigned long unlogged;
	spool->place = PLACE_NONE;
	spool->error = error;
	close_file(spool); /* others may need the room at once */
	if (log_limit_passes(&limit, &unlogged))
		log_warning("spool: directory=%s, unlogged=%lu (%s; what does not fit into memory is deferred: give "
			    "the directory room and let the daemon's user write there)",
			    directory, unlogged, strerror(error));
}

bool spool_append(struct spool *spool, const void *data, size_t length)
{
	bool ok = spool->place != PLACE_NONE;
	if (!ok)
		errno = spool->error;
	else if (length == 0)
		return true;
	else if (spool->place == PLACE_MEMORY && reserve_for(spool, spool->size + length))
		append_to_memory(spool, data, length);
	else
		ok = (spool->place == PLACE_FILE || move_to_file(spool)) && append_to_file(spool, data, length);
	if (!ok && spool->place != PLACE_NONE) {
		give_up(spool, errno);
		errno = spool->error;
	}
	return ok;
}

uint64_t spool_size(const struct spool *spool)
{
	return spool->size;
}

static ssize_t read_file(int fd, uint64_t offset, void *out, size_t length)
{
	for (;;) {
		ssize_t n = pread(fd, out, length, (off_t)offset);
		if (n >= 0 || errno != EINTR)
			return n;
	}
}

ssize_t spool_read(const struct spool *spool, uint64_t offset, void *out, size_t length)
{
	if (spool->place == PLACE_NONE) {
		errno = spool->error;
		return -1;
	}
	if (offset >= spool->size)
		return 0;
	if (length > spool->size - offset)
		length = (size_t)(spool->size - offset);
	if (spool->place == PLACE_FILE)
		return read_file(spool->fd, offset, out, length);
	memcpy(out, spool->memory + offset, length);
	return (ssize_t)length;
}
