/*
 * Carries out the lines of a scenario (world.h): one table of words, the language is described in run_scenarios.c.
 * Called by run_scenarios; an unknown word ends the scenario.
 */
#include <ctype.h>
#include <event2/buffer.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/conf.h"
#include "base/mem.h"
#include "base/spool.h"
#include "smtp/envelope.h"
#include "smtp/reply.h"
#include "world.h"

/* ---- words ---- */

bool read_duration(const char *text, usec_t *out)
{
	static const struct {
		const char *unit;
		usec_t length;
	} units[] = {
		{"ms", USEC_PER_MSEC},
		{"s", USEC_PER_SEC},
		{"m", 60 * USEC_PER_SEC},
		{"h", 3600 * USEC_PER_SEC},
	};
	char *end;
	double figure = strtod(text, &end);

	for (size_t i = 0; end != text && i < sizeof(units) / sizeof(units[0]); i++) {
		if (strcmp(end, units[i].unit) == 0) {
			*out = (usec_t)(figure * (double)units[i].length);
			return true;
		}
	}
	return false;
}

bool read_range(const char *text, struct range *out)
{
	char *end;

	if (!isdigit((unsigned char)*text))
		return false;
	out->from = out->to = strtoul(text, &end, 10);
	if (*end == '\0')
		return true;
	if (strncmp(end, "..", 2) != 0)
		return false;
	if (end[2] == '\0') {
		out->to = ~0ul;
		return true;
	}
	out->to = strtoul(end + 2, &end, 10);
	return *end == '\0' && out->to >= out->from;
}

bool each_name(const char *text, bool (*fn)(const char *name, void *arg), void *arg)
{
	unsigned from, to;
	int used = 0;
	char name[32];

	if (sscanf(text, "m%u..m%u%n", &from, &to, &used) == 2 && text[used] == '\0') {
		for (unsigned i = from; i <= to; i++) {
			snprintf(name, sizeof(name), "m%u", i);
			if (!fn(name, arg))
				return false;
		}
		return true;
	}
	return fn(text, arg);
}

/* "key=" at the beginning of a word: its value; NULL if it is another word. */
static const char *value_of(const struct word *word, const char *key)
{
	size_t length = strlen(key);

	return strncmp(word->text, key, length) == 0 && word->text[length] == '=' ? word->text + length + 1 : NULL;
}

/* The relay that word `index` names; fails the scenario if it names none. */
static struct scripted_relay *relay_of(struct world *w, const struct line *line, size_t index)
{
	int relay = index < line->count ? world_relay_index(line->words[index].text) : -1;

	if (relay == -1)
		world_fail(w, "expected a relay: a to %c", 'a' + RELAYS_MAX - 1);
	return relay == -1 ? NULL : w->relays[relay];
}

static bool is_colon(const struct line *line, size_t index)
{
	return index < line->count && !line->words[index].quoted && strcmp(line->words[index].text, ":") == 0;
}

/* ---- configuration ---- */

/* "key=value" each, from word `index` on. */
static bool read_settings(struct world *w, const struct line *line, size_t index, struct section *section)
{
	for (; index < line->count; index++) {
		const char *text = line->words[index].text;
		const char *equals = strchr(text, '=');
		char *key;

		if (equals == NULL)
			return world_fail(w, "\"%s\" is not KEY=VALUE", text);
		key = mem_strndup(text, (size_t)(equals - text));
		world_set(section, key, equals + 1);
		free(key);
	}
	return true;
}

static bool step_conf(struct world *w, const struct line *line)
{
	return read_settings(w, line, 1, &w->top);
}

static bool step_relay(struct world *w, const struct line *line)
{
	struct scripted_relay *relay = relay_of(w, line, 1);
	struct section *section;

	if (relay == NULL || !is_colon(line, 2))
		return relay != NULL && world_fail(w, "expected \"relay a: KEY=VALUE …\"");
	section = &w->relay_sections[world_relay_index(relay->name)];
	section->declared = true;
	return read_settings(w, line, 3, section);
}

