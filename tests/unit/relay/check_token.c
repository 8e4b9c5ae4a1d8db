/* Unit tests of relay/token: what a text means, how long it is kept, who is answered; and of the command behind it. */
#include <config.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <openssl/evp.h>

#include "base/conf.h"
#include "base/loop.h"
#include "base/mem.h"
#include "check_relay.h"
#include "relay/token.h"
#include "token_command.h"

#define SECOND USEC_PER_SEC

static char directory[32], path[64];
static struct relay_conf relay;
static struct token_source *source;

/* ---- answers ---- */

static unsigned answers;
static char token[256], error[512];
static bool settings, kept;

static void on_token(const struct token_answer *answer, void *arg)
{
	(void)arg;
	answers++;
	ck_assert((answer->token == NULL) != (answer->error == NULL));
	snprintf(token, sizeof(token), "%s", answer->token != NULL ? answer->token : "");
	snprintf(error, sizeof(error), "%s", answer->error != NULL ? answer->error : "");
	settings = answer->settings;
	kept = answer->kept;
}

static void start(void)
{
	ck_assert(loop_create());
	clock_fake_start();
	strcpy(directory, "/tmp/check_token.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(directory));
	snprintf(path, sizeof(path), "%s/token", directory);
	relay = (struct relay_conf){.token_file = path};
	answers = 0;
	source = NULL;
}

static void stop(void)
{
	token_source_free(source);
	unlink(path);
	rmdir(directory);
	clock_fake_stop();
	loop_free();
}

/* The file as a helper leaves it `age` seconds ago. */
static void write_token(const char *text, long age)
{
	time_t when = (time_t)(clock_wall() / SECOND) - age;
	struct timespec times[2] = {{.tv_sec = when}, {.tv_sec = when}};
	FILE *file = fopen(path, "w");
	ck_assert_ptr_nonnull(file);
	fputs(text, file);
	fclose(file);
	ck_assert_int_eq(chmod(path, 0600), 0);
	ck_assert_int_eq(utimensat(AT_FDCWD, path, times, 0), 0);
}

static void use_command(const char *command)
{
	relay.token_file = NULL;
	relay.token_command = (char *)command;
}

/* Asks, and waits for the answer, which is in `token` and `error`. */
static void get(void)
{
	if (source == NULL)
		source = token_source_create(&relay);
	unsigned before = answers;
	token_get(source, on_token, NULL);
	ck_assert_uint_eq(answers, before); /* never from inside the call */
	loop_settle();
	ck_assert_uint_eq(answers, before + 1);
}

static void ck_assert_gives(const char *expected)
{
	get();
	ck_assert_msg(strcmp(token, expected) == 0, "%s%s", token, error);
}

static void ck_assert_fails(const char *why)
{
	get();
	ck_assert_str_eq(token, "");
	ck_assert_msg(strstr(error, why) != NULL, "%s", error);
}

/* True if it is still the first token's turn `after`, and a second later that of the second. */
static void ck_assert_kept_for(usec_t time)
{
	ck_assert_gives("t0ken");
	write_token("another", 0);
	clock_fake_advance(time - SECOND);
	ck_assert_gives("t0ken");
	clock_fake_advance(2 * SECOND);
	ck_assert_gives("another");
}

/* ---- what a text means ---- */

START_TEST(a_bare_token_is_kept_for_five_minutes)
{
	write_token("  t0ken\r\n", 10000);
	ck_assert_kept_for(300 * SECOND);
}
END_TEST

START_TEST(expires_in_counts_from_when_it_was_written)
{
	write_token("{\"access_token\": \"t0ken\", \"expires_in\": 3600, \"token_type\": \"Bearer\"}", 3000);
	ck_assert_kept_for(540 * SECOND); /* 600 s are left, less 60 */
}
END_TEST

START_TEST(numbers_may_be_texts)
{
	write_token("{\"access_token\": \"t0ken\", \"expires_in\": \"3600\"}", 0);
	ck_assert_kept_for(3540 * SECOND);
}
END_TEST

START_TEST(expires_at_is_unix_time)
{
	char text[128];
	snprintf(text, sizeof(text), "{\"access_token\": \"t0ken\", \"expires_at\": %lld.5}",
		 (long long)(clock_wall() / SECOND + 1000));
	write_token(text, 5000);
	ck_assert_kept_for(940 * SECOND);
}
END_TEST

START_TEST(json_without_expiry_is_kept_for_five_minutes)
{
	write_token("{\"access_token\": \"t0ken\"}", 0);
	ck_assert_kept_for(300 * SECOND);
}
END_TEST

/* "e30.CLAIMS.sig" with `exp` in so many seconds; base64url without padding. */
static const char *make_jwt(long seconds)
{
	static char jwt[256];
	char claims[64];
	snprintf(claims, sizeof(claims), "{\"sub\":\"\xc3\xbf>?\",\"exp\":%lld}",
		 (long long)(clock_wall() / SECOND + seconds));
	strcpy(jwt, "e30.");
	EVP_EncodeBlock((unsigned char *)jwt + 4, (const unsigned char *)claims, (int)strlen(claims));
	for (char *p = jwt; *p != '\0'; p++) {
		if (*p == '+')
			*p = '-';
		else if (*p == '/')
			*p = '_';
		else if (*p == '=')
			*p = '\0';
	}
	return strcat(jwt, ".c2ln");
}

START_TEST(a_jwt_says_itself_when_it_expires)
{
	const char *jwt = make_jwt(500);
	write_token(jwt, 0);
	ck_assert_gives(jwt);
	write_token("another", 0);
	clock_fake_advance(430 * SECOND);
	ck_assert_gives(jwt);
	clock_fake_advance(15 * SECOND);
	ck_assert_gives("another");
}
END_TEST

START_TEST(what_only_looks_like_a_jwt_is_a_token)
{
	static const char *const tokens[] = {"a.b.c", "..", "a..b", "ya29.a0AfH6SMBx.-_-", "a.bm9uc2Vuc2U.c", "a.%.c"};
	for (size_t i = 0; i < sizeof(tokens) / sizeof(tokens[0]); i++) {
		write_token(tokens[i], 0);
		ck_assert_gives(tokens[i]);
		token_refused(source);
	}
}
END_TEST

static const struct {
	const char *text, *why;
	bool passing; /* what is being written looks like that for a moment, or renewal is late */
} useless[] = {
	{"", "token gives nothing", true},
	{" \n", "token gives nothing", true},
	{"two words", "token gives neither a token nor JSON", false},
	{"line\nline", "token gives neither a token nor JSON", false},
	{"t\xc3\xb6ken", "token gives neither a token nor JSON", false},
	{"{\"access_token\": \"t0k", "token gives neither a token nor JSON", true},
	{"{}", "token gives JSON without an access_token", false},
	{"{\"access_token\": 5}", "token gives JSON without an access_token", false},
	{"{\"access_token\": \"\"}", "token gives JSON without an access_token", false},
	{"{\"access_token\": \"a b\"}", "token gives JSON without an access_token", false},
	{"{\"error\": \"invalid_grant\"}", "token gives the error invalid_grant instead of a token", false},
	{"{\"error\": \"a\\nb\"}", "token gives JSON without an access_token", false},
	{"{\"access_token\": \"t0ken\", \"expires_at\": 1000}", "token gives a token that has expired", true},
	{"{\"access_token\": \"t0ken\", \"expires_in\": 0}", "token gives a token that has expired", true},
	{"{\"access_token\": \"t0ken\", \"expires_in\": -1e300}", "token gives a token that has expired", true},
};

START_TEST(what_is_no_token_is_explained)
{
	write_token(useless[_i].text, 0);
	ck_assert_fails(useless[_i].why);
	ck_assert(settings != useless[_i].passing);
	ck_assert_ptr_null(strstr(error, "t0k"));
	write_token("{\"access_token\": \"t0ken\", \"expires_in\": 1e300}", 0);
	ck_assert_gives("t0ken");
}
END_TEST

START_TEST(a_jwt_that_has_expired_is_no_use)
{
	write_token(make_jwt(-1), 0);
	ck_assert_fails("token gives a token that has expired: see to whatever renews it");
	ck_assert(!settings);
}
END_TEST

START_TEST(a_file_that_is_missing_or_open_to_all_is_named)
{
	ck_assert_fails("/token: No such file or directory");
	ck_assert(settings);
	write_token("t0ken", 0);
	ck_assert_int_eq(chmod(path, 0644), 0);
	ck_assert_fails("everybody may read it: chmod 0640 ");
	ck_assert(settings);
}
END_TEST

START_TEST(a_token_about_to_expire_is_used_and_read_again)
{
	write_token("{\"access_token\": \"t0ken\", \"expires_in\": 30}", 0);
	ck_assert_gives("t0ken");
	write_token("another", 0);
	ck_assert_gives("another");
}
END_TEST

/* ---- who is answered ---- */

START_TEST(a_refused_token_is_read_anew)
{
	write_token("t0ken", 0);
	ck_assert_gives("t0ken");
	write_token("another", 0);
	ck_assert_gives("t0ken");
	token_refused(source);
	ck_assert_gives("another");
	write_token("third", 0);
	ck_assert_gives("another");
}
END_TEST

START_TEST(whether_a_token_is_fresh_is_told)
{
	write_token("t0ken", 0);
	ck_assert_gives("t0ken");
	ck_assert(!kept);
	ck_assert_gives("t0ken");
	ck_assert(kept);
	token_refused(source);
	ck_assert_gives("t0ken");
	ck_assert(!kept);
}
END_TEST

START_TEST(a_refusal_overtakes_an_answer_from_memory)
{
	write_token("t0ken", 0);
	ck_assert_gives("t0ken");
	write_token("another", 0);
	token_get(source, on_token, NULL);
	token_refused(source);
	loop_settle();
	ck_assert_str_eq(token, "another");
}
END_TEST

START_TEST(all_who_wait_share_one_reading)
{
	char *command = mem_printf("echo x >> %s; echo t0ken", path);
	struct stat info;
	use_command(command);
	source = token_source_create(&relay);
	for (int i = 0; i < 5; i++)
		token_get(source, on_token, NULL);
	loop_settle();
	ck_assert_uint_eq(answers, 5);
	ck_assert_str_eq(token, "t0ken");
	ck_assert_int_eq(stat(path, &info), 0);
	ck_assert_int_eq(info.st_size, 2);
	free(command);
}
END_TEST

START_TEST(who_has_cancelled_is_not_answered)
{
	int other;
	write_token("t0ken", 0);
	source = token_source_create(&relay);
	token_get(source, on_token, &other);
	token_get(source, on_token, NULL);
	token_cancel(source, &other);
	loop_settle();
	ck_assert_uint_eq(answers, 1);
	token_get(source, on_token, &other);
	token_cancel(source, &other);
	loop_settle();
	ck_assert_uint_eq(answers, 1);
}
END_TEST

START_TEST(a_source_may_be_freed_while_it_reads)
{
	write_token("t0ken", 0);
	source = token_source_create(&relay);
	token_get(source, on_token, NULL);
	token_source_free(source);
	source = NULL;
	loop_settle();
	ck_assert_uint_eq(answers, 0);
}
END_TEST

static void free_source(const struct token_answer *answer, void *arg)
{
	(void)arg;
	answers++;
	token_source_free(source);
	source = NULL;
	ck_assert_str_eq(answer->token, "t0ken");
}

START_TEST(a_source_may_be_freed_by_whom_it_answers)
{
	write_token("t0ken", 0);
	source = token_source_create(&relay);
	token_get(source, free_source, NULL);
	token_get(source, on_token, NULL);
	loop_settle();
	ck_assert_uint_eq(answers, 1);
}
END_TEST

static void cancel_others(const struct token_answer *answer, void *arg)
{
	(void)answer;
	answers++;
	token_cancel(source, arg);
	token_get(source, on_token, NULL); /* for the next turn */
}

START_TEST(whom_it_answers_may_cancel_and_ask)
{
	int other;
	write_token("t0ken", 0);
	source = token_source_create(&relay);
	token_get(source, cancel_others, &other);
	token_get(source, on_token, &other);
	loop_settle();
	ck_assert_uint_eq(answers, 2);
}
END_TEST

/* ---- the command ---- */

static char *run(const char *command, usec_t limit)
{
	error[0] = '\0';
	return token_command_run(command, limit, error, sizeof(error), &settings);
}

static void ck_assert_prints(const char *command, const char *expected)
{
	char *text = run(command, 20 * SECOND);
	ck_assert_msg(text != NULL, "%s", error);
	ck_assert_str_eq(text, expected);
	mem_free_secret(text);
}

static void ck_assert_ends_badly(const char *command, usec_t limit, const char *why)
{
	ck_assert_ptr_null(run(command, limit));
	ck_assert_str_eq(error, why);
}

START_TEST(a_command_is_a_source)
{
	use_command("echo '{\"access_token\":\"t0ken\",\"expires_in\":3600}'");
	ck_assert_gives("t0ken");
	token_source_free(source);
	source = NULL;
	use_command("echo no network >&2; echo t0ken; exit 3");
	ck_assert_fails("token-command ended with status 3: no network");
}
END_TEST

START_TEST(a_command_begins_like_from_a_shell)
{
	sigset_t all;
	sigfillset(&all);
	signal(SIGPIPE, SIG_IGN);
	sigprocmask(SIG_BLOCK, &all, NULL);
	ck_assert_prints("cat; printf 'a\\nb'", "a\nb"); /* standard input is empty */
	ck_assert_ends_badly("kill -PIPE $$; sleep 20", 10 * SECOND, "token-command was ended by signal 13");
}
END_TEST

START_TEST(how_a_command_ends_is_told)
{
	ck_assert_ends_badly("echo secret; echo 'one\ttwo' >&2; echo three >&2; exit 1", 20 * SECOND,
			     "token-command ended with status 1: one?two");
	ck_assert_ends_badly("kill -TERM $$", 20 * SECOND, "token-command was ended by signal 15");
	ck_assert_ends_badly("printf 'a\\0b'", 20 * SECOND, "token-command printed a NUL octet");
	ck_assert_ends_badly("exec /nonexistent/helper 2>/dev/null", 20 * SECOND,
			     "token-command ended with status 127");
}
END_TEST

static const struct {
	const char *command;
	bool settings;
} failures[] = {
	{"exit 1", false},
	{"exit 75", false},
	{"kill -TERM $$", false},
	{"sleep 60", false},
	{"exec /nonexistent/helper 2>/dev/null", true},
	{"/dev/null 2>/dev/null", true},
	{"printf 'a\\0b'", true},
	{"head -c 70000 /dev/zero | tr '\\0' x", true},
};

START_TEST(what_only_the_administrator_can_mend_is_told)
{
	settings = !failures[_i].settings;
	ck_assert_ptr_null(
		run(failures[_i].command, strcmp(failures[_i].command, "sleep 60") == 0 ? SECOND / 2 : 20 * SECOND));
	ck_assert_msg(settings == failures[_i].settings, "%s", error);
}
END_TEST

START_TEST(a_command_that_prints_too_much_is_ended)
{
	ck_assert_ends_badly("while :; do echo yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy; done", 20 * SECOND,
			     "token-command printed more than 65536 octets");
	char *text = run("head -c 65536 /dev/zero | tr '\\0' x; head -c 200000 /dev/zero >&2", 20 * SECOND);
	ck_assert_msg(text != NULL, "%s", error);
	ck_assert_uint_eq(strlen(text), 65536);
	mem_free_secret(text);
}
END_TEST

START_TEST(a_command_that_hangs_is_ended_with_its_children)
{
	char pid[16] = "";
	char *command = mem_printf("sleep 600 & echo $! > %s; echo waiting >&2; wait", path);
	ck_assert_ends_badly(command, SECOND / 2, "token-command was ended after 0.5 s: waiting");
	free(command);
	FILE *file = fopen(path, "r");
	ck_assert_ptr_nonnull(file);
	ck_assert_ptr_nonnull(fgets(pid, sizeof(pid), file));
	fclose(file);
	for (int i = 0; i < 100 && kill(atoi(pid), 0) == 0; i++) {
		char state[64], kind = '?';
		snprintf(state, sizeof(state), "/proc/%d/stat", atoi(pid));
		FILE *stat_file = fopen(state, "r");
		if (stat_file == NULL || (fscanf(stat_file, "%*d %*s %c", &kind) == 1 && kind == 'Z')) {
			if (stat_file != NULL)
				fclose(stat_file);
			return; /* dead, whoever has to bury it */
		}
		fclose(stat_file);
		usleep(20000);
	}
	ck_assert_int_ne(kill(atoi(pid), 0), 0);
}
END_TEST

START_TEST(a_flood_of_complaints_ends_with_the_limit)
{
	ck_assert_ends_badly("while :; do echo no; done >&2", SECOND / 2, "token-command was ended after 0.5 s: no");
}
END_TEST

START_TEST(what_goes_on_behind_a_command_is_not_waited_for)
{
	usec_t begun = clock_wall();
	clock_fake_stop();
	ck_assert_prints("sleep 5 & echo t0ken", "t0ken\n");
	ck_assert_int_lt(clock_wall() - begun, 4 * SECOND);
}
END_TEST

static TCase *make_tcase(const char *name)
{
	TCase *tcase = tcase_create(name);
	tcase_add_checked_fixture(tcase, start, stop);
	return tcase;
}

Suite *token_suite(void)
{
	Suite *suite = suite_create("token");
	TCase *meaning = make_tcase("meaning"), *asking = make_tcase("asking"), *command = make_tcase("command");
	tcase_add_test(meaning, a_bare_token_is_kept_for_five_minutes);
	tcase_add_test(meaning, expires_in_counts_from_when_it_was_written);
	tcase_add_test(meaning, numbers_may_be_texts);
	tcase_add_test(meaning, expires_at_is_unix_time);
	tcase_add_test(meaning, json_without_expiry_is_kept_for_five_minutes);
	tcase_add_test(meaning, a_jwt_says_itself_when_it_expires);
	tcase_add_test(meaning, what_only_looks_like_a_jwt_is_a_token);
	tcase_add_loop_test(meaning, what_is_no_token_is_explained, 0, (int)(sizeof(useless) / sizeof(useless[0])));
	tcase_add_test(meaning, a_jwt_that_has_expired_is_no_use);
	tcase_add_test(meaning, a_file_that_is_missing_or_open_to_all_is_named);
	tcase_add_test(meaning, a_token_about_to_expire_is_used_and_read_again);
	tcase_add_test(asking, a_refused_token_is_read_anew);
	tcase_add_test(asking, whether_a_token_is_fresh_is_told);
	tcase_add_test(asking, a_refusal_overtakes_an_answer_from_memory);
	tcase_add_test(asking, all_who_wait_share_one_reading);
	tcase_add_test(asking, who_has_cancelled_is_not_answered);
	tcase_add_test(asking, a_source_may_be_freed_while_it_reads);
	tcase_add_test(asking, a_source_may_be_freed_by_whom_it_answers);
	tcase_add_test(asking, whom_it_answers_may_cancel_and_ask);
	tcase_add_test(command, a_command_is_a_source);
	tcase_add_test(command, a_command_begins_like_from_a_shell);
	tcase_add_test(command, how_a_command_ends_is_told);
	tcase_add_loop_test(command, what_only_the_administrator_can_mend_is_told, 0,
			    (int)(sizeof(failures) / sizeof(failures[0])));
	tcase_add_test(command, a_command_that_prints_too_much_is_ended);
	tcase_add_test(command, a_command_that_hangs_is_ended_with_its_children);
	tcase_add_test(command, a_flood_of_complaints_ends_with_the_limit);
	tcase_add_test(command, what_goes_on_behind_a_command_is_not_waited_for);
	suite_add_tcase(suite, meaning);
	suite_add_tcase(suite, asking);
	suite_add_tcase(suite, command);
	return suite;
}
