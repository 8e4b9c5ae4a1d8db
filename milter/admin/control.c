/*
 * The control socket: accepts, reads one line of JSON, decides whether this user may, and writes the answer.
 * Called by main; what the verbs say stands in answer.c. Never waits for a client, and keeps nothing of one that has
 * gone: a slow or hostile reader costs one bounded answer for a bounded time.
 */
#include <config.h>

#include "admin/control.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/listener.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "answer.h"
#include "base/log.h"
#include "base/log_limit.h"
#include "base/loop.h"
#include "base/mem.h"

enum client_state {
	CLIENT_ASKING = 0, /* its request is awaited */
	CLIENT_WAITING,    /* its answer comes later; further requests wait, and whether it goes is watched */
	CLIENT_READING,    /* it has to read its answer; further requests wait */
	CLIENT_LEAVING     /* it has to read its last answer, then it is closed */
};

struct client {
	struct list node; /* of control.clients */
	struct control *control;
	struct bufferevent *stream;
	enum client_state state;
	struct later *later;  /* CLIENT_WAITING: for what */
	enum admin_verb verb; /* of that */
	uid_t uid;
	struct timer patience; /* for what its state waits for */
};

struct control {
	const struct control_doors *doors;
	struct evconnlistener *listener;
	struct timer pause; /* accept(2) failed: again in a second */
	struct list clients;
};

static void client_free(struct client *client)
{
	list_remove(&client->node);
	timer_cancel(&client->patience);
	if (client->later)
		later_cancel(client->later);
	bufferevent_free(client->stream);
	free(client);
}

static void client_out_of_time(void *arg)
{
	client_free(arg);
}

/* The only place where the state changes. Each state has its whole patience once: a trickle does not renew it. */
static void client_enter(struct client *client, enum client_state state)
{
	client->state = state;
	timer_arm(&client->patience, state == CLIENT_WAITING ? CONTROL_LATER : CONTROL_PATIENCE);
	if (state == CLIENT_ASKING || state == CLIENT_WAITING)
		bufferevent_enable(client->stream, EV_READ);
	else
		bufferevent_disable(client->stream, EV_READ);
}

/* Writes an answer (taken over) and waits until it is read. */
static void client_answer(struct client *client, json_t *answer, enum client_state then)
{
	char *line = json_dumps(answer, JSON_COMPACT | JSON_REAL_PRECISION(12));
	json_decref(answer);
	struct evbuffer *out = bufferevent_get_output(client->stream);
	if (!line || evbuffer_add(out, line, strlen(line)) == -1 || evbuffer_add(out, "\n", 1) == -1)
		abort();
	free(line);
	client_enter(client, then);
}

/* ---- requests ---- */

static bool may_change(const struct client *client)
{
	return client->uid == 0 || client->uid == geteuid() || client->uid == client->control->doors->owner;
}

/* A relay's name, a queue id, an address; some go into the log, so nothing passes that could be another line. */
static bool argument_valid(const char *argument)
{
	for (const char *c = argument; *c; c++)
		if ((unsigned char)*c <= ' ' || *c == 127)
			return false;
	return *argument != '\0' && strlen(argument) <= CONTROL_ARGUMENT_MAX;
}

/* The arguments of a request as far as there is room; false if one is no word. They live in `request`. */
static bool arguments_read(const json_t *request, struct arguments *arguments)
{
	const json_t *list = json_object_get(request, "args");
	arguments->count = json_array_size(list);
	for (size_t i = 0; i < arguments->count; i++) {
		const char *word = json_string_value(json_array_get(list, i));
		if (!word)
			return false;
		if (i < ADMIN_ARGUMENTS_MAX)
			arguments->words[i] = word;
	}
	return !list || json_is_array(list);
}

static bool arguments_valid(const struct arguments *arguments)
{
	for (size_t i = 0; i < arguments->count && i < ADMIN_ARGUMENTS_MAX; i++)
		if (!argument_valid(arguments->words[i]))
			return false;
	return true;
}

