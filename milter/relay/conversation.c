/*
 * What is said on a connection: commands out, replies in, transactions from MAIL to the verdict. Sending and receiving
 * are separate: pipeline.c says what may be written, on_reply() what an answer means. Part of connection.c.
 */
#include "connection_private.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>

#include "base/mem.h"
#include "base/spool.h"
#include "smtp/command.h"
#include "wait.h"

#define GOODBYE_LIMIT (5 * USEC_PER_SEC) /* for EOF after a 421 in mid-stream */
#define BODY_PIECE ((size_t)32 * 1024)
#define RECORD_MAX ((size_t)16 * 1024) /* a flight up to this size leaves in one write */

/* ---- writing ---- */

/*
 * A small flight of a transaction goes to the kernel at once where there is no TLS: libevent would ask whether there is
 * room, write, and take the question back, three system calls for one. What does not fit stays.
 */
static void write_at_once(struct connection *c)
{
	if (c->state != CONNECTION_BUSY || c->writing != NULL ||
	    evbuffer_get_length(bufferevent_get_output(c->bev)) > 0)
		return;
	int written = evbuffer_write(c->flight, bufferevent_getfd(c->bev));
	if (written > 0)
		c->drained += (uint64_t)written;
}

/* Writes the flight in one go: small ones as one piece under TLS, so that they are one record. */
void connection_flush(struct connection *c)
{
	size_t length = evbuffer_get_length(c->flight);
	if (length == 0 || c->bev == NULL)
		return;
	c->appended += length;
	if (length <= RECORD_MAX && c->ssl != NULL)
		evbuffer_pullup(c->flight, -1);
	else if (length <= RECORD_MAX)
		write_at_once(c);
	if (evbuffer_get_length(c->flight) > 0) /* libevent writes it and tells, also if it cannot be written */
		bufferevent_write_buffer(c->bev, c->flight);
}

static uint64_t position(const struct connection *c)
{
	return c->appended + evbuffer_get_length(c->flight);
}

/*
 * After DATA the end of data goes out only while no reply waits to be read: one reply too many shows itself here. After
 * BDAT replies to what went before may well have come; the mark shows what has slipped.
 */
static void finish_body(struct connection *c, struct command *body)
{
	bool chunk = body->kind == COMMAND_BDAT;
	if (!chunk && evbuffer_get_length(bufferevent_get_input(c->bev)) > 0) {
		connection_doom_confused(c, "a reply before the end of data");
		return;
	}
	if (!chunk)
		dot_encode_end(&c->dot, c->flight);
	body->end = position(c);
	c->body_complete = clock_now();
	wait_note_body(c);
	c->writing = NULL;
}

/* Queues as much of the body as may be in flight. True when it is completely queued. */
static bool pump_body(struct connection *c)
{
	char piece[BODY_PIECE];
	struct command *body = LIST_ENTRY_OF(c->pipeline.awaiting.prev, struct command, node);
	while (c->writing != NULL && !c->doomed) {
		if (connection_load(c) >= BODY_QUEUED_MAX || connection_body_paused(c))
			return false;
		ssize_t got = spool_read(c->writing->message->body, c->body_offset, piece, sizeof(piece));
		if (got == -1) {
			connection_doom(c, reply_local(LOCAL_INGEST, 451, "4.3.0", "cannot read the body back: %s",
						       strerror(errno)));
			return false;
		}
		if (body->kind == COMMAND_BDAT)
			evbuffer_add(c->flight, piece, (size_t)got);
		else
			dot_encode(&c->dot, piece, (size_t)got, c->flight);
		c->body_offset += (uint64_t)got;
		if (got == 0)
			finish_body(c, body);
	}
	return !c->doomed;
}

static void write_command(struct connection *c, const struct command *command)
{
	const struct transaction *t = command->transaction;
	const struct message *m = t ? t->message : NULL;
	bool dsn = c->caps.bits & CAP_DSN;
	switch (command->kind) {
	case COMMAND_MAIL:
		command_write_mail(c->flight, m->sender, c->caps.bits & CAP_SIZE ? spool_size(m->body) : 0,
				   (c->caps.bits & CAP_8BITMIME) && (m->body_8bit || m->has_8bit),
				   (c->caps.bits & CAP_SMTPUTF8) && m->smtputf8, dsn ? m->params : "");
		break;
	case COMMAND_RCPT:
		command_write_rcpt(c->flight, t->recipients[command->recipient]->address,
				   dsn ? t->recipients[command->recipient]->params : "");
		break;
	case COMMAND_BDAT:
		evbuffer_add_printf(c->flight, "BDAT %" PRIu64 " LAST\r\n", spool_size(m->body));
		break;
	case COMMAND_DATA:
	case COMMAND_RSET:
	case COMMAND_MARK:
	case COMMAND_UNDO:
	case COMMAND_QUIT:
	case COMMAND_STARTTLS:
		evbuffer_add_printf(c->flight, "%s\r\n", command_names[command->kind]);
		break;
	default: /* EHLO and AUTH bring their line; for the banner and a body nothing is written here */
		if (command->line != NULL)
			evbuffer_add_printf(c->flight, "%s\r\n", command->line);
		break;
	}
}

