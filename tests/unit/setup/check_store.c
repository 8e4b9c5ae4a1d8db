/* setup/store.h: what is remembered, safely; files given back as they were. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "check_setup.h"
#include "setup/store.h"

#define NAME "postfix/etc/postfix"

static char place[64], file_path[96], error[SETUP_ERROR_SIZE];
static struct store store;

static void make_place(void)
{
	strcpy(place, "/tmp/check_store.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(place));
	snprintf(file_path, sizeof(file_path), "%s/main.cf", place);
	char *root = mem_printf("%s/setup", place);
	setenv(STORE_ENVIRONMENT, root, 1);
	free(root);
}

static void remove_place(void)
{
	char *command = mem_printf("rm -rf %s", place);
	ck_assert_int_eq(system(command), 0);
	free(command);
}

static void write_text(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");
	ck_assert_ptr_nonnull(file);
	fputs(text, file);
	fclose(file);
}

static void assert_text(const char *path, const char *text)
{
	char found[256] = "";
	FILE *file = fopen(path, "r");
	ck_assert_msg(file != NULL, "%s is not there", path);
	found[fread(found, 1, sizeof(found) - 1, file)] = '\0';
	fclose(file);
	ck_assert_str_eq(found, text);
}

static void open_store(enum store_access access)
{
	ck_assert_msg(store_open(&store, NAME, access, error), "%s", error);
}

static void begin_store(void)
{
	open_store(STORE_CHANGE);
	ck_assert_ptr_null(store.state);
	store.state = json_pack("{s:s}", "phase", "applying");
}

static void save(void)
{
	ck_assert_msg(store_save(&store, error), "%s", error);
}

START_TEST(a_state_is_there_for_the_next_one)
{
	begin_store();
	save();
	store_close(&store);
	open_store(STORE_LOOK);
	ck_assert_str_eq(json_string_value(json_object_get(store.state, "phase")), "applying");
	store_close(&store);
	open_store(STORE_CHANGE);
	ck_assert_msg(store_forget(&store, error), "%s", error);
	store_close(&store);
	open_store(STORE_LOOK);
	ck_assert_ptr_null(store.state);
	ck_assert_msg(access(store.directory, F_OK) == -1, "nothing is left of it");
	store_close(&store);
}
END_TEST

START_TEST(looking_makes_nothing)
{
	open_store(STORE_LOOK);
	ck_assert_ptr_null(store.state);
	store_close(&store);
	ck_assert_int_eq(access(getenv(STORE_ENVIRONMENT), F_OK), -1);
}
END_TEST

START_TEST(what_is_above_is_made)
{
	struct stat info;
	char *root = mem_printf("%s/var/lib/setup", place), *above = mem_printf("%s/var", place);
	setenv(STORE_ENVIRONMENT, root, 1);
	begin_store();
	store_close(&store);
	ck_assert_int_eq(stat(above, &info), 0);
	ck_assert_uint_eq(info.st_mode & 022, 0);
	free(root);
	free(above);
}
END_TEST

START_TEST(only_one_may_change)
{
	struct store other;
	begin_store();
	ck_assert(!store_open(&other, "sendmail/etc/mail", STORE_CHANGE, error));
	ck_assert_str_eq(error, "another relaypoolctl setup is at work; wait until it has ended");
	ck_assert(!store_open(&other, NAME, STORE_CHANGE, error));
	ck_assert_msg(store_save(&store, error), "%s", error); /* its directory is still there */
	ck_assert_msg(store_open(&other, NAME, STORE_LOOK, error), "%s", error);
	store_close(&other);
	store_close(&store);
	open_store(STORE_CHANGE);
	store_close(&store);
}
END_TEST

START_TEST(a_place_that_others_may_write_to_is_refused)
{
	ck_assert_int_eq(mkdir(getenv(STORE_ENVIRONMENT), 0700), 0);
	ck_assert_int_eq(chmod(getenv(STORE_ENVIRONMENT), 0770), 0);
	ck_assert(!store_open(&store, NAME, STORE_CHANGE, error));
	ck_assert_ptr_nonnull(strstr(error, "mode 0700"));
	ck_assert_int_eq(rmdir(getenv(STORE_ENVIRONMENT)), 0);
	ck_assert_int_eq(symlink("/tmp", getenv(STORE_ENVIRONMENT)), 0);
	ck_assert(!store_open(&store, NAME, STORE_CHANGE, error));
	ck_assert_ptr_nonnull(strstr(error, "has to be a directory"));
}
END_TEST

