/*
 * Unit tests of base/resolve, with a getaddrinfo(3) of our own: names that end in .test have scripted answers, so that
 * no name server is asked. Everything else goes to the system's.
 */
#include <config.h>

#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/loop.h"
#include "base/net.h"
#include "base/resolve.h"
#include "check_base.h"

/* ---- the scripted system ---- */

static atomic_uint lookups;  /* ended */
static atomic_bool released; /* until then names that begin with "slow" are not answered */
static _Atomic pthread_t looked_up_on;

#define OURS 12345 /* ai_protocol of a scripted entry */

/* One entry in front of `next`, one block. */
static struct addrinfo *entry(const char *text, uint16_t port, struct addrinfo *next)
{
	struct addrinfo *info = calloc(1, sizeof *info + sizeof(struct sockaddr_in6));
	struct sockaddr_in *in = (struct sockaddr_in *)(info + 1);
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)(info + 1);
	info->ai_family = strchr(text, ':') ? AF_INET6 : AF_INET;
	info->ai_addr = (struct sockaddr *)(info + 1);
	info->ai_addr->sa_family = (sa_family_t)info->ai_family;
	info->ai_protocol = OURS;
	info->ai_next = next;
	if (info->ai_family == AF_INET) {
		info->ai_addrlen = sizeof *in;
		in->sin_port = htons(port);
		inet_pton(AF_INET, text, &in->sin_addr);
	} else {
		info->ai_addrlen = sizeof *in6;
		in6->sin6_port = htons(port);
		inet_pton(AF_INET6, text, &in6->sin6_addr);
	}
	return info;
}

static int scripted(const char *node, uint16_t port, struct addrinfo **found)
{
	char text[32];
	*found = NULL;
	if (strncmp(node, "slow", 4) == 0)
		while (!atomic_load(&released))
			usleep(1000);
	if (strcmp(node, "again.test") == 0)
		return EAI_AGAIN;
	errno = EMFILE;
	if (strcmp(node, "system.test") == 0)
		return EAI_SYSTEM;
	if (strcmp(node, "many.test") == 0) {
		for (int i = 99; i >= 0; i--) {
			snprintf(text, sizeof text, "192.0.2.%d", i);
			*found = entry(text, port, *found);
		}
		return 0;
	}
	static const char *const mixed[] = {"192.0.2.4", "192.0.2.3",   "192.0.2.2",
					    "192.0.2.1", "2001:db8::2", "2001:db8::1"};
	for (size_t i = 0; i < sizeof mixed / sizeof *mixed; i++)
		*found = entry(mixed[i], port, *found);
	return 0;
}

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **found)
{
	static int (*system_getaddrinfo)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
	size_t length = strlen(node);
	if ((hints->ai_flags & AI_NUMERICHOST) || length < 5 || strcmp(node + length - 5, ".test") != 0) {
		*(void **)&system_getaddrinfo = dlsym(RTLD_NEXT, "getaddrinfo");
		return system_getaddrinfo(node, service, hints, found);
	}
	looked_up_on = pthread_self();
	int result = scripted(node, (uint16_t)atoi(service), found);
	int error = errno;
	atomic_fetch_add(&lookups, 1);
	errno = error;
	return result;
}

/* C libraries lay out their own entries differently. */
void freeaddrinfo(struct addrinfo *found)
{
	static void (*system_freeaddrinfo)(struct addrinfo *);
	if (found->ai_protocol != OURS) {
		*(void **)&system_freeaddrinfo = dlsym(RTLD_NEXT, "freeaddrinfo");
		system_freeaddrinfo(found);
		return;
	}
	for (struct addrinfo *next; found; found = next) {
		next = found->ai_next;
		free(found);
	}
}

/* ---- the tests ---- */

static char said[2048]; /* the addresses of the last answer, or the error */
static unsigned answers;
static size_t answer_count;
static pthread_t answered_on;

static void take_answer(const struct resolved *result, void *arg)
{
	(void)arg;
	answers++;
	answered_on = pthread_self();
	answer_count = result->count;
	said[0] = '\0';
	if (result->error) {
		ck_assert_uint_eq(result->count, 0);
		strcpy(said, result->error);
		return;
	}
	for (size_t i = 0; i < result->count; i++) {
		char name[NET_NAME_SIZE];
		const struct sockaddr *address = (const struct sockaddr *)&result->addresses[i];
		uint16_t port = address->sa_family == AF_INET
					? ((const struct sockaddr_in *)(const void *)address)->sin_port
					: ((const struct sockaddr_in6 *)(const void *)address)->sin6_port;
		ck_assert_uint_eq(result->lengths[i], address->sa_family == AF_INET ? sizeof(struct sockaddr_in)
										    : sizeof(struct sockaddr_in6));
		ck_assert_uint_eq(ntohs(port), 587);
		strcat(strcat(said, i > 0 ? " " : ""), net_address(address, name));
	}
}

static void setup(void)
{
	answers = 0;
	ck_assert(loop_create());
}

static void teardown(void)
{
	loop_free();
}

