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
	CLIENT_READING,    /* it has to read its answer; further requests wait */
	CLIENT_LEAVING     /* it has to read its last answer, then it is closed */
};

struct client {
	struct list node; /* of control.clients */
	struct control *control;
	struct bufferevent *stream;
	enum client_state state;
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
	timer_arm(&client->patience, CONTROL_PATIENCE);
	if (state == CLIENT_ASKING)
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

/* An argument is a relay's name or a queue id; it goes into the log, so nothing passes that could be another line. */
static bool argument_valid(const char *argument)
{
	for (const char *c = argument; *c; c++)
		if ((unsigned char)*c <= ' ' || *c == 127)
			return false;
	return *argument != '\0' && strlen(argument) <= CONTROL_ARGUMENT_MAX;
}

/* The verb and its argument of a request; false with the refusal in `*refusal`. The argument lives in `request`. */
static bool request_read(const json_t *request, enum admin_verb *verb, const char **argument, json_t **refusal)
{
	const char *name = json_string_value(json_object_get(request, "verb"));
	const json_t *arguments = json_object_get(request, "args");
	size_t count = json_array_size(arguments);
	*refusal = NULL;
	*argument = json_string_value(json_array_get(arguments, 0));
	if (!name || (arguments && !json_is_array(arguments)) || (count > 0 && !*argument))
		*refusal = answer_refuse(REFUSAL_USAGE, "a request is {\"verb\":\"pools\",\"args\":[\"relay\"]}");
	else if (*argument && !argument_valid(*argument))
		*refusal = answer_refuse(REFUSAL_USAGE, "an argument is one word of at most %d octets",
					 CONTROL_ARGUMENT_MAX);
	else if (!admin_verb_find(name, verb))
		*refusal = answer_refuse(REFUSAL_USAGE, "there is no verb \"%s\"", name);
	else if (count > (*admin_verbs[*verb].argument ? 1 : 0))
		*refusal = answer_refuse(REFUSAL_USAGE, "too many arguments: %s %s", name, admin_verbs[*verb].argument);
	return *refusal == NULL;
}

static json_t *client_obey(struct client *client, enum admin_verb verb, const char *argument)
{
	const struct admin_verb_info *info = &admin_verbs[verb];
	if (!info->changes)
		return answer_make(client->control->doors, verb, argument);
	json_t *answer;
	static struct log_limit refusals = LOG_LIMIT("control_refused");
	bool refused = !may_change(client);
	if (!refused)
		answer = answer_make(client->control->doors, verb, argument);
	else
		answer = answer_refuse(REFUSAL_PERMISSION, "%s is for root and the user relaypoold runs as only",
				       info->name);
	const char *reason = json_string_value(json_object_get(answer, "reason"));
	/* What was done is always told, but whoever may not do it cannot fill the log by trying. */
	if (!refused || log_limit_passes(&refusals, NULL))
		log_notice("control: verb=%s, relay=%s, uid=%u, result=%s", info->name, argument ? argument : "-",
			   (unsigned)client->uid, reason ? reason : "done");
	return answer;
}

static void client_handle(struct client *client, const char *line, size_t length)
{
	json_error_t where;
	json_t *request = json_loadb(line, length, JSON_REJECT_DUPLICATES, &where);
	enum admin_verb verb = ADMIN_STATUS;
	const char *argument = NULL;
	json_t *answer;
	if (!request)
		answer = answer_refuse(REFUSAL_USAGE, "a request is one line of JSON: %s", where.text);
	else if (request_read(request, &verb, &argument, &answer))
		answer = client_obey(client, verb, argument);
	client_answer(client, answer, CLIENT_READING);
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

static void client_gone(struct bufferevent *stream, short what, void *arg)
{
	(void)stream;
	(void)what;
	client_free(arg);
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
