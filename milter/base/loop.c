/*
 * The one event loop: libevent's base, the clock's one libevent timeout, and one eventfd by which other threads are
 * heard. Called by main, and by whatever waits; never knows what it waits for.
 */
#include <config.h>

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <event2/event.h>

#include "base/log.h"
#include "base/log_limit.h"
#include "base/loop.h"
#include "base/mem.h"
#include "thread.h"

#define POSTS_MAX 4096
#define WORKERS_MAX 4
#define WORKER_RETRY USEC_PER_SEC
#define QUIET_ROUNDS 3 /* of loop_settle(): what one peer answers may make another speak */
#define FREE_LIMIT_SECONDS 1

/* A call from another thread. */
struct post {
	void (*fn)(void *arg);
	void *arg;
};

/* Offloaded work: on the list `waiting`, then a worker's own, then on `finished`. */
struct job {
	struct list node;
	void (*work)(void *arg);
	void (*done)(void *arg);
	void *arg;
};

/* What the workers share with the loop. A worker that is stuck when the loop is freed keeps it, and frees it. */
struct workshop {
	pthread_cond_t work;     /* signalled for each job put on `waiting`, and when `closing` is set */
	pthread_cond_t progress; /* signalled for each job put on `finished` */
	struct list waiting, finished;
	size_t idle;        /* workers that wait for work */
	size_t alive;       /* workers that have not ended */
	size_t outstanding; /* jobs not yet finished */
	bool closing;
	bool abandoned;
	/* Loop thread only. */
	pthread_t workers[WORKERS_MAX];
	size_t worker_count;
};

/* Loop thread only. */
static struct event_base *base;
static struct event *timeout_event, *wake_event;
static usec_t timeout_due; /* what the libevent timeout is armed for; -1: not armed */
static struct timer worker_retry;

/* Any thread, under the lock. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int wake_fd = -1; /* -1: there is no loop */
static struct post posts[POSTS_MAX];
static size_t post_first, post_count;
static struct workshop *workshop; /* the pointer itself is changed by the loop thread only */

/* ---- the clock ---- */

static void arm_timeout(void)
{
	usec_t due = clock_next_due();
	if (due < 0 || (timeout_due >= 0 && timeout_due <= due))
		return;
	usec_t delay = due - clock_now();
	if (delay < 0)
		delay = 0;
	struct timeval tv = {.tv_sec = (time_t)(delay / USEC_PER_SEC), .tv_usec = (suseconds_t)(delay % USEC_PER_SEC)};
	if (event_add(timeout_event, &tv) == 0)
		timeout_due = due;
}

static void on_timeout(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what, (void)arg;
	timeout_due = -1;
	clock_fire_due();
	arm_timeout(); /* libevent's clock is coarse: it may have been early */
}

/* ---- other threads ---- */

/* With the lock held. */
static void wake_loop(void)
{
	uint64_t one = 1;
	if (wake_fd >= 0 && write(wake_fd, &one, sizeof one) < 0)
		assert(errno == EAGAIN || errno == EINTR); /* EAGAIN: it is awake already */
}

bool loop_post(void (*fn)(void *arg), void *arg)
{
	pthread_mutex_lock(&lock);
	bool room = wake_fd >= 0 && post_count < POSTS_MAX;
	if (room) {
		posts[(post_first + post_count++) % POSTS_MAX] = (struct post){.fn = fn, .arg = arg};
		wake_loop();
	}
	pthread_mutex_unlock(&lock);
	return room;
}

static bool take_post(struct post *post)
{
	pthread_mutex_lock(&lock);
	bool found = post_count > 0;
	if (found) {
		*post = posts[post_first];
		post_first = (post_first + 1) % POSTS_MAX;
		post_count--;
	}
	pthread_mutex_unlock(&lock);
	return found;
}

