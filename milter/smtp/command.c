/*
 * Commands: what the MTA says at LMTP is taken apart, what relays are told is written. Called by ingest/dialogue and
 * relay/conversation. As tolerant as Postfix where that is harmless; never passes on what two servers read differently.
 */
#include <config.h>

#include "smtp/command.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <event2/buffer.h>

#include "ascii.h"
#include "base/mem.h"
#include "smtp/reply.h"
#include "utf8.h"

const char *const verb_names[VERB_COUNT] = {
	[VERB_UNKNOWN] = "unknown", [VERB_LHLO] = "LHLO", [VERB_EHLO] = "EHLO", [VERB_HELO] = "HELO",
	[VERB_MAIL] = "MAIL",       [VERB_RCPT] = "RCPT", [VERB_DATA] = "DATA", [VERB_RSET] = "RSET",
	[VERB_NOOP] = "NOOP",       [VERB_VRFY] = "VRFY", [VERB_QUIT] = "QUIT", [VERB_XFORWARD] = "XFORWARD",
};

/* A stretch of the command line, not terminated. */
struct span {
	const char *text;
	size_t length;
};

/* One parameter of MAIL or RCPT: KEYWORD or KEYWORD=value. */
struct parameter {
	struct span whole;
	struct span keyword;
	struct span value; /* text is NULL if there is no '=' */
};

/* What MAIL or RCPT may have as parameters. */
struct parameter_rule {
	const char *keyword;
	bool kept;           /* goes to the relay as it is */
	const char *allowed; /* for the refusal of a bad value */
	/* Takes the value (text NULL: none) into the command's arguments. False if it is not allowed. */
	bool (*take)(struct span value, void *arguments);
};

#define NO_VALUE ((struct span){NULL, 0})

/* Octets of the UTF-8 character beyond ASCII at `text`, which is terminated; 0 if there is none, or a C1 control. */
static size_t utf8_beyond_ascii(const char *text)
{
	size_t size = utf8_character(text, strnlen(text, 4));

	if (size == 2 && (unsigned char)text[0] == 0xc2 && (unsigned char)text[1] < 0xa0)
		return 0;
	return size > 1 ? size : 0;
}

static bool span_is(struct span span, const char *word)
{
	return span.text != NULL && span.length == strlen(word) && strncasecmp(span.text, word, span.length) == 0;
}

enum verb command_verb(const char *line, const char **arguments)
{
	struct span word = {line, strcspn(line, " ")};

	*arguments = line + word.length + (line[word.length] == ' ' ? 1 : 0);
	for (enum verb verb = VERB_UNKNOWN + 1; verb < VERB_COUNT; verb++)
		if (span_is(word, verb_names[verb]))
			return verb;
	return VERB_UNKNOWN;
}

/* ---- paths (RFC 5321 §4.1.2): each skip returns the end of what it skipped, or NULL ---- */

/* The content of a quoted string and its closing quote. */
static const char *skip_quoted(const char *at)
{
	while (*at != '"') {
		size_t beyond = utf8_beyond_ascii(at);

		if (*at == '\\' && ascii_is_printable(at[1]))
			at += 2;
		else if (*at != '\\' && ascii_is_printable(*at))
			at++;
		else if (beyond > 0)
			at += beyond;
		else
			return NULL;
	}
	return at + 1;
}

/* One octet or character that stands unquoted in a local part or a domain. Dots may stand anywhere: in some they do. */
static const char *skip_atom_character(const char *at)
{
	size_t beyond = utf8_beyond_ascii(at);

	if (beyond > 0)
		return at + beyond;
	return *at != '\0' && (ascii_is_alnum(*at) || strchr(".!#$%&'*+-/=?^_`{|}~", *at) != NULL) ? at + 1 : NULL;
}

