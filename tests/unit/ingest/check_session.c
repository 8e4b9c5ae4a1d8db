/* Unit tests of ingest/session: dialogues over a socket pair, with a router that only remembers. */
#include <config.h>

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/loop.h"
#include "base/spool.h"
#include "check_ingest.h"
#include "harness.h"
#include "smtp/envelope.h"

#define GREETING "220 mx.example LMTP relaypool\r\n"
#define OFFER                                                                                                \
	"250-mx.example\r\n250-PIPELINING\r\n250-SIZE 100000\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-DSN\r\n" \
	"250-XFORWARD NAME ADDR PROTO HELO SOURCE PORT IDENT\r\n250 ENHANCEDSTATUSCODES\r\n"
#define MAIL_OK "250 2.1.0 Ok\r\n"
#define RCPT_OK "250 2.1.5 Ok\r\n"
#define OK "250 2.0.0 Ok\r\n"
#define GO_AHEAD "354 End data with <CR><LF>.<CR><LF>\r\n"
#define BODY "Subject: x\r\n\r\ntext\r\n"

/* A session that has said LHLO and heard all. */
static int ready(void)
{
	int mta = mta_connect(PROTOCOL_LMTP);

	mta_say(mta, "LHLO mta.example\r\n");
	mta_expect(mta, GREETING OFFER);
	return mta;
}

/* … and has handed over a message to `recipients` recipients. */
static int waiting(unsigned recipients)
{
	int mta = ready();

	mta_say(mta, "MAIL FROM:<a@example.org>\r\n");
	for (unsigned i = 0; i < recipients; i++)
		mta_say(mta, "RCPT TO:<b@example.com>\r\n");
	mta_say(mta, "DATA\r\n");
	mta_hear(mta);
	mta_say(mta, BODY ".\r\n");
	mta_expect(mta, "");
	return mta;
}

static const char *state_of_only_session(void);

/* ---- the plain way ---- */

START_TEST(a_message_is_taken_whole)
{
	int mta = ready();

	mta_say(mta, "XFORWARD NAME=x ADDR=192.0.2.1\r\nXFORWARD PROTO=ESMTP IDENT=4fXyZ1\r\n");
	mta_expect(mta, OK OK);
	mta_say(mta, "MAIL FROM:<a@example.org> SIZE=100 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=e1\r\n");
	mta_expect(mta, MAIL_OK);
	mta_say(mta, "RCPT TO:<b@example.com> NOTIFY=SUCCESS ORCPT=rfc822;b@example.com\r\n");
	mta_expect(mta, RCPT_OK);
	mta_say(mta, "DATA\r\n");
	mta_expect(mta, GO_AHEAD);
	pass(SECONDS(2));
	mta_say(mta, "Subject: x\r\n\r\n..dot\r\n.\r\n");
	mta_expect(mta, "");
	ck_assert_uint_eq(router.taken_count, 1);
	const struct message *message = router.taken[0];
	ck_assert_str_eq(message->queue_id, "4fXyZ1");
	ck_assert_str_eq(message->sender, "a@example.org");
	ck_assert_str_eq(message->params, " RET=HDRS ENVID=e1");
	ck_assert(message->body_8bit && message->smtputf8);
	ck_assert(!message->has_8bit && !message->header_8bit);
	ck_assert_uint_eq(message->recipient_count, 1);
	ck_assert_str_eq(message->recipients[0].address, "b@example.com");
	ck_assert_str_eq(message->recipients[0].params, " NOTIFY=SUCCESS ORCPT=rfc822;b@example.com");
	ck_assert(message->recipients[0].notify_success);
	ck_assert_str_eq(body_of(message), "Subject: x\r\n\r\n.dot\r\n");
	ck_assert_int_eq(message->queue_time, -1);
	ck_assert_int_eq(message->complete - message->arrived, SECONDS(2));
	ck_assert_int_eq(message->deadline - message->complete, ingest.conf->deadline);
	relay_says(0, 0, "250 2.0.0 Ok: queued as 77");
	mta_expect(mta, "250 2.0.0 Ok: queued as 77\r\n");
	mta_say(mta, "QUIT\r\n");
	mta_expect(mta, "221 2.0.0 Bye\r\n<closed>");
	ck_assert_uint_eq(sessions_ended, 1);
	close(mta);
}
END_TEST

START_TEST(lhlo_offers_what_the_relays_do)
{
	static const struct {
		struct capabilities offer;
		const char *lines;
	} cases[] = {
		{{.bits = 0}, ""},
		{{.bits = CAP_SIZE}, "250-SIZE\r\n"},
		{{.bits = CAP_SIZE, .size = 5}, "250-SIZE 5\r\n"},
		{{.bits = CAP_8BITMIME}, "250-8BITMIME\r\n"},
		{{.bits = CAP_SMTPUTF8 | CAP_DSN | CAP_AUTH | CAP_STARTTLS | CAP_CHUNKING},
		 "250-SMTPUTF8\r\n250-DSN\r\n"},
	};
	int mta = mta_connect(PROTOCOL_LMTP);

	mta_expect(mta, GREETING);
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		char expected[512];
		router.offer = cases[i].offer;
		mta_say(mta, "lhlo mta.example\r\n");
		snprintf(expected, sizeof(expected),
			 "250-mx.example\r\n250-PIPELINING\r\n%s250-XFORWARD NAME ADDR PROTO HELO SOURCE PORT "
			 "IDENT\r\n250 ENHANCEDSTATUSCODES\r\n",
			 cases[i].lines);
		mta_expect(mta, expected);
	}
	close(mta);
}
END_TEST

START_TEST(several_messages_go_through_one_session)
{
	int mta = waiting(1);

	relay_says(0, 0, "250 2.0.0 first");
	mta_expect(mta, "250 2.0.0 first\r\n");
	mta_say(mta, "MAIL FROM:<>\r\nRCPT TO:<c@example.com>\r\nDATA\r\n");
	mta_expect(mta, MAIL_OK RCPT_OK GO_AHEAD);
	mta_say(mta, "\r\nx\r\n.\r\n");
	ck_assert_uint_eq(router.taken_count, 2);
	ck_assert_str_eq(router.taken[1]->sender, "");
	ck_assert_str_eq(router.taken[1]->recipients[0].address, "c@example.com");
	relay_says(1, 0, "550 5.1.1 no such user");
	mta_expect(mta, "550 5.1.1 no such user\r\n");
	close(mta);
}
END_TEST

START_TEST(a_probe_without_data_is_tolerated)
{
	int mta = ready();

	mta_say(mta, "MAIL FROM:<>\r\nRCPT TO:<b@example.com>\r\nRSET\r\nQUIT\r\n");
	mta_expect(mta, MAIL_OK RCPT_OK OK "221 2.0.0 Bye\r\n<closed>");
	ck_assert_uint_eq(router.taken_count, 0);
	close(mta);
}
END_TEST

START_TEST(lhlo_and_rset_forget_the_transaction)
{
	static const char *const forgetters[] = {"RSET\r\n", "LHLO x\r\n"};

	for (size_t i = 0; i < 2; i++) {
		int mta = ready();
		mta_say(mta, "XFORWARD IDENT=OLD1\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.com>\r\n");
		mta_say(mta, forgetters[i]);
		mta_hear(mta);
		mta_say(mta, "RCPT TO:<b@example.com>\r\n");
		mta_expect(mta, "503 5.5.1 MAIL comes first\r\n");
		mta_say(mta, "MAIL FROM:<c@example.org>\r\nRCPT TO:<d@example.com>\r\nDATA\r\n");
		mta_expect(mta, MAIL_OK RCPT_OK GO_AHEAD);
		mta_say(mta, ".\r\n");
		ck_assert_uint_eq(router.taken_count, i + 1);
		ck_assert_uint_eq(router.taken[i]->recipient_count, 1);
		ck_assert_str_eq(router.taken[i]->sender, "c@example.org");
		ck_assert_str_eq(router.taken[i]->queue_id, "");
		close(mta);
	}
}
END_TEST

