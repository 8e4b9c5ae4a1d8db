/*
 * What must hold in every scenario, whatever the relay does (DESIGN: promises 1, 2, 3, 6, 7). Called at the end of each
 * by world_finish(); the caps (promise 4) are watched by world.c at each accept, the client's manners by behaviour.c.
 */
#include <event2/buffer.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "smtp/reply.h"
#include "world.h"

/* The secrets of all scenarios: the password in clear and in the base64 of LOGIN and PLAIN, the token. */
static const char *const secrets[] = {"secret-word", "c2VjcmV0LXdvcmQ", "AHVzZXIAc2VjcmV0LXdvcmQ", "token-word"};

/* The message whose name is the subject on the first line of this body; NULL. */
static struct letter *letter_of(const struct world *w, const struct accepted *accepted)
{
	static const char before[] = "Subject: ";
	const size_t begin = strlen(before);
	char name[64] = "";

	for (size_t i = 0; i < sizeof(name) - 1 && begin + i < accepted->length && accepted->body[begin + i] != '\r';
	     i++)
		name[i] = accepted->body[begin + i];
	if (accepted->length <= begin || memcmp(accepted->body, before, begin) != 0)
		return NULL;
	return world_letter(w, name);
}

/* Gives each message what relays have accepted since the last time. */
static void sort_accepted(const struct world *w)
{
	for (size_t i = 0; i < RELAYS_MAX; i++) {
		const struct list *head = &w->relays[i]->accepted;

		for (const struct list *node = head->prev; node != head; node = node->prev) {
			struct accepted *accepted = LIST_ENTRY_OF(node, struct accepted, node);

			if (accepted->sorted)
				break;
			accepted->sorted = true;
			accepted->letter = letter_of(w, accepted);
			if (accepted->letter != NULL)
				list_append(&accepted->letter->accepted, &accepted->of_letter);
		}
	}
}

static bool names(const char *command, const char *address)
{
	char *path = mem_printf("<%s>", address);
	bool found = strstr(command, path) != NULL;

	free(path);
	return found;
}

unsigned accepted_count(const struct world *w, const struct letter *letter, const char *recipient)
{
	unsigned count = 0;

	sort_accepted(w);
	LIST_EACH (node, next, &letter->accepted) {
		const struct accepted *accepted = LIST_ENTRY_OF(node, struct accepted, of_letter);

		for (size_t k = 0; k < accepted->rcpt_count; k++)
			count += recipient == NULL || names(accepted->rcpts[k], recipient);
	}
	return count;
}

/* Promise 6, and 1 the other way round: only what was given goes out, and as it was given. */
static void check_accepted(struct world *w, const struct scripted_relay *relay, struct accepted *accepted)
{
	const struct letter *letter = accepted->letter;

	if (letter == NULL && inquiries_send(w) && strstr(accepted->body, "Subject: relaypool test message") != NULL)
		return;
	if (letter == NULL) {
		world_fail(w, "relay %s accepted a message that nobody sent", relay->name);
		return;
	}
	if (accepted->length != letter->length || memcmp(accepted->body, letter->body, letter->length) != 0)
		world_fail(w, "the body of %s arrived changed (%zu octets of %zu)", letter->name, accepted->length,
			   letter->length);
	if (!names(accepted->mail, letter->message->sender))
		world_fail(w, "%s arrived with \"%s\"", letter->name, accepted->mail);
	for (size_t i = 0; i < accepted->rcpt_count; i++) {
		bool given = false;

		for (size_t k = 0; k < letter->message->recipient_count; k++)
			given = given || names(accepted->rcpts[i], letter->message->recipients[k].address);
		if (!given)
			world_fail(w, "%s arrived with \"%s\"", letter->name, accepted->rcpts[i]);
	}
}

