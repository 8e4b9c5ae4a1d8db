/*
 * What the scripted relay says when (relay.h): the well-behaved ESMTP server, the rules that deviate from it, and what
 * no client may do. Called by relay.c and the world; touches no socket.
 */
#include <ctype.h>
#include <event2/buffer.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "relay.h"

const char *const step_names[STEP_COUNT] = {
	"connect", "banner", "ehlo", "starttls", "tls",  "auth", "auth-line", "mail", "rcpt",
	"data",    "bdat",   "body", "end",      "rset", "quit", "unknown",   "eof",  "idle",
};
const char *const action_names[ACTION_KINDS] = {
	"default", "say",  "raw",   "long",  "lines",  "accept", "handshake",
	"notify",  "wait", "close", "reset", "silent", "deaf",
};

/* ---- the record ---- */

void accepted_free(struct accepted *accepted)
{
	if (accepted == NULL)
		return;
	for (size_t i = 0; i < accepted->rcpt_count; i++)
		free(accepted->rcpts[i]);
	free(accepted->rcpts);
	free(accepted->mail);
	free(accepted->body);
	free(accepted);
}

/* By the number of the last one: counting thousands for each message takes its time. */
static unsigned accepted_before(const struct scripted_relay *relay)
{
	if (list_empty(&relay->accepted))
		return 0;
	return LIST_ENTRY_OF(relay->accepted.prev, struct accepted, node)->number;
}

void rule_free(struct rule *rule)
{
	for (size_t i = 0; i < rule->count; i++)
		free(rule->actions[i].text);
	free(rule->actions);
	free(rule->with);
	free(rule);
}

static void transaction_forget(struct relay_connection *c)
{
	accepted_free(c->open);
	c->open = NULL;
	evbuffer_drain(c->body, evbuffer_get_length(c->body));
	c->body_begun = false;
}

static void transaction_accept(struct relay_connection *c)
{
	if (c->open == NULL || c->step != STEP_END)
		return;
	c->open->number = accepted_before(c->relay) + 1;
	list_append(&c->relay->accepted, &c->open->node);
	c->open = NULL;
}

/* ---- what was announced ---- */

/* The keyword at the beginning of one of the comma separated `items`; where its parameters begin, NULL if not there. */
static const char *find_keyword(const char *items, const char *keyword)
{
	size_t length = strlen(keyword);

	for (const char *item = items; item != NULL && *item != '\0';) {
		const char *comma = strchr(item, ',');

		item += strspn(item, " ");
		if (strncasecmp(item, keyword, length) == 0 && strchr(" ,", item[length]) != NULL)
			return item + length;
		item = comma == NULL ? NULL : comma + 1;
	}
	return NULL;
}

/* Where the parameters of this keyword begin in the last reply to EHLO; NULL if it was not there. */
static const char *announced(const struct relay_connection *c, const char *keyword)
{
	size_t length = strlen(keyword);

	for (const char *line = c->announced; line != NULL; line = strchr(line, '\n')) {
		if (*line == '\n')
			line++;
		if (strlen(line) > 4 && strncasecmp(line + 4, keyword, length) == 0 &&
		    strchr(" \r\n", line[4 + length]) != NULL)
			return line + 4 + length;
	}
	return NULL;
}

/* The caller's. */
static char *ehlo_reply(const struct relay_connection *c)
{
	const struct scripted_relay *relay = c->relay;
	bool tls = relay->starttls && !c->tls;
	bool auth = relay->username != NULL && (!relay->needs_tls || c->tls);
	char *items = mem_printf("%s%s%s", relay->offers, tls ? ",STARTTLS" : "",
				 auth && find_keyword(relay->offers, "AUTH") == NULL ? ",AUTH PLAIN LOGIN" : "");
	char *reply = mem_printf("250-%s greets you", relay->name);
	char *rest = items;
	char *item;

	while ((item = strsep(&rest, ",")) != NULL) {
		char *keyword = mem_strndup(item, strcspn(item, " "));
		char *longer;

		if (*item != '\0' && find_keyword(relay->without, keyword) == NULL) {
			longer = mem_printf("%s\r\n250-%s", reply, item);
			free(reply);
			reply = longer;
		}
		free(keyword);
	}
	free(items);
	*(strrchr(reply, '\n') == NULL ? reply + 3 : strrchr(reply, '\n') + 4) = ' ';
	return reply;
}

/* ---- saying something ---- */

