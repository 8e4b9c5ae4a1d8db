/*
 * The control socket: one line of JSON in, one line of JSON out, {"verb":"pools","args":["socketlabs"]}. For
 * relaypoolctl and whoever else the socket's mode lets in. It never waits for a client: input, output, the number of
 * clients and their time are bounded. An answer may come later; others are served meanwhile. Loop thread only; called
 * by main.
 */
#ifndef ADMIN_CONTROL_H
#define ADMIN_CONTROL_H

#include <sys/types.h>

#include "base/conf.h"
#include "relaypool.h"

#define CONTROL_SCHEMA 1                     /* "schema" of every answer; keys are only added while it stays the same */
#define CONTROL_LINE_MAX 8192                /* octets of a request */
#define CONTROL_ARGUMENT_MAX 255             /* octets of an argument */
#define CONTROL_CLIENTS_MAX 32               /* at once */
#define CONTROL_PATIENCE (10 * USEC_PER_SEC) /* to send a request, and again to read its answer */
#define CONTROL_LATER_MAX 4                  /* answers that come later, at once */
#define CONTROL_LATER (70 * USEC_PER_SEC)    /* until such an answer is given up, if it does not end by itself */
#define CONTROL_ROWS_MAX 2000                /* pools, connections or sessions in one answer */

struct router;
struct listener;

/* What only main knows. */
struct control_view {
	struct conf *conf;  /* the running configuration, borrowed */
	struct conf *began; /* what the daemon was started with: keys that wait for a restart */
	int64_t loaded;     /* Unix time in microseconds at which it was loaded */
	usec_t started;     /* clock_now() at the start of the daemon */
	const char *state;  /* "running" or "stopping" */
	bool milter_lost;   /* libmilter ended by itself: no message is tagged until a restart */
};

/* What the verbs look at and act on. Borrowed; it outlives the control socket. */
struct control_doors {
	struct router *router;
	struct listener *listener;
	uid_t owner; /* besides root and our own user: who may use the verbs that change something */
	void (*look)(struct control_view *out);
	/* Loads the configuration file. `text`: what to know about it ("" for nothing), or why it failed. */
	bool (*reload)(char text[CONF_ERROR_SIZE]);
};

struct control;

/* Takes over the listening socket. */
struct control *control_create(int listening, const struct control_doors *doors);
/* Cuts every client; NULL is allowed. The socket's file stays. */
void control_free(struct control *control);

#endif