/* The verb and its arguments of a request; false with the refusal in `*refusal`. */
static bool request_read(const json_t *request, enum admin_verb *verb, struct arguments *arguments, json_t **refusal)
{
	const char *name = json_string_value(json_object_get(request, "verb"));
	*refusal = NULL;
	if (!arguments_read(request, arguments) || !name)
		*refusal = answer_refuse(REFUSAL_USAGE, "a request is {\"verb\":\"pools\",\"args\":[\"relay\"]}");
	else if (!arguments_valid(arguments))
		*refusal = answer_refuse(REFUSAL_USAGE, "an argument is one word without blanks, of at most %d octets",
					 CONTROL_ARGUMENT_MAX);
	else if (!admin_verb_find(name, verb))
		*refusal = answer_refuse(REFUSAL_USAGE, "there is no verb \"%s\"", name);
	else if (arguments->count > admin_verbs[*verb].most)
		*refusal = answer_refuse(REFUSAL_USAGE, "too many arguments: %s %s", name, admin_verbs[*verb].argument);
	return *refusal == NULL;
}

/* The relay that a verb is given, or that its answer names. */
static const char *relay_of(enum admin_verb verb, const struct arguments *arguments, const json_t *answer)
{
	bool given = strcmp(admin_verbs[verb].argument, "[RELAY]") == 0 && arguments && arguments->count > 0;
	const char *named = json_string_value(json_object_get(answer, "relay"));
	return given ? arguments->words[0] : named ? named : "-";
}

/* What was done is always told; whoever may not do it cannot fill the log by trying. */
static void tell_log(const struct client *client, enum admin_verb verb, const char *relay, const json_t *answer)
{
	static struct log_limit refusals = LOG_LIMIT("control_refused");
	const char *reason = json_string_value(json_object_get(answer, "reason"));
	if (may_change(client) || log_limit_passes(&refusals, NULL))
		log_notice("control: verb=%s, relay=%s, uid=%u, result=%s", admin_verbs[verb].name, relay,
			   (unsigned)client->uid, reason ? reason : "done");
}

static void client_answered_later(json_t *answer, void *arg)
{
	struct client *client = arg;
	client->later = NULL;
	tell_log(client, client->verb, relay_of(client->verb, NULL, answer), answer);
	client_answer(client, answer, CLIENT_READING);
}

/* NULL: the answer comes later. */
static json_t *client_obey(struct client *client, enum admin_verb verb, const struct arguments *arguments)
{
	const struct admin_verb_info *info = &admin_verbs[verb];
	json_t *answer;
	client->verb = verb;
	if (info->changes && !may_change(client))
		answer = answer_refuse(REFUSAL_PERMISSION, "%s is for root and the user relaypoold runs as only",
				       info->name);
	else
		answer = answer_make(client->control->doors, verb, arguments, client_answered_later, client,
				     &client->later);
	if (answer && info->changes)
		tell_log(client, verb, relay_of(verb, arguments, answer), answer);
	return answer;
}

static void client_handle(struct client *client, const char *line, size_t length)
{
	json_error_t where;
	json_t *request = json_loadb(line, length, JSON_REJECT_DUPLICATES, &where);
	enum admin_verb verb = ADMIN_STATUS;
	struct arguments arguments = {0};
	json_t *answer;
	if (!request)
		answer = answer_refuse(REFUSAL_USAGE, "a request is one line of JSON: %s", where.text);
	else if (request_read(request, &verb, &arguments, &answer))
		answer = client_obey(client, verb, &arguments);
	if (answer)
		client_answer(client, answer, CLIENT_READING);
	else
		client_enter(client, CLIENT_WAITING);
	json_decref(request);
}

/* ---- the stream ---- */

/* Handles what is there until an answer has to be read first. */
static void client_readable(struct bufferevent *stream, void *arg)
{
	struct client *client = arg;
	struct evbuffer *in = bufferevent_get_input(stream);
	if (client->state != CLIENT_ASKING)
		return;
	size_t length;
	char *line = evbuffer_readln(in, &length, EVBUFFER_EOL_LF);
	if (line)
		client_handle(client, line, length);
	else if (evbuffer_get_length(in) >= CONTROL_LINE_MAX) /* the watermark lets no more in */
		client_answer(client, answer_refuse(REFUSAL_USAGE, "a request has at most %d octets", CONTROL_LINE_MAX),
			      CLIENT_LEAVING);
	free(line);
}

