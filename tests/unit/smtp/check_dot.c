/*
 * The end of data and dot-stuffing: every short stream, cut at every place.
 */
#include <stdlib.h>
#include <string.h>

#include <event2/buffer.h>

#include "check_smtp.h"
#include "smtp/dot.h"

#define TEXT_MAX 4096

struct text {
	char octets[TEXT_MAX];
	size_t length;
};

static void add(const char *data, size_t length, void *arg)
{
	struct text *text = arg;

	if (length == 0 || text->length + length > TEXT_MAX)
		ck_abort_msg("the sink got %zu octets", length);
	memcpy(text->octets + text->length, data, length);
	text->length += length;
}

/* What the decoder must make of a stream, said in the words of the standard instead of states. */
struct expected {
	struct text text;
	size_t used;
	bool ended;
	unsigned long strays;
};

static void expect(const char *data, size_t length, struct expected *expected)
{
	bool line_start = true;
	size_t at = 0;

	*expected = (struct expected){.used = length};
	while (at < length) {
		if (line_start && length - at >= 3 && memcmp(data + at, ".\r\n", 3) == 0) {
			expected->used = at + 3;
			expected->ended = true;
			return;
		}
		if (line_start && data[at] == '.') {
			line_start = false;
			at++;
		} else if (data[at] == '\r' && at + 1 == length) {
			return; /* its LF may follow */
		} else if (length - at >= 2 && memcmp(data + at, "\r\n", 2) == 0) {
			add("\r\n", 2, &expected->text);
			line_start = true;
			at += 2;
		} else if (data[at] == '\r' || data[at] == '\n') {
			add(" ", 1, &expected->text);
			expected->strays++;
			line_start = false;
			at++;
		} else {
			add(data + at++, 1, &expected->text);
			line_start = false;
		}
	}
}

/* Decodes in pieces that end at `first` and `second`. */
static void decode(const char *data, size_t length, size_t first, size_t second, struct dot_decoder *decoder,
		   struct text *text, size_t *used)
{
	size_t ends[3] = {first, second, length}, begin = 0;

	dot_decoder_init(decoder);
	*used = 0;
	text->length = 0;
	for (int i = 0; i < 3; i++) {
		size_t taken = dot_decode(decoder, data + begin, ends[i] - begin, add, text);

		*used += taken;
		if (decoder->state == DOT_END)
			return;
		if (taken != ends[i] - begin)
			ck_abort_msg("octets before the end of data were not used");
		begin = ends[i];
	}
}

/* One look at the result: an assertion of Check's for each of its parts would take minutes. */
static void assert_decoded(const char *data, size_t length, size_t first, size_t second)
{
	struct dot_decoder decoder;
	struct expected expected;
	struct text text;
	size_t used;

	expect(data, length, &expected);
	decode(data, length, first, second, &decoder, &text, &used);
	if (used != expected.used || (decoder.state == DOT_END) != expected.ended ||
	    decoder.strays != expected.strays || text.length != expected.text.length ||
	    memcmp(text.octets, expected.text.octets, text.length) != 0 ||
	    decoder.nul != (memchr(data, '\0', used) != NULL) ||
	    decoder.has_8bit != (memchr(data, '\xff', used) != NULL))
		ck_abort_msg("a stream of %zu octets cut at %zu and %zu: %.*s", length, first, second, (int)text.length,
			     text.octets);
}

/* The number written in base `radix`, digit by digit an octet of `alphabet`. */
static void spell(unsigned number, const char *alphabet, unsigned radix, size_t length, char *out)
{
	for (size_t i = 0; i < length; i++) {
		out[i] = alphabet[number % radix];
		number /= radix;
	}
}

static unsigned power(unsigned radix, size_t exponent)
{
	return exponent == 0 ? 1 : radix * power(radix, exponent - 1);
}

