/*
 * What the files of relaypoolctl share. ctl.c has the command line, each other file one noun: ctl_daemon.c asks,
 * ctl_table.c writes, ctl_show.c says how each answer is shown, ctl_why.c, ctl_stalls.c and ctl_top.c are views.
 */
#ifndef CTL_H
#define CTL_H

#include <jansson.h>

#include "admin/verbs.h"
#include "ctl_table.h"
#include "relaypool.h"

enum exit_code {
	EXIT_OK = 0,
	EXIT_PROBLEM = 1,    /* the daemon refused, or the answer tells of a problem */
	EXIT_USAGE = 2,      /* the command line is wrong */
	EXIT_NO_DAEMON = 3,  /* nobody answers */
	EXIT_PERMISSION = 4, /* not for this user */
};

/* Says on stderr what is wrong; returns `code`. */
int complain(int code, const char *format, ...) PRINTF_LIKE(2, 3);
/* Complains of a refusal; what it means for the caller. */
int show_refusal(const json_t *answer);

/* Shows an answer; the exit code. */
typedef int show_fn(const json_t *answer, const char *argument);
show_fn show_why, show_stalls;
extern show_fn *const shows[ADMIN_VERBS]; /* of every verb */

extern const struct table pools_table, connections_table, stalls_table;

#define TOP_DELAY_DEFAULT 2.0 /* seconds between two frames */
#define TOP_DELAY_LEAST 0.2
#define TOP_DELAY_MOST 3600.0
/* Pools, connections and stalls, again and again until somebody ends it; once if nobody looks. The exit code. */
int top_run(const char *socket_path, double delay);

#endif
