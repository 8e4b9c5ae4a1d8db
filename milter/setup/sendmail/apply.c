/*
 * Our block put into sendmail.mc, and the sendmail.cf made of it into its place. Called by sendmail.c. Everything is
 * made and tried before the first file is changed; what fails after that is put back.
 */
#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "sendmail.h"

bool site_write(const char *path, const char *text, char error[SETUP_ERROR_SIZE])
{
	struct stat info;
	bool there = stat(path, &info) == 0;
	return store_write_file(path, text, strlen(text), there ? info.st_uid : 0, there ? info.st_gid : 0,
				there ? info.st_mode & 07777 : 0644, error);
}

bool site_unchanged(const struct site *site, char error[SETUP_ERROR_SIZE])
{
	char ignored[SETUP_ERROR_SIZE];
	char *mc = file_read(site->mc_path, FILE_PLAIN, STORE_FILE_MAX, ignored, sizeof(ignored));
	char *cf = file_read(site->cf_path, FILE_PLAIN, STORE_FILE_MAX, ignored, sizeof(ignored));
	bool same = mc && strcmp(mc, site->mc) == 0 && (site->cf ? cf && strcmp(cf, site->cf) == 0 : !cf);
	if (!same)
		snprintf(error, SETUP_ERROR_SIZE,
			 "somebody else has changed sendmail.mc or sendmail.cf meanwhile; nothing was "
			 "changed here");
	free(cf);
	free(mc);
	return same;
}

/* ---- what is remembered ---- */

/*
 * sendmail.cf that somebody edited, beside itself: setup's memory has what was there before the first --apply. Its name,
 * the caller's; NULL in `*name` if there is nothing to keep.
 */
static bool keep_edited(const struct site *site, char **name, char error[SETUP_ERROR_SIZE])
{
	*name = NULL;
	if (site_cf_ours(site))
		return true;
	*name = mem_printf("%s.edited", site->cf_path);
	for (unsigned i = 2; access(*name, F_OK) == 0; i++) {
		free(*name);
		*name = mem_printf("%s.edited.%u", site->cf_path, i);
	}
	return store_copy_file(site->cf_path, *name, error);
}

bool site_bare_digest(const struct site *site, char digest[STORE_DIGEST_SIZE], char error[SETUP_ERROR_SIZE])
{
	char *path = mem_printf("%s/before", site->place);
	bool good = site_write(path, site->bare, error) && store_digest(path, digest, error);
	free(path);
	return good;
}

/* A block may have been there already, written by hand: what is kept is not always what stands around ours. */
static bool keep_mc(const struct site *site, struct store *store, char error[SETUP_ERROR_SIZE])
{
	char digest[STORE_DIGEST_SIZE];
	if (!store_keep_file(store, site->mc_path, error) || !site_bare_digest(site, digest, error))
		return false;
	json_object_set_new(store->state, "around", json_string(digest));
	return true;
}

static bool keep(const struct site *site, struct store *store, char error[SETUP_ERROR_SIZE])
{
	char digest[STORE_DIGEST_SIZE];
	return (store_kept_file(store, site->mc_path, digest) || keep_mc(site, store, error)) &&
	       (store_kept_file(store, site->cf_path, digest) || store_keep_file(store, site->cf_path, error));
}

static bool remember(const struct site *site, struct store *store, char error[SETUP_ERROR_SIZE])
{
	json_t *domains = json_array();
	for (size_t i = 0; i < site->request->domain_count; i++)
		json_array_append_new(domains, json_string(site->request->domains[i]));
	if (!store->state)
		store->state = json_object();
	json_object_set_new(store->state, "schema", json_integer(1));
	json_object_set_new(store->state, "block", json_string(site->block));
	char *there = mc_block(site->mc);
	if (there)
		json_object_set_new(store->state, "earlier", json_string(there));
	free(there);
	json_object_set_new(store->state, "domains", domains);
	return keep(site, store, error) && store_save(store, error);
}

/* What was remembered before this --apply; nothing if it is NULL. */
static void remember_again(struct store *store, json_t *before)
{
	char ignored[SETUP_ERROR_SIZE];
	if (before) {
		json_decref(store->state);
		store->state = json_incref(before);
		if (!store_save(store, ignored))
			return; /* the block that it tells of is not there: --undo says so */
	} else if (!store_forget(store, ignored)) {
		return;
	}
}

/* ---- the change ---- */

/* Both files, or none. */
static bool change(const struct site *site, char error[SETUP_ERROR_SIZE])
{
	char why[SETUP_ERROR_SIZE];
	if (!site_unchanged(site, error) || !site_write(site->mc_path, site->shall, error))
		return false;
	if (site_write(site->cf_path, site->shall_cf, error))
		return true;
	bool back = site_write(site->mc_path, site->mc, why);
	char *sentence = mem_strdup(error);
	snprintf(error, SETUP_ERROR_SIZE, "%.*s; %s %s", SETUP_ERROR_SIZE / 2, sentence, site->mc_path,
		 back ? "is as it was" : "could not be put back: see relaypoolctl setup sendmail --undo");
	free(sentence);
	return false;
}

static bool refuse(char error[SETUP_ERROR_SIZE])
{
	char *sentence = mem_strdup(error);
	snprintf(error, SETUP_ERROR_SIZE, "the new sendmail.cf does not work, and nothing was changed: %.*s",
		 SETUP_ERROR_SIZE / 2, sentence);
	free(sentence);
	return false;
}

static void add_changes(const struct site *site, const char *edited, struct report *report)
{
	char *before = mc_block(site->mc), *copy = NULL;
	if (edited)
		copy = mem_printf("Sendmail has loaded it, as a test. What was there is %s now.", edited);
	if (strcmp(site->mc, site->shall) != 0)
		report_add(report, &(struct finding){.state = FINDING_CHANGED,
						     .where = "sendmail.mc",
						     .name = "block",
						     .is = before,
						     .shall = site->block});
	report_add(report, &(struct finding){.state = FINDING_CHANGED,
					     .where = "sendmail.cf",
					     .name = "made of sendmail.mc",
					     .why = copy ? copy : "Sendmail has loaded it, as a test."});
	free(copy);
	free(before);
}

bool site_apply(const struct site *site, struct store *store, struct report *report, char error[SETUP_ERROR_SIZE])
{
	if (!site->shall_cf) {
		snprintf(error, SETUP_ERROR_SIZE, "%s", site->shall_error);
		return refuse(error);
	}
	if (!build_try(site->place, site->shall_cf, error))
		return refuse(error);
	char *edited;
	json_t *before = json_deep_copy(store->state);
	bool good = keep_edited(site, &edited, error) && remember(site, store, error) && change(site, error);
	if (good)
		add_changes(site, edited, report);
	else
		remember_again(store, before);
	json_decref(before);
	free(edited);
	return good;
}
