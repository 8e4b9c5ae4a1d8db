/* Unit tests of ingest/message: what the octets between 354 and the end of data make of a message. */
#include <config.h>

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/spool.h"
#include "check_ingest.h"
#include "harness.h"
#include "ingest/message.h"
#include "smtp/envelope.h"
#include "smtp/reply.h"

#define MINUTES(n) ((n)*SECONDS(60))

static struct message *message;
static struct reply *refusal;

static void start(void)
{
	harness_start();
	message = NULL;
	refusal = NULL;
}

static void stop(void)
{
	reply_unref(&refusal);
	if (message != NULL)
		message_unref(&message);
	harness_stop();
}

/* Takes in a message in pieces of `piece` octets, with its end of data. */
static void take_pieces(const char *octets, size_t length, uint64_t limit, size_t piece)
{
	message = message_create(ingest.conf);
	strcpy(message->queue_id, "IDENT");
	message_add_recipient(message, mem_strdup("b@example.com"), mem_strdup(""), false);
	struct incoming *incoming = incoming_create(message, &ingest.key, 0, limit, clock_wall());
	for (size_t at = 0; at < length; at += piece) {
		size_t given = length - at < piece ? length - at : piece;
		ck_assert(!incoming_ended(incoming));
		ck_assert_uint_eq(incoming_feed(incoming, octets + at, given), given);
	}
	ck_assert(incoming_ended(incoming));
	refusal = incoming_finish(incoming);
	incoming_free(incoming);
}

static void take(const char *text)
{
	take_pieces(text, strlen(text), 0, 10000);
}

/* The header line of a tag as the milter writes it. */
static const char *tag_line(const char *queue_id, const char *routes, int64_t time, const struct tag_key *key)
{
	static char line[TAG_VALUE_MAX + 64];
	char value[TAG_VALUE_MAX];
	struct tag tag = {.time = time};

	snprintf(tag.queue_id, sizeof(tag.queue_id), "%s", queue_id);
	snprintf(tag.routes, sizeof(tag.routes), "%s", routes);
	ck_assert(tag_format(&tag, key, value));
	snprintf(line, sizeof(line), "%s: %s\r\n", TAG_HEADER, value);
	return line;
}

#define RECEIVED \
	"Received: from x (x [192.0.2.1])\r\n\tby mx.example (Postfix) with ESMTP id 4fXyZ1\r\n\tfor <b@x>; now\r\n"

/* A tag for 4fXyZ1 that names the routes "staff" and "default", written a minute ago. */
static const char *our_tag(void)
{
	return tag_line("4fXyZ1", "staff,default", clock_wall() - MINUTES(1), &ingest.key);
}

START_TEST(a_tag_gives_routes_queue_id_and_time)
{
	char text[4096];

	snprintf(text, sizeof(text), "%s%sSubject: x\r\n\r\ntext\r\n.\r\n", our_tag(), RECEIVED);
	take_pieces(text, strlen(text), 0, _i == 0 ? 10000 : (size_t)_i);
	ck_assert_ptr_null(refusal);
	ck_assert_uint_eq(message->routes, 1U << 0 | 1U << 2);
	ck_assert_str_eq(message->queue_id, "4fXyZ1");
	ck_assert_int_eq(message->queue_time, MINUTES(1));
	ck_assert_str_eq(body_of(message), RECEIVED "Subject: x\r\n\r\ntext\r\n");
}
END_TEST

START_TEST(a_route_that_is_gone_is_nobodys)
{
	char text[4096];

	snprintf(text, sizeof(text), "%s%s\r\n.\r\n",
		 tag_line("4fXyZ1", "gone,lists,staf,stafff", clock_wall(), &ingest.key), RECEIVED);
	take(text);
	ck_assert_uint_eq(message->routes, 1U << 1);
	ck_assert_int_eq(message->queue_time, 0);
}
END_TEST

START_TEST(a_tag_from_the_future_gives_no_time)
{
	char text[4096];

	snprintf(text, sizeof(text), "%s%s\r\n.\r\n",
		 tag_line("4fXyZ1", "staff", clock_wall() + MINUTES(1), &ingest.key), RECEIVED);
	take(text);
	ck_assert_uint_eq(message->routes, 1U << 0);
	ck_assert_int_eq(message->queue_time, -1);
}
END_TEST

