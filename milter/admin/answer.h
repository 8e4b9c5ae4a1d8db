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

/* Does what the verb says. `argument` NULL if none was given. Never NULL; the caller's. */
json_t *answer_make(const struct control_doors *doors, enum admin_verb verb, const char *argument);

#endif
