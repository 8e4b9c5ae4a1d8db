/*
 * Where the presets of providers are. Called by conf.c when a relay section names one and by relaypoolctl providers;
 * never opens a preset, and reads nothing but its two directories.
 */
#include <config.h>

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "base/provider.h"
#include "near.h"

#define SUFFIX ".conf"

const char *const provider_directories[] = {SYSCONFDIR "/relaypool/providers", PKGDATADIR "/providers", NULL};

bool provider_name_valid(const char *name)
{
	size_t length = strlen(name);
	return length > 0 && length <= PROVIDER_NAME_MAX &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") == length;
}

/* One that cannot be reached counts, and opening it will tell why: the package's must not stand in for ours unseen. */
char *provider_path(const char *const *directories, const char *name)
{
	struct stat status;
	for (; *directories != NULL; directories++) {
		char *path = mem_printf("%s/%s" SUFFIX, *directories, name);
		if (lstat(path, &status) == 0 || (errno != ENOENT && errno != ENOTDIR))
			return path;
		free(path);
	}
	return NULL;
}

/* ---- listing ---- */

static bool is_listed(const struct provider *list, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(list[i].name, name) == 0)
			return true;
	return false;
}

/* "NAME.conf" of a valid NAME; NULL for whatever else lies there, such as an editor's copy. */
static char *name_of(const char *file)
{
	size_t length = strlen(file), suffix = strlen(SUFFIX);
	if (length <= suffix || strcmp(file + length - suffix, SUFFIX) != 0)
		return NULL;
	char *name = mem_strndup(file, length - suffix);
	if (provider_name_valid(name))
		return name;
	free(name);
	return NULL;
}

static void list_directory(const char *path, struct provider *list, size_t *count)
{
	DIR *directory = opendir(path);
	const struct dirent *entry;
	while (directory != NULL && *count < PROVIDERS_MAX && (entry = readdir(directory)) != NULL) {
		char *name = name_of(entry->d_name);
		if (name == NULL || is_listed(list, *count, name)) {
			free(name);
			continue;
		}
		list[(*count)++] = (struct provider){name, mem_printf("%s/%s", path, entry->d_name)};
	}
	if (directory != NULL)
		closedir(directory);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct provider *)a)->name, ((const struct provider *)b)->name);
}

struct provider *provider_list(const char *const *directories, size_t *count)
{
	struct provider *list = mem_array(PROVIDERS_MAX, sizeof(*list));
	*count = 0;
	for (; *directories != NULL; directories++)
		list_directory(*directories, list, count);
	qsort(list, *count, sizeof(*list), by_name);
	return list;
}

void provider_list_free(struct provider *list, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		free(list[i].name);
		free(list[i].path);
	}
	free(list);
}

char *provider_meant(const char *const *directories, const char *name)
{
	size_t count, least = near_enough(name);
	char *meant = NULL;
	struct provider *list = provider_list(directories, &count);
	for (size_t i = 0; i < count; i++) {
		size_t far = near_distance(name, list[i].name);
		if (far >= least)
			continue;
		least = far;
		free(meant);
		meant = mem_strdup(list[i].name);
	}
	provider_list_free(list, count);
	return meant;
}
