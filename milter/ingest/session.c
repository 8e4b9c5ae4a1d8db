/*
 * One session of the MTA: its life, what is read and written when. Called by the listener and by the router's verdicts;
 * what a command means is in dialogue.c. It reads only what it can answer: input and output are bounded, and while
 * verdicts are awaited pipelined commands stay where they are.
 */
#include <config.h>

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>

#include "base/conf.h"
#include "base/journey.h"
#include "base/log.h"
#include "base/log_limit.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/publish.h"
#include "session_private.h"
#include "smtp/command.h"
#include "smtp/envelope.h"
#include "smtp/reply.h"

#define INPUT_MAX 65536  /* octets read and not yet used */
#define OUTPUT_MAX 65536 /* octets of replies not yet taken, beyond which no further command is read */
#define ERRORS_MAX 20    /* in a session since its last message */

/*
 * From one message's verdicts (or the connection) to the next one's end of data: a client that dribbles commands or
 * octets fast enough for the limits below is cut here.
 */
#define MESSAGE_LIMIT (1800 * USEC_PER_SEC)

const char *const session_state_names[SESSION_STATES] = {
	[SESSION_ACCEPTED] = "accepted", [SESSION_GREETING] = "greeting", [SESSION_HELLO] = "hello",
	[SESSION_READY] = "ready",       [SESSION_ENVELOPE] = "envelope", [SESSION_BODY] = "body",
	[SESSION_VERDICTS] = "verdicts", [SESSION_CLOSING] = "closing",
};

/* How long a state may last without a complete command or, in the body, without an octet. */
static const usec_t state_limits[SESSION_STATES] = {
	[SESSION_ACCEPTED] = 300 * USEC_PER_SEC, [SESSION_GREETING] = 300 * USEC_PER_SEC,
	[SESSION_HELLO] = 300 * USEC_PER_SEC,    [SESSION_READY] = 300 * USEC_PER_SEC,
	[SESSION_ENVELOPE] = 300 * USEC_PER_SEC, [SESSION_BODY] = 180 * USEC_PER_SEC,
	[SESSION_VERDICTS] = USEC_PER_SEC, /* no limit of its own, the message has its deadline: see watch() */
	[SESSION_CLOSING] = 10 * USEC_PER_SEC,
};

/* ---- what is said ---- */

void session_say(struct session *session, const char *format, ...)
{
	va_list list;

	va_start(list, format);
	if (strchr(format, '%') == NULL) /* as most of them: there is nothing to fill in */
		evbuffer_add(session->replies, format, strlen(format));
	else
		evbuffer_add_vprintf(session->replies, format, list);
	va_end(list);
	evbuffer_add(session->replies, "\r\n", 2);
}

/*
 * Writes what has been said, and says whether all of it is written; the loop writes the rest. To leave all of it to the
 * loop would cost three system calls for one. Above all it would write later, after whatever else this turn brings,
 * such as the next body on the relay's connection: killed between the two, we would have kept from the MTA what the
 * relay has taken.
 */
static bool write_replies(struct session *session)
{
	struct evbuffer *rest = bufferevent_get_output(session->stream);

	if (evbuffer_get_length(rest) == 0)
		(void)evbuffer_write(session->replies, bufferevent_getfd(session->stream));
	if (evbuffer_get_length(session->replies) > 0) /* also if it cannot be written: on_gone() tells */
		bufferevent_write_buffer(session->stream, session->replies);
	return evbuffer_get_length(rest) == 0;
}

/* ---- states ---- */

static void limit_arm(struct session *session)
{
	usec_t delay = state_limits[session->state];
	usec_t left = session->rested + MESSAGE_LIMIT - clock_now();

	if (session->ingest->stop != INGEST_OPEN && session->state <= SESSION_READY)
		delay = SESSION_STOP_PATIENCE;
	if (session->state < SESSION_VERDICTS && left < delay)
		delay = left > 0 ? left : 0;
	timer_arm(&session->limit, delay);
}

void session_enter(struct session *session, enum session_state state)
{
	session->state = state;
	session->entered = clock_now();
	limit_arm(session);
}

