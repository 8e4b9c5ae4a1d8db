/*
 * relaypool.conf: one table of keys, from which the file is read, shown and freed, and the checks that look at several
 * keys together. Called by main, by check and by reload; a snapshot is never changed once conf_load() has returned it.
 */
#include <config.h>

#include <arpa/inet.h>
#include <netdb.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/conf.h"
#include "base/file.h"
#include "base/mem.h"
#include "conf_preset.h"
#include "conf_relay.h"
#include "conf_syntax.h"
#include "conf_types.h"

#define NAME_MAX_LENGTH 64
#define DAY 86400
#define SHORTEST 0.001 /* seconds; a limit of 0 would always be over */

static const char *const tls_words[] = {"none", "starttls", "implicit", NULL};                /* enum tls_mode */
static const char *const failover_words[] = {"queue", "direct", NULL};                        /* enum failover */
static const char *const streaming_words[] = {"off", "auto", "deep", NULL};                   /* enum streaming */
static const char *const log_messages_words[] = {"auto", "all", "slow,failed", "none", NULL}; /* enum log_messages */
static const char *const mechanism_words[] = {"PLAIN",         "LOGIN",   "CRAM-MD5",    "SCRAM-SHA-1",
					      "SCRAM-SHA-256", "XOAUTH2", "OAUTHBEARER", NULL};
static const char *const sections[] = {"relay", "route", NULL};

#define TOP(key, kind, member, ...)                                                      \
	{                                                                                \
		NULL, key, &conf_type_##kind, offsetof(struct conf, member), __VA_ARGS__ \
	}
#define RELAY(key, kind, member, ...)                                                             \
	{                                                                                         \
		"relay", key, &conf_type_##kind, offsetof(struct relay_conf, member), __VA_ARGS__ \
	}
#define ROUTE(key, kind, members, counted)                                             \
	{                                                                              \
		"route", key, &conf_type_##kind, offsetof(struct route_conf, members), \
			offsetof(struct route_conf, counted), NULL, 0, 0, NULL         \
	}

