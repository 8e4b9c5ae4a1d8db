/*
 * Unit tests of base/congestion on loopback. What this kernel has and allows decides which algorithm is expected; a
 * filter at the receiving socket plays the path that loses packets.
 */
#include <config.h>

#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/congestion.h"
#include "base/net.h"
#include "check_base.h"

#define NAME_SIZE 16

static int client, server;

/* The words of a file of /proc/sys/net/ipv4. */
static const char *setting(const char *name)
{
	static char text[256];
	char path[128];
	snprintf(path, sizeof path, "/proc/sys/net/ipv4/%s", name);
	FILE *file = fopen(path, "r");
	ck_assert_ptr_nonnull(file);
	ck_assert_ptr_nonnull(fgets(text, sizeof text, file));
	fclose(file);
	text[strcspn(text, "\n")] = '\0';
	return text;
}

static const char *algorithm(int fd)
{
	static char name[NAME_SIZE];
	socklen_t length = sizeof name - 1;
	memset(name, 0, sizeof name);
	ck_assert_int_eq(getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, &length), 0);
	return name;
}

static bool may_have(const char *name)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	bool may = setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, (socklen_t)strlen(name)) == 0;
	close(fd);
	return may;
}

static const char *expected(const char *before)
{
	return strncmp(before, "bbr", 3) != 0 ? before : may_have("cubic") ? "cubic" : "reno";
}

/* A connection of net_connect(). */
static void setup(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof address;
	int listener = socket(AF_INET, SOCK_STREAM, 0);
	ck_assert_int_eq(bind(listener, (struct sockaddr *)&address, length), 0);
	ck_assert_int_eq(listen(listener, 1), 0);
	ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&address, &length), 0);
	client = net_connect((struct sockaddr *)&address, length);
	server = accept(listener, NULL, NULL);
	ck_assert_int_ge(server, 0);
	close(listener);
}

static void teardown(void)
{
	close(client);
	close(server);
}

/* From now on this share of what comes to the server, in percent, is lost. */
static void lose(unsigned percent)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_RANDOM)),
		BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, UINT32_MAX / 100 * percent, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, 0),
		BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
	};
	struct sock_fprog program = {.len = sizeof code / sizeof *code, .filter = code};
	ck_assert_int_eq(setsockopt(server, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program), 0);
}

static struct tcp_info info(void)
{
	struct tcp_info info = {0};
	socklen_t length = sizeof info;
	ck_assert_int_eq(getsockopt(client, IPPROTO_TCP, TCP_INFO, &info, &length), 0);
	return info;
}

/* So many segments, each on its own, until they have all arrived. */
static void send_segments(int count)
{
	char octets[100] = "";
	for (int i = 0; i < count; i++) {
		ck_assert_int_eq(send(client, octets, sizeof octets, 0), sizeof octets);
		ck_assert_int_eq(recv(server, octets, sizeof octets, MSG_WAITALL), sizeof octets);
	}
}

START_TEST(the_system_s_algorithm_is_kept_unless_it_paces)
{
	ck_assert_str_eq(algorithm(client), expected(setting("tcp_congestion_control")));
}
END_TEST

START_TEST(every_algorithm_that_may_be_had_is_judged_by_its_name)
{
	static const char *const names[] = {"reno", "cubic", "bbr", "bbr2", "bbr3"};
	unsigned had = 0;
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		int fd = socket(AF_INET, SOCK_STREAM, 0);
		if (setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, names[i], (socklen_t)strlen(names[i])) == 0) {
			had++;
			congestion_choose(fd);
			ck_assert_str_eq(algorithm(fd), expected(names[i]));
		}
		close(fd);
	}
	ck_assert_uint_gt(had, 0);        /* reno is always allowed */
	congestion_choose(STDERR_FILENO); /* no socket: nothing happens */
}
END_TEST

START_TEST(a_path_that_loses_nothing_keeps_what_was_chosen)
{
	char chosen[NAME_SIZE];
	strcpy(chosen, algorithm(client));
	send_segments(2000);
	ck_assert(!congestion_heed_loss(client));
	ck_assert_str_eq(algorithm(client), chosen);
	ck_assert(!congestion_heed_loss(STDERR_FILENO));
}
END_TEST

START_TEST(a_few_losses_are_no_reason)
{
	char chosen[NAME_SIZE];
	strcpy(chosen, algorithm(client));
	send_segments(2000);
	while (info().tcpi_total_retrans < 3) { /* of more than 2000 */
		char octets[100] = "";
		lose(100);
		ck_assert_int_eq(send(client, octets, sizeof octets, 0), sizeof octets);
		for (unsigned before = info().tcpi_total_retrans; info().tcpi_total_retrans == before;)
			usleep(1000);
		lose(0);
		ck_assert_int_eq(recv(server, octets, sizeof octets, MSG_WAITALL), sizeof octets);
	}
	ck_assert_uint_lt(info().tcpi_total_retrans, 7);
	ck_assert(!congestion_heed_loss(client));
	ck_assert_str_eq(algorithm(client), chosen);
}
END_TEST

START_TEST(a_single_loss_is_no_reason)
{
	char octets[100] = "";
	lose(100);
	ck_assert_int_eq(send(client, octets, sizeof octets, 0), sizeof octets);
	while (info().tcpi_total_retrans == 0)
		usleep(1000);
	lose(0);
	ck_assert(!congestion_heed_loss(client)); /* though it is all that was sent */
}
END_TEST

START_TEST(a_path_that_loses_packets_has_the_system_s_algorithm)
{
	lose(20);
	while (info().tcpi_total_retrans < 5)
		send_segments(1);
	ck_assert(congestion_heed_loss(client));
	ck_assert_str_eq(algorithm(client), setting("tcp_congestion_control"));
	lose(0);
	send_segments(10);
}
END_TEST

Suite *congestion_suite(void)
{
	Suite *suite = suite_create("congestion");
	TCase *tcase = tcase_create("congestion");
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_set_timeout(tcase, 60);
	tcase_add_test(tcase, the_system_s_algorithm_is_kept_unless_it_paces);
	tcase_add_test(tcase, every_algorithm_that_may_be_had_is_judged_by_its_name);
	tcase_add_test(tcase, a_path_that_loses_nothing_keeps_what_was_chosen);
	if (may_lose_packets()) {
		tcase_add_test(tcase, a_few_losses_are_no_reason);
		tcase_add_test(tcase, a_single_loss_is_no_reason);
		tcase_add_test(tcase, a_path_that_loses_packets_has_the_system_s_algorithm);
	}
	suite_add_tcase(suite, tcase);
	return suite;
}
