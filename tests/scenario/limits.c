/*
 * The limits of a scripted relay (limits.h): counted here, by the scripted clock; behaviour.c asks at each step that
 * the relay has no other orders for, and relay.c says when a connection begins and ends.
 */
#include "limits.h"

#include <event2/buffer.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "relay.h"

/* A connection that has lived too long is busy: look again after so long whether it still is. */
#define LOOK_AGAIN (100 * USEC_PER_MSEC)

static const char *const refuses_names[REFUSES_COUNT] = {"banner", "auth", "silent"};

#define SERVICE_CLOSING "421 4.3.2 Service closing"
static const struct refusal in_silence = {NULL, true};
static const struct refusal without_reason = {SERVICE_CLOSING, true};
static const struct refusal too_many_connections = {"421 4.4.5 Too many connections from your host", true};
static const struct refusal too_many_sessions = {"432 4.3.2 Concurrent connections limit exceeded", true};
static const struct refusal too_many_messages = {"421 4.7.0 Maximum message count per session reached", true};
static const struct refusal too_old = {"421 4.4.2 SMTP session maximum lifetime has been reached", true};
static const struct refusal idle_too_long = {"421 4.4.2 Error: timeout exceeded", true};
static const struct refusal too_fast = {"450 4.7.1 Error: too much mail from 127.0.0.1", false};
static const struct refusal throttled = {"454 4.7.0 Throttling failure: Maximum sending rate exceeded", false};

/* ---- settings ---- */

void limits_init(struct relay_limits *limits)
{
	memset(limits, 0, sizeof(*limits));
	limits->connections = limits->messages = limits->rate = NO_LIMIT;
}

/* "N" or "none". */
static bool read_count(const char *text, unsigned *out)
{
	char *end;

	*out = strcmp(text, "none") == 0 ? NO_LIMIT : (unsigned)strtoul(text, &end, 10);
	return *text != '\0' && (*out == NO_LIMIT || *end == '\0');
}

/* Seconds or "none". */
static bool read_seconds(const char *text, usec_t *out)
{
	unsigned seconds;

	if (!read_count(text, &seconds))
		return false;
	*out = seconds == NO_LIMIT ? 0 : seconds * USEC_PER_SEC;
	return true;
}

static bool read_milliseconds(const char *text, usec_t *out)
{
	unsigned count;

	if (!read_count(text, &count))
		return false;
	*out = count == NO_LIMIT ? 0 : count * USEC_PER_MSEC;
	return true;
}

/* "N/SECONDS" or "none". */
static bool read_window(const char *text, struct relay_limits *limits)
{
	unsigned seconds = 0;
	int used = 0;

	limits->rate = NO_LIMIT;
	if (strcmp(text, "none") == 0)
		return true;
	if (sscanf(text, "%u/%u%n", &limits->rate, &seconds, &used) != 2 || text[used] != '\0' || seconds == 0)
		return false;
	limits->window = seconds * USEC_PER_SEC;
	return true;
}

/* The same, counted back from each message. */
static bool read_any_window(const char *text, struct relay_limits *limits)
{
	unsigned seconds = 0;
	int used = 0;

	limits->any_rate = 0;
	if (strcmp(text, "none") == 0)
		return true;
	if (sscanf(text, "%u/%u%n", &limits->any_rate, &seconds, &used) != 2 || text[used] != '\0')
		return false;
	limits->any_window = seconds * USEC_PER_SEC;
	limits->times_count = 0;
	return limits->any_rate > 0 && limits->any_rate <= TIMES_MOST && seconds > 0;
}

/* "RATE,BURST" or "none". It is full at first. */
static bool read_bucket(const char *text, struct relay_limits *limits)
{
	int used = 0;

	limits->refill = 0;
	if (strcmp(text, "none") == 0)
		return true;
	if (sscanf(text, "%lf,%lf%n", &limits->refill, &limits->burst, &used) != 2 || text[used] != '\0')
		return false;
	limits->tokens = limits->burst;
	limits->tokens_at = clock_now();
	return limits->refill > 0 && limits->burst >= 1;
}

