/* top: one frame where nobody looks; on a terminal its keys, and the terminal as it was whatever ends it. */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "base/loop.h"
#include "check_admin.h"
#include "client.h"
#include "rooms.h"

/* ---- a terminal with top on it ---- */

#define SEEN_SIZE (1 << 20)

static struct terminal {
	int master, slave; /* the slave stays open here, so that its settings outlive top */
	pid_t child;
	struct termios before;
	char seen[SEEN_SIZE]; /* all that was written */
	size_t length, mark;  /* up to `mark` a test has looked */
} terminal;

/* Those that may end top. Who runs the tests in the background may have them ignored. */
static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};

static void terminal_start(const char *delay)
{
	terminal.length = terminal.mark = 0;
	terminal.master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	ck_assert_int_ge(terminal.master, 0);
	ck_assert_int_eq(grantpt(terminal.master) | unlockpt(terminal.master), 0);
	terminal.slave = open(ptsname(terminal.master), O_RDWR | O_NOCTTY | O_CLOEXEC);
	ck_assert_int_ge(terminal.slave, 0);
	const struct winsize size = {.ws_col = 80, .ws_row = 24};
	ck_assert_int_eq(ioctl(terminal.slave, TIOCSWINSZ, &size), 0);
	ck_assert_int_eq(tcgetattr(terminal.slave, &terminal.before), 0);
	terminal.child = fork();
	if (terminal.child == 0) {
		setsid();
		for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
			signal(signals[i], SIG_DFL);
		ioctl(terminal.slave, TIOCSCTTY, 0);
		dup2(terminal.slave, 0);
		dup2(terminal.slave, 1);
		dup2(terminal.slave, 2);
		setenv("TERM", "vt100", 1);
		execl("./relaypoolctl", "relaypoolctl", "-s", rooms.socket_path, "top", "-d", delay, (char *)NULL);
		_exit(127);
	}
}

static void terminal_read(void)
{
	struct pollfd readable = {.fd = terminal.master, .events = POLLIN};
	loop_settle();
	if (poll(&readable, 1, 1) <= 0)
		return;
	ssize_t got = read(terminal.master, terminal.seen + terminal.length, SEEN_SIZE - 1 - terminal.length);
	ck_assert_int_ge(got, 0);
	terminal.length += (size_t)got;
	terminal.seen[terminal.length] = '\0';
}

/* Waits until it is shown, after what was looked for before. */
static void terminal_expect(const char *text)
{
	for (int turns = 0; turns < 20000; turns++) {
		char *found = strstr(terminal.seen + terminal.mark, text);
		if (found) {
			terminal.mark = (size_t)(found - terminal.seen) + strlen(text);
			return;
		}
		terminal_read();
	}
	ck_abort_msg("\"%s\" is not shown: %s", text, terminal.seen);
}

static void terminal_type(const char *keys)
{
	ck_assert_int_eq(write(terminal.master, keys, strlen(keys)), (ssize_t)strlen(keys));
}

/* Its end: the status of wait(2), after the terminal was seen to be as before. */
static int terminal_end(void)
{
	int status;
	while (waitpid(terminal.child, &status, WNOHANG) == 0)
		terminal_read();
	struct termios after = {0}; /* not all of it is the kernel's */
	ck_assert_int_eq(tcgetattr(terminal.slave, &after), 0);
	ck_assert_uint_eq(after.c_lflag, terminal.before.c_lflag);
	ck_assert_int_eq(memcmp(after.c_cc, terminal.before.c_cc, sizeof(after.c_cc)), 0);
	terminal_expect("\x1b[?25h\x1b[?1049l");
	close(terminal.master);
	close(terminal.slave);
	return status;
}

static void fill_rooms(void)
{
	rooms.stalls[0] = (struct stall_view){.id = 91,
					      .relay = "socketlabs",
					      .stage = STAGE_REPLY,
					      .cause = CAUSE_ANSWER,
					      .open = true,
					      .waiting = 7,
					      .queue_id = ""};
	rooms.stall_count = 1;
	rooms.connections[0] = (struct connection_view){.relay = "socketlabs",
							.id = 4,
							.host = "smtp.socketlabs.com[198.51.100.7]:465",
							.state = "busy",
							.waits_for = "reply",
							.tls = "-",
							.round_trip = -1};
	rooms.connection_count = 1;
}

