/*
 * Writes one line per outcome, and lines for what happens to connections and relays (DESIGN section 6).
 * Called through base/publish.h on the loop thread; never calls the rooms that publish, never waits.
 */
#include <config.h>

#include "observe/outcome.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/log_limit.h"
#include "base/mem.h"
#include "base/publish.h"
#include "base/spool.h"
#include "seconds.h"
#include "sieve.h"
#include "smtp/reply.h"

#define TEXT_MAX 512                    /* octets of a reply or a reason in one line */
#define REPEAT_TIME (60 * USEC_PER_SEC) /* the same failure of the same relay is not written more often */
#define FAILURES_MAX 64                 /* kept in mind at once; the oldest is forgotten first */

/* "-" for what was not observed. */
static const char *known(const char *text)
{
	return text == NULL || *text == '\0' ? "-" : text;
}

static const char *number(uint64_t value, bool observed, char out[SECONDS_SIZE])
{
	if (!observed)
		return "-";
	snprintf(out, SECONDS_SIZE, "%llu", (unsigned long long)value);
	return out;
}

/* ---- what became of recipients ---- */

static void write_outcome(const struct event *event)
{
	char conn[SECONDS_SIZE], use[SECONDS_SIZE], size[SECONDS_SIZE], total[SECONDS_SIZE], queue[SECONDS_SIZE];
	char pool[SECONDS_SIZE], setup[SECONDS_SIZE], transfer[SECONDS_SIZE], dsn[12], text[TEXT_MAX];
	const struct message *message = event->message;
	bool connected = event->connection != 0, has_body = message->body != NULL;
	log_info(
		"%s: relay=%s, host=%s, conn=%s, conn_use=%s, nrcpt=%u, size=%s, delay=%s, delays=%s/%s/%s/%s, dsn=%s, "
		"status=%s (%s)",
		known(message->queue_id), known(event->relay), known(event->host),
		number(event->connection, connected, conn), number(event->use, connected, use), event->recipients,
		number(has_body ? spool_size(message->body) : 0, has_body, size), seconds_short(event->delay, total),
		seconds_short(event->delays.queue, queue), seconds_short(event->delays.pool, pool),
		seconds_short(event->delays.setup, setup), seconds_short(event->delays.transfer, transfer),
		reply_dsn(event->reply, dsn), status_names[event->status], reply_line(event->reply, text, sizeof text));
}

/* What the relay room says begins with the host, for those who get the text alone; in these lines it is a key. */
static const char *without_host(const char *text, const char *host)
{
	size_t length = strlen(host);
	if (strncmp(text, host, length) != 0)
		return text;
	if (text[length] == ':')
		length++;
	return text[length] == ' ' ? text + length + 1 : text;
}

/* ---- connections that could not be set up: the same line at most once a minute ---- */

/* One failure of one relay, lately written. On `failures`, the oldest first; `timer` is armed all the time. */
struct failure {
	struct list node;
	struct timer timer;
	char *relay;
	char *host; /* of the last time */
	char *text;
	unsigned held_back; /* how often it happened since it was last written */
	usec_t last;        /* when it happened last */
};
static struct list failures = {&failures, &failures};

static void write_failure(const struct failure *failure, unsigned count)
{
	char age[SECONDS_SIZE];
	log_warning("connection: relay=%s, event=failed, host=%s, count=%u, age=%s (%.*s)", failure->relay,
		    failure->host, count, seconds_short(clock_now() - failure->last, age), TEXT_MAX,
		    without_host(failure->text, failure->host));
}

static void write_held_back(struct failure *failure)
{
	if (failure->held_back > 0)
		write_failure(failure, failure->held_back);
	failure->held_back = 0;
}

static void forget_failure(struct failure *failure)
{
	write_held_back(failure);
	timer_cancel(&failure->timer);
	list_remove(&failure->node);
	free(failure->relay);
	free(failure->host);
	free(failure->text);
	free(failure);
}

/* A minute has passed since the failure was last written. */
static void failure_due(void *arg)
{
	struct failure *failure = arg;
	if (failure->held_back == 0) {
		forget_failure(failure);
		return;
	}
	write_held_back(failure);
	timer_arm(&failure->timer, REPEAT_TIME);
}

