/*
 * One connection to a relay and what is said on it. Owned by a pool, driven by libevent and the clock.
 * Sending and receiving are separate: pipeline.c says what may be written, on_reply() what an answer means. Every
 * loss, whatever its cause, goes through doom(), and its consequences through the next turn of the loop.
 */
#include "relay/connection.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <event2/event.h>

#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/net.h"
#include "base/resolve.h"
#include "base/spool.h"
#include "relay/auth.h"
#include "smtp/command.h"
#include "smtp/dot.h"
#include "smtp/reply.h"

#define QUIT_LIMIT (5 * USEC_PER_SEC)        /* for 221 and EOF after QUIT */
#define LINGER_EXTRA USEC_PER_SEC            /* on top of two round trips, after our close() */
#define ROUND_TRIP_UNKNOWN USEC_PER_SEC      /* taken where it was never measured */
#define BODY_QUEUED_MAX ((size_t)256 * 1024) /* octets of a body queued and not yet written */
#define BODY_PIECE ((size_t)32 * 1024)
#define READ_MAX ((size_t)64 * 1024)
#define RECORD_MAX ((size_t)16 * 1024) /* a flight up to this size leaves in one write */

const char *const connection_state_names[CONNECTION_STATES] = {
    "token", "resolving", "connecting", "banner",   "ehlo",      "starttls", "tls",
    "auth",  "idle",      "busy",       "quitting", "lingering", "gone",
};

struct connection {
	struct list node; /* on one of the pool's lists, by state */
	struct pool *pool;
	const struct connection_owner *owner;
	struct conf *conf; /* held, for relay */
	const struct relay_conf *relay;
	struct tls_context *tls_context;
	struct token_source *token_source;
	unsigned id;
	enum connection_state state;
	usec_t state_since, created, ready_at, age_limit;

	/* on the way to READY */
	struct resolve *resolve;
	size_t first_host, hosts_tried;
	struct sockaddr_storage *addresses; /* of the host being tried */
	socklen_t *lengths;
	size_t address_count, address_next;
	struct sockaddr_storage known; /* the address that worked last time */
	socklen_t known_length;
	char host[NET_NAME_SIZE];
	char *token;
	struct auth *auth;
	struct reply *connect_trouble; /* of the last address that did not work */

	/* the socket */
	struct bufferevent *bev;    /* NULL: no socket */
	SSL *ssl;                   /* owned by bev */
	struct evbuffer *flight;    /* being composed; written in one go by flush() */
	uint64_t appended, drained; /* octets handed to bev in all, and written by it to the kernel in all */
	struct timer timer;         /* the limit of whatever is waited for */
	struct timer turn;          /* consequences of a loss, at the next turn of the loop */

	/* what is said on it */
	struct capabilities caps;
	struct pipeline pipeline;
	struct list transactions;    /* in flight, in the order of their commands */
	struct transaction *writing; /* whose body is being written */
	uint64_t body_offset;
	struct dot_encoder dot;
	unsigned uses;     /* transactions taken */
	unsigned finished; /* of those, given back after an exchange to the end */
	bool dirty;        /* the relay may have a transaction open: RSET before the next */
	bool retiring;

	/* how it ended */
	bool doomed;
	bool peer_closed; /* the relay's end is closed: no need to linger */
	bool confused;    /* it ended because replies made no sense */
	bool settings;    /* it ended for a reason that only the administrator can mend */
	enum stage failed_stage;
	struct reply *why;
	usec_t linger;
};

static void on_timer(void *arg);
static void on_turn(void *arg);
static void try_next_host(struct connection *c);
static void advance(struct connection *c);

/* ---- small things ---- */

static enum stage current_stage(const struct connection *c)
{
	switch (c->state) {
	case CONNECTION_TOKEN:
		return STAGE_AUTH;
	case CONNECTION_RESOLVING:
		return STAGE_DNS;
	case CONNECTION_CONNECTING:
		return STAGE_CONNECT;
	case CONNECTION_TLS:
		return STAGE_TLS;
	default:
		break;
	}
	if (c->writing != NULL)
		return STAGE_BODY;
	const struct command *awaited = pipeline_awaited(&c->pipeline);
	return awaited ? command_stage(awaited->kind) : STAGE_COUNT;
}

/* The host being tried; hosts_tried counts it already. */
static const struct host_port *tried(const struct connection *c)
{
	return &c->relay->hosts[(c->first_host + c->hosts_tried - 1) % c->relay->host_count];
}

static void set_state(struct connection *c, enum connection_state state)
{
	if (c->state == state)
		return;
	c->state = state;
	c->state_since = clock_now();
	c->owner->moved(c);
}