static const char *skip_local_part(const char *at)
{
	const char *begin = at, *next;

	while (*at != '@' && *at != '>') {
		if (*at == '"')
			next = skip_quoted(at + 1);
		else if (*at == '\\' && ascii_is_printable(at[1]))
			next = at + 2;
		else
			next = skip_atom_character(at);
		if (next == NULL)
			return NULL;
		at = next;
	}
	return at > begin ? at : NULL;
}

static const char *skip_domain(const char *at)
{
	const char *begin = at, *next;

	if (*at == '[') {
		for (at++; ascii_is_printable(*at) && strchr(" []\\", *at) == NULL; at++)
			;
		return *at == ']' && at > begin + 1 ? at + 1 : NULL;
	}
	while ((next = skip_atom_character(at)) != NULL)
		at = next;
	return at > begin ? at : NULL;
}

/* A source route, "@a,@b:". It is dropped (RFC 5321 §4.1.1.3, appendix C). */
static const char *skip_source_route(const char *at)
{
	while (*at == '@') {
		at = skip_domain(at + 1);
		if (at == NULL)
			return NULL;
		if (*at == ':')
			return at + 1;
		if (*at++ != ',')
			return NULL;
	}
	return NULL;
}

/*
 * Reads "<path>" from `*at`, which is moved behind it. `path` is what goes on: without brackets and source route; the
 * caller judges an empty one and one without domain.
 */
static bool path_read(const char **at, struct span *path, bool *has_domain)
{
	const char *begin = *at + 1, *end;

	*has_domain = false;
	if (*begin == '@') {
		begin = skip_source_route(begin);
		if (begin == NULL || *begin == '>')
			return false;
	}
	end = *begin == '>' ? begin : skip_local_part(begin);
	if (end != NULL && *end == '@') {
		*has_domain = true;
		end = skip_domain(end + 1);
	}
	if (end == NULL || *end != '>' || end - begin > COMMAND_PATH_MAX)
		return false;
	*path = (struct span){begin, (size_t)(end - begin)};
	*at = end + 1;
	return **at == ' ' || **at == '\0';
}

/* "FROM:" or "TO:" and the spaces that some clients put behind it; then a path must begin. */
static bool path_begins(const char **at, const char *keyword)
{
	size_t length = strlen(keyword);

	if (strncasecmp(*at, keyword, length) != 0)
		return false;
	*at += length;
	*at += strspn(*at, " ");
	return **at == '<';
}

/* ---- xtext (RFC 3461 §4) and parameter values ---- */

/* The next octet of xtext, which is taken off; -1 if it is not xtext or decodes to a control character. */
static int xtext_octet(struct span *text)
{
	char c = text->text[0];
	int octet = (unsigned char)c;
	size_t size = 1;

	if (c == '+') {
		if (text->length < 3 || ascii_hex(text->text[1]) < 0 || ascii_hex(text->text[2]) < 0)
			return -1;
		octet = ascii_hex(text->text[1]) * 16 + ascii_hex(text->text[2]);
		size = 3;
	} else if (c <= ' ' || c > '~' || c == '=') {
		return -1;
	}
	text->text += size;
	text->length -= size;
	return octet < 0x20 || octet == 0x7f ? -1 : octet;
}

static bool is_xtext(struct span text)
{
	if (text.length == 0)
		return false;
	while (text.length > 0)
		if (xtext_octet(&text) < 0)
			return false;
	return true;
}

/* "\x{4E2D}" (RFC 6533 §3) at the beginning is taken off. False if it is malformed or names a control character. */
static bool take_embedded_character(struct span *text)
{
	unsigned long point = 0;
	size_t at = 3;

	if (text->length < 6 || memcmp(text->text, "\\x{", 3) != 0)
		return false;
	for (; at < text->length && at < 9 && ascii_hex(text->text[at]) >= 0; at++)
		point = point * 16 + (unsigned long)ascii_hex(text->text[at]);
	if (at < 5 || at >= text->length || text->text[at] != '}')
		return false;
	text->text += at + 1;
	text->length -= at + 1;
	return point >= 0x20 && (point < 0x7f || point >= 0xa0) && point <= 0x10ffff;
}

