/*
 * To be written.
 */
#include <config.h>

#include "observe/latency.h"

const usec_t latency_bounds[LATENCY_BUCKETS];

void latency_start(void)
{
}

void latency_stop(void)
{
}

void latency_note(const char *relay, enum stage stage, usec_t spent)
{
	(void)relay, (void)stage, (void)spent;
}

usec_t latency_p99(const char *relay, enum stage stage, unsigned long least)
{
	(void)relay, (void)stage, (void)least;
	return -1;
}

void latency_each(void (*fn)(const struct latency_view *view, void *arg), void *arg)
{
	(void)fn, (void)arg;
}
