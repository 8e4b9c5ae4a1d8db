/*
 * The table of verbs. Linked into the daemon and relaypoolctl alike, so that neither knows a verb the other does not.
 */
#include <config.h>

#include "admin/verbs.h"

#include <string.h>

const struct admin_verb_info admin_verbs[ADMIN_VERBS] = {
	[ADMIN_STATUS] = {"status", "", 0, false, "the daemon and its relays on one screen (the default)"},
	[ADMIN_POOLS] = {"pools", "[RELAY]", 1, false, "the pool of each relay, or of one in full"},
	[ADMIN_CONNECTIONS] = {"connections", "[RELAY]", 1, false, "each connection to a relay"},
	[ADMIN_LIMITS] = {"limits", "[RELAY]", 1, false, "the limits of each relay, configured and learned"},
	[ADMIN_SESSIONS] = {"sessions", "", 0, false, "each LMTP session of the MTA"},
	[ADMIN_WHY] = {"why", "QUEUE-ID", 1, false, "where the time of a message went, and who held it"},
	[ADMIN_STALLS] = {"stalls", "[all|shape]", 1, false, "what is held up, since when and by whom"},
	[ADMIN_STATS] = {"stats", "[RELAY]", 1, false, "what was counted for each relay, or for one in full"},
	[ADMIN_LATENCY] = {"latency", "[RELAY]", 1, false, "how long each stage takes at a relay"},
	[ADMIN_METRICS] = {"metrics", "", 0, false, "everything that is counted, as Prometheus reads it"},
	[ADMIN_CONFIG] = {"config", "", 0, false, "the running configuration, secrets hidden"},
	[ADMIN_CHECK] = {"check", "", 0, false, "test the configuration file, load nothing"},
	[ADMIN_RELOAD] = {"reload", "", 0, true, "load the configuration file"},
	[ADMIN_PAUSE] = {"pause", "[RELAY]", 1, true, "start nothing new at a relay; its mail waits"},
	[ADMIN_RESUME] = {"resume", "[RELAY]", 1, true, "end pause and drain"},
	[ADMIN_DRAIN] = {"drain", "[RELAY]", 1, true, "pause, and close each connection when it is free"},
	[ADMIN_RECONNECT] = {"reconnect", "[RELAY]", 1, true, "replace each connection when it is free"},
	[ADMIN_FORGET] = {"forget", "[RELAY]", 1, true, "forget what was learned of a relay"},
	[ADMIN_TEST_ROUTE] = {"test-route", "ADDRESS", 3, true,
			      "where mail to an address goes, and whether it is taken"},
	[ADMIN_VERSION] = {"version", "", 0, false, "versions of the daemon and its libraries"},
};

bool admin_verb_find(const char *name, enum admin_verb *verb)
{
	for (int i = 0; i < ADMIN_VERBS; i++) {
		if (strcmp(admin_verbs[i].name, name) == 0) {
			*verb = (enum admin_verb)i;
			return true;
		}
	}
	return false;
}
