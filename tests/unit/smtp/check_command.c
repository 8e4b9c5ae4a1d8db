/*
 * Commands: verbs, paths and parameters as MTAs send them, and as nobody should.
 */
#include <stdlib.h>
#include <string.h>

#include <event2/buffer.h>

#include "base/mem.h"
#include "check_smtp.h"
#include "smtp/command.h"
#include "smtp/reply.h"

static const struct {
	const char *line;
	enum verb verb;
	const char *arguments;
} lines[] = {
	{"LHLO mta.example", VERB_LHLO, "mta.example"},
	{"ehlo x", VERB_EHLO, "x"},
	{"HELO", VERB_HELO, ""},
	{"Mail From:<a@b>", VERB_MAIL, "From:<a@b>"},
	{"RCPT  TO:<a@b>", VERB_RCPT, " TO:<a@b>"},
	{"DATA", VERB_DATA, ""},
	{"RSET ", VERB_RSET, ""},
	{"NOOP x y", VERB_NOOP, "x y"},
	{"VRFY a", VERB_VRFY, "a"},
	{"quit", VERB_QUIT, ""},
	{"XFORWARD IDENT=1", VERB_XFORWARD, "IDENT=1"},
	{"", VERB_UNKNOWN, ""},
	{" DATA", VERB_UNKNOWN, "DATA"},
	{"DATAX", VERB_UNKNOWN, ""},
	{"DAT", VERB_UNKNOWN, ""},
	{"MAILFROM:<a@b>", VERB_UNKNOWN, ""},
	{"unknown", VERB_UNKNOWN, ""},
	{"GET / HTTP/1.1", VERB_UNKNOWN, "/ HTTP/1.1"},
	{"\x16\x03\x01", VERB_UNKNOWN, ""},
};

START_TEST(a_verb_is_known_by_its_whole_word)
{
	const char *arguments;

	ck_assert_int_eq(command_verb(lines[_i].line, &arguments), lines[_i].verb);
	ck_assert_str_eq(arguments, lines[_i].arguments);
}
END_TEST

START_TEST(every_verb_has_a_name)
{
	for (int verb = 0; verb < VERB_COUNT; verb++)
		ck_assert_ptr_nonnull(verb_names[verb]);
}
END_TEST

/* What stands within the brackets, as MAIL and RCPT both take it, and what is kept of it. */
static const struct {
	const char *path, *address;
} paths[] = {
	{"a@b", "a@b"},
	{"a.b+c=d@example.com", "a.b+c=d@example.com"},
	{"a..b.@example.com", "a..b.@example.com"},
	{"!#$%&'*+-/=?^_`{|}~@example.com", "!#$%&'*+-/=?^_`{|}~@example.com"},
	{"\"odd user\"@example.com", "\"odd user\"@example.com"},
	{"\"a>b<c@d\"@example.com", "\"a>b<c@d\"@example.com"},
	{"\"a\\\"> b\\\\\"@example.com", "\"a\\\"> b\\\\\"@example.com"},
	{"\"\"@example.com", "\"\"@example.com"},
	{"\"a\".b@example.com", "\"a\".b@example.com"},
	{"a\\@b@example.com", "a\\@b@example.com"},
	{"a\\>b@example.com", "a\\>b@example.com"},
	{"bob@[192.0.2.1]", "bob@[192.0.2.1]"},
	{"bob@[IPv6:2001:db8::1]", "bob@[IPv6:2001:db8::1]"},
	{"a@under_score.example.", "a@under_score.example."},
	{"@relay.example:a@b", "a@b"},
	{"@one.example,@[192.0.2.1],@three:\"x y\"@b", "\"x y\"@b"},
	{"j\xc3\xb6rg@b\xc3\xbc"
	 "cher.example",
	 "j\xc3\xb6rg@b\xc3\xbc"
	 "cher.example"},
	{"\"j\xc3\xb6 rg\"@example.com", "\"j\xc3\xb6 rg\"@example.com"},
	{"\xf0\x9f\x98\x80@example.com", "\xf0\x9f\x98\x80@example.com"},
};

