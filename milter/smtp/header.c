/*
 * The header block on its way in: tags are taken out, the one that counts is found, all else passes byte for byte.
 * Called by ingest/message for each decoded piece. Never keeps more than FIELD_MAX octets, whatever arrives.
 */
#include <config.h>

#include "smtp/header.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "ascii.h"
#include "base/clock.h"
#include "base/mem.h"
#include "received.h"

#define FIELD_MAX 4096
#define TAG_AGE_MAX ((int64_t)30 * 24 * 3600 * USEC_PER_SEC) /* longer than any queue keeps mail */
#define TAG_AHEAD_MAX ((int64_t)3600 * USEC_PER_SEC)         /* a clock that was set back */

/* Where the filter stands in the header block. */
enum header_state {
	HEADER_LINE_START = 0, /* at the beginning of a line */
	HEADER_LINE_START_CR,  /* after CR there: LF makes the empty line */
	HEADER_NAME,           /* within what may be a field's name; its octets are held */
	HEADER_LINE,           /* within a line of which it is known whether it is kept */
	HEADER_BODY            /* behind the empty line: everything passes */
};

/* What the current field is. */
enum field {
	FIELD_OTHER = 0, /* passes */
	FIELD_RECEIVED,  /* passes, and its first octets are looked at */
	FIELD_TAG        /* is taken out, and its value is looked at */
};

struct header_filter {
	const struct tag_key *key; /* borrowed */
	uid_t *requeue_users;
	size_t user_count;
	header_sink_fn *sink;
	void *arg;

	enum header_state state;
	enum field field;
	char text[FIELD_MAX]; /* in HEADER_NAME the octets held, then the value of a field that is looked at */
	size_t length;
	bool overflow; /* the value is longer than `text` */

	bool complete; /* the header block has ended */
	bool has_8bit;
	unsigned stripped;
	unsigned received_count;
	struct received received[2]; /* the topmost and the one below it */
	unsigned tags[2];            /* how many tags stand above the topmost, and between the two */
	bool follows_received;       /* the field before this one was the topmost Received */
	bool directly_below;         /* the first tag between the two stands directly below the topmost */
	bool tag_good;               /* `tag` holds a valid one: the first in a place where one may count */
	struct tag tag;
};

struct header_filter *header_filter_create(const struct tag_key *key, const uid_t *requeue_users, size_t user_count,
					   header_sink_fn *sink, void *arg)
{
	struct header_filter *filter = mem_alloc(sizeof(*filter));

	filter->key = key;
	filter->requeue_users = mem_array(user_count, sizeof(*requeue_users));
	filter->user_count = user_count;
	if (user_count > 0)
		memcpy(filter->requeue_users, requeue_users, user_count * sizeof(*requeue_users));
	filter->sink = sink;
	filter->arg = arg;
	return filter;
}

void header_filter_free(struct header_filter *filter)
{
	if (filter == NULL)
		return;
	free(filter->requeue_users);
	free(filter);
}

/* Octets of the header block that are kept. */
static void keep(struct header_filter *filter, const char *data, size_t length)
{
	filter->has_8bit = filter->has_8bit || !ascii_only(data, length);
	if (length > 0)
		filter->sink(data, length, filter->arg);
}

/* Octets of a value that is looked at. */
static void look(struct header_filter *filter, const char *data, size_t length)
{
	if (length > FIELD_MAX - filter->length) {
		length = FIELD_MAX - filter->length;
		filter->overflow = true;
	}
	memcpy(filter->text + filter->length, data, length);
	filter->length += length;
}

/* A tag whose value is in `text`. Only one above the second Received may count (header_filter_tag()). */
static void tag_ends(struct header_filter *filter)
{
	unsigned above = filter->received_count;
	int64_t now = clock_wall();

	if (above > 1)
		return;
	filter->tags[above]++;
	if (filter->tags[above] > 1 || (above == 1 && filter->tags[0] > 0))
		return;
	filter->directly_below = filter->follows_received;
	filter->tag_good = !filter->overflow && tag_parse(filter->text, filter->length, filter->key, &filter->tag) &&
			   filter->tag.time > now - TAG_AGE_MAX && filter->tag.time < now + TAG_AHEAD_MAX;
}

/* A Received whose value is in `text`. What was cut could be misread, so that nothing is read of it. */
static void received_ends(struct header_filter *filter)
{
	if (filter->received_count < 2 && !filter->overflow)
		received_parse(filter->text, filter->length, &filter->received[filter->received_count]);
	filter->received_count++;
}

/* The field that was under way is complete: the next line does not continue it. */
static void field_ends(struct header_filter *filter)
{
	if (filter->field == FIELD_TAG)
		tag_ends(filter);
	else if (filter->field == FIELD_RECEIVED)
		received_ends(filter);
	filter->follows_received = filter->field == FIELD_RECEIVED && filter->received_count == 1;
	filter->field = FIELD_OTHER;
	filter->length = 0;
	filter->overflow = false;
}