/* ---- mistakes ---- */

static const struct {
	const char *before, *command, *reply;
} mistakes[] = {
	/* Order. */
	{"", "MAIL FROM:<a@example.org>", "503 5.5.1 LHLO comes first"},
	{"", "RCPT TO:<b@example.com>", "503 5.5.1 LHLO comes first"},
	{"", "DATA", "503 5.5.1 LHLO comes first"},
	{"", "XFORWARD IDENT=x", "503 5.5.1 LHLO comes first"},
	{"LHLO x\r\n", "RCPT TO:<b@example.com>", "503 5.5.1 MAIL comes first"},
	{"LHLO x\r\n", "DATA", "503 5.5.1 MAIL comes first"},
	{"LHLO x\r\nMAIL FROM:<>\r\n", "MAIL FROM:<>", "503 5.5.1 Not within a transaction"},
	{"LHLO x\r\nMAIL FROM:<>\r\n", "XFORWARD IDENT=x", "503 5.5.1 Not within a transaction"},
	{"LHLO x\r\nMAIL FROM:<>\r\n", "DATA", "503 5.5.1 No valid recipients"},
	{"LHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<\r\n", "DATA", "503 5.5.1 No valid recipients"},
	/* Form. */
	{"", "", "500 5.5.2 Unknown command"},
	{"", "LHLOX x", "500 5.5.2 Unknown command"},
	{"", "EHLO x", "500 5.5.1 Not a command of this protocol"},
	{"", "HELO x", "500 5.5.1 Not a command of this protocol"},
	{"", "STARTTLS", "500 5.5.2 Unknown command"},
	{"", "AUTH PLAIN", "500 5.5.2 Unknown command"},
	{"", "LHLO", "501 5.5.4 The command needs an argument"},
	{"LHLO x\r\n", "XFORWARD", "501 5.5.4 The command needs an argument"},
	{"LHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<b@example.com>\r\n", "DATA now",
	 "501 5.5.4 The command takes no argument"},
	{"LHLO x\r\n", "RSET now", "501 5.5.4 The command takes no argument"},
	{"LHLO x\r\n", "QUIT now", "501 5.5.4 The command takes no argument"},
	{"LHLO x\r\n", "NOOP\nRSET", "500 5.5.2 A line holds no CR, LF or NUL"},
	{"LHLO x\r\n", "NOOP\rRSET", "500 5.5.2 A line holds no CR, LF or NUL"},
	/* Content. */
	{"LHLO x\r\n", "MAIL FROM:<> SIZE=100001", "552 5.3.4 The message is larger than 100000 octets"},
	{"LHLO x\r\n", "MAIL FROM:<> SIZE=99999999999999999999", "552 5.3.4 The message is larger than 100000 octets"},
	{"LHLO x\r\n", "MAIL FROM:<> SIZE=18446744073709551617", "552 5.3.4 The message is larger than 100000 octets"},
	{"LHLO x\r\n", "VRFY b", "252 2.0.0 The relay will say"},
	{"", "NOOP anything", "250 2.0.0 Ok"},
	{"", "RSET", "250 2.0.0 Ok"},
};

START_TEST(a_mistake_is_answered_and_the_session_goes_on)
{
	char expected[256];
	int mta = mta_connect(PROTOCOL_LMTP);

	mta_say(mta, mistakes[_i].before);
	mta_hear(mta);
	mta_say(mta, mistakes[_i].command);
	mta_say(mta, "\r\n");
	snprintf(expected, sizeof(expected), "%s\r\n", mistakes[_i].reply);
	mta_expect(mta, expected);
	mta_say(mta, "NOOP\r\n");
	mta_expect(mta, OK);
	close(mta);
}
END_TEST

START_TEST(what_was_not_offered_is_refused)
{
	router.offer = (struct capabilities){.bits = CAP_SIZE};
	int mta = mta_connect(PROTOCOL_LMTP);

	mta_say(mta, "LHLO x\r\n");
	mta_hear(mta);
	mta_say(mta, "MAIL FROM:<> BODY=8BITMIME\r\n");
	mta_expect(mta, "555 5.5.4 BODY=8BITMIME was not offered\r\n");
	mta_say(mta, "MAIL FROM:<> SMTPUTF8\r\n");
	mta_expect(mta, "555 5.5.4 SMTPUTF8 was not offered\r\n");
	mta_say(mta, "MAIL FROM:<> RET=FULL\r\n");
	mta_expect(mta, "555 5.5.4 RET and ENVID were not offered\r\n");
	mta_say(mta, "MAIL FROM:<> SIZE=99999999999999999999\r\n");
	mta_expect(mta, "552 5.3.4 The message is larger than anything that can be kept\r\n");
	mta_say(mta, "MAIL FROM:<> SIZE=9223372036854775808\r\n");
	mta_expect(mta, "552 5.3.4 The message is larger than anything that can be kept\r\n");
	mta_say(mta, "MAIL FROM:<> SIZE=123456789012345678901\r\n");
	mta_expect(mta, "501 5.5.4 Bad value of SIZE: it takes up to 20 digits\r\n");
	mta_say(mta, "MAIL FROM:<> BODY=7BIT SIZE=99999999999\r\n");
	mta_expect(mta, MAIL_OK);
	mta_say(mta, "RCPT TO:<b@example.com> NOTIFY=NEVER\r\n");
	mta_expect(mta, "555 5.5.4 NOTIFY and ORCPT were not offered\r\n");
	mta_say(mta, "DATA\r\n");
	mta_expect(mta, "503 5.5.1 No valid recipients\r\n");
	close(mta);
}
END_TEST

/* The parser's refusals reach the client: codes only, the words are the parser's. */
START_TEST(bad_arguments_are_refused_by_code)
{
	static const struct {
		const char *command, *code;
	} cases[] = {
		{"MAIL TO:<a@example.org>", "501 "},
		{"MAIL FROM:<a@example.org", "501 "},
		{"MAIL FROM:<a@example.org> COLOUR=red", "555 5.5.4 "},
		{"MAIL", "501 "},
	};
	int mta = ready();

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		mta_say(mta, cases[i].command);
		mta_say(mta, "\r\n");
		const char *reply = mta_hear(mta);
		ck_assert_msg(strncmp(reply, cases[i].code, strlen(cases[i].code)) == 0, "%s: %s", cases[i].command,
			      reply);
	}
	close(mta);
}
END_TEST

START_TEST(a_nul_in_a_command_is_refused)
{
	int mta = ready();

	mta_say_octets(mta, "NOOP\0RSET\r\nNOOP\r\n", 17);
	mta_expect(mta, "500 5.5.2 A line holds no CR, LF or NUL\r\n" OK);
	close(mta);
}
END_TEST

START_TEST(an_overlong_line_is_swallowed_whole)
{
	static char line[200000];
	int mta = ready();

	memset(line, 'x', sizeof(line) - 1);
	mta_say(mta, line);
	mta_expect(mta, "500 5.5.2 Line too long\r\n");
	mta_say(mta, "NOOP\r");
	mta_expect(mta, "");
	mta_say(mta, "\nNOOP\r\n");
	mta_expect(mta, OK);
	close(mta);
}
END_TEST

