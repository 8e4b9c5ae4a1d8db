/*
 * Cells, tables and texts as relaypoolctl shows them, from the daemon's JSON. Called by the views of ctl.c and its neighbours.
 * Nothing that another host said can move the cursor. It never asks the daemon.
 */
#include <config.h>

#include "table.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- cells ---- */

void format_seconds(double seconds, char *out, size_t size)
{
	if (seconds < 0.9995)
		snprintf(out, size, "%.0fms", seconds * 1000);
	else if (seconds < 99.95)
		snprintf(out, size, "%.1fs", seconds);
	else if (seconds < 3600)
		snprintf(out, size, "%dm%02ds", (int)seconds / 60, (int)seconds % 60);
	else if (seconds < 86400)
		snprintf(out, size, "%dh%02dm", (int)seconds / 3600, (int)seconds / 60 % 60);
	else
		snprintf(out, size, "%lldd%02lldh", (long long)seconds / 86400, (long long)seconds / 3600 % 24);
}

static void format_bytes(double bytes, char *out, size_t size)
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
	size_t unit = 0;
	while (bytes >= 1024 && unit + 1 < sizeof(units) / sizeof(units[0])) {
		bytes /= 1024;
		unit++;
	}
	snprintf(out, size, unit > 0 ? "%.1f %s" : "%.0f %s", bytes, units[unit]);
}

static void format_time(double seconds, char *out, size_t size)
{
	time_t when = (time_t)seconds;
	struct tm local;
	if (!localtime_r(&when, &local) || strftime(out, size, "%Y-%m-%d %H:%M:%S", &local) == 0)
		snprintf(out, size, "-");
}

static void format_clock(double seconds, char *out, size_t size)
{
	time_t when = (time_t)seconds, now = time(NULL);
	struct tm local, today;
	bool known = localtime_r(&when, &local) && localtime_r(&now, &today);
	bool same = known && local.tm_year == today.tm_year && local.tm_yday == today.tm_yday;
	if (!known || strftime(out, size, same ? "%H:%M:%S" : "%m-%d %H:%M", &local) == 0)
		snprintf(out, size, "-");
}

/* C0 and C1 control characters; the latter are two octets of UTF-8. */
void text_clean(char *text)
{
	for (unsigned char *c = (unsigned char *)text; *c; c++) {
		bool wide = c[0] == 0xc2 && c[1] >= 0x80 && c[1] < 0xa0;
		if (*c < ' ' || *c == 127 || wide)
			*c = '?';
		if (wide)
			*++c = '?';
	}
}

const char *format_cell(const json_t *value, enum kind kind, char out[CELL_SIZE])
{
	double number = json_number_value(value);
	snprintf(out, CELL_SIZE, "-");
	if (json_is_string(value))
		snprintf(out, CELL_SIZE, "%s", *json_string_value(value) ? json_string_value(value) : "-");
	else if (json_is_number(value) && kind == KIND_SECONDS)
		format_seconds(number, out, CELL_SIZE);
	else if (json_is_number(value) && kind == KIND_RATE)
		snprintf(out, CELL_SIZE, "%.2f", number);
	else if (json_is_number(value) && kind == KIND_BYTES)
		format_bytes(number, out, CELL_SIZE);
	else if (json_is_number(value) && kind == KIND_TIME)
		format_time(number, out, CELL_SIZE);
	else if (json_is_number(value) && kind == KIND_CLOCK)
		format_clock(number, out, CELL_SIZE);
	else if (json_is_number(value))
		snprintf(out, CELL_SIZE, json_is_real(value) ? "%.6g" : "%.0f", number);
	text_clean(out);
	return out;
}

const char *format_key(const json_t *object, const char *key, enum kind kind, char out[CELL_SIZE])
{
	return format_cell(json_object_get(object, key), kind, out);
}

/* UTF-8 continuation octets take none. */
size_t text_width(const char *text)
{
	size_t width = 0;
	for (; *text; text++)
		width += ((unsigned char)*text & 0xc0) != 0x80;
	return width;
}

void text_cut(char *text, size_t width)
{
	if (text_width(text) <= width)
		return;
	size_t seen = 0;
	char *c = text;
	for (; *c; c++)
		if (((unsigned char)*c & 0xc0) != 0x80 && seen++ == width - 1)
			break;
	c[0] = '+';
	c[1] = '\0';
}

