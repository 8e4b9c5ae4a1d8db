/*
 * Copies of an MTA's files in setup's memory, and files written at once and whole. Called by whoever applies or undoes,
 * and by store.c. Never follows a symbolic link, never leaves half a file.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "store_private.h"

struct content {
	char *text;
	size_t length;
	struct stat info;
	bool absent;
};

bool store_refuse(char error[SETUP_ERROR_SIZE], const char *what, const char *path)
{
	snprintf(error, SETUP_ERROR_SIZE, "cannot %s %s: %s", what, path, strerror(errno));
	return false;
}

char *store_path(const char *directory, const char *name)
{
	char *text = mem_alloc(2 * strlen(name) + 1), *out = text;
	for (; *name; name++) {
		*out++ = *name == '/' ? '%' : *name;
		if (*name == '%')
			*out++ = '%';
	}
	char *path = mem_printf("%s/%s", directory, text);
	free(text);
	return path;
}

bool store_sync(const char *path, char error[SETUP_ERROR_SIZE])
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool good = fd != -1 && fsync(fd) == 0;
	if (!good)
		store_refuse(error, "write", path);
	if (fd != -1)
		close(fd);
	return good;
}

/* ---- reading ---- */

static bool read_whole(int fd, struct content *content)
{
	size_t size = (size_t)content->info.st_size;
	content->text = mem_alloc(size + 1);
	while (content->length < size) {
		ssize_t got = read(fd, content->text + content->length, size - content->length);
		if (got == -1 && errno == EINTR)
			continue;
		if (got <= 0)
			return false;
		content->length += (size_t)got;
	}
	return true;
}

/* All of a regular file; `absent` if there is none. Its text is the caller's. */
static bool content_read(const char *path, struct content *content, char error[SETUP_ERROR_SIZE])
{
	*content = (struct content){0};
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
	if (fd == -1 && errno == ENOENT) {
		content->absent = true;
		return true;
	}
	if (fd == -1 && errno == ELOOP) {
		snprintf(error, SETUP_ERROR_SIZE,
			 "%s is a symbolic link: to change what it leads to, a file would be laid in its place", path);
		return false;
	}
	if (fd == -1)
		return store_refuse(error, "open", path);
	bool good = fstat(fd, &content->info) == 0;
	if (!good) {
		store_refuse(error, "look at", path);
	} else if (!S_ISREG(content->info.st_mode) || content->info.st_size > STORE_FILE_MAX) {
		snprintf(error, SETUP_ERROR_SIZE, "%s is not a regular file of at most %d MiB", path,
			 STORE_FILE_MAX >> 20);
		good = false;
	} else if (!read_whole(fd, content)) {
		good = store_refuse(error, "read", path);
	}
	close(fd);
	if (!good)
		free(content->text);
	return good;
}

static void content_digest(const struct content *content, char digest[STORE_DIGEST_SIZE])
{
	unsigned char octets[EVP_MAX_MD_SIZE];
	unsigned size = 0;
	digest[0] = '\0';
	if (content->absent)
		return;
	if (EVP_Digest(content->text, content->length, octets, &size, EVP_sha256(), NULL) != 1 ||
	    2 * size >= STORE_DIGEST_SIZE)
		abort(); /* OpenSSL without SHA-256, or without memory */
	for (unsigned i = 0; i < size; i++)
		snprintf(digest + 2 * (size_t)i, 3, "%02x", octets[i]);
}

bool store_digest(const char *path, char digest[STORE_DIGEST_SIZE], char error[SETUP_ERROR_SIZE])
{
	struct content content;
	if (!content_read(path, &content, error))
		return false;
	content_digest(&content, digest);
	free(content.text);
	return true;
}

/* ---- writing ---- */

static bool write_whole(int fd, const char *text, size_t length)
{
	while (length > 0) {
		ssize_t written = write(fd, text, length);
		if (written == -1 && errno == EINTR)
			continue;
		if (written == -1)
			return false;
		text += written;
		length -= (size_t)written;
	}
	return true;
}

static bool sync_around(const char *path, char error[SETUP_ERROR_SIZE])
{
	char *directory = mem_strndup(path, (size_t)(strrchr(path, '/') - path));
	bool good = store_sync(*directory ? directory : "/", error);
	free(directory);
	return good;
}

/* `modified`: seconds since 1970; 0: now. */
static bool write_file(const char *path, const char *text, size_t length, const struct stat *like, time_t modified,
		       char error[SETUP_ERROR_SIZE])
{
	const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT},
					  {.tv_sec = modified, .tv_nsec = modified ? 0 : UTIME_NOW}};
	char *beside = mem_printf("%s.relaypool-new", path);
	unlink(beside); /* of somebody who was interrupted; only one is at work */
	int fd = open(beside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	bool good = fd != -1 && write_whole(fd, text, length) && fchown(fd, like->st_uid, like->st_gid) == 0 &&
		    fchmod(fd, like->st_mode & 07777) == 0 && futimens(fd, times) == 0 && fsync(fd) == 0;
	if (fd != -1 && close(fd) == -1)
		good = false;
	good = good && rename(beside, path) == 0;
	if (!good) {
		store_refuse(error, "write", path);
		unlink(beside);
	}
	free(beside);
	return good && sync_around(path, error);
}

