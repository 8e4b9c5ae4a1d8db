/*
 * The rooms that admin looks into, played by the tests: their doors are linked from here instead of the library, so
 * that any state can be shown without a relay or an MTA. Also a control socket around them.
 */
#ifndef TESTS_UNIT_ADMIN_ROOMS_H
#define TESTS_UNIT_ADMIN_ROOMS_H

#include <jansson.h>
#include <sys/types.h>

#include "admin/control.h"
#include "ingest/listener.h"
#include "observe/journeys.h"
#include "observe/latency.h"
#include "observe/milter.h"
#include "observe/stall.h"
#include "observe/stats.h"
#include "relay/route.h"

struct rooms {
	struct pool_view pools[4];
	size_t pool_count, pool_repeat; /* each is shown `pool_repeat` times more */
	struct connection_view connections[4];
	size_t connection_count;
	struct session_view sessions[4];
	size_t session_count;
	struct stats_view stats;
	struct transaction_view transactions[4];
	size_t transaction_count;
	struct wait arriving; /* at the MTA's door; `queue_id` NULL: nothing */
	struct wait handed;   /* over LMTP; the same */
	struct journey_view journeys[4];
	size_t journey_count;
	const char *copy; /* an id that Sendmail gave to a copy of 4fXyZ1 */
	struct stall_view stalls[8];
	size_t stall_count, stall_repeat;
	struct latency_view latencies[4];
	size_t latency_count, latency_repeat;
	struct latency_quantiles quantiles[4]; /* of `latencies` */
	unsigned views_shown, quantiles_asked; /* how often */
	usec_t stall_limit;                    /* of every stage */
	struct wait waits[4];                  /* at the relays */
	size_t wait_count;
	unsigned long stalls_begun[STAGE_COUNT + 1][HOLDER_COUNT];
	struct journey_counts journeys_counted;
	struct milter_counts milter;
	char called[64];          /* the last changing call: "pause socketlabs" */
	struct probe *probe;      /* under way, the last that was begun; NULL */
	unsigned probes;          /* under way */
	char probed[1024];        /* "SENDER RECIPIENT" of the last one, and " send" */
	unsigned cancelled;       /* probes */
	const char *nobody;       /* why no relay can be asked; NULL: one can */
	int route;                /* the one that is taken, or -1 */
	const char *reload_error; /* NULL: reload works */
	const char *reload_note;
	uid_t peer; /* who the next client is */
	bool milter_lost;
	char directory[32]; /* a temporary one, with relaypool.conf and control.sock in it */
	char socket_path[64], conf_path[64];
	struct conf *conf;
	struct control_doors doors;
	struct control *control;
};
extern struct rooms rooms;

/* Before and after each test: the loop, the fake clock, one relay "socketlabs", a control socket. */
void rooms_open(void);
void rooms_close(void);

/* The probe that was begun last ends so. */
struct probe_result;
void rooms_end_probe(const struct probe_result *result);
/* A result as good as they get. Borrowed, until the next call. */
struct probe_result *rooms_good_result(void);

/* A client of the control socket, accepted; the caller's to close. */
int rooms_connect(void);

/* Writes relaypool.conf anew. */
void rooms_write_conf(const char *text);

#endif
