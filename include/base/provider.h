/*
 * Presets of providers: files NAME.conf in two directories, the administrator's before the package's. Called by
 * conf.c and by relaypoolctl; finds and lists them, never reads what stands in one.
 */
#ifndef BASE_PROVIDER_H
#define BASE_PROVIDER_H

#include "relaypool.h"

#define PROVIDER_NAME_MAX 64
#define PROVIDERS_MAX 256 /* more are not listed */

struct provider {
	char *name;
	char *path;
};

/* SYSCONFDIR/relaypool/providers and PKGDATADIR/providers, NULL-terminated; the first that has a name is right. */
extern const char *const provider_directories[];

/* 1 to PROVIDER_NAME_MAX letters, digits and hyphens: no name leads out of a directory. */
bool provider_name_valid(const char *name);
/* The file of a valid name, for the caller to free; NULL if there is none. */
char *provider_path(const char *const *directories, const char *name) MUST_CHECK;

/* The name of the preset that is likely meant by one that there is not, for the caller to free; NULL. */
char *provider_meant(const char *const *directories, const char *name) MUST_CHECK;

/* All there are, each name once, in their order; the caller ends with provider_list_free(). */
struct provider *provider_list(const char *const *directories, size_t *count) MUST_CHECK;
void provider_list_free(struct provider *list, size_t count);

#endif
