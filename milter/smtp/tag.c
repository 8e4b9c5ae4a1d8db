/*
 * The tag: written by observe/milter, checked by the header filter for ingest/message. Reads and makes the key file.
 * Never decides which of several tags counts, nor how old one may be: that is smtp/header.c.
 */
#include <config.h>

#include "smtp/tag.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include "ascii.h"

#define MAC_SIZE 16      /* octets of the HMAC that are written */
#define MAC_TEXT_SIZE 24 /* the same in base64 */
#define MAC_MARK "; m="

/* One name or more of nothing but letters, digits, dot, underscore and hyphen, separated by single commas. */
static bool are_names(const char *text, size_t length, bool list)
{
	bool empty = true;

	for (size_t i = 0; i < length; i++) {
		if (text[i] == ',' && list && !empty)
			empty = true;
		else if (ascii_is_name(text[i]))
			empty = false;
		else
			return false;
	}
	return !empty;
}

/* ---- the key file ---- */

static bool PRINTF_LIKE(3, 4) fail(char *error, size_t size, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(error, size, format, arguments);
	va_end(arguments);
	return false;
}

/* Makes the name durable too. */
static bool sync_directory(const char *path)
{
	char directory[4096];
	const char *slash = strrchr(path, '/');
	int fd;
	bool good;

	if (slash == NULL)
		snprintf(directory, sizeof(directory), ".");
	else
		snprintf(directory, sizeof(directory), "%.*s", slash == path ? 1 : (int)(slash - path), path);
	fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd == -1)
		return false;
	good = fsync(fd) == 0;
	close(fd);
	return good;
}

static bool key_write(int fd, const char *path, const struct tag_key *key)
{
	errno = ENOSPC; /* a short write sets none */
	if (write(fd, key->octets, TAG_KEY_SIZE) != TAG_KEY_SIZE || fsync(fd) == -1) {
		close(fd);
		return false;
	}
	return close(fd) == 0 && sync_directory(path);
}

static bool key_create(const char *path, struct tag_key *key, char *error, size_t error_size)
{
	int fd;

	if (RAND_bytes(key->octets, TAG_KEY_SIZE) != 1)
		return fail(error, error_size, "no random octets can be had for the tag key");
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd == -1)
		return fail(error, error_size, "the tag key file %s cannot be made: %s", path, strerror(errno));
	if (!key_write(fd, path, key)) {
		fail(error, error_size, "the tag key file %s cannot be written: %s", path, strerror(errno));
		unlink(path);
		return false;
	}
	return true;
}

static bool key_read(int fd, const char *path, struct tag_key *key, char *error, size_t error_size)
{
	struct stat status;

	if (fstat(fd, &status) == -1)
		return fail(error, error_size, "the tag key file %s cannot be read: %s", path, strerror(errno));
	if (!S_ISREG(status.st_mode))
		return fail(error, error_size, "the tag key file %s is not a plain file: remove it, a new one is made",
			    path);
	if ((status.st_mode & 077) != 0)
		return fail(error, error_size,
			    "the tag key file %s is open to others (mode %04o): remove it, a new one is made", path,
			    (unsigned)status.st_mode & 07777);
	if (status.st_size != TAG_KEY_SIZE)
		return fail(error, error_size,
			    "the tag key file %s has %jd octets instead of %d: remove it, a new one is made", path,
			    (intmax_t)status.st_size, TAG_KEY_SIZE);
	if (read(fd, key->octets, TAG_KEY_SIZE) != TAG_KEY_SIZE)
		return fail(error, error_size, "the tag key file %s cannot be read to its end", path);
	return true;
}

