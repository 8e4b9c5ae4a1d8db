/*
 * Chance, as libevent gets it from the system: not every C library has arc4random(3). Called by relay for what is
 * spread. Never waits and never fails.
 */
#include <config.h>

#include "base/chance.h"

#include <event2/util.h>

uint32_t chance(void)
{
	uint32_t number;
	evutil_secure_rng_get_bytes(&number, sizeof number);
	return number;
}

uint32_t chance_below(uint32_t limit)
{
	return chance() % limit;
}
