/*
 * How long each stage may last before it is a stall: as configured, or learned from what is usual. Asked by stall.c,
 * its watch, ctl and metrics; reports nothing.
 */
#include <config.h>

#include "base/conf.h"
#include "observe/latency.h"
#include "observe/stall.h"

static struct conf *configuration;

#define LEARNED_MOST (60 * USEC_PER_SEC) /* what lasts longer is told, however usual it is */

/*
 * Until a stage's history is known its limit is `unknown`; then it is LATENCY_UNUSUAL times what is usual, never below
 * the floor. At the MTA much is usual that would be long at a relay: clients over slow lines, greylisting. In the pool and
 * in the MTA's queue the wait of one message is made of those before it: what is usual there says nothing.
 */
static const struct {
	usec_t floor, unknown;
	bool fixed;
} limits[STAGE_COUNT + 1] = {
	[STAGE_CLIENT] = {20 * USEC_PER_SEC, 60 * USEC_PER_SEC, false},
	[STAGE_MTA] = {5 * USEC_PER_SEC, 10 * USEC_PER_SEC, false},
	[STAGE_QUEUE] = {30 * USEC_PER_SEC, 30 * USEC_PER_SEC, true},
	[STAGE_INGEST] = {5 * USEC_PER_SEC, 10 * USEC_PER_SEC, false},
	[STAGE_POOL] = {5 * USEC_PER_SEC, 5 * USEC_PER_SEC, true},
	[STAGE_DNS] = {USEC_PER_SEC, 3 * USEC_PER_SEC, false},
	[STAGE_CONNECT] = {USEC_PER_SEC, 3 * USEC_PER_SEC, false},
	[STAGE_BANNER] = {USEC_PER_SEC, 5 * USEC_PER_SEC, false},
	[STAGE_EHLO] = {USEC_PER_SEC, 5 * USEC_PER_SEC, false},
	[STAGE_TLS] = {USEC_PER_SEC, 5 * USEC_PER_SEC, false},
	[STAGE_AUTH] = {USEC_PER_SEC, 5 * USEC_PER_SEC, false},
	[STAGE_MAIL] = {USEC_PER_SEC, 5 * USEC_PER_SEC, false},
	[STAGE_RCPT] = {USEC_PER_SEC, 5 * USEC_PER_SEC, false},
	[STAGE_DATA] = {USEC_PER_SEC, 5 * USEC_PER_SEC, false},
	[STAGE_BODY] = {2 * USEC_PER_SEC, 5 * USEC_PER_SEC, false},
	[STAGE_REPLY] = {USEC_PER_SEC, 5 * USEC_PER_SEC, false},
	[STAGE_COUNT] = {USEC_PER_SEC, USEC_PER_SEC, true},
};

usec_t stall_limit(const char *relay, enum stage stage)
{
	usec_t configured =
		configuration != NULL && stage != STAGE_COUNT ? conf_stall_limit(configuration, relay, stage) : 0;
	if (configured > 0)
		return configured;
	usec_t usual = limits[stage].fixed ? -1 : latency_p99(relay, stage);
	if (usual < 0)
		return limits[stage].unknown;
	if (LATENCY_UNUSUAL * usual > LEARNED_MOST)
		return LEARNED_MOST;
	return LATENCY_UNUSUAL * usual > limits[stage].floor ? LATENCY_UNUSUAL * usual : limits[stage].floor;
}

void stall_configure(struct conf *conf)
{
	struct conf *old = configuration;
	configuration = conf != NULL ? conf_ref(conf) : NULL;
	if (old != NULL)
		conf_unref(&old);
}