/* Promises 1 and 3 for one recipient that has its verdict. */
static void check_recipient(struct world *w, const struct letter *letter, size_t index)
{
	const struct recipient *recipient = &letter->message->recipients[index];
	const struct reply *verdict = recipient->verdict;
	enum status status = reply_status_of(verdict);
	unsigned accepted = accepted_count(w, letter, recipient->address);
	char line[256];

	if (status == STATUS_SENT && accepted != 1)
		world_fail(w, "%s to %s is reported sent and was accepted %u times", letter->name, recipient->address,
			   accepted);
	if (status != STATUS_SENT && verdict->local != LOCAL_AMBIGUOUS && accepted != 0)
		world_fail(w, "%s to %s is reported %s and not ambiguous, but a relay accepted it", letter->name,
			   recipient->address, status_names[status]);
	if (accepted > 1)
		world_fail(w, "%s to %s was accepted %u times", letter->name, recipient->address, accepted);
	if (status != STATUS_SENT && !letter->outcomes[index].expected)
		world_fail(w, "%s to %s is %s though nothing was said of that (%s)", letter->name, recipient->address,
			   status_names[status], reply_line(verdict, line, sizeof(line)));
	if (letter->outcomes[index].at > letter->message->deadline)
		world_fail(w, "%s to %s had its verdict after the deadline", letter->name, recipient->address);
}

static void check_letter(struct world *w, const struct letter *letter)
{
	const struct message *message = letter->message;
	size_t settled = 0;

	for (size_t i = 0; i < message->recipient_count; i++) {
		if (letter->abandoned) {
			if (accepted_count(w, letter, message->recipients[i].address) > 1)
				world_fail(w, "%s was abandoned and accepted twice", letter->name);
		} else if (message->recipients[i].verdict != NULL) {
			settled++;
			check_recipient(w, letter, i);
		} else if (!letter->may_wait) {
			world_fail(w, "%s to %s never had a verdict", letter->name, message->recipients[i].address);
		}
	}
	if (!letter->abandoned && letter->published != settled)
		world_fail(w, "%s: %zu verdicts and outcomes published for %u recipients", letter->name, settled,
			   letter->published);
}

bool holds_secret(const char *text)
{
	for (size_t i = 0; i < sizeof(secrets) / sizeof(secrets[0]); i++)
		if (strstr(text, secrets[i]) != NULL)
			return true;
	return false;
}

static void check_secrets(struct world *w)
{
	LIST_EACH (node, next, &w->log) {
		const struct logged *logged = LIST_ENTRY_OF(node, struct logged, node);

		if (holds_secret(logged->line))
			world_fail(w, "the password was logged: %s", logged->line);
	}
}

/* Promise 4 as relaypoolctl sees it; world.c counts the sockets themselves. */
static void check_pool(const struct pool_view *view, void *arg)
{
	unsigned sockets = view->opening + view->idle + view->busy + view->closing + view->lingering;

	if (sockets > view->account_sockets || view->account_sockets > view->account_max)
		world_fail(arg, "pool %s has %u sockets, its account %u of %u", view->relay, sockets,
			   view->account_sockets, view->account_max);
}

static void check_connection(const struct connection_view *view, void *arg)
{
	if (view->age < 0 || view->since < 0 || view->since > view->age || *view->state == '\0' ||
	    *view->waits_for == '\0')
		world_fail(arg, "connection %u of relay %s: age %lld, since %lld, state \"%s\"", view->id, view->relay,
			   (long long)view->age, (long long)view->since, view->state);
}

void promises_check(struct world *w)
{
	if (w->router != NULL) {
		router_each_pool(w->router, check_pool, w);
		router_each_connection(w->router, check_connection, w);
	}
	sort_accepted(w);
	for (size_t i = 0; i < RELAYS_MAX; i++) {
		LIST_EACH (node, next, &w->relays[i]->accepted)
			check_accepted(w, w->relays[i], LIST_ENTRY_OF(node, struct accepted, node));
	}
	LIST_EACH (node, next, &w->letters)
		check_letter(w, LIST_ENTRY_OF(node, struct letter, node));
	inquiries_check(w);
	check_secrets(w);
}

void promises_check_remains(struct world *w)
{
	for (size_t i = 0; i < RELAYS_MAX; i++) {
		if (scripted_relay_open(w->relays[i]) > 0)
			world_fail(w, "%u sockets to relay %s are open after the end",
				   scripted_relay_open(w->relays[i]), w->relays[i]->name);
	}
	LIST_EACH (node, next, &w->letters) {
		const struct letter *letter = LIST_ENTRY_OF(node, struct letter, node);

		if (letter->message->refs != 1)
			world_fail(w, "%s is still held after the end", letter->name);
		for (size_t i = 0; i < letter->message->recipient_count; i++) {
			if (!letter->abandoned && letter->message->recipients[i].verdict == NULL)
				world_fail(w, "%s had no verdict at the end of all", letter->name);
		}
	}
}
