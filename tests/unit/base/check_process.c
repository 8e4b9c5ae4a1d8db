/* User, limits, background, lock, readiness: each in a child of its own where it changes the process. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/process.h"
#include "check_base.h"

static char directory[40], path[64], error[PROCESS_ERROR_SIZE];
static const struct process_user nobody_else = {.change = false};

static void setup(void)
{
	strcpy(directory, "/tmp/check_process.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(directory));
	snprintf(path, sizeof(path), "%s/it", directory);
}

static void teardown(void)
{
	if (unlink(path) == -1)
		rmdir(path);
	rmdir(directory);
}

/* Runs `body` in a child; its exit code. */
static int in_child(int (*body)(void))
{
	int status;
	fflush(NULL);
	pid_t child = fork();
	if (child == 0)
		_exit(body());
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert(WIFEXITED(status));
	return WEXITSTATUS(status);
}

/* ---- user ---- */

START_TEST(without_a_name_we_stay_who_we_are)
{
	struct process_user user;
	ck_assert(process_user_find(NULL, &user, error));
	ck_assert(!user.change);
	ck_assert_uint_eq(user.uid, geteuid());
	ck_assert(process_drop(&user, error));
	ck_assert_uint_eq(geteuid(), user.uid);
}
END_TEST

static struct process_user target;

static int drop_for_good(void)
{
	if (!process_drop(&target, error))
		return 1;
	if (geteuid() != target.uid || getegid() != target.gid || getuid() != target.uid)
		return 2;
	return setuid(0) == 0 || seteuid(0) == 0 || setgid(0) == 0 ? 3 : 0;
}

static int act_for_a_while(void)
{
	process_act_as(&target);
	int fd = open(path, O_CREAT | O_WRONLY | O_EXCL, 0600);
	process_act_as_self();
	struct stat about;
	if (fd != -1 || stat(path, &about) == 0) /* the directory is root's: it may not */
		return 1;
	return geteuid() == 0 && getegid() == 0 ? 0 : 2;
}

START_TEST(root_becomes_the_user_for_good)
{
	if (geteuid() != 0) {
		ck_assert(process_user_find("no-such-user", &target, error)); /* the name is root's business */
		ck_assert(!target.change);
		return;
	}
	ck_assert(!process_user_find("no-such-user", &target, error));
	ck_assert_ptr_nonnull(strstr(error, "no such user"));
	ck_assert(process_user_find("nobody", &target, error));
	ck_assert(target.change);
	ck_assert_int_eq(in_child(drop_for_good), 0);
	ck_assert_int_eq(in_child(act_for_a_while), 0);
}
END_TEST

START_TEST(an_unknown_group_is_an_error)
{
	gid_t group;
	ck_assert(process_group_find(NULL, &group, error));
	ck_assert_uint_eq(group, (gid_t)-1);
	ck_assert(process_group_find("root", &group, error));
	ck_assert_uint_eq(group, 0);
	ck_assert(!process_group_find("no-such-group", &group, error));
	ck_assert_ptr_nonnull(strstr(error, "no-such-group"));
}
END_TEST

/* ---- limits ---- */

static int limits(void)
{
	struct rlimit files, core;
	process_limits();
	getrlimit(RLIMIT_NOFILE, &files);
	getrlimit(RLIMIT_CORE, &core);
	raise(SIGPIPE);
	return files.rlim_cur == files.rlim_max && core.rlim_cur == 0 ? 0 : 1;
}

START_TEST(descriptors_are_many_and_cores_are_none)
{
	ck_assert_int_eq(in_child(limits), 0);
}
END_TEST

/* ---- directory ---- */

START_TEST(a_directory_is_made_once_and_left_alone_then)
{
	struct stat about;
	ck_assert(process_directory(path, 0700, &nobody_else, error));
	ck_assert_int_eq(stat(path, &about), 0);
	ck_assert_uint_eq(about.st_mode & 07777, 0700);
	chmod(path, 0750);
	ck_assert(process_directory(path, 0700, &nobody_else, error));
	ck_assert_int_eq(stat(path, &about), 0);
	ck_assert_uint_eq(about.st_mode & 07777, 0750);
}
END_TEST

START_TEST(what_is_no_directory_is_an_error)
{
	char below[96];
	close(open(path, O_CREAT | O_WRONLY, 0600));
	ck_assert(!process_directory(path, 0700, &nobody_else, error));
	ck_assert_ptr_nonnull(strstr(error, strerror(ENOTDIR)));
	snprintf(below, sizeof(below), "%s/missing/it", directory);
	ck_assert(!process_directory(below, 0700, &nobody_else, error));
	ck_assert_ptr_nonnull(strstr(error, strerror(ENOENT)));
}
END_TEST

/* ---- lock ---- */

static int lock_again(void)
{
	bool unclean;
	if (process_lock(path, &unclean, error))
		return 1;
	return strstr(error, "another relaypoold") ? 0 : 2;
}

static int lock_and_die(void)
{
	bool unclean;
	return process_lock(path, &unclean, error) && !unclean ? 0 : 1;
}

START_TEST(the_second_of_two_daemons_is_refused)
{
	bool unclean;
	ck_assert(process_lock(path, &unclean, error));
	ck_assert(!unclean);
	ck_assert_int_eq(in_child(lock_again), 0);
	process_unlock();
	ck_assert_int_eq(access(path, F_OK), -1);
}
END_TEST

