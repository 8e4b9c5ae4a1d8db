/*
 * Starting a thread that takes no signal: SIGHUP and SIGTERM must reach the thread that waits for them.
 * Private to base: the loop's workers and the logger are the only threads we start.
 */
#ifndef MILTER_BASE_THREAD_H
#define MILTER_BASE_THREAD_H

#include <pthread.h>

#include "relaypool.h"

/* Starts run(arg) with every signal blocked; `name` (at most 15 characters) is shown by ps -L. 0 or an errno value. */
int thread_start(pthread_t *thread, const char *name, void *(*run)(void *arg), void *arg) MUST_CHECK;

#endif
