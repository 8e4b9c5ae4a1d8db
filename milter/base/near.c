/*
 * How near one word is to another: what a key or a preset that does not exist was meant to be. Called by conf_syntax.c
 * and provider.c; knows no word by itself.
 */
#include <config.h>

#include <ctype.h>
#include <string.h>

#include "near.h"

/* Levenshtein's. */
size_t near_distance(const char *a, const char *b)
{
	size_t rows = strlen(a), columns = strlen(b), row[NEAR_MAX + 1];
	if (rows > NEAR_MAX || columns > NEAR_MAX)
		return NEAR_MAX;
	for (size_t j = 0; j <= columns; j++)
		row[j] = j;
	for (size_t i = 1; i <= rows; i++) {
		size_t diagonal = row[0];
		row[0] = i;
		for (size_t j = 1; j <= columns; j++) {
			size_t best = diagonal + (tolower((unsigned char)a[i - 1]) != tolower((unsigned char)b[j - 1]));
			diagonal = row[j];
			if (row[j] + 1 < best)
				best = row[j] + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			row[j] = best;
		}
	}
	return row[columns];
}

size_t near_enough(const char *name)
{
	return strlen(name) > 5 ? 3 : 2;
}
