/*
 * OAuth 2 access tokens for XOAUTH2 and OAUTHBEARER, from a file or a command's output, kept until shortly before they
 * expire. Made by the pool, asked by a connection before it dials; reading happens off the loop; never logs a token.
 *
 * The text is the bare token, or the JSON of RFC 6749 §5.1 with access_token and expires_in (seconds) or, as some
 * helpers write, expires_at (Unix time). A bare token that is a JWT expires by its own "exp"; another one is read
 * again after 300 s.
 */
#ifndef RELAY_TOKEN_H
#define RELAY_TOKEN_H

#include "relaypool.h"

struct token_answer {
	const char *token; /* NULL: there is none */
	const char *error; /* why */
	bool settings;     /* … for a reason that only the administrator can mend: no file, no such command */
	bool kept;         /* read for somebody who asked before: if it is refused, a fresh one may be better */
};

struct token_source;
/* `answer` is borrowed for the call. */
typedef void token_done_fn(const struct token_answer *answer, void *arg);

struct token_source *token_source_create(const struct relay_conf *relay);
void token_source_free(struct token_source *source); /* pending requests are never answered */
/* done() is called once from the loop, never from inside this call; a token that expires within 60 s is renewed first. */
void token_get(struct token_source *source, token_done_fn *done, void *arg);
void token_cancel(struct token_source *source, void *arg); /* forgets requests with this arg */
/* The relay refused the token: the next token_get() reads it anew. */
void token_refused(struct token_source *source);
/* Visible ASCII without spaces: nothing else can stand where a token stands (RFC 6750 §2.1). */
bool token_is_valid(const char *text) MUST_CHECK;

#endif
