/* setup/sendmail_*.c: where the block stands in sendmail.mc, what is read of sendmail.cf, which sockets are safe. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "check_setup.h"
#include "sendmail/sendmail.h"

#define BLOCK "dnl relaypool begin (x)\nFEATURE(`relaypool')dnl\ndnl relaypool end\n"
#define UPSTREAM "VERSIONID(`x')\nOSTYPE(`linux')dnl\nMAILER(`local')dnl\nMAILER(`smtp')dnl\n"
#define DEBIAN                                                          \
	"divert(-1)dnl\n# MAILER(`no')\nMAILER(`none')\ndivert(0)dnl\n" \
	"include(`/usr/share/sendmail/cf/m4/cf.m4')dnl\nMAILER_DEFINITIONS\n"
#define DEBIAN_END "MAILER(`local')dnl\nMAILER(`smtp')dnl\n\n"
#define FEDORA "dnl # MAILER(`x')\ninclude(`/usr/share/sendmail-cf/m4/cf.m4')dnl\r\n  MAILER(smtp)dnl"

static char place[64], error[SETUP_ERROR_SIZE];

/* ---- sendmail.mc ---- */

static void assert_place(const char *before, const char *behind)
{
	char *text = mem_printf("%s%s", before, behind), *wanted = mem_printf("%s" BLOCK "%s", before, behind);
	char *with = mc_with(text, BLOCK);
	ck_assert_ptr_nonnull(with);
	ck_assert_str_eq(with, wanted);
	char *block = mc_block(with), *without = mc_without(with);
	ck_assert_str_eq(block, BLOCK);
	ck_assert_str_eq(without, text);
	free(without);
	free(block);
	free(with);
	free(wanted);
	free(text);
}

START_TEST(block_stands_before_the_first_mailer)
{
	assert_place("VERSIONID(`x')\nOSTYPE(`linux')dnl\n", "MAILER(`local')dnl\nMAILER(`smtp')dnl\n");
	assert_place(DEBIAN, DEBIAN_END);
	assert_place("dnl # MAILER(`x')\ninclude(`/usr/share/sendmail-cf/m4/cf.m4')dnl\r\n", "  MAILER(smtp)dnl");
	assert_place("", "MAILER(`smtp')");
}
END_TEST

START_TEST(no_mailer_no_place)
{
	ck_assert_ptr_null(mc_with("OSTYPE(`linux')\nMAILER_DEFINITIONS\ndnl MAILER(`x')\n", BLOCK));
	ck_assert_ptr_null(mc_with("", BLOCK));
}
END_TEST

START_TEST(marks_that_are_no_pair_are_broken)
{
	static const struct {
		const char *text;
		enum mc_block state;
	} cases[] = {
		{UPSTREAM, MC_NONE},
		{"", MC_NONE},
		{"dnl relaypool beginning\ndnl relaypools end\n x dnl relaypool end\n", MC_NONE},
		{"a\n" BLOCK "b\n", MC_ONE},
		{"dnl relaypool begin\r\ndnl relaypool end", MC_ONE},
		{BLOCK BLOCK, MC_BROKEN},
		{"dnl relaypool begin\n", MC_BROKEN},
		{"dnl relaypool end\n", MC_BROKEN},
		{"dnl relaypool begin\n" BLOCK, MC_BROKEN},
		{"dnl relaypool end\ndnl relaypool begin\n", MC_BROKEN},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		size_t begin, end;
		ck_assert_msg(mc_find(cases[i].text, &begin, &end) == cases[i].state, "case %zu", i);
		if (cases[i].state == MC_BROKEN) {
			char *same = mc_without(cases[i].text);
			ck_assert_str_eq(same, cases[i].text);
			ck_assert_ptr_null(mc_block(cases[i].text));
			free(same);
		}
	}
}
END_TEST

static void assert_macros(const char *text, const char *wanted)
{
	char *found = mc_macros(text);
	ck_assert_pstr_eq(found, wanted);
	free(found);
}

START_TEST(macros_are_those_that_it_includes)
{
	assert_macros(DEBIAN, "/usr/share/sendmail/cf/");
	assert_macros(FEDORA, "/usr/share/sendmail-cf/");
	assert_macros("dnl include(`/x/m4/cf.m4')\ninclude(`/etc/mail/m4/provider.m4')\n", NULL);
	assert_macros("include(../m4/cf.m4)\n", "../");
	assert_macros("include(`m4/cf.m4')\n", NULL);
	assert_macros(UPSTREAM, NULL);
}
END_TEST

/* ---- sendmail.cf ---- */

#define CF                                                                                                       \
	"# comment\nDSrelaypool:localhost\n#O PidFile=/default\nO Timeout.datafinal=10m\nO PidFile=/run/a\n"     \
	"Mrelaypool,\tP=[IPC], F=mDFMuXakz,\n\t\tT=DNS/RFC822/SMTP,\n\t\tA=FILE /run/x\n#O Timeout.connect=1m\n" \
	"Mrelay,\tA=TCP $h"