/* ---- tests ---- */

START_TEST(without_a_terminal_it_is_one_frame)
{
	fill_rooms();
	ck_assert_int_eq(RUN("top"), 0);
	expect_80_columns();
	expect_says("pools\nRELAY ");
	expect_says("\nconnections\nID RELAY ");
	expect_says("\nstalls\nID RELAY ");
	ck_assert_ptr_null(strchr(output, '\x1b'));
	rooms.stall_count = rooms.connection_count = 0;
	ck_assert_int_eq(RUN("top", "-d", "0.5"), 0);
	expect_says("\nconnections\nNone.\n\nstalls\nNothing is held up.\n");
}
END_TEST

START_TEST(a_wrong_command_line_is_refused)
{
	ck_assert_int_eq(RUN("top", "socketlabs"), 2);
	ck_assert_int_eq(RUN("-j", "top"), 2);
	expect_says("-j pools, connections, stalls");
	ck_assert_int_eq(RUN("top", "-d", "0"), 2);
	ck_assert_int_eq(RUN("top", "-d", "nan"), 2);
	ck_assert_int_eq(RUN("top", "-d", "2s"), 2);
	expect_says("seconds, from 0.2 to 3600");
	ck_assert_int_eq(run((const char *const[]){"relaypoolctl", "-s", "/nonexistent/sock", "top", NULL}), 3);
	expect_says("does not run");
}
END_TEST

START_TEST(keys_choose_the_view_and_q_ends)
{
	fill_rooms();
	terminal_start("3600");
	terminal_expect("\x1b[?1049h");
	terminal_expect("[1 pools]");
	terminal_expect("OLDEST");
	struct termios now;
	ck_assert_int_eq(tcgetattr(terminal.slave, &now), 0);
	ck_assert_uint_eq(now.c_lflag & (ICANON | ECHO), 0);
	terminal_type("2");
	terminal_expect("[2 connections]");
	terminal_expect("smtp.socketlabs.com");
	terminal_type("3");
	terminal_expect("[3 stalls]");
	terminal_expect("answer");
	terminal_type("x1");
	terminal_expect("[1 pools]");
	terminal_type("q");
	ck_assert_int_eq(terminal_end(), 0);
}
END_TEST

START_TEST(it_draws_anew_until_it_is_paused)
{
	terminal_start("0.2");
	terminal_expect(" up ");
	rooms.pools[0].state = "draining";
	terminal_expect(" draining ");
	terminal_type("p");
	terminal_expect("paused");
	rooms.pools[0].state = "retiring";
	for (int turns = 0; turns < 500; turns++) /* half a second: more than two frames */
		terminal_read();
	ck_assert_ptr_null(strstr(terminal.seen + terminal.mark, "retiring"));
	terminal_type("p");
	terminal_expect(" retiring ");
	terminal_type("q");
	ck_assert_int_eq(terminal_end(), 0);
}
END_TEST

START_TEST(a_signal_gives_the_terminal_back_and_ends_it)
{
	terminal_start("3600");
	terminal_expect("OLDEST");
	kill(terminal.child, signals[_i]);
	int status = terminal_end();
	ck_assert(WIFSIGNALED(status));
	ck_assert_int_eq(WTERMSIG(status), signals[_i]);
}
END_TEST

START_TEST(the_interrupt_key_gives_the_terminal_back)
{
	terminal_start("3600");
	terminal_expect("OLDEST");
	terminal_type("\x03");
	ck_assert(WIFSIGNALED(terminal_end()));
}
END_TEST

