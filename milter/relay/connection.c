/*
 * The life of one connection to a relay: its state, its limits and its end. Owned by a pool, driven by the clock and
 * by dial.c, handshake.c and conversation.c, which share connection_private.h with it. Every loss, whatever its cause,
 * goes through connection_doom(), its consequences through the next turn of the loop.
 */
#include "connection_private.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/sockios.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>

#include "base/chance.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/spool.h"
#include "wait.h"

#define QUIT_LIMIT (5 * USEC_PER_SEC)   /* for 221 and EOF after QUIT */
#define LINGER_EXTRA USEC_PER_SEC       /* on top of two round trips, after our close() */
#define MESSAGE_COST ((size_t)4096)     /* octets that a message counts for besides its body */
#define ROUND_TRIP_UNKNOWN USEC_PER_SEC /* taken where it was never measured */

const char *const connection_state_names[CONNECTION_STATES] = {
	"token", "resolving", "connecting", "banner",   "ehlo",      "starttls", "tls",
	"auth",  "idle",      "busy",       "quitting", "lingering", "gone",
};

enum stage connection_stage(const struct connection *c)
{
	switch (c->state) {
	case CONNECTION_TOKEN:
	case CONNECTION_AUTH:
		return STAGE_AUTH;
	case CONNECTION_RESOLVING:
		return STAGE_DNS;
	case CONNECTION_CONNECTING:
		return STAGE_CONNECT;
	case CONNECTION_BANNER:
		return STAGE_BANNER;
	case CONNECTION_EHLO:
		return STAGE_EHLO;
	case CONNECTION_STARTTLS:
	case CONNECTION_TLS:
		return STAGE_TLS;
	default:
		break;
	}
	if (c->writing != NULL && !connection_body_paused(c))
		return STAGE_BODY;
	const struct command *awaited = pipeline_awaited(&c->pipeline);
	return awaited ? command_stage(awaited->kind) : STAGE_COUNT;
}

void connection_set_state(struct connection *c, enum connection_state state)
{
	if (c->state == state)
		return;
	c->state = state;
	c->state_since = clock_now();
	wait_note_state(c);
	c->owner->moved(c);
}

/* The one timer: the limit of what is waited for now. Called after every step forward. */
void connection_arm_limit(struct connection *c)
{
	if (c->doomed || c->goodbye != NULL)
		return;
	wait_note(c);
	c->drained_seen = c->drained;
	if (c->state == CONNECTION_QUITTING) {
		timer_arm(&c->timer, QUIT_LIMIT);
		return;
	}
	if (c->state == CONNECTION_IDLE) {
		usec_t limit = limits_least(c->limits, LIMIT_IDLE, c->relay->idle_timeout);
		usec_t age = limits_least(c->limits, LIMIT_AGE, c->age_limit);
		usec_t age_left = age > 0 ? c->created + age - clock_now() : limit;
		if (age_left < limit)
			limit = age_left > 0 ? age_left : 0;
		timer_arm(&c->timer, limit);
		return;
	}
	enum stage stage = connection_stage(c);
	if (stage == STAGE_DNS)
		timer_arm(&c->timer, c->relay->timeouts[STAGE_CONNECT]);
	else if (stage != STAGE_COUNT)
		timer_arm(&c->timer, c->relay->timeouts[stage]);
	else
		timer_cancel(&c->timer);
}

/* ---- the end ---- */

/*
 * What the kernel could not send yet would keep the relay's end open long after our close, and its slot with it: then
 * the socket is reset.
 */
