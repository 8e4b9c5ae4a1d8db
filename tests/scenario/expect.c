/*
 * What a scenario expects at some point (`expect` …), in the language of run_scenarios.c. Called by steps.c for each
 * such line; changes nothing but the record of what was expected.
 */
#include <event2/buffer.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "smtp/reply.h"
#include "world.h"

#define KERNEL_LOOKS 2000 /* a millisecond apart */

/* The words of a line, taken one by one. */
struct words {
	struct world *world;
	const struct line *line;
	size_t next;
};

static const char *peek(const struct words *words)
{
	return words->next < words->line->count ? words->line->words[words->next].text : NULL;
}

static const char *take_word(struct words *words)
{
	const char *text = peek(words);

	if (text == NULL)
		world_fail(words->world, "the line ends too early");
	else
		words->next++;
	return text;
}

static bool take_range(struct words *words, struct range *range)
{
	const char *text = take_word(words);

	if (text == NULL)
		return false;
	return read_range(text, range) || world_fail(words->world, "\"%s\" is neither N, N..M nor N..", text);
}

static bool take_end(struct words *words)
{
	return peek(words) == NULL || world_fail(words->world, "what is \"%s\"?", peek(words));
}

/* The rest of the line is a range; a figure outside of it is a failure, but the scenario goes on. */
static bool compare(struct words *words, const char *what, unsigned long figure)
{
	struct range range;

	if (!take_range(words, &range) || !take_end(words))
		return false;
	if (figure < range.from || figure > range.to)
		world_fail(words->world, "%s: %lu, expected %s", what, figure,
			   words->line->words[words->line->count - 1].text);
	return true;
}

/* ---- relays ---- */

static unsigned long heard_count(const struct scripted_relay *relay, const char *text)
{
	unsigned long count = 0;

	LIST_EACH (node, next, &relay->heard)
		count += strstr(LIST_ENTRY_OF(node, struct heard, node)->line, text) != NULL;
	return count;
}

/* expect a opened N */
static bool expect_relay(struct words *words, const struct scripted_relay *relay)
{
	const char *what = take_word(words);
	const char *text;

	if (what == NULL)
		return false;
	if (strcmp(what, "opened") == 0)
		return compare(words, what, relay->opened);
	if (strcmp(what, "sockets") == 0)
		return compare(words, what, scripted_relay_open(relay));
	if (strcmp(what, "peak") == 0)
		return compare(words, what, relay->peak);
	if (strcmp(what, "accepted") == 0)
		return compare(words, what, list_count(&relay->accepted));
	if (strcmp(what, "refused") == 0)
		return compare(words, what, relay->limits.refused);
	if (strcmp(what, "expired") == 0)
		return compare(words, what, relay->limits.expired);
	if (strcmp(what, "got") != 0)
		return world_fail(words->world, "a relay has no \"%s\"", what);
	text = take_word(words);
	return text != NULL && compare(words, text, heard_count(relay, text));
}

/* ---- pools ---- */

struct pool_wanted {
	const char *relay;
	const char *key;
	bool found;
	bool known;
	char word[32];
	unsigned long figure;
	bool is_word;
};

static void look_at_pool(const struct pool_view *view, void *arg)
{
	struct pool_wanted *wanted = arg;
	const struct {
		const char *key;
		unsigned long figure;
	} figures[] = {
		{"opening", view->opening},
		{"idle", view->idle},
		{"busy", view->busy},
		{"closing", view->closing},
		{"lingering", view->lingering},
		{"waiting", view->waiting},
		{"max-connections", view->max_connections},
		{"account-sockets", view->account_sockets},
		{"account-max", view->account_max},
		{"transactions", view->transactions},
		{"reused", view->reused},
		{"replayed", view->replayed},
		{"opened", view->opened},
		{"closed", view->closed},
		{"failed", view->failed},
		{"retry-in", view->retry_in == -1 ? 0 : (unsigned long)(view->retry_in / USEC_PER_SEC)},
	};

	if (view->opening + view->idle + view->busy + view->closing + view->lingering > view->max_connections)
		wanted->known = false;
	if (strcmp(view->relay, wanted->relay) != 0)
		return;
	wanted->found = true;
	for (size_t i = 0; i < sizeof(figures) / sizeof(figures[0]); i++) {
		if (strcmp(figures[i].key, wanted->key) == 0) {
			wanted->figure = figures[i].figure;
			wanted->known = true;
		}
	}
	wanted->is_word = strcmp(wanted->key, "state") == 0 || strcmp(wanted->key, "mode") == 0;
	if (wanted->is_word) {
		snprintf(wanted->word, sizeof(wanted->word), "%s",
			 strcmp(wanted->key, "state") == 0 ? view->state : view->mode);
		wanted->known = true;
	}
}

