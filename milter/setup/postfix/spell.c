/*
 * relaypoold's sockets as Postfix spells them: relative to queue_directory where they can be, so that they hold for
 * chrooted services too. Called by the plan and the checks. Looks at no socket, only at names.
 */
#include <config.h>

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "postfix.h"

const char *spell_below_queue(const struct look *look, const char *path)
{
	const char *queue = look_expanded(look, "queue_directory");
	size_t length = strlen(queue);
	while (length > 1 && queue[length - 1] == '/')
		length--;
	return length > 1 && strncmp(path, queue, length) == 0 && path[length] == '/' ? path + length + 1 : NULL;
}

char *spell_socket(const struct look *look, const struct endpoint *endpoint)
{
	if (endpoint->kind == ENDPOINT_UNIX) {
		const char *below = spell_below_queue(look, endpoint->path);
		return mem_printf("unix:%s", below ? below : endpoint->path);
	}
	const char *host = strcmp(endpoint->host, "0.0.0.0") == 0 ? "127.0.0.1"
			   : strcmp(endpoint->host, "::") == 0    ? "::1"
								  : endpoint->host;
	return mem_printf(strchr(host, ':') ? "inet:[%s]:%u" : "inet:%s:%u", host, endpoint->port);
}

const struct endpoint *spell_listener(const struct conf *conf, const struct look *look)
{
	for (size_t i = 0; i < conf->lmtp_count; i++)
		if (conf->lmtp[i].kind == ENDPOINT_UNIX && spell_below_queue(look, conf->lmtp[i].path))
			return &conf->lmtp[i];
	return &conf->lmtp[0];
}

/* The socket that an element of smtpd_milters names: its first word, in braces or not. The caller's. */
static char *milter_socket(const char *element)
{
	while (*element == '{' || *element == ' ' || *element == '\t')
		element++;
	return mem_strndup(element, strcspn(element, ", \t}"));
}

bool spell_is_route(const char *element, const void *unused)
{
	static const char ours[] = "= " PLAN_TRANSPORT ":";
	const char *equals = strchr(element, '=');
	bool all = strncmp(element, "inline:", 7) == 0 && equals;
	(void)unused;
	for (; all && equals; equals = strchr(equals + 1, '='))
		all = strncmp(equals, ours, sizeof(ours) - 1) == 0;
	return all;
}

static bool same_host(const char *a, const char *b)
{
	a = strcasecmp(a, "localhost") == 0 ? "127.0.0.1" : a;
	b = strcasecmp(b, "localhost") == 0 || strcmp(b, "0.0.0.0") == 0 ? "127.0.0.1" : b;
	return strcasecmp(a, b) == 0;
}

bool spell_is_milter(const struct look *look, const char *element, const struct endpoint *endpoint)
{
	char *socket = milter_socket(element), error[NET_ERROR_SIZE];
	struct endpoint other;
	bool same = false;
	if (endpoint->kind == ENDPOINT_UNIX &&
	    (strncmp(socket, "unix:", 5) == 0 || strncmp(socket, "local:", 6) == 0)) {
		char *path = look_path(look, strchr(socket, ':') + 1);
		same = strcmp(path, endpoint->path) == 0;
		free(path);
	} else if (endpoint->kind == ENDPOINT_INET && endpoint_parse(socket, &other, error)) {
		same = other.kind == ENDPOINT_INET && other.port == endpoint->port &&
		       same_host(other.host, endpoint->host);
	}
	free(socket);
	return same;
}
