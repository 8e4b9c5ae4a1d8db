/*
 * The life of a message: made, counted, settled, freed. Called by ingest, which fills it, and by relay, which settles
 * it. Never decides a verdict.
 */
#include <config.h>

#include "smtp/envelope.h"

#include <assert.h>
#include <stdlib.h>

#include "base/conf.h"
#include "base/mem.h"
#include "base/spool.h"
#include "smtp/reply.h"

struct message *message_create(struct conf *conf)
{
	struct message *message = mem_alloc(sizeof(*message));

	message->refs = 1;
	message->queue_time = -1;
	message->conf = conf != NULL ? conf_ref(conf) : NULL;
	return message;
}

struct message *message_ref(struct message *message)
{
	assert(message->refs > 0);
	message->refs++;
	return message;
}

void message_unref(struct message **message)
{
	struct message *gone = *message;

	*message = NULL;
	assert(gone->refs > 0);
	if (--gone->refs > 0)
		return;
	for (size_t i = 0; i < gone->recipient_count; i++) {
		free(gone->recipients[i].address);
		free(gone->recipients[i].params);
		reply_unref(&gone->recipients[i].verdict);
	}
	free(gone->recipients);
	free(gone->sender);
	free(gone->params);
	spool_free(gone->body);
	if (gone->conf != NULL)
		conf_unref(&gone->conf);
	free(gone);
}

void message_add_recipient(struct message *message, char *address, char *params, bool notify_success)
{
	size_t count = message->recipient_count;

	/* The room is the next power of two: it doubles whenever the count is one. */
	if ((count & (count - 1)) == 0)
		message->recipients =
			mem_realloc(message->recipients, (count == 0 ? 1 : 2 * count) * sizeof(*message->recipients));
	message->recipients[count] = (struct recipient){
		.address = address,
		.params = params,
		.notify_success = notify_success,
		.message = message,
		.route = -1,
	};
	message->recipient_count++;
}

void message_settle(struct recipient *recipient, struct reply *reply)
{
	struct message *message = recipient->message;

	assert(recipient->verdict == NULL);
	recipient->verdict = reply_ref(reply);
	if (message->owner != NULL && !message->abandoned)
		message->settled(message, recipient);
}

size_t message_unsettled(const struct message *message)
{
	size_t count = 0;

	for (size_t i = 0; i < message->recipient_count; i++)
		if (message->recipients[i].verdict == NULL)
			count++;
	return count;
}
