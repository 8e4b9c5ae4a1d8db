/*
 * Reads the trace field that the MTA writes (RFC 5321 §4.4), for the header filter. The value is a row of clauses,
 * each a word and its value, with comments between; clients choose some of the values and comments, so nothing is
 * searched for: it is read clause by clause, and only what stands where the MTA writes it counts.
 */
#include <config.h>

#include "received.h"

#include <string.h>
#include <strings.h>

#include "ascii.h"

enum token {
	TOKEN_END = 0, /* the end, the date's semicolon, or something unterminated */
	TOKEN_WORD,    /* with quoted strings and angle brackets in it skipped as a whole */
	TOKEN_COMMENT  /* in parentheses, which may nest */
};

struct scanner {
	const char *at, *end;
	const char *text; /* the last token, without a comment's parentheses */
	size_t length;
};

static bool is_space(char c)
{
	return ascii_is_blank(c) || c == '\r' || c == '\n';
}

/* Skips to the end of a quoted string or comment that was opened before `at`. NULL if it has no end. */
static const char *skip_enclosed(const char *at, const char *end, char open, char close)
{
	unsigned depth = 1;

	for (; at < end; at++) {
		if (*at == '\\' && at + 1 < end)
			at++;
		else if (*at == close && --depth == 0)
			return at + 1;
		else if (*at == open)
			depth++;
	}
	return NULL;
}

/* A path: up to '>', which may stand in a quoted string too. */
static const char *skip_angle(const char *at, const char *end)
{
	while (at != NULL && at < end) {
		if (*at == '>')
			return at + 1;
		at = *at == '"' ? skip_enclosed(at + 1, end, '"', '"') : at + 1;
	}
	return NULL;
}

static enum token token_next(struct scanner *scanner)
{
	const char *at = scanner->at, *end = scanner->end;

	while (at < end && is_space(*at))
		at++;
	if (at == end || *at == ';')
		return TOKEN_END;
	scanner->text = at;
	if (*at == '(') {
		scanner->at = skip_enclosed(at + 1, end, '(', ')');
		if (scanner->at == NULL)
			return TOKEN_END;
		scanner->text = at + 1;
		scanner->length = (size_t)(scanner->at - at - 2);
		return TOKEN_COMMENT;
	}
	while (at != NULL && at < end && !is_space(*at) && *at != '(' && *at != ';') {
		if (*at == '"')
			at = skip_enclosed(at + 1, end, '"', '"');
		else
			at = *at == '<' ? skip_angle(at + 1, end) : at + 1;
	}
	if (at == NULL)
		return TOKEN_END;
	scanner->at = at;
	scanner->length = (size_t)(at - scanner->text);
	return TOKEN_WORD;
}

static bool token_is(const struct scanner *scanner, const char *word)
{
	return scanner->length == strlen(word) && strncasecmp(scanner->text, word, scanner->length) == 0;
}

/* "Postfix, from userid 0": the comment ends in it, behind whatever the MTA's name may be. */
static void userid_read(const struct scanner *comment, struct received *out)
{
	static const char mark[] = ", from userid ";
	const char *end = comment->text + comment->length, *at = end;
	uint64_t userid = 0;

	while (at > comment->text && ascii_is_digit(at[-1]))
		at--;
	if (at == end || end - at > 10 || (size_t)(at - comment->text) < strlen(mark) ||
	    memcmp(at - strlen(mark), mark, strlen(mark)) != 0)
		return;
	for (; at < end; at++)
		userid = userid * 10 + (uint64_t)(*at - '0');
	if (userid >= UINT32_MAX)
		return;
	out->has_userid = true;
	out->userid = (uid_t)userid;
}

static void id_read(const struct scanner *word, struct received *out)
{
	if (word->length >= sizeof(out->id))
		return;
	for (size_t i = 0; i < word->length; i++)
		if (!ascii_is_name(word->text[i]))
			return;
	memcpy(out->id, word->text, word->length);
	out->id[word->length] = '\0';
}

/* Goes to the value of the clause whose word was read: comments may stand between. */
static bool value_next(struct scanner *scanner)
{
	enum token token;

	do
		token = token_next(scanner);
	while (token == TOKEN_COMMENT);
	return token == TOKEN_WORD;
}

void received_parse(const char *value, size_t length, struct received *out)
{
	static const char *const others[] = {"from", "via", "with", "for"};
	struct scanner scanner = {.at = value, .end = value + length};
	bool by = false, behind_by = false;
	enum token token;

	*out = (struct received){.id = ""};
	while ((token = token_next(&scanner)) != TOKEN_END) {
		bool is_clause = false;

		if (token == TOKEN_COMMENT) {
			if (behind_by)
				userid_read(&scanner, out);
			behind_by = false;
			continue;
		}
		behind_by = token_is(&scanner, "by") && !by;
		by = by || behind_by;
		if (token_is(&scanner, "id") && by) {
			if (value_next(&scanner))
				id_read(&scanner, out);
			return;
		}
		for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
			is_clause = is_clause || token_is(&scanner, others[i]);
		if ((is_clause || behind_by) && !value_next(&scanner))
			return;
	}
}
