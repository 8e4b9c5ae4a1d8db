/*
 * The sockets the MTA connects to: opens and closes them as the configuration says, accepts, bounds the number of
 * sessions. Called by main (life) and admin (views); never reads or writes a session itself. Loop thread only.
 */
#ifndef INGEST_LISTENER_H
#define INGEST_LISTENER_H

#include "base/net.h"
#include "ingest/session.h"

#define LISTENER_SESSIONS_MAX 1000 /* open at once; further ones wait in the backlog */

struct listener;

/*
 * Listens on every `lmtp` endpoint and on `smtp`, where a service manager has passed the socket (base/passed.h) on that.
 * Holds the snapshot; copies key and functions. NULL with one sentence in `error` if an endpoint cannot be had; nothing
 * is open then.
 */
struct listener *listener_create(struct conf *conf, const struct tag_key *key, const struct ingest_router *relay,
				 char error[NET_ERROR_SIZE]) MUST_CHECK;
/* Ends what is left at once: messages that wait are abandoned. NULL is allowed. */
void listener_free(struct listener *listener);

/*
 * A new snapshot: endpoints that are new are opened, those that are gone are closed, new messages get the new snapshot;
 * running sessions live on. False with one sentence in `error` if an endpoint cannot be had: nothing has changed then.
 */
bool listener_reload(struct listener *listener, struct conf *conf, char error[NET_ERROR_SIZE]) MUST_CHECK;

/*
 * Closes the sockets and removes their files; a service manager's are left to it. Sessions get 421 4.3.2 once the client
 * rests between two transactions; what it has begun it may hand over, and gets its verdicts first.
 */
void listener_stop(struct listener *listener);
/* After that: sessions get 421 as soon as they are between two transactions, whatever the client was about to do. */
void listener_hurry(struct listener *listener);
size_t listener_sessions(const struct listener *listener); /* open now */

/* For ctl. */
void listener_each_session(const struct listener *listener, session_view_fn *fn, void *arg);
/* Every message that the MTA is handing over now: stage ingest. */
void listener_each_wait(const struct listener *listener, wait_fn *fn, void *arg);

#endif
