/*
 * Counts what the rooms publish, for each relay, and writes the `statistics:` line once a minute (DESIGN section 6).
 * Called through base/publish.h and by its own timer on the loop thread, by ctl and by metrics; decides nothing.
 */
#include <config.h>

#include "observe/stats.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/log_limit.h"
#include "base/mem.h"
#include "base/publish.h"
#include "histogram.h"
#include "observe/outcome.h"
#include "seconds.h"
#include "smtp/reply.h"

#define INTERVAL (60 * USEC_PER_SEC)

/* What was counted over some time. */
struct figures {
	struct stats_counts counts;
	struct histogram wait, transfer;
};

/* On `relays`; kept until the end, a relay that a reload took away included. */
struct relay_stats {
	struct list node;
	char *name;
	struct list connections;      /* struct connection_stats: those that are open */
	struct figures minute, total; /* of the interval that has begun, and since the start */
	struct stats_totals totals;
};

/* An open connection, to count each of its transactions once however many outcomes it has. */
struct connection_stats {
	struct list node;
	unsigned id;
	unsigned counted; /* transactions up to here are counted */
};

static struct list relays = {&relays, &relays};
static struct timer minute;
static usec_t minute_begin;
static stats_gauges_fn *read_gauges;
static unsigned long log_dropped_before, left_out_before; /* when the minute began */

/* ---- counting ---- */

static struct relay_stats *relay_of(const char *name)
{
	LIST_EACH (node, next, &relays) {
		struct relay_stats *relay = LIST_ENTRY_OF(node, struct relay_stats, node);
		if (strcmp(relay->name, name) == 0)
			return relay;
	}
	struct relay_stats *relay = mem_alloc(sizeof *relay);
	relay->name = mem_strdup(name);
	list_init(&relay->connections);
	list_append(&relays, &relay->node);
	return relay;
}

static struct connection_stats *connection_of(const struct relay_stats *relay, unsigned id)
{
	LIST_EACH (node, next, &relay->connections) {
		struct connection_stats *connection = LIST_ENTRY_OF(node, struct connection_stats, node);
		if (connection->id == id)
			return connection;
	}
	return NULL;
}

/* `use` transactions were begun on the connection: all beyond its first that are not counted yet are reuses. */
static void count_reuse(struct relay_stats *relay, struct connection_stats *connection, unsigned use)
{
	if (connection == NULL || use <= connection->counted)
		return;
	unsigned before = connection->counted > 0 ? connection->counted : 1;
	relay->minute.counts.reused += use - before;
	relay->total.counts.reused += use - before;
	connection->counted = use;
}

static void count_outcome(struct figures *figures, const struct event *event)
{
	switch (event->status) {
	case STATUS_SENT:
		figures->counts.sent += event->recipients;
		break;
	case STATUS_DEFERRED:
		figures->counts.deferred += event->recipients;
		break;
	case STATUS_BOUNCED:
		figures->counts.bounced += event->recipients;
		break;
	case STATUS_COUNT:
		break;
	}
	if (event->ambiguous)
		figures->counts.ambiguous += event->recipients;
	histogram_add(&figures->wait, event->delays.pool);
	histogram_add(&figures->transfer, event->delays.transfer);
}

static enum stats_reply kind_of(const struct reply *reply)
{
	if (!reply_is_remote(reply))
		return STATS_REPLY_LOCAL;
	switch (reply_status_of(reply)) {
	case STATUS_SENT:
		return STATS_REPLY_2XX;
	case STATUS_BOUNCED:
		return STATS_REPLY_5XX;
	default:
		return STATS_REPLY_4XX;
	}
}

/* A message with several verdicts has waited once. */
static void count_wait(struct relay_stats *relay, const struct event *event)
{
	if (event->held_by < CAUSE_COUNT && !event->repeated)
		relay->totals.waited[event->held_by]++;
}

static void connection_opened(struct relay_stats *relay, unsigned id)
{
	struct connection_stats *connection = mem_alloc(sizeof *connection);
	connection->id = id;
	list_append(&relay->connections, &connection->node);
	relay->minute.counts.opened++;
	relay->total.counts.opened++;
}

static void connection_closed(struct relay_stats *relay, unsigned id, unsigned use)
{
	struct connection_stats *connection = connection_of(relay, id);
	if (connection != NULL) {
		count_reuse(relay, connection, use);
		list_remove(&connection->node);
		free(connection);
	}
	relay->minute.counts.closed++;
	relay->total.counts.closed++;
}

