/* Unit tests of presets: where they are found, what stands above what, every mistake, and each file of contrib. */
#include <config.h>

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/conf.h"
#include "base/mem.h"
#include "base/provider.h"
#include "check_base.h"

static char directory[32];
static char source[PATH_MAX]; /* of the project; srcdir may be relative */
static char error[CONF_ERROR_SIZE];
static char shown[16384]; /* what was shown, as lines "key=value" */

static void write_file(const char *name, const char *text)
{
	FILE *file = fopen(name, "w");
	ck_assert_ptr_nonnull(file);
	fputs(text, file);
	ck_assert_int_eq(fclose(file), 0);
	ck_assert_int_eq(chmod(name, 0600), 0);
}

static void make_directory(void)
{
	const char *srcdir = getenv("srcdir");
	ck_assert_ptr_nonnull(realpath(srcdir != NULL ? srcdir : ".", source));
	shown[0] = '\0';
	strcpy(directory, "/tmp/check_provider.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(directory));
	ck_assert_int_eq(chdir(directory), 0);
	ck_assert_int_eq(mkdir("ours", 0700), 0);
	ck_assert_int_eq(mkdir("theirs", 0700), 0);
	write_file("secret", "pa55");
}

static void remove_directory(void)
{
	char *command = mem_printf("rm -r %s", directory);
	ck_assert_int_eq(chdir("/"), 0);
	ck_assert_int_eq(system(command), 0);
	free(command);
}

/* "KEYS" in the section; @ is the directory. */
static struct conf *load(const char *preset, const char *keys)
{
	char *section = mem_printf("relay \"a\" {\nprovider = \"%s/preset\"\n%s\n}\n", directory, keys);
	write_file("preset", preset);
	write_file("conf", section);
	free(section);
	return conf_load("conf", error);
}

static struct conf *must_load(const char *preset, const char *keys)
{
	struct conf *conf = load(preset, keys);
	ck_assert_msg(conf != NULL, "%s", error);
	return conf;
}

static void show_line(const char *key, const char *value, void *arg)
{
	(void)arg;
	size_t used = strlen(shown);
	snprintf(shown + used, sizeof(shown) - used, "%s=%s\n", key, value);
}

/* ---- what stands above what ---- */

#define PRESET                                                                                                        \
	"# a preset\nhost = { one.example, \"two.example:2525\" }\ntls = implicit\nmax-connections = 3\nrate = 0.5\n" \
	"auth = { LOGIN, PLAIN }\n"

START_TEST(a_preset_takes_the_place_of_the_defaults)
{
	struct conf *conf = must_load(PRESET, "");
	const struct relay_conf *relay = &conf->relays[0];
	ck_assert_uint_eq(relay->host_count, 2);
	ck_assert_str_eq(relay->hosts[0].host, "one.example");
	ck_assert_uint_eq(relay->hosts[0].port, 465);
	ck_assert_uint_eq(relay->hosts[1].port, 2525);
	ck_assert_int_eq(relay->tls, TLS_IMPLICIT);
	ck_assert_uint_eq(relay->max_connections, 3);
	ck_assert(relay->rate > 0.49 && relay->rate < 0.51);
	ck_assert_uint_eq(relay->auth_count, 2);
	ck_assert_uint_eq(relay->max_messages, 0); /* of neither: the default */
	ck_assert_int_eq(relay->idle_timeout, 60 * USEC_PER_SEC);
	conf_unref(&conf);
}
END_TEST

START_TEST(the_section_stands_above_its_preset)
{
	struct conf *conf = must_load(PRESET, "host = three.example\ntls = starttls\nmax-connections = 20\nrate = 0\n"
					      "streaming = deep");
	const struct relay_conf *relay = &conf->relays[0];
	ck_assert_uint_eq(relay->host_count, 1);
	ck_assert_str_eq(relay->hosts[0].host, "three.example");
	ck_assert_uint_eq(relay->hosts[0].port, 587);
	ck_assert_int_eq(relay->tls, TLS_STARTTLS);
	ck_assert_uint_eq(relay->max_connections, 20);
	ck_assert(relay->rate == 0);
	ck_assert_uint_eq(relay->auth_count, 2);
	ck_assert_int_eq(relay->streaming, STREAMING_DEEP);
	conf_unref(&conf);
}
END_TEST

START_TEST(a_preset_holds_for_its_section_alone)
{
	char *text = mem_printf("relay a { provider = \"%s/preset\" }\nrelay b { host = x }\nrelay c { host = x\n"
				"provider = \"%s/preset\" }\n",
				directory, directory);
	write_file("preset", PRESET);
	write_file("conf", text);
	free(text);
	struct conf *conf = conf_load("conf", error);
	ck_assert_msg(conf != NULL, "%s", error);
	ck_assert_uint_eq(conf->relays[0].max_connections, 3);
	ck_assert_uint_eq(conf->relays[1].max_connections, 10);
	ck_assert_ptr_null(conf->relays[1].provider);
	ck_assert_uint_eq(conf->relays[2].max_connections, 3);
	ck_assert_uint_eq(conf->relays[2].host_count, 1);
	conf_unref(&conf);
}
END_TEST

START_TEST(the_preset_is_shown_and_what_it_gave)
{
	struct conf *conf = must_load(PRESET, "max-messages = 7");
	char *line = mem_printf("relay.a.provider=%s/preset\n", directory);
	conf_show(conf, show_line, NULL);
	ck_assert_ptr_nonnull(strstr(shown, line));
	ck_assert_ptr_nonnull(strstr(shown, "relay.a.max-connections=3\n"));
	ck_assert_ptr_nonnull(strstr(shown, "relay.a.max-messages=7\n"));
	free(line);
	conf_unref(&conf);
}
END_TEST

START_TEST(a_preset_by_itself_is_shown_as_it_stands)
{
	write_file("preset", PRESET);
	ck_assert_msg(conf_preset_show("preset", show_line, NULL, error), "%s", error);
	ck_assert_str_eq(shown, "host=one.example, two.example:2525\ntls=implicit\nauth=LOGIN, PLAIN\n"
				"max-connections=3\nrate=0.5\n");
	write_file("preset", "\nrate = fast\n");
	ck_assert(!conf_preset_show("preset", show_line, NULL, error));
	ck_assert_ptr_nonnull(strstr(error, "preset:2: rate = \"fast\""));
	ck_assert(!conf_preset_show("none", show_line, NULL, error));
	ck_assert_str_eq(error, "cannot open none: No such file or directory");
}
END_TEST

/* ---- mistakes ---- */

static const struct {
	const char *preset, *keys;
	const char *error; /* @ is the directory; a part of it is enough */
} mistakes[] = {
	{"host = b\nmax-conections = 3\n", "",
	 "@/preset:2: unknown key max-conections in a preset: max-connections may be meant (named by conf:2)"},
	{"deadline = 3\n", "", "@/preset:1: unknown key in a preset; known are: host, port, tls"},
	{"host = b\nrelay \"b\" {\n}\n", "", "@/preset:2: unknown key in a preset; known are: host, port"},
	{"\nhost = \"b\n", "", "@/preset:2: the string that begins here is not closed on its line (named by conf:2)"},
	{"root:x:0:0:root:/root:/bin/sh\n", "", "@/preset:1: unknown key in a preset; known are: host"},
	{"host secret\n", "", "@/preset:1: syntax error (named by conf:2)"},
	{"host =\n", "", "@/preset:1: host has no value"},
	{"host = {}\n", "", "@/preset:1: host = {}: an empty list is not allowed"},
	{"host = b\nhost = c\n", "", "@/preset:2: host was given on line 1 already"},
	{"host = b\nport = 0\n", "", "@/preset:2: port = \"0\": a port from 1 to 65535 is needed (named by conf:2)"},
	{"host = b\nmax-age = 5\n", "", "@/preset:2: max-age: 0 or at least 10 seconds are allowed"},
	{"host = b\nrate = 0.0001\n", "", "@/preset:2: rate: 0 or at least 0.001 messages a second are allowed"},
	{"host = b\nmin-connections = 11\n", "", "@/preset:2: min-connections = 11: at most max-connections (10)"},
	{"host = b\ntls-ca-file = /none.pem\n", "", "@/preset:2: tls-ca-file: cannot open /none.pem"},
	{"host = b\ntls = none\n", "username = u\npassword-file = @/secret",
	 "@/preset:2: relay \"a\" has tls = \"none\""},
	{"host = b\nauth = XOAUTH2\n", "username = u\npassword-file = @/secret",
	 "@/preset:2: auth: none of these mechanisms works with a password"},

	/* the section's own part in it */
	{"host = b\nmax-connections = 3\n", "min-connections = 5",
	 "conf:3: min-connections = 5: at most max-connections (3)"},
	{"host = b\nmax-age = 50\n", "\nmax-age = 5", "conf:4: max-age: 0 or at least 10 seconds are allowed"},
	{"tls = implicit\n", "",
	 "conf:1: relay \"a\" has no host: the preset @/preset leaves it to this section. Set the name "},
	{"host = b\n", "username = u", "conf:3: relay \"a\" has a username but no secret"},
	{"host = b\n", "provider = c", "conf:3: provider was given on line 2 already"},

	/* what is the account's own */
	{"host = b\nprovider = generic\n", "",
	 "@/preset:2: provider does not belong into a preset: write it into the relay"},
	{"host = b\nusername = u\n", "", "@/preset:2: username does not belong into a preset"},
	{"host = b\npassword-file = /x\n", "", "@/preset:2: password-file does not belong into a preset"},
	{"host = b\ntoken-file = /x\n", "", "@/preset:2: token-file does not belong into a preset"},
	{"host = b\ntoken-command = x\n", "", "@/preset:2: token-command does not belong into a preset"},
	{"host = b\naccount = x\n", "", "@/preset:2: account does not belong into a preset"},
	{"host = b\nstall-limits = \"reply=10\"\n", "", "@/preset:2: stall-limits does not belong into a preset"},
};

/* The text with the directory for each "@/". */
static char *at_directory(const char *text)
{
	char out[2048];
	size_t used = 0;
	for (const char *p = text; *p != '\0' && used < sizeof(out) - sizeof(directory); p++) {
		if (*p == '@' && p[1] == '/')
			used += (size_t)snprintf(out + used, sizeof(out) - used, "%s", directory);
		else
			out[used++] = *p;
	}
	out[used] = '\0';
	return mem_strdup(out);
}

START_TEST(a_mistake_is_named_where_it_stands)
{
	char *preset = at_directory(mistakes[_i].preset), *keys = at_directory(mistakes[_i].keys);
	char *expected = at_directory(mistakes[_i].error);
	struct conf *conf = load(preset, keys);
	ck_assert_msg(conf == NULL, "taken: %s", preset);
	ck_assert_msg(strstr(error, expected) != NULL, "%s\n  said: %s\n  not: %s", preset, error, expected);
	free(preset);
	free(keys);
	free(expected);
	conf = must_load("host = b\n", ""); /* the next reading is unhurt */
	conf_unref(&conf);
}
END_TEST

static void expect_refusal(const char *name, const char *expected)
{
	char *text = mem_printf("relay a {\n host = b\n provider = \"%s\"\n}\n", name);
	write_file("conf", text);
	ck_assert_ptr_null(conf_load("conf", error));
	ck_assert_msg(strstr(error, expected) != NULL, "%s\n  said: %s", name, error);
	free(text);
}

START_TEST(a_preset_that_is_not_there_is_named_and_what_to_do)
{
	expect_refusal("no-such-provider", "conf:3: provider = \"no-such-provider\": there is no ");
	expect_refusal("no-such-provider", "leave provider out and set host");
	expect_refusal("/none", "conf:3: provider: cannot open /none: No such file or directory");
	expect_refusal("/dev/zero", "conf:3: provider: /dev/zero is not a regular file");
	expect_refusal("/dev", "conf:3: provider: /dev is not a regular file");
	expect_refusal("../preset",
		       "conf:3: provider = \"../preset\": a name of at most 64 letters, digits and hyphens");
	expect_refusal("a.b", "is needed, or a path that begins with \"/\"");
	expect_refusal("", "conf:3: provider = \"\": a name of at most");
	expect_refusal("a23456789012345678901234567890123456789012345678901234567890abcde", "a name of at most 64");
}
END_TEST

/* ---- directories ---- */

START_TEST(the_name_that_is_meant)
{
	static const char *const directories[] = {"ours", "none", "theirs", NULL};
	static const struct {
		const char *name, *meant;
	} names[] = {
		{"SocketLabs", "socketlabs"},
		{"sockelabs", "socketlabs"},
		{"SES", "ses"},
		{"sess", "ses"},
		{"socket", NULL},
		{"x", NULL},
	};
	write_file("theirs/socketlabs.conf", "");
	write_file("ours/ses.conf", "");
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		char *meant = provider_meant(directories, names[i].name);
		ck_assert_pstr_eq(meant, names[i].meant);
		free(meant);
	}
}
END_TEST

