/*
 * Stands before the C library's syslog(3) for whatever else in this process calls it, which is libmilter: as sigwait()
 * in milter.c does. libmilter logs from the threads of the sessions, when an MTA ends one in the middle of a command,
 * say; syslog(3) would wait there for a daemon that does not read. Our own log calls vsyslog(3), from its own thread
 * alone.
 */
#include <config.h>

#include "libmilter_log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <syslog.h>

#include "base/log.h"
#include "base/log_limit.h"

#define TEXT_MAX 512

static atomic_bool started;

static void say(int priority, const char *format, va_list arguments)
{
	static struct log_limit limit = LOG_LIMIT("libmilter");
	char text[TEXT_MAX];
	if (!atomic_load(&started) || !log_limit_passes(&limit, NULL))
		return;
	vsnprintf(text, sizeof text, format, arguments); /* libmilter's formats; %m is known to it as well */
	if (LOG_PRI(priority) <= LOG_WARNING)
		log_warning("libmilter: %s", text);
	else
		log_debug("libmilter: %s", text);
}

/* What a libmilter calls that was built with and without fortified functions; declared here, for syslog.h may not. */
void __syslog_chk(int priority, int flag, const char *format, ...) PRINTF_LIKE(3, 4); /* NOLINT */
void __syslog_chk(int priority, int flag, const char *format, ...)                    /* NOLINT */
{
	va_list arguments;
	(void)flag;
	va_start(arguments, format);
	say(priority, format, arguments);
	va_end(arguments);
}

void(syslog)(int priority, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	say(priority, format, arguments);
	va_end(arguments);
}

void libmilter_log_start(void)
{
	atomic_store(&started, true);
}
