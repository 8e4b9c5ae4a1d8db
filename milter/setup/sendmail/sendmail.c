/*
 * Sendmail registered with relaypool, looked at, or freed of it: the order in which the parts of setup are called.
 * Called by relaypoolctl. What is wanted stands in block.c, what is in the way in check.c.
 */
#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "sendmail.h"

#define DEFAULT_MC "/etc/mail/sendmail.mc"
#define EXTENSION ".mc"

/* ---- finding the files ---- */

/* What is remembered goes by the name: there shall be one, however it is given. The file itself may be a link. */
static void spell_one_way(char **path)
{
	const char *name = strrchr(*path, '/') + 1;
	char *directory = mem_strndup(*path, (size_t)(name - *path)), *real = realpath(directory, NULL);
	if (real) {
		char *spelled = mem_printf("%s/%s", strcmp(real, "/") == 0 ? "" : real, name);
		free(*path);
		*path = spelled;
	}
	free(real);
	free(directory);
}

static bool find_paths(struct site *site, char error[SETUP_ERROR_SIZE])
{
	const char *path = site->request->mc ? site->request->mc : DEFAULT_MC;
	size_t length = strlen(path), extension = strlen(EXTENSION);
	char here[4096];
	if (length <= extension || strcmp(path + length - extension, EXTENSION) != 0) {
		snprintf(error, SETUP_ERROR_SIZE,
			 "--mc \"%s\": its name has to end in " EXTENSION ", as that of sendmail.cf in .cf", path);
		return false;
	}
	if (path[0] == '/') {
		site->mc_path = mem_strdup(path);
	} else if (getcwd(here, sizeof(here))) {
		site->mc_path = mem_printf("%s/%s", here, path);
	} else {
		snprintf(error, SETUP_ERROR_SIZE, "--mc \"%s\": give it with its directory", path);
		return false;
	}
	spell_one_way(&site->mc_path);
	length = strlen(site->mc_path) - extension;
	site->cf_path = mem_printf("%.*s.cf", (int)length, site->mc_path);
	site->directory = mem_strndup(site->mc_path, (size_t)(strrchr(site->mc_path, '/') - site->mc_path));
	return true;
}

static bool read_files(struct site *site, char error[SETUP_ERROR_SIZE])
{
	char why[SETUP_ERROR_SIZE];
	bool cf = access(site->cf_path, F_OK) == 0;
	if (access(site->mc_path, F_OK) == -1) {
		snprintf(error, SETUP_ERROR_SIZE,
			 cf ? "there is no %s: %s was made of another file, or by hand. Name that file by --mc, or "
			      "write into "
			      "sendmail.cf by hand what contrib/sendmail/relaypool.m4 makes: Xrelaypool, "
			      "InputMailFilters, "
			      "Mrelaypool and DS"
			    : "there is no %s and no %s: Sendmail is not configured here; name another file by --mc",
			 site->mc_path, site->cf_path);
		return false;
	}
	site->mc = file_read(site->mc_path, FILE_PLAIN, STORE_FILE_MAX, error, SETUP_ERROR_SIZE);
	site->cf = cf ? file_read(site->cf_path, FILE_PLAIN, STORE_FILE_MAX, why, sizeof(why)) : NULL;
	if (site->mc && cf && !site->cf)
		snprintf(error, SETUP_ERROR_SIZE, "%s", why);
	return site->mc && (site->cf || !cf);
}

/* Sendmail's m4 files: those that sendmail.mc includes, or where packages put them. */
static bool find_macros(struct site *site, char error[SETUP_ERROR_SIZE])
{
	static const char *const places[] = {"/usr/share/sendmail/cf/", "/usr/share/sendmail-cf/",
					     "/usr/lib/sendmail-cf/", "/usr/local/share/sendmail/cf/", NULL};
	site->macros = mc_macros(site->mc);
	if (site->macros && site->macros[0] != '/') {
		/* As m4 finds it, by -I. */
		char *there = mem_printf("%s/%s", site->directory, site->macros);
		free(site->macros);
		site->macros = there;
	}
	for (const char *const *place = places; *place && !site->macros; place++) {
		char *file = mem_printf("%sm4/cf.m4", *place);
		if (access(file, R_OK) == 0)
			site->macros = mem_strdup(*place);
		free(file);
	}
	char *file = mem_printf("%sm4/cf.m4", site->macros ? site->macros : "/usr/share/sendmail/cf/");
	bool good = access(file, R_OK) == 0;
	if (!good)
		snprintf(error, SETUP_ERROR_SIZE,
			 "there is no %s, by which sendmail.cf is made: install the package sendmail-cf", file);
	free(file);
	return good;
}

/* ---- looking ---- */

static char *made(const struct site *site, const char *mc, char **error)
{
	char why[SETUP_ERROR_SIZE];
	char *cf = build_cf(site->place, site->mc_path, site->macros, mc, why);
	*error = cf ? NULL : mem_strdup(why);
	return cf;
}

static bool has_ours(const char *cf)
{
	return strstr(cf, "\nM" SITE_NAME ",") != NULL;
}

