/* Unit tests of relay/auth: which mechanism, and what is said, against published examples and GNU SASL's own server. */
#include <config.h>

#include <gsasl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/conf.h"
#include "base/mem.h"
#include "check_relay.h"
#include "relay/auth.h"

static struct host_port host = {(char *)"server.example.com", 143};
static struct relay_conf relay;
static struct capabilities caps;
static char error[256];

/* A relay that offers `offered`, each with spaces around, to a user with a password. */
static void offer(const char *offered)
{
	relay = (struct relay_conf){.hosts = &host, .host_count = 1, .port = 587};
	relay.username = (char *)"tim";
	relay.password = (char *)"tanstaaftanstaaf";
	caps = (struct capabilities){.bits = CAP_AUTH};
	snprintf(caps.auth, sizeof(caps.auth), "%s", offered);
}

static struct auth *create(bool tls, const char *token)
{
	return auth_create(&relay, &caps, "server.example.com", tls, token, error, sizeof(error));
}

static struct auth *must_create(const char *token)
{
	struct auth *auth = create(true, token);
	ck_assert_msg(auth != NULL, "%s", error);
	return auth;
}

static void ck_assert_says(struct auth *auth, const char *challenge, const char *expected)
{
	char *line = NULL;
	ck_assert_msg(auth_next(auth, challenge, &line, error, sizeof(error)), "%s", error);
	ck_assert_str_eq(line, expected);
	mem_free_secret(line);
}

static void ck_assert_gives_up(struct auth *auth, const char *challenge, const char *why)
{
	char *line = NULL;
	ck_assert(!auth_next(auth, challenge, &line, error, sizeof(error)));
	ck_assert_ptr_null(line);
	ck_assert_msg(strstr(error, why) != NULL, "%s", error);
}

/* ---- which one ---- */

static const struct {
	const char *offered, *allowed; /* allowed: at most one */
	bool tls, password, token;
	const char *expected; /* NULL: none */
} choices[] = {
	{" CRAM-MD5 SCRAM-SHA-256 LOGIN PLAIN ", NULL, true, true, false, "PLAIN"},
	{" CRAM-MD5 SCRAM-SHA-256 LOGIN ", NULL, true, true, false, "LOGIN"},
	{" CRAM-MD5 SCRAM-SHA-1 SCRAM-SHA-256 ", NULL, true, true, false, "SCRAM-SHA-256"},
	{" CRAM-MD5 SCRAM-SHA-1 ", NULL, true, true, false, "SCRAM-SHA-1"},
	{" CRAM-MD5 ", NULL, true, true, false, "CRAM-MD5"},
	{" PLAIN LOGIN CRAM-MD5 SCRAM-SHA-1 SCRAM-SHA-256 ", NULL, false, true, false, "SCRAM-SHA-256"},
	{" PLAIN LOGIN CRAM-MD5 ", NULL, false, true, false, "CRAM-MD5"},
	{" PLAIN LOGIN XOAUTH2 OAUTHBEARER ", NULL, true, false, true, "XOAUTH2"},
	{" PLAIN LOGIN XOAUTH2 OAUTHBEARER ", NULL, true, true, true, "XOAUTH2"},
	{" PLAIN LOGIN OAUTHBEARER ", NULL, true, false, true, "OAUTHBEARER"},
	{" PLAIN LOGIN XOAUTH2 ", NULL, true, true, false, "PLAIN"},
	{" PLAIN LOGIN ", NULL, true, true, true, "PLAIN"},
	{" PLAIN LOGIN ", NULL, true, false, true, NULL},
	{" PLAIN LOGIN CRAM-MD5 ", "CRAM-MD5", true, true, false, "CRAM-MD5"},
	{" PLAIN LOGIN ", "CRAM-MD5", true, true, false, NULL},
	{" NTLM GSSAPI SCRAM-SHA-256-PLUS ", NULL, true, true, false, NULL},
	{" PLAIN LOGIN ", NULL, false, true, false, NULL}, /* in clear, without the words that allow it */
	{" XOAUTH2 ", NULL, false, false, true, NULL},
	{"", NULL, true, true, false, NULL},
};