START_TEST(every_short_stream_is_decoded_whatever_its_pieces)
{
	static const char alphabet[] = {'\r', '\n', '.', 'a', '\0', '\xff'};
	char data[6];

	for (size_t length = 0; length <= sizeof(data); length++)
		for (unsigned number = 0; number < power(6, length); number++) {
			spell(number, alphabet, 6, length, data);
			for (size_t cut = 0; cut <= length; cut++)
				assert_decoded(data, length, cut, cut);
		}
}
END_TEST

START_TEST(streams_of_line_ends_and_dots_are_decoded_in_three_pieces)
{
	char data[8];

	for (unsigned number = 0; number < power(4, sizeof(data)); number++) {
		spell(number, "\r\n.a", 4, sizeof(data), data);
		for (size_t first = 0; first <= sizeof(data); first += 2)
			for (size_t second = first; second <= sizeof(data); second += 3)
				assert_decoded(data, sizeof(data), first, second);
	}
}
END_TEST

/* Lines longer than what is looked at at a time. */
START_TEST(long_lines_are_decoded)
{
	static const char *const ends[] = {"\r\n", "\n", "\r", "\xff\r\nb", "\r\r\n.\r\n"};
	char data[2100];

	for (size_t line = 1000; line < 2080; line = line == 1050 ? 2030 : line + 1)
		for (size_t end = 0; end < sizeof(ends) / sizeof(ends[0]); end++) {
			size_t length = line + strlen(ends[end]);

			memset(data, 'a', line);
			memcpy(data + line, ends[end], strlen(ends[end]));
			assert_decoded(data, length, length, length);
			assert_decoded(data, length, 1, line);
		}
}
END_TEST

static const struct {
	const char *stream, *decoded;
	unsigned long strays;
	const char *rest; /* what follows the end of data; NULL if there is no end */
} streams[] = {
	{".\r\n", "", 0, ""},
	{"\r\n.\r\n", "\r\n", 0, ""},
	{"a\r\n.\r\nMAIL", "a\r\n", 0, "MAIL"},
	{"a\r\n..\r\n...\r\n..a\r\n.\r\n", "a\r\n.\r\n..\r\n.a\r\n", 0, ""},
	{"a\r\n.b\r\n.\r\n", "a\r\nb\r\n", 0, ""},
	/* The ways in which mail was smuggled: none of them ends the data. */
	{"a\n.\nMAIL", "a . MAIL", 2, NULL},
	{"a\n.\r\nMAIL", "a .\r\nMAIL", 1, NULL},
	{"a\r\n.\nMAIL", "a\r\n MAIL", 1, NULL},
	{"a\r.\rMAIL", "a . MAIL", 2, NULL},
	{"a\r\n.\rMAIL", "a\r\n MAIL", 1, NULL},
	{"a\r.\r\nMAIL", "a .\r\nMAIL", 1, NULL},
	{"a\r\n.\r\r\nMAIL", "a\r\n \r\nMAIL", 1, NULL},
	{"a\r\r\n.\r\nMAIL", "a \r\n", 1, "MAIL"},
	{"a\n\r\n.\r\nMAIL", "a \r\n", 1, "MAIL"},
	{"\n.\r\nMAIL", " .\r\nMAIL", 1, NULL},
	{"a.\r\nMAIL", "a.\r\nMAIL", 0, NULL},
};

START_TEST(only_crlf_dot_crlf_ends_the_data)
{
	const char *stream = streams[_i].stream;
	size_t length = strlen(stream), used;
	struct dot_decoder decoder;
	struct text text;

	decode(stream, length, length, length, &decoder, &text, &used);
	ck_assert_uint_eq(text.length, strlen(streams[_i].decoded));
	ck_assert_int_eq(memcmp(text.octets, streams[_i].decoded, text.length), 0);
	ck_assert_uint_eq(decoder.strays, streams[_i].strays);
	ck_assert_int_eq(decoder.state == DOT_END, streams[_i].rest != NULL);
	if (streams[_i].rest != NULL)
		ck_assert_str_eq(stream + used, streams[_i].rest);
}
END_TEST

