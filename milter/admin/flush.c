/*
 * Requests to flush the MTA's queue, as a file that a path unit of root's watches, and the watch on our own absence.
 * Called by main. Never starts a program.
 */
#include <config.h>

#include "admin/flush.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"

static char *path;
static const char *reason; /* of the request that waits; NULL: none does */
static usec_t last;        /* when the last one was made; -1: never */
static int64_t beat;       /* wall time of the last tick */
static struct timer tick;
static struct timer again;

/* A new file each time: who takes the request removes it first, so that one made meanwhile is not lost. */
static void make_file(void *arg)
{
	(void)arg;
	last = clock_now();
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (fd == -1) {
		log_warning("flush: cannot make %s: %s; mail that was deferred waits for the MTA's next attempt", path,
			    strerror(errno));
	} else {
		log_notice("flush: requested, reason=%s", reason);
		futimens(fd, NULL);
		close(fd);
	}
	reason = NULL;
}

void flush_request(const char *why)
{
	if (reason)
		return;
	reason = why;
	usec_t since = last == -1 ? FLUSH_APART : clock_now() - last;
	if (since >= FLUSH_APART)
		make_file(NULL);
	else
		timer_arm(&again, FLUSH_APART - since);
}

void flush_beat(int64_t wall)
{
	if (wall - beat > FLUSH_ABSENCE)
		flush_request("absence");
	beat = wall;
}

static void every_second(void *arg)
{
	(void)arg;
	flush_beat(clock_wall());
	timer_arm(&tick, USEC_PER_SEC);
}

void flush_start(const char *directory)
{
	path = mem_printf("%s/flush", directory);
	reason = NULL;
	last = -1;
	timer_init(&tick, "own absence", every_second, NULL);
	timer_init(&again, "flush request", make_file, NULL);
	beat = clock_wall();
	timer_arm(&tick, USEC_PER_SEC);
}

void flush_stop(void)
{
	timer_cancel(&tick);
	timer_cancel(&again);
	free(path);
	path = NULL;
}