/* What the files are and would be without our block. */
static void look_at_files(struct site *site)
{
	size_t begin, end;
	site->state = mc_find(site->mc, &begin, &end);
	site->bare = mc_without(site->mc);
	site->made_cf = made(site, site->mc, &site->made_error);
	site->bare_cf = site->state == MC_ONE ? made(site, site->bare, &site->bare_error)
					      : (site->made_cf ? mem_strdup(site->made_cf) : NULL);
	site->by_hand = site->bare_cf && has_ours(site->bare_cf);
}

/* What is made with our block; nothing, if m4 does not come by it. */
static char *made_with_ours(struct site *site)
{
	char *cf = made(site, site->shall, &site->shall_error);
	if (!cf || has_ours(cf))
		return cf;
	free(cf);
	site->shall_error = mem_strdup("the first MAILER line, before which the block stands, is in a part that m4 "
				       "leaves out: move that line, and there is a mailer relaypool");
	return NULL;
}

/* What they shall be. */
static bool plan(struct site *site, char error[SETUP_ERROR_SIZE])
{
	const struct setup_request *request = site->request;
	site->block = block_make(request->conf, request->domains, request->domain_count, site->macros, error);
	if (!site->block)
		return false;
	if (site->by_hand && site->state == MC_NONE) {
		site->shall = mem_strdup(site->mc);
		site->shall_cf = mem_strdup(site->made_cf);
		return true;
	}
	site->shall = mc_with(site->bare, site->block);
	if (!site->shall) {
		const char *why = strstr(site->mc, "FEATURE(`nullclient'")
					  ? "%s has FEATURE(`nullclient'), which hands all mail to another host: set "
					    "relaypool up there"
					  : "%s has no line that begins with MAILER(, before which relaypool's block "
					    "belongs: is it a sendmail.mc?";
		snprintf(error, SETUP_ERROR_SIZE, why, site->mc_path);
		return false;
	}
	if (site->state != MC_BROKEN)
		site->shall_cf = made_with_ours(site);
	else
		site->shall_error = mem_strdup("relaypool's block in it is broken");
	return true;
}

static bool look(struct site *site, char error[SETUP_ERROR_SIZE])
{
	char place[] = "/tmp/relaypool-setup.XXXXXX";
	if (!read_files(site, error) || !find_macros(site, error))
		return false;
	if (!mkdtemp(place)) {
		snprintf(error, SETUP_ERROR_SIZE, "cannot make a directory in /tmp");
		return false;
	}
	site->place = mem_strdup(place);
	look_at_files(site);
	return true;
}

static void remove_place(const char *place)
{
	for (const char *const *name = (const char *const[]){"sendmail.mc", "sendmail.cf", "before", NULL}; *name;
	     name++) {
		char *path = mem_printf("%s/%s", place, *name);
		unlink(path);
		free(path);
	}
	rmdir(place);
}

static void site_free(struct site *site)
{
	if (site->place)
		remove_place(site->place);
	char **texts[] = {&site->place,         &site->mc_path,   &site->cf_path,     &site->directory,
			  &site->macros,        &site->mc,        &site->cf,          &site->bare,
			  &site->bare_cf,       &site->made_cf,   &site->made_error,  &site->block,
			  &site->shall,         &site->shall_cf,  &site->shall_error, &site->kept_block,
			  &site->earlier_block, &site->bare_error};
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		free(*texts[i]);
}

bool site_done(const struct site *site)
{
	return site->shall_cf && strcmp(site->mc, site->shall) == 0 && site->cf && cf_same(site->cf, site->shall_cf);
}

bool site_wrote(const struct site *site, const char *block)
{
	return (site->kept_block && strcmp(block, site->kept_block) == 0) ||
	       (site->earlier_block && strcmp(block, site->earlier_block) == 0);
}

/* An --apply that was interrupted has left the sendmail.cf of a block that is not in sendmail.mc, or not any more. */
static bool cf_made_with(const struct site *site, const char *block)
{
	char ignored[SETUP_ERROR_SIZE];
	char *mc = block ? mc_with(site->bare, block) : NULL;
	char *cf = mc ? build_cf(site->place, site->mc_path, site->macros, mc, ignored) : NULL;
	bool same = cf && cf_same(site->cf, cf);
	free(cf);
	free(mc);
	return same;
}

bool site_cf_ours(const struct site *site)
{
	return !site->cf || (site->made_cf && cf_same(site->cf, site->made_cf)) ||
	       (site->bare_cf && cf_same(site->cf, site->bare_cf)) ||
	       (site->shall_cf && cf_same(site->cf, site->shall_cf)) || cf_made_with(site, site->kept_block) ||
	       cf_made_with(site, site->earlier_block);
}

/* ---- doing ---- */