START_TEST(ours_are_found_before_theirs)
{
	static const char *const directories[] = {"ours", "none", "theirs", NULL};
	write_file("theirs/one.conf", "");
	write_file("theirs/two.conf", "");
	write_file("ours/two.conf", "");
	char *one = provider_path(directories, "one"), *two = provider_path(directories, "two");
	ck_assert_str_eq(one, "theirs/one.conf");
	ck_assert_str_eq(two, "ours/two.conf");
	ck_assert_ptr_null(provider_path(directories, "three"));
	free(one);
	free(two);
}
END_TEST

/* What cannot be read is ours all the same: to open it tells why. */
START_TEST(theirs_do_not_stand_in_for_what_cannot_be_read)
{
	static const char *const directories[] = {"ours", "loop", "secret", "theirs", NULL};
	write_file("theirs/one.conf", "");
	write_file("theirs/two.conf", "");
	write_file("theirs/three.conf", "");
	ck_assert_int_eq(symlink("nowhere", "ours/one.conf"), 0);
	char *path = provider_path(directories, "one");
	ck_assert_str_eq(path, "ours/one.conf");
	free(path);
	ck_assert_int_eq(symlink("loop", "loop"), 0); /* stands for a directory without permission, which root has */
	path = provider_path(directories, "two");
	ck_assert_str_eq(path, "loop/two.conf");
	free(path);
	path = provider_path(directories + 2, "three"); /* "secret" is no directory */
	ck_assert_str_eq(path, "theirs/three.conf");
	free(path);
}
END_TEST