static void resolve_and_settle(const char *host)
{
	ck_assert_ptr_nonnull(resolve_start(host, 587, take_answer, NULL));
	ck_assert_uint_eq(answers, 0); /* never from inside the call */
	loop_settle();
	ck_assert_uint_eq(answers, 1);
}

START_TEST(numeric_addresses_are_answered_without_a_thread)
{
	resolve_and_settle("192.0.2.1");
	ck_assert_str_eq(said, "192.0.2.1");
	answers = 0;
	resolve_and_settle("2001:db8::1");
	ck_assert_str_eq(said, "2001:db8::1");
	ck_assert_uint_eq(atomic_load(&lookups), 0);
}
END_TEST

START_TEST(names_are_looked_up_elsewhere_and_answered_on_the_loop)
{
	resolve_and_settle("mixed.test");
	ck_assert_uint_eq(atomic_load(&lookups), 1);
	ck_assert(!pthread_equal(looked_up_on, pthread_self()));
	ck_assert(pthread_equal(answered_on, pthread_self()));
}
END_TEST

START_TEST(the_families_take_turns)
{
	resolve_and_settle("mixed.test");
	ck_assert_str_eq(said, "2001:db8::1 192.0.2.1 2001:db8::2 192.0.2.2 192.0.2.3 192.0.2.4");
}
END_TEST

START_TEST(the_systems_own_names_work)
{
	resolve_and_settle("localhost");
	ck_assert_msg(strcmp(said, "127.0.0.1") == 0 || strstr(said, "::1") != NULL, "%s", said);
}
END_TEST

START_TEST(errors_are_told_in_words)
{
	resolve_and_settle("again.test");
	ck_assert_str_eq(said, gai_strerror(EAI_AGAIN));
	answers = 0;
	resolve_and_settle("system.test");
	ck_assert_str_eq(said, strerror(EMFILE));
}
END_TEST

START_TEST(the_number_of_addresses_is_bounded)
{
	resolve_and_settle("many.test");
	ck_assert_uint_eq(answer_count, 32);
	ck_assert(strncmp(said, "192.0.2.0 192.0.2.1 ", 20) == 0);
}
END_TEST

/* Asks for KIND0.test, KIND1.test and so on. */
static struct resolve *ask(const char *kind, unsigned i)
{
	char host[32];
	snprintf(host, sizeof host, "%s%u.test", kind, i);
	return resolve_start(host, 587, take_answer, NULL);
}

START_TEST(many_names_at_once_are_all_answered)
{
	for (unsigned i = 0; i < 20; i++)
		ck_assert_ptr_nonnull(ask("name", i));
	loop_settle();
	ck_assert_uint_eq(answers, 20);
	ck_assert_uint_eq(atomic_load(&lookups), 20);
}
END_TEST

static void stop_loop(void *arg)
{
	(void)arg;
	loop_stop();
}

static void take_answer_and_stop(const struct resolved *result, void *arg)
{
	take_answer(result, arg);
	loop_stop();
}

START_TEST(a_name_that_is_not_answered_does_not_hold_up_another)
{
	struct timer limit;
	timer_init(&limit, "limit", stop_loop, NULL);
	timer_arm(&limit, 10 * USEC_PER_SEC);
	for (unsigned i = 0; i < 20; i++)
		ck_assert_ptr_nonnull(resolve_start("slow.test", 587, take_answer, NULL));
	ck_assert_ptr_nonnull(resolve_start("mixed.test", 587, take_answer_and_stop, NULL));
	loop_run();
	ck_assert_uint_eq(answers, 1);
	timer_cancel(&limit);
	atomic_store(&released, true);
	loop_settle();
	ck_assert_uint_eq(answers, 21);
	ck_assert_uint_eq(atomic_load(&lookups), 2);
}
END_TEST

START_TEST(another_port_is_another_look_up)
{
	ck_assert_ptr_nonnull(resolve_start("again.test", 25, take_answer, NULL));
	ck_assert_ptr_nonnull(resolve_start("again.test", 587, take_answer, NULL));
	loop_settle();
	ck_assert_uint_eq(answers, 2);
	ck_assert_uint_eq(atomic_load(&lookups), 2);
}
END_TEST

START_TEST(one_of_those_who_share_a_look_up_can_be_cancelled)
{
	struct resolve *resolves[3];
	for (unsigned i = 0; i < 3; i++)
		resolves[i] = resolve_start("slow.test", 587, take_answer, NULL);
	resolve_cancel(resolves[1]);
	atomic_store(&released, true);
	loop_settle();
	ck_assert_uint_eq(answers, 2);
}
END_TEST

START_TEST(who_asks_again_for_a_name_under_way_shares_its_look_up)
{
	struct resolve *resolve = resolve_start("slow.test", 587, take_answer, NULL);
	usleep(10000);
	for (unsigned i = 0; i < 5; i++) {
		resolve_cancel(resolve);
		resolve = resolve_start("slow.test", 587, take_answer, NULL);
	}
	atomic_store(&released, true);
	loop_settle();
	ck_assert_uint_eq(answers, 1);
	ck_assert_uint_eq(atomic_load(&lookups), 1);
}
END_TEST

