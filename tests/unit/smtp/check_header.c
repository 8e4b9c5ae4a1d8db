/*
 * The header filter: every tag goes, nothing else changes, and only the MTA's own fresh tag counts.
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/mem.h"
#include "check_smtp.h"
#include "smtp/header.h"

static const uid_t requeue_users[] = {106, 4294967294};

/* A message on its way through the filter. */
struct passage {
	struct header_filter *filter;
	char *text;
	size_t length, size;
};

static struct tag_key key = {"0123456789abcdef0123456789abcde"};

static void collect(const char *data, size_t length, void *arg)
{
	struct passage *passage = arg;

	if (length > passage->size - passage->length)
		ck_abort_msg("more came out than went in");
	memcpy(passage->text + passage->length, data, length);
	passage->length += length;
}

/* Feeds a message in pieces of `piece` octets, the first of `first`. */
static struct passage pass(const char *message, size_t length, size_t first, size_t piece)
{
	struct passage *passage = mem_alloc(sizeof(*passage)), done;
	size_t at = 0, next = first;

	passage->text = mem_alloc(length + 1);
	passage->size = length;
	passage->filter = header_filter_create(&key, requeue_users, 2, collect, passage);
	while (at < length) {
		char *exact;

		if (next > length - at)
			next = length - at;
		exact = mem_alloc(next > 0 ? next : 1);
		memcpy(exact, message + at, next);
		header_filter_feed(passage->filter, exact, next);
		free(exact);
		at += next;
		next = piece;
	}
	header_filter_end(passage->filter);
	done = *passage;
	free(passage);
	return done;
}

static struct passage pass_whole(const char *message)
{
	return pass(message, strlen(message), strlen(message), 1);
}

static void finish(struct passage *passage)
{
	header_filter_free(passage->filter);
	free(passage->text);
}

/* A valid tag for a queue id, as a field. The age in seconds. */
static char *tag_of_age(const char *queue_id, int64_t age)
{
	struct tag tag = {.time = clock_wall() - age * USEC_PER_SEC, .routes = "default,bulk"};
	char value[TAG_VALUE_MAX];

	strcpy(tag.queue_id, queue_id);
	ck_assert(tag_format(&tag, &key, value));
	return mem_printf("X-Relaypool: %s\r\n", value);
}

/* The message with {ID} replaced by a valid tag for that id. free() it. */
static char *tagged(const char *pattern)
{
	char *message = mem_strdup(pattern), *open;

	while ((open = strchr(message, '{')) != NULL) {
		char *close = strchr(open, '}'), *id = mem_strndup(open + 1, (size_t)(close - open - 1));
		char *tag = tag_of_age(id, 10), *whole;

		*open = '\0';
		whole = mem_printf("%s%s%s", message, tag, close + 1);
		free(tag);
		free(id);
		free(message);
		message = whole;
	}
	return message;
}

/* What must be left, found by looking at whole lines. */
static char *without_tags(const char *message)
{
	char *left = mem_alloc(strlen(message) + 1);
	bool dropping = false, header = true;

	while (*message != '\0') {
		const char *newline = strchr(message, '\n');
		size_t length = newline != NULL ? (size_t)(newline - message) + 1 : strlen(message);
		size_t name = strlen("X-Relaypool");

		header = header && strncmp(message, "\r\n", 2) != 0;
		if (header && message[0] != ' ' && message[0] != '\t') {
			dropping = strncasecmp(message, "X-Relaypool", name) == 0;
			if (dropping)
				dropping = message[name + strspn(message + name, " \t")] == ':';
		}
		if (!header || !dropping)
			strncat(left, message, length);
		message += length;
	}
	return left;
}

#define SMTPD(id)                                                                                                     \
	"Received: from client.example (client.example [192.0.2.1])\r\n\tby mta.example (Postfix) with ESMTPS id " id \
	"\r\n\tfor <bob@example.com>; Mon, 23 Nov 2026 10:00:00 +0000 (UTC)\r\n"
#define REQUEUED(id, uid) "Received: by mta.example (Postfix, from userid " uid ")\r\n\tid " id "; Mon, 23 Nov 2026\r\n"
#define REST "From: a@b\r\nSubject: x\r\n\r\nbody\r\n"

