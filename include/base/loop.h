/*
 * The one event loop of the process, and the way other threads speak to it.
 * Called by everything that waits; never knows what it waits for.
 */
#ifndef BASE_LOOP_H
#define BASE_LOOP_H

#include <stdbool.h>

#include "relaypool.h"

struct event_base;

/* Creates the loop for the calling thread and connects the clock to it. False (errno) if the system refuses. */
bool loop_create(void) MUST_CHECK;
/*
 * Calls done() for offloaded work that has ended or ends within a second; leaves alone what is stuck. What was posted
 * and not yet called is dropped.
 */
void loop_free(void);
struct event_base *loop_base(void); /* borrowed */

/* Runs until loop_stop(), which is called on the loop thread from within it. */
void loop_run(void);
void loop_stop(void);
/* Tests: handles what is ready and what is due, until nothing is. Waits for offloaded work and for nothing else. */
void loop_settle(void);

/* From any thread: calls fn(arg) on the loop thread soon. Never waits; false if the bounded queue is full. */
bool loop_post(void (*fn)(void *arg), void *arg) MUST_CHECK;

/*
 * Runs work(arg) on a worker thread, then done(arg) on the loop thread. For what cannot be had without blocking:
 * getaddrinfo(3), a token command. At most a few run at once, the others queue. done() is always called once while
 * the loop lives.
 */
void loop_offload(void (*work)(void *arg), void (*done)(void *arg), void *arg);

#endif
