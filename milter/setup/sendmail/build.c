/*
 * sendmail.cf made of sendmail.mc by m4, and tried by Sendmail itself. Called by sendmail.c and by who applies or
 * undoes. Writes only in a directory of ours: what stands in the place of another is for the caller.
 */
#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "sendmail.h"
#include "setup/run.h"

#define TRY_LIMIT 90 /* seconds; Sendmail waits for a minute where a host's name has no dot */

/* A file in our directory, for a program to read; its path is the caller's, NULL with a sentence. */
static char *lay(const char *place, const char *name, const char *text, char error[SETUP_ERROR_SIZE])
{
	char *path = mem_printf("%s/%s", place, name);
	if (store_write_file(path, text, strlen(text), geteuid(), getegid(), 0600, error))
		return path;
	free(path);
	return NULL;
}

/* What is complained of in one line: the first, without the names of files of ours. */
static bool refuse(char error[SETUP_ERROR_SIZE], const char *who, const char *complaint)
{
	complaint += strspn(complaint, "\n");
	const char *said = strstr(complaint, "*** ");
	if (!said || said > complaint + strcspn(complaint, "\n"))
		said = complaint;
	snprintf(error, SETUP_ERROR_SIZE, "%s says: %.*s", who, (int)strcspn(said, "\n"), said);
	return false;
}

char *build_cf(const char *place, const char *mc_path, const char *macros, const char *mc, char error[SETUP_ERROR_SIZE])
{
	char *included = mc_macros(mc), *path = lay(place, "sendmail.mc", mc, error);
	if (!path) {
		free(included);
		return NULL;
	}
	char *directory = mem_strndup(mc_path, (size_t)(strrchr(mc_path, '/') - mc_path));
	char *defined = mem_printf("-D_CF_DIR_=%s", macros), *first = mem_printf("%sm4/cf.m4", macros);
	/* What includes cf.m4 by itself is given to m4 alone, else behind it: the two ways of cf/README. */
	const char *const alone[] = {"m4", "-I", directory, path, NULL};
	const char *const behind[] = {"m4", "-I", directory, defined, first, path, NULL};
	struct run run;
	bool good = run_program(included ? alone : behind, RUN_LIMIT, &run, error);
	/* m4 goes on after what Sendmail's macros call an error, and says no more of it. */
	if (good && (strstr(run.complaint, "*** ERROR") || strlen(run.output) == 0))
		good = refuse(error, "m4", *run.complaint ? run.complaint : "nothing");
	char *cf = good ? mem_strdup(run.output) : NULL;
	run_free(&run);
	free(first);
	free(defined);
	free(directory);
	free(path);
	free(included);
	return cf;
}

/*
 * Runs a program that may be Sendmail. `*is_sendmail` if it is: others have programs of these names too.
 */
static bool try_program(const char *program, const char *path, bool *is_sendmail, char error[SETUP_ERROR_SIZE])
{
	char *config = mem_printf("-C%s", path);
	const char *const argv[] = {program, config, "-d0.1", "-bt", NULL};
	struct run run;
	bool good = run_program(argv, TRY_LIMIT, &run, error);
	*is_sendmail = strstr(run.output, "Version 8.") != NULL;
	if (*is_sendmail && !good && *run.complaint)
		refuse(error, "Sendmail", run.complaint);
	else if (*is_sendmail && !good && run.code >= 0) {
		const char *said = strstr(run.output, path); /* "FILE: line 7: …", among what -d prints */
		if (said)
			refuse(error, "Sendmail", said + strlen(path) + strspn(said + strlen(path), ": "));
	}
	run_free(&run);
	free(config);
	return good && *is_sendmail;
}

bool build_try(const char *place, const char *cf, char error[SETUP_ERROR_SIZE])
{
	static const char *const programs[] = {
		"sendmail.sendmail", "sendmail-mta",      "/usr/libexec/sendmail/sendmail",
		"sendmail",          "/usr/lib/sendmail", NULL};
	char *path = lay(place, "sendmail.cf", cf, error);
	bool is_sendmail = false, good = false;
	if (!path)
		return false;
	for (const char *const *program = programs; *program && !is_sendmail; program++)
		good = try_program(*program, path, &is_sendmail, error);
	if (!is_sendmail)
		snprintf(error, SETUP_ERROR_SIZE,
			 "there is no Sendmail on this host that could try the new sendmail.cf: its program is looked "
			 "for in PATH");
	free(path);
	return good;
}
