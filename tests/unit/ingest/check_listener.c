/* Unit tests of ingest/listener: real sockets, who may use them, reload, limits, stop. */
#include <config.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/loop.h"
#include "base/passed.h"
#include "check_ingest.h"
#include "harness.h"
#include "ingest/listener.h"

#define LMTP_GREETING "220 mx.example LMTP relaypool\r\n"
#define SMTP_GREETING "220 mx.example ESMTP relaypool\r\n"
#define NOT_ALLOWED "554 5.7.1 You may not hand over mail here\r\n<closed>"

static struct listener *listener;
static char error[NET_ERROR_SIZE];

static void start(void)
{
	harness_start();
	listener = NULL;
}

static void stop(void)
{
	listener_free(listener);
	harness_stop();
}

/* ---- help ---- */

static const char *path_of(const char *name)
{
	static char path[108];

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	return path;
}

static struct sockaddr_in loopback(uint16_t port)
{
	return (struct sockaddr_in){
		.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

/* A port nobody listens on at this moment. */
static uint16_t free_port(void)
{
	struct sockaddr_in address = loopback(0);
	socklen_t length = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, length), 0);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&address, &length), 0);
	close(fd);
	return ntohs(address.sin_port);
}

static int dial(int family, const void *address, socklen_t length)
{
	int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	ck_assert_int_ne(fd, -1);
	if (connect(fd, address, length) == 0 || errno == EINPROGRESS)
		return fd;
	close(fd);
	return -1;
}

/* -1 if nobody listens. */
static int dial_unix(const char *name)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	strcpy(address.sun_path, path_of(name));
	return dial(AF_UNIX, &address, sizeof(address));
}

static int dial_tcp(uint16_t port)
{
	struct sockaddr_in address = loopback(port);

	return dial(AF_INET, &address, sizeof(address));
}

/* A snapshot whose `lmtp` is one or two unix sockets in the directory. */
static struct conf *unix_conf(const char *first, const char *second, const char *more)
{
	char lines[512];

	if (second == NULL)
		snprintf(lines, sizeof(lines), "lmtp = \"unix:%s/%s\"\n%s", directory, first, more);
	else
		snprintf(lines, sizeof(lines), "lmtp = { \"unix:%s/%s\", \"unix:%s/%s\" }\n%s", directory, first,
			 directory, second, more);
	return harness_conf(lines);
}

static struct conf *tcp_conf(uint16_t port)
{
	char lines[64];

	snprintf(lines, sizeof(lines), "lmtp = \"inet:%u@127.0.0.1\"\n", port);
	return harness_conf(lines);
}

/* Listens by the snapshot, which it takes over; returns it borrowed. */
static struct conf *listen_by(struct conf *conf)
{
	listener = listener_create(conf, &ingest.key, &router_door, error);
	ck_assert_msg(listener != NULL, "%s", error);
	struct conf *borrowed = conf;
	conf_unref(&conf);
	return borrowed;
}

static void reload_by(struct conf *conf)
{
	ck_assert_msg(listener_reload(listener, conf, error), "%s", error);
	conf_unref(&conf);
}

static void expect_nobody(const char *name)
{
	ck_assert_int_eq(dial_unix(name), -1);
	ck_assert_int_eq(access(path_of(name), F_OK), -1);
}

/* ---- sockets ---- */

START_TEST(every_endpoint_greets_in_its_protocol)
{
	char lines[256];
	uint16_t lmtp = free_port(), smtp = free_port();

	snprintf(lines, sizeof(lines),
		 "lmtp = { \"unix:%s/lmtp.sock\", \"inet:%u@127.0.0.1\" }\n"
		 "failover = \"direct\"\nsmtp = \"inet:%u@127.0.0.1\"\n",
		 directory, lmtp, smtp);
	listen_by(harness_conf(lines));
	int fds[] = {dial_unix("lmtp.sock"), dial_tcp(lmtp), dial_tcp(smtp)};
	mta_expect(fds[0], LMTP_GREETING);
	mta_expect(fds[1], LMTP_GREETING);
	mta_expect(fds[2], SMTP_GREETING);
	ck_assert_uint_eq(listener_sessions(listener), 3);
	for (size_t i = 0; i < 3; i++)
		close(fds[i]);
	loop_settle();
	ck_assert_uint_eq(listener_sessions(listener), 0);
}
END_TEST

