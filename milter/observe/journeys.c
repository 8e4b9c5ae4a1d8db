/*
 * The journeys of messages by queue id. Called through base/publish.h, by stall's tick, and by ctl. What the door noted
 * of a message waits here for its outcome; each outcome is kept with it. Bounded: the oldest goes first, and is
 * counted.
 */
#include <config.h>

#include "observe/journeys.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/journey.h"
#include "base/mem.h"
#include "base/publish.h"
#include "observe/door.h"
#include "observe/latency.h"
#include "smtp/reply.h"

#define KEPT 4096                         /* settled journeys, and as many that are not */
#define BUCKETS 4096                      /* of the table by queue id */
#define PASSING_KEPT (600 * USEC_PER_SEC) /* a message that has not come by then is one that stays here */
#define QUEUED_KEPT (3600 * USEC_PER_SEC) /* by then it was taken away, or what is newer shows the same */
#define STRANGERS_MOST 8                  /* so many ids in a row that the door did not note */
#define LOOK_INTERVAL USEC_PER_SEC
#define TEXT_MAX 256 /* octets of a verdict */
/* A time in the queue that differs by more from what the message itself says is another message's of the same id. */
#define SAME_QUEUE_TIME (60 * USEC_PER_SEC)

/* A message at the door, on one of the lists by what is known of it, or an outcome, in the ring. All have a bucket. */
struct entry {
	struct list node, bucket;
	struct door_note note; /* queue_id alone is sure: ended -1 if the door saw nothing */
	usec_t arrived;        /* clock_now() at MAIL over LMTP; -1: not yet */

	/* settled only */
	char *relay, *host, *text;
	struct journey journey;
	int64_t at;
	enum status status;
	enum cause held_by;
	bool ambiguous;
	unsigned recipients, connection, use;
};

static struct list buckets[BUCKETS];
static struct entry *settled[KEPT]; /* a ring: to count a list of thousands for each message would cost too much */
static size_t settled_next;
static struct list queued = {&queued, &queued};    /* known to come to us, not yet seen; oldest first */
static struct list passing = {&passing, &passing}; /* perhaps local, or under way here; oldest first */
static unsigned strangers;                         /* arrivals in a row whose id the door did not note */
static usec_t brought; /* the latest end of message at the door of those that have come to us */
static usec_t looked;  /* clock_now() when the old ones were taken away last */
static struct journey_counts counts;

/* ---- the table ---- */

static struct list *bucket_of(const char *queue_id)
{
	uint32_t hash = 2166136261u; /* FNV-1a */
	for (const char *c = queue_id; *c != '\0'; c++)
		hash = (hash ^ (unsigned char)*c) * 16777619u;
	return &buckets[hash % BUCKETS];
}

static void entry_free(struct entry *entry)
{
	list_remove(&entry->node);
	list_remove(&entry->bucket);
	free(entry->relay);
	free(entry->host);
	free(entry->text);
	free(entry);
}

static struct entry *first_of(const struct list *list)
{
	return list_empty(list) ? NULL : LIST_ENTRY_OF(list->next, struct entry, node);
}

/* Newest first in its bucket. */
static struct entry *entry_create(struct list *list, const char *queue_id)
{
	struct entry *entry = mem_alloc(sizeof *entry);
	strncpy(entry->note.queue_id, queue_id, sizeof entry->note.queue_id - 1);
	entry->note.client = entry->note.mta = entry->note.ended = entry->arrived = -1;
	list_init(&entry->node);
	list_init(&entry->bucket);
	if (list != NULL)
		list_append(list, &entry->node);
	list_prepend(bucket_of(queue_id), &entry->bucket);
	return entry;
}

static struct entry *find(const char *queue_id)
{
	LIST_EACH (node, next, bucket_of(queue_id)) {
		struct entry *entry = LIST_ENTRY_OF(node, struct entry, bucket);
		if (strcmp(entry->note.queue_id, queue_id) == 0)
			return entry;
	}
	return NULL;
}

static bool is_settled(const struct entry *entry)
{
	return entry->relay != NULL;
}

/* ---- what the door noted ---- */

static void take_note(const struct door_note *note, void *unused)
{
	(void)unused;
	const struct entry *known = find(note->queue_id);
	latency_note("-", STAGE_CLIENT, note->client);
	latency_note("-", STAGE_MTA, note->mta);
	if (known != NULL && is_settled(known) && known->arrived >= note->ended)
		return; /* too late: it has come and gone, and waits in no queue */
	struct entry *entry = entry_create(note->outbound ? &queued : &passing, note->queue_id);
	entry->note = *note;
}

/* Since when it has been on its list. */
static usec_t listed(const struct entry *entry)
{
	return entry->arrived >= 0 ? entry->arrived : entry->note.ended;
}

