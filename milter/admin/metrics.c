/*
 * The views of the rooms as Prometheus's text format, one family of samples after the other. Called when somebody asks
 * (answer.c, scrape.c); keeps nothing in between, counts nothing itself and never touches a socket. Text that other
 * hosts said has no place in it.
 */
#include <config.h>

#include "admin/metrics.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/spool.h"
#include "ingest/listener.h"
#include "observe/journeys.h"
#include "observe/latency.h"
#include "observe/milter.h"
#include "observe/stall.h"
#include "observe/stats.h"
#include "relay/route.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* A relay, configured or once configured. A reload may leave it two pools for a while: they are added up. */
struct relay_row {
	char *name;      /* "-": no relay was asked */
	bool configured; /* it has a pool that does not retire; all up to `oldest_wait` is its */
	bool up;
	unsigned max, max_configured;
	usec_t oldest_wait;
	unsigned opening, idle, busy, closing, lingering; /* of all its pools */
	unsigned waiting[CAUSE_COUNT];                    /* messages in the pool */
	struct stats_view stats;
};

/* Open stalls of the same kind. */
struct stall_row {
	char *relay;
	enum stage stage;
	enum holder holder;
	unsigned long open;
};

/* Everything at one moment, as far as it has to be put in order first. */
struct picture {
	const struct control_doors *doors;
	FILE *out;
	struct relay_row *relays;
	size_t relay_count;
	struct stall_row *stalls;
	size_t stall_count;
};

/* ---- looking ---- */

static struct relay_row *relay_of(struct picture *picture, const char *name)
{
	for (size_t i = 0; i < picture->relay_count; i++)
		if (strcmp(picture->relays[i].name, name) == 0)
			return &picture->relays[i];
	picture->relays = mem_realloc(picture->relays, (picture->relay_count + 1) * sizeof(*picture->relays));
	struct relay_row *row = &picture->relays[picture->relay_count++];
	*row = (struct relay_row){.name = mem_strdup(name)};
	return row;
}

static void see_pool(const struct pool_view *pool, void *arg)
{
	struct relay_row *row = relay_of(arg, pool->relay);
	const struct limit_view *limit = &pool->limits[LIMIT_CONNECTIONS];
	row->opening += pool->opening;
	row->idle += pool->idle;
	row->busy += pool->busy;
	row->closing += pool->closing;
	row->lingering += pool->lingering;
	if (pool->waiting > 0 && pool->oldest_wait > row->oldest_wait)
		row->oldest_wait = pool->oldest_wait;
	if (strcmp(pool->state, "retiring") == 0)
		return;
	row->configured = true;
	row->up = strcmp(pool->state, "down") != 0;
	row->max = limit->in_force > 0 ? (unsigned)limit->in_force : pool->max_connections;
	row->max_configured = pool->max_connections;
}

static void see_stats(const struct stats_view *stats, void *arg)
{
	relay_of(arg, stats->relay)->stats = *stats;
}

static void see_wait(const struct wait *wait, void *arg)
{
	if (wait->stage == STAGE_POOL && wait->cause < CAUSE_COUNT)
		relay_of(arg, wait->relay)->waiting[wait->cause] += wait->messages;
}

static void see_stall(const struct stall_view *stall, void *arg)
{
	struct picture *picture = arg;
	enum holder holder = cause_holders[stall->cause];
	if (!stall->open)
		return;
	for (size_t i = 0; i < picture->stall_count; i++) {
		struct stall_row *row = &picture->stalls[i];
		if (row->stage == stall->stage && row->holder == holder && strcmp(row->relay, stall->relay) == 0) {
			row->open++;
			return;
		}
	}
	picture->stalls = mem_realloc(picture->stalls, (picture->stall_count + 1) * sizeof(*picture->stalls));
	/* the view is borrowed for the call, its relay's name may be too */
	picture->stalls[picture->stall_count++] = (struct stall_row){
		.relay = mem_strdup(stall->relay), .stage = stall->stage, .holder = holder, .open = 1};
}

/* ---- writing ---- */

