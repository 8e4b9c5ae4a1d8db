/*
 * The header filter: pieces make no difference, and what it let through holds no tag. An octet 1 in the input stands
 * for a valid tag of the message 4ABC.
 */
#include <string.h>

#include <event2/buffer.h>

#include "base/clock.h"
#include "fuzz.h"
#include "smtp/header.h"

static const struct tag_key key = {"0123456789abcdef0123456789abcde"};
static const uid_t requeue_users[] = {106};

static void add(const char *data, size_t length, void *arg)
{
	REQUIRE(length > 0);
	evbuffer_add(arg, data, length);
}

/* The input with valid tags put in. */
static struct evbuffer *tagged(const char *data, size_t size)
{
	struct evbuffer *message = evbuffer_new();
	struct tag tag = {"4ABC", clock_wall(), "default"};
	char value[TAG_VALUE_MAX];

	REQUIRE(tag_format(&tag, &key, value));
	for (size_t i = 0; i < size; i++) {
		if (data[i] == 1)
			evbuffer_add_printf(message, "X-Relaypool: %s\r\n", value);
		else
			evbuffer_add(message, data + i, 1);
	}
	return message;
}

/* What is left of `message`, fed in pieces. The filter is the caller's. */
static struct evbuffer *pass(struct evbuffer *message, size_t piece, struct header_filter **filter)
{
	struct evbuffer *out = evbuffer_new();
	size_t size = evbuffer_get_length(message);
	const char *data = (const char *)evbuffer_pullup(message, -1);

	*filter = header_filter_create(&key, requeue_users, 1, add, out);
	for (size_t at = 0; at < size; at += piece)
		header_filter_feed(*filter, data + at, piece < size - at ? piece : size - at);
	header_filter_end(*filter);
	return out;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct evbuffer *message, *left[3];
	struct header_filter *filters[3];
	struct tag tags[2];
	size_t length;
	bool counts;

	clock_fake_start();
	message = tagged((const char *)data, size);
	left[0] = pass(message, SIZE_MAX / 2, &filters[0]);
	left[1] = pass(message, size % 7 + 1, &filters[1]);
	left[2] = pass(left[0], SIZE_MAX / 2, &filters[2]);
	length = evbuffer_get_length(left[0]);
	for (int i = 1; i < 3; i++)
		REQUIRE(evbuffer_get_length(left[i]) == length &&
			(length == 0 ||
			 memcmp(evbuffer_pullup(left[i], -1), evbuffer_pullup(left[0], -1), length) == 0));
	REQUIRE(header_filter_stripped(filters[2]) == 0);
	REQUIRE(header_filter_stripped(filters[1]) == header_filter_stripped(filters[0]));
	REQUIRE(header_filter_8bit(filters[1]) == header_filter_8bit(filters[0]));
	counts = header_filter_tag(filters[0], &tags[0]);
	REQUIRE(header_filter_tag(filters[1], &tags[1]) == counts);
	REQUIRE(!counts || (strcmp(tags[0].queue_id, "4ABC") == 0 && memcmp(&tags[0], &tags[1], sizeof(tags[0])) == 0));
	for (int i = 0; i < 3; i++) {
		evbuffer_free(left[i]);
		header_filter_free(filters[i]);
	}
	evbuffer_free(message);
	clock_fake_stop();
	return 0;
}
