/*
 * What relaypool wants of Postfix: one item for each setting, next to what is there. Called by postfix.c with
 * relaypool.conf and a look at the instance; the reasons stand in contrib/postfix too. Changes nothing, and looks at no
 * file but whether a directory is there.
 */
#include <config.h>

#include <ctype.h>
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/mem.h"
#include "postfix.h"

#define DELIVERIES_LEAST 100 /* at once: relaypoold waits, not the relay */
#define CHECKS_LINE "/^X-Relaypool:/ IGNORE"
#define CHECKS_TEXT                                                                                            \
	"# relaypool's tag is meant for relaypoold alone. Written by relaypoolctl setup, which takes it away " \
	"again.\n" CHECKS_LINE "\n"
#define MILTER_OPTIONS "default_action=accept, connect_timeout=2s, command_timeout=5s, content_timeout=10s"

/* ---- files ---- */

/* The group that Postfix's own processes have. */
static const char *mail_group(const struct look *look)
{
	const struct passwd *owner = getpwnam(look_expanded(look, "mail_owner"));
	const struct group *group = owner ? getgrgid(owner->pw_gid) : NULL;
	return group ? group->gr_name : "postfix";
}

/* The directory of a socket below queue_directory, which the daemon could not give to Postfix's group by itself. */
static void plan_directory(struct plan *plan, const struct look *look, const struct conf *conf,
			   const struct endpoint *endpoint)
{
	struct stat info;
	if (endpoint->kind != ENDPOINT_UNIX || !spell_below_queue(look, endpoint->path))
		return;
	char *path = mem_strndup(endpoint->path, (size_t)(strrchr(endpoint->path, '/') - endpoint->path));
	char *owner = mem_printf("%s:%s", conf->user ? conf->user : "root", mail_group(look));
	bool known = strcmp(path, look_expanded(look, "queue_directory")) == 0;
	for (size_t i = 0; i < plan->count; i++)
		known = known || strcmp(plan->items[i].name, path) == 0;
	if (!known && lstat(path, &info) == -1 && errno == ENOENT)
		plan_add(plan, ITEM_DIRECTORY, path, NULL, owner)->why =
			"For relaypoold's sockets; relaypoold has to be started, or started again, once it is there.";
	free(owner);
	free(path);
}

static bool has_line(const char *text, const char *line)
{
	const char *found = strstr(text, line);
	return found && (found == text || found[-1] == '\n');
}

static void plan_checks(struct plan *plan, const struct look *look)
{
	char *path = mem_printf("%s/" PLAN_HEADER_CHECKS, look->directory), error[SETUP_ERROR_SIZE];
	char *text = file_read(path, FILE_PLAIN, STORE_FILE_MAX, error, sizeof(error));
	struct item *item = plan_add(plan, ITEM_FILE, path, text, CHECKS_TEXT);
	item->right = text && has_line(text, CHECKS_LINE);
	item->why = "Takes relaypool's tag out of mail that leaves by another transport.";
	free(text);
	free(path);
}

/* ---- parameters ---- */

static struct item *plan_parameter(struct plan *plan, const struct look *look, const char *name, const char *shall,
				   const char *why)
{
	const char *value = look_value(look, name);
	struct item *item =
		plan_add(plan, ITEM_PARAMETER, name, json_string_value(json_object_get(look->set, name)), shall);
	free(item->is);
	item->is = *value ? mem_strdup(value) : NULL;
	item->right = strcmp(value, shall) == 0;
	item->why = why;
	return item;
}

/* What main.cf sets is right if it is at least this; as is 0, no limit. */
static bool limit_right(const struct look *look, const char *name, unsigned least)
{
	unsigned long now = strtoul(look_expanded(look, name), NULL, 10);
	return json_object_get(look->set, name) && (now >= least || now == 0);
}

static void plan_limit(struct plan *plan, const struct look *look, const char *name, unsigned shall, const char *why)
{
	char *text = mem_printf("%u", shall);
	plan_parameter(plan, look, name, text, why)->right = limit_right(look, name, plan->capacity);
	free(text);
}

/* `is_ours` is in the list where it shall be, and is good; else the list with `ours` there. */
static void plan_list(struct plan *plan, const struct look *look, const char *name, const char *ours, char *list,
		      bool right, const char *why)
{
	struct item *item = plan_parameter(plan, look, name, list, why);
	item->right = item->right || right;
	item->part = mem_strdup(ours);
	free(list);
}