/* The table: key, kind, field, count of a list, default as it would be written, least, most, words. */
static const struct conf_key keys[] = {
	TOP("milter", endpoint, milter, 0, "unix:/var/spool/postfix/relaypool/milter.sock", 0, 0, NULL),
	TOP("lmtp", endpoint, lmtp, offsetof(struct conf, lmtp_count), "unix:/var/spool/postfix/relaypool/lmtp.sock", 0,
	    0, NULL),
	TOP("smtp", endpoint, smtp, 0, NULL, 0, 0, NULL),
	TOP("control", endpoint, control, 0, "unix:/run/relaypool/control.sock", 0, 0, NULL),
	TOP("user", user, user, 0, NULL, 0, 0, NULL),
	TOP("socket-group", group, socket_group, 0, NULL, 0, 0, NULL),
	TOP("socket-mode", mode, socket_mode, 0, "0660", 0, 0, NULL),
	TOP("allow-users", uid, allow_users, offsetof(struct conf, allow_user_count), NULL, 0, 0, NULL),
	TOP("deadline", seconds, deadline, 0, "540", SHORTEST, DAY, NULL),
	TOP("reply-reserve", seconds, reply_reserve, 0, "240", 0, DAY, NULL),
	TOP("hostname", text, hostname, 0, NULL, 0, 0, NULL),
	TOP("failover", choice, failover, 0, "queue", 0, 0, failover_words),
	TOP("metrics", endpoint, metrics, 0, NULL, 0, 0, NULL),
	TOP("memory-limit", size, memory_limit, 0, "64M", 1 << 20, (double)((uint64_t)1 << 40), NULL),
	TOP("spool-directory", path, spool_directory, 0, LOCALSTATEDIR "/lib/relaypool", 0, 0, NULL),
	TOP("stall-limits", stage_limit, stall_limits, offsetof(struct conf, stall_limit_count), NULL, 0.1, DAY, NULL),
	TOP("log-messages", choice, log_messages, 0, "auto", 0, 0, log_messages_words),
	TOP("slow-message", seconds, slow_message, 0, "5", SHORTEST, DAY, NULL),

	RELAY("provider", text, provider, 0, NULL, 0, 0, NULL),
	RELAY("host", host, hosts, offsetof(struct relay_conf, host_count), NULL, 0, 0, NULL),
	RELAY("port", port, port, 0, NULL, 1, UINT16_MAX, NULL),
	RELAY("tls", choice, tls, 0, "starttls", 0, 0, tls_words),
	RELAY("tls-verify", bool, tls_verify, 0, "true", 0, 0, NULL),
	RELAY("tls-ca-file", path, tls_ca_file, 0, NULL, 0, 0, NULL),
	RELAY("username", text, username, 0, NULL, 0, 0, NULL),
	RELAY("password-file", path, password_file, 0, NULL, 0, 0, NULL),
	RELAY("token-file", path, token_file, 0, NULL, 0, 0, NULL),
	RELAY("token-command", secret, token_command, 0, NULL, 0, 0, NULL),
	RELAY("auth", mechanism, auth, offsetof(struct relay_conf, auth_count), NULL, 0, 0, mechanism_words),
	RELAY("allow-cleartext-auth", bool, allow_cleartext_auth, 0, "false", 0, 0, NULL),
	RELAY("account", text, account, 0, NULL, 0, 0, NULL),
	RELAY("max-connections", count, max_connections, 0, "10", 1, 1000, NULL),
	RELAY("min-connections", count, min_connections, 0, "0", 0, 1000, NULL),
	RELAY("max-messages", count, max_messages, 0, "0", 0, 1000000, NULL),
	RELAY("max-age", seconds, max_age, 0, "300", 0, DAY, NULL),
	RELAY("idle-timeout", seconds, idle_timeout, 0, "60", SHORTEST, DAY, NULL),
	RELAY("rate", rate, rate, 0, "0", 0, 100000, NULL),
	RELAY("streaming", choice, streaming, 0, "auto", 0, 0, streaming_words),
	RELAY("max-depth", count, max_depth, 0, "8", 1, 64, NULL),
	RELAY("stall-limits", stage_limit, stall_limits, offsetof(struct relay_conf, stall_limit_count), NULL, 0.1, DAY,
	      NULL),
	RELAY("connect-timeout", seconds, timeouts[STAGE_CONNECT], 0, "30", SHORTEST, DAY, NULL),
	RELAY("banner-timeout", seconds, timeouts[STAGE_BANNER], 0, "60", SHORTEST, DAY, NULL),
	RELAY("ehlo-timeout", seconds, timeouts[STAGE_EHLO], 0, "60", SHORTEST, DAY, NULL),
	RELAY("tls-timeout", seconds, timeouts[STAGE_TLS], 0, "60", SHORTEST, DAY, NULL),
	RELAY("auth-timeout", seconds, timeouts[STAGE_AUTH], 0, "60", SHORTEST, DAY, NULL),
	RELAY("mail-timeout", seconds, timeouts[STAGE_MAIL], 0, "300", SHORTEST, DAY, NULL),
	RELAY("rcpt-timeout", seconds, timeouts[STAGE_RCPT], 0, "300", SHORTEST, DAY, NULL),
	RELAY("data-timeout", seconds, timeouts[STAGE_DATA], 0, "120", SHORTEST, DAY, NULL),
	RELAY("body-timeout", seconds, timeouts[STAGE_BODY], 0, "180", SHORTEST, DAY, NULL),
	RELAY("reply-timeout", seconds, timeouts[STAGE_REPLY], 0, "600", SHORTEST, DAY, NULL),

	ROUTE("relays", relay, relays, relay_count),
	ROUTE("senders", sender, senders, sender_count),
	ROUTE("recipients", recipient, recipients, recipient_count),
	ROUTE("clients", network, clients, client_count),
	ROUTE("users", text, users, user_count),
	ROUTE("headers", header, headers, header_count),
};
#define KEY_COUNT (sizeof(keys) / sizeof(keys[0]))

static bool of_section(const struct conf_key *key, const char *section)
{
	return section == NULL || key->section == NULL ? section == key->section : strcmp(section, key->section) == 0;
}

/* ---- fields ---- */

static void *field_of(const struct conf_key *key, const void *object)
{
	return (char *)object + key->field;
}

/* The elements of a list (or the one field) and how many there are. */
static void *elements_of(const struct conf_key *key, const void *object, size_t *count)
{
	void *array;
	*count = 1;
	if (key->count == 0)
		return field_of(key, object);
	memcpy(count, (const char *)object + key->count, sizeof(*count));
	memcpy(&array, field_of(key, object), sizeof(array));
	return array;
}

