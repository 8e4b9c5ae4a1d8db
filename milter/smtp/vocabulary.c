/*
 * The words for the enums of relaypool.h, as they stand in log, metrics, ctl and manual. Used everywhere.
 */
#include <config.h>

#include "relaypool.h"

const char *const stage_names[STAGE_COUNT] = {
	[STAGE_CLIENT] = "client", [STAGE_MTA] = "mta",   [STAGE_QUEUE] = "queue",     [STAGE_INGEST] = "ingest",
	[STAGE_POOL] = "pool",     [STAGE_DNS] = "dns",   [STAGE_CONNECT] = "connect", [STAGE_BANNER] = "banner",
	[STAGE_EHLO] = "ehlo",     [STAGE_TLS] = "tls",   [STAGE_AUTH] = "auth",       [STAGE_MAIL] = "mail",
	[STAGE_RCPT] = "rcpt",     [STAGE_DATA] = "data", [STAGE_BODY] = "body",       [STAGE_REPLY] = "reply",
};

const char *const status_names[STATUS_COUNT] = {
	[STATUS_SENT] = "sent",
	[STATUS_DEFERRED] = "deferred",
	[STATUS_BOUNCED] = "bounced",
};
