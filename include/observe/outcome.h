/*
 * The log lines that tell what became of recipients, connections and relays; their forms are in relaypool-log(7).
 * Started by main, listens to events (base/publish.h). It counts nothing and never calls the rooms it listens to.
 */
#ifndef OBSERVE_OUTCOME_H
#define OBSERVE_OUTCOME_H

#include "relaypool.h"

/* Subscribes. Loop thread only. */
void outcome_start(void);
/* Which outcomes have a line from now on; at the start and at each reload. Until then all have. `conf` is not kept. */
void outcome_configure(const struct conf *conf);
/* Lines of outcomes that `auto` has left out since the start. */
unsigned long outcome_left_out(void);
/* Writes the counts that are still held back and forgets them. Does not unsubscribe. */
void outcome_stop(void);

#endif