bool tag_key_load(const char *path, struct tag_key *key, char *error, size_t error_size)
{
	/* O_NONBLOCK: a FIFO in its place must not hang the start. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	bool good;

	if (fd == -1 && errno == ENOENT)
		return key_create(path, key, error, error_size);
	if (fd == -1)
		return fail(error, error_size, "the tag key file %s cannot be opened: %s", path, strerror(errno));
	good = key_read(fd, path, key, error, error_size);
	close(fd);
	return good;
}

/* ---- the value ---- */

/*
 * The MAC in base64. What it is over is unambiguous, since neither ';' nor white space can stand in any of the fields.
 * No other use of the key exists, and "v=1" is under the MAC too.
 */
static bool mac_text(const struct tag_key *key, const char *text, size_t length, char out[MAC_TEXT_SIZE + 1])
{
	unsigned char mac[EVP_MAX_MD_SIZE];
	unsigned size = 0;

	if (HMAC(EVP_sha256(), key->octets, TAG_KEY_SIZE, (const unsigned char *)text, length, mac, &size) == NULL ||
	    size < MAC_SIZE)
		return false;
	return EVP_EncodeBlock((unsigned char *)out, mac, MAC_SIZE) == MAC_TEXT_SIZE;
}

bool tag_format(const struct tag *tag, const struct tag_key *key, char out[TAG_VALUE_MAX])
{
	size_t routes = strlen(tag->routes);
	int length;

	if (!are_names(tag->queue_id, strlen(tag->queue_id), false) || tag->time < 0)
		return false;
	if (routes > 0 && !are_names(tag->routes, routes, true))
		return false;
	length = snprintf(out, TAG_VALUE_MAX, "v=1; q=%s; t=%" PRId64 "; r=%s", tag->queue_id, tag->time, tag->routes);
	if (length < 0 || (size_t)length + strlen(MAC_MARK) + MAC_TEXT_SIZE >= TAG_VALUE_MAX)
		return false;
	memcpy(out + length, MAC_MARK, sizeof(MAC_MARK));
	/* mac_text() reads what stands before the mark and writes behind it. */
	return mac_text(key, out, (size_t)length, out + length + strlen(MAC_MARK));
}

/* Takes the folding out: no white space but one space behind each semicolon, as tag_format() wrote it. */
static bool unfold(const char *value, size_t length, char out[TAG_VALUE_MAX])
{
	size_t at = 0;

	for (size_t i = 0; i < length; i++) {
		char c = value[i];

		if (c == ' ' || c == '\t' || c == '\r' || c == '\n')
			continue;
		if (c == '\0' || at + 3 > TAG_VALUE_MAX)
			return false;
		out[at++] = c;
		if (c == ';')
			out[at++] = ' ';
	}
	out[at] = '\0';
	return true;
}

/* Takes "NAME=content" and the "; " behind it off `*at`; the last field has none. */
static bool field_take(const char **at, const char *name, const char **content, size_t *length)
{
	size_t name_length = strlen(name);

	if (strncmp(*at, name, name_length) != 0 || (*at)[name_length] != '=')
		return false;
	*content = *at + name_length + 1;
	*length = strcspn(*content, ";");
	*at = *content + *length;
	if (**at == ';')
		*at += 2;
	return true;
}

/* A time: decimal, not negative, no sign and no leading zero, within 63 bits. */
static bool time_read(const char *text, size_t length, int64_t *time)
{
	*time = 0;
	if (length == 0 || (length > 1 && text[0] == '0'))
		return false;
	for (size_t i = 0; i < length; i++) {
		int digit = text[i] - '0';

		if (digit < 0 || digit > 9 || *time > (INT64_MAX - digit) / 10)
			return false;
		*time = *time * 10 + digit;
	}
	return true;
}

/* The MAC first: of a value that is not ours nothing else is looked at. */
static bool mac_is_right(const char *value, const struct tag_key *key)
{
	const char *mark = strstr(value, MAC_MARK);
	char expected[MAC_TEXT_SIZE + 1];

	if (mark == NULL || strlen(mark) != strlen(MAC_MARK) + MAC_TEXT_SIZE ||
	    !mac_text(key, value, (size_t)(mark - value), expected))
		return false;
	return CRYPTO_memcmp(mark + strlen(MAC_MARK), expected, MAC_TEXT_SIZE) == 0;
}

bool tag_parse(const char *value, size_t length, const struct tag_key *key, struct tag *tag)
{
	char text[TAG_VALUE_MAX] = "";
	const char *at = text, *version, *id, *time, *routes;
	size_t version_length, id_length, time_length, routes_length;
	struct tag found = {.time = 0};

	if (!unfold(value, length, text) || !mac_is_right(text, key))
		return false;
	if (!field_take(&at, "v", &version, &version_length) || version_length != 1 || version[0] != '1' ||
	    !field_take(&at, "q", &id, &id_length) || !are_names(id, id_length, false) ||
	    id_length >= sizeof(found.queue_id) || !field_take(&at, "t", &time, &time_length) ||
	    !time_read(time, time_length, &found.time) || !field_take(&at, "r", &routes, &routes_length) ||
	    (routes_length > 0 && !are_names(routes, routes_length, true)) || routes_length >= sizeof(found.routes) ||
	    strncmp(at, "m=", 2) != 0)
		return false;
	memcpy(found.queue_id, id, id_length);
	memcpy(found.routes, routes, routes_length);
	*tag = found;
	return true;
}