static char *within(const char *before, const char *path, const char *after)
{
	return mem_printf("%s<%s>%s", before, path, after);
}

START_TEST(a_path_is_kept_as_it_is)
{
	char *mail_line = within("FROM:", paths[_i].path, " SIZE=1"), *rcpt_line = within("to: ", paths[_i].path, "");
	struct mail_arguments mail;
	struct rcpt_arguments rcpt;
	struct reply *refusal;

	ck_assert(command_parse_mail(mail_line, &mail, &refusal));
	ck_assert_ptr_null(refusal);
	ck_assert_str_eq(mail.sender, paths[_i].address);
	ck_assert(command_parse_rcpt(rcpt_line, &rcpt, &refusal));
	ck_assert_ptr_null(refusal);
	ck_assert_str_eq(rcpt.address, paths[_i].address);
	mail_arguments_clear(&mail);
	rcpt_arguments_clear(&rcpt);
	free(mail_line);
	free(rcpt_line);
}
END_TEST

static const char *const bad_paths[] = {
	"a",     "@b",      "a@",        "a@b@c",       "a b@c",         "a@b c",          " a@b",       "a@b ",
	"\"a@b", "\"a\"",   "\"a\\\"@b", "\"a\x01\"@b", "\"a\\\x01\"@b", "a\tb@c",         "a\r@b",      "a@b\r",
	"a@b\n", "a\x7f@b", "a\\",       "a@[1.2.3.4",  "a@[]",          "a@[1 2]",        "a@[1]2",     "a@b>c",
	"<a@b>", "a,b@c",   "a(b)@c",    "@one:",       "@one:>",        "@one:@b",        "@one,a@b",   "@one,:a@b",
	"@:a@b", "a@b:c",   "\xc3@b",    "a@\xff",      "\xc0\xbc@b",    "\xed\xa0\x80@b", "\xc2\x85@b",
};

static void assert_refused(struct reply *refusal, int code, const char *enhanced)
{
	ck_assert_ptr_nonnull(refusal);
	ck_assert_int_eq(refusal->code, code);
	ck_assert_str_eq(refusal->enhanced, enhanced);
	ck_assert_int_eq(refusal->local, LOCAL_INGEST);
	reply_unref(&refusal);
}

static void assert_mail_refused(const char *line, int code, const char *enhanced)
{
	struct mail_arguments mail;
	struct reply *refusal;

	ck_assert_msg(!command_parse_mail(line, &mail, &refusal), "%s was taken", line);
	assert_refused(refusal, code, enhanced);
}

static void assert_rcpt_refused(const char *line, int code, const char *enhanced)
{
	struct rcpt_arguments rcpt;
	struct reply *refusal;

	ck_assert_msg(!command_parse_rcpt(line, &rcpt, &refusal), "%s was taken", line);
	assert_refused(refusal, code, enhanced);
}

START_TEST(a_bad_path_is_refused)
{
	char *mail = within("FROM:", bad_paths[_i], ""), *rcpt = within("TO:", bad_paths[_i], "");

	assert_mail_refused(mail, 501, "5.1.7");
	assert_rcpt_refused(rcpt, 501, "5.1.3");
	free(mail);
	free(rcpt);
}
END_TEST

START_TEST(the_null_path_is_for_mail_and_postmaster_for_rcpt)
{
	struct mail_arguments mail;
	struct rcpt_arguments rcpt;
	struct reply *refusal;

	ck_assert(command_parse_mail("FROM:<>", &mail, &refusal));
	ck_assert_str_eq(mail.sender, "");
	ck_assert_str_eq(mail.params, "");
	mail_arguments_clear(&mail);
	ck_assert(command_parse_rcpt("TO:<Postmaster>", &rcpt, &refusal));
	ck_assert_str_eq(rcpt.address, "Postmaster");
	rcpt_arguments_clear(&rcpt);
	assert_rcpt_refused("TO:<>", 501, "5.1.3");
	assert_mail_refused("FROM:<postmaster>", 501, "5.1.7");
}
END_TEST