static bool is_checks(const char *element, const void *arg)
{
	(void)arg;
	return strstr(element, PLAN_HEADER_CHECKS) != NULL;
}

static void plan_header_checks(struct plan *plan, const struct look *look)
{
	static const char ours[] = "regexp:$config_directory/" PLAN_HEADER_CHECKS;
	const char *value = look_value(look, "smtp_header_checks"), *at = value, *element;
	size_t length;
	bool first = list_next(&at, &element, &length);
	char *name = mem_strndup(element, length), *rest = list_without(value, is_checks, NULL);
	plan_list(plan, look, "smtp_header_checks", ours, list_with_first(rest, ours), first && is_checks(name, NULL),
		  "relaypool's tag does not leave by other transports; own checks go behind it.");
	free(rest);
	free(name);
}

/* ---- milters ---- */

struct milter_ours {
	const struct look *look;
	const struct endpoint *endpoint;
};

static bool is_milter(const char *element, const void *arg)
{
	const struct milter_ours *ours = arg;
	return spell_is_milter(ours->look, element, ours->endpoint);
}

/* The last element; the caller's. */
static char *list_last(const char *list)
{
	const char *element = "", *next;
	size_t length = 0, next_length;
	while (list_next(&list, &next, &next_length))
		element = next, length = next_length;
	return mem_strndup(element, length);
}

/* True if ours is the last one and passes mail on when relaypoold is away. */
static bool milter_right(const struct look *look, const char *parameter, const struct milter_ours *ours)
{
	char *last = list_last(look_expanded(look, parameter));
	const char *action = look_expanded(look, "milter_default_action");
	bool right = is_milter(last, ours) &&
		     (strstr(last, "default_action")
			      ? strstr(last, "default_action=accept") || strstr(last, "default_action = accept")
			      : strcmp(action, "accept") == 0);
	free(last);
	return right;
}

static void plan_milter_list(struct plan *plan, const struct look *look, const char *name,
			     const struct milter_ours *ours)
{
	const char *value = look_value(look, name);
	char *last = list_last(value), *rest = list_without(value, is_milter, ours);
	/* $smtpd_milters as the last one has ours last as soon as that has. */
	bool follows = strcmp(last, "$smtpd_milters") == 0 || strcmp(last, "${smtpd_milters}") == 0;
	plan_list(plan, look, name, plan->milter, follows ? mem_strdup(value) : list_with_last(rest, plan->milter),
		  milter_right(look, name, ours),
		  strcmp(name, "smtpd_milters") == 0
			  ? "Mail by SMTP; the last one, behind those that sign. It holds nothing up when it is down."
			  : "Mail by sendmail(1), which is no less mail.");
	free(last);
	free(rest);
}

static void plan_milters(struct plan *plan, const struct look *look, const struct conf *conf)
{
	const struct milter_ours ours = {look, &conf->milter};
	char *socket = spell_socket(look, &conf->milter);
	plan->milter = mem_printf("{ %s, " MILTER_OPTIONS " }", socket);
	free(socket);
	plan_milter_list(plan, look, "smtpd_milters", &ours);
	plan_milter_list(plan, look, "non_smtpd_milters", &ours);
}

/* ---- the way to relaypoold ---- */

static void plan_domains(struct plan *plan, const struct look *look, const struct setup_request *request)
{
	char *map = mem_strdup("inline:{");
	for (size_t i = 0; i < request->domain_count; i++) {
		char *more = mem_printf("%s%s { %s = " PLAN_TRANSPORT ":%s }", map, i > 0 ? "," : "",
					request->domains[i], plan->nexthop);
		free(map);
		map = more;
	}
	char *ours = mem_printf("%s }", map),
	     *rest = list_without(look_value(look, "transport_maps"), spell_is_route, NULL);
	plan_list(plan, look, "transport_maps", ours, list_with_first(rest, ours), false,
		  "Mail to these domains goes to relaypoold; everything else goes its way.");
	free(rest);
	free(ours);
	free(map);
}

static void plan_route(struct plan *plan, const struct look *look, const struct setup_request *request)
{
	if (request->domain_count > 0) {
		plan_domains(plan, look, request);
		return;
	}
	char *transport = mem_printf(PLAN_TRANSPORT ":%s", plan->nexthop);
	plan_parameter(plan, look, "default_transport", transport,
		       "All mail that is neither local nor has a transport of its own goes to relaypoold.");
	free(transport);
}