/* Makes a list longer by one zeroed element, which is returned; of a single field, the field. */
static void *next_element(const struct conf_key *key, void *object)
{
	size_t count;
	char *array = elements_of(key, object, &count);
	if (key->count == 0)
		return array;
	array = mem_realloc(array, (count + 1) * key->type->size);
	memset(array + count * key->type->size, 0, key->type->size);
	memcpy(field_of(key, object), &array, sizeof(array));
	count++;
	memcpy((char *)object + key->count, &count, sizeof(count));
	return array + (count - 1) * key->type->size;
}

static bool read_fallback(struct conf_build *build, const struct conf_key *key, void *object)
{
	size_t length = strlen(key->fallback);
	struct conf_value *value = mem_alloc(sizeof(*value) + length + 1);
	memcpy(value->text, key->fallback, length);
	bool good = key->type->read(build, key, value, next_element(key, object));
	free(value);
	return good;
}

static bool read_values(struct conf_build *build, cfg_t *from, const struct conf_key *key, void *object)
{
	size_t count = conf_syntax_count(from, key->name);
	for (size_t i = 0; i < count; i++) {
		const struct conf_value *value = conf_syntax_value(from, key->name, i);
		if (!key->type->read(build, key, value, next_element(key, object)))
			return false;
	}
	return true;
}

static bool read_preset_values(struct conf_build *build, const struct conf_key *key, void *object)
{
	struct conf_build there = {build->conf, build->preset->path, build->error, NULL};
	return read_values(&there, build->preset->keys, key, object);
}

/* Reads all keys of a section into its object; what it leaves out is the preset's, or else the default. */
static bool read_section(struct conf_build *build, cfg_t *from, const char *section, void *object)
{
	for (size_t i = 0; i < KEY_COUNT; i++) {
		const struct conf_key *key = &keys[i];
		bool good = true;
		if (!of_section(key, section))
			continue;
		if (conf_syntax_count(from, key->name) > 0)
			good = read_values(build, from, key, object);
		else if (conf_preset_gives(build, from, key->name))
			good = read_preset_values(build, key, object);
		else if (key->fallback != NULL)
			good = read_fallback(build, key, object);
		if (!good)
			return false;
	}
	return true;
}

static void release_section(const char *section, void *object)
{
	for (size_t i = 0; i < KEY_COUNT; i++) {
		const struct conf_key *key = &keys[i];
		size_t count;
		if (!of_section(key, section))
			continue;
		char *elements = elements_of(key, object, &count);
		for (size_t j = 0; key->type->release != NULL && j < count; j++)
			key->type->release(elements + j * key->type->size);
		if (key->count != 0) {
			free(elements);
			memset(field_of(key, object), 0, sizeof(void *));
		}
	}
}

/* ---- relays ---- */

/* Names stand in log lines and in relaypoolctl's arguments. */
static bool check_name(struct conf_build *build, cfg_t *section)
{
	const char *name = cfg_title(section);
	size_t length = strlen(name);
	if (length > 0 && length <= NAME_MAX_LENGTH &&
	    strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == length)
		return true;
	return conf_complain(build, conf_syntax_line(section, NULL),
			     "%s \"%.80s\": a name is 1 to %d letters, digits, dots, underscores and hyphens",
			     section->name, name, NAME_MAX_LENGTH);
}

static bool read_relay_keys(struct conf_build *build, cfg_t *section, struct relay_conf *relay)
{
	return read_section(build, section, "relay", relay) && conf_relay_complete(build, section, relay);
}

/* The keys that a preset may have, which has no sections. */
static size_t know_preset(struct conf_known known[KEY_COUNT])
{
	size_t count = 0;
	for (size_t i = 0; i < KEY_COUNT; i++) {
		if (of_section(&keys[i], "relay"))
			known[count++] = (struct conf_known){NULL, keys[i].name, keys[i].count != 0,
							     conf_preset_refuses(keys[i].name)};
	}
	return count;
}

static bool read_relay(struct conf_build *build, cfg_t *section, struct relay_conf *relay)
{
	struct conf_known known[KEY_COUNT];
	struct conf_preset preset = {NULL, NULL};
	struct conf_build with_preset = *build;
	relay->conf = build->conf;
	relay->name = mem_strdup(cfg_title(section));
	if (!check_name(build, section))
		return false;
	if (conf_syntax_count(section, "provider") == 0)
		return read_relay_keys(build, section, relay);
	with_preset.preset = &preset;
	const struct conf_value *provider = conf_syntax_value(section, "provider", 0);
	bool good = conf_preset_find(build, provider, known, know_preset(known), &preset) &&
		    read_relay_keys(&with_preset, section, relay);
	if (!good)
		conf_preset_blame(build, provider, &preset);
	conf_preset_free(&preset);
	return good;
}

