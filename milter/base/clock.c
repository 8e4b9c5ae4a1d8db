/*
 * The clock and the timers. The loop fires what is due; modules arm and cancel. Timers are never fired from within
 * timer_arm(), so that a module need not expect to be called back while it is at work.
 */
#include <config.h>

#include <assert.h>
#include <stdatomic.h>
#include <time.h>

#include "base/clock.h"
#include "base/mem.h"

/* A place in the heap. `order` counts armings: of timers due at the same time the one armed first fires first. */
struct place {
	usec_t due;
	uint64_t order;
	struct timer *timer;
};

/* A binary heap, the earliest at [1]; [0] is never used, so that position 0 means "not armed". */
static struct place *heap;
static size_t heap_count, heap_room;
static uint64_t armings;
static void (*on_change)(void);

/* The fake clock; atomic because clock_now() is called from any thread. */
static atomic_bool fake;
static _Atomic usec_t fake_now;
static _Atomic int64_t fake_wall_ahead; /* wall time less monotonic time */

static int64_t read_clock(clockid_t id)
{
	struct timespec now;
	int rc = clock_gettime(id, &now);
	assert(rc == 0);
	(void)rc;
	return (int64_t)now.tv_sec * USEC_PER_SEC + now.tv_nsec / 1000;
}

usec_t clock_now(void)
{
	return atomic_load(&fake) ? atomic_load(&fake_now) : read_clock(CLOCK_MONOTONIC);
}

int64_t clock_wall(void)
{
	if (atomic_load(&fake))
		return atomic_load(&fake_now) + atomic_load(&fake_wall_ahead);
	return read_clock(CLOCK_REALTIME);
}

/* ---- the heap ---- */

static bool place_before(const struct place *a, const struct place *b)
{
	return a->due != b->due ? a->due < b->due : a->order < b->order;
}

static void heap_put(size_t position, struct place place)
{
	heap[position] = place;
	place.timer->heap_position = position;
}

/* Finds the position for `place` from `position` on upwards or downwards; what is in the way moves by one. */
static void heap_settle(size_t position, struct place place)
{
	while (position > 1 && place_before(&place, &heap[position / 2])) {
		heap_put(position, heap[position / 2]);
		position /= 2;
	}
	for (size_t child; (child = position * 2) <= heap_count; position = child) {
		if (child < heap_count && place_before(&heap[child + 1], &heap[child]))
			child++;
		if (!place_before(&heap[child], &place))
			break;
		heap_put(position, heap[child]);
	}
	heap_put(position, place);
}

/* A position for one more. */
static size_t heap_grow(void)
{
	if (heap_count + 1 >= heap_room) {
		heap_room = heap_room > 0 ? heap_room * 2 : 64;
		heap = mem_realloc(heap, heap_room * sizeof *heap);
	}
	return ++heap_count;
}

static void heap_remove(size_t position)
{
	assert(position >= 1 && position <= heap_count);
	heap[position].timer->heap_position = 0;
	struct place last = heap[heap_count--];
	if (position <= heap_count)
		heap_settle(position, last);
}

/* ---- timers ---- */

void timer_init(struct timer *timer, const char *name, void (*fire)(void *arg), void *arg)
{
	*timer = (struct timer){.name = name, .fire = fire, .arg = arg};
}

void timer_arm(struct timer *timer, usec_t delay)
{
	assert(timer->fire);
	timer->due = clock_now() + (delay > 0 ? delay : 0);
	heap_settle(timer_armed(timer) ? timer->heap_position : heap_grow(),
		    (struct place){.due = timer->due, .order = armings++, .timer = timer});
	if (timer->heap_position == 1 && on_change)
		on_change();
}

void timer_cancel(struct timer *timer)
{
	if (timer_armed(timer))
		heap_remove(timer->heap_position);
}

bool timer_armed(const struct timer *timer)
{
	return timer->heap_position != 0;
}

usec_t clock_next_due(void)
{
	return heap_count > 0 ? heap[1].due : -1;
}

/*
 * What is armed meanwhile waits for the next call, so that a timer which arms itself with 0 cannot keep the loop from
 * its sockets. Such a timer is due no earlier than `now`, so all that may fire stand before it in the heap.
 */
void clock_fire_due(void)
{
	usec_t now = clock_now();
	uint64_t first_new = armings;
	while (heap_count > 0 && heap[1].due <= now && heap[1].order < first_new) {
		struct timer *timer = heap[1].timer;
		heap_remove(1);
		timer->fire(timer->arg);
	}
}

void clock_on_change(void (*changed)(void))
{
	on_change = changed;
}

/* ---- the fake clock ---- */

void clock_fake_start(void)
{
	usec_t now = read_clock(CLOCK_MONOTONIC);
	atomic_store(&fake_now, now);
	atomic_store(&fake_wall_ahead, read_clock(CLOCK_REALTIME) - now);
	atomic_store(&fake, true);
}

void clock_fake_advance(usec_t by)
{
	assert(atomic_load(&fake) && by >= 0);
	usec_t target = clock_now() + by;
	for (usec_t due; (due = clock_next_due()) >= 0 && due <= target; clock_fire_due()) {
		if (due > clock_now())
			atomic_store(&fake_now, due);
	}
	atomic_store(&fake_now, target);
}

void clock_fake_stop(void)
{
	atomic_store(&fake, false);
}
