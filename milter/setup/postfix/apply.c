/*
 * The plan carried out. Called by postfix.c once nothing stands in the way, with the store's lock held. Everything is
 * tried on a copy first; what is to change is remembered, with every state the files will pass through, before the first
 * of them is touched. So whatever interrupts this, it can be undone.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "postfix.h"

static const char *const edited[] = {"main.cf", "master.cf"};
#define EDITED (sizeof(edited) / sizeof(edited[0]))

/* ---- on a copy ---- */

struct rehearsal {
	struct store *store;
	char *directory;
	json_t *set;       /* what main.cf sets as postconf shows it once the services are there; NULL: not asked yet */
	struct look after; /* how it will be */
	char digests[EDITED][STORE_DIGEST_SIZE];
};

/* After a step: what the files are now is one of the states they may be found in. */
static bool note_step(const char *directory, void *arg, char error[SETUP_ERROR_SIZE])
{
	struct rehearsal *rehearsal = arg;
	for (size_t i = 0; i < EDITED; i++) {
		char *path = mem_printf("%s/%s", directory, edited[i]), *digest = rehearsal->digests[i];
		bool good = store_digest(path, digest, error);
		free(path);
		if (!good)
			return false;
		memory_add_digest(rehearsal->store, edited[i], digest);
	}
	return rehearsal->set || look_set(directory, &rehearsal->set, error);
}

static bool copy_file(const char *from, const char *to, const char *file, char error[SETUP_ERROR_SIZE])
{
	char *source = mem_printf("%s/%s", from, file), *target = mem_printf("%s/%s", to, file);
	bool good = store_copy_file(source, target, error);
	free(source);
	free(target);
	return good;
}

/* postconf waits for two seconds where main.cf has just been written; nobody else writes to this one. */
static void pretend_age(const char *directory)
{
	char *path = mem_printf("%s/main.cf", directory);
	const struct timespec times[2] = {{.tv_sec = 1}, {.tv_sec = 1}};
	utimensat(AT_FDCWD, path, times, AT_SYMLINK_NOFOLLOW);
	free(path);
}

static void remove_copy(const char *directory)
{
	for (size_t i = 0; i < EDITED; i++) {
		char *path = mem_printf("%s/%s", directory, edited[i]);
		unlink(path);
		free(path);
	}
	rmdir(directory);
}

static bool is_edit(const struct item *item)
{
	return !item->right && item->kind != ITEM_FILE && item->kind != ITEM_DIRECTORY;
}

/* Everything is as the plan has it. */
static bool verify(const struct plan *plan, const struct look *look, char error[SETUP_ERROR_SIZE])
{
	for (size_t i = 0; i < plan->count; i++) {
		const struct item *item = &plan->items[i];
		const char *now = is_edit(item) ? look_item(look, item->kind, item->name) : NULL;
		if (!is_edit(item) || (item->shall ? now && strcmp(now, item->shall) == 0 : !now))
			continue;
		snprintf(error, SETUP_ERROR_SIZE, "postconf makes \"%.200s\" of %s, which was to be \"%.200s\"",
			 now ? now : "", item->name, item->shall ? item->shall : "");
		return false;
	}
	return true;
}

/* `postfix check`, which also says what is wrong elsewhere: only its failure counts. */
static bool postfix_check(const char *directory, char error[SETUP_ERROR_SIZE])
{
	struct run run;
	bool good =
		run_program((const char *const[]){"postfix", "-c", directory, "check", NULL}, RUN_LIMIT, &run, error);
	run_free(&run);
	return good;
}

/* What Postfix has against it that it has not against the present configuration. */
static bool passes_check(const char *rehearsed, const char *present, char error[SETUP_ERROR_SIZE])
{
	char ignored[SETUP_ERROR_SIZE];
	return postfix_check(rehearsed, error) || !postfix_check(present, ignored);
}