static void add_rcpt(struct relay_connection *c)
{
	if (c->open == NULL)
		return;
	c->open->rcpts = mem_realloc(c->open->rcpts, (c->open->rcpt_count + 1) * sizeof(char *));
	c->open->rcpts[c->open->rcpt_count++] = mem_strdup(c->command);
}

/* The first reply at a step decides what becomes of the command; `text` is the reply. */
static void decide(struct relay_connection *c, const char *text)
{
	bool good = c->first_code / 100 == 2;

	switch (c->step) {
	case STEP_EHLO:
		transaction_forget(c);
		free(c->announced);
		c->announced = mem_strdup(good ? text : "");
		break;
	case STEP_MAIL:
		if (good && c->open == NULL) {
			c->open = mem_alloc(sizeof(*c->open));
			list_init(&c->open->node);
			c->open->connection = c->number;
			c->open->mail = mem_strdup(c->command);
		}
		break;
	case STEP_RCPT:
		if (good)
			add_rcpt(c);
		break;
	case STEP_DATA:
		if (c->first_code == 354)
			c->mode = MODE_BODY;
		break;
	case STEP_END:
		if (good)
			transaction_accept(c);
		break;
	case STEP_RSET:
		transaction_forget(c);
		break;
	case STEP_AUTH:
	case STEP_AUTH_LINE:
		c->mode = c->first_code == 334 ? MODE_AUTH : MODE_COMMANDS;
		c->authenticated = good;
		break;
	default:
		break;
	}
	if (c->step >= STEP_MAIL && c->step <= STEP_END && c->first_code / 100 > 3)
		c->untidy = true;
	if (c->step == STEP_RSET || (c->step == STEP_END && good))
		c->untidy = false;
}

static void say(struct relay_connection *c, const char *text, size_t length, bool line_end)
{
	if (c->first_code == 0) {
		c->first_code = isdigit((unsigned char)*text) ? atoi(text) : 999;
		while (c->first_code > 0 && c->first_code < 100)
			c->first_code *= 10;
		decide(c, text);
	}
	c->relay->said(c, "S:", text, c->relay->arg);
	if (line_end) {
		char *line = mem_alloc(length + 3);

		memcpy(line, text, length);
		memcpy(line + length, "\r\n", 3);
		relay_write(c, line, length + 2);
		free(line);
	} else {
		relay_write(c, text, length);
	}
}

static void reply(struct relay_connection *c, const char *text)
{
	say(c, text, strlen(text), true);
}

/* ---- the well-behaved server ---- */

static bool equals_base64(const char *sent, const char *plain, size_t length)
{
	unsigned char *encoded = mem_alloc(4 * (length / 3 + 1) + 1);
	bool same;

	EVP_EncodeBlock(encoded, (const unsigned char *)plain, (int)length);
	same = strcmp(sent, (const char *)encoded) == 0;
	free(encoded);
	return same;
}

static void auth_verdict(struct relay_connection *c, bool good)
{
	reply(c, good ? "235 2.7.0 Authentication successful" : "535 5.7.8 Authentication credentials invalid");
}

static bool plain_is_right(const struct relay_connection *c, const char *sent)
{
	char *plain = mem_printf("0%s0%s", c->relay->username, c->relay->password);
	size_t length = strlen(plain);
	bool same;

	plain[0] = plain[1 + strlen(c->relay->username)] = '\0';
	same = equals_base64(sent, plain, length);
	free(plain);
	return same;
}

/* AUTH PLAIN with or without initial response, AUTH LOGIN without. */
static void reply_to_auth(struct relay_connection *c)
{
	const char *arguments = c->command + strlen("AUTH ");

	c->auth_line = 0;
	if (c->relay->username == NULL || c->authenticated)
		reply(c, "503 5.5.1 AUTH not expected");
	else if (strncasecmp(arguments, "PLAIN ", 6) == 0)
		auth_verdict(c, plain_is_right(c, arguments + 6));
	else if (strcasecmp(arguments, "PLAIN") == 0)
		reply(c, "334 ");
	else if (strcasecmp(arguments, "LOGIN") == 0)
		reply(c, "334 VXNlcm5hbWU6");
	else
		reply(c, "504 5.5.4 Unknown mechanism");
	if (strcasecmp(arguments, "LOGIN") == 0)
		c->auth_line = 1;
}

static void reply_to_auth_line(struct relay_connection *c)
{
	const struct scripted_relay *relay = c->relay;

	if (strcmp(c->command, "*") == 0) {
		reply(c, "501 5.7.0 Cancelled");
	} else if (c->auth_line == 0) {
		auth_verdict(c, plain_is_right(c, c->command));
	} else if (c->auth_line == 1) {
		c->auth_line = equals_base64(c->command, relay->username, strlen(relay->username)) ? 2 : 3;
		reply(c, "334 UGFzc3dvcmQ6");
	} else {
		auth_verdict(c,
			     c->auth_line == 2 && equals_base64(c->command, relay->password, strlen(relay->password)));
	}
}