/* Calls done() of every finished job. True if there was one. */
static bool finish_jobs(void)
{
	struct list finished;
	list_init(&finished);
	pthread_mutex_lock(&lock);
	LIST_EACH (node, next, &workshop->finished) {
		list_remove(node);
		list_append(&finished, node);
	}
	pthread_mutex_unlock(&lock);
	bool any = !list_empty(&finished);
	LIST_EACH (node, next, &finished) {
		struct job *job = LIST_ENTRY_OF(node, struct job, node);
		list_remove(node);
		job->done(job->arg);
		free(job);
	}
	return any;
}

static void on_wake(evutil_socket_t fd, short what, void *arg)
{
	(void)what, (void)arg;
	uint64_t count;
	if (read(fd, &count, sizeof count) < 0)
		assert(errno == EAGAIN || errno == EINTR);
	/* No more than a queue full at a time: the sockets have their turn too. What is posted later wakes again. */
	struct post post;
	for (size_t i = 0; i < POSTS_MAX && take_post(&post); i++)
		post.fn(post.arg);
	finish_jobs();
}

/* ---- workers ---- */

static struct workshop *workshop_create(void)
{
	struct workshop *shop = mem_alloc(sizeof *shop);
	pthread_cond_init(&shop->work, NULL);
	pthread_cond_init(&shop->progress, NULL);
	list_init(&shop->waiting);
	list_init(&shop->finished);
	return shop;
}

/* Jobs that nobody began, or nobody could be told of, go with it. */
static void workshop_free(struct workshop *shop)
{
	LIST_EACH (node, next, &shop->waiting)
		free(LIST_ENTRY_OF(node, struct job, node));
	LIST_EACH (node, next, &shop->finished)
		free(LIST_ENTRY_OF(node, struct job, node));
	pthread_cond_destroy(&shop->work);
	pthread_cond_destroy(&shop->progress);
	free(shop);
}

static void *worker_run(void *arg)
{
	struct workshop *shop = arg;
	pthread_mutex_lock(&lock);
	for (;;) {
		shop->idle++;
		while (list_empty(&shop->waiting) && !shop->closing)
			pthread_cond_wait(&shop->work, &lock);
		shop->idle--;
		if (list_empty(&shop->waiting))
			break;
		struct job *job = LIST_ENTRY_OF(shop->waiting.next, struct job, node);
		list_remove(&job->node);
		pthread_mutex_unlock(&lock);
		job->work(job->arg);
		pthread_mutex_lock(&lock);
		list_append(&shop->finished, &job->node);
		shop->outstanding--;
		pthread_cond_signal(&shop->progress);
		if (shop == workshop)
			wake_loop();
	}
	bool last = --shop->alive == 0 && shop->abandoned;
	pthread_mutex_unlock(&lock);
	if (last)
		workshop_free(shop);
	return NULL;
}

/* Starts a worker if work waits and nobody is free. Tries again later if the system refuses and there is none. */
static void start_worker(void *arg)
{
	(void)arg;
	static struct log_limit limit = LOG_LIMIT("worker");
	struct workshop *shop = workshop;
	pthread_mutex_lock(&lock);
	int error = 0;
	if (list_count(&shop->waiting) > shop->idle && !shop->closing && shop->worker_count < WORKERS_MAX) {
		error = thread_start(&shop->workers[shop->worker_count], "worker", worker_run, shop);
		if (error == 0) {
			shop->worker_count++;
			shop->alive++;
		}
	}
	pthread_mutex_unlock(&lock);
	if (error != 0 && shop->worker_count == 0) {
		if (log_limit_passes(&limit, NULL))
			log_error("no thread for resolving and token commands: %s; trying again in %d s",
				  strerror(error), (int)(WORKER_RETRY / USEC_PER_SEC));
		timer_arm(&worker_retry, WORKER_RETRY);
	}
}

