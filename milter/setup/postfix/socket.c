/*
 * relaypoold's sockets as Postfix's own user meets them: whether it may come there, whether relaypoold lets it in, and
 * whether somebody listens. Called by postfix.c; only adds findings.
 */
#include <config.h>

#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "postfix.h"
#include "setup/listening.h"

#define GROUPS_MAX 64

/* Who Postfix's processes are. */
struct owner {
	const char *name;
	uid_t user;
	gid_t groups[GROUPS_MAX];
	int group_count;
};

static bool owner_find(const struct look *look, struct owner *owner)
{
	*owner = (struct owner){.name = look_expanded(look, "mail_owner"), .group_count = GROUPS_MAX};
	const struct passwd *entry = getpwnam(owner->name);
	if (!entry)
		return false;
	owner->user = entry->pw_uid;
	return getgrouplist(owner->name, entry->pw_gid, owner->groups, &owner->group_count) != -1;
}

static bool in_group(const struct owner *owner, gid_t group)
{
	for (int i = 0; i < owner->group_count; i++)
		if (owner->groups[i] == group)
			return true;
	return false;
}

/* `want` is 1 to pass a directory, 2 to connect to a socket. */
static bool may(const struct owner *owner, const struct stat *info, mode_t want)
{
	unsigned shift = info->st_uid == owner->user ? 6 : in_group(owner, info->st_gid) ? 3 : 0;
	return (info->st_mode >> shift & want) == want;
}

/* The first part of the path that keeps the owner out; NULL: none does, or it cannot be seen from here. The caller's. */
static char *barrier(const struct owner *owner, const char *path)
{
	struct stat info;
	for (const char *slash = strchr(path + 1, '/');; slash = strchr(slash + 1, '/')) {
		char *part = slash ? mem_strndup(path, (size_t)(slash - path)) : mem_strdup(path);
		if (stat(part, &info) == -1) {
			free(part);
			return NULL;
		}
		if (!may(owner, &info, slash ? 1 : 2))
			return part;
		free(part);
		if (!slash)
			return NULL;
	}
}

/* ---- findings ---- */

static void check_barrier(const struct owner *owner, const struct endpoint *endpoint, const char *name,
			  struct report *report)
{
	char *part = endpoint->kind == ENDPOINT_UNIX ? barrier(owner, endpoint->path) : NULL;
	if (!part)
		return;
	char *why =
		mem_printf("User %s may not use %s: give it to a group that %s is in (socket-group and socket-mode in "
			   "relaypool.conf for the socket, mode 2750 for its directory).",
			   owner->name, part, owner->name);
	char *access_name = mem_printf("%s/access", name);
	report_add(report, &(struct finding){.state = FINDING_WRONG,
					     .where = "socket",
					     .name = access_name,
					     .is = part,
					     .why = why,
					     .stops = true});
	free(access_name);
	free(why);
	free(part);
}

/* The port by which mail goes on while relaypoold is away: a Postfix that cannot have it does not start again. */
static void check_way_back(const struct conf *conf, const struct look *look, struct report *report)
{
	struct endpoint back = conf->smtp;
	snprintf(back.host, sizeof(back.host), "127.0.0.1");
	char *service = mem_printf("127.0.0.1:%u/inet", ++back.port);
	if (!look_item(look, ITEM_SERVICE, service) && listening_probe(&back) == 0) {
		char *why = mem_printf("Somebody listens on port %u of the loopback address, which Postfix needs while "
				       "relaypoold is away. Choose another `smtp' in relaypool.conf.",
				       back.port);
		report_add(report, &(struct finding){.state = FINDING_CONFLICT,
						     .where = "socket",
						     .name = service,
						     .why = why,
						     .stops = true});
		free(why);
	}
	free(service);
}

static void check_allowed(const struct conf *conf, const struct owner *owner, struct report *report)
{
	for (size_t i = 0; i < conf->allow_user_count; i++)
		if (conf->allow_users[i] == owner->user)
			return;
	char *why = mem_printf(
		"relaypoold takes no mail from user %s, as whom Postfix connects: add it to allow-users.", owner->name);
	report_add(
		report,
		&(struct finding){
			.state = FINDING_WRONG, .where = "socket", .name = "allow-users", .why = why, .stops = true});
	free(why);
}

void check_sockets(const struct conf *conf, const struct look *look, struct report *report)
{
	bool direct = conf->failover == FAILOVER_DIRECT;
	const struct endpoint *way = direct ? &conf->smtp : spell_listener(conf, look);
	struct owner owner;
	if (owner_find(look, &owner)) {
		check_barrier(&owner, &conf->milter, "milter", report);
		check_barrier(&owner, way, direct ? "smtp" : "lmtp", report);
		check_allowed(conf, &owner, report);
	} else {
		report_note(report, "main.cf", "mail_owner",
			    "There is no user %s on this host: who may use the sockets is not known.", owner.name);
	}
	if (direct)
		check_way_back(conf, look, report);
	listening_check(&conf->milter, "milter", "Mail passes without its tag until then.", report);
	listening_check(way, direct ? "smtp" : "lmtp",
			direct ? "Mail takes the direct way until then."
			       : "All outbound mail waits in the queue until then.",
			report);
}
