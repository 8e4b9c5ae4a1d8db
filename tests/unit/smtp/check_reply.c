/*
 * Replies: read from hostile relays, made here, written to the MTA and to the log.
 */
#include <stdlib.h>
#include <string.h>

#include <event2/buffer.h>

#include "base/mem.h"
#include "check_smtp.h"
#include "smtp/reply.h"

/* Parses all of `data`, which lies in memory of exactly its size. */
static enum reply_status parse(const char *data, size_t length, size_t *used, struct reply **reply)
{
	char *exact = mem_alloc(length > 0 ? length : 1);
	enum reply_status status;
	const char *why;

	memcpy(exact, data, length);
	status = reply_parse(exact, length, used, reply, &why);
	ck_assert_int_eq(status == REPLY_COMPLETE, *reply != NULL);
	ck_assert_int_eq(status == REPLY_INVALID, why != NULL);
	free(exact);
	return status;
}

static struct reply *parse_text(const char *text)
{
	struct reply *reply;
	size_t used;

	ck_assert_int_eq(parse(text, strlen(text), &used, &reply), REPLY_COMPLETE);
	ck_assert_uint_eq(used, strlen(text));
	return reply;
}

static enum reply_status status_of(const char *data, size_t length)
{
	struct reply *reply;
	size_t used;
	enum reply_status status = parse(data, length, &used, &reply);

	reply_unref(&reply);
	return status;
}

/* What goes to the MTA. free() it. */
static char *written(const struct reply *reply)
{
	struct evbuffer *out = evbuffer_new();
	char *text;

	reply_write(reply, out);
	text = mem_strndup((const char *)evbuffer_pullup(out, -1), evbuffer_get_length(out));
	evbuffer_free(out);
	return text;
}

static const struct {
	const char *data;
	int code;
	const char *enhanced, *text;
} good[] = {
	{"250 Ok\r\n", 250, "", "Ok"},
	{"250\r\n", 250, "", ""},
	{"250\n", 250, "", ""},
	{"250 \r\n", 250, "", ""},
	{"250 Ok\n", 250, "", "Ok"},
	{"354 go\r\n", 354, "", "go"},
	{"599 x\r\n", 599, "", "x"},
	{"250 2.0.0 Ok: queued as 77\r\n", 250, "2.0.0", "Ok: queued as 77"},
	{"250 2.0.0\r\n", 250, "2.0.0", ""},
	{"450 5.123.456  two\r\n", 450, "5.123.456", " two"},
	{"550 5.1.1.\r\n", 550, "", "5.1.1."},
	{"550 5.1.1234 x\r\n", 550, "", "5.1.1234 x"},
	{"550 5.1. x\r\n", 550, "", "5.1. x"},
	{"550 5..1 x\r\n", 550, "", "5..1 x"},
	{"550 5.1 x\r\n", 550, "", "5.1 x"},
	{"550 55.1.1 x\r\n", 550, "", "55.1.1 x"},
	{"220 3.4.1 server\r\n", 220, "", "3.4.1 server"},
	{"220 1.2.3.4 server\r\n", 220, "", "1.2.3.4 server"},
	{"550-5.7.1 a\r\n550 5.7.1 b\r\n", 550, "5.7.1", "a\nb"},
	{"550-5.7.1\r\n550 5.7.1\r\n", 550, "5.7.1", "\n"},
	{"550-a\r\n550 5.7.1 b\r\n", 550, "5.7.1", "a\nb"},
	{"550-5.7.1 a\r\n550 5.7.2 b\r\n", 550, "5.7.1", "a\n5.7.2 b"},
	{"250-\r\n250\r\n", 250, "", "\n"},
	{"250-a\n250-b\r\n250 c\n", 250, "", "a\nb\nc"},
	{"250 a\tb\x1b[31m\x7f\r\n", 250, "", "a?b?[31m?"},
	{"250 a\rb\r\r\n", 250, "", "a?b?"},
	{"250 \xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80\r\n", 250, "", "\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80"},
	{"250 \xc3 \xff\xc0\xaf \xed\xa0\x80 \xc2\x9b\r\n", 250, "", "? ??? ??? ?"},
	{"250 \xf4\x90\x80\x80\xe2\x82\r\n", 250, "", "??????"},
	{"250 \xe0\x80\x8a \xf0\x80\x80\x8a\r\n", 250, "", "??? ????"},
};

