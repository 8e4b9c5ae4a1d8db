/*
 * Where the time of one message went, as relaypoolctl shows it: a line for each stage, and one sentence that names who
 * held it. Called by ctl.c. It explains what the daemon told and measures nothing itself.
 */
#include <config.h>

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "ctl.h"

#define NOTICEABLE 1.0 /* seconds; what took less held nobody up */
#define BAR_WIDTH 50

/* ---- words ---- */

/* "Of 12.4 s, 11.9 s were spent …" */
static const char *const stage_phrases[STAGE_COUNT] = {
	[STAGE_CLIENT] = "waiting for the client that sent it",
	[STAGE_MTA] = "waiting for the MTA to accept it",
	[STAGE_QUEUE] = "in the MTA's queue",
	[STAGE_INGEST] = "being handed over by the MTA",
	[STAGE_POOL] = "waiting for a connection",
	[STAGE_DNS] = "looking up the relay's name",
	[STAGE_CONNECT] = "connecting to the relay",
	[STAGE_BANNER] = "waiting for the relay's greeting",
	[STAGE_EHLO] = "waiting for the reply to EHLO",
	[STAGE_TLS] = "setting up TLS with the relay",
	[STAGE_AUTH] = "authenticating at the relay",
	[STAGE_MAIL] = "waiting for the reply to MAIL",
	[STAGE_RCPT] = "waiting for the reply to RCPT",
	[STAGE_DATA] = "waiting for the reply to DATA",
	[STAGE_BODY] = "sending the body",
	[STAGE_REPLY] = "waiting for the verdict",
};

/* "held by relaypool (cap: …)"; without a verb that has a tense, for they tell of what was and of what is. */
static const char *const cause_phrases[CAUSE_COUNT] = {
	[CAUSE_CLIENT] = "the client's turn to speak",
	[CAUSE_SERVER] = "the MTA's turn to speak: its policy, its disk or another milter",
	[CAUSE_DOOR] = "client or MTA: whose turn it is cannot be told",
	[CAUSE_MANAGER] = "room here, and nothing brought by the MTA's queue manager",
	[CAUSE_PROCESSES] = "too few delivery processes of the MTA for the mail that waits",
	[CAUSE_HANDOVER] = "the MTA's LMTP client slow to hand it over",
	[CAUSE_CAP] = "no connection free of those that max-connections, or what was learned, allows",
	[CAUSE_ACCOUNT] = "the account's connections taken by other relays of it",
	[CAUSE_RATE] = "no more messages a second than configured or learned",
	[CAUSE_SLOT] = "places for connections not free yet at the relay",
	[CAUSE_TURN] = "on its connection, behind the messages before it",
	[CAUSE_SETUP] = "a connection being set up",
	[CAUSE_HELD] = "the relay paused or drained by relaypoolctl",
	[CAUSE_TOKEN] = "no token yet from token-command or token-file",
	[CAUSE_LOOP] = "relaypoold itself late: no processor time, or too much to do",
	[CAUSE_LOG] = "no lines taken by the system's logger",
	[CAUSE_DNS] = "no answer yet from the name service",
	[CAUSE_CONNECT] = "no answer from the relay's address",
	[CAUSE_PATH] = "what was sent not acknowledged by the relay's system",
	[CAUSE_ANSWER] = "no answer from a relay that has all it needs for one",
	[CAUSE_WINDOW] = "the body not read by the relay",
	[CAUSE_THROTTLE] = "mail wanted later by the relay",
	[CAUSE_BACKOFF] = "the next attempt after the relay's failures not due yet",
	[CAUSE_PROGRESS] = "mail waiting and nothing coming to its end",
};

static const char *phrase_of(const char *name, const char *const *names, const char *const *phrases, size_t count)
{
	for (size_t i = 0; name && i < count; i++)
		if (strcmp(names[i], name) == 0)
			return phrases[i];
	return NULL;
}

const char *cause_phrase(const char *cause)
{
	return phrase_of(cause, cause_names, cause_phrases, CAUSE_COUNT);
}