START_TEST(the_best_mechanism_in_common_is_chosen)
{
	char *allowed[] = {(char *)choices[_i].allowed};
	offer(choices[_i].offered);
	relay.auth = allowed;
	relay.auth_count = choices[_i].allowed != NULL ? 1 : 0;
	if (!choices[_i].password)
		relay.password = NULL;
	struct auth *auth = create(choices[_i].tls, choices[_i].token ? "t0ken" : NULL);
	if (choices[_i].expected != NULL)
		ck_assert_str_eq(auth_mechanism(auth), choices[_i].expected);
	else
		ck_assert_ptr_null(auth);
	auth_free(auth);
}
END_TEST

START_TEST(the_order_of_the_configuration_counts)
{
	char *allowed[] = {(char *)"XOAUTH2", (char *)"CRAM-MD5", (char *)"PLAIN"};
	offer(" PLAIN CRAM-MD5 XOAUTH2 ");
	relay.auth = allowed;
	relay.auth_count = 3;
	struct auth *auth = must_create(NULL);
	ck_assert_str_eq(auth_mechanism(auth), "CRAM-MD5");
	auth_free(auth);
}
END_TEST

START_TEST(nothing_in_common_is_explained)
{
	char *allowed[] = {(char *)"CRAM-MD5", (char *)"SCRAM-SHA-256"};
	offer(" PLAIN LOGIN ");
	ck_assert_ptr_null(create(false, NULL));
	ck_assert_str_eq(error, "no AUTH mechanism in common: the relay offers PLAIN LOGIN , allowed here are CRAM-MD5 "
				"SCRAM-SHA-1 SCRAM-SHA-256");
	relay.auth = allowed;
	relay.auth_count = 2;
	caps.auth[0] = '\0';
	ck_assert_ptr_null(create(true, NULL));
	ck_assert_str_eq(error, "no AUTH mechanism in common: the relay offers none, allowed here are CRAM-MD5 "
				"SCRAM-SHA-256");
}
END_TEST

START_TEST(clear_text_is_possible_where_it_is_allowed)
{
	offer(" PLAIN LOGIN ");
	relay.allow_cleartext_auth = true;
	struct auth *auth = create(false, NULL);
	ck_assert_str_eq(auth_mechanism(auth), "PLAIN");
	auth_free(auth);
}
END_TEST

/* ---- what is said ---- */

START_TEST(plain_takes_one_line)
{
	offer(" PLAIN ");
	relay.username = (char *)"test";
	relay.password = (char *)"1234";
	struct auth *auth = must_create(NULL);
	ck_assert_says(auth, NULL, "AUTH PLAIN AHRlc3QAMTIzNA==");
	ck_assert(auth_accept(auth));
	ck_assert_gives_up(auth, "", "AUTH PLAIN: the relay asks for more than user and password");
	auth_free(auth);
}
END_TEST

START_TEST(a_long_initial_response_follows_the_command)
{
	static char password[400]; /* the relay keeps it */
	memset(password, 'p', sizeof(password));
	offer(" PLAIN ");
	relay.password = password;
	for (size_t length = 360; length < 380; length++) {
		char *line;
		password[length] = '\0';
		struct auth *auth = must_create(NULL);
		ck_assert(auth_next(auth, NULL, &line, error, sizeof(error)));
		size_t whole = strlen("AUTH PLAIN ") + (length + strlen("tim") + 2 + 2) / 3 * 4 + 2;
		ck_assert_uint_eq(strlen(line), whole <= 512 ? whole - 2 : strlen("AUTH PLAIN"));
		mem_free_secret(line);
		if (whole > 512) {
			ck_assert(auth_next(auth, "", &line, error, sizeof(error)));
			ck_assert_uint_eq(strlen(line), whole - 2 - strlen("AUTH PLAIN "));
			mem_free_secret(line);
			ck_assert_gives_up(auth, "", "more than user and password");
		}
		password[length] = 'p';
		auth_free(auth);
	}
}
END_TEST

