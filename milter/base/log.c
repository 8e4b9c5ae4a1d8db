/*
 * Log lines: made on the caller's thread, put on a bounded ring, written by the logger thread. Called from any thread,
 * never blocks its caller, and never calls mem.c: it must be able to say that memory has run out.
 */
#include <config.h>

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "log_writer.h"
#include "thread.h"

/* After a drop, lines are taken again once a quarter of the ring is free: one gap and one report, not many. */
#define RING_RESUME (LOG_RING_LINES - LOG_RING_LINES / 4)

static const struct {
	int priority;
	const char *prefix;
} levels[] = {
	[LOG_LEVEL_DEBUG] = {LOG_DEBUG, ""},      [LOG_LEVEL_INFO] = {LOG_INFO, ""},
	[LOG_LEVEL_NOTICE] = {LOG_NOTICE, ""},    [LOG_LEVEL_WARNING] = {LOG_WARNING, "warning: "},
	[LOG_LEVEL_ERROR] = {LOG_ERR, "error: "}, [LOG_LEVEL_FATAL] = {LOG_CRIT, "fatal: "},
};

struct line {
	enum log_level level;
	unsigned long dropped_before; /* lines that should have stood before this one */
	char text[];
};

/* On the heap: a thread that is stuck in its writer when the log is closed keeps it, and frees it. */
struct logger {
	pthread_t thread;
	log_writer_fn *writer;
	/* Under the lock. */
	pthread_cond_t ended; /* signalled when the thread will touch nothing any more */
	struct line *ring[LOG_RING_LINES];
	size_t first, count;
	unsigned long unreported; /* dropped since the last line was taken */
	bool refusing;            /* the ring was full and has not yet come down to RING_RESUME */
	bool closing;
	bool has_ended;
	bool abandoned;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t work = PTHREAD_COND_INITIALIZER; /* signalled for each line, and when `closing` is set */
static struct logger *logger;                          /* under the lock; NULL: lines go straight to stderr */
static unsigned long dropped;                          /* under the lock */
static atomic_bool debugging;
static _Atomic usec_t writing_since; /* by now(); 0: the logger thread is not in its writer */
static void (*_Atomic capture)(enum log_level level, const char *line);

/* ---- making a line ---- */

/* Length of the well-formed, printable UTF-8 character at `text` (RFC 3629 §4); 0 if there is none. */
static size_t printable_length(const unsigned char *text)
{
	unsigned char c = text[0];
	if (c < 0x80)
		return c >= 0x20 && c != 0x7f;
	unsigned char low = c == 0xc2 ? 0xa0 /* no C1 controls */ : c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
	unsigned char high = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
	size_t length = c >= 0xc2 && c <= 0xdf ? 2 : c >= 0xe0 && c <= 0xef ? 3 : c >= 0xf0 && c <= 0xf4 ? 4 : 0;
	if (length == 0 || text[1] < low || text[1] > high)
		return 0;
	for (size_t i = 2; i < length; i++)
		if ((text[i] & 0xc0) != 0x80)
			return 0;
	return length;
}

/* What a peer said may stand in a line: it must not make a second line, nor steer a terminal. */
static void make_printable(char *text)
{
	for (size_t length; *text; text += length) {
		length = printable_length((unsigned char *)text);
		if (length == 0) {
			*text = '?';
			length = 1;
		}
	}
}

/* Cuts a line that was longer than its buffer, between two characters. */
static void mark_cut(char line[LOG_LINE_SIZE])
{
	size_t end = LOG_LINE_SIZE - sizeof "...";
	while (end > 0 && ((unsigned char)line[end] & 0xc0) == 0x80)
		end--;
	memcpy(line + end, "...", sizeof "...");
}

static void make_line(char line[LOG_LINE_SIZE], enum log_level level, const char *format, va_list args)
{
	size_t prefix = strlen(levels[level].prefix);
	memcpy(line, levels[level].prefix, prefix + 1);
	int length = vsnprintf(line + prefix, LOG_LINE_SIZE - prefix, format, args);
	if (length < 0)
		line[prefix] = '\0';
	else if (prefix + (size_t)length >= LOG_LINE_SIZE)
		mark_cut(line);
	make_printable(line);
}

/* ---- writing a line ---- */

/* Not clock_now(): the fake clock of a test stands still while a writer takes its time. */
static usec_t now(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return (usec_t)time.tv_sec * USEC_PER_SEC + time.tv_nsec / 1000;
}

static void write_stderr(enum log_level level, const char *line)
{
	(void)level;
	/* One write for each line: threads do not mix theirs. */
	char whole[LOG_LINE_SIZE + 64];
	int length = snprintf(whole, sizeof whole, "%.60s: %s\n", program_invocation_short_name, line);
	ssize_t written = write(STDERR_FILENO, whole, (size_t)length);
	(void)written; /* nobody to tell */
}

/* syslog(3) itself is taken: what libmilter says to it comes here by observe/libmilter_log.c, onto our ring. */
static void write_vsyslog(int priority, const char *format, ...) PRINTF_LIKE(2, 3);
static void write_vsyslog(int priority, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	vsyslog(priority, format, args);
	va_end(args);
}

static void write_syslog(enum log_level level, const char *line)
{
	write_vsyslog(levels[level].priority, "%s", line);
}

static void write_timed(log_writer_fn *writer, enum log_level level, const char *line)
{
	atomic_store(&writing_since, now());
	writer(level, line);
	atomic_store(&writing_since, 0);
}

static void report_dropped(log_writer_fn *writer, unsigned long count)
{
	char line[LOG_LINE_SIZE];
	snprintf(line, sizeof line, "%slog: dropped=%lu lines: the syslog socket is slow or stopped",
		 levels[LOG_LEVEL_WARNING].prefix, count);
	write_timed(writer, LOG_LEVEL_WARNING, line);
}

/* ---- the logger thread ---- */

/* Waits for a line, or for lines that were dropped at the end. False when there will be no more. With the lock held. */
static bool await_line(struct logger *l, struct line **line, unsigned long *gap)
{
	while (l->count == 0 && l->unreported == 0 && !l->closing)
		pthread_cond_wait(&work, &lock);
	*line = NULL;
	if (l->count > 0) {
		*line = l->ring[l->first];
		l->first = (l->first + 1) % LOG_RING_LINES;
		l->count--;
		*gap = (*line)->dropped_before;
		return true;
	}
	*gap = l->unreported;
	l->unreported = 0;
	return *gap > 0;
}

static void logger_free(struct logger *l)
{
	for (; l->count > 0; l->count--, l->first = (l->first + 1) % LOG_RING_LINES)
		free(l->ring[l->first]);
	pthread_cond_destroy(&l->ended);
	free(l);
}

static void *logger_run(void *arg)
{
	struct logger *l = arg;
	struct line *line;
	unsigned long gap;
	pthread_mutex_lock(&lock);
	while (!l->abandoned && await_line(l, &line, &gap)) {
		pthread_mutex_unlock(&lock);
		if (gap > 0)
			report_dropped(l->writer, gap);
		if (line)
			write_timed(l->writer, line->level, line->text);
		free(line);
		pthread_mutex_lock(&lock);
	}
	l->has_ended = true;
	pthread_cond_signal(&l->ended);
	bool ours = l->abandoned;
	pthread_mutex_unlock(&lock);
	if (ours)
		logger_free(l);
	return NULL;
}

/* Puts a copy on the ring, or counts it as dropped. With the lock held. */
static void put_line(struct logger *l, enum log_level level, const char *text)
{
	if (l->count == LOG_RING_LINES)
		l->refusing = true;
	else if (l->count <= RING_RESUME)
		l->refusing = false;
	size_t size = strlen(text) + 1;
	struct line *line = l->refusing ? NULL : malloc(sizeof *line + size);
	if (!line) {
		dropped++;
		l->unreported++;
		return;
	}
	line->level = level;
	line->dropped_before = l->unreported;
	l->unreported = 0;
	memcpy(line->text, text, size);
	l->ring[(l->first + l->count++) % LOG_RING_LINES] = line;
}

/* ---- the door ---- */

static void log_line(enum log_level level, const char *format, va_list args)
{
	char line[LOG_LINE_SIZE];
	int error = errno;
	make_line(line, level, format, args);
	void (*sink)(enum log_level, const char *) = atomic_load(&capture);
	if (sink) {
		sink(level, line);
	} else {
		pthread_mutex_lock(&lock);
		if (logger)
			put_line(logger, level, line);
		bool ringed = logger != NULL;
		pthread_mutex_unlock(&lock);
		if (ringed)
			pthread_cond_signal(&work); /* not under the lock, which the logger would wait for at once */
		else
			write_stderr(level, line);
	}
	errno = error;
}

#define LOG_LINE_OF(level)                     \
	do {                                   \
		va_list args;                  \
		va_start(args, format);        \
		log_line(level, format, args); \
		va_end(args);                  \
	} while (0)

void log_debug(const char *format, ...)
{
	if (atomic_load(&debugging))
		LOG_LINE_OF(LOG_LEVEL_DEBUG);
}

void log_info(const char *format, ...)
{
	LOG_LINE_OF(LOG_LEVEL_INFO);
}

void log_notice(const char *format, ...)
{
	LOG_LINE_OF(LOG_LEVEL_NOTICE);
}

void log_warning(const char *format, ...)
{
	LOG_LINE_OF(LOG_LEVEL_WARNING);
}

void log_error(const char *format, ...)
{
	LOG_LINE_OF(LOG_LEVEL_ERROR);
}

void log_fatal(const char *format, ...)
{
	LOG_LINE_OF(LOG_LEVEL_FATAL);
}

unsigned long log_dropped(void)
{
	pthread_mutex_lock(&lock);
	unsigned long count = dropped;
	pthread_mutex_unlock(&lock);
	return count;
}

usec_t log_stuck_for(void)
{
	usec_t since = atomic_load(&writing_since);
	return since == 0 ? 0 : now() - since;
}

void log_capture(void (*sink)(enum log_level level, const char *line))
{
	atomic_store(&capture, sink);
}

void log_open(enum log_target target, bool debug)
{
	if (target == LOG_TO_SYSLOG)
		openlog("relaypoold", LOG_PID, LOG_MAIL);
	log_open_writer(target == LOG_TO_SYSLOG ? write_syslog : write_stderr, debug);
}

/* Without memory or a thread the lines go on to stderr. */
void log_open_writer(log_writer_fn *writer, bool debug)
{
	atomic_store(&debugging, debug);
	struct logger *l = calloc(1, sizeof *l);
	int error = l ? 0 : ENOMEM;
	if (l) {
		l->writer = writer;
		pthread_condattr_t monotonic;
		pthread_condattr_init(&monotonic);
		pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
		pthread_cond_init(&l->ended, &monotonic);
		pthread_condattr_destroy(&monotonic);
		error = thread_start(&l->thread, "logger", logger_run, l);
		if (error != 0)
			logger_free(l);
	}
	if (error != 0) {
		log_error("the logger thread could not be started: %s", strerror(error));
		return;
	}
	pthread_mutex_lock(&lock);
	assert(!logger);
	logger = l;
	pthread_mutex_unlock(&lock);
}

void log_close(usec_t limit)
{
	struct timespec until;
	clock_gettime(CLOCK_MONOTONIC, &until); /* not clock_now(): a fake clock would stand still */
	until.tv_sec += (time_t)(limit / USEC_PER_SEC);
	until.tv_nsec += (long)(limit % USEC_PER_SEC * 1000);
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	pthread_mutex_lock(&lock);
	struct logger *l = logger;
	logger = NULL;
	if (!l) {
		pthread_mutex_unlock(&lock);
		return;
	}
	l->closing = true;
	pthread_cond_signal(&work);
	while (!l->has_ended && pthread_cond_timedwait(&l->ended, &lock, &until) == 0)
		;
	bool ended = l->has_ended;
	if (!ended) {
		l->abandoned = true;
		pthread_detach(l->thread);
	}
	pthread_mutex_unlock(&lock);
	if (ended) {
		pthread_join(l->thread, NULL);
		logger_free(l);
	}
}
