/* Unit tests of base/publish. */
#include <config.h>

#include <string.h>

#include "base/publish.h"
#include "check_base.h"

static char heard[16];
static usec_t heard_at;

static void hear_first(const struct event *event)
{
	strcat(heard, "1");
	heard_at = event->at;
}

static void hear_second(const struct event *event)
{
	(void)event;
	strcat(heard, "2");
}

static void forget_all(void)
{
	publish_reset();
	heard[0] = '\0';
}

START_TEST(every_subscriber_hears_in_order)
{
	publish_subscribe(hear_first);
	publish_subscribe(hear_second);
	clock_fake_start();
	struct event event = {.kind = EVENT_RELAY_UP, .relay = "a"};
	publish(&event);
	ck_assert_str_eq(heard, "12");
	ck_assert_int_eq(heard_at, clock_now());
	clock_fake_stop();
}
END_TEST

START_TEST(nobody_need_listen)
{
	struct event event = {.kind = EVENT_RELAY_UP, .relay = "a"};
	publish_subscribe(hear_first);
	publish_reset();
	publish(&event);
	ck_assert_str_eq(heard, "");
}
END_TEST

Suite *publish_suite(void)
{
	Suite *suite = suite_create("publish");
	TCase *tcase = tcase_create("publish");
	tcase_add_checked_fixture(tcase, forget_all, forget_all);
	tcase_add_test(tcase, every_subscriber_hears_in_order);
	tcase_add_test(tcase, nobody_need_listen);
	suite_add_tcase(suite, tcase);
	return suite;
}
