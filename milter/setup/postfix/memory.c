/*
 * What was before and what was made of it, as the store's state has it. Called to apply and to undo. Decides what is
 * still ours; changes nothing but the state in memory.
 *
 *   {"schema": 1, "mta": "postfix", "directory": "/etc/postfix", "domains": [], "digests": {"main.cf": ["…", …], …},
 *    "files": {…}, "items": [{"kind": "parameter", "name": "default_transport", "was": null, "wrote": "relaypool:…"}]}
 */
#include <config.h>

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "postfix.h"

static json_t *text_or_null(const char *text)
{
	return text ? json_stringn_nocheck(text, strlen(text)) : json_null();
}

static json_t *items_of(const struct store *store)
{
	return json_object_get(store->state, "items");
}

void memory_begin(struct store *store, const char *directory, const struct plan *plan)
{
	if (!store->state)
		store->state = json_pack("{s:i, s:s, s:o, s:{}, s:[]}", "schema", 1, "mta", "postfix", "directory",
					 text_or_null(directory), "digests", "items");
	json_t *domains = json_array();
	for (size_t i = 0; i < plan->domain_count; i++)
		json_array_append_new(domains, text_or_null(plan->domains[i]));
	json_object_set_new(store->state, "domains", domains);
}

char **memory_domains(const struct store *store, size_t *count)
{
	const json_t *list = json_object_get(store->state, "domains");
	*count = json_array_size(list);
	char **domains = *count > 0 ? mem_array(*count, sizeof(*domains)) : NULL;
	for (size_t i = 0; i < *count; i++) {
		const char *domain = json_string_value(json_array_get(list, i));
		domains[i] = (char *)(domain ? domain : "");
	}
	return domains;
}

/* ---- items ---- */

/* The place of an item in the list; its length if it is not there. */
static size_t place_of(const struct store *store, enum item_kind kind, const char *name)
{
	struct made made;
	size_t i = 0;
	while (memory_next(store, i, &made) && (made.kind != kind || strcmp(made.name, name) != 0))
		i++;
	return i;
}

