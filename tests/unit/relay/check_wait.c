/*
 * Unit tests of relay/wait.c: how a body is waited for, and how the time of a set-up is shared. A connection and a pool
 * made by hand, on a socket of loopback where the kernel is asked.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/bufferevent.h>

#include "base/conf.h"
#include "base/journey.h"
#include "base/loop.h"
#include "base/mem.h"
#include "check_relay.h"
#include "connection_private.h"
#include "wait.h"

#define LOOK (250 * USEC_PER_MSEC) /* the interval of the ticks that ask */

static struct connection *c;
static struct pool pool;
static struct relay_conf relay = {.name = (char *)"far"};
static struct transaction *t;
static int server;
static struct wait seen;
static unsigned seen_count;

static void on_wait(const struct wait *wait, void *arg)
{
	(void)arg;
	seen = *wait;
	seen_count++;
}

static const struct wait *look(void)
{
	seen_count = 0;
	wait_each(&pool, on_wait, NULL);
	ck_assert_uint_eq(seen_count, 1);
	return &seen;
}

/* A connection whose relay does not read. */
static int a_socket(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM, 0), fd = socket(AF_INET, SOCK_STREAM, 0);
	ck_assert_int_eq(bind(listener, (struct sockaddr *)&address, length), 0);
	ck_assert_int_eq(listen(listener, 1), 0);
	ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&address, &length), 0);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, length), 0);
	ck_assert_int_eq(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	server = accept(listener, NULL, NULL);
	close(listener);
	return fd;
}

static void setup(void)
{
	struct list *lists[] = {&pool.opening, &pool.idle, &pool.busy, &pool.closing, &pool.lingering, &pool.waiting};
	clock_fake_start();
	ck_assert(loop_create());
	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
		list_init(lists[i]);
	c = mem_alloc(sizeof(*c));
	list_init(&c->node);
	list_init(&c->transactions);
	pipeline_init(&c->pipeline);
	pool.relay = c->relay = &relay;
	c->bev = bufferevent_socket_new(loop_base(), a_socket(), BEV_OPT_CLOSE_ON_FREE);
	c->state = CONNECTION_BUSY;
	c->ready_at = clock_now();
	c->id = 7;
	wait_begin(c);
	list_append(&pool.busy, &c->node);
	t = a_transaction(1);
	list_append(&c->transactions, &t->node);
	c->writing = t; /* its body leaves */
	wait_note(c);
}

static void teardown(void)
{
	list_remove(&t->node);
	end_transaction(t);
	bufferevent_free(c->bev);
	close(server);
	free(c);
	loop_free();
	clock_fake_stop();
}

static void pass(unsigned looks, uint64_t octets)
{
	for (; looks > 0; looks--) {
		clock_fake_advance(LOOK);
		c->drained += octets;
		look();
	}
}

START_TEST(a_body_that_gets_on_is_not_waited_for)
{
	ck_assert_int_eq(look()->stage, STAGE_BODY);
	ck_assert_int_eq(look()->cause, CAUSE_PATH); /* never that the relay does not answer */
	pass(400, 100000);
	ck_assert_int_eq(seen.since, clock_now());
	ck_assert_uint_eq(seen.messages, 1);
	ck_assert_uint_eq(seen.connection, 7);
}
END_TEST

START_TEST(a_body_that_comes_to_a_halt_is_waited_for_from_there)
{
	look();
	pass(40, 1000000);
	pass(20, 0);
	ck_assert_int_eq(clock_now() - seen.since, 20 * LOOK);
}
END_TEST

START_TEST(a_body_that_never_began_is_waited_for_from_its_beginning)
{
	usec_t begun = clock_now();
	clock_fake_advance(USEC_PER_SEC);
	look();
	pass(20, 0);
	ck_assert_int_eq(seen.since, begun);
}
END_TEST

START_TEST(a_body_that_trickles_does_not_get_on)
{
	usec_t begun = clock_now();
	look();
	pass(40, 100);
	ck_assert_int_eq(seen.since, begun);
	pass(4, 1000000);
	ck_assert_int_eq(seen.since, clock_now());
}
END_TEST

START_TEST(a_body_that_leaves_in_bursts_gets_on)
{
	look();
	for (unsigned i = 0; i < 20; i++) {
		pass(1, 65536);
		pass(11, 0);
		ck_assert_int_le(clock_now() - seen.since, 12 * LOOK);
	}
}
END_TEST

/* ---- what is seen stays with the message ---- */

START_TEST(what_is_seen_of_a_body_stays_with_its_message)
{
	look();
	ck_assert_int_eq(t->journey.causes[STAGE_BODY], CAUSE_COUNT); /* one look says nothing of a body */
	pass(3, 0);
	ck_assert_int_eq(t->journey.causes[STAGE_BODY], CAUSE_PATH);
	ck_assert_int_eq(c->set_up.causes[STAGE_BODY], CAUSE_COUNT);
}
END_TEST

