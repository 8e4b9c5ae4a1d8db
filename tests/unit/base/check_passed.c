/*
 * Sockets that a service manager passes, each time in a child of its own: they begin at descriptor 3, where the test
 * program has others.
 */
#include <config.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "base/passed.h"
#include "check_base.h"

#define FIRST 3
/* The exit code tells the line: the last of these must stand above line 256. */
#define EXPECT(condition)                \
	do {                             \
		if (!(condition))        \
			_exit(__LINE__); \
	} while (0)

static char directory[40], lines[4096];

static void on_log(enum log_level level, const char *line)
{
	size_t length = strlen(lines);
	(void)level;
	snprintf(lines + length, sizeof(lines) - length, "%s\n", line);
}

static void setup(void)
{
	strcpy(directory, "/tmp/check_passed.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(directory));
	lines[0] = '\0';
}

static void teardown(void)
{
	char command[96];
	snprintf(command, sizeof(command), "rm -rf %s", directory);
	ck_assert_int_eq(system(command), 0);
}

/* Runs `body` in a child; the line of the first thing that was not as expected, 0 if there is none. */
static int in_child(void (*body)(void))
{
	int status;
	fflush(NULL);
	pid_t child = fork();
	if (child == 0) {
		log_capture(on_log);
		body();
		_exit(0);
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert(WIFEXITED(status));
	return WEXITSTATUS(status);
}

/* ---- the manager ---- */

static const char *path_of(const char *name)
{
	static char path[108];
	snprintf(path, sizeof(path), "%s/%s", directory, name);
	return path;
}

static int unix_socket(int type, const char *name)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, type, 0);
	strcpy(address.sun_path, path_of(name));
	EXPECT(bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0);
	EXPECT(type == SOCK_DGRAM || listen(fd, 5) == 0);
	return fd;
}

static int inet_socket(const void *address, socklen_t length)
{
	int fd = socket(((const struct sockaddr *)address)->sa_family, SOCK_STREAM, 0);
	EXPECT(bind(fd, address, length) == 0 && listen(fd, 5) == 0);
	return fd;
}

static uint16_t port_of(int fd)
{
	struct sockaddr_in address;
	socklen_t length = sizeof(address);
	EXPECT(getsockname(fd, (struct sockaddr *)&address, &length) == 0);
	return ntohs(address.sin_port);
}

/* Where the manager puts it. */
static void place(int fd, int at)
{
	EXPECT(dup2(fd, at) == at);
	close(fd);
}

static void tell(pid_t pid, const char *count, const char *names)
{
	char text[24];
	snprintf(text, sizeof(text), "%ld", (long)pid);
	setenv("LISTEN_PID", text, 1);
	setenv("LISTEN_FDS", count, 1);
	setenv("LISTEN_FDNAMES", names, 1);
	passed_take();
	EXPECT(!getenv("LISTEN_PID") && !getenv("LISTEN_FDS") && !getenv("LISTEN_FDNAMES"));
}

static struct endpoint at_path(const char *name)
{
	struct endpoint endpoint = {.kind = ENDPOINT_UNIX};
	strcpy(endpoint.path, path_of(name));
	return endpoint;
}

static struct endpoint at_host(const char *host, uint16_t port)
{
	struct endpoint endpoint = {.kind = ENDPOINT_INET, .port = port};
	strcpy(endpoint.host, host);
	return endpoint;
}

/* Sockets high up, so that none is in the way of another's place. */
static int high(int fd)
{
	int above = fcntl(fd, F_DUPFD, 100);
	close(fd);
	return above;
}

/* ---- tests ---- */

static void found_by_address(void)
{
	const struct sockaddr_in ip4 = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	const struct sockaddr_in6 ip6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
	int first = high(unix_socket(SOCK_STREAM, "a")), second = high(inet_socket(&ip4, sizeof(ip4))),
	    third = high(inet_socket(&ip6, sizeof(ip6)));
	uint16_t port4 = port_of(second), port6 = port_of(third);
	place(first, FIRST), place(second, FIRST + 1), place(third, FIRST + 2);
	tell(getpid(), "3", "a:b:c");
	EXPECT(symlink(directory, path_of("link")) == 0);
	const struct endpoint a = at_path("link/a"), b = at_host("localhost", port4),
			      c = at_host("0:0:0:0:0:0:0:1", port6);
	EXPECT(passed_has(&a) && passed_has(&b) && passed_has(&c));
	EXPECT(passed_socket(&c) == FIRST + 2 && passed_socket(&a) == FIRST && passed_socket(&b) == FIRST + 1);
	for (int fd = FIRST; fd < FIRST + 3; fd++)
		EXPECT((fcntl(fd, F_GETFD) & FD_CLOEXEC) && (fcntl(fd, F_GETFL) & O_NONBLOCK));
	EXPECT(passed_socket(&a) == -1 && passed_has(&a)); /* once; the manager still listens */
	passed_close_rest();
	EXPECT(fcntl(FIRST, F_GETFD) != -1 && *lines == '\0');
}