static bool rehearse(const struct plan *plan, const struct look *look, struct rehearsal *rehearsal,
		     char error[SETUP_ERROR_SIZE])
{
	const char *directory = rehearsal->directory;
	remove_copy(directory); /* of one that was interrupted */
	bool good = mkdir(directory, 0700) == 0;
	if (!good)
		snprintf(error, SETUP_ERROR_SIZE, "cannot make %s: %s", directory, strerror(errno));
	for (size_t i = 0; good && i < EDITED; i++)
		good = copy_file(look->directory, directory, edited[i], error);
	good = good && edit_run(directory, plan, note_step, rehearsal, error);
	if (good)
		pretend_age(directory);
	good = good && look_at(&rehearsal->after, directory, error) && verify(plan, &rehearsal->after, error) &&
	       passes_check(directory, look->directory, error);
	remove_copy(directory);
	return good;
}

/* ---- before the first change ---- */

static bool adds_service(const struct plan *plan)
{
	for (size_t i = 0; i < plan->count; i++)
		if (plan->items[i].kind == ITEM_SERVICE && !plan->items[i].right && plan->items[i].shall)
			return true;
	return false;
}

/*
 * postconf does not show parameters named after a service that is not there yet: what they were is known from the
 * rehearsal, where the first step adds the services.
 */
static const char *was_of(const struct item *item, const struct plan *plan, const struct rehearsal *rehearsal)
{
	if (item->was || item->kind != ITEM_PARAMETER || !adds_service(plan))
		return item->was;
	return json_string_value(json_object_get(rehearsal->set, item->name));
}

static bool keep_files(const struct plan *plan, const struct look *look, struct store *store,
		       char error[SETUP_ERROR_SIZE])
{
	char digest[STORE_DIGEST_SIZE];
	bool good = true;
	for (size_t i = 0; good && i < EDITED; i++) {
		char *path = mem_printf("%s/%s", look->directory, edited[i]);
		if (!store_kept_file(store, path, digest)) {
			good = store_keep_file(store, path, error);
			if (good && store_kept_file(store, path, digest))
				memory_add_digest(store, edited[i], digest);
		} else if (!memory_knows(store, look->directory, edited[i])) {
			memory_values_only(store, edited[i]);
		}
		free(path);
	}
	for (size_t i = 0; good && i < plan->count; i++)
		if (plan->items[i].kind == ITEM_FILE && !plan->items[i].right &&
		    !store_kept_file(store, plan->items[i].name, digest))
			good = store_keep_file(store, plan->items[i].name, error);
	return good;
}

static bool remember(const struct plan *plan, const struct look *look, struct rehearsal *rehearsal,
		     char error[SETUP_ERROR_SIZE])
{
	struct store *store = rehearsal->store;
	memory_begin(store, look->directory, plan);
	bool good = keep_files(plan, look, store, error) && rehearse(plan, look, rehearsal, error);
	for (size_t i = 0; good && i < plan->count; i++) {
		struct item item = plan->items[i];
		item.was = (char *)was_of(&item, plan, rehearsal);
		if (!item.right)
			memory_add(store, &item);
	}
	return good && store_save(store, error);
}

/* ---- the change ---- */

