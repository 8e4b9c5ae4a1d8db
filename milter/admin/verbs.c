/*
 * The table of verbs. Linked into the daemon and relaypoolctl alike, so that neither knows a verb the other does not.
 */
#include <config.h>

#include "admin/verbs.h"

#include <string.h>

const struct admin_verb_info admin_verbs[ADMIN_VERBS] = {
	[ADMIN_STATUS] = {"status", "", false, "the daemon and its relays on one screen (the default)"},
	[ADMIN_POOLS] = {"pools", "[RELAY]", false, "the pool of each relay, or of one in full"},
	[ADMIN_CONNECTIONS] = {"connections", "[RELAY]", false, "each connection to a relay"},
	[ADMIN_LIMITS] = {"limits", "[RELAY]", false, "the limits of each relay, configured and learned"},
	[ADMIN_SESSIONS] = {"sessions", "", false, "each LMTP session of the MTA"},
	[ADMIN_WHY] = {"why", "QUEUE-ID", false, "where the time of a message went, and who held it"},
	[ADMIN_STALLS] = {"stalls", "[all|shape]", false, "what is held up, since when and by whom"},
	[ADMIN_STATS] = {"stats", "[RELAY]", false, "what was counted for each relay, or for one in full"},
	[ADMIN_LATENCY] = {"latency", "[RELAY]", false, "how long each stage takes at a relay"},
	[ADMIN_METRICS] = {"metrics", "", false, "everything that is counted, as Prometheus reads it"},
	[ADMIN_CONFIG] = {"config", "", false, "the running configuration, secrets hidden"},
	[ADMIN_CHECK] = {"check", "", false, "test the configuration file, load nothing"},
	[ADMIN_RELOAD] = {"reload", "", true, "load the configuration file"},
	[ADMIN_PAUSE] = {"pause", "[RELAY]", true, "start nothing new at a relay; its mail waits"},
	[ADMIN_RESUME] = {"resume", "[RELAY]", true, "end pause and drain"},
	[ADMIN_DRAIN] = {"drain", "[RELAY]", true, "pause, and close each connection when it is free"},
	[ADMIN_RECONNECT] = {"reconnect", "[RELAY]", true, "replace each connection when it is free"},
	[ADMIN_FORGET] = {"forget", "[RELAY]", true, "forget what was learned of a relay"},
	[ADMIN_VERSION] = {"version", "", false, "versions of the daemon and its libraries"},
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
