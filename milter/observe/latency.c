/*
 * How long each stage takes at each relay. Called through base/publish.h, by journeys for the stages at the MTA, read by
 * stall, ctl and metrics. Three memories: counts since the start, percentiles of the last while, and what is usual, which
 * what was unusual never enters: a relay that has become slow is not taken for one that always was.
 */
#include <config.h>

#include "observe/latency.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/publish.h"
#include "histogram.h"

#define WINDOW (600 * USEC_PER_SEC) /* percentiles are of this while and of the part of the next that has passed */
#define USUAL_KEPT 256              /* the last ones of a while are those that count */
#define USUAL_LEAST 20              /* with fewer nothing is unusual yet */
#define USUAL_LEAST_SET_UP 5

const usec_t latency_bounds[LATENCY_BUCKETS] = {
	1000,    2500,    5000,    10000,    25000,    50000,    100000,    250000,    500000,
	1000000, 2500000, 5000000, 10000000, 30000000, 60000000, 120000000, 300000000, 600000000,
};

/*
 * What is usual is the 99th percentile of a while that has passed; the times of the present one make the next. So a relay
 * that becomes slower, however steadily, is measured by how it was before.
 */
struct usual {
	usec_t p99; /* -1: not known */
	usec_t last[USUAL_KEPT];
	size_t count, next;
	usec_t begun;         /* clock_now() at the first of them */
	usec_t unusual_since; /* … at the first unusual one since the last usual one; -1: none has come since */
};

struct times {
	struct histogram *recent, *before; /* of this while and the one before; NULL: nothing seen in it */
	struct usual usual;
	unsigned long seen;
	usec_t sum;
	unsigned long buckets[LATENCY_BUCKETS];
};

/* On `relays`; kept until the end, as in stats. */
struct relay_times {
	struct list node;
	char *name;
	struct times *stages[STAGE_COUNT]; /* NULL: never seen */
};

static struct list relays = {&relays, &relays};
static struct relay_times *last_relay; /* an event has many times of one relay; NULL: none yet */
static usec_t window_begin;

/* ---- what is usual ---- */

static int descending(const void *a, const void *b)
{
	usec_t one, other;
	memcpy(&one, a, sizeof one);
	memcpy(&other, b, sizeof other);
	return (one < other) - (one > other);
}

/* Connections are set up far less often than messages are sent. */
static size_t least_of(enum stage stage)
{
	return stage >= STAGE_DNS && stage <= STAGE_AUTH ? USUAL_LEAST_SET_UP : USUAL_LEAST;
}

static bool is_unusual(const struct usual *usual, usec_t spent)
{
	return usual->p99 >= 0 && spent > LATENCY_UNUSUAL_FLOOR && spent > LATENCY_UNUSUAL * usual->p99;
}

/* True if what is usual is to be learned anew: for a while there was nothing of the kind. */
static bool usual_is_over(struct usual *usual, usec_t now)
{
	if (usual->unusual_since < 0)
		usual->unusual_since = now;
	return now - usual->unusual_since >= WINDOW;
}

static void usual_note(struct usual *usual, size_t least, usec_t spent)
{
	usec_t now = clock_now();
	if (is_unusual(usual, spent)) {
		if (!usual_is_over(usual, now))
			return;
		usual->p99 = -1;
		usual->count = usual->next = 0;
	}
	usual->unusual_since = -1;
	if (usual->count == 0)
		usual->begun = now;
	usual->last[usual->next] = spent;
	usual->next = (usual->next + 1) % USUAL_KEPT;
	usual->count += usual->count < USUAL_KEPT;
	if (usual->count < least || (usual->p99 >= 0 && now - usual->begun < WINDOW))
		return;
	qsort(usual->last, usual->count, sizeof usual->last[0], descending);
	usual->p99 = usual->last[usual->count / 100];
	usual->count = usual->next = 0;
}

/* ---- counting ---- */

static struct relay_times *relay_of(const char *name)
{
	if (last_relay != NULL && strcmp(last_relay->name, name) == 0)
		return last_relay;
	LIST_EACH (node, next, &relays) {
		struct relay_times *relay = LIST_ENTRY_OF(node, struct relay_times, node);
		if (strcmp(relay->name, name) == 0)
			return last_relay = relay;
	}
	return NULL;
}

static struct relay_times *relay_get(const char *name)
{
	struct relay_times *relay = relay_of(name);
	if (relay != NULL)
		return relay;
	relay = mem_alloc(sizeof *relay);
	relay->name = mem_strdup(name);
	list_append(&relays, &relay->node);
	return relay;
}

/* Another while has begun: the one before last is forgotten. */
static void turn_window(void)
{
	usec_t passed = clock_now() - window_begin;
	if (passed < WINDOW)
		return;
	LIST_EACH (node, next, &relays) {
		struct relay_times *relay = LIST_ENTRY_OF(node, struct relay_times, node);
		for (size_t i = 0; i < STAGE_COUNT; i++) {
			struct times *times = relay->stages[i];
			if (times == NULL)
				continue;
			free(times->before);
			times->before = times->recent;
			times->recent = NULL;
			if (passed >= 2 * WINDOW) {
				free(times->before);
				times->before = NULL;
			}
		}
	}
	window_begin += passed / WINDOW * WINDOW; /* not now: what is kept would be older than two of them */
}

