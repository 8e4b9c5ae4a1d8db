/*
 * Findings and what became of them. Called by everything else in this room; relaypoolctl shows what is collected here.
 * Never prints, never changes anything but itself.
 */
#include <config.h>

#include "setup/report.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

const char *const finding_state_names[FINDING_STATES] = {
	[FINDING_OK] = "ok",           [FINDING_MISSING] = "missing",   [FINDING_DIFFERS] = "differs",
	[FINDING_WRONG] = "wrong",     [FINDING_CONFLICT] = "conflict", [FINDING_NOTE] = "note",
	[FINDING_CHANGED] = "changed", [FINDING_RESTORED] = "restored", [FINDING_KEPT] = "kept",
};

static char *format_text(const char *format, va_list arguments)
{
	char *text;
	if (vasprintf(&text, format, arguments) == -1)
		abort(); /* no memory: see base/mem.h */
	return text;
}

void report_init(struct report *report)
{
	*report = (struct report){.findings = json_array()};
}

void report_free(struct report *report)
{
	json_decref(report->findings);
	free(report->summary);
	free(report->error);
	*report = (struct report){0};
}

/* What is in an MTA's configuration need not be UTF-8, but JSON is: other octets become '?'. */
static json_t *text_json(const char *text)
{
	json_t *value = text ? json_string(text) : json_null();
	if (value)
		return value;
	char *clean = mem_strdup(text);
	for (unsigned char *c = (unsigned char *)clean; *c; c++)
		if (*c >= 0x80)
			*c = '?';
	value = json_string(clean);
	free(clean);
	return value;
}

void report_add(struct report *report, const struct finding *finding)
{
	json_array_append_new(
		report->findings,
		json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:b}", "state", finding_state_names[finding->state], "where",
			  text_json(finding->where), "name", text_json(finding->name), "is", text_json(finding->is),
			  "shall", text_json(finding->shall), "why", text_json(finding->why), "stops", finding->stops));
	report->counts[finding->state]++;
	report->stops += finding->stops;
}

void report_note(struct report *report, const char *where, const char *name, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	char *why = format_text(format, arguments);
	va_end(arguments);
	report_add(report, &(struct finding){.state = FINDING_NOTE, .where = where, .name = name, .why = why});
	free(why);
}

void report_close(struct report *report, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	free(report->summary);
	report->summary = format_text(format, arguments);
	va_end(arguments);
}

void report_fail(struct report *report, const char *error)
{
	free(report->error);
	report->error = mem_strdup(error);
}

bool report_clean(const struct report *report)
{
	return !report->error && report->counts[FINDING_MISSING] + report->counts[FINDING_DIFFERS] +
						 report->counts[FINDING_WRONG] + report->counts[FINDING_CONFLICT] +
						 report->counts[FINDING_KEPT] ==
					 0;
}

json_t *report_json(const struct report *report, const char *mta)
{
	return json_pack("{s:i, s:s, s:b, s:O, s:o, s:o}", "schema", 1, "mta", mta, "clean", report_clean(report),
			 "findings", report->findings, "summary", text_json(report->summary), "error",
			 text_json(report->error));
}
