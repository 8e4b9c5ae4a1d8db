/* The one predicate: which command may be written while others await their replies. */
#include <string.h>

#include "base/mem.h"
#include "check_relay.h"
#include "relay/pipeline.h"

static struct pipeline p;
static struct transaction *one, *two;

static void begin(void)
{
	pipeline_init(&p);
	one = a_transaction(2);
	two = a_transaction(1);
}

static void end(void)
{
	pipeline_clear(&p);
	end_transaction(one);
	end_transaction(two);
}

static void queue_group(struct transaction *t)
{
	pipeline_queue(&p, COMMAND_MAIL, t, 0, NULL);
	for (size_t i = 0; i < t->recipient_count; i++)
		pipeline_queue(&p, COMMAND_RCPT, t, i, NULL);
	pipeline_queue(&p, COMMAND_DATA, t, 0, NULL);
}

/* Sends all that may be sent; how many that were. */
static size_t send_all(void)
{
	struct command *command;
	size_t sent = 0;
	while ((command = pipeline_sendable(&p)) != NULL) {
		pipeline_sent(&p, command, 1);
		sent++;
	}
	return sent;
}

static void answer(enum command_kind expected)
{
	struct command *command = pipeline_awaited(&p);
	ck_assert_ptr_nonnull(command);
	ck_assert_int_eq(command->kind, expected);
	pipeline_drop(command);
}

START_TEST(lockstep_waits_for_every_reply)
{
	p.mode = MODE_LOCKSTEP;
	queue_group(one);
	for (int i = 0; i < 4; i++) {
		ck_assert_uint_eq(send_all(), 1);
		pipeline_drop(pipeline_awaited(&p));
	}
	ck_assert(pipeline_quiet(&p));
}
END_TEST

START_TEST(classic_sends_the_envelope_at_once)
{
	p.mode = MODE_CLASSIC;
	queue_group(one);
	ck_assert_uint_eq(send_all(), 4);
}
END_TEST

START_TEST(nothing_follows_data_before_its_reply)
{
	p.mode = MODE_OVERLAP;
	queue_group(one);
	ck_assert_uint_eq(send_all(), 4);
	pipeline_queue(&p, COMMAND_BODY, one, 0, NULL);
	queue_group(two);
	ck_assert_uint_eq(send_all(), 0);
	answer(COMMAND_MAIL);
	answer(COMMAND_RCPT);
	answer(COMMAND_RCPT);
	ck_assert_uint_eq(send_all(), 0);
	answer(COMMAND_DATA);
	ck_assert_ptr_nonnull(pipeline_sendable(&p));
	ck_assert_int_eq(pipeline_sendable(&p)->kind, COMMAND_BODY);
}
END_TEST

static size_t sent_behind_body(enum pipeline_mode mode, bool complete, bool plain)
{
	p.mode = mode;
	two->plain = plain;
	pipeline_queue(&p, COMMAND_BODY, one, 0, NULL);
	pipeline_sent(&p, pipeline_sendable(&p), complete ? 100 : UINT64_MAX);
	queue_group(two);
	return send_all();
}

START_TEST(overlap_sends_an_envelope_behind_a_complete_body)
{
	ck_assert_uint_eq(sent_behind_body(MODE_OVERLAP, true, false), 3);
}
END_TEST

START_TEST(overlap_waits_while_the_body_is_not_complete)
{
	ck_assert_uint_eq(sent_behind_body(MODE_OVERLAP, false, false), 0);
}
END_TEST

START_TEST(classic_waits_for_the_verdict)
{
	ck_assert_uint_eq(sent_behind_body(MODE_CLASSIC, true, false), 0);
}
END_TEST

START_TEST(plain_transaction_is_never_pipelined)
{
	ck_assert_uint_eq(sent_behind_body(MODE_OVERLAP, true, true), 0);
	answer(COMMAND_BODY);
	ck_assert_uint_eq(send_all(), 1);
}
END_TEST

START_TEST(rset_opens_a_group)
{
	p.mode = MODE_CLASSIC;
	pipeline_queue(&p, COMMAND_RSET, one, 0, NULL);
	queue_group(one);
	ck_assert_uint_eq(send_all(), 5);
}
END_TEST

/* MAIL, RCPT, RCPT, BDAT, mark; the octets of BDAT are complete at once. */
static void queue_chunked(struct transaction *t)
{
	pipeline_queue(&p, COMMAND_MAIL, t, 0, NULL);
	pipeline_queue(&p, COMMAND_RCPT, t, 0, NULL);
	pipeline_queue(&p, COMMAND_BDAT, t, 0, NULL);
	pipeline_queue(&p, COMMAND_MARK, t, 0, NULL);
}

START_TEST(deep_sends_whole_transactions)
{
	p.mode = MODE_DEEP;
	one->blind = two->blind = true;
	queue_chunked(one);
	queue_chunked(two);
	ck_assert_uint_eq(send_all(), 8);
}
END_TEST

