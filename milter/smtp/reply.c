/*
 * Reads, makes and writes SMTP replies. Called by relay (what a relay said), ingest (what the MTA is told) and observe
 * (one line for the log). Never judges what a reply means for a message: that is relay/trouble.c.
 */
#include <config.h>

#include "smtp/reply.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <event2/buffer.h>

#include "ascii.h"
#include "base/mem.h"
#include "utf8.h"

#define WRITE_LINE_MAX 510 /* without CRLF (RFC 5321 §4.5.3.1.5) */

const char *const local_failure_names[LOCAL_FAILURES] = {
	[LOCAL_NONE] = "none",
	[LOCAL_CONNECTION] = "connection",
	[LOCAL_AMBIGUOUS] = "ambiguous",
	[LOCAL_PROTOCOL] = "protocol",
	[LOCAL_RELAY_DOWN] = "relay_down",
	[LOCAL_NO_TIME] = "no_time",
	[LOCAL_CAPACITY] = "capacity",
	[LOCAL_SHUTDOWN] = "shutdown",
	[LOCAL_NO_ROUTE] = "no_route",
	[LOCAL_FEATURE] = "feature",
	[LOCAL_SIZE] = "size",
	[LOCAL_SMTPUTF8] = "smtputf8",
	[LOCAL_INGEST] = "ingest",
};

/* Text that grows to REPLY_TEXT_MAX and is cut there, between characters. */
struct text_buffer {
	char octets[REPLY_TEXT_MAX + 1];
	size_t length;
	bool full;
};

/* One line of a reply, within the octets read. */
struct reply_line {
	const char *text; /* behind the code and its separator */
	size_t length;    /* without the line end */
	size_t taken;     /* the whole line with its line end */
	bool last;
};

/* Control characters, C1 among them, are not for logs and terminals. */
static bool is_control(const char *character, size_t size)
{
	unsigned char first = (unsigned char)character[0];

	if (size == 1)
		return first < 0x20 || first == 0x7f;
	return first == 0xc2 && (unsigned char)character[1] < 0xa0;
}

/* The octets stay as they are: there are many of them, and most replies are short. */
static void text_init(struct text_buffer *text)
{
	text->length = 0;
	text->full = false;
}

static void text_add(struct text_buffer *text, const char *octets, size_t length)
{
	if (text->full || length > REPLY_TEXT_MAX - text->length) {
		text->full = true;
		return;
	}
	memcpy(text->octets + text->length, octets, length);
	text->length += length;
}

/* Characters of one octet each: as many of them as there is room for. */
static void text_add_ascii(struct text_buffer *text, const char *octets, size_t length)
{
	size_t room = REPLY_TEXT_MAX - text->length;

	text_add(text, octets, length < room ? length : room);
	text->full = text->full || length > room;
}

static size_t printable_length(const char *text, size_t length)
{
	size_t printable = 0;

	while (printable < length && ascii_is_printable(text[printable]))
		printable++;
	return printable;
}

/* Adds one line; what is not printable becomes '?'. */
static void text_add_clean(struct text_buffer *text, const char *line, size_t length)
{
	for (size_t i = 0, size; i < length; i += size) {
		size = printable_length(line + i, length - i);
		if (size > 0) {
			text_add_ascii(text, line + i, size);
			continue;
		}
		size = utf8_character(line + i, length - i);
		if (size == 0 || is_control(line + i, size)) {
			text_add(text, "?", 1);
			size = size == 0 ? 1 : size;
		} else {
			text_add(text, line + i, size);
		}
	}
}

/* Length of an enhanced status code (RFC 3463 §2) at the beginning of `text`; 0 if there is none. */
static size_t enhanced_length(const char *text, size_t length)
{
	size_t at = 1;

	if (length < 5 || (text[0] != '2' && text[0] != '4' && text[0] != '5'))
		return 0;
	for (int part = 0; part < 2; part++) {
		size_t digits = 0;

		if (at >= length || text[at++] != '.')
			return 0;
		while (at < length && digits < 3 && ascii_is_digit(text[at])) {
			at++;
			digits++;
		}
		if (digits == 0)
			return 0;
	}
	return at == length || text[at] == ' ' ? at : 0;
}

static enum reply_status invalid(const char **why, const char *sentence)
{
	*why = sentence;
	return REPLY_INVALID;
}