static void reset_if_unsent(struct bufferevent *bev)
{
	const struct linger at_once = {.l_onoff = 1, .l_linger = 0};
	int unsent = 0;
	if (ioctl(bufferevent_getfd(bev), SIOCOUTQ, &unsent) == -1)
		return;
	if (unsent > 0 || evbuffer_get_length(bufferevent_get_output(bev)) > 0)
		(void)setsockopt(bufferevent_getfd(bev), SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
}

static bool open_beneath(int fd)
{
	char octet;
	return recv(fd, &octet, 1, MSG_PEEK | MSG_DONTWAIT) == -1 && (errno == EAGAIN || errno == EWOULDBLOCK);
}

void connection_close_socket(struct connection *c)
{
	if (c->bev == NULL)
		return;
	usec_t round_trip = net_round_trip(bufferevent_getfd(c->bev));
	reset_if_unsent(c->bev);
	c->linger = 2 * (round_trip >= 0 ? round_trip : ROUND_TRIP_UNKNOWN) + LINGER_EXTRA;
	c->open_beneath = c->ssl != NULL && c->peer_closed && open_beneath(bufferevent_getfd(c->bev));
	if (c->open_beneath)
		c->tail = fcntl(bufferevent_getfd(c->bev), F_DUPFD_CLOEXEC, 0);
	if (c->tail != -1) /* Exim waits for our end before it closes its own */
		(void)shutdown(c->tail, SHUT_WR);
	if (c->ssl != NULL) /* keeps the session fit for resumption */
		SSL_set_shutdown(c->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
	bufferevent_free(c->bev);
	c->bev = NULL;
	c->ssl = NULL;
}

void connection_note_end(struct connection *c)
{
	if (c->ready_at < 0 || c->relay_ended || c->state == CONNECTION_QUITTING)
		return;
	const struct list *first = c->transactions.next;
	if (first != &c->transactions && LIST_ENTRY_OF(first, const struct transaction, node)->mail_reply != NULL)
		return;
	c->relay_ended = true;
	c->end.age = clock_now() - c->created;
	c->end.idle = c->state == CONNECTION_IDLE ? clock_now() - c->state_since : c->idled;
	c->end.messages = c->finished;
}

/* The connection is over; takes `why` over. Consequences follow at the next turn of the loop. */
void connection_doom(struct connection *c, struct reply *why)
{
	if (c->doomed) {
		reply_unref(&why);
		return;
	}
	c->doomed = true;
	c->failed_stage = connection_stage(c);
	c->why = why;
	connection_close_socket(c);
	resolve_cancel(c->resolve);
	c->resolve = NULL;
	if (c->state == CONNECTION_TOKEN)
		token_cancel(c->token_source, c);
	timer_cancel(&c->timer);
	timer_arm(&c->turn, 0);
}

void connection_doom_confused(struct connection *c, const char *what)
{
	struct command *awaited = pipeline_awaited(&c->pipeline);
	c->confused = true;
	connection_doom(c, reply_local(LOCAL_PROTOCOL, 451, "4.5.0", "%s said what cannot be right (%s) in reply to %s",
				       c->host, what, awaited ? command_names[awaited->kind] : "nothing"));
}

void connection_doom_lost(struct connection *c, const char *what)
{
	struct command *awaited = pipeline_awaited(&c->pipeline);
	const char *doing = c->writing                   ? "sending the body"
			    : awaited                    ? command_names[awaited->kind]
			    : c->state == CONNECTION_TLS ? "the TLS handshake"
							 : "nothing under way";
	bool ready = c->ready_at >= 0;
	connection_doom(c, reply_local(ready ? LOCAL_CONNECTION : LOCAL_RELAY_DOWN, 451, ready ? "4.4.2" : "4.4.1",
				       "%s: %s (at %s)", c->host, what, doing));
}

/* Its body and end of data, if they have been begun; NULL. */
static const struct command *body_of(const struct connection *c, const struct transaction *t)
{
	for (const struct list *n = c->pipeline.awaiting.next; n != &c->pipeline.awaiting; n = n->next) {
		const struct command *command = LIST_ENTRY_OF(n, struct command, node);
		if (command_is_body(command->kind) && command->transaction == t)
			return command;
	}
	return NULL;
}

/*
 * Was the end of data of this transaction written to the kernel? Then the relay may have it (DESIGN §2.3). A reply to
 * BDAT without the mark behind it is none that may be believed.
 */
bool connection_committed(const struct connection *c, const struct transaction *t)
{
	const struct command *body = body_of(c, t);
	return body != NULL ? body->end <= c->drained : t->chunked && t->final_reply != NULL;
}

static enum transaction_end end_of_lost(const struct connection *c, const struct transaction *t)
{
	/* Behind a 421 and the end of the connection nothing has been taken any more. */
	bool left_out = c->goodbye != NULL && c->peer_closed && !c->confused && t->final_reply == NULL;
	if (connection_committed(c, t) && !left_out)
		return END_UNKNOWN;
	if (t->withdrawn)
		return END_WITHDRAWN;
	if (c->goodbye != NULL)
		return END_CLOSING;
	return c->confused ? END_CONFUSED : END_UNSENT;
}

/* Gives a transaction back: from here on it is the owner's. */
void connection_give_back(struct connection *c, struct transaction *t, enum transaction_end end)
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
	c->last_end = end;
}

/* Closed for what stood behind the body, or forgotten: not if the body had no reply either, nor if we have closed. */
static bool unheard(const struct connection *c, const struct transaction *t)
{
	return t->overlapped && t->mail_reply == NULL && c->last_end == END_REPLIED && !c->aborted;
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
	free(c->trace);
	reply_unref(&c->why);
	reply_unref(&c->connect_trouble);
	reply_unref(&c->mark);
	reply_unref(&c->goodbye);
	if (c->tail_event != NULL)
		event_free(c->tail_event);
	if (c->tail != -1)
		close(c->tail);
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
		t->unfit_deep = t->chunked && (c->confused || c->stalled);
		t->unheard = end == END_UNSENT && unheard(c, t);
		t->stale = c->finished > 0 && t->mail_reply == NULL && c->peer_closed && !c->confused;
		reply_unref(&t->last_trouble);
		t->last_trouble = c->why != NULL ? reply_ref(c->why) : NULL;
		connection_give_back(c, t, end);
	}
}