/* Which tag of a message counts: the id it has, or NULL for none. */
static const struct {
	const char *message, *counts;
	unsigned stripped;
} cases[] = {
	{"{4ABC}" SMTPD("4ABC") REST, "4ABC", 1},
	{"Return-Path: <a@b>\r\n{4ABC}DKIM-Signature: x;\r\n\ty\r\n" SMTPD("4ABC") REST, "4ABC", 1},
	{"{4ABC}" REQUEUED("4ABC", "1000") REST, "4ABC", 1},
	{"{4ABC}" REQUEUED("4ABC", "0") SMTPD("4OLD") REST, "4ABC", 1},
	{"{4ABC}" SMTPD("4ABC") "{4ABC}" SMTPD("4OLD") "{4OLD}" REST, "4ABC", 3},
	/* postsuper -r */
	{REQUEUED("4NEW", "106") "{4ABC}" SMTPD("4ABC") REST, "4ABC", 1},
	{REQUEUED("4NEW", "4294967294") "{4ABC}" SMTPD("4ABC") REST, "4ABC", 1},
	{REQUEUED("4NEW", "106") "{4ABC}X-Other: y\r\n" SMTPD("4ABC") "{4ABC}" REST, "4ABC", 2},
	/* not the queue id of the Received below */
	{"{4ABC}" SMTPD("4ABD") REST, NULL, 1},
	{"{4abc}" SMTPD("4ABC") REST, NULL, 1},
	{"{4OLD}" SMTPD("4ABC") SMTPD("4OLD") REST, NULL, 1},
	{"{4ABC}" REST, NULL, 1},
	{"{4ABC}Received: nonsense\r\n" REST, NULL, 1},
	{REQUEUED("4NEW", "106") "{4NEW}" SMTPD("4ABC") REST, NULL, 1},
	{REQUEUED("4NEW", "106") "{4ABC}" REST, NULL, 1},
	/* not the only one there */
	{"{4ABC}{4ABC}" SMTPD("4ABC") REST, NULL, 2},
	{"{4ABC}X-Relaypool: forged\r\n" SMTPD("4ABC") REST, NULL, 2},
	{"X-Relaypool: forged\r\n{4ABC}" SMTPD("4ABC") REST, NULL, 2},
	{"{4NEW}" REQUEUED("4NEW", "106") "{4ABC}" SMTPD("4ABC") REST, "4NEW", 2},
	{"X-Relaypool: x\r\n" REQUEUED("4NEW", "106") "{4ABC}" SMTPD("4ABC") REST, NULL, 2},
	{"{4NEW}{4NEW}" REQUEUED("4NEW", "106") "{4ABC}" SMTPD("4ABC") REST, NULL, 3},
	{REQUEUED("4NEW", "106") "{4ABC}{4ABC}" SMTPD("4ABC") REST, NULL, 2},
	{REQUEUED("4NEW", "106") "{4ABC}X-Other: y\r\nX-Relaypool: x\r\n" SMTPD("4ABC") REST, NULL, 2},
	/* below the topmost Received: forwarded, or brought by a client */
	{SMTPD("4NEW") "{4ABC}" SMTPD("4ABC") REST, NULL, 1},
	{SMTPD("4NEW") "Delivered-To: a@b\r\n{4NEW}" SMTPD("4ABC") REST, NULL, 1},
	{SMTPD("4NEW") REST, NULL, 0},
	{SMTPD("4NEW") "Subject: x\r\n{4NEW}\r\nbody\r\n", NULL, 1},
	{REQUEUED("4NEW", "1000") "{4ABC}" SMTPD("4ABC") REST, NULL, 1},
	{REQUEUED("4NEW", "0") "{4ABC}" SMTPD("4ABC") REST, NULL, 1},
	{REQUEUED("4NEW", "1060") "{4ABC}" SMTPD("4ABC") REST, NULL, 1},
	{REQUEUED("4NEW", "106") "X-Other: y\r\n{4ABC}" SMTPD("4ABC") REST, NULL, 1},
	{REQUEUED("4NEW", "106") SMTPD("4ABC") "{4ABC}" SMTPD("4ABC") REST, NULL, 1},
	{REQUEUED("4NEW", "106") REQUEUED("4MID", "106") "{4ABC}" SMTPD("4ABC") REST, NULL, 1},
	{"X-Other: y\r\n" REQUEUED("4NEW", "106") "{4ABC}" SMTPD("4ABC") REST, "4ABC", 1},
	/* a client's words in the topmost Received */
	{"Received: from x (x, from userid 106) by mta.example (Postfix) with ESMTP id 4NEW; date\r\n{4ABC}" SMTPD(
		 "4ABC") REST,
	 NULL, 1},
	{"Received: from x (x [192.0.2.1]) by mta.example (Postfix) (x, from userid 106) id 4NEW; date\r\n{4ABC}" SMTPD(
		 "4ABC") REST,
	 NULL, 1},
	/* in the body it is text */
	{SMTPD("4NEW") "\r\n{4NEW}" REST, NULL, 0},
	{"\r\n{4NEW}" SMTPD("4NEW") REST, NULL, 0},
	{"", NULL, 0},
};

