/* A client of the control socket, and relaypoolctl as an administrator runs it. */
#include "client.h"

#include <check.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/loop.h"
#include "base/mem.h"

/* ---- a client ---- */

void client_say(int fd, const char *text)
{
	ck_assert_int_eq(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
	loop_settle();
}

char *client_hear(int fd, bool *ended)
{
	size_t length = 0, size = 1 << 16;
	char *text = mem_alloc(size);
	ssize_t got;
	while ((got = read(fd, text + length, size - length - 1)) > 0) {
		length += (size_t)got;
		loop_settle();
		if (size - length < 1 << 15)
			text = mem_realloc(text, size *= 2);
	}
	text[length] = '\0';
	*ended = got == 0 || errno == ECONNRESET;
	return text;
}

bool client_cut(int fd)
{
	bool ended;
	free(client_hear(fd, &ended));
	return ended;
}

json_t *ask(const char *line)
{
	bool ended;
	int fd = rooms_connect();
	client_say(fd, line);
	client_say(fd, "\n");
	char *text = client_hear(fd, &ended);
	ck_assert_ptr_eq(strchr(text, '\n'), text + strlen(text) - 1);
	json_t *answer = json_loads(text, 0, NULL);
	ck_assert_msg(json_is_object(answer), "not an object: %s", text);
	ck_assert_int_eq(json_integer_value(json_object_get(answer, "schema")), 1);
	free(text);
	close(fd);
	loop_settle();
	return answer;
}

const char *string_of(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

void expect_refusal(const char *line, const char *reason, const char *says)
{
	json_t *answer = ask(line);
	ck_assert_str_eq(string_of(answer, "reason"), reason);
	ck_assert_msg(strstr(string_of(answer, "error"), says) != NULL, "%s", string_of(answer, "error"));
	json_decref(answer);
}

/* ---- relaypoolctl ---- */

char output[OUTPUT_SIZE];

int run(const char *const *arguments)
{
	int fds[2], status;
	ck_assert_int_eq(pipe(fds), 0);
	pid_t child = fork();
	if (child == 0) {
		dup2(fds[1], 1);
		dup2(fds[1], 2);
		close(fds[0]);
		signal(SIGPIPE, SIG_DFL); /* as in a shell */
		execv("./relaypoolctl", (char *const *)arguments);
		_exit(127);
	}
	close(fds[1]);
	size_t length = 0;
	ssize_t got = 1;
	while (got != 0) {
		struct pollfd readable = {.fd = fds[0], .events = POLLIN};
		loop_settle();
		if (poll(&readable, 1, 1) <= 0)
			continue;
		got = read(fds[0], output + length, OUTPUT_SIZE - 1 - length);
		ck_assert_int_ge(got, 0);
		length += (size_t)got;
	}
	output[length] = '\0';
	close(fds[0]);
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert(WIFEXITED(status));
	return WEXITSTATUS(status);
}

void expect_says(const char *text)
{
	ck_assert_msg(strstr(output, text) != NULL, "\"%s\" is not in:\n%s", text, output);
}

void expect_80_columns(void)
{
	for (const char *line = output; *line; line += strcspn(line, "\n") + 1)
		ck_assert_msg(strcspn(line, "\n") <= 80 || line[strspn(line, " ")] == '/', "%.*s",
			      (int)strcspn(line, "\n"), line);
}
