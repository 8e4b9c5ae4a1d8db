/*
 * Replies. What arrives in two parts means the same; what was read can be written and read again.
 */
#include <string.h>

#include <event2/buffer.h>

#include "fuzz.h"
#include "smtp/reply.h"

/* A part may only be too short, or already say what the whole does. */
static void try_part(const char *data, size_t size, enum reply_status whole, size_t used)
{
	struct reply *reply;
	const char *why;
	size_t taken;
	enum reply_status status = reply_parse(data, size, &taken, &reply, &why);

	REQUIRE(status == (size < used ? REPLY_INCOMPLETE : whole) || (whole == REPLY_INVALID && used == 0));
	REQUIRE(taken == (status == REPLY_COMPLETE ? used : 0));
	reply_unref(&reply);
}

static void try_write(const struct reply *reply)
{
	struct evbuffer *out = evbuffer_new();
	char line[64];

	reply_write(reply, out);
	REQUIRE(evbuffer_get_length(out) > strlen("250 \r\n"));
	REQUIRE(strlen(reply_line(reply, line, sizeof(line))) < sizeof(line));
	for (char *text; (text = evbuffer_readln(out, NULL, EVBUFFER_EOL_CRLF_STRICT)) != NULL; free(text)) {
		REQUIRE(strlen(text) <= 510);
		REQUIRE(atoi(text) == reply->code);
		for (const char *at = text; *at != '\0'; at++)
			REQUIRE((unsigned char)*at >= 0x20 && *at != 0x7f);
	}
	REQUIRE(evbuffer_get_length(out) == 0);
	evbuffer_free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data, *why;
	struct reply *reply;
	size_t used;
	enum reply_status status = reply_parse(text, size, &used, &reply, &why);

	for (size_t part = 0; part < size; part += size / 16 + 1)
		try_part(text, part, status, used);
	if (status == REPLY_COMPLETE)
		try_write(reply);
	reply_unref(&reply);
	return 0;
}
