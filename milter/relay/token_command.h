/*
 * Runs the command that prints an access token. Private to token.c, on a worker thread.
 */
#ifndef RELAY_TOKEN_COMMAND_H
#define RELAY_TOKEN_COMMAND_H

#include "relaypool.h"

#define TOKEN_TEXT_LIMIT ((size_t)65536) /* octets of a token's file or of what the command prints */

/*
 * What `sh -c command` prints on its standard output; the caller frees it by mem_free_secret(). Waits for the command to
 * end, at most `limit` of real time: then it and its process group are killed. NULL with a sentence in `error`, with
 * the first line of its standard error if there is one; `*settings`: only the administrator can mend it.
 */
char *token_command_run(const char *command, usec_t limit, char *error, size_t error_size, bool *settings) MUST_CHECK;

#endif