START_TEST(the_tag_that_counts_is_found)
{
	char *message = tagged(cases[_i].message), *left = without_tags(message);
	struct passage passage = pass_whole(message);
	struct tag tag = {.queue_id = ""};
	bool found = header_filter_tag(passage.filter, &tag);

	ck_assert_msg(found == (cases[_i].counts != NULL), "%s", message);
	if (found) {
		ck_assert_str_eq(tag.queue_id, cases[_i].counts);
		ck_assert_str_eq(tag.routes, "default,bulk");
		ck_assert_int_eq(tag.time, clock_wall() - 10 * USEC_PER_SEC);
	}
	ck_assert_uint_eq(header_filter_stripped(passage.filter), cases[_i].stripped);
	ck_assert_str_eq(passage.text, left);
	finish(&passage);
	free(left);
	free(message);
}
END_TEST

/* Messages whose header blocks are odd; what is left is compared with without_tags(). */
static const char *const odd[] = {
	"X-Relaypool: a\r\n",
	"X-Relaypool: a",
	"X-Relaypool:",
	"X-Relaypool",
	"X-Relaypool \t : a\r\n\tb\r\n \r\n c\r\nSubject: x\r\n\r\n",
	"x-RELAYPOOL:a\r\nX-Relaypoo: b\r\nX-Relaypools: c\r\nX-Relaypool-Route: d\r\nX-Relaypool\r\nX-Relaypool e: "
	"f\r\n\r\n",
	"X-Relaypool\r\n : a\r\nReceived\r\n\r\n",
	"Subject: X-Relaypool: a\r\n X-Relaypool: b\r\nX-Relaypool: c\r\n X-Relaypool: d\r\n\tSubject: e\r\nTo: "
	"f\r\n\r\n",
	" X-Relaypool: a\r\n\tb\r\nX-Relaypool: c\r\n\r\nX-Relaypool: d\r\n",
	"no colon at all\r\nX-Relaypool: a\r\nFrom x\r\n\r\n",
	"\r\nX-Relaypool: a\r\n",
	"Subject: x\r\n\r\n\r\nX-Relaypool: a\r\n\r\n",
	"\rX-Relaypool: a\r\nb: c\r\n\r\n",
	": x\r\n:\r\n \r\nX-Relaypool : a\r\n\r\n",
	"Received \t: by x id 4\r\nX-Relaypool: a\r\nReceived: y",
	"Subject: x\r\n\r",
	"Subject: x\r",
	"Sub",
};

START_TEST(every_tag_goes_and_nothing_else_changes)
{
	size_t length = strlen(odd[_i]);
	char *left = without_tags(odd[_i]);

	for (size_t first = 0; first <= length; first++)
		for (size_t piece = 1; piece <= length; piece += length / 5 + 1) {
			struct passage passage = pass(odd[_i], length, first, piece);

			ck_assert_str_eq(passage.text, left);
			finish(&passage);
		}
	free(left);
}
END_TEST

