/*
 * ASCII as the grammar sees it, whatever the locale says. For the room smtp alone.
 */
#ifndef SMTP_ASCII_H
#define SMTP_ASCII_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

static inline bool ascii_is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static inline bool ascii_is_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || ascii_is_digit(c);
}

/* Space included. */
static inline bool ascii_is_printable(char c)
{
	return c >= 0x20 && c <= 0x7e;
}

/* What queue ids and names of routes are made of. */
static inline bool ascii_is_name(char c)
{
	return ascii_is_alnum(c) || c == '.' || c == '_' || c == '-';
}

static inline bool ascii_is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* A hexadecimal digit's figure; -1 if it is none. */
static inline int ascii_hex(char c)
{
	if (ascii_is_digit(c))
		return c - '0';
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

/* No octet beyond ASCII. Eight at a time, since bodies are long. */
static inline bool ascii_only(const char *data, size_t length)
{
	uint64_t eight, seen = 0;
	size_t at = 0;

	for (; length - at >= sizeof(eight); at += sizeof(eight)) {
		memcpy(&eight, data + at, sizeof(eight));
		seen |= eight;
	}
	for (; at < length; at++)
		seen |= (unsigned char)data[at];
	return (seen & UINT64_C(0x8080808080808080)) == 0;
}

#endif
