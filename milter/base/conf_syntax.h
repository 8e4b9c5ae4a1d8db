/*
 * The syntax of relaypool.conf: sections, keys, values and the lines they stand on. Private to conf.c, which knows what
 * they mean. libconfuse's scanner is global: one file is read at a time.
 */
#ifndef BASE_CONF_SYNTAX_H
#define BASE_CONF_SYNTAX_H

#include <confuse.h>
#include <stdarg.h>

#include "base/conf.h"

/* A key that may stand in the file. */
struct conf_known {
	const char *section; /* NULL: at the top */
	const char *name;
	bool list;    /* may have several values in braces */
	bool refused; /* known only to be refused: not listed */
};

/* One value as written; of a list, one of its elements. */
struct conf_value {
	unsigned line;
	char text[];
};

/* Writes "PATH:LINE: …" into `error`, on one line whatever the file has in its texts. */
void conf_syntax_error(char error[CONF_ERROR_SIZE], const char *path, unsigned line, const char *format,
		       va_list arguments);

/*
 * Reads the file. `sections` are the kinds of section, each with a title, NULL-terminated. The caller ends it with
 * cfg_free(). NULL with "FILE:LINE: …" in `error`.
 */
cfg_t *conf_syntax_read(const char *path, const char *const *sections, const struct conf_known *known, size_t count,
			char error[CONF_ERROR_SIZE]) MUST_CHECK;

/* How many values a key has in a section (or at the top), and each of them; borrowed. */
size_t conf_syntax_count(cfg_t *section, const char *key);
const struct conf_value *conf_syntax_value(cfg_t *section, const char *key, size_t index);
/* The line of a key, or where it is missing (or NULL) the line on which its section begins (1 at the top). */
unsigned conf_syntax_line(cfg_t *section, const char *key);

#endif
