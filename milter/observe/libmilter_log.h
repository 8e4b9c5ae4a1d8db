/*
 * What libmilter would say to syslog(3), from its own threads: it becomes lines of our log, so that a syslog that takes
 * nothing holds up no milter session. Private to observe; milter.c starts it.
 */
#ifndef MILTER_OBSERVE_LIBMILTER_LOG_H
#define MILTER_OBSERVE_LIBMILTER_LOG_H

/* Before libmilter's first call. There is nothing to undo. */
void libmilter_log_start(void);

#endif
