/* Reads Prometheus's text format, line by line, and complains of everything that promtool would. */
#include "exposition.h"

#include <check.h>
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define LINE_SIZE 1024

/* The family that is being read. */
struct family {
	char name[96], type[16];
	bool has_type;
};

static bool ends_in(const char *text, const char *end)
{
	size_t length = strlen(text);
	return length >= strlen(end) && strcmp(text + length - strlen(end), end) == 0;
}

static void check_name(const char *name)
{
	ck_assert_msg(isalpha((unsigned char)*name) || *name == '_', "name %s", name);
	for (const char *c = name; *c; c++)
		ck_assert_msg(islower((unsigned char)*c) || isdigit((unsigned char)*c) || *c == '_', "name %s", name);
}

static void begin_family(struct exposition *exposition, struct family *family, const char *rest)
{
	int used = 0;
	ck_assert_int_eq(sscanf(rest, "%95[^ ] %n", family->name, &used), 1);
	ck_assert_msg(rest[used] != '\0', "%s has no help", family->name);
	check_name(family->name);
	for (size_t i = 0; i < exposition->family_count; i++)
		ck_assert_msg(strcmp(exposition->families[i], family->name) != 0, "%s stands there twice",
			      family->name);
	ck_assert_uint_lt(exposition->family_count, 64);
	strcpy(exposition->families[exposition->family_count++], family->name);
	family->has_type = false;
}

static void read_type(struct family *family, const char *rest)
{
	char name[96];
	ck_assert_int_eq(sscanf(rest, "%95s %15s", name, family->type), 2);
	ck_assert_str_eq(name, family->name);
	ck_assert_msg(!family->has_type, "%s has two types", name);
	ck_assert_msg(strcmp(family->type, "counter") == 0 || strcmp(family->type, "gauge") == 0 ||
			      strcmp(family->type, "histogram") == 0,
		      "type %s", family->type);
	ck_assert_msg((strcmp(family->type, "counter") == 0) == ends_in(name, "_total"), "%s is a %s", name,
		      family->type);
	family->has_type = true;
}

/* One `name="value"`; returns what follows. */
static const char *read_label(struct exposition_sample *sample, const char *text)
{
	ck_assert_uint_lt(sample->label_count, EXPOSITION_LABELS_MAX);
	char *name = sample->labels[sample->label_count][0], *value = sample->labels[sample->label_count][1];
	size_t length = strcspn(text, "=");
	ck_assert_uint_lt(length, 128);
	memcpy(name, text, length);
	name[length] = '\0';
	check_name(name);
	text += length;
	ck_assert_int_eq(strncmp(text, "=\"", 2), 0);
	for (text += 2; *text != '"'; text++) {
		ck_assert_msg(*text != '\0', "%s has no end", name);
		bool escaped = *text == '\\';
		text += escaped;
		ck_assert_msg(!escaped || (*text && strchr("\\\"n", *text)), "%s has an escape \\%c", name, *text);
		*value++ = (char)(escaped && *text == 'n' ? '\n' : *text);
	}
	*value = '\0';
	sample->label_count++;
	return text + 1;
}

static void check_family(const struct exposition_sample *sample, const struct family *family)
{
	char name[96];
	strcpy(name, sample->name);
	if (strcmp(family->type, "histogram") == 0) {
		char *suffix = strrchr(name, '_');
		ck_assert_msg(suffix && (strcmp(suffix, "_bucket") == 0 || strcmp(suffix, "_sum") == 0 ||
					 strcmp(suffix, "_count") == 0),
			      "%s is of no histogram", name);
		*suffix = '\0';
	}
	ck_assert_msg(family->has_type && strcmp(name, family->name) == 0, "%s does not stand below %s", sample->name,
		      family->name);
}

static bool same(const struct exposition_sample *a, const struct exposition_sample *b, bool but_le)
{
	if (strcmp(a->name, b->name) != 0 || a->label_count != b->label_count)
		return false;
	for (size_t i = 0; i < a->label_count; i++)
		if (strcmp(a->labels[i][0], b->labels[i][0]) != 0 ||
		    (strcmp(a->labels[i][1], b->labels[i][1]) != 0 && !(but_le && strcmp(a->labels[i][0], "le") == 0)))
			return false;
	return true;
}