static bool too_large(const struct relay_connection *c)
{
	const char *limit = find_keyword(c->relay->offers, "SIZE");
	const char *size = strstr(c->command, " SIZE=");

	if (limit == NULL || size == NULL || strtoull(limit, NULL, 10) == 0)
		return false;
	return strtoull(size + 6, NULL, 10) > strtoull(limit, NULL, 10);
}

static void reply_to_mail(struct relay_connection *c)
{
	if (c->announced == NULL)
		reply(c, "503 5.5.1 EHLO first");
	else if (c->relay->username != NULL && !c->authenticated)
		reply(c, "530 5.7.0 Authentication required");
	else if (c->open != NULL)
		reply(c, "503 5.5.1 Nested MAIL");
	else if (too_large(c))
		reply(c, "552 5.3.4 Too large");
	else
		reply(c, "250 2.1.0 Ok");
}

/* "BDAT SIZE [LAST]" (RFC 3030 §2). False if it is none. */
static bool read_bdat(const char *line, size_t *octets, bool *last)
{
	const char *figure = line + strlen("BDAT ");
	char *end;

	if (line[strlen("BDAT")] != ' ' || !isdigit((unsigned char)*figure))
		return false;
	*octets = strtoul(figure, &end, 10);
	*last = strcasecmp(end, " LAST") == 0;
	return *last || *end == '\0';
}

/* So many octets more are beyond the figure that SIZE announced. */
static bool chunk_too_large(const struct relay_connection *c, size_t octets)
{
	const char *limit = announced(c, "SIZE");
	size_t most = limit != NULL && isdigit((unsigned char)limit[strspn(limit, " ")]) ? strtoul(limit, NULL, 10) : 0;

	return most != 0 && (octets > most || evbuffer_get_length(c->body) > most - octets);
}

/* NULL if the chunk is welcome. */
static const char *refuse_chunk(const struct relay_connection *c)
{
	if (announced(c, "CHUNKING") == NULL)
		return "502 5.5.1 Not offered";
	if (c->open == NULL)
		return "503 5.5.1 MAIL first";
	if (c->open->rcpt_count == 0)
		return "554 5.5.1 No valid recipients";
	return chunk_too_large(c, c->chunk_left) ? "552 5.3.4 Too large" : NULL;
}

/* After the step: what was said at it was the reply. Refused or not, the octets come (RFC 3030 §2). */
static void begin_chunk(struct relay_connection *c)
{
	if (!read_bdat(c->command, &c->chunk_left, &c->chunk_last)) {
		if (c->first_code == 0)
			reply(c, "501 5.5.4 BDAT SIZE [LAST]");
		return;
	}
	c->refusal = c->first_code == 0 ? refuse_chunk(c) : NULL;
	c->swallowed = c->first_code != 0 || c->refusal != NULL;
	c->body_begun = false;
	c->mode = MODE_CHUNK;
}

static void reply_by_default(struct relay_connection *c)
{
	char *text;

	switch (c->step) {
	case STEP_BANNER:
		text = mem_printf("220 %s ESMTP", c->relay->name);
		break;
	case STEP_EHLO:
		text = ehlo_reply(c);
		break;
	case STEP_END:
		text = mem_printf("250 2.0.0 Ok: queued as %s%u", c->relay->name, accepted_before(c->relay) + 1);
		break;
	default:
		return;
	}
	reply(c, text);
	free(text);
}

static void behave_well(struct relay_connection *c)
{
	switch (c->step) {
	case STEP_STARTTLS:
		reply(c, c->relay->starttls && !c->tls ? "220 2.0.0 Ready to start TLS" : "502 5.5.1 Not offered");
		break;
	case STEP_TLS:
		relay_handshake(c);
		break;
	case STEP_AUTH:
		reply_to_auth(c);
		break;
	case STEP_AUTH_LINE:
		reply_to_auth_line(c);
		break;
	case STEP_MAIL:
		reply_to_mail(c);
		break;
	case STEP_RCPT:
		reply(c, c->open == NULL ? "503 5.5.1 MAIL first" : "250 2.1.5 Ok");
		break;
	case STEP_DATA:
		if (c->open == NULL)
			reply(c, "503 5.5.1 MAIL first");
		else if (evbuffer_get_length(c->body) > 0)
			reply(c, "503 5.5.1 DATA after BDAT");
		else
			reply(c, c->open->rcpt_count == 0 ? "554 5.5.1 No valid recipients" : "354 Go ahead");
		break;
	case STEP_RSET:
		reply(c, "250 2.0.0 Ok");
		break;
	case STEP_QUIT:
		reply(c, "221 2.0.0 Bye");
		relay_end(c, ACTION_CLOSE);
		break;
	case STEP_UNKNOWN:
		reply(c, "500 5.5.2 Unknown command");
		break;
	case STEP_EOF:
		relay_end(c, ACTION_CLOSE);
		break;
	default:
		reply_by_default(c);
		break;
	}
}

