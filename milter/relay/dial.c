/*
 * From a relay's name to a socket: token, addresses, TCP, TLS, and libevent's callbacks on that socket.
 * Part of connection.c; what is said on the socket is not its matter.
 */
#include "connection_private.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <event2/event.h>

#include "base/congestion.h"
#include "base/loop.h"
#include "base/mem.h"
#include "wait.h"

static struct reply *no_connection(const char *text)
{
	return reply_local(LOCAL_RELAY_DOWN, 451, "4.4.1", "%s", text);
}

/* The host being tried; hosts_tried counts it already. */
const struct host_port *connection_tried(const struct connection *c)
{
	return &c->relay->hosts[(c->first_host + c->hosts_tried - 1) % c->relay->host_count];
}

static void on_drained(struct evbuffer *output, const struct evbuffer_cb_info *info, void *arg)
{
	struct connection *c = arg;
	(void)output;
	c->drained += info->n_deleted;
	wait_note_drained(c);
}

static void on_read(struct bufferevent *bev, void *arg)
{
	struct connection *c = arg;
	uint64_t appended = c->appended;
	int one = 1;
	(void)bev;
	if (conversation_read(c)) /* a relay that dribbles within a reply does not move its limit */
		connection_advance(c);
	/*
	 * Not sticky: without it the relay's second small write waits for our delayed acknowledgement. What we write
	 * acknowledges by itself.
	 */
	if (c->bev != NULL && c->appended == appended)
		(void)setsockopt(bufferevent_getfd(c->bev), IPPROTO_TCP, TCP_QUICKACK, &one, sizeof(one));
}

static void on_written(struct bufferevent *bev, void *arg)
{
	struct connection *c = arg;
	if (c->doomed || c->state != CONNECTION_BUSY)
		return;
	c->lossy = c->lossy || congestion_heed_loss(bufferevent_getfd(bev));
	connection_advance(c);
}

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

/* The plain socket becomes a TLS one. What the relay sent in clear behind its 220 is thrown away with it. */
void dial_start_tls(struct connection *c)
{
	evutil_socket_t fd = bufferevent_getfd(c->bev);
	SSL *ssl = tls_client_create(c->tls_context, connection_tried(c)->host);
	if (ssl == NULL) {
		connection_doom(c, no_connection("OpenSSL refuses to make a connection"));
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
		connection_doom(c, no_connection("libevent refuses to make a TLS connection"));
		return;
	}
	c->ssl = ssl;
	connection_set_state(c, CONNECTION_TLS);
	attach(c, bev);
}

static void connected(struct connection *c)
{
	if (c->trace != NULL && c->ssl != NULL)
		(void)tls_describe(c->ssl, c->trace->tls, sizeof(c->trace->tls));
	if (c->state == CONNECTION_CONNECTING && c->relay->tls == TLS_IMPLICIT) {
		dial_start_tls(c);
		connection_arm_limit(c);
	} else if (c->state == CONNECTION_CONNECTING) {
		handshake_banner(c);
	} else if (c->state == CONNECTION_TLS && c->relay->tls == TLS_IMPLICIT) {
		handshake_banner(c);
	} else if (c->state == CONNECTION_TLS) {
		handshake_ehlo(c);
		connection_advance(c);
	}
}

static void tls_failed(struct connection *c)
{
	char text[512];
	c->settings = tls_failure(c->ssl, text, sizeof(text));
	c->peer_closed = false;
	connection_doom(
		c, reply_local(LOCAL_RELAY_DOWN, 451, c->settings ? "4.7.5" : "4.4.2", "%s: TLS: %s", c->host, text));
}

static void on_event(struct bufferevent *bev, short what, void *arg)
{
	struct connection *c = arg;
	(void)bev;
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
		connection_close_socket(c);
		dial_next_address(c);
		return;
	}
	c->peer_closed = (what & BEV_EVENT_EOF) || error == ECONNRESET || error == EPIPE;
	if (c->state == CONNECTION_TLS) {
		tls_failed(c);
		return;
	}
	(void)conversation_read(c); /* replies that came with the end are still replies */
	if (c->peer_closed && !c->doomed)
		connection_note_end(c);
	if (!c->doomed)
		connection_doom_lost(c, what & BEV_EVENT_EOF ? "connection closed" : strerror(error));
}

