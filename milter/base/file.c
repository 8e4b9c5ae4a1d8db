/*
 * Small regular files read whole. Called by the configuration and by token sources; never writes, never waits for a
 * pipe or a device.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"

/* The size of an open file if it is one that may be read; else -1 and the reason in `error`. */
static ssize_t acceptable(int fd, const char *path, enum file_kind kind, size_t limit, char *error, size_t error_size)
{
	struct stat info;
	if (fstat(fd, &info) == -1)
		snprintf(error, error_size, "cannot look at %s: %s", path, strerror(errno));
	else if (!S_ISREG(info.st_mode))
		snprintf(error, error_size, "%s is not a regular file", path);
	else if (kind == FILE_SECRET && (info.st_mode & (S_IROTH | S_IWOTH)))
		snprintf(error, error_size, "%s holds a secret, but everybody may %s it: chmod 0640 %s", path,
			 info.st_mode & S_IROTH ? "read" : "write", path);
	else if (info.st_size < 0 || (uintmax_t)info.st_size > limit)
		snprintf(error, error_size, "%s is larger than %zu octets", path, limit);
	else
		return (ssize_t)info.st_size;
	return -1;
}

/* Reads up to `size` octets; how many, or -1. */
static ssize_t read_all(int fd, char *text, size_t size)
{
	size_t length = 0;
	while (length < size) {
		ssize_t got = read(fd, text + length, size - length);
		if (got == -1 && errno == EINTR)
			continue;
		if (got == -1)
			return -1;
		if (got == 0)
			break;
		length += (size_t)got;
	}
	return (ssize_t)length;
}

char *file_read(const char *path, enum file_kind kind, size_t limit, char *error, size_t error_size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd == -1) {
		snprintf(error, error_size, "cannot open %s: %s", path, strerror(errno));
		return NULL;
	}
	ssize_t size = acceptable(fd, path, kind, limit, error, error_size);
	if (size == -1) {
		close(fd);
		return NULL;
	}
	char *text = mem_alloc((size_t)size + 2);
	ssize_t length = read_all(fd, text, (size_t)size + 1); /* one more, to see that it is growing */
	if (length == -1)
		snprintf(error, error_size, "cannot read %s: %s", path, strerror(errno));
	else if (length > size)
		snprintf(error, error_size, "%s is being written to", path);
	else if (strlen(text) != (size_t)length)
		snprintf(error, error_size, "%s is not a text: a NUL octet stands in it", path);
	close(fd);
	if (length != -1 && length <= size && strlen(text) == (size_t)length)
		return text;
	explicit_bzero(text, (size_t)size + 1);
	free(text);
	return NULL;
}

int64_t file_modified(const char *path)
{
	struct stat info;
	if (stat(path, &info) == -1)
		return -1;
	return (int64_t)info.st_mtim.tv_sec * 1000000 + info.st_mtim.tv_nsec / 1000;
}

bool file_same(const char *a, const char *b)
{
	struct stat first, second;
	return stat(a, &first) == 0 && stat(b, &second) == 0 && first.st_dev == second.st_dev &&
	       first.st_ino == second.st_ino;
}
