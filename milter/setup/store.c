/*
 * The memory of setup: its directory, its lock, its state. Called by whoever applies or undoes; store_file.c has the
 * copies of files. Never trusts a directory that somebody else could write to.
 */
#include <config.h>

#include "setup/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "store_private.h"

#define STORE_DIRECTORY LOCALSTATEDIR "/lib/relaypool-setup"

static const char *store_root(void)
{
	const char *other = getenv(STORE_ENVIRONMENT);
	return other && other[0] == '/' ? other : STORE_DIRECTORY;
}

/* ---- directories ---- */

/* A directory of ours alone. */
static bool directory_private(const char *path, char error[SETUP_ERROR_SIZE])
{
	struct stat info;
	if (lstat(path, &info) == -1)
		return store_refuse(error, "look at", path);
	if (S_ISDIR(info.st_mode) && info.st_uid == geteuid() && (info.st_mode & 077) == 0)
		return true;
	snprintf(error, SETUP_ERROR_SIZE,
		 "%s has to be a directory that belongs to this user alone (mode 0700): what is undone is read from "
		 "there",
		 path);
	return false;
}

/* What is above may not be there yet below a prefix of its own; anybody may look at it. */
static void parents_make(const char *path)
{
	char *part = mem_strdup(path);
	for (char *slash = strchr(part + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		mkdir(part, 0755); /* or it is there, or the next one fails and says why */
		*slash = '/';
	}
	free(part);
}

static bool directory_make(const char *path, char error[SETUP_ERROR_SIZE])
{
	if (mkdir(path, 0700) == -1 && errno != EEXIST)
		return store_refuse(error, "make", path);
	return directory_private(path, error);
}

/* ---- opening ---- */

static bool take_lock(struct store *store, char error[SETUP_ERROR_SIZE])
{
	char *path = mem_printf("%s/lock", store_root());
	store->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	bool good = store->lock != -1 && flock(store->lock, LOCK_EX | LOCK_NB) == 0;
	if (!good && errno == EWOULDBLOCK)
		snprintf(error, SETUP_ERROR_SIZE, "another relaypoolctl setup is at work; wait until it has ended");
	else if (!good)
		store_refuse(error, "lock", path);
	free(path);
	if (!good && store->lock != -1) {
		close(store->lock);
		store->lock = -1; /* the directory is not ours to take away */
	}
	return good;
}

static bool read_state(struct store *store, char error[SETUP_ERROR_SIZE])
{
	char *path = mem_printf("%s/state.json", store->directory);
	json_error_t where;
	bool good = true;
	if (access(path, F_OK) == 0) {
		store->state = json_load_file(path, JSON_REJECT_DUPLICATES, &where);
		good = json_is_object(store->state);
		if (!good)
			snprintf(error, SETUP_ERROR_SIZE,
				 "%s cannot be read (%s): the copies beside it show what was before", path, where.text);
	} else if (errno == EACCES) {
		store->hidden = true;
	} else if (errno != ENOENT) {
		good = store_refuse(error, "look at", path);
	}
	free(path);
	return good;
}

bool store_open(struct store *store, const char *name, enum store_access access, char error[SETUP_ERROR_SIZE])
{
	*store = (struct store){.lock = -1, .directory = store_path(store_root(), name)};
	if (access == STORE_CHANGE)
		parents_make(store_root());
	bool good =
		access == STORE_LOOK || (directory_make(store_root(), error) && take_lock(store, error) &&
					 directory_make(store->directory, error) && store_sync(store_root(), error));
	if (good && read_state(store, error))
		return true;
	store_close(store);
	return false;
}

void store_close(struct store *store)
{
	if (store->lock != -1)
		close(store->lock);
	if (store->lock != -1)
		rmdir(store->directory); /* it stays if something is remembered */
	json_decref(store->state);
	free(store->directory);
	*store = (struct store){.lock = -1};
}

/* ---- the state ---- */

bool store_save(struct store *store, char error[SETUP_ERROR_SIZE])
{
	char *text = json_dumps(store->state, JSON_INDENT(1));
	char *path = mem_printf("%s/state.json", store->directory);
	bool good = text && store_write_file(path, text, strlen(text), geteuid(), getegid(), 0600, error);
	if (!text)
		snprintf(error, SETUP_ERROR_SIZE, "%s cannot be written: a setting is not UTF-8", path);
	free(path);
	free(text);
	return good;
}

bool store_forget(struct store *store, char error[SETUP_ERROR_SIZE])
{
	/* The state first: copies without it do no harm. */
	char *path = mem_printf("%s/state.json", store->directory);
	bool good = unlink(path) == 0 || errno == ENOENT ? store_sync(store->directory, error)
							 : store_refuse(error, "remove", path);
	free(path);
	const char *kept;
	json_t *entry;
	json_object_foreach(json_object_get(store->state, "files"), kept, entry)
	{
		char *copy = store_path(store->directory, kept);
		if (good)
			unlink(copy);
		free(copy);
	}
	if (good) {
		json_decref(store->state);
		store->state = NULL;
	}
	return good;
}
