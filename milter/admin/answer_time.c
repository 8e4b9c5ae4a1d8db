/*
 * What the control socket answers about time: where that of one message went, what is held up, how long each stage
 * takes at each relay. Called by control.c through answer.c. It names a holder only where one was observed.
 */
#include <config.h>

#include <stdio.h>
#include <string.h>

#include "answer_private.h"
#include "base/journey.h"
#include "ingest/listener.h"
#include "observe/door.h"
#include "observe/journeys.h"
#include "observe/latency.h"
#include "observe/stall.h"
#include "observe/stats.h"
#include "relay/route.h"

/* "-" and "" are how the rooms say that there is none. */
static json_t *known_text(const char *string)
{
	return answer_text(string && *string && strcmp(string, "-") != 0 ? string : NULL);
}

static json_t *known_count(unsigned number)
{
	return number > 0 ? answer_count(number) : json_null();
}

static json_t *wall_time(int64_t time)
{
	return time > 0 ? json_real((double)time / (double)USEC_PER_SEC) : json_null();
}

static json_t *stage_name(enum stage stage)
{
	return stage < STAGE_COUNT ? answer_text(stage_names[stage]) : json_null();
}

static json_t *cause_name(enum cause cause)
{
	return cause < CAUSE_COUNT ? answer_text(cause_names[cause]) : json_null();
}

/* A relay that is configured, or had something to tell. */
static bool relay_known(const struct control_doors *doors, const char *relay, const struct rows *rows)
{
	struct control_view view;
	doors->look(&view);
	return !relay || json_array_size(rows->array) > 0 || conf_relay(view.conf, relay);
}

/* ---- why ---- */

struct held {
	enum holder holder;
	enum cause cause; /* CAUSE_COUNT: not known */
};

static struct held held_by_cause(enum cause cause)
{
	return (struct held){cause < CAUSE_COUNT ? cause_holders[cause] : HOLDER_UNKNOWN, cause};
}

struct why {
	const char *queue_id;
	struct rows rows;
	struct journey door; /* what was told of its way before ingest, if it has no outcome yet */
	bool under_way;      /* it is here, so that it does not wait in the MTA's queue */
};

static enum stage journey_longest(const struct journey *journey)
{
	enum stage longest = STAGE_COUNT;
	for (enum stage stage = 0; stage < STAGE_COUNT; stage++)
		if (journey->spent[stage] > 0 &&
		    (longest == STAGE_COUNT || journey->spent[stage] > journey->spent[longest]))
			longest = stage;
	return longest;
}

/* A row with all its keys; `stage`: where it is now, STAGE_COUNT if it has its verdict. */
static json_t *journey_row(const char *state, const struct journey *journey, enum stage stage, struct held held)
{
	static const char *const unknown[] = {"status", "ambiguous",  "recipients", "at",  "relay",
					      "host",   "connection", "use",        "text"};
	json_t *row = json_object(), *stages = json_object();
	answer_put(row, "state", answer_text(state));
	for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++)
		answer_put(row, unknown[i], json_null());
	answer_put(row, "stage", stage_name(stage));
	answer_put(row, "longest", stage_name(journey_longest(journey)));
	answer_put(row, "holder", answer_text(holder_names[held.holder]));
	answer_put(row, "cause", cause_name(held.cause));
	answer_put(row, "total", answer_seconds(journey_total(journey)));
	for (stage = 0; stage < STAGE_COUNT; stage++)
		answer_put(stages, stage_names[stage], answer_seconds(journey->spent[stage]));
	answer_put(row, "stages", stages);
	return row;
}

/* The way up to the MTA's queue, of a message that has no outcome yet. */
static void why_door(const struct journey_view *view, void *arg)
{
	struct why *why = arg;
	if (!view->settled)
		why->door = view->journey;
}

/* What is under way here is known from ingest on only; what came before, the door has told. */
static void add_door(const struct why *why, struct journey *journey)
{
	for (enum stage stage = STAGE_CLIENT; stage <= STAGE_QUEUE; stage++)
		if (journey->spent[stage] < 0)
			journey_add(journey, stage, why->door.spent[stage]);
}