/* `forget b`: it is no longer configured. */
static bool step_forget(struct world *w, const struct line *line)
{
	struct scripted_relay *relay = relay_of(w, line, 1);

	if (relay != NULL)
		w->relay_sections[world_relay_index(relay->name)].declared = false;
	return relay != NULL;
}

static bool step_route(struct world *w, const struct line *line)
{
	if (line->count < 3 || !is_colon(line, 2))
		return world_fail(w, "expected \"route NAME: KEY=VALUE …\"");
	return read_settings(w, line, 3, world_route(w, line->words[1].text));
}

static bool read_enum(const char *text, const char *const *all, size_t count, unsigned *out)
{
	for (unsigned i = 0; i < count; i++) {
		if (strcmp(text, all[i]) == 0) {
			*out = i;
			return true;
		}
	}
	return false;
}

static void replace(char **old, const char *value)
{
	free(*old);
	*old = mem_strdup(value);
}

static void offer_too(struct scripted_relay *relay, const char *keywords)
{
	char *longer = mem_printf("%s,%s", relay->offers, keywords);

	free(relay->offers);
	relay->offers = longer;
}

static bool set_server(struct scripted_relay *relay, const struct word *word)
{
	const char *value;
	unsigned number;

	if ((value = value_of(word, "offers")) != NULL)
		replace(&relay->offers, value);
	else if ((value = value_of(word, "offers+")) != NULL)
		offer_too(relay, value);
	else if ((value = value_of(word, "without")) != NULL)
		replace(&relay->without, value);
	else if ((value = value_of(word, "password")) != NULL)
		replace(&relay->password, value);
	else if ((value = value_of(word, "username")) != NULL)
		replace(&relay->username, value);
	else if ((value = value_of(word, "window")) != NULL)
		relay->window = (unsigned)atoi(value);
	else if ((value = value_of(word, "chaos")) != NULL)
		relay->chaos = (uint32_t)atoi(value);
	else if ((value = value_of(word, "pace")) != NULL && read_enum(value, pace_names, PACES, &number))
		relay->pace = number;
	else if ((value = value_of(word, "certificate")) != NULL &&
		 read_enum(value, certificate_names, CERTIFICATES, &number))
		relay->certificate = number;
	else
		return limits_set(&relay->limits, word->text);
	return true;
}

static bool step_server(struct world *w, const struct line *line)
{
	struct scripted_relay *relay = relay_of(w, line, 1);

	if (relay == NULL || !is_colon(line, 2))
		return relay != NULL && world_fail(w, "expected \"server a: KEY=VALUE …\"");
	for (size_t i = 3; i < line->count; i++) {
		if (!set_server(relay, &line->words[i]))
			return world_fail(w, "what is \"%s\"?", line->words[i].text);
	}
	return true;
}

/* ---- what a relay does ---- */

/* The words an action takes after its name. */
static bool read_action_words(struct action *action, const struct line *line, size_t *index)
{
	bool number = action->kind == ACTION_LONG || action->kind == ACTION_LINES;
	bool text = number || action->kind == ACTION_SAY || action->kind == ACTION_RAW;

	if (number) {
		if (*index >= line->count || (action->number = (unsigned)atoi(line->words[*index].text)) == 0)
			return false;
		(*index)++;
	}
	if (text) {
		if (*index >= line->count)
			return false;
		action->length = line->words[*index].length;
		action->text = mem_alloc(action->length + 1);
		memcpy(action->text, line->words[(*index)++].text, action->length);
	}
	if (action->kind == ACTION_WAIT &&
	    (*index >= line->count || !read_duration(line->words[(*index)++].text, &action->delay)))
		return false;
	return true;
}

/* "ACTION …; ACTION …" from word `index` to the end of the line. */
static bool read_actions(struct world *w, const struct line *line, size_t index, struct rule *rule)
{
	while (index < line->count) {
		const char *name = line->words[index++].text;
		struct action *action;
		unsigned kind;

		if (!read_enum(name, action_names, ACTION_KINDS, &kind))
			return world_fail(w, "\"%s\" is nothing a relay can do", name);
		rule->actions = mem_realloc(rule->actions, (rule->count + 1) * sizeof(*rule->actions));
		action = &rule->actions[rule->count++];
		memset(action, 0, sizeof(*action));
		action->kind = kind;
		if (!read_action_words(action, line, &index))
			return world_fail(w, "\"%s\" needs more, or something else", name);
		if (index == line->count)
			return true;
		if (line->words[index].quoted || strcmp(line->words[index++].text, ";") != 0)
			return world_fail(w, "expected \";\" after \"%s\"", name);
	}
	return world_fail(w, "an action is missing");
}

