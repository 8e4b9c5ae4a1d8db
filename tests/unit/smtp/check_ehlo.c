/*
 * Capabilities: from EHLO replies, saved and read again, mirrored to LHLO.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check_smtp.h"
#include "smtp/ehlo.h"
#include "smtp/reply.h"

static struct capabilities parse(const char *text)
{
	struct capabilities caps;
	struct reply *reply;
	const char *why;
	size_t used;

	ck_assert_int_eq(reply_parse(text, strlen(text), &used, &reply, &why), REPLY_COMPLETE);
	capabilities_parse(reply, &caps);
	reply_unref(&reply);
	return caps;
}

static struct capabilities from(const char *text)
{
	struct capabilities caps;

	capabilities_read(text, &caps);
	return caps;
}

/* An EHLO reply and what is understood of it. */
static const struct {
	const char *reply, *capabilities;
} announced[] = {
	{"250 mx.example\r\n", ""},
	{"250 PIPELINING\r\n", ""},
	{"250-mx Hello\r\n250-PIPELINING\r\n250-SIZE "
	 "10240000\r\n250-8BITMIME\r\n250-DSN\r\n250-SMTPUTF8\r\n250-CHUNKING\r\n"
	 "250-STARTTLS\r\n250-ENHANCEDSTATUSCODES\r\n250-ETRN\r\n250 AUTH PLAIN LOGIN\r\n",
	 "PIPELINING SIZE=10240000 8BITMIME DSN SMTPUTF8 CHUNKING STARTTLS AUTH=PLAIN,LOGIN ENHANCEDSTATUSCODES"},
	{"250-mx\r\n250-pipelining\r\n250-size\r\n250 8bitmime \r\n", "PIPELINING SIZE 8BITMIME"},
	{"250-mx\r\n250-SIZE 0\r\n250 DSN\r\n", "SIZE DSN"},
	{"250-mx\r\n250 SIZE 18446744073709551615\r\n", "SIZE=18446744073709551615"},
	{"250-mx\r\n250 SIZE 18446744073709551616\r\n", "SIZE"},
	{"250-mx\r\n250 SIZE -1\r\n", "SIZE"},
	{"250-mx\r\n250 SIZE 12x\r\n", "SIZE"},
	{"250-mx\r\n250-AUTH=PLAIN LOGIN\r\n250 AUTH plain XOAUTH2\r\n", "AUTH=PLAIN,LOGIN,XOAUTH2"},
	{"250-mx\r\n250 AUTH\r\n", "AUTH"},
	{"250-mx\r\n250 AUTH PL(AIN a,b SCRAM-SHA-256 =\r\n", "AUTH=SCRAM-SHA-256"},
	{"250-mx\r\n250 AUTH=\r\n", "AUTH"},
	{"250-mx\r\n250 LIMITS RCPTMAX=100 MAILMAX=50 OTHER=1\r\n", "MAILMAX=50 RCPTMAX=100"},
	{"250-mx\r\n250 LIMITS RCPTMAX=1000000 MAILMAX=x MAILMAX\r\n", ""},
	{"250-mx\r\n250-\r\n250-   \r\n250  DSN\r\n", "DSN"},
	{"250-mx\r\n250-PIPELININGX\r\n250-XPIPELINING\r\n250 PIPELINING=1\r\n", ""},
};

START_TEST(an_ehlo_reply_is_understood)
{
	struct capabilities caps = parse(announced[_i].reply);
	char text[256];

	ck_assert_str_eq(capabilities_format(&caps, text, sizeof(text)), announced[_i].capabilities);
}
END_TEST

START_TEST(what_is_saved_is_read_again)
{
	struct capabilities caps = parse(announced[_i].reply), again;
	char text[512];

	again = from(capabilities_format(&caps, text, sizeof(text)));
	ck_assert_uint_eq(again.bits, caps.bits);
	ck_assert_uint_eq(again.size, caps.size);
	ck_assert_str_eq(again.auth, caps.auth);
	ck_assert_uint_eq(again.mail_max, caps.mail_max);
	ck_assert_uint_eq(again.rcpt_max, caps.rcpt_max);
}
END_TEST

START_TEST(a_mechanism_is_found_by_its_whole_name)
{
	struct capabilities caps = parse("250-mx\r\n250 AUTH plain SCRAM-SHA-256 CRAM-MD5\r\n");

	ck_assert_str_eq(caps.auth, " PLAIN SCRAM-SHA-256 CRAM-MD5 ");
	ck_assert(capabilities_auth(&caps, "PLAIN"));
	ck_assert(capabilities_auth(&caps, "cram-md5"));
	ck_assert(!capabilities_auth(&caps, "LOGIN"));
	ck_assert(!capabilities_auth(&caps, "SCRAM-SHA-1"));
	ck_assert(!capabilities_auth(&caps, "SCRAM"));
	ck_assert(!capabilities_auth(&caps, "PLAIN SCRAM-SHA-256"));
	ck_assert(!capabilities_auth(&caps, ""));
	ck_assert(!capabilities_auth(&caps, "A-NAME-THAT-IS-MUCH-TOO-LONG-TO-BE-ONE-OF-THEM"));
}
END_TEST

