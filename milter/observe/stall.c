/*
 * Stalls. A tick four times a second asks the rooms what they wait for, puts what is over its limit and has one cause
 * together, and leaves out what only follows from another stall. Called by the clock and through base/publish.h; read
 * by ctl and metrics. It changes nothing in the rooms.
 */
#include <config.h>

#include "observe/stall.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/publish.h"
#include "observe/door.h"
#include "observe/journeys.h"
#include "stall_watch.h"

#define TICK (250 * USEC_PER_MSEC)
#define LATE USEC_PER_SEC /* a tick that comes so late was held up by ourselves, and everything with it */
#define PAST_KEPT 256
/* A stall has ended when nothing was over its limit for so long: what flickers is one stall. */
#define CALM_LEAST (2 * USEC_PER_SEC)
#define CALM_MOST (10 * USEC_PER_SEC)

/* On `open` or `past`. */
struct stall {
	struct list node;
	unsigned id;
	char *relay;
	enum stage stage;
	enum cause cause;
	usec_t since, seen, limit; /* clock_now() when the wait began, and when it was last over its limit */
	unsigned waiting;          /* messages, when one looked last */
	unsigned most;             /* … at most */
	unsigned finished;         /* messages that it held up and that have their outcome */
	char queue_id[64];
};

static struct list open_stalls = {&open_stalls, &open_stalls};
static struct list past = {&past, &past}; /* newest first */
static unsigned last_id;
static unsigned long begun[STAGE_COUNT + 1][HOLDER_COUNT];
static stall_waits_fn *ask_rooms;
static stall_sessions_fn *ask_sessions;
static struct timer tick;
static usec_t tick_due;

/* ---- a stall's life ---- */

static double in_seconds(usec_t time)
{
	return (double)time / (double)USEC_PER_SEC;
}

static struct stall *begin(const struct overdue *overdue)
{
	enum holder holder = cause_holders[overdue->cause];
	struct stall *stall = mem_alloc(sizeof *stall);
	stall->id = ++last_id;
	stall->relay = mem_strdup(overdue->relay);
	stall->stage = overdue->stage;
	stall->cause = overdue->cause;
	stall->since = overdue->since;
	stall->limit = overdue->limit;
	memcpy(stall->queue_id, overdue->queue_id, sizeof stall->queue_id);
	list_prepend(&open_stalls, &stall->node);
	begun[stall->stage][holder]++;
	log_warning("stall: event=begin, id=%u, relay=%s, stage=%s, holder=%s, age=%.1f, limit=%.1f, waiting=%u, "
		    "cause=%s",
		    stall->id, stall->relay, stage_names[stall->stage], holder_names[holder],
		    in_seconds(clock_now() - stall->since), in_seconds(stall->limit), overdue->messages,
		    cause_names[stall->cause]);
	return stall;
}

static void stall_free(struct stall *stall)
{
	list_remove(&stall->node);
	free(stall->relay);
	free(stall);
}

/* How many messages, in all: as many as were seen to wait at once, at least. */
static unsigned held_up(const struct stall *stall)
{
	unsigned known = stall->finished + stall->waiting;
	return known > stall->most ? known : stall->most;
}

static void end(struct stall *stall)
{
	stall->waiting = 0;
	log_notice("stall: event=end, id=%u, relay=%s, stage=%s, holder=%s, age=%.1f, messages=%u, cause=%s", stall->id,
		   stall->relay, stage_names[stall->stage], holder_names[cause_holders[stall->cause]],
		   in_seconds(stall->seen - stall->since), held_up(stall), cause_names[stall->cause]);
	list_remove(&stall->node);
	list_prepend(&past, &stall->node);
	if (list_count(&past) > PAST_KEPT)
		stall_free(LIST_ENTRY_OF(past.prev, struct stall, node));
}

/* There is room on no connection: of this the cause may change from one look to the next. */
static bool is_room(enum cause cause)
{
	return cause == CAUSE_CAP || cause == CAUSE_TURN || cause == CAUSE_SLOT || cause == CAUSE_SETUP;
}

/*
 * Where there is no progress, the stage that lasts longest is now this, now that. In the pool a set-up only follows
 * what was waited for before.
 */
static bool is_of(const struct stall *stall, const struct overdue *overdue)
{
	if (strcmp(stall->relay, overdue->relay) != 0)
		return false;
	if (overdue->cause == CAUSE_PROGRESS)
		return stall->cause == CAUSE_PROGRESS;
	if (stall->stage != overdue->stage)
		return false;
	if (overdue->stage == STAGE_POOL && is_room(overdue->cause))
		return is_room(stall->cause) || overdue->cause == CAUSE_SETUP;
	return stall->cause == overdue->cause;
}

static struct stall *find(const struct overdue *overdue)
{
	LIST_EACH (node, next, &open_stalls) {
		struct stall *stall = LIST_ENTRY_OF(node, struct stall, node);
		if (is_of(stall, overdue))
			return stall;
	}
	return NULL;
}

static void meet(const struct overdue *overdue)
{
	struct stall *stall = find(overdue);
	if (stall == NULL)
		stall = begin(overdue);
	if (is_room(stall->cause) && overdue->cause != CAUSE_SETUP)
		stall->cause = overdue->cause;
	stall->seen = clock_now();
	stall->waiting = overdue->messages;
	if (stall->most < stall->waiting)
		stall->most = stall->waiting;
}

static usec_t calm_of(const struct stall *stall)
{
	return stall->limit < CALM_LEAST ? CALM_LEAST : stall->limit > CALM_MOST ? CALM_MOST : stall->limit;
}

