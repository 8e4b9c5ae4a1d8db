/*
 * Probes in a scenario (world.h): `probe`, `hang-up` and `expect probe`, and what must hold of each. Called by steps.c,
 * expect.c, world.c and promises.c.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/conf.h"
#include "base/journey.h"
#include "base/mem.h"
#include "smtp/reply.h"
#include "world.h"

static struct inquiry *find(const struct world *w, const char *name)
{
	LIST_EACH (node, next, &w->inquiries) {
		struct inquiry *inquiry = LIST_ENTRY_OF(node, struct inquiry, node);

		if (strcmp(inquiry->name, name) == 0)
			return inquiry;
	}
	return NULL;
}

/* ---- asked and told ---- */

static char *line_of(const struct reply *reply)
{
	char line[512];

	return reply == NULL ? NULL : mem_strdup(reply_line(reply, line, sizeof(line)));
}

static char *copy(const char *text)
{
	return text == NULL || *text == '\0' ? NULL : mem_strdup(text);
}

static void note_trace(struct inquiry *inquiry, const struct connection_trace *trace)
{
	char addresses[1024] = "";

	for (size_t i = 0; i < trace->address_count && i < TRACE_ADDRESSES; i++) {
		size_t used = strlen(addresses);

		snprintf(addresses + used, sizeof(addresses) - used, "%s%s", i > 0 ? " " : "", trace->addresses[i]);
	}
	inquiry->addresses = copy(addresses);
	inquiry->banner = copy(trace->banner);
	inquiry->tls = copy(trace->tls);
	inquiry->mechanism = copy(trace->mechanism);
	inquiry->auth = copy(trace->auth);
}

static void on_done(const struct probe_result *result, void *arg)
{
	struct inquiry *inquiry = arg;
	char announced[512];

	world_note(inquiry->world, "probe %s: %s in stage %s (%s)", inquiry->name, probe_end_names[result->end],
		   stage_names[result->stage], result->why);
	if (inquiry->over)
		world_fail(inquiry->world, "probe %s ended twice", inquiry->name);
	inquiry->probe = NULL;
	inquiry->over = true;
	inquiry->ended_at = clock_now();
	inquiry->end = result->end;
	inquiry->stage = result->stage;
	inquiry->cause = result->cause;
	inquiry->ambiguous = result->ambiguous;
	inquiry->connection = result->connection;
	inquiry->journey = *result->journey;
	inquiry->why = mem_strdup(result->why);
	inquiry->host = copy(result->host);
	if (result->trace != NULL)
		note_trace(inquiry, result->trace);
	if (result->announced != NULL)
		inquiry->announced = copy(capabilities_format(result->announced, announced, sizeof(announced)));
	inquiry->mail = line_of(result->mail);
	inquiry->rcpt = line_of(result->rcpt);
	inquiry->data = line_of(result->data);
	inquiry->reply = line_of(result->reply);
}

bool step_probe(struct world *w, const struct line *line)
{
	struct probe_request request = {.sender = "sender@example.com"};
	char error[PROBE_ERROR_SIZE] = "";

	if (line->count < 3)
		return world_fail(w, "expected \"probe NAME to=X\"");
	for (size_t i = 2; i < line->count; i++) {
		const char *text = line->words[i].text;

		if (strncmp(text, "to=", 3) == 0)
			request.recipient = text + 3;
		else if (strncmp(text, "from=", 5) == 0)
			request.sender = strcmp(text + 5, "<>") == 0 ? "" : text + 5;
		else if (strcmp(text, "send") == 0)
			request.send = true;
		else
			return world_fail(w, "what is \"%s\"?", text);
	}
	if (request.recipient == NULL || !world_start(w, false))
		return false;
	struct inquiry *inquiry = mem_alloc(sizeof(*inquiry));
	inquiry->world = w;
	inquiry->name = mem_strdup(line->words[1].text);
	inquiry->send = request.send;
	inquiry->asked_at = clock_now();
	list_append(&w->inquiries, &inquiry->node);
	world_note(w, "probe %s", inquiry->name);
	inquiry->probe = router_probe(w->router, &request, on_done, inquiry, error);
	if (inquiry->probe == NULL)
		inquiry->why = mem_strdup(error);
	if (inquiry->over)
		world_fail(w, "probe %s ended from inside router_probe()", inquiry->name);
	return true;
}