START_TEST(login_answers_two_prompts)
{
	offer(" LOGIN ");
	struct auth *auth = must_create(NULL);
	ck_assert_says(auth, NULL, "AUTH LOGIN");
	ck_assert_says(auth, "VXNlcm5hbWU6", "dGlt");
	ck_assert_says(auth, "UGFzc3dvcmQ6", "dGFuc3RhYWZ0YW5zdGFhZg==");
	ck_assert_gives_up(auth, "UGFzc3dvcmQ6", "AUTH LOGIN: the relay asks for more than user and password");
	auth_free(auth);
}
END_TEST

START_TEST(cram_md5_answers_as_rfc_2195)
{
	offer(" CRAM-MD5 ");
	struct auth *auth = must_create(NULL);
	ck_assert_says(auth, NULL, "AUTH CRAM-MD5");
	ck_assert_says(auth, "PDE4OTYuNjk3MTcwOTUyQHBvc3RvZmZpY2UucmVzdG9uLm1jaS5uZXQ+ ",
		       "dGltIGI5MTNhNjAyYzdlZGE3YTQ5NWI0ZTZlNzMzNGQzODkw");
	ck_assert_gives_up(auth, "PDE4OTYu", "AUTH CRAM-MD5: the relay asks for more than one response");
	auth_free(auth);
	auth = must_create(NULL);
	ck_assert_says(auth, NULL, "AUTH CRAM-MD5");
	ck_assert_gives_up(auth, "", "AUTH CRAM-MD5: the relay's challenge is empty");
	auth_free(auth);
}
END_TEST

START_TEST(xoauth2_is_what_google_says)
{
	offer(" XOAUTH2 ");
	relay.username = (char *)"someuser@example.com";
	struct auth *auth = must_create("ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg");
	ck_assert_says(
		auth, NULL,
		"AUTH XOAUTH2 dXNlcj1zb21ldXNlckBleGFtcGxlLmNvbQFhdXRoPUJlYXJlciB5YTI5LnZGOWRmdDRxbVRjMk52YjNSbGNr"
		"QmhkSFJoZG1semRHRXVZMjl0Q2cBAQ==");
	ck_assert_says(auth, "eyJzdGF0dXMiOiI0MDEiLCJzY2hlbWVzIjoiYmVhcmVyIG1hYyJ9", "");
	ck_assert_gives_up(auth, "", "AUTH XOAUTH2: the relay neither takes nor refuses the token");
	auth_free(auth);
}
END_TEST

START_TEST(oauthbearer_is_rfc_7628)
{
	offer(" OAUTHBEARER ");
	relay.username = (char *)"user@example.com";
	struct auth *auth = must_create("vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==");
	ck_assert_says(
		auth, NULL,
		"AUTH OAUTHBEARER bixhPXVzZXJAZXhhbXBsZS5jb20sAWhvc3Q9c2VydmVyLmV4YW1wbGUuY29tAXBvcnQ9MTQzAWF1dGg9"
		"QmVhcmVyIHZGOWRmdDRxbVRjMk52YjNSbGNrQmhiSFJoZG1semRHRXVZMjl0Q2c9PQEB");
	ck_assert_says(auth, "eyJzdGF0dXMiOiJpbnZhbGlkX3Rva2VuIn0=", "AQ==");
	ck_assert_gives_up(auth, "", "AUTH OAUTHBEARER: the relay neither takes nor refuses the token");
	auth_free(auth);
}
END_TEST

