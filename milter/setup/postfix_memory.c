/*
 * What was before and what was made of it, as the store's state has it. Called to apply and to undo. Decides what is
 * still ours; changes nothing but the state in memory.
 *
 *   {"schema": 1, "mta": "postfix", "directory": "/etc/postfix", "domains": [], "digests": {"main.cf": ["…", …], …},
 *    "files": {…}, "items": [{"kind": "parameter", "name": "default_transport", "was": null, "wrote": "relaypool:…", "part": null}]}
 */
#include <config.h>

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "postfix_private.h"

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

void memory_add(struct store *store, const struct item *item)
{
	size_t place = place_of(store, item->kind, item->name);
	json_t *entry = json_array_get(items_of(store), place);
	if (!entry) {
		entry = json_pack("{s:s, s:o}", "kind", item_kind_names[item->kind], "name", text_or_null(item->name));
		json_array_append_new(items_of(store), entry);
	}
	/* What is as we made it keeps what it was before that. */
	if (!json_object_get(entry, "was") || !same(item->was, json_string_value(json_object_get(entry, "wrote"))))
		json_object_set_new(entry, "was", text_or_null(item->was));
	json_object_set_new(entry, "wrote", text_or_null(item->shall));
	json_object_set_new(entry, "part", text_or_null(item->part));
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
			      .part = json_string_value(json_object_get(entry, "part"))};
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

/* The list without our part; NULL if that leaves nothing and nothing was there. */
static char *without_part(const struct made *made, const char *present)
{
	char *rest = list_without(present, list_element_is, made->part);
	if (*rest || made->was)
		return rest;
	free(rest);
	return NULL;
}

bool memory_back(const struct made *made, const struct look *look, char **shall, bool *as_before)
{
	const char *present = look_item(look, made->kind, made->name);
	*shall = NULL;
	*as_before = same(present, made->was);
	if (*as_before)
		return false;
	if (same(present, made->wrote)) {
		*shall = made->was ? mem_strdup(made->was) : NULL;
		return true;
	}
	if (!present || !made->part)
		return false;
	*shall = without_part(made, present);
	if (!same(*shall, present))
		return true;
	free(*shall);
	*shall = NULL;
	return false;
}

/* The last things first: what uses a service before the service. */
void memory_give_back(const struct store *store, const struct look *look, struct plan *plan)
{
	struct made made;
	for (size_t i = memory_count(store); i-- > 0 && memory_next(store, i, &made);) {
		bool wanted = made.kind == ITEM_FILE || made.kind == ITEM_DIRECTORY, as_before;
		char *shall;
		for (size_t j = 0; j < plan->count; j++)
			wanted = wanted ||
				 (plan->items[j].kind == made.kind && strcmp(plan->items[j].name, made.name) == 0);
		/* Within an entry of ours that is wanted, what was set is wanted too. */
		if (wanted || made.kind == ITEM_OVERRIDE || made.kind == ITEM_FIELD ||
		    !memory_back(&made, look, &shall, &as_before))
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
