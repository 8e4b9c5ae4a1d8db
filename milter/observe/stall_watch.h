/*
 * What is over its limit at one look, one entry for each cause. Private to observe; filled and read by stall.c, which
 * makes stalls of it. Keeps from look to look only what shows whether there is any progress.
 */
#ifndef MILTER_OBSERVE_STALL_WATCH_H
#define MILTER_OBSERVE_STALL_WATCH_H

#include "relaypool.h"

#define OVERDUE_MAX 256 /* further ones are told when some of these have ended */

struct overdue {
	char relay[80];
	enum stage stage;
	enum cause cause;
	usec_t since, limit;
	unsigned messages;
	char queue_id[64];
};

/* A stall at the relay itself is open, of this one or (NULL) of any. That there is no progress is none. */
typedef bool watch_open_fn(const char *relay);

/* One look. */
struct watch {
	struct overdue overdue[OVERDUE_MAX];
	size_t count;
	unsigned under_way; /* messages that are here, in whatever stage */
	unsigned waiting;   /* … for a connection */
	watch_open_fn *open_at;
};

void watch_begin(struct watch *watch, watch_open_fn *open_at);
/* Something that is waited for, over its limit or not. */
void watch_note(struct watch *watch, const struct wait *wait, usec_t limit);
/* Then: mail in the MTA's queue that should have come; `sessions` are open over LMTP. */
void watch_queue(struct watch *watch, usec_t limit, unsigned sessions);
/* Then: relays at which nothing comes to its end though mail is under way. */
void watch_progress(struct watch *watch);
/* Last: what only follows from something else that is over its limit, here or since an earlier look. */
void watch_leave_out_consequences(struct watch *watch);

/* What happens between two looks. */
void watch_heed(const struct event *event);
void watch_forget(void);

#endif