static void family(FILE *out, const char *name, const char *type, const char *help)
{
	fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void escaped(FILE *out, const char *value)
{
	for (; *value; value++) {
		if (*value == '\n')
			fputs("\\n", out);
		else if (*value == '\\' || *value == '"')
			fprintf(out, "\\%c", *value);
		else
			fputc(*value, out);
	}
}

/* A sample up to its value: the name, and pairs of label and value with a NULL behind them. */
static void sample(FILE *out, const char *name, ...) __attribute__((sentinel));

static void sample(FILE *out, const char *name, ...)
{
	va_list labels;
	const char *label;
	char separator = '{';
	fputs(name, out);
	va_start(labels, name);
	while ((label = va_arg(labels, const char *))) {
		fprintf(out, "%c%s=\"", separator, label);
		escaped(out, va_arg(labels, const char *));
		fputc('"', out);
		separator = ',';
	}
	va_end(labels);
	fputs(separator == ',' ? "} " : " ", out);
}

static void value(FILE *out, uint64_t number)
{
	fprintf(out, "%" PRIu64 "\n", number);
}

static void seconds(FILE *out, usec_t time)
{
	fprintf(out, "%lld.%06lld\n", (long long)(time / USEC_PER_SEC), (long long)(time % USEC_PER_SEC));
}

/* A family with one sample that has no labels. */
static void single(FILE *out, const char *name, const char *type, const char *help, uint64_t number)
{
	family(out, name, type, help);
	sample(out, name, NULL);
	value(out, number);
}

/* ---- relays ---- */

static const struct relay_row *relays_end(const struct picture *picture)
{
	return picture->relays + picture->relay_count;
}

static void relay_sample(FILE *out, const char *name, const struct relay_row *row, unsigned long number)
{
	sample(out, name, "relay", row->name, NULL);
	value(out, number);
}

static void write_connections(const struct picture *picture)
{
	static const char name[] = "relaypool_connections";
	FILE *out = picture->out;
	family(out, name, "gauge", "Sockets to a relay, by state.");
	for (const struct relay_row *row = picture->relays; row < relays_end(picture); row++) {
		const struct {
			const char *state;
			unsigned count;
		} states[] = {{"opening", row->opening},
			      {"idle", row->idle},
			      {"busy", row->busy},
			      {"closing", row->closing},
			      {"lingering", row->lingering}};
		for (size_t i = 0; i < COUNT(states) && strcmp(row->name, "-") != 0; i++) {
			sample(out, name, "relay", row->name, "state", states[i].state, NULL);
			value(out, states[i].count);
		}
	}
}

/* What a pool has that does not retire. */
static void write_gauges(const struct picture *picture)
{
	static const char max[] = "relaypool_connections_max", up[] = "relaypool_relay_up";
	static const char configured[] = "relaypool_connections_max_configured",
			  oldest[] = "relaypool_oldest_wait_seconds";
	FILE *out = picture->out;
	family(out, max, "gauge",
	       "The cap in force: max-connections, or what was learned of the relay if that is less.");
	for (const struct relay_row *row = picture->relays; row < relays_end(picture); row++)
		if (row->configured)
			relay_sample(out, max, row, row->max);
	family(out, configured, "gauge", "max-connections of a relay.");
	for (const struct relay_row *row = picture->relays; row < relays_end(picture); row++)
		if (row->configured)
			relay_sample(out, configured, row, row->max_configured);
	family(out, up, "gauge", "0 while nothing can be sent to a relay, else 1.");
	for (const struct relay_row *row = picture->relays; row < relays_end(picture); row++)
		if (row->configured)
			relay_sample(out, up, row, row->up);
	family(out, oldest, "gauge", "How long the first message that waits for a connection has; 0 if none does.");
	for (const struct relay_row *row = picture->relays; row < relays_end(picture); row++)
		if (row->configured) {
			sample(out, oldest, "relay", row->name, NULL);
			seconds(out, row->oldest_wait);
		}
}

/* A cause is shown from its first message on, so that it falls to 0 and does not vanish. */
static void write_waits(const struct picture *picture)
{
	static const char waiting[] = "relaypool_waiting_messages", waited[] = "relaypool_waited_total";
	FILE *out = picture->out;
	family(out, waiting, "gauge", "Messages that wait in the pool, by what for.");
	for (const struct relay_row *row = picture->relays; row < relays_end(picture); row++)
		for (enum cause cause = 0; cause < CAUSE_COUNT; cause++)
			if (row->waiting[cause] > 0 || row->stats.totals.waited[cause] > 0) {
				sample(out, waiting, "relay", row->name, "cause", cause_names[cause], NULL);
				value(out, row->waiting[cause]);
			}
	family(out, waited, "counter", "Messages that have waited in the pool, by what for, for the most part.");
	for (const struct relay_row *row = picture->relays; row < relays_end(picture); row++)
		for (enum cause cause = 0; cause < CAUSE_COUNT; cause++)
			if (row->waiting[cause] > 0 || row->stats.totals.waited[cause] > 0) {
				sample(out, waited, "relay", row->name, "cause", cause_names[cause], NULL);
				value(out, row->stats.totals.waited[cause]);
			}
}

static void write_verdicts(const struct picture *picture)
{
	static const char recipients[] = "relaypool_recipients_total", replies[] = "relaypool_replies_total";
	static const char *const classes[STATS_REPLIES] = {
		[STATS_REPLY_2XX] = "2xx",
		[STATS_REPLY_4XX] = "4xx",
		[STATS_REPLY_5XX] = "5xx",
		[STATS_REPLY_LOCAL] = "local",
	};
	FILE *out = picture->out;
	family(out, recipients, "counter", "Recipients that got their verdict, by status.");
	for (const struct relay_row *row = picture->relays; row < relays_end(picture); row++) {
		const unsigned long counts[STATUS_COUNT] = {
			[STATUS_SENT] = row->stats.counts.sent,
			[STATUS_DEFERRED] = row->stats.counts.deferred,
			[STATUS_BOUNCED] = row->stats.counts.bounced,
		};
		for (enum status status = 0; status < STATUS_COUNT; status++) {
			sample(out, recipients, "relay", row->name, "status", status_names[status], NULL);
			value(out, counts[status]);
		}
	}
	family(out, replies, "counter", "Final replies, by class; local: made by relaypoold, not by the relay.");
	for (const struct relay_row *row = picture->relays; row < relays_end(picture); row++)
		for (size_t i = 0; i < STATS_REPLIES; i++) {
			sample(out, replies, "relay", row->name, "class", classes[i], NULL);
			value(out, row->stats.totals.replies[i]);
		}
}

/* Counters with no label but the relay. */
static void write_counters(const struct picture *picture)
{
	static const struct {
		const char *name;
		size_t field; /* of struct stats_view, an unsigned long */
		const char *help;
	} counters[] = {
		{"relaypool_ambiguous_total", offsetof(struct stats_view, counts.ambiguous),
		 "Recipients deferred without a reply to the end of data: the relay may have taken them."},
		{"relaypool_connections_opened_total", offsetof(struct stats_view, counts.opened),
		 "Connections that were set up, authentication included."},
		{"relaypool_connections_closed_total", offsetof(struct stats_view, counts.closed),
		 "Connections that were set up and have gone."},
		{"relaypool_connections_failed_total", offsetof(struct stats_view, totals.failed),
		 "Connections that could not be set up."},
		{"relaypool_connections_reused_total", offsetof(struct stats_view, counts.reused),
		 "Messages on a connection beyond its first."},
		{"relaypool_replayed_total", offsetof(struct stats_view, totals.replayed),
		 "Messages repeated on another connection, unseen by the MTA."},
	};
	for (size_t i = 0; i < COUNT(counters); i++) {
		family(picture->out, counters[i].name, "counter", counters[i].help);
		for (const struct relay_row *row = picture->relays; row < relays_end(picture); row++) {
			unsigned long count;
			memcpy(&count, (const char *)&row->stats + counters[i].field, sizeof(count));
			relay_sample(picture->out, counters[i].name, row, count);
		}
	}
}

/* ---- stages, stalls, journeys ---- */

#define STAGE_SECONDS "relaypool_stage_seconds"

static void write_histogram(const struct latency_view *view, void *arg)
{
	FILE *out = arg;
	const char *stage = stage_names[view->stage];
	unsigned long below = 0;
	if (view->seen == 0)
		return;
	for (size_t i = 0; i < LATENCY_BUCKETS; i++) {
		char bound[32];
		snprintf(bound, sizeof(bound), "%.10g", (double)latency_bounds[i] / (double)USEC_PER_SEC);
		below += view->buckets[i];
		sample(out, STAGE_SECONDS "_bucket", "relay", view->relay, "stage", stage, "le", bound, NULL);
		value(out, below);
	}
	sample(out, STAGE_SECONDS "_bucket", "relay", view->relay, "stage", stage, "le", "+Inf", NULL);
	value(out, view->seen);
	sample(out, STAGE_SECONDS "_sum", "relay", view->relay, "stage", stage, NULL);
	seconds(out, view->sum);
	sample(out, STAGE_SECONDS "_count", "relay", view->relay, "stage", stage, NULL);
	value(out, view->seen);
}

static void write_stages(const struct picture *picture)
{
	family(picture->out, STAGE_SECONDS, "histogram", "The time that messages have spent in a stage.");
	latency_each(write_histogram, picture->out);
}

/* Every pair from the start on, so that the first stall is an increase. */
static void write_stalls(const struct picture *picture)
{
	static const char total[] = "relaypool_stalls_total", open[] = "relaypool_stalls_open";
	FILE *out = picture->out;
	family(out, total, "counter", "Stalls that began: a stage over its limit, by who kept the message waiting.");
	for (enum stage stage = 0; stage <= STAGE_COUNT; stage++) /* the last one: of no message */
		for (enum holder holder = 0; holder < HOLDER_COUNT; holder++) {
			sample(out, total, "stage", stage_names[stage], "holder", holder_names[holder], NULL);
			value(out, stall_count(stage, holder));
		}
	family(out, open, "gauge", "Stalls that last.");
	for (size_t i = 0; i < picture->stall_count; i++) {
		const struct stall_row *row = &picture->stalls[i];
		sample(out, open, "relay", row->relay, "stage", stage_names[row->stage], "holder",
		       holder_names[row->holder], NULL);
		value(out, row->open);
	}
}

static void write_journeys(const struct picture *picture)
{
	static const char journeys[] = "relaypool_journeys_total";
	struct journey_counts counts = journeys_counts();
	FILE *out = picture->out;
	family(out, journeys, "counter", "Messages with a verdict; complete: all stages from the client on were seen.");
	sample(out, journeys, "complete", "yes", NULL);
	value(out, counts.seen);
	sample(out, journeys, "complete", "no", NULL);
	value(out, counts.partial);
	single(out, "relaypool_journeys_expired_total", "counter",
	       "Messages seen at the MTA's door that never came here: local ones, for the most part.", counts.expired);
	single(out, "relaypool_journeys_lost_total", "counter",
	       "What was noted at the MTA's door and forgotten for want of room.", counts.lost);
}

/* ---- the daemon ---- */

static void write_daemon(const struct picture *picture)
{
	struct milter_counts milter = milter_counts();
	FILE *out = picture->out;
	single(out, "relaypool_sessions", "gauge", "LMTP sessions of the MTA that are open.",
	       listener_sessions(picture->doors->listener));
	single(out, "relaypool_milter_messages_total", "counter", "Messages that reached their end at the milter.",
	       milter.messages);
	single(out, "relaypool_milter_tagged_total", "counter", "Those of them that got a tag.", milter.tagged);
	single(out, "relaypool_spool_memory_bytes", "gauge", "Memory for the bodies of messages, reserved or in use.",
	       spool_memory());
	single(out, "relaypool_spool_files", "gauge", "Bodies of messages that are in files.", spool_files());
	single(out, "relaypool_log_lines_dropped_total", "counter",
	       "Log lines that were lost because the system's logger is too slow or stopped.", log_dropped());
	family(out, "relaypool_build_info", "gauge", "Always 1; the label has the version.");
	sample(out, "relaypool_build_info", "version", PACKAGE_VERSION, NULL);
	value(out, 1);
}

/* Resident memory in octets; 0 if it cannot be told. */
static unsigned long resident_memory(void)
{
	unsigned long size, resident = 0;
	FILE *statm = fopen("/proc/self/statm", "re");
	if (!statm)
		return 0;
	if (fscanf(statm, "%lu %lu", &size, &resident) != 2)
		resident = 0;
	fclose(statm);
	return resident * (unsigned long)sysconf(_SC_PAGESIZE);
}

static usec_t usec_of(struct timeval time)
{
	return time.tv_sec * USEC_PER_SEC + time.tv_usec;
}

/* The names that every client library has. */
static void write_process(const struct picture *picture)
{
	FILE *out = picture->out;
	struct control_view view;
	struct rusage usage;
	unsigned long memory = resident_memory();
	picture->doors->look(&view);
	/* whole seconds: the difference of two clocks is never quite the same */
	int64_t started = (clock_wall() - (clock_now() - view.started) + USEC_PER_SEC / 2) / USEC_PER_SEC;
	single(out, "process_start_time_seconds", "gauge", "Start of the process, as Unix time.",
	       (unsigned long)started);
	if (memory > 0)
		single(out, "process_resident_memory_bytes", "gauge", "Resident memory.", memory);
	if (getrusage(RUSAGE_SELF, &usage) == 0) {
		family(out, "process_cpu_seconds_total", "counter", "Processor time, user and system.");
		sample(out, "process_cpu_seconds_total", NULL);
		seconds(out, usec_of(usage.ru_utime) + usec_of(usage.ru_stime));
	}
}

char *metrics_text(const struct control_doors *doors, size_t *length)
{
	char *text = NULL;
	struct picture picture = {.doors = doors, .out = open_memstream(&text, length)};
	if (!picture.out)
		abort();
	router_each_pool(doors->router, see_pool, &picture);
	stats_each(see_stats, &picture);
	router_each_wait(doors->router, see_wait, &picture);
	stall_each(see_stall, &picture);
	write_connections(&picture);
	write_gauges(&picture);
	write_waits(&picture);
	write_verdicts(&picture);
	write_counters(&picture);
	write_stages(&picture);
	write_stalls(&picture);
	write_journeys(&picture);
	write_daemon(&picture);
	write_process(&picture);
	if (fclose(picture.out) != 0)
		abort();
	for (size_t i = 0; i < picture.stall_count; i++)
		free(picture.stalls[i].relay);
	for (size_t i = 0; i < picture.relay_count; i++)
		free(picture.relays[i].name);
	free(picture.stalls);
	free(picture.relays);
	return text;
}
