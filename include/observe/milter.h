/*
 * The milter: writes one tag per message, naming the routes whose client, user and header conditions hold.
 * Started and stopped by main, counted by ctl; its callbacks run on libmilter's own threads.
 * It never refuses, never changes anything but its own header, never waits for anything. What it hears of sessions it
 * tells the door (observe/door.h).
 */
#ifndef OBSERVE_MILTER_H
#define OBSERVE_MILTER_H

#include <sys/types.h>

#include "base/net.h"
#include "relaypool.h"
#include "smtp/tag.h"

struct milter_settings {
	struct endpoint endpoint; /* where the MTA connects; a change needs a restart */
	gid_t group;              /* of a unix socket; (gid_t)-1: leave it */
	mode_t mode;
	struct tag_key key;
	void (*lost)(void *arg); /* on the loop thread: libmilter ended although milter_stop() was not called */
	void *arg;
	/*
	 * On the loop thread, at most once a second, while some relay has no connection: by SMTP a message arrives at
	 * the MTA that will come to the LMTP socket. Only of SMTP sessions that began meanwhile, and a few others: to
	 * be told of each recipient costs more than all else that the milter does. `sender` NULL: no route asks for it.
	 * Both without angle brackets.
	 */
	void (*outbound)(const char *sender, const char *recipient);
};

/*
 * Listens, then serves on a thread that takes no signals. Once in a process: libmilter cannot start again. Holds `conf`
 * (counted). Signals are the main thread's: what libmilter does about them by itself is switched off. False with the
 * reason in `error`.
 */
bool milter_start(const struct milter_settings *settings, struct conf *conf, char error[NET_ERROR_SIZE]) MUST_CHECK;
/* The snapshot for SMTP sessions that begin from now on; those under way keep theirs. Loop thread. */
void milter_set_conf(struct conf *conf);
/*
 * From now on nobody new finds the socket, and the end of libmilter is no news. Its threads go on and serve the
 * sessions under way until the process ends: nothing else can end them well. So this comes right before exit(3), and
 * main must have begun with OPENSSL_init_crypto(OPENSSL_INIT_NO_ATEXIT, NULL): exit(3) must not take OpenSSL down under
 * a tag that is being made. Harmless if nothing was started.
 */
void milter_stop(void);

/* Since the start. From any thread. */
struct milter_counts {
	unsigned long connections; /* SMTP sessions, and submissions by sendmail(1) */
	unsigned long messages;    /* that reached the end of message */
	unsigned long tagged;      /* of those */
};
struct milter_counts milter_counts(void);

#endif
