/*
 * What is known of relays, in memory and in one small JSON file. Called by the router. Never fails its caller: what
 * cannot be kept is learned again.
 */
#include "relay/memory.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"

struct entry {
	struct list node;
	char *relay;
	bool has_caps, has_learned;
	struct capabilities caps;
	struct learned learned;
};

struct memory {
	struct list entries;
	char *path;
	bool complained; /* once is enough */
};

static struct entry *find(const struct memory *memory, const char *relay)
{
	for (struct list *n = memory->entries.next; n != &memory->entries; n = n->next) {
		struct entry *entry = LIST_ENTRY_OF(n, struct entry, node);
		if (strcmp(entry->relay, relay) == 0)
			return entry;
	}
	return NULL;
}

static struct entry *provide(struct memory *memory, const char *relay)
{
	struct entry *entry = find(memory, relay);
	if (entry != NULL)
		return entry;
	entry = mem_alloc(sizeof(*entry));
	entry->relay = mem_strdup(relay);
	entry->learned.mode = MODE_COUNT;
	list_append(&memory->entries, &entry->node);
	return entry;
}

/* ---- reading ---- */

static int64_t number(const json_t *object, const char *key)
{
	int64_t value = json_integer_value(json_object_get(object, key));
	return value > 0 ? value : 0;
}

static void copy_text(const json_t *object, const char *key, char *out, size_t size)
{
	const char *text = json_string_value(json_object_get(object, key));
	(void)snprintf(out, size, "%s", text != NULL ? text : "");
}

/* In the file may stand anything; what could not have been learned was not. */
static bool credible(enum limit_kind kind, int64_t value)
{
	switch (kind) {
	case LIMIT_CONNECTIONS:
	case LIMIT_MESSAGES:
		return value <= 1000000;
	case LIMIT_AGE:
	case LIMIT_IDLE:
		return value == 0 || (value >= 4 * USEC_PER_SEC && value <= 86400 * USEC_PER_SEC);
	default:
		return value <= (int64_t)100000 * LIMITS_RATE_UNIT;
	}
}

static void read_limit(const json_t *object, enum limit_kind kind, struct limit *limit)
{
	int64_t value = number(object, "value"), before = number(object, "before"), now = clock_wall();
	int64_t learned = number(object, "learned"), kept = number(object, "kept");
	if (!credible(kind, value) || !credible(kind, before))
		return;
	limit->value = value;
	limit->before = before;
	limit->learned = learned < now ? learned : now;
	limit->raised = number(object, "raised");
	limit->kept = kept < 86400 * USEC_PER_SEC ? kept : 86400 * USEC_PER_SEC;
	copy_text(object, "why", limit->why, sizeof(limit->why));
}

static void read_learned(const json_t *object, struct learned *learned)
{
	const char *mode = json_string_value(json_object_get(object, "mode"));
	const json_t *limits = json_object_get(object, "limits");
	for (unsigned i = 0; mode != NULL && i < MODE_COUNT; i++)
		if (strcmp(mode, pipeline_mode_names[i]) == 0)
			learned->mode = (enum pipeline_mode)i;
	copy_text(object, "identity", learned->identity, sizeof(learned->identity));
	learned->mode_until = number(object, "mode_until");
	copy_text(object, "mode_why", learned->mode_why, sizeof(learned->mode_why));
	for (unsigned i = 0; i < LIMIT_KINDS; i++)
		read_limit(json_object_get(limits, limit_names[i]), (enum limit_kind)i, &learned->limits[i]);
}

static void read_entry(struct memory *memory, const char *relay, const json_t *object)
{
	struct entry *entry = provide(memory, relay);
	const char *caps = json_string_value(json_object_get(object, "announced"));
	const json_t *learned = json_object_get(object, "learned");
	entry->has_caps = caps != NULL;
	if (entry->has_caps)
		capabilities_read(caps, &entry->caps);
	entry->has_learned = json_is_object(learned);
	if (entry->has_learned)
		read_learned(learned, &entry->learned);
}

