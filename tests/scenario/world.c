/*
 * The world of one scenario (world.h): made, moved in time, taken down. Called by run_scenarios and steps.c; never
 * judges.
 */
#include <event2/buffer.h>
#include <inttypes.h>
#include <search.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/conf.h"
#include "base/journey.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/publish.h"
#include "base/spool.h"
#include "smtp/envelope.h"
#include "smtp/reply.h"
#include "world.h"

/* Scripted time that no scenario takes; a run that needs more does not come to an end. */
#define RUN_LIMIT (3 * 3600 * USEC_PER_SEC)
/* Before time moves, real microseconds for what the kernel may still have on its way. */
#define KERNEL_PAUSE 20
/* Real milliseconds after which a body that is on its way has come. */
#define KERNEL_TURNS 2000
/* How often one looks at what is waited for while one line is carried out: it takes its time. */
#define LOOKS_MAX 20 /* each goes through thousands of letters where there are as many */

const char *const event_names[EVENT_KINDS] = {"outcome", "opened",   "closed", "failed",
					      "arrived", "replayed", "down",   "up"};

static struct world *the_world; /* for callbacks that carry no argument */

/* ---- the record ---- */

static void add_text(struct evbuffer *to, const char *before, const char *format, va_list arguments)
{
	evbuffer_add_printf(to, "%s", before);
	evbuffer_add_vprintf(to, format, arguments);
	evbuffer_add_printf(to, "\n");
}

bool world_fail(struct world *w, const char *format, ...)
{
	va_list arguments;
	char before[32] = "";

	if (w->line != 0)
		snprintf(before, sizeof(before), "line %u: ", w->line);
	va_start(arguments, format);
	add_text(w->failures, before, format, arguments);
	va_end(arguments);
	return false;
}

void world_note(struct world *w, const char *format, ...)
{
	va_list arguments;
	char before[32];

	snprintf(before, sizeof(before), "%10.3f ", (double)(clock_now() - w->began) / (double)USEC_PER_SEC);
	va_start(arguments, format);
	add_text(w->transcript, before, format, arguments);
	va_end(arguments);
	w->activity++;
}

static void on_violation(const char *text, void *arg)
{
	world_note(arg, "WRONG: %s", text);
	world_fail(arg, "%s", text);
}

static void on_said(const struct relay_connection *c, const char *who, const char *text, void *arg)
{
	char line[256] = "";

	if (text != NULL)
		snprintf(line, sizeof(line), "%s", text);
	for (char *p = line; *p != '\0'; p++) {
		if ((unsigned char)*p < ' ')
			*p = '/';
	}
	world_note(arg, "%s#%u %s %s", c->relay->name, c->number, who, line);
}

/* A line of the log, or what observe would make one of. */
static void record(struct world *w, const char *line)
{
	struct logged *logged = mem_alloc(sizeof(*logged));

	logged->line = mem_strdup(line);
	list_append(&w->log, &logged->node);
	world_note(w, "log: %s", line);
}

/* Promise 8: what an outcome says is what happened. */
static void check_outcome(struct world *w, const struct event *event)
{
	const usec_t parts[] = {event->delays.queue, event->delays.pool, event->delays.setup, event->delays.transfer};
	usec_t sum = 0;

	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		if (parts[i] < -1)
			world_fail(w, "an outcome has a time of %" PRId64, parts[i]);
		sum += parts[i] > 0 ? parts[i] : 0;
	}
	if (sum > event->delay)
		world_fail(w, "the times of an outcome are %" PRId64 " us together, %" PRId64 " us in all", sum,
			   event->delay);
	if (event->recipients == 0)
		world_fail(w, "an outcome was published for no recipient");
	if (event->status == STATUS_SENT && (event->connection == 0 || event->use == 0 || event->delays.transfer < 0))
		world_fail(w, "an outcome was published as sent without connection or time of transfer");
	if (event->ambiguous != (event->reply->local == LOCAL_AMBIGUOUS))
		world_fail(w, "an outcome was published with ambiguous=%d and the reply of %s", event->ambiguous,
			   local_failure_names[event->reply->local]);
	if (event->status != reply_status_of(event->reply))
		world_fail(w, "an outcome was published as %s with a reply of %d", status_names[event->status],
			   event->reply->code);
}

