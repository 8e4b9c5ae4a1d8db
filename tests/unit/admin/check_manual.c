/* relaypool.conf(5) and relaypoolctl(8) against the code: every key and verb, none too many, the right defaults. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "admin/verbs.h"
#include "base/conf.h"
#include "base/mem.h"
#include "check_admin.h"
#include "client.h"
#include "rooms.h"

#define ENTRIES_MAX 128

struct entry {
	char key[96];           /* "deadline", "relay.host" */
	char default_value[96]; /* as the manual says it */
};

static struct entry entries[ENTRIES_MAX];
static size_t entry_count;

static FILE *open_manual(const char *name)
{
	const char *source = getenv("srcdir");
	char path[512];
	snprintf(path, sizeof(path), "%s/milter/%s", source ? source : ".", name);
	FILE *file = fopen(path, "r");
	ck_assert_msg(file != NULL, "%s cannot be opened", path);
	return file;
}

/* ".Ss Keys of a relay" */
static const char *section_of(const char *heading)
{
	if (strstr(heading, "relay"))
		return "relay.";
	return strstr(heading, "route") ? "route." : "";
}

/* Entries are ".It Ic KEY Ar TYPE", and "Default VALUE; reload." on the next line, below a ".Ss Keys of a SECTION". */
static void read_entries(void)
{
	FILE *file = open_manual("relaypool.conf.5");
	char line[1024], section[16] = "";
	struct entry *entry = NULL;
	entry_count = 0;
	while (fgets(line, sizeof(line), file)) {
		char word[64];
		if (strncmp(line, ".Ss Keys", 8) == 0)
			snprintf(section, sizeof(section), "%s", section_of(line));
		if (sscanf(line, ".It Ic %63s Ar", word) == 1) {
			ck_assert_uint_lt(entry_count, ENTRIES_MAX);
			entry = &entries[entry_count++];
			snprintf(entry->key, sizeof(entry->key), "%s%s", section, word);
			entry->default_value[0] = '\0';
		} else if (entry && (sscanf(line, "Default %95[^;\n]", entry->default_value) == 1 ||
				     strncmp(line, "No default", 10) == 0)) {
			entry = NULL;
		}
	}
	fclose(file);
}

static const struct entry *entry_of(const char *key)
{
	for (size_t i = 0; i < entry_count; i++)
		if (strcmp(entries[i].key, key) == 0)
			return &entries[i];
	return NULL;
}

START_TEST(every_key_is_in_the_manual_and_no_other)
{
	read_entries();
	size_t count = 0;
	for (const char *const *key = conf_keys(); *key; key++, count++)
		ck_assert_msg(entry_of(*key) != NULL, "%s is not in relaypool.conf(5)", *key);
	ck_assert_msg(count == entry_count, "relaypool.conf(5) has %zu keys, the parser %zu", entry_count, count);
}
END_TEST

/* Defaults that depend on the host or on other keys, in words. */
static bool in_words(const char *key)
{
	static const char *const keys[] = {"allow-users", "hostname",   "relay.account",
					   "relay.port",  "relay.host", "route.relays"};
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		if (strcmp(keys[i], key) == 0)
			return true;
	return false;
}

static void compare_default(const char *key, const char *value, void *arg)
{
	(void)arg;
	char name[64];
	const char *dot = strchr(key, '.'), *last = strrchr(key, '.');
	if (dot) /* "relay.r.host" */
		snprintf(name, sizeof(name), "%.*s%s", (int)(dot - key), key, last);
	else
		snprintf(name, sizeof(name), "%s", key);
	const struct entry *entry = entry_of(name);
	if (!entry || in_words(name))
		return;
	char expected[256];
	size_t state = strlen(LOCALSTATEDIR);
	if (strncmp(value, LOCALSTATEDIR, state) == 0) /* the manual has the directories of a package */
		snprintf(expected, sizeof(expected), "/var%s", value + state);
	else
		snprintf(expected, sizeof(expected), "%s", *value ? value : "none");
	ck_assert_msg(strcmp(entry->default_value, expected) == 0, "%s: the manual says \"%s\", the parser \"%s\"",
		      name, entry->default_value, expected);
}

