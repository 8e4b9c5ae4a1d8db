/* Unit tests of base/spool: the budget of memory, the move to a file, and file systems that refuse. */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/spool.h"
#include "check_base.h"

#define LIMIT (1024 * 1024)
#define SHARE (LIMIT / 8)

static char directory[] = "/tmp/check_spool.XXXXXX";

static char warned[512]; /* the last warning */
static unsigned warnings;

static void take_line(enum log_level level, const char *line)
{
	ck_assert_int_eq(level, LOG_LEVEL_WARNING);
	snprintf(warned, sizeof warned, "%s", line);
	warnings++;
}

static void setup(void)
{
	warnings = 0;
	log_capture(take_line);
	ck_assert_ptr_nonnull(mkdtemp(directory));
	spool_configure(LIMIT, directory);
}

static void teardown(void)
{
	log_capture(NULL);
	ck_assert_uint_eq(spool_memory(), 0);
	ck_assert_uint_eq(spool_files(), 0);
	ck_assert_int_eq(rmdir(directory), 0); /* so no file was left in it */
}

/* What stands at `offset` in every spool here. */
static void pattern(uint64_t offset, char *block, size_t length)
{
	for (size_t i = 0; i < length; i++)
		block[i] = (char)((offset + i) * 7 % 251);
}

static bool fill(struct spool *spool, size_t octets)
{
	char block[1000];
	while (octets > 0) {
		size_t length = octets < sizeof block ? octets : sizeof block;
		pattern(spool_size(spool), block, length);
		if (!spool_append(spool, block, length))
			return false;
		octets -= length;
	}
	return true;
}

/* Whether everything that fill() wrote comes back, read in pieces of `piece` octets. */
static void verify(const struct spool *spool, uint64_t size, size_t piece)
{
	char block[5000], expected[5000];
	ck_assert_uint_eq(spool_size(spool), size);
	uint64_t offset = 0;
	for (ssize_t n; (n = spool_read(spool, offset, block, piece)) != 0; offset += (uint64_t)n) {
		ck_assert_int_gt(n, 0);
		pattern(offset, expected, (size_t)n);
		ck_assert_mem_eq(block, expected, (size_t)n);
	}
	ck_assert_uint_eq(offset, size);
}

START_TEST(what_was_written_is_read)
{
	struct spool *spool = spool_create(0);
	ck_assert(fill(spool, 50000));
	ck_assert_uint_eq(spool_files(), 0);
	verify(spool, 50000, 5000);
	verify(spool, 50000, 17);
	char octet;
	ck_assert_int_eq(spool_read(spool, 50000, &octet, 1), 0);
	ck_assert_int_eq(spool_read(spool, UINT64_MAX, &octet, 1), 0);
	spool_free(spool);
}
END_TEST

START_TEST(an_empty_spool_is_empty)
{
	struct spool *spool = spool_create(0);
	char octet;
	ck_assert(spool_append(spool, "", 0));
	ck_assert_uint_eq(spool_size(spool), 0);
	ck_assert_int_eq(spool_read(spool, 0, &octet, 1), 0);
	spool_free(spool);
	spool_free(NULL);
}
END_TEST

START_TEST(an_announced_size_is_reserved_at_once)
{
	struct spool *spool = spool_create(20000);
	ck_assert_uint_eq(spool_memory(), 20000);
	ck_assert(fill(spool, 20000));
	ck_assert_uint_eq(spool_memory(), 20000);
	verify(spool, 20000, 5000);
	spool_free(spool);
}
END_TEST

START_TEST(more_than_announced_takes_more_of_the_budget)
{
	struct spool *spool = spool_create(20000);
	ck_assert(fill(spool, 30000));
	ck_assert_uint_eq(spool_files(), 0);
	ck_assert_uint_ge(spool_memory(), 30000);
	verify(spool, 30000, 5000);
	spool_free(spool);
}
END_TEST