/* The one timer: the limit of what is waited for now. Called after every step forward. */
static void arm_limit(struct connection *c)
{
	if (c->doomed)
		return;
	if (c->state == CONNECTION_QUITTING) {
		timer_arm(&c->timer, QUIT_LIMIT);
		return;
	}
	if (c->state == CONNECTION_IDLE) {
		usec_t limit = c->relay->idle_timeout;
		usec_t age_left = c->age_limit > 0 ? c->created + c->age_limit - clock_now() : limit;
		if (age_left < limit)
			limit = age_left > 0 ? age_left : 0;
		timer_arm(&c->timer, limit);
		return;
	}
	enum stage stage = current_stage(c);
	if (stage == STAGE_DNS)
		timer_arm(&c->timer, c->relay->timeouts[STAGE_CONNECT]);
	else if (stage != STAGE_COUNT)
		timer_arm(&c->timer, c->relay->timeouts[stage]);
	else
		timer_cancel(&c->timer);
}

static struct reply *no_connection(const char *text)
{
	return reply_local(LOCAL_RELAY_DOWN, 451, "4.4.1", "%s", text);
}

/* ---- the end ---- */

static void close_socket(struct connection *c)
{
	if (c->bev == NULL)
		return;
	usec_t round_trip = net_round_trip(bufferevent_getfd(c->bev));
	c->linger = 2 * (round_trip >= 0 ? round_trip : ROUND_TRIP_UNKNOWN) + LINGER_EXTRA;
	if (c->ssl != NULL) /* keeps the session fit for resumption */
		SSL_set_shutdown(c->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
	bufferevent_free(c->bev);
	c->bev = NULL;
	c->ssl = NULL;
}

/* The connection is over; takes `why` over. Consequences follow at the next turn of the loop. */
static void doom(struct connection *c, struct reply *why)
{
	if (c->doomed) {
		reply_unref(&why);
		return;
	}
	c->doomed = true;
	c->failed_stage = current_stage(c);
	c->why = why;
	close_socket(c);
	resolve_cancel(c->resolve);
	c->resolve = NULL;
	if (c->state == CONNECTION_TOKEN)
		token_cancel(c->token_source, c);
	timer_cancel(&c->timer);
	timer_arm(&c->turn, 0);
}

static void doom_confused(struct connection *c, const char *what)
{
	struct command *awaited = pipeline_awaited(&c->pipeline);
	c->confused = true;
	doom(c, reply_local(LOCAL_PROTOCOL, 451, "4.5.0", "%s said what cannot be right (%s) in reply to %s", c->host,
			    what, awaited ? command_names[awaited->kind] : "nothing"));
}

static void doom_lost(struct connection *c, const char *what)
{
	struct command *awaited = pipeline_awaited(&c->pipeline);
	const char *doing = c->writing                   ? "sending the body"
			    : awaited                    ? command_names[awaited->kind]
			    : c->state == CONNECTION_TLS ? "the TLS handshake"
							 : "nothing under way";
	doom(c, reply_local(LOCAL_CONNECTION, 451, "4.4.2", "%s: %s (at %s)", c->host, what, doing));
}

/* Was the end of data of this transaction written to the kernel? Then the relay may have it (DESIGN §2.3). */
static bool committed(const struct connection *c, const struct transaction *t)
{
	for (const struct list *n = c->pipeline.awaiting.next; n != &c->pipeline.awaiting; n = n->next) {
		const struct command *command = LIST_ENTRY_OF(n, struct command, node);
		if (command->kind == COMMAND_BODY && command->transaction == t)
			return command->end <= c->drained;
	}
	return false;
}

static enum transaction_end end_of_lost(const struct connection *c, const struct transaction *t)
{
	if (committed(c, t))
		return END_UNKNOWN;
	if (t->withdrawn)
		return END_WITHDRAWN;
	return c->confused ? END_CONFUSED : END_UNSENT;
}

/* Gives a transaction back: from here on it is the owner's. */
static void give_back(struct connection *c, struct transaction *t, enum transaction_end end)
{
	list_remove(&t->node);
	if (c->writing == t)
		c->writing = NULL;
	pipeline_drop_unsent(&c->pipeline, t);
	LIST_EACH (node, next, &c->pipeline.awaiting) {
		struct command *command = LIST_ENTRY_OF(node, struct command, node);
		if (command->transaction == t)
			command->transaction = NULL;
	}
	c->owner->back(c, t, end);
}

static void release(struct connection *c)
{
	assert(list_empty(&c->node) && list_empty(&c->transactions) && c->bev == NULL);
	timer_cancel(&c->timer);
	timer_cancel(&c->turn);
	pipeline_clear(&c->pipeline);
	evbuffer_free(c->flight);
	auth_free(c->auth);
	mem_free_secret(c->token);
	reply_unref(&c->why);
	reply_unref(&c->connect_trouble);
	free(c->addresses);
	free(c->lengths);
	conf_unref(&c->conf);
	free(c);
}

static void give_all_back(struct connection *c)
{
	while (!list_empty(&c->transactions)) {
		struct transaction *t = LIST_ENTRY_OF(c->transactions.next, struct transaction, node);
		enum transaction_end end = end_of_lost(c, t);
		t->stale = c->finished > 0 && t->mail_reply == NULL && c->peer_closed && !c->confused;
		reply_unref(&t->last_trouble);
		t->last_trouble = c->why != NULL ? reply_ref(c->why) : NULL;
		give_back(c, t, end);
	}
}

/* The consequences of doom(), from the loop: nobody else is in the middle of something. */
static void consequences(struct connection *c)
{
	bool was_ready = c->ready_at >= 0;
	bool quitting = c->state == CONNECTION_QUITTING;
	usec_t linger = c->peer_closed ? 0 : c->linger;
	if (linger > 0) {
		timer_arm(&c->timer, linger);
		set_state(c, CONNECTION_LINGERING);
	}
	give_all_back(c);
	pipeline_clear(&c->pipeline);
	if (!was_ready)
		c->owner->failed(c, c->failed_stage == STAGE_COUNT ? STAGE_CONNECT : c->failed_stage, c->why,
				 c->settings);
	else
		c->owner->lost(c, quitting ? NULL : c->why->text);
	if (linger == 0) {
		set_state(c, CONNECTION_GONE);
		c->owner->gone(c);
		release(c);
	}
}

static void on_turn(void *arg)
{
	struct connection *c = arg;
	if (c->doomed)
		consequences(c);
}

/* ---- writing ---- */

static void on_drained(struct evbuffer *output, const struct evbuffer_cb_info *info, void *arg)
{
	struct connection *c = arg;
	(void)output;
	c->drained += info->n_deleted;
}

/* Writes the flight in one go: small ones as one piece, so that they are one record and one segment. */
static void flush(struct connection *c)
{
	size_t length = evbuffer_get_length(c->flight);
	if (length == 0 || c->bev == NULL)
		return;
	if (length <= RECORD_MAX)
		evbuffer_pullup(c->flight, -1);
	c->appended += length;
	bufferevent_write_buffer(c->bev, c->flight);
}

static uint64_t position(const struct connection *c)
{
	return c->appended + evbuffer_get_length(c->flight);
}

/* The end of data goes out only while no reply waits to be read: one reply too many shows itself here. */
static void finish_body(struct connection *c, struct command *body)
{
	if (evbuffer_get_length(bufferevent_get_input(c->bev)) > 0) {
		doom_confused(c, "a reply before the end of data");
		return;
	}
	dot_encode_end(&c->dot, c->flight);
	body->end = position(c);
	c->writing = NULL;
}

/* Queues as much of the body as may be in flight. True when it is completely queued. */
static bool pump_body(struct connection *c)
{
	char piece[BODY_PIECE];
	struct command *body = LIST_ENTRY_OF(c->pipeline.awaiting.prev, struct command, node);
	while (c->writing != NULL && !c->doomed) {
		if (connection_load(c) >= BODY_QUEUED_MAX)
			return false;
		ssize_t got = spool_read(c->writing->message->body, c->body_offset, piece, sizeof(piece));
		if (got == -1) {
			doom(c,
			     reply_local(LOCAL_INGEST, 451, "4.3.0", "cannot read the body back: %s", strerror(errno)));
			return false;
		}
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
	case COMMAND_DATA:
	case COMMAND_RSET:
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
	c->body_offset = 0;
	dot_encoder_init(&c->dot);
}

/* Writes whatever may be written now. */
static void send_commands(struct connection *c)
{
	struct command *command;
	while (c->bev != NULL && !c->doomed && (command = pipeline_sendable(&c->pipeline)) != NULL) {
		struct transaction *t = command->transaction;
		bool waits = pipeline_awaited(&c->pipeline) != NULL;
		if (t != NULL && t->begun < 0)
			t->begun = clock_now();
		if (t != NULL && waits) {
			t->pipelined = true;
			t->overlapped |= command->kind == COMMAND_MAIL && c->transactions.next != &t->node;
		}
		write_command(c, command);
		bool body = command->kind == COMMAND_BODY;
		pipeline_sent(&c->pipeline, command, body ? UINT64_MAX : position(c));
		if (body)
			begin_body(c, t);
		if (body && !pump_body(c))
			return;
	}
}

/* Everything that can go forward does, in one flight; then the limit is set anew. */
static void advance(struct connection *c)
{
	if (c->doomed)
		return;
	if (c->writing == NULL || pump_body(c))
		send_commands(c);
	if (c->doomed)
		return;
	if (connection_has_room(c))
		c->owner->room(c); /* may come back here by connection_take() */
	if (c->doomed)
		return;
	if (c->state == CONNECTION_IDLE && connection_life_over(c))
		connection_retire(c);
	flush(c);
	arm_limit(c);
}

/* ---- reading: the set-up ---- */

static void say_ehlo(struct connection *c)
{
	set_state(c, CONNECTION_EHLO);
	memset(&c->caps, 0, sizeof(c->caps)); /* only what is announced after the last EHLO counts */
	pipeline_queue(&c->pipeline, COMMAND_EHLO, NULL, 0, mem_printf("EHLO %s", c->conf->hostname));
}

static void fail_settings(struct connection *c, const char *enhanced, const char *text)
{
	c->settings = true;
	doom(c, reply_local(LOCAL_RELAY_DOWN, 451, enhanced, "%s: %s", c->host, text));
}

static void become_ready(struct connection *c)
{
	c->ready_at = clock_now();
	if (!(c->caps.bits & CAP_PIPELINING))
		c->pipeline.mode = MODE_LOCKSTEP;
	auth_free(c->auth);
	c->auth = NULL;
	mem_free_secret(c->token);
	c->token = NULL;
	set_state(c, CONNECTION_IDLE);
	c->owner->ready(c);
}

static void continue_auth(struct connection *c, const char *challenge)
{
	char error[NET_ERROR_SIZE];
	char *line = NULL;
	if (auth_next(c->auth, challenge, &line, error, sizeof(error)))
		pipeline_queue(&c->pipeline, COMMAND_AUTH, NULL, 0, line);
	else
		fail_settings(c, "4.7.0", error);
}

static void begin_auth(struct connection *c)
{
	char error[NET_ERROR_SIZE];
	if (c->relay->username == NULL && c->token == NULL) {
		become_ready(c);
		return;
	}
	set_state(c, CONNECTION_AUTH);
	c->auth = auth_create(c->relay, &c->caps, tried(c)->host, c->ssl != NULL, c->token, error, sizeof(error));
	if (c->auth == NULL)
		fail_settings(c, "4.7.0", error);
	else
		continue_auth(c, NULL);
}

static void on_ehlo(struct connection *c, const struct reply *reply)
{
	capabilities_parse(reply, &c->caps);
	if (c->relay->tls == TLS_STARTTLS && c->ssl == NULL) {
		if (!(c->caps.bits & CAP_STARTTLS)) {
			fail_settings(c, "4.7.4",
				      "does not announce STARTTLS; nothing was sent to it. If it wants TLS from the "
				      "first octet set tls = \"implicit\" (port 465)");
			return;
		}
		set_state(c, CONNECTION_STARTTLS);
		pipeline_queue(&c->pipeline, COMMAND_STARTTLS, NULL, 0, NULL);
		return;
	}
	begin_auth(c);
}

static void start_tls(struct connection *c);

static void on_auth(struct connection *c, const struct reply *reply)
{
	if (reply->code == 334)
		continue_auth(c, reply->text);
	else if (auth_accept(c->auth))
		become_ready(c);
	else
		fail_settings(c, "4.7.0", "did not prove that it knows the password (SCRAM): is it the right server?");
}

/* A 4xx or 5xx on the way to readiness. */
static void setup_refused(struct connection *c, enum command_kind kind, const struct reply *reply)
{
	char line[512];
	reply_line(reply, line, sizeof(line));
	if (kind == COMMAND_AUTH && c->token != NULL)
		token_refused(c->token_source);
	c->settings = trouble_setup(command_stage(kind), reply, false) == FAULT_SETTINGS;
	const char *advice =
	    kind == COMMAND_AUTH && reply->code >= 500 ? "; check username and password-file or token" : "";
	doom(c, reply_local(LOCAL_RELAY_DOWN, 451, kind == COMMAND_AUTH ? "4.7.0" : "4.4.1",
			    "%s said: %s (in reply to %s)%s", c->host, line, command_names[kind], advice));
}

static void on_setup_reply(struct connection *c, enum command_kind kind, const struct reply *reply)
{
	if (!command_allows(kind, reply->code)) {
		setup_refused(c, kind, reply);
		return;
	}
	switch (kind) {
	case COMMAND_BANNER:
		say_ehlo(c);
		break;
	case COMMAND_EHLO:
		on_ehlo(c, reply);
		break;
	case COMMAND_STARTTLS:
		start_tls(c);
		break;
	case COMMAND_AUTH:
		on_auth(c, reply);
		break;
	default: /* RSET and QUIT need nothing more */
		break;
	}
}

/* ---- reading: transactions ---- */

/* A transaction came to its end in an orderly exchange. */
static void finish(struct connection *c, struct transaction *t, enum transaction_end end)
{
	c->finished++;
	give_back(c, t, end);
	if (!c->doomed && list_empty(&c->transactions))
		set_state(c, CONNECTION_IDLE);
}

static void on_data_reply(struct connection *c, struct transaction *t, const struct reply *reply)
{
	if (reply->code != 354) {
		c->dirty = reply_status_of(t->mail_reply) == STATUS_SENT;
		finish(c, t, t->withdrawn ? END_WITHDRAWN : END_REPLIED);
		return;
	}
	if (!t->withdrawn && transaction_accepted(t) > 0) {
		pipeline_queue(&c->pipeline, COMMAND_BODY, t, 0, NULL);
		return;
	}
	/* An open DATA is ended by closing the connection, never by a dot. */
	finish(c, t, t->withdrawn ? END_WITHDRAWN : END_REPLIED);
	doom(c, reply_local(LOCAL_CONNECTION, 451, "4.4.2", "%s: closed, DATA was open for no recipient", c->host));
}

/* Command by command (lockstep, plain) a transaction may end before its DATA. */
static void end_early(struct connection *c, struct transaction *t)
{
	struct command *awaited = pipeline_awaited(&c->pipeline);
	if (awaited != NULL || !(t->withdrawn || transaction_pointless(t)))
		return;
	c->dirty = reply_status_of(t->mail_reply) == STATUS_SENT;
	finish(c, t, t->withdrawn ? END_WITHDRAWN : END_REPLIED);
}

static void on_transaction_reply(struct connection *c, const struct command *command, struct reply *reply)
{
	struct transaction *t = command->transaction;
	switch (command->kind) {
	case COMMAND_RSET:
		if (reply->code != 250)
			doom_lost(c, "refused RSET");
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
		finish(c, t, END_REPLIED);
		break;
	}
}

/* The relay goes away: 421, or what stands for it. What this reply is about has not been taken. */
static void on_closing(struct connection *c, const struct command *command, struct reply *reply, bool stale)
{
	char line[512];
	struct transaction *t = command->transaction;
	reply_line(reply, line, sizeof(line));
	if (t != NULL && command->kind != COMMAND_RSET) {
		t->stale = stale;
		reply_unref(&t->last_trouble);
		t->last_trouble = reply_ref(reply);
		give_back(c, t, t->withdrawn ? END_WITHDRAWN : END_CLOSING);
	}
	doom(c, reply_local(LOCAL_CONNECTION, 451, "4.4.2", "%s said: %s", c->host, line));
}

static void on_reply(struct connection *c, struct reply *reply)
{
	struct command *command = pipeline_awaited(&c->pipeline);
	char line[256];
	reply_line(reply, line, sizeof(line));
	if (command == NULL) {
		if (reply->code == 421)
			doom_lost(c, line);
		else
			doom_confused(c, line);
		return;
	}
	struct transaction *t = command->transaction;
	bool early = command->end > c->drained;
	bool reused_first = c->finished > 0 && t != NULL && t->mail_reply == NULL &&
			    (command->kind == COMMAND_MAIL || command->kind == COMMAND_RSET);
	enum reply_worth worth = trouble_reply(command->kind, reply, t, early, reused_first);
	if (worth == WORTH_CONFUSED) {
		if (t != NULL && early && command->kind == COMMAND_BODY && t->final_reply == NULL && reply->code >= 400)
			t->final_reply = reply_ref(reply);
		doom_confused(c, line);
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
			on_setup_reply(c, kind, reply);
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
		return false;
	case REPLY_INVALID:
		doom_confused(c, why);
		return false;
	default:
		break;
	}
	evbuffer_drain(input, used);
	on_reply(c, reply);
	reply_unref(&reply);
	return true;
}

static void on_read(struct bufferevent *bev, void *arg)
{
	struct connection *c = arg;
	int one = 1;
	/* Not sticky: without it the relay's second small write waits for our delayed acknowledgement. */
	(void)setsockopt(bufferevent_getfd(bev), IPPROTO_TCP, TCP_QUICKACK, &one, sizeof(one));
	bool progress = false;
	while (!c->doomed && read_reply(c))
		progress = true;
	if (progress) /* a relay that dribbles within a reply does not move its limit */
		advance(c);
}

static void on_written(struct bufferevent *bev, void *arg)
{
	struct connection *c = arg;
	(void)bev;
	if (!c->doomed && c->state == CONNECTION_BUSY)
		advance(c);
}

/* ---- the socket ---- */

static void on_event(struct bufferevent *bev, short what, void *arg);

static void attach(struct connection *c, struct bufferevent *bev)
{
	c->bev = bev;
	c->appended = c->drained = 0;
	bufferevent_setcb(bev, on_read, on_written, on_event, c);
	bufferevent_setwatermark(bev, EV_READ, 0, READ_MAX);
	bufferevent_setwatermark(bev, EV_WRITE, BODY_QUEUED_MAX / 2, 0);
	evbuffer_add_cb(bufferevent_get_output(bev), on_drained, c);
	bufferevent_enable(bev, EV_READ | EV_WRITE);
}

static void await_banner(struct connection *c)
{
	set_state(c, CONNECTION_BANNER);
	pipeline_queue(&c->pipeline, COMMAND_BANNER, NULL, 0, NULL);
	advance(c);
}

/* The plain socket becomes a TLS one. What the relay sent in clear behind its 220 is thrown away with it. */
static void start_tls(struct connection *c)
{
	evutil_socket_t fd = bufferevent_getfd(c->bev);
	SSL *ssl = tls_client_create(c->tls_context, tried(c)->host);
	if (ssl == NULL) {
		doom(c, no_connection("OpenSSL refuses to make a connection"));
		return;
	}
	SSL_set_options(ssl, SSL_OP_IGNORE_UNEXPECTED_EOF); /* replies are lines: a cut one is no reply */
	bufferevent_setfd(c->bev, -1);
	bufferevent_free(c->bev);
	c->bev = NULL;
	struct bufferevent *bev = bufferevent_openssl_socket_new(loop_base(), fd, ssl, BUFFEREVENT_SSL_CONNECTING,
								 BEV_OPT_CLOSE_ON_FREE | BEV_OPT_DEFER_CALLBACKS);
	if (bev == NULL) {
		SSL_free(ssl);
		evutil_closesocket(fd);
		doom(c, no_connection("libevent refuses to make a TLS connection"));
		return;
	}
	c->ssl = ssl;
	set_state(c, CONNECTION_TLS);
	attach(c, bev);
}

static void connected(struct connection *c)
{
	if (c->state == CONNECTION_CONNECTING && c->relay->tls == TLS_IMPLICIT) {
		start_tls(c);
		arm_limit(c);
	} else if (c->state == CONNECTION_CONNECTING) {
		await_banner(c);
	} else if (c->state == CONNECTION_TLS && c->relay->tls == TLS_IMPLICIT) {
		await_banner(c);
	} else if (c->state == CONNECTION_TLS) {
		say_ehlo(c);
		advance(c);
	}
}

static void tls_failed(struct connection *c)
{
	char text[512];
	c->settings = tls_failure(c->ssl, tried(c)->host, text, sizeof(text));
	c->peer_closed = false;
	doom(c, reply_local(LOCAL_RELAY_DOWN, 451, c->settings ? "4.7.5" : "4.4.2", "%s: TLS: %s", c->host, text));
}

static void connect_next(struct connection *c);

static void on_event(struct bufferevent *bev, short what, void *arg)
{
	struct connection *c = arg;
	if (c->doomed)
		return;
	if (what & BEV_EVENT_CONNECTED) {
		connected(c);
		return;
	}
	int error = EVUTIL_SOCKET_ERROR();
	if (c->state == CONNECTION_CONNECTING) {
		reply_unref(&c->connect_trouble);
		c->connect_trouble = reply_local(LOCAL_RELAY_DOWN, 451, "4.4.1", "%s: %s", c->host, strerror(error));
		close_socket(c);
		connect_next(c);
		return;
	}
	c->peer_closed = (what & BEV_EVENT_EOF) || error == ECONNRESET || error == EPIPE;
	if (c->state == CONNECTION_TLS) {
		tls_failed(c);
		return;
	}
	/* Replies that came with the end are still replies. */
	if (evbuffer_get_length(bufferevent_get_input(bev)) > 0)
		while (read_reply(c))
			;
	if (!c->doomed)
		doom_lost(c, what & BEV_EVENT_EOF ? "connection closed" : strerror(error));
}

/* Tries the next address of this host, then the next host. */
static void connect_next(struct connection *c)
{
	while (c->address_next < c->address_count) {
		size_t i = c->address_next++;
		const struct host_port *host = tried(c);
		char address[NET_NAME_SIZE];
		net_address((const struct sockaddr *)&c->addresses[i], address);
		(void)snprintf(c->host, sizeof(c->host), "%.80s[%.46s]:%u", host->host, address, host->port);
		int fd = net_connect((const struct sockaddr *)&c->addresses[i], c->lengths[i]);
		if (fd == -1) {
			reply_unref(&c->connect_trouble);
			c->connect_trouble =
			    reply_local(LOCAL_RELAY_DOWN, 451, "4.4.1", "%s: %s", c->host, strerror(errno));
			continue;
		}
		struct bufferevent *bev =
		    bufferevent_socket_new(loop_base(), fd, BEV_OPT_CLOSE_ON_FREE | BEV_OPT_DEFER_CALLBACKS);
		set_state(c, CONNECTION_CONNECTING);
		attach(c, bev);
		/* On a socket that is connecting already this only waits for the outcome. */
		(void)bufferevent_socket_connect(bev, NULL, 0);
		arm_limit(c);
		return;
	}
	try_next_host(c);
}

/* The address that worked last goes first, so that a dead one costs its time-out once and not every time. */
static void prefer_known(struct connection *c)
{
	for (size_t i = 1; i < c->address_count; i++) {
		if (c->lengths[i] != c->known_length || memcmp(&c->addresses[i], &c->known, c->known_length) != 0)
			continue;
		struct sockaddr_storage address = c->addresses[i];
		socklen_t length = c->lengths[i];
		memmove(&c->addresses[1], &c->addresses[0], i * sizeof(c->addresses[0]));
		memmove(&c->lengths[1], &c->lengths[0], i * sizeof(c->lengths[0]));
		c->addresses[0] = address;
		c->lengths[0] = length;
		return;
	}
}

static void on_resolved(const struct resolved *result, void *arg)
{
	struct connection *c = arg;
	c->resolve = NULL;
	free(c->addresses);
	free(c->lengths);
	c->address_next = 0;
	c->address_count = result->count;
	c->addresses = mem_array(result->count, sizeof(c->addresses[0]));
	c->lengths = mem_array(result->count, sizeof(c->lengths[0]));
	memcpy(c->addresses, result->addresses, result->count * sizeof(c->addresses[0]));
	memcpy(c->lengths, result->lengths, result->count * sizeof(c->lengths[0]));
	prefer_known(c);
	if (result->error != NULL) {
		reply_unref(&c->connect_trouble);
		c->connect_trouble =
		    reply_local(LOCAL_RELAY_DOWN, 451, "4.4.3", "cannot resolve %s: %s", tried(c)->host, result->error);
	}
	connect_next(c);
}

static void try_next_host(struct connection *c)
{
	if (c->hosts_tried == c->relay->host_count) {
		c->peer_closed = true; /* there is no socket */
		doom(c, c->connect_trouble ? reply_ref(c->connect_trouble) : no_connection("no address works"));
		return;
	}
	c->hosts_tried++;
	set_state(c, CONNECTION_RESOLVING);
	c->resolve = resolve_start(tried(c)->host, tried(c)->port, on_resolved, c);
	arm_limit(c);
}

static void on_token(const char *token, const char *error, void *arg)
{
	struct connection *c = arg;
	if (token == NULL) {
		char text[512];
		(void)snprintf(text, sizeof(text), "relay %s has no access token: %s", c->relay->name, error);
		c->settings = true;
		c->peer_closed = true;
		doom(c, reply_local(LOCAL_RELAY_DOWN, 451, "4.7.0", "%s", text));
		return;
	}
	c->token = mem_strdup(token);
	try_next_host(c);
}

/* ---- time ---- */

/* The relay may still answer this attempt, so that its slot lingers before the next address is tried in it. */
static void connect_timed_out(struct connection *c)
{
	if (c->bev == NULL) {
		connect_next(c);
		return;
	}
	reply_unref(&c->connect_trouble);
	c->connect_trouble = reply_local(LOCAL_RELAY_DOWN, 451, "4.4.1", "%s: no connection within %lld s", c->host,
					 (long long)(c->relay->timeouts[STAGE_CONNECT] / USEC_PER_SEC));
	close_socket(c);
	timer_arm(&c->timer, c->linger);
}

static void on_timer(void *arg)
{
	struct connection *c = arg;
	char text[128];
	switch (c->state) {
	case CONNECTION_LINGERING:
		set_state(c, CONNECTION_GONE);
		c->owner->gone(c);
		release(c);
		return;
	case CONNECTION_IDLE:
		c->owner->expired(c);
		return;
	case CONNECTION_QUITTING:
		doom_lost(c, "no end after QUIT");
		return;
	case CONNECTION_CONNECTING:
		connect_timed_out(c);
		return;
	default:
		break;
	}
	if (c->state == CONNECTION_RESOLVING)
		c->peer_closed = true;
	enum stage stage = current_stage(c);
	(void)snprintf(text, sizeof(text), "timed out after %lld s in stage %s",
		       (long long)(c->relay->timeouts[stage == STAGE_DNS ? STAGE_CONNECT : stage] / USEC_PER_SEC),
		       stage_names[stage]);
	doom_lost(c, text);
}

/* ---- what the pool asks ---- */

struct connection *connection_create(const struct connection_settings *s)
{
	struct connection *c = mem_alloc(sizeof(*c));
	list_init(&c->node);
	list_init(&c->transactions);
	pipeline_init(&c->pipeline);
	c->pipeline.mode = s->mode;
	c->pool = s->pool;
	c->owner = s->owner;
	c->conf = conf_ref(s->relay->conf);
	c->relay = s->relay;
	c->tls_context = s->tls;
	c->token_source = s->token;
	c->id = s->id;
	c->first_host = s->first_host;
	c->known = s->known;
	c->known_length = s->known_length;
	c->flight = evbuffer_new();
	c->created = c->state_since = clock_now();
	c->ready_at = -1;
	if (s->relay->max_age > 0) /* spread, so that not all renew together */
		c->age_limit =
		    s->relay->max_age - (usec_t)(arc4random_uniform(100) * (uint64_t)s->relay->max_age / 1000);
	(void)snprintf(c->host, sizeof(c->host), "-");
	timer_init(&c->timer, "connection limit", on_timer, c);
	timer_init(&c->turn, "connection consequences", on_turn, c);
	c->state = CONNECTION_TOKEN;
	c->owner->moved(c);
	if (s->token != NULL) {
		token_get(s->token, on_token, c);
		arm_limit(c);
	} else {
		try_next_host(c);
	}
	return c;
}

bool connection_life_over(const struct connection *c)
{
	return c->retiring || (c->relay->max_messages > 0 && c->uses >= c->relay->max_messages) ||
	       (c->age_limit > 0 && clock_now() - c->created >= c->age_limit);
}

bool connection_last_use(const struct connection *c)
{
	return c->relay->max_messages > 0 && c->uses + 1 >= c->relay->max_messages;
}

bool connection_has_room(const struct connection *c)
{
	if (c->doomed || connection_life_over(c))
		return false;
	if (c->state == CONNECTION_IDLE)
		return pipeline_quiet(&c->pipeline);
	if (c->state != CONNECTION_BUSY || c->pipeline.mode != MODE_OVERLAP || c->writing != NULL)
		return false;
	/* Behind one body that is as good as written, and nothing else. */
	const struct command *last = pipeline_awaited(&c->pipeline);
	return connection_load(c) <= BODY_QUEUED_MAX / 2 && last != NULL && last->kind == COMMAND_BODY &&
	       list_count(&c->transactions) == 1 && list_empty(&c->pipeline.to_send) && !last->transaction->plain;
}

void connection_take(struct connection *c, struct transaction *t)
{
	assert(connection_has_room(c) && list_empty(&t->node));
	transaction_restart(t);
	list_append(&c->transactions, &t->node);
	c->uses++;
	set_state(c, CONNECTION_BUSY);
	if (c->dirty)
		pipeline_queue(&c->pipeline, COMMAND_RSET, t, 0, NULL);
	c->dirty = false;
	pipeline_queue(&c->pipeline, COMMAND_MAIL, t, 0, NULL);
	for (size_t i = 0; i < t->recipient_count; i++)
		pipeline_queue(&c->pipeline, COMMAND_RCPT, t, i, NULL);
	pipeline_queue(&c->pipeline, COMMAND_DATA, t, 0, NULL);
	send_commands(c);
	flush(c);
	arm_limit(c);
}

void connection_withdraw(struct connection *c, struct transaction *t)
{
	t->withdrawn = true;
	const struct command *awaited = pipeline_awaited(&c->pipeline);
	bool body_begun = awaited != NULL && awaited->kind == COMMAND_BODY && awaited->transaction == t;
	if (!c->doomed && body_begun && !committed(c, t))
		doom_lost(c, "closed, the MTA gave the message up");
}

void connection_retire(struct connection *c)
{
	c->retiring = true;
	if (c->doomed || c->state != CONNECTION_IDLE)
		return;
	pipeline_queue(&c->pipeline, COMMAND_QUIT, NULL, 0, NULL);
	set_state(c, CONNECTION_QUITTING);
	send_commands(c);
	flush(c);
	arm_limit(c);
}

void connection_keep(struct connection *c)
{
	arm_limit(c);
}

void connection_abort(struct connection *c, const char *why)
{
	if (c->state != CONNECTION_LINGERING && c->state != CONNECTION_GONE)
		doom_lost(c, why);
}

void connection_destroy(struct connection *c)
{
	if (c->state != CONNECTION_LINGERING && !c->doomed)
		doom_lost(c, "relaypoold is stopping");
	give_all_back(c);
	list_remove(&c->node);
	release(c);
}

struct list *connection_node(struct connection *c)
{
	return &c->node;
}

struct connection *connection_of_node(struct list *node)
{
	return LIST_ENTRY_OF(node, struct connection, node);
}

enum connection_state connection_state(const struct connection *c)
{
	return c->state;
}

struct pool *connection_pool(const struct connection *c)
{
	return c->pool;
}

const struct relay_conf *connection_relay(const struct connection *c)
{
	return c->relay;
}

const struct capabilities *connection_announced(const struct connection *c)
{
	return &c->caps;
}

unsigned connection_id(const struct connection *c)
{
	return c->id;
}

unsigned connection_uses(const struct connection *c)
{
	return c->uses;
}

socklen_t connection_address(const struct connection *c, struct sockaddr_storage *out)
{
	*out = c->addresses[c->address_next - 1];
	return c->lengths[c->address_next - 1];
}

const char *connection_host(const struct connection *c)
{
	return c->host;
}

usec_t connection_created(const struct connection *c)
{
	return c->created;
}

usec_t connection_ready_at(const struct connection *c)
{
	return c->ready_at;
}

size_t connection_load(const struct connection *c)
{
	return evbuffer_get_length(c->flight) + (c->bev ? evbuffer_get_length(bufferevent_get_output(c->bev)) : 0);
}

size_t connection_in_flight(const struct connection *c)
{
	return list_count(&c->transactions);
}

enum pipeline_mode connection_mode(const struct connection *c)
{
	return c->pipeline.mode;
}

void connection_view(const struct connection *c, struct connection_view *view, char *tls, size_t tls_size)
{
	enum stage stage = current_stage(c);
	view->relay = c->relay->name;
	view->id = c->id;
	view->host = c->host;
	view->state = connection_state_names[c->state];
	view->waits_for = stage == STAGE_COUNT ? "-" : stage_names[stage];
	view->age = clock_now() - c->created;
	view->since = clock_now() - c->state_since;
	view->uses = c->uses;
	view->in_flight = (unsigned)connection_in_flight(c);
	view->tls = c->ssl != NULL ? tls_describe(c->ssl, tls, tls_size) : "-";
	view->round_trip = c->bev != NULL ? net_round_trip(bufferevent_getfd(c->bev)) : -1;
}
