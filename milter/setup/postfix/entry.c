/*
 * The services that relaypool wants in master.cf, as contrib/postfix/master.cf.* has them, next to those that are there.
 * Called by plan.c. An entry that is ours keeps what the administrator has added to it.
 */
#include <config.h>

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "postfix.h"

#define DATA_DONE_LEAST 600 /* seconds, as contrib/postfix has it */
#define DATA_DONE_SPARE 60  /* seconds beyond the deadline */

struct option {
	const char *name, *value;
	bool needed; /* a service that is ours has to have it so */
};

struct service {
	const char *name;  /* "relaypool/unix" */
	const char *entry; /* up to the process limit */
	const char *program;
	const struct option *options;
};

static const struct option queue_options[] = {
	{"syslog_name", "postfix/relaypool", false},
	{"lmtp_send_xforward_command", "yes", false},
	{"lmtp_data_done_timeout", NULL, true},
	{"lmtp_tls_security_level", "none", false},
	{"lmtp_sasl_auth_enable", "no", false},
	{"lmtp_generic_maps", "$smtp_generic_maps", false},
	{0},
};
static const struct service queue_service = {PLAN_TRANSPORT "/unix", PLAN_TRANSPORT " unix - - n -", "lmtp",
					     queue_options};

static const struct option direct_options[] = {
	{"syslog_name", "postfix/relaypool", false},
	{"smtp_fallback_relay", "", true},
	{"smtp_send_xforward_command", "yes", false},
	{"smtp_helo_timeout", "5s", true},
	{"smtp_data_done_timeout", NULL, true},
	{"smtp_tls_security_level", "none", true},
	{"smtp_sasl_auth_enable", "no", true},
	{"smtp_header_checks", "", true},
	{0},
};
static const struct service direct_service = {PLAN_TRANSPORT "/unix", PLAN_TRANSPORT " unix - - n -", "smtp",
					      direct_options};

static const struct option back_options[] = {
	{"syslog_name", "postfix/relaypool-direct", false},
	{"content_filter", "relaypool_direct:$relayhost", true},
	{"receive_override_options", "no_unknown_recipient_checks,no_header_body_checks,no_address_mappings,no_milters",
	 true},
	{"smtpd_milters", "", false},
	{"mynetworks", "127.0.0.0/8", true},
	{"smtpd_client_restrictions", "permit_mynetworks,reject", true},
	{"smtpd_helo_restrictions", "", false},
	{"smtpd_sender_restrictions", "", false},
	{"smtpd_relay_restrictions", "", false},
	{"smtpd_recipient_restrictions", "permit_mynetworks,reject", true},
	{"smtpd_data_restrictions", "", false},
	{"smtpd_end_of_data_restrictions", "", false},
	{"smtpd_tls_security_level", "none", false},
	{"smtpd_sasl_auth_enable", "no", false},
	{"smtpd_authorized_xforward_hosts", "127.0.0.0/8", false},
	{"smtpd_client_connection_count_limit", "0", false},
	{"smtpd_client_connection_rate_limit", "0", false},
	{0},
};
static const struct option out_options[] = {{"syslog_name", "postfix/relaypool-direct", false}, {0}};
static const struct service out_service = {PLAN_TRANSPORT "_direct/unix", PLAN_TRANSPORT "_direct unix - - n -", "smtp",
					   out_options};

long plan_seconds(const char *text)
{
	char *unit;
	long number = strtol(text, &unit, 10);
	if (unit == text || number < 0)
		return -1;
	switch (*unit) {
	case '\0':
	case 's':
		return number;
	case 'm':
		return number * 60;
	case 'h':
		return number * 3600;
	case 'd':
		return number * 86400;
	case 'w':
		return number * 7 * 86400;
	default:
		return -1;
	}
}

