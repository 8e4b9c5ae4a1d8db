/*
 * The kinds of value relaypool.conf knows: how each is read, shown and freed. Private to conf.c, whose table says which
 * key has which kind.
 */
#ifndef BASE_CONF_TYPES_H
#define BASE_CONF_TYPES_H

#include <stdio.h>

#include "base/conf.h"

struct conf_value;
struct conf_key;
struct conf_preset;

/* A snapshot while it is being made. */
struct conf_build {
	struct conf *conf;
	const char *path;
	char *error;                      /* CONF_ERROR_SIZE octets */
	const struct conf_preset *preset; /* of the relay section that is read; NULL: it has none */
};

struct conf_type {
	size_t size; /* of the field, or of one element of a list */
	/* False after conf_complain(). */
	bool (*read)(struct conf_build *build, const struct conf_key *key, const struct conf_value *value, void *field);
	void (*show)(FILE *out, const struct conf_key *key, const void *field);
	void (*release)(void *field); /* NULL: owns nothing */
};

struct conf_key {
	const char *section; /* NULL: at the top */
	const char *name;
	const struct conf_type *type;
	size_t field;         /* offset in struct conf, relay_conf or route_conf */
	size_t count;         /* of a list: offset of its size_t; else 0 */
	const char *fallback; /* the default as it would be written; NULL: none */
	double min, max;
	const char *const *words; /* what may be chosen, NULL-terminated */
};

/* Writes "FILE:LINE: …" into the error; always false. */
bool conf_complain(struct conf_build *build, unsigned line, const char *format, ...) PRINTF_LIKE(3, 4);

/* The same into the snapshot's warning; the first one stays. */
void conf_warn(struct conf_build *build, unsigned line, const char *format, ...) PRINTF_LIKE(3, 4);

/* Why a pattern of senders or recipients can match no address, and what can; NULL if it can. */
const char *conf_pattern_problem(const char *pattern, bool recipient);

extern const struct conf_type conf_type_text, conf_type_path, conf_type_secret, conf_type_count, conf_type_seconds,
	conf_type_rate, conf_type_bool, conf_type_choice, conf_type_size, conf_type_mode, conf_type_endpoint,
	conf_type_user, conf_type_group, conf_type_uid, conf_type_port, conf_type_host, conf_type_mechanism,
	conf_type_network, conf_type_header, conf_type_relay, conf_type_sender, conf_type_recipient,
	conf_type_stage_limit;

#endif