/* 4096 octets with CRLF are a line, 4097 are not: whether they come at once or the CRLF comes apart. */
START_TEST(a_line_may_have_4096_octets)
{
	char line[5000];

	for (int apart = 0; apart < 2; apart++) {
		int mta = ready();
		memset(line, ' ', sizeof(line));
		memcpy(line, "NOOP", 4);
		strcpy(line + 4094, apart ? "" : "\r\n");
		mta_say(mta, line);
		mta_say(mta, apart ? "\r\n" : "");
		mta_expect(mta, OK);
		line[4094] = ' ';
		strcpy(line + 4095, apart ? "" : "\r\n");
		mta_say(mta, line);
		mta_say(mta, apart ? "\r\n" : "");
		mta_expect(mta, "500 5.5.2 Line too long\r\n");
		mta_say(mta, "NOOP\r\n");
		mta_expect(mta, OK);
		close(mta);
	}
}
END_TEST

START_TEST(too_many_errors_end_the_session)
{
	int mta = ready();

	for (int i = 0; i < 20; i++) {
		mta_say(mta, "WHAT\r\n");
		mta_expect(mta, "500 5.5.2 Unknown command\r\n");
	}
	mta_say(mta, "WHAT\r\nNOOP\r\n");
	mta_expect(mta, "500 5.5.2 Unknown command\r\n421 4.7.0 Too many errors\r\n<closed>");
	ck_assert_str_eq(
		logged(),
		"warning: errors: protocol=LMTP, peer=unix, errors=21, unlogged=0 (too many; the session was ended)\n");
	close(mta);
}
END_TEST

/* A client that speaks no SMTP comes back at once, all day long. */
START_TEST(sessions_with_errors_do_not_drown_the_log)
{
	for (unsigned i = 0; i < 32; i++) {
		int mta = ready();
		if (i == 31)
			pass(SECONDS(10));
		for (unsigned j = 0; j < 21; j++)
			mta_say(mta, "WHAT\r\n");
		ck_assert_ptr_nonnull(strstr(mta_hear(mta), "<closed>"));
		close(mta);
	}
	unsigned lines = 0;
	const char *last = NULL;
	for (const char *at = logged(); (at = strstr(at, "errors: protocol")) != NULL; at++, lines++)
		last = at;
	ck_assert_uint_eq(lines, 11);
	ck_assert_ptr_nonnull(strstr(last, "errors=21, unlogged=21 ("));
}
END_TEST

START_TEST(a_message_wipes_errors_out)
{
	int mta = ready();

	for (size_t round = 0; round < 3; round++) {
		for (int i = 0; i < 15; i++)
			mta_say(mta, "WHAT\r\n");
		mta_say(mta, "MAIL FROM:<>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n");
		mta_hear(mta);
		mta_say(mta, ".\r\n");
		relay_says(round, 0, "250 2.0.0 Ok");
		mta_expect(mta, OK);
	}
	close(mta);
}
END_TEST

/* ---- how it arrives ---- */

static const char envelope[] = "LHLO x\r\nXFORWARD IDENT=ID7\r\nMAIL FROM:<a@example.org>\r\n"
			       "RCPT TO:<b@example.com>\r\nRCPT TO:<c@example.com>\r\nDATA\r\n";
static const char envelope_replies[] = OFFER OK MAIL_OK RCPT_OK RCPT_OK GO_AHEAD;

START_TEST(a_pipelined_batch_is_answered_in_one_write)
{
	int mta = mta_connect_type(PROTOCOL_LMTP, SOCK_SEQPACKET);
	char reply[4096];

	ck_assert_int_eq(recv(mta, reply, sizeof(reply), 0), strlen(GREETING));
	mta_say(mta, envelope);
	ssize_t n = recv(mta, reply, sizeof(reply) - 1, 0);
	ck_assert_int_gt(n, 0);
	reply[n] = '\0';
	ck_assert_str_eq(reply, envelope_replies);
	close(mta);
}
END_TEST

START_TEST(verdicts_of_one_turn_go_out_in_one_write)
{
	int mta = mta_connect_type(PROTOCOL_LMTP, SOCK_SEQPACKET);
	char reply[4096];

	mta_say(mta, envelope);
	mta_hear(mta);
	mta_say(mta, BODY ".\r\n");
	relay_says(0, 1, "550 5.1.1 no");
	relay_says(0, 0, "250 2.0.0 yes");
	loop_settle();
	ssize_t n = recv(mta, reply, sizeof(reply) - 1, 0);
	ck_assert_int_gt(n, 0);
	reply[n] = '\0';
	ck_assert_str_eq(reply, "250 2.0.0 yes\r\n550 5.1.1 no\r\n");
	close(mta);
}
END_TEST

/* A client that does not wait for 354 breaks RFC 2920, but what it says is clear. */
START_TEST(a_whole_session_in_one_write)
{
	char all[1024];
	int mta = mta_connect(PROTOCOL_LMTP);

	mta_hear(mta);
	snprintf(all, sizeof(all), "%s%s.\r\nMAIL FROM:<>\r\nRCPT TO:<d@example.com>\r\nDATA\r\n%s.\r\nQUIT\r\n",
		 envelope, BODY, "\r\nsecond\r\n");
	mta_say(mta, all);
	mta_expect(mta, envelope_replies);
	ck_assert_uint_eq(router.taken_count, 1);
	ck_assert_str_eq(body_of(router.taken[0]), BODY);
	relay_says(0, 0, "250 2.0.0 one");
	relay_says(0, 1, "250 2.0.0 two");
	mta_expect(mta, "250 2.0.0 one\r\n250 2.0.0 two\r\n" MAIL_OK RCPT_OK GO_AHEAD);
	ck_assert_uint_eq(router.taken_count, 2);
	ck_assert_str_eq(body_of(router.taken[1]), "\r\nsecond\r\n");
	relay_says(1, 0, "250 2.0.0 three");
	mta_expect(mta, "250 2.0.0 three\r\n221 2.0.0 Bye\r\n<closed>");
	close(mta);
}
END_TEST

START_TEST(a_session_octet_by_octet)
{
	int mta = mta_connect(PROTOCOL_LMTP);

	mta_hear(mta);
	for (const char *c = envelope; *c != '\0'; c++)
		mta_say_octets(mta, c, 1);
	mta_expect(mta, envelope_replies);
	for (const char *c = BODY ".\r\n"; *c != '\0'; c++)
		mta_say_octets(mta, c, 1);
	mta_expect(mta, "");
	ck_assert_uint_eq(router.taken_count, 1);
	ck_assert_str_eq(body_of(router.taken[0]), BODY);
	ck_assert_uint_eq(router.taken[0]->recipient_count, 2);
	close(mta);
}
END_TEST

START_TEST(a_large_body_arrives_unchanged)
{
	enum { LINES = 1200, LENGTH = 77 };
	char *body = calloc(LINES, LENGTH + 2);
	int mta = ready();

	for (int i = 0; i < LINES; i++)
		sprintf(body + (size_t)i * (LENGTH + 1), "%0*d\r\n", LENGTH - 1, i);
	mta_say(mta, "MAIL FROM:<>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n");
	mta_hear(mta);
	mta_say(mta, body);
	mta_say(mta, ".\r\n");
	ck_assert_uint_eq(router.taken_count, 1);
	ck_assert_str_eq(body_of(router.taken[0]), body);
	free(body);
	close(mta);
}
END_TEST