START_TEST(a_reply_is_read)
{
	struct reply *reply = parse_text(good[_i].data);

	ck_assert_int_eq(reply->code, good[_i].code);
	ck_assert_str_eq(reply->enhanced, good[_i].enhanced);
	ck_assert_str_eq(reply->text, good[_i].text);
	ck_assert(reply_is_remote(reply));
	reply_unref(&reply);
	ck_assert_ptr_null(reply);
}
END_TEST

START_TEST(a_part_of_a_reply_is_incomplete)
{
	for (size_t length = 0; length < strlen(good[_i].data); length++)
		ck_assert_int_eq(status_of(good[_i].data, length), REPLY_INCOMPLETE);
}
END_TEST

START_TEST(nothing_is_incomplete)
{
	struct reply *reply;
	const char *why;
	size_t used;

	ck_assert_int_eq(reply_parse(NULL, 0, &used, &reply, &why), REPLY_INCOMPLETE);
	ck_assert_uint_eq(used, 0);
	ck_assert_ptr_null(reply);
}
END_TEST

START_TEST(what_follows_a_reply_is_left_alone)
{
	static const char data[] = "250-a\r\n250 b\r\n\0garbage";
	struct reply *reply;
	size_t used;

	ck_assert_int_eq(parse(data, sizeof(data) - 1, &used, &reply), REPLY_COMPLETE);
	ck_assert_uint_eq(used, strlen("250-a\r\n250 b\r\n"));
	ck_assert_str_eq(reply->text, "a\nb");
	reply_unref(&reply);
}
END_TEST

/* Each is invalid at once: no line end is waited for. */
static const struct {
	const char *data;
	size_t length;
} bad[] = {
	{"H", 1},
	{"\r\n", 2},
	{"\n", 1},
	{" ", 1},
	{"\0", 1},
	{"1", 1},
	{"6", 1},
	{"0", 1},
	{"-25", 3},
	{"2x", 2},
	{"25\r\n", 4},
	{"25\n", 3},
	{"2 50", 4},
	{"250x", 4},
	{"2500", 4},
	{"250\t", 4},
	{"250\0", 4},
	{"250\rx", 5},
	{"250\r\r\n", 6},
	{"250 a\0", 6},
	{"250-a\0b\r\n250 c\r\n", 16},
	{"250-a\r\n251", 10},
	{"250-a\r\n4", 8},
	{"250-a\r\nx", 8},
	{"250-a\r\n\r", 8},
	{"250-a\r\n.", 8},
};

START_TEST(what_cannot_become_a_reply_is_invalid_at_once)
{
	ck_assert_int_eq(status_of(bad[_i].data, bad[_i].length), REPLY_INVALID);
}
END_TEST

START_TEST(a_line_may_be_as_long_as_the_limit_and_no_longer)
{
	char line[REPLY_LINE_MAX + 1];
	struct reply *reply;

	memset(line, 'x', sizeof(line));
	memcpy(line, "250 ", 4);
	ck_assert_int_eq(status_of(line, REPLY_LINE_MAX - 1), REPLY_INCOMPLETE);
	ck_assert_int_eq(status_of(line, REPLY_LINE_MAX), REPLY_INVALID);
	memcpy(line + REPLY_LINE_MAX - 2, "\r\n", 3);
	reply = parse_text(line);
	ck_assert_uint_eq(strlen(reply->text), REPLY_LINE_MAX - 6);
	reply_unref(&reply);
}
END_TEST

START_TEST(a_reply_may_have_as_many_lines_as_the_limit_and_no_more)
{
	char data[(REPLY_LINES_MAX + 1) * 6 + 1] = "";
	struct reply *reply;

	for (int i = 0; i < REPLY_LINES_MAX - 1; i++)
		strcat(data, "250-\r\n");
	ck_assert_int_eq(status_of(data, strlen(data)), REPLY_INCOMPLETE);
	strcat(data, "250 \r\n");
	reply = parse_text(data);
	reply_unref(&reply);
	data[strlen(data) - 3] = '-';
	ck_assert_int_eq(status_of(data, strlen(data)), REPLY_INVALID);
}
END_TEST

