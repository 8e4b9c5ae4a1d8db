/*
 * What the files postfix_*.c share: an instance as it is (look), what relaypool wants of it (plan), and the steps
 * between (edit). Private to this room.
 */
#ifndef SETUP_POSTFIX_H
#define SETUP_POSTFIX_H

#include <jansson.h>

#include "base/conf.h"
#include "setup/report.h"
#include "setup/run.h"
#include "setup/setup.h"
#include "setup/store.h"

/* ---- list.c: lists as Postfix writes them: commas or blanks between, braces around what has them inside ---- */

/* The next element from `*at` on, which is moved behind it; false at the end. Borrowed from the text. */
bool list_next(const char **at, const char **element, size_t *length) MUST_CHECK;
/* The caller's. */
char *list_with_last(const char *list, const char *element);
char *list_with_first(const char *list, const char *element);
/* The list without every element that `is_ours` recognises, the rest to the octet as it was; the caller's. */
char *list_without(const char *list, bool (*is_ours)(const char *element, const void *arg), const void *arg);

enum item_kind {
	ITEM_PARAMETER = 0, /* main.cf */
	ITEM_SERVICE,       /* master.cf: a whole entry */
	ITEM_OVERRIDE,      /* master.cf: an option of an entry */
	ITEM_FIELD,         /* master.cf: a column of an entry */
	ITEM_FILE,
	ITEM_DIRECTORY,
	ITEM_KINDS
};
extern const char *const item_kind_names[ITEM_KINDS];

/* ---- look.c: what is there ---- */

struct look {
	char *directory;   /* config_directory */
	json_t *values;    /* {parameter: value as written, or the default} */
	json_t *expanded;  /* the same with every $name replaced */
	json_t *set;       /* {parameter: value} of what main.cf sets */
	json_t *services;  /* {"relaypool/unix": its line of master.cf} */
	json_t *fields;    /* {"relaypool/unix/chroot": "n"} */
	json_t *overrides; /* {"relaypool/unix/lmtp_data_done_timeout": "600s"} of what master.cf sets */
};

/* config_directory of the instance; NULL: the one that postconf(1) takes. The caller's; NULL with a sentence. */
char *look_find(const char *instance, char error[SETUP_ERROR_SIZE]) MUST_CHECK;
bool look_at(struct look *look, const char *directory, char error[SETUP_ERROR_SIZE]) MUST_CHECK;
/* {parameter: value} of what main.cf of this directory sets; the caller's. */
bool look_set(const char *directory, json_t **set, char error[SETUP_ERROR_SIZE]) MUST_CHECK;
void look_free(struct look *look);
/* What stands in main.cf or master.cf for it; NULL: nothing. */
const char *look_item(const struct look *look, enum item_kind kind, const char *name);
/* "" if there is none. */
const char *look_value(const struct look *look, const char *parameter);
const char *look_expanded(const struct look *look, const char *parameter);
/* The same as it may be shown: NULL if it has a secret in it. */
const char *look_shown(const struct look *look, const char *parameter);
const char *look_field(const struct look *look, const char *service, const char *field);
/* The program of a service, without its arguments; the caller's. */
char *look_program(const struct look *look, const char *service);
/* True if its name in the log says that it was made for relaypool, by setup or by hand as contrib/postfix has it. */
bool look_is_ours(const struct look *look, const char *service);
/* True if the service runs in queue_directory as its root. */
bool look_chrooted(const struct look *look, const char *service);
/* A path as a service sees it that does not run chrooted: relative ones are below queue_directory. The caller's. */
char *look_path(const struct look *look, const char *path);

/* ---- spell.c: relaypoold's sockets in Postfix's words ---- */

/* The path below queue_directory, or NULL if it is not there. Borrowed from the path. */
const char *spell_below_queue(const struct look *look, const char *path);
/* "unix:relaypool/lmtp.sock", "inet:127.0.0.1:2424"; the caller's. */
char *spell_socket(const struct look *look, const struct endpoint *endpoint);
/* True if this element of smtpd_milters is the milter at `endpoint`. */
bool spell_is_milter(const struct look *look, const char *element, const struct endpoint *endpoint);
/* True if this element of transport_maps is the one that --domain makes. For list_without(). */
bool spell_is_route(const char *element, const void *unused);
/* The LMTP listener that Postfix is to use. */
const struct endpoint *spell_listener(const struct conf *conf, const struct look *look);

/* ---- item.c: what is there, and what shall be ---- */

#define PLAN_TRANSPORT "relaypool"
#define PLAN_HEADER_CHECKS "relaypool_header_checks" /* below config_directory */

struct item {
	enum item_kind kind;
	char *name;
	char *was;   /* what stands in the file; NULL: nothing */
	char *is;    /* what holds: `was` or a default; NULL: nothing */
	char *shall; /* NULL: it is to go */
	char *part;  /* of a list: the element that is ours; NULL: all of the value is */
	const char *why;
	bool right; /* nothing need be done */
};

/* In an order in which Postfix could read the files after every single item: what is used comes before what uses it. */
struct plan {
	struct item *items;
	size_t count;
	char *const *domains; /* of the request, borrowed; the only ones whose mail is to go to relaypoold */
	size_t domain_count;  /* 0: all mail is */
	unsigned capacity;    /* messages that the relays take at once */
	bool tags;            /* some route needs what only the milter sees */
	char *milter;         /* the element of smtpd_milters */
	char *nexthop;        /* behind "relaypool:" in default_transport */
	char *problem;        /* why there can be none; NULL */
};

