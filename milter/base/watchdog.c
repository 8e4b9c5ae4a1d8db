/*
 * Feeds the service manager's watchdog from a timer of the loop, and from nowhere else: a loop that hangs feeds nothing.
 * Called by main.
 */
#include <config.h>

#include "base/watchdog.h"

#include <unistd.h>

#include "base/clock.h"
#include "base/process.h"

static struct timer feeding;
static usec_t interval; /* 0: there is no watchdog */

static void feed(void *arg)
{
	(void)arg;
	process_notify("WATCHDOG=1");
	timer_arm(&feeding, interval);
}

void watchdog_take(void)
{
	usec_t limit = process_take_number("WATCHDOG_USEC");
	int64_t pid = process_take_number("WATCHDOG_PID");
	bool ours = pid == -1 || pid == getpid();
	interval = ours && limit >= 2 * USEC_PER_MSEC ? limit / 2 : 0;
}

void watchdog_start(void)
{
	if (interval == 0)
		return;
	timer_init(&feeding, "the watchdog", feed, NULL);
	feed(NULL);
}

void watchdog_stop(void)
{
	if (interval > 0)
		timer_cancel(&feeding);
	interval = 0;
}
