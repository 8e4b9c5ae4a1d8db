/*
 * What the files of the answers share: answer.c, answer_time.c and answer_route.c have the verbs, answer_value.c what they are made of.
 */
#ifndef ADMIN_ANSWER_PRIVATE_H
#define ADMIN_ANSWER_PRIVATE_H

#include "answer.h"

typedef json_t *answer_fn(const struct control_doors *doors, const char *argument);
answer_fn answer_why, answer_stalls, answer_stats, answer_latency; /* answer_time.c */
/* answer_route.c: as answer_make(). */
json_t *answer_test_route(const struct control_doors *doors, const struct arguments *arguments, later_done_fn *done,
			  void *arg, struct later **later);

/* ---- values ---- */

/* Takes over `value`. Memory that is not there ends the process, as everywhere (base/mem.h). */
void answer_put(json_t *object, const char *key, json_t *value);
/* jansson takes valid UTF-8 only; what is not becomes '?', so that an odd octet never costs the whole answer. */
json_t *answer_text(const char *string);
json_t *answer_count(uint64_t number);
/* null if it is negative. */
json_t *answer_seconds(usec_t time);
/* With "schema" in it. */
json_t *answer_new(void);
json_t *answer_unknown_relay(const struct control_doors *doors, const char *relay);

/* ---- rows ---- */

/* Rows of a list while it is made. */
struct rows {
	json_t *array;
	const char *relay; /* only this one's; NULL: all */
	size_t left_out;   /* beyond CONTROL_ROWS_MAX */
};

/* True if this row is to be made. */
bool rows_want(struct rows *rows, const char *relay);
void rows_add(struct rows *rows, json_t *row);
void rows_put(json_t *answer, const char *key, struct rows *rows);

#endif