/* Those that have waited here for too long, or are too many. One that has come to us is settled soon. */
static void expire(struct list *list, usec_t kept)
{
	size_t count = list_count(list);
	struct entry *entry;
	for (; (entry = first_of(list)) != NULL; count--) {
		bool old = clock_now() - listed(entry) > kept;
		if (!old && count <= KEPT)
			return;
		if (entry->arrived < 0)
			*(old ? &counts.expired : &counts.lost) += 1;
		entry_free(entry);
	}
}

void journeys_catch_up(void)
{
	counts.lost += door_take_notes(take_note, NULL);
	if (clock_now() - looked < LOOK_INTERVAL)
		return;
	looked = clock_now();
	expire(&passing, PASSING_KEPT);
	expire(&queued, QUEUED_KEPT);
}

/* The newest entry of a message, the door asked if need be. */
static struct entry *look_up(const char *queue_id)
{
	struct entry *entry = find(queue_id);
	if (entry == NULL || is_settled(entry)) {
		journeys_catch_up();
		entry = find(queue_id);
	}
	return entry;
}

/* ---- what happens here ---- */

/*
 * Behind a content filter mail comes back under another id: what the door noted never comes, and waits in no queue. So
 * only where ids have been seen to come is one that does not come missed.
 */
static bool ids_come(void)
{
	return brought >= 0 && strangers < STRANGERS_MOST;
}

static void on_arrived(const struct message *message)
{
	struct entry *entry = *message->queue_id != '\0' ? look_up(message->queue_id) : NULL;
	strangers += entry == NULL && *message->queue_id != '\0';
	if (entry == NULL || is_settled(entry) || entry->arrived >= 0)
		return;
	strangers = 0;
	entry->arrived = message->arrived;
	list_remove(&entry->node);
	list_append(&passing, &entry->node);
	if (brought < entry->note.ended)
		brought = entry->note.ended;
	if (entry->note.ended >= 0)
		latency_note("-", STAGE_QUEUE, message->arrived - entry->note.ended);
}

static bool saw_all(const struct journey *journey)
{
	static const enum stage always[] = {STAGE_CLIENT, STAGE_MTA,  STAGE_QUEUE, STAGE_INGEST, STAGE_POOL,
					    STAGE_MAIL,   STAGE_RCPT, STAGE_DATA,  STAGE_BODY,   STAGE_REPLY};
	for (size_t i = 0; i < sizeof always / sizeof always[0]; i++)
		if (journey->spent[always[i]] < 0 && always[i] != STAGE_DATA) /* there is none with BDAT */
			return false;
	return true;
}

/* Ids are used again, and what is local has no note: the message's own time in the queue tells. */
static bool is_of(const struct entry *before, const struct message *message)
{
	usec_t in_queue = message->arrived - before->note.ended, said = message->queue_time;
	return before->note.ended >= 0 && in_queue >= 0 &&
	       (said < 0 || (in_queue - said <= SAME_QUEUE_TIME && said - in_queue <= SAME_QUEUE_TIME));
}

/* The stages before ours, from what the door noted; of a message that is tried again all of its time in the queue. */
static void add_door(struct entry *entry, const struct entry *before, const struct message *message)
{
	usec_t in_queue = message->queue_time;
	if (before != NULL && is_of(before, message)) {
		entry->note = before->note;
		in_queue = message->arrived - before->note.ended;
		journey_add(&entry->journey, STAGE_CLIENT, before->note.client);
		journey_add(&entry->journey, STAGE_MTA, before->note.mta);
	}
	journey_add(&entry->journey, STAGE_QUEUE, in_queue);
}

static void on_outcome(const struct event *event)
{
	const struct message *message = event->message;
	char text[TEXT_MAX];
	if (message == NULL || event->journey == NULL || *message->queue_id == '\0')
		return;
	struct entry *before = look_up(message->queue_id); /* it may be in the ring: not freed before it is read */
	struct entry *entry = entry_create(NULL, message->queue_id);
	entry->journey = *event->journey;
	add_door(entry, before, message);
	entry->arrived = message->arrived;
	entry->relay = mem_strdup(event->relay);
	entry->host = mem_strdup(event->host);
	entry->text = mem_strdup(reply_line(event->reply, text, sizeof text));
	entry->at = clock_wall();
	entry->status = event->status;
	entry->held_by = event->held_by;
	entry->ambiguous = event->ambiguous;
	entry->recipients = event->recipients;
	entry->connection = event->connection;
	entry->use = event->use;
	*(saw_all(&entry->journey) ? &counts.seen : &counts.partial) += 1;
	if (before != NULL && !is_settled(before))
		entry_free(before);
	if (settled[settled_next] != NULL)
		entry_free(settled[settled_next]);
	settled[settled_next] = entry;
	settled_next = (settled_next + 1) % KEPT;
}

static void on_event(const struct event *event)
{
	if (event->kind == EVENT_ARRIVED)
		on_arrived(event->message);
	else if (event->kind == EVENT_OUTCOME)
		on_outcome(event);
}

