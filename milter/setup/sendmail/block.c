/*
 * The block that relaypool wants in sendmail.mc, made of relaypool.conf. Called by sendmail.c. Looks at files, changes
 * none; what contrib/sendmail/relaypool.m4 does with it stands there.
 */
#include <config.h>

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "sendmail.h"

#define DEFAULT_DIRECTORY "/run/relaypool"
#define DIRECT_HOST "127.0.0.2" /* as relaypool.m4 has it */
#define OURS PKGDATADIR "/sendmail/"
#define FEATURE_FILE "feature/relaypool.m4"

static void append(char **text, const char *more)
{
	char *both = mem_printf("%s%s", *text, more);
	free(*text);
	*text = both;
}

/* define(`NAME', `VALUE')dnl; the value is freed. */
static void append_define(char **text, const char *name, char *value)
{
	char *line = mem_printf("define(`%s', `%s')dnl\n", name, value);
	append(text, line);
	free(line);
	free(value);
}

/* ---- what can be written into m4 ---- */

static bool plain(const char *text, const char *others)
{
	for (const char *c = text; *c; c++)
		if (!isalnum((unsigned char)*c) && !strchr(others, *c))
			return false;
	return *text != '\0';
}

static bool endpoint_plain(const struct endpoint *endpoint, const char *key, char error[SETUP_ERROR_SIZE])
{
	if (endpoint->kind == ENDPOINT_UNIX ? plain(endpoint->path, "/._-+") : plain(endpoint->host, ".:-"))
		return true;
	snprintf(error, SETUP_ERROR_SIZE,
		 "%s in relaypool.conf: sendmail.mc takes letters, digits and \"/._-+\" in a socket's name", key);
	return false;
}

static bool domains_plain(char *const *domains, size_t count, char error[SETUP_ERROR_SIZE])
{
	for (size_t i = 0; i < count; i++)
		if (!plain(domains[i], ".-_") || strchr(".-", domains[i][0])) {
			snprintf(error, SETUP_ERROR_SIZE, "--domain \"%s\": this is no domain", domains[i]);
			return false;
		}
	return true;
}

/* ---- where the listeners are ---- */

/* The directory, if the socket in it has this name; the caller's. */
static char *directory_of(const struct endpoint *endpoint, const char *name)
{
	const char *slash = strrchr(endpoint->path, '/');
	return endpoint->kind == ENDPOINT_UNIX && slash && strcmp(slash + 1, name) == 0
		       ? mem_strndup(endpoint->path, (size_t)(slash - endpoint->path))
		       : NULL;
}

/* An address that can be connected to. */
static const char *host_of(const struct endpoint *endpoint)
{
	return strcmp(endpoint->host, "0.0.0.0") == 0 || strcasecmp(endpoint->host, "localhost") == 0 ? "127.0.0.1"
	       : strcmp(endpoint->host, "::") == 0                                                    ? "::1"
												      : endpoint->host;
}

static char *milter_text(const struct endpoint *endpoint)
{
	if (endpoint->kind == ENDPOINT_UNIX)
		return mem_printf("unix:%s", endpoint->path);
	const char *host = host_of(endpoint);
	return mem_printf("%s:%u@%s", strchr(host, ':') ? "inet6" : "inet", endpoint->port, host);
}

static char *mailer_text(const struct endpoint *endpoint)
{
	if (endpoint->kind == ENDPOINT_UNIX)
		return mem_printf("FILE %s", endpoint->path);
	const char *host = host_of(endpoint);
	return mem_printf("TCP [%s%s] %u", strchr(host, ':') ? "IPv6:" : "", host, endpoint->port);
}

/* The LMTP listener that Sendmail is to use: the first that it may. */
static const struct endpoint *listener(const struct conf *conf)
{
	for (size_t i = 0; i < conf->lmtp_count; i++) {
		char *why = socket_unfit(&conf->lmtp[i], conf);
		bool good = !why;
		free(why);
		if (good)
			return &conf->lmtp[i];
	}
	return conf->lmtp_count > 0 ? &conf->lmtp[0] : NULL;
}

