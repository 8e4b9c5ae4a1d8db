/*
 * To be written.
 */
#include <config.h>

#include "observe/stall.h"

void stall_configure(struct conf *conf)
{
	(void)conf;
}

void stall_start(stall_waits_fn *waits)
{
	(void)waits;
}

void stall_stop(void)
{
}

void stall_each(void (*fn)(const struct stall_view *view, void *arg), void *arg)
{
	(void)fn, (void)arg;
}

unsigned long stall_count(enum stage stage, enum holder holder)
{
	(void)stage, (void)holder;
	return 0;
}

usec_t stall_limit(const char *relay, enum stage stage)
{
	(void)relay, (void)stage;
	return -1;
}
