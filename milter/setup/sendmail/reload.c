/*
 * Has a running Sendmail read its configuration: SIGHUP to the daemon that its pid file names, whoever started it.
 * Called by sendmail.c with --reload only. Never signals a process that is not Sendmail.
 */
#include <config.h>

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "sendmail.h"

#define RELOAD_LIMIT (10 * USEC_PER_SEC)
#define LOOK_INTERVAL 20 /* milliseconds */
#define BY_HAND "restart Sendmail by hand, such as by `systemctl restart sendmail'"

/* The first line of the pid file; 0 if there is none. The second is how the daemon was started. */
static pid_t read_pid(const char *path, char **started)
{
	char error[SETUP_ERROR_SIZE];
	char *text = file_read(path, FILE_PLAIN, 65536, error, sizeof(error));
	long pid = text ? strtol(text, NULL, 10) : 0;
	const char *second = text ? strchr(text, '\n') : NULL;
	*started = mem_strdup(second ? second + 1 : "");
	free(text);
	return pid > 1 && pid <= 0x7fffffff ? (pid_t)pid : 0;
}

/* True if the process runs a program whose name has "sendmail" in it. */
static bool is_sendmail(pid_t pid)
{
	char *link = mem_printf("/proc/%d/exe", (int)pid), program[4096];
	ssize_t length = readlink(link, program, sizeof(program) - 1);
	free(link);
	program[length > 0 ? length : 0] = '\0';
	const char *name = strrchr(program, '/');
	return name && strstr(name, "sendmail");
}

/* Waits until the pid file is another: Sendmail writes it when it has started again. */
static bool await_start(const char *path, const struct stat *before)
{
	usec_t end = clock_now() + RELOAD_LIMIT;
	struct stat now;
	char *started = NULL;
	while (clock_now() < end) {
		bool other = stat(path, &now) == 0 && now.st_size > 0 &&
			     (now.st_ino != before->st_ino || now.st_mtim.tv_sec != before->st_mtim.tv_sec ||
			      now.st_mtim.tv_nsec != before->st_mtim.tv_nsec);
		pid_t pid = other ? read_pid(path, &started) : 0;
		bool runs = pid > 0 && is_sendmail(pid);
		if (other)
			free(started);
		if (runs)
			return true;
		poll(NULL, 0, LOOK_INTERVAL);
	}
	return false;
}

static bool signal_daemon(const char *path, char error[SETUP_ERROR_SIZE])
{
	struct stat before;
	char *started = NULL;
	pid_t pid = stat(path, &before) == 0 ? read_pid(path, &started) : 0;
	bool good = false;
	if (pid == 0 || !is_sendmail(pid))
		snprintf(error, SETUP_ERROR_SIZE, "no running Sendmail is named in %s: " BY_HAND, path);
	else if (started[0] != '/')
		snprintf(error, SETUP_ERROR_SIZE,
			 "Sendmail was started without the path of its program and cannot start itself "
			 "again: " BY_HAND);
	else if (kill(pid, SIGHUP) == -1)
		snprintf(error, SETUP_ERROR_SIZE, "cannot signal process %d: %s", (int)pid, strerror(errno));
	else if (!await_start(path, &before))
		snprintf(error, SETUP_ERROR_SIZE, "Sendmail has not started again within 10 seconds; see its log");
	else
		good = true;
	free(started);
	return good;
}

bool site_reload(const char *cf, char error[SETUP_ERROR_SIZE])
{
	char *path = cf_option(cf, "PidFile");
	if (!path || *path != '/') {
		snprintf(error, SETUP_ERROR_SIZE, "sendmail.cf names no pid file: " BY_HAND);
		free(path);
		return false;
	}
	bool good = signal_daemon(path, error);
	free(path);
	return good;
}