void loop_offload(void (*work)(void *arg), void (*done)(void *arg), void *arg)
{
	assert(base);
	struct job *job = mem_alloc(sizeof *job);
	*job = (struct job){.work = work, .done = done, .arg = arg};
	list_init(&job->node);
	pthread_mutex_lock(&lock);
	list_append(&workshop->waiting, &job->node);
	workshop->outstanding++;
	pthread_cond_signal(&workshop->work);
	pthread_mutex_unlock(&lock);
	start_worker(NULL);
}

/* Lets the workers do what waits and end, and waits for them up to the limit. */
static void workshop_close(struct workshop *shop)
{
	pthread_mutex_lock(&lock);
	shop->closing = true;
	pthread_cond_broadcast(&shop->work);
	pthread_mutex_unlock(&lock);
	struct timespec limit;
	clock_gettime(CLOCK_REALTIME, &limit);
	limit.tv_sec += FREE_LIMIT_SECONDS;
	for (size_t i = 0; i < shop->worker_count; i++)
		if (pthread_timedjoin_np(shop->workers[i], NULL, &limit) != 0)
			pthread_detach(shop->workers[i]);
}

/* ---- the life of the loop ---- */

bool loop_create(void)
{
	assert(!base);
	if (!(base = event_base_new())) /* without locks: no other thread calls libevent */
		return false;
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	timeout_event = event_new(base, -1, 0, on_timeout, NULL);
	wake_event = event_new(base, fd, EV_READ | EV_PERSIST, on_wake, NULL);
	timer_init(&worker_retry, "a worker thread", start_worker, NULL);
	pthread_mutex_lock(&lock);
	wake_fd = fd;
	workshop = workshop_create();
	pthread_mutex_unlock(&lock);
	if (fd < 0 || !timeout_event || !wake_event || event_add(wake_event, NULL) != 0) {
		int error = errno;
		loop_free();
		errno = error;
		return false;
	}
	timeout_due = -1;
	clock_on_change(arm_timeout);
	arm_timeout();
	return true;
}

void loop_free(void)
{
	if (!base)
		return;
	workshop_close(workshop);
	finish_jobs();
	timer_cancel(&worker_retry);
	clock_on_change(NULL);
	pthread_mutex_lock(&lock);
	struct workshop *shop = workshop;
	int fd = wake_fd;
	workshop = NULL;
	wake_fd = -1;
	post_count = 0;
	shop->abandoned = shop->alive > 0;
	bool ours = !shop->abandoned;
	pthread_mutex_unlock(&lock);
	if (ours)
		workshop_free(shop);
	if (timeout_event)
		event_free(timeout_event);
	if (wake_event)
		event_free(wake_event);
	if (fd >= 0)
		close(fd);
	event_base_free(base);
	base = NULL;
	timeout_event = wake_event = NULL;
}

struct event_base *loop_base(void)
{
	return base;
}

void loop_run(void)
{
	if (event_base_dispatch(base) < 0)
		log_error("the event loop ended: %s", strerror(errno));
}

void loop_stop(void)
{
	event_base_loopbreak(base);
}

/* Waits until one more offloaded job is finished. False if there is none. */
static bool await_job(void)
{
	pthread_mutex_lock(&lock);
	bool any = workshop->outstanding > 0 || !list_empty(&workshop->finished);
	while (workshop->outstanding > 0 && list_empty(&workshop->finished))
		pthread_cond_wait(&workshop->progress, &lock);
	pthread_mutex_unlock(&lock);
	return any;
}

void loop_settle(void)
{
	unsigned quiet = 0;
	while (quiet < QUIET_ROUNDS) {
		usec_t due = clock_next_due();
		bool busy = due >= 0 && due <= clock_now();
		clock_fire_due();
		event_base_get_max_events(base, EVENT_BASE_COUNT_ACTIVE, 1);
		event_base_loop(base, EVLOOP_NONBLOCK);
		busy |= event_base_get_max_events(base, EVENT_BASE_COUNT_ACTIVE, 1) > 0;
		quiet = busy ? 0 : quiet + 1;
		if (quiet == QUIET_ROUNDS && await_job())
			quiet = 0;
	}
}