static void nobody_asks(void)
{
	const struct sockaddr_in ip4 = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct stat before, after;
	char expected[256];
	int first = high(unix_socket(SOCK_STREAM, "a")), second = high(inet_socket(&ip4, sizeof(ip4)));
	uint16_t port = port_of(second);
	EXPECT(stat(path_of("a"), &before) == 0);
	place(first, FIRST), place(second, FIRST + 1);
	tell(getpid(), "2", ":web");
	const struct endpoint other_path = at_path("b"), other_port = at_host("127.0.0.1", (uint16_t)(port + 1)),
			      other_host = at_host("127.0.0.2", port), no_address = at_host("mail.example", port);
	EXPECT(passed_socket(&other_path) == -1 && passed_socket(&other_port) == -1);
	EXPECT(passed_socket(&other_host) == -1 && passed_socket(&no_address) == -1);
	passed_close_rest();
	EXPECT(fcntl(FIRST, F_GETFD) == -1 && fcntl(FIRST + 1, F_GETFD) == -1);
	snprintf(expected, sizeof(expected), "passed: endpoint=unix:%s, name=- (closed: ", path_of("a"));
	EXPECT(strstr(lines, expected));
	snprintf(expected, sizeof(expected), "passed: endpoint=inet:%u@127.0.0.1, name=web (closed: ", port);
	EXPECT(strstr(lines, expected));
	EXPECT(stat(path_of("a"), &after) == 0 && before.st_ino == after.st_ino && before.st_mode == after.st_mode);
}

static void cannot_be_served(void)
{
	int datagrams = high(unix_socket(SOCK_DGRAM, "a")), packets = high(unix_socket(SOCK_SEQPACKET, "b"));
	place(datagrams, FIRST), place(packets, FIRST + 1);
	place(high(open("/dev/null", O_RDWR)), FIRST + 2);
	close(FIRST + 3);
	place(high(socket(AF_UNIX, SOCK_STREAM, 0)), FIRST + 4); /* it listens nowhere */
	tell(getpid(), "5", "");
	const struct endpoint a = at_path("a"), b = at_path("b");
	EXPECT(passed_socket(&a) == -1 && passed_socket(&b) == -1 && !passed_has(&a));
	passed_close_rest();
	EXPECT(strstr(lines, "passed: descriptor=3, name=- (closed: "));
	EXPECT(strstr(lines, "passed: descriptor=4, name=- (closed: "));
	EXPECT(strstr(lines, "passed: descriptor=5, name=- (closed: "));
	EXPECT(!strstr(lines, "descriptor=6") && strstr(lines, "passed: descriptor=7, name=- (closed: "));
	EXPECT(fcntl(FIRST, F_GETFD) == -1 && fcntl(FIRST + 4, F_GETFD) == -1);
}

static void for_another(void)
{
	place(high(unix_socket(SOCK_STREAM, "a")), FIRST);
	const struct endpoint a = at_path("a");
	tell(getppid(), "1", "a");
	EXPECT(!passed_has(&a));
	const char *nonsense[] = {"0", "-1", "one", "1 ", "", "99999999999999999999", "1025"};
	for (size_t i = 0; i < sizeof(nonsense) / sizeof(nonsense[0]); i++) {
		tell(getpid(), nonsense[i], "a");
		EXPECT(!passed_has(&a));
	}
	passed_close_rest();
	EXPECT(fcntl(FIRST, F_GETFD) != -1 && *lines == '\0');
}

START_TEST(what_is_passed_is_found_by_its_address)
{
	ck_assert_int_eq(in_child(found_by_address), 0);
}
END_TEST

START_TEST(what_nobody_asks_for_is_named_and_closed)
{
	ck_assert_int_eq(in_child(nobody_asks), 0);
}
END_TEST

START_TEST(what_cannot_be_served_is_named_and_closed)
{
	ck_assert_int_eq(in_child(cannot_be_served), 0);
}
END_TEST

START_TEST(what_is_passed_to_another_process_is_left_alone)
{
	ck_assert_int_eq(in_child(for_another), 0);
}
END_TEST

Suite *passed_suite(void)
{
	Suite *suite = suite_create("passed");
	TCase *all = tcase_create("passed");
	tcase_add_checked_fixture(all, setup, teardown);
	tcase_add_test(all, what_is_passed_is_found_by_its_address);
	tcase_add_test(all, what_nobody_asks_for_is_named_and_closed);
	tcase_add_test(all, what_cannot_be_served_is_named_and_closed);
	tcase_add_test(all, what_is_passed_to_another_process_is_left_alone);
	suite_add_tcase(suite, all);
	return suite;
}