static bool read_relays(struct conf_build *build, cfg_t *file)
{
	struct conf *conf = build->conf;
	size_t count = cfg_size(file, "relay");
	if (count == 0)
		return conf_complain(build, 1, "there is no relay section: at least one is needed");
	conf->relays = mem_array(count, sizeof(*conf->relays));
	while (conf->relay_count < count) {
		cfg_t *section = cfg_getnsec(file, "relay", (unsigned)conf->relay_count);
		if (!read_relay(build, section, &conf->relays[conf->relay_count++]))
			return false;
	}
	return true;
}

/* ---- routes ---- */

static bool read_route(struct conf_build *build, cfg_t *section, struct route_conf *route)
{
	route->name = mem_strdup(cfg_title(section));
	if (!check_name(build, section) || !read_section(build, section, "route", route))
		return false;
	if (route->relay_count == 0)
		return conf_complain(build, conf_syntax_line(section, "relays"), "route \"%s\" has no relays",
				     route->name);
	for (size_t i = 0; i < route->relay_count; i++) {
		for (size_t j = 0; j < i; j++) {
			if (route->relays[i] == route->relays[j])
				return conf_complain(build, conf_syntax_line(section, "relays"),
						     "route \"%s\" names relay \"%s\" twice", route->name,
						     route->relays[i]->name);
		}
	}
	if (route->header_count > 0)
		build->conf->wants_headers = true;
	return true;
}

/* Without any route section: all relays, in the order of the file. */
static void imply_route(struct conf *conf)
{
	struct route_conf *route = conf->routes = mem_array(1, sizeof(*route));
	conf->route_count = 1;
	route->name = mem_strdup("default");
	route->relays = mem_array(conf->relay_count, sizeof(struct relay_conf *));
	for (; route->relay_count < conf->relay_count; route->relay_count++)
		route->relays[route->relay_count] = &conf->relays[route->relay_count];
}

/* Nothing comes to a route below one that takes everything. */
static bool check_reach(struct conf_build *build, cfg_t *section)
{
	const struct conf *conf = build->conf;
	const struct route_conf *last = &conf->routes[conf->route_count - 1];
	for (const struct route_conf *route = conf->routes; route < last; route++) {
		if (route_conf_unconditional(route))
			return conf_complain(build, conf_syntax_line(section, NULL),
					     "nothing comes to route \"%s\", since route \"%s\" before it has no "
					     "conditions: that one must be the last",
					     last->name, route->name);
	}
	return true;
}

static bool read_routes(struct conf_build *build, cfg_t *file)
{
	struct conf *conf = build->conf;
	size_t count = cfg_size(file, "route");
	if (count > CONF_ROUTES_MAX)
		return conf_complain(build, conf_syntax_line(cfg_getnsec(file, "route", CONF_ROUTES_MAX), NULL),
				     "%zu route sections: at most %d are allowed", count, CONF_ROUTES_MAX);
	if (count == 0) {
		imply_route(conf);
		return true;
	}
	conf->routes = mem_array(count, sizeof(*conf->routes));
	while (conf->route_count < count) {
		cfg_t *section = cfg_getnsec(file, "route", (unsigned)conf->route_count);
		if (!read_route(build, section, &conf->routes[conf->route_count++]) || !check_reach(build, section))
			return false;
	}
	return true;
}

/* ---- the top ---- */

/* Addresses only: a name that begins with 127. may lead anywhere. */
static bool is_loopback(const struct endpoint *endpoint)
{
	struct in_addr v4;
	struct in6_addr v6;
	if (inet_pton(AF_INET, endpoint->host, &v4) == 1)
		return ntohl(v4.s_addr) >> 24 == 127;
	if (inet_pton(AF_INET6, endpoint->host, &v6) == 1)
		return IN6_IS_ADDR_LOOPBACK(&v6);
	return strcasecmp(endpoint->host, "localhost") == 0;
}