static bool same(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

static char *copy_of(const char *text)
{
	return text ? mem_strdup(text) : NULL;
}

/* An element of a list that is one of our parts. */
static bool is_part(const char *element, const void *parts)
{
	size_t i;
	const json_t *part;
	bool found = false;
	json_array_foreach((json_t *)parts, i, part) found = found || same(json_string_value(part), element);
	return found;
}

/* The list without our parts; NULL if that leaves nothing and nothing was there. */
static char *without_parts(const char *list, const json_t *parts, const char *was)
{
	char *rest = list_without(list, is_part, parts);
	if (*rest || was)
		return rest;
	free(rest);
	return NULL;
}

/* Another --apply: what is as we made it keeps what it was before that. So does a list, less what is ours in it. */
static void keep_first(json_t *entry, const char *present)
{
	const char *was = json_string_value(json_object_get(entry, "was"));
	const char *wrote = json_string_value(json_object_get(entry, "wrote"));
	const json_t *parts = json_object_get(entry, "parts");
	if (!same(present, wrote)) {
		char *first = present && parts ? without_parts(present, parts, was) : copy_of(present);
		json_object_set_new(entry, "was", text_or_null(first));
		free(first);
	}
	json_object_set_new(entry, "earlier", text_or_null(wrote)); /* it is so until the change is made */
}

static void keep_part(json_t *entry, const char *part)
{
	json_t *parts = json_object_get(entry, "parts");
	if (!parts)
		json_object_set_new(entry, "parts", parts = json_array());
	if (!is_part(part, parts))
		json_array_append_new(parts, text_or_null(part));
}

void memory_add(struct store *store, const struct item *item)
{
	size_t place = place_of(store, item->kind, item->name);
	json_t *entry = json_array_get(items_of(store), place);
	if (entry) {
		keep_first(entry, item->was);
	} else {
		entry = json_pack("{s:s, s:o, s:o}", "kind", item_kind_names[item->kind], "name",
				  text_or_null(item->name), "was", text_or_null(item->was));
		json_array_append_new(items_of(store), entry);
	}
	json_object_set_new(entry, "wrote", text_or_null(item->shall));
	if (item->part)
		keep_part(entry, item->part);
}

void memory_drop(struct store *store, enum item_kind kind, const char *name)
{
	json_array_remove(items_of(store), place_of(store, kind, name));
}

static enum item_kind kind_of(const char *name)
{
	int kind = 0;
	while (kind < ITEM_KINDS - 1 && !same(item_kind_names[kind], name))
		kind++;
	return (enum item_kind)kind;
}

bool memory_next(const struct store *store, size_t index, struct made *made)
{
	const json_t *entry = json_array_get(items_of(store), index);
	if (!entry)
		return false;
	const char *name = json_string_value(json_object_get(entry, "name"));
	*made = (struct made){.kind = kind_of(json_string_value(json_object_get(entry, "kind"))),
			      .name = name ? name : "",
			      .was = json_string_value(json_object_get(entry, "was")),
			      .wrote = json_string_value(json_object_get(entry, "wrote")),
			      .earlier = json_string_value(json_object_get(entry, "earlier")),
			      .parts = json_object_get(entry, "parts")};
	return true;
}

void memory_settle(struct store *store, const struct look *before, const struct look *after)
{
	struct made made;
	for (size_t i = 0; memory_next(store, i, &made); i++) {
		const char *now = look_item(after, made.kind, made.name);
		if (made.kind == ITEM_SERVICE && now && same(look_item(before, made.kind, made.name), made.wrote))
			json_object_set_new(json_array_get(items_of(store), i), "wrote", text_or_null(now));
	}
}

size_t memory_count(const struct store *store)
{
	return json_array_size(items_of(store));
}

/* ---- the way back ---- */

bool memory_back(const struct made *made, const struct look *look, char **shall, bool *nothing)
{
	const char *present = look_item(look, made->kind, made->name);
	*shall = NULL;
	*nothing = same(present, made->was) || (!present && made->parts);
	if (*nothing)
		return false;
	if (same(present, made->wrote) || (present && same(present, made->earlier))) {
		*shall = copy_of(made->was);
		return true;
	}
	if (!made->parts)
		return false;
	*shall = without_parts(present, made->parts, made->was);
	*nothing = same(*shall, present); /* nothing of ours is in it any more */
	if (!*nothing)
		return true;
	free(*shall);
	*shall = NULL;
	return false;
}

/* Our parts of this item other than the one that it has now; the caller's. NULL: there are none. */
static json_t *other_parts(const struct store *store, const struct item *item)
{
	const json_t *entry = json_array_get(items_of(store), place_of(store, item->kind, item->name));
	json_t *parts = item->part ? json_copy(json_object_get(entry, "parts")) : NULL;
	for (size_t i = json_array_size(parts); i-- > 0;)
		if (same(json_string_value(json_array_get(parts, i)), item->part))
			json_array_remove(parts, i);
	return parts;
}

void memory_take_out(const struct store *store, struct plan *plan)
{
	for (size_t i = 0; i < plan->count; i++) {
		struct item *item = &plan->items[i];
		json_t *others = other_parts(store, item);
		char *is = list_without(item->is ? item->is : "", is_part, others);
		char *shall = list_without(item->shall ? item->shall : "", is_part, others);
		if (others && item->is && strcmp(is, item->is) != 0) {
			item->right = false;
			free(item->shall);
			item->shall = mem_strdup(shall);
		}
		free(shall);
		free(is);
		json_decref(others);
	}
}

/* The last things first: what uses a service before the service. */
void memory_give_back(const struct store *store, const struct look *look, struct plan *plan)
{
	struct made made;
	for (size_t i = memory_count(store); i-- > 0 && memory_next(store, i, &made);) {
		bool wanted = made.kind == ITEM_FILE || made.kind == ITEM_DIRECTORY, nothing;
		char *shall;
		for (size_t j = 0; j < plan->count; j++)
			wanted = wanted ||
				 (plan->items[j].kind == made.kind && strcmp(plan->items[j].name, made.name) == 0);
		/* Within an entry of ours that is wanted, what was set is wanted too. */
		if (wanted || made.kind == ITEM_OVERRIDE || made.kind == ITEM_FIELD ||
		    !memory_back(&made, look, &shall, &nothing))
			continue;
		plan_add(plan, made.kind, made.name, look_item(look, made.kind, made.name), shall)->why =
			"Not needed any more: it becomes what it was.";
		free(shall);
	}
}

/* ---- files as a whole ---- */

void memory_add_digest(struct store *store, const char *file, const char *digest)
{
	json_t *digests = json_object_get(store->state, "digests"), *list = json_object_get(digests, file);
	if (!list)
		json_object_set_new(digests, file, list = json_array());
	if (json_is_array(list))
		json_array_append_new(list, json_string(digest));
}

bool memory_knows(const struct store *store, const char *directory, const char *file)
{
	char *path = mem_printf("%s/%s", directory, file), error[SETUP_ERROR_SIZE], digest[STORE_DIGEST_SIZE];
	bool knows = false;
	size_t i;
	const json_t *known, *list = json_object_get(json_object_get(store->state, "digests"), file);
	bool there = store_digest(path, digest, error) && digest[0] != '\0';
	json_array_foreach((json_t *)list, i, known) knows = knows || (there && same(json_string_value(known), digest));
	free(path);
	return knows;
}

void memory_values_only(struct store *store, const char *file)
{
	json_object_set_new(json_object_get(store->state, "digests"), file, json_null());
}