static void log_abandoned(const struct session *session, const struct message *message)
{
	static struct log_limit limit = LOG_LIMIT("abandoned");
	unsigned long unlogged;

	if (log_limit_passes(&limit, &unlogged))
		log_warning("%s: abandoned: peer=%s, nrcpt=%zu, unsettled=%zu, waited=%.1f, unlogged=%lu (the MTA "
			    "ended its session before all verdicts)",
			    *message->queue_id != '\0' ? message->queue_id : "-", session->peer.name,
			    message->recipient_count, message_unsettled(message),
			    (double)(clock_now() - message->complete) / (double)USEC_PER_SEC, unlogged);
}

void session_drop_transaction(struct session *session)
{
	struct message *message = session->message;

	incoming_free(session->incoming);
	session->incoming = NULL;
	session->ident[0] = '\0';
	session->answered = 0;
	if (message == NULL)
		return;
	if (session->state == SESSION_VERDICTS) {
		log_abandoned(session, message);
		session->ingest->relay.abandon(session->ingest->relay.router, message);
	}
	message_unref(&session->message);
}

static void session_free(struct session *session)
{
	struct ingest *ingest = session->ingest;

	session_drop_transaction(session);
	timer_cancel(&session->limit);
	timer_cancel(&session->start);
	timer_cancel(&session->next);
	list_remove(&session->node);
	bufferevent_free(session->stream);
	evbuffer_free(session->replies);
	free(session);
	ingest->ended(ingest);
}

void session_hang_up(struct session *session)
{
	bufferevent_disable(session->stream, EV_READ);
	session_drop_transaction(session);
	session_enter(session, SESSION_CLOSING);
}

static void go_away(struct session *session)
{
	session_say(session, "421 4.3.2 %s is stopping; try again later", session->ingest->conf->hostname);
	session_hang_up(session);
}

bool session_let_go(struct session *session)
{
	bool stops = session->ingest->stop != INGEST_OPEN;

	if (stops)
		go_away(session);
	return stops;
}

void session_rest(struct session *session)
{
	session_enter(session, SESSION_READY);
	if (session->ingest->stop == INGEST_OVER)
		go_away(session);
}

/* Any local user can connect over TCP, again and again: that must not drown the log. */
static void log_refusal(const struct session *session, const char *why)
{
	static struct log_limit limit = LOG_LIMIT_OF("refused", 5, 20);
	char uid[24] = "-";
	unsigned long unlogged;

	if (!log_limit_passes(&limit, &unlogged))
		return;
	if (session->peer.uid != -1)
		snprintf(uid, sizeof(uid), "%" PRId64, session->peer.uid);
	log_warning("refused: protocol=%s, peer=%s, uid=%s, state=%s, unlogged=%lu (%s)", session->flavour->name,
		    session->peer.name, uid, session_state_names[session->state], unlogged, why);
}

void session_refuse_peer(struct session *session, const char *reply, const char *why)
{
	log_refusal(session, why);
	session_say(session, "%s", reply);
	session_hang_up(session);
}

/* ---- the greeting ---- */

static void greeted(struct session *session);

/* Writes the last reply or the greeting, and what comes behind it if that is written. */
static void write_and_go_on(struct session *session)
{
	if (!write_replies(session))
		return; /* on_written() comes */
	if (session->state == SESSION_CLOSING)
		session_free(session);
	else if (session->state == SESSION_GREETING)
		greeted(session);
}

static void greet(struct session *session)
{
	const char *why = peer_refusal(&session->peer, session->ingest->conf);

	if (why != NULL) {
		session_refuse_peer(session, "554 5.7.1 You may not hand over mail here", why);
	} else if (session->peer.tcp && peer_talks(&session->peer)) {
		/* It may send a whole session and be gone before anybody can ask who it was. */
		session_refuse_peer(session, "554 5.5.0 You talked before the greeting", "talked before the greeting");
	} else {
		session_say(session, "220 %s %s", session->ingest->conf->hostname, session->flavour->greeting);
		session_enter(session, SESSION_GREETING);
	}
	write_and_go_on(session);
}

static void greeted(struct session *session)
{
	const char *why = session->peer.tcp ? peer_user_refusal(&session->peer, session->ingest->conf) : NULL;

	if (why != NULL) {
		session_refuse_peer(session, "554 5.7.1 You may not hand over mail here", why);
		write_and_go_on(session);
		return;
	}
	session_enter(session, SESSION_HELLO);
	bufferevent_enable(session->stream, EV_READ);
}

