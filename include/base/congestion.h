/*
 * Which congestion control a connection to a relay uses. Called by net_connect() and by the relay room; Linux decides
 * what is allowed, and where it allows nothing else everything stays as it is.
 *
 * bbr and its successors pace what is sent by their estimate of the path's rate. A connection that sends a message and
 * then waits for its reply never fills the path, the estimate stays at the initial window per round trip, and even four
 * segments are spread over milliseconds. Without loss that wins nothing: a message that leaves at once is no more than
 * any new connection sends at once. With loss bbr is far better, since the others take each loss for a full path.
 */
#ifndef BASE_CONGESTION_H
#define BASE_CONGESTION_H

#include "relaypool.h"

/*
 * For a socket that is not connected: another algorithm instead of one that paces. Not later: once it has begun to
 * pace, the kernel goes on with it whatever the algorithm.
 */
void congestion_choose(int fd);
/*
 * For a connected one, now and then: back to the system's own algorithm as soon as the path is seen to lose packets.
 * True if that was seen: no need to ask again.
 */
bool congestion_heed_loss(int fd);

#endif
