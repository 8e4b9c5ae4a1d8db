/* The metrics over HTTP, by a real socket: what is answered, and what a scraper costs that does not behave. */
#include <config.h>

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "admin/scrape.h"
#include "base/log.h"
#include "base/log_limit.h"
#include "base/loop.h"
#include "base/mem.h"
#include "check_admin.h"
#include "exposition.h"
#include "rooms.h"

static struct scrape *scrape;
static uint16_t port, other_port;

static struct sockaddr_in loopback(uint16_t number)
{
	return (struct sockaddr_in){
		.sin_family = AF_INET, .sin_port = htons(number), .sin_addr = {htonl(INADDR_LOOPBACK)}};
}

/* A port that nobody listens on; `fd` holds it if it is not NULL. */
static uint16_t free_port(int *fd)
{
	struct sockaddr_in address = loopback(0);
	socklen_t length = sizeof(address);
	int holder = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(holder, (struct sockaddr *)&address, length), 0);
	ck_assert_int_eq(getsockname(holder, (struct sockaddr *)&address, &length), 0);
	if (fd) {
		ck_assert_int_eq(listen(holder, 1), 0);
		*fd = holder;
	} else {
		close(holder);
	}
	return ntohs(address.sin_port);
}

/* A snapshot with the key `metrics`; 0: without. */
static bool reload(uint16_t number)
{
	char error[CONF_ERROR_SIZE], key[64] = "";
	if (number > 0)
		snprintf(key, sizeof(key), "metrics = \"inet:%u@127.0.0.1\"\n", number);
	char *text = mem_printf("%srelay \"socketlabs\" { host = \"smtp.socketlabs.com\" }\n", key);
	rooms_write_conf(text);
	free(text);
	struct conf *conf = conf_load(rooms.conf_path, error);
	ck_assert_msg(conf != NULL, "%s", error);
	bool done = scrape_prepare(scrape, conf, error);
	scrape_settle(scrape, done);
	conf_unref(&conf);
	return done;
}

static void setup(void)
{
	rooms_open();
	scrape = scrape_create(&rooms.doors);
	port = free_port(NULL);
	other_port = free_port(NULL);
	ck_assert(reload(port));
}

static void teardown(void)
{
	scrape_free(scrape);
	rooms_close();
}

/* ---- a scraper ---- */

/* -1 if nobody listens. `window`: SO_RCVBUF; 0: as it is. */
static int connect_to(uint16_t number, int window)
{
	struct sockaddr_in address = loopback(number);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (window > 0)
		ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &window, sizeof(window)), 0);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == -1) {
		close(fd);
		return -1;
	}
	loop_settle();
	return fd;
}

