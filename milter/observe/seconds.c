/*
 * Durations as text: seconds with as many digits as say something, and "-" for what was not observed.
 * Called by outcome and stats; pure functions.
 */
#include <config.h>

#include "seconds.h"

#include <stdio.h>

/* `value` rounded to `unit` microseconds, a power of ten from 1000 to USEC_PER_SEC, without trailing zeros. */
static const char *decimal(usec_t value, usec_t unit, char out[SECONDS_SIZE])
{
	usec_t rounded = (value + unit / 2) / unit * unit;
	int length = snprintf(out, SECONDS_SIZE, "%lld.%03lld", (long long)(rounded / USEC_PER_SEC),
			      (long long)(rounded % USEC_PER_SEC / USEC_PER_MSEC));
	while (out[length - 1] == '0')
		out[--length] = '\0';
	if (out[length - 1] == '.')
		out[--length] = '\0';
	return out;
}

const char *seconds_short(usec_t value, char out[SECONDS_SIZE])
{
	if (value < 0)
		return "-";
	if (value < USEC_PER_SEC)
		return decimal(value, USEC_PER_SEC / 100, out);
	return decimal(value, value < 10 * USEC_PER_SEC ? USEC_PER_SEC / 10 : USEC_PER_SEC, out);
}

const char *seconds_fine(usec_t value, char out[SECONDS_SIZE])
{
	return value < 0 ? "-" : decimal(value, USEC_PER_MSEC, out);
}