struct memory *memory_create(const char *directory)
{
	struct memory *memory = mem_alloc(sizeof(*memory));
	list_init(&memory->entries);
	memory->path = mem_printf("%s/relays.json", directory);
	json_error_t error;
	json_t *all = json_load_file(memory->path, JSON_REJECT_DUPLICATES, &error), *value;
	if (all == NULL && access(memory->path, F_OK) == 0)
		log_warning("memory: cannot read %s: %s; all of it is learned anew", memory->path, error.text);
	const char *relay;
	json_object_foreach(all, relay, value) read_entry(memory, relay, value);
	json_decref(all);
	return memory;
}

void memory_free(struct memory *memory)
{
	LIST_EACH (node, next, &memory->entries) {
		struct entry *entry = LIST_ENTRY_OF(node, struct entry, node);
		free(entry->relay);
		free(entry);
	}
	free(memory->path);
	free(memory);
}

const struct capabilities *memory_announced(const struct memory *memory, const char *relay)
{
	const struct entry *entry = find(memory, relay);
	return entry != NULL && entry->has_caps ? &entry->caps : NULL;
}

const struct learned *memory_learned(const struct memory *memory, const char *relay)
{
	const struct entry *entry = find(memory, relay);
	return entry != NULL && entry->has_learned ? &entry->learned : NULL;
}

/* ---- writing ---- */

/* What a relay said may be anything; then it is left out. */
static void put_text(json_t *object, const char *key, const char *text)
{
	json_object_set_new(object, key, json_string(text));
}

static json_t *limit_object(const struct limit *limit)
{
	json_t *object = json_object();
	json_object_set_new(object, "value", json_integer(limit->value));
	json_object_set_new(object, "before", json_integer(limit->before));
	json_object_set_new(object, "learned", json_integer(limit->learned));
	json_object_set_new(object, "raised", json_integer(limit->raised));
	json_object_set_new(object, "kept", json_integer(limit->kept));
	put_text(object, "why", limit->why);
	return object;
}

static json_t *learned_object(const struct learned *learned)
{
	json_t *object = json_object(), *limits = json_object();
	put_text(object, "identity", learned->identity);
	if (learned->mode < MODE_COUNT) {
		put_text(object, "mode", pipeline_mode_names[learned->mode]);
		json_object_set_new(object, "mode_until", json_integer(learned->mode_until));
		put_text(object, "mode_why", learned->mode_why);
	}
	for (unsigned i = 0; i < LIMIT_KINDS; i++)
		if (learned->limits[i].learned > 0)
			json_object_set_new(limits, limit_names[i], limit_object(&learned->limits[i]));
	json_object_set_new(object, "limits", limits);
	return object;
}

static json_t *entry_object(const struct entry *entry)
{
	char text[1024];
	json_t *object = json_object();
	if (entry->has_caps)
		put_text(object, "announced", capabilities_format(&entry->caps, text, sizeof(text)));
	if (entry->has_learned)
		json_object_set_new(object, "learned", learned_object(&entry->learned));
	return object;
}

/* Written beside and renamed, so that a reader never sees half of it. */
static void save(struct memory *memory)
{
	char *beside = mem_printf("%s.new", memory->path);
	json_t *all = json_object();
	for (struct list *n = memory->entries.next; n != &memory->entries; n = n->next) {
		const struct entry *entry = LIST_ENTRY_OF(n, struct entry, node);
		json_object_set_new(all, entry->relay, entry_object(entry));
	}
	bool saved =
		json_dump_file(all, beside, JSON_INDENT(1) | JSON_SORT_KEYS) == 0 && rename(beside, memory->path) == 0;
	if (!saved && !memory->complained)
		log_warning("memory: cannot write %s: %s; what is learned now is lost with the daemon", memory->path,
			    strerror(errno));
	memory->complained = !saved;
	json_decref(all);
	free(beside);
}

void memory_set_announced(struct memory *memory, const char *relay, const struct capabilities *caps)
{
	char before[1024] = "", after[1024];
	struct entry *entry = provide(memory, relay);
	bool known = entry->has_caps;
	if (known)
		(void)capabilities_format(&entry->caps, before, sizeof(before));
	entry->has_caps = true;
	entry->caps = *caps;
	if (!known || strcmp(before, capabilities_format(&entry->caps, after, sizeof(after))) != 0)
		save(memory);
}

void memory_set_learned(struct memory *memory, const char *relay, const struct learned *learned)
{
	struct entry *entry = provide(memory, relay);
	entry->has_learned = true;
	entry->learned = *learned;
	save(memory);
}