/* ---- asked ---- */

/* The wall clock now, less what has passed since. */
static int64_t wall_of(usec_t then)
{
	return clock_wall() - (clock_now() - then);
}

static void view_entry(const struct entry *entry, struct journey_view *view)
{
	*view = (struct journey_view){
		.queue_id = entry->note.queue_id,
		.relay = is_settled(entry) ? entry->relay : "-",
		.host = is_settled(entry) ? entry->host : "-",
		.settled = is_settled(entry),
		.held_by = CAUSE_COUNT,
	};
	if (is_settled(entry)) {
		view->journey = entry->journey;
		view->at = entry->at;
		view->status = entry->status;
		view->ambiguous = entry->ambiguous;
		view->recipients = entry->recipients;
		view->connection = entry->connection;
		view->use = entry->use;
		view->held_by = entry->held_by;
		view->text = entry->text;
	} else {
		journey_init(&view->journey);
		journey_add(&view->journey, STAGE_CLIENT, entry->note.client);
		journey_add(&view->journey, STAGE_MTA, entry->note.mta);
		journey_enter(&view->journey, STAGE_QUEUE, entry->note.ended);
		journey_enter(&view->journey, STAGE_COUNT, entry->arrived >= 0 ? entry->arrived : clock_now());
		view->at = wall_of(entry->note.ended);
		view->outbound = entry->note.outbound;
	}
	view->total = journey_total(&view->journey);
}

bool journeys_find(const char *queue_id, void (*fn)(const struct journey_view *view, void *arg), void *arg)
{
	bool found = false;
	journeys_catch_up();
	LIST_EACH (node, next, bucket_of(queue_id)) {
		const struct entry *entry = LIST_ENTRY_OF(node, struct entry, bucket);
		if (strcmp(entry->note.queue_id, queue_id) != 0)
			continue;
		struct journey_view view;
		view_entry(entry, &view);
		fn(&view, arg);
		found = true;
	}
	return found;
}

/*
 * Sendmail's ids: six characters of the time in seconds, two that count up in the process, and the process; the count
 * is in ASCII order.
 */
#define SENDMAIL_COUNT 6
#define SENDMAIL_PROCESS 8
#define SENDMAIL_SHORTEST 13

static bool same_process(const char *one, const char *other)
{
	size_t length = strlen(one);
	return length >= SENDMAIL_SHORTEST &&
	       strspn(one + SENDMAIL_PROCESS, "0123456789") == length - SENDMAIL_PROCESS &&
	       strncmp(one, other, SENDMAIL_COUNT) == 0 && strlen(other) == length &&
	       strcmp(one + SENDMAIL_PROCESS, other + SENDMAIL_PROCESS) == 0;
}

bool journeys_original(const char *queue_id, char *original, size_t size)
{
	const char *nearest = NULL;
	for (size_t i = 0; i < BUCKETS; i++) {
		LIST_EACH (node, next, &buckets[i]) {
			const char *known = LIST_ENTRY_OF(node, struct entry, bucket)->note.queue_id;
			if (same_process(queue_id, known) && strcmp(known, queue_id) < 0 &&
			    (nearest == NULL || strcmp(known, nearest) > 0))
				nearest = known;
		}
	}
	if (nearest != NULL)
		snprintf(original, size, "%s", nearest);
	return nearest != NULL;
}

bool journeys_queued(unsigned *count, usec_t *since, const char **queue_id)
{
	const struct entry *oldest = NULL;
	*count = 0;
	if (!ids_come())
		return false;
	/* What newer ones have overtaken is on hold, or its destination is deferred: nobody is about to bring it. */
	for (const struct list *node = queued.next; node != &queued; node = node->next) {
		const struct entry *entry = LIST_ENTRY_OF(node, const struct entry, node);
		if (entry->note.ended <= brought)
			continue;
		if (oldest == NULL || entry->note.ended < oldest->note.ended)
			oldest = entry;
		++*count;
	}
	if (oldest == NULL)
		return false;
	*since = oldest->note.ended;
	*queue_id = oldest->note.queue_id;
	return true;
}

struct journey_counts journeys_counts(void)
{
	return counts;
}

/* ---- for main ---- */

void journeys_start(void)
{
	for (size_t i = 0; i < BUCKETS; i++)
		list_init(&buckets[i]);
	counts = (struct journey_counts){0};
	looked = clock_now();
	brought = -1;
	strangers = 0;
	publish_subscribe(on_event);
}

void journeys_stop(void)
{
	struct list *lists[] = {&queued, &passing};
	for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
		while (!list_empty(lists[i]))
			entry_free(first_of(lists[i]));
	for (size_t i = 0; i < KEPT; i++) {
		if (settled[i] != NULL)
			entry_free(settled[i]);
		settled[i] = NULL;
	}
}