/* What it does of itself: refuses what is beyond its limits, and else behaves well. */
static void do_default(struct relay_connection *c)
{
	const struct refusal *refusal = limits_refuse(c);

	if (refusal == NULL) {
		behave_well(c);
		return;
	}
	if (refusal->text != NULL)
		reply(c, refusal->text);
	if (refusal->closes)
		relay_end(c, ACTION_CLOSE);
}

/* ---- rules ---- */

static const struct action default_action = {.kind = ACTION_DEFAULT};

/* The first rule whose turn it is. Each rule counts the times it fits, taken or not. */
static const struct rule *find_rule(struct relay_connection *c)
{
	const struct rule *found = NULL;

	LIST_EACH (node, next, &c->relay->rules) {
		struct rule *rule = LIST_ENTRY_OF(node, struct rule, node);

		if (rule->step != c->step || (rule->connection != 0 && rule->connection != c->number))
			continue;
		if (rule->with != NULL && (c->command == NULL || strstr(c->command, rule->with) == NULL))
			continue;
		if (rule->pipelined && evbuffer_get_length(bufferevent_get_input(c->bev)) == 0)
			continue;
		rule->seen++;
		if (found == NULL && rule->seen >= rule->from && rule->seen <= rule->to &&
		    (rule->every < 2 || (rule->seen - rule->from) % rule->every == 0))
			found = rule;
	}
	return found;
}

/* ---- chaos ---- */

#define SAY(words)                                                                       \
	{                                                                                \
		.kind = ACTION_SAY, .text = (char *)(words), .length = sizeof(words) - 1 \
	}
#define RAW(words)                                                                       \
	{                                                                                \
		.kind = ACTION_RAW, .text = (char *)(words), .length = sizeof(words) - 1 \
	}
#define WAIT(seconds)                                                \
	{                                                            \
		.kind = ACTION_WAIT, .delay = (seconds)*USEC_PER_SEC \
	}

/* What may happen at any step; a message is accepted only by `default` and `accept`. No 5xx: nothing may bounce. */
static const struct mishap {
	size_t count;
	struct action actions[3];
} mishaps[] = {
	{1, {{.kind = ACTION_RESET}}},
	{1, {{.kind = ACTION_CLOSE}}},
	{1, {{.kind = ACTION_SILENT}}},
	{2, {{.kind = ACTION_ACCEPT}, {.kind = ACTION_RESET}}},
	{2, {{.kind = ACTION_ACCEPT}, {.kind = ACTION_SILENT}}},
	{2, {{.kind = ACTION_DEFAULT}, {.kind = ACTION_CLOSE}}},
	{2, {{.kind = ACTION_DEFAULT}, {.kind = ACTION_RESET}}},
	{2, {SAY("421 4.3.2 Closing"), {.kind = ACTION_CLOSE}}},
	{1, {SAY("421 4.3.2 Closing")}},
	{1, {SAY("451 4.3.0 Not now")}},
	{1, {SAY("what?")}},
	{2, {SAY("354 Go ahead"), {.kind = ACTION_CLOSE}}},
	{2, {RAW("25"), {.kind = ACTION_CLOSE}}},
	{2, {{.kind = ACTION_DEFAULT}, SAY("250 2.0.0 again")}},
	{2, {{.kind = ACTION_DEFAULT}, SAY("354 again")}},
	{2, {{.kind = ACTION_DEFAULT}, SAY("451 4.3.0 again")}},
	{2, {{.kind = ACTION_DEFAULT}, SAY("550 5.7.1 again")}},
	{2, {{.kind = ACTION_DEFAULT}, SAY("503 5.5.1 again")}},
	{2, {WAIT(3), {.kind = ACTION_DEFAULT}}},
	{3, {WAIT(40), {.kind = ACTION_DEFAULT}, {.kind = ACTION_CLOSE}}},
};
#define MISHAPS_WITHOUT_WORDS 3 /* the first ones */
#define MISHAPS (sizeof(mishaps) / sizeof(mishaps[0]))

