/*
 * What the control socket answers to test-route: which route and relay mail of an envelope would take and why, and what
 * came of trying it, as relay/probe.c tells. The answer comes later. Called by control.c through answer.c; the keys are
 * in relaypoolctl(8).
 */
#include <config.h>

#include <stdlib.h>
#include <string.h>

#include "answer_private.h"
#include "base/mem.h"
#include "relay/probe.h"
#include "relay/route.h"
#include "smtp/command.h"
#include "smtp/reply.h"

struct later {
	struct probe *probe;
	json_t *answer; /* as far as it is made */
	bool send;
	later_done_fn *done;
	void *arg;
};

static unsigned under_way;

/* ---- the question ---- */

struct question {
	char *sender, *recipient; /* owned */
	bool send;
};

static void question_clear(struct question *question)
{
	free(question->sender);
	free(question->recipient);
}

/* With or without angle brackets; the caller's. */
static char *path_of(const char *keyword, const char *address)
{
	return mem_printf(*address == '<' ? "%s:%s" : "%s:<%s>", keyword, address);
}

/* Both by the grammar of SMTP, so that nothing else ever reaches a relay. NULL, or why not: the caller's. */
static json_t *addresses_read(struct question *question, const char *recipient, const char *sender)
{
	struct mail_arguments mail;
	struct rcpt_arguments rcpt;
	struct reply *why;
	json_t *refusal = NULL;
	char *path = path_of("TO", recipient);
	if (command_parse_rcpt(path, &rcpt, &why)) {
		question->recipient = mem_strdup(rcpt.address);
		rcpt_arguments_clear(&rcpt);
	} else {
		refusal = answer_refuse(REFUSAL_USAGE, "\"%s\" is no address to send to: %s", recipient, why->text);
		reply_unref(&why);
	}
	free(path);
	path = path_of("FROM", sender);
	if (!refusal && command_parse_mail(path, &mail, &why)) {
		question->sender = mem_strdup(mail.sender);
		mail_arguments_clear(&mail);
	} else if (!refusal) {
		refusal = answer_refuse(REFUSAL_USAGE, "\"%s\" is no sender's address: %s", sender, why->text);
		reply_unref(&why);
	}
	free(path);
	return refusal;
}

/* ADDRESS [from=SENDER] [send]. NULL, or why it makes no sense: the caller's. */
static json_t *question_read(const struct arguments *arguments, const struct conf *conf, struct question *question)
{
	const char *from = NULL;
	for (size_t i = 1; i < arguments->count; i++) {
		const char *word = arguments->words[i];
		if (strncmp(word, "from=", strlen("from=")) == 0 && !from)
			from = word + strlen("from=");
		else if (strcmp(word, "send") == 0 && !question->send)
			question->send = true;
		else
			return answer_refuse(REFUSAL_USAGE,
					     "test-route takes ADDRESS, from=SENDER and send, not \"%s\"", word);
	}
	if (from && !*from)
		return answer_refuse(REFUSAL_USAGE, "from= is empty: the null sender is from=<>");
	if (arguments->count == 0)
		return answer_refuse(REFUSAL_USAGE, "test-route needs the address of a recipient");
	char *postmaster = mem_printf("postmaster@%s", conf->hostname);
	json_t *refusal = addresses_read(question, arguments->words[0], from ? from : postmaster);
	free(postmaster);
	return refusal;
}

/* ---- which way, and why ---- */

/* null: the route has no such condition. */
static json_t *matches(char *const *patterns, size_t count, const char *address)
{
	return count == 0 ? json_null() : json_boolean(conf_address_matches(patterns, count, address));
}

/* What only the milter sees. */
static json_t *needs(const struct route_conf *route)
{
	const struct {
		const char *name;
		size_t count;
	} conditions[] = {
		{"clients", route->client_count}, {"users", route->user_count}, {"headers", route->header_count}};
	json_t *list = json_array();
	for (size_t i = 0; i < sizeof(conditions) / sizeof(conditions[0]); i++)
		if (conditions[i].count > 0 && json_array_append_new(list, answer_text(conditions[i].name)) == -1)
			abort();
	return list;
}

