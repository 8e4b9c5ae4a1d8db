/*
 * Services of master.cf against the plan: of our name and not ours, in a chroot that hides a socket, with options that
 * leave the milter out. Called by postfix.c; only adds findings.
 */
#include <config.h>

#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "postfix.h"

struct services {
	const struct plan *plan;
	const struct conf *conf;
	const struct look *look;
	struct report *report;
};

/* ---- at our port ---- */

/* The port of a service "[HOST:]PORT/inet" where it listens on the loopback address, too; 0: it does not. */
static unsigned loopback_port(const char *service)
{
	size_t length = strlen(service), host = 0;
	if (length < 5 || strcmp(service + length - 5, "/inet") != 0)
		return 0;
	char *port = mem_strndup(service, length - 5), *colon = strrchr(port, ':');
	host = colon ? (size_t)(colon - port) : 0;
	bool other = host > 0 && strncmp(port, "127.", 4) != 0 && strncmp(port, "localhost", host) != 0 &&
		     strncmp(port, "0.0.0.0", host) != 0;
	const char *digits = colon ? colon + 1 : port;
	const struct servent *known = getservbyname(digits, "tcp");
	unsigned number = known ? ntohs((uint16_t)known->s_port) : (unsigned)strtoul(digits, NULL, 10);
	free(port);
	return other ? 0 : number;
}

/* Two services on one port: Postfix would not start again. */
static void check_port(const struct services *services, const char *service)
{
	const struct conf *conf = services->conf;
	unsigned port = loopback_port(service);
	if (conf->failover != FAILOVER_DIRECT || port == 0 || look_is_ours(services->look, service) ||
	    (port != conf->smtp.port && port != conf->smtp.port + 1u))
		return;
	char *why = mem_printf("Port %u is needed: %u is relaypoold's `smtp', and mail goes by %u while relaypoold is "
			       "away. Choose another `smtp' in relaypool.conf.",
			       port, conf->smtp.port, conf->smtp.port + 1u);
	report_add(services->report, &(struct finding){.state = FINDING_CONFLICT,
						       .where = "master.cf",
						       .name = service,
						       .is = look_item(services->look, ITEM_SERVICE, service),
						       .why = why,
						       .stops = true});
	free(why);
}

/* ---- of our name ---- */

static void check_names(const struct services *services)
{
	for (size_t i = 0; i < services->plan->count; i++) {
		const struct item *item = &services->plan->items[i];
		if (item->kind != ITEM_SERVICE || item->right || loopback_port(item->name) > 0 || !item->was ||
		    look_is_ours(services->look, item->name))
			continue;
		report_add(services->report, &(struct finding){.state = FINDING_CONFLICT,
							       .where = "master.cf",
							       .name = item->name,
							       .is = item->was,
							       .why = "A service of this name is there, and it is not "
								      "relaypool's: give it another name.",
							       .stops = true});
	}
}

/* ---- in a chroot ---- */

static bool visible_in_chroot(const struct services *services, const struct endpoint *endpoint)
{
	return endpoint->kind != ENDPOINT_UNIX || spell_below_queue(services->look, endpoint->path);
}

static void add_hidden(const struct services *services, const char *service, const struct endpoint *endpoint,
		       bool stops)
{
	char *why =
		mem_printf("It runs chrooted to %s and does not see unix:%s: put the socket below that directory, in "
			   "relaypool.conf, or use inet.",
			   look_expanded(services->look, "queue_directory"), endpoint->path);
	char *name = mem_printf("%s/chroot", service);
	report_add(services->report, &(struct finding){.state = FINDING_WRONG,
						       .where = "master.cf",
						       .name = name,
						       .is = look_field(services->look, service, "chroot"),
						       .why = why,
						       .stops = stops});
	free(name);
	free(why);
}

static void check_chroot(const struct services *services, const char *service, const char *program)
{
	const struct endpoint *milter = &services->conf->milter,
			      *listener = spell_listener(services->conf, services->look);
	bool asks_milters =
		strcmp(program, "smtpd") == 0 || strcmp(program, "cleanup") == 0 || strcmp(program, "qmqpd") == 0;
	if (!look_chrooted(services->look, service))
		return;
	if (asks_milters && !visible_in_chroot(services, milter))
		add_hidden(services, service, milter, false);
	if (strcmp(service, PLAN_TRANSPORT "/unix") == 0 && services->conf->failover == FAILOVER_QUEUE &&
	    !visible_in_chroot(services, listener))
		add_hidden(services, service, listener, true);
}