START_TEST(what_was_not_looked_at_is_not_seen)
{
	c->writing = NULL;
	c->state = CONNECTION_BANNER;
	c->ready_at = -1;
	wait_note_state(c);
	clock_fake_advance(100 * USEC_PER_MSEC);
	ck_assert_int_eq(look()->cause, CAUSE_ANSWER);
	ck_assert_int_eq(c->set_up.causes[STAGE_BANNER], CAUSE_COUNT); /* too early to look at the path */
	clock_fake_advance(LOOK);
	look();
	ck_assert_int_eq(c->set_up.causes[STAGE_BANNER], CAUSE_ANSWER);
	c->wait_lost = true;
	c->state = CONNECTION_RESOLVING;
	wait_note_state(c);
	look();
	ck_assert_int_eq(c->set_up.causes[STAGE_DNS], CAUSE_DNS); /* that needs no second look */
}
END_TEST

/* ---- the time of a set-up ---- */

/* 1 s of DNS, 2 s of TCP, 4 s for the greeting. */
static void a_set_up(void)
{
	journey_init(&c->set_up);
	c->created = clock_now();
	journey_enter(&c->set_up, STAGE_DNS, clock_now());
	journey_enter(&c->set_up, STAGE_CONNECT, clock_now() + USEC_PER_SEC);
	journey_enter(&c->set_up, STAGE_BANNER, clock_now() + 3 * USEC_PER_SEC);
	journey_enter(&c->set_up, STAGE_COUNT, clock_now() + 7 * USEC_PER_SEC);
	c->ready_at = clock_now() + 7 * USEC_PER_SEC;
}

static const struct {
	int queued, ready; /* seconds after the connection was begun: when it began to wait, and when it was given */
	int pool, dns, connect, banner;
} shares[] = {
	{-5, 7, 5, 1, 2, 4},  {0, 7, 0, 1, 2, 4},   {1, 7, 0, -1, 2, 4},   {2, 7, 0, -1, 1, 4},
	{3, 7, 0, -1, -1, 4}, {6, 9, 2, -1, -1, 1}, {7, 7, 0, -1, -1, -1},
};

START_TEST(a_set_up_is_shared_by_its_stages)
{
	a_set_up();
	t->queued = c->created + shares[_i].queued * USEC_PER_SEC;
	journey_init(&t->journey);
	journey_enter(&t->journey, STAGE_POOL, t->queued);
	journey_enter(&t->journey, STAGE_MAIL, c->created + shares[_i].ready * USEC_PER_SEC);
	usec_t total = journey_total(&t->journey);
	c->set_up.causes[STAGE_BANNER] = CAUSE_WINDOW;
	wait_share_set_up(t, c);
	ck_assert_int_eq(t->journey.causes[STAGE_BANNER], shares[_i].banner > 0 ? CAUSE_WINDOW : CAUSE_COUNT);
	ck_assert_int_eq(t->journey.causes[STAGE_CONNECT], CAUSE_COUNT);
	const struct {
		enum stage stage;
		int seconds;
	} expected[] = {{STAGE_POOL, shares[_i].pool},
			{STAGE_DNS, shares[_i].dns},
			{STAGE_CONNECT, shares[_i].connect},
			{STAGE_BANNER, shares[_i].banner}};
	for (size_t i = 0; i < 4; i++)
		ck_assert_int_eq(t->journey.spent[expected[i].stage],
				 expected[i].seconds < 0 ? -1 : expected[i].seconds * USEC_PER_SEC);
	ck_assert_int_eq(journey_total(&t->journey), total);
}
END_TEST

Suite *wait_suite(void)
{
	Suite *suite = suite_create("wait");
	TCase *tcase = tcase_create("wait");
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, a_body_that_gets_on_is_not_waited_for);
	tcase_add_test(tcase, a_body_that_comes_to_a_halt_is_waited_for_from_there);
	tcase_add_test(tcase, a_body_that_never_began_is_waited_for_from_its_beginning);
	tcase_add_test(tcase, a_body_that_trickles_does_not_get_on);
	tcase_add_test(tcase, a_body_that_leaves_in_bursts_gets_on);
	tcase_add_test(tcase, what_is_seen_of_a_body_stays_with_its_message);
	tcase_add_test(tcase, what_was_not_looked_at_is_not_seen);
	tcase_add_loop_test(tcase, a_set_up_is_shared_by_its_stages, 0, (int)(sizeof(shares) / sizeof(shares[0])));
	suite_add_tcase(suite, tcase);
	return suite;
}
