/*
 * One-way events: the rooms tell what happened, observe listens. The rooms never call up into observe.
 * Loop thread only. The event is borrowed for the call.
 */
#ifndef BASE_PUBLISH_H
#define BASE_PUBLISH_H

#include "relaypool.h"

typedef void subscriber_fn(const struct event *event);

/* At most eight subscribers, called in order. */
void publish_subscribe(subscriber_fn *subscriber);
void publish_reset(void); /* tests: forgets all subscribers */
/* Fills in `at`. */
void publish(struct event *event);

#endif
