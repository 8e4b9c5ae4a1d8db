/*
 * The clock of a message's stages. Called by ingest and relay; pure functions.
 */
#include <config.h>

#include "base/journey.h"

void journey_init(struct journey *journey)
{
	for (size_t i = 0; i < STAGE_COUNT; i++) {
		journey->spent[i] = -1;
		journey->causes[i] = CAUSE_COUNT;
		journey->looks[i] = 0;
	}
	journey->stage = STAGE_COUNT;
	journey->since = 0;
}

void journey_add(struct journey *journey, enum stage stage, usec_t spent)
{
	if (spent < 0)
		return;
	if (journey->spent[stage] < 0)
		journey->spent[stage] = 0;
	journey->spent[stage] += spent;
}

void journey_enter(struct journey *journey, enum stage stage, usec_t now)
{
	if (journey->stage != STAGE_COUNT)
		journey_add(journey, journey->stage, now - journey->since);
	journey->stage = stage;
	journey->since = now;
	if (stage != STAGE_COUNT)
		journey_add(journey, stage, 0);
}

/* The vote of Boyer and Moore: who loses a look to each that saw something else and has some left, has the most. */
void journey_look(struct journey *journey, enum cause cause)
{
	enum stage stage = journey->stage;
	if (stage == STAGE_COUNT)
		return;
	if (journey->looks[stage] > 0 && journey->causes[stage] != cause) {
		journey->looks[stage]--;
		return;
	}
	journey->causes[stage] = (unsigned char)cause;
	if (journey->looks[stage] < UINT16_MAX)
		journey->looks[stage]++;
}

void journey_share_looks(struct journey *journey, const struct journey *from, enum stage stage)
{
	if (from->causes[stage] == CAUSE_COUNT ||
	    (journey->causes[stage] != CAUSE_COUNT && journey->looks[stage] >= from->looks[stage]))
		return;
	journey->causes[stage] = from->causes[stage];
	journey->looks[stage] = from->looks[stage];
}

usec_t journey_total(const struct journey *journey)
{
	usec_t total = 0;
	for (size_t i = 0; i < STAGE_COUNT; i++)
		total += journey->spent[i] > 0 ? journey->spent[i] : 0;
	return total;
}