/* Pieces in any order, cut anywhere, verdicts at any time: whatever comes, it is answered or refused. */
START_TEST(no_order_of_octets_breaks_a_session)
{
	static const char *const pieces[] = {
		"LHLO x\r\n",
		"MAIL FROM:<a@example.org> SIZE=10\r\n",
		"RCPT TO:<b@example.com>\r\n",
		"DATA\r\n",
		".\r\n",
		"\r\n.\r\n",
		"RSET\r\n",
		"XFORWARD IDENT=+XX NAME=\r\n",
		"Received: by x (Postfix) id Q1; now\r\n",
		"X-Relaypool: x\r\n",
		"\r",
		"\n",
		"..",
		"\xff",
		"MAIL FROM:<",
		"NOOP",
	};
	uint32_t seed = (uint32_t)_i * 2654435761U + 1;

	for (int round = 0; round < 20; round++) {
		int mta = mta_connect(_i % 2 == 0 ? PROTOCOL_LMTP : PROTOCOL_SMTP);
		mta_say(mta, _i % 2 == 0 ? "LHLO x\r\n" : "EHLO x\r\n");
		for (int i = 0; i < 60 && strstr(mta_hear(mta), "<closed>") == NULL; i++) {
			seed = seed * 1103515245U + 12345U;
			const char *piece = pieces[seed >> 16 & 15];
			size_t length = strlen(piece) + (seed >> 20 & 31 ? 0 : 1); /* sometimes with its NUL */
			if (send(mta, piece, length, MSG_NOSIGNAL) == -1)
				break;
			loop_settle();
			if (router.taken_count == 0)
				continue;
			struct message *message = router.taken[0];
			for (size_t k = 0; k < message->recipient_count; k++)
				relay_says(0, k, "250 2.0.0 Ok");
			message_unref(&router.taken[0]);
			router.taken_count = 0;
		}
		close(mta);
		loop_settle();
		ck_assert(list_empty(&ingest.sessions));
	}
}
END_TEST

/* ---- the end of the other side ---- */

static const char *const steps[] = {
	"",
	"LHL",
	"LHLO x\r\n",
	"LHLO x\r\nMAIL FROM:<>\r\n",
	"LHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<b@example.com>\r\n",
	"LHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n",
	"LHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<b@example.com>\r\nDATA\r\nSubject: x\r\n\r\nha",
	"LHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<b@example.com>\r\nDATA\r\nx\r\n.\r",
	"LHLO x\r\nQUIT\r\n",
};

START_TEST(an_end_of_file_ends_the_session)
{
	int mta = mta_connect(PROTOCOL_LMTP);

	mta_hear(mta);
	mta_say(mta, steps[_i]);
	close(mta);
	loop_settle();
	ck_assert_uint_eq(sessions_ended, 1);
	ck_assert_uint_eq(router.taken_count, 0);
	ck_assert_uint_eq(router.abandoned_count, 0);
}
END_TEST