START_TEST(a_cancelled_numeric_address_is_not_answered)
{
	resolve_cancel(resolve_start("192.0.2.1", 587, take_answer, NULL));
	resolve_cancel(NULL);
	loop_settle();
	ck_assert_uint_eq(answers, 0);
}
END_TEST

START_TEST(a_look_up_under_way_can_be_cancelled)
{
	struct resolve *resolve = resolve_start("slow.test", 587, take_answer, NULL);
	usleep(10000);
	resolve_cancel(resolve);
	atomic_store(&released, true);
	loop_settle();
	ck_assert_uint_eq(atomic_load(&lookups), 1);
	ck_assert_uint_eq(answers, 0);
}
END_TEST

START_TEST(a_finished_look_up_can_be_cancelled)
{
	struct resolve *resolve = resolve_start("mixed.test", 587, take_answer, NULL);
	while (atomic_load(&lookups) == 0)
		usleep(1000);
	usleep(10000);
	resolve_cancel(resolve);
	loop_settle();
	ck_assert_uint_eq(answers, 0);
}
END_TEST

START_TEST(a_cancelled_look_up_that_has_not_begun_is_left_out)
{
	struct resolve *waiting[8];
	for (unsigned i = 0; i < 4; i++)
		ck_assert_ptr_nonnull(ask("slow", i));
	for (unsigned i = 0; i < 8; i++)
		waiting[i] = ask("name", i);
	for (unsigned i = 0; i < 7; i++)
		resolve_cancel(waiting[i]);
	ck_assert_ptr_nonnull(ask("name", 6)); /* a new one, for the other will not be done */
	atomic_store(&released, true);
	loop_settle();
	ck_assert_uint_eq(answers, 6);
	ck_assert_uint_eq(atomic_load(&lookups), 6);
}
END_TEST

static struct resolve *own;

static void cancel_own(const struct resolved *result, void *arg)
{
	(void)result, (void)arg;
	answers++;
	resolve_cancel(own);
}

static const char *const both_ways[] = {"192.0.2.1", "mixed.test"};

START_TEST(cancelling_from_within_the_answer_is_harmless)
{
	own = resolve_start(both_ways[_i], 587, cancel_own, NULL);
	loop_settle();
	ck_assert_uint_eq(answers, 1);
}
END_TEST

static struct resolve *other;

static void cancel_other_and_ask(const struct resolved *result, void *arg)
{
	(void)result;
	answers++;
	resolve_cancel(other);
	ck_assert_ptr_nonnull(resolve_start(arg, 587, take_answer, NULL));
	ck_assert_uint_eq(answers, 1); /* it is a new question, and not answered from inside the call */
}

START_TEST(whom_it_answers_may_cancel_another_and_ask)
{
	char host[16];
	strcpy(host, both_ways[_i]);
	ck_assert_ptr_nonnull(resolve_start(host, 587, cancel_other_and_ask, host));
	other = resolve_start(host, 587, take_answer, NULL);
	loop_settle();
	ck_assert_uint_eq(answers, 2);
}
END_TEST

START_TEST(a_cancelled_look_up_outlives_the_loop_without_a_leak)
{
	resolve_cancel(resolve_start("mixed.test", 587, take_answer, NULL));
	loop_free();
	ck_assert_uint_eq(answers, 0);
}
END_TEST

Suite *resolve_suite(void)
{
	Suite *suite = suite_create("resolve");
	TCase *tcase = tcase_create("resolve");
	tcase_set_timeout(tcase, 60);
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, numeric_addresses_are_answered_without_a_thread);
	tcase_add_test(tcase, names_are_looked_up_elsewhere_and_answered_on_the_loop);
	tcase_add_test(tcase, the_families_take_turns);
	tcase_add_test(tcase, the_systems_own_names_work);
	tcase_add_test(tcase, errors_are_told_in_words);
	tcase_add_test(tcase, the_number_of_addresses_is_bounded);
	tcase_add_test(tcase, many_names_at_once_are_all_answered);
	tcase_add_test(tcase, a_name_that_is_not_answered_does_not_hold_up_another);
	tcase_add_test(tcase, another_port_is_another_look_up);
	tcase_add_test(tcase, one_of_those_who_share_a_look_up_can_be_cancelled);
	tcase_add_test(tcase, who_asks_again_for_a_name_under_way_shares_its_look_up);
	tcase_add_test(tcase, a_cancelled_numeric_address_is_not_answered);
	tcase_add_test(tcase, a_look_up_under_way_can_be_cancelled);
	tcase_add_test(tcase, a_finished_look_up_can_be_cancelled);
	tcase_add_test(tcase, a_cancelled_look_up_that_has_not_begun_is_left_out);
	tcase_add_loop_test(tcase, cancelling_from_within_the_answer_is_harmless, 0, 2);
	tcase_add_loop_test(tcase, whom_it_answers_may_cancel_another_and_ask, 0, 2);
	tcase_add_test(tcase, a_cancelled_look_up_outlives_the_loop_without_a_leak);
	suite_add_tcase(suite, tcase);
	return suite;
}
