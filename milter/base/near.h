/*
 * How near one word is to another, for "may be meant". Private to the room base.
 */
#ifndef BASE_NEAR_H
#define BASE_NEAR_H

#include <stddef.h>

#define NEAR_MAX 64 /* octets of a word; a longer one is far from all */

/* How many letters have to be changed, added or left out; upper and lower case are the same. */
size_t near_distance(const char *a, const char *b);
/* One word is meant by `name` if its distance is less than this. */
size_t near_enough(const char *name);

#endif
