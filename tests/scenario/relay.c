/*
 * The scripted relay's sockets (relay.h): listening, reading, writing at its pace, TLS, closing, counting.
 * Called by the world; what is said when is behaviour.c's.
 */
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent_ssl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <linux/sockios.h>

#include "base/loop.h"
#include "base/mem.h"
#include "relay.h"

#define FD_MAX 256 /* no scenario has more descriptors */

const char *const pace_names[PACES] = {"joined", "lines", "octets"};

/* ---- listening ---- */

static struct sockaddr_in own_address(const struct scripted_relay *relay)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(relay->port)};

	if (evutil_inet_pton(AF_INET, relay->address, &address.sin_addr) != 1)
		abort();
	return address;
}

/* A socket that holds the port and does not listen: connections are refused. */
static bool hold_port(struct scripted_relay *relay)
{
	struct sockaddr_in address = own_address(relay);
	socklen_t length = sizeof(address);
	int yes = 1;

	relay->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (relay->fd == -1)
		return false;
	setsockopt(relay->fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
	if (bind(relay->fd, (struct sockaddr *)&address, sizeof(address)) == -1 ||
	    getsockname(relay->fd, (struct sockaddr *)&address, &length) == -1) {
		close(relay->fd);
		relay->fd = -1;
		return false;
	}
	relay->port = ntohs(address.sin_port);
	return true;
}

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *from, int length,
		      void *arg);

bool scripted_relay_start(struct scripted_relay *relay)
{
	int left_over;

	relay->stopped = false;
	for (size_t i = 0; i < FILL_COUNT; i++) {
		if (relay->fill[i] != -1)
			close(relay->fill[i]);
		relay->fill[i] = -1;
	}
	while (relay->listener != NULL && (left_over = accept(relay->fd, NULL, NULL)) != -1)
		close(left_over);
	if (relay->listener != NULL)
		evconnlistener_free(relay->listener);
	if (relay->listener != NULL && !hold_port(relay))
		return false;
	if (relay->window != 0)
		setsockopt(relay->fd, SOL_SOCKET, SO_RCVBUF, &relay->window, sizeof(relay->window));
	relay->listener = evconnlistener_new(loop_base(), on_accept, relay,
					     LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 128, relay->fd);
	return relay->listener != NULL;
}

void scripted_relay_stop(struct scripted_relay *relay)
{
	relay->stopped = true;
	if (relay->listener == NULL)
		return;
	evconnlistener_free(relay->listener);
	relay->listener = NULL;
	if (!hold_port(relay))
		abort();
}

