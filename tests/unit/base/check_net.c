/* Unit tests of base/net: endpoints, unix and TCP sockets on loopback, who is at the other end, networks. */
#include <config.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/net.h"
#include "check_base.h"

static char error[NET_ERROR_SIZE];

/* ---- endpoints ---- */

/* A spelling, and how it is written again; NULL: refused, with `why` in the sentence. */
static const struct {
	const char *text, *written, *why;
} spellings[] = {
	{"unix:/run/a.sock", "unix:/run/a.sock", NULL},
	{"inet:8891@localhost", "inet:8891@localhost", NULL},
	{"inet:127.0.0.1:8891", "inet:8891@127.0.0.1", NULL},
	{"inet:mail-1.example.org:25", "inet:25@mail-1.example.org", NULL},
	{"inet:65535@[::1]", "inet6:65535@[::1]", NULL},
	{"inet:[2001:db8::1]:25", "inet6:25@[2001:db8::1]", NULL},
	{"inet6:25@[::1]", "inet6:25@[::1]", NULL},
	{"", NULL, "unix:PATH, inet:PORT@HOST or inet:HOST:PORT"},
	{"/run/a.sock", NULL, "unix:PATH"},
	{"local:/run/a.sock", NULL, "unix:PATH"},
	{"unix:run/a.sock", NULL, "begin with /"},
	{"unix:", NULL, "begin with /"},
	{"unix:/run/", NULL, "name a file"},
	{"inet:0@localhost", NULL, "1 to 65535"},
	{"inet:65536@localhost", NULL, "1 to 65535"},
	{"inet:165536@localhost", NULL, "1 to 65535"},
	{"inet:-1@localhost", NULL, "1 to 65535"},
	{"inet:@localhost", NULL, "1 to 65535"},
	{"inet:smtp@localhost", NULL, "1 to 65535"},
	{"inet:localhost:", NULL, "1 to 65535"},
	{"inet:25@", NULL, "the host must be"},
	{"inet::25", NULL, "the host must be"},
	{"inet:25", NULL, "host and port"},
	{"inet:localhost", NULL, "host and port"},
	{"inet:25@::1", NULL, "in brackets"},
	{"inet:::1:25", NULL, "in brackets"},
	{"inet:25@[]", NULL, "in brackets"},
	{"inet:25@[127.0.0.1]", NULL, "in brackets"},
	{"inet:25@a b", NULL, "the host must be"},
	{"inet:25@a@b", NULL, "the host must be"},
	{"inet6:25@127.0.0.1", NULL, "in brackets"},
};

START_TEST(an_endpoint_is_read_and_written)
{
	struct endpoint endpoint, again;
	char name[NET_NAME_SIZE];
	error[0] = '\0';
	bool ok = endpoint_parse(spellings[_i].text, &endpoint, error);
	if (!spellings[_i].written) {
		ck_assert_msg(!ok, "%s was accepted", spellings[_i].text);
		ck_assert_msg(strstr(error, spellings[_i].why) != NULL, "%s", error);
		return;
	}
	ck_assert_msg(ok, "%s", error);
	ck_assert_str_eq(endpoint_format(&endpoint, name), spellings[_i].written);
	ck_assert(endpoint_parse(name, &again, error));
	ck_assert(endpoint_equal(&endpoint, &again));
}
END_TEST

START_TEST(a_path_that_does_not_fit_is_refused)
{
	struct endpoint endpoint;
	char text[200];
	snprintf(text, sizeof text, "unix:/%0106d", 1);
	ck_assert_msg(endpoint_parse(text, &endpoint, error), "%s", error);
	ck_assert_uint_eq(strlen(endpoint.path), 107);
	snprintf(text, sizeof text, "unix:/%0107d", 1);
	ck_assert(!endpoint_parse(text, &endpoint, error));
	ck_assert_ptr_nonnull(strstr(error, "107 octets"));
	snprintf(text, sizeof text, "inet:25@a%0130d", 1);
	ck_assert(!endpoint_parse(text, &endpoint, error));
}
END_TEST

START_TEST(different_endpoints_are_not_equal)
{
	struct endpoint a, b;
	ck_assert(endpoint_parse("inet:25@Relay", &a, error));
	ck_assert(endpoint_parse("inet:relay:25", &b, error));
	ck_assert(endpoint_equal(&a, &b));
	ck_assert(endpoint_parse("inet:26@relay", &b, error));
	ck_assert(!endpoint_equal(&a, &b));
	ck_assert(endpoint_parse("unix:/a", &a, error));
	ck_assert(!endpoint_equal(&a, &b));
	ck_assert(endpoint_parse("unix:/b", &b, error));
	ck_assert(!endpoint_equal(&a, &b));
}
END_TEST

/* ---- unix sockets ---- */

static char directory[] = "/tmp/check_net.XXXXXX";
static struct endpoint endpoint;

