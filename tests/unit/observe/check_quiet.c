/* A relay without a connection is told from one that has some, by events alone. */
#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/conf.h"
#include "base/publish.h"
#include "check_observe.h"
#include "quiet.h"

static char path[] = "/tmp/check_quiet.XXXXXX";

static struct conf *load(const char *relays)
{
	char error[CONF_ERROR_SIZE];
	FILE *file = fopen(path, "w");
	fputs(relays, file);
	fclose(file);
	struct conf *conf = conf_load(path, error);
	ck_assert_msg(conf != NULL, "%s", error);
	return conf;
}

static void set_relays(const char *relays)
{
	struct conf *conf = load(relays);
	quiet_set_relays(conf);
	conf_unref(&conf);
}

#define RELAY(name) "relay \"" name "\" { host = \"192.0.2.1\"  tls = \"none\" }\n"

#define ROUTE(name) "route \"" name "\" { relays = { \"" name "\" }  recipients = { \"@" name ".example\" } }\n"

static void begin(void)
{
	int fd = mkstemp(path);
	ck_assert_int_ne(fd, -1);
	close(fd);
	publish_reset();
	quiet_start();
}

static void end(void)
{
	quiet_stop();
	publish_reset();
	unlink(path);
}

static void tell(enum event_kind kind, const char *relay)
{
	struct event event = {.kind = kind, .relay = relay, .host = "-"};
	publish(&event);
}

START_TEST(at_first_all_are_quiet)
{
	ck_assert(quiet_some());
	set_relays(RELAY("a"));
	ck_assert(quiet_some());
}
END_TEST

START_TEST(every_relay_counts_by_itself)
{
	set_relays(RELAY("a") RELAY("b") ROUTE("a") ROUTE("b"));
	tell(EVENT_CONNECTION_OPENED, "a");
	ck_assert(quiet_some());
	tell(EVENT_CONNECTION_OPENED, "b");
	ck_assert(!quiet_some());
	tell(EVENT_CONNECTION_OPENED, "b");
	tell(EVENT_CONNECTION_CLOSED, "b");
	ck_assert(!quiet_some());
	tell(EVENT_CONNECTION_CLOSED, "b");
	ck_assert(quiet_some());
}
END_TEST

START_TEST(a_relay_that_only_helps_out_does_not_count)
{
	set_relays(RELAY("a") RELAY("b") "route \"all\" { relays = { \"a\", \"b\" } }\n");
	tell(EVENT_CONNECTION_OPENED, "a");
	ck_assert(!quiet_some());
}
END_TEST

START_TEST(what_fails_is_no_connection)
{
	set_relays(RELAY("a"));
	tell(EVENT_CONNECTION_FAILED, "a");
	tell(EVENT_RELAY_UP, "a");
	ck_assert(quiet_some());
}
END_TEST

START_TEST(a_reload_brings_and_takes_relays)
{
	set_relays(RELAY("a"));
	tell(EVENT_CONNECTION_OPENED, "a");
	ck_assert(!quiet_some());
	set_relays(RELAY("a") RELAY("b") ROUTE("a") ROUTE("b"));
	ck_assert(quiet_some());
	set_relays(RELAY("a"));
	ck_assert(!quiet_some());
}
END_TEST

Suite *quiet_suite(void)
{
	Suite *suite = suite_create("quiet");
	TCase *tests = tcase_create("quiet");
	tcase_add_checked_fixture(tests, begin, end);
	tcase_add_test(tests, at_first_all_are_quiet);
	tcase_add_test(tests, every_relay_counts_by_itself);
	tcase_add_test(tests, a_relay_that_only_helps_out_does_not_count);
	tcase_add_test(tests, what_fails_is_no_connection);
	tcase_add_test(tests, a_reload_brings_and_takes_relays);
	suite_add_tcase(suite, tests);
	return suite;
}
