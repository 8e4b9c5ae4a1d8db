/*
 * The process as the system sees it: user, limits, background, lock, readiness. Called by main while it starts and
 * ends; never by anything that handles mail.
 */
#include <config.h>

#include "base/process.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <inttypes.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"

static int ready_pipe = -1; /* to the parent that waits in the foreground; -1: there is none */
static int lock_fd = -1;
static char *lock_path;
static char *manager; /* the service manager's NOTIFY_SOCKET; NULL: there is none */

static bool refuse(char error[PROCESS_ERROR_SIZE], const char *what, const char *object)
{
	snprintf(error, PROCESS_ERROR_SIZE, "%s %s: %s", what, object, strerror(errno));
	return false;
}

bool process_user_find(const char *name, struct process_user *user, char error[PROCESS_ERROR_SIZE])
{
	*user = (struct process_user){.uid = geteuid(), .gid = getegid()};
	if (!name || geteuid() != 0)
		return true;
	errno = 0;
	const struct passwd *entry = getpwnam(name);
	if (!entry || strlen(name) >= sizeof(user->name)) {
		snprintf(error, PROCESS_ERROR_SIZE, "user = \"%s\": %s", name,
			 errno ? strerror(errno) : "there is no such user on this host; create it or name another");
		return false;
	}
	snprintf(user->name, sizeof(user->name), "%s", name);
	user->uid = entry->pw_uid;
	user->gid = entry->pw_gid;
	user->change = entry->pw_uid != 0;
	return true;
}

bool process_group_find(const char *name, gid_t *group, char error[PROCESS_ERROR_SIZE])
{
	*group = (gid_t)-1;
	if (!name)
		return true;
	const struct group *entry = getgrnam(name);
	if (!entry) {
		snprintf(error, PROCESS_ERROR_SIZE, "socket-group = \"%s\": there is no such group on this host", name);
		return false;
	}
	*group = entry->gr_gid;
	return true;
}

/* The parent: waits for one octet from the child, or for its end. */
static void await_ready(int fd, pid_t child)
{
	char octet;
	ssize_t got;
	do
		got = read(fd, &octet, 1);
	while (got == -1 && errno == EINTR);
	if (got == 1)
		_exit(0);
	int status;
	while (waitpid(child, &status, 0) == -1 && errno == EINTR)
		;
	_exit(1);
}

bool process_background(char error[PROCESS_ERROR_SIZE])
{
	int fds[2];
	if (manager) /* a service manager waits for us where we are */
		return chdir("/") == 0 || refuse(error, "cannot go to", "/");
	if (pipe2(fds, O_CLOEXEC) == -1)
		return refuse(error, "cannot make", "a pipe");
	pid_t child = fork();
	if (child == -1)
		return refuse(error, "cannot start", "a process");
	if (child > 0) {
		close(fds[1]);
		await_ready(fds[0], child);
	}
	close(fds[0]);
	ready_pipe = fds[1];
	if (setsid() == -1)
		return refuse(error, "cannot start", "a session");
	if (chdir("/") == -1)
		return refuse(error, "cannot go to", "/");
	return true;
}

void process_limits(void)
{
	signal(SIGPIPE, SIG_IGN);
	struct rlimit files;
	if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	const struct rlimit none = {0, 0};
	setrlimit(RLIMIT_CORE, &none);
}

/* Secrets are in memory: nobody attaches to it or dumps it. After the last change of user, which resets it. */
static void hide_memory(void)
{
#ifdef __SANITIZE_ADDRESS__
	prctl(PR_SET_DUMPABLE, 1); /* the leak check attaches to its own process */
#else
	prctl(PR_SET_DUMPABLE, 0);
#endif
}

bool process_directory(const char *path, mode_t mode, const struct process_user *user, char error[PROCESS_ERROR_SIZE])
{
	struct stat about;
	if (mkdir(path, mode) == 0) {
		if (chmod(path, mode) == -1 || (user->change && chown(path, user->uid, user->gid) == -1))
			return refuse(error, "cannot give away the directory", path);
		return true;
	}
	if (errno != EEXIST)
		return refuse(error, "cannot make the directory", path);
	if (stat(path, &about) == -1)
		return refuse(error, "cannot use the directory", path);
	if (!S_ISDIR(about.st_mode)) {
		errno = ENOTDIR;
		return refuse(error, "cannot use the directory", path);
	}
	return true;
}