/* The output buffer is empty: the answer has been read, or at least left us. */
static void client_written(struct bufferevent *stream, void *arg)
{
	struct client *client = arg;
	if (client->state == CLIENT_LEAVING) {
		client_free(client);
	} else if (client->state == CLIENT_READING) {
		client_enter(client, CLIENT_ASKING);
		client_readable(stream, client);
	}
}

/* It has said all that it will and still reads: socat does so. That it goes later is not seen then. */
static bool still_reads(struct bufferevent *stream)
{
	struct pollfd socket = {.fd = bufferevent_getfd(stream)};
	return poll(&socket, 1, 0) == 0;
}

static void client_gone(struct bufferevent *stream, short what, void *arg)
{
	struct client *client = arg;
	if (client->state == CLIENT_WAITING && (what & BEV_EVENT_EOF) && still_reads(stream))
		return;
	client_free(client);
}

/* ---- accepting ---- */

/* One line fits into a new socket's buffer, so that nothing need be kept of a client that is turned away. */
static void client_turn_away(int fd)
{
	static const char line[] = "{\"schema\":1,\"error\":\"too many others are connected to the control socket\","
				   "\"reason\":\"failed\"}\n";
	if (send(fd, line, sizeof(line) - 1, MSG_DONTWAIT | MSG_NOSIGNAL) == -1)
		log_debug("control: a client was turned away: %s", strerror(errno));
	close(fd);
}

static void client_create(struct control *control, int fd, uid_t uid)
{
	struct client *client = mem_alloc(sizeof(*client));
	client->control = control;
	client->uid = uid;
	client->stream = bufferevent_socket_new(loop_base(), fd, BEV_OPT_CLOSE_ON_FREE);
	if (!client->stream)
		abort();
	timer_init(&client->patience, "control client", client_out_of_time, client);
	bufferevent_setcb(client->stream, client_readable, client_written, client_gone, client);
	bufferevent_setwatermark(client->stream, EV_READ, 0, CONTROL_LINE_MAX);
	list_append(&control->clients, &client->node);
	client_enter(client, CLIENT_ASKING);
}

static void control_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *address, int length,
			   void *arg)
{
	(void)listener;
	(void)address;
	(void)length;
	struct control *control = arg;
	uid_t uid;
	gid_t gid;
	if (!net_peer_credentials(fd, &uid, &gid))
		close(fd);
	else if (list_count(&control->clients) >= CONTROL_CLIENTS_MAX)
		client_turn_away(fd);
	else
		client_create(control, fd, uid);
}

/* Without descriptors the socket stays readable: look again later instead of spinning. */
static void control_accept_failed(struct evconnlistener *listener, void *arg)
{
	struct control *control = arg;
	static struct log_limit limit = LOG_LIMIT("control_accept");
	if (log_limit_passes(&limit, NULL))
		log_error("control: cannot accept a connection: %s; trying again in 1 s", strerror(errno));
	evconnlistener_disable(listener);
	timer_arm(&control->pause, USEC_PER_SEC);
}

static void control_accept_again(void *arg)
{
	struct control *control = arg;
	evconnlistener_enable(control->listener);
}

struct control *control_create(int listening, const struct control_doors *doors)
{
	struct control *control = mem_alloc(sizeof(*control));
	control->doors = doors;
	list_init(&control->clients);
	timer_init(&control->pause, "control accept", control_accept_again, control);
	control->listener = evconnlistener_new(loop_base(), control_accept, control,
					       LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 0, listening);
	if (!control->listener)
		abort();
	evconnlistener_set_error_cb(control->listener, control_accept_failed);
	return control;
}

void control_free(struct control *control)
{
	if (!control)
		return;
	timer_cancel(&control->pause);
	LIST_EACH (node, next, &control->clients)
		client_free(LIST_ENTRY_OF(node, struct client, node));
	evconnlistener_free(control->listener);
	free(control);
}