static void slot_free(struct connection *c)
{
	connection_set_state(c, CONNECTION_GONE);
	c->owner->gone(c);
	release(c);
}

static void on_tail(evutil_socket_t fd, short what, void *arg)
{
	char octets[512];
	ssize_t got;
	(void)what;
	while ((got = recv(fd, octets, sizeof(octets), MSG_DONTWAIT)) > 0)
		;
	if (got == 0 || (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR))
		slot_free(arg);
}

/* TLS is over, the relay's socket and its slot not yet: its EOF is waited for, no longer than where there is no TLS. */
static void watch_tail(struct connection *c)
{
	c->tail_event = event_new(loop_base(), c->tail, EV_READ | EV_PERSIST, on_tail, c);
	if (c->tail_event == NULL || event_add(c->tail_event, NULL) == -1)
		abort();
}

/* The consequences of connection_doom(), from the loop: nobody else is in the middle of something. */
static void consequences(struct connection *c)
{
	bool was_ready = c->ready_at >= 0;
	bool quitting = c->state == CONNECTION_QUITTING;
	usec_t linger = c->peer_closed && !c->open_beneath ? 0 : c->linger;
	if (c->tail != -1)
		watch_tail(c);
	if (linger > 0) {
		timer_arm(&c->timer, linger);
		connection_set_state(c, CONNECTION_LINGERING);
	}
	give_all_back(c);
	pipeline_clear(&c->pipeline);
	if (!was_ready)
		c->owner->failed(c, c->failed_stage == STAGE_COUNT ? STAGE_CONNECT : c->failed_stage, c->why,
				 c->settings);
	else
		c->owner->lost(c, quitting ? NULL : c->why->text);
	if (linger == 0)
		slot_free(c);
}

static void on_turn(void *arg)
{
	struct connection *c = arg;
	if (c->doomed)
		consequences(c);
}

