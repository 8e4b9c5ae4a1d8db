/*
 * To be written.
 */
#include <config.h>

#include "observe/journeys.h"

void journeys_start(void)
{
}

void journeys_stop(void)
{
}

void journeys_catch_up(void)
{
}

bool journeys_find(const char *queue_id, void (*fn)(const struct journey_view *view, void *arg), void *arg)
{
	(void)queue_id, (void)fn, (void)arg;
	return false;
}

bool journeys_queued(unsigned *count, usec_t *since, const char **queue_id)
{
	(void)count, (void)since, (void)queue_id;
	return false;
}

struct journey_counts journeys_counts(void)
{
	return (struct journey_counts){0};
}
