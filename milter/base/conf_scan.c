/*
 * What must be right in relaypool.conf for a mistake to be told with its own line: no byte order mark, everything
 * closed, a value behind each "=". Called by conf_syntax.c alone; knows the sections' names, no key and no value.
 */
#include <config.h>

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "conf_scan.h"

/* Characters that end an unquoted word: libconfuse's. */
#define WORD_ENDS " #\"'\t\n\r={}()+,*"
#define SPACES " \t\n\r"
#define BYTE_ORDER_MARK "\xef\xbb\xbf"

static bool mistaken(struct conf_mistake *mistake, unsigned line, const char *format, ...) PRINTF_LIKE(3, 4);
static bool mistaken(struct conf_mistake *mistake, unsigned line, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	mistake->line = line;
	vsnprintf(mistake->text, sizeof(mistake->text), format, arguments);
	va_end(arguments);
	return false;
}

/* ---- tokens ---- */

/* No value may hold a line end, so a string ends on its line, unless a backslash continues it. */
static const char *string_end(const char *p)
{
	char quote = *p++;
	for (; *p != '\0' && *p != quote; p++) {
		const char *brace = quote == '"' && p[0] == '$' && p[1] == '{' ? strchr(p, '}') : NULL;
		if (brace != NULL && memchr(p, '\n', (size_t)(brace - p)) == NULL)
			p = brace;
		else if (*p == '\n' || (*p == '\\' && *++p == '\0'))
			return NULL;
	}
	return *p == quote ? p + 1 : NULL;
}

static const char *comment_end(const char *p)
{
	if (p[0] == '#' || p[1] == '/')
		return p + strcspn(p, "\n");
	const char *close = strstr(p + 2, "*/");
	return close == NULL ? NULL : close + 2;
}

static bool is_comment(const char *p)
{
	return p[0] == '#' || (p[0] == '/' && (p[1] == '/' || p[1] == '*'));
}

/* The end of whatever begins at `p`; NULL if it should be closed and is not. */
static const char *token_end(const char *p)
{
	if (is_comment(p))
		return comment_end(p);
	if (*p == '"' || *p == '\'')
		return string_end(p);
	if (p[0] == '$' && p[1] == '{' && strchr(p, '}') != NULL)
		return strchr(p, '}') + 1;
	size_t word = strcspn(p, WORD_ENDS);
	return p + (word > 0 ? word : 1);
}

static unsigned count_lines(const char *from, const char *end)
{
	unsigned lines = 0;
	for (; from < end; from++)
		lines += *from == '\n';
	return lines;
}

/* ---- comments, and what is not closed ---- */

static bool blank_comments(char *text, struct conf_mistake *mistake)
{
	unsigned line = 1, opened = 0, depth = 0;
	for (char *p = text; *p != '\0';) {
		bool comment = is_comment(p);
		const char *end = token_end(p);
		if (end == NULL && comment)
			return mistaken(mistake, line, "the comment that begins here is never closed");
		if (end == NULL)
			return mistaken(mistake, line, "the string that begins here is not closed on its line");
		if (*p == '{' && depth++ == 0)
			opened = line;
		if (*p == '}' && depth > 0)
			depth--;
		for (; p < end; p++) {
			line += *p == '\n';
			if (comment && *p != '\n')
				*p = ' ';
		}
	}
	return depth == 0 || mistaken(mistake, opened, "the brace that opens here is never closed");
}

/* ---- values ---- */

struct token {
	const char *text; /* at the end of the file, its NUL */
	int length;
	unsigned line;
};

/* The token behind another; there are no comments any more. */
static struct token token_after(const struct token *token)
{
	const char *end = token->text + token->length, *begin = end + strspn(end, SPACES);
	unsigned line = token->line + count_lines(token->text, begin);
	return (struct token){begin, *begin != '\0' ? (int)(token_end(begin) - begin) : 0, line};
}

static bool is_word(const struct token *token)
{
	return *token->text != '\0' && strchr(WORD_ENDS, *token->text) == NULL;
}

static bool is_section(const struct token *token, const char *const *sections)
{
	for (; *sections != NULL; sections++) {
		if (strlen(*sections) == (size_t)token->length &&
		    strncmp(*sections, token->text, strlen(*sections)) == 0)
			return true;
	}
	return false;
}

/* True if what stands behind a "=" belongs to the next key or section, or is nothing at all. */
static bool is_missing(const struct token *equals, const struct token *value, const char *const *sections)
{
	const struct token next = token_after(value);
	if (*value->text == '\0' || strchr("=}),+", *value->text) != NULL)
		return true;
	if (!is_word(value) || value->line == equals->line)
		return false;
	return *next.text == '=' || *next.text == '+' || is_section(value, sections);
}

/*
 * A list without elements is refused here, since afterwards it is the same as no list: for a route's condition that
 * would mean everything, and not nobody.
 */
static bool check_value(const struct token *key, const struct token *equals, const char *const *sections,
			struct conf_mistake *mistake)
{
	const struct token value = token_after(equals);
	if (is_missing(equals, &value, sections))
		return mistaken(mistake, equals->line, "%.*s has no value", key->length > 64 ? 64 : key->length,
				key->text);
	if (*value.text == '{' && *token_after(&value).text == '}')
		return mistaken(mistake, key->line,
				"%.*s = {}: an empty list is not allowed: name at least one, or leave the key out",
				key->length > 64 ? 64 : key->length, key->text);
	return true;
}

static bool check_values(const char *text, const char *const *sections, struct conf_mistake *mistake)
{
	const struct token start = {text, 0, 1};
	struct token key = start;
	for (struct token token = token_after(&start); *token.text != '\0'; token = token_after(&token)) {
		if (*token.text == '=' && !check_value(&key, &token, sections, mistake))
			return false;
		if (*token.text != '+') /* "+=" */
			key = token;
	}
	return true;
}

bool conf_scan(char *text, const char *const *sections, struct conf_mistake *mistake)
{
	if (strncmp(text, BYTE_ORDER_MARK, strlen(BYTE_ORDER_MARK)) == 0)
		return mistaken(mistake, 1,
				"the file begins with a byte order mark (UTF-8 BOM), which is not allowed: save it "
				"without one");
	return blank_comments(text, mistake) && check_values(text, sections, mistake);
}
