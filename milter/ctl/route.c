/*
 * What test-route shows: the route and the relay with the reasons, a line for each step with its time, and what it
 * comes down to. Called by ctl.c. It explains what the daemon told and tries nothing itself.
 */
#include <config.h>

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "ctl.h"

#define NAME_WIDTH 10
#define SAID_WIDTH 58 /* NAME SAID TIME fill the screen */

static const char *string_of(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

static bool is(const json_t *object, const char *key, const char *word)
{
	return string_of(object, key) && strcmp(string_of(object, key), word) == 0;
}

/* ---- lines ---- */

/* "name  text", and further lines below the text; `text` is taken over. */
static void print_text(const char *name, char *text)
{
	text_clean(text);
	text_cut(text, SCREEN_WIDTH - NAME_WIDTH - 1);
	printf("%-*s %s\n", NAME_WIDTH, name, text);
	free(text);
}

/* A step with its time; `said` is taken over. */
static void print_step(const char *name, char *said, const json_t *time)
{
	char seconds[32] = "-";
	if (json_is_number(time))
		snprintf(seconds, sizeof(seconds), "%.3f s", json_number_value(time));
	text_clean(said);
	text_cut(said, SAID_WIDTH);
	size_t width = text_width(said);
	printf("%-*s %s%*s %9s\n", NAME_WIDTH, name, said, (int)(SAID_WIDTH - width), "", seconds);
	free(said);
}

/* A sentence of its own; `text` is taken over. */
static void print_sentence(char *text)
{
	text_clean(text);
	text_fold(stdout, SCREEN_WIDTH, text);
	free(text);
}

/* ---- which way ---- */

/* "clients, users" */
static char *join(const json_t *list, const char *between)
{
	char *all = mem_strdup("");
	size_t i;
	const json_t *item;
	json_array_foreach((json_t *)list, i, item)
	{
		char *longer = mem_printf("%s%s%s", all, i > 0 ? between : "", json_string_value(item));
		free(all);
		all = longer;
	}
	return all;
}

/* Why a route is taken, or is not; the caller's. */
static char *say_route(const json_t *row)
{
	const json_t *sender = json_object_get(row, "sender"), *recipient = json_object_get(row, "recipient");
	const char *name = string_of(row, "route");
	if (json_array_size(json_object_get(row, "needs")) > 0) {
		char *needs = join(json_object_get(row, "needs"), ", ");
		char *text = mem_printf("%s: passed over, needs what only the milter sees (%s)", name, needs);
		free(needs);
		return text;
	}
	if (json_is_false(sender) || json_is_false(recipient))
		return mem_printf("%s: passed over, %s not match", name,
				  !json_is_false(recipient) ? "the sender does"
				  : !json_is_false(sender)  ? "the recipient does"
							    : "sender and recipient do");
	if (json_is_null(sender) && json_is_null(recipient))
		return mem_printf("%s: taken, it has no conditions", name);
	return mem_printf("%s: taken, %s", name,
			  json_is_null(recipient) ? "the sender matches"
			  : json_is_null(sender)  ? "the recipient matches"
						  : "sender and recipient match");
}

static void print_routes(const json_t *answer)
{
	size_t i;
	const json_t *row;
	json_array_foreach(json_object_get(answer, "routes"), i, row) print_text(i == 0 ? "route" : "", say_route(row));
	if (!string_of(answer, "route"))
		print_text(i == 0 ? "route" : "", mem_strdup("none matches: such mail waits in the MTA's queue"));
}

/* What is known of a relay that mail of this route may take; the caller's. */
static char *say_relay(const json_t *row, bool asked)
{
	const char *reason = string_of(row, "reason"), *state = string_of(row, "state");
	char retry[CELL_SIZE] = "", *next = NULL;
	if (json_is_number(json_object_get(row, "retry_in")))
		next = mem_printf(", next attempt in %s", format_key(row, "retry_in", KIND_SECONDS, retry));
	char *text = mem_printf("%s: %s, %s%s%s%s", string_of(row, "relay"), asked ? "asked" : "not asked", state,
				next ? next : "", reason ? ": " : "", reason ? reason : "");
	free(next);
	return text;
}

static void print_relays(const json_t *answer)
{
	size_t i;
	const json_t *row;
	json_array_foreach(json_object_get(answer, "relays"), i, row)
		print_text(i == 0 ? "relay" : "",
			   say_relay(row, string_of(answer, "relay") && is(row, "relay", string_of(answer, "relay"))));
}

/* ---- the steps ---- */

static char *say_pool(const json_t *answer)
{
	const json_t *stages = json_object_get(answer, "stages");
	double waited = json_number_value(json_object_get(stages, "pool"));
	return mem_strdup(waited < 0.001 ? "no wait for a connection" : "waited for a connection");
}

static char *say_dns(const json_t *answer)
{
	const json_t *list = json_object_get(answer, "addresses");
	json_int_t count = json_integer_value(json_object_get(answer, "address_count"));
	if (count == 0)
		return mem_strdup("no address");
	char *addresses = join(list, " ");
	char *text = mem_printf("%lld address%s: %s", (long long)count, count == 1 ? "" : "es", addresses);
	free(addresses);
	return text;
}

static char *say_tls(const json_t *answer)
{
	const char *tls = string_of(answer, "tls");
	return tls ? mem_printf("%s, %s", tls,
				json_is_true(json_object_get(answer, "tls_verified")) ? "verified" : "not verified")
		   : mem_strdup("no TLS came about");
}

static char *say_auth(const json_t *answer)
{
	const char *mechanism = string_of(answer, "mechanism");
	const char *said = string_of(json_object_get(answer, "replies"), "auth");
	return mem_printf("%s%s%s", mechanism ? mechanism : "", mechanism ? ": " : "", said ? said : "no reply");
}

static char *say_key(const json_t *object, const char *key, const char *none)
{
	return mem_strdup(string_of(object, key) ? string_of(object, key) : none);
}

static char *say_step(const json_t *answer, const char *step)
{
	const json_t *replies = json_object_get(answer, "replies");
	if (strcmp(step, "pool") == 0)
		return say_pool(answer);
	if (strcmp(step, "dns") == 0)
		return say_dns(answer);
	if (strcmp(step, "connect") == 0)
		return say_key(answer, "host", "no connection");
	if (strcmp(step, "tls") == 0)
		return say_tls(answer);
	if (strcmp(step, "ehlo") == 0)
		return say_key(answer, "announced", "nothing announced");
	if (strcmp(step, "auth") == 0)
		return say_auth(answer);
	if (strcmp(step, "rset") == 0)
		return mem_strdup("no message was sent");
	if (strcmp(step, "body") == 0)
		return mem_strdup("the message");
	return say_key(replies, step, "no reply");
}

/* Those that were reached, in the order in which they came. */
static void print_steps(const json_t *answer)
{
	static const char *const implicit[] = {"pool", "dns",  "connect", "tls",  "banner", "ehlo", "auth",
					       "mail", "rcpt", "data",    "body", "reply",  "rset"};
	static const char *const later[] = {"pool", "dns",  "connect", "banner", "ehlo",  "tls", "auth",
					    "mail", "rcpt", "data",    "body",   "reply", "rset"};
	const char *const *steps = is(answer, "tls_mode", "implicit") ? implicit : later;
	const json_t *stages = json_object_get(answer, "stages");
	for (size_t i = 0; i < sizeof(later) / sizeof(later[0]); i++)
		if (json_is_number(json_object_get(stages, steps[i])))
			print_step(steps[i], say_step(answer, steps[i]), json_object_get(stages, steps[i]));
}

/* ---- what it comes down to ---- */

/* Where to look, of a step that failed; of AUTH the daemon has said it. NULL: what was said or seen is all there is. */
static const char *say_look(const json_t *answer, const char *stage)
{
	static const struct {
		const char *stage;
		const char *said; /* how the reply has to begin; "": there was none; NULL: any or none */
		const char *look;
	} looks[] = {
		{"dns", NULL, "Look at host in relaypool.conf, and at the name service."},
		{"connect", NULL, "Look at host and port in relaypool.conf, and at firewalls on the way."},
		{"banner", "",
		 "Look at port and tls in relaypool.conf: a port for TLS from the first octet says nothing in clear."},
		{"ehlo", NULL, "Look at hostname in relaypool.conf: it is what EHLO says."},
		{"tls", NULL, "Look at host, port, tls and tls-ca-file in relaypool.conf."},
		{"mail", "5",
		 "Many providers take only senders that were verified with them: --from names another one."},
		{"rcpt", "5", "The relay does not take this recipient from this sender and account."},
	};
	const char *reply = stage ? string_of(json_object_get(answer, "replies"), stage) : NULL;
	for (size_t i = 0; stage && i < sizeof(looks) / sizeof(looks[0]); i++) {
		if (strcmp(looks[i].stage, stage) != 0)
			continue;
		bool fits = !looks[i].said || (*looks[i].said ? reply && *reply == *looks[i].said : !reply);
		return fits ? looks[i].look : NULL;
	}
	return NULL;
}

static void print_accepted(const json_t *answer)
{
	bool sent = json_is_true(json_object_get(answer, "send"));
	print_sentence(mem_printf("%s A first message takes %.3f s to get this far, one on a connection that is open "
				  "%.3f s, or less where commands are pipelined.",
				  sent ? "Sent." : "Accepted.", json_number_value(json_object_get(answer, "first")),
				  json_number_value(json_object_get(answer, "open"))));
}

static void print_not_accepted(const json_t *answer)
{
	const char *stage = string_of(answer, "stage"), *text = string_of(answer, "text");
	const char *phrase = cause_phrase(string_of(answer, "cause"));
	if (json_is_true(json_object_get(answer, "ambiguous")))
		print_sentence(mem_strdup("It is not known whether the message was sent."));
	else if (stage)
		print_sentence(mem_printf("Not accepted, it ended in stage %s.", stage));
	else
		print_sentence(mem_strdup("Not accepted, no relay was asked."));
	print_sentence(mem_strdup(text ? text : "-"));
	if (phrase)
		print_sentence(mem_printf("What it waited for: %s.", phrase));
	if (say_look(answer, stage))
		print_sentence(mem_strdup(say_look(answer, stage)));
}

int show_test_route(const json_t *answer, const char *argument)
{
	const char *sender = string_of(answer, "sender");
	bool accepted = json_is_true(json_object_get(answer, "accepted"));
	(void)argument;
	print_text("from", mem_printf("<%s>", sender ? sender : ""));
	print_text("to", mem_printf("<%s>", string_of(answer, "recipient")));
	print_routes(answer);
	print_relays(answer);
	print_steps(answer);
	printf("\n");
	if (accepted)
		print_accepted(answer);
	else
		print_not_accepted(answer);
	return accepted ? EXIT_OK : EXIT_PROBLEM;
}