START_TEST(pieces_make_no_difference)
{
	char *message = tagged(cases[_i].message), *left = without_tags(message);
	struct tag tag;

	for (size_t first = 0; first <= strlen(message); first++) {
		struct passage passage = pass(message, strlen(message), first, first % 3 == 0 ? 1 : 500);

		ck_assert_str_eq(passage.text, left);
		ck_assert_int_eq(header_filter_tag(passage.filter, &tag), cases[_i].counts != NULL);
		ck_assert_uint_eq(header_filter_stripped(passage.filter), cases[_i].stripped);
		finish(&passage);
	}
	free(left);
	free(message);
}
END_TEST

/* A Received value and the queue id it tells. */
static const struct {
	const char *value, *id;
} ids[] = {
	{"from cli.test (localhost [127.0.0.1])\r\n\tby mta.test (Postfix) with ESMTP id D59A9A900CD\r\n\tfor "
	 "<bob@example.com>; "
	 "date",
	 "D59A9A900CD"},
	{"by mta.test (Postfix, from userid 0)\r\n\tid 00081A91BEF; date", "00081A91BEF"},
	{"by mta.test (Postfix)\r\n\tid C4A8CA90041; date", "C4A8CA90041"},
	{"from cli.test (unknown [IPv6:2001:db8::1])\r\n\t(using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 "
	 "bits)\r\n"
	 "\t key-exchange X25519 server-signature RSA-PSS (2048 bits) server-digest SHA256)\r\n\t(Client CN \"id X "
	 "(\", "
	 "Issuer "
	 "\"by x id Y)\" (verified OK))\r\n\t(Authenticated sender: id 666)\r\n\tby mta.test (Postfix) with ESMTPSA id "
	 "4fXyZ1\r\n"
	 "\tfor <..>; date",
	 "4fXyZ1"},
	{"from h (h [192.0.2.1])\r\n\tby h.example (8.17.1/8.17.1) with ESMTP id 4AN1abc012345\r\n\t(version=TLSv1.3 "
	 "cipher=x "
	 "bits=256 verify=NO)\r\n\tfor <a@b>; date",
	 "4AN1abc012345"},
	{"(from root@localhost)\r\n\tby h.example (8.17.1/8.17.1/Submit) id 4AN1abc012345; date", "4AN1abc012345"},
	{"from x by y with UTF8SMTPS ID a-b_c.d", "a-b_c.d"},
	{"by y id (comment) 4A (comment)", "4A"},
	{"by y id 4A(comment)", "4A"},
	{"by y(c)with ESMTP id 4A", "4A"},
	/* words that clients choose */
	{"from id (id [192.0.2.1]) by mta (Postfix) with ESMTP id 4A; d", "4A"},
	{"from by (by id 1) by mta (Postfix) with ESMTP id 4A; d", "4A"},
	{"from x (by y id 1) by mta (Postfix) with ESMTP id 4A; d", "4A"},
	{"from x (a \\) by y id 1) by mta with SMTP id 4A; d", "4A"},
	{"by mta (a (nested id 1) id 2) id 4A; d", "4A"},
	{"by mta with \"x id 1\" for <id@x> id 4A", "4A"},
	{"by mta for <\"> id 1 \"@x> id 4A", "4A"},
	{"by id id 4A", "4A"},
	/* no id, or none that is one */
	{"by mta (Postfix) with ESMTP for <id@x>; date id 4A", ""},
	{"by mta (Postfix) with ESMTP; id 4A", ""},
	{"from x id 4A by mta", ""},
	{"id 4A", ""},
	{"by mta id", ""},
	{"by mta id ; date", ""},
	{"by mta id <4A@x>", ""},
	{"by mta id 4A@x", ""},
	{"by mta id 4A,5B", ""},
	{"by mta id \"4A\"", ""},
	{"by mta (unterminated id 4A", ""},
	{"by mta \"unterminated id 4A", ""},
	{"by mta <unterminated id 4A", ""},
	{"by mta id 4\xc3\xa9", ""},
	{"by mta id 123456789012345678901234567890123456789012345678901234567890123",
	 "123456789012345678901234567890123456789012345678901234567890123"},
	{"by mta id 1234567890123456789012345678901234567890123456789012345678901234", ""},
	{"by", ""},
	{"", ""},
	{"by mta id\\", ""},
	{"by mta (\\", ""},
};