/* "STEP [N | N..M | every | every=N] [conn=N] [with=TEXT] [pipelined]" up to the colon. */
static bool read_when(struct world *w, const struct line *line, size_t *index, struct rule *rule)
{
	struct range range;
	unsigned step;

	if (*index >= line->count || !read_enum(line->words[*index].text, step_names, STEP_COUNT, &step))
		return world_fail(w, "expected a step");
	rule->step = step;
	rule->from = rule->to = 1;
	for ((*index)++; *index < line->count && !is_colon(line, *index); (*index)++) {
		const struct word *word = &line->words[*index];

		if (strcmp(word->text, "every") == 0) {
			rule->to = ~0u;
		} else if (value_of(word, "every") != NULL) {
			rule->to = ~0u;
			rule->every = (unsigned)atoi(value_of(word, "every"));
		} else if (strcmp(word->text, "pipelined") == 0) {
			rule->pipelined = true;
		} else if (value_of(word, "conn") != NULL) {
			rule->connection = (unsigned)atoi(value_of(word, "conn"));
		} else if (value_of(word, "with") != NULL) {
			rule->with = mem_strdup(value_of(word, "with"));
		} else if (read_range(word->text, &range)) {
			rule->from = (unsigned)range.from;
			rule->to = (unsigned)range.to;
		} else {
			return world_fail(w, "what is \"%s\"?", word->text);
		}
	}
	return is_colon(line, (*index)++) || world_fail(w, "expected a colon");
}

static bool step_at(struct world *w, const struct line *line)
{
	struct rule *rule = mem_alloc(sizeof(*rule));
	int relay = line->count > 1 ? world_relay_index(line->words[1].text) : -1;
	size_t index = relay == -1 ? 1 : 2;

	list_append(&w->relays[relay == -1 ? 0 : relay]->rules, &rule->node);
	return read_when(w, line, &index, rule) && read_actions(w, line, index, rule);
}

/* do a [conn=N]: ACTIONS: now, on each open connection */
static bool step_do(struct world *w, const struct line *line)
{
	struct scripted_relay *relay = relay_of(w, line, 1);
	struct rule *order = mem_alloc(sizeof(*order));
	size_t index = 2;

	list_append(&w->orders, &order->node);
	if (relay == NULL)
		return false;
	if (index < line->count && value_of(&line->words[index], "conn") != NULL)
		order->connection = (unsigned)atoi(value_of(&line->words[index++], "conn"));
	if (!is_colon(line, index))
		return world_fail(w, "expected a colon");
	if (!read_actions(w, line, index + 1, order))
		return false;
	LIST_EACH (node, next, &relay->connections) {
		struct relay_connection *c = LIST_ENTRY_OF(node, struct relay_connection, node);

		if (c->bev == NULL || (order->connection != 0 && order->connection != c->number))
			continue;
		c->step = STEP_IDLE;
		behaviour_do(c, order->actions, order->count);
	}
	return true;
}

static bool step_refuse(struct world *w, const struct line *line)
{
	struct scripted_relay *relay = relay_of(w, line, 1);

	if (relay != NULL)
		scripted_relay_stop(relay);
	return relay != NULL;
}

static bool step_listen(struct world *w, const struct line *line)
{
	struct scripted_relay *relay = relay_of(w, line, 1);

	return relay != NULL && (scripted_relay_start(relay) || world_fail(w, "it cannot listen"));
}

static bool step_ignore(struct world *w, const struct line *line)
{
	struct scripted_relay *relay = relay_of(w, line, 1);

	return relay != NULL && world_start(w, false) &&
	       (scripted_relay_black_hole(relay) || world_fail(w, "it cannot be made to ignore connections"));
}

/* ---- messages ---- */

