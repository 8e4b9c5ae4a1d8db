/*
 * AUTH: a table of mechanisms and what each says next. Called by the connection on its way to readiness; never touches
 * the socket, never logs. Whatever held a secret is overwritten before it is freed. Challenges are hostile: they are
 * base64 or refused, and no work they ask for takes long.
 */
#include <config.h>

#include <assert.h>
#include <ctype.h>
#include <gsasl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/conf.h"
#include "base/mem.h"
#include "relay/auth.h"
#include "relay/token.h"

#define COMMAND_LIMIT 512    /* octets of a command line with CRLF (RFC 5321 §4.5.3.1.4); AUTH is one (RFC 4954 §4) */
#define RESPONSE_LIMIT 12288 /* octets of a response line with CRLF (RFC 4954 §4) */
#define ECHO_MIN 8           /* so many octets of a secret in a row, found in what the relay says, are no chance */
#define WORD_MIN 4           /* a shorter one may stand there by chance */
#define ITERATIONS_MAX 20000 /* of SCRAM's PBKDF2: 50 ms on the loop's thread, which all mail waits for */

/* Octets that may be a secret. */
struct octets {
	char *data;
	size_t length;
};

struct mechanism;

struct auth {
	const struct mechanism *mechanism;
	char *username, *password, *token, *host;
	uint16_t port;
	unsigned answered;  /* responses made so far */
	struct octets held; /* an initial response too long for the command's line */
	Gsasl *library;
	Gsasl_session *session;
	struct octets said; /* every response made so far in base64, each with a NUL behind it */
	bool proved;        /* the relay has shown that it knows the password */
};

/* Makes the next response to a decoded challenge. False with a sentence. */
typedef bool answer_fn(struct auth *auth, const struct octets *challenge, struct octets *out, char *error,
		       size_t error_size);

struct mechanism {
	const char *name;
	bool token;        /* needs a token, the others a password */
	bool clear;        /* shows its secret to whoever listens */
	bool client_first; /* begins with a response of ours */
	bool proves;       /* ends with a proof of the relay's */
	answer_fn *answer;
};

/* ---- octets ---- */

static void octets_free(struct octets *octets)
{
	if (octets->data != NULL)
		explicit_bzero(octets->data, octets->length);
	free(octets->data);
	*octets = (struct octets){0};
}

static struct octets octets_of(const char *text)
{
	return (struct octets){mem_strdup(text), strlen(text)};
}

/* What GNU SASL made, in memory of ours. */
static struct octets octets_adopt(char *data, size_t length)
{
	struct octets octets = {mem_alloc(length + 1), length};
	if (length > 0)
		memcpy(octets.data, data, length);
	if (data != NULL)
		explicit_bzero(data, length);
	gsasl_free(data);
	return octets;
}

static struct octets encode(const struct octets *raw)
{
	char *text = NULL;
	size_t length = 0;
	if (raw->length == 0 || gsasl_base64_to(raw->data, raw->length, &text, &length) != GSASL_OK)
		return octets_of("");
	return octets_adopt(text, length);
}

/* Keeps a response in mind, in case the relay echoes it. */
static void remember(struct auth *auth, const struct octets *text)
{
	struct octets all = {mem_alloc(auth->said.length + text->length + 1), auth->said.length + text->length + 1};
	if (auth->said.length > 0)
		memcpy(all.data, auth->said.data, auth->said.length);
	memcpy(all.data + auth->said.length, text->data, text->length);
	octets_free(&auth->said);
	auth->said = all;
}

static bool decode(const char *text, struct octets *raw)
{
	char *data = NULL;
	size_t length = 0, size = strlen(text);
	while (size > 0 && text[size - 1] == ' ')
		size--;
	if (size > 0 && gsasl_base64_from(text, size, &data, &length) != GSASL_OK)
		return false;
	*raw = octets_adopt(data, length);
	return true;
}

static bool fail(char *error, size_t error_size, const struct auth *auth, const char *what)
{
	snprintf(error, error_size, "AUTH %s: %s", auth->mechanism->name, what);
	return false;
}

/* ---- mechanisms ---- */

/* RFC 4616: no authorization identity, user, password. */
static bool answer_plain(struct auth *auth, const struct octets *challenge, struct octets *out, char *error,
			 size_t error_size)
{
	(void)challenge;
	if (auth->answered > 0)
		return fail(error, error_size, auth, "the relay asks for more than user and password");
	size_t user = strlen(auth->username), password = strlen(auth->password);
	*out = (struct octets){mem_alloc(user + password + 3), user + password + 2};
	memcpy(out->data + 1, auth->username, user);
	memcpy(out->data + 1 + user + 1, auth->password, password);
	return true;
}

