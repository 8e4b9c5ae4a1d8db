/*
 * A small HTTP server (RFC 9112) for one page, the metrics. Called by main. Not libevent's evhttp: 2.1 can neither
 * count its connections nor bound their whole time, and a socket without descriptors makes it spin. Never waits for a
 * client, keeps nothing of a request but the line that asks, and asks the rooms no more than once a second.
 */
#include <config.h>

#include "admin/scrape.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/listener.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "admin/metrics.h"
#include "base/log.h"
#include "base/log_limit.h"
#include "base/loop.h"
#include "base/mem.h"

#define PLAIN_TYPE "text/plain; charset=utf-8"

enum client_state {
	CLIENT_ASKING = 0, /* the end of its headers is awaited */
	CLIENT_READING,    /* it has to read its answer */
	CLIENT_LEAVING     /* all is written; its end is awaited, for a close now could take the answer away again */
};

struct client {
	struct list node; /* of scrape.clients */
	struct scrape *scrape;
	struct bufferevent *stream;
	enum client_state state;
	size_t ignored; /* octets behind the request */
	struct timer patience;
};

struct listening {
	struct endpoint endpoint;
	int fd; /* until the listener takes it over; -1 */
	struct evconnlistener *listener;
};

struct scrape {
	const struct control_doors *doors;
	struct listening *current, *prepared; /* NULL: none */
	bool keep;                            /* while preparing: the new snapshot has the present one */
	struct timer pause;                   /* accept(2) failed: again in a second */
	char *text;                           /* the metrics as they were last made; NULL: never yet */
	size_t length;
	usec_t made; /* clock_now() */
	struct list clients;
};

static void client_free(struct client *client)
{
	list_remove(&client->node);
	timer_cancel(&client->patience);
	bufferevent_free(client->stream);
	free(client);
}

static void client_out_of_time(void *arg)
{
	client_free(arg);
}

/* ---- answers ---- */

/* `head`: the client asked for the header only. */
static void client_answer(struct client *client, const char *status, const char *type, const char *text, size_t length,
			  bool head)
{
	struct evbuffer *out = bufferevent_get_output(client->stream);
	client->state = CLIENT_READING;
	bufferevent_disable(client->stream, EV_READ);
	if (evbuffer_add_printf(out,
				"HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\nCache-Control: no-store\r\n"
				"%sConnection: close\r\n\r\n",
				status, type, length,
				strncmp(status, "405", 3) == 0 ? "Allow: GET, HEAD\r\n" : "") == -1)
		abort();
	if (!head && evbuffer_add(out, text, length) == -1)
		abort();
}

static void client_refuse(struct client *client, const char *status, const char *sentence, bool head)
{
	client_answer(client, status, PLAIN_TYPE, sentence, strlen(sentence), head);
}

/* With hundreds of relays it takes a while to make, and whoever may connect may ask without end. */
static void scrape_refresh(struct scrape *scrape)
{
	usec_t now = clock_now();
	if (scrape->text && now - scrape->made < SCRAPE_KEPT)
		return;
	free(scrape->text);
	scrape->text = metrics_text(scrape->doors, &scrape->length);
	scrape->made = now;
}

static void client_serve(struct client *client, bool head)
{
	struct scrape *scrape = client->scrape;
	scrape_refresh(scrape);
	client_answer(client, "200 OK", METRICS_CONTENT_TYPE, scrape->text, scrape->length, head);
}

/* ---- requests ---- */

/* The path of a request's target, cut off its query; also of http://HOST/PATH (RFC 9112 §3.2.2). */
static const char *path_of(char *target)
{
	static const char scheme[] = "http://";
	target[strcspn(target, "?#")] = '\0';
	if (strncasecmp(target, scheme, strlen(scheme)) != 0)
		return target;
	char *path = strchr(target + strlen(scheme), '/');
	return path ? path : "/";
}