START_TEST(defaults_in_the_manual_are_the_parsers)
{
	char path[] = "/tmp/check_manual.XXXXXX", error[CONF_ERROR_SIZE];
	static const char text[] = "relay \"r\" { host = \"h\" }\nroute \"t\" { relays = \"r\" }\n";
	int fd = mkstemp(path);
	ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
	struct conf *conf = conf_load(path, error);
	unlink(path);
	ck_assert_msg(conf != NULL, "%s", error);
	read_entries();
	conf_show(conf, compare_default, NULL);
	conf_unref(&conf);
}
END_TEST

/* A line of an example as this host can have it: no user but ours, secrets that are there, presets not installed. */
static void write_example_line(FILE *example, const char *line, const char *secret)
{
	const char *srcdir = getenv("srcdir");
	char name[32], *source = realpath(srcdir ? srcdir : ".", NULL);
	if (sscanf(line, " provider = \"%31[a-z0-9-]\"", name) == 1)
		fprintf(example, "provider = \"%s/contrib/providers/%s.conf\"\n", source, name);
	else if (strstr(line, "password-file"))
		fprintf(example, "password-file = \"%s\"\n", secret);
	else if (strncmp(line, "user ", 5) != 0)
		fputs(line, example);
	free(source);
}

/* Every example of a configuration is a ".Bd -literal" block. */
START_TEST(examples_in_the_manual_load)
{
	FILE *file = open_manual("relaypool.conf.5"), *example = NULL;
	char line[1024], path[] = "/tmp/check_manual.XXXXXX", secret[] = "/tmp/check_secret.XXXXXX";
	char error[CONF_ERROR_SIZE];
	unsigned examples = 0;
	int secret_fd = mkstemp(secret);
	ck_assert_int_eq(write(secret_fd, "sesame\n", 7), 7);
	close(secret_fd);
	close(mkstemp(path));
	while (fgets(line, sizeof(line), file)) {
		if (strncmp(line, ".Bd -literal", 12) == 0) {
			example = fopen(path, "w");
		} else if (example && strncmp(line, ".Ed", 3) == 0) {
			fclose(example);
			example = NULL;
			struct conf *conf = conf_load(path, error);
			ck_assert_msg(conf != NULL, "%s", error);
			conf_unref(&conf);
			examples++;
		} else if (example) {
			write_example_line(example, line, secret);
		}
	}
	fclose(file);
	unlink(path);
	unlink(secret);
	ck_assert_uint_eq(examples, 4);
}
END_TEST

/* "[RELAY]", as mdoc has it. */
static const char *argument_in_mdoc(const char *argument)
{
	static const char *const pairs[][2] = {
		{"", ""},
		{"[RELAY]", " Op Ar relay"},
		{"QUEUE-ID", " Ar queue-id"},
		{"ADDRESS", " Ar address"},
		{"[all|shape]", " Op Cm all | shape"},
	};
	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++)
		if (strcmp(pairs[i][0], argument) == 0)
			return pairs[i][1];
	ck_abort_msg("how does the manual write \"%s\"?", argument);
}

START_TEST(every_verb_is_in_the_manual)
{
	FILE *file = open_manual("relaypoolctl.8");
	char line[1024], expected[64];
	bool found[ADMIN_VERBS] = {false}, top = false, providers = false, setup = false, sendmail = false;
	while (fgets(line, sizeof(line), file)) {
		top |= strcmp(line, ".It Cm top\n") == 0;
		providers |= strcmp(line, ".It Cm providers Op Ar name\n") == 0;
		setup |= strcmp(line, ".It Cm setup Cm postfix\n") == 0;
		sendmail |= strcmp(line, ".It Cm setup Cm sendmail\n") == 0;
		for (int i = 0; i < ADMIN_VERBS; i++) {
			snprintf(expected, sizeof(expected), ".It Cm %s%s\n", admin_verbs[i].name,
				 argument_in_mdoc(admin_verbs[i].argument));
			found[i] |= strcmp(line, expected) == 0;
		}
	}
	fclose(file);
	ck_assert(top && providers && setup && sendmail);
	for (int i = 0; i < ADMIN_VERBS; i++)
		ck_assert_msg(found[i], "%s is not in relaypoolctl(8)", admin_verbs[i].name);
}
END_TEST