/* A message is in one stage at any moment: the stages are the whole time, to the microsecond. So are a set-up's. */
static void check_stages(struct world *w, const struct event *event)
{
	usec_t whole = event->took;

	if (event->kind == EVENT_OUTCOME)
		whole = event->delay - (event->message->queue_time > 0 ? event->message->queue_time : 0);
	if (event->journey == NULL || event->journey->stage != STAGE_COUNT || journey_total(event->journey) != whole)
		world_fail(w, "the stages of an event of kind %s are %lld us of %lld", event_names[event->kind],
			   event->journey == NULL ? -1 : (long long)journey_total(event->journey), (long long)whole);
	for (size_t i = 0; event->journey != NULL && i < STAGE_COUNT; i++)
		if (event->journey->spent[i] < -1)
			world_fail(w, "stage %s of an event of kind %s is %lld us", stage_names[i],
				   event_names[event->kind], (long long)event->journey->spent[i]);
}

static void on_event(const struct event *event)
{
	struct world *w = the_world;

	if (event->relay == NULL || event->host == NULL || event->at != clock_now())
		world_fail(w, "an event of kind %s without relay, host or time", event_names[event->kind]);
	w->events[event->kind]++;
	w->activity++;
	if (event->kind == EVENT_OUTCOME || event->kind == EVENT_CONNECTION_OPENED)
		check_stages(w, event);
	if (event->kind != EVENT_OUTCOME) {
		char *line = mem_printf("event %s relay=%s: %s", event_names[event->kind], event->relay,
					event->text == NULL ? "-" : event->text);
		record(w, line);
		free(line);
		return;
	}
	struct letter *letter = world_letter(w, event->message->queue_id);
	if (letter != NULL && letter->message == event->message) {
		letter->published += event->recipients;
		letter->use = event->use;
		letter->journey = *event->journey;
		letter->held_by = event->held_by;
	}
	check_outcome(w, event);
}

static void on_log(enum log_level level, const char *line)
{
	(void)level;
	record(the_world, line);
}

/* Every socket of an account counts, whichever relay it goes to. */
static void on_counted(void *arg)
{
	struct world *w = arg;

	w->activity++;
	for (size_t i = 0; i < RELAYS_MAX; i++) {
		const struct relay_conf *conf = w->conf == NULL ? NULL : conf_relay(w->conf, w->relays[i]->name);
		unsigned sockets = 0;
		unsigned cap = 0;

		for (size_t k = 0; conf != NULL && k < RELAYS_MAX; k++) {
			const struct relay_conf *other = conf_relay(w->conf, w->relays[k]->name);

			if (other == NULL || strcmp(other->account, conf->account) != 0)
				continue;
			sockets += scripted_relay_sockets(w->relays[k]);
			if (cap == 0 || other->max_connections < cap)
				cap = other->max_connections;
		}
		if (sockets > cap)
			world_fail(w, "%u sockets to account %s, whose cap is %u", sockets, conf->account, cap);
	}
}

/* ---- configuration ---- */

void world_set(struct section *section, const char *key, const char *value)
{
	struct setting *setting = NULL;

	for (size_t i = 0; i < section->count; i++) {
		if (strcmp(section->settings[i].key, key) == 0)
			setting = &section->settings[i];
	}
	if (setting == NULL) {
		section->settings = mem_realloc(section->settings, (section->count + 1) * sizeof(*section->settings));
		setting = &section->settings[section->count++];
		setting->key = mem_strdup(key);
		setting->value = NULL;
	}
	free(setting->value);
	setting->value = mem_strdup(value);
}

static const char *setting_of(const struct section *section, const char *key)
{
	for (size_t i = 0; i < section->count; i++) {
		if (strcmp(section->settings[i].key, key) == 0)
			return section->settings[i].value;
	}
	return NULL;
}