/*
 * The octets of `text` that fit into `width` columns, broken at a space where there is one; `*next`: what follows.
 */
static size_t text_break(const char *text, size_t width, const char **next)
{
	const char *space = NULL, *c = text;
	for (size_t seen = 0; *c; c++) {
		if (((unsigned char)*c & 0xc0) != 0x80 && seen++ == width)
			break;
		if (*c == ' ')
			space = c;
	}
	const char *end = !*c || *c == ' ' || !space ? c : space;
	*next = end + strspn(end, " ");
	while (end > text && end[-1] == ' ')
		end--;
	return (size_t)(end - text);
}

void text_fold(FILE *to, size_t width, const char *text)
{
	text += strspn(text, " ");
	while (*text) {
		const char *next;
		size_t length = text_break(text, width, &next);
		fprintf(to, "%.*s\n", (int)length, text);
		text = next;
	}
}

/* ---- tables ---- */

#define COLUMNS_MAX 12

/* Takes what is too much from the columns that may be cut, the last one first, down to their title and `spare`. */
static size_t table_shrink(const struct table *table, size_t spare, size_t excess, size_t widths[COLUMNS_MAX])
{
	for (size_t i = table->count; i-- > 0 && excess > 0;) {
		size_t least = strlen(table->columns[i].title) + spare;
		if (table->columns[i].flexible && widths[i] > least) {
			size_t cut = widths[i] - least < excess ? widths[i] - least : excess;
			widths[i] -= cut;
			excess -= cut;
		}
	}
	return excess;
}

static void table_widths(size_t screen, const json_t *rows, const struct table *table, size_t widths[COLUMNS_MAX])
{
	char cell[CELL_SIZE];
	size_t total = table->count - 1;
	for (size_t i = 0; i < table->count; i++) {
		const struct column *column = &table->columns[i];
		size_t row;
		const json_t *object;
		widths[i] = strlen(column->title);
		json_array_foreach((json_t *)rows, row, object)
		{
			size_t width = text_width(format_key(object, column->key, column->kind, cell));
			widths[i] = width > widths[i] ? width : widths[i];
		}
		total += widths[i];
	}
	size_t excess = total > screen ? total - screen : 0;
	table_shrink(table, 0, table_shrink(table, 4, excess, widths), widths);
}

static void table_cell(FILE *to, char *cell, const struct column *column, size_t width, bool last)
{
	text_cut(cell, width);
	int padding = (int)(width - text_width(cell));
	bool right = column->kind != KIND_TEXT;
	fprintf(to, "%*s%s%*s%s", right ? padding : 0, "", cell, right || last ? 0 : padding, "", last ? "\n" : " ");
}

void table_print(FILE *to, size_t width, const json_t *rows, const struct table *table)
{
	size_t widths[COLUMNS_MAX];
	char cell[CELL_SIZE];
	size_t row;
	const json_t *object;
	table_widths(width, rows, table, widths);
	for (size_t i = 0; i < table->count; i++) {
		snprintf(cell, sizeof(cell), "%s", table->columns[i].title);
		table_cell(to, cell, &table->columns[i], widths[i], i + 1 == table->count);
	}
	json_array_foreach((json_t *)rows, row, object)
	{
		for (size_t i = 0; i < table->count; i++) {
			format_key(object, table->columns[i].key, table->columns[i].kind, cell);
			table_cell(to, cell, &table->columns[i], widths[i], i + 1 == table->count);
		}
	}
}

void rows_print(FILE *to, size_t width, const json_t *answer, const struct table *table)
{
	table_print(to, width, json_object_get(answer, table->rows), table);
	if (json_object_get(answer, "left_out"))
		fprintf(to, "and %lld more\n", (long long)json_integer_value(json_object_get(answer, "left_out")));
}

void record_print(FILE *to, const json_t *object, const struct table *table)
{
	char cell[CELL_SIZE];
	for (size_t i = 0; i < table->count; i++) {
		const struct column *column = &table->columns[i];
		fprintf(to, "%-16s %s\n", column->title, format_key(object, column->key, column->kind, cell));
	}
}
