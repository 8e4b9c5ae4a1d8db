/*
 * The world of one scenario: a configuration, a router, scripted relays, messages, and the clock, which moves only by
 * pass() and run(). world.c makes and moves it, steps.c carries out the lines of a scenario, expect.c judges what they
 * expect, promises.c what must hold in every scenario. Called by run_scenarios; one at a time.
 */
#ifndef SCENARIO_WORLD_H
#define SCENARIO_WORLD_H

#include "base/log.h"
#include "relay.h"
#include "relay/probe.h"
#include "relay/route.h"
#include "script.h"

#define RELAYS_MAX 4

/* One line of a section of relaypool.conf. */
struct setting {
	char *key, *value;
};

/* A section: the top, a relay or a route. */
struct section {
	char *name;
	bool declared;
	struct setting *settings;
	size_t count;
};

/* What became of one recipient, as far as the world saw it. */
struct outcome {
	bool expected; /* an `expect` spoke of a verdict other than sent */
	usec_t at;     /* when the verdict came; -1 */
};

/* A message given to the router. */
struct letter {
	struct list node; /* world.letters */
	struct world *world;
	char *name;
	struct message *message;  /* one reference is ours */
	struct outcome *outcomes; /* one for each recipient */
	struct list accepted;     /* of relays, as far as sorted */
	unsigned published;       /* recipients that EVENT_OUTCOME spoke of */
	unsigned use;             /* the last of these: how many its connection had carried */
	struct journey journey;   /* … and the stages it went through */
	enum cause held_by;       /* … and what it waited for in the pool, for the most part */
	usec_t sent_at;
	bool abandoned;
	bool may_wait; /* the last `expect` said that it waits */
	char *body;
	size_t length;
};

/* A line of the log, or the text of an event ("event down relay=a: …") that observe would make one of. */
struct logged {
	struct list node; /* world.log */
	char *line;
};

/* One envelope that was probed, as test-route does. */
struct inquiry {
	struct list node; /* world.inquiries */
	struct world *world;
	char *name;
	struct probe *probe; /* NULL: it has ended, or nobody could be asked */
	usec_t asked_at, ended_at;
	bool send, over;
	enum probe_end end;
	enum stage stage;
	enum cause cause;
	bool ambiguous;
	unsigned connection;
	char *why, *host, *addresses, *banner, *tls, *mechanism, *auth, *announced, *mail, *rcpt, *data, *reply;
	struct journey journey;
};

struct world {
	const char *directory; /* of the scenario alone; borrowed */
	const char *ca_file;   /* borrowed */
	unsigned line;         /* being carried out */
	usec_t began;          /* clock_now() at its beginning */

	struct section top;
	struct section relay_sections[RELAYS_MAX];
	struct section *routes;
	size_t route_count;
	struct scripted_relay *relays[RELAYS_MAX];

	struct conf *conf; /* NULL before the start */
	struct router *router;
	bool down; /* router_shutdown() has said that it is done */

	struct list letters;
	void *by_name; /* the same as a tree (tsearch(3)): there are thousands */
	struct list inquiries;
	struct list log;
	struct list orders; /* actions of `do`, kept until the end */
	unsigned long events[EVENT_KINDS];
	unsigned long activity;    /* anything that was said, heard, logged or settled */
	unsigned long quiet_since; /* `activity` when time last moved */
	unsigned looks;            /* at what is waited for, since this line began */
	bool inside_take;          /* settled() must not be called now */

	struct evbuffer *failures;   /* one sentence a line */
	struct evbuffer *transcript; /* what happened, in order */
};

struct world *world_create(const char *directory, const char *ca_file);
/* Judges what must always hold, takes everything down and judges what is left over. */
void world_finish(struct world *w);
void world_free(struct world *w);

extern const char *const event_names[EVENT_KINDS];

/* Carries out one line. False if the scenario cannot go on. */
bool world_step(struct world *w, const struct line *line);

/* A reason why the scenario failed. Returns false, for callers who give up with it. */
bool world_fail(struct world *w, const char *format, ...) PRINTF_LIKE(2, 3);
void world_note(struct world *w, const char *format, ...) PRINTF_LIKE(2, 3); /* into the transcript */

/* ---- world.c for steps.c ---- */

bool world_start(struct world *w, bool unclean) MUST_CHECK; /* configuration, relays, router; nothing if it is up */
bool world_reload(struct world *w) MUST_CHECK;
void world_stop_router(struct world *w); /* router_free() */
void world_set(struct section *section, const char *key, const char *value);
struct section *world_route(struct world *w, const char *name);
void world_pass(struct world *w, usec_t by);
void world_run(struct world *w); /* until every message is settled, or nothing more would ever happen */
void world_settle(struct world *w);
void world_add_letter(struct world *w, struct letter *letter); /* whose name is new */
struct letter *world_letter(const struct world *w, const char *name);
int world_relay_index(const char *name); /* "a" is 0; -1 if it is no name of a relay */

/* ---- inquiries.c ---- */

bool step_probe(struct world *w, const struct line *line);
bool step_hang_up(struct world *w, const struct line *line);
/* The words behind `expect probe`. */
bool expect_probe(struct world *w, const struct line *line, size_t index);
bool inquiries_over(const struct world *w);
/* Some inquiry was to send a message. */
bool inquiries_send(const struct world *w);
void inquiries_check(struct world *w);
void inquiries_free(struct world *w);

/* ---- expect.c, promises.c ---- */

bool expect_line(struct world *w, const struct line *line);
void promises_check(struct world *w);
void promises_check_remains(struct world *w);
bool holds_secret(const char *text); /* a password or token of some scenario, however it is written */
/* How often relays accepted this message for this recipient; NULL: for any. */
unsigned accepted_count(const struct world *w, const struct letter *letter, const char *recipient);

/* ---- words ---- */

/* "10ms", "5s", "2m", "1h". False if it is none. */
bool read_duration(const char *text, usec_t *out) MUST_CHECK;
/* "3", "2..4", "2..". */
struct range {
	unsigned long from, to;
};
bool read_range(const char *text, struct range *out) MUST_CHECK;
/* "m7" or "m1..m20": calls fn for each name until it says false; false then, or if it is no name. */
bool each_name(const char *text, bool (*fn)(const char *name, void *arg), void *arg) MUST_CHECK;

#endif