START_TEST(an_end_of_file_before_the_greeting_ends_the_session)
{
	int pair[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
	session_start(&ingest, PROTOCOL_LMTP, pair[0]);
	close(pair[1]);
	loop_settle();
	ck_assert_uint_eq(sessions_ended, 1);
}
END_TEST

START_TEST(a_message_nobody_waits_for_is_abandoned)
{
	int mta = waiting(2);

	relay_says(0, 0, "250 2.0.0 Ok");
	mta_expect(mta, OK);
	pass(SECONDS(12));
	close(mta);
	loop_settle();
	ck_assert_uint_eq(sessions_ended, 1);
	ck_assert_uint_eq(router.abandoned_count, 1);
	ck_assert_ptr_eq(router.abandoned[0], router.taken[0]);
	ck_assert_str_eq(
		logged(),
		"warning: -: abandoned: peer=unix, nrcpt=2, unsettled=1, waited=12.0, unlogged=0 (the MTA ended its "
		"session before all verdicts)\n");
	relay_says(0, 1, "250 2.0.0 too late"); /* nobody is told, nothing breaks */
	loop_settle();
}
END_TEST

START_TEST(a_session_with_all_its_verdicts_abandons_nothing)
{
	int mta = waiting(1);

	relay_says(0, 0, "250 2.0.0 Ok");
	close(mta);
	loop_settle();
	ck_assert_uint_eq(sessions_ended, 1);
	ck_assert_uint_eq(router.abandoned_count, 0);
}
END_TEST

/* ---- verdicts ---- */

START_TEST(verdicts_are_written_in_the_order_of_the_recipients)
{
	int mta = waiting(4);

	relay_says(0, 2, "550 5.1.1 third");
	mta_expect(mta, "");
	relay_says(0, 0, "250 2.0.0 first");
	mta_expect(mta, "250 2.0.0 first\r\n");
	relay_says(0, 1, "451 4.2.0 second");
	mta_expect(mta, "451 4.2.0 second\r\n550 5.1.1 third\r\n");
	ck_assert_str_eq(state_of_only_session(), "verdicts");
	relay_says(0, 3, "250 2.0.0 fourth");
	mta_expect(mta, "250 2.0.0 fourth\r\n");
	ck_assert_str_eq(state_of_only_session(), "ready");
	close(mta);
}
END_TEST

/* When we are killed right after the relay's verdict, or the next body on that connection, the MTA knows of it. */
START_TEST(the_last_verdict_is_with_the_mta_at_once)
{
	int mta = waiting(2);
	char replies[64] = "";

	relay_says(0, 0, "250 2.0.0 first");
	relay_says(0, 1, "250 2.0.0 second");
	ck_assert_int_gt(recv(mta, replies, sizeof(replies) - 1, MSG_DONTWAIT), 0); /* the loop has not turned since */
	ck_assert_str_eq(replies, "250 2.0.0 first\r\n250 2.0.0 second\r\n");
	mta_say(mta, "NOOP\r\n");
	mta_expect(mta, OK);
	close(mta);
}
END_TEST

START_TEST(fifty_recipients_get_fifty_verdicts)
{
	char expected[4096] = "", line[64];
	int mta = waiting(50);

	for (unsigned i = 50; i-- > 0;) {
		snprintf(line, sizeof(line), "250 2.0.0 number %u", i);
		relay_says(0, i, line);
	}
	for (unsigned i = 0; i < 50; i++)
		sprintf(expected + strlen(expected), "250 2.0.0 number %u\r\n", i);
	mta_expect(mta, expected);
	close(mta);
}
END_TEST

START_TEST(commands_sent_meanwhile_are_answered_after_the_verdicts)
{
	int mta = waiting(2);

	mta_say(mta, "RSET\r\nMAIL FROM:<>\r\n");
	mta_expect(mta, "");
	relay_says(0, 0, "250 2.0.0 one");
	mta_expect(mta, "250 2.0.0 one\r\n");
	relay_says(0, 1, "250 2.0.0 two");
	mta_expect(mta, "250 2.0.0 two\r\n" OK MAIL_OK);
	close(mta);
}
END_TEST

/* Sends NOOPs until neither the session nor the kernel takes more. How many were taken. */
static size_t flood(int mta)
{
	char noops[6 * 1000];
	size_t sent = 0;

	for (size_t i = 0; i < sizeof(noops); i += 6)
		memcpy(noops + i, "NOOP\r\n", 6);
	for (unsigned refused = 0; refused < 3;) {
		ssize_t n = send(mta, noops + sent % 6, sizeof(noops) - sent % 6, MSG_NOSIGNAL);
		if (n > 0)
			sent += (size_t)n;
		else
			refused++;
		ck_assert_uint_lt(sent, 4U << 20);
		loop_settle();
	}
	return sent / 6;
}

START_TEST(all_commands_sent_meanwhile_are_answered_in_the_end)
{
	int mta = waiting(1);
	size_t count = flood(mta);

	ck_assert_uint_gt(count, 10000);
	relay_says(0, 0, "250 2.0.0 verdict");
	const char *replies = mta_hear(mta);
	ck_assert_int_eq(strncmp(replies, "250 2.0.0 verdict\r\n" OK, 33), 0);
	ck_assert_uint_eq(strlen(replies), 19 + count * strlen(OK));
	close(mta);
}
END_TEST

START_TEST(a_client_that_reads_late_gets_all_replies)
{
	int mta = ready();
	size_t count = flood(mta);

	ck_assert_uint_eq(strlen(mta_hear(mta)), count * strlen(OK));
	close(mta);
}
END_TEST

START_TEST(a_client_that_floods_while_it_waits_is_not_read)
{
	int mta = waiting(1);

	flood(mta);
	close(mta);
	loop_settle();
	pass(SECONDS(1)); /* the input is full: only a look at the socket tells */
	ck_assert_uint_eq(sessions_ended, 1);
	ck_assert_uint_eq(router.abandoned_count, 1);
}
END_TEST

START_TEST(a_client_that_reads_no_replies_is_not_read)
{
	int mta = ready();

	flood(mta);
	pass(SECONDS(299));
	ck_assert_uint_eq(sessions_ended, 0);
	pass(SECONDS(12));
	ck_assert_uint_eq(sessions_ended, 1);
	close(mta);
}
END_TEST

/* ---- messages that are refused here ---- */

START_TEST(a_nul_is_refused_for_every_recipient)
{
	int mta = ready();

	mta_say(mta, "XFORWARD IDENT=ID8\r\nMAIL FROM:<>\r\nRCPT TO:<b@example.com>\r\nRCPT TO:<c@example.com>\r\n"
		     "DATA\r\n");
	mta_hear(mta);
	mta_say_octets(mta, "\r\na\0b\r\nmore\r\n.\r\nNOOP\r\n", 22);
	mta_expect(mta, "550 5.6.0 The message holds a NUL octet\r\n550 5.6.0 The message holds a NUL octet\r\n" OK);
	ck_assert_uint_eq(router.taken_count, 0);
	ck_assert_str_eq(published(),
			 "ID8: relay=-, nrcpt=2, status=bounced (550 5.6.0 The message holds a NUL octet)\n");
	close(mta);
}
END_TEST

/* In a file system of its own that holds less than the message. */
START_TEST(a_full_disk_defers_the_message)
{
	char expected[256], line[1002];
	int mta = ready();

	ck_assert_int_eq(unshare(CLONE_NEWNS), 0);
	if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		ck_assert_int_eq(errno, EINVAL); /* where / is no mount point, as in a chroot */
	ck_assert_int_eq(mount("none", directory, "tmpfs", 0, "size=32k"), 0);
	spool_configure(0, directory);
	memset(line, 'x', sizeof(line));
	strcpy(line + sizeof(line) - 3, "\r\n");
	mta_say(mta, "MAIL FROM:<>\r\nRCPT TO:<b@example.com>\r\nRCPT TO:<c@example.com>\r\nDATA\r\n");
	mta_hear(mta);
	for (int i = 0; i < 64; i++)
		mta_say(mta, line);
	mta_say(mta, ".\r\n");
	snprintf(expected, sizeof(expected), "452 4.3.1 Cannot keep the message in %s: No space left on device\r\n",
		 directory);
	const char *replies = mta_hear(mta);
	ck_assert_int_eq(strncmp(replies, expected, strlen(expected)), 0);
	ck_assert_str_eq(replies + strlen(expected), expected);
	ck_assert_uint_eq(router.taken_count, 0);
	mta_say(mta, "MAIL FROM:<>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n"); /* a small one fits again */
	mta_expect(mta, MAIL_OK RCPT_OK GO_AHEAD);
	mta_say(mta, BODY ".\r\n");
	ck_assert_uint_eq(router.taken_count, 1);
	ck_assert_str_eq(body_of(router.taken[0]), BODY);
	message_unref(&router.taken[0]);
	router.taken_count = 0;
	close(mta);
	sessions_end(&ingest);
	ck_assert_int_eq(umount(directory), 0);
}
END_TEST

START_TEST(a_message_that_cannot_be_kept_is_deferred)
{
	char expected[256];
	int mta = ready();

	spool_configure(0, "/nonexistent");
	mta_say(mta, "MAIL FROM:<>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n");
	mta_hear(mta);
	mta_say(mta, BODY ".\r\nNOOP\r\n");
	snprintf(expected, sizeof(expected),
		 "452 4.3.1 Cannot keep the message in %s: No such file or directory\r\n" OK, directory);
	mta_expect(mta, expected);
	ck_assert_uint_eq(router.taken_count, 0);
	close(mta);
}
END_TEST

START_TEST(a_body_above_the_offered_size_is_refused)
{
	router.offer = (struct capabilities){.bits = CAP_SIZE, .size = 100};
	char body[128];
	int mta = mta_connect(PROTOCOL_LMTP);

	mta_say(mta, "LHLO x\r\n");
	memset(body, 'x', sizeof(body));
	strcpy(body + 98, "\r\n.\r\n");
	mta_say(mta, "MAIL FROM:<>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n");
	mta_hear(mta);
	mta_say(mta, body);
	ck_assert_uint_eq(router.taken_count, 1);
	relay_says(0, 0, "250 2.0.0 Ok");
	mta_hear(mta);
	mta_say(mta, "MAIL FROM:<>\r\nRCPT TO:<b@example.com>\r\nDATA\r\nx");
	mta_hear(mta);
	mta_say(mta, body);
	mta_expect(mta, "552 5.3.4 The message is larger than 100 octets\r\n");
	ck_assert_uint_eq(router.taken_count, 1);
	close(mta);
}
END_TEST

START_TEST(no_more_than_a_thousand_recipients)
{
	int mta = ready();

	mta_say(mta, "MAIL FROM:<>\r\n");
	for (int i = 0; i < 1000; i++)
		mta_say(mta, "RCPT TO:<b@example.com>\r\n");
	mta_hear(mta);
	for (int i = 0; i < 30; i++) { /* no mistake of the client's: not counted as errors */
		mta_say(mta, "RCPT TO:<b@example.com>\r\n");
		mta_expect(mta, "452 4.5.3 Too many recipients\r\n");
	}
	mta_say(mta, "DATA\r\n");
	mta_expect(mta, GO_AHEAD);
	mta_say(mta, ".\r\n");
	ck_assert_uint_eq(router.taken_count, 1);
	ck_assert_uint_eq(router.taken[0]->recipient_count, 1000);
	close(mta);
}
END_TEST

/* Every way in which another server might see an end of data inside this message. */
START_TEST(no_other_octets_end_the_data)
{
	static const char *const attempts[] = {"\n.\n",   "\r\n.\n", "\n.\r\n",   "\r.\r",    "\r.\r\n",
					       "\r\n.\r", "\n\n.\n", "\r\r\n.\n", "\r\n\n.\n"};
	int mta = ready();

	for (size_t i = 0; i < sizeof(attempts) / sizeof(*attempts); i++) {
		mta_say(mta, "MAIL FROM:<>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n");
		mta_expect(mta, MAIL_OK RCPT_OK GO_AHEAD);
		mta_say(mta, "Subject: x\r\n\r\nx");
		mta_say(mta, attempts[i]);
		mta_say(mta, "MAIL FROM:<evil@example.org>\r\nRCPT TO:<victim@example.com>\r\nDATA\r\nx\r\n.\r\n");
		mta_expect(mta, "");
		ck_assert_uint_eq(router.taken_count, i + 1);
		const char *body = body_of(router.taken[i]);
		ck_assert_ptr_nonnull(strstr(body, "MAIL FROM:<evil@example.org>\r\n"));
		for (const char *c = body; *c != '\0'; c++)
			ck_assert((*c != '\r' || c[1] == '\n') && (*c != '\n' || (c > body && c[-1] == '\r')));
		relay_says(i, 0, "250 2.0.0 Ok");
		mta_expect(mta, OK);
	}
	close(mta);
}
END_TEST

START_TEST(strays_are_logged_once_a_message)
{
	int mta = ready();

	mta_say(mta, "XFORWARD IDENT=ID9\r\nMAIL FROM:<>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n");
	mta_hear(mta);
	mta_say(mta, "\r\na\nb\rc\r\nd\ne\r\n.\r\n");
	ck_assert_str_eq(body_of(router.taken[0]), "\r\na b c\r\nd e\r\n");
	ck_assert_str_eq(logged(),
			 "warning: ID9: strays=3, unlogged=0 (CR or LF alone in the message; each became a space)\n");
	close(mta);
}
END_TEST

/* ---- time ---- */

START_TEST(a_silent_client_is_cut)
{
	static const struct {
		const char *said;
		unsigned limit;
		const char *state;
	} cases[] = {
		{"", 300, "hello"},
		{"LHLO x\r\n", 300, "ready"},
		{"LHLO x\r\nMAIL FROM:<>\r\n", 300, "envelope"},
		{"LHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<b@example.com>\r\nDATA\r\nx", 180, "body"},
	};
	char expected[256];

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		int mta = mta_connect(PROTOCOL_LMTP);
		mta_say(mta, cases[i].said);
		mta_hear(mta);
		pass(SECONDS(cases[i].limit) - 1);
		mta_expect(mta, "");
		pass(1);
		mta_expect(mta, "421 4.4.2 mx.example waited too long for you\r\n<closed>");
		snprintf(expected, sizeof(expected),
			 "timeout: protocol=LMTP, peer=unix, state=%s, age=%u, unlogged=0 (the client was silent or "
			 "too slow)\n",
			 cases[i].state, cases[i].limit);
		ck_assert_ptr_nonnull(strstr(logged(), expected));
		close(mta);
	}
}
END_TEST