/* Marsaglia's xorshift: the same seed gives the same scenario. */
static uint32_t next_random(uint32_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 17;
	*state ^= *state << 5;
	return *state;
}

/* One step in eight of a transaction, one in thirty of a set-up. */
static const struct mishap *find_mishap(struct relay_connection *c)
{
	uint32_t *state = &c->relay->chaos;

	if (*state == 0 || c->step == STEP_CONNECT || c->step == STEP_TLS || c->step == STEP_EOF)
		return NULL;
	if (next_random(state) % (c->step >= STEP_MAIL && c->step <= STEP_RSET ? 8 : 30) != 0)
		return NULL;
	/* What is said while a body is on its way is the reply to its end, for all that a client can see. */
	return &mishaps[next_random(state) %
			(c->step == STEP_BODY || c->step == STEP_BDAT ? MISHAPS_WITHOUT_WORDS : MISHAPS)];
}

/* ---- actions ---- */

static void say_long(struct relay_connection *c, const struct action *action)
{
	size_t length = action->length > action->number ? action->length : action->number;
	char *text = mem_alloc(length + 1);

	memset(text, 'x', length);
	memcpy(text, action->text, action->length);
	say(c, text, length, true);
	free(text);
}

static void say_lines(struct relay_connection *c, const struct action *action)
{
	char line[64];

	for (unsigned i = 1; i <= action->number; i++) {
		snprintf(line, sizeof(line), "%s%cline %u", action->text, i < action->number ? '-' : ' ', i);
		reply(c, line);
	}
}

static void carry_out(struct relay_connection *c, const struct action *action)
{
	switch (action->kind) {
	case ACTION_DEFAULT:
		do_default(c);
		break;
	case ACTION_SAY:
	case ACTION_RAW:
		c->slipped = c->slipped || (action->kind == ACTION_SAY && c->first_code != 0);
		say(c, action->text, action->length, action->kind == ACTION_SAY);
		break;
	case ACTION_LONG:
		say_long(c, action);
		break;
	case ACTION_LINES:
		say_lines(c, action);
		break;
	case ACTION_ACCEPT:
		transaction_accept(c);
		break;
	case ACTION_HANDSHAKE:
		relay_handshake(c);
		break;
	case ACTION_NOTIFY:
		relay_notify(c);
		break;
	case ACTION_WAIT:
		timer_arm(&c->wait, action->delay);
		if (c->step == STEP_BODY) /* the body is not to pile up here */
			bufferevent_disable(c->bev, EV_READ);
		break;
	case ACTION_CLOSE:
	case ACTION_RESET:
		relay_end(c, action->kind);
		break;
	case ACTION_SILENT:
		c->mode = MODE_SILENT;
		break;
	default: /* ACTION_DEAF */
		c->mode = MODE_DEAF;
		bufferevent_disable(c->bev, EV_READ);
		break;
	}
}

static bool over(const struct relay_connection *c)
{
	return c->bev == NULL || c->ending != ACTION_DEFAULT || c->mode == MODE_SILENT || c->mode == MODE_DEAF;
}

/* After the actions of a step: what follows of itself. */
static void after_step(struct relay_connection *c)
{
	switch (c->step) {
	case STEP_CONNECT:
		behaviour_step(c, c->relay->implicit_tls ? STEP_TLS : STEP_BANNER, NULL);
		break;
	case STEP_BANNER:
		c->mode = MODE_COMMANDS;
		break;
	case STEP_STARTTLS:
		if (c->first_code == 220 && c->mode != MODE_HANDSHAKE)
			behaviour_step(c, STEP_TLS, NULL);
		break;
	case STEP_TLS:
		free(c->announced);
		c->announced = NULL;
		if (c->mode != MODE_HANDSHAKE) /* the client's part of it means nothing to us */
			c->mode = MODE_SILENT;
		break;
	case STEP_BDAT:
		begin_chunk(c);
		break;
	case STEP_BODY:
		c->swallowed = c->mode == MODE_CHUNK && c->first_code != 0;
		c->untidy = c->untidy || (c->swallowed && c->first_code / 100 > 3);
		break;
	case STEP_END:
		transaction_forget(c);
		break;
	default:
		break;
	}
}

