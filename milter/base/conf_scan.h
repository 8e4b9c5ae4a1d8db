/*
 * The form of relaypool.conf, looked at before libconfuse reads it: libconfuse miscounts lines after comments, overlooks
 * what is not closed, and tells of a missing value where its consequence is. Private to conf_syntax.c.
 */
#ifndef BASE_CONF_SCAN_H
#define BASE_CONF_SCAN_H

#include "relaypool.h"

struct conf_mistake {
	unsigned line; /* on which it begins */
	char text[256];
};

/* Puts spaces in the place of comments. `sections`: their kinds, NULL-terminated. False with the first mistake. */
bool conf_scan(char *text, const char *const *sections, struct conf_mistake *mistake) MUST_CHECK;

#endif
