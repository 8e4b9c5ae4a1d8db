/*
 * What is over its limit at one look (stall_watch.h). Called by stall.c: pure but for what it remembers of the last
 * looks: when each relay last brought something to its end, when mail last came, and whether we had room for more.
 */
#include <config.h>

#include "stall_watch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "observe/journeys.h"
#include "observe/stall.h"

#define CROWDED_MOST 13                 /* of 16 looks */
#define NO_PROGRESS (15 * USEC_PER_SEC) /* at least, without an outcome while mail is under way */
#define JUST_NOW USEC_PER_MSEC          /* a body that is waited for no longer gets on, however large it is */

/* Whether a relay gets on. On `relays`; kept until the end, as in stats. */
struct progress {
	struct list node;
	char *relay;
	unsigned under_way; /* at this look */
	unsigned waiting;   /* … of those in the pool */
	usec_t busy_since;  /* clock_now() since which something is under way all the time; -1: nothing is */
	usec_t outcome;     /* … at its last outcome, or when a body got on */
	enum stage stage;   /* of what lasts longest at this look */
	usec_t longest;
	bool soon; /* something at the relay itself is nearly over its limit */
};
static struct list relays = {&relays, &relays};

static usec_t arrived = -1;    /* clock_now() when a message last came over LMTP */
static uint16_t crowded_looks; /* a bit for each look, the last one lowest: the MTA's processes were all at work */

/* ---- one look ---- */

static struct progress *progress_of(const char *name)
{
	LIST_EACH (node, next, &relays) {
		struct progress *relay = LIST_ENTRY_OF(node, struct progress, node);
		if (strcmp(relay->relay, name) == 0)
			return relay;
	}
	if (strcmp(name, "-") == 0)
		return NULL;
	struct progress *relay = mem_alloc(sizeof *relay);
	relay->relay = mem_strdup(name);
	relay->busy_since = relay->outcome = relay->longest = -1;
	list_append(&relays, &relay->node);
	return relay;
}

static bool at_relay(enum stage stage)
{
	return stage >= STAGE_DNS && stage < STAGE_COUNT;
}

void watch_begin(struct watch *watch, watch_open_fn *open_at)
{
	memset(watch, 0, sizeof *watch);
	watch->open_at = open_at;
	LIST_EACH (node, next, &relays) {
		struct progress *relay = LIST_ENTRY_OF(node, struct progress, node);
		relay->under_way = relay->waiting = 0;
		relay->longest = -1;
		relay->soon = false;
	}
}

static void add(struct watch *watch, const struct wait *wait, usec_t limit)
{
	struct overdue *overdue = NULL;
	for (size_t i = 0; i < watch->count && overdue == NULL; i++)
		if (watch->overdue[i].stage == wait->stage && watch->overdue[i].cause == wait->cause &&
		    strcmp(watch->overdue[i].relay, wait->relay) == 0)
			overdue = &watch->overdue[i];
	if (overdue == NULL) {
		if (watch->count == OVERDUE_MAX)
			return;
		overdue = &watch->overdue[watch->count++];
		overdue->stage = wait->stage;
		overdue->cause = wait->cause;
		overdue->since = wait->since;
		overdue->limit = limit;
		snprintf(overdue->relay, sizeof overdue->relay, "%s", wait->relay);
		snprintf(overdue->queue_id, sizeof overdue->queue_id, "%s", wait->queue_id);
	}
	overdue->messages += wait->messages;
	if (wait->since < overdue->since)
		overdue->since = wait->since;
}

static void note_progress(const struct wait *wait, usec_t limit)
{
	struct progress *progress = progress_of(wait->relay);
	usec_t age = clock_now() - wait->since;
	if (progress == NULL)
		return;
	progress->under_way += wait->messages;
	if (wait->stage == STAGE_POOL)
		progress->waiting += wait->messages;
	if (wait->stage == STAGE_BODY && age < JUST_NOW)
		progress->outcome = clock_now();
	progress->soon |= at_relay(wait->stage) && age >= limit - limit / 4;
	if (age > progress->longest) {
		progress->longest = age;
		progress->stage = wait->stage;
	}
}

void watch_note(struct watch *watch, const struct wait *wait, usec_t limit)
{
	if (wait->stage == STAGE_POOL)
		watch->waiting += wait->messages;
	if (wait->stage >= STAGE_INGEST && wait->stage < STAGE_COUNT)
		watch->under_way += wait->messages;
	note_progress(wait, limit);
	if (clock_now() - wait->since >= limit)
		add(watch, wait, limit);
}

/* ---- the MTA's queue ---- */

/* Every session that the MTA has is at work, and nothing waits for a connection: it could bring more. */
static void note_crowd(const struct watch *watch, unsigned sessions)
{
	bool crowded = sessions > 0 && watch->waiting == 0 && watch->under_way >= sessions;
	crowded_looks = (uint16_t)(crowded_looks << 1 | crowded);
}

/* At nearly every look lately: between two messages a session has none, and a look may meet that. */
static bool is_crowded(void)
{
	return __builtin_popcount(crowded_looks) >= CROWDED_MOST;
}