struct section *world_route(struct world *w, const char *name)
{
	for (size_t i = 0; i < w->route_count; i++) {
		if (strcmp(w->routes[i].name, name) == 0)
			return &w->routes[i];
	}
	w->routes = mem_realloc(w->routes, (w->route_count + 1) * sizeof(*w->routes));
	memset(&w->routes[w->route_count], 0, sizeof(*w->routes));
	w->routes[w->route_count].name = mem_strdup(name);
	w->routes[w->route_count].declared = true;
	return &w->routes[w->route_count++];
}

int world_relay_index(const char *name)
{
	return name[0] >= 'a' && name[0] < 'a' + RELAYS_MAX && name[1] == '\0' ? name[0] - 'a' : -1;
}

/* One word of a value: a figure or truth value bare, all else in quotes; "@b" is relay b's address and port. */
static void write_word(const struct world *w, FILE *file, const char *text, size_t length)
{
	char word[512];
	int index;

	snprintf(word, sizeof(word), "%.*s", (int)length, text);
	index = word[0] == '@' ? world_relay_index(word + 1) : -1;
	if (index != -1)
		fprintf(file, "\"%s:%u\"", w->relays[index]->address, w->relays[index]->port);
	else if ((length > 0 && word[strspn(word, "0123456789.")] == '\0') || strcmp(word, "true") == 0 ||
		 strcmp(word, "false") == 0)
		fprintf(file, "%s", word);
	else
		fprintf(file, "\"%s\"", word);
}

/* The preset that comes with relaypool, where it lies in the sources. */
static void write_provider(FILE *file, const char *name)
{
	const char *srcdir = getenv("srcdir");
	char *source = realpath(srcdir != NULL ? srcdir : ".", NULL);

	fprintf(file, "\tprovider = \"%s/contrib/providers/%s.conf\"\n", source, name);
	free(source);
}

/* "{x,y}" is a list. */
static void write_setting(const struct world *w, FILE *file, const struct setting *setting)
{
	const char *p = setting->value;

	if (strcmp(setting->key, "provider") == 0) {
		write_provider(file, p);
		return;
	}
	fprintf(file, "\t%s = ", setting->key);
	if (*p != '{') {
		write_word(w, file, p, strlen(p));
	} else {
		fprintf(file, "{ ");
		for (p++; *p != '\0' && *p != '}'; p += *p == ',') {
			size_t length = strcspn(p, ",}");

			write_word(w, file, p, length);
			p += length;
			fprintf(file, *p == ',' ? ", " : " ");
		}
		fprintf(file, "}");
	}
	fprintf(file, "\n");
}

/* A secret goes to a file of its own. */
static void write_secret(const struct world *w, FILE *file, size_t index, const char *key, const char *secret)
{
	char *path = mem_printf("%s/%s-%s", w->directory, key, w->relays[index]->name);
	FILE *out = fopen(path, "w");

	if (out == NULL || fprintf(out, "%s\n", secret) < 0 || fclose(out) != 0)
		abort();
	fprintf(file, "\t%s = \"%s\"\n", key, path);
	free(path);
}

static void write_credentials(const struct world *w, FILE *file, size_t index)
{
	const char *token = setting_of(&w->relay_sections[index], "token");
	const char *password = setting_of(&w->relay_sections[index], "password");

	if (setting_of(&w->relay_sections[index], "username") == NULL ||
	    setting_of(&w->relay_sections[index], "token-command") != NULL)
		return;
	if (token != NULL)
		write_secret(w, file, index, "token-file", token);
	else
		write_secret(w, file, index, "password-file", password != NULL ? password : "secret-word");
}

static void write_relay(const struct world *w, FILE *file, size_t index)
{
	const struct section *section = &w->relay_sections[index];
	const struct scripted_relay *relay = w->relays[index];

	fprintf(file, "relay \"%s\" {\n", relay->name);
	if (setting_of(section, "host") == NULL)
		fprintf(file, "\thost = \"%s\"\n", relay->address);
	fprintf(file, "\tport = %u\n", relay->port);
	if (setting_of(section, "tls") == NULL)
		fprintf(file, "\ttls = \"none\"\n");
	else if (setting_of(section, "tls-ca-file") == NULL)
		fprintf(file, "\ttls-ca-file = \"%s\"\n", w->ca_file);
	for (size_t i = 0; i < section->count; i++) {
		if (strcmp(section->settings[i].key, "password") != 0 && strcmp(section->settings[i].key, "token") != 0)
			write_setting(w, file, &section->settings[i]);
	}
	write_credentials(w, file, index);
	fprintf(file, "}\n");
}