START_TEST(text_is_cut_at_its_limit_between_characters)
{
	char data[4 * 2000 + 1] = "";
	struct reply *reply;

	for (int line = 0; line < 4; line++) {
		strcat(data, line < 3 ? "250-x" : "250 x");
		for (int i = 0; i < 800; i++)
			strcat(data, "\xc3\xa9");
		strcat(data, "\r\n");
	}
	reply = parse_text(data);
	ck_assert_uint_le(strlen(reply->text), REPLY_TEXT_MAX);
	ck_assert_uint_gt(strlen(reply->text), REPLY_TEXT_MAX - 2);
	ck_assert_str_eq(reply->text + strlen(reply->text) - 2, "\xc3\xa9");
	reply_unref(&reply);
}
END_TEST

START_TEST(a_local_reply_says_what_it_stands_for)
{
	struct reply *reply = reply_local(LOCAL_AMBIGUOUS, 451, "4.4.2", "lost %s\nafter\x01 data", "mx");
	char dsn[12];

	ck_assert_int_eq(reply->code, 451);
	ck_assert_int_eq(reply->local, LOCAL_AMBIGUOUS);
	ck_assert(!reply_is_remote(reply));
	ck_assert_str_eq(reply->enhanced, "4.4.2");
	ck_assert_str_eq(reply->text, "lost mx\nafter? data");
	ck_assert_str_eq(reply_dsn(reply, dsn), "4.4.2");
	reply_unref(&reply);
}
END_TEST

START_TEST(a_reply_lives_until_its_last_reference)
{
	struct reply *reply = parse_text("250 Ok\r\n"), *second = reply_ref(reply);

	reply_unref(&reply);
	ck_assert_str_eq(second->text, "Ok");
	reply_unref(&second);
	reply_unref(&second);
}
END_TEST

START_TEST(the_first_digit_decides_what_became_of_a_recipient)
{
	static const struct {
		const char *data;
		enum status status;
	} cases[] = {
		{"250 x\r\n", STATUS_SENT},
		{"354 x\r\n", STATUS_DEFERRED},
		{"451 x\r\n", STATUS_DEFERRED},
		{"550 x\r\n", STATUS_BOUNCED},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct reply *reply = parse_text(cases[i].data);

		ck_assert_int_eq(reply_status_of(reply), cases[i].status);
		reply_unref(&reply);
	}
}
END_TEST

/* data, enhanced code passed on, what the MTA reads, what the log says */
static const struct {
	const char *data, *dsn, *written, *line;
} passed_on[] = {
	{"250 2.0.0 Ok: queued as 77\r\n", "2.0.0", "250 2.0.0 Ok: queued as 77\r\n", "250 2.0.0 Ok: queued as 77"},
	{"250 Ok\r\n", "2.0.0", "250 2.0.0 Ok\r\n", "250 Ok"},
	{"250\r\n", "2.0.0", "250 2.0.0 Ok\r\n", "250"},
	{"451\r\n", "4.0.0", "451 4.0.0 Temporary failure, no reason given\r\n", "451"},
	{"550 5.1.1\r\n", "5.1.1", "550 5.1.1 Refused, no reason given\r\n", "550 5.1.1"},
	{"354\r\n", "3.0.0", "354 Go on\r\n", "354"},
	{"550 4.1.1 no\r\n", "5.0.0", "550 5.0.0 no\r\n", "550 4.1.1 no"},
	{"550-5.7.1 a\r\n550 5.7.1 b\r\n", "5.7.1", "550-5.7.1 a\r\n550 5.7.1 b\r\n", "550 5.7.1 a b"},
	{"550-5.7.1 a\r\n550-\r\n550 5.7.1 \r\n", "5.7.1", "550-5.7.1 a\r\n550-5.7.1\r\n550 5.7.1\r\n",
	 "550 5.7.1 a  "},
};

START_TEST(a_reply_is_passed_on)
{
	struct reply *reply = parse_text(passed_on[_i].data);
	char *text = written(reply), dsn[12], line[128];

	ck_assert_str_eq(reply_dsn(reply, dsn), passed_on[_i].dsn);
	ck_assert_str_eq(text, passed_on[_i].written);
	ck_assert_str_eq(reply_line(reply, line, sizeof(line)), passed_on[_i].line);
	free(text);
	reply_unref(&reply);
}
END_TEST

