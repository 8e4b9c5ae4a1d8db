/*
 * Whether Sendmail takes relaypoold's sockets: it refuses those that others could put in their place. Called by
 * block.c, which chooses one, and by the check. Looks at directories only.
 */
#include <config.h>

#include <errno.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "sendmail.h"
#include "setup/listening.h"

#define PLACE "/run/relaypool"

/* One directory above a socket, as safedirpath() of Sendmail judges it; the caller's. */
static char *directory_refused(const char *path)
{
	struct stat info;
	if (stat(path, &info) == -1)
		return NULL; /* relaypoold makes it, or says why it cannot */
	if (info.st_mode & S_IWOTH)
		return mem_printf("everybody may write to %s", path);
	if (info.st_mode & S_IWGRP)
		return mem_printf("its group may write to %s", path);
	return NULL;
}

char *socket_refused(const char *path)
{
	char *why = directory_refused("/");
	for (const char *slash = strchr(path + 1, '/'); slash && !why; slash = strchr(slash + 1, '/')) {
		char *directory = mem_strndup(path, (size_t)(slash - path));
		why = directory_refused(directory);
		free(directory);
	}
	return why;
}

/* Somebody else's directory: who owns it could lay a socket of his own there. The caller's. */
static char *directory_foreign(const char *path, const char *user)
{
	char *directory = mem_strndup(path, (size_t)(strrchr(path, '/') - path));
	const struct passwd *daemon = user ? getpwnam(user) : NULL;
	struct stat info;
	char *why = NULL;
	if (stat(directory, &info) == 0 && info.st_uid != 0 && !(daemon && info.st_uid == daemon->pw_uid))
		why = mem_printf("%s belongs neither to root nor to %s", directory, user ? user : "relaypoold's user");
	free(directory);
	return why;
}

char *socket_unfit(const struct endpoint *endpoint, const struct conf *conf)
{
	if (endpoint->kind != ENDPOINT_UNIX)
		return NULL;
	char *why = socket_refused(endpoint->path);
	if (!why)
		why = directory_foreign(endpoint->path, conf->user);
	return why;
}

/* Where it is to be: what is wrong is the directory. */
static bool in_its_place(const struct endpoint *endpoint)
{
	return endpoint->kind == ENDPOINT_UNIX && strncmp(endpoint->path, PLACE "/", sizeof(PLACE)) == 0;
}

/* `key` of relaypool.conf. */
static void check_socket(const struct endpoint *endpoint, const char *key, const struct conf *conf,
			 struct report *report)
{
	char text[NET_NAME_SIZE], *why = socket_unfit(endpoint, conf), *advice = NULL;
	if (why && in_its_place(endpoint))
		advice = mem_printf("Sendmail does not take this socket: %s. As root: chown %s " PLACE
				    " && chmod 755 " PLACE,
				    why, conf->user ? conf->user : "root");
	else if (why)
		advice = mem_printf("Sendmail does not take this socket: %s. Set %s = \"unix:" PLACE
				    "/%s.sock\" and restart "
				    "relaypoold.",
				    why, key, key);
	report_add(report, &(struct finding){.state = why ? FINDING_WRONG : FINDING_OK,
					     .where = "relaypool.conf",
					     .name = key,
					     .is = endpoint_format(endpoint, text),
					     .why = advice,
					     .stops = why != NULL});
	free(advice);
	free(why);
}

/* One listener that Sendmail takes is enough: the others are for others. */
static void check_listeners(const struct conf *conf, struct report *report)
{
	size_t chosen = 0;
	for (size_t i = 0; i < conf->lmtp_count; i++) {
		char *why = socket_unfit(&conf->lmtp[i], conf);
		bool good = !why;
		free(why);
		if (good) {
			chosen = i;
			break;
		}
	}
	check_socket(&conf->lmtp[chosen], "lmtp", conf, report);
	listening_check(&conf->lmtp[chosen], "lmtp", "All outbound mail waits in the queue until then.", report);
}

/* Sendmail's processes that speak to us run as root, or as RunAsUser. */
static void check_user(const struct conf *conf, const char *cf, struct report *report)
{
	char *name = cf_line(cf, "O RunAsUser=");
	if (name)
		name[strcspn(name, ":. \t")] = '\0';
	const struct passwd *entry = name ? getpwnam(name) : NULL;
	uid_t uid = entry ? entry->pw_uid : 0;
	bool allowed = false;
	for (size_t i = 0; i < conf->allow_user_count; i++)
		allowed = allowed || conf->allow_users[i] == uid;
	char *why = mem_printf("Sendmail delivers as %s, whom relaypoold does not let in: add it there.",
			       name ? name : "root");
	report_add(report, &(struct finding){.state = allowed ? FINDING_OK : FINDING_WRONG,
					     .where = "relaypool.conf",
					     .name = "allow-users",
					     .why = allowed ? NULL : why,
					     .stops = !allowed});
	free(why);
	free(name);
}

void site_check_sockets(const struct site *site, const char *cf, struct report *report)
{
	const struct conf *conf = site->request->conf;
	check_socket(&conf->milter, "milter", conf, report);
	listening_check(&conf->milter, "milter", "Mail passes without its tag until then.", report);
	if (conf->failover == FAILOVER_QUEUE)
		check_listeners(conf, report);
	else
		listening_check(&conf->smtp, "smtp", "Mail takes the direct way until then.", report);
	if (cf)
		check_user(conf, cf, report);
}
