/*
 * One envelope at the relay that mail of that kind would take, on a connection of its own, command by command: what
 * each step of it took and what was said. Ends with RSET, or sends a message that says that it is a test. Begun through
 * the router for relaypoolctl test-route; within the caps as any transaction.
 */
#ifndef RELAY_PROBE_H
#define RELAY_PROBE_H

#include "base/conf.h"
#include "relay/connection.h"
#include "relay/delivery.h"
#include "relaypool.h"
#include "smtp/ehlo.h"

#define PROBE_LIMIT (60 * USEC_PER_SEC) /* to its end, the wait for a connection included */
#define PROBE_QUEUE_ID "test-route"     /* of the message that it sends, in log and `why` */
#define PROBE_ERROR_SIZE 1024

struct probe;

struct probe_request {
	const char *sender, *recipient; /* as command_parse_mail() and command_parse_rcpt() give them */
	bool send;                      /* a message, instead of RSET */
};

enum probe_end {
	PROBE_ACCEPTED = 0, /* the recipient; or, if one was to be sent, the message */
	PROBE_REFUSED,      /* by a reply of the relay in the transaction */
	PROBE_FAILED,       /* it did not come to that */
	PROBE_GIVEN_UP,     /* nobody waits for it any more */
	PROBE_ENDS
};
extern const char *const probe_end_names[PROBE_ENDS];

/* All of it is borrowed for the call. */
struct probe_result {
	enum probe_end end;
	const char *why;  /* one sentence, or what the relay said; never NULL */
	enum stage stage; /* in which it ended; STAGE_COUNT: it was accepted */
	enum cause cause; /* if that is `pool`: what it waited for; else CAUSE_COUNT */
	bool ambiguous;   /* the relay may have the message */

	const struct relay_conf *relay;
	const char *host;                               /* "name[address]:port"; "-" */
	unsigned connection;                            /* 0: none was opened */
	const struct connection_trace *trace;           /* NULL: none was opened */
	const struct capabilities *announced;           /* NULL: nothing */
	const struct journey *journey;                  /* `reply` is that to RSET, or to the message */
	const struct reply *mail, *rcpt, *data, *reply; /* what the relay said; NULL if nothing. RSET's is not kept */
};
typedef void probe_done_fn(const struct probe_result *result, void *arg);

/*
 * done() is called once, from the loop, within PROBE_LIMIT; never from inside this call. NULL with one sentence in
 * `error` if there is no relay that could be asked. A relay that is down is asked if none of the route is better; one
 * that is paused or drained never.
 */
struct probe *probe_begin(struct delivery_router *router, struct conf *conf, const struct probe_request *request,
			  probe_done_fn *done, void *arg, char error[PROBE_ERROR_SIZE]) MUST_CHECK;
/* done() is not called any more. What has not begun is given up; a message on its way comes to its end. */
void probe_cancel(struct probe *probe);
/* A transaction of a probe came back. */
void probe_back(struct transaction *t, enum transaction_end end);
/* The daemon ends: all are brought to their end soon, but for a message on its way, unless `now`. */
void probe_stop_all(struct delivery_router *router, bool now);

#endif