START_TEST(all_are_listed_once_and_nothing_else)
{
	static const char *const directories[] = {"ours", "none", "theirs", NULL};
	static const char *const files[] = {"theirs/b.conf", "theirs/a.conf", "ours/b.conf",     "ours/c.conf~",
					    "ours/.conf",    "ours/README",   "theirs/d e.conf", "ours/.x.conf"};
	size_t count;
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		write_file(files[i], "");
	struct provider *list = provider_list(directories, &count);
	ck_assert_uint_eq(count, 2);
	ck_assert_str_eq(list[0].name, "a");
	ck_assert_str_eq(list[0].path, "theirs/a.conf");
	ck_assert_str_eq(list[1].name, "b");
	ck_assert_str_eq(list[1].path, "ours/b.conf");
	provider_list_free(list, count);
}
END_TEST

START_TEST(no_more_are_listed_than_there_is_room)
{
	static const char *const directories[] = {"ours", "theirs", NULL};
	size_t count;
	for (int i = 0; i < PROVIDERS_MAX + 3; i++) {
		char *name = mem_printf("ours/p%d.conf", i);
		write_file(name, "");
		free(name);
	}
	struct provider *list = provider_list(directories, &count);
	ck_assert_uint_eq(count, PROVIDERS_MAX);
	provider_list_free(list, count);
}
END_TEST

