/*
 * A .scn file as scenarios of lines of words. Called by run_scenarios; knows of the language only `scenario` and `for`,
 * what the other words mean is world.c's to say.
 *
 *   scenario TITLE               begins a scenario; the title is the rest of the line
 *   for NAME = TEXT | TEXT …     the scenario runs once for each text, which replaces $NAME wherever it stands
 *
 * Words are separated by blanks. "…" keeps blanks, and within it \n is CR LF, \xHH an octet, \" and \\ themselves.
 * A colon at the end of a word and a semicolon are words of their own. # begins a comment.
 */
#ifndef SCENARIO_SCRIPT_H
#define SCENARIO_SCRIPT_H

#include <stdbool.h>
#include <stddef.h>

struct word {
	char *text;
	size_t length; /* the text may hold NUL */
	bool quoted;   /* some of it was: never a separator */
};

struct line {
	unsigned number;
	struct word *words;
	size_t count;
};

struct scenario {
	unsigned number; /* of its first line */
	char *title;
	struct line *lines;
	size_t line_count;
};

struct script {
	const char *path; /* borrowed */
	struct scenario *scenarios;
	size_t count;
};

/* False with "FILE:LINE: what is wrong" in `error`. */
bool script_read(const char *path, struct script *script, char *error, size_t error_size)
	__attribute__((warn_unused_result));
void script_free(struct script *script);

#endif