START_TEST(a_name_cannot_end_its_field)
{
	static const char expected[] = "n,a=a=2Cb=3Dc,\001host=";
	char *line, *raw;
	size_t length;
	offer(" OAUTHBEARER ");
	relay.username = (char *)"a,b=c";
	struct auth *auth = must_create("t");
	ck_assert(auth_next(auth, NULL, &line, error, sizeof(error)));
	ck_assert_int_eq(gsasl_base64_from(strrchr(line, ' ') + 1, strlen(strrchr(line, ' ') + 1), &raw, &length),
			 GSASL_OK);
	ck_assert_int_eq(strncmp(raw, expected, strlen(expected)), 0);
	gsasl_free(raw);
	mem_free_secret(line);
	auth_free(auth);
}
END_TEST

START_TEST(a_token_that_is_none_is_refused)
{
	offer(" XOAUTH2 ");
	ck_assert_ptr_null(create(true, "a b"));
	ck_assert_str_eq(error, "AUTH XOAUTH2: the token has characters that no token has");
	ck_assert_ptr_null(create(true, "a\001auth=Bearer b"));
	ck_assert_ptr_null(create(true, "a\n"));
}
END_TEST

START_TEST(a_token_too_long_for_the_protocol_is_not_sent)
{
	static char token[13000];
	offer(" XOAUTH2 ");
	memset(token, 't', sizeof(token) - 1);
	struct auth *auth = must_create(token);
	ck_assert_says(auth, NULL, "AUTH XOAUTH2");
	ck_assert_gives_up(auth, "", "AUTH XOAUTH2: the response is longer than 12288 octets");
	auth_free(auth);
}
END_TEST

START_TEST(a_challenge_is_base64_or_nothing)
{
	static const char *const names[] = {" LOGIN ", " CRAM-MD5 "};
	static const char *const bad[] = {"Username:", "VXNl*m5h", "VXNlcm5hbWU6\nVXNlcm5hbWU6", "=", "VXNlcm5hbW"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]) * 2; i++) {
		offer(names[i % 2]);
		struct auth *auth = must_create(NULL);
		char *line;
		ck_assert(auth_next(auth, NULL, &line, error, sizeof(error)));
		mem_free_secret(line);
		ck_assert_gives_up(auth, bad[i / 2], "the relay's challenge is not base64");
		auth_free(auth);
	}
}
END_TEST

/* ---- against GNU SASL's server ---- */

static const char *server_password;

static int on_server(Gsasl *library, Gsasl_session *session, Gsasl_property property)
{
	(void)library;
	if (property != GSASL_PASSWORD)
		return GSASL_NO_CALLBACK;
	ck_assert_str_eq(gsasl_property_fast(session, GSASL_AUTHID), "tim");
	return gsasl_property_set(session, GSASL_PASSWORD, server_password);
}

/* The whole exchange. What the server thought of it; `accepted`: what the client thinks of the server. */
static int converse(const char *mechanism, const char *password, bool *accepted)
{
	Gsasl *library;
	Gsasl_session *session;
	char *line, *challenge = NULL, spaced[32];
	server_password = password;
	snprintf(spaced, sizeof(spaced), " %s ", mechanism);
	offer(spaced);
	struct auth *auth = must_create(NULL);
	ck_assert_int_eq(gsasl_init(&library), GSASL_OK);
	gsasl_callback_set(library, on_server);
	ck_assert_int_eq(gsasl_server_start(library, mechanism, &session), GSASL_OK);

	ck_assert(auth_next(auth, NULL, &line, error, sizeof(error)));
	const char *initial = strchr(line + 5, ' ');
	int result = gsasl_step64(session, initial != NULL ? initial + 1 : "", &challenge);
	while (result == GSASL_NEEDS_MORE || (result == GSASL_OK && challenge != NULL && challenge[0] != '\0')) {
		mem_free_secret(line);
		line = NULL;
		if (!auth_next(auth, challenge, &line, error, sizeof(error)))
			break;
		gsasl_free(challenge);
		challenge = NULL;
		if (result == GSASL_NEEDS_MORE)
			result = gsasl_step64(session, line, &challenge);
	}
	*accepted = auth_accept(auth);
	mem_free_secret(line);
	gsasl_free(challenge);
	gsasl_finish(session);
	gsasl_done(library);
	auth_free(auth);
	return result;
}