/* ---- time ---- */

static void on_timer(void *arg)
{
	struct connection *c = arg;
	char text[128];
	switch (c->state) {
	case CONNECTION_LINGERING:
		slot_free(c);
		return;
	case CONNECTION_IDLE:
		c->owner->expired(c);
		return;
	case CONNECTION_QUITTING:
		connection_doom_lost(c, "no end after QUIT");
		return;
	case CONNECTION_CONNECTING:
		dial_timed_out(c);
		return;
	default:
		break;
	}
	if (c->writing != NULL && c->drained != c->drained_seen) { /* a slow link is no stuck one */
		connection_arm_limit(c);
		return;
	}
	if (c->goodbye != NULL) {
		connection_doom_lost(c, "no end after 421");
		return;
	}
	c->stalled = true;
	if (c->state == CONNECTION_RESOLVING)
		c->peer_closed = true;
	enum stage stage = connection_stage(c);
	(void)snprintf(text, sizeof(text), "timed out after %lld s in stage %s",
		       (long long)(c->relay->timeouts[stage == STAGE_DNS ? STAGE_CONNECT : stage] / USEC_PER_SEC),
		       stage_names[stage]);
	connection_doom_lost(c, text);
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
	c->limits = s->limits;
	c->id = s->id;
	c->first_host = s->first_host;
	c->known = s->known;
	c->known_length = s->known_length;
	c->address_turn = s->turn;
	c->mark = s->mark != NULL ? reply_ref(s->mark) : NULL;
	depth_init(&c->depth, s->depth, s->relay->max_depth);
	c->flight = evbuffer_new();
	c->tail = -1;
	c->created = c->state_since = clock_now();
	c->ready_at = -1;
	if (s->relay->max_age > 0) /* spread, so that not all renew together */
		c->age_limit = s->relay->max_age - (usec_t)(chance_below(100) * (uint64_t)s->relay->max_age / 1000);
	(void)snprintf(c->host, sizeof(c->host), "-");
	timer_init(&c->timer, "connection limit", on_timer, c);
	timer_init(&c->turn, "connection consequences", on_turn, c);
	c->state = CONNECTION_TOKEN;
	if (s->alone != NULL) {
		c->trace = mem_alloc(sizeof(*c->trace));
		c->retiring = true; /* nothing else comes behind it */
		list_append(&c->transactions, &s->alone->node);
	}
	wait_begin(c);
	c->owner->moved(c);
	if (s->token != NULL) {
		token_get(s->token, dial_token, c);
		connection_arm_limit(c);
	} else {
		dial_next_host(c);
	}
	return c;
}

/* Transactions it may carry: max-messages, or fewer if the relay said so (LIMITS MAILMAX, RFC 9422) or has shown it. */
static unsigned most_uses(const struct connection *c)
{
	unsigned most = (unsigned)limits_least(c->limits, LIMIT_MESSAGES, c->relay->max_messages);
	return c->caps.mail_max > 0 && (most == 0 || c->caps.mail_max < most) ? c->caps.mail_max : most;
}

bool connection_life_over(const struct connection *c)
{
	usec_t age = limits_least(c->limits, LIMIT_AGE, c->age_limit);
	return c->retiring || (most_uses(c) > 0 && c->uses >= most_uses(c)) ||
	       (age > 0 && clock_now() - c->created >= age);
}

bool connection_last_use(const struct connection *c)
{
	return most_uses(c) > 0 && c->uses + 1 >= most_uses(c);
}

/* Behind transactions that go by BDAT as this one would, and are completely queued. */
static bool has_room_deep(const struct connection *c)
{
	const struct transaction *last = LIST_ENTRY_OF(c->transactions.prev, struct transaction, node);
	return last->chunked && list_empty(&c->pipeline.to_send) && connection_load(c) <= BODY_QUEUED_MAX / 2 &&
	       list_count(&c->transactions) < c->depth.now && connection_burden(c) <= BURDEN_MAX;
}

