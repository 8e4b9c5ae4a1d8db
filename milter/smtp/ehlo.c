/*
 * What relays announce, read from their replies and from the saved state, and what LHLO offers the MTA in turn.
 * Called by relay (connection, announced) and ingest. Never decides what is done where something is not announced.
 */
#include <config.h>

#include "smtp/ehlo.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "ascii.h"
#include "smtp/reply.h"

/* The order in which capabilities are written. */
static const struct {
	const char *name;
	enum capability bit;
} keywords[] = {
	{"PIPELINING", CAP_PIPELINING},
	{"SIZE", CAP_SIZE},
	{"8BITMIME", CAP_8BITMIME},
	{"DSN", CAP_DSN},
	{"SMTPUTF8", CAP_SMTPUTF8},
	{"CHUNKING", CAP_CHUNKING},
	{"STARTTLS", CAP_STARTTLS},
	{"AUTH", CAP_AUTH},
	{"ENHANCEDSTATUSCODES", CAP_ENHANCEDSTATUSCODES},
};
#define KEYWORD_COUNT (sizeof(keywords) / sizeof(keywords[0]))

#define MECHANISM_MAX 32 /* octets; RFC 4422 §3.1 says 20 */

/* A word of a line, not terminated. */
struct word {
	const char *text;
	size_t length;
};

/* The next word from `*at` on, which is moved behind it. False at the end of the line. */
static bool word_next(const char **at, const char *separators, struct word *word)
{
	*at += strspn(*at, separators);
	word->text = *at;
	word->length = strcspn(*at, separators);
	*at += word->length;
	return word->length > 0;
}

static bool word_is(const struct word *word, const char *name)
{
	return word->length == strlen(name) && strncasecmp(word->text, name, word->length) == 0;
}

/* If the word begins with `name` and '=', the value behind that. */
static bool word_value(const struct word *word, const char *name, struct word *value)
{
	size_t length = strlen(name);

	if (word->length <= length || word->text[length] != '=' || strncasecmp(word->text, name, length) != 0)
		return false;
	value->text = word->text + length + 1;
	value->length = word->length - length - 1;
	return true;
}

/* A decimal figure; 0 if it is none or more than `limit`. */
static uint64_t word_figure(const struct word *word, uint64_t limit)
{
	uint64_t figure = 0;

	for (size_t i = 0; i < word->length; i++) {
		unsigned digit = (unsigned)(word->text[i] - '0');

		if (digit > 9 || figure > (limit - digit) / 10)
			return 0;
		figure = figure * 10 + digit;
	}
	return figure;
}

/* " NAME " in upper case. False if it cannot be the name of a SASL mechanism (RFC 4422 §3.1). */
static bool mechanism_spaced(const char *name, size_t length, char out[MECHANISM_MAX + 3])
{
	if (length == 0 || length > MECHANISM_MAX)
		return false;
	out[0] = ' ';
	for (size_t i = 0; i < length; i++) {
		char c = name[i];

		if (c >= 'a' && c <= 'z')
			c = (char)(c - 'a' + 'A');
		if (!ascii_is_alnum(c) && c != '-' && c != '_')
			return false;
		out[i + 1] = c;
	}
	memcpy(out + length + 1, " ", 2);
	return true;
}

/* Adds a mechanism that is not there yet; what does not fit or is no name is left out. */
static void auth_add(struct capabilities *caps, const struct word *mechanism)
{
	char spaced[MECHANISM_MAX + 3];
	size_t length = strlen(caps->auth);

	caps->bits |= CAP_AUTH;
	if (!mechanism_spaced(mechanism->text, mechanism->length, spaced) || strstr(caps->auth, spaced) != NULL)
		return;
	if (length + strlen(spaced) >= sizeof(caps->auth))
		return;
	/* The space behind the last one is the space before this one. */
	snprintf(caps->auth + length, sizeof(caps->auth) - length, "%s", length > 0 ? spaced + 1 : spaced);
}

/* MAILMAX=n and RCPTMAX=n have up to six digits (RFC 9422 §4). */
static void limit_read(struct capabilities *caps, const struct word *word)
{
	struct word value;

	if (word_value(word, "MAILMAX", &value))
		caps->mail_max = (unsigned)word_figure(&value, 999999);
	else if (word_value(word, "RCPTMAX", &value))
		caps->rcpt_max = (unsigned)word_figure(&value, 999999);
}

static void keyword_read(struct capabilities *caps, const struct word *word)
{
	for (size_t i = 0; i < KEYWORD_COUNT; i++)
		if (word_is(word, keywords[i].name))
			caps->bits |= keywords[i].bit;
}

/* One line of the reply: a keyword and its parameters. */
static void line_read(struct capabilities *caps, const char *line)
{
	struct word keyword, word;

	if (!word_next(&line, " ", &keyword))
		return;
	keyword_read(caps, &keyword);
	if (word_is(&keyword, "SIZE")) {
		caps->size = word_next(&line, " ", &word) ? word_figure(&word, UINT64_MAX) : 0;
	} else if (word_is(&keyword, "LIMITS")) {
		while (word_next(&line, " ", &word))
			limit_read(caps, &word);
	} else if (word_is(&keyword, "AUTH")) {
		while (word_next(&line, " ", &word))
			auth_add(caps, &word);
	} else if (word_value(&keyword, "AUTH", &word)) {
		do
			auth_add(caps, &word);
		while (word_next(&line, " ", &word));
	}
}

