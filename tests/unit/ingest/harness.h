/*
 * What the tests of the room ingest share: a loop with the fake clock, a configuration, a router that only remembers,
 * an MTA at the other end of a socket pair, and what was logged and published.
 */
#ifndef TESTS_UNIT_INGEST_HARNESS_H
#define TESTS_UNIT_INGEST_HARNESS_H

#include "base/conf.h"
#include "ingest/session.h"

#define SECONDS(n) ((n)*USEC_PER_SEC)
#define ROUTER_MESSAGES_MAX 64

/* Stands for the relay room: takes messages and settles none by itself. */
struct router {
	struct capabilities offer;
	struct message *taken[ROUTER_MESSAGES_MAX]; /* each with a reference */
	size_t taken_count;
	struct message *abandoned[ROUTER_MESSAGES_MAX]; /* borrowed from `taken` */
	size_t abandoned_count;
};
extern struct router router;
extern const struct ingest_router router_door;

extern struct ingest ingest; /* for tests without a listener */
extern unsigned sessions_ended;
extern char directory[64]; /* made for the test, removed after it */

/* Checked fixture: everything fresh for each test, and nothing left over. */
void harness_start(void);
void harness_stop(void);

/* A snapshot from defaults and these lines; unix sockets are in `directory`. */
struct conf *harness_conf(const char *extra_lines);

/* The lines logged and the outcomes published so far, each line ending in \n. */
const char *logged(void);
const char *published(void);

/* The other end of a new session: a non-blocking socket. `type` SOCK_SEQPACKET keeps the boundaries of writes. */
int mta_connect_type(enum protocol protocol, int type);
int mta_connect(enum protocol protocol);
/* Sends all of it, and lets the loop do what follows. */
void mta_say(int fd, const char *text);
void mta_say_octets(int fd, const char *octets, size_t length);
/* What can be read now, "" if nothing; <closed> is appended if the session was closed. Valid until the next call. */
const char *mta_hear(int fd);
/* Lets time pass. */
void pass(usec_t time);

/* The relay's verdict for one recipient of the nth message taken. `line` like "250 2.0.0 Ok". */
void relay_says(size_t message, size_t recipient, const char *line);
/* The body of a message as a string; valid until the next call. */
const char *body_of(const struct message *message);

#define mta_expect(fd, text) ck_assert_str_eq(mta_hear(fd), text)

#endif
