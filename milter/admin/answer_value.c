/*
 * What answers are made of: values, rows and refusals as JSON. Called by answer.c and answer_time.c. It knows no verb.
 */
#include <config.h>

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "answer_private.h"
#include "base/mem.h"

const char *const refusal_names[REFUSALS] = {
	[REFUSAL_FAILED] = "failed",
	[REFUSAL_USAGE] = "usage",
	[REFUSAL_PERMISSION] = "permission",
};

void answer_put(json_t *object, const char *key, json_t *value)
{
	if (json_object_set_new(object, key, value) == -1)
		abort();
}

json_t *answer_text(const char *string)
{
	if (!string)
		return json_null();
	json_t *value = json_string(string);
	if (value)
		return value;
	char *clean = mem_strdup(string);
	for (char *c = clean; *c; c++)
		if ((unsigned char)*c > 126)
			*c = '?';
	value = json_string(clean);
	free(clean);
	return value;
}

json_t *answer_count(uint64_t number)
{
	return json_integer((json_int_t)number);
}

json_t *answer_seconds(usec_t time)
{
	return time < 0 ? json_null() : json_real((double)time / (double)USEC_PER_SEC);
}

json_t *answer_new(void)
{
	json_t *answer = json_object();
	answer_put(answer, "schema", json_integer(CONTROL_SCHEMA));
	return answer;
}

json_t *answer_refuse(enum refusal refusal, const char *format, ...)
{
	char sentence[CONF_ERROR_SIZE];
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(sentence, sizeof(sentence), format, arguments);
	va_end(arguments);
	json_t *answer = answer_new();
	answer_put(answer, "error", answer_text(sentence));
	answer_put(answer, "reason", answer_text(refusal_names[refusal]));
	return answer;
}

json_t *answer_unknown_relay(const struct control_doors *doors, const char *relay)
{
	struct control_view view;
	doors->look(&view);
	char names[512] = "";
	size_t length = 0;
	for (size_t i = 0; i < view.conf->relay_count && length < sizeof(names); i++)
		length += (size_t)snprintf(names + length, sizeof(names) - length, "%s%s", i > 0 ? ", " : "",
					   view.conf->relays[i].name);
	return answer_refuse(REFUSAL_USAGE, "there is no relay \"%s\"; relays are: %s", relay, names);
}

bool rows_want(struct rows *rows, const char *relay)
{
	if (rows->relay && relay && strcmp(rows->relay, relay) != 0)
		return false;
	if (json_array_size(rows->array) < CONTROL_ROWS_MAX)
		return true;
	rows->left_out++;
	return false;
}

void rows_add(struct rows *rows, json_t *row)
{
	if (json_array_append_new(rows->array, row) == -1)
		abort();
}

void rows_put(json_t *answer, const char *key, struct rows *rows)
{
	answer_put(answer, key, rows->array);
	if (rows->left_out > 0)
		answer_put(answer, "left_out", answer_count(rows->left_out));
}