/* The routes up to the one that is taken; those behind it are never asked. */
static json_t *route_rows(const struct conf *conf, int taken, const struct question *question)
{
	struct rows rows = {.array = json_array()};
	size_t count = taken < 0 ? conf->route_count : (size_t)taken + 1;
	for (size_t i = 0; i < count; i++) {
		const struct route_conf *route = &conf->routes[i];
		json_t *row = json_object();
		answer_put(row, "route", answer_text(route->name));
		answer_put(row, "taken", json_boolean((int)i == taken));
		answer_put(row, "sender", matches(route->senders, route->sender_count, question->sender));
		answer_put(row, "recipient", matches(route->recipients, route->recipient_count, question->recipient));
		answer_put(row, "needs", needs(route));
		rows_add(&rows, row);
	}
	return rows.array;
}

static void relay_row(const struct pool_view *pool, void *arg)
{
	struct rows *rows = arg;
	if (!rows_want(rows, pool->relay) || strcmp(pool->state, "retiring") == 0)
		return;
	json_t *row = json_object();
	answer_put(row, "relay", answer_text(pool->relay));
	answer_put(row, "state", answer_text(pool->state));
	answer_put(row, "reason", answer_text(pool->reason));
	answer_put(row, "retry_in", answer_seconds(pool->retry_in));
	rows_add(rows, row);
}

/* In order of preference, with their state before the test. */
static json_t *relay_rows(const struct control_doors *doors, const struct route_conf *route)
{
	struct rows rows = {.array = json_array()};
	for (size_t i = 0; route && i < route->relay_count; i++) {
		rows.relay = route->relays[i]->name;
		router_each_pool(doors->router, relay_row, &rows);
	}
	return rows.array;
}

/* Every key that there may be; what is not known stays null. */
static json_t *answer_begin(const struct control_doors *doors, const struct conf *conf, const struct question *question)
{
	static const char *const unknown[] = {"relay",     "host",          "connection", "tls_mode",
					      "addresses", "address_count", "tls",        "tls_verified",
					      "announced", "mechanism",     "replies",    "stages",
					      "first",     "open",          "stage",      "cause"};
	int taken = router_route(doors->router, question->sender, question->recipient);
	const struct route_conf *route = taken < 0 ? NULL : &conf->routes[taken];
	json_t *answer = answer_new();
	answer_put(answer, "recipient", answer_text(question->recipient));
	answer_put(answer, "sender", answer_text(question->sender));
	answer_put(answer, "send", json_boolean(question->send));
	answer_put(answer, "route", answer_text(route ? route->name : NULL));
	answer_put(answer, "routes", route_rows(conf, taken, question));
	answer_put(answer, "relays", relay_rows(doors, route));
	for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++)
		answer_put(answer, unknown[i], json_null());
	return answer;
}

/* ---- what came of it ---- */

static void put_result(json_t *answer, enum probe_end end, bool ambiguous, const char *text)
{
	answer_put(answer, "accepted", json_boolean(end == PROBE_ACCEPTED));
	answer_put(answer, "result", answer_text(probe_end_names[end]));
	answer_put(answer, "ambiguous", json_boolean(ambiguous));
	answer_put(answer, "text", answer_text(text));
}

static json_t *text_or_null(const char *text)
{
	return answer_text(*text ? text : NULL);
}

static void put_trace(json_t *answer, const struct connection_trace *trace)
{
	json_t *addresses = json_array();
	for (size_t i = 0; i < trace->address_count && i < TRACE_ADDRESSES; i++)
		if (json_array_append_new(addresses, answer_text(trace->addresses[i])) == -1)
			abort();
	answer_put(answer, "addresses", addresses);
	answer_put(answer, "address_count", answer_count(trace->address_count));
	answer_put(answer, "tls", text_or_null(trace->tls));
	answer_put(answer, "mechanism", text_or_null(trace->mechanism));
}

static json_t *reply_text(const struct reply *reply)
{
	char line[REPLY_TEXT_MAX];
	return answer_text(reply ? reply_line(reply, line, sizeof(line)) : NULL);
}

static void put_replies(json_t *answer, const struct probe_result *result)
{
	json_t *replies = json_object();
	answer_put(replies, "banner", result->trace ? text_or_null(result->trace->banner) : json_null());
	answer_put(replies, "auth", result->trace ? text_or_null(result->trace->auth) : json_null());
	answer_put(replies, "mail", reply_text(result->mail));
	answer_put(replies, "rcpt", reply_text(result->rcpt));
	answer_put(replies, "data", reply_text(result->data));
	answer_put(replies, "reply", reply_text(result->reply));
	answer_put(answer, "replies", replies);
}

