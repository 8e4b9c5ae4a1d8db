/*
 * The end of data and dot-stuffing, both ways (RFC 5321 §4.5.2). Stray CR and LF become a space here, so that nothing
 * passes that two servers could read differently (SMTP smuggling). Pure functions, fuzzed.
 */
#ifndef SMTP_DOT_H
#define SMTP_DOT_H

#include "relaypool.h"

/* Where the decoder stands in the stream from the MTA. */
enum dot_state {
	DOT_LINE_START = 0, /* after CRLF, or at the very beginning */
	DOT_TEXT,           /* within a line */
	DOT_CR,             /* after a CR within a line */
	DOT_DOT,            /* after a dot at the start of a line */
	DOT_DOT_CR,         /* after dot CR at the start of a line: LF makes the end of data */
	DOT_END             /* the end of data was seen */
};

struct dot_decoder {
	enum dot_state state;
	bool nul; /* a NUL was seen: the message gets 550 5.6.0 */
	bool has_8bit;
	unsigned long strays; /* CR or LF that were replaced by a space */
};

void dot_decoder_init(struct dot_decoder *decoder);
/*
 * Takes octets until the end of data; returns how many were used (all, unless the end came). `sink` gets the decoded
 * octets in pieces; every line it gets ends in CRLF.
 */
size_t dot_decode(struct dot_decoder *decoder, const char *data, size_t length,
		  void (*sink)(const char *data, size_t length, void *arg), void *arg);

struct dot_encoder {
	bool line_start;
};

struct evbuffer;
void dot_encoder_init(struct dot_encoder *encoder);
/* Appends the stuffed octets to `out`. The input's lines end in CRLF. */
void dot_encode(struct dot_encoder *encoder, const char *data, size_t length, struct evbuffer *out);
/* Appends the end of data; a CRLF before it if the last line lacks one. */
void dot_encode_end(struct dot_encoder *encoder, struct evbuffer *out);

#endif
