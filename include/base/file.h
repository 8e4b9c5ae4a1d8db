/*
 * Small regular files read whole: relaypool.conf, passwords, tokens; and what a file's name leads to.
 * May be called from any thread; blocks as long as the disk does. Never reads from a device or a pipe.
 */
#ifndef BASE_FILE_H
#define BASE_FILE_H

#include "relaypool.h"

enum file_kind {
	FILE_PLAIN = 0, /* anybody may read it */
	FILE_SECRET     /* refused if everybody may read or write it */
};

/*
 * The text of a regular file of at most `limit` octets, none of them NUL, terminated; free it, or give it to
 * mem_free_secret(). NULL with the reason in `error`: "cannot open /x: Permission denied", or what to do about it.
 */
char *file_read(const char *path, enum file_kind kind, size_t limit, char *error, size_t error_size) MUST_CHECK;

/* When a file was last written, in microseconds since 1970; -1 if it cannot be looked at. */
int64_t file_modified(const char *path);

/* Whether both names lead to one file that can be looked at; links are followed. */
bool file_same(const char *a, const char *b);

#endif
