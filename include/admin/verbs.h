/*
 * What an administrator may ask of the daemon: one table of verbs, read by the control socket, by relaypoolctl and by
 * the test of relaypoolctl(8). What a verb does stands in admin/answer*.c, how its answer looks in ctl/.
 */
#ifndef ADMIN_VERBS_H
#define ADMIN_VERBS_H

#include "relaypool.h"

enum admin_verb {
	ADMIN_STATUS = 0,  /* the daemon and its relays on one screen */
	ADMIN_POOLS,       /* the pool of each relay, or of one in full */
	ADMIN_CONNECTIONS, /* each socket to a relay */
	ADMIN_LIMITS,      /* the limits of each relay, configured and learned */
	ADMIN_SESSIONS,    /* each LMTP session of the MTA */
	ADMIN_WHY,         /* where the time of one message went */
	ADMIN_STALLS,      /* what is held up, since when and by whom */
	ADMIN_STATS,       /* what was counted for each relay */
	ADMIN_LATENCY,     /* how long each stage takes at a relay */
	ADMIN_METRICS,     /* what is counted, for Prometheus */
	ADMIN_CONFIG,      /* the running configuration */
	ADMIN_CHECK,       /* is the file on disk valid? */
	ADMIN_RELOAD,      /* read it */
	ADMIN_PAUSE,       /* start nothing new at a relay */
	ADMIN_RESUME,      /* the opposite of pause and drain */
	ADMIN_DRAIN,       /* pause, and close each connection when it is free */
	ADMIN_RECONNECT,   /* replace each connection when it is free */
	ADMIN_FORGET,      /* what was learned of a relay */
	ADMIN_TEST_ROUTE,  /* where mail to an address would go, and whether it is taken there */
	ADMIN_VERSION,     /* of the daemon and its libraries */
	ADMIN_VERBS
};

struct admin_verb_info {
	const char *name;
	const char *argument; /* what it is given: "QUEUE-ID", "[RELAY]" if it may be left out; "" if nothing */
	unsigned most;        /* how many arguments it may have */
	bool changes;         /* for root and the daemon's own user only */
	const char *help;     /* one line */
};
extern const struct admin_verb_info admin_verbs[ADMIN_VERBS];

#define ADMIN_ARGUMENTS_MAX 3 /* the most of any verb */

/* False if there is no such verb. */
bool admin_verb_find(const char *name, enum admin_verb *verb) MUST_CHECK;

#endif