/* A request line, without its line end. */
static void client_obey(struct client *client, char *line)
{
	char *rest = line, *method = strsep(&rest, " "), *target = strsep(&rest, " ");
	if (!target || !rest || *method == '\0' || *target == '\0' || strncmp(rest, "HTTP/1.", 7) != 0) {
		client_refuse(client, "400 Bad Request", "This is not a request of HTTP/1.\n", false);
		return;
	}
	bool head = strcmp(method, "HEAD") == 0;
	if (strcmp(path_of(target), "/metrics") != 0)
		client_refuse(client, "404 Not Found", "Only /metrics is here.\n", head);
	else if (!head && strcmp(method, "GET") != 0)
		client_refuse(client, "405 Method Not Allowed", "Only GET and HEAD are allowed.\n", false);
	else
		client_serve(client, head);
}

/* Octets up to the end of the headers, an empty line; 0 if it has not come. */
static size_t head_length(struct evbuffer *in)
{
	struct evbuffer_ptr end = evbuffer_search(in, "\n\r\n", 3, NULL), bare = evbuffer_search(in, "\n\n", 2, NULL);
	if (end.pos == -1 && bare.pos == -1)
		return 0;
	if (end.pos == -1 || (bare.pos != -1 && bare.pos < end.pos))
		return (size_t)bare.pos + 2;
	return (size_t)end.pos + 3;
}

static void client_ignore(struct client *client, struct evbuffer *in)
{
	size_t length = evbuffer_get_length(in);
	client->ignored += length;
	if (client->ignored > SCRAPE_BODY_MAX || evbuffer_drain(in, length) == -1)
		client_free(client);
}

static void client_readable(struct bufferevent *stream, void *arg)
{
	struct client *client = arg;
	struct evbuffer *in = bufferevent_get_input(stream);
	if (client->state == CLIENT_LEAVING) {
		client_ignore(client, in);
	} else if (client->state == CLIENT_ASKING && head_length(in) > 0) {
		char *line = evbuffer_readln(in, NULL, EVBUFFER_EOL_CRLF);
		if (!line)
			abort();
		client_obey(client, line);
		free(line);
	} else if (client->state == CLIENT_ASKING && evbuffer_get_length(in) >= SCRAPE_HEAD_MAX) {
		client_refuse(client, "431 Request Header Fields Too Large", "The request is too long.\n", false);
	}
}

/* The output buffer is empty. */
static void client_written(struct bufferevent *stream, void *arg)
{
	struct client *client = arg;
	if (client->state != CLIENT_READING)
		return;
	client->state = CLIENT_LEAVING;
	shutdown(bufferevent_getfd(stream), SHUT_WR);
	bufferevent_enable(stream, EV_READ);
	client_ignore(client, bufferevent_get_input(stream));
}

static void client_gone(struct bufferevent *stream, short what, void *arg)
{
	(void)stream;
	(void)what;
	client_free(arg);
}

/* ---- accepting ---- */

/* It fits into a new socket's buffer, so that nothing need be kept of a client that is turned away. */
static void client_turn_away(int fd)
{
	static const char answer[] =
		"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
	if (send(fd, answer, sizeof(answer) - 1, MSG_DONTWAIT | MSG_NOSIGNAL) == -1)
		log_debug("metrics: a client was turned away: %s", strerror(errno));
	close(fd);
}

static void scrape_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *address, int length,
			  void *arg)
{
	(void)listener;
	(void)address;
	(void)length;
	struct scrape *scrape = arg;
	if (list_count(&scrape->clients) >= SCRAPE_CLIENTS_MAX) {
		client_turn_away(fd);
		return;
	}
	struct client *client = mem_alloc(sizeof(*client));
	client->scrape = scrape;
	client->stream = bufferevent_socket_new(loop_base(), fd, BEV_OPT_CLOSE_ON_FREE);
	if (!client->stream)
		abort();
	timer_init(&client->patience, "scraper", client_out_of_time, client);
	timer_arm(&client->patience, SCRAPE_PATIENCE);
	bufferevent_setcb(client->stream, client_readable, client_written, client_gone, client);
	bufferevent_setwatermark(client->stream, EV_READ, 0, SCRAPE_HEAD_MAX);
	bufferevent_enable(client->stream, EV_READ);
	list_append(&scrape->clients, &client->node);
}

