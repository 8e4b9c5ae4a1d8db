/*
 * What setup found in an MTA's configuration, and what it did: a list of findings and a closing sentence. Filled by the
 * room setup, shown by relaypoolctl. Owns copies of all its texts.
 */
#ifndef SETUP_REPORT_H
#define SETUP_REPORT_H

#include <jansson.h>

#include "relaypool.h"

enum finding_state {
	FINDING_OK = 0,
	FINDING_MISSING,  /* is not there; --apply makes it */
	FINDING_DIFFERS,  /* is something else; --apply changes it */
	FINDING_WRONG,    /* the administrator has to change it */
	FINDING_CONFLICT, /* somebody else's setting that would stop working, or stops ours from working */
	FINDING_NOTE,     /* to be known; nothing has to be done */
	FINDING_CHANGED,  /* by this --apply */
	FINDING_RESTORED, /* by this --undo */
	FINDING_KEPT,     /* not undone: it is not as --apply left it */
	FINDING_STATES
};
extern const char *const finding_state_names[FINDING_STATES]; /* "ok", "missing", … */

struct finding {
	enum finding_state state;
	const char *where; /* "main.cf", "master.cf", "sendmail.mc", … */
	const char *name;  /* of the setting */
	const char *is;    /* its value, before if this changed it; NULL: none, or not to be told */
	const char *shall; /* what it shall be, or became; NULL */
	const char *why;   /* a sentence for the administrator; NULL */
	bool stops;        /* --apply goes on only with --force */
};

struct report {
	json_t *findings; /* in the order in which they were added */
	unsigned counts[FINDING_STATES];
	unsigned stops; /* how many of them stop --apply */
	char *summary;  /* the closing sentences; NULL: none yet */
	char *error;    /* why it could not be done; NULL: it could */
};

void report_init(struct report *report);
void report_free(struct report *report);
void report_add(struct report *report, const struct finding *finding);
/* A note about `where`, with all in one sentence. */
void report_note(struct report *report, const char *where, const char *name, const char *format, ...) PRINTF_LIKE(4, 5);
/* The closing sentences; the last ones hold. */
void report_close(struct report *report, const char *format, ...) PRINTF_LIKE(2, 3);
/* It could not be done. */
void report_fail(struct report *report, const char *error);
/* True if it could be done, and nothing is missing, differs, is wrong, conflicts or was kept. */
bool report_clean(const struct report *report);
/*
 * {"schema": 1, "mta": …, "clean": …, "findings": [{"state", "where", "name", "is", "shall", "why", "stops"}, …],
 * "summary": …, "error": …}; what is not known is null. The caller's.
 */
json_t *report_json(const struct report *report, const char *mta);

#endif
