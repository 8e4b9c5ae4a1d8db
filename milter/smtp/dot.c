/*
 * The end of data and dot-stuffing, both ways. Called by ingest/message (decoder) and relay/conversation (encoder).
 * Never keeps octets: what it gets it hands on at once, so that its memory is its state alone.
 */
#include <config.h>

#include "smtp/dot.h"

#include <string.h>

#include <event2/buffer.h>

#include "ascii.h"

/* How far the end of a line is looked for at a time: otherwise many stray CRs would cost the square of their number. */
#define STRETCH_MAX 1024

/* One call of dot_decode(): octets from `begin` on are not handed on yet. */
struct run {
	const char *data;
	size_t begin;
	void (*sink)(const char *data, size_t length, void *arg);
	void *arg;
};

void dot_decoder_init(struct dot_decoder *decoder)
{
	*decoder = (struct dot_decoder){.state = DOT_LINE_START};
}

/* Hands on what stands before `end`; the run goes on at `next`. */
static void run_flush(struct run *run, size_t end, size_t next)
{
	if (end > run->begin)
		run->sink(run->data + run->begin, end - run->begin, run->arg);
	run->begin = next;
}

/* A space in place of a stray CR or LF; what stands before `end` goes first, the run goes on at `next`. */
static void run_stray(struct run *run, struct dot_decoder *decoder, size_t end, size_t next)
{
	run_flush(run, end, next);
	run->sink(" ", 1, run->arg);
	decoder->strays++;
}

/*
 * The octet at `at` while a CR awaits its LF. The CR is the octet before, or was the last one of an earlier call and
 * then is not in the run.
 */
static void after_cr(struct run *run, struct dot_decoder *decoder, size_t at)
{
	bool here = at > run->begin;

	if (run->data[at] != '\n') {
		run_stray(run, decoder, here ? at - 1 : at, at);
		decoder->state = run->data[at] == '\r' ? DOT_CR : DOT_TEXT;
		return;
	}
	if (!here) {
		run->sink("\r\n", 2, run->arg);
		run->begin = at + 1;
	}
	decoder->state = DOT_LINE_START;
}

/* The octet at `at` behind dot CR at the start of a line. */
static void after_dot_cr(struct run *run, struct dot_decoder *decoder, size_t at)
{
	if (run->data[at] == '\n') {
		run->begin = at + 1;
		decoder->state = DOT_END;
		return;
	}
	run_stray(run, decoder, at, at);
	decoder->state = run->data[at] == '\r' ? DOT_CR : DOT_TEXT;
}

/* The octet at `at` at the start of a line, behind a dot there, or within a line. */
static void in_line(struct run *run, struct dot_decoder *decoder, size_t at)
{
	enum dot_state state = decoder->state;
	char c = run->data[at];

	decoder->state = DOT_TEXT;
	if (c == '\n') {
		run_stray(run, decoder, at, at + 1);
	} else if (c == '\r' && state == DOT_DOT) {
		run->begin = at + 1;
		decoder->state = DOT_DOT_CR;
	} else if (c == '\r') {
		decoder->state = DOT_CR;
	} else if (c == '.' && state == DOT_LINE_START) {
		run_flush(run, at, at + 1);
		decoder->state = DOT_DOT;
	}
}

/* How many octets at the beginning of `data` are nothing but text; perhaps there are more. */
static size_t text_length(const char *data, size_t length)
{
	size_t stretch = length < STRETCH_MAX ? length : STRETCH_MAX;
	const char *lf = memchr(data, '\n', stretch);
	const char *cr = memchr(data, '\r', lf != NULL ? (size_t)(lf - data) : stretch);

	if (cr != NULL)
		return (size_t)(cr - data);
	return lf != NULL ? (size_t)(lf - data) : stretch;
}

/* What the octets that were used say about the message. */
static void note(struct dot_decoder *decoder, const char *data, size_t length)
{
	decoder->nul = decoder->nul || memchr(data, '\0', length) != NULL;
	decoder->has_8bit = decoder->has_8bit || !ascii_only(data, length);
}

size_t dot_decode(struct dot_decoder *decoder, const char *data, size_t length,
		  void (*sink)(const char *data, size_t length, void *arg), void *arg)
{
	struct run run = {data, 0, sink, arg};
	size_t at = 0;

	while (at < length && decoder->state != DOT_END) {
		if (decoder->state == DOT_TEXT)
			at += text_length(data + at, length - at);
		if (at == length)
			break;
		switch (decoder->state) {
		case DOT_CR:
			after_cr(&run, decoder, at);
			break;
		case DOT_DOT_CR:
			after_dot_cr(&run, decoder, at);
			break;
		default:
			in_line(&run, decoder, at);
		}
		at++;
	}
	if (at > 0)
		note(decoder, data, at);
	/* A CR at the end waits for what the next call brings. */
	if (decoder->state != DOT_END)
		run_flush(&run, decoder->state == DOT_CR && at > run.begin ? at - 1 : at, at);
	return at;
}

void dot_encoder_init(struct dot_encoder *encoder)
{
	encoder->line_start = true;
}

void dot_encode(struct dot_encoder *encoder, const char *data, size_t length, struct evbuffer *out)
{
	const char *end, *begin = data, *at = data;

	if (length == 0)
		return; /* `data` may be NULL then */
	end = data + length;
	while (at < end) {
		const char *newline;

		if (encoder->line_start && *at == '.') {
			/* The dot itself goes with what follows. */
			evbuffer_add(out, begin, (size_t)(at - begin));
			evbuffer_add(out, ".", 1);
			begin = at;
		}
		newline = memchr(at, '\n', (size_t)(end - at));
		encoder->line_start = newline != NULL;
		at = newline != NULL ? newline + 1 : end;
	}
	evbuffer_add(out, begin, (size_t)(end - begin));
}

void dot_encode_end(struct dot_encoder *encoder, struct evbuffer *out)
{
	if (!encoder->line_start)
		evbuffer_add(out, "\r\n", 2);
	evbuffer_add(out, ".\r\n", 3);
	encoder->line_start = true;
}
