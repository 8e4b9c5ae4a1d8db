/*
 * What the files sendmail_*.c share: a Sendmail as it is and as relaypool wants it (site). Private to this room.
 */
#ifndef SETUP_SENDMAIL_H
#define SETUP_SENDMAIL_H

#include "base/conf.h"
#include "setup/report.h"
#include "setup/setup.h"
#include "setup/store.h"

#define SITE_NAME "relaypool" /* of the milter, the mailer and the feature */

/* ---- mc.c: the text of sendmail.mc ---- */

enum mc_block {
	MC_NONE = 0,
	MC_ONE,
	MC_BROKEN /* a begin without an end, an end without a begin, or several */
};

/* Where our block stands, its two marks included. */
enum mc_block mc_find(const char *text, size_t *begin, size_t *end);
/* Where it belongs, before the first MAILER line; -1: there is none. */
ssize_t mc_place(const char *text);
/* The text without our block, of which there is at most one; the caller's. */
char *mc_without(const char *text);
/* Our block alone; NULL if there is not exactly one. The caller's. */
char *mc_block(const char *text);
/* The text, which has none, with the block in its place; NULL: there is no MAILER line. The caller's. */
char *mc_with(const char *text, const char *block);
/* The directory of Sendmail's macros, with a '/' at the end, that it includes; NULL: it includes none. The caller's. */
char *mc_macros(const char *text);

/* ---- cf.c: the text of sendmail.cf ---- */

/* What stands behind `prefix` in the last line that begins with it, folded lines made one; NULL. The caller's. */
char *cf_line(const char *text, const char *prefix);
/* The value of an option, or of the default that Sendmail's macros write as a comment; NULL. The caller's. */
char *cf_option(const char *text, const char *name);
/* A field such as "A=" of a mailer, or "F=" of a milter; NULL. The caller's. */
char *cf_field(const char *definition, const char *field);
/* True if they say the same: all but comments and empty lines. */
bool cf_same(const char *a, const char *b);
/* Seconds of a time such as "1h", "5m", "1h30m"; -1 if it is none. */
long cf_seconds(const char *text);

/* ---- build.c: from one to the other ---- */

/*
 * Makes the text of sendmail.cf of one of sendmail.mc, by m4, in the directory that belongs to us alone. NULL with a
 * sentence. The caller's.
 */
char *build_cf(const char *place, const char *mc_path, const char *macros, const char *mc,
	       char error[SETUP_ERROR_SIZE]) MUST_CHECK;
/* Has Sendmail itself load it. False with what it says of it. */
bool build_try(const char *place, const char *cf, char error[SETUP_ERROR_SIZE]) MUST_CHECK;

/* ---- block.c: what relaypool wants ---- */

/* The block, ready to stand in sendmail.mc; the caller's. NULL with why relaypool.conf or the domains do not do. */
char *block_make(const struct conf *conf, char *const *domains, size_t domain_count, const char *macros,
		 char error[SETUP_ERROR_SIZE]) MUST_CHECK;

/* ---- sendmail.c: all of it at one site ---- */

struct site {
	const struct setup_request *request;
	char *place; /* a directory of ours, for the time of this run */
	char *mc_path, *cf_path, *directory;
	char *macros;           /* Sendmail's m4 files */
	char *mc, *cf;          /* as they are; cf NULL: there is none */
	enum mc_block state;    /* of our block in mc */
	char *bare, *bare_cf;   /* without our block, and what is made of that; bare_cf NULL: nothing could be made */
	char *bare_error;       /* why */
	bool by_hand;           /* relaypool is in it without our block too */
	char *made_cf;          /* what is made of mc as it is; NULL: nothing */
	char *made_error;       /* why */
	char *block;            /* that we want; NULL with SETUP_UNDO */
	char *shall, *shall_cf; /* mc with it, and what is made of that; NULL: nothing */
	char *shall_error;      /* why */
	char *kept_block;       /* that the last --apply wrote; NULL */
	char *earlier_block;    /* that it found, and left if it was interrupted; NULL */
};

/* True if --apply would change nothing. */
bool site_done(const struct site *site);

/* True if --apply wrote this block. */
bool site_wrote(const struct site *site, const char *block);
/* True if sendmail.cf is what is made of sendmail.mc, with our block, with an earlier one, or without. */
bool site_cf_ours(const struct site *site);

/* check.c: what stands in the way, and with `all` whether block and sendmail.cf are as they shall be. */
void site_check(const struct site *site, bool all, struct report *report);
/* socket.c: whether Sendmail takes the sockets of relaypool.conf, and may speak to them */
void site_check_sockets(const struct site *site, const char *cf, struct report *report);
/* map.c: what mailertable and access have against it */
void site_check_maps(const struct site *site, const char *cf, struct report *report);
/* Why Sendmail refuses a socket there, as its safefile.c judges it; NULL if it does not. The caller's. */
char *socket_refused(const char *path);
/* Why a listener of relaypool.conf is not for Sendmail; NULL if it is. The caller's. */
char *socket_unfit(const struct endpoint *endpoint, const struct conf *conf);

/* apply.c */
bool site_apply(const struct site *site, struct store *store, struct report *report,
		char error[SETUP_ERROR_SIZE]) MUST_CHECK;
/* Writes a file with the owner and mode of the one that is there, or root's and 0644. */
bool site_write(const char *path, const char *text, char error[SETUP_ERROR_SIZE]) MUST_CHECK;
/* The digest of sendmail.mc without our block. */
bool site_bare_digest(const struct site *site, char digest[STORE_DIGEST_SIZE], char error[SETUP_ERROR_SIZE]) MUST_CHECK;
/* False with a sentence if a file is not any more what was looked at. */
bool site_unchanged(const struct site *site, char error[SETUP_ERROR_SIZE]) MUST_CHECK;
/* undo.c */
bool site_undo(const struct site *site, struct store *store, struct report *report,
	       char error[SETUP_ERROR_SIZE]) MUST_CHECK;

/* reload.c: has the daemon of this sendmail.cf read it. False with what to do instead. */
bool site_reload(const char *cf, char error[SETUP_ERROR_SIZE]) MUST_CHECK;

#endif