START_TEST(one_endpoint_that_cannot_be_had_undoes_all)
{
	struct conf *conf = unix_conf("a.sock", "missing/b.sock", "");

	ck_assert_ptr_null(listener_create(conf, &ingest.key, &router_door, error));
	ck_assert_str_ne(error, "");
	expect_nobody("a.sock");
	conf_unref(&conf);
}
END_TEST

START_TEST(reload_opens_and_closes_and_keeps_sessions)
{
	listen_by(unix_conf("a.sock", "b.sock", ""));
	int a = dial_unix("a.sock"), b = dial_unix("b.sock");

	mta_expect(a, LMTP_GREETING);
	mta_expect(b, LMTP_GREETING);
	reload_by(unix_conf("b.sock", "c.sock", ""));
	expect_nobody("a.sock");
	int c = dial_unix("c.sock"), again = dial_unix("b.sock");
	mta_expect(c, LMTP_GREETING);
	mta_expect(again, LMTP_GREETING);
	mta_say(a, "NOOP\r\n");
	mta_expect(a, "250 2.0.0 Ok\r\n");
	ck_assert_uint_eq(listener_sessions(listener), 4);
	close(a);
	close(b);
	close(c);
	close(again);
}
END_TEST

START_TEST(a_reload_that_fails_changes_nothing)
{
	listen_by(unix_conf("a.sock", "b.sock", ""));
	struct conf *bad = unix_conf("c.sock", "missing/d.sock", "deadline = 500\n");

	ck_assert(!listener_reload(listener, bad, error));
	conf_unref(&bad);
	expect_nobody("c.sock");
	int a = dial_unix("a.sock");
	mta_expect(a, LMTP_GREETING);
	reload_by(unix_conf("b.sock", NULL, "")); /* and the next one works */
	expect_nobody("a.sock");
	close(a);
}
END_TEST

START_TEST(reload_makes_a_socket_anew_whose_file_was_removed)
{
	listen_by(unix_conf("a.sock", NULL, ""));
	ck_assert_int_eq(unlink(path_of("a.sock")), 0);
	reload_by(unix_conf("a.sock", NULL, ""));
	int a = dial_unix("a.sock");
	mta_expect(a, LMTP_GREETING);
	close(a);
}
END_TEST

START_TEST(reload_changes_the_mode_of_a_socket_that_stays)
{
	struct stat status;

	listen_by(unix_conf("a.sock", NULL, "socket-mode = \"0600\"\n"));
	ck_assert_int_eq(stat(path_of("a.sock"), &status), 0);
	ck_assert_int_eq(status.st_mode & 07777, 0600);
	reload_by(unix_conf("a.sock", NULL, "socket-mode = \"0666\"\n"));
	ck_assert_int_eq(stat(path_of("a.sock"), &status), 0);
	ck_assert_int_eq(status.st_mode & 07777, 0666);
}
END_TEST

START_TEST(a_socket_gets_the_group_that_is_set)
{
	char line[128];
	struct stat status;

	listen_by(unix_conf("a.sock", NULL, ""));
	snprintf(line, sizeof(line), "socket-group = \"%s\"\n",
		 geteuid() == 0 ? "daemon" : getgrgid(getegid())->gr_name);
	reload_by(unix_conf("a.sock", "b.sock", line));
	for (const char *name = "a.sock"; name != NULL; name = strcmp(name, "a.sock") == 0 ? "b.sock" : NULL) {
		ck_assert_int_eq(stat(path_of(name), &status), 0);
		ck_assert_uint_eq(status.st_gid, geteuid() == 0 ? getgrnam("daemon")->gr_gid : getegid());
	}
}
END_TEST

