/*
 * Cells, tables and texts as relaypoolctl shows them. Private to relaypoolctl.
 */
#ifndef CTL_TABLE_H
#define CTL_TABLE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#define SCREEN_WIDTH 80
#define CELL_SIZE 1024

enum kind {
	KIND_TEXT = 0,
	KIND_COUNT,   /* right-aligned */
	KIND_RATE,    /* a second */
	KIND_SECONDS, /* a duration */
	KIND_BYTES,
	KIND_TIME, /* a point of time */
	KIND_CLOCK /* … in few columns: the time of today, or the day */
};

struct column {
	const char *title;
	const char *key; /* in the daemon's JSON */
	enum kind kind;
	bool flexible; /* may be cut when the screen does not suffice, the last one first */
};

struct table {
	const char *rows; /* the key of the daemon's list; NULL: none */
	const struct column *columns;
	size_t count;
};
#define TABLE(key, array)                                                                      \
	{                                                                                      \
		.rows = (key), .columns = (array), .count = sizeof(array) / sizeof((array)[0]) \
	}

/* "12ms", "4.1s", "8m59s", "3h05m", "2d07h" */
void format_seconds(double seconds, char *out, size_t size);
/* The value as it is shown, clean, "-" if it is not known. Returns `out`. */
const char *format_cell(const json_t *value, enum kind kind, char out[CELL_SIZE]);
const char *format_key(const json_t *object, const char *key, enum kind kind, char out[CELL_SIZE]);

/* Makes '?' of every control character. */
void text_clean(char *text);
/* Columns on the screen. */
size_t text_width(const char *text);
/* Cuts a text to `width` columns; a '+' at the end says so. */
void text_cut(char *text, size_t width);
/* Writes a clean text in lines of at most `width` columns. */
void text_fold(FILE *to, size_t width, const char *text);

/* A heading and a line for each row. */
void table_print(FILE *to, size_t width, const json_t *rows, const struct table *table);
/* The list of an answer as such a table, and how many rows were left out of it. */
void rows_print(FILE *to, size_t width, const json_t *answer, const struct table *table);
/* One object in full, a line for each key. */
void record_print(FILE *to, const json_t *object, const struct table *table);

#endif