static void begin_body(struct connection *c, struct transaction *t)
{
	c->writing = t;
	c->body_seen = -1;
	c->body_offset = 0;
	dot_encoder_init(&c->dot);
}

/* Writes whatever may be written now. */
void connection_send(struct connection *c)
{
	struct command *command;
	while (c->bev != NULL && !c->doomed && c->goodbye == NULL &&
	       (command = pipeline_sendable(&c->pipeline)) != NULL) {
		struct transaction *t = command->transaction;
		bool waits = pipeline_awaited(&c->pipeline) != NULL;
		if (t != NULL && t->begun < 0)
			t->begun = clock_now();
		if (t != NULL && waits) {
			t->pipelined = true;
			t->overlapped |= command->kind == COMMAND_MAIL && c->transactions.next != &t->node;
		}
		write_command(c, command);
		bool body = command_is_body(command->kind);
		pipeline_sent(&c->pipeline, command, body ? UINT64_MAX : position(c));
		if (body)
			begin_body(c, t);
		if (body && !pump_body(c))
			return;
	}
}

/* Everything that can go forward does, in one flight; then the limit is set anew. */
void connection_advance(struct connection *c)
{
	if (c->doomed || c->goodbye != NULL)
		return;
	if (c->writing == NULL || pump_body(c))
		connection_send(c);
	if (c->doomed)
		return;
	if (connection_has_room(c))
		c->owner->room(c); /* may come back here by connection_take() */
	if (c->doomed)
		return;
	if (connection_life_over(c))
		connection_retire(c);
	connection_flush(c);
	connection_arm_limit(c);
}

/* ---- reading: transactions ---- */

/* A transaction came to its end in an orderly exchange. */
static void finish(struct connection *c, struct transaction *t, enum transaction_end end)
{
	c->finished++;
	connection_give_back(c, t, end);
	if (!c->doomed && list_empty(&c->transactions))
		connection_set_state(c, c->quit ? CONNECTION_QUITTING : CONNECTION_IDLE);
}

/* The body may go now, but its reply might not come in time: that would leave it in doubt. */
static bool out_of_time(const struct connection *c, struct transaction *t)
{
	usec_t left = t->message->deadline - clock_now();
	if (left >= t->message->conf->reply_reserve)
		return false;
	t->local = reply_local(LOCAL_NO_TIME, 451, "4.3.2",
			       "relay %s asked for the message %lld s before the deadline, within reply-reserve",
			       c->relay->name, (long long)(left / USEC_PER_SEC));
	return true;
}

static void on_data_reply(struct connection *c, struct transaction *t, const struct reply *reply)
{
	if (reply->code != 354) {
		c->dirty = reply_status_of(t->mail_reply) == STATUS_SENT;
		finish(c, t, t->withdrawn ? END_WITHDRAWN : END_REPLIED);
		return;
	}
	bool wanted = !t->withdrawn && transaction_accepted(t) > 0;
	bool late = wanted && out_of_time(c, t);
	if (wanted && !late) {
		pipeline_queue(&c->pipeline, COMMAND_BODY, t, 0, NULL);
		return;
	}
	/* An open DATA is ended by closing the connection, never by a dot. */
	finish(c, t, late ? END_CANCELLED : t->withdrawn ? END_WITHDRAWN : END_REPLIED);
	connection_doom(c, reply_local(LOCAL_CONNECTION, 451, "4.4.2", "%s: closed, DATA was open for %s", c->host,
				       late ? "a message that has no time left" : "no recipient"));
}