static bool check_sockets(struct conf_build *build, cfg_t *file)
{
	const struct conf *conf = build->conf;
	for (size_t i = 0; i < conf->lmtp_count; i++) {
		unsigned line = conf_syntax_line(file, "lmtp");
		if (conf->lmtp[i].kind == ENDPOINT_INET && !is_loopback(&conf->lmtp[i]))
			return conf_complain(build, line,
					     "lmtp: whoever reaches this socket may relay: unix:PATH or a loopback "
					     "address is needed");
		if (endpoint_equal(&conf->lmtp[i], &conf->milter) || endpoint_equal(&conf->lmtp[i], &conf->control))
			return conf_complain(build, line, "lmtp: milter or control has the same socket");
		for (size_t j = 0; j < i; j++) {
			if (endpoint_equal(&conf->lmtp[i], &conf->lmtp[j]))
				return conf_complain(build, line, "lmtp: one socket stands there twice");
		}
	}
	if (conf->milter.kind == ENDPOINT_INET && !is_loopback(&conf->milter))
		conf_warn(build, conf_syntax_line(file, "milter"),
			  "milter: libmilter asks nobody who he is, and %s may be reached from elsewhere: unix:PATH or "
			  "a loopback address is safer",
			  conf->milter.host);
	if (conf->control.kind != ENDPOINT_UNIX)
		return conf_complain(build, conf_syntax_line(file, "control"), "control: unix:PATH is needed");
	if (endpoint_equal(&conf->control, &conf->milter))
		return conf_complain(build, conf_syntax_line(file, "control"), "control: milter has the same socket");
	return true;
}

static bool check_failover(struct conf_build *build, cfg_t *file)
{
	struct conf *conf = build->conf;
	unsigned line = conf_syntax_line(file, "smtp");
	conf->has_smtp = conf_syntax_count(file, "smtp") > 0;
	if (conf->failover == FAILOVER_DIRECT && !conf->has_smtp)
		return conf_complain(build, conf_syntax_line(file, "failover"),
				     "failover = \"direct\" needs the direct listener: set smtp, as in smtp = "
				     "\"inet:10025@127.0.0.1\"");
	if (conf->failover != FAILOVER_DIRECT && conf->has_smtp)
		return conf_complain(build, line,
				     "smtp, the direct listener, is allowed with failover = \"direct\" only");
	if (conf->has_smtp && (conf->smtp.kind != ENDPOINT_INET || !is_loopback(&conf->smtp)))
		return conf_complain(build, line, "smtp: inet:PORT@HOST with a loopback address is needed");
	for (size_t i = 0; conf->has_smtp && i < conf->lmtp_count; i++) {
		if (endpoint_equal(&conf->smtp, &conf->lmtp[i]))
			return conf_complain(build, line, "smtp: lmtp has the same socket");
	}
	if (conf->has_smtp && endpoint_equal(&conf->smtp, &conf->milter))
		return conf_complain(build, line, "smtp: milter has the same socket");
	return true;
}

static bool check_metrics(struct conf_build *build, cfg_t *file)
{
	struct conf *conf = build->conf;
	unsigned line = conf_syntax_line(file, "metrics");
	conf->has_metrics = conf_syntax_count(file, "metrics") > 0;
	if (!conf->has_metrics)
		return true;
	if (conf->metrics.kind != ENDPOINT_INET || !is_loopback(&conf->metrics))
		return conf_complain(build, line, "metrics: inet:PORT@HOST with a loopback address is needed");
	for (size_t i = 0; i < conf->lmtp_count; i++) {
		if (endpoint_equal(&conf->metrics, &conf->lmtp[i]))
			return conf_complain(build, line, "metrics: lmtp has the same socket");
	}
	if (endpoint_equal(&conf->metrics, &conf->milter) ||
	    (conf->has_smtp && endpoint_equal(&conf->metrics, &conf->smtp)))
		return conf_complain(build, line, "metrics: milter or smtp has the same socket");
	return true;
}

static void allow_user(struct conf *conf, uid_t uid)
{
	conf->allow_users = mem_realloc(conf->allow_users, (conf->allow_user_count + 1) * sizeof(uid_t));
	conf->allow_users[conf->allow_user_count++] = uid;
}

/*
 * Our own name with its domain, if /etc/hosts knows it: DNS is not asked (gethostent(3) reads files only), because it
 * may be slow or away when the daemon starts.
 */