bool connection_has_room(const struct connection *c)
{
	if (c->doomed || c->goodbye != NULL || connection_life_over(c))
		return false;
	if (c->state == CONNECTION_IDLE)
		return pipeline_quiet(&c->pipeline);
	if (c->state != CONNECTION_BUSY || c->pipeline.mode < MODE_OVERLAP || c->writing != NULL)
		return false;
	if (c->pipeline.mode == MODE_DEEP && c->mark_sure)
		return has_room_deep(c);
	/* Behind one body that is as good as written, and nothing else. */
	const struct command *last = pipeline_awaited(&c->pipeline);
	return connection_load(c) <= BODY_QUEUED_MAX / 2 && last != NULL && last->kind == COMMAND_BODY &&
	       list_count(&c->transactions) == 1 && list_empty(&c->pipeline.to_send) && !last->transaction->plain;
}

bool connection_has_room_behind(const struct connection *c, const struct transaction *t)
{
	if (!connection_has_room(c) || t->plain || list_empty(&c->transactions))
		return false;
	const struct transaction *before = LIST_ENTRY_OF(c->transactions.prev, struct transaction, node);
	return before->message->deadline <= t->message->deadline;
}

static void begin(struct connection *c, struct transaction *t)
{
	t->use = ++c->uses;
	c->idled = c->state == CONNECTION_IDLE ? clock_now() - c->state_since : 0;
	connection_set_state(c, CONNECTION_BUSY);
	bool deep = c->pipeline.mode == MODE_DEEP && !t->plain;
	t->chunked = deep && c->mark_sure;
	t->blind = t->chunked && spool_size(t->message->body) <= BLIND_MAX;
	if (c->dirty || (deep && !c->mark_sure)) /* to see what it is answered with */
		pipeline_queue(&c->pipeline, COMMAND_RSET, t, 0, NULL);
	c->dirty = false;
	pipeline_queue(&c->pipeline, COMMAND_MAIL, t, 0, NULL);
	for (size_t i = 0; i < t->recipient_count; i++)
		pipeline_queue(&c->pipeline, COMMAND_RCPT, t, i, NULL);
	pipeline_queue(&c->pipeline, t->probe ? COMMAND_UNDO : t->chunked ? COMMAND_BDAT : COMMAND_DATA, t, 0, NULL);
	if (t->chunked)
		pipeline_queue(&c->pipeline, COMMAND_MARK, t, 0, NULL);
	connection_send(c);
	if (connection_life_over(c))
		connection_retire(c);
	connection_flush(c);
	connection_arm_limit(c);
}

void connection_take(struct connection *c, struct transaction *t)
{
	assert(connection_has_room(c) && list_empty(&t->node));
	transaction_restart(t);
	list_append(&c->transactions, &t->node);
	begin(c, t);
}

void connection_begin_alone(struct connection *c, struct reply *unfit)
{
	struct transaction *t = connection_alone(c);
	assert(c->state == CONNECTION_IDLE && t != NULL);
	if (unfit == NULL) {
		begin(c, t);
		return;
	}
	reply_unref(&t->local);
	t->local = unfit;
	connection_give_back(c, t, END_REFUSED);
	connection_retire(c);
}

void connection_withdraw(struct connection *c, struct transaction *t)
{
	t->withdrawn = true;
	/* Behind others that await their verdicts a body only stops: see connection_body_paused(). */
	if (!c->doomed && c->transactions.next == &t->node && body_of(c, t) != NULL && !connection_committed(c, t))
		connection_doom_lost(c, "closed, the MTA gave the message up");
}

void connection_simplify(struct connection *c, enum pipeline_mode mode)
{
	if (c->pipeline.mode > mode)
		c->pipeline.mode = mode;
}

