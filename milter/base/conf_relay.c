/*
 * A relay section once its keys are read: the secrets and certificates it names, what follows from other keys, and what
 * must not stand together. Called by conf.c for each relay; knows no key that is not a relay's.
 */
#include <config.h>

#include "conf_relay.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/tls.h"
#include "conf_preset.h"

#define PASSWORD_LIMIT 4096
#define TOKEN_LIMIT 65536
#define AUTHORITIES_LIMIT ((size_t)16 << 20)
#define SHORTEST_AGE (10 * USEC_PER_SEC) /* of a connection: a shorter life is a storm of set-ups */
#define SLOWEST_RATE 0.001

/* Complains of a key where it stands: in the section, or in the preset. */
static bool complain_of(struct conf_build *build, cfg_t *section, const char *key, const char *format, ...)
	PRINTF_LIKE(4, 5);
static bool complain_of(struct conf_build *build, cfg_t *section, const char *key, const char *format, ...)
{
	bool preset = conf_preset_gives(build, section, key);
	va_list arguments;
	va_start(arguments, format);
	conf_syntax_error(build->error, preset ? build->preset->path : build->path,
			  conf_syntax_line(preset ? build->preset->keys : section, key), format, arguments);
	va_end(arguments);
	return false;
}

/* The one line of a password file. */
static bool read_password(struct conf_build *build, cfg_t *section, struct relay_conf *relay)
{
	char why[512];
	unsigned line = conf_syntax_line(section, "password-file");
	if (relay->password_file == NULL)
		return true;
	relay->password = file_read(relay->password_file, FILE_SECRET, PASSWORD_LIMIT, why, sizeof(why));
	if (relay->password == NULL)
		return conf_complain(build, line, "password-file: %s", why);
	size_t length = strcspn(relay->password, "\r\n");
	if (length == 0 || relay->password[length + strspn(relay->password + length, "\r\n")] != '\0')
		return conf_complain(build, line, "password-file: %s must hold one line, the password",
				     relay->password_file);
	explicit_bzero(relay->password + length, strlen(relay->password + length));
	return true;
}

static bool check_token_file(struct conf_build *build, cfg_t *section, const struct relay_conf *relay)
{
	char why[512];
	if (relay->token_file == NULL)
		return true;
	char *token = file_read(relay->token_file, FILE_SECRET, TOKEN_LIMIT, why, sizeof(why));
	if (token == NULL)
		return conf_complain(build, conf_syntax_line(section, "token-file"), "token-file: %s", why);
	mem_free_secret(token);
	return true;
}

static bool check_authorities(struct conf_build *build, cfg_t *section, const struct relay_conf *relay)
{
	char why[512];
	struct tls_context *context = NULL;
	if (relay->tls_ca_file == NULL)
		return true;
	char *text = file_read(relay->tls_ca_file, FILE_PLAIN, AUTHORITIES_LIMIT, why, sizeof(why));
	if (text != NULL) /* OpenSSL would wait for a pipe, and read a device without end */
		context = tls_context_create(true, relay->tls_ca_file, why, sizeof(why));
	free(text);
	if (context == NULL)
		return complain_of(build, section, "tls-ca-file", "tls-ca-file: %s", why);
	tls_context_free(context);
	return true;
}

static bool uses_token(const char *mechanism)
{
	return strcmp(mechanism, "XOAUTH2") == 0 || strcmp(mechanism, "OAUTHBEARER") == 0;
}

/* At least one of the mechanisms allowed works with the secret there is. */
static bool check_mechanisms(struct conf_build *build, cfg_t *section, const struct relay_conf *relay, bool token)
{
	for (size_t i = 0; i < relay->auth_count; i++) {
		if (uses_token(relay->auth[i]) ? token : relay->password != NULL)
			return true;
	}
	if (relay->auth_count == 0)
		return true;
	return complain_of(
		build, section, "auth", "auth: none of these mechanisms works with a %s: allow %s, or leave auth out",
		token ? "token" : "password", token ? "XOAUTH2 or OAUTHBEARER" : "PLAIN, LOGIN, CRAM-MD5 or SCRAM");
}