/* The relay's prompts are in whatever words; their order is fixed. */
static bool answer_login(struct auth *auth, const struct octets *challenge, struct octets *out, char *error,
			 size_t error_size)
{
	(void)challenge;
	if (auth->answered > 1)
		return fail(error, error_size, auth, "the relay asks for more than user and password");
	*out = octets_of(auth->answered == 0 ? auth->username : auth->password);
	return true;
}

/* A token can have no character that would end its field (RFC 6750 §2.1). */
static bool answer_xoauth2(struct auth *auth, const struct octets *challenge, struct octets *out, char *error,
			   size_t error_size)
{
	(void)challenge;
	if (auth->answered > 1)
		return fail(error, error_size, auth, "the relay neither takes nor refuses the token");
	if (auth->answered == 1) {
		*out = octets_of(""); /* the challenge says why the token is refused; its 535 comes after this */
		return true;
	}
	*out = (struct octets){0};
	out->data = mem_printf("user=%s\001auth=Bearer %s\001\001", auth->username, auth->token);
	out->length = strlen(out->data);
	return true;
}

/* RFC 5801 §4: in a GS2 header "," and "=" are written otherwise. */
static char *gs2_name(const char *name)
{
	char *out = mem_alloc(strlen(name) * 3 + 1), *p = out;
	for (; *name != '\0'; name++) {
		if (*name == ',' || *name == '=')
			p += sprintf(p, "=%02X", (unsigned)*name);
		else
			*p++ = *name;
	}
	return out;
}

/* RFC 7628 §3.1. */
static bool answer_oauthbearer(struct auth *auth, const struct octets *challenge, struct octets *out, char *error,
			       size_t error_size)
{
	(void)challenge;
	if (auth->answered > 1)
		return fail(error, error_size, auth, "the relay neither takes nor refuses the token");
	if (auth->answered == 1) {
		*out = octets_of("\001"); /* §3.2.3: after this comes its 535 */
		return true;
	}
	char *name = gs2_name(auth->username);
	out->data = mem_printf("n,a=%s,\001host=%s\001port=%u\001auth=Bearer %s\001\001", name, auth->host, auth->port,
			       auth->token);
	out->length = strlen(out->data);
	free(name);
	return true;
}

static bool answer_gsasl(struct auth *auth, const struct octets *challenge, struct octets *out, char *error,
			 size_t error_size)
{
	char *data = NULL, why[160];
	size_t length = 0;
	if (auth->proved)
		return fail(error, error_size, auth, "the relay goes on after its proof");
	int result = gsasl_step(auth->session, challenge->data, challenge->length, &data, &length);
	if (result != GSASL_OK && result != GSASL_NEEDS_MORE) {
		snprintf(why, sizeof(why), "the relay's challenge is not right: %s", gsasl_strerror(result));
		return fail(error, error_size, auth, why);
	}
	auth->proved = result == GSASL_OK;
	*out = octets_adopt(data, length);
	return true;
}

static bool answer_cram(struct auth *auth, const struct octets *challenge, struct octets *out, char *error,
			size_t error_size)
{
	if (auth->answered > 0)
		return fail(error, error_size, auth, "the relay asks for more than one response");
	if (challenge->length == 0)
		return fail(error, error_size, auth, "the relay's challenge is empty");
	return answer_gsasl(auth, challenge, out, error, error_size);
}

/* Server-first is "r=nonce,s=salt,i=iterations" (RFC 5802 §5.1). */
static bool answer_scram(struct auth *auth, const struct octets *challenge, struct octets *out, char *error,
			 size_t error_size)
{
	char why[160];
	if (auth->answered > 0 && strlen(challenge->data) != challenge->length)
		return fail(error, error_size, auth, "a NUL octet stands in the relay's challenge");
	const char *count = auth->answered == 1 ? strstr(challenge->data, ",i=") : NULL;
	if (count != NULL && (strspn(count + 3, "0123456789") > 9 || strtol(count + 3, NULL, 10) > ITERATIONS_MAX)) {
		snprintf(why, sizeof(why),
			 "the relay asks for more than %d iterations, which would stall all mail; set auth",
			 ITERATIONS_MAX);
		return fail(error, error_size, auth, why);
	}
	return answer_gsasl(auth, challenge, out, error, error_size);
}

static const struct mechanism mechanisms[] = {
	{"PLAIN", false, true, true, false, answer_plain},
	{"LOGIN", false, true, false, false, answer_login},
	{"CRAM-MD5", false, false, false, false, answer_cram},
	{"SCRAM-SHA-1", false, false, true, true, answer_scram},
	{"SCRAM-SHA-256", false, false, true, true, answer_scram},
	{"XOAUTH2", true, true, true, false, answer_xoauth2},
	{"OAUTHBEARER", true, true, true, false, answer_oauthbearer},
};