static void directory_setup(void)
{
	ck_assert_ptr_nonnull(mkdtemp(directory));
	endpoint.kind = ENDPOINT_UNIX;
	snprintf(endpoint.path, sizeof endpoint.path, "%s/sock", directory);
}

static void directory_teardown(void)
{
	unlink(endpoint.path);
	ck_assert_int_eq(rmdir(directory), 0);
}

static int listen_or_fail(mode_t mode)
{
	int fd = net_listen(&endpoint, getgid(), mode, error);
	ck_assert_msg(fd >= 0, "%s", error);
	return fd;
}

static int connect_unix(int type)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	memcpy(address.sun_path, endpoint.path, sizeof address.sun_path);
	int fd = socket(AF_UNIX, type, 0);
	if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
		return fd;
	close(fd);
	return -1;
}

START_TEST(a_listening_socket_has_the_mode_asked_for)
{
	umask(0);
	int fd = listen_or_fail(0640);
	struct stat st;
	ck_assert_int_eq(stat(endpoint.path, &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0640);
	ck_assert_uint_eq(st.st_gid, getgid());
	ck_assert_int_ne(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
	ck_assert_int_ne(fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
	ck_assert_int_eq(accept(fd, NULL, NULL), -1);
	ck_assert_int_eq(errno, EAGAIN);
	close(fd);
}
END_TEST

START_TEST(a_live_socket_is_never_removed)
{
	int fd = listen_or_fail(0600);
	ck_assert(!net_clear_stale(&endpoint, error));
	char expected[NET_ERROR_SIZE];
	snprintf(expected, sizeof expected, "%s: another process is listening there", endpoint.path);
	ck_assert_str_eq(error, expected);
	ck_assert_int_eq(net_listen(&endpoint, (gid_t)-1, 0600, error), -1);
	ck_assert_str_eq(error, expected);
	int client = connect_unix(SOCK_STREAM);
	ck_assert_int_ge(client, 0);
	close(client);
	close(fd);
}
END_TEST

START_TEST(a_live_socket_with_a_full_backlog_is_not_stale)
{
	int fd = listen_or_fail(0600), clients[8], count = 0;
	ck_assert_int_eq(listen(fd, 0), 0);
	while (count < 8 && (clients[count] = connect_unix(SOCK_STREAM | SOCK_NONBLOCK)) >= 0)
		count++;
	ck_assert_int_lt(count, 8);
	ck_assert(!net_clear_stale(&endpoint, error));
	ck_assert_ptr_nonnull(strstr(error, ": another process is listening there"));
	ck_assert_ptr_null(strstr(error, "cannot be told"));
	while (count-- > 0)
		close(clients[count]);
	close(fd);
}
END_TEST

START_TEST(a_socket_of_another_type_is_not_stale)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	memcpy(address.sun_path, endpoint.path, sizeof address.sun_path);
	int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
	ck_assert(!net_clear_stale(&endpoint, error));
	ck_assert_int_eq(access(endpoint.path, F_OK), 0);
	close(fd);
}
END_TEST

START_TEST(a_stale_socket_is_replaced)
{
	close(listen_or_fail(0600));
	ck_assert_int_eq(access(endpoint.path, F_OK), 0);
	int fd = listen_or_fail(0600);
	int client = connect_unix(SOCK_STREAM);
	ck_assert_int_ge(client, 0);
	close(client);
	close(fd);
	ck_assert_msg(net_clear_stale(&endpoint, error), "%s", error);
	ck_assert_int_ne(access(endpoint.path, F_OK), 0);
	ck_assert(net_clear_stale(&endpoint, error)); /* nothing there is fine too */
}
END_TEST

START_TEST(what_is_no_socket_is_never_removed)
{
	close(open(endpoint.path, O_CREAT | O_WRONLY, 0600));
	ck_assert(!net_clear_stale(&endpoint, error));
	ck_assert_ptr_nonnull(strstr(error, "not a socket"));
	ck_assert_int_eq(access(endpoint.path, F_OK), 0);
}
END_TEST

START_TEST(a_link_to_a_socket_is_not_followed)
{
	struct endpoint real = endpoint;
	char target[sizeof endpoint.path];
	strcpy(target, endpoint.path);
	close(listen_or_fail(0600));
	strcat(endpoint.path, "2");
	ck_assert_int_eq(symlink(target, endpoint.path), 0);
	ck_assert(!net_clear_stale(&endpoint, error));
	ck_assert_int_eq(access(target, F_OK), 0);
	unlink(endpoint.path);
	endpoint = real;
}
END_TEST

START_TEST(a_missing_directory_is_named)
{
	struct endpoint missing = {.kind = ENDPOINT_UNIX};
	snprintf(missing.path, sizeof missing.path, "%s/none/sock", directory);
	ck_assert(!net_clear_stale(&missing, error));
	ck_assert_ptr_nonnull(strstr(error, "/none: the directory cannot be used: No such file"));
	ck_assert_int_eq(net_listen(&missing, (gid_t)-1, 0600, error), -1);
	snprintf(missing.path, sizeof missing.path, "/check_net.no.such.socket");
	ck_assert_msg(net_clear_stale(&missing, error), "%s", error);
}
END_TEST

START_TEST(a_group_that_may_not_be_given_is_an_error)
{
	bool root = geteuid() == 0;
	if (root) {
		ck_assert_int_eq(chown(directory, 65534, 65534), 0);
		ck_assert_int_eq(setegid(65534), 0);
		ck_assert_int_eq(seteuid(65534), 0);
	}
	ck_assert_int_eq(net_listen(&endpoint, 4242, 0600, error), -1);
	ck_assert_ptr_nonnull(strstr(error, "group cannot be set to 4242"));
	ck_assert_int_ne(access(endpoint.path, F_OK), 0); /* nothing is left behind */
	if (root) {
		ck_assert_int_eq(seteuid(0), 0);
		prctl(PR_SET_DUMPABLE, 1); /* for the leak checker */
	}
}
END_TEST

static void ck_assert_access_refused(const char *untouched, mode_t mode)
{
	struct stat st;
	ck_assert(!net_set_access(&endpoint, getgid(), 0666, error));
	ck_assert_ptr_nonnull(strstr(error, "/sock: this is not a socket"));
	ck_assert(!net_set_owner(&endpoint, getuid(), getgid(), error));
	ck_assert_ptr_nonnull(strstr(error, "/sock: this is not a socket"));
	ck_assert_int_eq(stat(untouched, &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, mode);
}

/* What a user to whom the directory belongs can put there between bind(2) and chmod(2). */
START_TEST(access_to_what_is_no_socket_is_never_changed)
{
	char secret[sizeof endpoint.path + 1];
	snprintf(secret, sizeof secret, "%s2", endpoint.path);
	close(open(secret, O_CREAT | O_WRONLY, 0600));
	ck_assert_int_eq(link(secret, endpoint.path), 0);
	ck_assert_access_refused(secret, 0600);
	ck_assert_int_eq(unlink(endpoint.path), 0);
	ck_assert_int_eq(symlink(secret, endpoint.path), 0);
	ck_assert_access_refused(secret, 0600);
	unlink(secret);
}
END_TEST

START_TEST(access_to_a_socket_behind_a_link_is_never_changed)
{
	char other[sizeof endpoint.path + 1];
	snprintf(other, sizeof other, "%s2", endpoint.path);
	close(listen_or_fail(0600));
	ck_assert_int_eq(rename(endpoint.path, other), 0);
	ck_assert_int_eq(symlink(other, endpoint.path), 0);
	ck_assert_access_refused(other, 0600);
	unlink(other);
}
END_TEST

START_TEST(access_to_a_socket_can_be_changed_later)
{
	struct stat st;
	int fd = listen_or_fail(0600);
	ck_assert_msg(net_set_access(&endpoint, (gid_t)-1, 0666, error), "%s", error);
	ck_assert_msg(net_set_owner(&endpoint, getuid(), geteuid() == 0 ? 4242 : getgid(), error), "%s", error);
	ck_assert_int_eq(stat(endpoint.path, &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0666);
	ck_assert_uint_eq(st.st_gid, geteuid() == 0 ? 4242 : getgid());
	close(fd);
	unlink(endpoint.path);
	ck_assert(!net_set_access(&endpoint, (gid_t)-1, 0666, error));
	ck_assert_ptr_nonnull(strstr(error, "/sock: No such file or directory"));
}
END_TEST

START_TEST(the_peer_of_a_unix_socket_is_known)
{
	int fd = listen_or_fail(0600), client = connect_unix(SOCK_STREAM), server = accept(fd, NULL, NULL);
	uid_t uid = 12345;
	gid_t gid = 12345;
	ck_assert(net_peer_credentials(server, &uid, &gid));
	ck_assert_uint_eq(uid, geteuid());
	ck_assert_uint_eq(gid, getegid());
	close(server), close(client), close(fd);
}
END_TEST

/* ---- TCP ---- */

static int any_port(const char *host)
{
	endpoint.kind = ENDPOINT_INET;
	strcpy(endpoint.host, host);
	endpoint.port = 0; /* the system's choice; the configuration cannot say so */
	int fd = net_listen(&endpoint, (gid_t)-1, 0, error);
	ck_assert_msg(fd >= 0, "%s", error);
	fcntl(fd, F_SETFL, 0);
	return fd;
}

/* A machine without IPv6 has nothing to test it on. */
static bool lacks(const char *host)
{
	struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
	int fd = socket(AF_INET6, SOCK_STREAM, 0);
	bool there = fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof address) == 0;
	if (fd >= 0)
		close(fd);
	return strchr(host, ':') && !there;
}

static struct sockaddr_storage local_address(int fd, socklen_t *length)
{
	struct sockaddr_storage address;
	*length = sizeof address;
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&address, length), 0);
	return address;
}

/* A client socket in progress or connected, to a listening socket. */
static int connect_to(int listener)
{
	socklen_t length;
	struct sockaddr_storage address = local_address(listener, &length);
	int fd = net_connect((struct sockaddr *)&address, length);
	ck_assert_int_ge(fd, 0);
	return fd;
}

static const char *const loopbacks[] = {"127.0.0.1", "::1"};

START_TEST(connecting_does_not_block_and_sets_the_options)
{
	if (lacks(loopbacks[_i]))
		return;
	int listener = any_port(loopbacks[_i]), client = connect_to(listener), server = accept(listener, NULL, NULL);
	ck_assert_int_ne(fcntl(client, F_GETFL) & O_NONBLOCK, 0);
	ck_assert_int_ne(fcntl(client, F_GETFD) & FD_CLOEXEC, 0);
	int value = 0;
	socklen_t length = sizeof value;
	ck_assert_int_eq(getsockopt(client, IPPROTO_TCP, TCP_NODELAY, &value, &length), 0);
	ck_assert_int_ne(value, 0);
	value = 0;
	ck_assert_int_eq(getsockopt(client, SOL_SOCKET, SO_KEEPALIVE, &value, &length), 0);
	ck_assert_int_ne(value, 0);
	usec_t round_trip = net_round_trip(client);
	ck_assert_int_gt(round_trip, 0);
	ck_assert_int_lt(round_trip, USEC_PER_SEC);
	ck_assert_int_eq(net_round_trip(STDERR_FILENO), -1);
	close(server), close(client), close(listener);
}
END_TEST

START_TEST(a_refused_connection_is_told_by_the_socket_or_at_once)
{
	int listener = any_port("127.0.0.1");
	socklen_t length;
	struct sockaddr_storage address = local_address(listener, &length);
	close(listener);
	int fd = net_connect((struct sockaddr *)&address, length), reason = errno;
	if (fd >= 0) {
		struct pollfd pollfd = {.fd = fd, .events = POLLOUT};
		ck_assert_int_eq(poll(&pollfd, 1, 5000), 1);
		length = sizeof reason;
		ck_assert_int_eq(getsockopt(fd, SOL_SOCKET, SO_ERROR, &reason, &length), 0);
		close(fd);
	}
	ck_assert_int_eq(reason, ECONNREFUSED);
}
END_TEST

START_TEST(an_impossible_address_is_an_error_at_once)
{
	struct sockaddr address = {.sa_family = AF_APPLETALK};
	ck_assert_int_eq(net_connect(&address, sizeof address), -1);
	ck_assert_int_ne(errno, 0);
}
END_TEST

START_TEST(a_port_in_use_is_named)
{
	int listener = any_port("127.0.0.1");
	socklen_t length;
	struct sockaddr_storage address = local_address(listener, &length);
	endpoint.port = ntohs(((struct sockaddr_in *)&address)->sin_port);
	ck_assert_int_eq(net_listen(&endpoint, (gid_t)-1, 0, error), -1);
	ck_assert_ptr_nonnull(strstr(error, "@127.0.0.1: the socket cannot be made: "));
	ck_assert_ptr_nonnull(strstr(error, strerror(EADDRINUSE)));
	close(listener);
}
END_TEST

START_TEST(listening_never_looks_up_a_name)
{
	ck_assert(endpoint_parse("inet:2525@relay.example", &endpoint, error));
	ck_assert_int_eq(net_listen(&endpoint, (gid_t)-1, 0, error), -1);
	ck_assert_str_eq(error, "inet:2525@relay.example: give the address in numbers, or localhost");
	close(any_port("localhost"));
}
END_TEST

/* ---- the user at the other end ---- */

/* Another process, of another user if we are root, which connects and then does as told. */
struct stranger {
	pid_t pid;
	uid_t uid;
	int tell;  /* takes an order of one octet: w(rite), s(hut down), c(lose) */
	int heard; /* gives it back when it is done */
};

_Noreturn static void stranger_obey(int client, int orders, int done)
{
	char order;
	while (read(orders, &order, 1) == 1) {
		if (order == 'w' && write(client, "MAIL", 4) != 4)
			break;
		if (order == 's' && shutdown(client, SHUT_WR) != 0)
			break;
		if (order == 'c')
			close(client);
		if (write(done, &order, 1) != 1)
			break;
	}
	_exit(0);
}

static struct stranger stranger_start(int listener, int family)
{
	struct stranger stranger = {.uid = geteuid() == 0 ? 65534 : geteuid()};
	int orders[2], done[2];
	socklen_t length;
	struct sockaddr_storage address = local_address(listener, &length);
	ck_assert_int_eq(pipe(orders), 0);
	ck_assert_int_eq(pipe(done), 0);
	stranger.pid = fork();
	if (stranger.pid == 0) {
		close(orders[1]), close(done[0]), close(listener);
		if (geteuid() == 0 && setuid(stranger.uid) != 0)
			_exit(1);
		struct sockaddr_in6 mapped = {.sin6_family = AF_INET6};
		if (family == AF_INET6 && address.ss_family == AF_INET) { /* IPv4 by an IPv6 socket */
			inet_pton(AF_INET6, "::ffff:127.0.0.1", &mapped.sin6_addr);
			mapped.sin6_port = ((struct sockaddr_in *)&address)->sin_port;
			memcpy(&address, &mapped, sizeof mapped);
			length = sizeof mapped;
		}
		int client = socket(family, SOCK_STREAM, 0);
		if (connect(client, (struct sockaddr *)&address, length) != 0)
			_exit(1);
		stranger_obey(client, orders[0], done[1]);
	}
	close(orders[0]), close(done[1]);
	stranger.tell = orders[1], stranger.heard = done[0];
	return stranger;
}

static void stranger_do(const struct stranger *stranger, char order)
{
	ck_assert_int_eq(write(stranger->tell, &order, 1), 1);
	ck_assert_int_eq(read(stranger->heard, &order, 1), 1);
}

static void stranger_end(const struct stranger *stranger)
{
	int status;
	close(stranger->tell), close(stranger->heard);
	ck_assert_int_eq(waitpid(stranger->pid, &status, 0), stranger->pid);
	ck_assert_int_eq(status, 0);
}

/* Listener, family of the client's socket. */
static const struct {
	const char *host;
	int family;
} ways[] = {{"127.0.0.1", AF_INET}, {"127.0.0.1", AF_INET6}, {"::1", AF_INET6}};

START_TEST(the_user_of_a_tcp_connection_is_known)
{
	if (lacks(ways[_i].host))
		return;
	int listener = any_port(ways[_i].host);
	struct stranger stranger = stranger_start(listener, ways[_i].family);
	int server = accept(listener, NULL, NULL);
	uid_t uid = 12345;
	ck_assert(net_peer_tcp_user(server, &uid));
	ck_assert_uint_eq(uid, stranger.uid);
	stranger_do(&stranger, 'w');
	ck_assert(net_peer_tcp_user(server, &uid));
	close(server);
	stranger_end(&stranger);
	close(listener);
}
END_TEST

/* What a local user could do to be taken for root: write the commands, close, be gone. */
START_TEST(the_user_of_a_closed_connection_is_not_told)
{
	if (lacks(ways[_i].host))
		return;
	int listener = any_port(ways[_i].host);
	struct stranger stranger = stranger_start(listener, ways[_i].family);
	int server = accept(listener, NULL, NULL);
	uid_t uid = 12345;
	stranger_do(&stranger, 'w');
	stranger_do(&stranger, 'c');
	ck_assert(!net_peer_tcp_user(server, &uid));
	ck_assert_uint_eq(uid, 12345);
	char command[8];
	ck_assert_int_eq(read(server, command, sizeof command), 4); /* though what it said can still be read */
	close(server);
	stranger_end(&stranger);
	close(listener);
}
END_TEST

START_TEST(the_user_of_a_half_closed_connection_is_not_told)
{
	if (lacks(ways[_i].host))
		return;
	int listener = any_port(ways[_i].host);
	struct stranger stranger = stranger_start(listener, ways[_i].family);
	int server = accept(listener, NULL, NULL);
	uid_t uid;
	stranger_do(&stranger, 's');
	ck_assert(!net_peer_tcp_user(server, &uid));
	close(server);
	stranger_end(&stranger);
	close(listener);
}
END_TEST

/* The peer's socket is gone, nobody told us, and somebody listens on the port it had: that is not the peer. */
START_TEST(a_listener_on_the_port_of_the_peer_is_not_the_peer)
{
	static const int one = 1;
	int listener = any_port("127.0.0.1");
	socklen_t length;
	struct sockaddr_storage address = local_address(listener, &length);
	struct sockaddr_in source = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int client = socket(AF_INET, SOCK_STREAM, 0), other = socket(AF_INET, SOCK_STREAM, 0);
	ck_assert_int_eq(setsockopt(client, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one), 0);
	ck_assert_int_eq(setsockopt(other, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one), 0);
	ck_assert_int_eq(setsockopt(client, IPPROTO_TCP, TCP_LINGER2, &one, sizeof one), 0); /* gone after 1 s */
	ck_assert_int_eq(bind(client, (struct sockaddr *)&source, sizeof source), 0);
	ck_assert_int_eq(connect(client, (struct sockaddr *)&address, length), 0);
	int server = accept(listener, NULL, NULL);
	struct sockaddr_storage used = local_address(client, &length);
	close(client);
	ck_assert_int_eq(bind(other, (struct sockaddr *)&used, length), 0);
	ck_assert_int_eq(listen(other, 1), 0);
	for (unsigned i = 0; i < 25; i++) {
		uid_t uid;
		ck_assert(!net_peer_tcp_user(server, &uid));
		usleep(100000);
	}
	close(other), close(server), close(listener);
}
END_TEST

/* It is established, has no inode and would read as root's. */
START_TEST(an_end_that_no_process_holds_has_no_user)
{
	int listener = any_port("127.0.0.1"), client = connect_to(listener);
	uid_t uid;
	ck_assert(!net_peer_tcp_user(client, &uid));
	int server = accept(listener, NULL, NULL);
	ck_assert(net_peer_tcp_user(client, &uid));
	ck_assert_uint_eq(uid, geteuid());
	close(server), close(client), close(listener);
}
END_TEST

START_TEST(a_unix_socket_has_no_tcp_user)
{
	int pair[2];
	uid_t uid;
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	ck_assert(!net_peer_tcp_user(pair[0], &uid));
	close(pair[0]), close(pair[1]);
}
END_TEST

/* ---- who has spoken last ---- */

/* A connection, seen from the end that accepted it. */
struct line {
	int listener, client, server;
	struct sockaddr_storage local, peer;
};

static struct line line_open(const char *host, int family)
{
	struct line line = {.listener = any_port(host), .client = socket(family, SOCK_STREAM, 0)};
	socklen_t length;
	struct sockaddr_storage address = local_address(line.listener, &length);
	struct sockaddr_in6 mapped = {.sin6_family = AF_INET6};
	if (family == AF_INET6 && address.ss_family == AF_INET) {
		inet_pton(AF_INET6, "::ffff:127.0.0.1", &mapped.sin6_addr);
		mapped.sin6_port = ((struct sockaddr_in *)&address)->sin_port;
		memcpy(&address, &mapped, sizeof mapped);
		length = sizeof mapped;
	}
	ck_assert_int_eq(connect(line.client, (struct sockaddr *)&address, length), 0);
	line.server = accept(line.listener, NULL, NULL);
	line.local = local_address(line.server, &length);
	line.peer = local_address(line.client, &length);
	return line;
}

static void line_close(struct line *line)
{
	close(line->client), close(line->server), close(line->listener);
}

static enum net_answer line_turn(const struct line *line, struct net_turn *turn)
{
	return net_tcp_turn((const struct sockaddr *)&line->local, (const struct sockaddr *)&line->peer, turn);
}

/* Of an IPv6 client at an IPv4 listener one end is IPv4, the other IPv4 within IPv6. */
START_TEST(who_has_spoken_last_is_known)
{
	if (lacks(ways[_i].host))
		return;
	char octets[8];
	struct net_turn turn;
	struct line line = line_open(ways[_i].host, ways[_i].family);
	ck_assert_int_eq(write(line.server, "220\r\n", 5), 5);
	usleep(60000);
	ck_assert_int_eq(write(line.client, "EHLO\r\n", 6), 6);
	ck_assert_int_eq(line_turn(&line, &turn), NET_TOLD);
	ck_assert_uint_eq(turn.unread, 6);
	ck_assert_int_lt(turn.received, turn.sent);
	ck_assert_int_eq(read(line.server, octets, sizeof octets), 6);
	usleep(60000);
	ck_assert_int_eq(line_turn(&line, &turn), NET_TOLD);
	ck_assert_uint_eq(turn.unread, 0);
	ck_assert_int_ge(turn.received, 40 * USEC_PER_MSEC); /* less a tick of the kernel's clock at either end */
	ck_assert_int_ge(turn.sent, 100 * USEC_PER_MSEC);
	ck_assert_int_eq(write(line.server, "250\r\n", 5), 5);
	ck_assert_int_eq(line_turn(&line, &turn), NET_TOLD);
	ck_assert_int_lt(turn.sent, turn.received);
	ck_assert_uint_eq(turn.data_sent, 2);
	ck_assert_uint_eq(turn.data_received, 1);
	line_close(&line);
}
END_TEST

START_TEST(what_waits_for_its_answer_is_acknowledged_by_itself)
{
	char octets[8];
	struct net_turn before, after;
	struct line line = line_open("127.0.0.1", AF_INET);
	ck_assert_int_eq(write(line.server, "220\r\n", 5), 5);
	ck_assert_int_eq(line_turn(&line, &before), NET_TOLD);
	ck_assert_int_eq(write(line.client, "EHLO\r\n", 6), 6);
	ck_assert_int_eq(read(line.server, octets, sizeof octets), 6);
	usleep(300000); /* longer than any kernel puts it off */
	ck_assert_int_eq(line_turn(&line, &after), NET_TOLD);
	ck_assert_uint_gt(after.acknowledgements, before.acknowledgements);
	line_close(&line);
}
END_TEST

START_TEST(the_peer_being_done_is_unread)
{
	struct net_turn turn;
	struct line line = line_open("127.0.0.1", AF_INET);
	ck_assert_int_eq(shutdown(line.client, SHUT_WR), 0);
	ck_assert_int_eq(line_turn(&line, &turn), NET_TOLD);
	ck_assert_uint_gt(turn.unread, 0);
	line_close(&line);
}
END_TEST

/* Without a descriptor nobody can be asked, which says nothing of the connection; but one is kept. */
START_TEST(without_descriptors_the_kernel_is_asked_through_the_one_that_is_kept)
{
	struct net_turn turn = {.unread = 12345};
	struct rlimit old, none;
	struct line line = line_open("127.0.0.1", AF_INET);
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &old), 0);
	none = (struct rlimit){.rlim_cur = 0, .rlim_max = old.rlim_max};
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
	enum net_answer before = line_turn(&line, &turn);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &old), 0);
	ck_assert_int_eq(before, NET_NOT_ASKED);
	ck_assert_uint_eq(turn.unread, 12345);
	ck_assert_int_eq(line_turn(&line, &turn), NET_TOLD);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
	enum net_answer answers[3];
	for (int i = 0; i < 3; i++)
		answers[i] = line_turn(&line, &turn);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &old), 0);
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(answers[i], NET_TOLD);
	line_close(&line);
}
END_TEST

