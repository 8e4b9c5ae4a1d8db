/*
 * A message on its way in: end of data found, dots taken out, tags taken out, the rest kept in a spool.
 * Called by the session with whatever pieces arrive. What makes a message impossible to take is remembered and the
 * rest read and thrown away, so that the MTA can be answered in order.
 */
#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/conf.h"
#include "base/log.h"
#include "base/log_limit.h"
#include "base/mem.h"
#include "base/spool.h"
#include "ingest/message.h"
#include "smtp/dot.h"
#include "smtp/header.h"
#include "smtp/reply.h"

struct incoming {
	struct message *message; /* borrowed */
	struct dot_decoder decoder;
	struct header_filter *filter;
	uid_t *requeue_users; /* lent to the filter */
	struct spool *spool;  /* NULL once refused */
	struct reply *refusal;
	uint64_t limit;
	int64_t mail_wall;
};

/* The first reason counts. */
static void refuse(struct incoming *incoming, struct reply *reply)
{
	incoming->refusal = reply;
	spool_free(incoming->spool);
	incoming->spool = NULL;
}

/* Gets what the header filter leaves. */
static void keep(const char *data, size_t length, void *arg)
{
	struct incoming *incoming = arg;

	if (incoming->refusal != NULL)
		return;
	if (incoming->limit > 0 && spool_size(incoming->spool) + length > incoming->limit)
		refuse(incoming, reply_local(LOCAL_INGEST, 552, "5.3.4",
					     "The message is larger than %" PRIu64 " octets", incoming->limit));
	else if (!spool_append(incoming->spool, data, length))
		refuse(incoming, reply_local(LOCAL_INGEST, 452, "4.3.1", "Cannot keep the message in %s: %s",
					     incoming->message->conf->spool_directory, strerror(errno)));
}

/* Gets what the dot decoder leaves. */
static void decoded(const char *data, size_t length, void *arg)
{
	struct incoming *incoming = arg;

	header_filter_feed(incoming->filter, data, length);
}

/* Requeued mail bears the uid of the MTA's own user; "from userid 0" is what root's own submissions say. */
static size_t requeue_users(const struct conf *conf, uid_t *users)
{
	size_t count = 0;

	for (size_t i = 0; i < conf->allow_user_count; i++)
		if (conf->allow_users[i] != 0)
			users[count++] = conf->allow_users[i];
	return count;
}

struct incoming *incoming_create(struct message *message, const struct tag_key *key, uint64_t expected, uint64_t limit,
				 int64_t mail_wall)
{
	struct incoming *incoming = mem_alloc(sizeof(*incoming));

	incoming->message = message;
	incoming->limit = limit;
	incoming->mail_wall = mail_wall;
	incoming->requeue_users = mem_array(message->conf->allow_user_count + 1, sizeof(uid_t));
	incoming->filter = header_filter_create(key, incoming->requeue_users,
						requeue_users(message->conf, incoming->requeue_users), keep, incoming);
	incoming->spool = spool_create(expected);
	dot_decoder_init(&incoming->decoder);
	return incoming;
}

void incoming_free(struct incoming *incoming)
{
	if (incoming == NULL)
		return;
	header_filter_free(incoming->filter);
	free(incoming->requeue_users);
	spool_free(incoming->spool);
	reply_unref(&incoming->refusal);
	free(incoming);
}

size_t incoming_feed(struct incoming *incoming, const char *data, size_t length)
{
	size_t used = dot_decode(&incoming->decoder, data, length, decoded, incoming);

	if (incoming->decoder.nul && incoming->refusal == NULL)
		refuse(incoming, reply_local(LOCAL_INGEST, 550, "5.6.0", "The message holds a NUL octet"));
	if (incoming_ended(incoming))
		header_filter_end(incoming->filter);
	return used;
}

bool incoming_ended(const struct incoming *incoming)
{
	return incoming->decoder.state == DOT_END;
}

/* A bit for each route that is named. A route the configuration no longer has is nobody's. */
static uint64_t routes_named(const struct conf *conf, const char *names)
{
	uint64_t routes = 0;

	while (*names != '\0') {
		size_t length = strcspn(names, ",");
		for (size_t i = 0; i < conf->route_count; i++)
			if (strlen(conf->routes[i].name) == length && memcmp(conf->routes[i].name, names, length) == 0)
				routes |= UINT64_C(1) << i;
		names += length + (names[length] == ',');
	}
	return routes;
}

static void set_queue_id(struct message *message, const char *id)
{
	size_t length = strnlen(id, sizeof(message->queue_id) - 1);

	memcpy(message->queue_id, id, length);
	message->queue_id[length] = '\0';
}

/*
 * What the header says about where the message comes from. XFORWARD's IDENT, which the message has already, can be the
 * id before a content filter or an alias; the topmost Received is the MTA's own and never is.
 */
static void identify(struct incoming *incoming)
{
	struct message *message = incoming->message;
	struct tag tag;

	if (header_filter_tag(incoming->filter, &tag)) {
		set_queue_id(message, tag.queue_id);
		message->routes = routes_named(message->conf, tag.routes);
		if (tag.time <= incoming->mail_wall) /* else the clock was set back: not observed */
			message->queue_time = incoming->mail_wall - tag.time;
	} else if (*header_filter_received_id(incoming->filter) != '\0') {
		set_queue_id(message, header_filter_received_id(incoming->filter));
	}
}

static void log_strays(const struct message *message, unsigned long strays)
{
	static struct log_limit limit = LOG_LIMIT("strays");
	unsigned long unlogged;

	if (log_limit_passes(&limit, &unlogged))
		log_warning("%s: strays=%lu, unlogged=%lu (CR or LF alone in the message; each became a space)",
			    *message->queue_id != '\0' ? message->queue_id : "-", strays, unlogged);
}

struct reply *incoming_finish(struct incoming *incoming)
{
	struct message *message = incoming->message;
	struct reply *refusal = incoming->refusal;

	identify(incoming);
	message->has_8bit = incoming->decoder.has_8bit;
	message->header_8bit = header_filter_8bit(incoming->filter);
	if (incoming->decoder.strays > 0)
		log_strays(message, incoming->decoder.strays);
	message->body = incoming->spool;
	incoming->spool = NULL;
	incoming->refusal = NULL;
	return refusal;
}
