/*
 * The clock of a message's stages (struct journey, relaypool.h): pure functions, called by ingest and relay as a
 * message goes on, by observe to read it. A message is in one stage at a time, so that the stages add up to the whole.
 */
#ifndef BASE_JOURNEY_H
#define BASE_JOURNEY_H

#include "relaypool.h"

/* Nothing seen yet, its clock stands. */
void journey_init(struct journey *journey);
/*
 * From `now` on it is in `stage` (STAGE_COUNT: its clock stands), and what has passed since the last call belongs to
 * the stage before. A stage that was entered counts as seen, with 0 if no time passed.
 */
void journey_enter(struct journey *journey, enum stage stage, usec_t now);
/* Adds time that was measured elsewhere; a negative one was not observed and changes nothing. */
void journey_add(struct journey *journey, enum stage stage, usec_t spent);
/*
 * It was looked at, and this was seen to hold it where it is. Whatever more than half of the looks at a stage see is in
 * `causes` in the end.
 */
void journey_look(struct journey *journey, enum cause cause);
/* What was seen of a stage in `from` counts for `journey` too, if it was looked at more often there. */
void journey_share_looks(struct journey *journey, const struct journey *from, enum stage stage);
/* What was seen, added up. */
usec_t journey_total(const struct journey *journey);

#endif
