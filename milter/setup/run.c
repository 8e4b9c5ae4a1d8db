/*
 * One program, run to its end. Called by those who ask or change an MTA. Never through a shell, never without a limit:
 * whoever does not end in time is killed with all that it started.
 */
#include <config.h>

#include "setup/run.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"

#define SYSTEM_DIRECTORIES "/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin"
#define ENVIRONMENT_MAX 5

/* One of its two outputs. */
struct stream {
	int fd; /* our end; -1 once closed */
	char *text;
	size_t length, limit;
	bool overflow;
};

static void close_end(int *fd)
{
	if (*fd != -1)
		close(*fd);
	*fd = -1;
}

/* "NAME=VALUE" of ours, if there is one. */
static char *inherited(const char *name)
{
	const char *value = getenv(name);
	return value ? mem_printf("%s=%s", name, value) : NULL;
}

static void environment_make(char *environment[ENVIRONMENT_MAX])
{
	const char *path = getenv("PATH");
	size_t count = 0;
	environment[count++] = mem_printf("PATH=%s%s" SYSTEM_DIRECTORIES, path ? path : "", path && *path ? ":" : "");
	environment[count++] = mem_strdup("LC_ALL=C"); /* what it says is read */
	for (const char *const *name = (const char *const[]){"HOME", "MAIL_CONFIG", NULL}; *name; name++)
		if ((environment[count] = inherited(*name)))
			count++;
	environment[count] = NULL;
}

/* An executable of that name: as execvp(3) finds it, but in the PATH that the program will have. The caller's. */
static char *program_find(const char *name, const char *path)
{
	if (strchr(name, '/'))
		return mem_strdup(name);
	char *directories = mem_strdup(path), *rest = NULL;
	for (char *directory = strtok_r(directories, ":", &rest); directory; directory = strtok_r(NULL, ":", &rest)) {
		char *candidate = mem_printf("%s/%s", directory, name);
		if (directory[0] == '/' && access(candidate, X_OK) == 0) {
			free(directories);
			return candidate;
		}
		free(candidate);
	}
	free(directories);
	return NULL;
}

static int spawn(pid_t *pid, const char *const argv[], int out, int err)
{
	char *environment[ENVIRONMENT_MAX];
	environment_make(environment);
	char *program = program_find(argv[0], environment[0] + strlen("PATH="));
	int result = ENOENT;
	if (program) {
		posix_spawn_file_actions_t files;
		posix_spawnattr_t attributes;
		posix_spawn_file_actions_init(&files);
		posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
		posix_spawn_file_actions_adddup2(&files, out, STDOUT_FILENO);
		posix_spawn_file_actions_adddup2(&files, err, STDERR_FILENO);
		posix_spawnattr_init(&attributes);
		posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
		posix_spawnattr_setpgroup(&attributes, 0);
		result = posix_spawn(pid, program, &files, &attributes, (char *const *)argv, environment);
		posix_spawn_file_actions_destroy(&files);
		posix_spawnattr_destroy(&attributes);
	}
	free(program);
	for (size_t i = 0; environment[i]; i++)
		free(environment[i]);
	return result;
}

/* Takes what is there; closes at its end. */
static void stream_read(struct stream *stream)
{
	char part[8192];
	ssize_t got = read(stream->fd, part, sizeof(part));
	if (got <= 0) {
		if (got == 0 || (errno != EINTR && errno != EAGAIN))
			close_end(&stream->fd);
		return;
	}
	size_t room = stream->limit - stream->length, taken = (size_t)got < room ? (size_t)got : room;
	stream->overflow = stream->overflow || taken < (size_t)got;
	stream->text = mem_realloc(stream->text, stream->length + taken + 1);
	memcpy(stream->text + stream->length, part, taken);
	stream->length += taken;
	stream->text[stream->length] = '\0';
}