START_TEST(while_it_is_stopped_the_terminal_is_as_before)
{
	int status;
	terminal_start("3600");
	terminal_expect("OLDEST");
	kill(terminal.child, SIGTSTP);
	terminal_expect("\x1b[?1049l");
	/* Of a session without a parent in it SIGTSTP stops nobody: it goes on at once, or after SIGCONT. */
	while (waitpid(terminal.child, &status, WNOHANG | WUNTRACED) == 0 &&
	       !strstr(terminal.seen + terminal.mark, "OLDEST"))
		terminal_read();
	kill(terminal.child, SIGCONT);
	terminal_expect("\x1b[?1049h");
	terminal_expect("OLDEST");
	terminal_type("q");
	ck_assert_int_eq(terminal_end(), 0);
}
END_TEST

/* No line is longer than the terminal, and there are no more of them. */
START_TEST(it_fits_a_terminal_that_becomes_smaller)
{
	rooms.pool_repeat = 30;
	rooms.pools[0].state = "draining";
	terminal_start("3600");
	terminal_expect("draining");
	const struct winsize size = {.ws_col = 30, .ws_row = 5};
	ck_assert_int_eq(ioctl(terminal.master, TIOCSWINSZ, &size), 0);
	terminal_expect("\x1b[J"); /* the first frame */
	terminal_expect("\x1b[H");
	size_t begin = terminal.mark;
	terminal_expect("\x1b[J");
	unsigned lines = 1;
	for (char *line = terminal.seen + begin; (line = strstr(line, "\r\n")); line += 2)
		lines++;
	ck_assert_uint_eq(lines, 5);
	for (char *line = strtok(terminal.seen + begin, "\r\n"); line; line = strtok(NULL, "\r\n"))
		ck_assert_msg(strcspn(line, "\x1b") <= 30, "%s", line);
	terminal_type("q");
	ck_assert_int_eq(terminal_end(), 0);
}
END_TEST

START_TEST(a_daemon_that_goes_away_is_told_and_waited_for)
{
	terminal_start("0.2");
	terminal_expect(" up ");
	char elsewhere[128];
	snprintf(elsewhere, sizeof(elsewhere), "%s.away", rooms.socket_path);
	ck_assert_int_eq(rename(rooms.socket_path, elsewhere), 0);
	terminal_expect("relaypoold does not run");
	rooms.pools[0].state = "draining";
	ck_assert_int_eq(rename(elsewhere, rooms.socket_path), 0);
	terminal_expect(" draining ");
	terminal_type("q");
	ck_assert_int_eq(terminal_end(), 0);
}
END_TEST

START_TEST(a_terminal_that_is_gone_ends_it)
{
	int status, turns = 0;
	terminal_start("3600");
	terminal_expect("OLDEST");
	close(terminal.slave);
	close(terminal.master);
	while (waitpid(terminal.child, &status, WNOHANG) == 0 && turns++ < 20000)
		usleep(1000);
	ck_assert_int_lt(turns, 20000);
}
END_TEST

Suite *top_suite(void)
{
	Suite *suite = suite_create("top");
	TCase *frames = tcase_create("frames");
	tcase_add_checked_fixture(frames, rooms_open, rooms_close);
	tcase_set_timeout(frames, 60);
	tcase_add_test(frames, without_a_terminal_it_is_one_frame);
	tcase_add_test(frames, a_wrong_command_line_is_refused);
	suite_add_tcase(suite, frames);
	TCase *live = tcase_create("live");
	tcase_add_checked_fixture(live, rooms_open, rooms_close);
	tcase_set_timeout(live, 60);
	tcase_add_test(live, keys_choose_the_view_and_q_ends);
	tcase_add_test(live, it_draws_anew_until_it_is_paused);
	tcase_add_loop_test(live, a_signal_gives_the_terminal_back_and_ends_it, 0, 4);
	tcase_add_test(live, the_interrupt_key_gives_the_terminal_back);
	tcase_add_test(live, while_it_is_stopped_the_terminal_is_as_before);
	tcase_add_test(live, it_fits_a_terminal_that_becomes_smaller);
	tcase_add_test(live, a_daemon_that_goes_away_is_told_and_waited_for);
	tcase_add_test(live, a_terminal_that_is_gone_ends_it);
	suite_add_tcase(suite, live);
	return suite;
}
