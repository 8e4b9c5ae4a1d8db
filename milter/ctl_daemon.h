/*
 * One question to the daemon over its control socket. Private to relaypoolctl.
 */
#ifndef CTL_DAEMON_H
#define CTL_DAEMON_H

#include <stdbool.h>

#include "ctl.h"

#define DAEMON_ERROR_SIZE 512

/* The daemon's line; the caller's. NULL without an answer, with one sentence in `error`. `argument` may be NULL. */
char *daemon_ask(const char *path, const char *verb, const char *argument, enum exit_code *code,
		 char error[DAEMON_ERROR_SIZE]);
/* True if a daemon listens there. */
bool daemon_present(const char *path);

#endif