/* ---- options of services ---- */

/* True if relaypool's milter is the last of the list, by itself or by a parameter. */
static bool milter_is_last(const struct services *services, const char *list, bool follow)
{
	const char *element;
	size_t length;
	bool last = false;
	while (list_next(&list, &element, &length)) {
		char *text = mem_strndup(element, length), *name = mem_strndup(text, length);
		size_t begin = strspn(text, "${(");
		snprintf(name, length + 1, "%.*s", (int)strcspn(text + begin, "})"), text + begin);
		last = text[0] != '$' ? spell_is_milter(services->look, text, &services->conf->milter)
		       : strcmp(name, "smtpd_milters") == 0
			       ? true
			       : follow && milter_is_last(services, look_expanded(services->look, name), false);
		free(name);
		free(text);
	}
	return last;
}

static bool is_there(const struct services *services, const char *value)
{
	(void)services;
	return *value != '\0';
}

static bool leaves_out(const struct services *services, const char *value)
{
	return !milter_is_last(services, value, true);
}

static bool has_no_milters(const struct services *services, const char *value)
{
	(void)services;
	return strstr(value, "no_milters") != NULL;
}

static bool is_another_way(const struct services *services, const char *value)
{
	return services->plan->domain_count == 0 && strncmp(value, PLAN_TRANSPORT ":", sizeof(PLAN_TRANSPORT)) != 0;
}

#define OTHERWISE "it takes the route that its sender and recipients give."
static const char no_milter[] = "Mail by this service does not pass relaypool's milter, or others behind it: put it "
				"behind the others here, too. Without it " OTHERWISE;
static const char no_tag[] = "Mail by this service comes back from the filter as new mail, without relaypool's "
			     "tag: " OTHERWISE;

/* Options that undo what main.cf says. */
static const struct {
	const char *program, *name;
	bool (*matters)(const struct services *services, const char *value);
	bool always; /* also where no route needs the tag */
	const char *why;
} options[] = {
	{"smtpd", "smtpd_milters", leaves_out, false, no_milter},
	{"smtpd", "content_filter", is_there, false, no_tag},
	{"smtpd", "smtpd_proxy_filter", is_there, false,
	 "Milters see neither header nor body of mail by this service, and cannot tag it: " OTHERWISE},
	{"smtpd", "receive_override_options", has_no_milters, false,
	 "Mail by this service does not pass any milter: " OTHERWISE},
	{"cleanup", "non_smtpd_milters", leaves_out, false, no_milter},
	{"pickup", "content_filter", is_there, false, no_tag},
	{"pickup", "receive_override_options", has_no_milters, false,
	 "Mail by this service does not pass any milter: " OTHERWISE},
	{"trivial-rewrite", "default_transport", is_another_way, true,
	 "It holds instead of what main.cf says: mail does not go to relaypoold."},
};

static void check_options(const struct services *services, const char *service, const char *program)
{
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
		char *key = mem_printf("%s/%s", service, options[i].name);
		const char *value = look_item(services->look, ITEM_OVERRIDE, key);
		if (strcmp(program, options[i].program) == 0 && value && options[i].matters(services, value))
			report_add(services->report,
				   &(struct finding){.state = services->plan->tags || options[i].always ? FINDING_WRONG
													: FINDING_NOTE,
						     .where = "master.cf",
						     .name = key,
						     .is = value,
						     .why = options[i].why});
		free(key);
	}
}

void check_services(const struct plan *plan, const struct setup_request *request, const struct look *look,
		    struct report *report)
{
	const struct services services = {plan, request->conf, look, report};
	const char *service;
	const json_t *line;
	check_names(&services);
	json_object_foreach(look->services, service, line)
	{
		char *program = look_program(look, service);
		check_port(&services, service);
		check_chroot(&services, service, program);
		if (!look_is_ours(look, service))
			check_options(&services, service, program);
		free(program);
	}
}
