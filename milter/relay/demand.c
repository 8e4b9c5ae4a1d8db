/*
 * Whether to open one more connection (relay/demand.h). As with hired skis that one might buy: to open it when the
 * waiting has cost as much as a set-up is at most twice as dear as to have known before how long the mail goes on.
 */
#include "relay/demand.h"

#define SET_UP_MOST (2 * USEC_PER_SEC) /* one that took longer is no measure of the next */

void demand_note_set_up(struct demand *demand, usec_t took)
{
	if (took < 1)
		took = 1;
	if (took > SET_UP_MOST)
		took = SET_UP_MOST;
	demand->set_up = demand->set_up == 0 ? took : (3 * demand->set_up + took) / 4;
}

static usec_t spent_now(const struct demand *demand)
{
	return demand->spent + (clock_now() - demand->at) * (usec_t)demand->waiting;
}

void demand_note_waiting(struct demand *demand, size_t waiting)
{
	demand->spent = waiting == 0 ? 0 : spent_now(demand);
	demand->waiting = waiting;
	demand->at = clock_now();
}

void demand_note_opened(struct demand *demand)
{
	demand->spent = 0;
	demand->at = clock_now();
}

usec_t demand_due(const struct demand *demand)
{
	if (demand->waiting == 0)
		return -1;
	usec_t left = demand->set_up - spent_now(demand);
	return left <= 0 ? 0 : left / (usec_t)demand->waiting + 1;
}