/* ---- how much at once ---- */

/* Connections, or messages on them, of all relays together. */
static unsigned capacity(const struct conf *conf, bool messages)
{
	unsigned sum = 0;
	for (size_t i = 0; i < conf->relay_count; i++) {
		const struct relay_conf *relay = &conf->relays[i];
		sum += relay->max_connections * (messages && relay->streaming == STREAMING_DEEP ? relay->max_depth : 1);
	}
	return sum;
}

#define DELIVERIES_LIMIT PLAN_TRANSPORT "_destination_concurrency_limit"

/* The deliveries at once that the plan leads to. */
static unsigned deliveries(const struct plan *plan, const struct look *look)
{
	unsigned now = (unsigned)strtoul(look_expanded(look, DELIVERIES_LIMIT), NULL, 10);
	if (now > 0 && limit_right(look, DELIVERIES_LIMIT, plan->capacity))
		return now;
	return plan->capacity > DELIVERIES_LEAST ? plan->capacity : DELIVERIES_LEAST;
}

static void plan_limits(struct plan *plan, const struct look *look, const struct conf *conf)
{
	unsigned shall = deliveries(plan, look);
	plan_parameter(plan, look, PLAN_TRANSPORT "_destination_concurrency_failed_cohort_limit", "0",
		       "Else ten failures suspend all outbound mail for minutes.");
	plan_limit(plan, look, DELIVERIES_LIMIT, shall, "Not less than the relays take at once.");
	plan_limit(plan, look, PLAN_TRANSPORT "_initial_destination_concurrency", shall,
		   "From the beginning: mail for a relay that hangs does not keep back the rest.");
	if (conf->failover != FAILOVER_DIRECT)
		return;
	plan_parameter(plan, look, PLAN_TRANSPORT "_destination_recipient_limit", "1",
		       "SMTP has one reply to a message; relaypoold has one for each recipient.");
	char *direct = mem_printf("%u", capacity(conf, false));
	struct item *item = plan_parameter(plan, look, PLAN_TRANSPORT "_direct_destination_concurrency_limit", direct,
					   "On the direct way: as many connections as the relays allow.");
	item->right = item->was != NULL; /* what the administrator has chosen there is right */
	free(direct);
}

/* ---- all of it ---- */

static bool domain_good(const char *domain)
{
	for (const char *c = domain; *c; c++)
		if (!isalnum((unsigned char)*c) && *c != '.' && *c != '-' && *c != '_')
			return false;
	return *domain != '\0' && *domain != '.' && *domain != '-';
}

/* "[127.0.0.1]:10025" on the direct way, else the LMTP listener; the caller's. */
static char *nexthop(const struct look *look, const struct conf *conf)
{
	const char *host = strcasecmp(conf->smtp.host, "localhost") == 0 ? "127.0.0.1" : conf->smtp.host;
	if (conf->failover == FAILOVER_DIRECT)
		return mem_printf("[%s]:%u", host, conf->smtp.port);
	return spell_socket(look, spell_listener(conf, look));
}

void plan_make(struct plan *plan, const struct setup_request *request, const struct look *look)
{
	const struct conf *conf = request->conf;
	*plan = (struct plan){.domains = request->domains,
			      .domain_count = request->domain_count,
			      .capacity = capacity(conf, true),
			      .nexthop = nexthop(look, conf)};
	for (size_t i = 0; i < conf->route_count; i++)
		plan->tags = plan->tags || route_conf_needs_tag(&conf->routes[i]);
	if (conf->failover == FAILOVER_DIRECT && conf->smtp.port == UINT16_MAX)
		plan->problem =
			mem_strdup("smtp in relaypool.conf has port 65535: the direct way needs the port behind it");
	for (size_t i = 0; i < request->domain_count; i++)
		if (!plan->problem && !domain_good(request->domains[i]))
			plan->problem = mem_printf("--domain \"%s\": this is no domain", request->domains[i]);
	if (plan->problem)
		return;
	plan_directory(plan, look, conf, &conf->milter);
	plan_directory(plan, look, conf, spell_listener(conf, look));
	plan_checks(plan, look);
	plan_entries(plan, look, conf, deliveries(plan, look));
	plan_limits(plan, look, conf);
	plan_header_checks(plan, look);
	plan_milters(plan, look, conf);
	plan_route(plan, look, request);
}
