/*
 * Whether some relay that mail takes first has no connection at present: then the milter is to tell of mail that comes.
 * Told by events, asked by the milter on libmilter's threads. Private to this room; never looks at a relay itself.
 */
#ifndef MILTER_OBSERVE_QUIET_H
#define MILTER_OBSERVE_QUIET_H

#include "relaypool.h"

/* The relays that count from now on; the snapshot is held (counted). NULL: none is known. Loop thread. */
void quiet_set_relays(struct conf *conf);
/* From any thread. */
bool quiet_some(void);
/* Subscribes to events, once; what was counted before is forgotten. Loop thread. */
void quiet_start(void);
void quiet_stop(void);

#endif
