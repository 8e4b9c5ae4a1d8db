/*
 * The text of sendmail.mc: where our block stands or belongs. Called by the other files sendmail_*.c. Pure functions:
 * nothing but the block is touched, to the octet.
 */
#include <config.h>

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "sendmail.h"

#define BEGIN_MARK "dnl relaypool begin"
#define END_MARK "dnl relaypool end"

/* The beginning of the next line, or the end of the text. */
static const char *line_next(const char *line)
{
	const char *end = strchr(line, '\n');
	return end ? end + 1 : line + strlen(line);
}

static bool begins(const char *line, const char *words)
{
	size_t length = strlen(words);
	return strncmp(line, words, length) == 0 && !isalnum((unsigned char)line[length]);
}

/* ---- our block ---- */

enum mc_block mc_find(const char *text, size_t *begin, size_t *end)
{
	bool open = false;
	unsigned blocks = 0;
	for (const char *line = text; *line; line = line_next(line)) {
		if (begins(line, BEGIN_MARK)) {
			if (open)
				return MC_BROKEN;
			open = true;
			*begin = (size_t)(line - text);
		} else if (begins(line, END_MARK)) {
			if (!open)
				return MC_BROKEN;
			open = false;
			blocks++;
			*end = (size_t)(line_next(line) - text);
		}
	}
	return open || blocks > 1 ? MC_BROKEN : blocks == 1 ? MC_ONE : MC_NONE;
}

char *mc_block(const char *text)
{
	size_t begin, end;
	return mc_find(text, &begin, &end) == MC_ONE ? mem_strndup(text + begin, end - begin) : NULL;
}

char *mc_without(const char *text)
{
	size_t begin, end;
	if (mc_find(text, &begin, &end) != MC_ONE)
		return mem_strdup(text);
	char *rest = mem_strdup(text);
	memmove(rest + begin, text + end, strlen(text + end) + 1);
	return rest;
}

/* ---- its place ---- */

/* What text is thrown away from here on: divert(-1) and divert(0) as m4 reads them, where they begin a line. */
static bool thrown_away(const char *line, bool before)
{
	if (begins(line, "divert(-1"))
		return true;
	return begins(line, "divert") ? false : before;
}

/* True if the line calls the macro with an argument. */
static bool calls(const char *line, const char *macro)
{
	line += strspn(line, " \t");
	size_t length = strlen(macro);
	return strncmp(line, macro, length) == 0 && line[length] == '(';
}

ssize_t mc_place(const char *text)
{
	bool away = false;
	for (const char *line = text; *line; line = line_next(line)) {
		away = thrown_away(line, away);
		if (!away && calls(line, "MAILER"))
			return line - text;
	}
	return -1;
}

char *mc_with(const char *text, const char *block)
{
	ssize_t place = mc_place(text);
	return place < 0 ? NULL : mem_printf("%.*s%s%s", (int)place, text, block, text + place);
}

/* ---- what it includes ---- */

char *mc_macros(const char *text)
{
	static const char name[] = "m4/cf.m4";
	for (const char *line = text; *line; line = line_next(line)) {
		const char *path = line + strspn(line, " \t");
		if (!calls(line, "include"))
			continue;
		path += strlen("include(");
		path += strspn(path, "` \t");
		size_t length = strcspn(path, "')\n");
		if (length > strlen(name) && strncmp(path + length - strlen(name), name, strlen(name)) == 0)
			return mem_strndup(path, length - strlen(name));
	}
	return NULL;
}
