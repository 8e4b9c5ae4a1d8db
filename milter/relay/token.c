/*
 * OAuth 2 access tokens: read off the loop, kept until shortly before they expire, given to whoever waits. Called by
 * connections before they dial; never logs, and overwrites every token before it is freed.
 */
#include <config.h>

#include <ctype.h>
#include <jansson.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/conf.h"
#include "base/file.h"
#include "base/loop.h"
#include "base/mem.h"
#include "relay/token.h"
#include "token_command.h"

#define COMMAND_TIME (30 * USEC_PER_SEC)
#define RENEW_BEFORE (60 * USEC_PER_SEC)
#define UNKNOWN_LIFE (360 * USEC_PER_SEC) /* read again after 300 s */
#define LONGEST_LIFE ((double)INT32_MAX)  /* seconds */

struct request {
	struct list node; /* on token_source.waiting or .answered */
	token_done_fn *done;
	void *arg;
};

struct token_source {
	char *file, *command; /* one of the two */
	char *token;          /* NULL: none, or what was read is no use */
	usec_t renew_at;      /* clock_now() from which on `token` is read anew */
	bool refused;         /* by the relay: read anew whatever its age */
	char error[512];      /* why there is no token */
	bool settings;        /* … for good, until somebody mends it */
	struct fetch *fetch;  /* the reading under way; NULL */
	struct list waiting;  /* for the end of a reading, or for the next turn of the loop */
	struct list answered; /* whose turn it is now: a callback may cancel others */
	struct timer soon;    /* answers from `token` */
	bool answering, dead; /* freed from within a callback: goes when that returns */
};

/* One reading. The worker thread has it until it is done, whatever becomes of its source. */
struct fetch {
	struct token_source *source; /* NULL once that is gone */
	char *file, *command;
	char *token;
	usec_t life; /* of the token, from the end of the reading */
	char error[512];
	bool settings;
};

/* ---- what a text means ---- */

bool token_is_valid(const char *text)
{
	for (const char *p = text; *p != '\0'; p++) {
		if (*p <= ' ' || *p > '~')
			return false;
	}
	return text[0] != '\0';
}

/* Seconds, as a number or, as some helpers write, as a text of digits. */
static bool seconds_of(const json_t *value, double *seconds)
{
	const char *text = json_string_value(value);
	if (json_is_number(value))
		*seconds = json_number_value(value);
	else if (text != NULL && text[0] != '\0' && strlen(text) < 18 && strspn(text, "0123456789.") == strlen(text))
		*seconds = strtod(text, NULL);
	else
		return false;
	return true;
}

static usec_t life_until(double unix_time)
{
	double left = unix_time - (double)clock_wall() / (double)USEC_PER_SEC;
	if (left > LONGEST_LIFE)
		left = LONGEST_LIFE;
	if (left < -LONGEST_LIFE)
		left = -LONGEST_LIFE;
	return (usec_t)(left * (double)USEC_PER_SEC);
}

/* The second part of a JWT, decoded (RFC 7519 §3, base64url without padding); NULL if it is none. */
static char *jwt_claims(const char *token)
{
	const char *begin = strchr(token, '.'), *end = begin != NULL ? strchr(begin + 1, '.') : NULL;
	if (end == NULL || end - begin > 32768)
		return NULL;
	size_t length = (size_t)(end - begin - 1), padded = (length + 3) / 4 * 4;
	char *text = mem_alloc(padded + 1), *claims = mem_alloc(padded + 1);
	memset(text, '=', padded);
	memcpy(text, begin + 1, length);
	for (char *p = text; *p != '\0'; p++) {
		if (*p == '-')
			*p = '+';
		else if (*p == '_')
			*p = '/';
	}
	int decoded = EVP_DecodeBlock((unsigned char *)claims, (const unsigned char *)text, (int)padded);
	mem_free_secret(text);
	if (decoded >= 0)
		return claims;
	mem_free_secret(claims);
	return NULL;
}