void watch_queue(struct watch *watch, usec_t limit, unsigned sessions)
{
	struct wait wait = {.relay = "-", .stage = STAGE_QUEUE, .cause = CAUSE_MANAGER};
	usec_t now = clock_now();
	note_crowd(watch, sessions);
	if (!journeys_queued(&wait.messages, &wait.since, &wait.queue_id) || now - wait.since < limit)
		return;
	if (watch->under_way == 0 && now - arrived >= limit) {
		add(watch, &wait, limit);
	} else if (is_crowded()) {
		wait.cause = CAUSE_PROCESSES;
		add(watch, &wait, limit);
	}
}

/* ---- progress ---- */

static bool has_overdue(const struct watch *watch, const char *relay)
{
	for (size_t i = 0; i < watch->count; i++)
		if (strcmp(watch->overdue[i].relay, relay) == 0)
			return true;
	return false;
}

/* As long as the slowest usual way takes, twice. */
static usec_t progress_limit(const char *relay)
{
	usec_t limit = 2 * (stall_limit(relay, STAGE_POOL) + stall_limit(relay, STAGE_REPLY));
	return limit > NO_PROGRESS ? limit : NO_PROGRESS;
}

void watch_progress(struct watch *watch)
{
	usec_t now = clock_now();
	LIST_EACH (node, next, &relays) {
		struct progress *relay = LIST_ENTRY_OF(node, struct progress, node);
		if (relay->under_way == 0) {
			relay->busy_since = -1;
			continue;
		}
		if (relay->busy_since < 0)
			relay->busy_since = now;
		usec_t since = relay->outcome > relay->busy_since ? relay->outcome : relay->busy_since;
		usec_t limit = progress_limit(relay->relay);
		if (now - since < limit || has_overdue(watch, relay->relay) || watch->open_at(relay->relay))
			continue;
		const struct wait wait = {.relay = relay->relay,
					  .stage = relay->stage,
					  .cause = CAUSE_PROGRESS,
					  .since = since,
					  .messages = relay->under_way,
					  .queue_id = ""};
		add(watch, &wait, limit);
	}
}

/* ---- what only follows ---- */

static struct overdue *overdue_at(struct watch *watch, const char *relay)
{
	for (size_t i = 0; i < watch->count; i++)
		if (at_relay(watch->overdue[i].stage) && watch->overdue[i].cause != CAUSE_PROGRESS &&
		    (relay == NULL || strcmp(watch->overdue[i].relay, relay) == 0))
			return &watch->overdue[i];
	return NULL;
}

/*
 * A full pool behind a relay that does not answer, a queue behind a full pool, a set-up that nobody waits for. Who
 * waits in the pool often began a moment before what it waits for: that is told then, if it is about to be over its
 * limit.
 */
static bool follows(struct watch *watch, const struct overdue *overdue)
{
	const struct progress *progress = progress_of(overdue->relay);
	bool full = overdue->cause == CAUSE_CAP || overdue->cause == CAUSE_TURN || overdue->cause == CAUSE_SETUP ||
		    overdue->cause == CAUSE_SLOT;
	if (overdue->stage == STAGE_POOL && full && progress != NULL)
		return overdue_at(watch, overdue->relay) != NULL || watch->open_at(overdue->relay) || progress->soon;
	if (overdue->stage == STAGE_QUEUE)
		return overdue_at(watch, NULL) != NULL || watch->open_at(NULL) || watch->waiting > 0;
	bool set_up = overdue->stage >= STAGE_DNS && overdue->stage <= STAGE_AUTH;
	return set_up && progress != NULL && progress->waiting == 0;
}

void watch_leave_out_consequences(struct watch *watch)
{
	bool leave[OVERDUE_MAX];
	size_t kept = 0;
	for (size_t i = 0; i < watch->count; i++)
		leave[i] = follows(watch, &watch->overdue[i]);
	for (size_t i = 0; i < watch->count; i++) {
		struct overdue *overdue = &watch->overdue[i];
		const struct progress *progress = progress_of(overdue->relay);
		if (!leave[i] && at_relay(overdue->stage) && overdue->cause != CAUSE_PROGRESS && progress != NULL)
			overdue->messages += progress->waiting; /* they wait for the same */
	}
	for (size_t i = 0; i < watch->count; i++)
		if (!leave[i])
			watch->overdue[kept++] = watch->overdue[i];
	watch->count = kept;
}

/* ---- between the looks ---- */

void watch_heed(const struct event *event)
{
	if (event->kind == EVENT_ARRIVED)
		arrived = event->at;
	if (event->kind != EVENT_OUTCOME)
		return;
	struct progress *progress = progress_of(event->relay);
	if (progress != NULL)
		progress->outcome = event->at;
}

void watch_forget(void)
{
	LIST_EACH (node, next, &relays) {
		struct progress *relay = LIST_ENTRY_OF(node, struct progress, node);
		list_remove(&relay->node);
		free(relay->relay);
		free(relay);
	}
	arrived = -1;
	crowded_looks = 0;
}