static void end_what_is_over(void)
{
	LIST_EACH (node, next, &open_stalls) {
		struct stall *stall = LIST_ENTRY_OF(node, struct stall, node);
		if (clock_now() - stall->seen >= calm_of(stall))
			end(stall);
	}
}

/* ---- the tick ---- */

static bool open_at(const char *relay)
{
	LIST_EACH (node, next, &open_stalls) {
		const struct stall *stall = LIST_ENTRY_OF(node, struct stall, node);
		if (stall->stage >= STAGE_DNS && stall->stage < STAGE_COUNT && stall->cause != CAUSE_PROGRESS &&
		    (relay == NULL || strcmp(stall->relay, relay) == 0))
			return true;
	}
	return false;
}

/* What is held up lasts for as long as it would be told of now: what is learned meanwhile does not end it. */
static usec_t limit_in_force(const char *relay, enum stage stage)
{
	usec_t limit = stall_limit(relay, stage);
	LIST_EACH (node, next, &open_stalls) {
		const struct stall *stall = LIST_ENTRY_OF(node, struct stall, node);
		if (stall->stage == stage && stall->limit < limit && strcmp(stall->relay, relay) == 0)
			limit = stall->limit;
	}
	return limit;
}

static void on_wait(const struct wait *wait, void *arg)
{
	watch_note(arg, wait, limit_in_force(wait->relay, wait->stage));
}

/* Whatever lasts seems longer by what we were late: only that is told. */
static void note_own_delay(struct watch *watch, usec_t due)
{
	const struct wait wait = {
		.relay = "-", .stage = STAGE_COUNT, .cause = CAUSE_LOOP, .since = due, .queue_id = ""};
	watch_note(watch, &wait, LATE);
}

static void look(struct watch *watch)
{
	if (ask_rooms != NULL)
		ask_rooms(on_wait, watch);
	door_each_wait(on_wait, watch);
	watch_queue(watch, limit_in_force("-", STAGE_QUEUE), ask_sessions != NULL ? ask_sessions() : 0);
	watch_progress(watch);
	watch_leave_out_consequences(watch);
	LIST_EACH (node, next, &open_stalls)
		LIST_ENTRY_OF(node, struct stall, node)->waiting = 0;
}

static void on_tick(void *unused)
{
	(void)unused;
	bool late = clock_now() - tick_due >= LATE;
	struct watch watch;
	watch_begin(&watch, open_at);
	journeys_catch_up();
	if (late)
		note_own_delay(&watch, tick_due);
	else
		look(&watch);
	for (size_t i = 0; i < watch.count; i++)
		meet(&watch.overdue[i]);
	if (!late && watch.count < OVERDUE_MAX) /* else one has not seen all that still lasts */
		end_what_is_over();
	tick_due = clock_now() + TICK;
	timer_arm(&tick, TICK);
}

/* Who was held up and has its outcome is counted, besides those who wait when one looks. */
static void on_event(const struct event *event)
{
	watch_heed(event);
	if (event->kind != EVENT_OUTCOME || event->journey == NULL || event->repeated)
		return;
	LIST_EACH (node, next, &open_stalls) {
		struct stall *stall = LIST_ENTRY_OF(node, struct stall, node);
		bool here = strcmp(stall->relay, stall->stage == STAGE_INGEST ? "-" : event->relay) == 0 &&
			    stall->stage < STAGE_COUNT;
		if (!here || event->journey->spent[stall->stage] < stall->limit)
			continue;
		stall->finished++;
		stall->waiting -= stall->waiting > 0;
	}
}

/* ---- asked ---- */

static void view_stall(const struct stall *stall, bool open, void (*fn)(const struct stall_view *, void *), void *arg)
{
	const struct stall_view view = {
		.id = stall->id,
		.relay = stall->relay,
		.stage = stall->stage,
		.cause = stall->cause,
		.open = open,
		.began = clock_wall() - (clock_now() - stall->since),
		.age = stall->seen - stall->since,
		.limit = stall->limit,
		.waiting = stall->waiting,
		.messages = held_up(stall),
		.queue_id = stall->queue_id,
	};
	fn(&view, arg);
}

void stall_each(void (*fn)(const struct stall_view *view, void *arg), void *arg)
{
	LIST_EACH (node, next, &open_stalls)
		view_stall(LIST_ENTRY_OF(node, struct stall, node), true, fn, arg);
	LIST_EACH (ended, next_ended, &past)
		view_stall(LIST_ENTRY_OF(ended, struct stall, node), false, fn, arg);
}

unsigned long stall_count(enum stage stage, enum holder holder)
{
	return begun[stage][holder];
}

/* ---- for main ---- */

void stall_start(stall_waits_fn *waits, stall_sessions_fn *sessions)
{
	ask_rooms = waits;
	ask_sessions = sessions;
	publish_subscribe(on_event);
	timer_init(&tick, "stalls", on_tick, NULL);
	tick_due = clock_now() + TICK;
	timer_arm(&tick, TICK);
}

void stall_stop(void)
{
	timer_cancel(&tick);
	ask_rooms = NULL;
	ask_sessions = NULL;
	while (!list_empty(&open_stalls))
		end(LIST_ENTRY_OF(open_stalls.next, struct stall, node));
	while (!list_empty(&past))
		stall_free(LIST_ENTRY_OF(past.next, struct stall, node));
	watch_forget();
	memset(begun, 0, sizeof begun);
	last_id = 0;
	stall_configure(NULL);
}
