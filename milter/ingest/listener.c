/*
 * The sockets the MTA connects to, and how many sessions there may be. Called by main and admin; starts sessions and
 * never looks into one. What it cannot accept now waits in the kernel's backlog: neither Postfix nor Sendmail mind
 * waiting, while a connection that is cut makes Postfix suspend all mail.
 */
#include <config.h>

#include <assert.h>
#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <event2/event.h>

#include "base/conf.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/passed.h"
#include "ingest/listener.h"

#define ACCEPTS_PER_TURN 32 /* of one socket, so that sessions have their turn too */
#define ACCEPT_PAUSE USEC_PER_SEC
#define WARNING_INTERVAL (60 * USEC_PER_SEC)

struct listening_socket {
	struct list node;
	struct listener *listener;
	struct endpoint endpoint;
	enum protocol protocol;
	int fd;
	bool passed;         /* a service manager's: only the descriptor is ours */
	struct event *event; /* pending only while accepting */
	struct stat file;    /* of a unix socket, as it was made: another daemon's is not removed */
	bool wanted;         /* while reloading: the new snapshot has it */
};

struct listener {
	struct ingest ingest;
	struct list sockets;
	struct timer pause;      /* armed while accept() is left alone after a failure */
	usec_t warned_of_limit;  /* clock_now() of the last warning that sessions wait; -1 none */
	usec_t warned_of_system; /* … that accept() failed */
};

/* ---- accepting ---- */

static bool accepting(const struct listener *listener)
{
	return listener->ingest.stop == INGEST_OPEN && !timer_armed(&listener->pause) &&
	       listener_sessions(listener) < LISTENER_SESSIONS_MAX;
}

/* Watches the sockets exactly while a connection could be accepted. */
static void watch_sockets(struct listener *listener)
{
	bool watch = accepting(listener);

	LIST_EACH (node, next, &listener->sockets) {
		struct listening_socket *sock = LIST_ENTRY_OF(node, struct listening_socket, node);
		if (watch)
			event_add(sock->event, NULL);
		else
			event_del(sock->event);
	}
}

static void on_pause_over(void *arg)
{
	watch_sockets(arg);
}

static void on_session_ended(struct ingest *ingest)
{
	watch_sockets(LIST_ENTRY_OF(ingest, struct listener, ingest));
}

/* At most one warning of a kind in an interval. */
static bool may_warn(usec_t *warned)
{
	usec_t now = clock_now();

	if (*warned != -1 && now - *warned < WARNING_INTERVAL)
		return false;
	*warned = now;
	return true;
}

/* Out of descriptors or memory: the connection stays in the backlog. */
static void accept_failed(struct listener *listener)
{
	if (may_warn(&listener->warned_of_system))
		log_warning("accept: sessions=%zu (%s; mail waits, trying again every second)",
			    listener_sessions(listener), strerror(errno));
	timer_arm(&listener->pause, ACCEPT_PAUSE);
}

static void on_connection(evutil_socket_t fd, short what, void *arg)
{
	struct listening_socket *sock = arg;
	struct listener *listener = sock->listener;

	(void)what;
	for (unsigned i = 0; i < ACCEPTS_PER_TURN && accepting(listener); i++) {
		int client = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (client != -1)
			session_start(&listener->ingest, sock->protocol, client);
		else if (errno == EAGAIN)
			break;
		else if (errno != EINTR && errno != ECONNABORTED)
			accept_failed(listener);
	}
	if (listener_sessions(listener) >= LISTENER_SESSIONS_MAX && may_warn(&listener->warned_of_limit))
		log_warning("sessions: limit=%u (all in use; further ones wait until one ends)", LISTENER_SESSIONS_MAX);
	watch_sockets(listener);
}

/* ---- sockets ---- */

/* Nobody removed or replaced the file of a unix socket. */
static bool file_stands(const struct listening_socket *sock)
{
	struct stat now;

	return sock->endpoint.kind != ENDPOINT_UNIX ||
	       (stat(sock->endpoint.path, &now) == 0 && now.st_dev == sock->file.st_dev &&
		now.st_ino == sock->file.st_ino);
}

/* Of a passed socket the descriptor alone: the manager listens on, and who connects waits for the next one to accept. */
static void socket_close(struct listening_socket *sock)
{
	char name[NET_NAME_SIZE];

	log_notice("closed: endpoint=%s", endpoint_format(&sock->endpoint, name));
	if (!sock->passed && sock->endpoint.kind == ENDPOINT_UNIX && file_stands(sock) &&
	    unlink(sock->endpoint.path) == -1)
		log_warning("%s: cannot remove the socket: %s", sock->endpoint.path, strerror(errno));
	list_remove(&sock->node);
	event_free(sock->event);
	close(sock->fd);
	free(sock);
}