static const char *const challenged[] = {"CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256"};

START_TEST(a_real_server_accepts)
{
	bool accepted = false;
	ck_assert_int_eq(converse(challenged[_i], "tanstaaftanstaaf", &accepted), GSASL_OK);
	ck_assert(accepted);
}
END_TEST

START_TEST(a_real_server_refuses_another_password)
{
	bool accepted = true;
	ck_assert_int_ne(converse(challenged[_i], "something else", &accepted), GSASL_OK);
	ck_assert_int_eq(accepted, _i == 0); /* CRAM-MD5 proves nothing of the relay */
}
END_TEST

/* The client's first message as raw text; the caller frees it. */
static char *scram_first(struct auth *auth)
{
	char *line, *raw;
	size_t length;
	ck_assert(auth_next(auth, NULL, &line, error, sizeof(error)));
	ck_assert_int_eq(strncmp(line, "AUTH SCRAM-SHA-256 ", 19), 0);
	ck_assert_int_eq(gsasl_base64_from(line + 19, strlen(line + 19), &raw, &length), GSASL_OK);
	ck_assert_int_eq(strncmp(raw, "n,,n=tim,r=", 11), 0); /* no channel binding */
	mem_free_secret(line);
	char *copy = mem_strndup(raw, length);
	gsasl_free(raw);
	return copy;
}

static void ck_assert_scram_gives_up(const char *format, const char *why)
{
	char text[512], *encoded;
	size_t length;
	offer(" SCRAM-SHA-256 ");
	struct auth *auth = must_create(NULL);
	char *first = scram_first(auth);
	snprintf(text, sizeof(text), format, strstr(first, "r=") + 2);
	ck_assert_int_eq(gsasl_base64_to(text, strlen(text), &encoded, &length), GSASL_OK);
	ck_assert_gives_up(auth, encoded, why);
	ck_assert(!auth_accept(auth));
	gsasl_free(encoded);
	free(first);
	auth_free(auth);
}

START_TEST(work_without_end_is_refused)
{
	ck_assert_scram_gives_up("r=%sx,s=c2FsdA==,i=20001", "more than 20000 iterations");
	ck_assert_scram_gives_up("r=%sx,s=c2FsdA==,i=99999999999999999999", "more than 20000 iterations");
	ck_assert_scram_gives_up("r=%sx,s=c2FsdA==,i=0000000000001000000", "more than 20000 iterations");
}
END_TEST

START_TEST(another_nonce_is_refused)
{
	ck_assert_scram_gives_up("r=x%s,s=c2FsdA==,i=4096", "the relay's challenge is not right");
	ck_assert_scram_gives_up("nonsense %s", "the relay's challenge is not right");
}
END_TEST

START_TEST(a_relay_that_skips_its_proof_is_not_accepted)
{
	offer(" SCRAM-SHA-256 ");
	struct auth *auth = must_create(NULL);
	free(scram_first(auth));
	ck_assert(!auth_accept(auth)); /* 235 right away */
	ck_assert_gives_up(auth, "AAAA", "a NUL octet stands in the relay's challenge");
	auth_free(auth);
}
END_TEST

START_TEST(a_forged_proof_is_not_accepted)
{
	char text[512], *encoded, *line;
	size_t length;
	offer(" SCRAM-SHA-256 ");
	struct auth *auth = must_create(NULL);
	char *first = scram_first(auth);
	snprintf(text, sizeof(text), "r=%sx,s=c2FsdA==,i=4096", strstr(first, "r=") + 2);
	ck_assert_int_eq(gsasl_base64_to(text, strlen(text), &encoded, &length), GSASL_OK);
	ck_assert(auth_next(auth, encoded, &line, error, sizeof(error)));
	mem_free_secret(line);
	ck_assert(!auth_accept(auth));
	/* "v=" and 32 octets of zero */
	ck_assert_gives_up(auth, "dj1BQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQT0=",
			   "the relay's challenge is not right");
	ck_assert(!auth_accept(auth));
	gsasl_free(encoded);
	free(first);
	auth_free(auth);
}
END_TEST

