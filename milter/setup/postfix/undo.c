/*
 * What setup made, taken back. Called by postfix.c with the store's lock held, and by an --apply that fails. A file that
 * is as we left it gets its copy back, whole; in any other only what is still ours is changed, by postconf. Whatever is
 * not ours any more stays, is said, and stays remembered.
 */
#include <config.h>

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "postfix.h"

struct undoing {
	const char *directory;
	struct store *store;
	struct report *report;
};

static bool of_file(const struct made *made, const char *file)
{
	if (strcmp(file, "main.cf") == 0)
		return made->kind == ITEM_PARAMETER;
	return made->kind == ITEM_SERVICE || made->kind == ITEM_OVERRIDE || made->kind == ITEM_FIELD;
}

static void add_finding(const struct undoing *undoing, enum finding_state state, const struct made *made,
			const char *is, const char *shall, const char *why)
{
	const struct item item = {.kind = made->kind};
	report_add(undoing->report, &(struct finding){.state = state,
						      .where = item_where(&item),
						      .name = made->name,
						      .is = is,
						      .shall = shall,
						      .why = why});
}

/* ---- a file as a whole ---- */

static bool restore_whole(const struct undoing *undoing, const struct look *look, const char *file,
			  char error[SETUP_ERROR_SIZE])
{
	char *path = mem_printf("%s/%s", undoing->directory, file), *shall;
	bool good = store_restore_file(undoing->store, path, error), nothing;
	struct made made;
	free(path);
	for (size_t i = 0; good && memory_next(undoing->store, i, &made);) {
		if (!of_file(&made, file)) {
			i++;
			continue;
		}
		if (memory_back(&made, look, &shall, &nothing))
			add_finding(undoing, FINDING_RESTORED, &made, look_item(look, made.kind, made.name), made.was,
				    NULL);
		free(shall);
		memory_drop(undoing->store, made.kind, made.name);
	}
	return good;
}

/* ---- value by value ---- */

/* Some milter of ours is in the list, with other options. */
static bool has_socket(const struct made *made, const char *present)
{
	size_t i;
	const json_t *part;
	bool found = false;
	json_array_foreach((json_t *)made->parts, i, part)
	{
		const char *text = json_string_value(part), *begin = text + strspn(text, "{ ");
		char *socket = mem_strndup(begin, strcspn(begin, ", }"));
		found = found || (begin > text && strstr(present, socket));
		free(socket);
	}
	return found;
}

/* Another value without anything of relaypool's: somebody has undone it himself. What has our name is ours. */
static bool let_go(const struct made *made, const char *present)
{
	return made->kind == ITEM_PARAMETER &&
	       strncmp(made->name, PLAN_TRANSPORT "_", strlen(PLAN_TRANSPORT "_")) != 0 &&
	       !(present && (strstr(present, PLAN_TRANSPORT) || has_socket(made, present)));
}

/* It is what it was before the first --apply. */
static bool is_back(const struct made *made, const char *present)
{
	return made->was && present ? strcmp(made->was, present) == 0 : !made->was && !present;
}

/* Said once. */
static void give_up(const struct undoing *undoing, const struct made *made, const char *present)
{
	add_finding(undoing, FINDING_NOTE, made, present ? present : "(nothing)", NULL,
		    "Somebody has changed it since --apply, and nothing of relaypool's is in it any more.");
	memory_drop(undoing->store, made->kind, made->name);
}

/* What goes back, as a plan, the last things first; what does not is said. */
static void plan_back(const struct undoing *undoing, const struct look *look, const char *file, struct plan *back)
{
	struct made made;
	for (size_t i = memory_count(undoing->store); i-- > 0 && memory_next(undoing->store, i, &made);) {
		const char *present = look_item(look, made.kind, made.name);
		bool nothing;
		char *shall;
		if (!of_file(&made, file))
			continue;
		if (memory_back(&made, look, &shall, &nothing))
			plan_add(back, made.kind, made.name, present, shall);
		else if (!is_back(&made, present) && let_go(&made, present))
			give_up(undoing, &made, present);
		else if (!is_back(&made, present))
			add_finding(undoing, FINDING_KEPT, &made, present, made.wrote,
				    "Somebody has changed it since --apply: it stays as it is.");
		free(shall);
	}
}

static bool restore_values(const struct undoing *undoing, const struct look *look, const char *file,
			   char error[SETUP_ERROR_SIZE])
{
	struct plan back = {0};
	struct made made;
	plan_back(undoing, look, file, &back);
	bool good = edit_run(undoing->directory, &back, NULL, NULL, error);
	for (size_t i = 0; good && i < back.count; i++) {
		const struct item *item = &back.items[i];
		made = (struct made){.kind = item->kind, .name = item->name};
		add_finding(undoing, FINDING_RESTORED, &made, item->was, item->shall, NULL);
		memory_drop(undoing->store, item->kind, item->name);
	}
	plan_free(&back);
	return good;
}

/* ---- who still uses it ---- */

/* True if `name` stands in the text as a word followed by `next`. */
static bool names(const char *text, const char *name, const char *next)
{
	for (const char *found = strstr(text, name); found; found = strstr(found + 1, name)) {
		const char *behind = found + strlen(name);
		bool begins = found == text || !(isalnum((unsigned char)found[-1]) || strchr("_-./", found[-1]));
		if (begins && (strncmp(behind, next, strlen(next)) == 0))
			return true;
	}
	return false;
}

/* A map whose source names the transport. */
static bool map_names_transport(const char *list)
{
	const char *element;
	size_t length;
	bool found = false;
	while (!found && list_next(&list, &element, &length)) {
		char *map = mem_strndup(element, length);
		found = map_has_word(map, PLAN_TRANSPORT ":");
		free(map);
	}
	return found;
}

