/*
 * The service manager's watchdog (sd_watchdog_enabled(3), without its library): told from the loop that it turns, so
 * that a daemon that hangs is started anew. Called by main.
 */
#ifndef BASE_WATCHDOG_H
#define BASE_WATCHDOG_H

/* What the environment tells of it, and takes that out of the environment. Before threads run. */
void watchdog_take(void);
/* Feeds it from now on, twice in each of its intervals, if there is one for us. Loop thread. */
void watchdog_start(void);
/* Not any more. Harmless without watchdog_start(). */
void watchdog_stop(void);

#endif