static usec_t life_of_bare(const char *token)
{
	char *claims = jwt_claims(token);
	json_t *json = claims != NULL ? json_loads(claims, 0, NULL) : NULL;
	const json_t *expiry = json_object_get(json, "exp");
	usec_t life = json_is_number(expiry) ? life_until(json_number_value(expiry)) : UNKNOWN_LIFE;
	json_decref(json);
	mem_free_secret(claims);
	return life;
}

/* It may read otherwise a moment later: who writes it has not yet. */
static bool fail_passing(struct fetch *fetch, const char *what)
{
	snprintf(fetch->error, sizeof(fetch->error), "%s %s", fetch->file != NULL ? fetch->file : "token-command",
		 what);
	return false;
}

static bool fail(struct fetch *fetch, const char *what)
{
	fetch->settings = true;
	return fail_passing(fetch, what);
}

/* RFC 6749 §5.2: "error", said instead of a token. */
static bool fail_json(struct fetch *fetch, const json_t *json)
{
	char what[160];
	const char *why = json_string_value(json_object_get(json, "error"));
	if (why == NULL || !token_is_valid(why))
		return fail(fetch, "gives JSON without an access_token");
	snprintf(what, sizeof(what), "gives the error %.100s instead of a token", why);
	return fail(fetch, what);
}

/* `written`: Unix time of the answer, from which expires_in counts. */
static bool read_json(struct fetch *fetch, const char *text, double written)
{
	double seconds;
	json_t *json = json_loads(text, 0, NULL);
	if (json == NULL)
		return fail_passing(fetch, "gives neither a token nor JSON (RFC 6749)");
	const char *token = json_string_value(json_object_get(json, "access_token"));
	bool good = token != NULL && token_is_valid(token);
	if (good) {
		fetch->token = mem_strdup(token);
		if (seconds_of(json_object_get(json, "expires_at"), &seconds))
			fetch->life = life_until(seconds);
		else if (seconds_of(json_object_get(json, "expires_in"), &seconds))
			fetch->life = life_until(written + seconds);
		else
			fetch->life = life_of_bare(token);
	} else {
		fail_json(fetch, json);
	}
	if (token != NULL)
		explicit_bzero((char *)token, strlen(token)); /* jansson frees it as it is */
	json_decref(json);
	return good;
}

static bool read_text(struct fetch *fetch, char *text, double written)
{
	size_t length = strlen(text);
	while (length > 0 && isspace((unsigned char)text[length - 1]))
		text[--length] = '\0';
	text += strspn(text, " \t\r\n");
	if (text[0] == '\0')
		return fail_passing(fetch, "gives nothing");
	if (text[0] == '{')
		return read_json(fetch, text, written);
	if (!token_is_valid(text))
		return fail(fetch, "gives neither a token nor JSON (RFC 6749)");
	fetch->token = mem_strdup(text);
	fetch->life = life_of_bare(text);
	return true;
}

/* ---- reading, on a worker thread ---- */

static double wall_seconds(void)
{
	return (double)clock_wall() / (double)USEC_PER_SEC;
}

/* A file's JSON was written when the file was. */
static char *fetch_text(struct fetch *fetch, double *written)
{
	struct stat info;
	*written = wall_seconds();
	if (fetch->command != NULL) {
		char *text = token_command_run(fetch->command, COMMAND_TIME, fetch->error, sizeof(fetch->error),
					       &fetch->settings);
		*written = wall_seconds();
		return text;
	}
	if (stat(fetch->file, &info) == 0 && (double)info.st_mtime < *written)
		*written = (double)info.st_mtime;
	char *text = file_read(fetch->file, FILE_SECRET, TOKEN_TEXT_LIMIT, fetch->error, sizeof(fetch->error));
	fetch->settings = text == NULL;
	return text;
}

static void fetch_work(void *arg)
{
	struct fetch *fetch = arg;
	double written;
	char *text = fetch_text(fetch, &written);
	if (text == NULL)
		return;
	if (read_text(fetch, text, written) && fetch->life <= 0) {
		mem_free_secret(fetch->token);
		fetch->token = NULL;
		fail_passing(fetch, "gives a token that has expired: see to whatever renews it");
	}
	mem_free_secret(text);
}

