/*
 * The tag: one X-Relaypool header that the milter writes and ingest checks (queue id, time, routes, MAC).
 * It names no user or address. Pure functions but for the key file; called by observe/milter and ingest/message.
 */
#ifndef SMTP_TAG_H
#define SMTP_TAG_H

#include "relaypool.h"

#define TAG_HEADER "X-Relaypool"
#define TAG_VALUE_MAX 1536
#define TAG_KEY_SIZE 32

struct tag_key {
	unsigned char octets[TAG_KEY_SIZE];
};

struct tag {
	char queue_id[64];
	int64_t time;      /* Unix time in microseconds of the end of message at the milter */
	char routes[1024]; /* names of the routes whose client, user and header conditions hold, comma separated */
};

/* Reads the key file, or makes it (mode 0600) if there is none. False with one sentence in `error`. */
bool tag_key_load(const char *path, struct tag_key *key, char *error, size_t error_size) MUST_CHECK;

/* The header's value, without name and CRLF; folded lines never. False if it would not fit. */
bool tag_format(const struct tag *tag, const struct tag_key *key, char out[TAG_VALUE_MAX]) MUST_CHECK;
/* False if the form or the MAC is wrong. Folding white space within the value is allowed. */
bool tag_parse(const char *value, size_t length, const struct tag_key *key, struct tag *tag) MUST_CHECK;

#endif