static void assert_line(char *found, const char *wanted)
{
	ck_assert_pstr_eq(found, wanted);
	free(found);
}

START_TEST(lines_and_options_are_found)
{
	assert_line(cf_line(CF, "DS"), "relaypool:localhost");
	assert_line(cf_line(CF, "DR"), NULL);
	assert_line(cf_line("DSa\nDSb\nxDSc", "DS"), "b");
	assert_line(cf_line(CF, "Mrelaypool,"), "\tP=[IPC], F=mDFMuXakz, T=DNS/RFC822/SMTP, A=FILE /run/x");
	assert_line(cf_line(CF, "Mrelay,"), "\tA=TCP $h");
	assert_line(cf_option(CF, "PidFile"), "/run/a");
	assert_line(cf_option(CF, "Timeout.connect"), "1m");
	assert_line(cf_option(CF, "Timeout.mail"), NULL);
	assert_line(cf_field("\tP=[IPC], F=, A=FILE /run/x", "A="), "FILE /run/x");
	assert_line(cf_field("S=unix:/x, F=, T=C:2s", "F="), "");
	assert_line(cf_field("S=unix:/F=x", "F="), NULL);
}
END_TEST

START_TEST(comments_make_no_difference)
{
	ck_assert(cf_same("#####  built by a on Monday\nDSx\n\nO A=1\n", "DSx\n# other\nO A=1"));
	ck_assert(cf_same("", "# nothing\n\n"));
	ck_assert(!cf_same("DSx\n", "DSy\n"));
	ck_assert(!cf_same("DSx\n", "DSx\nO A=1\n"));
	ck_assert(!cf_same("DSx\nO A=1\n", "DSx\n"));
	ck_assert(!cf_same("DSx y\n", "DSx\ny\n"));
}
END_TEST

START_TEST(times_are_read)
{
	static const struct {
		const char *text;
		long seconds;
	} cases[] = {{"1h", 3600},     {"5m", 300},    {"90s", 90},  {"1h30m", 5400},
		     {"10", 600},      {"2d", 172800}, {"1H", 3600}, {"", -1},
		     {"soon", -1},     {"1y", -1},     {"0s", 0},    {"99999999999999999999s", -1},
		     {"1h soon", 3600}};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		ck_assert_msg(cf_seconds(cases[i].text) == cases[i].seconds, "\"%s\" is %ld", cases[i].text,
			      cf_seconds(cases[i].text));
}
END_TEST

/* ---- places ---- */

static void make_place(void)
{
	/* Not below /tmp, to which everybody may write. */
	strcpy(place, "/run/check_sendmail.XXXXXX");
	if (!mkdtemp(place)) {
		strcpy(place, "./check_sendmail.XXXXXX");
		ck_assert_ptr_nonnull(mkdtemp(place));
	}
}

static void remove_place(void)
{
	char *command = mem_printf("rm -rf %s", place);
	ck_assert_int_eq(system(command), 0);
	free(command);
}

START_TEST(sockets_that_others_could_replace_are_refused)
{
	char *why = socket_refused("/tmp/relaypool/x.sock");
	ck_assert_ptr_nonnull(why);
	ck_assert_str_eq(why, "everybody may write to /tmp");
	free(why);
	ck_assert_ptr_null(socket_refused("/nonesuch/a/b.sock"));
	ck_assert_ptr_null(socket_refused("/usr/x.sock"));
	if (place[0] != '/')
		return; /* not root: what is above our directory is not known */
	char *path = mem_printf("%s/inner", place), *socket = mem_printf("%s/x.sock", path);
	ck_assert_int_eq(mkdir(path, 0755), 0);
	ck_assert_ptr_null(socket_refused(socket));
	ck_assert_int_eq(chmod(path, 0775), 0);
	why = socket_refused(socket);
	ck_assert_ptr_nonnull(why);
	ck_assert_ptr_nonnull(strstr(why, "its group may write to /run/check_sendmail."));
	free(why);
	ck_assert_int_eq(chmod(path, 02750), 0);
	ck_assert_ptr_null(socket_refused(socket));
	free(socket);
	free(path);
}
END_TEST

/* ---- the block ---- */

static struct endpoint endpoint(const char *text)
{
	struct endpoint result;
	ck_assert_msg(endpoint_parse(text, &result, error), "%s", error);
	return result;
}

/* The lines between the marks; NULL if there can be none. The caller's. */
static char *make_block(const char *milter, const char *lmtp, const char *direct, const char *domain)
{
	struct endpoint listener = endpoint(lmtp);
	struct conf conf = {.milter = endpoint(milter), .lmtp = &listener, .lmtp_count = 1};
	char *domains[] = {(char *)domain}, *macros = mem_printf("%s/", place);
	if (direct) {
		conf.failover = FAILOVER_DIRECT;
		conf.smtp = endpoint(direct);
	}
	char *block = block_make(&conf, domains, domain != NULL, macros, error);
	free(macros);
	if (!block)
		return NULL;
	ck_assert_ptr_eq(strstr(block, "dnl relaypool begin"), block);
	char *begin = strchr(block, '\n') + 1, *end = strstr(block, "dnl relaypool end\n");
	ck_assert_ptr_nonnull(end);
	char *lines = mem_strndup(begin, (size_t)(end - begin));
	free(block);
	return lines;
}