/* ---- the end of data and the verdicts ---- */

/* The message cannot be taken: every recipient gets the same verdict, and the router never hears of it. */
static void settle_here(struct message *message, struct reply *reply)
{
	usec_t queued = message->queue_time > 0 ? message->queue_time : 0;
	struct journey journey;
	journey_init(&journey);
	journey_add(&journey, STAGE_INGEST, clock_now() - message->arrived);
	struct event event = {
		.kind = EVENT_OUTCOME,
		.relay = "-",
		.host = "-",
		.message = message,
		.reply = reply,
		.status = reply_status_of(reply),
		.recipients = (unsigned)message->recipient_count,
		.delays = {.queue = message->queue_time, .pool = -1, .setup = -1, .transfer = -1},
		.delay = queued + clock_now() - message->arrived,
		.journey = &journey,
		.held_by = CAUSE_COUNT,
	};

	publish(&event);
	message_ref(message); /* the last verdict makes the session drop it */
	for (size_t i = 0; i < message->recipient_count; i++)
		message_settle(&message->recipients[i], reply);
	message_unref(&message);
}

static void end_of_data(struct session *session)
{
	struct message *message = session->message;
	struct reply *refusal = incoming_finish(session->incoming);

	incoming_free(session->incoming);
	session->incoming = NULL;
	message->complete = clock_now();
	message->deadline = message->complete + message->conf->deadline;
	session_enter(session, SESSION_VERDICTS);
	struct event event = {.kind = EVENT_ARRIVED, .relay = "-", .host = "-", .message = message};
	publish(&event);
	if (refusal == NULL) {
		session->ingest->relay.take(session->ingest->relay.router, message);
	} else {
		settle_here(message, refusal);
		reply_unref(&refusal);
	}
}

/*
 * A recipient got its verdict. Verdicts come in any order; replies go out in the order of the recipients, with the last
 * one all that are not written yet. What comes next, pipelined commands or the end, waits for the next turn of the
 * loop.
 */
void session_settled(struct message *message, struct recipient *recipient)
{
	struct session *session = message->owner;

	(void)recipient;
	assert(session->state == SESSION_VERDICTS && session->message == message);
	while (session->answered < message->recipient_count && message->recipients[session->answered].verdict != NULL)
		reply_write(message->recipients[session->answered++].verdict, session->replies);
	if (session->answered < message->recipient_count) {
		timer_arm(&session->next, 0);
		return;
	}
	message->owner = NULL;
	session->messages++;
	session->errors = 0;
	session->rested = clock_now();
	session->ident[0] = '\0';
	session->answered = 0;
	message_unref(&session->message);
	session_enter(session, SESSION_READY);
	session->resting = !session_let_go(session);
	if (write_replies(session) &&
	    (session->state == SESSION_CLOSING || evbuffer_get_length(bufferevent_get_input(session->stream)) > 0))
		timer_arm(&session->next, 0);
}

/* ---- reading ---- */

/* Throws away what belongs to the over-long line. True if its end came. */
static bool swallow(struct session *session, struct evbuffer *input)
{
	struct evbuffer_ptr end = evbuffer_search_eol(input, NULL, NULL, EVBUFFER_EOL_CRLF_STRICT);
	size_t length = evbuffer_get_length(input);

	session->swallowing = end.pos == -1;
	if (end.pos != -1)
		evbuffer_drain(input, (size_t)end.pos + 2);
	else if (length > 1)
		evbuffer_drain(input, length - 1); /* the last one may be the CR */
	return end.pos != -1;
}

static void log_errors(const struct session *session)
{
	static struct log_limit limit = LOG_LIMIT("errors");
	unsigned long unlogged;

	if (log_limit_passes(&limit, &unlogged))
		log_warning("errors: protocol=%s, peer=%s, errors=%u, unlogged=%lu (too many; the session was ended)",
			    session->flavour->name, session->peer.name, session->errors, unlogged);
}

/*
 * One command line. Only CR LF ends it (RFC 5321 §2.3.8): a bare LF within a line must not begin another command.
 * False if there is no whole line yet.
 */