static bool read_refuses(const char *text, enum limits_refuses *out)
{
	for (unsigned i = 0; i < REFUSES_COUNT; i++) {
		if (strcmp(text, refuses_names[i]) == 0) {
			*out = i;
			return true;
		}
	}
	return false;
}

/* One of two words. */
static bool read_choice(const char *text, const char *no, const char *yes, bool *out)
{
	*out = strcmp(text, yes) == 0;
	return *out || strcmp(text, no) == 0;
}

bool limits_set(struct relay_limits *limits, const char *setting)
{
	const char *equals = strchr(setting, '=');
	size_t length = equals == NULL ? 0 : (size_t)(equals - setting) + 1;
	const char *value = setting + length;

	if (strncmp(setting, "most-connections=", length) == 0)
		return read_count(value, &limits->connections);
	if (strncmp(setting, "counts-longer=", length) == 0)
		return read_milliseconds(value, &limits->counts_longer);
	if (strncmp(setting, "refuses=", length) == 0)
		return read_refuses(value, &limits->refuses);
	if (strncmp(setting, "most-messages=", length) == 0)
		return read_count(value, &limits->messages);
	if (strncmp(setting, "life=", length) == 0)
		return read_seconds(value, &limits->life);
	if (strncmp(setting, "idle=", length) == 0)
		return read_seconds(value, &limits->idle);
	if (strncmp(setting, "most-rate=", length) == 0)
		return read_window(value, limits);
	if (strncmp(setting, "most-in-any=", length) == 0)
		return read_any_window(value, limits);
	if (strncmp(setting, "bucket=", length) == 0)
		return read_bucket(value, limits);
	if (strncmp(setting, "refuses-at=", length) == 0)
		return read_choice(value, "mail", "end", &limits->at_end);
	return strncmp(setting, "says-why=", length) == 0 && read_choice(value, "yes", "no", &limits->mute);
}

/* ---- a connection's time ---- */

/* Nothing is asked, nothing under way. */
static bool is_idle(const struct relay_connection *c)
{
	return c->mode == MODE_COMMANDS && c->ending == ACTION_DEFAULT && c->actions == NULL && c->open == NULL &&
	       evbuffer_get_length(bufferevent_get_input(c->bev)) == 0;
}

/* Between two transactions: nobody's message is refused. */
static void expire(struct relay_connection *c, const struct refusal *why)
{
	static const struct action close_only = {.kind = ACTION_CLOSE};
	static struct action say_and_close[] = {{.kind = ACTION_SAY}, {.kind = ACTION_CLOSE}};

	c->relay->limits.expired++;
	c->step = STEP_IDLE;
	say_and_close[0].text = (char *)why->text;
	say_and_close[0].length = strlen(why->text);
	if (c->relay->limits.mute)
		behaviour_do(c, &close_only, 1);
	else
		behaviour_do(c, say_and_close, 2);
}

static void on_life(void *connection)
{
	struct relay_connection *c = connection;

	if (is_idle(c))
		expire(c, &too_old);
	else
		timer_arm(&c->limits.life, LOOK_AGAIN);
}

static void on_idle(void *connection)
{
	struct relay_connection *c = connection;

	if (is_idle(c))
		expire(c, &idle_too_long);
	else
		limits_touch(c);
}

void limits_begin(struct relay_connection *c)
{
	c->limits.began = clock_now();
	timer_init(&c->limits.life, "scripted relay: life", on_life, c);
	timer_init(&c->limits.idle, "scripted relay: idle", on_idle, c);
	if (c->relay->limits.life > 0)
		timer_arm(&c->limits.life, c->relay->limits.life);
}

void limits_touch(struct relay_connection *c)
{
	if (c->relay->limits.idle > 0)
		timer_arm(&c->limits.idle, c->relay->limits.idle);
}

void limits_end(struct relay_connection *c)
{
	timer_cancel(&c->limits.life);
	timer_cancel(&c->limits.idle);
}

/* ---- judging ---- */

