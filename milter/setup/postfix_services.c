/*
 * Services of master.cf against the plan: of our name and not ours, in a chroot that hides a socket, with options that
 * leave the milter out. Called by postfix.c; only adds findings.
 */
#include <config.h>

#include <arpa/inet.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "postfix_private.h"

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

/* ---- options of smtpd ---- */

static bool has_milter(const struct services *services, const char *list)
{
	const char *element;
	size_t length;
	bool found = false;
	while (!found && list_next(&list, &element, &length)) {
		char *text = mem_strndup(element, length);
		found = strcmp(text, "$smtpd_milters") == 0 || strcmp(text, "${smtpd_milters}") == 0 ||
			spell_is_milter(services->look, text, &services->conf->milter);
		free(text);
	}
	return found;
}

static void add_override(const struct services *services, const char *key, const char *value, const char *why)
{
	report_add(services->report, &(struct finding){.state = services->plan->tags ? FINDING_WRONG : FINDING_NOTE,
						       .where = "master.cf",
						       .name = key,
						       .is = value,
						       .why = why});
}

static void check_options(const struct services *services, const char *service)
{
	static const char *const names[] = {"smtpd_milters", "content_filter", "smtpd_proxy_filter",
					    "receive_override_options"};
	static const char *const reasons[] = {
		"Mail by this service does not pass relaypool's milter: put it behind the others here, too. Without it "
		"a "
		"message takes the route that its sender and recipients give.",
		"Mail by this service comes back from the filter as new mail, without relaypool's tag: it takes the "
		"route "
		"that its sender and recipients give.",
		"Milters see neither header nor body of mail by this service, and cannot tag it: it takes the route "
		"that "
		"its sender and recipients give.",
		"Mail by this service does not pass any milter: it takes the route that its sender and recipients "
		"give.",
	};
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		char *key = mem_printf("%s/%s", service, names[i]);
		const char *value = look_item(services->look, ITEM_OVERRIDE, key);
		bool matters = value && (i == 0   ? !has_milter(services, value)
					 : i == 3 ? strstr(value, "no_milters") != NULL
						  : *value != '\0');
		if (matters)
			add_override(services, key, value, reasons[i]);
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
		if (strcmp(program, "smtpd") == 0 && !look_is_ours(look, service))
			check_options(&services, service);
		free(program);
	}
}