/* Judges as much of the code and its separator as has arrived. `first` is the reply's first line. */
static enum reply_status code_check(const char *data, size_t length, const char *first, const char **why)
{
	for (size_t i = 0; i < 3 && i < length; i++) {
		if (!ascii_is_digit(data[i]) || (i == 0 && (data[i] < '2' || data[i] > '5')))
			return invalid(why, "the line does not begin with a reply code");
		if (data[i] != first[i])
			return invalid(why, "the lines of one reply have different codes");
	}
	if (length < 4)
		return REPLY_INCOMPLETE;
	if (data[3] == '\r' && length > 4 && data[4] != '\n')
		return invalid(why, "the reply code is followed by a stray CR");
	if (strchr(" -\r\n", data[3]) == NULL || data[3] == '\0')
		return invalid(why, "the reply code is not followed by a space, a hyphen or the end of the line");
	return REPLY_COMPLETE;
}

/* Reads the line at `data`. Says INVALID as soon as the octets that are there cannot become a reply. */
static enum reply_status line_read(const char *data, size_t length, const char *first, struct reply_line *line,
				   const char **why)
{
	size_t visible = length < REPLY_LINE_MAX ? length : REPLY_LINE_MAX;
	const char *end;
	enum reply_status status;

	if (length == 0)
		return REPLY_INCOMPLETE; /* `data` may be NULL then */
	end = memchr(data, '\n', visible);
	if (end != NULL)
		visible = (size_t)(end - data);
	status = code_check(data, end != NULL ? visible + 1 : visible, first, why);
	if (status == REPLY_INVALID)
		return status;
	if (memchr(data, '\0', visible) != NULL)
		return invalid(why, "the reply contains NUL");
	if (end == NULL && visible == REPLY_LINE_MAX)
		return invalid(why, "the reply line is too long");
	if (end == NULL)
		return REPLY_INCOMPLETE;
	assert(status == REPLY_COMPLETE);

	line->last = data[3] != '-';
	line->taken = visible + 1;
	line->text = data + (visible > 4 ? 4 : visible);
	line->length = visible > 4 ? visible - 4 : 0;
	if (line->length > 0 && line->text[line->length - 1] == '\r')
		line->length--;
	return REPLY_COMPLETE;
}

static struct reply *reply_make(int code, enum local_failure local, const struct text_buffer *text)
{
	struct reply *reply = mem_alloc(sizeof(*reply) + text->length + 1);

	reply->refs = 1;
	reply->code = code;
	reply->local = local;
	memcpy(reply->text, text->octets, text->length);
	return reply;
}

/* The enhanced code that the reply's lines carry: the first one found, as some servers put it on one line only. */
static void find_enhanced(const char *data, size_t length, char out[12])
{
	struct reply_line line;
	const char *why;

	out[0] = '\0';
	for (size_t at = 0; at < length && out[0] == '\0'; at += line.taken) {
		if (line_read(data + at, length - at, data, &line, &why) != REPLY_COMPLETE)
			return;
		size_t size = enhanced_length(line.text, line.length);
		memcpy(out, line.text, size);
		out[size] = '\0';
	}
}

/* Makes the reply of the `length` octets that were found to be one. */
static struct reply *reply_build(const char *data, size_t length)
{
	struct text_buffer text;
	struct reply_line line;
	struct reply *reply;
	const char *why;
	char enhanced[12];
	size_t size;

	text_init(&text);
	find_enhanced(data, length, enhanced);
	size = strlen(enhanced);
	for (size_t at = 0; at < length; at += line.taken) {
		if (line_read(data + at, length - at, data, &line, &why) != REPLY_COMPLETE)
			break;
		if (at > 0)
			text_add(&text, "\n", 1);
		if (size > 0 && enhanced_length(line.text, line.length) == size &&
		    memcmp(line.text, enhanced, size) == 0) {
			size_t skip = line.length > size ? size + 1 : size;
			line.text += skip;
			line.length -= skip;
		}
		text_add_clean(&text, line.text, line.length);
	}
	reply = reply_make((data[0] - '0') * 100 + (data[1] - '0') * 10 + (data[2] - '0'), LOCAL_NONE, &text);
	memcpy(reply->enhanced, enhanced, sizeof(enhanced));
	return reply;
}

enum reply_status reply_parse(const char *data, size_t length, size_t *used, struct reply **reply, const char **why)
{
	struct reply_line line;
	size_t at = 0;
	unsigned lines = 0;

	*used = 0;
	*reply = NULL;
	*why = NULL;
	do {
		enum reply_status status;

		if (lines == REPLY_LINES_MAX)
			return invalid(why, "the reply has too many lines");
		status = line_read(data + at, length - at, data, &line, why);
		if (status != REPLY_COMPLETE)
			return status;
		at += line.taken;
		lines++;
	} while (!line.last);
	*used = at;
	*reply = reply_build(data, at);
	return REPLY_COMPLETE;
}

