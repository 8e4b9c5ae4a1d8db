/*
 * Connections of each relay, counted by the events that tell of them (observe/quiet.h). On the loop thread but for the
 * one flag that the milter's threads read.
 */
#include "quiet.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/conf.h"
#include "base/mem.h"
#include "base/publish.h"

/* Relays that had a connection once; those that are configured no more do no harm. */
struct counted {
	struct list node;
	char *relay;
	unsigned connections; /* set up, and not closed yet */
};

static struct list relays = {&relays, &relays};
static struct conf *conf; /* held; NULL: none is known */
static atomic_bool some = true;

static struct counted *find(const char *relay)
{
	LIST_EACH (node, next, &relays) {
		struct counted *counted = LIST_ENTRY_OF(node, struct counted, node);
		if (strcmp(counted->relay, relay) == 0)
			return counted;
	}
	return NULL;
}

static void look(void)
{
	bool quiet = conf == NULL;
	for (size_t i = 0; conf != NULL && i < conf->route_count; i++) {
		if (route_conf_needs_tag(&conf->routes[i]))
			continue; /* nothing is warmed by it, see router_warm() */
		const struct counted *counted = find(conf->routes[i].relays[0]->name);
		quiet |= counted == NULL || counted->connections == 0;
	}
	atomic_store(&some, quiet);
}

static void on_event(const struct event *event)
{
	if (event->kind != EVENT_CONNECTION_OPENED && event->kind != EVENT_CONNECTION_CLOSED)
		return;
	struct counted *counted = find(event->relay);
	if (counted == NULL) {
		counted = mem_alloc(sizeof(*counted));
		counted->relay = mem_strdup(event->relay);
		list_append(&relays, &counted->node);
	}
	if (event->kind == EVENT_CONNECTION_OPENED)
		counted->connections++;
	else if (counted->connections > 0)
		counted->connections--;
	look();
}

void quiet_set_relays(struct conf *now)
{
	struct conf *before = conf;
	conf = now != NULL ? conf_ref(now) : NULL;
	if (before != NULL)
		conf_unref(&before);
	look();
}

bool quiet_some(void)
{
	return atomic_load(&some);
}

void quiet_start(void)
{
	publish_subscribe(on_event);
}

void quiet_stop(void)
{
	LIST_EACH (node, next, &relays) {
		struct counted *counted = LIST_ENTRY_OF(node, struct counted, node);
		list_remove(&counted->node);
		free(counted->relay);
		free(counted);
	}
	quiet_set_relays(NULL);
}