START_TEST(of_what_is_no_connection_nothing_is_told)
{
	struct net_turn turn = {.unread = 12345};
	struct line line = line_open("127.0.0.1", AF_INET);
	struct sockaddr_storage none = {.ss_family = AF_UNIX}, six = {.ss_family = AF_INET6};
	struct sockaddr_storage nobody = line.peer;
	((struct sockaddr_in *)&nobody)->sin_addr.s_addr = inet_addr("127.0.0.77");
	ck_assert_int_eq(net_tcp_turn((struct sockaddr *)&line.local, (struct sockaddr *)&nobody, &turn),
			 NET_NO_CONNECTION); /* the listener's */
	ck_assert_int_eq(net_tcp_turn((struct sockaddr *)&none, (struct sockaddr *)&line.peer, &turn),
			 NET_NO_CONNECTION);
	ck_assert_int_eq(net_tcp_turn((struct sockaddr *)&six, (struct sockaddr *)&line.peer, &turn),
			 NET_NO_CONNECTION);
	close(line.server);
	ck_assert_int_eq(line_turn(&line, &turn), NET_NO_CONNECTION); /* no process holds it */
	ck_assert_uint_eq(turn.unread, 12345);
	close(line.client), close(line.listener);
}
END_TEST

/* ---- networks ---- */