struct reply *reply_local(enum local_failure failure, int code, const char *enhanced, const char *format, ...)
{
	struct text_buffer text;
	char written[REPLY_TEXT_MAX + 1];
	struct reply *reply;
	va_list arguments;

	text_init(&text);
	assert(failure > LOCAL_NONE && failure < LOCAL_FAILURES);
	assert(code >= 200 && code <= 599);
	assert(strlen(enhanced) < sizeof(reply->enhanced));
	va_start(arguments, format);
	vsnprintf(written, sizeof(written), format, arguments);
	va_end(arguments);
	for (const char *line = written;; line++) {
		size_t length = strcspn(line, "\n");

		text_add_clean(&text, line, length);
		line += length;
		if (*line == '\0')
			break;
		text_add(&text, "\n", 1);
	}
	reply = reply_make(code, failure, &text);
	memcpy(reply->enhanced, enhanced, strlen(enhanced) + 1);
	return reply;
}

struct reply *reply_ref(struct reply *reply)
{
	assert(reply->refs > 0);
	reply->refs++;
	return reply;
}

void reply_unref(struct reply **reply)
{
	struct reply *gone = *reply;

	*reply = NULL;
	if (gone == NULL)
		return;
	assert(gone->refs > 0);
	if (--gone->refs > 0)
		return;
	free(gone);
}

enum status reply_status_of(const struct reply *reply)
{
	switch (reply->code / 100) {
	case 2:
		return STATUS_SENT;
	case 5:
		return STATUS_BOUNCED;
	default:
		return STATUS_DEFERRED;
	}
}

const char *reply_dsn(const struct reply *reply, char out[12])
{
	char class = (char)('0' + reply->code / 100);

	if (reply->enhanced[0] == class)
		memcpy(out, reply->enhanced, sizeof(reply->enhanced));
	else
		snprintf(out, 12, "%c.0.0", class);
	return out;
}

/* What is said to the MTA when the relay gave a bare code: some readers want a text. */
static const char *bare_text(int code)
{
	switch (code / 100) {
	case 2:
		return "Ok";
	case 3:
		return "Go on";
	case 4:
		return "Temporary failure, no reason given";
	default:
		return "Refused, no reason given";
	}
}

/* How much of `text`, one line of `length` octets, goes on a line that has room for `room`: up to a space if it can. */
static size_t piece_length(const char *text, size_t length, size_t room)
{
	size_t cut = room;

	if (length <= room)
		return length;
	while (cut > 0 && text[cut] != ' ')
		cut--;
	if (cut > 0)
		return cut;
	cut = room;
	while ((text[cut] & 0xc0) == 0x80)
		cut--;
	return cut;
}

void reply_write(const struct reply *reply, struct evbuffer *out)
{
	const char *rest = reply->text[0] != '\0' ? reply->text : bare_text(reply->code);
	char dsn[12] = "";
	bool last;

	/* There is no enhanced code for 3xx (RFC 2034 §4). */
	if (reply->code / 100 != 3)
		reply_dsn(reply, dsn);
	do {
		size_t room = WRITE_LINE_MAX - strlen("250-") - (dsn[0] != '\0' ? strlen(dsn) + 1 : 0);
		size_t piece = piece_length(rest, strcspn(rest, "\n"), room);

		last = rest[piece] == '\0';
		evbuffer_add_printf(out, "%d%c%s%s", reply->code, last ? ' ' : '-', dsn,
				    dsn[0] != '\0' && piece > 0 ? " " : "");
		evbuffer_add(out, rest, piece);
		evbuffer_add(out, "\r\n", 2);
		rest += piece;
		if (*rest == '\n' || *rest == ' ')
			rest++;
	} while (!last);
}

const char *reply_line(const struct reply *reply, char *out, size_t size)
{
	size_t wanted, length;

	assert(size > 0);
	wanted = (size_t)snprintf(out, size, "%d%s%s%s%s", reply->code, reply->enhanced[0] != '\0' ? " " : "",
				  reply->enhanced, reply->text[0] != '\0' ? " " : "", reply->text);
	length = strlen(out);
	/* Cut between characters. */
	if (wanted > length)
		for (size_t at = 0, step; at < length; at += step) {
			step = utf8_character(out + at, length - at);
			if (step == 0)
				out[length = at] = '\0';
		}
	for (char *at = out; *at != '\0'; at++)
		if (*at == '\n')
			*at = ' ';
	return out;
}