void capabilities_parse(const struct reply *ehlo, struct capabilities *out)
{
	const char *at = ehlo->text;
	char line[REPLY_LINE_MAX];

	*out = (struct capabilities){0};
	/* The first line is the relay's name and greeting. */
	while ((at = strchr(at, '\n')) != NULL) {
		size_t length = strcspn(++at, "\n");

		if (length >= sizeof(line))
			continue;
		memcpy(line, at, length);
		line[length] = '\0';
		line_read(out, line);
	}
}

bool capabilities_auth(const struct capabilities *caps, const char *mechanism)
{
	char spaced[MECHANISM_MAX + 3];

	return mechanism_spaced(mechanism, strlen(mechanism), spaced) && strstr(caps->auth, spaced) != NULL;
}

/* Adds a word to the list in `out`, if it fits whole. */
static void list_word(char *out, size_t size, const char *word)
{
	size_t length = strlen(out);

	if (length + strlen(word) + 2 <= size)
		snprintf(out + length, size - length, "%s%s", length > 0 ? " " : "", word);
}

const char *capabilities_format(const struct capabilities *caps, char *out, size_t size)
{
	char word[sizeof(caps->auth) + 8];

	assert(size > 0);
	out[0] = '\0';
	for (size_t i = 0; i < KEYWORD_COUNT; i++) {
		if ((caps->bits & keywords[i].bit) == 0)
			continue;
		snprintf(word, sizeof(word), "%s", keywords[i].name);
		if (keywords[i].bit == CAP_SIZE && caps->size > 0)
			snprintf(word, sizeof(word), "SIZE=%" PRIu64, caps->size);
		if (keywords[i].bit == CAP_AUTH && caps->auth[0] != '\0') {
			/* " PLAIN LOGIN " becomes one word: AUTH=PLAIN,LOGIN */
			snprintf(word, sizeof(word), "AUTH=%s", caps->auth + 1);
			word[strlen(word) - 1] = '\0';
			for (char *space = word; (space = strchr(space, ' ')) != NULL;)
				*space = ',';
		}
		list_word(out, size, word);
	}
	if (caps->mail_max > 0) {
		snprintf(word, sizeof(word), "MAILMAX=%u", caps->mail_max);
		list_word(out, size, word);
	}
	if (caps->rcpt_max > 0) {
		snprintf(word, sizeof(word), "RCPTMAX=%u", caps->rcpt_max);
		list_word(out, size, word);
	}
	return out;
}

/* "PLAIN,LOGIN" */
static void auth_read(struct capabilities *caps, const struct word *list)
{
	const char *at = list->text, *end = at + list->length;

	while (at < end) {
		const char *comma = memchr(at, ',', (size_t)(end - at));
		struct word mechanism = {at, (size_t)((comma != NULL ? comma : end) - at)};

		auth_add(caps, &mechanism);
		at += mechanism.length + 1;
	}
}

void capabilities_read(const char *text, struct capabilities *out)
{
	struct word word, value;

	*out = (struct capabilities){0};
	while (word_next(&text, " ", &word)) {
		keyword_read(out, &word);
		limit_read(out, &word);
		if (word_value(&word, "SIZE", &value)) {
			out->bits |= CAP_SIZE;
			out->size = word_figure(&value, UINT64_MAX);
		} else if (word_value(&word, "AUTH", &value)) {
			auth_read(out, &value);
		}
	}
}

/*
 * SIZE is the union, because Postfix bounces what is larger than LHLO says: no figure if some relay states no limit,
 * else the largest. PIPELINING and ENHANCEDSTATUSCODES are relaypool's own.
 */
void capabilities_mirror(const struct capabilities *const *relays, size_t count, struct capabilities *out)
{
	unsigned any = 0, all = CAP_8BITMIME | CAP_DSN;
	bool unlimited = false;
	size_t known = 0;

	*out = (struct capabilities){.bits = CAP_PIPELINING | CAP_ENHANCEDSTATUSCODES | CAP_SIZE};
	for (size_t i = 0; i < count; i++) {
		if (relays[i] == NULL)
			continue;
		known++;
		any |= relays[i]->bits;
		all &= relays[i]->bits;
		if ((relays[i]->bits & CAP_SIZE) == 0 || relays[i]->size == 0)
			unlimited = true;
		else if (relays[i]->size > out->size)
			out->size = relays[i]->size;
	}
	if (known == 0) {
		out->bits |= CAP_SMTPUTF8 | CAP_8BITMIME;
		return;
	}
	if (known < count)
		all &= ~(unsigned)CAP_DSN;
	if (unlimited)
		out->size = 0;
	out->bits |= (any & CAP_SMTPUTF8) | all;
}