static void count_event(const struct event *event)
{
	struct relay_stats *relay;
	switch (event->kind) {
	case EVENT_OUTCOME:
		relay = relay_of(event->relay);
		count_outcome(&relay->minute, event);
		count_outcome(&relay->total, event);
		count_reuse(relay, connection_of(relay, event->connection), event->use);
		count_wait(relay, event);
		if (event->reply != NULL)
			relay->totals.replies[kind_of(event->reply)]++;
		break;
	case EVENT_CONNECTION_OPENED:
		connection_opened(relay_of(event->relay), event->connection);
		break;
	case EVENT_CONNECTION_CLOSED:
		connection_closed(relay_of(event->relay), event->connection, event->use);
		break;
	case EVENT_CONNECTION_FAILED:
		relay_of(event->relay)->totals.failed++;
		break;
	case EVENT_REPLAYED:
		relay_of(event->relay)->totals.replayed++;
		break;
	default: /* the others change no figure */
		break;
	}
}

/* ---- the line ---- */

static bool had_traffic(const struct stats_counts *counts)
{
	static const struct stats_counts none;
	return memcmp(counts, &none, sizeof none) != 0;
}

/* "active=3, idle=7, waiting=0" */
static void format_gauges(const char *relay, char *out, size_t size)
{
	struct stats_gauges now;
	if (read_gauges != NULL && read_gauges(relay, &now))
		snprintf(out, size, "active=%u, idle=%u, waiting=%u", now.active, now.idle, now.waiting);
	else
		snprintf(out, size, "active=-, idle=-, waiting=-");
}

static void write_line(const struct relay_stats *relay, long long interval)
{
	const struct figures *figures = &relay->minute;
	const struct stats_counts *counts = &figures->counts;
	char gauges[80], wait_p95[SECONDS_SIZE], transfer_p50[SECONDS_SIZE], transfer_p95[SECONDS_SIZE];
	format_gauges(relay->name, gauges, sizeof gauges);
	log_info("statistics: relay=%s, interval=%lld, sent=%lu, deferred=%lu, bounced=%lu, ambiguous=%lu, %s, "
		 "opened=%lu, "
		 "closed=%lu, reused=%lu, wait_p95=%s, transfer_p50=%s, transfer_p95=%s",
		 relay->name, interval, counts->sent, counts->deferred, counts->bounced, counts->ambiguous, gauges,
		 counts->opened, counts->closed, counts->reused,
		 seconds_fine(histogram_quantile(&figures->wait, 95), wait_p95),
		 seconds_fine(histogram_quantile(&figures->transfer, 50), transfer_p50),
		 seconds_fine(histogram_quantile(&figures->transfer, 95), transfer_p95));
}

/* What the log itself lacks of this minute: nothing may be missing unseen. */
static void write_log_line(long long interval)
{
	unsigned long lost = log_dropped() - log_dropped_before, left_out = outcome_left_out() - left_out_before;
	if (lost > 0 || left_out > 0)
		log_info("log: interval=%lld, dropped=%lu, left_out=%lu", interval, lost, left_out);
	log_dropped_before += lost;
	left_out_before += left_out;
	log_limit_tell();
}

static void write_lines(void)
{
	usec_t passed = clock_now() - minute_begin;
	long long interval = (long long)((passed + USEC_PER_SEC / 2) / USEC_PER_SEC);
	LIST_EACH (node, next, &relays) {
		struct relay_stats *relay = LIST_ENTRY_OF(node, struct relay_stats, node);
		if (!had_traffic(&relay->minute.counts))
			continue;
		write_line(relay, interval);
		memset(&relay->minute, 0, sizeof relay->minute);
	}
	write_log_line(interval);
	minute_begin = clock_now();
}

static void minute_over(void *unused)
{
	(void)unused;
	write_lines();
	timer_arm(&minute, INTERVAL);
}

/* ---- for main and ctl ---- */

void stats_start(void)
{
	publish_subscribe(count_event);
	minute_begin = clock_now();
	timer_init(&minute, "statistics", minute_over, NULL);
	timer_arm(&minute, INTERVAL);
}

static void relay_stats_free(struct relay_stats *relay)
{
	LIST_EACH (node, next, &relay->connections) {
		list_remove(node);
		free(LIST_ENTRY_OF(node, struct connection_stats, node));
	}
	list_remove(&relay->node);
	free(relay->name);
	free(relay);
}

void stats_stop(void)
{
	timer_cancel(&minute);
	write_lines();
	while (!list_empty(&relays))
		relay_stats_free(LIST_ENTRY_OF(relays.next, struct relay_stats, node));
}

void stats_set_gauges(stats_gauges_fn *gauges)
{
	read_gauges = gauges;
}

void stats_each(void (*fn)(const struct stats_view *view, void *arg), void *arg)
{
	LIST_EACH (node, next, &relays) {
		const struct relay_stats *relay = LIST_ENTRY_OF(node, struct relay_stats, node);
		struct stats_view view = {
			.relay = relay->name,
			.counts = relay->total.counts,
			.totals = relay->totals,
			.wait_p50 = histogram_quantile(&relay->total.wait, 50),
			.wait_p95 = histogram_quantile(&relay->total.wait, 95),
			.transfer_p50 = histogram_quantile(&relay->total.transfer, 50),
			.transfer_p95 = histogram_quantile(&relay->total.transfer, 95),
		};
		fn(&view, arg);
	}
}