/* expect pool a idle N, expect pool a state up */
static bool expect_pool(struct words *words)
{
	struct pool_wanted wanted = {.relay = take_word(words)};
	const char *text;

	if (wanted.relay == NULL || (wanted.key = take_word(words)) == NULL)
		return false;
	router_each_pool(words->world->router, look_at_pool, &wanted);
	if (!wanted.found || !wanted.known)
		return world_fail(words->world, "there is no pool %s, or it has no \"%s\"", wanted.relay, wanted.key);
	if (!wanted.is_word)
		return compare(words, wanted.key, wanted.figure);
	if ((text = take_word(words)) == NULL || !take_end(words))
		return false;
	if (strcmp(text, wanted.word) != 0)
		world_fail(words->world, "the %s of pool %s is %s, expected %s", wanted.key, wanted.relay, wanted.word,
			   text);
	return true;
}

/* ---- what is waited for ---- */

struct wait_wanted {
	const char *relay; /* NULL: any */
	enum stage stage;
	enum cause cause; /* CAUSE_COUNT: any */
	bool counted, timed;
	struct range messages;
	usec_t earliest, latest;
	unsigned found;
	struct evbuffer *seen;
};

static void look_at_wait(const struct wait *wait, void *arg)
{
	struct wait_wanted *wanted = arg;
	usec_t age = clock_now() - wait->since;

	evbuffer_add_printf(wanted->seen, " %s %s %s messages=%u since=%.3fs;", wait->relay, stage_names[wait->stage],
			    cause_names[wait->cause], wait->messages, (double)age / (double)USEC_PER_SEC);
	if (wait->stage != wanted->stage || (wanted->cause != CAUSE_COUNT && wait->cause != wanted->cause) ||
	    (wanted->relay != NULL && strcmp(wait->relay, wanted->relay) != 0))
		return;
	if (wanted->counted && (wait->messages < wanted->messages.from || wait->messages > wanted->messages.to))
		return;
	if (wanted->timed && (age < wanted->earliest || age > wanted->latest))
		return;
	wanted->found++;
}

/* "5s", or "4s..5s". */
static bool read_durations(const char *text, usec_t *earliest, usec_t *latest)
{
	char *from = mem_strdup(text);
	char *to = strstr(from, "..");
	bool good;

	if (to != NULL)
		*to = '\0';
	good = read_duration(from, earliest) && read_duration(to == NULL ? from : to + 2, latest);
	free(from);
	return good;
}

static bool read_wait_word(const char *text, struct wait_wanted *wanted)
{
	if (strncmp(text, "messages=", 9) == 0) {
		wanted->counted = true;
		return read_range(text + 9, &wanted->messages);
	}
	if (strncmp(text, "since=", 6) == 0) {
		wanted->timed = true;
		return read_durations(text + 6, &wanted->earliest, &wanted->latest);
	}
	if (strncmp(text, "relay=", 6) == 0) {
		wanted->relay = text + 6;
		return true;
	}
	for (wanted->cause = 0; wanted->cause < CAUSE_COUNT; wanted->cause++)
		if (strcmp(cause_names[wanted->cause], text) == 0)
			return true;
	return false;
}

static bool read_stage(struct words *words, enum stage *stage)
{
	const char *text = take_word(words);

	for (*stage = 0; text != NULL && *stage < STAGE_COUNT; (*stage)++)
		if (strcmp(stage_names[*stage], text) == 0)
			return true;
	return text != NULL && world_fail(words->world, "there is no stage \"%s\"", text);
}