struct send {
	struct world *world;
	const char *to, *from, *params, *rcpt_params;
	unsigned rcpts; /* r1@example.org and so on, besides `to` */
	uint64_t size;
	usec_t deadline;
	usec_t every; /* from one of a stream to the next */
	bool with_8bit, with_utf8;
};

static void on_settled(struct message *message, struct recipient *recipient)
{
	struct letter *letter = message->owner;
	struct world *w;
	size_t index = (size_t)(recipient - message->recipients);
	char line[512];

	if (letter == NULL)
		abort(); /* nobody waits: it must not be called */
	w = letter->world;
	world_note(w, "verdict: %s to %s: %s", letter->name, recipient->address,
		   reply_line(recipient->verdict, line, sizeof(line)));
	if (w->inside_take)
		world_fail(w, "%s was settled from inside router_take()", letter->name);
	if (letter->abandoned)
		world_fail(w, "%s was settled after it was abandoned", letter->name);
	if (letter->outcomes[index].at != -1)
		world_fail(w, "%s to %s was settled twice", letter->name, recipient->address);
	letter->outcomes[index].at = clock_now();
}

/* Lines that begin with dots, one of 998 octets, and what it takes to be as large as asked for. */
static void make_body(struct letter *letter, const struct send *send)
{
	struct evbuffer *out = evbuffer_new();
	char long_line[999];

	memset(long_line, 'l', 998);
	long_line[998] = '\0';
	evbuffer_add_printf(out, "Subject: %s\r\nFrom: <%s>\r\n%s\r\n", letter->name, send->from,
			    send->with_utf8 ? "X-Name: \xc3\xbc\r\n" : "");
	evbuffer_add_printf(out, ".a dot\r\n..two\r\n.\r\n\r\n%s\r\n", long_line);
	if (send->with_8bit)
		evbuffer_add_printf(out, "\xe4\xf6\xfc\r\n");
	while (evbuffer_get_length(out) < send->size)
		evbuffer_add_printf(out, "%080zu\r\n", evbuffer_get_length(out));
	evbuffer_add_printf(out, "the last line\r\n");
	letter->length = evbuffer_get_length(out);
	letter->body = mem_alloc(letter->length + 1);
	evbuffer_remove(out, letter->body, letter->length);
	evbuffer_free(out);
}

static void make_message(struct letter *letter, const struct send *send)
{
	struct message *m = message_create(send->world->conf);
	char *addresses = send->to == NULL ? mem_printf("%s@example.org", letter->name) : mem_strdup(send->to);
	char *rest = addresses;
	char *address;

	snprintf(m->queue_id, sizeof(m->queue_id), "%s", letter->name);
	m->sender = mem_strdup(send->from);
	m->params = mem_strdup(send->params);
	m->body_8bit = m->has_8bit = send->with_8bit || send->with_utf8;
	m->smtputf8 = m->header_8bit = send->with_utf8;
	while ((address = strsep(&rest, ",")) != NULL)
		message_add_recipient(m, mem_strdup(address), mem_strdup(send->rcpt_params),
				      strstr(send->rcpt_params, "SUCCESS") != NULL);
	for (unsigned i = 1; i <= send->rcpts; i++)
		message_add_recipient(m, mem_printf("r%u@example.org", i), mem_strdup(send->rcpt_params), false);
	free(addresses);
	make_body(letter, send);
	m->body = spool_create(letter->length);
	if (!spool_append(m->body, letter->body, letter->length))
		abort();
	m->queue_time = -1;
	m->arrived = m->complete = letter->sent_at = clock_now();
	m->deadline = clock_now() + (send->deadline != 0 ? send->deadline : send->world->conf->deadline);
	m->settled = on_settled;
	m->owner = letter;
	letter->message = m;
	letter->outcomes = mem_array(m->recipient_count, sizeof(*letter->outcomes));
	for (size_t i = 0; i < m->recipient_count; i++)
		letter->outcomes[i].at = -1;
}

static bool send_one(const char *name, void *arg)
{
	const struct send *send = arg;
	struct world *w = send->world;
	struct letter *letter;

	if (world_letter(w, name) != NULL)
		return world_fail(w, "%s was sent already", name);
	letter = mem_alloc(sizeof(*letter));
	letter->world = w;
	list_init(&letter->accepted);
	letter->name = mem_strdup(name);
	make_message(letter, send);
	world_add_letter(w, letter);
	world_note(w, "send %s", name);
	w->inside_take = true;
	router_take(w->router, letter->message);
	w->inside_take = false;
	return true;
}

