/*
 * A .scn file as scenarios of lines of words (script.h). Called by run_scenarios; never carries anything out.
 */
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "script.h"

#define VARIABLES_MAX 4

/* The lines of one scenario as they stand in the file, before `for` is unrolled. */
struct source {
	unsigned number;
	char *title;
	struct source_line {
		unsigned number;
		char *text;
	} * lines;
	size_t count;
	struct variable {
		char *name;
		char **values;
		size_t count;
	} variables[VARIABLES_MAX];
	size_t variable_count;
};

struct reader {
	struct script *script;
	struct source source;
	bool open; /* a scenario has begun */
	char *error;
	size_t error_size;
};

static bool complain(struct reader *r, unsigned number, const char *format, ...) PRINTF_LIKE(3, 4);

static bool complain(struct reader *r, unsigned number, const char *format, ...)
{
	va_list arguments;
	int used = snprintf(r->error, r->error_size, "%s:%u: ", r->script->path, number);

	va_start(arguments, format);
	if (used > 0 && (size_t)used < r->error_size)
		vsnprintf(r->error + used, r->error_size - (size_t)used, format, arguments);
	va_end(arguments);
	return false;
}

/* ---- words ---- */

static void add_word(struct line *line, const char *text, size_t length, bool quoted)
{
	struct word *word;

	line->words = mem_realloc(line->words, (line->count + 1) * sizeof(*line->words));
	word = &line->words[line->count++];
	word->text = mem_alloc(length + 1);
	memcpy(word->text, text, length);
	word->length = length;
	word->quoted = quoted;
}

/* One escape after its backslash; returns where it ends, NULL if it is none. */
static const char *unescape(const char *p, char *out, size_t *length)
{
	unsigned octet;

	switch (*p) {
	case 'n':
		out[(*length)++] = '\r';
		out[(*length)++] = '\n';
		return p + 1;
	case 'x':
		if (!isxdigit((unsigned char)p[1]) || !isxdigit((unsigned char)p[2]) ||
		    sscanf(p + 1, "%2x", &octet) != 1)
			return NULL;
		out[(*length)++] = (char)octet;
		return p + 3;
	case '"':
	case '\\':
		out[(*length)++] = *p;
		return p + 1;
	default:
		return NULL;
	}
}

/* Reads one word into `out` (as large as the line); returns where it ends, NULL if a quote or an escape is bad. */
static const char *read_word(const char *p, char *out, size_t *length, bool *quoted)
{
	bool inside = false;

	*length = 0;
	*quoted = false;
	while (*p != '\0' && (inside || (!isspace((unsigned char)*p) && *p != ';'))) {
		if (*p == '"') {
			inside = !inside;
			*quoted = true;
			p++;
		} else if (inside && *p == '\\') {
			if ((p = unescape(p + 1, out, length)) == NULL)
				return NULL;
		} else {
			out[(*length)++] = *p++;
		}
	}
	return inside ? NULL : p;
}

static bool split(const char *text, struct line *line)
{
	char *out = mem_alloc(strlen(text) + 1);
	const char *p = text;
	size_t length;
	bool quoted;

	for (;;) {
		while (isspace((unsigned char)*p))
			p++;
		if (*p == '\0' || *p == '#')
			break;
		if (*p == ';') {
			add_word(line, ";", 1, false);
			p++;
			continue;
		}
		if ((p = read_word(p, out, &length, &quoted)) == NULL)
			break;
		if (!quoted && length > 1 && out[length - 1] == ':') {
			add_word(line, out, length - 1, false);
			add_word(line, ":", 1, false);
		} else {
			add_word(line, out, length, quoted);
		}
	}
	free(out);
	return p != NULL;
}

/* ---- `for` ---- */

static char *trimmed(const char *from, const char *to)
{
	while (from < to && isspace((unsigned char)*from))
		from++;
	while (to > from && isspace((unsigned char)to[-1]))
		to--;
	return mem_strndup(from, (size_t)(to - from));
}

static void add_value(struct variable *variable, const char *from, const char *to)
{
	variable->values = mem_realloc(variable->values, (variable->count + 1) * sizeof(char *));
	variable->values[variable->count++] = trimmed(from, to);
}

/* "for NAME = TEXT | TEXT …": bars within quotes are text. */
static bool read_for(struct reader *r, unsigned number, const char *text)
{
	struct variable *variable = &r->source.variables[r->source.variable_count];
	const char *equals = strchr(text, '=');
	const char *start;
	bool inside = false;

	if (equals == NULL || r->source.variable_count == VARIABLES_MAX)
		return complain(r, number, "expected \"for NAME = TEXT | TEXT\", at most %d in a scenario",
				VARIABLES_MAX);
	memset(variable, 0, sizeof(*variable));
	variable->name = trimmed(text, equals);
	r->source.variable_count++;
	start = equals + 1;
	for (const char *p = start;; p++) {
		if (*p == '"' && (p == start || p[-1] != '\\'))
			inside = !inside;
		if (*p == '\0' || (*p == '|' && !inside)) {
			add_value(variable, start, p);
			start = p + 1;
		}
		if (*p == '\0')
			return true;
	}
}