/* Each is stripped and decides nothing. */
START_TEST(a_foreign_tag_is_stripped_and_decides_nothing)
{
	struct tag_key other = {{0}};
	char text[4096];

	switch (_i) {
	case 0: /* made up */
		snprintf(text, sizeof(text), "X-Relaypool: staff\r\n%s", RECEIVED);
		break;
	case 1: /* another host's */
		snprintf(text, sizeof(text), "%s%s", tag_line("4fXyZ1", "staff", clock_wall(), &other), RECEIVED);
		break;
	case 2: /* copied from another message */
		snprintf(text, sizeof(text), "%s%s", tag_line("4fXyZ2", "staff", clock_wall(), &ingest.key), RECEIVED);
		break;
	case 3: /* carried in by a forwarded message */
		snprintf(text, sizeof(text), "%s%s", RECEIVED, our_tag());
		break;
	case 4: /* two of them */
		snprintf(text, sizeof(text), "%s%s", our_tag(), our_tag());
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s", RECEIVED);
		break;
	}
	strcat(text, "Subject: x\r\n\r\ntext\r\n.\r\n");
	take(text);
	ck_assert_ptr_null(refusal);
	ck_assert_uint_eq(message->routes, 0);
	ck_assert_int_eq(message->queue_time, -1);
	ck_assert_str_eq(message->queue_id, "4fXyZ1");
	ck_assert_str_eq(body_of(message), RECEIVED "Subject: x\r\n\r\ntext\r\n");
}
END_TEST

/* postsuper -r puts a Received of the MTA's own user above; root's submissions say the same of uid 0. */
START_TEST(a_requeued_tag_counts_for_an_allowed_user_but_root)
{
	static const uid_t uids[] = {0, 106, 107};
	uid_t allowed[] = {0, 106};
	char text[4096];

	uid_t *before = ingest.conf->allow_users;
	size_t count = ingest.conf->allow_user_count;
	ingest.conf->allow_users = allowed;
	ingest.conf->allow_user_count = 2;
	snprintf(text, sizeof(text),
		 "Received: by mx.example (Postfix, from userid %u)\r\n\tid NEW1; now\r\n%s%s\r\n.\r\n", uids[_i],
		 our_tag(), RECEIVED);
	take(text);
	ck_assert_uint_eq(message->routes, uids[_i] == 106 ? 5U : 0U);
	ck_assert_ptr_null(strstr(body_of(message), TAG_HEADER));
	ingest.conf->allow_users = before;
	ingest.conf->allow_user_count = count;
}
END_TEST

START_TEST(without_a_tag_the_topmost_received_gives_the_queue_id)
{
	take(RECEIVED "\r\n.\r\n");
	ck_assert_str_eq(message->queue_id, "4fXyZ1");
	ck_assert_int_eq(message->queue_time, -1);
}
END_TEST

START_TEST(without_a_received_the_queue_id_stays)
{
	take("Subject: x\r\n\r\n.\r\n");
	ck_assert_str_eq(message->queue_id, "IDENT");
}
END_TEST

START_TEST(eight_bit_octets_are_noticed)
{
	static const struct {
		const char *text;
		bool has, header;
	} cases[] = {
		{"Subject: x\r\n\r\nx\r\n.\r\n", false, false},
		{"Subject: x\r\n\r\n\xc3\xa4\r\n.\r\n", true, false},
		{"Subject: \xc3\xa4\r\n\r\nx\r\n.\r\n", true, true},
	};

	take(cases[_i].text);
	ck_assert(message->has_8bit == cases[_i].has);
	ck_assert(message->header_8bit == cases[_i].header);
}
END_TEST

START_TEST(the_tag_does_not_count_towards_the_size)
{
	char text[4096];
	size_t size = strlen(RECEIVED "\r\n");

	snprintf(text, sizeof(text), "%s%s\r\n.\r\n", our_tag(), RECEIVED);
	take_pieces(text, strlen(text), size, 10000);
	ck_assert_ptr_null(refusal);
	message_unref(&message);
	take_pieces(text, strlen(text), size - 1, 10000);
	ck_assert_ptr_nonnull(refusal);
	ck_assert_int_eq(refusal->code, 552);
	ck_assert_ptr_null(message->body);
}
END_TEST