START_TEST(a_file_left_behind_means_an_unclean_end)
{
	bool unclean;
	ck_assert_int_eq(in_child(lock_and_die), 0);
	ck_assert(process_lock(path, &unclean, error));
	ck_assert(unclean);
	process_unlock();
	ck_assert(process_lock(path, &unclean, error));
	ck_assert(!unclean);
	process_unlock();
}
END_TEST

START_TEST(a_link_is_not_followed)
{
	bool unclean;
	char elsewhere[96];
	snprintf(elsewhere, sizeof(elsewhere), "%s/elsewhere", directory);
	ck_assert_int_eq(symlink(elsewhere, path), 0);
	ck_assert(!process_lock(path, &unclean, error));
	ck_assert_int_eq(access(elsewhere, F_OK), -1);
}
END_TEST

/* ---- background ---- */

static int go_and_work(void)
{
	if (!process_background(error))
		return 9;
	char here[8];
	bool good = getsid(0) == getpid() && getcwd(here, sizeof(here)) && strcmp(here, "/") == 0;
	close(open(path, O_CREAT | O_WRONLY, good ? 0600 : 0400));
	process_ready();
	return 0;
}

static int go_and_fail(void)
{
	return process_background(error) ? 3 : 9;
}

START_TEST(the_parent_waits_for_the_child_to_work)
{
	struct stat about;
	process_take_manager();
	ck_assert_int_eq(in_child(go_and_work), 0);
	ck_assert_int_eq(stat(path, &about), 0); /* before the parent ended */
	ck_assert_uint_eq(about.st_mode & 0777, 0600);
	ck_assert_int_eq(in_child(go_and_fail), 1);
}
END_TEST

/* ---- readiness ---- */

static void expect_notice(const char *name, socklen_t length, struct sockaddr_un *address)
{
	char said[32] = "";
	int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)address, length), 0);
	setenv("NOTIFY_SOCKET", name, 1);
	process_take_manager();
	ck_assert_ptr_null(getenv("NOTIFY_SOCKET"));
	process_notify("READY=1");
	ck_assert_int_eq(recv(fd, said, sizeof(said) - 1, MSG_DONTWAIT), 7);
	ck_assert_str_eq(said, "READY=1");
	close(fd);
}

START_TEST(the_service_manager_is_told_at_a_path_or_an_abstract_address)
{
	struct sockaddr_un at_path = {.sun_family = AF_UNIX}, abstract = {.sun_family = AF_UNIX};
	char name[64];
	snprintf(at_path.sun_path, sizeof(at_path.sun_path), "%s", path);
	expect_notice(path, sizeof(at_path), &at_path);
	snprintf(name, sizeof(name), "@relaypool-check-%ld", (long)getpid());
	snprintf(abstract.sun_path + 1, sizeof(abstract.sun_path) - 1, "%s", name + 1);
	expect_notice(name, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name)), &abstract);
}
END_TEST

START_TEST(without_a_service_manager_nobody_is_told)
{
	static const char *const nowhere[] = {NULL, "", "nonsense", "/nonexistent/socket"};
	for (size_t i = 0; i < sizeof(nowhere) / sizeof(nowhere[0]); i++) {
		if (nowhere[i])
			setenv("NOTIFY_SOCKET", nowhere[i], 1);
		process_take_manager();
		process_notify("READY=1");
	}
}
END_TEST

START_TEST(a_number_of_the_managers_is_taken_out_of_the_environment)
{
	static const struct {
		const char *text;
		int64_t number;
	} cases[] = {{NULL, -1}, {"", -1}, {"0", 0}, {"42", 42}, {"-1", -1}, {"4 2", -1}, {"99999999999999999999", -1}};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (cases[i].text)
			setenv("RELAYPOOL_CHECK", cases[i].text, 1);
		ck_assert_int_eq(process_take_number("RELAYPOOL_CHECK"), cases[i].number);
		ck_assert_ptr_null(getenv("RELAYPOOL_CHECK"));
	}
}
END_TEST

Suite *process_suite(void)
{
	Suite *suite = suite_create("process");
	TCase *all = tcase_create("process");
	tcase_add_checked_fixture(all, setup, teardown);
	tcase_add_test(all, without_a_name_we_stay_who_we_are);
	tcase_add_test(all, root_becomes_the_user_for_good);
	tcase_add_test(all, an_unknown_group_is_an_error);
	tcase_add_test(all, descriptors_are_many_and_cores_are_none);
	tcase_add_test(all, a_directory_is_made_once_and_left_alone_then);
	tcase_add_test(all, what_is_no_directory_is_an_error);
	tcase_add_test(all, the_second_of_two_daemons_is_refused);
	tcase_add_test(all, a_file_left_behind_means_an_unclean_end);
	tcase_add_test(all, a_link_is_not_followed);
	tcase_add_test(all, the_parent_waits_for_the_child_to_work);
	tcase_add_test(all, the_service_manager_is_told_at_a_path_or_an_abstract_address);
	tcase_add_test(all, without_a_service_manager_nobody_is_told);
	tcase_add_test(all, a_number_of_the_managers_is_taken_out_of_the_environment);
	suite_add_tcase(suite, all);
	return suite;
}