/* All that will ever be said on it but QUIT has been composed. */
static bool last_word(const struct connection *c)
{
	if (c->state == CONNECTION_IDLE)
		return true;
	if (c->state != CONNECTION_BUSY || c->writing != NULL || !list_empty(&c->pipeline.to_send) ||
	    list_empty(&c->pipeline.awaiting))
		return false;
	const struct command *last = LIST_ENTRY_OF(c->pipeline.awaiting.prev, struct command, node);
	return last->kind == COMMAND_BODY || last->kind == COMMAND_MARK;
}

void connection_retire(struct connection *c)
{
	c->retiring = true;
	if (c->doomed || c->goodbye != NULL || c->quit || !last_word(c))
		return;
	if (c->state == CONNECTION_BUSY && c->limits->quit_alone)
		return;
	c->quit = true; /* behind a body it goes at once where that may be: its slot is free a round trip sooner */
	pipeline_queue(&c->pipeline, COMMAND_QUIT, NULL, 0, NULL);
	if (c->state == CONNECTION_IDLE)
		connection_set_state(c, CONNECTION_QUITTING);
	connection_send(c);
	connection_flush(c);
	connection_arm_limit(c);
}

void connection_keep(struct connection *c)
{
	connection_arm_limit(c);
}

void connection_abort(struct connection *c, const char *why)
{
	if (c->state == CONNECTION_LINGERING || c->state == CONNECTION_GONE || c->doomed)
		return;
	c->aborted = true;
	connection_doom_lost(c, why);
}

void connection_destroy(struct connection *c)
{
	if (c->state != CONNECTION_LINGERING && !c->doomed)
		connection_doom_lost(c, "relaypoold is stopping");
	give_all_back(c);
	list_remove(&c->node);
	release(c);
}

struct transaction *connection_alone(const struct connection *c)
{
	bool carries = c->trace != NULL && !list_empty(&c->transactions);
	return carries ? LIST_ENTRY_OF(c->transactions.next, struct transaction, node) : NULL;
}

bool connection_is_alone(const struct connection *c)
{
	return c->trace != NULL;
}

const struct connection_trace *connection_trace(const struct connection *c)
{
	return c->trace;
}

bool connection_aborted(const struct connection *c)
{
	return c->aborted;
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

unsigned connection_finished(const struct connection *c)
{
	return c->finished;
}

bool connection_quit_was_heeded(const struct connection *c)
{
	return c->quit && !c->aborted && (c->peer_closed || c->confused);
}

bool connection_ended(const struct connection *c, struct connection_end *out)
{
	*out = c->end;
	return c->relay_ended && !c->aborted && !c->confused;
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

const struct journey *connection_set_up(const struct connection *c)
{
	return &c->set_up;
}

usec_t connection_reply_wait(const struct connection *c)
{
	const struct command *awaited = pipeline_awaited(&c->pipeline);
	bool body = awaited != NULL && awaited->kind == COMMAND_BODY && awaited->end != UINT64_MAX;
	return body ? clock_now() - c->body_complete : 0;
}

size_t connection_load(const struct connection *c)
{
	return evbuffer_get_length(c->flight) + (c->bev ? evbuffer_get_length(bufferevent_get_output(c->bev)) : 0);
}

size_t connection_burden(const struct connection *c)
{
	size_t octets = 0;
	for (const struct list *n = c->transactions.next; n != &c->transactions; n = n->next)
		octets += MESSAGE_COST +
			  (size_t)spool_size(LIST_ENTRY_OF(n, const struct transaction, node)->message->body);
	return octets;
}

unsigned connection_depth(const struct connection *c)
{
	return c->depth.now;
}

struct reply *connection_mark(const struct connection *c)
{
	return c->mark;
}

size_t connection_in_flight(const struct connection *c)
{
	return list_count(&c->transactions);
}

void connection_view(const struct connection *c, struct connection_view *view, char *tls, size_t tls_size)
{
	enum stage stage = connection_stage(c);
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
