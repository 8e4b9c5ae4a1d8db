/*
 * Durations as text: seconds with as many digits as say something, and "-" for what was not observed.
 * Called by outcome and stats; pure functions.
 */
#include <config.h>

#include "seconds.h"

/*
 * `value` rounded to `unit` microseconds, a power of ten from 1000 to USEC_PER_SEC, without trailing zeros. Written from
 * its last digit to its first.
 */
static const char *decimal(usec_t value, usec_t unit, char out[SECONDS_SIZE])
{
	usec_t rest = (value + unit / 2) / unit * unit / USEC_PER_MSEC;
	char *at = &out[SECONDS_SIZE - 1];
	*at = '\0';
	for (int digits = 0; digits < 3; digits++, rest /= 10)
		if (rest % 10 != 0 || *at != '\0')
			*--at = (char)('0' + rest % 10);
	if (*at != '\0')
		*--at = '.';
	do
		*--at = (char)('0' + rest % 10);
	while ((rest /= 10) > 0);
	return at;
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