/* ".It Li id , relay" below ".Ss Keys of VERB". */
static bool key_in_manual(const char *verb, const char *key)
{
	FILE *file = open_manual("relaypoolctl.8");
	char line[1024], heading[64];
	bool section = false, found = false;
	snprintf(heading, sizeof(heading), ".Ss Keys of %s\n", verb);
	while (fgets(line, sizeof(line), file)) {
		if (line[0] == '.' && line[1] == 'S')
			section = strcmp(line, heading) == 0;
		if (!section || strncmp(line, ".It Li ", 7) != 0)
			continue;
		for (char *word = strtok(line + 7, " ,\n"); word; word = strtok(NULL, " ,\n"))
			found |= strcmp(word, key) == 0;
	}
	fclose(file);
	return found;
}

static void expect_keys(const char *verb, const char *argument, const char *list)
{
	char line[128];
	snprintf(line, sizeof(line), "{\"verb\":\"%s\",\"args\":[\"%s\"]}", verb, argument);
	json_t *answer = ask(line);
	json_t *row = json_array_get(json_object_get(answer, list), 0), *value;
	const char *key;
	ck_assert_uint_gt(json_object_size(row), 0);
	json_object_foreach(row, key, value)
		ck_assert_msg(key_in_manual(verb, key), "%s of %s is not in relaypoolctl(8)", key, verb);
	json_decref(answer);
}

START_TEST(every_key_about_time_is_in_the_manual)
{
	rooms.journeys[0] = (struct journey_view){.queue_id = "4fXyZ1", .settled = true};
	rooms.journey_count = 1;
	rooms.stalls[0] = (struct stall_view){.id = 1, .relay = "socketlabs", .open = true};
	rooms.stall_count = 1;
	rooms.latencies[0] = (struct latency_view){.relay = "socketlabs", .seen = 1};
	rooms.latency_count = 1;
	rooms.stats = (struct stats_view){.relay = "socketlabs"};
	expect_keys("why", "4fXyZ1", "journeys");
	expect_keys("stalls", "all", "stalls");
	expect_keys("latency", "socketlabs", "latency");
	expect_keys("stats", "socketlabs", "stats");
	ck_assert(!key_in_manual("stats", "p50"));
}
END_TEST

START_TEST(every_key_of_test_route_is_in_the_manual)
{
	const char *key;
	const json_t *value;
	rooms.nobody = "nobody";
	json_t *answer = ask("{\"verb\":\"test-route\",\"args\":[\"user@example.org\"]}");
	ck_assert_uint_gt(json_object_size(answer), 20);
	json_object_foreach(answer, key, value)
		ck_assert_msg(strcmp(key, "schema") == 0 || key_in_manual("test-route", key),
			      "%s of test-route is not in relaypoolctl(8)", key);
	json_decref(answer);
}
END_TEST

Suite *manual_suite(void)
{
	Suite *suite = suite_create("manual");
	TCase *pages = tcase_create("pages");
	tcase_add_test(pages, every_key_is_in_the_manual_and_no_other);
	tcase_add_test(pages, defaults_in_the_manual_are_the_parsers);
	tcase_add_test(pages, examples_in_the_manual_load);
	tcase_add_test(pages, every_verb_is_in_the_manual);
	suite_add_tcase(suite, pages);
	TCase *answers = tcase_create("answers");
	tcase_add_checked_fixture(answers, rooms_open, rooms_close);
	tcase_add_test(answers, every_key_about_time_is_in_the_manual);
	tcase_add_test(answers, every_key_of_test_route_is_in_the_manual);
	suite_add_tcase(suite, answers);
	return suite;
}
