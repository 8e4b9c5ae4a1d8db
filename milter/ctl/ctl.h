/*
 * What the files of relaypoolctl share. ctl.c, one floor up, has the command line; here each file has one noun:
 * daemon.c asks, table.c writes, show.c says how each answer is shown, the rest are views, and setup.c shows what the
 * room setup found.
 */
#ifndef CTL_H
#define CTL_H

#include <jansson.h>

#include "admin/verbs.h"
#include "relaypool.h"
#include "table.h"

#define DEFAULT_CONF SYSCONFDIR "/relaypool/relaypool.conf"

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
show_fn show_why, show_stalls, show_test_route;
/* What is waited for, in words; NULL if there are none. */
const char *cause_phrase(const char *cause);
extern show_fn *const shows[ADMIN_VERBS]; /* of every verb */

extern const struct table pools_table, connections_table, stalls_table;

/* ---- verbs of relaypoolctl's own ---- */

/* What holds for every verb; options may stand before and behind it. */
struct command {
	const char *socket_path, *file, *delay; /* NULL: not given */
	bool json;
};
#define COMMON_OPTIONS "s:c:jh"
/* Of getopt_long(3)'s words, the first; {0} alone ends them. */
#define COMMON_WORD                            \
	{                                      \
		"help", no_argument, NULL, 'h' \
	}
/* An option of getopt(3) that holds for every verb. False if relaypoolctl ends here, with the exit code. */
bool command_option(struct command *command, int option, int *code) MUST_CHECK;

/* The verb stands in argv[0]; getopt(3) is at the beginning. The exit code. */
int providers_command(struct command *command, int argc, char **argv);
int top_command(struct command *command, int argc, char **argv);
int setup_command(struct command *command, int argc, char **argv);

#endif