static void write_routes(const struct world *w, FILE *file)
{
	const char *comma = "";

	for (size_t i = 0; i < w->route_count; i++) {
		fprintf(file, "route \"%s\" {\n", w->routes[i].name);
		for (size_t k = 0; k < w->routes[i].count; k++)
			write_setting(w, file, &w->routes[i].settings[k]);
		fprintf(file, "}\n");
	}
	if (w->route_count > 0)
		return;
	fprintf(file, "route \"default\" {\n\trelays = { ");
	for (size_t i = 0; i < RELAYS_MAX; i++) {
		if (w->relay_sections[i].declared) {
			fprintf(file, "%s\"%s\"", comma, w->relays[i]->name);
			comma = ", ";
		}
	}
	fprintf(file, " }\n}\n");
}

/* Reads the configuration as the scenario has it now; NULL if relaypool does not take it. */
static struct conf *read_configuration(struct world *w)
{
	char *path = mem_printf("%s/relaypool.conf", w->directory);
	char error[CONF_ERROR_SIZE] = "";
	FILE *file = fopen(path, "w");
	struct conf *conf;

	if (file == NULL)
		abort();
	fprintf(file, "milter = \"unix:%s/milter\"\nlmtp = \"unix:%s/lmtp\"\ncontrol = \"unix:%s/control\"\n",
		w->directory, w->directory, w->directory);
	fprintf(file, "spool-directory = \"%s\"\nhostname = \"client.example\"\nallow-users = { \"root\" }\n",
		w->directory);
	for (size_t i = 0; i < w->top.count; i++)
		write_setting(w, file, &w->top.settings[i]);
	for (size_t i = 0; i < RELAYS_MAX; i++) {
		if (w->relay_sections[i].declared)
			write_relay(w, file, i);
	}
	write_routes(w, file);
	if (fclose(file) != 0)
		abort();
	conf = conf_load(path, error);
	if (conf == NULL)
		world_fail(w, "the configuration is not taken: %s", error);
	free(path);
	return conf;
}

/* A scripted relay asks for what its section of the configuration gives. */
static void prepare_relay(struct world *w, size_t index)
{
	struct scripted_relay *relay = w->relays[index];
	const struct section *section = &w->relay_sections[index];
	const char *tls = setting_of(section, "tls");
	const char *username = setting_of(section, "username");

	relay->needs_tls = tls != NULL && strcmp(tls, "none") != 0;
	relay->implicit_tls = tls != NULL && strcmp(tls, "implicit") == 0;
	relay->starttls = relay->needs_tls && !relay->implicit_tls;
	if (username != NULL && relay->username == NULL) {
		relay->username = mem_strdup(username);
		relay->password = mem_strdup("secret-word");
	}
}

bool world_start(struct world *w, bool unclean)
{
	bool any = false;

	if (w->router != NULL)
		return true;
	for (size_t i = 0; i < RELAYS_MAX; i++)
		any = any || w->relay_sections[i].declared;
	if (!any)
		w->relay_sections[0].declared = true;
	for (size_t i = 0; i < RELAYS_MAX; i++) {
		prepare_relay(w, i);
		if (w->relays[i]->listener == NULL && !w->relays[i]->stopped && !scripted_relay_start(w->relays[i]))
			return world_fail(w, "relay %s cannot listen", w->relays[i]->name);
	}
	conf_unref(&w->conf);
	if ((w->conf = read_configuration(w)) == NULL)
		return false;
	w->router = router_create(w->conf, unclean);
	world_settle(w);
	return true;
}

bool world_reload(struct world *w)
{
	struct conf *conf;

	for (size_t i = 0; i < RELAYS_MAX; i++)
		prepare_relay(w, i);
	if ((conf = read_configuration(w)) == NULL)
		return false;
	conf_unref(&w->conf);
	w->conf = conf;
	router_reload(w->router, conf);
	world_settle(w);
	return true;
}