static bool set_send(struct send *send, const struct word *word)
{
	const char *value;
	char *end;

	if ((value = value_of(word, "to")) != NULL) {
		send->to = value;
	} else if ((value = value_of(word, "from")) != NULL) {
		send->from = strcmp(value, "<>") == 0 ? "" : value;
	} else if ((value = value_of(word, "rcpts")) != NULL) {
		send->rcpts = (unsigned)atoi(value);
	} else if ((value = value_of(word, "params")) != NULL) {
		send->params = value;
	} else if ((value = value_of(word, "rcpt-params")) != NULL) {
		send->rcpt_params = value;
	} else if ((value = value_of(word, "deadline")) != NULL) {
		return read_duration(value, &send->deadline);
	} else if ((value = value_of(word, "every")) != NULL) {
		return read_duration(value, &send->every);
	} else if ((value = value_of(word, "size")) != NULL) {
		send->size = strtoull(value, &end, 10) * (*end == 'M' ? 1 << 20 : *end == 'K' ? 1 << 10 : 1);
	} else if (strcmp(word->text, "8bit") == 0) {
		send->with_8bit = true;
	} else if (strcmp(word->text, "utf8") == 0) {
		send->with_utf8 = true;
	} else {
		return false;
	}
	return true;
}

/* One of a stream, and the time to the next. */
static bool send_and_pass(const char *name, void *arg)
{
	const struct send *send = arg;

	if (!send_one(name, arg))
		return false;
	world_pass(send->world, send->every);
	return true;
}

/* send m1 …, stream m1..m400 every=500ms … */
static bool step_send(struct world *w, const struct line *line)
{
	struct send send = {.world = w, .from = "sender@example.com", .params = "", .rcpt_params = ""};
	bool stream = strcmp(line->words[0].text, "stream") == 0;

	if (line->count < 2)
		return world_fail(w, "expected the name of a message");
	for (size_t i = 2; i < line->count; i++) {
		if (!set_send(&send, &line->words[i]))
			return world_fail(w, "what is \"%s\"?", line->words[i].text);
	}
	if (stream != (send.every != 0))
		return world_fail(w, "every=500ms goes with stream, and must");
	return world_start(w, false) && each_name(line->words[1].text, stream ? send_and_pass : send_one, &send);
}

static bool abandon_one(const char *name, void *arg)
{
	struct world *w = arg;
	struct letter *letter = world_letter(w, name);

	if (letter == NULL)
		return world_fail(w, "no message \"%s\" was sent", name);
	letter->abandoned = true;
	world_note(w, "abandon %s", name);
	router_abandon(w->router, letter->message);
	return true;
}

static bool step_abandon(struct world *w, const struct line *line)
{
	return line->count == 2 && each_name(line->words[1].text, abandon_one, w);
}

/* warm [from=X] to=Y, "from=unknown": its sender is not known */
static bool step_warm(struct world *w, const struct line *line)
{
	const char *from = "sender@example.com", *to = NULL, *value;

	for (size_t i = 1; i < line->count; i++) {
		if ((value = value_of(&line->words[i], "from")) != NULL)
			from = strcmp(value, "<>") == 0 ? "" : strcmp(value, "unknown") == 0 ? NULL : value;
		else if ((value = value_of(&line->words[i], "to")) != NULL)
			to = value;
		else
			return world_fail(w, "what is \"%s\"?", line->words[i].text);
	}
	if (to == NULL)
		return world_fail(w, "expected \"warm to=X\"");
	if (!world_start(w, false))
		return false;
	world_note(w, "warm to=%s", to);
	router_warm(w->router, from, to);
	return true;
}

/* ---- time and orders ---- */

static bool step_pass(struct world *w, const struct line *line)
{
	usec_t by;

	if (line->count != 2 || !read_duration(line->words[1].text, &by))
		return world_fail(w, "expected \"pass 10s\"");
	if (!world_start(w, false))
		return false;
	world_pass(w, by);
	return true;
}