static struct sockaddr_storage address_of(const char *text)
{
	struct sockaddr_storage address = {.ss_family = strchr(text, ':') ? AF_INET6 : AF_INET};
	void *octets = address.ss_family == AF_INET ? (void *)&((struct sockaddr_in *)&address)->sin_addr
						    : (void *)&((struct sockaddr_in6 *)&address)->sin6_addr;
	ck_assert_int_eq(inet_pton(address.ss_family, text, octets), 1);
	return address;
}

static const struct {
	const char *network, *address;
	bool contains;
} memberships[] = {
	{"192.0.2.0/24", "192.0.2.255", true},
	{"192.0.2.0/24", "192.0.3.0", false},
	{"192.0.2.128/25", "192.0.2.127", false},
	{"192.0.2.128/25", "192.0.2.128", true},
	{"192.0.2.7", "192.0.2.7", true},
	{"192.0.2.7", "192.0.2.6", false},
	{"0.0.0.0/0", "203.0.113.9", true},
	{"0.0.0.0/0", "2001:db8::1", false},
	{"192.0.2.0/24", "::ffff:192.0.2.9", true},
	{"192.0.2.0/24", "::ffff:192.0.3.9", false},
	{"::ffff:192.0.2.0/120", "192.0.2.9", true},
	{"2001:db8::/33", "2001:db8:7fff::1", true},
	{"2001:db8::/33", "2001:db8:8000::1", false},
	{"::1", "::1", true},
	{"::1", "::2", false},
	{"::/0", "2001:db8::1", true},
	{"::/0", "192.0.2.1", false},
};