START_TEST(a_file_comes_back_with_its_mode)
{
	char digest[STORE_DIGEST_SIZE], now[STORE_DIGEST_SIZE];
	struct stat info;
	write_text(file_path, "a = b\n# comment\n");
	ck_assert_int_eq(chmod(file_path, 0640), 0);
	begin_store();
	ck_assert_msg(store_keep_file(&store, file_path, error), "%s", error);
	save();
	store_close(&store);
	ck_assert_int_eq(unlink(file_path), 0);
	write_text(file_path, "a = c\n");
	open_store(STORE_CHANGE);
	ck_assert(store_kept_file(&store, file_path, digest));
	ck_assert_msg(store_restore_file(&store, file_path, error), "%s", error);
	assert_text(file_path, "a = b\n# comment\n");
	ck_assert_int_eq(stat(file_path, &info), 0);
	ck_assert_uint_eq(info.st_mode & 07777, 0640);
	ck_assert(store_digest(file_path, now, error));
	ck_assert_str_eq(now, digest);
	store_close(&store);
}
END_TEST

START_TEST(a_file_that_was_not_there_goes_again)
{
	char digest[STORE_DIGEST_SIZE] = "x";
	begin_store();
	ck_assert_msg(store_keep_file(&store, file_path, error), "%s", error);
	write_text(file_path, "a = c\n");
	ck_assert(store_kept_file(&store, file_path, digest));
	ck_assert_str_eq(digest, "");
	ck_assert(!store_kept_file(&store, "/another", digest));
	ck_assert_msg(store_restore_file(&store, file_path, error), "%s", error);
	ck_assert_int_eq(access(file_path, F_OK), -1);
	store_close(&store);
}
END_TEST

START_TEST(a_damaged_copy_is_not_given_back)
{
	write_text(file_path, "a = b\n");
	begin_store();
	ck_assert_msg(store_keep_file(&store, file_path, error), "%s", error);
	char *damage = mem_printf("for copy in '%s/'*main.cf; do echo x >>\"$copy\"; done", store.directory);
	ck_assert_int_eq(system(damage), 0);
	free(damage);
	ck_assert(store_restore_file(&store, file_path, error)); /* it is as it was: the copy is not needed */
	write_text(file_path, "a = c\n");
	ck_assert(!store_restore_file(&store, file_path, error));
	ck_assert_ptr_nonnull(strstr(error, "is not the copy"));
	assert_text(file_path, "a = c\n");
	store_close(&store);
}
END_TEST

START_TEST(links_are_not_followed)
{
	char *target = mem_printf("%s/real", place);
	write_text(target, "a = b\n");
	ck_assert_int_eq(symlink(target, file_path), 0);
	begin_store();
	ck_assert(!store_keep_file(&store, file_path, error));
	ck_assert_ptr_nonnull(strstr(error, "symbolic link"));
	store_close(&store);
	free(target);
}
END_TEST

START_TEST(a_broken_state_is_said)
{
	begin_store();
	save();
	char *path = mem_printf("%s/state.json", store.directory);
	write_text(path, "{");
	free(path);
	store_close(&store);
	ck_assert(!store_open(&store, NAME, STORE_LOOK, error));
	ck_assert_ptr_nonnull(strstr(error, "cannot be read"));
}
END_TEST

Suite *store_suite(void)
{
	Suite *suite = suite_create("store");
	TCase *tests = tcase_create("memory");
	tcase_add_checked_fixture(tests, make_place, remove_place);
	tcase_add_test(tests, a_state_is_there_for_the_next_one);
	tcase_add_test(tests, looking_makes_nothing);
	tcase_add_test(tests, what_is_above_is_made);
	tcase_add_test(tests, only_one_may_change);
	tcase_add_test(tests, a_place_that_others_may_write_to_is_refused);
	tcase_add_test(tests, a_file_comes_back_with_its_mode);
	tcase_add_test(tests, a_file_that_was_not_there_goes_again);
	tcase_add_test(tests, a_damaged_copy_is_not_given_back);
	tcase_add_test(tests, links_are_not_followed);
	tcase_add_test(tests, a_broken_state_is_said);
	suite_add_tcase(suite, tests);
	return suite;
}