START_TEST(the_queue_id_is_read_where_the_mta_writes_it)
{
	char *message = mem_printf("Subject: a\r\nReceived: %s\r\nReceived: by x id OTHER; d\r\n\r\n", ids[_i].value);
	struct passage passage = pass_whole(message);

	ck_assert_str_eq(header_filter_received_id(passage.filter), ids[_i].id);
	finish(&passage);
	free(message);
}
END_TEST

/* The comment behind the host, and whether the tag directly below counts then. */
static const struct {
	const char *comment;
	bool counts;
} userids[] = {
	{"Postfix, from userid 106", true},
	{"My (own) Mailer, from userid 106", true},
	{", from userid 106", true},
	{"Postfix, from userid 0106", true},
	{"Postfix, from userid 4294967402", false}, /* 106 modulo 2^32 */
	{"Postfix, from userid 00000000106", false},
	{"Postfix, from userid ", false},
	{"Postfix, from userid -106", false},
	{"Postfix, from userid 106 ", false},
	{"Postfix, from userid 106x", false},
	{"Postfix, from userid x106", false},
	{"from userid 106", false},
	{"106", false},
	{"", false},
};

START_TEST(a_requeue_is_known_by_the_user_that_the_mta_names)
{
	char *pattern = mem_printf("Received: by mta.example (%s)\r\n\tid 4NEW; d\r\n{4ABC}%s", userids[_i].comment,
				   SMTPD("4ABC") REST);
	char *message = tagged(pattern);
	struct passage passage = pass_whole(message);
	struct tag tag;

	ck_assert_int_eq(header_filter_tag(passage.filter, &tag), userids[_i].counts);
	ck_assert_str_eq(header_filter_received_id(passage.filter), "4NEW");
	finish(&passage);
	free(message);
	free(pattern);
}
END_TEST

START_TEST(a_tag_counts_for_thirty_days)
{
	static const struct {
		int64_t age;
		bool counts;
	} ages[] = {
		{0, true},         {30 * 86400 - 1, true}, {30 * 86400, false},
		{86400000, false}, {-3599, true},          {-3600, false},
	};

	for (size_t i = 0; i < sizeof(ages) / sizeof(ages[0]); i++) {
		char *field = tag_of_age("4ABC", ages[i].age), *message = mem_printf("%s%s", field, SMTPD("4ABC") REST);
		struct passage passage = pass_whole(message);
		struct tag tag;

		ck_assert_int_eq(header_filter_tag(passage.filter, &tag), ages[i].counts);
		finish(&passage);
		free(message);
		free(field);
	}
}
END_TEST

START_TEST(a_tag_with_another_key_counts_nothing)
{
	char *message = tagged("{4ABC}" SMTPD("4ABC") REST);
	struct passage passage;
	struct tag tag;

	key.octets[0] ^= 1;
	passage = pass_whole(message);
	key.octets[0] ^= 1;
	ck_assert(!header_filter_tag(passage.filter, &tag));
	finish(&passage);
	free(message);
}
END_TEST

START_TEST(nothing_counts_before_the_header_block_has_ended)
{
	char *message = tagged("{4ABC}" SMTPD("4ABC") "From: a@b\r\n\r\n");
	struct passage passage = {.text = mem_alloc(strlen(message) + 1), .size = strlen(message)};
	struct tag tag;

	passage.filter = header_filter_create(&key, NULL, 0, collect, &passage);
	header_filter_feed(passage.filter, message, strlen(message) - 1);
	ck_assert(!header_filter_tag(passage.filter, &tag));
	header_filter_feed(passage.filter, "\n", 1);
	ck_assert(header_filter_tag(passage.filter, &tag));
	header_filter_end(passage.filter);
	finish(&passage);
	free(message);
}
END_TEST