static bool still_counts(const struct relay_connection *c)
{
	usec_t longer = c->relay->limits.counts_longer;

	return scripted_relay_holds(c) || (longer > 0 && c->bev == NULL && clock_now() - c->closed_at < longer);
}

static bool one_too_many(struct relay_connection *c)
{
	unsigned others = 0;

	LIST_EACH (node, next, &c->relay->connections) {
		const struct relay_connection *other = LIST_ENTRY_OF(node, struct relay_connection, node);

		others += other != c && other->limits.admitted && still_counts(other);
	}
	c->limits.admitted = others < c->relay->limits.connections;
	return !c->limits.admitted;
}

static const struct refusal *judge_connection(struct relay_connection *c)
{
	static const enum step steps[REFUSES_COUNT] = {STEP_BANNER, STEP_AUTH, STEP_CONNECT};
	static const struct refusal *const refusals[REFUSES_COUNT] = {&too_many_connections, &too_many_sessions,
								      &in_silence};
	const struct relay_limits *limits = &c->relay->limits;

	if (c->step != steps[limits->refuses] || !one_too_many(c))
		return NULL;
	return limits->mute && limits->refuses != REFUSES_SILENT ? &without_reason : refusals[limits->refuses];
}

static bool too_many_in_window(struct relay_limits *limits)
{
	if (limits->rate == NO_LIMIT)
		return false;
	if (clock_now() - limits->window_began >= limits->window) {
		limits->window_began = clock_now();
		limits->window_count = 0;
	}
	return limits->window_count++ >= limits->rate;
}

static bool bucket_empty(struct relay_limits *limits)
{
	if (limits->refill <= 0)
		return false;
	limits->tokens += (double)(clock_now() - limits->tokens_at) / (double)USEC_PER_SEC * limits->refill;
	limits->tokens_at = clock_now();
	if (limits->tokens > limits->burst)
		limits->tokens = limits->burst;
	if (limits->tokens < 1)
		return true;
	limits->tokens--;
	return false;
}

static bool too_many_of_late(struct relay_limits *limits)
{
	usec_t *time = &limits->times[limits->times_count % (limits->any_rate > 0 ? limits->any_rate : 1)];

	if (limits->any_rate == 0)
		return false;
	if (limits->times_count >= limits->any_rate && clock_now() - *time < limits->any_window)
		return true;
	*time = clock_now();
	limits->times_count++;
	return false;
}

static bool beyond_rate(struct relay_limits *limits)
{
	return bucket_empty(limits) || too_many_of_late(limits);
}

static const struct refusal *judge_mail(struct relay_connection *c)
{
	struct relay_limits *limits = &c->relay->limits;

	if (c->limits.messages >= limits->messages)
		return limits->mute ? &without_reason : &too_many_messages;
	if (too_many_in_window(limits))
		return &too_fast;
	if (!limits->at_end && beyond_rate(limits))
		return &throttled;
	c->limits.messages++;
	return NULL;
}

static bool has_lived(const struct relay_connection *c)
{
	usec_t life = c->relay->limits.life;

	return life > 0 && clock_now() - c->limits.began >= life;
}

static const struct refusal *judge(struct relay_connection *c)
{
	switch (c->step) {
	case STEP_CONNECT:
	case STEP_BANNER:
	case STEP_AUTH:
		return judge_connection(c);
	case STEP_MAIL:
	case STEP_RCPT:
	case STEP_DATA:
	case STEP_BDAT:
	case STEP_RSET:
		if (has_lived(c))
			return c->relay->limits.mute ? &without_reason : &too_old;
		return c->step == STEP_MAIL ? judge_mail(c) : NULL;
	case STEP_END:
		return c->relay->limits.at_end && beyond_rate(&c->relay->limits) ? &throttled : NULL;
	default:
		return NULL;
	}
}

const struct refusal *limits_refuse(struct relay_connection *c)
{
	const struct refusal *refusal = judge(c);

	if (refusal != NULL)
		c->relay->limits.refused++;
	return refusal;
}