static void lay_feature(void)
{
	char *path = mem_printf("%s/feature", place), *file = mem_printf("%s/relaypool.m4", path);
	ck_assert_int_eq(mkdir(path, 0755), 0);
	FILE *feature = fopen(file, "w");
	ck_assert_ptr_nonnull(feature);
	fclose(feature);
	free(file);
	free(path);
}

START_TEST(block_says_what_relaypool_conf_says)
{
	static const struct {
		const char *milter, *lmtp, *direct, *domain, *lines;
	} cases[] = {
		{"unix:/run/relaypool/milter.sock", "unix:/run/relaypool/lmtp.sock", NULL, NULL,
		 "FEATURE(`relaypool')dnl\n"},
		{"unix:/srv/rp/milter.sock", "unix:/srv/rp/lmtp.sock", NULL, NULL,
		 "FEATURE(`relaypool', `/srv/rp')dnl\n"},
		{"inet:8899@0.0.0.0", "inet:2424@127.0.0.1", NULL, NULL,
		 "define(`RELAYPOOL_MILTER', `inet:8899@127.0.0.1')dnl\n"
		 "define(`RELAYPOOL_MAILER_ARGS', `TCP [127.0.0.1] 2424')dnl\nFEATURE(`relaypool')dnl\n"},
		{"unix:/run/relaypool/milter.sock", "unix:/srv/rp/l", NULL, "far.example",
		 "define(`RELAYPOOL_MAILER_ARGS', `FILE /srv/rp/l')dnl\n"
		 "define(`RELAYPOOL_DOMAINS', `far.example')dnl\nFEATURE(`relaypool')dnl\n"},
		{"inet6:8899@[::1]", "unix:/srv/rp/lmtp.sock", NULL, NULL,
		 "define(`RELAYPOOL_MILTER', `inet6:8899@::1')dnl\nFEATURE(`relaypool', `/srv/rp')dnl\n"},
		{"unix:/run/relaypool/milter.sock", "unix:/x/y", "inet:587@127.0.0.2", NULL,
		 "FEATURE(`relaypool', , `direct')dnl\n"},
	};
	lay_feature();
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char *lines = make_block(cases[i].milter, cases[i].lmtp, cases[i].direct, cases[i].domain);
		ck_assert_msg(lines != NULL, "case %zu: %s", i, error);
		ck_assert_str_eq(lines, cases[i].lines);
		free(lines);
	}
}
END_TEST

START_TEST(what_m4_would_read_otherwise_is_refused)
{
	static const char good[] = "unix:/run/relaypool/milter.sock";
	lay_feature();
	ck_assert_ptr_null(make_block("unix:/run/a'b/milter.sock", good, NULL, NULL));
	ck_assert_ptr_null(make_block(good, "unix:/run/a`b/lmtp.sock", NULL, NULL));
	ck_assert_ptr_null(make_block(good, good, NULL, "x')define(`y"));
	ck_assert_ptr_null(make_block(good, good, NULL, ".far.example"));
	ck_assert_ptr_null(make_block(good, good, NULL, ""));
	ck_assert_ptr_null(make_block(good, good, "inet:25@127.0.0.1", NULL));
	ck_assert_ptr_nonnull(strstr(error, "127.0.0.2"));
}
END_TEST

START_TEST(feature_that_is_nowhere_is_told)
{
	if (access(PKGDATADIR "/sendmail/feature/relaypool.m4", F_OK) == 0)
		return; /* relaypool is installed on this host */
	ck_assert_ptr_null(make_block("unix:/run/x/milter.sock", "unix:/run/x/lmtp.sock", NULL, NULL));
	ck_assert_ptr_nonnull(strstr(error, "install relaypool again"));
}
END_TEST

Suite *sendmail_suite(void)
{
	Suite *suite = suite_create("sendmail");
	TCase *texts = tcase_create("texts");
	tcase_add_test(texts, block_stands_before_the_first_mailer);
	tcase_add_test(texts, no_mailer_no_place);
	tcase_add_test(texts, marks_that_are_no_pair_are_broken);
	tcase_add_test(texts, macros_are_those_that_it_includes);
	tcase_add_test(texts, lines_and_options_are_found);
	tcase_add_test(texts, comments_make_no_difference);
	tcase_add_test(texts, times_are_read);
	suite_add_tcase(suite, texts);
	TCase *places = tcase_create("places");
	tcase_add_checked_fixture(places, make_place, remove_place);
	tcase_add_test(places, sockets_that_others_could_replace_are_refused);
	tcase_add_test(places, block_says_what_relaypool_conf_says);
	tcase_add_test(places, what_m4_would_read_otherwise_is_refused);
	tcase_add_test(places, feature_that_is_nowhere_is_told);
	suite_add_tcase(suite, places);
	return suite;
}