bool step_hang_up(struct world *w, const struct line *line)
{
	struct inquiry *inquiry = line->count == 2 ? find(w, line->words[1].text) : NULL;

	if (inquiry == NULL || inquiry->probe == NULL)
		return world_fail(w, "there is no such probe under way");
	world_note(w, "hang up %s", inquiry->name);
	probe_cancel(inquiry->probe);
	inquiry->probe = NULL;
	return true;
}

/* ---- expected ---- */

/* The rest of the line: words of the text; "none": there is no text. */
static bool expect_text(struct world *w, const struct line *line, size_t index, const char *what, const char *text)
{
	for (; index < line->count; index++) {
		const char *word = line->words[index].text;
		bool none = strcmp(word, "none") == 0 && !line->words[index].quoted;

		if (none ? text != NULL : text == NULL || strstr(text, word) == NULL)
			world_fail(w, "%s is \"%s\", expected \"%s\"", what, text == NULL ? "" : text, word);
	}
	return true;
}

static bool expect_stage(struct world *w, const struct line *line, size_t index, const struct inquiry *inquiry)
{
	usec_t from, to, spent;
	char least[32], most[32];
	size_t stage = 0;

	if (index + 2 != line->count)
		return world_fail(w, "expected a stage and 3s..4s or none");
	while (stage < STAGE_COUNT && strcmp(stage_names[stage], line->words[index].text) != 0)
		stage++;
	if (stage == STAGE_COUNT)
		return world_fail(w, "\"%s\" is no stage", line->words[index].text);
	spent = inquiry->journey.spent[stage];
	if (strcmp(line->words[index + 1].text, "none") == 0)
		return spent == -1 || world_fail(w, "stage %s was seen", stage_names[stage]) || true;
	if (sscanf(line->words[index + 1].text, "%31[^.]..%31s", least, most) != 2 || !read_duration(least, &from) ||
	    !read_duration(most, &to))
		return world_fail(w, "expected 3s..4s");
	if (spent < from || spent > to)
		world_fail(w, "stage %s took %lld us", stage_names[stage], (long long)spent);
	return true;
}

static bool expect_after(struct world *w, const struct line *line, size_t index, const struct inquiry *inquiry)
{
	usec_t from, to, took = inquiry->ended_at - inquiry->asked_at;
	char least[32], most[32];

	if (index + 1 != line->count || sscanf(line->words[index].text, "%31[^.]..%31s", least, most) != 2 ||
	    !read_duration(least, &from) || !read_duration(most, &to))
		return world_fail(w, "expected 3s..4s");
	if (!inquiry->over || took < from || took > to)
		world_fail(w, "probe %s ended after %lld us", inquiry->name, (long long)took);
	return true;
}

static bool expect_end(struct world *w, const struct line *line, size_t index, const struct inquiry *inquiry,
		       enum probe_end end)
{
	bool ambiguous = false;

	if (!inquiry->over || inquiry->end != end)
		world_fail(w, "probe %s is %s (%s)", inquiry->name,
			   inquiry->over ? probe_end_names[inquiry->end] : "not over",
			   inquiry->why == NULL ? "" : inquiry->why);
	if (end != PROBE_ACCEPTED &&
	    (index == line->count || strcmp(line->words[index].text, stage_names[inquiry->stage]) != 0))
		world_fail(w, "probe %s ended in stage %s", inquiry->name, stage_names[inquiry->stage]);
	index += end != PROBE_ACCEPTED;
	if (index < line->count && strcmp(line->words[index].text, "ambiguous") == 0)
		ambiguous = index++ > 0;
	if (inquiry->ambiguous != ambiguous)
		world_fail(w, "probe %s: ambiguous=%d", inquiry->name, inquiry->ambiguous);
	return expect_text(w, line, index, "why", inquiry->why);
}

