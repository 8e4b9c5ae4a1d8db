/* Durations as text, for log lines. Used by outcome and stats. */
#ifndef OBSERVE_SECONDS_H
#define OBSERVE_SECONDS_H

#include "relaypool.h"

#define SECONDS_SIZE 24

/* As Postfix writes them: 0, 0.01, 0.12, 1.2, 17; "-" if negative (not observed). Returns `out`. */
const char *seconds_short(usec_t value, char out[SECONDS_SIZE]);
/* To the millisecond: 0.002, 0.101, 17.25; "-" if negative. Returns `out`. */
const char *seconds_fine(usec_t value, char out[SECONDS_SIZE]);

#endif