/* OWNER:GROUP, setgid: sockets made in there have the group that Postfix is in. */
static bool make_directory(const struct item *item, char error[SETUP_ERROR_SIZE])
{
	char *owner = mem_strndup(item->shall, strcspn(item->shall, ":"));
	const struct passwd *user = getpwnam(owner);
	const struct group *group = getgrnam(item->shall + strlen(owner) + 1);
	bool good = user && group;
	if (!good)
		snprintf(error, SETUP_ERROR_SIZE, "%s: there is no such user or group as %s on this host", item->name,
			 item->shall);
	free(owner);
	if (!good)
		return false;
	int fd = mkdir(item->name, 0700) == 0 ? open(item->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1;
	good = fd != -1 && fchown(fd, user->pw_uid, group->gr_gid) == 0 && fchmod(fd, 02750) == 0;
	if (!good)
		snprintf(error, SETUP_ERROR_SIZE, "cannot make %s: %s", item->name, strerror(errno));
	if (fd != -1)
		close(fd);
	return good;
}

static bool make_files(const struct plan *plan, char error[SETUP_ERROR_SIZE])
{
	bool good = true;
	for (size_t i = 0; good && i < plan->count; i++) {
		const struct item *item = &plan->items[i];
		if (!item->right && item->kind == ITEM_DIRECTORY)
			good = make_directory(item, error);
		else if (!item->right && item->kind == ITEM_FILE)
			good = store_write_file(item->name, item->shall, strlen(item->shall), 0, 0, 0644, error);
	}
	return good;
}

/* The files are what the rehearsal said. */
static bool as_rehearsed(const struct rehearsal *rehearsal, const char *directory, char error[SETUP_ERROR_SIZE])
{
	bool good = true;
	for (size_t i = 0; good && i < EDITED; i++) {
		char *path = mem_printf("%s/%s", directory, edited[i]), digest[STORE_DIGEST_SIZE];
		good = store_digest(path, digest, error);
		if (good && rehearsal->set && strcmp(digest, rehearsal->digests[i]) != 0) {
			snprintf(error, SETUP_ERROR_SIZE, "somebody else has changed %s meanwhile", path);
			good = false;
		}
		free(path);
	}
	return good;
}

static bool carry_out(const struct plan *plan, const struct look *look, const struct rehearsal *rehearsal,
		      char error[SETUP_ERROR_SIZE])
{
	if (!make_files(plan, error) || !edit_run(look->directory, plan, NULL, NULL, error) ||
	    !as_rehearsed(rehearsal, look->directory, error))
		return false;
	memory_settle(rehearsal->store, look, &rehearsal->after);
	return store_save(rehearsal->store, error);
}

/* It failed half-way: what was done goes back. The sentence in `error` is completed. */
static void take_back(const char *directory, struct store *store, char error[SETUP_ERROR_SIZE])
{
	struct report report;
	char why[SETUP_ERROR_SIZE], *sentence = mem_strdup(error);
	report_init(&report);
	bool good = postfix_undo(directory, store, &report, why) && report.counts[FINDING_KEPT] == 0;
	snprintf(error, SETUP_ERROR_SIZE, "%.*s; %s", SETUP_ERROR_SIZE / 2, sentence,
		 good ? "what had been changed until then was taken back"
		      : "taking back what had been changed failed too: see relaypoolctl setup postfix --undo");
	report_free(&report);
	free(sentence);
}

/* An earlier --apply is there: what it made stays with what is new. */
static void say_unfinished(char error[SETUP_ERROR_SIZE])
{
	size_t length = strlen(error);
	snprintf(error + length, SETUP_ERROR_SIZE - length,
		 "; what was changed until then stays: another --apply goes on, --undo takes all of it back");
}

static void add_changes(const struct plan *plan, struct report *report)
{
	for (size_t i = 0; i < plan->count; i++) {
		const struct item *item = &plan->items[i];
		bool text = item->kind != ITEM_FILE;
		if (!item->right)
			report_add(report, &(struct finding){.state = FINDING_CHANGED,
							     .where = item_where(item),
							     .name = item->name,
							     .is = text ? item->is : NULL,
							     .shall = text ? item->shall : NULL,
							     .why = item->why});
	}
}

bool postfix_apply(const struct plan *plan, const struct look *look, struct store *store, struct report *report,
		   char error[SETUP_ERROR_SIZE])
{
	struct rehearsal rehearsal = {.store = store, .directory = mem_printf("%s/rehearsal", store->directory)};
	bool first = !store->state, good = false;
	if (remember(plan, look, &rehearsal, error)) {
		good = carry_out(plan, look, &rehearsal, error);
		if (!good && first)
			take_back(look->directory, store, error);
		else if (!good)
			say_unfinished(error);
	}
	if (good)
		add_changes(plan, report);
	if (rehearsal.after.directory)
		look_free(&rehearsal.after);
	json_decref(rehearsal.set);
	free(rehearsal.directory);
	return good;
}