/* expect wait STAGE [CAUSE] [relay=a] [messages=N] [since=T], expect no wait STAGE … */
static bool expect_wait(struct words *words, bool no)
{
	struct wait_wanted wanted = {.cause = CAUSE_COUNT};

	if (!read_stage(words, &wanted.stage))
		return false;
	while (peek(words) != NULL)
		if (!read_wait_word(take_word(words), &wanted))
			return world_fail(words->world, "\"%s\" says nothing of a wait",
					  words->line->words[words->next - 1].text);
	wanted.seen = evbuffer_new();
	/* What the kernel knows of a path takes its real time. */
	for (unsigned i = 0; i < (wanted.cause == CAUSE_WINDOW ? KERNEL_LOOKS : 1) && wanted.found == 0; i++) {
		usleep(i > 0 ? 1000 : 0);
		evbuffer_drain(wanted.seen, evbuffer_get_length(wanted.seen));
		router_each_wait(words->world->router, look_at_wait, &wanted);
	}
	evbuffer_add(wanted.seen, "", 1);
	if ((wanted.found == 0) != no)
		world_fail(words->world, "what is waited for:%s", (const char *)evbuffer_pullup(wanted.seen, -1));
	evbuffer_free(wanted.seen);
	return true;
}

/* ---- events, log, offer ---- */

static bool expect_events(struct words *words)
{
	const char *name = take_word(words);

	for (size_t i = 0; name != NULL && i < EVENT_KINDS; i++) {
		if (strcmp(name, event_names[i]) == 0)
			return compare(words, name, words->world->events[i]);
	}
	return name != NULL && world_fail(words->world, "there is no event \"%s\"", name);
}

/* expect log TEXT [N], expect no log TEXT */
static bool expect_log(struct words *words, bool no)
{
	const char *text = take_word(words);
	unsigned long count = 0;

	if (text == NULL)
		return false;
	LIST_EACH (node, next, &words->world->log)
		count += strstr(LIST_ENTRY_OF(node, struct logged, node)->line, text) != NULL;
	if (!no && peek(words) != NULL)
		return compare(words, "log lines", count);
	if (!take_end(words))
		return false;
	if ((count == 0) != no)
		world_fail(words->world, "%s line of the log says \"%s\"", no ? "a" : "no", text);
	return true;
}

/* expect offer TEXT, expect no offer TEXT */
static bool expect_offer(struct words *words, bool no)
{
	const char *text = take_word(words);
	struct capabilities offer;
	char line[512];

	if (text == NULL || !take_end(words))
		return false;
	router_offer(words->world->router, &offer);
	capabilities_format(&offer, line, sizeof(line));
	if ((strstr(line, text) == NULL) != no)
		world_fail(words->world, "LHLO would offer \"%s\"", line);
	return true;
}

/* ---- messages ---- */

/* What the rest of the line says of a verdict. */
struct verdict_wanted {
	enum status status;
	int code;             /* 0: any */
	const char *enhanced; /* NULL: any */
	const char *texts[4];
	size_t text_count;
	bool ambiguous;
};

static bool read_verdict(struct words *words, struct verdict_wanted *wanted)
{
	while (peek(words) != NULL) {
		const struct word *word = &words->line->words[words->next++];

		if (word->quoted && wanted->text_count < sizeof(wanted->texts) / sizeof(wanted->texts[0]))
			wanted->texts[wanted->text_count++] = word->text;
		else if (strcmp(word->text, "ambiguous") == 0)
			wanted->ambiguous = true;
		else if (word->length == 3 && strspn(word->text, "0123456789") == 3)
			wanted->code = atoi(word->text);
		else if (word->length >= 5 && strspn(word->text, "0123456789.") == word->length)
			wanted->enhanced = word->text;
		else
			return world_fail(words->world, "\"%s\" says nothing of a verdict", word->text);
	}
	return true;
}

static void judge_verdict(struct world *w, const char *name, const struct recipient *recipient,
			  const struct verdict_wanted *wanted)
{
	const struct reply *verdict = recipient->verdict;
	char line[512];
	bool good;

	if (verdict == NULL) {
		world_fail(w, "%s to %s has no verdict yet", name, recipient->address);
		return;
	}
	good = reply_status_of(verdict) == wanted->status && (wanted->code == 0 || wanted->code == verdict->code) &&
	       (wanted->enhanced == NULL || strcmp(wanted->enhanced, verdict->enhanced) == 0) &&
	       wanted->ambiguous == (verdict->local == LOCAL_AMBIGUOUS);
	for (size_t i = 0; i < wanted->text_count; i++)
		good = good && strstr(verdict->text, wanted->texts[i]) != NULL;
	if (!good)
		world_fail(w, "%s to %s: %s%s (%s)", name, recipient->address, status_names[reply_status_of(verdict)],
			   verdict->local == LOCAL_AMBIGUOUS ? " ambiguous" : "",
			   reply_line(verdict, line, sizeof(line)));
}

