/*
 * The daemon as relaypoolctl sees it: one line over the control socket, one line back, within a limit. Called by ctl.c
 * and top.c. It never writes to the screen.
 */
#include <config.h>

#include "daemon.h"

#include <errno.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "ctl.h"

/* A connected socket, or -1 with errno. */
static int daemon_connect(const char *path, int seconds)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	if (snprintf(address.sun_path, sizeof(address.sun_path), "%s", path) >= (int)sizeof(address.sun_path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	const struct timeval limit = {.tv_sec = seconds};
	if (fd == -1 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) == -1 ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) == -1 ||
	    connect(fd, (struct sockaddr *)&address, sizeof(address)) == -1) {
		int why = errno;
		if (fd != -1)
			close(fd);
		errno = why;
		return -1;
	}
	return fd;
}

/*
 * Sends all of it, without SIGPIPE. A daemon that turns us away has said why before it closed, so that a connection
 * closed meanwhile is no failure yet: its answer is read. False with errno.
 */
static bool daemon_send(int fd, const char *text, size_t length)
{
	while (length > 0) {
		ssize_t sent = send(fd, text, length, MSG_NOSIGNAL);
		if (sent == -1)
			return errno == EPIPE || errno == ECONNRESET;
		text += sent;
		length -= (size_t)sent;
	}
	return true;
}

/* Reads one line and closes. The caller's; NULL with errno (0: the daemon closed early). */
static char *daemon_answer(int fd)
{
	char *answer = NULL;
	size_t size = 0;
	FILE *stream = fdopen(fd, "r");
	if (!stream)
		return NULL;
	errno = 0;
	ssize_t length = getline(&answer, &size, stream);
	int why = errno;
	fclose(stream);
	if (length > 0 && answer[length - 1] == '\n')
		return answer;
	free(answer);
	errno = why;
	return NULL;
}

/* NULL if an argument is no text. */
static json_t *daemon_request(const struct daemon_question *question)
{
	json_t *arguments = json_array();
	bool good = true;
	for (size_t i = 0; i < ADMIN_ARGUMENTS_MAX && question->arguments[i]; i++)
		good = json_array_append_new(arguments, json_string(question->arguments[i])) == 0 && good;
	json_t *request = json_pack("{s:s, s:o}", "verb", question->verb, "args", arguments);
	if (good)
		return request;
	json_decref(request);
	return NULL;
}

/* Sends the request and reads one line. The caller's; NULL with errno (0: the daemon closed early). */
static char *daemon_exchange(int fd, const struct daemon_question *question)
{
	json_t *request = daemon_request(question);
	char *line = request ? json_dumps(request, JSON_COMPACT) : NULL;
	json_decref(request);
	if (!line) {
		close(fd);
		errno = EINVAL;
		return NULL;
	}
	bool sent = daemon_send(fd, line, strlen(line)) && daemon_send(fd, "\n", 1);
	int why = errno;
	free(line);
	if (sent)
		return daemon_answer(fd);
	close(fd);
	errno = why;
	return NULL;
}

/* Why nobody could be reached. */
static enum exit_code daemon_absent(const char *path, int why, char error[DAEMON_ERROR_SIZE])
{
	if (why == EACCES || why == EPERM) {
		snprintf(error, DAEMON_ERROR_SIZE,
			 "may not connect to %s: become root or a member of the group that owns it", path);
		return EXIT_PERMISSION;
	}
	if (why == ENOENT || why == ECONNREFUSED)
		snprintf(error, DAEMON_ERROR_SIZE,
			 "relaypoold does not run, or its control socket is not %s (-s names another)", path);
	else
		snprintf(error, DAEMON_ERROR_SIZE, "cannot connect to %s: %s", path, strerror(why));
	return EXIT_NO_DAEMON;
}

char *daemon_ask(const char *path, const struct daemon_question *question, enum exit_code *code,
		 char error[DAEMON_ERROR_SIZE])
{
	int fd = daemon_connect(path, question->limit);
	if (fd == -1) {
		*code = daemon_absent(path, errno, error);
		return NULL;
	}
	char *line = daemon_exchange(fd, question);
	if (!line) {
		*code = EXIT_NO_DAEMON;
		snprintf(error, DAEMON_ERROR_SIZE, "relaypoold has not answered on %s: %s", path,
			 errno == EAGAIN ? "it is busy, hangs or cannot start; its log tells"
			 : errno         ? strerror(errno)
					 : "it closed the connection");
	}
	return line;
}

bool daemon_present(const char *path)
{
	int fd = daemon_connect(path, DAEMON_LIMIT);
	if (fd != -1)
		close(fd);
	return fd != -1;
}

bool daemon_answers(const char *path)
{
	const struct daemon_question question = {.verb = "status", .limit = DAEMON_LIMIT_BRIEF};
	char error[DAEMON_ERROR_SIZE];
	enum exit_code code;
	char *line = daemon_ask(path, &question, &code, error);
	bool answers = line != NULL;
	free(line);
	return answers;
}
