/*
 * The end of data: pieces make no difference, what is handed on has no stray CR or LF, and the encoder gives it back.
 */
#include <string.h>

#include <event2/buffer.h>

#include "fuzz.h"
#include "smtp/dot.h"

static void add(const char *data, size_t length, void *arg)
{
	evbuffer_add(arg, data, length);
}

/* Decodes in pieces of `piece` octets; says how many were used. */
static size_t decode(const char *data, size_t size, size_t piece, struct dot_decoder *decoder, struct evbuffer *out)
{
	size_t used = 0;

	dot_decoder_init(decoder);
	while (used < size && decoder->state != DOT_END)
		used += dot_decode(decoder, data + used, piece < size - used ? piece : size - used, add, out);
	return used;
}

static void require_same(struct evbuffer *one, struct evbuffer *other)
{
	size_t length = evbuffer_get_length(one);

	REQUIRE(evbuffer_get_length(other) == length);
	REQUIRE(length == 0 || memcmp(evbuffer_pullup(one, -1), evbuffer_pullup(other, -1), length) == 0);
}

static void require_clean(struct evbuffer *text)
{
	const char *at = (const char *)evbuffer_pullup(text, -1);

	for (size_t i = 0, length = evbuffer_get_length(text); i < length; i++)
		REQUIRE((at[i] != '\r' && at[i] != '\n') || (at[i] == '\r' && i + 1 < length && at[++i] == '\n'));
}

static void require_inverse(struct evbuffer *text)
{
	struct evbuffer *wire = evbuffer_new(), *back = evbuffer_new();
	struct dot_encoder encoder;
	struct dot_decoder decoder;
	size_t length;

	dot_encoder_init(&encoder);
	dot_encode(&encoder, (const char *)evbuffer_pullup(text, -1), evbuffer_get_length(text), wire);
	if (!encoder.line_start)
		evbuffer_add(text, "\r\n", 2);
	dot_encode_end(&encoder, wire);
	length = evbuffer_get_length(wire);
	REQUIRE(decode((const char *)evbuffer_pullup(wire, -1), length, length, &decoder, back) == length);
	REQUIRE(decoder.state == DOT_END && decoder.strays == 0);
	require_same(text, back);
	evbuffer_free(wire);
	evbuffer_free(back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct evbuffer *whole = evbuffer_new(), *pieces = evbuffer_new();
	struct dot_decoder decoder, again;
	size_t used = decode((const char *)data, size, size, &decoder, whole);

	for (size_t piece = 1; piece < 4; piece++) {
		REQUIRE(decode((const char *)data, size, piece, &again, pieces) == used);
		REQUIRE(again.state == decoder.state && again.strays == decoder.strays && again.nul == decoder.nul &&
			again.has_8bit == decoder.has_8bit);
		require_same(whole, pieces);
		evbuffer_drain(pieces, evbuffer_get_length(pieces));
	}
	require_clean(whole);
	require_inverse(whole);
	evbuffer_free(whole);
	evbuffer_free(pieces);
	return 0;
}