/* expect m1 [to=ADDRESS] sent | deferred | bounced … */
static bool expect_verdict(struct words *words, struct letter *letter, const char *address,
			   struct verdict_wanted *wanted)
{
	struct message *message = letter->message;
	bool any = false;

	for (size_t i = 0; i < message->recipient_count; i++) {
		if (address != NULL && strcmp(address, message->recipients[i].address) != 0)
			continue;
		any = true;
		letter->outcomes[i].expected = wanted->status != STATUS_SENT;
		judge_verdict(words->world, letter->name, &message->recipients[i], wanted);
	}
	return any || world_fail(words->world, "%s has no recipient %s", letter->name, address);
}

/* expect m1 unbounced: any verdict but that; expect m1 refused: any but sent */
static bool expect_not(struct words *words, struct letter *letter, const char *address, enum status status)
{
	const struct message *message = letter->message;

	for (size_t i = 0; i < message->recipient_count; i++) {
		const struct recipient *recipient = &message->recipients[i];

		if (address != NULL && strcmp(address, recipient->address) != 0)
			continue;
		letter->outcomes[i].expected = true;
		if (recipient->verdict == NULL)
			world_fail(words->world, "%s to %s has no verdict yet", letter->name, recipient->address);
		else if (reply_status_of(recipient->verdict) == status)
			world_fail(words->world, "%s to %s is %s: %d %s", letter->name, recipient->address,
				   status_names[status], recipient->verdict->code, recipient->verdict->text);
	}
	return take_end(words);
}

static bool expect_waiting(struct words *words, struct letter *letter)
{
	letter->may_wait = true;
	for (size_t i = 0; i < letter->message->recipient_count; i++) {
		if (letter->message->recipients[i].verdict != NULL)
			world_fail(words->world, "%s to %s has its verdict", letter->name,
				   letter->message->recipients[i].address);
	}
	return take_end(words);
}

/* expect m1 after 300s..301s: from `send` to the last verdict */
static bool expect_time(struct words *words, struct letter *letter)
{
	const char *text = take_word(words);
	usec_t earliest = 0, latest = 0, at = 0;
	bool good = text != NULL && read_durations(text, &earliest, &latest) && take_end(words);

	for (size_t i = 0; i < letter->message->recipient_count; i++) {
		if (letter->outcomes[i].at == -1 || letter->outcomes[i].at > at)
			at = letter->outcomes[i].at;
	}
	if (!good)
		world_fail(words->world, "expected a duration, or two with .. between");
	else if (at == -1 || at - letter->sent_at < earliest || at - letter->sent_at > latest)
		world_fail(words->world, "%s had its verdict after %.3f s, expected %s", letter->name,
			   (double)(at - letter->sent_at) / (double)USEC_PER_SEC, text);
	return good;
}

/* expect m1 stage STAGE T | none: what its last outcome spent there */
static bool expect_stage(struct words *words, const struct letter *letter)
{
	enum stage stage;
	usec_t earliest = -1, latest = -1, spent;
	const char *text;

	if (!read_stage(words, &stage) || (text = take_word(words)) == NULL || !take_end(words))
		return false;
	if (strcmp(text, "none") != 0 && !read_durations(text, &earliest, &latest))
		return world_fail(words->world, "expected a duration, two with .. between, or none");
	if (letter->published == 0)
		return world_fail(words->world, "%s has no outcome yet", letter->name) || true;
	spent = letter->journey.spent[stage];
	if (spent < earliest || spent > latest)
		world_fail(words->world, "%s was %.3f s in stage %s, expected %s", letter->name,
			   (double)spent / (double)USEC_PER_SEC, stage_names[stage], text);
	return true;
}