bool expect_probe(struct world *w, const struct line *line, size_t index)
{
	struct inquiry *inquiry = index + 1 < line->count ? find(w, line->words[index].text) : NULL;
	const char *what = index + 1 < line->count ? line->words[index + 1].text : "";

	if (inquiry == NULL)
		return world_fail(w, "there is no such probe");
	const struct {
		const char *word, *text;
	} texts[] = {
		{"addresses", inquiry->addresses}, {"banner", inquiry->banner}, {"tls", inquiry->tls},
		{"mechanism", inquiry->mechanism}, {"auth", inquiry->auth},     {"announced", inquiry->announced},
		{"mail", inquiry->mail},           {"rcpt", inquiry->rcpt},     {"data", inquiry->data},
		{"reply", inquiry->reply},         {"host", inquiry->host},
	};
	index += 2;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		if (strcmp(what, texts[i].word) == 0)
			return expect_text(w, line, index, what, texts[i].text);
	for (enum probe_end end = 0; end < PROBE_ENDS; end++)
		if (strcmp(what, probe_end_names[end]) == 0)
			return expect_end(w, line, index, inquiry, end);
	if (strcmp(what, "stage") == 0)
		return expect_stage(w, line, index, inquiry);
	if (strcmp(what, "after") == 0)
		return expect_after(w, line, index, inquiry);
	if (strcmp(what, "held") == 0)
		return expect_text(w, line, index, what, cause_names[inquiry->cause]);
	if (strcmp(what, "waits") == 0)
		return inquiry->probe != NULL || world_fail(w, "probe %s is over", inquiry->name) || true;
	if (strcmp(what, "nowhere") != 0)
		return world_fail(w, "\"%s\" is nothing a probe can be", what);
	if (inquiry->over || inquiry->probe != NULL)
		world_fail(w, "probe %s was begun", inquiry->name);
	return expect_text(w, line, index, what, inquiry->why);
}

/* ---- what must hold ---- */

bool inquiries_over(const struct world *w)
{
	LIST_EACH (node, next, &w->inquiries)
		if (LIST_ENTRY_OF(node, struct inquiry, node)->probe != NULL)
			return false;
	return true;
}

bool inquiries_send(const struct world *w)
{
	LIST_EACH (node, next, &w->inquiries)
		if (LIST_ENTRY_OF(node, struct inquiry, node)->send)
			return true;
	return false;
}

void inquiries_check(struct world *w)
{
	LIST_EACH (node, next, &w->inquiries) {
		const struct inquiry *inquiry = LIST_ENTRY_OF(node, struct inquiry, node);
		usec_t took = (inquiry->over ? inquiry->ended_at : clock_now()) - inquiry->asked_at;

		if ((inquiry->over || inquiry->probe != NULL) && took > PROBE_LIMIT)
			world_fail(w, "probe %s took %lld us", inquiry->name, (long long)took);
		if (inquiry->over &&
		    (holds_secret(inquiry->why) || (inquiry->auth != NULL && holds_secret(inquiry->auth))))
			world_fail(w, "probe %s tells the password", inquiry->name);
		if (inquiry->over && journey_total(&inquiry->journey) != took)
			world_fail(w, "the stages of probe %s are %lld us of %lld", inquiry->name,
				   (long long)journey_total(&inquiry->journey), (long long)took);
	}
}

void inquiries_free(struct world *w)
{
	LIST_EACH (node, next, &w->inquiries) {
		struct inquiry *inquiry = LIST_ENTRY_OF(node, struct inquiry, node);
		char *texts[] = {inquiry->name, inquiry->why,       inquiry->host, inquiry->addresses, inquiry->banner,
				 inquiry->tls,  inquiry->mechanism, inquiry->auth, inquiry->announced, inquiry->mail,
				 inquiry->rcpt, inquiry->data,      inquiry->reply};

		for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
			free(texts[i]);
		list_remove(&inquiry->node);
		free(inquiry);
	}
}