#define MECHANISMS (sizeof(mechanisms) / sizeof(mechanisms[0]))

/* ---- which one ---- */

/*
 * Under TLS those with the fewest round trips, without it those that do not show the password. A token is there to be
 * used.
 */
static const char *const order_tls[] = {"XOAUTH2",       "OAUTHBEARER", "PLAIN",   "LOGIN",
					"SCRAM-SHA-256", "SCRAM-SHA-1", "CRAM-MD5"};
static const char *const order_clear[] = {"XOAUTH2",  "OAUTHBEARER", "SCRAM-SHA-256", "SCRAM-SHA-1",
					  "CRAM-MD5", "PLAIN",       "LOGIN"};

static const struct mechanism *mechanism_named(const char *name)
{
	for (size_t i = 0; i < MECHANISMS; i++) {
		if (strcasecmp(mechanisms[i].name, name) == 0)
			return &mechanisms[i];
	}
	return NULL;
}

static const struct mechanism *choose(const struct relay_conf *relay, const struct capabilities *caps, bool tls,
				      const char *token)
{
	const char *const *order = tls ? order_tls : order_clear;
	size_t count = relay->auth_count > 0 ? relay->auth_count : MECHANISMS;
	for (size_t i = 0; i < count; i++) {
		const struct mechanism *one = mechanism_named(relay->auth_count > 0 ? relay->auth[i] : order[i]);
		if (one == NULL || !capabilities_auth(caps, one->name))
			continue;
		if (one->clear && !tls && !relay->allow_cleartext_auth)
			continue;
		if (one->token ? token != NULL : relay->password != NULL)
			return one;
	}
	return NULL;
}

static void explain(const struct relay_conf *relay, const struct capabilities *caps, bool tls, const char *token,
		    char *error, size_t error_size)
{
	char allowed[128] = "";
	for (size_t i = 0; i < relay->auth_count; i++)
		snprintf(allowed + strlen(allowed), sizeof(allowed) - strlen(allowed), " %s", relay->auth[i]);
	for (size_t i = 0; i < MECHANISMS && relay->auth_count == 0; i++) {
		const struct mechanism *one = &mechanisms[i];
		if (one->clear && !tls && !relay->allow_cleartext_auth)
			continue;
		if (one->token ? token != NULL : relay->password != NULL)
			snprintf(allowed + strlen(allowed), sizeof(allowed) - strlen(allowed), " %s", one->name);
	}
	snprintf(error, error_size, "no AUTH mechanism in common: the relay offers%s%s, allowed here are%s%s",
		 caps->auth[0] != '\0' ? "" : " none", caps->auth[0] != '\0' ? caps->auth : "",
		 allowed[0] != '\0' ? "" : " none", allowed);
}

/* ---- the exchange ---- */

static bool start_gsasl(struct auth *auth, char *error, size_t error_size)
{
	int result = gsasl_init(&auth->library);
	if (result == GSASL_OK)
		result = gsasl_client_start(auth->library, auth->mechanism->name, &auth->session);
	if (result == GSASL_OK)
		result = gsasl_property_set(auth->session, GSASL_AUTHID, auth->username);
	if (result == GSASL_OK)
		result = gsasl_property_set(auth->session, GSASL_PASSWORD, auth->password);
	return result == GSASL_OK || fail(error, error_size, auth, gsasl_strerror(result));
}

static uint16_t port_of(const struct relay_conf *relay, const char *host)
{
	for (size_t i = 0; i < relay->host_count; i++) {
		if (strcasecmp(relay->hosts[i].host, host) == 0)
			return relay->hosts[i].port;
	}
	return relay->port;
}

struct auth *auth_create(const struct relay_conf *relay, const struct capabilities *caps, const char *host, bool tls,
			 const char *token, char *error, size_t error_size)
{
	const struct mechanism *mechanism = choose(relay, caps, tls, token);
	if (mechanism == NULL) {
		explain(relay, caps, tls, token, error, error_size);
		return NULL;
	}
	assert(relay->username != NULL);
	struct auth *auth = mem_alloc(sizeof(*auth));
	auth->mechanism = mechanism;
	auth->username = mem_strdup(relay->username);
	auth->host = mem_strdup(host);
	auth->port = port_of(relay, host);
	if (mechanism->token)
		auth->token = mem_strdup(token);
	else
		auth->password = mem_strdup(relay->password);
	bool good = true;
	if (mechanism->token && !token_is_valid(token))
		good = fail(error, error_size, auth, "the token has characters that no token has");
	else if (mechanism->answer == answer_cram || mechanism->answer == answer_scram)
		good = start_gsasl(auth, error, error_size);
	if (good)
		return auth;
	auth_free(auth);
	return NULL;
}