/* An address of type utf-8: ASCII, embedded characters or, with SMTPUTF8, UTF-8 itself. */
static bool is_utf8_address(struct span text)
{
	if (text.length == 0)
		return false;
	while (text.length > 0) {
		size_t beyond = utf8_beyond_ascii(text.text);

		if (beyond > 0) {
			text.text += beyond;
			text.length -= beyond;
		} else if (text.text[0] == '\\' ? !take_embedded_character(&text) : xtext_octet(&text) < 0) {
			return false;
		}
	}
	return true;
}

static bool take_size(struct span value, void *arguments)
{
	struct mail_arguments *mail = arguments;

	if (value.length == 0 || value.length > 20)
		return false;
	for (size_t i = 0; i < value.length; i++) {
		unsigned digit = (unsigned)(value.text[i] - '0');

		if (digit > 9)
			return false;
		/* Twenty digits may say more than 64 bits can; no limit is as large. */
		mail->size = mail->size > (UINT64_MAX - digit) / 10 ? UINT64_MAX : mail->size * 10 + digit;
	}
	return true;
}

static bool take_body(struct span value, void *arguments)
{
	struct mail_arguments *mail = arguments;

	mail->body_8bit = span_is(value, "8BITMIME");
	return mail->body_8bit || span_is(value, "7BIT");
}

static bool take_smtputf8(struct span value, void *arguments)
{
	struct mail_arguments *mail = arguments;

	mail->smtputf8 = true;
	return value.text == NULL;
}

static bool take_ret(struct span value, void *arguments)
{
	(void)arguments;
	return span_is(value, "FULL") || span_is(value, "HDRS");
}

static bool take_envid(struct span value, void *arguments)
{
	(void)arguments;
	return is_xtext(value);
}

/* The MTA vouches for the sender; a relay is told who we are by AUTH itself (RFC 4954 §5). */
static bool take_auth(struct span value, void *arguments)
{
	(void)arguments;
	return value.length > 0;
}

/* NEVER, or a list of the others. */
static bool take_notify(struct span value, void *arguments)
{
	struct rcpt_arguments *rcpt = arguments;

	if (value.length == 0)
		return false;
	if (span_is(value, "NEVER"))
		return true;
	for (;;) {
		struct span word = {value.text, 0};

		while (word.length < value.length && word.text[word.length] != ',')
			word.length++;
		if (span_is(word, "SUCCESS"))
			rcpt->notify_success = true;
		else if (!span_is(word, "FAILURE") && !span_is(word, "DELAY"))
			return false;
		if (word.length == value.length)
			return true;
		value.text += word.length + 1;
		value.length -= word.length + 1;
	}
}

/* address-type ";" address */
static bool take_orcpt(struct span value, void *arguments)
{
	struct span type = {value.text, 0}, address;

	(void)arguments;
	while (type.length < value.length && (ascii_is_alnum(type.text[type.length]) || type.text[type.length] == '-'))
		type.length++;
	if (type.length == 0 || type.length == value.length || type.text[type.length] != ';')
		return false;
	address = (struct span){type.text + type.length + 1, value.length - type.length - 1};
	return span_is(type, "utf-8") ? is_utf8_address(address) : is_xtext(address);
}

static const struct parameter_rule mail_rules[] = {
	{"SIZE", false, "up to 20 digits", take_size},
	{"BODY", false, "7BIT or 8BITMIME", take_body},
	{"SMTPUTF8", false, "no value", take_smtputf8},
	{"RET", true, "FULL or HDRS", take_ret},
	{"ENVID", true, "xtext without control characters", take_envid},
	{"AUTH", false, "an address", take_auth},
	{NULL, false, NULL, NULL},
};