/* Every line that is written has the code and is short enough; the text between is all there. */
START_TEST(long_lines_are_split_when_written)
{
	static const char *const units[] = {"x", "word ", "\xe2\x82\xac", " ", "a\n"};
	char data[REPLY_TEXT_MAX + 1] = "", *text, *again;
	struct reply *reply, *back;

	while (strlen(data) < 1800)
		strcat(data, units[_i]);
	reply = reply_local(LOCAL_INGEST, 550, "5.123.456", "%s", data);
	text = written(reply);
	for (char *line = text; *line != '\0'; line = strstr(line, "\r\n") + 2) {
		ck_assert_uint_le(strcspn(line, "\r"), 510);
		ck_assert_int_eq(strncmp(line, "550", 3), 0);
	}
	if (strchr(data, '\n') == NULL) {
		back = parse_text(text);
		again = mem_alloc(strlen(back->text) + 1);
		for (const char *at = back->text; *at != '\0'; at++)
			if (*at != '\n' && *at != ' ')
				strncat(again, at, 1);
		for (const char *at = reply->text, *kept = again; *at != '\0'; at++)
			if (*at != ' ')
				ck_assert_int_eq(*at, *kept++);
		free(again);
		reply_unref(&back);
	}
	free(text);
	reply_unref(&reply);
}
END_TEST

START_TEST(a_log_line_is_cut_between_characters)
{
	struct reply *reply = parse_text("250 2.0.0 \xe2\x82\xac\xe2\x82\xac\r\n");
	char line[32];

	ck_assert_str_eq(reply_line(reply, line, 17), "250 2.0.0 \xe2\x82\xac\xe2\x82\xac");
	ck_assert_str_eq(reply_line(reply, line, 16), "250 2.0.0 \xe2\x82\xac");
	ck_assert_str_eq(reply_line(reply, line, 14), "250 2.0.0 \xe2\x82\xac");
	ck_assert_str_eq(reply_line(reply, line, 13), "250 2.0.0 ");
	ck_assert_str_eq(reply_line(reply, line, 1), "");
	reply_unref(&reply);
}
END_TEST

START_TEST(every_word_of_the_vocabulary_has_a_name)
{
	for (int i = 0; i < LOCAL_FAILURES; i++)
		ck_assert_ptr_nonnull(local_failure_names[i]);
	for (int i = 0; i < STAGE_COUNT; i++)
		ck_assert_ptr_nonnull(stage_names[i]);
	for (int i = 0; i < STATUS_COUNT; i++)
		ck_assert_ptr_nonnull(status_names[i]);
}
END_TEST

#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))

Suite *reply_suite(void)
{
	Suite *suite = suite_create("reply");
	TCase *tcase = tcase_create("reply");

	tcase_add_loop_test(tcase, a_reply_is_read, 0, COUNT(good));
	tcase_add_loop_test(tcase, a_part_of_a_reply_is_incomplete, 0, COUNT(good));
	tcase_add_test(tcase, nothing_is_incomplete);
	tcase_add_test(tcase, what_follows_a_reply_is_left_alone);
	tcase_add_loop_test(tcase, what_cannot_become_a_reply_is_invalid_at_once, 0, COUNT(bad));
	tcase_add_test(tcase, a_line_may_be_as_long_as_the_limit_and_no_longer);
	tcase_add_test(tcase, a_reply_may_have_as_many_lines_as_the_limit_and_no_more);
	tcase_add_test(tcase, text_is_cut_at_its_limit_between_characters);
	tcase_add_test(tcase, a_local_reply_says_what_it_stands_for);
	tcase_add_test(tcase, a_reply_lives_until_its_last_reference);
	tcase_add_test(tcase, the_first_digit_decides_what_became_of_a_recipient);
	tcase_add_loop_test(tcase, a_reply_is_passed_on, 0, COUNT(passed_on));
	tcase_add_loop_test(tcase, long_lines_are_split_when_written, 0, 5);
	tcase_add_test(tcase, a_log_line_is_cut_between_characters);
	tcase_add_test(tcase, every_word_of_the_vocabulary_has_a_name);
	suite_add_tcase(suite, tcase);
	return suite;
}
