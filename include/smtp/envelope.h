/*
 * The life of a struct message (relaypool.h): made, given recipients, counted, settled, freed. Called by ingest, which
 * fills it, and by relay, which settles it.
 */
#ifndef SMTP_ENVELOPE_H
#define SMTP_ENVELOPE_H

#include "relaypool.h"

/* An empty message with one reference; it holds `conf` too. sender and params are NULL until the session sets them. */
struct message *message_create(struct conf *conf);
struct message *message_ref(struct message *message);
/* The last reference frees envelope, verdicts and body. Sets the pointer to NULL. */
void message_unref(struct message **message);

/* Takes over both strings. The array may move: keep no pointers until all are added. */
void message_add_recipient(struct message *message, char *address, char *params, bool notify_success);

/* Gives a recipient its verdict (takes a reference to `reply`) and tells the owner. Asserts that it had none. */
void message_settle(struct recipient *recipient, struct reply *reply);
size_t message_unsettled(const struct message *message); /* computed */

#endif