bool store_write_file(const char *path, const char *text, size_t length, uid_t owner, gid_t group, mode_t mode,
		      char error[SETUP_ERROR_SIZE])
{
	const struct stat like = {.st_uid = owner, .st_gid = group, .st_mode = mode};
	return write_file(path, text, length, &like, 0, error);
}

bool store_copy_file(const char *from, const char *to, char error[SETUP_ERROR_SIZE])
{
	struct content content;
	if (!content_read(from, &content, error))
		return false;
	if (content.absent)
		errno = ENOENT;
	const struct stat like = {.st_uid = geteuid(), .st_gid = getegid(), .st_mode = 0600};
	bool good = content.absent ? store_refuse(error, "open", from)
				   : write_file(to, content.text, content.length, &like, content.info.st_mtime, error);
	free(content.text);
	return good;
}

/* ---- copies ---- */

bool store_keep_file(struct store *store, const char *path, char error[SETUP_ERROR_SIZE])
{
	struct content content;
	char digest[STORE_DIGEST_SIZE];
	if (!content_read(path, &content, error))
		return false;
	content_digest(&content, digest);
	char *copy = store_path(store->directory, path);
	bool good = content.absent ||
		    store_write_file(copy, content.text, content.length, geteuid(), getegid(), 0600, error);
	free(copy);
	free(content.text);
	if (!good)
		return false;
	json_t *files = json_object_get(store->state, "files");
	if (!files)
		json_object_set_new(store->state, "files", files = json_object());
	json_object_set_new(files, path,
			    json_pack("{s:s, s:i, s:i, s:i, s:I}", "sha256", digest, "owner", (int)content.info.st_uid,
				      "group", (int)content.info.st_gid, "mode", (int)(content.info.st_mode & 07777),
				      "modified", (json_int_t)content.info.st_mtime));
	return true;
}

bool store_kept_file(const struct store *store, const char *path, char digest[STORE_DIGEST_SIZE])
{
	const json_t *entry = json_object_get(json_object_get(store->state, "files"), path);
	const char *text = json_string_value(json_object_get(entry, "sha256"));
	if (!text || strlen(text) >= STORE_DIGEST_SIZE)
		return false;
	strcpy(digest, text); /* NOLINT: its length was looked at */
	return true;
}

/* The copy, if it is what was kept. */
static bool restore_from(const char *copy, const char *path, const json_t *entry, const char *digest,
			 char error[SETUP_ERROR_SIZE])
{
	const struct stat like = {.st_uid = (uid_t)json_integer_value(json_object_get(entry, "owner")),
				  .st_gid = (gid_t)json_integer_value(json_object_get(entry, "group")),
				  .st_mode = (mode_t)json_integer_value(json_object_get(entry, "mode"))};
	struct content content;
	char found[STORE_DIGEST_SIZE];
	if (!content_read(copy, &content, error))
		return false;
	content_digest(&content, found);
	bool good = strcmp(found, digest) == 0;
	if (!good)
		snprintf(error, SETUP_ERROR_SIZE, "%s is not the copy of %s that was kept", copy, path);
	else
		good = write_file(path, content.text, content.length, &like,
				  (time_t)json_integer_value(json_object_get(entry, "modified")), error);
	free(content.text);
	return good;
}

static bool is_as_kept(const char *path, const json_t *entry, const char *digest)
{
	struct content content;
	char found[STORE_DIGEST_SIZE], ignored[SETUP_ERROR_SIZE];
	if (!content_read(path, &content, ignored))
		return false;
	content_digest(&content, found);
	free(content.text);
	const struct stat *info = &content.info;
	return strcmp(found, digest) == 0 &&
	       (content.absent || (json_integer_value(json_object_get(entry, "owner")) == (int)info->st_uid &&
				   json_integer_value(json_object_get(entry, "group")) == (int)info->st_gid &&
				   json_integer_value(json_object_get(entry, "mode")) == (info->st_mode & 07777) &&
				   json_integer_value(json_object_get(entry, "modified")) == info->st_mtime));
}

bool store_restore_file(struct store *store, const char *path, char error[SETUP_ERROR_SIZE])
{
	char digest[STORE_DIGEST_SIZE];
	if (!store_kept_file(store, path, digest)) {
		snprintf(error, SETUP_ERROR_SIZE, "no copy of %s was kept", path);
		return false;
	}
	const json_t *entry = json_object_get(json_object_get(store->state, "files"), path);
	if (is_as_kept(path, entry, digest)) /* which can be seen where nothing can be written, too */
		return true;
	if (digest[0] == '\0')
		return unlink(path) == 0 ? true : store_refuse(error, "remove", path);
	char *copy = store_path(store->directory, path);
	bool good = restore_from(copy, path, entry, digest, error);
	free(copy);
	return good;
}