/* A message that the MTA has not accepted yet, or hands over now. */
static void why_wait(const struct wait *wait, void *arg)
{
	struct why *why = arg;
	bool here = wait->stage == STAGE_INGEST;
	struct journey journey;
	if (strcmp(wait->queue_id, why->queue_id) != 0 || wait->stage > STAGE_INGEST)
		return;
	why->under_way |= here;
	if (!rows_want(&why->rows, NULL))
		return;
	journey_init(&journey);
	journey_add(&journey, wait->stage, clock_now() - wait->since);
	if (here)
		add_door(why, &journey);
	rows_add(&why->rows,
		 journey_row(here ? "under_way" : "arriving", &journey, wait->stage, held_by_cause(wait->cause)));
}

/* A stall at a relay, of which a full pool is only what follows. */
struct behind {
	const char *relay;
	enum cause cause; /* CAUSE_COUNT: none is open */
};

static void see_behind(const struct stall_view *stall, void *arg)
{
	struct behind *behind = arg;
	if (stall->open && stall->stage >= STAGE_DNS && stall->stage < STAGE_COUNT &&
	    strcmp(stall->relay, behind->relay) == 0)
		behind->cause = stall->cause;
}

/* What it waits for; in a pool that is full behind a relay that does not answer, for what the relay is waited for. */
static enum cause waits_for(const struct transaction_view *view)
{
	bool full = view->cause == CAUSE_CAP || view->cause == CAUSE_TURN || view->cause == CAUSE_SETUP ||
		    view->cause == CAUSE_SLOT;
	struct behind behind = {.relay = view->relay, .cause = CAUSE_COUNT};
	if (view->journey.stage == STAGE_POOL && full)
		stall_each(see_behind, &behind);
	return behind.cause != CAUSE_COUNT ? behind.cause : view->cause;
}

static void why_under_way(const struct transaction_view *view, void *arg)
{
	struct why *why = arg;
	if (strcmp(view->queue_id, why->queue_id) != 0)
		return;
	why->under_way = true;
	if (!rows_want(&why->rows, NULL))
		return;
	struct journey journey = view->journey;
	add_door(why, &journey);
	json_t *row = journey_row("under_way", &journey, journey.stage, held_by_cause(waits_for(view)));
	answer_put(row, "recipients", known_count(view->recipients));
	answer_put(row, "relay", known_text(view->relay));
	answer_put(row, "host", known_text(view->host));
	answer_put(row, "connection", known_count(view->connection));
	answer_put(row, "use", known_count(view->use));
	answer_put(row, "text", known_text(view->trouble));
	rows_add(&why->rows, row);
}

/* Into the MTA's queue nobody looks but the watch for stalls. */
static void see_queue(const struct stall_view *stall, void *arg)
{
	enum cause *cause = arg;
	if (stall->open && stall->stage == STAGE_QUEUE)
		*cause = stall->cause;
}

/* It has been in the MTA's queue ever since the end of message, but for what it was here meanwhile. */
static json_t *queued_row(const struct journey_view *view)
{
	struct journey journey = view->journey;
	usec_t queued = clock_wall() - view->at;
	enum cause cause = CAUSE_COUNT;
	if (view->at > 0)
		journey.spent[STAGE_QUEUE] = queued > 0 ? queued : 0;
	if (view->outbound) /* else it may be local, and delivered long ago */
		stall_each(see_queue, &cause);
	return journey_row("queued", &journey, STAGE_QUEUE, held_by_cause(cause));
}

/* What was seen; some stages are what they are whether anybody looks or not. */
static enum cause settled_cause(const struct journey_view *view, enum stage stage)
{
	switch (stage) {
	case STAGE_CLIENT:
		return CAUSE_CLIENT;
	case STAGE_MTA:
		return CAUSE_SERVER;
	case STAGE_INGEST:
		return CAUSE_HANDOVER;
	case STAGE_POOL:
		return view->held_by;
	case STAGE_DNS:
		return CAUSE_DNS;
	case STAGE_CONNECT:
		return CAUSE_CONNECT;
	case STAGE_COUNT:
		return CAUSE_COUNT;
	default:
		return (enum cause)view->journey.causes[stage];
	}
}

static struct held settled_held(const struct journey_view *view)
{
	return held_by_cause(settled_cause(view, journey_longest(&view->journey)));
}