/* Without descriptors the socket stays readable: look again later instead of spinning. */
static void scrape_accept_failed(struct evconnlistener *listener, void *arg)
{
	struct scrape *scrape = arg;
	static struct log_limit limit = LOG_LIMIT("metrics_accept");
	if (log_limit_passes(&limit, NULL))
		log_error("metrics: cannot accept a connection: %s; trying again in 1 s", strerror(errno));
	evconnlistener_disable(listener);
	timer_arm(&scrape->pause, USEC_PER_SEC);
}

static void scrape_accept_again(void *arg)
{
	struct scrape *scrape = arg;
	if (scrape->current)
		evconnlistener_enable(scrape->current->listener);
}

/* ---- the socket ---- */

static void listening_close(struct listening **listening)
{
	char name[NET_NAME_SIZE];
	if (!*listening)
		return;
	if ((*listening)->listener) {
		log_notice("closed: endpoint=%s", endpoint_format(&(*listening)->endpoint, name));
		evconnlistener_free((*listening)->listener);
	} else {
		close((*listening)->fd);
	}
	free(*listening);
	*listening = NULL;
}

/* From now on it serves. */
static void listening_serve(struct listening *listening, struct scrape *scrape)
{
	char name[NET_NAME_SIZE];
	listening->listener = evconnlistener_new(loop_base(), scrape_accept, scrape,
						 LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 0, listening->fd);
	if (!listening->listener)
		abort();
	evconnlistener_set_error_cb(listening->listener, scrape_accept_failed);
	log_notice("listening: endpoint=%s, passed=no", endpoint_format(&listening->endpoint, name));
}

bool scrape_prepare(struct scrape *scrape, const struct conf *conf, char error[NET_ERROR_SIZE])
{
	scrape->keep =
		scrape->current && conf->has_metrics && endpoint_equal(&scrape->current->endpoint, &conf->metrics);
	if (scrape->keep || !conf->has_metrics)
		return true;
	char why[NET_ERROR_SIZE];
	int fd = net_listen(&conf->metrics, (gid_t)-1, 0, why);
	if (fd == -1) {
		snprintf(error, NET_ERROR_SIZE, "metrics: %.150s; if another program has the port, choose another",
			 why);
		return false;
	}
	scrape->prepared = mem_alloc(sizeof(*scrape->prepared));
	*scrape->prepared = (struct listening){.endpoint = conf->metrics, .fd = fd};
	return true;
}

void scrape_settle(struct scrape *scrape, bool taken)
{
	if (!taken) {
		listening_close(&scrape->prepared);
		return;
	}
	if (scrape->keep)
		return;
	listening_close(&scrape->current);
	scrape->current = scrape->prepared;
	scrape->prepared = NULL;
	if (scrape->current)
		listening_serve(scrape->current, scrape);
}

struct scrape *scrape_create(const struct control_doors *doors)
{
	struct scrape *scrape = mem_alloc(sizeof(*scrape));
	scrape->doors = doors;
	list_init(&scrape->clients);
	timer_init(&scrape->pause, "scraper accept", scrape_accept_again, scrape);
	return scrape;
}

void scrape_free(struct scrape *scrape)
{
	if (!scrape)
		return;
	timer_cancel(&scrape->pause);
	LIST_EACH (node, next, &scrape->clients)
		client_free(LIST_ENTRY_OF(node, struct client, node));
	listening_close(&scrape->current);
	listening_close(&scrape->prepared);
	free(scrape->text);
	free(scrape);
}