START_TEST(stop_closes_and_removes_sockets)
{
	listen_by(unix_conf("a.sock", NULL, ""));
	int a = dial_unix("a.sock");

	mta_expect(a, LMTP_GREETING);
	listener_stop(listener);
	expect_nobody("a.sock");
	mta_expect(a, "");
	listener_hurry(listener);
	mta_expect(a, "421 4.3.2 mx.example is stopping; try again later\r\n<closed>");
	ck_assert_uint_eq(listener_sessions(listener), 0);
	reload_by(unix_conf("b.sock", NULL, "")); /* a late SIGHUP opens nothing */
	expect_nobody("b.sock");
	close(a);
}
END_TEST

START_TEST(another_daemons_socket_is_not_removed)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int other = socket(AF_UNIX, SOCK_STREAM, 0);

	listen_by(unix_conf("a.sock", NULL, ""));
	strcpy(address.sun_path, path_of("a.sock"));
	ck_assert_int_eq(unlink(address.sun_path), 0);
	ck_assert_int_eq(bind(other, (struct sockaddr *)&address, sizeof(address)), 0);
	listener_stop(listener);
	ck_assert_int_eq(access(address.sun_path, F_OK), 0);
	close(other);
}
END_TEST

/* ---- a service manager's sockets ---- */

/*
 * The manager's own descriptor of a listening socket that it passes. The test program's descriptors before it are no
 * listening sockets, and are left alone.
 */
static int pass_on(int fd)
{
	char text[24];
	int managers = fcntl(fd, F_DUPFD, fd + 1);
	snprintf(text, sizeof(text), "%ld", (long)getpid());
	setenv("LISTEN_PID", text, 1);
	snprintf(text, sizeof(text), "%d", fd - 2);
	setenv("LISTEN_FDS", text, 1);
	passed_take();
	return managers;
}

static int pass_socket(const char *name)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	strcpy(address.sun_path, path_of(name));
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	ck_assert_int_eq(chmod(address.sun_path, 0640), 0);
	ck_assert_int_eq(listen(fd, 5), 0);
	return pass_on(fd);
}

static void expect_file(const char *name, const struct stat *before)
{
	struct stat now;

	ck_assert_int_eq(stat(path_of(name), &now), 0);
	ck_assert_uint_eq(now.st_ino, before->st_ino);
	ck_assert_uint_eq(now.st_mode, before->st_mode);
	ck_assert_uint_eq(now.st_uid, before->st_uid);
	ck_assert_uint_eq(now.st_gid, before->st_gid);
}

/* Somebody connects while nobody accepts, and is heard by the next one who does. */
static void expect_waiting(int managers, const char *name)
{
	int fd = dial_unix(name);

	ck_assert_int_ne(fd, -1);
	mta_expect(fd, "");
	int accepted = accept(managers, NULL, NULL);
	ck_assert_int_ne(accepted, -1);
	close(accepted);
	mta_expect(fd, "<closed>");
	close(fd);
}

START_TEST(a_passed_socket_is_served_and_left_as_it_is)
{
	struct stat before;
	int managers = pass_socket("a.sock");

	ck_assert_int_eq(stat(path_of("a.sock"), &before), 0);
	listen_by(unix_conf("a.sock", "b.sock", "socket-mode = \"0600\"\n"));
	ck_assert_ptr_nonnull(strstr(logged(), "/a.sock, passed=yes\n"));
	ck_assert_ptr_nonnull(strstr(logged(), "/b.sock, passed=no\n"));
	int a = dial_unix("a.sock");
	mta_expect(a, LMTP_GREETING);
	expect_file("a.sock", &before);
	reload_by(unix_conf("a.sock", NULL, "socket-mode = \"0666\"\n"));
	expect_file("a.sock", &before);
	int again = dial_unix("a.sock");
	mta_expect(again, LMTP_GREETING);
	listener_stop(listener);
	listener_hurry(listener);
	mta_expect(a, "421 4.3.2 mx.example is stopping; try again later\r\n<closed>");
	expect_file("a.sock", &before);
	expect_waiting(managers, "a.sock");
	expect_nobody("b.sock");
	close(a);
	close(again);
	close(managers);
}
END_TEST

