/*
 * Stalls as relaypoolctl shows them: a table, and their shape by stage and age as qshape(1) has it. Called by ctl.c
 * and, for the table, by top.c. It only counts what the daemon told.
 */
#include <config.h>

#include <string.h>

#include "ctl.h"

static const struct column stall_columns[] = {
	{"ID", "id", KIND_COUNT, false},         {"RELAY", "relay", KIND_TEXT, true},
	{"STAGE", "stage", KIND_TEXT, false},    {"HOLDER", "holder", KIND_TEXT, false},
	{"CAUSE", "cause", KIND_TEXT, true},     {"AGE", "age", KIND_SECONDS, false},
	{"LIMIT", "limit", KIND_SECONDS, false}, {"WAIT", "waiting", KIND_COUNT, false},
	{"MSGS", "messages", KIND_COUNT, false}, {"BEGAN", "began", KIND_CLOCK, true},
};
const struct table stalls_table = TABLE("stalls", stall_columns);

/* ---- the table ---- */

/* Those that are open, or those that are over; the caller's. */
static json_t *stalls_pick(const json_t *answer, bool open)
{
	json_t *picked = json_array();
	size_t i;
	json_t *stall;
	json_array_foreach(json_object_get(answer, stalls_table.rows), i,
			   stall) if (json_is_true(json_object_get(stall, "open")) == open)
		json_array_append(picked, stall);
	return picked;
}

static int stalls_print(const json_t *answer, bool all)
{
	json_t *open = stalls_pick(answer, true), *past = stalls_pick(answer, false);
	int code = json_array_size(open) > 0 ? EXIT_PROBLEM : EXIT_OK;
	if (json_array_size(open) > 0)
		table_print(stdout, SCREEN_WIDTH, open, &stalls_table);
	else
		printf("Nothing is held up%s.\n", all ? " now" : "; relaypoolctl stalls all shows what was");
	if (json_array_size(past) > 0) {
		printf("\nOver:\n");
		table_print(stdout, SCREEN_WIDTH, past, &stalls_table);
	}
	if (json_object_get(answer, "left_out"))
		printf("and %lld more\n", (long long)json_integer_value(json_object_get(answer, "left_out")));
	json_decref(open);
	json_decref(past);
	return code;
}

/* ---- the shape ---- */

#define AGES 5
static const double age_bounds[AGES - 1] = {1, 5, 15, 60}; /* seconds */

struct shape {
	bool open;                                       /* one of them lasts */
	unsigned long all[AGES + 1];                     /* the first one counts all ages */
	unsigned long stages[STAGE_COUNT + 1][AGES + 1]; /* the last one: what is in no stage */
};

static void shape_add(struct shape *shape, const json_t *stall)
{
	const char *name = json_string_value(json_object_get(stall, "stage"));
	const json_t *seconds = json_object_get(stall, "age");
	size_t age = 0, stage = 0;
	while (stage < STAGE_COUNT && (!name || strcmp(name, stage_names[stage]) != 0))
		stage++;
	if (!json_is_number(seconds))
		return;
	while (age < AGES - 1 && json_number_value(seconds) >= age_bounds[age])
		age++;
	shape->open |= json_is_true(json_object_get(stall, "open"));
	shape->all[0]++;
	shape->all[age + 1]++;
	shape->stages[stage][0]++;
	shape->stages[stage][age + 1]++;
}

static void shape_line(const char *title, const unsigned long counts[AGES + 1])
{
	printf("%8s", title);
	for (size_t i = 0; i <= AGES; i++)
		printf(" %6lu", counts[i]);
	printf("\n");
}

static int shape_print(const json_t *answer)
{
	struct shape shape = {0};
	size_t i;
	const json_t *stall;
	json_array_foreach(json_object_get(answer, stalls_table.rows), i, stall) shape_add(&shape, stall);
	if (shape.all[0] == 0) {
		printf("Nothing is held up, and nothing was of late.\n");
		return EXIT_OK;
	}
	printf("%8s %6s %6s %6s %6s %6s %6s\n", "", "T", "<1s", "1-5", "5-15", "15-60", ">60");
	shape_line("TOTAL", shape.all);
	for (size_t stage = 0; stage <= STAGE_COUNT; stage++)
		if (shape.stages[stage][0] > 0)
			shape_line(stage < STAGE_COUNT ? stage_names[stage] : "-", shape.stages[stage]);
	return shape.open ? EXIT_PROBLEM : EXIT_OK;
}

int show_stalls(const json_t *answer, const char *argument)
{
	if (argument && strcmp(argument, "shape") == 0)
		return shape_print(answer);
	return stalls_print(answer, argument != NULL);
}
