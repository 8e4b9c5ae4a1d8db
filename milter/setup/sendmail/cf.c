/*
 * The text of sendmail.cf, read as far as setup asks: lines by what they begin with, options, fields of a mailer,
 * times. Called by the other files sendmail_*.c. Pure functions.
 */
#include <config.h>

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "sendmail.h"

/* ---- lines ---- */

/* The line that begins at `line`, with those that continue it; the caller's. */
static char *unfolded(const char *line)
{
	const char *end = line;
	do
		end += strcspn(end, "\n");
	while (*end && (end[1] == ' ' || end[1] == '\t') && end++);
	char *text = mem_strndup(line, (size_t)(end - line)), *out = text;
	for (const char *in = text; *in; in++) {
		if (*in == '\n')
			in += strspn(in, "\n \t") - 1, *out++ = ' ';
		else
			*out++ = *in;
	}
	*out = '\0';
	return text;
}

char *cf_line(const char *text, const char *prefix)
{
	size_t length = strlen(prefix);
	const char *found = NULL;
	for (const char *line = text; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (strncmp(line, prefix, length) == 0)
			found = line + length;
	}
	return found ? unfolded(found) : NULL;
}

char *cf_option(const char *text, const char *name)
{
	char *set = mem_printf("O %s=", name), *unset = mem_printf("#O %s=", name);
	char *value = cf_line(text, set);
	if (!value)
		value = cf_line(text, unset);
	free(set);
	free(unset);
	return value;
}

char *cf_field(const char *definition, const char *field)
{
	size_t length = strlen(field);
	for (const char *at = definition; at; at = strchr(at, ',')) {
		at += *at == ',';
		at += strspn(at, " \t");
		if (strncmp(at, field, length) == 0)
			return mem_strndup(at + length, strcspn(at + length, ","));
	}
	return NULL;
}

/* ---- the same ---- */

/* The next line that says something, or the end of the text. */
static const char *statement(const char *text)
{
	while (*text == '\n' || *text == '#') {
		text += strcspn(text, "\n");
		text += *text == '\n';
	}
	return text;
}

bool cf_same(const char *a, const char *b)
{
	for (;;) {
		a = statement(a);
		b = statement(b);
		size_t length = strcspn(a, "\n");
		if (length != strcspn(b, "\n") || strncmp(a, b, length) != 0)
			return false;
		if (length == 0)
			return true;
		a += length;
		b += length;
	}
}

/* ---- times ---- */

static long unit_seconds(char unit)
{
	switch (unit) {
	case 's':
		return 1;
	case '\0': /* as Sendmail's timeouts have it */
	case 'm':
		return 60;
	case 'h':
		return 3600;
	case 'd':
		return 86400;
	case 'w':
		return 7 * 86400;
	default:
		return -1;
	}
}

long cf_seconds(const char *text)
{
	long sum = 0;
	text += strspn(text, " \t");
	if (!isdigit((unsigned char)*text))
		return -1;
	while (isdigit((unsigned char)*text)) {
		char *end;
		long number = strtol(text, &end, 10), seconds = unit_seconds((char)tolower((unsigned char)*end));
		if (seconds < 0 || number > 1000000)
			return -1;
		sum += number * seconds;
		text = end + (*end != '\0');
	}
	return *text == '\0' || isspace((unsigned char)*text) ? sum : -1;
}