/* Fields of any length around the filter's bound: tags go, all else stays. */
START_TEST(long_fields_pass_and_long_tags_go)
{
	static const char *const fields[] = {"Subject: ",
					     "Received: by x id ",
					     "X-Relaypool: ",
					     "X-Relaypool ",
					     "X-Relaypools ",
					     "X-Relaypool: v=1; q=",
					     "\t"};
	static const size_t lengths[] = {900, 1500, 1600, 4070, 4080, 4090, 4096, 4097, 4110, 100000};
	static const char fill[] = {'x', ' '};

	for (size_t f = 0; f < sizeof(fields) / sizeof(fields[0]); f++)
		for (size_t l = 0; l < 2 * sizeof(lengths) / sizeof(lengths[0]); l++) {
			char *filler = mem_alloc(lengths[l / 2] + 1), *message, *left;
			struct passage passage;

			memset(filler, fill[l % 2], lengths[l / 2]);
			message = mem_printf("A: b\r\n%s%s:\r\n c\r\nD: e\r\n\r\nbody", fields[f], filler);
			left = without_tags(message);
			passage = pass(message, strlen(message), 7, 1000);
			ck_assert_str_eq(passage.text, left);
			ck_assert_str_eq(header_filter_received_id(passage.filter), "");
			finish(&passage);
			free(left);
			free(message);
			free(filler);
		}
}
END_TEST

/* What lies beyond the bound is not seen, so that nothing is believed of the part before it. */
START_TEST(a_field_that_was_cut_says_nothing)
{
	char *field = tag_of_age("4ABC", 10), *message;
	struct passage passage;
	struct tag tag;

	message = mem_printf("%.*s%4096sforged\r\n%s", (int)strlen(field) - 2, field, "", SMTPD("4ABC") REST);
	passage = pass_whole(message);
	ck_assert(!header_filter_tag(passage.filter, &tag));
	ck_assert_str_eq(header_filter_received_id(passage.filter), "4ABC");
	finish(&passage);
	free(message);
	/* The value is 4096 octets long up to "4A". */
	message = mem_printf("%sReceived: by mta%*sid 4ABC; d\r\n\r\n", field, 4096 - 12, "");
	passage = pass_whole(message);
	ck_assert_str_eq(header_filter_received_id(passage.filter), "");
	finish(&passage);
	free(message);
	free(field);
}
END_TEST

START_TEST(eight_bit_in_the_header_is_seen)
{
	static const struct {
		const char *message;
		bool seen;
	} messages[] = {
		{"Subject: x\r\n\r\n\xc3\xa9", false},
		{"Subject: \xc3\xa9\r\n\r\n", true},
		{"\xc3\xa9: x\r\n\r\n", true},
		{"A: b\r\n \xff", true},
		{"X\xff", true},
		{"X-Relaypool: \xff\r\nA: b\r\n\r\n", false},
	};

	for (size_t i = 0; i < sizeof(messages) / sizeof(messages[0]); i++) {
		struct passage passage = pass_whole(messages[i].message);

		ck_assert_int_eq(header_filter_8bit(passage.filter), messages[i].seen);
		finish(&passage);
	}
}
END_TEST

#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))

Suite *header_suite(void)
{
	Suite *suite = suite_create("header");
	TCase *tcase = tcase_create("header");

	tcase_set_timeout(tcase, 60);
	tcase_add_checked_fixture(tcase, clock_fake_start, clock_fake_stop);
	tcase_add_loop_test(tcase, the_tag_that_counts_is_found, 0, COUNT(cases));
	tcase_add_loop_test(tcase, every_tag_goes_and_nothing_else_changes, 0, COUNT(odd));
	tcase_add_loop_test(tcase, pieces_make_no_difference, 0, COUNT(cases));
	tcase_add_loop_test(tcase, the_queue_id_is_read_where_the_mta_writes_it, 0, COUNT(ids));
	tcase_add_loop_test(tcase, a_requeue_is_known_by_the_user_that_the_mta_names, 0, COUNT(userids));
	tcase_add_test(tcase, a_tag_counts_for_thirty_days);
	tcase_add_test(tcase, a_tag_with_another_key_counts_nothing);
	tcase_add_test(tcase, nothing_counts_before_the_header_block_has_ended);
	tcase_add_test(tcase, long_fields_pass_and_long_tags_go);
	tcase_add_test(tcase, a_field_that_was_cut_says_nothing);
	tcase_add_test(tcase, eight_bit_in_the_header_is_seen);
	suite_add_tcase(suite, tcase);
	return suite;
}