/* What depends on relaypool.conf; the caller's. */
static char *option_value(const struct option *option, const struct conf *conf)
{
	long deadline = (long)(conf->deadline / USEC_PER_SEC) + DATA_DONE_SPARE;
	if (!option->value)
		return mem_printf("%lds", deadline > DATA_DONE_LEAST ? deadline : DATA_DONE_LEAST);
	if (strcmp(option->name, "smtp_fallback_relay") == 0)
		return mem_printf("[127.0.0.1]:%u", conf->smtp.port + 1u);
	return mem_strdup(option->value);
}

static void plan_option(struct plan *plan, const struct look *look, const struct conf *conf,
			const struct service *service, const struct option *option)
{
	char *key = mem_printf("%s/%s", service->name, option->name), *shall = option_value(option, conf);
	const char *value = json_string_value(json_object_get(look->overrides, key));
	struct item *item = plan_add(plan, ITEM_OVERRIDE, key, value, shall);
	if (!option->value && value)
		item->right = plan_seconds(value) > (long)(conf->deadline / USEC_PER_SEC);
	item->why =
		!option->value ? "Longer than relaypoold's deadline: else Postfix gives up before the verdict." : NULL;
	free(shall);
	free(key);
}

/* A service that is ours already: what it has to have, and no more. */
static void plan_service_rest(struct plan *plan, const struct look *look, const struct conf *conf,
			      const struct service *service, unsigned processes)
{
	const char *limit = look_field(look, service->name, "process_limit");
	unsigned long now =
		strtoul(strcmp(limit, "-") == 0 ? look_expanded(look, "default_process_limit") : limit, NULL, 10);
	char *key = mem_printf("%s/process_limit", service->name), *shall = mem_printf("%u", processes);
	if (processes > 0 && now > 0 && now < processes)
		plan_add(plan, ITEM_FIELD, key, limit, shall)->why = "Not less than the deliveries at once.";
	for (const struct option *option = service->options; option->name; option++)
		if (option->needed)
			plan_option(plan, look, conf, service, option);
	free(shall);
	free(key);
}

/* The whole entry, in one line as postconf -M takes it; the caller's. */
static char *service_line(const struct conf *conf, const struct service *service, unsigned processes)
{
	char *line = processes > 0 ? mem_printf("%s %u %s", service->entry, processes, service->program)
				   : mem_printf("%s - %s", service->entry, service->program);
	for (const struct option *option = service->options; option->name; option++) {
		char *value = option_value(option, conf);
		char *more = mem_printf("%s -o %s=%s", line, option->name, value);
		free(line);
		free(value);
		line = more;
	}
	return line;
}

static void plan_service(struct plan *plan, const struct look *look, const struct conf *conf,
			 const struct service *service, unsigned processes)
{
	char *program = look_program(look, service->name), *line = service_line(conf, service, processes);
	const char *was = json_string_value(json_object_get(look->services, service->name));
	struct item *item = plan_add(plan, ITEM_SERVICE, service->name, was, line);
	/* A server at this port may well be somebody else's; a client of this name is not. */
	item->right = was && strcmp(program, service->program) == 0 &&
		      (strcmp(program, "smtpd") != 0 || look_is_ours(look, service->name));
	item->why = strcmp(service->name, queue_service.name) == 0 ? "The transport to relaypoold."
								   : "The way past relaypoold while it is away.";
	if (item->right)
		plan_service_rest(plan, look, conf, service, processes);
	free(line);
	free(program);
}

void plan_entries(struct plan *plan, const struct look *look, const struct conf *conf, unsigned deliveries)
{
	if (conf->failover == FAILOVER_QUEUE) {
		plan_service(plan, look, conf, &queue_service, deliveries);
		return;
	}
	char *name = mem_printf("127.0.0.1:%u/inet", conf->smtp.port + 1u);
	char *entry = mem_printf("127.0.0.1:%u inet n - n -", conf->smtp.port + 1u);
	const struct service back = {name, entry, "smtpd", back_options};
	plan_service(plan, look, conf, &direct_service, deliveries);
	plan_service(plan, look, conf, &back, 0);
	plan_service(plan, look, conf, &out_service, 0);
	free(entry);
	free(name);
}