static const char *string_of(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

/* "0.42 s", "12.4 s", "8m59s". Returns `out`. */
static const char *say_seconds(double seconds, char out[32])
{
	if (seconds < 99.95)
		snprintf(out, 32, "%.*f s", seconds < NOTICEABLE ? 2 : 1, seconds);
	else
		format_seconds(seconds, out, 32);
	return out;
}

/* ---- the sentence ---- */

/* Why nobody can be named, of a stage of which no cause is known. */
static const char *say_unknown(const char *stage)
{
	if (strcmp(stage, stage_names[STAGE_QUEUE]) == 0)
		return "by whom is unknown, as the queue is not looked into: it may have been tried before, as shown "
		       "then; or it waited for the queue manager or for a delivery process, which stalls tells while "
		       "it "
		       "lasts";
	if (strcmp(stage, stage_names[STAGE_POOL]) == 0)
		return "by whom is unknown";
	return "by whom is unknown, it was too short to be looked at";
}

/* "held by relaypool (cap: …)", in this stage; the caller's. */
static char *say_holder(const json_t *journey, const char *stage)
{
	const char *holder = string_of(journey, "holder"), *cause = string_of(journey, "cause");
	const char *phrase = cause_phrase(cause);
	if (holder && strcmp(holder, holder_names[HOLDER_UNKNOWN]) != 0)
		return phrase ? mem_printf("held by %s (%s: %s)", holder, cause, phrase)
			      : mem_printf("held by %s", holder);
	return phrase ? mem_printf("by whom is unknown (%s: %s)", cause, phrase) : mem_strdup(say_unknown(stage));
}

static bool has_word(const json_t *journey, const char *key, const char *word)
{
	return string_of(journey, key) && strcmp(string_of(journey, key), word) == 0;
}

/* Of one that has its verdict. */
static char *say_settled(const json_t *journey, double total)
{
	const char *stage = string_of(journey, "longest");
	double spent = stage ? json_number_value(json_object_get(json_object_get(journey, "stages"), stage)) : 0;
	char all[32], part[32];
	say_seconds(total, all);
	say_seconds(spent, part);
	if (!stage)
		return mem_strdup("Nothing was seen of its way.");
	if (total < NOTICEABLE && has_word(journey, "status", status_names[STATUS_DEFERRED]))
		return mem_printf("It was deferred after %s.", all);
	if (total < NOTICEABLE)
		return mem_printf("Nothing held it up: it took %s in all.", all);
	if (spent < NOTICEABLE)
		return mem_printf("Nothing held it up for long: of %s, stage %s took the most, %s.", all, stage, part);
	char *holder = say_holder(journey, stage);
	char *sentence = mem_printf("Of %s, %s were spent %s: %s.", all, part,
				    phrase_of(stage, stage_names, stage_phrases, STAGE_COUNT), holder);
	free(holder);
	return sentence;
}

/* Of one that waits now. */
static char *say_waiting(const json_t *journey)
{
	const char *stage = string_of(journey, "stage");
	if (has_word(journey, "state", "queued") && !string_of(journey, "cause"))
		return mem_strdup(
			"The MTA has accepted it, and it has not come here since: it is in the queue (mailq tells), on "
			"hold, or the MTA delivers it by itself, or has done so long ago.");
	const json_t *spent = stage ? json_object_get(json_object_get(journey, "stages"), stage) : NULL;
	if (!json_is_number(spent))
		return mem_strdup("It is under way.");
	char time[32];
	char *holder = say_holder(journey, stage);
	char *sentence = mem_printf("It has waited %s in stage %s: %s.", say_seconds(json_number_value(spent), time),
				    stage, holder);
	free(holder);
	return sentence;
}

static bool has_state(const json_t *journey, const char *state)
{
	return has_word(journey, "state", state);
}

static void print_sentence(const json_t *journey)
{
	bool settled = has_state(journey, "settled");
	char *sentence = settled ? say_settled(journey, json_number_value(json_object_get(journey, "total")))
				 : say_waiting(journey);
	text_clean(sentence);
	text_fold(stdout, SCREEN_WIDTH, sentence);
	free(sentence);
	if (settled && has_word(journey, "status", status_names[STATUS_DEFERRED]))
		text_fold(stdout, SCREEN_WIDTH, "The MTA keeps it in its queue and tries again.");
}

/* ---- the timeline ---- */

/* "4fXyZ1: sent, 2 recipients, 2026-11-23 12:00:00" */
static void print_head(const char *queue_id, const json_t *journey)
{
	char state[CELL_SIZE], at[CELL_SIZE], recipients[48] = "", *line;
	json_int_t count = json_integer_value(json_object_get(journey, "recipients"));
	if (count > 0)
		snprintf(recipients, sizeof(recipients), ", %lld recipient%s", (long long)count, count == 1 ? "" : "s");
	format_key(journey, "at", KIND_TIME, at);
	format_key(journey, "status", KIND_TEXT, state);
	if (has_state(journey, "settled"))
		line = mem_printf("%s: %s%s%s, %s", queue_id, state,
				  json_is_true(json_object_get(journey, "ambiguous")) ? ", and maybe delivered" : "",
				  recipients, at);
	else if (has_state(journey, "queued"))
		line = mem_printf("%s: accepted by the MTA, %s", queue_id, at);
	else if (has_state(journey, "arriving"))
		line = mem_printf("%s: arriving at the MTA", queue_id);
	else
		line = mem_printf("%s: under way%s", queue_id, recipients);
	text_clean(line);
	text_fold(stdout, SCREEN_WIDTH, line);
	free(line);
}

static void print_field(const char *title, const json_t *journey, const char *key)
{
	char value[CELL_SIZE];
	if (json_is_null(json_object_get(journey, key)))
		return;
	format_key(journey, key, KIND_COUNT, value);
	text_cut(value, SCREEN_WIDTH - 12);
	printf("%-11s %s\n", title, value);
}

/* The time of a stage, and its share of the whole. */
static void print_stage(const char *stage, const json_t *spent, double total)
{
	static const char bar[] = "##################################################";
	_Static_assert(sizeof(bar) == BAR_WIDTH + 1, "the bar of a stage that took all the time");
	if (!json_is_number(spent)) {
		printf("  %-9s %12s\n", stage, "-");
		return;
	}
	double seconds = json_number_value(spent), share = total > 0 ? seconds / total : 0;
	int width = share < 1 ? (int)(share * BAR_WIDTH + 0.5) : BAR_WIDTH;
	printf("  %-9s %12.3f%s%.*s\n", stage, seconds, width > 0 ? "  " : "", width, bar);
}

static void print_journey(const char *queue_id, const json_t *journey)
{
	const json_t *stages = json_object_get(journey, "stages"), *total = json_object_get(journey, "total");
	print_head(queue_id, journey);
	print_field("relay", journey, "relay");
	print_field("host", journey, "host");
	print_field("connection", journey, "connection");
	print_field("use", journey, "use");
	printf("\n");
	for (size_t i = 0; i < STAGE_COUNT; i++)
		print_stage(stage_names[i], json_object_get(stages, stage_names[i]), json_number_value(total));
	print_stage("total", total, 0);
	printf("\n");
	if (string_of(journey, "text")) {
		char *text = mem_strdup(string_of(journey, "text"));
		text_clean(text);
		text_fold(stdout, SCREEN_WIDTH, text);
		free(text);
	}
	print_sentence(journey);
}

int show_why(const json_t *answer, const char *argument)
{
	size_t i;
	const json_t *journey;
	const char *original = string_of(answer, "copy_of");
	if (original) {
		char *line =
			mem_printf("%s itself is not known here. It may be a copy that Sendmail made of %s, whose id "
				   "came before it in the same process; of that is known:",
				   argument, original);
		text_clean(line);
		text_fold(stdout, SCREEN_WIDTH, line);
		free(line);
		printf("\n");
		argument = original;
	}
	json_array_foreach(json_object_get(answer, "journeys"), i, journey)
	{
		if (i > 0)
			printf("\n");
		print_journey(argument, journey);
	}
	if (json_object_get(answer, "left_out"))
		printf("\nand %lld more\n", (long long)json_integer_value(json_object_get(answer, "left_out")));
	return EXIT_OK;
}