static bool check_credentials(struct conf_build *build, cfg_t *section, const struct relay_conf *relay)
{
	static const char *const secrets[] = {"password-file", "token-file", "token-command", "auth"};
	bool token = relay->token_file != NULL || relay->token_command != NULL;
	if (relay->token_file != NULL && relay->token_command != NULL)
		return conf_complain(build, conf_syntax_line(section, "token-command"),
				     "relay \"%s\" has both token-file and token-command: one of them is allowed",
				     relay->name);
	for (size_t i = 0; relay->username == NULL && i < sizeof(secrets) / sizeof(secrets[0]); i++) {
		if (conf_syntax_count(section, secrets[i]) > 0)
			return conf_complain(build, conf_syntax_line(section, secrets[i]),
					     "relay \"%s\" has %s but no username: set both or neither", relay->name,
					     secrets[i]);
	}
	if (relay->username == NULL)
		return true;
	if (relay->password == NULL && !token)
		return conf_complain(
			build, conf_syntax_line(section, "username"),
			"relay \"%s\" has a username but no secret: set password-file, token-file or token-command",
			relay->name);
	if (relay->tls == TLS_NONE && !relay->allow_cleartext_auth)
		return complain_of(build, section, "tls",
				   "relay \"%s\" has tls = \"none\" and a username: its secret would cross the "
				   "network in clear. Use tls "
				   "= \"starttls\" or \"implicit\", or say allow-cleartext-auth = true",
				   relay->name);
	return check_mechanisms(build, section, relay, token);
}

/* What follows from other keys where a key was left out. */
static void complete_relay(struct relay_conf *relay)
{
	if (relay->port == 0)
		relay->port = relay->tls == TLS_IMPLICIT ? 465 : 587;
	for (size_t i = 0; i < relay->host_count; i++) {
		if (relay->hosts[i].port == 0)
			relay->hosts[i].port = relay->port;
	}
	if (relay->account == NULL && relay->username != NULL)
		relay->account = mem_printf("%s@%s", relay->username, relay->hosts[0].host);
	else if (relay->account == NULL)
		relay->account = mem_strdup(relay->hosts[0].host);
}

/* Checks that need no file. */
static bool check_relay(struct conf_build *build, cfg_t *section, const struct relay_conf *relay)
{
	if (relay->host_count == 0 && build->preset != NULL)
		return conf_complain(build, conf_syntax_line(section, "host"),
				     "relay \"%s\" has no host: the preset %s leaves it to this section. Set the name "
				     "that the provider has for your account; what is known of it stands in the preset",
				     relay->name, build->preset->path);
	if (relay->host_count == 0)
		return conf_complain(build, conf_syntax_line(section, "host"), "relay \"%s\" has no host", relay->name);
	if (relay->min_connections > relay->max_connections)
		return complain_of(build, section, "min-connections",
				   "min-connections = %u: at most max-connections (%u) is allowed",
				   relay->min_connections, relay->max_connections);
	if (relay->max_age > 0 && relay->max_age < SHORTEST_AGE)
		return complain_of(build, section, "max-age", "max-age: 0 or at least 10 seconds are allowed");
	if (relay->rate > 0 && relay->rate < SLOWEST_RATE)
		return complain_of(build, section, "rate", "rate: 0 or at least 0.001 messages a second are allowed");
	return true;
}

/* RFC 8314 §3.3, RFC 6409 and RFC 5321: on these ports no server does otherwise. */
static void warn_of_port(struct conf_build *build, cfg_t *section, const struct relay_conf *relay,
			 const struct host_port *host)
{
	const char *key = host->port != relay->port ? "host" : conf_syntax_count(section, "port") > 0 ? "port" : "tls";
	unsigned line = conf_syntax_line(section, key);
	if (host->port == 465 && relay->tls != TLS_IMPLICIT)
		conf_warn(build, line,
			  "port = 465 is for TLS from the first octet: tls = \"implicit\" is likely meant");
	else if ((host->port == 587 || host->port == 25) && relay->tls == TLS_IMPLICIT)
		conf_warn(build, line, "port = %u begins in clear: tls = \"starttls\" is likely meant", host->port);
}

bool conf_relay_complete(struct conf_build *build, cfg_t *section, struct relay_conf *relay)
{
	if (!check_relay(build, section, relay))
		return false;
	complete_relay(relay);
	for (size_t i = 0; i < relay->host_count; i++)
		warn_of_port(build, section, relay, &relay->hosts[i]);
	return check_authorities(build, section, relay) && read_password(build, section, relay) &&
	       check_token_file(build, section, relay) && check_credentials(build, section, relay);
}