void world_stop_router(struct world *w)
{
	if (w->router != NULL)
		router_free(w->router);
	w->router = NULL;
	world_settle(w);
}

/* ---- time ---- */

/* Whatever is told to be waited for began in the past, holds at least one message in a pool, and has its cause. */
static void check_wait(const struct wait *wait, void *arg)
{
	struct world *w = arg;
	bool at_relay = wait->stage >= STAGE_DNS && wait->stage < STAGE_COUNT;

	if (world_relay_index(wait->relay) == -1 || wait->queue_id == NULL || wait->since > clock_now() ||
	    wait->since < w->began)
		world_fail(w, "a wait without relay or time");
	if ((wait->stage != STAGE_POOL && !at_relay) || wait->cause >= CAUSE_COUNT ||
	    at_relay != (wait->connection != 0) || (wait->stage == STAGE_POOL && wait->messages == 0) ||
	    (wait->stage >= STAGE_MAIL && wait->messages == 0) || (*wait->queue_id != '\0') != (wait->messages > 0))
		world_fail(w, "a wait of stage %s, cause %s, connection %u, messages %u, queue id \"%s\"",
			   stage_names[wait->stage], cause_names[wait->cause], wait->connection, wait->messages,
			   wait->queue_id);
}

/* Each transaction is in one stage, and what it has been through is all the time since its message came. */
static void check_transaction(const struct transaction_view *view, void *arg)
{
	struct world *w = arg;
	const struct letter *letter = world_letter(w, view->queue_id);

	if (letter == NULL || view->relay == NULL || view->host == NULL || view->recipients == 0 ||
	    view->journey.stage >= STAGE_COUNT || view->cause > CAUSE_COUNT)
		world_fail(w, "transaction of %s: relay %s, %u recipients", view->queue_id, view->relay,
			   view->recipients);
	else if (journey_total(&view->journey) != clock_now() - letter->message->arrived)
		world_fail(w, "transaction of %s: %lld us in stages, %lld us in all", view->queue_id,
			   (long long)journey_total(&view->journey),
			   (long long)(clock_now() - letter->message->arrived));
}

/* Lets everything happen that needs no time to pass. */
void world_settle(struct world *w)
{
	unsigned long before;

	do {
		before = w->activity;
		loop_settle();
	} while (w->activity != before);
	if (w->router != NULL && w->looks++ < LOOKS_MAX) {
		router_each_wait(w->router, check_wait, w);
		router_each_transaction(w->router, check_transaction, w);
	}
}

static bool body_coming(const struct world *w)
{
	for (size_t i = 0; i < RELAYS_MAX; i++) {
		if (scripted_relay_body_coming(w->relays[i]))
			return true;
	}
	return false;
}

/* To the next timer, but not beyond `limit`. False if there is none by then. */
static bool jump(struct world *w, usec_t limit)
{
	usec_t due;

	if (w->activity != w->quiet_since) { /* many timers in a row have nothing to do with any relay */
		usleep(KERNEL_PAUSE);
		world_settle(w);
	}
	w->quiet_since = w->activity;
	for (unsigned i = 0; i < KERNEL_TURNS && body_coming(w); i++) {
		usleep(1000);
		world_settle(w);
	}
	due = clock_next_due();
	if (due == -1 || due > limit)
		return false;
	clock_fake_advance(due > clock_now() ? due - clock_now() : 0);
	world_settle(w);
	return true;
}

void world_pass(struct world *w, usec_t by)
{
	usec_t end = clock_now() + by;

	world_settle(w);
	while (jump(w, end))
		;
	if (end > clock_now())
		clock_fake_advance(end - clock_now());
	world_settle(w);
	world_note(w, "time has passed");
}

static bool all_settled(const struct world *w)
{
	LIST_EACH (node, next, &w->letters) {
		const struct letter *letter = LIST_ENTRY_OF(node, struct letter, node);

		if (!letter->abandoned && message_unsettled(letter->message) > 0)
			return false;
	}
	return inquiries_over(w);
}

void world_run(struct world *w)
{
	usec_t limit = clock_now() + RUN_LIMIT;

	world_settle(w);
	while (!all_settled(w) && jump(w, limit))
		;
}

