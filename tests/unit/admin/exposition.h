/*
 * Reads Prometheus's text format as strictly as promtool does: what it complains of fails the test. For the tests of
 * metrics and scrape.
 */
#ifndef TESTS_UNIT_ADMIN_EXPOSITION_H
#define TESTS_UNIT_ADMIN_EXPOSITION_H

#include "relaypool.h"

#define EXPOSITION_LABELS_MAX 4

struct exposition_sample {
	char name[96];
	char labels[EXPOSITION_LABELS_MAX][2][128]; /* name and value, not escaped any more */
	size_t label_count;
	double value;
};

struct exposition {
	struct exposition_sample *samples;
	size_t count;
	char families[64][96];
	size_t family_count;
};

/*
 * Every line is a HELP, a TYPE or a sample; each family has one HELP and one TYPE before its samples, which stand
 * together; no sample comes twice; names are those that promtool wants; buckets rise to +Inf, which is _count.
 */
void exposition_read(struct exposition *exposition, const char *text);
void exposition_free(struct exposition *exposition);

/*
 * The value of the sample with exactly these labels, as "relay=ses,stage=reply"; NAN if there is none. Values have no
 * comma.
 */
double exposition_value(const struct exposition *exposition, const char *name, const char *labels);

#endif