static const struct {
	const char *said, *left;
} echoes[] = {
	{"500 What is AUTH PLAIN AHRpbQB0YW5zdGFhZnRhbnN0YWFm?",
	 "500 What is AUTH PLAIN ****************************?"},
	{"500 auth plain ahrpbqb0yw5zdgfhznrhbnn0ywfm", "500 auth plain ****************************"},
	{"501 AHRpbQB0YW5z...", "501 ************..."},
	{"501 not right: B0YW5zdGFh", "501 not right: **********"},
	{"535 tim/tanstaaftanstaaf: no", "535 tim/****************: no"},
	{"535 5.7.8 Authentication failed", "535 5.7.8 Authentication failed"},
	{"", ""},
};

START_TEST(an_echo_shows_no_password)
{
	char text[128];
	offer(" PLAIN ");
	struct auth *auth = must_create(NULL);
	ck_assert_says(auth, NULL, "AUTH PLAIN AHRpbQB0YW5zdGFhZnRhbnN0YWFm");
	snprintf(text, sizeof(text), "%s", echoes[_i].said);
	auth_blank(auth, text);
	ck_assert_str_eq(text, echoes[_i].left);
	auth_free(auth);
}
END_TEST

START_TEST(an_echo_shows_no_token)
{
	char text[128] = "535 ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg: expired; dXNlcj10aW0BYXV0";
	offer(" XOAUTH2 ");
	char *line = NULL;
	struct auth *auth = must_create("ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg");
	ck_assert(auth_next(auth, NULL, &line, error, sizeof(error)));
	mem_free_secret(line);
	auth_blank(auth, text);
	ck_assert_str_eq(text, "535 *********************************************: expired; ****************");
	auth_free(auth);
}
END_TEST

Suite *auth_suite(void)
{
	Suite *suite = suite_create("auth");
	TCase *choice = tcase_create("choice"), *words = tcase_create("words"), *server = tcase_create("server");
	tcase_add_loop_test(choice, the_best_mechanism_in_common_is_chosen, 0,
			    (int)(sizeof(choices) / sizeof(choices[0])));
	tcase_add_test(choice, the_order_of_the_configuration_counts);
	tcase_add_test(choice, nothing_in_common_is_explained);
	tcase_add_test(choice, clear_text_is_possible_where_it_is_allowed);
	tcase_add_test(words, plain_takes_one_line);
	tcase_add_test(words, a_long_initial_response_follows_the_command);
	tcase_add_test(words, login_answers_two_prompts);
	tcase_add_test(words, cram_md5_answers_as_rfc_2195);
	tcase_add_test(words, xoauth2_is_what_google_says);
	tcase_add_test(words, oauthbearer_is_rfc_7628);
	tcase_add_test(words, a_name_cannot_end_its_field);
	tcase_add_test(words, a_token_that_is_none_is_refused);
	tcase_add_test(words, a_token_too_long_for_the_protocol_is_not_sent);
	tcase_add_test(words, a_challenge_is_base64_or_nothing);
	tcase_add_loop_test(words, an_echo_shows_no_password, 0, (int)(sizeof(echoes) / sizeof(echoes[0])));
	tcase_add_test(words, an_echo_shows_no_token);
	tcase_add_loop_test(server, a_real_server_accepts, 0, 3);
	tcase_add_loop_test(server, a_real_server_refuses_another_password, 0, 3);
	tcase_add_test(server, work_without_end_is_refused);
	tcase_add_test(server, another_nonce_is_refused);
	tcase_add_test(server, a_relay_that_skips_its_proof_is_not_accepted);
	tcase_add_test(server, a_forged_proof_is_not_accepted);
	suite_add_tcase(suite, choice);
	suite_add_tcase(suite, words);
	suite_add_tcase(suite, server);
	return suite;
}