START_TEST(a_dribbled_command_does_not_extend_the_limit)
{
	int mta = ready();

	for (int i = 0; i < 29; i++) {
		pass(SECONDS(10));
		mta_say(mta, "N");
	}
	pass(SECONDS(9));
	mta_expect(mta, "");
	pass(SECONDS(1));
	mta_expect(mta, "421 4.4.2 mx.example waited too long for you\r\n<closed>");
	close(mta);
}
END_TEST

START_TEST(a_dribbled_body_is_cut_at_the_limit)
{
	int mta = ready();

	mta_say(mta, "MAIL FROM:<>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n");
	mta_hear(mta);
	for (int i = 0; i < 17; i++) {
		pass(SECONDS(100));
		mta_say(mta, "x");
	}
	pass(SECONDS(99));
	mta_expect(mta, "");
	pass(SECONDS(1)); /* 1800 s */
	mta_expect(mta, "421 4.4.2 mx.example waited too long for you\r\n<closed>");
	ck_assert_uint_eq(router.taken_count, 0);
	close(mta);
}
END_TEST

START_TEST(a_client_that_only_chats_is_cut_at_the_limit)
{
	int mta = ready();

	for (int i = 0; i < 6; i++) {
		pass(SECONDS(290));
		mta_say(mta, "NOOP\r\n");
		mta_expect(mta, OK);
	}
	pass(SECONDS(60)); /* 1800 s */
	mta_expect(mta, "421 4.4.2 mx.example waited too long for you\r\n<closed>");
	close(mta);
}
END_TEST

START_TEST(waiting_for_verdicts_has_no_limit_of_its_own)
{
	int mta = waiting(1);

	pass(SECONDS(2000));
	mta_expect(mta, "");
	relay_says(0, 0, "250 2.0.0 Ok");
	mta_expect(mta, OK);
	mta_say(mta, "NOOP\r\n");
	mta_expect(mta, OK);
	close(mta);
}
END_TEST

/* ---- the direct way: SMTP ---- */

START_TEST(smtp_has_one_recipient_and_one_reply)
{
	int mta = mta_connect(PROTOCOL_SMTP);

	mta_expect(mta, "220 mx.example ESMTP relaypool\r\n");
	mta_say(mta, "EHLO x\r\n");
	mta_expect(mta, OFFER);
	mta_say(mta, "MAIL FROM:<>\r\nRCPT TO:<b@example.com>\r\nRCPT TO:<c@example.com>\r\nDATA\r\n");
	mta_expect(mta, MAIL_OK RCPT_OK "452 4.5.3 One recipient at a time\r\n" GO_AHEAD);
	mta_say(mta, BODY ".\r\n");
	ck_assert_uint_eq(router.taken[0]->recipient_count, 1);
	relay_says(0, 0, "451 4.3.0 later");
	mta_expect(mta, "451 4.3.0 later\r\n");
	mta_say(mta, "LHLO x\r\nMAIL FROM:<>\r\n");
	mta_expect(mta, "500 5.5.1 Not a command of this protocol\r\n" MAIL_OK);
	close(mta);
}
END_TEST

START_TEST(helo_offers_nothing)
{
	int mta = mta_connect(PROTOCOL_SMTP);

	mta_hear(mta);
	mta_say(mta, "MAIL FROM:<>\r\n");
	mta_expect(mta, "503 5.5.1 EHLO comes first\r\n");
	mta_say(mta, "HELO x\r\nMAIL FROM:<> SMTPUTF8\r\nMAIL FROM:<>\r\n");
	mta_expect(mta, "250 mx.example\r\n555 5.5.4 SMTPUTF8 was not offered\r\n" MAIL_OK);
	close(mta);
}
END_TEST

/* ---- who ---- */

START_TEST(a_user_who_is_not_allowed_is_refused)
{
	char expected[256];

	ingest.conf->allow_users[0] = geteuid() + 1;
	int mta = mta_connect(PROTOCOL_LMTP);

	mta_expect(mta, "554 5.7.1 You may not hand over mail here\r\n<closed>");
	snprintf(expected, sizeof(expected),
		 "warning: refused: protocol=LMTP, peer=unix, uid=%u, state=accepted, unlogged=0 (the user is not in "
		 "allow-users)\n",
		 geteuid());
	ck_assert_str_eq(logged(), expected);
	close(mta);
}
END_TEST

/* ---- reload, stop, views ---- */

START_TEST(a_message_keeps_the_snapshot_of_its_mail)
{
	char lmtp[128];
	snprintf(lmtp, sizeof(lmtp), "lmtp = \"unix:%s/lmtp.sock\"\ndeadline = 500\n", directory);
	struct conf *before = ingest.conf, *after = harness_conf(lmtp);
	int mta = ready();

	mta_say(mta, "MAIL FROM:<>\r\n");
	ingest.conf = after;
	mta_say(mta, "RCPT TO:<b@example.com>\r\nDATA\r\n");
	mta_hear(mta);
	mta_say(mta, BODY ".\r\n");
	ck_assert_ptr_eq(router.taken[0]->conf, before);
	ck_assert_int_eq(router.taken[0]->deadline - router.taken[0]->complete, SECONDS(540));
	relay_says(0, 0, "250 2.0.0 Ok");
	mta_hear(mta);
	mta_say(mta, "MAIL FROM:<>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n");
	mta_hear(mta);
	mta_say(mta, ".\r\n");
	ck_assert_ptr_eq(router.taken[1]->conf, after);
	ck_assert_int_eq(router.taken[1]->deadline - router.taken[1]->complete, SECONDS(500));
	conf_unref(&before);
	close(mta);
}
END_TEST