START_TEST(nothing_is_used_behind_the_end)
{
	struct dot_decoder decoder;
	struct text text = {.length = 0};

	dot_decoder_init(&decoder);
	ck_assert_uint_eq(dot_decode(&decoder, ".\r\n.\r\n", 6, add, &text), 3);
	ck_assert_uint_eq(dot_decode(&decoder, ".\r\n", 3, add, &text), 0);
	ck_assert_int_eq(decoder.state, DOT_END);
	ck_assert_uint_eq(text.length, 0);
}
END_TEST

/* Encodes in two pieces, and decodes the result. */
static void assert_inverse(const char *data, size_t length, size_t cut, const char *added)
{
	struct evbuffer *out = evbuffer_new();
	struct dot_encoder encoder;
	struct dot_decoder decoder;
	struct text text = {.length = 0};
	size_t encoded, used;

	dot_encoder_init(&encoder);
	dot_encode(&encoder, data, cut, out);
	dot_encode(&encoder, data + cut, length - cut, out);
	dot_encode_end(&encoder, out);
	encoded = evbuffer_get_length(out);
	dot_decoder_init(&decoder);
	used = dot_decode(&decoder, (const char *)evbuffer_pullup(out, -1), encoded, add, &text);
	if (used != encoded || decoder.state != DOT_END || decoder.strays != 0 ||
	    text.length != length + strlen(added) || memcmp(text.octets, data, length) != 0 ||
	    memcmp(text.octets + length, added, strlen(added)) != 0)
		ck_abort_msg("%.*s came back as %.*s", (int)length, data, (int)text.length, text.octets);
	evbuffer_free(out);
}

/* Every body of up to seven words, each a dot, a letter or a line end, cut everywhere. */
START_TEST(the_decoder_undoes_the_encoder)
{
	static const char *const words[] = {"\r\n", ".", "a"};

	for (unsigned number = 0; number < power(3, 7); number++) {
		char data[32] = "";
		bool ended;

		for (unsigned rest = number; rest > 0; rest /= 3)
			strcat(data, words[rest % 3]);
		ended = data[0] == '\0' || data[strlen(data) - 1] == '\n';
		for (size_t cut = 0; cut <= strlen(data); cut++)
			assert_inverse(data, strlen(data), cut, ended ? "" : "\r\n");
	}
}
END_TEST

START_TEST(nothing_is_encoded_and_decoded)
{
	struct evbuffer *out = evbuffer_new();
	struct dot_encoder encoder;
	struct dot_decoder decoder;

	dot_encoder_init(&encoder);
	dot_encode(&encoder, NULL, 0, out);
	ck_assert_uint_eq(evbuffer_get_length(out), 0);
	dot_decoder_init(&decoder);
	ck_assert_uint_eq(dot_decode(&decoder, NULL, 0, add, NULL), 0);
	ck_assert_int_eq(decoder.state, DOT_LINE_START);
	evbuffer_free(out);
}
END_TEST

#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))

Suite *dot_suite(void)
{
	Suite *suite = suite_create("dot");
	TCase *tcase = tcase_create("dot");

	tcase_set_timeout(tcase, 60);
	tcase_add_test(tcase, every_short_stream_is_decoded_whatever_its_pieces);
	tcase_add_test(tcase, streams_of_line_ends_and_dots_are_decoded_in_three_pieces);
	tcase_add_test(tcase, long_lines_are_decoded);
	tcase_add_loop_test(tcase, only_crlf_dot_crlf_ends_the_data, 0, COUNT(streams));
	tcase_add_test(tcase, nothing_is_used_behind_the_end);
	tcase_add_test(tcase, the_decoder_undoes_the_encoder);
	tcase_add_test(tcase, nothing_is_encoded_and_decoded);
	suite_add_tcase(suite, tcase);
	return suite;
}
