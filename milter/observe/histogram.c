/*
 * A log-linear histogram of durations: exact below 256 µs, then 128 classes for each power of two.
 * Called by stats and latency; pure functions.
 */
#include <config.h>

#include "histogram.h"

#define BITS 7 /* 2^BITS classes for each power of two */
#define VALUE_MAX (((usec_t)1 << 32) - 1)

static size_t class_of(usec_t value)
{
	unsigned shift = 0;
	while (value >> shift >= 2 << BITS)
		shift++;
	return ((size_t)shift << BITS) + (size_t)(value >> shift);
}

/* The middle of a class: the inverse, as far as there is one. */
static usec_t middle_of(size_t class)
{
	if (class < 2 << BITS)
		return (usec_t) class;
	unsigned shift = (unsigned)(class >> BITS) - 1;
	usec_t lowest = (usec_t)(class - ((size_t)shift << BITS)) << shift;
	return lowest + ((usec_t)1 << shift) / 2;
}

void histogram_add(struct histogram *histogram, usec_t value)
{
	if (value < 0)
		return;
	if (value > VALUE_MAX)
		value = VALUE_MAX;
	histogram->seen++;
	histogram->classes[class_of(value)]++;
	if (value > histogram->longest)
		histogram->longest = value;
}

void histogram_quantiles(const struct histogram *const *histograms, size_t count, const unsigned *percents,
			 size_t wanted, usec_t *found)
{
	unsigned long seen = 0, below = 0;
	usec_t longest = -1;
	size_t at = 0;
	for (size_t h = 0; h < count; h++) {
		seen += histograms[h]->seen;
		if (histograms[h]->seen > 0 && histograms[h]->longest > longest)
			longest = histograms[h]->longest;
	}
	for (size_t i = 0; i < HISTOGRAM_CLASSES && seen > 0 && at < wanted && percents[at] < 100; i++) {
		for (size_t h = 0; h < count; h++)
			below += histograms[h]->classes[i];
		for (; at < wanted && percents[at] < 100 && below >= (seen * percents[at] + 99) / 100; at++)
			found[at] = middle_of(i) < longest ? middle_of(i) : longest;
	}
	for (; at < wanted; at++)
		found[at] = longest;
}

usec_t histogram_quantile(const struct histogram *histogram, unsigned percent)
{
	usec_t found;
	histogram_quantiles(&histogram, 1, &percent, 1, &found);
	return found;
}
