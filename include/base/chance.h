/*
 * Chance: for what is spread, so that not all of it happens at once, and for names that nobody else gives. Called by
 * relay. Never for secrets.
 */
#ifndef BASE_CHANCE_H
#define BASE_CHANCE_H

#include <stdint.h>

uint32_t chance(void);
/* Below `limit`, which is at least 1 and so small that nothing is much likelier than anything else. */
uint32_t chance_below(uint32_t limit);

#endif