static char *own_hostname(void)
{
	char name[256] = "localhost";
	char *full = NULL;
	if (gethostname(name, sizeof(name)) == -1 || memchr(name, '\0', sizeof(name)) == NULL)
		return mem_strdup("localhost");
	if (strchr(name, '.') != NULL)
		return mem_strdup(name);
	sethostent(0);
	for (const struct hostent *host; full == NULL && (host = gethostent()) != NULL;) {
		bool ours = strcasecmp(host->h_name, name) == 0;
		for (char **alias = host->h_aliases; *alias != NULL && !ours; alias++)
			ours = strcasecmp(*alias, name) == 0;
		if (ours && strchr(host->h_name, '.') != NULL)
			full = mem_strdup(host->h_name);
	}
	endhostent();
	return full != NULL ? full : mem_strdup(name);
}

/* It goes into EHLO (RFC 5321 §4.1.1.1): a name, or an address in brackets. */
static bool check_hostname(struct conf_build *build, cfg_t *file)
{
	struct conf *conf = build->conf;
	if (conf->hostname == NULL)
		conf->hostname = own_hostname();
	size_t length = strlen(conf->hostname);
	if (length <= 255 &&
	    strspn(conf->hostname, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-:[]") == length)
		return true;
	return conf_complain(build, conf_syntax_line(file, "hostname"),
			     "hostname = \"%.128s\": a host name in ASCII or an address in brackets is needed",
			     conf->hostname);
}

static bool read_top(struct conf_build *build, cfg_t *file)
{
	struct conf *conf = build->conf;
	if (!read_section(build, file, NULL, conf) || !check_hostname(build, file))
		return false;
	if (conf->allow_user_count == 0) {
		const struct passwd *postfix = getpwnam("postfix");
		allow_user(conf, 0);
		if (postfix != NULL)
			allow_user(conf, postfix->pw_uid);
	}
	if (conf->reply_reserve >= conf->deadline)
		return conf_complain(build,
				     conf_syntax_line(file, conf_syntax_count(file, "reply-reserve") > 0
								    ? "reply-reserve"
								    : "deadline"),
				     "reply-reserve (%.12g) must be less than deadline (%.12g)",
				     (double)conf->reply_reserve / (double)USEC_PER_SEC,
				     (double)conf->deadline / (double)USEC_PER_SEC);
	return check_sockets(build, file) && check_failover(build, file) && check_metrics(build, file);
}

/* ---- snapshots ---- */

static void conf_free(struct conf *conf)
{
	for (size_t i = 0; i < conf->route_count; i++) {
		release_section("route", &conf->routes[i]);
		free(conf->routes[i].name);
	}
	for (size_t i = 0; i < conf->relay_count; i++) {
		release_section("relay", &conf->relays[i]);
		mem_free_secret(conf->relays[i].password);
		free(conf->relays[i].name);
	}
	release_section(NULL, conf);
	free(conf->routes);
	free(conf->relays);
	free(conf->path);
	free(conf->warning);
	free(conf);
}

struct conf *conf_load(const char *path, char error[CONF_ERROR_SIZE])
{
	struct conf_known known[KEY_COUNT];
	for (size_t i = 0; i < KEY_COUNT; i++)
		known[i] = (struct conf_known){keys[i].section, keys[i].name, keys[i].count != 0, false};
	int64_t modified = file_modified(path); /* before it is read: what is written meanwhile is seen as newer */
	cfg_t *file = conf_syntax_read(path, sections, known, KEY_COUNT, error);
	if (file == NULL)
		return NULL;
	struct conf *conf = mem_alloc(sizeof(*conf));
	struct conf_build build = {conf, path, error, NULL};
	conf->refs = 1;
	conf->path = mem_strdup(path);
	conf->modified = modified;
	bool good = read_top(&build, file) && read_relays(&build, file) && read_routes(&build, file);
	cfg_free(file);
	if (!good)
		conf_unref(&conf);
	return conf;
}

struct conf *conf_ref(struct conf *conf)
{
	__atomic_add_fetch(&conf->refs, 1, __ATOMIC_RELAXED);
	return conf;
}

void conf_unref(struct conf **conf)
{
	if (*conf != NULL && __atomic_sub_fetch(&(*conf)->refs, 1, __ATOMIC_ACQ_REL) == 0)
		conf_free(*conf);
	*conf = NULL;
}

/* ---- showing ---- */

typedef void line_fn(const char *key, const char *value, void *arg);

static void show_section(const char *section, const char *name, const void *object, line_fn *line, void *arg)
{
	for (size_t i = 0; i < KEY_COUNT; i++) {
		const struct conf_key *key = &keys[i];
		char *value = NULL, full[256];
		size_t size, count;
		if (!of_section(key, section))
			continue;
		FILE *out = open_memstream(&value, &size);
		if (out == NULL)
			return;
		const char *elements = elements_of(key, object, &count);
		for (size_t j = 0; j < count; j++) {
			if (j > 0)
				fputs(", ", out);
			key->type->show(out, key, elements + j * key->type->size);
		}
		fclose(out);
		if (section == NULL)
			snprintf(full, sizeof(full), "%s", key->name);
		else
			snprintf(full, sizeof(full), "%s.%s.%s", section, name, key->name);
		line(full, value, arg);
		free(value);
	}
}

void conf_show(const struct conf *conf, line_fn *line, void *arg)
{
	show_section(NULL, "", conf, line, arg);
	for (size_t i = 0; i < conf->relay_count; i++)
		show_section("relay", conf->relays[i].name, &conf->relays[i], line, arg);
	for (size_t i = 0; i < conf->route_count; i++)
		show_section("route", conf->routes[i].name, &conf->routes[i], line, arg);
}

/* A value as it stands in the preset; of a list, all of them. */
static char *text_of(cfg_t *from, const struct conf_key *key)
{
	char *text = mem_strdup(conf_syntax_value(from, key->name, 0)->text);
	for (size_t i = 1; i < conf_syntax_count(from, key->name); i++) {
		char *longer = mem_printf("%s, %s", text, conf_syntax_value(from, key->name, i)->text);
		free(text);
		text = longer;
	}
	return text;
}

static bool show_preset(struct conf_build *build, const struct conf_preset *preset, line_fn *line, void *arg)
{
	struct relay_conf relay = {0};
	bool good = true;
	for (size_t i = 0; i < KEY_COUNT && good; i++) {
		if (!of_section(&keys[i], "relay") || conf_syntax_count(preset->keys, keys[i].name) == 0)
			continue;
		good = read_values(build, preset->keys, &keys[i], &relay);
		char *text = text_of(preset->keys, &keys[i]);
		if (good)
			line(keys[i].name, text, arg);
		free(text);
	}
	release_section("relay", &relay);
	return good;
}

bool conf_preset_show(const char *path, line_fn *line, void *arg, char error[CONF_ERROR_SIZE])
{
	struct conf_known known[KEY_COUNT];
	struct conf_preset preset = {NULL, NULL};
	struct conf_build build = {NULL, path, error, NULL};
	bool good = conf_preset_read(path, known, know_preset(known), &preset, error) &&
		    show_preset(&build, &preset, line, arg);
	conf_preset_free(&preset);
	return good;
}

const char *const *conf_keys(void)
{
	static char names[KEY_COUNT][48];
	static const char *pointers[KEY_COUNT + 1];
	for (size_t i = 0; i < KEY_COUNT; i++) {
		snprintf(names[i], sizeof(names[i]), "%s%s%s", keys[i].section != NULL ? keys[i].section : "",
			 keys[i].section != NULL ? "." : "", keys[i].name);
		pointers[i] = names[i];
	}
	return pointers;
}

/* ---- looking things up ---- */

const struct relay_conf *conf_relay(const struct conf *conf, const char *name)
{
	for (size_t i = 0; i < conf->relay_count; i++) {
		if (strcmp(conf->relays[i].name, name) == 0)
			return &conf->relays[i];
	}
	return NULL;
}

bool route_conf_needs_tag(const struct route_conf *route)
{
	return route->client_count > 0 || route->user_count > 0 || route->header_count > 0;
}

static usec_t limit_of(const struct stage_limit *limits, size_t count, enum stage stage)
{
	for (size_t i = 0; i < count; i++)
		if (limits[i].stage == stage)
			return limits[i].limit;
	return 0;
}

usec_t conf_stall_limit(const struct conf *conf, const char *name, enum stage stage)
{
	const struct relay_conf *relay = conf_relay(conf, name);
	usec_t own = relay != NULL ? limit_of(relay->stall_limits, relay->stall_limit_count, stage) : 0;
	return own > 0 ? own : limit_of(conf->stall_limits, conf->stall_limit_count, stage);
}

bool route_conf_unconditional(const struct route_conf *route)
{
	return route->sender_count == 0 && route->recipient_count == 0 && !route_conf_needs_tag(route);
}
