/*
 * Bounds a log line that a peer, or a bad day, could cause again and again: the first ones are written, then one now
 * and then, and how many were not is told. One of these stands beside each such line. May be called from any thread.
 */
#ifndef BASE_LOG_LIMIT_H
#define BASE_LOG_LIMIT_H

#include "base/list.h"
#include "base/rate.h"
#include "relaypool.h"

/* Static, made by one of the macros below. */
struct log_limit {
	const char *line; /* the first word of the line, or what it is about: one word */
	struct rate rate;
	unsigned long unlogged; /* since the last one that was written */
	struct list node;
};
/* `burst` lines at once, then one in `seconds`. */
#define LOG_LIMIT_OF(word, seconds, burst)                                \
	{                                                                 \
		.line = (word), .rate = {                                 \
			.interval = (seconds)*USEC_PER_SEC,               \
			.tolerance = (seconds)*USEC_PER_SEC * ((burst)-1) \
		}                                                         \
	}
#define LOG_LIMIT(word) LOG_LIMIT_OF(word, 10, 10)

/*
 * Whether the line is to be written now. If so, `unlogged` is how many were not since the last one: the last key of the
 * line. NULL: the line has no such key, and log_limit_tell() tells all of them.
 */
bool log_limit_passes(struct log_limit *limit, unsigned long *unlogged) MUST_CHECK;

/* Writes a line for each that was held back since its last one. Once a minute, and at the end. */
void log_limit_tell(void);

#endif
