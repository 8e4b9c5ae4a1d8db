/*
 * The router: from a complete message to its transactions, and the only door into the relay room. For each recipient
 * the first route that matches, for each route its relays in order of preference; what one relay cannot take goes to
 * the next. Called by ingest, admin and main; owns the pools. Loop thread only.
 */
#ifndef RELAY_ROUTE_H
#define RELAY_ROUTE_H

#include "relay/limits.h"
#include "relaypool.h"
#include "smtp/ehlo.h"

struct router;

/*
 * `unclean`: the last run did not end properly, so slots wait 5 s. What is known of relays is read from and kept in the
 * snapshot's spool-directory.
 */
struct router *router_create(struct conf *conf, bool unclean);
/* Ends every connection at once and settles what is left with 451. */
void router_free(struct router *router);
/* A new snapshot. Pools keep their connections where nothing that matters to them changed; others retire. */
void router_reload(struct router *router, struct conf *conf);

/*
 * Takes a complete message (holds a reference until every recipient is settled). message->settled is called for each
 * recipient, once, never from inside this call.
 */
void router_take(struct router *router, struct message *message);
/*
 * The MTA's session ended: what has no end of data written yet is withdrawn; the rest runs to its end and is only
 * logged. settled() is not called any more. Harmless if all is settled.
 */
void router_abandon(struct router *router, struct message *message);
/*
 * Mail of this envelope has begun to arrive at the MTA: the relay that it would take without a tag, if it has no
 * connection, opens one, so that the message finds it authenticated. `sender` NULL: not known, and nothing is done
 * where a route asks for it. A relay that is held, down or backing off is left alone.
 */
void router_warm(struct router *router, const char *sender, const char *recipient);

/* What LHLO may offer now (DESIGN: mirrored from the relays of the running configuration). */
void router_offer(const struct router *router, struct capabilities *out);

/* ---- for main: the end ---- */

/* No transaction starts any more; those that wait get 451 4.3.2. done() once nothing runs and all sockets are gone. */
void router_shutdown(struct router *router, void (*done)(void *arg), void *arg);
/* The time is up: what runs is settled (451, ambiguous where the end of data was written), sockets are closed. */
void router_abort(struct router *router);

/* ---- for ctl: name NULL means all relays; false if there is no such relay ---- */

bool router_pause(struct router *router, const char *relay) MUST_CHECK; /* nothing new starts; it waits */
bool router_resume(struct router *router, const char *relay) MUST_CHECK;
bool router_drain(struct router *router, const char *relay) MUST_CHECK; /* pause, and close each connection when free */
bool router_reconnect(struct router *router, const char *relay) MUST_CHECK; /* replace each connection when free */

/* What was learned of it: the way to talk, and its limits. */
bool router_forget(struct router *router, const char *relay) MUST_CHECK;

/* The route of the running configuration that mail without a tag takes: its index, or -1. */
int router_route(const struct router *router, const char *sender, const char *recipient);
/* As probe_begin() in relay/probe.h, which has the types; probe_cancel() ends it. `error`: PROBE_ERROR_SIZE octets. */
struct probe;
struct probe_request;
struct probe_result;
struct probe *router_probe(struct router *router, const struct probe_request *request,
			   void (*done)(const struct probe_result *result, void *arg), void *arg,
			   char *error) MUST_CHECK;

/* One limit of a relay, as limits.h counts it; 0 where there is none. */
struct limit_view {
	int64_t in_force, configured;
	int64_t learned; /* clock_wall() when it was met last; 0: never */
	const char *why; /* what the relay said then */
};

struct pool_view {
	const char *relay;
	const char *account;
	const char *state;       /* "up", "unknown", "down", "paused", "draining", "retiring" */
	const char *mode;        /* "lockstep", "classic", "overlap" or "deep" */
	const char *mode_reason; /* why it is simpler than was configured; NULL */
	usec_t mode_for;         /* until the richer one is tried again; -1 */
	const char *reason;      /* why it is down; NULL */
	usec_t retry_in;         /* until the next attempt; -1 if none is pending */
	unsigned max_connections, opening, idle, busy, closing, lingering; /* now; their sum never exceeds the cap */
	unsigned account_sockets, account_max;
	unsigned waiting;                                                     /* transactions */
	usec_t oldest_wait;                                                   /* 0 if none waits */
	unsigned long transactions, reused, replayed, opened, closed, failed; /* since the start */
	const struct capabilities *announced;                                 /* NULL if not known */
	struct limit_view limits[LIMIT_KINDS];
};
typedef void pool_view_fn(const struct pool_view *view, void *arg);
void router_each_pool(const struct router *router, pool_view_fn *fn, void *arg);

struct connection_view {
	const char *relay;
	unsigned id;
	const char *host; /* "name[address]:port" */
	const char *state;
	const char *waits_for; /* a stage's name, or "-" */
	usec_t age;            /* since connect() */
	usec_t since;          /* in this state, or waiting for this reply */
	unsigned uses;         /* transactions begun */
	unsigned in_flight;    /* transactions now */
	const char *tls;       /* "TLSv1.3 …" or "-" */
	usec_t round_trip;     /* -1 not known */
};
typedef void connection_view_fn(const struct connection_view *view, void *arg);
void router_each_connection(const struct router *router, connection_view_fn *fn, void *arg);

/* One message on its way, with those of its recipients that go together. */
struct transaction_view {
	const char *queue_id; /* "" if not known */
	const char *relay;    /* "-" before one was chosen */
	const char *host;     /* "name[address]:port"; "-" while it waits */
	unsigned connection;  /* 0 while it waits */
	unsigned use;
	unsigned recipients;
	struct journey journey; /* from ingest to now; its clock stands, `stage` is where it is */
	enum cause cause;       /* what it waits for now */
	const char *trouble;    /* what went wrong last; NULL */
};
void router_each_transaction(const struct router *router, void (*fn)(const struct transaction_view *view, void *arg),
			     void *arg);
/* What is waited for now: one for each connection that waits for the relay, one for each pool in which mail waits. */
void router_each_wait(const struct router *router, wait_fn *fn, void *arg);

#endif
