/*
 * A command as a source of tokens: started, listened to, limited. Called by token.c on a worker thread, which may
 * block: time here is the system's own, as no timer of the loop can fire on this thread. Never logs.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "token_command.h"

#define LOOK_EVERY 50 /* milliseconds: a background process may hold the pipes open after the command has ended */

struct command {
	pid_t pid;
	bool ended;
	int status;   /* as waitpid(2) says */
	int out, err; /* our ends of its pipes; -1 once closed */
	char *text;   /* its standard output, TOKEN_TEXT_LIMIT + 1 octets */
	size_t length;
	char complaint[256]; /* the beginning of its standard error */
	size_t complaint_length;
};

static int64_t milliseconds(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void close_end(int *fd)
{
	if (*fd != -1)
		close(*fd);
	*fd = -1;
}

/* The worker thread blocks every signal, and the daemon may ignore some: the command begins as if from a shell. */
static int spawn(struct command *command, const char *line, int out, int err)
{
	char *arguments[] = {(char *)"sh", (char *)"-c", (char *)line, NULL};
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attributes;
	sigset_t none, defaults;
	sigemptyset(&none);
	sigemptyset(&defaults);
	sigaddset(&defaults, SIGPIPE);
	sigaddset(&defaults, SIGHUP);
	sigaddset(&defaults, SIGTERM);
	sigaddset(&defaults, SIGINT);
	posix_spawn_file_actions_init(&files);
	posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&files, out, STDOUT_FILENO);
	posix_spawn_file_actions_adddup2(&files, err, STDERR_FILENO);
	posix_spawnattr_init(&attributes);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	posix_spawnattr_setpgroup(&attributes, 0);
	posix_spawnattr_setsigmask(&attributes, &none);
	posix_spawnattr_setsigdefault(&attributes, &defaults);
	int result = posix_spawn(&command->pid, "/bin/sh", &files, &attributes, arguments, environ);
	posix_spawn_file_actions_destroy(&files);
	posix_spawnattr_destroy(&attributes);
	return result;
}

/* What the system has not at present. */
static bool is_shortage(int reason)
{
	return reason == EAGAIN || reason == ENOMEM || reason == EMFILE || reason == ENFILE;
}

static bool start(struct command *command, const char *line, char *error, size_t error_size, bool *settings)
{
	int out[2] = {-1, -1}, err[2] = {-1, -1}, result;
	if (pipe2(out, O_CLOEXEC) == -1 || pipe2(err, O_CLOEXEC) == -1)
		result = errno;
	else
		result = spawn(command, line, out[1], err[1]);
	close_end(&out[1]);
	close_end(&err[1]);
	if (result != 0) {
		close_end(&out[0]);
		close_end(&err[0]);
		snprintf(error, error_size, "token-command cannot be started: %s", strerror(result));
		*settings = !is_shortage(result);
		return false;
	}
	fcntl(out[0], F_SETFL, O_NONBLOCK);
	fcntl(err[0], F_SETFL, O_NONBLOCK);
	command->out = out[0];
	command->err = err[0];
	return true;
}

/* Reads what is there into `data`; what does not fit is thrown away. Bounded: a command may print without end. */
static void drain(int *fd, char *data, size_t *length, size_t size)
{
	char beyond[4096];
	for (int turns = 0; *fd != -1 && turns < 64; turns++) {
		bool fits = *length < size;
		ssize_t got = fits ? read(*fd, data + *length, size - *length) : read(*fd, beyond, sizeof(beyond));
		if (got > 0 && fits)
			*length += (size_t)got;
		else if (got == 0 || (got == -1 && errno != EAGAIN && errno != EINTR))
			close_end(fd);
		else if (got == -1 && errno == EAGAIN)
			break;
	}
	explicit_bzero(beyond, sizeof(beyond));
}

static void drain_both(struct command *command)
{
	drain(&command->out, command->text, &command->length, TOKEN_TEXT_LIMIT + 1);
	drain(&command->err, command->complaint, &command->complaint_length, sizeof(command->complaint) - 1);
}

static void look(struct command *command, int flags)
{
	pid_t result = waitpid(command->pid, &command->status, flags);
	command->ended = result == command->pid || (result == -1 && errno != EINTR);
}

/* Until it has ended, has printed too much or the time is up; the last two end it. */
static bool listen_to(struct command *command, usec_t limit)
{
	int64_t deadline = milliseconds() + limit / USEC_PER_MSEC;
	while (!command->ended && command->length <= TOKEN_TEXT_LIMIT) {
		struct pollfd ends[] = {{.fd = command->out, .events = POLLIN}, {.fd = command->err, .events = POLLIN}};
		int64_t left = deadline - milliseconds();
		if (left <= 0)
			break;
		poll(ends, 2, left < LOOK_EVERY ? (int)left : LOOK_EVERY);
		drain_both(command);
		look(command, WNOHANG);
	}
	bool ended = command->ended;
	if (!ended)
		kill(-command->pid, SIGKILL);
	while (!command->ended)
		look(command, 0);
	drain_both(command);
	close_end(&command->out);
	close_end(&command->err);
	return ended;
}

/* The first line of its standard error, fit for a log line: ": cannot reach the token server", or "". */
static const char *complaint(struct command *command, char *out, size_t size)
{
	command->complaint[command->complaint_length] = '\0';
	command->complaint[strcspn(command->complaint, "\r\n")] = '\0';
	for (char *p = command->complaint; *p != '\0'; p++) {
		if (*p < ' ' || *p > '~')
			*p = '?';
	}
	snprintf(out, size, "%s%s", command->complaint[0] != '\0' ? ": " : "", command->complaint);
	return out;
}

/* What is wrong with how it ended; false if nothing. */
static bool explain(struct command *command, bool in_time, usec_t limit, char *error, size_t error_size)
{
	char said[sizeof(command->complaint) + 4];
	complaint(command, said, sizeof(said));
	if (command->length > TOKEN_TEXT_LIMIT)
		snprintf(error, error_size, "token-command printed more than %zu octets", TOKEN_TEXT_LIMIT);
	else if (!in_time)
		snprintf(error, error_size, "token-command was ended after %g s%s",
			 (double)limit / (double)USEC_PER_SEC, said);
	else if (WIFSIGNALED(command->status))
		snprintf(error, error_size, "token-command was ended by signal %d%s", WTERMSIG(command->status), said);
	else if (WEXITSTATUS(command->status) != 0)
		snprintf(error, error_size, "token-command ended with status %d%s", WEXITSTATUS(command->status), said);
	else if (strlen(command->text) != command->length)
		snprintf(error, error_size, "token-command printed a NUL octet");
	else
		return false;
	return true;
}

/* It will end like that each time. 126 and 127: the shell cannot run it. Any other failure may be the network's. */
static bool ends_so_each_time(const struct command *command, bool in_time)
{
	if (command->length > TOKEN_TEXT_LIMIT)
		return true;
	if (!in_time || !WIFEXITED(command->status))
		return false;
	int code = WEXITSTATUS(command->status);
	return code == 0 || code == 126 || code == 127;
}

char *token_command_run(const char *line, usec_t limit, char *error, size_t error_size, bool *settings)
{
	struct command command = {.out = -1, .err = -1};
	if (!start(&command, line, error, error_size, settings))
		return NULL;
	command.text = mem_alloc(TOKEN_TEXT_LIMIT + 2);
	bool in_time = listen_to(&command, limit);
	if (!explain(&command, in_time, limit, error, error_size))
		return command.text;
	*settings = ends_so_each_time(&command, in_time);
	explicit_bzero(command.text, command.length);
	free(command.text);
	return NULL;
}