static const struct parameter_rule rcpt_rules[] = {
	{"NOTIFY", true, "NEVER, or a list of SUCCESS, FAILURE and DELAY", take_notify},
	{"ORCPT", true, "an address type, a semicolon and xtext without control characters", take_orcpt},
	{NULL, false, NULL, NULL},
};

/* ---- parameters (RFC 5321 §4.1.2, esmtp-param) ---- */

/* Reads the parameter at `*at`, which is moved behind it. False if it is malformed. */
static bool parameter_read(const char **at, struct parameter *parameter)
{
	const char *begin = *at, *end = begin;

	while (ascii_is_alnum(*end) || (*end == '-' && end > begin))
		end++;
	if (end == begin)
		return false;
	parameter->keyword = (struct span){begin, (size_t)(end - begin)};
	parameter->value = NO_VALUE;
	if (*end == '=') {
		const char *value = ++end;

		while (*end != ' ' && (ascii_is_printable(*end) || utf8_beyond_ascii(end) > 0))
			end += ascii_is_printable(*end) ? 1 : utf8_beyond_ascii(end);
		parameter->value = (struct span){value, (size_t)(end - value)};
	}
	parameter->whole = (struct span){begin, (size_t)(end - begin)};
	*at = end;
	return *end == ' ' || *end == '\0';
}

/* What the command's rules say of one parameter: the refusal, or NULL. `seen` has a bit for each rule. */
static struct reply *parameter_take(const struct parameter *parameter, const struct parameter_rule *rules,
				    unsigned *seen, void *arguments, char *params)
{
	int shown = parameter->keyword.length > 40 ? 40 : (int)parameter->keyword.length;

	for (size_t i = 0; rules[i].keyword != NULL; i++) {
		if (!span_is(parameter->keyword, rules[i].keyword))
			continue;
		if (*seen & (1U << i))
			return reply_local(LOCAL_INGEST, 501, "5.5.4", "%s is given twice", rules[i].keyword);
		*seen |= 1U << i;
		if (!rules[i].take(parameter->value, arguments))
			return reply_local(LOCAL_INGEST, 501, "5.5.4", "Bad value of %s: it takes %s", rules[i].keyword,
					   rules[i].allowed);
		if (rules[i].kept) {
			size_t length = strlen(params);

			params[length] = ' ';
			memcpy(params + length + 1, parameter->whole.text, parameter->whole.length);
			params[length + 1 + parameter->whole.length] = '\0';
		}
		return NULL;
	}
	return reply_local(LOCAL_INGEST, 555, "5.5.4", "Unsupported parameter: %.*s", shown, parameter->keyword.text);
}

/* All parameters from `at` on. Those that are kept, each preceded by a space, or NULL with the refusal. */
static char *parameters_read(const char *at, const struct parameter_rule *rules, void *arguments,
			     struct reply **refusal)
{
	char *params = mem_alloc(strlen(at) + 1);
	struct parameter parameter;
	unsigned seen = 0;

	for (at += strspn(at, " "); *at != '\0'; at += strspn(at, " ")) {
		if (parameter_read(&at, &parameter))
			*refusal = parameter_take(&parameter, rules, &seen, arguments, params);
		else
			*refusal = reply_local(LOCAL_INGEST, 501, "5.5.4", "Bad parameter syntax");
		if (*refusal != NULL) {
			free(params);
			return NULL;
		}
	}
	return params;
}

bool command_parse_mail(const char *arguments, struct mail_arguments *mail, struct reply **refusal)
{
	const char *at = arguments;
	struct span path;
	bool has_domain;

	*mail = (struct mail_arguments){0};
	*refusal = NULL;
	if (!path_begins(&at, "FROM:")) {
		*refusal = reply_local(LOCAL_INGEST, 501, "5.5.4", "Syntax: MAIL FROM:<address>");
		return false;
	}
	if (!path_read(&at, &path, &has_domain) || (path.length > 0 && !has_domain)) {
		*refusal = reply_local(LOCAL_INGEST, 501, "5.1.7", "Bad sender address syntax");
		return false;
	}
	mail->params = parameters_read(at, mail_rules, mail, refusal);
	if (mail->params == NULL)
		return false;
	mail->sender = mem_strndup(path.text, path.length);
	return true;
}

