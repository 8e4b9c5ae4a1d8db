/*
 * The capabilities that relays announced last, in memory and in one small JSON file. Called by the router.
 * Never fails its caller: what cannot be kept is learned again.
 */
#include "relay/announced.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"

struct entry {
	struct list node;
	char *relay;
	struct capabilities caps;
};

struct announced {
	struct list entries;
	char *path;
	bool complained; /* once is enough */
};

static struct entry *find(const struct announced *a, const char *relay)
{
	for (struct list *n = a->entries.next; n != &a->entries; n = n->next) {
		struct entry *entry = LIST_ENTRY_OF(n, struct entry, node);
		if (strcmp(entry->relay, relay) == 0)
			return entry;
	}
	return NULL;
}

static struct entry *add(struct announced *a, const char *relay)
{
	struct entry *entry = mem_alloc(sizeof(*entry));
	entry->relay = mem_strdup(relay);
	list_append(&a->entries, &entry->node);
	return entry;
}

struct announced *announced_create(const char *directory)
{
	struct announced *a = mem_alloc(sizeof(*a));
	list_init(&a->entries);
	a->path = mem_printf("%s/announced.json", directory);
	json_t *all = json_load_file(a->path, JSON_REJECT_DUPLICATES, NULL), *value;
	const char *relay;
	json_object_foreach(all, relay, value)
	{
		if (json_is_string(value))
			capabilities_read(json_string_value(value), &add(a, relay)->caps);
	}
	json_decref(all);
	return a;
}

void announced_free(struct announced *a)
{
	LIST_EACH (node, next, &a->entries) {
		struct entry *entry = LIST_ENTRY_OF(node, struct entry, node);
		free(entry->relay);
		free(entry);
	}
	free(a->path);
	free(a);
}

const struct capabilities *announced_get(const struct announced *a, const char *relay)
{
	const struct entry *entry = find(a, relay);
	return entry ? &entry->caps : NULL;
}

/* Written beside and renamed, so that a reader never sees half of it. */
static void save(struct announced *a)
{
	char text[1024];
	char *beside = mem_printf("%s.new", a->path);
	json_t *all = json_object();
	for (struct list *n = a->entries.next; n != &a->entries; n = n->next) {
		struct entry *entry = LIST_ENTRY_OF(n, struct entry, node);
		json_object_set_new(all, entry->relay,
				    json_string(capabilities_format(&entry->caps, text, sizeof(text))));
	}
	bool saved = json_dump_file(all, beside, JSON_INDENT(1) | JSON_SORT_KEYS) == 0 && rename(beside, a->path) == 0;
	if (!saved && !a->complained)
		log_warning("announced: cannot write %s: %s; it is learned anew at each start", a->path,
			    strerror(errno));
	a->complained = !saved;
	json_decref(all);
	free(beside);
}

void announced_set(struct announced *a, const char *relay, const struct capabilities *caps)
{
	char before[1024] = "", after[1024];
	struct entry *entry = find(a, relay);
	bool known = entry != NULL;
	if (known)
		(void)capabilities_format(&entry->caps, before, sizeof(before));
	else
		entry = add(a, relay);
	entry->caps = *caps;
	if (!known || strcmp(before, capabilities_format(&entry->caps, after, sizeof(after))) != 0)
		save(a);
}
