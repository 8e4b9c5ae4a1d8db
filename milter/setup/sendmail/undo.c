/*
 * Our block taken out of sendmail.mc again. Called by sendmail.c. Files come back as they were if nobody else has
 * changed them; else the block alone goes, and what somebody has edited by hand is left to him.
 */
#include <config.h>

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "sendmail.h"

static void add(struct report *report, enum finding_state state, const char *where, const char *name, const char *is,
		const char *why)
{
	report_add(report, &(struct finding){.state = state, .where = where, .name = name, .is = is, .why = why});
}

/* The block stands there otherwise than --apply wrote it. */
static bool edited(const struct site *site, struct report *report)
{
	char *there = mc_block(site->mc);
	bool other = site->state == MC_BROKEN || (there && !site_wrote(site, there));
	if (other)
		report_add(
			report,
			&(struct finding){.state = FINDING_KEPT,
					  .where = "sendmail.mc",
					  .name = "block",
					  .is = there,
					  .shall = site->kept_block,
					  .why = "It was edited by hand, and nothing was changed: take it out by hand, "
						 "and make sendmail.cf anew."});
	free(there);
	return other;
}

/* Whether what stands around our block is what it was before --apply. */
static bool as_before(const struct site *site, const struct store *store, bool *same, char error[SETUP_ERROR_SIZE])
{
	char digest[STORE_DIGEST_SIZE];
	const char *around = json_string_value(json_object_get(store->state, "around"));
	bool good = site_bare_digest(site, digest, error);
	*same = good && around && strcmp(around, digest) == 0;
	return good;
}

/* sendmail.mc goes back first: make(1) takes the older one for the source. */
static bool give_back(const struct site *site, struct store *store, bool cf, struct report *report,
		      char error[SETUP_ERROR_SIZE])
{
	if (!store_restore_file(store, site->mc_path, error))
		return false;
	add(report, FINDING_RESTORED, "sendmail.mc", "the file", NULL, "It is as before --apply.");
	if (!cf)
		return true;
	if (!store_restore_file(store, site->cf_path, error))
		return false;
	add(report, FINDING_RESTORED, "sendmail.cf", "the file", NULL, "It is as before --apply.");
	return true;
}

/* Somebody has changed sendmail.mc elsewhere: that stays. */
static bool take_out(const struct site *site, bool cf, struct report *report, char error[SETUP_ERROR_SIZE])
{
	char ignored[SETUP_ERROR_SIZE];
	if (cf && !site->bare_cf) {
		snprintf(error, SETUP_ERROR_SIZE, "nothing was changed: %s",
			 site->bare_error ? site->bare_error : site->made_error);
		return false;
	}
	if (cf && !build_try(site->place, site->bare_cf, error))
		return false;
	bool there = strcmp(site->mc, site->bare) != 0;
	if (there && !site_write(site->mc_path, site->bare, error))
		return false;
	if (cf && !site_write(site->cf_path, site->bare_cf, error)) {
		bool back = site_write(site->mc_path, site->mc, ignored);
		(void)back; /* if not, the next --undo goes on from there */
		return false;
	}
	if (there)
		add(report, FINDING_RESTORED, "sendmail.mc", "block", NULL,
		    "It was taken out; what else was changed in the file since stays.");
	else
		add(report, FINDING_NOTE, "sendmail.mc", "block", NULL, "Somebody had taken it out already.");
	if (cf)
		add(report, FINDING_RESTORED, "sendmail.cf", "made of sendmail.mc", NULL,
		    "It was made anew; Sendmail has loaded it, as a test.");
	return true;
}

bool site_undo(const struct site *site, struct store *store, struct report *report, char error[SETUP_ERROR_SIZE])
{
	bool whole, ours = site_cf_ours(site);
	if (edited(site, report))
		return true;
	if (!site_unchanged(site, error) || !as_before(site, store, &whole, error) ||
	    !(whole ? give_back(site, store, ours, report, error) : take_out(site, ours, report, error)))
		return false;
	if (!ours) {
		add(report, FINDING_KEPT, "sendmail.cf", "the file", NULL,
		    "It is not what sendmail.mc made of itself: it was edited by hand, and is left to you. Mail goes "
		    "to relaypoold "
		    "until it is made anew of sendmail.mc.");
		return true;
	}
	return store_forget(store, error);
}
