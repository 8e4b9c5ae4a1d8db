/*
 * Log lines to syslog (LOG_MAIL, ident relaypoold) or, in the foreground, to stderr. Lines go into a bounded ring that
 * a thread of its own empties: a dead syslog never blocks mail, what was dropped is counted and reported in a line.
 * May be called from any thread. Every line is documented in relaypool-log(7).
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "relaypool.h"

enum log_level {
	LOG_LEVEL_DEBUG = 0, /* only with -v */
	LOG_LEVEL_INFO,      /* normal: outcomes, statistics */
	LOG_LEVEL_NOTICE,    /* a change of state: started, reloaded, relay up */
	LOG_LEVEL_WARNING,   /* "warning: " mail waits or will wait */
	LOG_LEVEL_ERROR,     /* "error: " something could not be done for a local reason */
	LOG_LEVEL_FATAL      /* "fatal: " the daemon cannot work */
};

enum log_target { LOG_TO_STDERR = 0, LOG_TO_SYSLOG };

/* Before log_open() lines go straight to stderr. */
void log_open(enum log_target target, bool debug);
/* Waits at most `limit` for the ring to be written, then ends the thread, or leaves it if it is stuck. */
void log_close(usec_t limit);

void log_debug(const char *format, ...) PRINTF_LIKE(1, 2);
void log_info(const char *format, ...) PRINTF_LIKE(1, 2);
void log_notice(const char *format, ...) PRINTF_LIKE(1, 2);
void log_warning(const char *format, ...) PRINTF_LIKE(1, 2);
void log_error(const char *format, ...) PRINTF_LIKE(1, 2);
void log_fatal(const char *format, ...) PRINTF_LIKE(1, 2); /* does not end the process */

/* Lines dropped since the start because the ring was full. */
unsigned long log_dropped(void);

/*
 * How long the logger thread has been writing the line that it is at: what syslog takes no time for takes it no time,
 * so this is how long syslog has taken nothing. 0: it is not writing. From any thread; waits for nothing.
 */
usec_t log_stuck_for(void);

/* Tests: every line is handed to `sink` instead, on the calling thread. NULL ends that. */
void log_capture(void (*sink)(enum log_level level, const char *line));

#endif