static void times_note(struct times *times, enum stage stage, usec_t spent)
{
	size_t bucket = 0;
	while (bucket < LATENCY_BUCKETS && spent > latency_bounds[bucket])
		bucket++;
	if (bucket < LATENCY_BUCKETS)
		times->buckets[bucket]++;
	times->seen++;
	times->sum += spent;
	if (times->recent == NULL)
		times->recent = mem_alloc(sizeof *times->recent);
	histogram_add(times->recent, spent);
	usual_note(&times->usual, least_of(stage), spent);
}

void latency_note(const char *relay, enum stage stage, usec_t spent)
{
	if (spent < 0)
		return;
	turn_window();
	struct relay_times *of = relay_get(relay);
	if (of->stages[stage] == NULL) {
		of->stages[stage] = mem_alloc(sizeof *of->stages[stage]);
		of->stages[stage]->usual.p99 = of->stages[stage]->usual.unusual_since = -1;
	}
	times_note(of->stages[stage], stage, spent);
}

/* The set-up of a connection counts once, with the connection, and not again with each message that waited for it. */
static void on_event(const struct event *event)
{
	static const enum stage own[] = {STAGE_POOL, STAGE_MAIL, STAGE_RCPT, STAGE_DATA, STAGE_BODY, STAGE_REPLY};
	if (event->journey == NULL || event->repeated)
		return;
	const usec_t *spent = event->journey->spent;
	if (event->kind == EVENT_CONNECTION_OPENED) {
		for (enum stage stage = STAGE_DNS; stage <= STAGE_AUTH; stage++)
			latency_note(event->relay, stage, spent[stage]);
	} else if (event->kind == EVENT_OUTCOME) {
		latency_note("-", STAGE_INGEST, spent[STAGE_INGEST]);
		for (size_t i = 0; i < sizeof own / sizeof own[0]; i++)
			latency_note(event->relay, own[i], spent[own[i]]);
	}
}

/* ---- asked ---- */

usec_t latency_p99(const char *relay, enum stage stage)
{
	const struct relay_times *of = relay_of(relay);
	return of == NULL || of->stages[stage] == NULL ? -1 : of->stages[stage]->usual.p99;
}

static void view_stages(const struct relay_times *relay, latency_fn *fn, void *arg)
{
	for (enum stage stage = 0; stage < STAGE_COUNT; stage++) {
		const struct times *times = relay->stages[stage];
		if (times == NULL)
			continue;
		struct latency_view view = {
			.relay = relay->name, .stage = stage, .seen = times->seen, .sum = times->sum};
		memcpy(view.buckets, times->buckets, sizeof view.buckets);
		fn(&view, arg);
	}
}

void latency_each(latency_fn *fn, void *arg)
{
	LIST_EACH (node, next, &relays)
		view_stages(LIST_ENTRY_OF(node, struct relay_times, node), fn, arg);
}

void latency_of(const char *name, latency_fn *fn, void *arg)
{
	const struct relay_times *relay = relay_of(name);
	if (relay != NULL)
		view_stages(relay, fn, arg);
}

struct latency_quantiles latency_quantiles(const char *relay, enum stage stage)
{
	static const unsigned percents[] = {50, 95, 99, 100};
	const struct histogram *seen_in[2];
	size_t count = 0;
	usec_t found[4] = {-1, -1, -1, -1};
	unsigned long seen = 0;
	turn_window();
	const struct relay_times *of = relay_of(relay);
	const struct times *times = of == NULL ? NULL : of->stages[stage];
	if (times != NULL && times->recent != NULL)
		seen_in[count++] = times->recent;
	if (times != NULL && times->before != NULL)
		seen_in[count++] = times->before;
	for (size_t i = 0; i < count; i++)
		seen += seen_in[i]->seen;
	histogram_quantiles(seen_in, count, percents, 4, found);
	return (struct latency_quantiles){
		.seen = seen, .p50 = found[0], .p95 = found[1], .p99 = found[2], .longest = found[3]};
}

/* ---- for main ---- */

void latency_start(void)
{
	window_begin = clock_now();
	publish_subscribe(on_event);
}

static void times_free(struct times *times)
{
	if (times == NULL)
		return;
	free(times->recent);
	free(times->before);
	free(times);
}

void latency_stop(void)
{
	last_relay = NULL;
	LIST_EACH (node, next, &relays) {
		struct relay_times *relay = LIST_ENTRY_OF(node, struct relay_times, node);
		for (size_t i = 0; i < STAGE_COUNT; i++)
			times_free(relay->stages[i]);
		list_remove(&relay->node);
		free(relay->name);
		free(relay);
	}
}