static json_t *settled_row(const struct journey_view *view)
{
	json_t *row = journey_row("settled", &view->journey, STAGE_COUNT, settled_held(view));
	answer_put(row, "status", answer_text(status_names[view->status]));
	answer_put(row, "ambiguous", json_boolean(view->ambiguous));
	answer_put(row, "recipients", known_count(view->recipients));
	answer_put(row, "relay", known_text(view->relay));
	answer_put(row, "host", known_text(view->host));
	answer_put(row, "connection", known_count(view->connection));
	answer_put(row, "use", known_count(view->use));
	answer_put(row, "text", known_text(view->text));
	return row;
}

static void why_journey(const struct journey_view *view, void *arg)
{
	struct why *why = arg;
	if ((!view->settled && why->under_way) || !rows_want(&why->rows, NULL))
		return;
	json_t *row = view->settled ? settled_row(view) : queued_row(view);
	answer_put(row, "at", wall_time(view->at));
	rows_add(&why->rows, row);
}

/* All that is known under a queue id. */
static struct why why_of(const struct control_doors *doors, const char *queue_id)
{
	struct why why = {.queue_id = queue_id, .rows = {.array = json_array()}};
	journey_init(&why.door);
	bool found = journeys_find(queue_id, why_door, &why);
	door_each_wait(why_wait, &why);
	listener_each_wait(doors->listener, why_wait, &why);
	router_each_transaction(doors->router, why_under_way, &why);
	if (found)
		journeys_find(queue_id, why_journey, &why);
	return why;
}

json_t *answer_why(const struct control_doors *doors, const char *argument)
{
	if (!argument)
		return answer_refuse(REFUSAL_USAGE, "why needs the queue id of a message");
	char queue_id[sizeof(((struct message *)NULL)->queue_id)], original[sizeof(queue_id)] = "";
	snprintf(queue_id, sizeof(queue_id), "%s", argument);
	queue_id[strcspn(queue_id, "*!:")] = '\0'; /* as mailq and the log write it */
	if (*queue_id != '\0' && queue_id[strlen(queue_id) - 1] == '-')
		queue_id[strlen(queue_id) - 1] = '\0';
	struct why why = why_of(doors, queue_id);
	if (json_array_size(why.rows.array) == 0 && journeys_original(queue_id, original, sizeof(original))) {
		json_decref(why.rows.array);
		why = why_of(doors, original);
	}
	if (json_array_size(why.rows.array) == 0) {
		json_decref(why.rows.array);
		return answer_refuse(REFUSAL_FAILED,
				     "nothing is known of %s: the journeys of the last few thousand messages are kept, "
				     "since relaypoold started; for others see the log (journalctl -t relaypoold) and "
				     "the MTA's queue (mailq)",
				     queue_id);
	}
	json_t *answer = answer_new();
	answer_put(answer, "queue_id", answer_text(queue_id));
	rows_put(answer, "journeys", &why.rows);
	answer_put(answer, "copy_of", *original != '\0' ? answer_text(original) : json_null());
	return answer;
}

/* ---- stalls ---- */

struct stalls {
	struct rows rows;
	bool all; /* not only those that are open */
};

static void stall_row(const struct stall_view *stall, void *arg)
{
	struct stalls *stalls = arg;
	if ((!stall->open && !stalls->all) || !rows_want(&stalls->rows, NULL))
		return;
	json_t *row = json_object();
	answer_put(row, "id", answer_count(stall->id));
	answer_put(row, "relay", known_text(stall->relay));
	answer_put(row, "stage", stage_name(stall->stage));
	answer_put(row, "holder", answer_text(holder_names[held_by_cause(stall->cause).holder]));
	answer_put(row, "cause", cause_name(stall->cause));
	answer_put(row, "open", json_boolean(stall->open));
	answer_put(row, "began", wall_time(stall->began));
	answer_put(row, "age", answer_seconds(stall->age));
	answer_put(row, "limit", answer_seconds(stall->limit));
	answer_put(row, "waiting", answer_count(stall->waiting));
	answer_put(row, "messages", answer_count(stall->messages));
	answer_put(row, "queue_id", known_text(stall->queue_id));
	rows_add(&stalls->rows, row);
}

json_t *answer_stalls(const struct control_doors *doors, const char *argument)
{
	(void)doors;
	if (argument && strcmp(argument, "all") != 0)
		return answer_refuse(REFUSAL_USAGE, "stalls takes \"all\" or nothing");
	struct stalls stalls = {.rows = {.array = json_array()}, .all = argument != NULL};
	stall_each(stall_row, &stalls);
	json_t *answer = answer_new();
	rows_put(answer, "stalls", &stalls.rows);
	return answer;
}