/* ---- contrib/providers ---- */

static const char *const presets[] = {"brevo",      "fastmail", "generic",    "gmail",     "google-relay",
				      "mailersend", "mailgun",  "mailjet",    "office365", "postmark",
				      "sendgrid",   "ses",      "socketlabs", "sparkpost", "zoho"};
#define PRESETS (sizeof(presets) / sizeof(presets[0]))

START_TEST(contrib_has_these_presets)
{
	char *path = mem_printf("%s/contrib/providers", source);
	const char *const directories[] = {path, NULL};
	size_t count;
	struct provider *list = provider_list(directories, &count);
	ck_assert_uint_eq(count, PRESETS);
	for (size_t i = 0; i < PRESETS; i++)
		ck_assert_str_eq(list[i].name, presets[i]);
	provider_list_free(list, count);
	free(path);
}
END_TEST

/* With nothing but an account, and a host where the preset leaves it to the section. */
START_TEST(each_preset_loads)
{
	char *path = mem_printf("%s/contrib/providers/%s.conf", source, presets[_i]);
	ck_assert_msg(conf_preset_show(path, show_line, NULL, error), "%s", error);
	const char *host = strstr(shown, "host=") == NULL ? "host = smtp.example.org\n" : "";
	char *text = mem_printf("relay \"a\" {\nprovider = \"%s\"\n%susername = u\npassword-file = %s/secret\n}\n",
				path, host, directory);
	write_file("conf", text);
	struct conf *conf = conf_load("conf", error);
	ck_assert_msg(conf != NULL, "%s", error);
	ck_assert_int_ne(conf->relays[0].tls, TLS_NONE);
	ck_assert(conf->relays[0].tls_verify);
	conf_unref(&conf);
	free(text);
	free(path);
}
END_TEST