static bool read_command(struct session *session, struct evbuffer *input)
{
	char line[COMMAND_LINE_MAX];
	struct evbuffer_ptr end = evbuffer_search_eol(input, NULL, NULL, EVBUFFER_EOL_CRLF_STRICT);

	if (session->swallowing)
		return swallow(session, input);
	if (evbuffer_get_length(input) > 0)
		session->resting = false;
	if (end.pos == -1 && evbuffer_get_length(input) < COMMAND_LINE_MAX)
		return false;
	if (end.pos == -1 || end.pos > COMMAND_LINE_MAX - 2) {
		dialogue_complain(session, "500 5.5.2 Line too long");
		swallow(session, input);
	} else {
		evbuffer_remove(input, line, (size_t)end.pos);
		evbuffer_drain(input, 2);
		line[end.pos] = '\0';
		if (strpbrk(line, "\r\n") != NULL || strlen(line) != (size_t)end.pos)
			dialogue_complain(session, "500 5.5.2 A line holds no CR, LF or NUL");
		else
			dialogue_obey(session, line);
	}
	if (session->errors > ERRORS_MAX && session->state != SESSION_CLOSING) {
		log_errors(session);
		session_say(session, "421 4.7.0 Too many errors");
		session_hang_up(session);
	}
	if (session->state < SESSION_VERDICTS)
		limit_arm(session);
	return true;
}

/* A piece of the body. False if there is none. */
static bool read_body(struct session *session, struct evbuffer *input)
{
	size_t length = evbuffer_get_contiguous_space(input);

	if (length == 0)
		return false;
	const char *data = (const char *)evbuffer_pullup(input, (ssize_t)length);
	evbuffer_drain(input, incoming_feed(session->incoming, data, length));
	limit_arm(session);
	if (incoming_ended(session->incoming))
		end_of_data(session);
	return true;
}

/* Reads on only while there is room: a peer that sends more than is used fills its own socket, not our memory. */
static void read_on(struct session *session, struct evbuffer *input)
{
	bool reading = (bufferevent_get_enabled(session->stream) & EV_READ) != 0;
	bool room = session->state != SESSION_CLOSING && evbuffer_get_length(input) < INPUT_MAX;

	if (room && !reading)
		bufferevent_enable(session->stream, EV_READ);
	else if (!room && reading)
		bufferevent_disable(session->stream, EV_READ);
}

static bool room_for_replies(const struct session *session)
{
	return evbuffer_get_length(session->replies) + evbuffer_get_length(bufferevent_get_output(session->stream)) <
	       OUTPUT_MAX;
}

static bool obeys(const struct session *session)
{
	return session->state >= SESSION_HELLO && session->state < SESSION_VERDICTS;
}

/* Goes on with what was read, as far as the state and the room for replies allow, and writes these. */
static void proceed(struct session *session)
{
	struct evbuffer *input = bufferevent_get_input(session->stream);
	bool more = true, written;

	do {
		while (more && obeys(session) && room_for_replies(session))
			more = session->state == SESSION_BODY ? read_body(session, input)
							      : read_command(session, input);
		written = write_replies(session);
	} while (more && obeys(session) && written);
	read_on(session, input);
	if (written && session->state == SESSION_CLOSING)
		session_free(session);
}

/* ---- what the loop tells ---- */

static void on_read(struct bufferevent *stream, void *arg)
{
	(void)stream;
	proceed(arg);
}

/* The kernel has taken all that it could not take at first. */
static void on_written(struct bufferevent *stream, void *arg)
{
	struct session *session = arg;

	(void)stream;
	if (session->state == SESSION_CLOSING || session->state == SESSION_GREETING)
		write_and_go_on(session);
	else
		proceed(session);
}

static void on_next_turn(void *arg)
{
	struct session *session = arg;

	if (session->state == SESSION_CLOSING)
		write_and_go_on(session);
	else
		proceed(session);
}

static void on_gone(struct bufferevent *stream, short what, void *arg)
{
	(void)stream, (void)what;
	session_free(arg);
}

static void on_start(void *arg)
{
	struct session *session = arg;

	if (session->state == SESSION_ACCEPTED) /* else it was told to go at once */
		greet(session);
}

/* Once the input is full it is not read, and only the socket itself can tell that the MTA has gone. */
static void watch(struct session *session)
{
	if (evbuffer_get_length(bufferevent_get_input(session->stream)) >= INPUT_MAX && peer_gone(&session->peer))
		session_free(session);
	else
		limit_arm(session);
}