START_TEST(a_passed_smtp_socket_speaks_smtp)
{
	struct sockaddr_in address = loopback(free_port());
	char lines[256];
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	ck_assert_int_eq(listen(fd, 5), 0);
	int managers = pass_on(fd);
	snprintf(lines, sizeof(lines),
		 "lmtp = \"unix:%s/a.sock\"\nfailover = \"direct\"\nsmtp = \"inet:%u@localhost\"\n", directory,
		 ntohs(address.sin_port));
	listen_by(harness_conf(lines));
	ck_assert_ptr_nonnull(strstr(logged(), "@localhost, passed=yes\n"));
	int client = dial_tcp(ntohs(address.sin_port));
	mta_expect(client, SMTP_GREETING);
	mta_say(client, "EHLO x\r\n");
	ck_assert_ptr_nonnull(strstr(mta_hear(client), "250 ENHANCEDSTATUSCODES\r\n"));
	listener_stop(listener);
	int waits = dial_tcp(ntohs(address.sin_port));
	mta_expect(waits, "");
	close(client);
	close(waits);
	close(managers);
}
END_TEST

START_TEST(a_reload_may_spell_a_passed_socket_otherwise)
{
	int managers = pass_socket("a.sock");

	listen_by(unix_conf("a.sock", NULL, ""));
	reload_by(unix_conf("/a.sock", NULL, ""));
	int a = dial_unix("a.sock");
	mta_expect(a, LMTP_GREETING);
	listener_stop(listener);
	ck_assert_int_eq(access(path_of("a.sock"), F_OK), 0);
	close(a);
	close(managers);
}
END_TEST

START_TEST(a_reload_lets_go_of_a_passed_socket)
{
	struct stat before;
	int managers = pass_socket("a.sock");

	ck_assert_int_eq(stat(path_of("a.sock"), &before), 0);
	listen_by(unix_conf("a.sock", NULL, ""));
	reload_by(unix_conf("b.sock", NULL, ""));
	ck_assert_ptr_nonnull(strstr(logged(), "/a.sock: the service manager goes on listening there"));
	expect_file("a.sock", &before);
	expect_waiting(managers, "a.sock");
	struct conf *back = unix_conf("a.sock", NULL, "");
	ck_assert(!listener_reload(listener, back, error));
	ck_assert_ptr_nonnull(strstr(error, "the service manager listens there"));
	conf_unref(&back);
	expect_file("a.sock", &before);
	int b = dial_unix("b.sock");
	mta_expect(b, LMTP_GREETING);
	close(b);
	close(managers);
}
END_TEST

START_TEST(a_passed_socket_whose_file_is_gone_is_told_of)
{
	int managers = pass_socket("a.sock");

	if (_i == 0)
		listen_by(unix_conf("a.sock", NULL, ""));
	ck_assert_int_eq(unlink(path_of("a.sock")), 0);
	if (_i == 1)
		listen_by(unix_conf("a.sock", NULL, ""));
	else
		reload_by(unix_conf("a.sock", NULL, ""));
	ck_assert_ptr_nonnull(strstr(logged(), "/a.sock: the socket's file was removed or replaced"));
	ck_assert_int_eq(access(path_of("a.sock"), F_OK), -1);
	close(managers);
}
END_TEST

/* ---- the end ---- */

START_TEST(free_abandons_what_waits)
{
	listen_by(unix_conf("a.sock", NULL, ""));
	int a = dial_unix("a.sock");

	mta_hear(a);
	mta_say(a, "LHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n");
	mta_hear(a);
	mta_say(a, "\r\nx\r\n.\r\n");
	ck_assert_uint_eq(router.taken_count, 1);
	listener_free(listener);
	listener = NULL;
	ck_assert_uint_eq(router.abandoned_count, 1);
	mta_expect(a, "<closed>");
	close(a);
}
END_TEST

static void see(const struct session_view *view, void *arg)
{
	strcat(arg, view->protocol);
	strcat(arg, view->peer);
}

START_TEST(each_session_is_shown)
{
	uint16_t port = free_port();
	char shown[128] = "";

	listen_by(tcp_conf(port));
	int first = dial_tcp(port), second = dial_tcp(port);
	mta_hear(first);
	listener_each_session(listener, see, shown);
	ck_assert_str_eq(shown, "LMTP127.0.0.1LMTP127.0.0.1");
	close(first);
	close(second);
}
END_TEST