/* Tries the next address of this host, then the next host. */
void dial_next_address(struct connection *c)
{
	while (c->address_next < c->address_count) {
		size_t i = c->address_next++;
		const struct host_port *host = connection_tried(c);
		char address[NET_NAME_SIZE];
		net_address((const struct sockaddr *)&c->addresses[i], address);
		(void)snprintf(c->host, sizeof(c->host), "%.80s[%.46s]:%u", host->host, address, host->port);
		connection_set_state(c, CONNECTION_CONNECTING);
		int fd = net_connect((const struct sockaddr *)&c->addresses[i], c->lengths[i]);
		if (fd == -1) {
			reply_unref(&c->connect_trouble);
			c->connect_trouble =
				reply_local(LOCAL_RELAY_DOWN, 451, "4.4.1", "%s: %s", c->host, strerror(errno));
			continue;
		}
		struct bufferevent *bev =
			bufferevent_socket_new(loop_base(), fd, BEV_OPT_CLOSE_ON_FREE | BEV_OPT_DEFER_CALLBACKS);
		attach(c, bev);
		/* On a socket that is connecting already this only waits for the outcome. */
		(void)bufferevent_socket_connect(bev, NULL, 0);
		connection_arm_limit(c);
		return;
	}
	dial_next_host(c);
}

static void to_front(struct connection *c, size_t i)
{
	struct sockaddr_storage address = c->addresses[i];
	socklen_t length = c->lengths[i];
	memmove(&c->addresses[1], &c->addresses[0], i * sizeof(c->addresses[0]));
	memmove(&c->lengths[1], &c->lengths[0], i * sizeof(c->lengths[0]));
	c->addresses[0] = address;
	c->lengths[0] = length;
}

/* The address that worked last goes first, so that a dead one costs its time-out once and not every time. */
static void prefer_known(struct connection *c)
{
	/* None is known: begin with another one each time, for one may take connections and then fail. */
	for (unsigned i = 0; c->known_length == 0 && c->address_count > 1 && i < c->address_turn % c->address_count;
	     i++)
		to_front(c, c->address_count - 1);
	for (size_t i = 1; i < c->address_count; i++) {
		if (c->lengths[i] != c->known_length || memcmp(&c->addresses[i], &c->known, c->known_length) != 0)
			continue;
		to_front(c, i);
		return;
	}
}

static void trace_addresses(struct connection *c)
{
	c->trace->address_count = c->address_count;
	for (size_t i = 0; i < c->address_count && i < TRACE_ADDRESSES; i++)
		net_address((const struct sockaddr *)&c->addresses[i], c->trace->addresses[i]);
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
	if (c->trace != NULL)
		trace_addresses(c);
	if (result->error != NULL) {
		reply_unref(&c->connect_trouble);
		c->connect_trouble = reply_local(LOCAL_RELAY_DOWN, 451, "4.4.3", "cannot resolve %s: %s",
						 connection_tried(c)->host, result->error);
	}
	dial_next_address(c);
}

void dial_next_host(struct connection *c)
{
	if (c->hosts_tried == c->relay->host_count) {
		c->peer_closed = true; /* there is no socket */
		connection_doom(c,
				c->connect_trouble ? reply_ref(c->connect_trouble) : no_connection("no address works"));
		return;
	}
	c->hosts_tried++;
	connection_set_state(c, CONNECTION_RESOLVING);
	c->resolve = resolve_start(connection_tried(c)->host, connection_tried(c)->port, on_resolved, c);
	connection_arm_limit(c);
}

void dial_token(const struct token_answer *answer, void *arg)
{
	struct connection *c = arg;
	if (answer->token == NULL) {
		char text[512];
		(void)snprintf(text, sizeof(text), "relay %s has no access token: %s", c->relay->name, answer->error);
		c->settings = answer->settings;
		c->peer_closed = true;
		connection_doom(c, reply_local(LOCAL_RELAY_DOWN, 451, "4.7.0", "%s", text));
		return;
	}
	c->token = mem_strdup(answer->token);
	c->token_kept = answer->kept;
	dial_next_host(c);
}

/* The relay may still answer this attempt, so that its slot lingers before the next address is tried in it. */
void dial_timed_out(struct connection *c)
{
	if (c->bev == NULL) {
		dial_next_address(c);
		return;
	}
	reply_unref(&c->connect_trouble);
	c->connect_trouble = reply_local(LOCAL_RELAY_DOWN, 451, "4.4.1", "%s: no connection within %lld s", c->host,
					 (long long)(c->relay->timeouts[STAGE_CONNECT] / USEC_PER_SEC));
	connection_close_socket(c);
	timer_arm(&c->timer, c->linger);
}
