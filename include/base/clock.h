/*
 * Time: the monotonic clock, wall time, and timers on one heap. Every timer of the event loop thread is one of
 * these, so that tests can replace the clock and pass ten minutes in a millisecond.
 * Timers belong to the loop thread; clock_now() and clock_wall() may be called from any thread.
 */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef int64_t usec_t; /* microseconds: a point of the monotonic clock, or a duration */
#define USEC_PER_SEC ((usec_t)1000000)
#define USEC_PER_MSEC ((usec_t)1000)

/* Monotonic time. Starts anywhere, never goes back; stands still in tests unless moved. */
usec_t clock_now(void);
/* Unix time in microseconds. In tests it moves with the fake clock. */
int64_t clock_wall(void);

/* A timer; embed it, its owner frees it only when it is not armed. */
struct timer {
	usec_t due;
	size_t heap_position; /* 0: not armed */
	const char *name;     /* what is waited for; shown when debugging */
	void (*fire)(void *arg);
	void *arg;
};

void timer_init(struct timer *timer, const char *name, void (*fire)(void *arg), void *arg);
/* Fires once after `delay` microseconds (0: at the next turn of the loop); replaces what was armed. */
void timer_arm(struct timer *timer, usec_t delay);
void timer_cancel(struct timer *timer);
bool timer_armed(const struct timer *timer);

/* When the next timer is due; -1 if none is armed. */
usec_t clock_next_due(void);
/* Fires every timer that is due now, in order. The loop calls it; tests may. */
void clock_fire_due(void);

/* Called whenever clock_next_due() may have become earlier: the loop arms its one libevent timeout by it. */
void clock_on_change(void (*changed)(void));

/* Tests: from now on time moves only by clock_fake_advance(). */
void clock_fake_start(void);
void clock_fake_advance(usec_t by); /* moves time and fires what is due, timer by timer */
void clock_fake_stop(void);

#endif
