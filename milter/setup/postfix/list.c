/*
 * Lists of main.cf: elements between commas or blanks, braces around what has those inside. Called by the plan and the
 * undoing; what is not ours stays as it was, to the octet. Pure functions.
 */
#include <config.h>

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "postfix.h"

#define SEPARATORS ", \t\r\n"

bool list_next(const char **at, const char **element, size_t *length)
{
	const char *c = *at + strspn(*at, SEPARATORS);
	int depth = 0;
	*element = c;
	for (; *c && (depth > 0 || !strchr(SEPARATORS, *c)); c++)
		depth += *c == '{' ? 1 : *c == '}' && depth > 0 ? -1 : 0;
	*at = c;
	*length = (size_t)(c - *element);
	return *length > 0;
}

static bool list_empty_text(const char *list)
{
	return list[strspn(list, SEPARATORS)] == '\0';
}

char *list_with_last(const char *list, const char *element)
{
	return list_empty_text(list) ? mem_strdup(element) : mem_printf("%s, %s", list, element);
}

char *list_with_first(const char *list, const char *element)
{
	return list_empty_text(list) ? mem_strdup(element) : mem_printf("%s, %s", element, list);
}

/* Takes the octets from `begin` to `end` out of the text. */
static void cut(char *text, size_t begin, size_t end)
{
	memmove(text + begin, text + end, strlen(text + end) + 1);
}

char *list_without(const char *list, bool (*is_ours)(const char *element, const void *arg), const void *arg)
{
	char *text = mem_strdup(list);
	const char *at = text, *element;
	size_t length, behind = 0; /* the end of the last element that stays */
	while (list_next(&at, &element, &length)) {
		size_t begin = (size_t)(element - text), end = begin + length;
		char *copy = mem_strndup(element, length);
		bool ours = is_ours(copy, arg);
		free(copy);
		if (!ours) {
			behind = end;
			continue;
		}
		if (behind == 0) /* the first: what separates it from the next goes too */
			end += strspn(text + end, SEPARATORS);
		cut(text, behind == 0 ? begin : behind, end);
		at = text + (behind == 0 ? begin : behind);
	}
	return text;
}
