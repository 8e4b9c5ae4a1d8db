/*
 * Tells well-formed UTF-8 from other octets. Called by reply and command; never converts anything.
 */
#include <config.h>

#include "utf8.h"

/* The range of the second octet excludes overlong forms, surrogates and what lies beyond U+10FFFF (RFC 3629 §4). */
size_t utf8_character(const char *text, size_t length)
{
	const unsigned char *octets = (const unsigned char *)text;
	unsigned char low = 0x80, high = 0xbf;
	size_t size;

	if (length == 0)
		return 0;
	if (octets[0] < 0x80)
		return 1;
	if (octets[0] >= 0xc2 && octets[0] <= 0xdf)
		size = 2;
	else if (octets[0] >= 0xe0 && octets[0] <= 0xef)
		size = 3;
	else if (octets[0] >= 0xf0 && octets[0] <= 0xf4)
		size = 4;
	else
		return 0;
	if (octets[0] == 0xe0)
		low = 0xa0;
	else if (octets[0] == 0xed)
		high = 0x9f;
	else if (octets[0] == 0xf0)
		low = 0x90;
	else if (octets[0] == 0xf4)
		high = 0x8f;
	if (length < size || octets[1] < low || octets[1] > high)
		return 0;
	for (size_t i = 2; i < size; i++)
		if ((octets[i] & 0xc0) != 0x80)
			return 0;
	return size;
}
