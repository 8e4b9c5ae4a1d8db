/*
 * How long each stage may last before it is a stall: as configured, or learned from what is usual. Asked by stall.c, its
 * watch, ctl and metrics; reports nothing.
 */
#include <config.h>

#include "base/conf.h"
#include "observe/latency.h"
#include "observe/stall.h"

static struct conf *configuration;

/*
 * Until a stage's history is known its limit is `unknown`; then it is LATENCY_UNUSUAL times what is usual, never below
 * the floor. At the MTA much is usual that would be long at a relay: clients over slow lines, greylisting, backlogs.
 */
static const struct {
	usec_t floor, unknown;
	unsigned least; /* times from which what is usual is known */
} learned[STAGE_COUNT + 1] = {
	[STAGE_CLIENT] = {20 * USEC_PER_SEC, 60 * USEC_PER_SEC, 20},
	[STAGE_MTA] = {5 * USEC_PER_SEC, 10 * USEC_PER_SEC, 20},
	[STAGE_QUEUE] = {20 * USEC_PER_SEC, 30 * USEC_PER_SEC, 20},
	[STAGE_INGEST] = {5 * USEC_PER_SEC, 10 * USEC_PER_SEC, 20},
	[STAGE_POOL] = {5 * USEC_PER_SEC, 5 * USEC_PER_SEC, 20},
	[STAGE_DNS] = {USEC_PER_SEC, 3 * USEC_PER_SEC, 5},
	[STAGE_CONNECT] = {USEC_PER_SEC, 3 * USEC_PER_SEC, 5},
	[STAGE_BANNER] = {USEC_PER_SEC, 5 * USEC_PER_SEC, 5},
	[STAGE_EHLO] = {USEC_PER_SEC, 5 * USEC_PER_SEC, 5},
	[STAGE_TLS] = {USEC_PER_SEC, 5 * USEC_PER_SEC, 5},
	[STAGE_AUTH] = {USEC_PER_SEC, 5 * USEC_PER_SEC, 5},
	[STAGE_MAIL] = {USEC_PER_SEC, 5 * USEC_PER_SEC, 20},
	[STAGE_RCPT] = {USEC_PER_SEC, 5 * USEC_PER_SEC, 20},
	[STAGE_DATA] = {USEC_PER_SEC, 5 * USEC_PER_SEC, 20},
	[STAGE_BODY] = {2 * USEC_PER_SEC, 5 * USEC_PER_SEC, 20},
	[STAGE_REPLY] = {USEC_PER_SEC, 5 * USEC_PER_SEC, 20},
	[STAGE_COUNT] = {USEC_PER_SEC, USEC_PER_SEC, 1},
};

usec_t stall_limit(const char *relay, enum stage stage)
{
	if (stage == STAGE_COUNT)
		return learned[stage].unknown;
	usec_t configured = configuration != NULL ? conf_stall_limit(configuration, relay, stage) : 0;
	if (configured > 0)
		return configured;
	usec_t usual = latency_p99(relay, stage, learned[stage].least);
	if (usual < 0)
		return learned[stage].unknown;
	return LATENCY_UNUSUAL * usual > learned[stage].floor ? LATENCY_UNUSUAL * usual : learned[stage].floor;
}

void stall_configure(struct conf *conf)
{
	struct conf *old = configuration;
	configuration = conf != NULL ? conf_ref(conf) : NULL;
	if (old != NULL)
		conf_unref(&old);
}
