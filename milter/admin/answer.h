/*
 * What each verb answers, as JSON. Called by control.c for a request that is well-formed and allowed.
 */
#ifndef ADMIN_ANSWER_H
#define ADMIN_ANSWER_H

#include <jansson.h>

#include "admin/control.h"
#include "admin/verbs.h"

/* Why a request was refused, for a program; relaypoolctl(8) makes its exit code of it. */
enum refusal {
	REFUSAL_FAILED = 0, /* it was tried and did not work */
	REFUSAL_USAGE,      /* the request itself is wrong */
	REFUSAL_PERMISSION, /* not for this user */
	REFUSALS
};
extern const char *const refusal_names[REFUSALS];

/* {"schema":1,"error":…,"reason":…}; the caller's. */
json_t *answer_refuse(enum refusal refusal, const char *format, ...) PRINTF_LIKE(2, 3);

/* What a verb is given, each one word; lent by the request. */
struct arguments {
	size_t count; /* as many as the table of verbs allows */
	const char *words[ADMIN_ARGUMENTS_MAX];
};

/* An answer that comes later. */
struct later;
typedef void later_done_fn(json_t *answer, void *arg); /* the answer is taken over */

/*
 * Does what the verb says. The answer, the caller's; or NULL, and it comes later: then done() gets it, once, from the
 * loop and never from inside this call, unless later_cancel() is called first.
 */
json_t *answer_make(const struct control_doors *doors, enum admin_verb verb, const struct arguments *arguments,
		    later_done_fn *done, void *arg, struct later **later);
/* Nobody waits for it any more. */
void later_cancel(struct later *later);

#endif