START_TEST(one_spool_has_an_eighth_at_most)
{
	struct spool *spool = spool_create(0);
	ck_assert(fill(spool, SHARE));
	ck_assert_uint_eq(spool_files(), 0);
	ck_assert(fill(spool, 1));
	ck_assert_uint_eq(spool_files(), 1);
	ck_assert_uint_eq(spool_memory(), 0);
	ck_assert(fill(spool, SHARE));
	verify(spool, 2 * SHARE + 1, 5000);
	spool_free(spool);
}
END_TEST

START_TEST(what_is_announced_too_large_begins_as_a_file)
{
	struct spool *spool = spool_create(SHARE + 1);
	ck_assert_uint_eq(spool_memory(), 0);
	ck_assert(fill(spool, 3000));
	ck_assert_uint_eq(spool_files(), 1);
	verify(spool, 3000, 700);
	spool_free(spool);
}
END_TEST

START_TEST(all_spools_together_stay_within_the_limit)
{
	struct spool *spools[12];
	for (size_t i = 0; i < 12; i++) {
		spools[i] = spool_create(i % 2 ? SHARE : 0);
		ck_assert(fill(spools[i], SHARE));
		ck_assert_uint_le(spool_memory(), LIMIT);
	}
	ck_assert_uint_eq(spool_memory(), LIMIT);
	ck_assert_uint_eq(spool_files(), 4);
	for (size_t i = 0; i < 12; i++) {
		verify(spools[i], SHARE, 5000);
		spool_free(spools[i]);
	}
}
END_TEST

/* Both are half written and there is no memory left for either: both go on, in files. */
START_TEST(half_written_spools_do_not_lock_each_other_out)
{
	struct spool *holders[7], *a = spool_create(0), *b = spool_create(0);
	for (size_t i = 0; i < 7; i++)
		holders[i] = spool_create(SHARE);
	ck_assert(fill(a, SHARE / 2));
	ck_assert(fill(b, SHARE / 2));
	ck_assert(fill(a, SHARE));
	ck_assert(fill(b, SHARE));
	verify(a, SHARE + SHARE / 2, 5000);
	verify(b, SHARE + SHARE / 2, 5000);
	for (size_t i = 0; i < 7; i++)
		spool_free(holders[i]);
	spool_free(a);
	spool_free(b);
}
END_TEST

START_TEST(freed_memory_is_there_for_others)
{
	struct spool *first = spool_create(SHARE);
	spool_free(first);
	ck_assert_uint_eq(spool_memory(), 0);
}
END_TEST

START_TEST(a_smaller_limit_leaves_what_is_there)
{
	struct spool *spool = spool_create(SHARE);
	ck_assert(fill(spool, 1000));
	spool_configure(100, directory);
	ck_assert(fill(spool, 1000)); /* reserved before */
	struct spool *next = spool_create(1);
	ck_assert(fill(next, 1000));
	ck_assert_uint_eq(spool_files(), 1);
	verify(spool, 2000, 700);
	verify(next, 1000, 700);
	spool_free(spool);
	spool_free(next);
}
END_TEST

/* ---- file systems that refuse ---- */

START_TEST(a_full_disk_is_an_error_and_stays_one)
{
	signal(SIGXFSZ, SIG_IGN);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &(struct rlimit){2 * SHARE, 2 * SHARE}), 0);
	struct spool *spool = spool_create(0);
	ck_assert(fill(spool, SHARE + 1000));
	ck_assert_uint_eq(spool_files(), 1);
	ck_assert(!fill(spool, SHARE));
	ck_assert_int_eq(errno, EFBIG);
	ck_assert_uint_eq(spool_files(), 0); /* others may have the room */
	errno = 0;
	ck_assert(!spool_append(spool, "x", 1));
	ck_assert_int_eq(errno, EFBIG);
	char octet;
	ck_assert_int_eq(spool_read(spool, 0, &octet, 1), -1);
	spool_free(spool);
}
END_TEST

START_TEST(a_move_that_fails_gives_the_memory_back)
{
	signal(SIGXFSZ, SIG_IGN);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &(struct rlimit){SHARE / 2, SHARE / 2}), 0);
	struct spool *spool = spool_create(0);
	ck_assert(fill(spool, SHARE));
	ck_assert(!fill(spool, 1));
	ck_assert_int_eq(errno, EFBIG);
	ck_assert_uint_eq(spool_memory(), 0);
	spool_free(spool);
}
END_TEST