/* ---- from beginning to end ---- */

static int compare_names(const void *a, const void *b)
{
	return strcmp(((const struct letter *)a)->name, ((const struct letter *)b)->name);
}

void world_add_letter(struct world *w, struct letter *letter)
{
	list_append(&w->letters, &letter->node);
	if (tsearch(letter, &w->by_name, compare_names) == NULL)
		abort();
}

struct letter *world_letter(const struct world *w, const char *name)
{
	const struct letter wanted = {.name = (char *)name};
	struct letter **found = tfind(&wanted, &w->by_name, compare_names);

	return found == NULL ? NULL : *found;
}

static void create_relay(struct world *w, unsigned index)
{
	const char name[2] = {(char)('a' + index), '\0'};

	w->relays[index] = scripted_relay_create(name, index + 1);
	if (w->relays[index] == NULL)
		abort();
	w->relays[index]->violation = on_violation;
	w->relays[index]->said = on_said;
	w->relays[index]->counted = on_counted;
	w->relays[index]->arg = w;
}

struct world *world_create(const char *directory, const char *ca_file)
{
	struct world *w = mem_alloc(sizeof(*w));

	w->directory = directory;
	w->ca_file = ca_file;
	list_init(&w->letters);
	list_init(&w->inquiries);
	list_init(&w->log);
	list_init(&w->orders);
	w->failures = evbuffer_new();
	w->transcript = evbuffer_new();
	clock_fake_start();
	w->began = clock_now();
	if (w->failures == NULL || w->transcript == NULL || !loop_create())
		abort();
	spool_configure((uint64_t)256 << 20, directory);
	the_world = w;
	log_capture(on_log);
	publish_subscribe(on_event);
	for (unsigned i = 0; i < RELAYS_MAX; i++)
		create_relay(w, i);
	return w;
}

/* Of the tree's nodes there is nothing else to free: the letters are the list's. */
static void node_free(void *letter)
{
	(void)letter;
}

static void letter_free(struct letter *letter)
{
	message_unref(&letter->message);
	free(letter->name);
	free(letter->outcomes);
	free(letter->body);
	free(letter);
}

void world_finish(struct world *w)
{
	world_settle(w);
	w->line = 0;
	promises_check(w);
	LIST_EACH (node, next, &w->letters)
		LIST_ENTRY_OF(node, struct letter, node)->may_wait = true; /* router_free() settles it */
	world_stop_router(w);
	promises_check_remains(w);
	LIST_EACH (node, next, &w->letters)
		letter_free(LIST_ENTRY_OF(node, struct letter, node));
	list_init(&w->letters);
	tdestroy(w->by_name, node_free);
	w->by_name = NULL;
	inquiries_free(w);
	conf_unref(&w->conf);
	for (size_t i = 0; i < RELAYS_MAX; i++)
		scripted_relay_free(w->relays[i]);
	loop_settle(); /* libevent frees what was closed in a turn of its own */
	if (clock_next_due() != -1)
		world_fail(w, "a timer is still armed after the end");
	loop_free();
	publish_reset();
	log_capture(NULL);
	clock_fake_stop();
	the_world = NULL;
}

static void section_clear(struct section *section)
{
	for (size_t i = 0; i < section->count; i++) {
		free(section->settings[i].key);
		free(section->settings[i].value);
	}
	free(section->settings);
	free(section->name);
}

void world_free(struct world *w)
{
	LIST_EACH (node, next, &w->log) {
		struct logged *logged = LIST_ENTRY_OF(node, struct logged, node);

		free(logged->line);
		free(logged);
	}
	LIST_EACH (node, next, &w->orders)
		rule_free(LIST_ENTRY_OF(node, struct rule, node));
	section_clear(&w->top);
	for (size_t i = 0; i < RELAYS_MAX; i++)
		section_clear(&w->relay_sections[i]);
	for (size_t i = 0; i < w->route_count; i++)
		section_clear(&w->routes[i]);
	free(w->routes);
	evbuffer_free(w->failures);
	evbuffer_free(w->transcript);
	free(w);
}