/* ---- limits ---- */

static void allow_descriptors(rlim_t count)
{
	struct rlimit limit;

	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	limit.rlim_cur = count < limit.rlim_max ? count : limit.rlim_max;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

START_TEST(the_thousand_and_first_session_waits)
{
	static int fds[LISTENER_SESSIONS_MAX + 2];

	allow_descriptors(2 * LISTENER_SESSIONS_MAX + 100);
	listen_by(unix_conf("a.sock", NULL, ""));
	for (size_t i = 0; i < LISTENER_SESSIONS_MAX + 2; i++) {
		fds[i] = dial_unix("a.sock");
		if (i % 16 == 0)
			loop_settle();
	}
	loop_settle();
	ck_assert_uint_eq(listener_sessions(listener), LISTENER_SESSIONS_MAX);
	mta_expect(fds[LISTENER_SESSIONS_MAX], "");
	ck_assert_ptr_nonnull(
		strstr(logged(), "sessions: limit=1000 (all in use; further ones wait until one ends)\n"));
	close(fds[0]);
	loop_settle();
	ck_assert_uint_eq(listener_sessions(listener), LISTENER_SESSIONS_MAX);
	mta_expect(fds[LISTENER_SESSIONS_MAX], LMTP_GREETING);
	mta_expect(fds[LISTENER_SESSIONS_MAX + 1], "");
	for (size_t i = 1; i < LISTENER_SESSIONS_MAX + 2; i++)
		close(fds[i]);
}
END_TEST

static unsigned warnings_of_accept(void)
{
	unsigned count = 0;
	char line[128];

	snprintf(line, sizeof line, "accept: sessions=0 (%s; ", strerror(EMFILE));
	for (const char *at = logged(); (at = strstr(at, line)) != NULL; at++)
		count++;
	return count;
}

START_TEST(without_descriptors_connections_wait)
{
	listen_by(unix_conf("a.sock", NULL, ""));
	int a = dial_unix("a.sock");

	ck_assert_int_ne(a, -1);
	allow_descriptors(3);
	for (int i = 0; i < 60; i++) {
		ck_assert_uint_eq(listener_sessions(listener), 0);
		loop_settle();
		ck_assert_uint_eq(warnings_of_accept(), 1);
		pass(SECONDS(1));
	}
	ck_assert_uint_eq(warnings_of_accept(), 2);
	allow_descriptors(100);
	loop_settle();
	ck_assert_uint_eq(listener_sessions(listener), 0);
	pass(SECONDS(1));
	mta_expect(a, LMTP_GREETING);
	close(a);
}
END_TEST

/* ---- who ---- */

START_TEST(a_tcp_client_of_another_user_is_refused)
{
	char expected[256];
	uint16_t port = free_port();
	struct conf *conf = listen_by(tcp_conf(port));

	conf->allow_users[0] = geteuid() + 1;
	int a = dial_tcp(port);
	mta_expect(a, LMTP_GREETING NOT_ALLOWED);
	snprintf(expected, sizeof(expected),
		 "refused: protocol=LMTP, peer=127.0.0.1, uid=%u, state=greeting, unlogged=0 (the user is not in "
		 "allow-users)\n",
		 geteuid());
	ck_assert_ptr_nonnull(strstr(logged(), expected));
	close(a);
}
END_TEST

/* What a process of another user hears, in a child of its own. */
static void hear_as_nobody(uint16_t port, int out)
{
	char text[256];
	size_t length = 0;
	ssize_t n;
	struct sockaddr_in address = loopback(port);

	if (setgid(65534) == -1 || setuid(65534) == -1)
		_exit(1);
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == -1)
		_exit(2);
	while ((n = read(fd, text + length, sizeof(text) - length)) > 0)
		length += (size_t)n;
	_exit(write(out, text, length) == (ssize_t)length ? 0 : 3);
}

