/*
 * A client of the control socket of rooms.h, and relaypoolctl as an administrator runs it, while this process serves
 * it.
 */
#ifndef TESTS_UNIT_ADMIN_CLIENT_H
#define TESTS_UNIT_ADMIN_CLIENT_H

#include <jansson.h>

#include "rooms.h"

/* ---- the socket; rooms_connect() opens one ---- */

void client_say(int fd, const char *text);
/* Everything that has been said to it. The caller's. `*ended`: the daemon closed. */
char *client_hear(int fd, bool *ended);
bool client_cut(int fd);
/* The answer to one line on a connection of its own. The caller's. */
json_t *ask(const char *line);
const char *string_of(const json_t *object, const char *key);
void expect_refusal(const char *line, const char *reason, const char *says);

/* ---- relaypoolctl ---- */

#define OUTPUT_SIZE 65536
extern char output[OUTPUT_SIZE]; /* of the last run, both streams */

/* Runs it to its end while the loop serves it; its exit code. */
int run(const char *const *arguments);
#define RUN(...) run((const char *const[]){"relaypoolctl", "-s", rooms.socket_path, __VA_ARGS__, NULL})

void expect_says(const char *text);
/* A path alone on its line is as long as --prefix made it. */
void expect_80_columns(void);

#endif