/* The comment that ends at `line`, which is no comment: an address and when it was seen. */
static bool has_source(const char *text, const char *line)
{
	char comment[2048] = "";
	const char *begin = line;
	while (begin > text) {
		const char *before = begin - 1;
		while (before > text && before[-1] != '\n')
			before--;
		if (*before != '#')
			break;
		begin = before;
	}
	ck_assert_uint_lt((size_t)(line - begin), sizeof(comment));
	memcpy(comment, begin, (size_t)(line - begin));
	return strstr(comment, "https://") != NULL && strstr(comment, "seen") != NULL &&
	       strstr(comment, "2026-") != NULL;
}

START_TEST(each_value_has_its_source_above_it)
{
	static char text[16384];
	char *path = mem_printf("%s/contrib/providers/%s.conf", source, presets[_i]);
	FILE *file = fopen(path, "r");
	ck_assert_ptr_nonnull(file);
	text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
	fclose(file);
	free(path);
	if (strcmp(presets[_i], "generic") == 0) { /* says of itself that no value has one */
		ck_assert_ptr_nonnull(strstr(text, "No value has a source"));
		return;
	}
	unsigned values = 0;
	for (const char *line = text; *line != '\0'; line += strcspn(line, "\n") + 1) {
		ck_assert_msg(strcspn(line, "\n") <= 120, "%.40s...: more than 120 columns", line);
		if (*line == '#' || *line == '\n')
			continue;
		ck_assert_msg(has_source(text, line), "%s: no source above %.40s", presets[_i], line);
		values++;
	}
	ck_assert_uint_gt(values, 0);
}
END_TEST

static TCase *preset_tcase(void)
{
	TCase *tcase = tcase_create("preset");
	tcase_add_checked_fixture(tcase, make_directory, remove_directory);
	tcase_add_test(tcase, a_preset_takes_the_place_of_the_defaults);
	tcase_add_test(tcase, the_section_stands_above_its_preset);
	tcase_add_test(tcase, a_preset_holds_for_its_section_alone);
	tcase_add_test(tcase, the_preset_is_shown_and_what_it_gave);
	tcase_add_test(tcase, a_preset_by_itself_is_shown_as_it_stands);
	tcase_add_loop_test(tcase, a_mistake_is_named_where_it_stands, 0,
			    (int)(sizeof(mistakes) / sizeof(mistakes[0])));
	tcase_add_test(tcase, a_preset_that_is_not_there_is_named_and_what_to_do);
	return tcase;
}

Suite *provider_suite(void)
{
	Suite *suite = suite_create("provider");
	TCase *directories = tcase_create("directories"), *contrib = tcase_create("contrib");
	tcase_add_checked_fixture(directories, make_directory, remove_directory);
	tcase_add_test(directories, the_name_that_is_meant);
	tcase_add_test(directories, ours_are_found_before_theirs);
	tcase_add_test(directories, theirs_do_not_stand_in_for_what_cannot_be_read);
	tcase_add_test(directories, all_are_listed_once_and_nothing_else);
	tcase_add_test(directories, no_more_are_listed_than_there_is_room);
	tcase_add_checked_fixture(contrib, make_directory, remove_directory);
	tcase_add_test(contrib, contrib_has_these_presets);
	tcase_add_loop_test(contrib, each_preset_loads, 0, (int)PRESETS);
	tcase_add_loop_test(contrib, each_value_has_its_source_above_it, 0, (int)PRESETS);
	suite_add_tcase(suite, preset_tcase());
	suite_add_tcase(suite, directories);
	suite_add_tcase(suite, contrib);
	return suite;
}