static void read_sample(struct exposition *exposition, const struct family *family, const char *line)
{
	struct exposition_sample sample = {.label_count = 0};
	char *end;
	size_t length = strcspn(line, "{ ");
	ck_assert_uint_lt(length, sizeof(sample.name));
	memcpy(sample.name, line, length);
	check_name(sample.name);
	line += length;
	if (*line == '{') {
		do
			line = read_label(&sample, line + 1);
		while (*line == ',');
		ck_assert_int_eq(*line++, '}');
	}
	ck_assert_int_eq(*line++, ' ');
	sample.value = strtod(line, &end);
	ck_assert_msg(end > line && *end == '\0', "%s has the value %s", sample.name, line);
	ck_assert_msg(sample.value >= 0, "%s is %g", sample.name, sample.value);
	check_family(&sample, family);
	for (size_t i = 0; i < exposition->count; i++)
		ck_assert_msg(!same(&exposition->samples[i], &sample, false), "%s stands there twice", sample.name);
	exposition->samples = mem_realloc(exposition->samples, (exposition->count + 1) * sizeof(*exposition->samples));
	exposition->samples[exposition->count++] = sample;
}

static const char *label_of(const struct exposition_sample *sample, const char *name)
{
	for (size_t i = 0; i < sample->label_count; i++)
		if (strcmp(sample->labels[i][0], name) == 0)
			return sample->labels[i][1];
	return NULL;
}

/* From a first bucket on: bounds and counts rise, and the last one is +Inf with the value of _count. */
static void check_buckets(const struct exposition *exposition, size_t first)
{
	const struct exposition_sample *bucket = &exposition->samples[first];
	double bound = -1, count = 0;
	for (; bucket < exposition->samples + exposition->count && same(bucket, &exposition->samples[first], true);
	     bucket++) {
		double le = strtod(label_of(bucket, "le"), NULL);
		ck_assert_msg(le > bound, "le=%g after %g", le, bound);
		ck_assert_msg(bucket->value >= count, "a bucket falls to %g", bucket->value);
		bound = le;
		count = bucket->value;
	}
	ck_assert_msg(isinf(bound), "the last bucket is %g", bound);
	struct exposition_sample total = exposition->samples[first];
	total.label_count--; /* le is the last one */
	ck_assert_str_eq(total.labels[total.label_count][0], "le");
	strcpy(strrchr(total.name, '_'), "_count");
	for (size_t i = 0; i < exposition->count; i++)
		if (same(&exposition->samples[i], &total, false)) {
			ck_assert(exposition->samples[i].value == count);
			return;
		}
	ck_abort_msg("%s is not there", total.name);
}

void exposition_read(struct exposition *exposition, const char *text)
{
	struct family family = {.has_type = false};
	*exposition = (struct exposition){.count = 0};
	while (*text) {
		char line[LINE_SIZE];
		size_t length = strcspn(text, "\n");
		ck_assert_uint_lt(length, sizeof(line));
		ck_assert_msg(text[length] == '\n', "the last line has no end");
		memcpy(line, text, length);
		line[length] = '\0';
		text += length + 1;
		if (strncmp(line, "# HELP ", 7) == 0)
			begin_family(exposition, &family, line + 7);
		else if (strncmp(line, "# TYPE ", 7) == 0)
			read_type(&family, line + 7);
		else
			read_sample(exposition, &family, line);
	}
	for (size_t i = 0; i < exposition->count; i++)
		if (ends_in(exposition->samples[i].name, "_bucket") &&
		    (i == 0 || !same(&exposition->samples[i - 1], &exposition->samples[i], true)))
			check_buckets(exposition, i);
}

void exposition_free(struct exposition *exposition)
{
	free(exposition->samples);
}

double exposition_value(const struct exposition *exposition, const char *name, const char *labels)
{
	for (size_t i = 0; i < exposition->count; i++) {
		const struct exposition_sample *sample = &exposition->samples[i];
		char all[1100] = "";
		size_t length = 0;
		for (size_t j = 0; j < sample->label_count; j++)
			length += (size_t)snprintf(all + length, sizeof(all) - length, "%s%s=%s", j > 0 ? "," : "",
						   sample->labels[j][0], sample->labels[j][1]);
		if (strcmp(sample->name, name) == 0 && strcmp(all, labels) == 0)
			return sample->value;
	}
	return NAN;
}
