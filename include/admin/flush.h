/*
 * Asks for the MTA's queue to be flushed after relaypoold was away: mail that was refused meanwhile would else wait
 * for the MTA's next attempt. The daemon has not the right to do it: it makes a file, and a path unit of root's
 * (packaging/systemd/relaypool-flush.path) does the rest. Loop thread only; called by main.
 */
#ifndef ADMIN_FLUSH_H
#define ADMIN_FLUSH_H

#include "relaypool.h"

#define FLUSH_APART (60 * USEC_PER_SEC)   /* between two requests */
#define FLUSH_ABSENCE (10 * USEC_PER_SEC) /* the loop stood still for longer: stopped, or the machine slept */

/*
 * Requests from now on are the file `flush` in `directory`. Also watches for the loop having stood still, and asks by
 * itself then.
 */
void flush_start(const char *directory);
/* Asks now, or as soon as the last request is old enough. `why`: one word for the log, a constant. */
void flush_request(const char *why);
/*
 * The loop lives at this Unix time (microseconds); called every second by a timer of its own, and by tests. By the wall
 * clock, since the monotonic one stands still while the machine sleeps; a clock set forward looks the same.
 */
void flush_beat(int64_t wall);
void flush_stop(void);

#endif