static void stop(enum ingest_stop how)
{
	ingest.stop = how;
	sessions_stop(&ingest);
}

#define STOPPING "421 4.3.2 mx.example is stopping; try again later\r\n<closed>"

/* The nth of all messages, from MAIL to what is said after the relay's verdict. */
static void hand_over(int mta, size_t nth, const char *end)
{
	mta_say(mta, "MAIL FROM:<>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n");
	mta_expect(mta, MAIL_OK RCPT_OK GO_AHEAD);
	mta_say(mta, BODY ".\r\n");
	mta_expect(mta, "");
	relay_says(nth, 0, "250 2.0.0 Ok");
	mta_expect(mta, end);
}

START_TEST(sessions_that_rest_are_told_to_go_at_once)
{
	int mta = ready();

	hand_over(mta, 0, OK);
	stop(INGEST_LAST);
	mta_expect(mta, STOPPING);
	close(mta);
}
END_TEST

START_TEST(who_rests_after_a_message_refused_here_is_told_to_go_at_once)
{
	static const char message[] = "a\0b\r\n.\r\n";
	int mta = ready();

	mta_say(mta, "MAIL FROM:<>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n");
	mta_expect(mta, MAIL_OK RCPT_OK GO_AHEAD);
	mta_say_octets(mta, message, sizeof(message) - 1);
	mta_expect(mta, "550 5.6.0 The message holds a NUL octet\r\n");
	stop(INGEST_LAST);
	mta_expect(mta, STOPPING);
	close(mta);
}
END_TEST

/* What it has said is still in the socket, or has just been read behind the message before. */
START_TEST(who_speaks_again_at_the_same_moment_has_begun)
{
	static const char mail[] = "MAIL FROM:<>\r\n";
	int mta = ready();

	if (_i == 0)
		hand_over(mta, 0, OK);
	else
		mta_say(mta, "MAIL FROM:<>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n" BODY ".\r\n");
	ck_assert_int_eq(send(mta, mail, sizeof(mail) - 1, 0), sizeof(mail) - 1);
	if (_i == 1) {
		mta_expect(mta, MAIL_OK RCPT_OK GO_AHEAD);
		relay_says(0, 0, "250 2.0.0 Ok");
	}
	stop(INGEST_LAST);
	mta_expect(mta, _i == 0 ? MAIL_OK : OK MAIL_OK);
	close(mta);
}
END_TEST

/* However far it is: before the greeting, before LHLO, before MAIL, and after the probe of a session that is used again. */
START_TEST(who_has_begun_hands_over_one_more_message)
{
	int accepted[2], greeted = mta_connect(PROTOCOL_LMTP), ready_one = ready(), probed = ready();

	mta_hear(greeted);
	hand_over(probed, 0, OK);
	mta_say(probed, "RSET\r\n");
	mta_expect(probed, OK);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, accepted), 0);
	session_start(&ingest, PROTOCOL_LMTP, accepted[0]); /* nothing was said to it yet */
	stop(INGEST_LAST);
	mta_expect(accepted[1], "220 mx.example LMTP relaypool\r\n");
	mta_say(accepted[1], "LHLO mta.example\r\n");
	ck_assert_ptr_nonnull(strstr(mta_hear(accepted[1]), "250 ENHANCEDSTATUSCODES\r\n"));
	mta_say(greeted, "LHLO mta.example\r\n");
	ck_assert_ptr_nonnull(strstr(mta_hear(greeted), "250 ENHANCEDSTATUSCODES\r\n"));
	hand_over(accepted[1], 1, OK STOPPING);
	hand_over(greeted, 2, OK STOPPING);
	hand_over(ready_one, 3, OK STOPPING);
	hand_over(probed, 4, OK STOPPING);
	ck_assert_uint_eq(sessions_ended, 4);
	close(accepted[1]);
	close(greeted);
	close(ready_one);
	close(probed);
}
END_TEST

START_TEST(who_has_begun_and_is_silent_is_told_to_go_after_a_while)
{
	int greeted = mta_connect(PROTOCOL_LMTP), idle = ready();

	mta_hear(greeted);
	stop(INGEST_LAST);
	pass(SECONDS(4));
	mta_say(idle, "NOOP\r\n");
	mta_expect(idle, OK);
	mta_expect(greeted, "");
	pass(SECONDS(1));
	mta_expect(greeted, STOPPING);
	mta_expect(idle, "");
	pass(SECONDS(4));
	mta_expect(idle, STOPPING);
	ck_assert_str_eq(logged(), "");
	close(greeted);
	close(idle);
}
END_TEST

START_TEST(a_probe_is_told_that_the_session_is_over)
{
	int mta = ready();

	stop(INGEST_LAST);
	mta_say(mta, "RSET\r\nMAIL FROM:<>\r\n");
	mta_expect(mta, STOPPING);
	close(mta);
}
END_TEST

START_TEST(in_the_end_every_session_is_told_to_go)
{
	int greeted = mta_connect(PROTOCOL_LMTP), idle = ready(), pair[2];

	mta_hear(greeted);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
	session_start(&ingest, PROTOCOL_LMTP, pair[0]); /* nothing was said to it yet */
	if (_i > 0)
		stop(INGEST_LAST);
	stop(INGEST_OVER);
	mta_expect(pair[1], STOPPING);
	mta_expect(greeted, STOPPING);
	mta_expect(idle, STOPPING);
	ck_assert_uint_eq(sessions_ended, 3);
	close(greeted);
	close(idle);
	close(pair[1]);
}
END_TEST

START_TEST(a_transaction_is_finished_before_the_session_goes)
{
	int mta = ready();

	mta_say(mta, "MAIL FROM:<>\r\nRCPT TO:<b@example.com>\r\n");
	mta_expect(mta, MAIL_OK RCPT_OK);
	stop(_i == 0 ? INGEST_LAST : INGEST_OVER);
	mta_expect(mta, "");
	mta_say(mta, "DATA\r\n");
	mta_expect(mta, GO_AHEAD);
	mta_say(mta, BODY ".\r\nMAIL FROM:<>\r\n");
	mta_expect(mta, "");
	relay_says(0, 0, "250 2.0.0 Ok");
	mta_expect(mta, OK STOPPING);
	close(mta);
}
END_TEST

START_TEST(a_transaction_that_is_given_up_ends_a_stopping_session)
{
	int mta = ready();

	mta_say(mta, "MAIL FROM:<>\r\n");
	mta_hear(mta);
	stop(_i == 0 ? INGEST_LAST : INGEST_OVER);
	mta_say(mta, "RSET\r\nMAIL FROM:<>\r\n");
	mta_expect(mta, STOPPING);
	close(mta);
}
END_TEST

START_TEST(a_client_that_takes_no_last_word_is_closed)
{
	int mta = ready();

	flood(mta);
	stop(INGEST_OVER);
	pass(SECONDS(10));
	ck_assert_uint_eq(sessions_ended, 1);
	close(mta);
}
END_TEST

static struct session_view seen;
static char seen_id[64];

static void see(const struct session_view *view, void *arg)
{
	(*(unsigned *)arg)++;
	seen = *view;
	snprintf(seen_id, sizeof(seen_id), "%s", view->queue_id);
}