START_TEST(a_body_that_is_not_blind_waits_for_its_recipients)
{
	p.mode = MODE_DEEP;
	queue_chunked(one);
	queue_chunked(two);
	ck_assert_uint_eq(send_all(), 2);
	answer(COMMAND_MAIL);
	ck_assert_uint_eq(send_all(), 0);
	answer(COMMAND_RCPT);
	ck_assert_uint_eq(send_all(), 4); /* BDAT and the mark, then MAIL and RCPT of the next */
}
END_TEST

START_TEST(nothing_goes_behind_an_incomplete_chunk)
{
	p.mode = MODE_DEEP;
	one->blind = true;
	queue_chunked(one);
	while (pipeline_sendable(&p)->kind != COMMAND_BDAT)
		pipeline_sent(&p, pipeline_sendable(&p), 1);
	struct command *chunk = pipeline_sendable(&p);
	pipeline_sent(&p, chunk, UINT64_MAX);
	ck_assert_ptr_null(pipeline_sendable(&p));
	chunk->end = 1;
	ck_assert_ptr_nonnull(pipeline_sendable(&p));
}
END_TEST

START_TEST(the_mode_is_what_was_announced_at_most)
{
	struct capabilities caps = {.bits = CAP_PIPELINING | CAP_CHUNKING | CAP_SIZE};
	ck_assert_int_eq(pipeline_mode_for(MODE_DEEP, &caps), MODE_DEEP);
	ck_assert_int_eq(pipeline_mode_for(MODE_CLASSIC, &caps), MODE_CLASSIC);
	caps.bits = CAP_PIPELINING | CAP_CHUNKING;
	ck_assert_int_eq(pipeline_mode_for(MODE_DEEP, &caps), MODE_OVERLAP);
	caps.bits = CAP_CHUNKING | CAP_SIZE;
	ck_assert_int_eq(pipeline_mode_for(MODE_DEEP, &caps), MODE_LOCKSTEP);
}
END_TEST

START_TEST(handshake_is_never_pipelined)
{
	p.mode = MODE_OVERLAP;
	pipeline_queue(&p, COMMAND_EHLO, NULL, 0, mem_strdup("EHLO x"));
	pipeline_queue(&p, COMMAND_AUTH, NULL, 0, mem_strdup("AUTH PLAIN AAA="));
	ck_assert_uint_eq(send_all(), 1);
}
END_TEST

START_TEST(what_is_not_sent_can_be_dropped)
{
	p.mode = MODE_LOCKSTEP;
	queue_group(one);
	queue_group(two);
	ck_assert_uint_eq(send_all(), 1);
	pipeline_drop_unsent(&p, one);
	answer(COMMAND_MAIL);
	ck_assert_ptr_eq(pipeline_sendable(&p)->transaction, two);
}
END_TEST

START_TEST(replies_that_commands_allow)
{
	static const int positive[COMMAND_KINDS] = {220, 250, 220, 235, 250, 250, 250, 354, 250, 250, 250, 250, 221};
	for (int kind = 0; kind < COMMAND_KINDS; kind++) {
		ck_assert(command_allows((enum command_kind)kind, positive[kind]));
		ck_assert(!command_allows((enum command_kind)kind, 299));
	}
	ck_assert(command_allows(COMMAND_AUTH, 334));
	ck_assert(command_allows(COMMAND_RCPT, 251));
	ck_assert(!command_allows(COMMAND_DATA, 250));
	ck_assert(!command_allows(COMMAND_BODY, 354));
}
END_TEST

Suite *pipeline_suite(void)
{
	Suite *suite = suite_create("pipeline");
	TCase *tests = tcase_create("pipeline");
	tcase_add_checked_fixture(tests, begin, end);
	tcase_add_test(tests, lockstep_waits_for_every_reply);
	tcase_add_test(tests, classic_sends_the_envelope_at_once);
	tcase_add_test(tests, nothing_follows_data_before_its_reply);
	tcase_add_test(tests, overlap_sends_an_envelope_behind_a_complete_body);
	tcase_add_test(tests, overlap_waits_while_the_body_is_not_complete);
	tcase_add_test(tests, classic_waits_for_the_verdict);
	tcase_add_test(tests, plain_transaction_is_never_pipelined);
	tcase_add_test(tests, rset_opens_a_group);
	tcase_add_test(tests, deep_sends_whole_transactions);
	tcase_add_test(tests, a_body_that_is_not_blind_waits_for_its_recipients);
	tcase_add_test(tests, nothing_goes_behind_an_incomplete_chunk);
	tcase_add_test(tests, the_mode_is_what_was_announced_at_most);
	tcase_add_test(tests, handshake_is_never_pipelined);
	tcase_add_test(tests, what_is_not_sent_can_be_dropped);
	tcase_add_test(tests, replies_that_commands_allow);
	suite_add_tcase(suite, tests);
	return suite;
}