/* GNU SASL frees its copies as they are. */
static void forget_property(Gsasl_session *session, Gsasl_property property)
{
	const char *value = gsasl_property_fast(session, property);
	if (value != NULL)
		explicit_bzero((char *)value, strlen(value));
}

void auth_free(struct auth *auth)
{
	if (auth == NULL)
		return;
	if (auth->session != NULL) {
		forget_property(auth->session, GSASL_PASSWORD);
		forget_property(auth->session, GSASL_SCRAM_SALTED_PASSWORD);
		gsasl_finish(auth->session);
	}
	if (auth->library != NULL)
		gsasl_done(auth->library);
	octets_free(&auth->held);
	octets_free(&auth->said);
	mem_free_secret(auth->password);
	mem_free_secret(auth->token);
	free(auth->username);
	free(auth->host);
	free(auth);
}

const char *auth_mechanism(const struct auth *auth)
{
	return auth->mechanism->name;
}

/* The command, with the initial response if the line is not too long for it; else that is held back (RFC 4954 §4). */
static bool begin(struct auth *auth, char **line, char *error, size_t error_size)
{
	const char *name = auth->mechanism->name;
	struct octets nothing = {0}, raw = {0};
	if (!auth->mechanism->client_first) {
		*line = mem_printf("AUTH %s", name);
		return true;
	}
	if (!auth->mechanism->answer(auth, &nothing, &raw, error, error_size))
		return false;
	auth->answered++;
	struct octets text = encode(&raw);
	octets_free(&raw);
	remember(auth, &text);
	if (strlen("AUTH ") + strlen(name) + 1 + text.length + 2 > COMMAND_LIMIT) {
		*line = mem_printf("AUTH %s", name);
		auth->held = text;
		return true;
	}
	*line = mem_printf("AUTH %s %s", name, text.data);
	octets_free(&text);
	return true;
}

static bool respond(struct auth *auth, const char *challenge, struct octets *text, char *error, size_t error_size)
{
	struct octets in, raw = {0};
	if (!decode(challenge, &in))
		return fail(error, error_size, auth, "the relay's challenge is not base64");
	if (auth->held.data != NULL) {
		*text = auth->held;
		auth->held = (struct octets){0};
		octets_free(&in);
		return true;
	}
	bool good = auth->mechanism->answer(auth, &in, &raw, error, error_size);
	if (good) {
		auth->answered++;
		*text = encode(&raw);
		remember(auth, text);
	}
	octets_free(&in);
	octets_free(&raw);
	return good;
}

bool auth_next(struct auth *auth, const char *challenge, char **line, char *error, size_t error_size)
{
	struct octets text;
	if (challenge == NULL)
		return begin(auth, line, error, error_size);
	if (!respond(auth, challenge, &text, error, error_size))
		return false;
	if (text.length + 2 > RESPONSE_LIMIT) {
		octets_free(&text);
		return fail(error, error_size, auth, "the response is longer than 12288 octets (RFC 4954)");
	}
	*line = text.data;
	return true;
}

bool auth_accept(struct auth *auth)
{
	return !auth->mechanism->proves || auth->proved;
}

/* ---- what is not to be repeated ---- */

/* Octets at the beginning of `text` that stand somewhere in `secret`, in whatever case: some servers echo in theirs. */
static size_t in_common(const char *text, const char *secret)
{
	size_t most = 0;
	for (; *secret != '\0'; secret++) {
		size_t n = 0;
		while (text[n] != '\0' && tolower((unsigned char)text[n]) == tolower((unsigned char)secret[n]))
			n++;
		most = n > most ? n : most;
	}
	return most;
}

static void blank(char *text, const char *secret, size_t least)
{
	if (strlen(secret) < WORD_MIN)
		return;
	while (*text != '\0') {
		size_t n = in_common(text, secret);
		if (n >= least)
			memset(text, '*', n);
		text += n >= least ? n : 1;
	}
}

void auth_blank(const struct auth *auth, char *text)
{
	size_t length;
	for (size_t at = 0; at < auth->said.length; at += length + 1) {
		length = strlen(auth->said.data + at);
		blank(text, auth->said.data + at, length < ECHO_MIN ? length : ECHO_MIN);
	}
	if (auth->token != NULL)
		blank(text, auth->token, ECHO_MIN);
	if (auth->password != NULL)
		blank(text, auth->password, strlen(auth->password));
}