/* Command by command (lockstep, plain), or before a large BDAT, a transaction may end before its body. */
static void end_early(struct connection *c, struct transaction *t)
{
	struct command *awaited = pipeline_awaited(&c->pipeline);
	if (awaited != NULL)
		return;
	bool over = t->withdrawn || transaction_pointless(t);
	bool late = !over && t->chunked && out_of_time(c, t);
	if (!over && !late)
		return;
	c->dirty = reply_status_of(t->mail_reply) == STATUS_SENT;
	finish(c, t, late ? END_CANCELLED : t->withdrawn ? END_WITHDRAWN : END_REPLIED);
}

static bool same_reply(const struct reply *a, const struct reply *b)
{
	return a->code == b->code && strcmp(a->enhanced, b->enhanced) == 0 && strcmp(a->text, b->text) == 0;
}

static void on_rset_reply(struct connection *c, struct reply *reply)
{
	if (reply->code != 250) {
		connection_doom_lost(c, "refused RSET");
		return;
	}
	c->mark_sure = c->mark != NULL && same_reply(reply, c->mark);
	if (c->mark_sure)
		return;
	c->mark_changes += c->mark != NULL;
	reply_unref(&c->mark);
	c->mark = reply_ref(reply);
}

/*
 * All replies to commands in flight are 250 as a rule: one too many would go unnoticed, and a message be reported sent
 * that was refused. The reply to RSET tells: it is always the same, and not that to a message.
 */
static void on_mark_reply(struct connection *c, struct transaction *t, const struct reply *reply)
{
	if (!same_reply(reply, c->mark) || same_reply(t->final_reply, c->mark)) {
		connection_doom_confused(c, "not what RSET was answered with before");
		return;
	}
	if (reply_status_of(t->final_reply) == STATUS_DEFERRED)
		depth_irregular(&c->depth);
	else
		depth_clean(&c->depth, t->node.next != &c->transactions, clock_now() - t->begun);
	finish(c, t, END_REPLIED);
}

static void on_transaction_reply(struct connection *c, const struct command *command, struct reply *reply)
{
	struct transaction *t = command->transaction;
	switch (command->kind) {
	case COMMAND_RSET:
		on_rset_reply(c, reply);
		break;
	case COMMAND_BDAT:
		t->final_reply = reply_ref(reply);
		break;
	case COMMAND_MARK:
		on_mark_reply(c, t, reply);
		break;
	case COMMAND_UNDO:
		finish(c, t, END_REPLIED);
		break;
	case COMMAND_MAIL:
		t->mail_reply = reply_ref(reply);
		end_early(c, t);
		break;
	case COMMAND_RCPT:
		t->rcpt_replies[command->recipient] = reply_ref(reply);
		end_early(c, t);
		break;
	case COMMAND_DATA:
		t->data_reply = reply_ref(reply);
		on_data_reply(c, t, reply);
		break;
	default:
		t->final_reply = reply_ref(reply);
		t->unfit_deep = (c->mark != NULL && same_reply(reply, c->mark)) || c->mark_changes >= MARK_CHANGES_MAX;
		finish(c, t, END_REPLIED);
		break;
	}
}

/* What is in flight behind a 421 may still be answered, or is left out at the end of the connection, which comes. */
static void say_goodbye(struct connection *c, struct reply *reply)
{
	c->goodbye = reply_ref(reply);
	c->writing = NULL;
	evbuffer_drain(c->flight, evbuffer_get_length(c->flight));
	for (struct list *n = c->transactions.next; n != &c->transactions; n = n->next)
		pipeline_drop_unsent(&c->pipeline, LIST_ENTRY_OF(n, struct transaction, node));
	timer_arm(&c->timer, GOODBYE_LIMIT);
}

/* What RCPT, BDAT and the rest said of a transaction, noted down. */
static void note_reply(struct transaction *t, const struct command *command, struct reply *reply)
{
	struct reply **where = command->kind == COMMAND_MAIL   ? &t->mail_reply
			       : command->kind == COMMAND_RCPT ? &t->rcpt_replies[command->recipient]
			       : command->kind == COMMAND_BDAT ? &t->final_reply
							       : NULL;
	if (where != NULL)
		*where = reply_ref(reply);
}

/* A transaction was answered to its mark: refused with the rest, or taken all the same. */
static void end_after_goodbye(struct connection *c, struct transaction *t, const struct reply *mark)
{
	bool taken = reply_status_of(t->final_reply) == STATUS_SENT;
	bool in_step = same_reply(mark, c->mark) || (!taken && mark->code >= 400);
	if (!in_step || (taken && transaction_accepted(t) == 0))
		connection_doom_confused(c, "not what RSET was answered with before");
	else
		finish(c, t, taken ? END_REPLIED : t->withdrawn ? END_WITHDRAWN : END_CLOSING);
}

