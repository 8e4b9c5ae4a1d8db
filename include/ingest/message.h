/*
 * A message on its way in: what comes between 354 and the end of data is decoded, rid of tags and kept, and what it
 * says about queue id, routes and 8-bit octets is put into the struct message. Called by the session; never speaks to
 * the MTA.
 */
#ifndef INGEST_MESSAGE_H
#define INGEST_MESSAGE_H

#include "relaypool.h"
#include "smtp/tag.h"

struct incoming;

/*
 * For a message whose envelope is complete; message and key are borrowed. `expected`: SIZE= of MAIL, 0 if it had none;
 * `limit`: octets the kept message may have, 0 for no limit; `mail_wall`: clock_wall() at MAIL.
 */
struct incoming *incoming_create(struct message *message, const struct tag_key *key, uint64_t expected, uint64_t limit,
				 int64_t mail_wall);
void incoming_free(struct incoming *incoming); /* NULL is allowed */

/* Takes octets as the MTA sends them. How many were used: all, unless the end of data came. */
size_t incoming_feed(struct incoming *incoming, const char *data, size_t length);
bool incoming_ended(const struct incoming *incoming); /* the end of data was seen */

/*
 * After the end of data, once: gives the message its body, routes, queue id (of the tag, else of the topmost Received,
 * else what it had), queue_time and 8-bit marks. NULL, or the reply every recipient gets because the message cannot
 * be taken (the caller's); it has no body then.
 */
struct reply *incoming_finish(struct incoming *incoming) MUST_CHECK;

#endif