START_TEST(a_path_may_be_as_long_as_the_limit_and_no_longer)
{
	char *local = mem_alloc(COMMAND_PATH_MAX), *line;
	struct rcpt_arguments rcpt;
	struct reply *refusal;

	memset(local, 'x', COMMAND_PATH_MAX - 2);
	line = mem_printf("TO:<%s@b>", local);
	ck_assert(command_parse_rcpt(line, &rcpt, &refusal));
	rcpt_arguments_clear(&rcpt);
	free(line);
	line = mem_printf("TO:<%s@bc>", local);
	assert_rcpt_refused(line, 501, "5.1.3");
	free(line);
	free(local);
}
END_TEST

START_TEST(what_is_no_mail_or_rcpt_is_refused)
{
	static const char *const rests[] = {"",    "FROM",     "TO",     "FROM <a@b>",    "TO <a@b>", "FROM:",
					    "TO:", "FROM:a@b", "TO:a@b", "FROM:TO:<a@b>", ":<a@b>",   "<a@b>"};

	for (size_t i = 0; i < sizeof(rests) / sizeof(rests[0]); i++) {
		assert_mail_refused(rests[i], 501, "5.5.4");
		assert_rcpt_refused(rests[i], 501, "5.5.4");
	}
	assert_mail_refused("FROM:<a@b>SIZE=1", 501, "5.1.7");
	assert_rcpt_refused("TO:<a@b>,<c@d>", 501, "5.1.3");
}
END_TEST

START_TEST(mail_takes_its_parameters)
{
	struct mail_arguments mail;
	struct reply *refusal;

	ck_assert(command_parse_mail("from:<a@b>  size=12345 Body=8bitmime SMTPUTF8 RET=hdrs AUTH=<> ENVID=a+2Bb+20c ",
				     &mail, &refusal));
	ck_assert_uint_eq(mail.size, 12345);
	ck_assert(mail.body_8bit);
	ck_assert(mail.smtputf8);
	ck_assert_str_eq(mail.params, " RET=hdrs ENVID=a+2Bb+20c");
	mail_arguments_clear(&mail);
	ck_assert(command_parse_mail("FROM:<a@b> BODY=7BIT SIZE=99999999999999999999", &mail, &refusal));
	ck_assert(!mail.body_8bit);
	ck_assert(!mail.smtputf8);
	ck_assert(mail.size == UINT64_MAX);
	ck_assert_str_eq(mail.params, "");
	mail_arguments_clear(&mail);
}
END_TEST

static const struct {
	const char *params;
	int code;
} bad_mail[] = {
	{"SIZE", 501},
	{"SIZE=", 501},
	{"SIZE=-1", 501},
	{"SIZE=1x", 501},
	{"SIZE=123456789012345678901", 501},
	{"BODY", 501},
	{"BODY=BINARYMIME", 501},
	{"SMTPUTF8=yes", 501},
	{"SMTPUTF8=", 501},
	{"RET", 501},
	{"RET=ALL", 501},
	{"ENVID=", 501},
	{"ENVID=a+2", 501},
	{"ENVID=a+", 501},
	{"ENVID=a+0Db", 501},
	{"ENVID=a+0Ab", 501},
	{"ENVID=a+00", 501},
	{"ENVID=a+7F", 501},
	{"ENVID=a+zz", 501},
	{"ENVID=a=b", 501},
	{"ENVID=\xc3\xa9", 501},
	{"AUTH", 501},
	{"SIZE=1 SIZE=1", 501},
	{"RET=FULL ENVID=x ret=HDRS", 501},
	{"=x", 501},
	{"-A=x", 501},
	{"SIZE =1", 501},
	{"a@b", 501},
	{"ENVID=\x01", 501},
	{"ENVID=\xff", 501},
	{"SIZE=1\tRET=FULL", 501},
	{"NOTIFY=NEVER", 555},
	{"XVERP", 555},
	{"HOLDFOR=1", 555},
	{"SIZE=1 MT-PRIORITY=3", 555},
};

