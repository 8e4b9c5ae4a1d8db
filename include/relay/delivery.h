/*
 * What becomes of one message: its transactions, their repetitions, the verdicts of its recipients, its deadline.
 * Owned by the router; never touches a connection.
 */
#ifndef RELAY_DELIVERY_H
#define RELAY_DELIVERY_H

#include "relay/pool.h"
#include "relay/transaction.h"
#include "relaypool.h"

/* What deliveries need of the router; implemented there. */
struct delivery_router {
	/* The pool of that relay that takes new transactions; NULL if it is not configured any more. */
	struct pool *(*pool)(struct delivery_router *router, const char *relay);
	/* The last delivery has ended. */
	void (*quiet)(struct delivery_router *router);
	struct list pools; /* of struct pool, retired ones included */
	struct list deliveries;
	struct list probes; /* of struct probe (relay/probe.h) */
	bool stopping;      /* nothing is begun any more */
	unsigned peak;      /* deliveries at once, lately: how many sessions the MTA uses */
};

/*
 * The first route that matches a sender and a recipient; bit i of `tagged`: route i's client, user and header
 * conditions hold. -1: none does.
 */
int delivery_route(const struct conf *conf, uint64_t tagged, const char *sender, const char *recipient);
/*
 * The first relay of the route, from `*index` on, that can be used now; else the first that is only held, where mail
 * waits; else NULL, with the reason in `*why` (the caller's), if there is one to tell.
 */
struct pool *delivery_choose(struct delivery_router *router, const struct route_conf *route, size_t *index,
			     struct reply **why);
/* Tells what happened to `count` recipients at once (EVENT_OUTCOME); `t` NULL: no relay was chosen. */
void delivery_publish(const struct message *m, const struct transaction *t, struct reply *reply, unsigned count,
		      bool repeated);
/* Takes a message over as router_take() says. */
void delivery_begin(struct delivery_router *router, struct message *message);
/* As router_abandon() says. */
void delivery_abandon(struct delivery_router *router, struct message *message);
/* A transaction came back from its pool. */
void delivery_back(struct transaction *t, enum transaction_end end);
/* The pool takes nothing any more (it is held for good): what waits in it goes to the one that took its place. */
void delivery_resubmit(struct pool *pool);
/*
 * Now and then: no relay holds more than its share of the sessions while another has mail. What waits beyond the
 * share at a relay that has stalled goes back to the MTA.
 */
void delivery_share(struct delivery_router *router, struct pool *pool);
/* The router is stopping: what was taken and not begun has its verdicts now. */
void delivery_refuse_new(struct delivery_router *router);
/* The time is up: every delivery is brought to its end. */
void delivery_abort_all(struct delivery_router *router);

/* Every transaction there is, as router_each_transaction() tells it. */
void delivery_each_transaction(const struct delivery_router *router,
			       void (*fn)(const struct transaction_view *view, void *arg), void *arg);

#endif
