/*
 * What a relay section must be beyond its single keys. Private to conf.c.
 */
#ifndef BASE_CONF_RELAY_H
#define BASE_CONF_RELAY_H

#include "conf_syntax.h"
#include "conf_types.h"

/* All keys of the section are read into `relay`: the rest of it. False after conf_complain(). */
bool conf_relay_complete(struct conf_build *build, cfg_t *section, struct relay_conf *relay) MUST_CHECK;

#endif