/* Before it is told that the relay works: what comes after that would look new. */
static void tell_before_up(const char *relay)
{
	LIST_EACH (node, next, &failures) {
		struct failure *failure = LIST_ENTRY_OF(node, struct failure, node);
		if (strcmp(failure->relay, relay) == 0)
			write_held_back(failure);
	}
}

static struct failure *find_failure(const char *relay, const char *text)
{
	LIST_EACH (node, next, &failures) {
		struct failure *failure = LIST_ENTRY_OF(node, struct failure, node);
		if (strcmp(failure->relay, relay) == 0 && strcmp(failure->text, text) == 0)
			return failure;
	}
	return NULL;
}

static void note_failure(const struct event *event)
{
	static struct log_limit limit = LOG_LIMIT_OF("connection", 1, FAILURES_MAX);
	const char *relay = known(event->relay), *text = known(event->text);
	struct failure *failure = find_failure(relay, text);
	if (failure != NULL) {
		free(failure->host);
		failure->host = mem_strdup(known(event->host));
		failure->held_back++;
		failure->last = event->at;
		return;
	}
	/* A relay that never says the same twice: its lines would have no end. */
	if (!log_limit_passes(&limit, NULL))
		return;
	if (list_count(&failures) == FAILURES_MAX)
		forget_failure(LIST_ENTRY_OF(failures.next, struct failure, node));
	failure = mem_alloc(sizeof *failure);
	failure->relay = mem_strdup(relay);
	failure->host = mem_strdup(known(event->host));
	failure->text = mem_strdup(text);
	failure->last = event->at;
	timer_init(&failure->timer, "log the same failure again", failure_due, failure);
	timer_arm(&failure->timer, REPEAT_TIME);
	list_append(&failures, &failure->node);
	write_failure(failure, 1);
}

/* ---- everything else ---- */

/* " (why)", or nothing if there is nothing to say. */
static const char *reason(const struct event *event, char out[TEXT_MAX])
{
	out[0] = '\0';
	if (event->text != NULL && *event->text != '\0')
		snprintf(out, TEXT_MAX, " (%.*s)", TEXT_MAX - 4, without_host(event->text, known(event->host)));
	return out;
}

/* `added`: the keys that only this event has. */
static void write_connection(const struct event *event, const char *what, const char *added)
{
	char why[TEXT_MAX];
	log_debug("connection: relay=%s, event=%s, conn=%u, host=%s%s%s", known(event->relay), what, event->connection,
		  known(event->host), added, reason(event, why));
}

static void write_event(const struct event *event)
{
	char added[64], took[SECONDS_SIZE], why[TEXT_MAX];
	switch (event->kind) {
	case EVENT_OUTCOME:
		if (sieve_passes(event))
			write_outcome(event);
		break;
	case EVENT_CONNECTION_OPENED:
		snprintf(added, sizeof added, ", setup=%s", seconds_short(event->took, took));
		write_connection(event, "opened", added);
		break;
	case EVENT_CONNECTION_CLOSED:
		snprintf(added, sizeof added, ", conn_use=%u", event->use);
		write_connection(event, "closed", added);
		break;
	case EVENT_CONNECTION_FAILED:
		if (event->text != NULL)
			note_failure(event);
		break;
	case EVENT_ARRIVED: /* its outcome says all */
		break;
	case EVENT_REPLAYED:
		write_connection(event, "replayed", "");
		break;
	case EVENT_RELAY_DOWN:
		log_warning("relay: relay=%s, event=down%s", known(event->relay), reason(event, why));
		break;
	case EVENT_RELAY_UP:
		tell_before_up(known(event->relay));
		log_notice("relay: relay=%s, event=up%s", known(event->relay), reason(event, why));
		break;
	case EVENT_KINDS:
		break;
	}
}

void outcome_start(void)
{
	publish_subscribe(write_event);
}

void outcome_configure(const struct conf *conf)
{
	sieve_configure(conf);
}

unsigned long outcome_left_out(void)
{
	return sieve_left_out();
}

void outcome_stop(void)
{
	sieve_stop();
	while (!list_empty(&failures))
		forget_failure(LIST_ENTRY_OF(failures.next, struct failure, node));
}
