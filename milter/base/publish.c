/*
 * A list of subscribers, each called for every event. The rooms publish, observe and the tests subscribe; a
 * subscriber never publishes.
 */
#include <config.h>

#include <assert.h>

#include "base/publish.h"

#define SUBSCRIBERS_MAX 8

static subscriber_fn *subscribers[SUBSCRIBERS_MAX];
static size_t subscriber_count;

void publish_subscribe(subscriber_fn *subscriber)
{
	assert(subscriber_count < SUBSCRIBERS_MAX);
	subscribers[subscriber_count++] = subscriber;
}

void publish_reset(void)
{
	subscriber_count = 0;
}

void publish(struct event *event)
{
	event->at = clock_now();
	for (size_t i = 0; i < subscriber_count; i++)
		subscribers[i](event);
}
