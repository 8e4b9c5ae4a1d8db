/*
 * The depth of a connection (relay/depth.h). While the depth is what limits the pace, a message takes as long as ever and
 * the spacing is its share of that, which asks for more; once the relay is the limit, the spacing no longer shrinks.
 */
#include "relay/depth.h"

void depth_init(struct depth *depth, unsigned first, unsigned most)
{
	*depth = (struct depth){.most = most};
	depth->now = first < 1 ? 1 : first > most ? most : first;
}

/*
 * As many as are on the way at the relay's pace, one served, one behind; and as much again, since verdicts take twice as
 * long as the shortest one with relays whose second small write waits for our acknowledgement, and the pace is never even.
 */
static unsigned needed(const struct depth *depth)
{
	if (depth->spacing == 0 || depth->shortest / depth->spacing >= depth->most)
		return depth->most;
	unsigned count = (unsigned)(depth->shortest * 2 / depth->spacing) + 2;
	return count < depth->most ? count : depth->most;
}

void depth_clean(struct depth *depth, bool more, usec_t took)
{
	usec_t now = clock_now(), sample = now - depth->last;
	if (depth->busy) {
		usec_t memory = 2 * (usec_t)depth->now; /* verdicts come in bursts, one a round trip: two of them */
		depth->spacing = depth->spacing == 0 ? sample : (depth->spacing * (memory - 1) + sample) / memory;
	}
	if (depth->shortest == 0 || took < depth->shortest)
		depth->shortest = took;
	depth->last = now;
	depth->busy = more;
	unsigned target = needed(depth);
	if (depth->now < target)
		depth->now++;
	else if (depth->now > target)
		depth->now--;
}

void depth_irregular(struct depth *depth)
{
	depth->now = 1;
	depth->spacing = 0;
	depth->busy = false;
}