static void on_reply_after_goodbye(struct connection *c, struct command *command, struct reply *reply)
{
	char line[512];
	if (command == NULL) {
		connection_doom_confused(c, "one reply too many");
		return;
	}
	struct command done = *command;
	pipeline_drop(command);
	if (done.transaction != NULL)
		note_reply(done.transaction, &done, reply);
	if (done.transaction != NULL && done.kind == COMMAND_MARK)
		end_after_goodbye(c, done.transaction, reply);
	if (pipeline_awaited(&c->pipeline) == NULL)
		connection_doom(c, reply_local(LOCAL_CONNECTION, 451, "4.4.2", "%s said: %s", c->host,
					       reply_line(c->goodbye, line, sizeof(line))));
}

/* The relay goes away: 421, or what stands for it. What this reply is about has not been taken. */
static void on_closing(struct connection *c, struct command *command, struct reply *reply, bool stale)
{
	char line[512];
	struct transaction *t = command->transaction;
	reply_line(reply, line, sizeof(line));
	connection_note_end(c);
	if (t != NULL && t->chunked) { /* it is on its way as a whole: perhaps it is taken all the same */
		say_goodbye(c, reply);
		on_reply_after_goodbye(c, command, reply);
		return;
	}
	if (t != NULL) {
		t->stale = stale;
		reply_unref(&t->last_trouble);
		t->last_trouble = reply_ref(reply);
		connection_give_back(c, t, t->withdrawn ? END_WITHDRAWN : END_CLOSING);
	}
	connection_doom(c, reply_local(LOCAL_CONNECTION, 451, "4.4.2", "%s said: %s", c->host, line));
}

static void on_reply(struct connection *c, struct reply *reply)
{
	struct command *command = pipeline_awaited(&c->pipeline);
	char line[256];
	if (c->goodbye != NULL) {
		on_reply_after_goodbye(c, command, reply);
		return;
	}
	if (command == NULL) {
		handshake_line(c, reply, line, sizeof(line));
		if (reply->code == 421) {
			connection_note_end(c);
			connection_doom_lost(c, line);
		} else {
			connection_doom_confused(c, line);
		}
		return;
	}
	struct transaction *t = command->transaction;
	wait_note_reply(c, command);
	bool early = command->end > c->drained;
	bool reused_first = c->finished > 0 && t != NULL && t->mail_reply == NULL &&
			    (command->kind == COMMAND_MAIL || command->kind == COMMAND_RSET);
	enum reply_worth worth = trouble_reply(command->kind, reply, t, early, reused_first);
	if (worth == WORTH_CONFUSED) {
		if (t != NULL && early && command_is_body(command->kind) && t->final_reply == NULL &&
		    reply->code >= 400)
			t->final_reply = reply_ref(reply);
		connection_doom_confused(c, handshake_line(c, reply, line, sizeof(line)));
		return;
	}
	if ((worth == WORTH_CLOSING || worth == WORTH_STALE) && c->ready_at >= 0) {
		on_closing(c, command, reply, worth == WORTH_STALE);
		return;
	}
	enum command_kind kind = command->kind;
	if (t == NULL) {
		pipeline_drop(command);
		if (c->ready_at < 0)
			handshake_reply(c, kind, reply);
		return;
	}
	struct command done = *command;
	pipeline_drop(command);
	on_transaction_reply(c, &done, reply);
}

/* One reply from the input, if there is one. */
static bool read_reply(struct connection *c)
{
	if (c->bev == NULL || c->state == CONNECTION_TLS)
		return false;
	struct evbuffer *input = bufferevent_get_input(c->bev);
	size_t length = evbuffer_get_length(input), used = 0;
	struct reply *reply = NULL;
	const char *why = NULL;
	if (length == 0)
		return false;
	switch (reply_parse((const char *)evbuffer_pullup(input, -1), length, &used, &reply, &why)) {
	case REPLY_INCOMPLETE:
		if (length >= READ_MAX) /* nothing more is read into it */
			connection_doom_confused(c, "a reply without end");
		return false;
	case REPLY_INVALID:
		connection_doom_confused(c, why);
		return false;
	default:
		break;
	}
	evbuffer_drain(input, used);
	on_reply(c, reply);
	reply_unref(&reply);
	return true;
}

bool conversation_read(struct connection *c)
{
	bool progress = false;
	while (!c->doomed && read_reply(c))
		progress = true;
	return progress;
}
