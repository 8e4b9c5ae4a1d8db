/*
 * relaypool.conf: read by libconfuse into one immutable, counted snapshot. A session, a message and a connection each
 * hold the snapshot they began with, so a reload never changes what is under way. Every key is in relaypool.conf(5).
 * conf_ref() and conf_unref() may be called from any thread; a snapshot is never written after conf_load().
 */
#ifndef BASE_CONF_H
#define BASE_CONF_H

#include <sys/types.h>

#include "base/net.h"
#include "relaypool.h"

#define CONF_ROUTES_MAX 64 /* a message's routes are bits of one word */
#define CONF_ERROR_SIZE 1024

enum tls_mode { TLS_NONE = 0, TLS_STARTTLS, TLS_IMPLICIT };
enum failover { FAILOVER_QUEUE = 0, FAILOVER_DIRECT };
enum log_messages { LOG_MESSAGES_AUTO = 0, LOG_MESSAGES_ALL, LOG_MESSAGES_SLOW_FAILED, LOG_MESSAGES_NONE };
enum streaming { STREAMING_OFF = 0, STREAMING_AUTO, STREAMING_DEEP };

struct host_port {
	char *host;
	uint16_t port; /* the relay's port unless the entry has its own */
};

/* How long a stage may last before it is reported as a stall. */
struct stage_limit {
	enum stage stage;
	usec_t limit;
};

struct relay_conf {
	struct conf *conf; /* the snapshot it belongs to, not counted */
	char *name;
	char *provider;          /* the preset, by its name or path; NULL: none */
	struct host_port *hosts; /* in order of preference */
	size_t host_count;
	uint16_t port; /* of hosts without their own */
	enum tls_mode tls;
	bool tls_verify;
	char *tls_ca_file; /* NULL: the system's store */
	char *username;    /* NULL: no AUTH */
	char *password;    /* from password-file, without the line end; never logged */
	char *password_file;
	char *token_file; /* for XOAUTH2 and OAUTHBEARER; at most one of the two */
	char *token_command;
	char **auth; /* mechanisms allowed, in order of preference */
	size_t auth_count;
	bool allow_cleartext_auth; /* with TLS_NONE the secret goes in clear all the same */
	char *account;             /* relays of one account share its caps; default: username@host, or host */
	unsigned max_connections;
	unsigned min_connections;
	unsigned max_messages; /* per connection; 0 = no limit */
	usec_t max_age;        /* of a connection; 0 = no limit */
	usec_t idle_timeout;
	double rate; /* messages a second; 0 = no limit */
	enum streaming streaming;
	unsigned max_depth;           /* messages in flight on one connection, with STREAMING_DEEP */
	usec_t timeouts[STAGE_COUNT]; /* 0 where the stage has none: connect … reply */
	struct stage_limit *stall_limits;
	size_t stall_limit_count;
};

struct route_conf {
	char *name;
	struct relay_conf **relays; /* in order of preference; borrowed from the snapshot */
	size_t relay_count;
	char **senders; /* fnmatch(3) patterns on the whole address, or "@domain", ".domain"; "<>" the null sender */
	size_t sender_count;
	char **recipients;
	size_t recipient_count;
	struct network *clients;
	size_t client_count;
	char **users; /* authenticated; "*" any */
	size_t user_count;
	char **headers; /* "Name: pattern" (fnmatch, case folded) */
	size_t header_count;
};

struct conf {
	unsigned refs; /* atomic */
	char *path;
	struct endpoint milter;
	struct endpoint *lmtp;
	size_t lmtp_count;
	bool has_smtp;
	struct endpoint smtp; /* the direct listener; loopback only; with failover = "direct" */
	struct endpoint control;
	bool has_metrics;
	struct endpoint metrics; /* over HTTP; loopback only */
	char *user;              /* NULL: stay who we are */
	char *socket_group;      /* NULL: leave the group */
	mode_t socket_mode;
	uid_t *allow_users; /* who may connect to lmtp, resolved */
	size_t allow_user_count;
	usec_t deadline;
	usec_t reply_reserve;
	char *hostname; /* EHLO name */
	enum failover failover;
	uint64_t memory_limit;
	char *spool_directory;
	struct stage_limit *stall_limits; /* of every relay that has none of its own, and of the stages at the MTA */
	size_t stall_limit_count;
	enum log_messages log_messages; /* which outcomes have a line */
	usec_t slow_message;
	struct relay_conf *relays;
	size_t relay_count;
	struct route_conf *routes;
	size_t route_count;
	bool wants_headers; /* some route has `headers` */
	int64_t modified;   /* the file, in microseconds since 1970 when it was read; -1: not known */
	char *warning;      /* "FILE:LINE: …" of what is allowed and likely a mistake; NULL: nothing */
};

/* NULL with "FILE:LINE: what is wrong and what is allowed" in `error`. The caller holds one reference. */
struct conf *conf_load(const char *path, char error[CONF_ERROR_SIZE]) MUST_CHECK;
struct conf *conf_ref(struct conf *conf);
void conf_unref(struct conf **conf); /* and sets the pointer to NULL; secrets are overwritten before they are freed */

/* Every key with its value as the daemon uses it, secrets as "***"; for `relaypoolctl config`. */
void conf_show(const struct conf *conf, void (*line)(const char *key, const char *value, void *arg), void *arg);
/*
 * Each key of a provider's preset, in the order of the table, with its value as it stands there. False with
 * "PATH:LINE: …" in `error` if the preset is not sound; some keys may have been shown then.
 */
bool conf_preset_show(const char *path, void (*line)(const char *key, const char *value, void *arg), void *arg,
		      char error[CONF_ERROR_SIZE]) MUST_CHECK;
/* Names of all keys the parser knows, NULL-terminated: "deadline", "relay.host", "route.relays"…; for tests. */
const char *const *conf_keys(void);

const struct relay_conf *conf_relay(const struct conf *conf, const char *name); /* NULL if there is none */
/* How long a stage may last, as configured for the relay or for all; 0: not configured. `relay` may be unknown. */
usec_t conf_stall_limit(const struct conf *conf, const char *relay, enum stage stage);
bool route_conf_unconditional(const struct route_conf *route);
/* True if the route has a condition that only the milter can judge: clients, users, headers. */
bool route_conf_needs_tag(const struct route_conf *route);
/* A sender or recipient against the patterns of a route; an empty list matches all. */
bool conf_address_matches(char *const *patterns, size_t count, const char *address);

#endif