static bool names_transport(const char *name, const char *value)
{
	return names(value, PLAN_TRANSPORT, ":") || (strstr(name, "transport") && strcmp(value, PLAN_TRANSPORT) == 0);
}

/* The setting that still brings mail to the transport; NULL: none does. Borrowed from the look. */
static const char *transport_user(const struct look *look)
{
	static const char *const maps[] = {"transport_maps", "sender_dependent_default_transport_maps"};
	const json_t *places[] = {look->set, look->overrides}, *value;
	const char *name;
	for (size_t i = 0; i < 2; i++) {
		json_object_foreach((json_t *)places[i], name, value)
		{
			if (names_transport(name, json_string_value(value)))
				return name;
		}
	}
	for (size_t i = 0; i < 2; i++)
		if (map_names_transport(look_expanded(look, maps[i])))
			return maps[i];
	return NULL;
}

/* The same of the file with header checks. */
static const char *checks_user(const struct look *look)
{
	const json_t *places[] = {look->set, look->overrides}, *value;
	const char *name;
	for (size_t i = 0; i < 2; i++) {
		json_object_foreach((json_t *)places[i], name, value)
		{
			if (strstr(json_string_value(value), PLAN_HEADER_CHECKS))
				return name;
		}
	}
	return NULL;
}

/* ---- the parts ---- */

static bool restore_file(const struct undoing *undoing, const char *file, char error[SETUP_ERROR_SIZE])
{
	struct look look;
	if (!look_at(&look, undoing->directory, error))
		return false;
	bool good = memory_knows(undoing->store, undoing->directory, file)
			    ? restore_whole(undoing, &look, file, error)
			    : restore_values(undoing, &look, file, error);
	look_free(&look);
	return good;
}

/* The transport was not there before. */
static bool transport_goes(const struct undoing *undoing)
{
	struct made made;
	for (size_t i = 0; memory_next(undoing->store, i, &made); i++)
		if (made.kind == ITEM_SERVICE && !made.was && strcmp(made.name, PLAN_TRANSPORT "/unix") == 0)
			return true;
	return false;
}

/* Services that something still brings mail to stay: without them it would wait for ever. */
static bool restore_master(const struct undoing *undoing, char error[SETUP_ERROR_SIZE])
{
	struct look look;
	struct made made;
	if (!look_at(&look, undoing->directory, error))
		return false;
	const char *user = transport_goes(undoing) ? transport_user(&look) : NULL;
	char *why = user ? mem_printf("%s still brings mail here; it is left to you.", user) : NULL;
	for (size_t i = 0; user && memory_next(undoing->store, i, &made); i++)
		if (of_file(&made, "master.cf"))
			add_finding(undoing, FINDING_KEPT, &made, look_item(&look, made.kind, made.name), made.wrote,
				    why);
	free(why);
	look_free(&look);
	return user || restore_file(undoing, "master.cf", error);
}

static bool restore_made_file(const struct undoing *undoing, const struct made *made, const struct look *look,
			      char error[SETUP_ERROR_SIZE])
{
	char *text = file_read(made->name, FILE_PLAIN, STORE_FILE_MAX, error, SETUP_ERROR_SIZE);
	const char *user = made->was ? NULL : checks_user(look); /* what was there before may well be used */
	bool ours = text && strcmp(text, made->wrote) == 0, good = true;
	if (text && !ours) {
		add_finding(undoing, FINDING_KEPT, made, NULL, NULL, "It was changed since; it is left to you.");
	} else if (text && user) {
		char *why = mem_printf("%s still refers to it; it is left to you.", user);
		add_finding(undoing, FINDING_KEPT, made, NULL, NULL, why);
		free(why);
	} else {
		good = !text || store_restore_file(undoing->store, made->name, error);
		if (good && text)
			add_finding(undoing, FINDING_RESTORED, made, NULL, NULL,
				    made->was ? NULL : "It is removed: there was none before.");
		if (good)
			memory_drop(undoing->store, made->kind, made->name);
	}
	free(text);
	return good;
}

static void remove_directory(const struct undoing *undoing, const struct made *made)
{
	if (rmdir(made->name) == 0)
		add_finding(undoing, FINDING_RESTORED, made, NULL, NULL, "It is removed: there was none before.");
	else if (errno != ENOENT)
		add_finding(undoing, FINDING_NOTE, made, NULL, NULL,
			    "It stays: it is not empty. Remove it when relaypoold does not use it any more.");
	memory_drop(undoing->store, made->kind, made->name);
}

static bool restore_others(const struct undoing *undoing, char error[SETUP_ERROR_SIZE])
{
	struct look look;
	struct made made;
	if (!look_at(&look, undoing->directory, error))
		return false;
	bool good = true;
	for (size_t i = 0; good && memory_next(undoing->store, i, &made);) {
		size_t before = memory_count(undoing->store);
		if (made.kind == ITEM_FILE)
			good = restore_made_file(undoing, &made, &look, error);
		else if (made.kind == ITEM_DIRECTORY)
			remove_directory(undoing, &made);
		if (memory_count(undoing->store) == before)
			i++;
	}
	look_free(&look);
	return good;
}

bool postfix_undo(const char *directory, struct store *store, struct report *report, char error[SETUP_ERROR_SIZE])
{
	const struct undoing undoing = {directory, store, report};
	if (!restore_file(&undoing, "main.cf", error) || !restore_master(&undoing, error) ||
	    !restore_others(&undoing, error))
		return false;
	if (report->counts[FINDING_KEPT] == 0)
		return store_forget(store, error);
	memory_values_only(store, "main.cf");
	memory_values_only(store, "master.cf");
	return store_save(store, error);
}