START_TEST(bad_mail_parameters_are_refused)
{
	char *line = within("FROM:", "a@b", " "), *whole = mem_printf("%s%s", line, bad_mail[_i].params);

	assert_mail_refused(whole, bad_mail[_i].code, "5.5.4");
	free(whole);
	free(line);
}
END_TEST

static const struct {
	const char *params, *kept;
	bool notify_success;
} good_rcpt[] = {
	{"", "", false},
	{" NOTIFY=NEVER", " NOTIFY=NEVER", false},
	{" notify=Success,FAILURE,delay", " notify=Success,FAILURE,delay", true},
	{" NOTIFY=FAILURE  ORCPT=rfc822;a+2Bb@c", " NOTIFY=FAILURE ORCPT=rfc822;a+2Bb@c", false},
	{" ORCPT=rfc822;\"odd+20user\"@example.com", " ORCPT=rfc822;\"odd+20user\"@example.com", false},
	{" ORCPT=utf-8;j\xc3\xb6rg@b", " ORCPT=utf-8;j\xc3\xb6rg@b", false},
	{" ORCPT=UTF-8;j\\x{F6}rg\\x{1F600}@b", " ORCPT=UTF-8;j\\x{F6}rg\\x{1F600}@b", false},
	{" ORCPT=x400;/S=a", NULL, false},
	{" ORCPT=rfc822;a;b", " ORCPT=rfc822;a;b", false},
};

START_TEST(rcpt_takes_its_parameters)
{
	char *line = within("TO:", "a@b", good_rcpt[_i].params);
	struct rcpt_arguments rcpt;
	struct reply *refusal;

	if (good_rcpt[_i].kept == NULL) {
		assert_rcpt_refused(line, 501, "5.5.4");
	} else {
		ck_assert(command_parse_rcpt(line, &rcpt, &refusal));
		ck_assert_str_eq(rcpt.params, good_rcpt[_i].kept);
		ck_assert_int_eq(rcpt.notify_success, good_rcpt[_i].notify_success);
		rcpt_arguments_clear(&rcpt);
	}
	free(line);
}
END_TEST

static const struct {
	const char *params;
	int code;
} bad_rcpt[] = {
	{"NOTIFY", 501},
	{"NOTIFY=", 501},
	{"NOTIFY=ALWAYS", 501},
	{"NOTIFY=NEVER,SUCCESS", 501},
	{"NOTIFY=SUCCESS,", 501},
	{"NOTIFY=,SUCCESS", 501},
	{"ORCPT=", 501},
	{"ORCPT=rfc822", 501},
	{"ORCPT=rfc822;", 501},
	{"ORCPT=;a@b", 501},
	{"ORCPT=rfc_822;a@b", 501},
	{"ORCPT=rfc822;a+0D+0ARCPT", 501},
	{"ORCPT=rfc822;\xc3\xb6@b", 501},
	{"ORCPT=utf-8;", 501},
	{"ORCPT=utf-8;\\x{0A}@b", 501},
	{"ORCPT=utf-8;\\x{85}@b", 501},
	{"ORCPT=utf-8;\\x{110000}@b", 501},
	{"ORCPT=utf-8;\\x{41", 501},
	{"ORCPT=utf-8;\\x{}", 501},
	{"ORCPT=utf-8;a\\b@c", 501},
	{"ORCPT=utf-8;\xc2\x85@b", 501},
	{"ORCPT=rfc822;a ORCPT=rfc822;b", 501},
	{"NOTIFY=NEVER NOTIFY=NEVER", 501},
	{"SIZE=3", 555},
	{"RET=FULL", 555},
};