static void say(int fd, const char *text)
{
	ck_assert_int_eq(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
	loop_settle();
}

/*
 * What has come, or comes within 5 s until the other end closes if that is what is expected; the caller's. `*ended`: it
 * has closed. The kernel takes its time to bring what was sent.
 */
static char *hear(int fd, bool to_end, bool *ended)
{
	struct pollfd readable = {.fd = fd, .events = POLLIN};
	size_t length = 0;
	char *text = mem_alloc(65536);
	ssize_t got = 1;
	loop_settle();
	for (int tries = 0; got > 0 || (to_end && got == -1 && errno == EAGAIN && tries < 500);) {
		got = recv(fd, text + length, 32768, MSG_DONTWAIT);
		if (got > 0) {
			length += (size_t)got;
			text = mem_realloc(text, length + 65536);
		} else if (got == -1 && errno == EAGAIN && to_end) {
			tries++;
			poll(&readable, 1, 10);
			errno = EAGAIN;
		}
		int why = errno;
		loop_settle();
		errno = why;
	}
	text[length] = '\0';
	*ended = got == 0 || errno != EAGAIN;
	return text;
}

/* The answer to one request; the caller's. */
static char *ask(const char *request)
{
	bool ended;
	int fd = connect_to(port, 0);
	say(fd, request);
	char *answer = hear(fd, true, &ended);
	ck_assert_msg(ended, "the connection stays open behind %s", answer);
	close(fd);
	loop_settle();
	return answer;
}

static void expect_status(const char *request, const char *status)
{
	char *answer = ask(request), line[64];
	snprintf(line, sizeof(line), "HTTP/1.1 %s\r\n", status);
	ck_assert_msg(strncmp(answer, line, strlen(line)) == 0, "%s is answered with %s", request, answer);
	ck_assert_ptr_nonnull(strstr(answer, "\r\nConnection: close\r\n"));
	free(answer);
}

/* Of this process: both ends of everything. */
static unsigned open_descriptors(void)
{
	unsigned count = 0;
	DIR *directory = opendir("/proc/self/fd");
	ck_assert_ptr_nonnull(directory);
	while (readdir(directory))
		count++;
	closedir(directory);
	return count;
}

/* Until the other end has closed one of `before`; the kernel takes its time to bring what was sent. */
static bool one_closes(unsigned before)
{
	for (int i = 0; i < 5000 && open_descriptors() >= before; i++) {
		loop_settle();
		usleep(1000);
	}
	return open_descriptors() == before - 1;
}

/* Something has come to read. */
static bool is_answered(int fd)
{
	struct pollfd readable = {.fd = fd, .events = POLLIN};
	for (int i = 0; i < 500 && poll(&readable, 1, 10) == 0; i++)
		loop_settle();
	return readable.revents != 0;
}

static bool is_open(int fd)
{
	bool ended;
	free(hear(fd, false, &ended));
	return !ended;
}

static bool is_cut(int fd)
{
	bool ended;
	free(hear(fd, true, &ended));
	return ended;
}

/* ---- answers ---- */

#define GET "GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n"

START_TEST(get_is_answered_with_the_text)
{
	struct exposition seen;
	char *answer = ask(GET), *body = strstr(answer, "\r\n\r\n");
	size_t length;
	ck_assert_ptr_nonnull(body);
	body += 4;
	ck_assert_int_eq(strncmp(answer, "HTTP/1.1 200 OK\r\n", 17), 0);
	ck_assert_ptr_nonnull(strstr(answer, "\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"));
	ck_assert_int_eq(sscanf(strstr(answer, "Content-Length: "), "Content-Length: %zu\r\n", &length), 1);
	ck_assert_uint_eq(length, strlen(body));
	exposition_read(&seen, body);
	ck_assert(exposition_value(&seen, "relaypool_relay_up", "relay=socketlabs") == 1);
	exposition_free(&seen);
	free(answer);
}
END_TEST

START_TEST(head_is_answered_without_it)
{
	char *answer = ask("HEAD /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
	size_t length;
	ck_assert_int_eq(strncmp(answer, "HTTP/1.1 200 OK\r\n", 17), 0);
	ck_assert_int_eq(sscanf(strstr(answer, "Content-Length: "), "Content-Length: %zu\r\n", &length), 1);
	ck_assert_uint_gt(length, 1000);
	ck_assert_str_eq(strstr(answer, "\r\n\r\n"), "\r\n\r\n");
	free(answer);
}
END_TEST

START_TEST(a_target_may_have_a_query_or_a_host)
{
	expect_status("GET /metrics?a=b HTTP/1.1\r\n\r\n", "200 OK");
	expect_status("GET http://localhost:9725/metrics HTTP/1.1\r\n\r\n", "200 OK");
	expect_status("GET /metrics HTTP/1.0\n\n", "200 OK");
}
END_TEST

START_TEST(other_paths_are_404)
{
	expect_status("GET / HTTP/1.1\r\n\r\n", "404 Not Found");
	expect_status("GET http://localhost HTTP/1.1\r\n\r\n", "404 Not Found");
	expect_status("GET /metrics/../etc/passwd HTTP/1.1\r\n\r\n", "404 Not Found");
	expect_status("HEAD /metricss HTTP/1.1\r\n\r\n", "404 Not Found");
}
END_TEST

START_TEST(other_methods_are_405)
{
	expect_status("DELETE /metrics HTTP/1.1\r\n\r\n", "405 Method Not Allowed");
	char *answer = ask("OPTIONS /metrics HTTP/1.1\r\n\r\n");
	ck_assert_ptr_nonnull(strstr(answer, "\r\nAllow: GET, HEAD\r\n"));
	free(answer);
}
END_TEST

START_TEST(what_is_no_request_is_400)
{
	expect_status("GET /metrics\r\n\r\n", "400 Bad Request");
	expect_status("\r\n\r\n", "400 Bad Request");
	expect_status("GET  HTTP/1.1\r\n\r\n", "400 Bad Request");
	expect_status("GET /metrics HTTP/2.0\r\n\r\n", "400 Bad Request");
	expect_status("\x16\x03\x01\n\n", "400 Bad Request");
}
END_TEST

START_TEST(a_request_may_come_in_pieces)
{
	bool ended;
	int fd = connect_to(port, 0);
	for (const char *c = GET; *c; c++)
		say(fd, (char[]){*c, '\0'});
	char *answer = hear(fd, true, &ended);
	ck_assert_int_eq(strncmp(answer, "HTTP/1.1 200 OK\r\n", 17), 0);
	free(answer);
	close(fd);
}
END_TEST

static unsigned long sent_by(const char *answer)
{
	static const char sample[] = "relaypool_recipients_total{relay=\"socketlabs\",status=\"sent\"} ";
	const char *found = strstr(answer, sample);
	ck_assert_ptr_nonnull(found);
	return strtoul(found + strlen(sample), NULL, 10);
}

START_TEST(the_text_is_made_once_a_second)
{
	unsigned long sent[4];
	for (unsigned i = 0; i < 4; i++) {
		rooms.stats = (struct stats_view){.relay = "socketlabs", .counts = {.sent = i + 1}};
		char *answer = ask(GET);
		sent[i] = sent_by(answer);
		free(answer);
		clock_fake_advance(i == 0 ? SCRAPE_KEPT - 1 : 1);
	}
	ck_assert_uint_eq(sent[0], 1);
	ck_assert_uint_eq(sent[1], 1);
	ck_assert_uint_eq(sent[2], 3);
	ck_assert_uint_eq(sent[3], 3);
}
END_TEST

/* ---- those that do not behave ---- */

START_TEST(a_request_without_end_is_431)
{
	char *request = mem_alloc(SCRAPE_HEAD_MAX + 1);
	memset(request, 'a', SCRAPE_HEAD_MAX);
	expect_status(request, "431 Request Header Fields Too Large");
	free(request);
}
END_TEST

/* The answer is not lost with what it did not read. */
START_TEST(a_body_is_thrown_away_up_to_a_limit)
{
	static const char post[] = "POST /metrics HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n";
	static char body[SCRAPE_BODY_MAX / 4];
	bool ended;
	int fd = connect_to(port, 0);
	memset(body, 'b', sizeof(body) - 1);
	say(fd, post);
	say(fd, body);
	char *answer = hear(fd, true, &ended);
	ck_assert_int_eq(strncmp(answer, "HTTP/1.1 405 ", 13), 0);
	free(answer);
	unsigned before = open_descriptors();
	say(fd, body);
	say(fd, body);
	ck_assert_uint_eq(open_descriptors(), before);
	say(fd, body);
	say(fd, body);
	ck_assert(one_closes(before));
	close(fd);
}
END_TEST

static void count_up(void *arg)
{
	++*(unsigned *)arg;
}

START_TEST(who_never_reads_holds_up_nobody_and_is_cut)
{
	unsigned ticks = 0;
	struct timer tick;
	bool ended;
	rooms.latencies[0] = (struct latency_view){.relay = "socketlabs", .stage = STAGE_REPLY, .seen = 1};
	rooms.latency_count = 1;
	rooms.latency_repeat = 6000; /* more than all buffers between us */
	int fd = connect_to(port, 4096);
	say(fd, GET);
	ck_assert(is_answered(fd));
	timer_init(&tick, "tick", count_up, &ticks);
	timer_arm(&tick, USEC_PER_SEC);
	clock_fake_advance(USEC_PER_SEC);
	ck_assert_uint_eq(ticks, 1);
	rooms.latency_count = 0;
	expect_status(GET, "200 OK");
	clock_fake_advance(SCRAPE_PATIENCE - USEC_PER_SEC);
	char *answer = hear(fd, true, &ended);
	size_t length, got = strlen(answer);
	ck_assert(ended);
	ck_assert_int_eq(sscanf(strstr(answer, "Content-Length: "), "Content-Length: %zu\r\n", &length), 1);
	ck_assert_msg(got > 0 && got < length, "%zu octets of %zu were read", got, length);
	free(answer);
	close(fd);
}
END_TEST

START_TEST(who_never_asks_is_cut)
{
	int fd = connect_to(port, 0);
	clock_fake_advance(SCRAPE_PATIENCE - 1);
	ck_assert(is_open(fd));
	clock_fake_advance(1);
	ck_assert(is_cut(fd));
	close(fd);
}
END_TEST

START_TEST(who_trickles_is_cut)
{
	int fd = connect_to(port, 0);
	for (int i = 0; i < 5; i++) {
		say(fd, "G");
		ck_assert(is_open(fd));
		clock_fake_advance(SCRAPE_PATIENCE / 5);
	}
	ck_assert(is_cut(fd));
	close(fd);
}
END_TEST

START_TEST(who_never_leaves_is_cut)
{
	bool ended;
	int fd = connect_to(port, 0);
	say(fd, GET);
	free(hear(fd, true, &ended));
	ck_assert(ended); /* its half only */
	unsigned before = open_descriptors();
	say(fd, "x");
	ck_assert_uint_eq(open_descriptors(), before);
	clock_fake_advance(SCRAPE_PATIENCE);
	loop_settle();
	ck_assert(one_closes(before));
	close(fd);
}
END_TEST

START_TEST(no_more_than_a_few_are_connected)
{
	int fds[SCRAPE_CLIENTS_MAX];
	bool ended;
	for (size_t i = 0; i < SCRAPE_CLIENTS_MAX; i++)
		fds[i] = connect_to(port, 0);
	int fd = connect_to(port, 0);
	char *answer = hear(fd, true, &ended);
	ck_assert_int_eq(strncmp(answer, "HTTP/1.1 503 ", 13), 0);
	ck_assert(ended);
	free(answer);
	close(fd);
	unsigned before = open_descriptors();
	close(fds[0]);
	ck_assert(one_closes(before - 1));
	expect_status(GET, "200 OK");
	for (size_t i = 1; i < SCRAPE_CLIENTS_MAX; i++) {
		ck_assert(is_open(fds[i]));
		close(fds[i]);
	}
}
END_TEST

static unsigned accept_errors, told;

static void count_lines(enum log_level level, const char *line)
{
	accept_errors += level == LOG_LEVEL_ERROR && strstr(line, "metrics: cannot accept a connection: ");
	sscanf(line, "log: line=metrics_accept, unlogged=%u", &told);
}

START_TEST(a_lack_of_descriptors_does_not_fill_the_log)
{
	struct rlimit before, none;
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
	none = before;
	struct sockaddr_in address = loopback(port);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	none.rlim_cur = (rlim_t)fd; /* so that no descriptor is left */
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
	accept_errors = told = 0;
	log_capture(count_lines);
	for (int i = 0; i < 60; i++) {
		loop_settle();
		clock_fake_advance(USEC_PER_SEC);
	}
	log_limit_tell();
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
	ck_assert_uint_ge(accept_errors, 10);
	ck_assert_uint_le(accept_errors, 20);
	ck_assert_uint_ge(told, 40);
	close(fd);
}
END_TEST

START_TEST(without_descriptors_it_tries_again_later)
{
	struct rlimit before, none;
	bool ended;
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
	none = before;
	struct sockaddr_in address = loopback(port);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	none.rlim_cur = (rlim_t)fd; /* so that no descriptor is left */
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
	for (int i = 0; i < 20; i++, usleep(1000))
		loop_settle(); /* it ends: the socket is not looked at any more */
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
	say(fd, GET);
	char *answer = hear(fd, false, &ended);
	ck_assert_str_eq(answer, "");
	free(answer);
	clock_fake_advance(USEC_PER_SEC);
	answer = hear(fd, true, &ended);
	ck_assert_int_eq(strncmp(answer, "HTTP/1.1 200 OK\r\n", 17), 0);
	free(answer);
	close(fd);
}
END_TEST

/* ---- reload ---- */

START_TEST(the_socket_follows_the_key)
{
	ck_assert(reload(other_port));
	ck_assert_int_eq(connect_to(port, 0), -1);
	int fd = connect_to(other_port, 0);
	ck_assert_int_ne(fd, -1);
	ck_assert(reload(other_port)); /* the same: nothing is closed */
	ck_assert(is_open(fd));
	close(fd);
	ck_assert(reload(0));
	ck_assert_int_eq(connect_to(other_port, 0), -1);
	ck_assert(reload(port));
	expect_status(GET, "200 OK");
}
END_TEST

START_TEST(a_socket_that_cannot_be_had_changes_nothing)
{
	int holder;
	uint16_t taken = free_port(&holder);
	ck_assert(!reload(taken));
	expect_status(GET, "200 OK");
	close(holder);
}
END_TEST

START_TEST(a_reload_that_is_given_up_changes_nothing)
{
	char error[NET_ERROR_SIZE];
	struct conf conf = {.has_metrics = true,
			    .metrics = {.kind = ENDPOINT_INET, .host = "127.0.0.1", .port = other_port}};
	ck_assert(scrape_prepare(scrape, &conf, error));
	scrape_settle(scrape, false);
	ck_assert_int_eq(connect_to(other_port, 0), -1);
	expect_status(GET, "200 OK");
	conf.has_metrics = false;
	ck_assert(scrape_prepare(scrape, &conf, error));
	scrape_settle(scrape, false);
	expect_status(GET, "200 OK");
}
END_TEST

Suite *scrape_suite(void)
{
	Suite *suite = suite_create("scrape");
	TCase *answers = tcase_create("answers");
	tcase_add_checked_fixture(answers, setup, teardown);
	tcase_set_timeout(answers, 60);
	tcase_add_test(answers, get_is_answered_with_the_text);
	tcase_add_test(answers, head_is_answered_without_it);
	tcase_add_test(answers, a_target_may_have_a_query_or_a_host);
	tcase_add_test(answers, other_paths_are_404);
	tcase_add_test(answers, other_methods_are_405);
	tcase_add_test(answers, what_is_no_request_is_400);
	tcase_add_test(answers, a_request_may_come_in_pieces);
	tcase_add_test(answers, the_text_is_made_once_a_second);
	suite_add_tcase(suite, answers);
	TCase *hostile = tcase_create("hostile");
	tcase_add_checked_fixture(hostile, setup, teardown);
	tcase_set_timeout(hostile, 60);
	tcase_add_test(hostile, a_request_without_end_is_431);
	tcase_add_test(hostile, a_body_is_thrown_away_up_to_a_limit);
	tcase_add_test(hostile, who_never_reads_holds_up_nobody_and_is_cut);
	tcase_add_test(hostile, who_never_asks_is_cut);
	tcase_add_test(hostile, who_trickles_is_cut);
	tcase_add_test(hostile, who_never_leaves_is_cut);
	tcase_add_test(hostile, no_more_than_a_few_are_connected);
	tcase_add_test(hostile, a_lack_of_descriptors_does_not_fill_the_log);
	tcase_add_test(hostile, without_descriptors_it_tries_again_later);
	suite_add_tcase(suite, hostile);
	TCase *reloads = tcase_create("reload");
	tcase_add_checked_fixture(reloads, setup, teardown);
	tcase_set_timeout(reloads, 60);
	tcase_add_test(reloads, the_socket_follows_the_key);
	tcase_add_test(reloads, a_socket_that_cannot_be_had_changes_nothing);
	tcase_add_test(reloads, a_reload_that_is_given_up_changes_nothing);
	suite_add_tcase(suite, reloads);
	return suite;
}
