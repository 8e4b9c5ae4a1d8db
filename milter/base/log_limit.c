/*
 * Limits of log lines: a rate for each, and a list of those that were ever used, for what is still to be told. Called
 * from any thread, waits for nothing but its own short lock.
 */
#include <config.h>

#include "base/log_limit.h"

#include <pthread.h>

#include "base/log.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct list used = {&used, &used}; /* under the lock, as all of their fields */

bool log_limit_passes(struct log_limit *limit, unsigned long *unlogged)
{
	pthread_mutex_lock(&lock);
	if (!limit->node.next)
		list_append(&used, &limit->node);
	bool passes = rate_take(&limit->rate, clock_now()) == 0;
	if (!passes) {
		limit->unlogged++;
	} else if (unlogged) {
		*unlogged = limit->unlogged;
		limit->unlogged = 0;
	}
	pthread_mutex_unlock(&lock);
	return passes;
}

void log_limit_tell(void)
{
	pthread_mutex_lock(&lock);
	LIST_EACH (node, next, &used) {
		struct log_limit *limit = LIST_ENTRY_OF(node, struct log_limit, node);
		if (limit->unlogged > 0)
			log_notice("log: line=%s, unlogged=%lu", limit->line, limit->unlogged);
		limit->unlogged = 0;
	}
	pthread_mutex_unlock(&lock);
}