static void act(struct relay_connection *c)
{
	while (c->actions != NULL && c->action_next < c->action_count) {
		const struct action *action = &c->actions[c->action_next++];

		carry_out(c, action);
		if (over(c)) {
			c->actions = NULL;
			return;
		}
		if (action->kind == ACTION_WAIT)
			return;
	}
	c->actions = NULL;
	after_step(c);
}

void behaviour_do(struct relay_connection *c, const struct action *actions, size_t count)
{
	timer_cancel(&c->wait);
	c->first_code = 0;
	c->actions = actions;
	c->action_count = count;
	c->action_next = 0;
	act(c);
}

void behaviour_step(struct relay_connection *c, enum step step, char *command)
{
	const struct mishap *mishap;
	const struct rule *rule;

	free(c->command);
	c->command = command;
	c->step = step;
	limits_touch(c);
	rule = find_rule(c);
	mishap = rule == NULL ? find_mishap(c) : NULL;
	if (rule != NULL)
		behaviour_do(c, rule->actions, rule->count);
	else if (mishap != NULL)
		behaviour_do(c, mishap->actions, mishap->count);
	else
		behaviour_do(c, &default_action, 1);
}

/* ---- what the client says ---- */

static enum step step_of(const char *line)
{
	static const struct {
		const char *verb;
		enum step step;
	} verbs[] = {
		{"EHLO", STEP_EHLO}, {"HELO", STEP_EHLO}, {"STARTTLS", STEP_STARTTLS}, {"AUTH", STEP_AUTH},
		{"MAIL", STEP_MAIL}, {"RCPT", STEP_RCPT}, {"DATA", STEP_DATA},         {"BDAT", STEP_BDAT},
		{"RSET", STEP_RSET}, {"QUIT", STEP_QUIT},
	};

	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		size_t length = strlen(verbs[i].verb);

		if (strncasecmp(line, verbs[i].verb, length) == 0 && strchr(" ", line[length]) != NULL)
			return verbs[i].step;
	}
	return STEP_UNKNOWN;
}

/* Only what was announced after the last EHLO may be used (RFC 5321 §2.2.1). */
static void check_extensions(struct relay_connection *c, const char *line, size_t length)
{
	static const struct {
		const char *parameter, *keyword;
	} uses[] = {
		{" SIZE=", "SIZE"}, {" BODY=", "8BITMIME"}, {" SMTPUTF8", "SMTPUTF8"}, {" RET=", "DSN"},
		{" ENVID=", "DSN"}, {" NOTIFY=", "DSN"},    {" ORCPT=", "DSN"},
	};

	for (size_t i = 0; i < sizeof(uses) / sizeof(uses[0]); i++) {
		if (strstr(line, uses[i].parameter) != NULL && announced(c, uses[i].keyword) == NULL)
			relay_complain(c, "\"%s\" though %s was not announced", line, uses[i].keyword);
	}
	for (size_t i = 0; i < length; i++) {
		if ((unsigned char)line[i] > 127 && strstr(c->open != NULL ? c->open->mail : line, " SMTPUTF8") == NULL)
			relay_complain(c, "octets above 127 in \"%s\" without SMTPUTF8", line);
	}
}

/* RFC 3030 §2; and a relay with a limit is told the size at MAIL, where it can still spare itself the octets. */
static void check_bdat(struct relay_connection *c, const char *line)
{
	size_t octets;
	bool last;

	if (announced(c, "CHUNKING") == NULL)
		relay_complain(c, "\"%s\" though CHUNKING was not announced", line);
	if (!read_bdat(line, &octets, &last))
		relay_complain(c, "\"%s\" is no BDAT", line);
	else if (chunk_too_large(c, octets))
		relay_complain(c, "\"%s\" is more than SIZE allows", line);
	if (c->open != NULL && announced(c, "SIZE") != NULL && strstr(c->open->mail, " SIZE=") == NULL)
		relay_complain(c, "\"%s\" behind \"%s\", though SIZE was announced", line, c->open->mail);
}

/* One transaction, one way to give the body; RSET only where it may be of use, and where it must be. */
static void check_sequence(struct relay_connection *c, enum step step, const char *line)
{
	if (step == STEP_RSET && c->open == NULL && !c->untidy && announced(c, "CHUNKING") == NULL)
		relay_complain(c, "RSET though there is nothing to reset");
	if (step == STEP_MAIL && c->body_by == STEP_BDAT && (c->untidy || c->open != NULL) && !c->slipped)
		relay_complain(c, "\"%s\" without RSET though the BDAT before was refused or not the last", line);
	if ((step == STEP_DATA && c->body_by == STEP_BDAT) || (step == STEP_BDAT && c->body_by == STEP_DATA))
		relay_complain(c, "\"%s\": DATA and BDAT in one transaction", line);
}

