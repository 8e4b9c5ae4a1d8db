/* Unit tests of base/log: what a line looks like, the ring, and a place for lines that takes none. */
#include <config.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/log_limit.h"
#include "check_base.h"
#include "log_writer.h"

/* ---- what a line looks like ---- */

static char captured[LOG_LINE_SIZE];
static enum log_level captured_level;
static unsigned captured_count;

static void capture(enum log_level level, const char *line)
{
	captured_level = level;
	captured_count++;
	snprintf(captured, sizeof captured, "%s", line);
}

static void capture_start(void)
{
	captured_count = 0;
	log_capture(capture);
}

static void capture_stop(void)
{
	log_capture(NULL);
}

START_TEST(levels_have_the_prefixes_of_postfix)
{
	log_info("i");
	ck_assert_str_eq(captured, "i");
	log_notice("n");
	ck_assert_str_eq(captured, "n");
	ck_assert_int_eq(captured_level, LOG_LEVEL_NOTICE);
	log_warning("w=%d", 1);
	ck_assert_str_eq(captured, "warning: w=1");
	log_error("e");
	ck_assert_str_eq(captured, "error: e");
	log_fatal("f");
	ck_assert_str_eq(captured, "fatal: f");
	ck_assert_int_eq(captured_level, LOG_LEVEL_FATAL);
}
END_TEST

START_TEST(debugging_is_off_unless_asked_for)
{
	log_debug("d");
	ck_assert_uint_eq(captured_count, 0);
	log_open(LOG_TO_STDERR, true);
	log_debug("d");
	log_close(USEC_PER_SEC);
	ck_assert_str_eq(captured, "d");
}
END_TEST

START_TEST(a_peer_cannot_make_a_second_line)
{
	log_info("%s", "250 ok\r\nwarning: all\tis\033[2Jlost\177");
	ck_assert_str_eq(captured, "250 ok??warning: all?is?[2Jlost?");
}
END_TEST

START_TEST(only_printable_utf8_passes)
{
	log_info("%s", "Gr\303\274\303\237e \342\202\254 \360\237\223\250");
	ck_assert_str_eq(captured, "Gr\303\274\303\237e \342\202\254 \360\237\223\250");
	log_info("%s", "latin \xfc."); /* a lone octet */
	ck_assert_str_eq(captured, "latin ?.");
	log_info("%s", "\302\2332J"); /* CSI, a C1 control */
	ck_assert_str_eq(captured, "??2J");
	log_info("%s", "\xc0\xaf \xe0\x80\xaf \xed\xa0\x80 \xf5\x80\x80\x80"); /* overlong, surrogate, too large */
	ck_assert_str_eq(captured, "?? ??? ??? ????");
	log_info("%s", "cut \xe2\x82"); /* ends in the middle of a character */
	ck_assert_str_eq(captured, "cut ??");
}
END_TEST

START_TEST(a_long_line_is_cut_and_says_so)
{
	char text[3 * LOG_LINE_SIZE];
	memset(text, 'x', sizeof text - 1);
	text[sizeof text - 1] = '\0';
	log_warning("%s", text);
	ck_assert_uint_eq(strlen(captured), LOG_LINE_SIZE - 1);
	ck_assert_str_eq(captured + LOG_LINE_SIZE - 5, "x...");
	/* Not in the middle of a character, whichever octet the cut falls on. */
	for (unsigned pad = 0; pad < 4; pad++) {
		memset(text, 'x', pad);
		for (size_t i = pad; i + 3 < sizeof text; i += 3)
			memcpy(text + i, "\xe2\x82\xac", 4);
		log_info("%s", text);
		ck_assert_ptr_null(strchr(captured, '?'));
		ck_assert_ptr_nonnull(strstr(captured, "\xe2\x82\xac..."));
	}
}
END_TEST

/* ---- the ring; the writer puts each line as a datagram on a socket, as syslog(3) does ---- */

static int reader, writer;

static void write_socket(enum log_level level, const char *line)
{
	(void)level;
	(void)!send(writer, line, strlen(line), MSG_NOSIGNAL);
}

static void sockets_open(void)
{
	int pair[2];
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair), 0);
	reader = pair[0], writer = pair[1];
	log_open_writer(write_socket, false);
}

static void sockets_close(void)
{
	close(reader), close(writer);
}

