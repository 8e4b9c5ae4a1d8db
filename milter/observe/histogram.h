/*
 * How long something took, kept in bounded memory: 128 classes for each power of two, so a quantile is within half
 * a per cent of what was seen. Used by stats and latency.
 */
#ifndef OBSERVE_HISTOGRAM_H
#define OBSERVE_HISTOGRAM_H

#include "relaypool.h"

#define HISTOGRAM_CLASSES 3328 /* up to 2^32 µs; longer counts as that */

struct histogram { /* begins as zeros */
	unsigned long seen;
	usec_t longest;
	uint32_t classes[HISTOGRAM_CLASSES];
};

/* Microseconds; a negative value was not observed and counts for nothing. */
void histogram_add(struct histogram *histogram, usec_t value);
/* The value that `percent` in a hundred do not exceed; -1 if none was seen. */
usec_t histogram_quantile(const struct histogram *histogram, unsigned percent);
/* The same for several percentages, ascending, of `count` histograms as if they were one; all in one pass. */
void histogram_quantiles(const struct histogram *const *histograms, size_t count, const unsigned *percents,
			 size_t wanted, usec_t *found);

#endif