/* What has to be defined, and the directory that FEATURE is given, "" for its own; the caller's. */
static char *sockets_text(const struct conf *conf, char **directory)
{
	const struct endpoint *lmtp = conf->failover == FAILOVER_QUEUE ? listener(conf) : NULL;
	char *text = mem_strdup(""), *of_milter = directory_of(&conf->milter, "milter.sock");
	char *of_lmtp = lmtp ? directory_of(lmtp, "lmtp.sock") : NULL;
	const char *both = of_milter ? of_milter : of_lmtp ? of_lmtp : DEFAULT_DIRECTORY;
	if (!of_milter)
		append_define(&text, "RELAYPOOL_MILTER", milter_text(&conf->milter));
	if (lmtp && (!of_lmtp || strcmp(of_lmtp, both) != 0))
		append_define(&text, "RELAYPOOL_MAILER_ARGS", mailer_text(lmtp));
	*directory = mem_strdup(strcmp(both, DEFAULT_DIRECTORY) == 0 ? "" : both);
	free(of_milter);
	free(of_lmtp);
	return text;
}

static char *domains_text(char *const *domains, size_t count)
{
	char *text = mem_strdup(""), *names = mem_strdup(count > 0 ? domains[0] : "");
	for (size_t i = 1; i < count; i++) {
		append(&names, " ");
		append(&names, domains[i]);
	}
	if (count > 0)
		append_define(&text, "RELAYPOOL_DOMAINS", names);
	else
		free(names);
	return text;
}

/* ---- the feature ---- */

/* FEATURE with what it needs, from where it is; the caller's, NULL with a sentence. */
static char *feature_text(const char *directory, bool direct, const char *macros, char error[SETUP_ERROR_SIZE])
{
	char *theirs = mem_printf("%s" FEATURE_FILE, macros);
	bool there = access(theirs, R_OK) == 0;
	free(theirs);
	if (!there && access(OURS FEATURE_FILE, R_OK) == -1) {
		snprintf(error, SETUP_ERROR_SIZE,
			 "there is neither %s" FEATURE_FILE " nor " OURS FEATURE_FILE
			 ": install relaypool again, or copy contrib/sendmail/relaypool.m4 there",
			 macros);
		return NULL;
	}
	char *argument = *directory || direct ? mem_printf(*directory ? ", `%s'" : ", ", directory) : mem_strdup("");
	char *line = mem_printf("FEATURE(`" SITE_NAME "'%s%s)dnl\n", argument, direct ? ", `direct'" : "");
	free(argument);
	if (there)
		return line;
	/* FEATURE looks in Sendmail's own directory only: for this one it is ours. */
	char *text = mem_printf("pushdef(`_CF_DIR_', `%s')dnl\n%spopdef(`_CF_DIR_')dnl\n", OURS, line);
	free(line);
	return text;
}

char *block_make(const struct conf *conf, char *const *domains, size_t domain_count, const char *macros,
		 char error[SETUP_ERROR_SIZE])
{
	bool direct = conf->failover == FAILOVER_DIRECT;
	const struct endpoint *lmtp = listener(conf);
	if (!domains_plain(domains, domain_count, error) || !endpoint_plain(&conf->milter, "milter", error) ||
	    (!direct && lmtp && !endpoint_plain(lmtp, "lmtp", error)))
		return NULL;
	if (direct && strcmp(conf->smtp.host, DIRECT_HOST) != 0) {
		snprintf(error, SETUP_ERROR_SIZE,
			 "relaypool.conf has smtp = \"inet:%u@%s\": Sendmail tries relaypoold and the relay behind it "
			 "at one port, so "
			 "that relaypoold needs an address of its own: smtp = \"inet:%u@" DIRECT_HOST "\"",
			 conf->smtp.port, conf->smtp.host, conf->smtp.port);
		return NULL;
	}
	char *directory = NULL, *sockets = sockets_text(conf, &directory), *text = NULL;
	char *only = domains_text(domains, domain_count), *feature = feature_text(directory, direct, macros, error);
	if (feature)
		text = mem_printf("dnl relaypool begin (by relaypoolctl setup sendmail)\n"
				  "%s%s%sdnl relaypool end\n",
				  sockets, only, feature);
	free(feature);
	free(only);
	free(sockets);
	free(directory);
	return text;
}