START_TEST(a_network_contains_its_addresses_and_no_others)
{
	struct network network;
	struct sockaddr_storage address = address_of(memberships[_i].address);
	ck_assert(network_parse(memberships[_i].network, &network));
	ck_assert_msg(network_contains(&network, (struct sockaddr *)&address) == memberships[_i].contains, "%s in %s",
		      memberships[_i].address, memberships[_i].network);
}
END_TEST

START_TEST(a_unix_client_is_in_no_network)
{
	struct network network;
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	ck_assert(network_parse("0.0.0.0/0", &network));
	ck_assert(!network_contains(&network, (struct sockaddr *)&address));
}
END_TEST

static const char *const no_networks[] = {
	"",
	"/24",
	"192.0.2.0/",
	"192.0.2.0/33",
	"192.0.2.0/-1",
	"192.0.2.0/ 8",
	"192.0.2.0/8x",
	"192.0.2.1/24",
	"192.0.2/24",
	"2001:db8::/129",
	"2001:db8::1/64",
	"localhost",
	"192.0.2.0/024x",
	"[::1]",
	"192.0.2.0/4294967296",
};

START_TEST(what_is_no_network_is_refused)
{
	struct network network;
	ck_assert_msg(!network_parse(no_networks[_i], &network), "%s was accepted", no_networks[_i]);
}
END_TEST