void plan_free(struct plan *plan);
/* The texts are copied. */
struct item *plan_add(struct plan *plan, enum item_kind kind, const char *name, const char *was, const char *shall);
bool plan_done(const struct plan *plan); /* every item is right */
const char *item_where(const struct item *item);

/* ---- plan.c: what relaypool wants ---- */

void plan_make(struct plan *plan, const struct setup_request *request, const struct look *look);
/* The services, entry.c; `deliveries` at once. */
void plan_entries(struct plan *plan, const struct look *look, const struct conf *conf, unsigned deliveries);
/* Seconds of a time as main.cf writes it, such as "600s" or "2h"; -1 if it is none. */
long plan_seconds(const char *text);

/* ---- what stands in the way, each adding its findings ---- */

void check_settings(const struct plan *plan, const struct setup_request *request, const struct look *look,
		    struct report *report); /* check.c */
void check_services(const struct plan *plan, const struct setup_request *request, const struct look *look,
		    struct report *report);                                                  /* services.c */
void check_sockets(const struct conf *conf, const struct look *look, struct report *report); /* socket.c */
void check_senders(const struct setup_request *request, const struct look *look, struct report *report); /* senders.c */

/*
 * A route names the sender "user@example.org" or "<>", and all his mail comes to it; "@example.org" is anybody there.
 * senders.c.
 */
bool sender_has_route(const struct conf *conf, const char *sender);

/* True if a map such as "hash:/etc/postfix/x" has the key; false if it cannot be asked, too. */
bool map_has(const struct look *look, const char *map, const char *key);
/*
 * Calls `key` for each key of a map such as "hash:/etc/postfix/x". False if it cannot be listed, with the reason.
 * map.c.
 */
bool map_each(const struct look *look, const char *map, void (*key)(const char *key, void *arg), void *arg,
	      char error[SETUP_ERROR_SIZE]) MUST_CHECK;
/* True if the text of a map, a file or in itself (inline, static), has this word in a line that is no comment. */
bool map_has_word(const char *map, const char *word);

/* ---- edit.c: from one to the other ---- */

/* False with a sentence if it could not be done. */
typedef bool edit_step_fn(const char *directory, void *arg, char error[SETUP_ERROR_SIZE]);
/*
 * Makes the items of the plan so in main.cf and master.cf of `directory`, one after the other, by postconf alone.
 * `step`, unless NULL, is called after each. False with a sentence at the first that fails.
 */
bool edit_run(const char *directory, const struct plan *plan, edit_step_fn *step, void *arg,
	      char error[SETUP_ERROR_SIZE]) MUST_CHECK;

/* ---- memory.c: the state of the store ---- */

/* Begins a state if there is none; for these domains, or all mail. */
void memory_begin(struct store *store, const char *directory, const struct plan *plan);
/* Those of the last --apply, an array of the caller's with texts of the state; NULL: it was for all mail. */
char **memory_domains(const struct store *store, size_t *count);
/* Remembers what an item was before the first --apply, and what it is to become. */
void memory_add(struct store *store, const struct item *item);
void memory_drop(struct store *store, enum item_kind kind, const char *name);
/* Adds to the plan what an earlier --apply made and this one does not want: it is to become what it was. */
void memory_give_back(const struct store *store, const struct look *look, struct plan *plan);

/* One thing that was made; the texts are the state's. */
struct made {
	enum item_kind kind;
	const char *name, *was, *wrote; /* `was`: NULL where there was none */
	const char *earlier;            /* what the --apply before the last one wrote; NULL */
	const json_t *parts;            /* of a list: all elements that we ever wrote; NULL: all of the value is ours */
};
size_t memory_count(const struct store *store);
/* The `index`th; false behind the last. */
bool memory_next(const struct store *store, size_t index, struct made *made) MUST_CHECK;
/*
 * What becomes of it when it is undone: true with the value to come in `*shall` (the caller's; NULL: it goes). False
 * and NULL if it is not ours any more, or if there is nothing to undo, which `*nothing` says.
 */
bool memory_back(const struct made *made, const struct look *look, char **shall, bool *nothing) MUST_CHECK;
/* Takes out of the plan's lists what an earlier --apply wrote there and this one writes otherwise: sockets have moved. */
void memory_take_out(const struct store *store, struct plan *plan);

/* Options of an entry that was ours have changed: it still is. */
void memory_settle(struct store *store, const struct look *before, const struct look *after);

/* A state in which a file may be found: as it was before, or as a step of ours leaves it. */
void memory_add_digest(struct store *store, const char *file, const char *digest);
/* The file of `directory` is in one of these states, so that the copy may take its place. */
bool memory_knows(const struct store *store, const char *directory, const char *file);
/* Somebody else has changed the file since the copy was made: the copy shall never take its place. */
void memory_values_only(struct store *store, const char *file);

/* ---- apply.c, undo.c ---- */

/* Does the plan and adds what was changed. False with a sentence; what was done is taken back then, or it says so. */
bool postfix_apply(const struct plan *plan, const struct look *look, struct store *store, struct report *report,
		   char error[SETUP_ERROR_SIZE]) MUST_CHECK;
/* Undoes what the store remembers and adds what became of it; what is left stays remembered. */
bool postfix_undo(const char *directory, struct store *store, struct report *report,
		  char error[SETUP_ERROR_SIZE]) MUST_CHECK;

#endif
