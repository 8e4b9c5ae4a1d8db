/* The text of the metrics: its form, its figures, and that its names are in relaypoolctl(8). */
#include <config.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/metrics.h"
#include "check_admin.h"
#include "exposition.h"
#include "rooms.h"

static struct exposition seen;

/* The text is read anew. */
static void look(void)
{
	size_t length;
	char *text = metrics_text(&rooms.doors, &length);
	exposition_free(&seen);
	ck_assert_uint_eq(length, strlen(text));
	exposition_read(&seen, text);
	free(text);
}

static void setup(void)
{
	seen = (struct exposition){.count = 0};
	rooms_open();
}

static void teardown(void)
{
	exposition_free(&seen);
	rooms_close();
}

static void expect(const char *name, const char *labels, double value)
{
	double found = exposition_value(&seen, name, labels);
	ck_assert_msg(found == value, "%s{%s} is %.17g instead of %.17g", name, labels, found, value);
}

static void expect_none(const char *name, const char *labels)
{
	ck_assert_msg(isnan(exposition_value(&seen, name, labels)), "%s{%s} is there", name, labels);
}

/* One of everything. */
static void fill_rooms(void)
{
	rooms.pools[0].limits[LIMIT_CONNECTIONS] = (struct limit_view){.in_force = 10, .configured = 20};
	rooms.pools[0].max_connections = 20;
	rooms.pools[0].waiting = 5;
	rooms.pools[0].oldest_wait = 1500 * USEC_PER_MSEC;
	rooms.stats = (struct stats_view){
		.relay = "socketlabs",
		.counts = {.sent = 842, .deferred = 3, .bounced = 1, .ambiguous = 2, .opened = 17, .closed = 7},
		.totals = {.failed = 4, .replayed = 6, .replies = {840, 1, 5, 8}, .waited = {[CAUSE_CAP] = 9}}};
	rooms.waits[0] = (struct wait){
		.relay = "socketlabs", .stage = STAGE_POOL, .cause = CAUSE_CAP, .messages = 3, .queue_id = ""};
	rooms.waits[1] = rooms.waits[0];
	rooms.waits[1].cause = CAUSE_THROTTLE;
	rooms.waits[1].messages = 2;
	rooms.waits[2] = rooms.waits[0];
	rooms.waits[2].stage = STAGE_REPLY;
	rooms.wait_count = 3;
	rooms.latencies[0] = (struct latency_view){
		.relay = "socketlabs", .stage = STAGE_REPLY, .seen = 7, .sum = 3000001, .buckets = {1, 0, 2, 3}};
	rooms.latencies[1] = rooms.latencies[0];
	rooms.latencies[1].stage = STAGE_POOL;
	rooms.latencies[2] = (struct latency_view){.relay = "-", .stage = STAGE_CLIENT};
	rooms.latency_count = 3;
	rooms.stalls[0] = (struct stall_view){.id = 1,
					      .relay = "socketlabs",
					      .stage = STAGE_REPLY,
					      .cause = CAUSE_ANSWER,
					      .open = true,
					      .queue_id = ""};
	rooms.stalls[1] = rooms.stalls[0];
	rooms.stalls[2] = rooms.stalls[0];
	rooms.stalls[2].stage = STAGE_POOL;
	rooms.stalls[2].cause = CAUSE_CAP;
	rooms.stalls[3] = rooms.stalls[0];
	rooms.stalls[3].open = false;
	rooms.stall_count = 4;
	rooms.stalls_begun[STAGE_REPLY][HOLDER_RELAY] = 12;
	rooms.stalls_begun[STAGE_COUNT][HOLDER_RELAYPOOL] = 2;
	rooms.journeys_counted = (struct journey_counts){.seen = 800, .partial = 40, .expired = 3, .lost = 1};
	rooms.milter = (struct milter_counts){.connections = 5, .messages = 900, .tagged = 850};
	rooms.session_count = 2;
}

START_TEST(a_daemon_without_any_mail_has_zeros)
{
	rooms.pool_count = 1;
	look();
	expect("relaypool_recipients_total", "relay=socketlabs,status=sent", 0);
	expect("relaypool_replies_total", "relay=socketlabs,class=local", 0);
	expect("relaypool_connections_failed_total", "relay=socketlabs", 0);
	expect("relaypool_oldest_wait_seconds", "relay=socketlabs", 0);
	expect("relaypool_stalls_total", "stage=pool,holder=relaypool", 0);
	expect("relaypool_build_info", "version=" PACKAGE_VERSION, 1);
	expect_none("relaypool_stage_seconds_count", "relay=socketlabs,stage=reply");
	expect_none("relaypool_waiting_messages", "relay=socketlabs,cause=cap");
}
END_TEST