static const char *state_of_only_session(void)
{
	unsigned count = 0;

	sessions_each(&ingest, see, &count);
	ck_assert_uint_eq(count, 1);
	return seen.state;
}

START_TEST(a_view_tells_what_a_session_does)
{
	int mta = ready();

	ck_assert_str_eq(state_of_only_session(), "ready");
	ck_assert_str_eq(seen_id, "");
	pass(SECONDS(5));
	mta_say(mta, "XFORWARD IDENT=IDA\r\nMAIL FROM:<>\r\nRCPT TO:<b@example.com>\r\n");
	pass(SECONDS(7));
	ck_assert_str_eq(state_of_only_session(), "envelope");
	ck_assert_str_eq(seen.protocol, "LMTP");
	ck_assert_str_eq(seen.peer, "unix");
	ck_assert_int_eq(seen.uid, geteuid());
	ck_assert_str_eq(seen_id, "IDA");
	ck_assert_uint_eq(seen.recipients, 1);
	ck_assert_int_eq(seen.age, SECONDS(12));
	ck_assert_int_eq(seen.since, SECONDS(7));
	ck_assert_uint_eq(seen.messages, 0);
	mta_say(mta, "DATA\r\n");
	ck_assert_str_eq(state_of_only_session(), "body");
	mta_say(mta, ".\r\n");
	ck_assert_str_eq(state_of_only_session(), "verdicts");
	relay_says(0, 0, "250 2.0.0 Ok");
	ck_assert_str_eq(state_of_only_session(), "ready");
	ck_assert_uint_eq(seen.messages, 1);
	close(mta);
}
END_TEST

static void add_dialogue_tests(TCase *tcase)
{
	tcase_add_test(tcase, a_message_is_taken_whole);
	tcase_add_test(tcase, lhlo_offers_what_the_relays_do);
	tcase_add_test(tcase, several_messages_go_through_one_session);
	tcase_add_test(tcase, a_probe_without_data_is_tolerated);
	tcase_add_test(tcase, lhlo_and_rset_forget_the_transaction);
	tcase_add_loop_test(tcase, a_mistake_is_answered_and_the_session_goes_on, 0,
			    sizeof(mistakes) / sizeof(*mistakes));
	tcase_add_test(tcase, what_was_not_offered_is_refused);
	tcase_add_test(tcase, bad_arguments_are_refused_by_code);
	tcase_add_test(tcase, a_nul_in_a_command_is_refused);
	tcase_add_test(tcase, an_overlong_line_is_swallowed_whole);
	tcase_add_test(tcase, a_line_may_have_4096_octets);
	tcase_add_test(tcase, too_many_errors_end_the_session);
	tcase_add_test(tcase, sessions_with_errors_do_not_drown_the_log);
	tcase_add_test(tcase, sessions_with_errors_do_not_drown_the_log);
	tcase_add_test(tcase, a_message_wipes_errors_out);
	tcase_add_test(tcase, smtp_has_one_recipient_and_one_reply);
	tcase_add_test(tcase, helo_offers_nothing);
	tcase_add_test(tcase, a_user_who_is_not_allowed_is_refused);
}

static void add_arrival_tests(TCase *tcase)
{
	tcase_add_test(tcase, a_pipelined_batch_is_answered_in_one_write);
	tcase_add_test(tcase, verdicts_of_one_turn_go_out_in_one_write);
	tcase_add_test(tcase, a_whole_session_in_one_write);
	tcase_add_test(tcase, a_session_octet_by_octet);
	tcase_add_test(tcase, a_large_body_arrives_unchanged);
	tcase_add_loop_test(tcase, no_order_of_octets_breaks_a_session, 0, 20);
	tcase_add_loop_test(tcase, an_end_of_file_ends_the_session, 0, sizeof(steps) / sizeof(*steps));
	tcase_add_test(tcase, an_end_of_file_before_the_greeting_ends_the_session);
	tcase_add_test(tcase, a_message_nobody_waits_for_is_abandoned);
	tcase_add_test(tcase, a_session_with_all_its_verdicts_abandons_nothing);
}

static void add_verdict_tests(TCase *tcase)
{
	tcase_add_test(tcase, verdicts_are_written_in_the_order_of_the_recipients);
	tcase_add_test(tcase, the_last_verdict_is_with_the_mta_at_once);
	tcase_add_test(tcase, fifty_recipients_get_fifty_verdicts);
	tcase_add_test(tcase, commands_sent_meanwhile_are_answered_after_the_verdicts);
	tcase_add_test(tcase, all_commands_sent_meanwhile_are_answered_in_the_end);
	tcase_add_test(tcase, a_client_that_reads_late_gets_all_replies);
	tcase_add_test(tcase, a_client_that_floods_while_it_waits_is_not_read);
	tcase_add_test(tcase, a_client_that_reads_no_replies_is_not_read);
	tcase_add_test(tcase, a_nul_is_refused_for_every_recipient);
	if (geteuid() == 0)
		tcase_add_test(tcase, a_full_disk_defers_the_message);
	tcase_add_test(tcase, a_message_that_cannot_be_kept_is_deferred);
	tcase_add_test(tcase, a_body_above_the_offered_size_is_refused);
	tcase_add_test(tcase, no_more_than_a_thousand_recipients);
	tcase_add_test(tcase, no_other_octets_end_the_data);
	tcase_add_test(tcase, strays_are_logged_once_a_message);
}

static void add_time_tests(TCase *tcase)
{
	tcase_add_test(tcase, a_silent_client_is_cut);
	tcase_add_test(tcase, a_dribbled_command_does_not_extend_the_limit);
	tcase_add_test(tcase, a_dribbled_body_is_cut_at_the_limit);
	tcase_add_test(tcase, a_client_that_only_chats_is_cut_at_the_limit);
	tcase_add_test(tcase, waiting_for_verdicts_has_no_limit_of_its_own);
	tcase_add_test(tcase, a_message_keeps_the_snapshot_of_its_mail);
	tcase_add_test(tcase, sessions_that_rest_are_told_to_go_at_once);
	tcase_add_test(tcase, who_rests_after_a_message_refused_here_is_told_to_go_at_once);
	tcase_add_loop_test(tcase, who_speaks_again_at_the_same_moment_has_begun, 0, 2);
	tcase_add_test(tcase, who_has_begun_hands_over_one_more_message);
	tcase_add_test(tcase, who_has_begun_and_is_silent_is_told_to_go_after_a_while);
	tcase_add_test(tcase, a_probe_is_told_that_the_session_is_over);
	tcase_add_loop_test(tcase, in_the_end_every_session_is_told_to_go, 0, 2);
	tcase_add_loop_test(tcase, a_transaction_is_finished_before_the_session_goes, 0, 2);
	tcase_add_loop_test(tcase, a_transaction_that_is_given_up_ends_a_stopping_session, 0, 2);
	tcase_add_test(tcase, a_client_that_takes_no_last_word_is_closed);
	tcase_add_test(tcase, a_view_tells_what_a_session_does);
}

Suite *session_suite(void)
{
	static const struct {
		const char *name;
		void (*add)(TCase *tcase);
	} parts[] = {
		{"dialogue", add_dialogue_tests},
		{"arrival", add_arrival_tests},
		{"verdicts", add_verdict_tests},
		{"time", add_time_tests},
	};
	Suite *suite = suite_create("session");

	for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++) {
		TCase *tcase = tcase_create(parts[i].name);
		tcase_add_checked_fixture(tcase, harness_start, harness_stop);
		parts[i].add(tcase);
		suite_add_tcase(suite, tcase);
	}
	return suite;
}