/* expect m1 held CAUSE: what it waited for in the pool, for the most part; - for nothing */
static bool expect_held(struct words *words, const struct letter *letter)
{
	const char *text = take_word(words);

	if (text == NULL || !take_end(words))
		return false;
	if (letter->published == 0)
		return world_fail(words->world, "%s has no outcome yet", letter->name) || true;
	if (strcmp(cause_names[letter->held_by], text) != 0)
		world_fail(words->world, "%s was held by %s, expected %s", letter->name, cause_names[letter->held_by],
			   text);
	return true;
}

/* expect m1 seen STAGE CAUSE: what most looks saw it held by in this stage; - if nobody looked */
static bool expect_seen(struct words *words, const struct letter *letter)
{
	enum stage stage;
	const char *text, *seen;

	if (!read_stage(words, &stage) || (text = take_word(words)) == NULL || !take_end(words))
		return false;
	if (letter->published == 0)
		return world_fail(words->world, "%s has no outcome yet", letter->name) || true;
	seen = cause_names[letter->journey.causes[stage]];
	if (strcmp(seen, text) != 0)
		world_fail(words->world, "%s was seen held by %s in stage %s, expected %s", letter->name, seen,
			   stage_names[stage], text);
	return true;
}

static bool expect_letter(const char *name, void *arg)
{
	struct words words = *(struct words *)arg;
	struct letter *letter = world_letter(words.world, name);
	const char *address = NULL;
	const char *what;
	struct verdict_wanted wanted = {.status = STATUS_COUNT};

	if (letter == NULL)
		return world_fail(words.world, "no message \"%s\" was sent", name);
	if (peek(&words) != NULL && strncmp(peek(&words), "to=", 3) == 0)
		address = take_word(&words) + 3;
	if ((what = take_word(&words)) == NULL)
		return false;
	letter->may_wait = false;
	if (strcmp(what, "waits") == 0)
		return expect_waiting(&words, letter);
	if (strcmp(what, "unbounced") == 0)
		return expect_not(&words, letter, address, STATUS_BOUNCED);
	if (strcmp(what, "refused") == 0)
		return expect_not(&words, letter, address, STATUS_SENT);
	if (strcmp(what, "after") == 0)
		return expect_time(&words, letter);
	if (strcmp(what, "stage") == 0)
		return expect_stage(&words, letter);
	if (strcmp(what, "held") == 0)
		return expect_held(&words, letter);
	if (strcmp(what, "seen") == 0)
		return expect_seen(&words, letter);
	if (strcmp(what, "use") == 0)
		return compare(&words, "use", letter->use);
	if (strcmp(what, "accepted") == 0)
		return compare(&words, "accepted", accepted_count(words.world, letter, address));
	for (enum status status = 0; status < STATUS_COUNT; status++) {
		if (strcmp(what, status_names[status]) == 0)
			wanted.status = status;
	}
	if (wanted.status == STATUS_COUNT)
		return world_fail(words.world, "\"%s\" is nothing a message can be", what);
	return read_verdict(&words, &wanted) && expect_verdict(&words, letter, address, &wanted);
}

bool expect_line(struct world *w, const struct line *line)
{
	struct words words = {.world = w, .line = line, .next = 1};
	const char *subject = take_word(&words);
	bool no = subject != NULL && strcmp(subject, "no") == 0;

	if (no)
		subject = take_word(&words);
	if (subject == NULL)
		return false;
	if (strcmp(subject, "log") == 0)
		return expect_log(&words, no);
	if (strcmp(subject, "offer") == 0)
		return expect_offer(&words, no);
	if (strcmp(subject, "wait") == 0)
		return expect_wait(&words, no);
	if (no)
		return world_fail(w, "\"no\" goes with log, offer and wait only");
	if (strcmp(subject, "events") == 0)
		return expect_events(&words);
	if (strcmp(subject, "probe") == 0)
		return expect_probe(w, line, words.next);
	if (strcmp(subject, "pool") == 0)
		return expect_pool(&words);
	if (strcmp(subject, "shutdown-done") == 0)
		return take_end(&words) && (w->down || world_fail(w, "the shutdown is not done") || true);
	if (world_relay_index(subject) != -1)
		return expect_relay(&words, w->relays[world_relay_index(subject)]);
	return each_name(subject, expect_letter, &words);
}