bool command_parse_rcpt(const char *arguments, struct rcpt_arguments *rcpt, struct reply **refusal)
{
	const char *at = arguments;
	struct span path;
	bool has_domain;

	*rcpt = (struct rcpt_arguments){0};
	*refusal = NULL;
	if (!path_begins(&at, "TO:")) {
		*refusal = reply_local(LOCAL_INGEST, 501, "5.5.4", "Syntax: RCPT TO:<address>");
		return false;
	}
	/* Postmaster alone needs no domain (RFC 5321 §4.1.1.3). */
	if (!path_read(&at, &path, &has_domain) || (!has_domain && !span_is(path, "postmaster"))) {
		*refusal = reply_local(LOCAL_INGEST, 501, "5.1.3", "Bad recipient address syntax");
		return false;
	}
	rcpt->params = parameters_read(at, rcpt_rules, rcpt, refusal);
	if (rcpt->params == NULL)
		return false;
	rcpt->address = mem_strndup(path.text, path.length);
	return true;
}

void mail_arguments_clear(struct mail_arguments *mail)
{
	free(mail->sender);
	free(mail->params);
	*mail = (struct mail_arguments){0};
}

void rcpt_arguments_clear(struct rcpt_arguments *rcpt)
{
	free(rcpt->address);
	free(rcpt->params);
	*rcpt = (struct rcpt_arguments){0};
}

/* An identifier goes into log lines, so nothing but visible ASCII is taken. */
static void ident_decode(struct span value, char *out, size_t size)
{
	size_t length = 0;

	out[0] = '\0';
	if (span_is(value, "[UNAVAILABLE]"))
		return;
	while (value.length > 0) {
		int octet = xtext_octet(&value);

		if (octet <= ' ' || octet > '~' || length + 1 >= size) {
			out[0] = '\0';
			return;
		}
		out[length++] = (char)octet;
		out[length] = '\0';
	}
}

void command_xforward_ident(const char *arguments, char *out, size_t size)
{
	const char *at = arguments;

	assert(size > 0);
	out[0] = '\0';
	for (at += strspn(at, " "); *at != '\0'; at += strspn(at, " ")) {
		size_t length = strcspn(at, " ");

		if (length > strlen("IDENT=") && strncasecmp(at, "IDENT=", strlen("IDENT=")) == 0)
			ident_decode((struct span){at + strlen("IDENT="), length - strlen("IDENT=")}, out, size);
		at += length;
	}
}

/* The line that was written must be one line: what the parsers above let through is, and so is what we make up. */
static void line_end(struct evbuffer *out, const char *path, const char *params)
{
	assert(strpbrk(path, "\r\n") == NULL);
	assert(strpbrk(params, "\r\n") == NULL);
	evbuffer_add_printf(out, "%s\r\n", params);
}

void command_write_mail(struct evbuffer *out, const char *sender, uint64_t size, bool body_8bit, bool smtputf8,
			const char *params)
{
	evbuffer_add_printf(out, "MAIL FROM:<%s>", sender);
	if (size > 0)
		evbuffer_add_printf(out, " SIZE=%" PRIu64, size);
	if (body_8bit)
		evbuffer_add(out, " BODY=8BITMIME", strlen(" BODY=8BITMIME"));
	if (smtputf8)
		evbuffer_add(out, " SMTPUTF8", strlen(" SMTPUTF8"));
	line_end(out, sender, params);
}

void command_write_rcpt(struct evbuffer *out, const char *address, const char *params)
{
	evbuffer_add_printf(out, "RCPT TO:<%s>", address);
	line_end(out, address, params);
}