static void log_timeout(const struct session *session)
{
	static struct log_limit limit = LOG_LIMIT("timeout");
	unsigned long unlogged;

	if (log_limit_passes(&limit, &unlogged))
		log_warning("timeout: protocol=%s, peer=%s, state=%s, age=%.0f, unlogged=%lu (the client was silent or "
			    "too slow)",
			    session->flavour->name, session->peer.name, session_state_names[session->state],
			    (double)(clock_now() - session->opened) / (double)USEC_PER_SEC, unlogged);
}

static void on_limit(void *arg)
{
	struct session *session = arg;

	if (session->state == SESSION_VERDICTS) {
		watch(session);
	} else if (session->state == SESSION_CLOSING) {
		session_free(session);
	} else if (session->state <= SESSION_READY && session_let_go(session)) {
		write_and_go_on(session);
	} else {
		log_timeout(session);
		session_say(session, "421 4.4.2 %s waited too long for you", session->ingest->conf->hostname);
		session_hang_up(session);
		write_and_go_on(session);
	}
}

/* ---- for the listener ---- */

void session_start(struct ingest *ingest, enum protocol protocol, int fd)
{
	struct session *session = mem_alloc(sizeof(*session));

	session->ingest = ingest;
	session->flavour = &flavours[protocol];
	session->opened = session->rested = clock_now();
	timer_init(&session->limit, "the MTA", on_limit, session);
	timer_init(&session->start, "the greeting", on_start, session);
	timer_init(&session->next, "the next turn", on_next_turn, session);
	peer_init(&session->peer, fd);
	session->stream = bufferevent_socket_new(loop_base(), fd, BEV_OPT_CLOSE_ON_FREE);
	session->replies = evbuffer_new();
	assert(session->stream != NULL && session->replies != NULL);
	bufferevent_setcb(session->stream, on_read, on_written, on_gone, session);
	list_init(&session->node);
	list_append(&ingest->sessions, &session->node);
	session_enter(session, SESSION_ACCEPTED);
	timer_arm(&session->start, 0);
}

/* It may have begun again, and nobody has looked yet. */
static bool rests(const struct session *session)
{
	return session->resting && evbuffer_get_length(bufferevent_get_input(session->stream)) == 0 &&
	       !peer_talks(&session->peer);
}

void sessions_stop(struct ingest *ingest)
{
	LIST_EACH (node, next, &ingest->sessions) {
		struct session *session = LIST_ENTRY_OF(node, struct session, node);
		if (session->state > SESSION_READY)
			continue;
		limit_arm(session);
		if (rests(session) || ingest->stop == INGEST_OVER) {
			go_away(session);
			timer_arm(&session->next, 0);
		}
	}
}

void sessions_end(struct ingest *ingest)
{
	LIST_EACH (node, next, &ingest->sessions)
		session_free(LIST_ENTRY_OF(node, struct session, node));
}

void sessions_each_wait(const struct ingest *ingest, wait_fn *fn, void *arg)
{
	for (const struct list *node = ingest->sessions.next; node != &ingest->sessions; node = node->next) {
		const struct session *session = LIST_ENTRY_OF(node, const struct session, node);
		if (session->state != SESSION_ENVELOPE && session->state != SESSION_BODY)
			continue;
		const struct wait wait = {
			.relay = "-",
			.stage = STAGE_INGEST,
			.cause = CAUSE_HANDOVER,
			.since = session->message->arrived,
			.messages = 1,
			.queue_id = session->message->queue_id,
		};
		fn(&wait, arg);
	}
}

void sessions_each(const struct ingest *ingest, session_view_fn *fn, void *arg)
{
	usec_t now = clock_now();

	for (const struct list *node = ingest->sessions.next; node != &ingest->sessions; node = node->next) {
		const struct session *session = LIST_ENTRY_OF(node, const struct session, node);
		struct session_view view = {
			.protocol = session->flavour->name,
			.peer = session->peer.name,
			.uid = session->peer.uid,
			.state = session_state_names[session->state],
			.queue_id = session->message != NULL ? session->message->queue_id : "",
			.recipients = session->message != NULL ? session->message->recipient_count : 0,
			.age = now - session->opened,
			.since = now - session->entered,
			.messages = session->messages,
		};
		fn(&view, arg);
	}
}
