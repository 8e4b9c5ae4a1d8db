/*
 * Well-formed UTF-8, for the rooms' own eyes: replies that are logged and addresses that are passed on.
 */
#ifndef SMTP_UTF8_H
#define SMTP_UTF8_H

#include <stddef.h>

/* Octets of the well-formed character (RFC 3629) that `text` begins with: 1 to 4; 0 if there is none. */
size_t utf8_character(const char *text, size_t length);

#endif