/* The next line; false if there is none within `msec`. */
static bool read_line(char line[LOG_LINE_SIZE], int msec)
{
	struct timeval limit = {.tv_sec = msec / 1000, .tv_usec = msec % 1000 * 1000};
	setsockopt(reader, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
	ssize_t length = recv(reader, line, LOG_LINE_SIZE - 1, 0);
	line[length > 0 ? length : 0] = '\0';
	return length > 0;
}

START_TEST(lines_arrive_in_order)
{
	char line[LOG_LINE_SIZE], expected[32];
	for (unsigned i = 0; i < 2000; i++) {
		log_info("line %u", i);
		ck_assert(read_line(line, 5000));
		snprintf(expected, sizeof expected, "line %u", i);
		ck_assert_str_eq(line, expected);
	}
	log_close(USEC_PER_SEC);
	ck_assert_uint_eq(log_dropped(), 0);
}
END_TEST

START_TEST(closing_writes_what_is_left)
{
	char line[LOG_LINE_SIZE];
	for (unsigned i = 0; i < 8; i++)
		log_info("line %u", i);
	log_close(5 * USEC_PER_SEC);
	for (unsigned i = 0; i < 8; i++)
		ck_assert(read_line(line, 0));
	ck_assert_str_eq(line, "line 7");
}
END_TEST

/* More than the ring and the socket hold, while nobody reads. Returns how many lines were written. */
static unsigned overfill(void)
{
	unsigned lines = 2 * LOG_RING_LINES;
	usec_t start = clock_now();
	for (unsigned i = 0; i < lines; i++)
		log_info("line %u", i);
	ck_assert_int_lt(clock_now() - start, 5 * USEC_PER_SEC); /* nobody waited */
	ck_assert_uint_gt(log_dropped(), 0);
	ck_assert_uint_lt(log_dropped(), lines - LOG_RING_LINES + 1);
	return lines;
}

START_TEST(dropped_lines_are_counted_and_reported_in_their_place)
{
	unsigned lines = overfill(), arrived = 0, reports = 0;
	unsigned long gap = 0;
	char line[LOG_LINE_SIZE];
	while (read_line(line, 500)) {
		unsigned number;
		if (sscanf(line, "warning: log: dropped=%lu lines: the syslog socket is slow or stopped", &gap) == 1) {
			reports++;
		} else {
			ck_assert_int_eq(sscanf(line, "line %u", &number), 1);
			ck_assert_uint_eq(number, arrived); /* the oldest are kept, without a gap */
			arrived++;
		}
	}
	ck_assert_uint_eq(reports, 1);
	ck_assert_uint_eq(arrived + gap, lines);
	ck_assert_uint_eq(gap, log_dropped());
	log_info("after");
	ck_assert(read_line(line, 5000));
	ck_assert_str_eq(line, "after");
	log_close(USEC_PER_SEC);
}
END_TEST

START_TEST(a_report_stands_before_the_line_that_follows_the_gap)
{
	overfill();
	char line[LOG_LINE_SIZE], before[LOG_LINE_SIZE] = "";
	for (unsigned i = 0; i < LOG_RING_LINES / 2; i++)
		ck_assert(read_line(line, 5000));
	usleep(20000); /* the logger takes from the ring what the socket has room for */
	log_info("after");
	while (read_line(line, 5000) && strcmp(line, "after") != 0)
		strcpy(before, line);
	ck_assert_str_eq(line, "after");
	ck_assert_ptr_nonnull(strstr(before, "dropped="));
	log_close(USEC_PER_SEC);
}
END_TEST

START_TEST(closing_does_not_wait_for_a_dead_syslog)
{
	overfill();
	usec_t start = clock_now();
	log_close(100 * USEC_PER_MSEC);
	usec_t took = clock_now() - start;
	ck_assert_int_ge(took, 90 * USEC_PER_MSEC);
	ck_assert_int_lt(took, 5 * USEC_PER_SEC);
	/* A log that is opened now has nothing to do with the thread that is stuck, nor that one with it. */
	capture_start();
	log_open(LOG_TO_STDERR, false);
	log_info("new");
	ck_assert_str_eq(captured, "new");
	capture_stop();
	log_close(USEC_PER_SEC);
	shutdown(writer, SHUT_RDWR);
	usleep(50000); /* so that the thread ends before the leak checker looks */
}
END_TEST

static void *log_many(void *arg)
{
	for (unsigned i = 0; i < 500; i++)
		log_info("line %u", i);
	return arg;
}

START_TEST(any_thread_may_log_even_while_the_log_is_closed)
{
	log_close(USEC_PER_SEC);
	(void)!freopen("/dev/null", "w", stderr); /* where lines go while it is not open */
	pthread_t threads[4];
	for (size_t i = 0; i < 4; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, log_many, NULL), 0);
	for (unsigned i = 0; i < 20; i++) {
		log_open(LOG_TO_STDERR, false);
		log_close(USEC_PER_SEC);
	}
	for (size_t i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
}
END_TEST

/* A writer that takes each line only when it is let go. */
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;

static void write_gate(enum log_level level, const char *line)
{
	(void)level, (void)line;
	pthread_mutex_lock(&gate);
	pthread_mutex_unlock(&gate);
}

/* Until the logger thread is (not) in its writer. */
static void await_stuck(bool stuck)
{
	for (unsigned i = 0; i < 5000 && (log_stuck_for() > 0) != stuck; i++)
		usleep(1000);
	ck_assert((log_stuck_for() > 0) == stuck);
}

START_TEST(it_is_known_how_long_a_line_has_been_written)
{
	log_open_writer(write_gate, false);
	ck_assert_int_eq(log_stuck_for(), 0);
	pthread_mutex_lock(&gate);
	usec_t before = clock_now();
	log_info("stuck");
	await_stuck(true);
	usleep(20000);
	usec_t stuck = log_stuck_for();
	ck_assert_int_ge(stuck, 20 * USEC_PER_MSEC);
	ck_assert_int_le(stuck, clock_now() - before);
	clock_fake_start(); /* a clock that stands still does not hide it */
	usleep(2000);
	ck_assert_int_gt(log_stuck_for(), stuck);
	clock_fake_stop();
	pthread_mutex_unlock(&gate);
	await_stuck(false);
	pthread_mutex_lock(&gate);
	log_info("stuck anew");
	await_stuck(true);
	ck_assert_int_lt(log_stuck_for(), clock_now() - before - 20 * USEC_PER_MSEC); /* not since the first */
	pthread_mutex_unlock(&gate);
	log_close(USEC_PER_SEC);
	ck_assert_int_eq(log_stuck_for(), 0);
}
END_TEST

/* ---- lines that repeat ---- */

START_TEST(a_line_that_repeats_is_bounded_and_counted)
{
	static struct log_limit limit = LOG_LIMIT_OF("sample", 10, 3);
	unsigned long unlogged = 99;
	clock_fake_start();
	for (unsigned i = 0; i < 3; i++) {
		ck_assert(log_limit_passes(&limit, &unlogged));
		ck_assert_uint_eq(unlogged, 0);
	}
	for (unsigned i = 0; i < 5; i++)
		ck_assert(!log_limit_passes(&limit, &unlogged));
	clock_fake_advance(10 * USEC_PER_SEC);
	ck_assert(log_limit_passes(&limit, &unlogged));
	ck_assert_uint_eq(unlogged, 5);
	ck_assert(!log_limit_passes(&limit, &unlogged));
	clock_fake_stop();
}
END_TEST

START_TEST(what_was_held_back_is_told_once)
{
	static struct log_limit with = LOG_LIMIT_OF("with", 10, 1), without = LOG_LIMIT_OF("without", 10, 1);
	unsigned long unlogged;
	clock_fake_start();
	for (unsigned i = 0; i < 4; i++) {
		(void)!log_limit_passes(&with, &unlogged);
		(void)!log_limit_passes(&without, NULL);
	}
	clock_fake_advance(10 * USEC_PER_SEC);
	ck_assert(log_limit_passes(&with, &unlogged));
	ck_assert(log_limit_passes(&without, NULL)); /* told of nothing: the three are still to be told */
	log_limit_tell();
	ck_assert_uint_eq(captured_count, 1);
	ck_assert_str_eq(captured, "log: line=without, unlogged=3");
	log_limit_tell();
	ck_assert_uint_eq(captured_count, 1);
	clock_fake_stop();
}
END_TEST

Suite *log_suite(void)
{
	Suite *suite = suite_create("log");
	TCase *lines = tcase_create("lines");
	tcase_add_checked_fixture(lines, capture_start, capture_stop);
	tcase_add_test(lines, levels_have_the_prefixes_of_postfix);
	tcase_add_test(lines, debugging_is_off_unless_asked_for);
	tcase_add_test(lines, a_peer_cannot_make_a_second_line);
	tcase_add_test(lines, only_printable_utf8_passes);
	tcase_add_test(lines, a_long_line_is_cut_and_says_so);
	tcase_add_test(lines, a_line_that_repeats_is_bounded_and_counted);
	tcase_add_test(lines, what_was_held_back_is_told_once);
	suite_add_tcase(suite, lines);
	TCase *writers = tcase_create("writers");
	tcase_add_test(writers, it_is_known_how_long_a_line_has_been_written);
	suite_add_tcase(suite, writers);
	TCase *ring = tcase_create("ring");
	tcase_set_timeout(ring, 60);
	tcase_add_checked_fixture(ring, sockets_open, sockets_close);
	tcase_add_test(ring, lines_arrive_in_order);
	tcase_add_test(ring, closing_writes_what_is_left);
	tcase_add_test(ring, dropped_lines_are_counted_and_reported_in_their_place);
	tcase_add_test(ring, a_report_stands_before_the_line_that_follows_the_gap);
	tcase_add_test(ring, any_thread_may_log_even_while_the_log_is_closed);
	suite_add_tcase(suite, ring);
	TCase *stuck = tcase_create("stuck"); /* the socket is left to the thread that is stuck in it */
	tcase_set_timeout(stuck, 60);
	tcase_add_checked_fixture(stuck, sockets_open, NULL);
	tcase_add_test(stuck, closing_does_not_wait_for_a_dead_syslog);
	suite_add_tcase(suite, stuck);
	return suite;
}
