/*
 * A provider's preset while a relay section that names it is read. Private to conf.c: the preset has the keys of a
 * relay section, by the same table, and their values take the place of the defaults.
 */
#ifndef BASE_CONF_PRESET_H
#define BASE_CONF_PRESET_H

#include "conf_syntax.h"
#include "conf_types.h"

/* The same keys for every preset: those of a relay section. */
struct conf_preset {
	char *path; /* NULL: there is no preset */
	cfg_t *keys;
};

/* The key stands in the section only: what is the account's own. */
bool conf_preset_refuses(const char *key);
/* Finds the preset that `value` names, and reads it. False after conf_complain(); conf_preset_free() in either case. */
bool conf_preset_find(struct conf_build *build, const struct conf_value *value, const struct conf_known *known,
		      size_t count, struct conf_preset *preset) MUST_CHECK;
/* Reads the one at `path`. False with "PATH:LINE: …" in `error`. */
bool conf_preset_read(const char *path, const struct conf_known *known, size_t count, struct conf_preset *preset,
		      char error[CONF_ERROR_SIZE]) MUST_CHECK;
/* If the error tells of a line of the preset: adds who named it. */
void conf_preset_blame(const struct conf_build *build, const struct conf_value *value,
		       const struct conf_preset *preset);
void conf_preset_free(struct conf_preset *preset);
/* The preset of the section, if there is one, has the key and the section has not. */
bool conf_preset_gives(const struct conf_build *build, cfg_t *section, const char *key);

#endif