/* ---- latency ---- */

static json_t *latency_row(const struct latency_view *latency)
{
	struct latency_quantiles recent = latency_quantiles(latency->relay, latency->stage);
	json_t *row = json_object();
	answer_put(row, "relay", answer_text(latency->relay));
	answer_put(row, "stage", stage_name(latency->stage));
	answer_put(row, "recent", answer_count(recent.seen));
	answer_put(row, "p50", answer_seconds(recent.p50));
	answer_put(row, "p95", answer_seconds(recent.p95));
	answer_put(row, "p99", answer_seconds(recent.p99));
	answer_put(row, "max", answer_seconds(recent.longest));
	answer_put(row, "seen", answer_count(latency->seen));
	answer_put(row, "mean", latency->seen > 0 ? answer_seconds(latency->sum / (usec_t)latency->seen) : json_null());
	answer_put(row, "limit", answer_seconds(stall_limit(latency->relay, latency->stage)));
	return row;
}

static void latency_rows(const struct latency_view *latency, void *arg)
{
	struct rows *rows = arg;
	if (rows_want(rows, latency->relay))
		rows_add(rows, latency_row(latency));
}

json_t *answer_latency(const struct control_doors *doors, const char *argument)
{
	struct rows rows = {.array = json_array(), .relay = argument};
	if (argument)
		latency_of(argument, latency_rows, &rows);
	else
		latency_each(latency_rows, &rows);
	if (!relay_known(doors, argument, &rows)) {
		json_decref(rows.array);
		return answer_unknown_relay(doors, argument);
	}
	json_t *answer = answer_new();
	rows_put(answer, "latency", &rows);
	return answer;
}

/* ---- stats ---- */

struct stats_rows {
	struct rows rows;
	usec_t uptime;
};

/* Since the start of the daemon. */
static json_t *per_second(unsigned long number, usec_t uptime)
{
	return uptime > 0 ? json_real((double)number * (double)USEC_PER_SEC / (double)uptime) : json_null();
}

static void stats_row(const struct stats_view *stats, void *arg)
{
	struct stats_rows *all = arg;
	if (!rows_want(&all->rows, stats->relay))
		return;
	const struct stats_counts *counts = &stats->counts;
	struct rows stages = {.array = json_array(), .relay = stats->relay};
	json_t *row = json_object();
	answer_put(row, "relay", answer_text(stats->relay));
	answer_put(row, "sent", answer_count(counts->sent));
	answer_put(row, "deferred", answer_count(counts->deferred));
	answer_put(row, "bounced", answer_count(counts->bounced));
	answer_put(row, "ambiguous", answer_count(counts->ambiguous));
	answer_put(row, "sent_per_second", per_second(counts->sent, all->uptime));
	answer_put(row, "deferred_per_second", per_second(counts->deferred, all->uptime));
	answer_put(row, "bounced_per_second", per_second(counts->bounced, all->uptime));
	answer_put(row, "opened", answer_count(counts->opened));
	answer_put(row, "closed", answer_count(counts->closed));
	answer_put(row, "reused", answer_count(counts->reused));
	answer_put(row, "wait_p50", answer_seconds(stats->wait_p50));
	answer_put(row, "wait_p95", answer_seconds(stats->wait_p95));
	answer_put(row, "transfer_p50", answer_seconds(stats->transfer_p50));
	answer_put(row, "transfer_p95", answer_seconds(stats->transfer_p95));
	latency_of(stats->relay, latency_rows, &stages);
	rows_put(row, "stages", &stages);
	rows_add(&all->rows, row);
}

json_t *answer_stats(const struct control_doors *doors, const char *argument)
{
	struct control_view view;
	doors->look(&view);
	struct stats_rows all = {.rows = {.array = json_array(), .relay = argument},
				 .uptime = clock_now() - view.started};
	stats_each(stats_row, &all);
	if (!relay_known(doors, argument, &all.rows)) {
		json_decref(all.rows.array);
		return answer_unknown_relay(doors, argument);
	}
	json_t *answer = answer_new();
	rows_put(answer, "stats", &all.rows);
	return answer;
}
