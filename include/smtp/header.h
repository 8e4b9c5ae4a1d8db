/*
 * A filter for the header block of a message on its way in: takes every tag out, and finds the one that counts.
 * Called by ingest/message for each decoded piece; bounded memory whatever arrives; the rest passes byte for byte.
 */
#ifndef SMTP_HEADER_H
#define SMTP_HEADER_H

#include <sys/types.h>

#include "smtp/tag.h"

struct header_filter;
typedef void header_sink_fn(const char *data, size_t length, void *arg);

/*
 * `sink` gets what is kept. `key` is lent until the filter is freed. `requeue_users`: uids that postsuper -r's Received
 * may name ("from userid N").
 */
struct header_filter *header_filter_create(const struct tag_key *key, const uid_t *requeue_users, size_t user_count,
					   header_sink_fn *sink, void *arg);
void header_filter_free(struct header_filter *filter);
/* Feed any pieces; header_filter_end() when the message is complete (it may have had no body). */
void header_filter_feed(struct header_filter *filter, const char *data, size_t length);
void header_filter_end(struct header_filter *filter);

/*
 * After the header block: the tag that counts. It stands above the topmost Received and is the only one there, or
 * directly below a topmost "Received … from userid N" with N a requeue user and no other tag above; its MAC is right
 * and its queue id is that of the Received below it. False if there is none.
 */
bool header_filter_tag(const struct header_filter *filter, struct tag *tag);
/* The id of the topmost Received ("" if there is none): the MTA's present queue id. */
const char *header_filter_received_id(const struct header_filter *filter);
unsigned header_filter_stripped(const struct header_filter *filter); /* tags taken out */
bool header_filter_8bit(const struct header_filter *filter);         /* an octet above 127 in the header */

#endif