static bool held_name_is(const struct header_filter *filter, size_t length, const char *name)
{
	return length == strlen(name) && strncasecmp(filter->text, name, length) == 0;
}

/* The octets held are a name, white space and, but for excess of that, the colon: now it is known what it is. */
static void name_ends(struct header_filter *filter)
{
	size_t length = filter->length - 1;

	while (length > 0 && ascii_is_blank(filter->text[length - 1]))
		length--;
	if (held_name_is(filter, length, TAG_HEADER))
		filter->field = FIELD_TAG;
	else if (held_name_is(filter, length, "Received"))
		filter->field = FIELD_RECEIVED;
	if (filter->field == FIELD_TAG)
		filter->stripped++;
	else
		keep(filter, filter->text, filter->length);
	filter->length = 0;
	filter->state = HEADER_LINE;
}

/*
 * One octet of what may be a name: it is held while the name may still be one that is looked at. White space may stand
 * before the colon (RFC 5322 §4.5); so much of it that no more can be held ends the name, too.
 */
static void name_octet(struct header_filter *filter, char c)
{
	bool blank_before = filter->length > 0 && ascii_is_blank(filter->text[filter->length - 1]);

	filter->text[filter->length++] = c;
	if (c == ':' || filter->length == FIELD_MAX) {
		name_ends(filter);
	} else if (!ascii_is_blank(c) && (blank_before || c == '\n' || filter->length > strlen(TAG_HEADER))) {
		keep(filter, filter->text, filter->length);
		filter->length = 0;
		filter->state = c == '\n' ? HEADER_LINE_START : HEADER_LINE;
	}
}

/* The first octet of a line, which decides what the line is. Says whether it was used. */
static bool line_starts(struct header_filter *filter, char c)
{
	if (ascii_is_blank(c)) {
		filter->state = HEADER_LINE; /* it continues the field */
		return false;
	}
	field_ends(filter);
	if (c == '\r') {
		filter->state = HEADER_LINE_START_CR;
		return true;
	}
	filter->state = HEADER_NAME;
	return false;
}

/* The octet behind a CR at the start of a line. */
static bool after_cr(struct header_filter *filter, char c)
{
	if (c == '\n') {
		filter->complete = true;
		filter->state = HEADER_BODY;
		keep(filter, "\r\n", 2);
		return true;
	}
	filter->state = HEADER_LINE;
	keep(filter, "\r", 1);
	return false;
}

/* The rest of a line, as far as it is there. Says how many octets were used. */
static size_t line_rest(struct header_filter *filter, const char *data, size_t length)
{
	const char *newline = memchr(data, '\n', length);

	if (newline != NULL) {
		length = (size_t)(newline - data) + 1;
		filter->state = HEADER_LINE_START;
	}
	if (filter->field != FIELD_TAG)
		keep(filter, data, length);
	if (filter->field != FIELD_OTHER)
		look(filter, data, length);
	return length;
}

void header_filter_feed(struct header_filter *filter, const char *data, size_t length)
{
	size_t at = 0;

	while (at < length) {
		switch (filter->state) {
		case HEADER_LINE_START:
			at += line_starts(filter, data[at]);
			break;
		case HEADER_LINE_START_CR:
			at += after_cr(filter, data[at]);
			break;
		case HEADER_NAME:
			name_octet(filter, data[at++]);
			break;
		case HEADER_LINE:
			at += line_rest(filter, data + at, length - at);
			break;
		case HEADER_BODY:
			filter->sink(data + at, length - at, filter->arg);
			at = length;
			break;
		}
	}
}

void header_filter_end(struct header_filter *filter)
{
	if (filter->complete)
		return;
	if (filter->state == HEADER_NAME)
		keep(filter, filter->text, filter->length);
	else if (filter->state == HEADER_LINE_START_CR)
		keep(filter, "\r", 1);
	field_ends(filter);
	filter->complete = true;
	filter->state = HEADER_BODY;
}

static bool is_requeued(const struct header_filter *filter, const struct received *received)
{
	for (size_t i = 0; i < filter->user_count; i++)
		if (received->has_userid && received->userid == filter->requeue_users[i])
			return true;
	return false;
}

bool header_filter_tag(const struct header_filter *filter, struct tag *tag)
{
	const struct received *below;

	if (!filter->complete || !filter->tag_good)
		return false;
	if (filter->tags[0] == 1)
		below = &filter->received[0];
	else if (filter->tags[0] == 0 && filter->tags[1] == 1 && filter->directly_below &&
		 is_requeued(filter, &filter->received[0]))
		below = &filter->received[1];
	else
		return false;
	/* Without a Received below, the id is "" and no tag has that. */
	if (strcmp(below->id, filter->tag.queue_id) != 0)
		return false;
	*tag = filter->tag;
	return true;
}

const char *header_filter_received_id(const struct header_filter *filter)
{
	return filter->received[0].id;
}

unsigned header_filter_stripped(const struct header_filter *filter)
{
	return filter->stripped;
}

bool header_filter_8bit(const struct header_filter *filter)
{
	return filter->has_8bit;
}
