/*
 * Finds and reads the preset that a relay section names. Called by conf.c alone, which knows what the keys mean;
 * what stands in a preset and belongs into the section is refused here.
 */
#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/provider.h"
#include "conf_preset.h"

bool conf_preset_refuses(const char *key)
{
	/* What is the account's or the administrator's own, and a preset of a preset. */
	static const char *const own[] = {"provider",      "username", "password-file", "token-file",
					  "token-command", "account",  "stall-limits"};
	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		if (strcmp(own[i], key) == 0)
			return true;
	return false;
}

bool conf_preset_read(const char *path, const struct conf_known *known, size_t count, struct conf_preset *preset,
		      char error[CONF_ERROR_SIZE])
{
	static const char *const no_sections[] = {NULL};
	struct conf_build build = {.path = path, .error = error};
	preset->path = mem_strdup(path);
	preset->keys = conf_syntax_read(path, no_sections, known, count, error);
	for (size_t i = 0; preset->keys != NULL && i < count; i++) {
		if (known[i].refused && conf_syntax_count(preset->keys, known[i].name) > 0)
			return conf_complain(&build, conf_syntax_line(preset->keys, known[i].name),
					     "%s does not belong into a preset: write it into the relay section",
					     known[i].name);
	}
	return preset->keys != NULL;
}

void conf_preset_free(struct conf_preset *preset)
{
	if (preset->keys != NULL)
		cfg_free(preset->keys);
	free(preset->path);
	*preset = (struct conf_preset){NULL, NULL};
}

/* ---- by name ---- */

static bool complain_unknown(struct conf_build *build, const struct conf_value *value)
{
	char names[CONF_ERROR_SIZE / 2] = "";
	size_t count, used = 0;
	struct provider *list = provider_list(provider_directories, &count);
	for (size_t i = 0; i < count && used < sizeof(names); i++)
		used += (size_t)snprintf(names + used, sizeof(names) - used, "%s%s", i > 0 ? ", " : "", list[i].name);
	provider_list_free(list, count);
	if (count == 0)
		return conf_complain(build, value->line,
				     "provider = \"%s\": there is no preset at all in %s or %s: leave provider out and "
				     "set host, or give the path of a preset",
				     value->text, provider_directories[0], provider_directories[1]);
	char *meant = provider_meant(provider_directories, value->text);
	(void)conf_complain(
		build, value->line,
		"provider = \"%s\": there is no such preset%s%s%s; there are: %s. Take one of these, give the "
		"path of one, or leave provider out and set host",
		value->text, meant != NULL ? "; " : "", meant != NULL ? meant : "",
		meant != NULL ? " may be meant" : "", names);
	free(meant);
	return false;
}

static char *path_of(struct conf_build *build, const struct conf_value *value)
{
	if (value->text[0] == '/')
		return mem_strdup(value->text);
	if (!provider_name_valid(value->text)) {
		(void)conf_complain(build, value->line,
				    "provider = \"%.128s\": a name of at most %d letters, digits and hyphens is "
				    "needed, or a path that begins with \"/\"",
				    value->text, PROVIDER_NAME_MAX);
		return NULL;
	}
	char *path = provider_path(provider_directories, value->text);
	if (path == NULL)
		(void)complain_unknown(build, value);
	return path;
}

static bool is_told_by(const char *error, const char *path)
{
	char begins[512];
	int length = snprintf(begins, sizeof(begins), "%.256s:", path);
	return strncmp(error, begins, (size_t)length) == 0 && error[length] >= '0' && error[length] <= '9';
}

bool conf_preset_find(struct conf_build *build, const struct conf_value *value, const struct conf_known *known,
		      size_t count, struct conf_preset *preset)
{
	char why[CONF_ERROR_SIZE] = "";
	char *path = path_of(build, value);
	if (path == NULL)
		return false;
	bool good = conf_preset_read(path, known, count, preset, why);
	if (!good && is_told_by(why, path))
		memcpy(build->error, why, sizeof(why));
	else if (!good) /* it cannot be opened: that has no line */
		(void)conf_complain(build, value->line, "provider: %.600s", why);
	free(path);
	return good;
}

void conf_preset_blame(const struct conf_build *build, const struct conf_value *value, const struct conf_preset *preset)
{
	char why[CONF_ERROR_SIZE];
	if (preset->path == NULL || !is_told_by(build->error, preset->path))
		return;
	memcpy(why, build->error, sizeof(why));
	snprintf(build->error, CONF_ERROR_SIZE, "%.700s (named by %.256s:%u)", why, build->path, value->line);
}

bool conf_preset_gives(const struct conf_build *build, cfg_t *section, const char *key)
{
	return build->preset != NULL && conf_syntax_count(section, key) == 0 &&
	       conf_syntax_count(build->preset->keys, key) > 0;
}