/* The MTA's queue id is known even then, for the log. */
START_TEST(a_nul_anywhere_refuses_the_message)
{
	char text[] = RECEIVED "Subject: x\r\n\r\ntext\r\n.\r\n";

	text[_i == 0 ? sizeof(text) - 7 : sizeof(RECEIVED)] = '\0';
	take_pieces(text, sizeof(text) - 1, 0, 1);
	ck_assert_ptr_nonnull(refusal);
	ck_assert_int_eq(refusal->code, 550);
	ck_assert_str_eq(refusal->enhanced, "5.6.0");
	ck_assert_ptr_null(message->body);
	ck_assert_str_eq(message->queue_id, "4fXyZ1");
}
END_TEST

START_TEST(a_refused_message_holds_no_memory_while_the_rest_is_read)
{
	static char line[1000];

	message = message_create(ingest.conf);
	struct incoming *incoming = incoming_create(message, &ingest.key, 5000, 2000, clock_wall());
	memset(line, 'x', sizeof(line));
	memcpy(line, "\r\n", 2);
	for (int i = 0; i < 3; i++)
		incoming_feed(incoming, line, sizeof(line));
	ck_assert_uint_eq(spool_memory(), 0);
	incoming_feed(incoming, line, sizeof(line));
	ck_assert(!incoming_ended(incoming));
	incoming_feed(incoming, "\r\n.\r\n", 5);
	ck_assert(incoming_ended(incoming));
	refusal = incoming_finish(incoming);
	ck_assert_int_eq(refusal->code, 552);
	incoming_free(incoming);
}
END_TEST

START_TEST(what_follows_the_end_of_data_is_not_used)
{
	message = message_create(ingest.conf);
	struct incoming *incoming = incoming_create(message, &ingest.key, 0, 0, clock_wall());
	ck_assert_uint_eq(incoming_feed(incoming, "\r\nx\r\n.\r\nQUIT\r\n", 14), 8);
	ck_assert(incoming_ended(incoming));
	ck_assert_ptr_null(incoming_finish(incoming));
	incoming_free(incoming);
	ck_assert_str_eq(body_of(message), "\r\nx\r\n");
}
END_TEST

START_TEST(an_empty_message_is_one)
{
	take(".\r\n");
	ck_assert_ptr_null(refusal);
	ck_assert_str_eq(body_of(message), "");
}
END_TEST

Suite *message_suite(void)
{
	Suite *suite = suite_create("message");
	TCase *tcase = tcase_create("message");
	tcase_add_checked_fixture(tcase, start, stop);
	tcase_add_loop_test(tcase, a_tag_gives_routes_queue_id_and_time, 0, 4);
	tcase_add_test(tcase, a_route_that_is_gone_is_nobodys);
	tcase_add_test(tcase, a_tag_from_the_future_gives_no_time);
	tcase_add_loop_test(tcase, a_foreign_tag_is_stripped_and_decides_nothing, 0, 5);
	tcase_add_loop_test(tcase, a_requeued_tag_counts_for_an_allowed_user_but_root, 0, 3);
	tcase_add_test(tcase, without_a_tag_the_topmost_received_gives_the_queue_id);
	tcase_add_test(tcase, without_a_received_the_queue_id_stays);
	tcase_add_loop_test(tcase, eight_bit_octets_are_noticed, 0, 3);
	tcase_add_test(tcase, the_tag_does_not_count_towards_the_size);
	tcase_add_loop_test(tcase, a_nul_anywhere_refuses_the_message, 0, 2);
	tcase_add_test(tcase, a_refused_message_holds_no_memory_while_the_rest_is_read);
	tcase_add_test(tcase, what_follows_the_end_of_data_is_not_used);
	tcase_add_test(tcase, an_empty_message_is_one);
	suite_add_tcase(suite, tcase);
	return suite;
}
