/*
 * Where the logger thread's lines go. Private to base: syslog and stderr for log.c, a socket that nobody reads for
 * its tests.
 */
#ifndef MILTER_BASE_LOG_WRITER_H
#define MILTER_BASE_LOG_WRITER_H

#include "base/log.h"

#define LOG_RING_LINES 4096
#define LOG_LINE_SIZE 1024 /* with the terminating zero; a longer line ends in "..." */

/* Writes one line, complete with its prefix; may block. On the logger thread alone. */
typedef void log_writer_fn(enum log_level level, const char *line);

/* As log_open(), with a writer of the caller's. */
void log_open_writer(log_writer_fn *writer, bool debug);

#endif