static bool step_run(struct world *w, const struct line *line)
{
	(void)line;
	if (!world_start(w, false))
		return false;
	world_run(w);
	return true;
}

/* What is refused is counted anew. */
static bool step_mark(struct world *w, const struct line *line)
{
	for (size_t i = 0; i < RELAYS_MAX; i++)
		w->relays[i]->limits.refused = w->relays[i]->limits.expired = 0;
	return line->count == 1;
}

/* start [unclean], restart [unclean] */
static bool step_start(struct world *w, const struct line *line)
{
	bool unclean = line->count == 2 && strcmp(line->words[1].text, "unclean") == 0;

	if (line->count > 1 && !unclean)
		return world_fail(w, "what is \"%s\"?", line->words[1].text);
	world_stop_router(w);
	return world_start(w, unclean);
}

static bool step_reload(struct world *w, const struct line *line)
{
	(void)line;
	return world_reload(w);
}

static bool step_order(struct world *w, const struct line *line)
{
	static const struct {
		const char *word;
		bool (*order)(struct router *router, const char *relay);
	} orders[] = {
		{"pause", router_pause},         {"resume", router_resume},  {"drain", router_drain},
		{"reconnect", router_reconnect}, {"unlearn", router_forget},
	};
	const char *relay = line->count > 1 ? line->words[1].text : NULL;

	if (!world_start(w, false))
		return false;
	for (size_t i = 0; i < sizeof(orders) / sizeof(orders[0]); i++) {
		if (strcmp(line->words[0].text, orders[i].word) == 0 && !orders[i].order(w->router, relay))
			return world_fail(w, "relay %s is not known", relay);
	}
	return true;
}

static void on_down(void *arg)
{
	struct world *w = arg;

	w->down = true;
	world_note(w, "shutdown done");
}

static bool step_shutdown(struct world *w, const struct line *line)
{
	(void)line;
	if (!world_start(w, false))
		return false;
	router_shutdown(w->router, on_down, w);
	return true;
}

static bool step_abort(struct world *w, const struct line *line)
{
	(void)line;
	if (!world_start(w, false))
		return false;
	router_abort(w->router);
	return true;
}

static bool step_expect(struct world *w, const struct line *line)
{
	return world_start(w, false) && expect_line(w, line);
}

static const struct {
	const char *word;
	bool (*step)(struct world *w, const struct line *line);
} steps[] = {{"abandon", step_abandon}, {"abort", step_abort},       {"at", step_at},         {"conf", step_conf},
	     {"do", step_do},           {"drain", step_order},       {"expect", step_expect}, {"forget", step_forget},
	     {"ignore", step_ignore},   {"listen", step_listen},     {"mark", step_mark},     {"pass", step_pass},
	     {"pause", step_order},     {"hang-up", step_hang_up},   {"probe", step_probe},   {"reconnect", step_order},
	     {"refuse", step_refuse},   {"relay", step_relay},       {"reload", step_reload}, {"restart", step_start},
	     {"resume", step_order},    {"route", step_route},       {"run", step_run},       {"send", step_send},
	     {"server", step_server},   {"shutdown", step_shutdown}, {"start", step_start},   {"stream", step_send},
	     {"unlearn", step_order},   {"warm", step_warm}};

/* "then" at the end of a line: the next line is carried out before anything happens. */
static bool is_joined(const struct line *line)
{
	const struct word *last = &line->words[line->count - 1];

	return line->count > 1 && !last->quoted && strcmp(last->text, "then") == 0;
}

bool world_step(struct world *w, const struct line *whole)
{
	struct line without_then = *whole;
	const struct line *line = &without_then;

	without_then.count -= is_joined(whole) ? 1 : 0;
	w->line = line->number;
	w->looks = 0;
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		if (strcmp(line->words[0].text, steps[i].word) != 0)
			continue;
		if (!steps[i].step(w, line))
			return world_fail(w, "the scenario ends here");
		if (w->router != NULL && !is_joined(whole))
			world_settle(w);
		return true;
	}
	return world_fail(w, "\"%s\" is no word of the language", line->words[0].text);
}
