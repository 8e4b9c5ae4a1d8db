/*
 * The words for the enums of relaypool.h, as they stand in log, metrics, ctl and manual. Used everywhere.
 */
#include <config.h>

#include "relaypool.h"

const char *const stage_names[STAGE_COUNT + 1] = {
	[STAGE_CLIENT] = "client", [STAGE_MTA] = "mta",   [STAGE_QUEUE] = "queue",     [STAGE_INGEST] = "ingest",
	[STAGE_POOL] = "pool",     [STAGE_DNS] = "dns",   [STAGE_CONNECT] = "connect", [STAGE_BANNER] = "banner",
	[STAGE_EHLO] = "ehlo",     [STAGE_TLS] = "tls",   [STAGE_AUTH] = "auth",       [STAGE_MAIL] = "mail",
	[STAGE_RCPT] = "rcpt",     [STAGE_DATA] = "data", [STAGE_BODY] = "body",       [STAGE_REPLY] = "reply",
	[STAGE_COUNT] = "-",
};

const char *const status_names[STATUS_COUNT] = {
	[STATUS_SENT] = "sent",
	[STATUS_DEFERRED] = "deferred",
	[STATUS_BOUNCED] = "bounced",
};

const char *const holder_names[HOLDER_COUNT] = {
	[HOLDER_CLIENT] = "client",   [HOLDER_MTA] = "mta",     [HOLDER_RELAYPOOL] = "relaypool",
	[HOLDER_NETWORK] = "network", [HOLDER_RELAY] = "relay", [HOLDER_UNKNOWN] = "unknown",
};

const char *const cause_names[CAUSE_COUNT + 1] = {
	[CAUSE_CLIENT] = "client",
	[CAUSE_SERVER] = "server",
	[CAUSE_DOOR] = "door",
	[CAUSE_MANAGER] = "manager",
	[CAUSE_PROCESSES] = "processes",
	[CAUSE_HANDOVER] = "handover",
	[CAUSE_CAP] = "cap",
	[CAUSE_ACCOUNT] = "account",
	[CAUSE_RATE] = "rate",
	[CAUSE_SLOT] = "slot",
	[CAUSE_TURN] = "turn",
	[CAUSE_SETUP] = "setup",
	[CAUSE_HELD] = "held",
	[CAUSE_TOKEN] = "token",
	[CAUSE_LOOP] = "loop",
	[CAUSE_LOG] = "log",
	[CAUSE_DNS] = "dns",
	[CAUSE_CONNECT] = "connect",
	[CAUSE_PATH] = "path",
	[CAUSE_ANSWER] = "answer",
	[CAUSE_WINDOW] = "window",
	[CAUSE_THROTTLE] = "throttle",
	[CAUSE_BACKOFF] = "backoff",
	[CAUSE_PROGRESS] = "progress",
	[CAUSE_COUNT] = "-",
};

const enum holder cause_holders[CAUSE_COUNT] = {
	[CAUSE_CLIENT] = HOLDER_CLIENT,  [CAUSE_SERVER] = HOLDER_MTA,        [CAUSE_DOOR] = HOLDER_UNKNOWN,
	[CAUSE_MANAGER] = HOLDER_MTA,    [CAUSE_PROCESSES] = HOLDER_MTA,     [CAUSE_HANDOVER] = HOLDER_MTA,
	[CAUSE_CAP] = HOLDER_RELAYPOOL,  [CAUSE_ACCOUNT] = HOLDER_RELAYPOOL, [CAUSE_RATE] = HOLDER_RELAYPOOL,
	[CAUSE_SLOT] = HOLDER_RELAYPOOL, [CAUSE_TURN] = HOLDER_RELAYPOOL,    [CAUSE_SETUP] = HOLDER_RELAYPOOL,
	[CAUSE_HELD] = HOLDER_RELAYPOOL, [CAUSE_TOKEN] = HOLDER_RELAYPOOL,   [CAUSE_LOOP] = HOLDER_RELAYPOOL,
	[CAUSE_LOG] = HOLDER_RELAYPOOL,  [CAUSE_DNS] = HOLDER_NETWORK,       [CAUSE_CONNECT] = HOLDER_NETWORK,
	[CAUSE_PATH] = HOLDER_NETWORK,   [CAUSE_ANSWER] = HOLDER_RELAY,      [CAUSE_WINDOW] = HOLDER_RELAY,
	[CAUSE_THROTTLE] = HOLDER_RELAY, [CAUSE_BACKOFF] = HOLDER_RELAY,     [CAUSE_PROGRESS] = HOLDER_UNKNOWN,
};