/* RFC 2920 §3.1: what may follow at once, and behind what nothing may. Behind BDAT stand its octets. */
static void check_pipelining(struct relay_connection *c, enum step step, const char *line)
{
	if (evbuffer_get_length(bufferevent_get_input(c->bev)) == 0 || c->slipped || step == STEP_BDAT)
		return;
	if (announced(c, "PIPELINING") == NULL)
		relay_complain(c, "sent on behind \"%s\" though PIPELINING was not announced", line);
	else if (step != STEP_MAIL && step != STEP_RCPT && step != STEP_RSET)
		relay_complain(c, "sent on behind \"%s\" without awaiting its reply", line);
}

static void check_command(struct relay_connection *c, enum step step, const char *line, size_t length)
{
	for (size_t i = 0; i < length; i++) {
		if ((unsigned char)line[i] < ' ' || line[i] == 127)
			relay_complain(c, "control character in \"%s\"", line);
	}
	if (c->relay->needs_tls && !c->tls && step != STEP_EHLO && step != STEP_STARTTLS && step != STEP_QUIT)
		relay_complain(c, "\"%s\" in clear", line);
	if (step == STEP_UNKNOWN)
		relay_complain(c, "\"%s\" is not a command to expect", line);
	if (step == STEP_MAIL || step == STEP_RCPT)
		check_extensions(c, line, length);
	if (step == STEP_BDAT)
		check_bdat(c, line);
	check_sequence(c, step, line);
	check_pipelining(c, step, line);
}

/* What check_sequence() must know of later. */
static void note_sequence(struct relay_connection *c, enum step step)
{
	if (step == STEP_DATA || step == STEP_BDAT)
		c->body_by = step;
	else if (step == STEP_MAIL || step == STEP_RSET || step == STEP_EHLO)
		c->body_by = STEP_CONNECT;
}

static bool take_line(struct relay_connection *c)
{
	struct evbuffer *input = bufferevent_get_input(c->bev);
	size_t length = 0;
	char *line = evbuffer_readln(input, &length, EVBUFFER_EOL_CRLF_STRICT);
	struct heard *heard;
	enum step step;

	if (line == NULL) {
		if (evbuffer_get_length(input) > 8192)
			relay_complain(c, "a command line without end");
		return false;
	}
	heard = mem_alloc(sizeof(*heard));
	heard->connection = c->number;
	heard->line = mem_strdup(line);
	list_append(&c->relay->heard, &heard->node);
	c->relay->said(c, "C:", line, c->relay->arg);
	step = c->mode == MODE_AUTH ? STEP_AUTH_LINE : step_of(line);
	check_command(c, step, line, length);
	note_sequence(c, step);
	behaviour_step(c, step, line);
	return true;
}

/* ---- the body ---- */

/* RFC 5321 §2.3.8. There is an octet behind the last. */
static void check_text(struct relay_connection *c, const char *text, size_t length)
{
	for (size_t i = 0; i < length; i++) {
		if ((text[i] == '\n' && (i == 0 || text[i - 1] != '\r')) || (text[i] == '\r' && text[i + 1] != '\n') ||
		    text[i] == '\0')
			relay_complain(c, "a stray CR, LF or NUL in a body");
	}
}

/* RFC 5321 §4.5.2 undone; `raw` ends in CRLF. */
static void unstuff(struct relay_connection *c, const char *raw, size_t length)
{
	char *out = mem_alloc(length + 1);
	size_t used = 0;

	check_text(c, raw, length);
	for (size_t i = 0; i < length; i++) {
		bool line_start = i == 0 || raw[i - 1] == '\n';

		if (raw[i] != '.' || !line_start)
			out[used++] = raw[i];
		else if (raw[i + 1] != '.' || i + 1 == length)
			relay_complain(c, "a line of a body begins with a single dot");
	}
	c->open->body = out;
	c->open->length = used;
}

/* Where the end of data begins: its dot. -1 if it has not come. */
static ssize_t find_end(struct evbuffer *body, size_t old_length)
{
	struct evbuffer_ptr from, found;
	char start[3];

	if (evbuffer_copyout(body, start, 3) == 3 && memcmp(start, ".\r\n", 3) == 0)
		return 0;
	evbuffer_ptr_set(body, &from, old_length < 4 ? 0 : old_length - 4, EVBUFFER_PTR_SET);
	found = evbuffer_search(body, "\r\n.\r\n", 5, &from);
	return found.pos == -1 ? -1 : found.pos + 2;
}

