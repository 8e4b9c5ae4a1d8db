/*
 * Lookup tables of Postfix, as far as they can be read: their keys by postmap(1), their source as text. Called by the
 * checks. What cannot be listed (a database elsewhere, patterns) is said to be so, never taken for empty.
 */
#include <config.h>

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "postfix.h"

#define MAP_TEXT_MAX (8 << 20)

/* Without the proxy in front, which postmap does not list through. */
static const char *plain(const char *map)
{
	return strncmp(map, "proxy:", 6) == 0 ? map + 6 : map;
}

bool map_each(const struct look *look, const char *map, void (*key)(const char *key, void *arg), void *arg,
	      char error[SETUP_ERROR_SIZE])
{
	struct run run;
	const char *command[] = {"postmap", "-c", look->directory, "-s", plain(map), NULL};
	bool good = run_program(command, RUN_LIMIT, &run, error);
	char *rest = NULL;
	for (char *line = good ? strtok_r(run.output, "\n", &rest) : NULL; line; line = strtok_r(NULL, "\n", &rest)) {
		line[strcspn(line, "\t")] = '\0';
		key(line, arg);
	}
	run_free(&run);
	return good;
}

bool map_has(const struct look *look, const char *map, const char *key)
{
	struct run run;
	char error[SETUP_ERROR_SIZE];
	if (map[0] == '/' || !strchr(map, ':'))
		return false;
	const char *command[] = {"postmap", "-c", look->directory, "-q", key, map, NULL};
	bool found = run_program(command, RUN_LIMIT, &run, error);
	run_free(&run);
	return found;
}

bool map_has_word(const char *map, const char *word)
{
	char error[SETUP_ERROR_SIZE];
	const char *path = strchr(plain(map), ':');
	bool found = false, inside = strncmp(plain(map), "inline:", 7) == 0 || strncmp(plain(map), "static:", 7) == 0;
	char *text = inside                   ? mem_printf(" %s", path + 1 + strspn(path + 1, "{"))
		     : path && path[1] == '/' ? file_read(path + 1, FILE_PLAIN, MAP_TEXT_MAX, error, sizeof(error))
					      : NULL;
	char *rest = NULL;
	for (char *line = text ? strtok_r(text, "\n", &rest) : NULL; line && !found;
	     line = strtok_r(NULL, "\n", &rest)) {
		const char *at = line[0] == '#' ? NULL : strstr(line, word);
		found = at && at > line && isspace((unsigned char)at[-1]);
	}
	free(text);
	return found;
}