START_TEST(counters_are_those_of_the_rooms)
{
	fill_rooms();
	look();
	expect("relaypool_recipients_total", "relay=socketlabs,status=sent", 842);
	expect("relaypool_recipients_total", "relay=socketlabs,status=deferred", 3);
	expect("relaypool_recipients_total", "relay=socketlabs,status=bounced", 1);
	expect("relaypool_ambiguous_total", "relay=socketlabs", 2);
	expect("relaypool_replies_total", "relay=socketlabs,class=2xx", 840);
	expect("relaypool_replies_total", "relay=socketlabs,class=4xx", 1);
	expect("relaypool_replies_total", "relay=socketlabs,class=5xx", 5);
	expect("relaypool_replies_total", "relay=socketlabs,class=local", 8);
	expect("relaypool_connections_opened_total", "relay=socketlabs", 17);
	expect("relaypool_connections_closed_total", "relay=socketlabs", 7);
	expect("relaypool_connections_failed_total", "relay=socketlabs", 4);
	expect("relaypool_replayed_total", "relay=socketlabs", 6);
	expect("relaypool_waited_total", "relay=socketlabs,cause=cap", 9);
	expect("relaypool_stalls_total", "stage=reply,holder=relay", 12);
	expect("relaypool_stalls_total", "stage=-,holder=relaypool", 2);
	expect("relaypool_journeys_total", "complete=yes", 800);
	expect("relaypool_journeys_total", "complete=no", 40);
	expect("relaypool_journeys_expired_total", "", 3);
	expect("relaypool_journeys_lost_total", "", 1);
	expect("relaypool_milter_messages_total", "", 900);
	expect("relaypool_milter_tagged_total", "", 850);
	expect("relaypool_sessions", "", 2);
}
END_TEST

START_TEST(gauges_are_of_this_moment)
{
	fill_rooms();
	look();
	expect("relaypool_connections", "relay=socketlabs,state=idle", 7);
	expect("relaypool_connections", "relay=socketlabs,state=busy", 3);
	expect("relaypool_connections", "relay=socketlabs,state=lingering", 0);
	expect("relaypool_connections_max", "relay=socketlabs", 10);
	expect("relaypool_connections_max_configured", "relay=socketlabs", 20);
	expect("relaypool_oldest_wait_seconds", "relay=socketlabs", 1.5);
	expect("relaypool_waiting_messages", "relay=socketlabs,cause=cap", 3);
	expect("relaypool_waiting_messages", "relay=socketlabs,cause=throttle", 2);
	expect("relaypool_stalls_open", "relay=socketlabs,stage=reply,holder=relay", 2);
	expect("relaypool_stalls_open", "relay=socketlabs,stage=pool,holder=relaypool", 1);
	expect("relaypool_relay_up", "relay=socketlabs", 1);
	rooms.wait_count = 0;
	rooms.stall_count = 0;
	rooms.pools[0].waiting = 0;
	rooms.pools[0].state = "down";
	look();
	expect("relaypool_waiting_messages", "relay=socketlabs,cause=cap", 0);
	expect("relaypool_oldest_wait_seconds", "relay=socketlabs", 0);
	expect("relaypool_relay_up", "relay=socketlabs", 0);
	expect_none("relaypool_stalls_open", "relay=socketlabs,stage=reply,holder=relay");
}
END_TEST

START_TEST(histograms_are_cumulative)
{
	fill_rooms();
	look();
	expect("relaypool_stage_seconds_bucket", "relay=socketlabs,stage=reply,le=0.001", 1);
	expect("relaypool_stage_seconds_bucket", "relay=socketlabs,stage=reply,le=0.002", 1);
	expect("relaypool_stage_seconds_bucket", "relay=socketlabs,stage=reply,le=0.004", 3);
	expect("relaypool_stage_seconds_bucket", "relay=socketlabs,stage=reply,le=131.072", 6);
	expect("relaypool_stage_seconds_bucket", "relay=socketlabs,stage=reply,le=+Inf", 7);
	expect("relaypool_stage_seconds_sum", "relay=socketlabs,stage=reply", 3.000001);
	expect("relaypool_stage_seconds_count", "relay=socketlabs,stage=reply", 7);
	expect_none("relaypool_stage_seconds_count", "relay=-,stage=client");
	ck_assert_uint_eq(rooms.quantiles_asked, 0); /* nobody reads them here, and they are dear */
}
END_TEST