START_TEST(another_process_of_another_user_is_refused)
{
	char text[256] = "";
	uint16_t port = free_port();
	int pipes[2], status = -1;

	listen_by(tcp_conf(port));
	ck_assert_int_eq(pipe(pipes), 0);
	pid_t child = fork();
	ck_assert_int_ne(child, -1);
	if (child == 0)
		hear_as_nobody(port, pipes[1]);
	while (waitpid(child, &status, WNOHANG) == 0) {
		loop_settle();
		usleep(1000);
	}
	ck_assert_int_eq(status, 0);
	ck_assert_int_gt(read(pipes[0], text, sizeof(text) - 1), 0);
	ck_assert_str_eq(text, LMTP_GREETING "554 5.7.1 You may not hand over mail here\r\n");
	ck_assert_ptr_nonnull(strstr(logged(), "peer=127.0.0.1, uid=65534, state=greeting"));
	int ours = dial_tcp(port);
	mta_say(ours, "");
	mta_expect(ours, LMTP_GREETING);
	close(ours);
	close(pipes[0]);
	close(pipes[1]);
}
END_TEST

#define WHOLE_SESSION \
	"LHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<b@example.com>\r\nDATA\r\nSubject: x\r\n\r\nx\r\n.\r\nQUIT\r\n"

START_TEST(a_tcp_client_that_talks_first_is_refused)
{
	uint16_t port = free_port();

	listen_by(tcp_conf(port));
	int a = dial_tcp(port);
	ck_assert_int_eq(send(a, WHOLE_SESSION, strlen(WHOLE_SESSION), 0), strlen(WHOLE_SESSION));
	mta_expect(a, "554 5.5.0 You talked before the greeting\r\n<closed>");
	ck_assert_uint_eq(router.taken_count, 0);
	close(a);
}
END_TEST

/* A closed socket would read as root's. */
START_TEST(a_tcp_client_that_has_gone_hands_over_nothing)
{
	uint16_t port = free_port();

	listen_by(tcp_conf(port));
	int a = dial_tcp(port);
	if (_i > 0)
		mta_expect(a, LMTP_GREETING);
	if (_i > 1) {
		mta_say(a, "LHLO x\r\n");
		mta_hear(a);
	}
	ck_assert_int_gt(send(a, WHOLE_SESSION, strlen(WHOLE_SESSION), 0), 0);
	close(a);
	loop_settle();
	ck_assert_uint_eq(router.taken_count, 0);
	ck_assert_uint_eq(listener_sessions(listener), 0);
	if (_i > 0)
		ck_assert_ptr_nonnull(
			strstr(logged(), "uid=-, state=ready, unlogged=0 (the user at the other end cannot be told)"));
}
END_TEST

START_TEST(refused_peers_do_not_drown_the_log)
{
	uint16_t port = free_port();
	struct conf *conf = listen_by(tcp_conf(port));

	conf->allow_users[0] = geteuid() + 1;
	for (int i = 0; i < 103; i++) {
		int a = dial_tcp(port);
		mta_expect(a, LMTP_GREETING NOT_ALLOWED);
		close(a);
		if (i == 101)
			pass(SECONDS(60));
	}
	const char *last = logged();
	unsigned lines = 0;
	for (const char *at = last; (at = strstr(at, "refused: ")) != NULL; at++, lines++)
		last = at;
	ck_assert_uint_eq(lines, 21);
	ck_assert_ptr_nonnull(strstr(last, ", unlogged=82 ("));
}
END_TEST

START_TEST(a_tcp_client_that_resets_at_once_is_nobody)
{
	struct linger at_once = {.l_onoff = 1};
	uint16_t port = free_port();

	listen_by(tcp_conf(port));
	int a = dial_tcp(port);
	ck_assert_int_eq(setsockopt(a, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)), 0);
	close(a);
	loop_settle();
	ck_assert_uint_eq(listener_sessions(listener), 0);
	ck_assert_ptr_nonnull(strstr(logged(), "refused: protocol=LMTP, peer=-, uid=-, state=accepted"));
}
END_TEST