/* From the pool on; the time of RSET has a name of its own, for it is no verdict. */
static void put_stages(json_t *answer, const struct journey *journey, bool send)
{
	json_t *stages = json_object();
	for (enum stage stage = STAGE_POOL; stage < STAGE_REPLY; stage++)
		answer_put(stages, stage_names[stage], answer_seconds(journey->spent[stage]));
	answer_put(stages, "rset", send ? json_null() : answer_seconds(journey->spent[STAGE_REPLY]));
	answer_put(stages, "reply", send ? answer_seconds(journey->spent[STAGE_REPLY]) : json_null());
	answer_put(answer, "stages", stages);
}

/* Of the stages from one to another, those that were seen. */
static usec_t sum(const struct journey *journey, enum stage from, enum stage to)
{
	usec_t all = 0;
	for (enum stage stage = from; stage <= to; stage++)
		all += journey->spent[stage] > 0 ? journey->spent[stage] : 0;
	return all;
}

/* How long a message takes to get as far, without a wait for a connection. */
static void put_times(json_t *answer, const struct journey *journey, bool send)
{
	enum stage last = send ? STAGE_REPLY : STAGE_RCPT;
	answer_put(answer, "first", answer_seconds(sum(journey, STAGE_DNS, last)));
	answer_put(answer, "open", answer_seconds(sum(journey, STAGE_MAIL, last)));
}

static const char *ended_in(const struct probe_result *result, bool send)
{
	if (result->stage == STAGE_COUNT)
		return NULL;
	return result->stage == STAGE_REPLY && !send ? "rset" : stage_names[result->stage];
}

static void on_done(const struct probe_result *result, void *arg)
{
	static const char *const modes[] = {
		[TLS_NONE] = "none", [TLS_STARTTLS] = "starttls", [TLS_IMPLICIT] = "implicit"};
	struct later *later = arg;
	json_t *answer = later->answer;
	char announced[512];
	answer_put(answer, "relay", answer_text(result->relay->name));
	answer_put(answer, "tls_mode", answer_text(modes[result->relay->tls]));
	if (strcmp(result->host, "-") != 0)
		answer_put(answer, "host", answer_text(result->host));
	if (result->connection > 0)
		answer_put(answer, "connection", answer_count(result->connection));
	if (result->trace)
		put_trace(answer, result->trace);
	if (result->trace && *result->trace->tls)
		answer_put(answer, "tls_verified", json_boolean(result->relay->tls_verify));
	if (result->announced)
		answer_put(answer, "announced",
			   text_or_null(capabilities_format(result->announced, announced, sizeof(announced))));
	put_replies(answer, result);
	put_stages(answer, result->journey, later->send);
	if (result->end == PROBE_ACCEPTED)
		put_times(answer, result->journey, later->send);
	answer_put(answer, "stage", answer_text(ended_in(result, later->send)));
	answer_put(answer, "cause", answer_text(result->cause < CAUSE_COUNT ? cause_names[result->cause] : NULL));
	put_result(answer, result->end, result->ambiguous, result->why);
	later->done(answer, later->arg);
	under_way--;
	free(later);
}

/* Somebody to ask, or all that is known without asking. */
static json_t *begin(const struct control_doors *doors, const struct conf *conf, const struct question *question,
		     struct later *later)
{
	const struct probe_request request = {
		.sender = question->sender, .recipient = question->recipient, .send = question->send};
	char error[PROBE_ERROR_SIZE];
	later->answer = answer_begin(doors, conf, question);
	later->probe = router_probe(doors->router, &request, on_done, later, error);
	if (later->probe)
		return NULL;
	put_result(later->answer, PROBE_FAILED, false, error);
	return later->answer;
}

json_t *answer_test_route(const struct control_doors *doors, const struct arguments *arguments, later_done_fn *done,
			  void *arg, struct later **later)
{
	struct control_view view;
	struct question question = {0};
	doors->look(&view);
	json_t *answer = question_read(arguments, view.conf, &question);
	if (!answer && under_way >= CONTROL_LATER_MAX)
		answer = answer_refuse(REFUSAL_FAILED, "%d such tests are under way; try again when one has ended",
				       CONTROL_LATER_MAX);
	if (!answer) {
		struct later *made = mem_alloc(sizeof(*made));
		*made = (struct later){.send = question.send, .done = done, .arg = arg};
		answer = begin(doors, view.conf, &question, made);
		if (answer) {
			free(made);
		} else {
			under_way++;
			*later = made;
		}
	}
	question_clear(&question);
	return answer;
}

void later_cancel(struct later *later)
{
	probe_cancel(later->probe);
	json_decref(later->answer);
	under_way--;
	free(later);
}