START_TEST(a_missing_directory_is_an_error)
{
	char missing[64];
	snprintf(missing, sizeof missing, "%s/none", directory);
	spool_configure(0, missing);
	struct spool *spool = spool_create(0);
	ck_assert(!spool_append(spool, "x", 1));
	ck_assert_int_eq(errno, ENOENT);
	spool_free(spool);
}
END_TEST

/* A spool that can be kept nowhere. */
static void fail_once(void)
{
	struct spool *spool = spool_create(0);
	ck_assert(!spool_append(spool, "x", 1));
	ck_assert(!spool_append(spool, "x", 1));
	spool_free(spool);
}

START_TEST(a_directory_that_cannot_be_used_is_warned_of_once_a_minute)
{
	clock_fake_start();
	spool_configure(0, "/nonexistent");
	for (int i = 0; i < 3; i++)
		fail_once();
	ck_assert_uint_eq(warnings, 1);
	ck_assert_ptr_nonnull(strstr(warned, "spool: directory=/nonexistent, unlogged=0 (No such file or directory; "));
	clock_fake_advance(60 * USEC_PER_SEC);
	fail_once();
	ck_assert_uint_eq(warnings, 2);
	ck_assert_ptr_nonnull(strstr(warned, "unlogged=2 "));
	clock_fake_stop();
}
END_TEST

#ifdef __NR_open
#define OTHER_OPEN __NR_open
#else
#define OTHER_OPEN __NR_openat
#endif

/* From now on open(2) knows no O_TMPFILE, as on some network file systems. C libraries differ in the call they make. */
static bool forbid_o_tmpfile(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_openat, 0, 2),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2])),
		BPF_STMT(BPF_JMP | BPF_JA, 2),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, OTHER_OPEN, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
		BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, O_TMPFILE & ~O_DIRECTORY, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EOPNOTSUPP),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {.len = sizeof code / sizeof code[0], .filter = code};
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

START_TEST(a_file_system_without_o_tmpfile_will_do)
{
	ck_assert(forbid_o_tmpfile());
	ck_assert_int_eq(open(directory, O_TMPFILE | O_RDWR, 0600), -1);
	struct spool *spool = spool_create(0);
	ck_assert(fill(spool, 2 * SHARE));
	ck_assert_uint_eq(spool_files(), 1);
	ck_assert_int_eq(rmdir(directory), 0); /* the file has no name */
	ck_assert_ptr_nonnull(strcpy(directory, "/tmp/check_spool.XXXXXX"));
	ck_assert_ptr_nonnull(mkdtemp(directory));
	verify(spool, 2 * SHARE, 5000);
	spool_free(spool);
}
END_TEST

Suite *spool_suite(void)
{
	Suite *suite = suite_create("spool");
	TCase *tcase = tcase_create("spool");
	tcase_set_timeout(tcase, 60);
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, what_was_written_is_read);
	tcase_add_test(tcase, an_empty_spool_is_empty);
	tcase_add_test(tcase, an_announced_size_is_reserved_at_once);
	tcase_add_test(tcase, more_than_announced_takes_more_of_the_budget);
	tcase_add_test(tcase, one_spool_has_an_eighth_at_most);
	tcase_add_test(tcase, what_is_announced_too_large_begins_as_a_file);
	tcase_add_test(tcase, all_spools_together_stay_within_the_limit);
	tcase_add_test(tcase, half_written_spools_do_not_lock_each_other_out);
	tcase_add_test(tcase, freed_memory_is_there_for_others);
	tcase_add_test(tcase, a_smaller_limit_leaves_what_is_there);
	tcase_add_test(tcase, a_full_disk_is_an_error_and_stays_one);
	tcase_add_test(tcase, a_move_that_fails_gives_the_memory_back);
	tcase_add_test(tcase, a_missing_directory_is_an_error);
	tcase_add_test(tcase, a_directory_that_cannot_be_used_is_warned_of_once_a_minute);
	tcase_add_test(tcase, a_file_system_without_o_tmpfile_will_do);
	suite_add_tcase(suite, tcase);
	return suite;
}