START_TEST(bad_rcpt_parameters_are_refused)
{
	char *line = within("TO:", "a@b", " "), *whole = mem_printf("%s%s", line, bad_rcpt[_i].params);

	assert_rcpt_refused(whole, bad_rcpt[_i].code, "5.5.4");
	free(whole);
	free(line);
}
END_TEST

static const struct {
	const char *arguments, *ident;
} idents[] = {
	{"NAME=localhost ADDR=127.0.0.1 PORT=47856", ""},
	{"PROTO=ESMTP HELO=cli.test IDENT=D59A9A900CD SOURCE=LOCAL", "D59A9A900CD"},
	{"ident=4fXy+2DZ1", "4fXy-Z1"},
	{" IDENT=a ", "a"},
	{"IDENT=", ""},
	{"IDENT", ""},
	{"XIDENT=a", ""},
	{"IDENT=[UNAVAILABLE]", ""},
	{"IDENT=[unavailable]", ""},
	{"IDENT=a+0Ab", ""},
	{"IDENT=a+20b", ""},
	{"IDENT=a+2", ""},
	{"IDENT=\xc3\xa9", ""},
	{"IDENT=123456789012345", "123456789012345"},
	{"IDENT=1234567890123456", ""},
	{"", ""},
};

START_TEST(xforward_tells_the_queue_id)
{
	char ident[16] = "old";

	command_xforward_ident(idents[_i].arguments, ident, sizeof(ident));
	ck_assert_str_eq(ident, idents[_i].ident);
}
END_TEST

START_TEST(commands_are_written)
{
	struct evbuffer *out = evbuffer_new();

	command_write_mail(out, "a@b", 42, true, true, " RET=FULL");
	command_write_mail(out, "", 0, false, false, "");
	command_write_rcpt(out, "\"x y\"@b", " NOTIFY=NEVER");
	evbuffer_add(out, "", 1);
	ck_assert_str_eq((const char *)evbuffer_pullup(out, -1),
			 "MAIL FROM:<a@b> SIZE=42 BODY=8BITMIME SMTPUTF8 RET=FULL\r\n"
			 "MAIL FROM:<>\r\n"
			 "RCPT TO:<\"x y\"@b> NOTIFY=NEVER\r\n");
	evbuffer_free(out);
}
END_TEST

#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))

Suite *command_suite(void)
{
	Suite *suite = suite_create("command");
	TCase *tcase = tcase_create("command");

	tcase_add_loop_test(tcase, a_verb_is_known_by_its_whole_word, 0, COUNT(lines));
	tcase_add_test(tcase, every_verb_has_a_name);
	tcase_add_loop_test(tcase, a_path_is_kept_as_it_is, 0, COUNT(paths));
	tcase_add_loop_test(tcase, a_bad_path_is_refused, 0, COUNT(bad_paths));
	tcase_add_test(tcase, the_null_path_is_for_mail_and_postmaster_for_rcpt);
	tcase_add_test(tcase, a_path_may_be_as_long_as_the_limit_and_no_longer);
	tcase_add_test(tcase, what_is_no_mail_or_rcpt_is_refused);
	tcase_add_test(tcase, mail_takes_its_parameters);
	tcase_add_loop_test(tcase, bad_mail_parameters_are_refused, 0, COUNT(bad_mail));
	tcase_add_loop_test(tcase, rcpt_takes_its_parameters, 0, COUNT(good_rcpt));
	tcase_add_loop_test(tcase, bad_rcpt_parameters_are_refused, 0, COUNT(bad_rcpt));
	tcase_add_loop_test(tcase, xforward_tells_the_queue_id, 0, COUNT(idents));
	tcase_add_test(tcase, commands_are_written);
	suite_add_tcase(suite, tcase);
	return suite;
}