static bool take_body(struct relay_connection *c)
{
	struct evbuffer *input = bufferevent_get_input(c->bev);
	size_t old_length = evbuffer_get_length(c->body);
	ssize_t end;

	if (evbuffer_get_length(input) == 0)
		return false;
	if (!c->body_begun) {
		c->body_begun = true;
		behaviour_step(c, STEP_BODY, NULL);
		return true;
	}
	evbuffer_add_buffer(c->body, input);
	if ((end = find_end(c->body, old_length)) == -1)
		return false;
	if (c->open != NULL)
		unstuff(c, (const char *)evbuffer_pullup(c->body, end + 1), (size_t)end);
	evbuffer_drain(c->body, (size_t)end + 3);
	evbuffer_prepend_buffer(input, c->body);
	c->relay->said(c, "C:", "(body, end of data)", c->relay->arg);
	if (evbuffer_get_length(input) > 0 && announced(c, "PIPELINING") == NULL)
		relay_complain(c, "sent on behind the end of data though PIPELINING was not announced");
	c->mode = MODE_COMMANDS;
	c->untidy = true; /* unless it is accepted */
	behaviour_step(c, STEP_END, NULL);
	return true;
}

/* ---- a body in chunks ---- */

/* All chunks are there: as they came. */
static void keep_chunks(struct relay_connection *c)
{
	size_t length = evbuffer_get_length(c->body);

	c->open->body = mem_alloc(length + 1);
	c->open->length = length;
	evbuffer_remove(c->body, c->open->body, length);
	check_text(c, c->open->body, length);
}

static void end_chunk(struct relay_connection *c)
{
	const char *what = c->chunk_last ? "(last chunk)" : "(chunk)";

	c->relay->said(c, "C:", c->swallowed ? "(chunk, swallowed)" : what, c->relay->arg);
	if (evbuffer_get_length(bufferevent_get_input(c->bev)) > 0 && announced(c, "PIPELINING") == NULL)
		relay_complain(c, "sent on behind a chunk though PIPELINING was not announced");
	c->mode = MODE_COMMANDS;
	if (c->swallowed) {
		if (c->refusal != NULL)
			reply(c, c->refusal);
		transaction_forget(c);
	} else if (!c->chunk_last) {
		reply(c, "250 2.0.0 Ok");
	} else {
		keep_chunks(c);
		c->untidy = true; /* unless it is accepted */
		behaviour_step(c, STEP_END, NULL);
	}
}

static bool take_chunk(struct relay_connection *c)
{
	struct evbuffer *input = bufferevent_get_input(c->bev);
	size_t length = evbuffer_get_length(input);

	if (length == 0 && c->chunk_left > 0)
		return false;
	if (c->chunk_left > 0 && !c->swallowed && !c->body_begun) {
		c->body_begun = true;
		behaviour_step(c, STEP_BODY, NULL);
		return true;
	}
	if (length > c->chunk_left)
		length = c->chunk_left;
	c->chunk_left -= length;
	if (c->swallowed)
		evbuffer_drain(input, length);
	else
		evbuffer_remove_buffer(input, c->body, length);
	if (c->chunk_left > 0)
		return false;
	end_chunk(c);
	return true;
}

/* A silent relay reads on. Whatever comes after an unanswered DATA would be a body that nobody asked for. */
static bool ignore(struct relay_connection *c)
{
	struct evbuffer *input = bufferevent_get_input(c->bev);
	size_t length = evbuffer_get_length(input);

	if (length > 0 && c->step == STEP_DATA && c->first_code == 0 && !c->slipped)
		relay_complain(c, "sent %zu octets after DATA without 354", length);
	evbuffer_drain(input, length);
	return false;
}

static bool take(struct relay_connection *c)
{
	switch (c->mode) {
	case MODE_COMMANDS:
	case MODE_AUTH:
		return take_line(c);
	case MODE_BODY:
		return take_body(c);
	case MODE_CHUNK:
		return take_chunk(c);
	case MODE_SILENT:
		return ignore(c);
	default:
		return false;
	}
}

void behaviour_proceed(struct relay_connection *c)
{
	while (c->actions == NULL && c->bev != NULL && c->ending == ACTION_DEFAULT && take(c))
		;
}

void behaviour_resume(void *connection)
{
	struct relay_connection *c = connection;

	if (c->command != NULL && c->first_code == 0)
		check_pipelining(c, c->step, c->command);
	bufferevent_enable(c->bev, EV_READ);
	act(c);
	behaviour_proceed(c);
}