START_TEST(the_pools_of_a_relay_are_added_up_while_one_retires)
{
	fill_rooms();
	rooms.pools[1] = rooms.pools[0];
	rooms.pools[1].state = "retiring";
	rooms.pools[1].max_connections = 3;
	rooms.pools[1].limits[LIMIT_CONNECTIONS].in_force = 3;
	rooms.pool_count = 2;
	look();
	expect("relaypool_connections", "relay=socketlabs,state=busy", 6);
	expect("relaypool_connections_max", "relay=socketlabs", 10);
	rooms.pools[0].state = "retiring"; /* it is in no configuration any more */
	look();
	expect("relaypool_connections", "relay=socketlabs,state=busy", 6);
	expect("relaypool_recipients_total", "relay=socketlabs,status=sent", 842);
	expect_none("relaypool_connections_max", "relay=socketlabs");
	expect_none("relaypool_relay_up", "relay=socketlabs");
}
END_TEST

START_TEST(what_was_settled_without_a_relay_is_counted_too)
{
	rooms.stats = (struct stats_view){.relay = "-", .counts = {.deferred = 2}, .totals = {.replies = {0, 0, 0, 2}}};
	look();
	expect("relaypool_recipients_total", "relay=-,status=deferred", 2);
	expect("relaypool_replies_total", "relay=-,class=local", 2);
	expect_none("relaypool_connections", "relay=-,state=idle");
	expect_none("relaypool_relay_up", "relay=-");
}
END_TEST

START_TEST(label_values_are_escaped)
{
	size_t length;
	rooms.pools[0].relay = "a\"b\\n\nc";
	look();
	expect("relaypool_relay_up", "relay=a\"b\\n\nc", 1);
	char *text = metrics_text(&rooms.doors, &length);
	ck_assert_ptr_nonnull(strstr(text, "relaypool_relay_up{relay=\"a\\\"b\\\\n\\nc\"} 1\n"));
	free(text);
}
END_TEST

START_TEST(the_process_is_told_of_by_its_usual_names)
{
	look();
	double started = exposition_value(&seen, "process_start_time_seconds", "");
	double uptime = (double)clock_wall() / (double)USEC_PER_SEC - started;
	ck_assert_msg(fabs(uptime - 90061) <= 1, "up for %g s", uptime);
	ck_assert(exposition_value(&seen, "process_resident_memory_bytes", "") > 1 << 20);
	ck_assert(exposition_value(&seen, "process_cpu_seconds_total", "") >= 0);
}
END_TEST

/* The entries are ".It Sy NAME", and behind it the labels: ".Pq relay , status". */
START_TEST(the_manual_has_every_metric_and_no_other)
{
	const char *source = getenv("srcdir");
	char line[512], path[512], name[96];
	bool found[64] = {false};
	snprintf(path, sizeof(path), "%s/milter/relaypoolctl.8", source ? source : ".");
	FILE *file = fopen(path, "r");
	ck_assert_msg(file != NULL, "%s cannot be opened", path);
	fill_rooms();
	look();
	while (fgets(line, sizeof(line), file)) {
		size_t i = 0;
		if (sscanf(line, ".It Sy %95s", name) != 1 ||
		    (strncmp(name, "relaypool_", 10) != 0 && strncmp(name, "process_", 8) != 0))
			continue;
		while (i < seen.family_count && strcmp(seen.families[i], name) != 0)
			i++;
		ck_assert_msg(i < seen.family_count, "%s is in the manual only", name);
		found[i] = true;
	}
	fclose(file);
	ck_assert_uint_gt(seen.family_count, 20);
	for (size_t i = 0; i < seen.family_count; i++)
		ck_assert_msg(found[i], "%s is not in relaypoolctl(8)", seen.families[i]);
}
END_TEST

Suite *metrics_suite(void)
{
	Suite *suite = suite_create("metrics");
	TCase *text = tcase_create("text");
	tcase_add_checked_fixture(text, setup, teardown);
	tcase_add_test(text, a_daemon_without_any_mail_has_zeros);
	tcase_add_test(text, counters_are_those_of_the_rooms);
	tcase_add_test(text, gauges_are_of_this_moment);
	tcase_add_test(text, histograms_are_cumulative);
	tcase_add_test(text, the_pools_of_a_relay_are_added_up_while_one_retires);
	tcase_add_test(text, what_was_settled_without_a_relay_is_counted_too);
	tcase_add_test(text, label_values_are_escaped);
	tcase_add_test(text, the_process_is_told_of_by_its_usual_names);
	tcase_add_test(text, the_manual_has_every_metric_and_no_other);
	suite_add_tcase(suite, text);
	return suite;
}
