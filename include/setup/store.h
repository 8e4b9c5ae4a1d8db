/*
 * What setup remembers, so that it can be undone: below LOCALSTATEDIR/lib/relaypool-setup, which is root's alone, a
 * directory for each configuration of an MTA, with a state in JSON and copies of files as they were. Nothing the daemon's
 * user could write to. One setup at a time: whoever is to change something holds the lock.
 */
#ifndef SETUP_STORE_H
#define SETUP_STORE_H

#include <jansson.h>
#include <sys/types.h>

#include "relaypool.h"
#include "setup/setup.h"

#define STORE_ENVIRONMENT "RELAYPOOL_SETUP_DIRECTORY" /* another place; it must be as private */
#define STORE_DIGEST_SIZE 65                          /* SHA-256 in hexadecimal, terminated */
#define STORE_FILE_MAX (4 << 20)                      /* octets of a file that is kept */

enum store_access {
	STORE_LOOK = 0, /* makes nothing, locks nothing */
	STORE_CHANGE
};

struct store {
	char *directory; /* of this configuration */
	json_t *state;   /* what an --apply left, for the caller to read and change; NULL: nothing was applied */
	int lock;        /* -1: only looking */
	bool hidden;     /* there may be something, but this user may not look */
};

/*
 * `name` says which configuration: the MTA and a path, such as "postfix/etc/postfix". False with a sentence in `error` if
 * another setup runs, or the place is not safe, or what stands there cannot be read; else store_close() it.
 */
bool store_open(struct store *store, const char *name, enum store_access access,
		char error[SETUP_ERROR_SIZE]) MUST_CHECK;
void store_close(struct store *store);

/* Writes the state so that it is there whole after a crash, or not at all: before anything is changed by it. */
bool store_save(struct store *store, char error[SETUP_ERROR_SIZE]) MUST_CHECK;
/* All is undone: nothing is remembered any more. */
bool store_forget(struct store *store, char error[SETUP_ERROR_SIZE]) MUST_CHECK;

/*
 * Keeps a copy of a file with its owner and mode, or that there was none, in the state under "files"; not yet saved. Only
 * a regular file: a symbolic link is refused, because changing what it leads to would lay a file in its place.
 */
bool store_keep_file(struct store *store, const char *path, char error[SETUP_ERROR_SIZE]) MUST_CHECK;
/* True if a file is kept under this path; `digest` becomes what it had, "" if there was none. */
bool store_kept_file(const struct store *store, const char *path, char digest[STORE_DIGEST_SIZE]);
/* Puts the file back as it was, its time too, at once and whole; or takes it away if there was none. */
bool store_restore_file(struct store *store, const char *path, char error[SETUP_ERROR_SIZE]) MUST_CHECK;

/* Of a regular file's content; "" if there is no such file. */
bool store_digest(const char *path, char digest[STORE_DIGEST_SIZE], char error[SETUP_ERROR_SIZE]) MUST_CHECK;
/* A copy of a regular file and its time, with mode 0600. */
bool store_copy_file(const char *from, const char *to, char error[SETUP_ERROR_SIZE]) MUST_CHECK;
/* Writes a file at once and whole: beside it first, with owner and mode, then in its place, all of it on the disk. */
bool store_write_file(const char *path, const char *text, size_t length, uid_t owner, gid_t group, mode_t mode,
		      char error[SETUP_ERROR_SIZE]) MUST_CHECK;

#endif
