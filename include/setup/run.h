/*
 * Programs of the MTA, run by their names and arguments without a shell: postconf, postmap, postfix, m4, make. Called by
 * the room setup; blocks until the program has ended, within a limit of time. What it prints is bounded.
 */
#ifndef SETUP_RUN_H
#define SETUP_RUN_H

#include "relaypool.h"
#include "setup/setup.h"

#define RUN_LIMIT 60             /* seconds, unless the caller knows better */
#define RUN_OUTPUT_MAX (8 << 20) /* octets of standard output; more is a failure */
#define RUN_COMPLAINT_MAX 4096   /* octets of standard error; the rest is not read */

struct run {
	char *output;    /* standard output; never NULL once run */
	char *complaint; /* the beginning of standard error */
	int code;        /* exit code; -1: it did not end by itself */
};

/*
 * Runs argv[0], looked for in PATH and then in the directories of system programs; standard input is empty, and of the
 * environment it sees PATH, HOME and MAIL_CONFIG only. True if it ended with exit code 0; else a sentence in `error` with
 * what it complained of. Give `run` to run_free() either way.
 */
bool run_program(const char *const argv[], unsigned seconds, struct run *run, char error[SETUP_ERROR_SIZE]) MUST_CHECK;
void run_free(struct run *run);

#endif