START_TEST(addresses_are_written_without_the_port)
{
	char name[NET_NAME_SIZE];
	struct sockaddr_storage address = address_of("192.0.2.1");
	ck_assert_str_eq(net_address((struct sockaddr *)&address, name), "192.0.2.1");
	address = address_of("2001:db8::1");
	ck_assert_str_eq(net_address((struct sockaddr *)&address, name), "2001:db8::1");
	address = address_of("::ffff:192.0.2.1");
	ck_assert_str_eq(net_address((struct sockaddr *)&address, name), "192.0.2.1");
	address.ss_family = AF_UNIX;
	ck_assert_str_eq(net_address((struct sockaddr *)&address, name), "unknown");
}
END_TEST

#define COUNT(array) ((int)(sizeof(array) / sizeof *(array)))

Suite *net_suite(void)
{
	Suite *suite = suite_create("net");
	TCase *endpoints = tcase_create("endpoints");
	tcase_add_loop_test(endpoints, an_endpoint_is_read_and_written, 0, COUNT(spellings));
	tcase_add_test(endpoints, a_path_that_does_not_fit_is_refused);
	tcase_add_test(endpoints, different_endpoints_are_not_equal);
	suite_add_tcase(suite, endpoints);
	TCase *unixes = tcase_create("unix");
	tcase_add_checked_fixture(unixes, directory_setup, directory_teardown);
	tcase_add_test(unixes, a_listening_socket_has_the_mode_asked_for);
	tcase_add_test(unixes, a_live_socket_is_never_removed);
	tcase_add_test(unixes, a_live_socket_with_a_full_backlog_is_not_stale);
	tcase_add_test(unixes, a_socket_of_another_type_is_not_stale);
	tcase_add_test(unixes, a_stale_socket_is_replaced);
	tcase_add_test(unixes, what_is_no_socket_is_never_removed);
	tcase_add_test(unixes, a_link_to_a_socket_is_not_followed);
	tcase_add_test(unixes, a_missing_directory_is_named);
	tcase_add_test(unixes, a_group_that_may_not_be_given_is_an_error);
	tcase_add_test(unixes, access_to_what_is_no_socket_is_never_changed);
	tcase_add_test(unixes, access_to_a_socket_behind_a_link_is_never_changed);
	tcase_add_test(unixes, access_to_a_socket_can_be_changed_later);
	tcase_add_test(unixes, the_peer_of_a_unix_socket_is_known);
	suite_add_tcase(suite, unixes);
	TCase *tcp = tcase_create("tcp");
	tcase_set_timeout(tcp, 60);
	tcase_add_loop_test(tcp, connecting_does_not_block_and_sets_the_options, 0, COUNT(loopbacks));
	tcase_add_test(tcp, a_refused_connection_is_told_by_the_socket_or_at_once);
	tcase_add_test(tcp, an_impossible_address_is_an_error_at_once);
	tcase_add_test(tcp, a_port_in_use_is_named);
	tcase_add_test(tcp, listening_never_looks_up_a_name);
	tcase_add_loop_test(tcp, the_user_of_a_tcp_connection_is_known, 0, COUNT(ways));
	tcase_add_loop_test(tcp, the_user_of_a_closed_connection_is_not_told, 0, COUNT(ways));
	tcase_add_loop_test(tcp, the_user_of_a_half_closed_connection_is_not_told, 0, COUNT(ways));
	tcase_add_test(tcp, a_listener_on_the_port_of_the_peer_is_not_the_peer);
	tcase_add_test(tcp, an_end_that_no_process_holds_has_no_user);
	tcase_add_test(tcp, a_unix_socket_has_no_tcp_user);
	tcase_add_loop_test(tcp, who_has_spoken_last_is_known, 0, COUNT(ways));
	tcase_add_test(tcp, what_waits_for_its_answer_is_acknowledged_by_itself);
	tcase_add_test(tcp, the_peer_being_done_is_unread);
	tcase_add_test(tcp, without_descriptors_the_kernel_is_asked_through_the_one_that_is_kept);
	tcase_add_test(tcp, of_what_is_no_connection_nothing_is_told);
	suite_add_tcase(suite, tcp);
	TCase *networks = tcase_create("networks");
	tcase_add_loop_test(networks, a_network_contains_its_addresses_and_no_others, 0, COUNT(memberships));
	tcase_add_test(networks, a_unix_client_is_in_no_network);
	tcase_add_loop_test(networks, what_is_no_network_is_refused, 0, COUNT(no_networks));
	tcase_add_test(networks, addresses_are_written_without_the_port);
	suite_add_tcase(suite, networks);
	return suite;
}