/* How it goes on: nothing of this holds for a Sendmail that runs before it has read it. */
static bool finish(const struct site *site, const char *cf, struct report *report, const char *then,
		   char error[SETUP_ERROR_SIZE])
{
	char why[SETUP_ERROR_SIZE];
	if (!site->request->reload) {
		report_close(report,
			     "It holds after Sendmail has read it: --reload, or `systemctl reload sendmail'. %s", then);
		return true;
	}
	if (!site_reload(cf, why)) {
		snprintf(error, SETUP_ERROR_SIZE, "the files are changed, but %.*s", SETUP_ERROR_SIZE / 2, why);
		return false;
	}
	report_close(report, "Sendmail has read it. %s", then);
	return true;
}

static bool apply(struct site *site, struct store *store, struct report *report, char error[SETUP_ERROR_SIZE])
{
	site_check(site, false, report);
	if (report->stops > 0 && (!site->request->force || !site->shall_cf)) {
		report_close(report, "Nothing was changed: see what stands above as conflict or wrong.%s",
			     site->shall_cf ? " --force goes on all the same." : "");
		return true;
	}
	if (site_done(site)) {
		report_close(report, "Nothing had to be changed: relaypool is registered with Sendmail.");
		return true;
	}
	if (site->by_hand) {
		snprintf(error, SETUP_ERROR_SIZE,
			 "nothing was changed: relaypool stands in sendmail.mc by hand; make sendmail.cf of it by hand "
			 "too, or take those lines out");
		return false;
	}
	return site_apply(site, store, report, error) &&
	       finish(site, site->shall_cf, report, "relaypoolctl setup sendmail --undo takes it all back.", error);
}

static bool undo(struct site *site, struct store *store, struct report *report, char error[SETUP_ERROR_SIZE])
{
	if (!store->state) {
		snprintf(error, SETUP_ERROR_SIZE, "there is nothing to undo: no --apply has changed %s%s",
			 site->mc_path,
			 site->state == MC_NONE ? "" : "; the block of relaypool in it was written by hand");
		return false;
	}
	if (!site_undo(site, store, report, error))
		return false;
	if (report->counts[FINDING_RESTORED] == 0) {
		report_close(report, "Nothing was undone: see above.");
		return true;
	}
	/* The pid file is the same in both; this one is there without reading again. */
	const char *cf = site->made_cf ? site->made_cf : site->cf;
	return finish(site, cf ? cf : "", report,
		      "Mail that waits in the queue takes its old way then; it may carry one X-Relaypool field, which "
		      "names nobody.",
		      error);
}

static bool show(struct site *site, const struct store *store, struct report *report)
{
	site_check(site, true, report);
	if (store->hidden)
		report_note(report, "setup", "memory", "What was applied earlier can be seen by root only.");
	unsigned others = report->counts[FINDING_WRONG] + report->counts[FINDING_CONFLICT];
	if (report->stops > 0)
		report_close(report, "--apply refuses because of %u of these, unless --force is given.", report->stops);
	else if (!site_done(site))
		report_close(report, "relaypoolctl setup sendmail --apply makes it so, --undo reverts.%s",
			     others > 0 ? " What stands above as wrong is left to you." : "");
	else
		report_close(report, "relaypool is registered with Sendmail; nothing has to be changed.%s",
			     others > 0 ? " What stands above as wrong is left to you." : "");
	return true;
}

/* --check without --domain looks at what was applied. The names stay the memory's. */
static void take_domains(struct setup_request *request, const struct store *store)
{
	size_t i;
	const json_t *domain, *domains = json_object_get(store->state, "domains");
	if (request->action != SETUP_CHECK || request->domain_count > 0 || json_array_size(domains) == 0)
		return;
	request->domains = mem_array(json_array_size(domains), sizeof(char *));
	json_array_foreach((json_t *)domains, i, domain)
	{
		if (json_is_string(domain))
			request->domains[request->domain_count++] = (char *)json_string_value(domain);
	}
}

static bool act(struct site *site, struct store *store, struct report *report, char error[SETUP_ERROR_SIZE])
{
	const char *kept = json_string_value(json_object_get(store->state, "block"));
	const char *earlier = json_string_value(json_object_get(store->state, "earlier"));
	if (!look(site, error))
		return false;
	site->kept_block = kept ? mem_strdup(kept) : NULL;
	site->earlier_block = earlier ? mem_strdup(earlier) : NULL;
	if (site->request->action == SETUP_UNDO)
		return undo(site, store, report, error);
	if (!plan(site, error))
		return false;
	return site->request->action == SETUP_APPLY ? apply(site, store, report, error) : show(site, store, report);
}

bool setup_sendmail(const struct setup_request *asked, struct report *report, char error[SETUP_ERROR_SIZE])
{
	struct setup_request request = *asked;
	struct site site = {.request = &request};
	struct store store;
	bool good = find_paths(&site, error);
	if (good) {
		bool changes = request.action == SETUP_APPLY || request.action == SETUP_UNDO;
		char *name = mem_printf("sendmail%s", site.mc_path);
		/* First the lock, then a look. */
		good = store_open(&store, name, changes ? STORE_CHANGE : STORE_LOOK, error);
		if (good) {
			take_domains(&request, &store);
			good = act(&site, &store, report, error);
			store_close(&store);
		}
		free(name);
	}
	if (request.domains != asked->domains)
		free(request.domains);
	site_free(&site);
	return good;
}