/* Reads both until both are closed. False if the time is up or too much came. */
static bool streams_read(struct stream streams[2], usec_t end)
{
	while (streams[0].fd != -1 || streams[1].fd != -1) {
		usec_t left = end - clock_now();
		if (left <= 0 || streams[0].overflow)
			return false;
		struct pollfd polled[2] = {{streams[0].fd, POLLIN, 0}, {streams[1].fd, POLLIN, 0}};
		if (poll(polled, 2, (int)(left / 1000) + 1) == -1 && errno != EINTR)
			return false;
		for (int i = 0; i < 2; i++)
			if (polled[i].revents)
				stream_read(&streams[i]);
	}
	return true;
}

/* Its exit code; -1 if a signal ended it. A program that has closed its outputs may still run until `end`. */
static int await(pid_t pid, usec_t end, bool hurry)
{
	int status;
	bool killed = false;
	for (;;) {
		pid_t got = waitpid(pid, &status, killed ? 0 : WNOHANG);
		if (got == pid)
			return WIFEXITED(status) && !killed ? WEXITSTATUS(status) : -1;
		if (got == -1 && errno != EINTR)
			return -1;
		if (!killed && (hurry || clock_now() >= end)) {
			kill(-pid, SIGKILL);
			killed = true;
		} else if (!killed) {
			poll(NULL, 0, 5);
		}
	}
}

/* The last line of what it complained of: the one that says why it ended. */
static const char *last_line(char *complaint)
{
	size_t length = strlen(complaint);
	while (length > 0 && strchr(" \n", complaint[length - 1]))
		complaint[--length] = '\0';
	const char *begin = strrchr(complaint, '\n');
	return begin ? begin + 1 : complaint;
}

static bool explain(const char *name, struct run *run, bool in_time, bool overflow, unsigned seconds,
		    char error[SETUP_ERROR_SIZE])
{
	if (overflow)
		snprintf(error, SETUP_ERROR_SIZE, "%s printed more than %d MiB", name, RUN_OUTPUT_MAX >> 20);
	else if (!in_time)
		snprintf(error, SETUP_ERROR_SIZE, "%s has not ended within %u seconds", name, seconds);
	else if (run->code == -1)
		snprintf(error, SETUP_ERROR_SIZE, "%s was ended by a signal", name);
	else {
		char *complaint = mem_strdup(run->complaint);
		const char *line = last_line(complaint);
		snprintf(error, SETUP_ERROR_SIZE, "%s failed (exit code %d)%s%s", name, run->code, *line ? ": " : "",
			 line);
		free(complaint);
	}
	return false;
}

bool run_program(const char *const argv[], unsigned seconds, struct run *run, char error[SETUP_ERROR_SIZE])
{
	int out[2] = {-1, -1}, err[2] = {-1, -1};
	pid_t pid = -1;
	*run = (struct run){.code = -1};
	int result =
		pipe2(out, O_CLOEXEC) == -1 || pipe2(err, O_CLOEXEC) == -1 ? errno : spawn(&pid, argv, out[1], err[1]);
	close_end(&out[1]);
	close_end(&err[1]);
	struct stream streams[2] = {{.fd = out[0], .text = mem_alloc(1), .limit = RUN_OUTPUT_MAX},
				    {.fd = err[0], .text = mem_alloc(1), .limit = RUN_COMPLAINT_MAX}};
	usec_t end = clock_now() + (usec_t)seconds * 1000000;
	bool in_time = result == 0 && streams_read(streams, end);
	if (result == 0)
		run->code = await(pid, end, !in_time);
	close_end(&streams[0].fd);
	close_end(&streams[1].fd);
	run->output = streams[0].text;
	run->complaint = streams[1].text;
	if (result == 0)
		return run->code == 0 ||
		       explain(argv[0], run, in_time && clock_now() < end, streams[0].overflow, seconds, error);
	if (result == ENOENT)
		snprintf(error, SETUP_ERROR_SIZE, "there is no program %s on this host", argv[0]);
	else
		snprintf(error, SETUP_ERROR_SIZE, "cannot run %s: %s", argv[0], strerror(result));
	return false;
}

void run_free(struct run *run)
{
	free(run->output);
	free(run->complaint);
	*run = (struct run){.code = -1};
}