/* The text with each $NAME replaced by that variable's value number choice[i]. */
static char *expand(const struct source *source, const size_t *choice, const char *text)
{
	char *out = mem_strdup(text);

	for (size_t i = 0; i < source->variable_count; i++) {
		const struct variable *variable = &source->variables[i];
		size_t name_length = strlen(variable->name);
		char *p = out;

		while ((p = strchr(p, '$')) != NULL) {
			char *longer;
			size_t before = (size_t)(p - out);

			if (strncmp(p + 1, variable->name, name_length) != 0) {
				p++;
				continue;
			}
			longer = mem_printf("%.*s%s%s", (int)before, out, variable->values[choice[i]],
					    p + 1 + name_length);
			p = longer + before + strlen(variable->values[choice[i]]);
			free(out);
			out = longer;
		}
	}
	return out;
}

/* ---- scenarios ---- */

static bool add_expanded(struct reader *r, const size_t *choice)
{
	struct script *script = r->script;
	struct scenario *scenario;

	script->scenarios = mem_realloc(script->scenarios, (script->count + 1) * sizeof(*script->scenarios));
	scenario = &script->scenarios[script->count++];
	memset(scenario, 0, sizeof(*scenario));
	scenario->number = r->source.number;
	scenario->title = expand(&r->source, choice, r->source.title);
	scenario->lines = mem_array(r->source.count, sizeof(*scenario->lines));
	for (size_t i = 0; i < r->source.count; i++) {
		struct line *line = &scenario->lines[scenario->line_count];
		char *text = expand(&r->source, choice, r->source.lines[i].text);
		bool good = split(text, line);

		free(text);
		line->number = r->source.lines[i].number;
		scenario->line_count++;
		if (!good)
			return complain(r, line->number, "a quote without its end, or an unknown escape");
		if (line->count == 0)
			scenario->line_count--;
	}
	return true;
}

static void source_clear(struct source *source)
{
	free(source->title);
	for (size_t i = 0; i < source->count; i++)
		free(source->lines[i].text);
	free(source->lines);
	for (size_t i = 0; i < source->variable_count; i++) {
		for (size_t k = 0; k < source->variables[i].count; k++)
			free(source->variables[i].values[k]);
		free(source->variables[i].values);
		free(source->variables[i].name);
	}
	memset(source, 0, sizeof(*source));
}

/* The scenario read so far, once for each combination of its variables. */
static bool end_scenario(struct reader *r)
{
	size_t choice[VARIABLES_MAX] = {0};
	size_t i = 0;

	while (r->open) {
		if (!add_expanded(r, choice))
			return false;
		for (i = 0; i < r->source.variable_count; i++) {
			if (++choice[i] < r->source.variables[i].count)
				break;
			choice[i] = 0;
		}
		if (i == r->source.variable_count)
			break;
	}
	source_clear(&r->source);
	r->open = false;
	return true;
}

static bool read_line(struct reader *r, unsigned number, char *text)
{
	size_t length = strcspn(text, "\r\n");
	const char *p = text;

	text[length] = '\0';
	while (isspace((unsigned char)*p))
		p++;
	if (strncmp(p, "scenario ", 9) == 0) {
		if (!end_scenario(r))
			return false;
		r->open = true;
		r->source.number = number;
		r->source.title = trimmed(p + 9, text + length);
		return true;
	}
	if (*p == '\0' || *p == '#')
		return true;
	if (!r->open)
		return complain(r, number, "a line before the first \"scenario\"");
	if (strncmp(p, "for ", 4) == 0)
		return read_for(r, number, p + 4);
	r->source.lines = mem_realloc(r->source.lines, (r->source.count + 1) * sizeof(*r->source.lines));
	r->source.lines[r->source.count].number = number;
	r->source.lines[r->source.count++].text = mem_strdup(p);
	return true;
}

bool script_read(const char *path, struct script *script, char *error, size_t error_size)
{
	struct reader r = {.script = script, .error = error, .error_size = error_size};
	FILE *file = fopen(path, "r");
	char text[4096];
	unsigned number = 0;
	bool good = true;

	memset(script, 0, sizeof(*script));
	script->path = path;
	if (file == NULL)
		return complain(&r, 0, "%s", strerror(errno));
	while (good && fgets(text, sizeof(text), file) != NULL)
		good = read_line(&r, ++number, text);
	good = good && end_scenario(&r);
	source_clear(&r.source);
	fclose(file);
	return good;
}

void script_free(struct script *script)
{
	for (size_t i = 0; i < script->count; i++) {
		struct scenario *scenario = &script->scenarios[i];

		for (size_t k = 0; k < scenario->line_count; k++) {
			for (size_t w = 0; w < scenario->lines[k].count; w++)
				free(scenario->lines[k].words[w].text);
			free(scenario->lines[k].words);
		}
		free(scenario->lines);
		free(scenario->title);
	}
	free(script->scenarios);
	memset(script, 0, sizeof(*script));
}