START_TEST(many_mechanisms_are_bounded)
{
	char text[REPLY_LINE_MAX * 2] = "250-mx\r\n250 AUTH";
	struct capabilities caps;

	for (int i = 0; i < 150; i++) {
		char name[24];

		snprintf(name, sizeof(name), " MECH-%d", i);
		strcat(text, name);
	}
	strcat(text, "\r\n");
	caps = parse(text);
	ck_assert(capabilities_auth(&caps, "MECH-0"));
	ck_assert(!capabilities_auth(&caps, "MECH-149"));
	ck_assert_int_eq(caps.auth[strlen(caps.auth) - 1], ' ');
}
END_TEST

START_TEST(a_short_buffer_gets_whole_words)
{
	struct capabilities caps = from("PIPELINING SIZE=10240000 8BITMIME DSN");
	char text[24];

	ck_assert_str_eq(capabilities_format(&caps, text, 24), "PIPELINING 8BITMIME DSN");
	ck_assert_str_eq(capabilities_format(&caps, text, 23), "PIPELINING 8BITMIME");
	ck_assert_str_eq(capabilities_format(&caps, text, 1), "");
}
END_TEST

START_TEST(saved_words_that_are_unknown_are_ignored)
{
	struct capabilities caps = from("  DSN XYZZY SIZE=abc AUTH=PLAIN,,LOG%IN MAILMAX=7 SIZ=3 ");

	ck_assert_uint_eq(caps.bits, CAP_DSN | CAP_SIZE | CAP_AUTH);
	ck_assert_uint_eq(caps.size, 0);
	ck_assert_str_eq(caps.auth, " PLAIN ");
	ck_assert_uint_eq(caps.mail_max, 7);
}
END_TEST

/* Up to three relays ("?": nothing known) and what LHLO offers besides PIPELINING and ENHANCEDSTATUSCODES. */
static const struct {
	const char *relays[3];
	const char *offered;
} mirrored[] = {
	{{NULL}, "SIZE 8BITMIME SMTPUTF8"},
	{{"?", "?"}, "SIZE 8BITMIME SMTPUTF8"},
	{{""}, "SIZE"},
	{{"SIZE=100 8BITMIME DSN SMTPUTF8 CHUNKING STARTTLS AUTH=PLAIN MAILMAX=5 RCPTMAX=3"},
	 "SIZE=100 8BITMIME DSN SMTPUTF8"},
	{{"SIZE=100", "SIZE=300", "SIZE=200"}, "SIZE=300"},
	{{"SIZE=100", "SIZE"}, "SIZE"},
	{{"SIZE=100", "8BITMIME"}, "SIZE"},
	{{"8BITMIME DSN SIZE=1", "8BITMIME SMTPUTF8 SIZE=2"}, "SIZE=2 8BITMIME SMTPUTF8"},
	{{"8BITMIME DSN SIZE=1", "DSN SIZE=2"}, "SIZE=2 DSN"},
	{{"8BITMIME DSN SIZE=1", "?"}, "SIZE=1 8BITMIME"},
	{{"?", "DSN SMTPUTF8 SIZE=1"}, "SIZE=1 SMTPUTF8"},
};

START_TEST(lhlo_mirrors_the_relays)
{
	struct capabilities known[3], offered, expected;
	const struct capabilities *relays[3];
	char text[256], wanted[256];
	size_t count = 0;

	for (; count < 3 && mirrored[_i].relays[count] != NULL; count++) {
		known[count] = from(mirrored[_i].relays[count]);
		relays[count] = strcmp(mirrored[_i].relays[count], "?") == 0 ? NULL : &known[count];
	}
	capabilities_mirror(relays, count, &offered);
	expected = from(mirrored[_i].offered);
	expected.bits |= CAP_PIPELINING | CAP_ENHANCEDSTATUSCODES;
	ck_assert_str_eq(capabilities_format(&offered, text, sizeof(text)),
			 capabilities_format(&expected, wanted, sizeof(wanted)));
}
END_TEST

#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))

Suite *ehlo_suite(void)
{
	Suite *suite = suite_create("ehlo");
	TCase *tcase = tcase_create("ehlo");

	tcase_add_loop_test(tcase, an_ehlo_reply_is_understood, 0, COUNT(announced));
	tcase_add_loop_test(tcase, what_is_saved_is_read_again, 0, COUNT(announced));
	tcase_add_test(tcase, a_mechanism_is_found_by_its_whole_name);
	tcase_add_test(tcase, many_mechanisms_are_bounded);
	tcase_add_test(tcase, a_short_buffer_gets_whole_words);
	tcase_add_test(tcase, saved_words_that_are_unknown_are_ignored);
	tcase_add_loop_test(tcase, lhlo_mirrors_the_relays, 0, COUNT(mirrored));
	suite_add_tcase(suite, tcase);
	return suite;
}
