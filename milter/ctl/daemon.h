/*
 * One question to the daemon over its control socket. Private to relaypoolctl.
 */
#ifndef CTL_DAEMON_H
#define CTL_DAEMON_H

#include <stdbool.h>

#include "ctl.h"

#define DAEMON_ERROR_SIZE 512

#define DAEMON_LIMIT 15       /* seconds until the daemon is given up */
#define DAEMON_LIMIT_BRIEF 3  /* … where it is not needed */
#define DAEMON_LIMIT_LATER 90 /* … where its answer takes time: more than it allows itself */

struct daemon_question {
	const char *verb;
	const char *arguments[ADMIN_ARGUMENTS_MAX]; /* NULL behind the last */
	int limit;                                  /* seconds */
};

/* The daemon's line; the caller's. NULL without an answer, with one sentence in `error`. */
char *daemon_ask(const char *path, const struct daemon_question *question, enum exit_code *code,
		 char error[DAEMON_ERROR_SIZE]);
/* True if somebody listens there: a service manager does so for a daemon that cannot start. */
bool daemon_present(const char *path);
/* True if a daemon answers there within DAEMON_LIMIT_BRIEF. */
bool daemon_answers(const char *path);

#endif