/* Connections to ourselves take what places a listen queue of length 0 has; further SYNs get no answer. */
bool scripted_relay_black_hole(struct scripted_relay *relay)
{
	struct sockaddr_in address = own_address(relay);

	if (relay->listener == NULL || evconnlistener_disable(relay->listener) == -1 || listen(relay->fd, 0) == -1)
		return false;
	for (size_t i = 0; i < FILL_COUNT; i++) {
		relay->fill[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		if (relay->fill[i] == -1 ||
		    (connect(relay->fill[i], (struct sockaddr *)&address, sizeof(address)) == -1 &&
		     errno != EINPROGRESS))
			return false;
	}
	return true;
}

struct scripted_relay *scripted_relay_create(const char *name, unsigned host_number)
{
	struct scripted_relay *relay = mem_alloc(sizeof(*relay));

	relay->name = mem_strdup(name);
	snprintf(relay->address, sizeof(relay->address), "127.0.0.%u", host_number);
	for (size_t i = 0; i < FILL_COUNT; i++)
		relay->fill[i] = -1;
	relay->offers = mem_strdup("PIPELINING,SIZE 52428800,8BITMIME,DSN,SMTPUTF8,ENHANCEDSTATUSCODES");
	relay->without = mem_strdup("");
	limits_init(&relay->limits);
	list_init(&relay->rules);
	list_init(&relay->connections);
	list_init(&relay->accepted);
	list_init(&relay->heard);
	if (!hold_port(relay)) {
		scripted_relay_free(relay);
		return NULL;
	}
	return relay;
}

/* ---- one connection ---- */

void relay_complain(struct relay_connection *c, const char *format, ...)
{
	char text[512];
	char *sentence;
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	sentence = mem_printf("connection %u of relay %s: %s", c->number, c->relay->name, text);
	c->relay->violation(sentence, c->relay->arg);
	free(sentence);
}

/* Gone for good; the object stays for the record. A reset throws away what the other side has not read. */
static void close_now(struct relay_connection *c, enum action_kind how)
{
	struct linger at_once = {.l_onoff = 1, .l_linger = 0};

	if (c->bev == NULL)
		return;
	if (how == ACTION_RESET)
		setsockopt(bufferevent_getfd(c->bev), SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
	else if (c->tls && c->eof_at == -1)
		SSL_shutdown(bufferevent_openssl_get_ssl(c->bev));
	c->closed_at = clock_now();
	c->relay->said(c, how == ACTION_RESET ? "reset" : "closed", NULL, c->relay->arg);
	timer_cancel(&c->wait);
	limits_end(c);
	c->actions = NULL;
	bufferevent_free(c->bev);
	c->bev = NULL;
	c->mode = MODE_CLOSED;
}

static void on_read(struct bufferevent *bev, void *connection);
static void on_written(struct bufferevent *bev, void *connection);
static void on_event(struct bufferevent *bev, short what, void *connection);

/* The 220 to STARTTLS has left: from here on TLS. What came in clear before is dropped with its bufferevent. */
static void start_tls(struct relay_connection *c)
{
	evutil_socket_t fd = bufferevent_getfd(c->bev);

	bufferevent_setfd(c->bev, -1);
	bufferevent_free(c->bev);
	c->bev = bufferevent_openssl_socket_new(loop_base(), fd, SSL_new(certificate_context(c->relay->certificate)),
						BUFFEREVENT_SSL_ACCEPTING, BEV_OPT_CLOSE_ON_FREE);
	if (c->bev == NULL)
		abort();
	bufferevent_openssl_set_allow_dirty_shutdown(c->bev, 1);
	bufferevent_setcb(c->bev, on_read, on_written, on_event, c);
	bufferevent_enable(c->bev, EV_READ | EV_WRITE);
	c->tls = true;
}

/* How many of the octets that wait may go now. */
static size_t next_piece(struct relay_connection *c)
{
	struct evbuffer_ptr end;
	size_t line_end = 0;
	size_t all = evbuffer_get_length(c->unsaid);

	if (all == 0 || c->relay->pace == PACE_JOINED)
		return all;
	if (c->in_packet)
		return 0;
	if (c->relay->pace == PACE_OCTETS)
		return 1;
	end = evbuffer_search_eol(c->unsaid, NULL, &line_end, EVBUFFER_EOL_LF);
	return end.pos == -1 ? all : (size_t)end.pos + line_end;
}

static void push(struct relay_connection *c)
{
	char piece[4096];
	size_t length;

	while (c->bev != NULL && (length = next_piece(c)) > 0) {
		if (length > sizeof(piece))
			length = sizeof(piece);
		evbuffer_remove(c->unsaid, piece, length);
		c->in_packet = true;
		bufferevent_write(c->bev, piece, length);
	}
}

static bool all_written(const struct relay_connection *c)
{
	return evbuffer_get_length(c->unsaid) == 0 && evbuffer_get_length(bufferevent_get_output(c->bev)) == 0;
}

static void on_written(struct bufferevent *bev, void *connection)
{
	struct relay_connection *c = connection;

	(void)bev;
	c->in_packet = false;
	push(c);
	if (!all_written(c))
		return;
	if (c->ending != ACTION_DEFAULT)
		close_now(c, c->ending);
	else if (c->mode == MODE_HANDSHAKE && !c->tls)
		start_tls(c);
}

void relay_write(struct relay_connection *c, const char *data, size_t length)
{
	if (c->bev == NULL)
		return;
	evbuffer_add(c->unsaid, data, length);
	push(c);
}

void relay_end(struct relay_connection *c, enum action_kind how)
{
	if (c->bev == NULL)
		return;
	c->ending = how;
	bufferevent_disable(c->bev, EV_READ);
	if (all_written(c))
		close_now(c, how);
}

void relay_handshake(struct relay_connection *c)
{
	c->mode = MODE_HANDSHAKE;
	bufferevent_disable(c->bev, EV_READ);
	if (all_written(c))
		start_tls(c);
}

void relay_notify(struct relay_connection *c)
{
	if (c->bev == NULL)
		return;
	if (!c->tls || bufferevent_flush(c->bev, EV_WRITE, BEV_FLUSH) == -1)
		abort();
	SSL_shutdown(bufferevent_openssl_get_ssl(c->bev));
	c->notified = true;
}

static void on_read(struct bufferevent *bev, void *connection)
{
	struct relay_connection *c = connection;

	(void)bev;
	if (c->mode == MODE_GREETING && c->tls == c->relay->implicit_tls)
		relay_complain(c, "the client talks before the greeting");
	behaviour_proceed(c);
}

static void on_event(struct bufferevent *bev, short what, void *connection)
{
	struct relay_connection *c = connection;

	(void)bev;
	if (what & BEV_EVENT_CONNECTED) {
		c->relay->said(c, "TLS", NULL, c->relay->arg);
		c->mode = c->relay->implicit_tls ? MODE_GREETING : MODE_COMMANDS;
		if (c->relay->implicit_tls)
			behaviour_step(c, STEP_BANNER, NULL);
		return;
	}
	if (!(what & (BEV_EVENT_EOF | BEV_EVENT_ERROR)))
		return;
	c->eof_at = clock_now();
	c->relay->said(c, (what & BEV_EVENT_EOF) ? "client closed" : "client broke off", NULL, c->relay->arg);
	/* Behind the end of TLS the end of the socket is what OpenSSL calls an error. */
	if ((what & BEV_EVENT_ERROR) && !c->notified)
		close_now(c, ACTION_CLOSE);
	else
		behaviour_step(c, STEP_EOF, NULL);
}

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *from, int length, void *arg)
{
	struct scripted_relay *relay = arg;
	struct relay_connection *c = mem_alloc(sizeof(*c));
	int yes = 1;

	(void)listener;
	(void)from;
	(void)length;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
	c->relay = relay;
	c->number = ++relay->opened;
	c->eof_at = -1;
	c->unsaid = evbuffer_new();
	c->body = evbuffer_new();
	timer_init(&c->wait, "scripted relay waits", behaviour_resume, c);
	limits_begin(c);
	c->bev = bufferevent_socket_new(loop_base(), fd, BEV_OPT_CLOSE_ON_FREE);
	if (c->bev == NULL || c->unsaid == NULL || c->body == NULL)
		abort();
	bufferevent_setcb(c->bev, on_read, on_written, on_event, c);
	bufferevent_enable(c->bev, EV_READ | EV_WRITE);
	list_append(&relay->connections, &c->node);
	relay->said(c, "connected", NULL, relay->arg);
	if (scripted_relay_sockets(relay) > relay->peak)
		relay->peak = scripted_relay_sockets(relay);
	relay->counted(relay->arg);
	behaviour_step(c, STEP_CONNECT, NULL);
}

/* ---- counting ---- */

/* Where nothing is read the kernel still knows whether the client has closed. */
static bool client_closed(const struct relay_connection *c)
{
	struct tcp_info info;
	socklen_t length = sizeof(info);

	if (c->eof_at != -1)
		return true;
	return getsockopt(bufferevent_getfd(c->bev), IPPROTO_TCP, TCP_INFO, &info, &length) == 0 &&
	       info.tcpi_state != TCP_ESTABLISHED && info.tcpi_state != TCP_SYN_RECV;
}

unsigned scripted_relay_sockets(const struct scripted_relay *relay)
{
	unsigned count = 0;

	LIST_EACH (node, next, &relay->connections) {
		const struct relay_connection *c = LIST_ENTRY_OF(node, struct relay_connection, node);

		if (c->bev == NULL || (c->eof_at != -1 && clock_now() - c->eof_at >= USEC_PER_SEC))
			continue;
		if (c->mode != MODE_DEAF || !client_closed(c))
			count++;
	}
	return count;
}

bool scripted_relay_holds(const struct relay_connection *c)
{
	return c->bev != NULL && !client_closed(c);
}

unsigned scripted_relay_open(const struct scripted_relay *relay)
{
	unsigned count = 0;

	LIST_EACH (node, next, &relay->connections)
		count += scripted_relay_holds(LIST_ENTRY_OF(node, struct relay_connection, node));
	return count;
}

/* The other end of a connection, which is in this process too: the socket bound to our peer's port. -1 if it is not. */
static int client_socket(const struct relay_connection *c)
{
	struct sockaddr_in peer, address;
	socklen_t length = sizeof(peer);

	if (getpeername(bufferevent_getfd(c->bev), (struct sockaddr *)&peer, &length) == -1)
		return -1;
	for (int fd = 0; fd < FD_MAX; fd++) {
		length = sizeof(address);
		if (getsockname(fd, (struct sockaddr *)&address, &length) == 0 && address.sin_family == AF_INET &&
		    address.sin_port == peer.sin_port)
			return fd;
	}
	return -1;
}

bool scripted_relay_body_coming(const struct scripted_relay *relay)
{
	LIST_EACH (node, next, &relay->connections) {
		const struct relay_connection *c = LIST_ENTRY_OF(node, struct relay_connection, node);
		int unsent = 0;
		int fd;

		if (c->bev == NULL || !(bufferevent_get_enabled(c->bev) & EV_READ))
			continue;
		/* What waits here for a step to end may be followed by a chunk. */
		if (c->mode != MODE_BODY && c->mode != MODE_CHUNK &&
		    evbuffer_get_length(bufferevent_get_input(c->bev)) == 0)
			continue;
		fd = client_socket(c);
		if (fd != -1 && ioctl(fd, SIOCOUTQNSD, &unsent) == 0 && unsent > 0)
			return true;
	}
	return false;
}

/* ---- the end ---- */

static void connection_free(struct relay_connection *c)
{
	close_now(c, ACTION_CLOSE);
	evbuffer_free(c->unsaid);
	evbuffer_free(c->body);
	accepted_free(c->open);
	free(c->command);
	free(c->announced);
	free(c);
}

static void heard_free(struct heard *heard)
{
	free(heard->line);
	free(heard);
}

void scripted_relay_free(struct scripted_relay *relay)
{
	LIST_EACH (node, next, &relay->connections)
		connection_free(LIST_ENTRY_OF(node, struct relay_connection, node));
	LIST_EACH (node, next, &relay->rules)
		rule_free(LIST_ENTRY_OF(node, struct rule, node));
	LIST_EACH (node, next, &relay->accepted)
		accepted_free(LIST_ENTRY_OF(node, struct accepted, node));
	LIST_EACH (node, next, &relay->heard)
		heard_free(LIST_ENTRY_OF(node, struct heard, node));
	for (size_t i = 0; i < FILL_COUNT; i++) {
		if (relay->fill[i] != -1)
			close(relay->fill[i]);
	}
	if (relay->listener != NULL)
		evconnlistener_free(relay->listener);
	else if (relay->fd != -1)
		close(relay->fd);
	free(relay->username);
	free(relay->password);
	free(relay->offers);
	free(relay->without);
	free(relay->name);
	free(relay);
}