void process_act_as(const struct process_user *user)
{
	if (user->change && (setgroups(0, NULL) == -1 || setegid(user->gid) == -1 || seteuid(user->uid) == -1))
		abort();
}

void process_act_as_self(void)
{
	if (getuid() != geteuid() && (seteuid(getuid()) == -1 || setegid(getgid()) == -1))
		abort();
}

/* A lock on a file that somebody has just removed locks nothing: then there is another file by now, or none. */
static bool lock_is_current(int fd)
{
	struct stat about;
	return fstat(fd, &about) == 0 && about.st_nlink > 0;
}

bool process_lock(const char *path, bool *unclean, char error[PROCESS_ERROR_SIZE])
{
	const int flags = O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW;
	int fd = open(path, flags | O_EXCL, 0600);
	*unclean = fd == -1 && errno == EEXIST;
	if (*unclean)
		fd = open(path, flags, 0600);
	if (fd == -1)
		return refuse(error, "cannot open", path);
	bool locked = flock(fd, LOCK_EX | LOCK_NB) == 0;
	if (locked && lock_is_current(fd) && ftruncate(fd, 0) == 0 && dprintf(fd, "%ld\n", (long)getpid()) > 0) {
		lock_fd = fd;
		lock_path = strdup(path);
		return true;
	}
	if (locked || errno != EWOULDBLOCK)
		refuse(error, "cannot lock", path);
	else
		snprintf(error, PROCESS_ERROR_SIZE,
			 "another relaypoold runs with this spool-directory (it holds %s): stop it first, or give this "
			 "one "
			 "a spool-directory of its own",
			 path);
	close(fd);
	return false;
}

void process_unlock(void)
{
	if (lock_fd == -1)
		return;
	if (lock_path)
		unlink(lock_path);
	free(lock_path);
	lock_path = NULL;
	close(lock_fd);
	lock_fd = -1;
}

bool process_drop(const struct process_user *user, char error[PROCESS_ERROR_SIZE])
{
	if (!user->change) {
		hide_memory();
		return true;
	}
	if (initgroups(user->name, user->gid) == -1 || setgid(user->gid) == -1 || setuid(user->uid) == -1)
		return refuse(error, "cannot become user", user->name);
	if (getuid() != user->uid || geteuid() != user->uid || getgid() != user->gid || getegid() != user->gid ||
	    setuid(0) == 0 || seteuid(0) == 0) {
		errno = EPERM;
		return refuse(error, "cannot give up root for good as user", user->name);
	}
	hide_memory();
	return true;
}

void process_ready(void)
{
	if (ready_pipe == -1)
		return;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null != -1) {
		for (int fd = 0; fd <= 2; fd++)
			dup2(null, fd);
		if (null > 2)
			close(null);
	}
	while (write(ready_pipe, "", 1) == -1 && errno == EINTR)
		;
	close(ready_pipe);
	ready_pipe = -1;
}

void process_take_manager(void)
{
	const char *path = getenv("NOTIFY_SOCKET");
	free(manager);
	manager = path ? mem_strdup(path) : NULL;
	unsetenv("NOTIFY_SOCKET");
}

void process_notify(const char *state)
{
	const char *path = manager;
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	if (!path || (path[0] != '/' && path[0] != '@') || strlen(path) >= sizeof(address.sun_path))
		return;
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	if (path[0] == '@') /* an abstract address */
		address.sun_path[0] = '\0';
	socklen_t length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd == -1)
		return;
	(void)sendto(fd, state, strlen(state), MSG_NOSIGNAL | MSG_DONTWAIT, (struct sockaddr *)&address, length);
	close(fd);
}

int64_t process_take_number(const char *variable)
{
	const char *text = getenv(variable);
	char *end = NULL;
	errno = 0;
	intmax_t number = text ? strtoimax(text, &end, 10) : -1;
	bool valid = text && errno == 0 && end != text && *end == '\0' && number >= 0;
	unsetenv(variable);
	return valid ? number : -1;
}
