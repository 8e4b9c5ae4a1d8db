/*
 * Unit tests of base/path on loopback: a reader that stops, and, with a filter at the receiving socket that swallows
 * all packets, a path that loses everything.
 */
#include <config.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/path.h"
#include "check_base.h"

#define LOOKS 300 /* each some milliseconds of real time after the one before */

static int client, server;

static void setup(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof address;
	int small = 4096, listener = socket(AF_INET, SOCK_STREAM, 0);
	ck_assert_int_eq(setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &small, sizeof small), 0);
	ck_assert_int_eq(bind(listener, (struct sockaddr *)&address, length), 0);
	ck_assert_int_eq(listen(listener, 1), 0);
	ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&address, &length), 0);
	client = socket(AF_INET, SOCK_STREAM, 0);
	ck_assert_int_eq(connect(client, (struct sockaddr *)&address, length), 0);
	ck_assert_int_eq(fcntl(client, F_SETFL, O_NONBLOCK), 0);
	server = accept(listener, NULL, NULL);
	ck_assert_int_ge(server, 0);
	close(listener);
}

static void teardown(void)
{
	close(client);
	close(server);
}

static struct path look(void)
{
	struct path path;
	ck_assert(path_look(client, &path));
	return path;
}

/* Until it is so, or never. */
static bool becomes(bool (*is_so)(const struct path *path))
{
	for (unsigned i = 0; i < LOOKS; i++) {
		struct path path = look();
		if (is_so(&path))
			return true;
		usleep(10000);
	}
	return false;
}

static bool is_shut(const struct path *path)
{
	return path->shut && !path->lost;
}

static bool is_lost(const struct path *path)
{
	return path->lost && !path->shut;
}

static bool is_well(const struct path *path)
{
	return !path->lost && !path->shut;
}

static void fill(void)
{
	static const char octets[65536];
	while (write(client, octets, sizeof octets) > 0)
		;
}

START_TEST(a_quiet_connection_is_well)
{
	ck_assert(becomes(is_well));
	usleep(400000);
	struct path path = look();
	ck_assert(is_well(&path));
	ck_assert_int_eq(path.window_limit, 0);
}
END_TEST

START_TEST(what_was_sent_and_taken_is_well)
{
	usleep(400000); /* the last acknowledgement is old, what is sent now is not */
	ck_assert_int_eq(write(client, "MAIL\r\n", 6), 6);
	struct path path = look();
	ck_assert(is_well(&path));
	usleep(400000); /* nobody has read it, but the kernel has acknowledged it */
	path = look();
	ck_assert(is_well(&path));
}
END_TEST

START_TEST(a_reader_that_stops_shuts_its_window)
{
	char octets[65536];
	fill();
	ck_assert(becomes(is_shut));
	usec_t before = look().window_limit;
	usleep(200000);
	ck_assert_int_ge(look().window_limit - before, 150000);
	ck_assert_int_eq(fcntl(server, F_SETFL, O_NONBLOCK), 0);
	for (unsigned i = 0; i < LOOKS && !(is_well(&(struct path){.shut = look().shut}) && i > 20); i++) {
		while (read(server, octets, sizeof octets) > 0)
			;
		usleep(1000);
	}
	ck_assert(becomes(is_well));
}
END_TEST

/* Everything that comes to the other end is dropped before its TCP sees it. */
START_TEST(a_path_that_loses_all_is_lost)
{
	struct sock_filter drop = BPF_STMT(BPF_RET | BPF_K, 0);
	struct sock_fprog program = {.len = 1, .filter = &drop};
	ck_assert_int_eq(setsockopt(server, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program), 0);
	ck_assert_int_eq(write(client, "MAIL\r\n", 6), 6);
	ck_assert(becomes(is_lost));
	ck_assert_int_eq(setsockopt(server, SOL_SOCKET, SO_DETACH_FILTER, &program, sizeof program), 0);
	ck_assert(becomes(is_well));
}
END_TEST

START_TEST(what_is_no_tcp_socket_tells_nothing)
{
	int pair[2];
	struct path path;
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	ck_assert(!path_look(pair[0], &path));
	close(pair[0]);
	close(pair[1]);
	ck_assert(!path_look(-1, &path));
}
END_TEST

Suite *path_suite(void)
{
	Suite *suite = suite_create("path");
	TCase *tcase = tcase_create("path");
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, a_quiet_connection_is_well);
	tcase_add_test(tcase, what_was_sent_and_taken_is_well);
	tcase_add_test(tcase, a_reader_that_stops_shuts_its_window);
	if (may_lose_packets())
		tcase_add_test(tcase, a_path_that_loses_all_is_lost);
	tcase_add_test(tcase, what_is_no_tcp_socket_tells_nothing);
	tcase_set_timeout(tcase, 20);
	suite_add_tcase(suite, tcase);
	return suite;
}