/* ---- answering, on the loop ---- */

static void source_destroy(struct token_source *source)
{
	mem_free_secret(source->token);
	free(source->file);
	mem_free_secret(source->command);
	free(source);
}

/* `kept`: the token was read earlier. */
static void answer(struct token_source *source, bool kept)
{
	source->answering = true;
	LIST_EACH (node, next, &source->waiting) {
		list_remove(node);
		list_append(&source->answered, node);
	}
	while (!list_empty(&source->answered)) {
		struct request *request = LIST_ENTRY_OF(source->answered.next, struct request, node);
		struct request copy = *request;
		list_remove(&request->node);
		free(request);
		const struct token_answer told = {
			.token = source->token,
			.error = source->token != NULL ? NULL : source->error,
			.settings = source->settings,
			.kept = kept,
		};
		copy.done(&told, copy.arg);
	}
	source->answering = false;
	if (source->dead)
		source_destroy(source);
}

static void fetch_done(void *arg)
{
	struct fetch *fetch = arg;
	struct token_source *source = fetch->source;
	if (source != NULL) {
		mem_free_secret(source->token);
		source->token = fetch->token;
		source->renew_at = clock_now() + fetch->life - RENEW_BEFORE;
		source->refused = false;
		snprintf(source->error, sizeof(source->error), "%s", fetch->error);
		source->settings = fetch->settings;
		source->fetch = NULL;
	} else {
		mem_free_secret(fetch->token);
	}
	free(fetch->file);
	mem_free_secret(fetch->command);
	free(fetch);
	if (source != NULL)
		answer(source, false);
}

static void start_fetch(struct token_source *source)
{
	struct fetch *fetch = mem_alloc(sizeof(*fetch));
	fetch->source = source;
	if (source->command != NULL)
		fetch->command = mem_strdup(source->command);
	else
		fetch->file = mem_strdup(source->file);
	source->fetch = fetch;
	loop_offload(fetch_work, fetch_done, fetch);
}

/* Sees to it that whoever waits is answered: from what is known, or after a reading. */
static void serve(struct token_source *source, bool now)
{
	bool fresh = source->token != NULL && !source->refused && clock_now() < source->renew_at;
	if (source->fetch != NULL)
		return; /* its end answers */
	if (!fresh)
		start_fetch(source);
	else if (now)
		answer(source, true);
	else
		timer_arm(&source->soon, 0);
}

static void on_soon(void *arg)
{
	serve(arg, true);
}

struct token_source *token_source_create(const struct relay_conf *relay)
{
	struct token_source *source = mem_alloc(sizeof(*source));
	if (relay->token_command != NULL)
		source->command = mem_strdup(relay->token_command);
	else
		source->file = mem_strdup(relay->token_file);
	list_init(&source->waiting);
	list_init(&source->answered);
	timer_init(&source->soon, "token", on_soon, source);
	return source;
}

static void forget(struct list *requests, const void *arg, bool all)
{
	LIST_EACH (node, next, requests) {
		struct request *request = LIST_ENTRY_OF(node, struct request, node);
		if (!all && request->arg != arg)
			continue;
		list_remove(node);
		free(request);
	}
}

void token_source_free(struct token_source *source)
{
	if (source == NULL)
		return;
	forget(&source->waiting, NULL, true);
	forget(&source->answered, NULL, true);
	timer_cancel(&source->soon);
	if (source->fetch != NULL)
		source->fetch->source = NULL;
	source->dead = true;
	if (!source->answering)
		source_destroy(source);
}

void token_get(struct token_source *source, token_done_fn *done, void *arg)
{
	struct request *request = mem_alloc(sizeof(*request));
	request->done = done;
	request->arg = arg;
	list_append(&source->waiting, &request->node);
	serve(source, false);
}

void token_cancel(struct token_source *source, void *arg)
{
	forget(&source->waiting, arg, false);
	forget(&source->answered, arg, false);
}

void token_refused(struct token_source *source)
{
	source->refused = true;
}