START_TEST(the_user_is_looked_up_at_each_mail)
{
	uint16_t port = free_port();
	struct conf *conf = listen_by(tcp_conf(port));
	int a = dial_tcp(port);

	mta_expect(a, LMTP_GREETING);
	mta_say(a, "LHLO x\r\nMAIL FROM:<>\r\nRSET\r\n");
	ck_assert_ptr_nonnull(strstr(mta_hear(a), "\r\n250 2.1.0 Ok\r\n250 2.0.0 Ok\r\n"));
	conf->allow_users[0] = geteuid() + 1;
	mta_say(a, "MAIL FROM:<>\r\nNOOP\r\n");
	mta_expect(a, "550 5.7.1 You may not hand over mail here\r\n<closed>");
	close(a);
}
END_TEST

/* In a network of its own, with an address that is not a loopback one. */
START_TEST(a_client_from_elsewhere_is_refused)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(2525)};
	struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP};

	inet_pton(AF_INET, "192.0.2.1", &address.sin_addr);
	ck_assert_int_eq(unshare(CLONE_NEWNET), 0);
	int control = socket(AF_INET, SOCK_DGRAM, 0);
	ck_assert_int_eq(ioctl(control, SIOCSIFFLAGS, &request), 0);
	strcpy(request.ifr_name, "lo:1");
	memcpy(&request.ifr_addr, &address, sizeof(address));
	ck_assert_int_eq(ioctl(control, SIOCSIFADDR, &request), 0);
	close(control);
	struct conf *conf = tcp_conf(2525);
	strcpy(conf->lmtp[0].host, "192.0.2.1");
	listen_by(conf);
	int a = dial(AF_INET, &address, sizeof(address));
	mta_expect(a, NOT_ALLOWED);
	ck_assert_ptr_nonnull(strstr(
		logged(),
		"refused: protocol=LMTP, peer=192.0.2.1, uid=-, state=accepted, unlogged=0 (the client is not on this "
		"host)\n"));
	close(a);
}
END_TEST

Suite *listener_suite(void)
{
	Suite *suite = suite_create("listener");
	TCase *tcase = tcase_create("listener");
	tcase_add_checked_fixture(tcase, start, stop);
	tcase_set_timeout(tcase, 60);
	tcase_add_test(tcase, every_endpoint_greets_in_its_protocol);
	tcase_add_test(tcase, one_endpoint_that_cannot_be_had_undoes_all);
	tcase_add_test(tcase, reload_opens_and_closes_and_keeps_sessions);
	tcase_add_test(tcase, a_reload_that_fails_changes_nothing);
	tcase_add_test(tcase, reload_makes_a_socket_anew_whose_file_was_removed);
	tcase_add_test(tcase, reload_changes_the_mode_of_a_socket_that_stays);
	tcase_add_test(tcase, a_socket_gets_the_group_that_is_set);
	tcase_add_test(tcase, stop_closes_and_removes_sockets);
	tcase_add_test(tcase, another_daemons_socket_is_not_removed);
	tcase_add_test(tcase, a_passed_socket_is_served_and_left_as_it_is);
	tcase_add_test(tcase, a_passed_smtp_socket_speaks_smtp);
	tcase_add_test(tcase, a_reload_may_spell_a_passed_socket_otherwise);
	tcase_add_test(tcase, a_reload_lets_go_of_a_passed_socket);
	tcase_add_loop_test(tcase, a_passed_socket_whose_file_is_gone_is_told_of, 0, 2);
	tcase_add_test(tcase, free_abandons_what_waits);
	tcase_add_test(tcase, each_session_is_shown);
	tcase_add_test(tcase, the_thousand_and_first_session_waits);
	tcase_add_test(tcase, without_descriptors_connections_wait);
	tcase_add_test(tcase, a_tcp_client_of_another_user_is_refused);
	tcase_add_test(tcase, a_tcp_client_that_talks_first_is_refused);
	tcase_add_loop_test(tcase, a_tcp_client_that_has_gone_hands_over_nothing, 0, 3);
	tcase_add_test(tcase, refused_peers_do_not_drown_the_log);
	tcase_add_test(tcase, a_tcp_client_that_resets_at_once_is_nobody);
	tcase_add_test(tcase, the_user_is_looked_up_at_each_mail);
	if (geteuid() == 0) {
		tcase_add_test(tcase, another_process_of_another_user_is_refused);
		tcase_add_test(tcase, a_client_from_elsewhere_is_refused);
	}
	suite_add_tcase(suite, tcase);
	return suite;
}