/* One that was passed, or else one of our own. -1 with the reason in `error`. */
static int socket_find(const struct endpoint *endpoint, gid_t group, mode_t mode, bool *passed,
		       char error[NET_ERROR_SIZE])
{
	char name[NET_NAME_SIZE];
	int fd = passed_socket(endpoint);

	*passed = fd != -1;
	if (fd == -1 && passed_has(endpoint))
		snprintf(error, NET_ERROR_SIZE,
			 "%.100s: the service manager listens there, and passes its socket at a start only: restart "
			 "relaypoold",
			 endpoint_format(endpoint, name));
	else if (fd == -1)
		fd = net_listen(endpoint, group, mode, error);
	return fd;
}

/* What the manager has passed is its own to look after, and ours to tell of. */
static void look_at_passed(const struct listening_socket *sock)
{
	char name[NET_NAME_SIZE];

	endpoint_format(&sock->endpoint, name);
	if (!sock->wanted)
		log_warning("%s: the service manager goes on listening there, and who connects waits: stop its socket "
			    "unit",
			    name);
	else if (!file_stands(sock))
		log_warning("%s: the socket's file was removed or replaced: restart its socket unit and relaypoold",
			    name);
}

/* Opened, and not yet watched. NULL with the reason in `error`. */
static struct listening_socket *socket_open(struct listener *listener, const struct endpoint *endpoint,
					    enum protocol protocol, gid_t group, mode_t mode,
					    char error[NET_ERROR_SIZE])
{
	char name[NET_NAME_SIZE];
	bool passed;
	int fd = socket_find(endpoint, group, mode, &passed, error);

	if (fd == -1)
		return NULL;
	struct listening_socket *sock = mem_alloc(sizeof(*sock));
	list_init(&sock->node);
	sock->listener = listener;
	sock->endpoint = *endpoint;
	sock->protocol = protocol;
	sock->wanted = true;
	sock->fd = fd;
	sock->passed = passed;
	sock->event = event_new(loop_base(), fd, EV_READ | EV_PERSIST, on_connection, sock);
	assert(sock->event != NULL);
	if (endpoint->kind == ENDPOINT_UNIX && stat(endpoint->path, &sock->file) == -1)
		sock->file = (struct stat){0};
	log_notice("listening: endpoint=%s, passed=%s", endpoint_format(endpoint, name), passed ? "yes" : "no");
	if (passed)
		look_at_passed(sock);
	return sock;
}

static void close_all(struct list *sockets)
{
	LIST_EACH (node, next, sockets)
		socket_close(LIST_ENTRY_OF(node, struct listening_socket, node));
}

/* ---- the configuration's endpoints ---- */

/* True with the group of `socket-group`, (gid_t)-1 if it is not set. */
static bool socket_group(const struct conf *conf, gid_t *group, char error[NET_ERROR_SIZE])
{
	*group = (gid_t)-1;
	if (conf->socket_group == NULL)
		return true;
	const struct group *entry = getgrnam(conf->socket_group);
	if (entry == NULL) {
		snprintf(error, NET_ERROR_SIZE, "socket-group: there is no group %s", conf->socket_group);
		return false;
	}
	*group = entry->gr_gid;
	return true;
}

/* The manager knows one address of its socket, relaypool.conf may have another. */
static bool serves(const struct listening_socket *sock, const struct endpoint *endpoint)
{
	return sock->passed ? endpoint_same_place(&sock->endpoint, endpoint)
			    : endpoint_equal(&sock->endpoint, endpoint) && file_stands(sock);
}

/* Marks the socket that is open for the endpoint as wanted, or opens one and puts it on `fresh`. */
static bool want(struct listener *listener, struct list *fresh, const struct conf *conf,
		 const struct endpoint *endpoint, enum protocol protocol, char error[NET_ERROR_SIZE])
{
	gid_t group;

	LIST_EACH (node, next, &listener->sockets) {
		struct listening_socket *sock = LIST_ENTRY_OF(node, struct listening_socket, node);
		if (sock->protocol == protocol && serves(sock, endpoint)) {
			sock->wanted = true;
			return true;
		}
	}
	if (!socket_group(conf, &group, error))
		return false;
	struct listening_socket *sock = socket_open(listener, endpoint, protocol, group, conf->socket_mode, error);
	if (sock != NULL)
		list_append(fresh, &sock->node);
	return sock != NULL;
}

static bool want_all(struct listener *listener, struct list *fresh, const struct conf *conf, char error[NET_ERROR_SIZE])
{
	for (size_t i = 0; i < conf->lmtp_count; i++)
		if (!want(listener, fresh, conf, &conf->lmtp[i], PROTOCOL_LMTP, error))
			return false;
	return !conf->has_smtp || want(listener, fresh, conf, &conf->smtp, PROTOCOL_SMTP, error);
}

/*
 * A socket of ours that stays open gets the new group and mode, if they are new: after the start chgrp may not be
 * allowed.
 */
static void renew_access(const struct listening_socket *sock, const struct conf *old, const struct conf *conf)
{
	char error[NET_ERROR_SIZE];
	gid_t before, group;

	if (!socket_group(conf, &group, error)) {
		log_warning("%s", error);
		return;
	}
	if (conf->socket_mode == old->socket_mode && socket_group(old, &before, error) && before == group)
		return;
	if (!net_set_access(&sock->endpoint, group, conf->socket_mode, error))
		log_warning("%s", error);
}

/* Closes what the new snapshot does not have. */
static void keep_wanted(struct listener *listener, const struct conf *conf)
{
	LIST_EACH (node, next, &listener->sockets) {
		struct listening_socket *sock = LIST_ENTRY_OF(node, struct listening_socket, node);
		if (sock->passed)
			look_at_passed(sock);
		else if (sock->wanted)
			renew_access(sock, listener->ingest.conf, conf);
		if (!sock->wanted)
			socket_close(sock);
	}
}

static void unmark(struct listener *listener)
{
	LIST_EACH (node, next, &listener->sockets)
		LIST_ENTRY_OF(node, struct listening_socket, node)->wanted = false;
}

bool listener_reload(struct listener *listener, struct conf *conf, char error[NET_ERROR_SIZE])
{
	struct list fresh;

	if (listener->ingest.stop != INGEST_OPEN)
		return true; /* nothing is opened any more */
	list_init(&fresh);
	unmark(listener);
	if (!want_all(listener, &fresh, conf, error)) {
		close_all(&fresh);
		return false;
	}
	keep_wanted(listener, conf);
	LIST_EACH (node, next, &fresh) {
		list_remove(node);
		list_append(&listener->sockets, node);
	}
	struct conf *old = listener->ingest.conf;
	listener->ingest.conf = conf_ref(conf);
	conf_unref(&old);
	watch_sockets(listener);
	return true;
}

/* ---- life ---- */

struct listener *listener_create(struct conf *conf, const struct tag_key *key, const struct ingest_router *relay,
				 char error[NET_ERROR_SIZE])
{
	struct listener *listener = mem_alloc(sizeof(*listener));

	listener->ingest = (struct ingest){
		.relay = *relay,
		.key = *key,
		.conf = conf_ref(conf),
		.ended = on_session_ended,
	};
	list_init(&listener->ingest.sessions);
	list_init(&listener->sockets);
	timer_init(&listener->pause, "descriptors", on_pause_over, listener);
	listener->warned_of_limit = listener->warned_of_system = -1;
	if (!listener_reload(listener, conf, error)) {
		listener_free(listener);
		return NULL;
	}
	return listener;
}

void listener_stop(struct listener *listener)
{
	listener->ingest.stop = INGEST_LAST;
	close_all(&listener->sockets);
	timer_cancel(&listener->pause);
	sessions_stop(&listener->ingest);
}

void listener_hurry(struct listener *listener)
{
	listener->ingest.stop = INGEST_OVER;
	sessions_stop(&listener->ingest);
}

void listener_free(struct listener *listener)
{
	if (listener == NULL)
		return;
	close_all(&listener->sockets);
	sessions_end(&listener->ingest);
	timer_cancel(&listener->pause);
	conf_unref(&listener->ingest.conf);
	free(listener);
}

size_t listener_sessions(const struct listener *listener)
{
	return list_count(&listener->ingest.sessions);
}

void listener_each_session(const struct listener *listener, session_view_fn *fn, void *arg)
{
	sessions_each(&listener->ingest, fn, arg);
}

void listener_each_wait(const struct listener *listener, wait_fn *fn, void *arg)
{
	sessions_each_wait(&listener->ingest, fn, arg);
}
