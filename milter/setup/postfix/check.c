/*
 * Settings of main.cf that lead mail past relaypool, take its tag away, or would not work beside it. Called by
 * postfix.c; only adds findings, each with what it means.
 */
#include <config.h>

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "postfix.h"

#define WAIT_BEFORE_DATA 60 /* seconds that relaypoold may let the MTA wait for 354 */

struct settings {
	const struct plan *plan;
	const struct setup_request *request;
	const struct look *look;
	struct report *report;
	bool all; /* all outbound mail is to go to relaypoold, not some domains only */
};

static void add(const struct settings *settings, enum finding_state state, const char *name, const char *why,
		bool stops)
{
	report_add(settings->report, &(struct finding){.state = state,
						       .where = "main.cf",
						       .name = name,
						       .is = look_shown(settings->look, name),
						       .why = why,
						       .stops = stops});
}

static bool is_set(const struct settings *settings, const char *name)
{
	return *look_expanded(settings->look, name) != '\0';
}

/* ---- mail that is not ours to send ---- */

/* Parameters that, if they are set, keep some mail from relaypoold, or mean less than before. */
static void check_others(const struct settings *settings)
{
	static const struct {
		const char *name, *why;
		bool all; /* only where all outbound mail is to go to relaypoold */
	} others[] = {
		{"sender_dependent_default_transport_maps",
		 "Mail of the senders it names keeps its transport, and does not go to relaypoold.", true},
		{"relay_domains", "Mail to these domains goes by relay_transport as before, not to relaypoold.", true},
		{"smtp_sasl_password_maps",
		 "relaypoold sends with the accounts of relaypool.conf; these hold for what leaves without it.", true},
		{"smtpd_milter_maps",
		 "Clients it names have these milters instead of smtpd_milters: relaypool's has to be the "
		 "last one there, too.",
		 false},
	};
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		if (is_set(settings, others[i].name) && (settings->all || !others[i].all))
			add(settings, FINDING_NOTE, others[i].name, others[i].why, false);
	const char *transport = look_expanded(settings->look, "virtual_transport");
	if (is_set(settings, "virtual_mailbox_domains") &&
	    (strncmp(transport, "smtp", 4) == 0 || strncmp(transport, "relay", 5) == 0))
		add(settings, FINDING_NOTE, "virtual_transport",
		    "Mail to virtual_mailbox_domains leaves by it as before, not by relaypoold.", false);
}

static void see_star(const char *key, void *arg)
{
	if (strcmp(key, "*") == 0)
		*(bool *)arg = true;
}

/* transport_maps beside ours. One that has "*" leaves nothing to default_transport. */
static void check_transport_maps(const struct settings *settings)
{
	char *rest = list_without(look_expanded(settings->look, "transport_maps"), spell_is_route, NULL), *map;
	char error[SETUP_ERROR_SIZE];
	const char *at = rest, *element;
	size_t length;
	bool star = false, any = false, known = true;
	for (; list_next(&at, &element, &length); free(map)) {
		map = mem_strndup(element, length);
		any = true;
		known = map_each(settings->look, map, see_star, &star, error) && known;
	}
	if (any && settings->all)
		add(settings, star ? FINDING_WRONG : FINDING_NOTE, "transport_maps",
		    star    ? "It has an entry for all mail (*): nothing is left for default_transport, and so for "
			      "relaypoold."
		    : known ? "What it names keeps its transport, and does not go to relaypoold."
			    : "What it names keeps its transport, and does not go to relaypoold. Not all of it can be "
			      "listed.",
		    false);
	free(rest);
}

/* ---- the relay so far ---- */

/* "[host]:port" names a host of some relay of relaypool.conf. */
static bool is_relay(const struct conf *conf, const char *nexthop)
{
	char *host = mem_strndup(nexthop + (*nexthop == '['), strcspn(nexthop + (*nexthop == '['), "]:"));
	bool found = false;
	for (size_t i = 0; i < conf->relay_count; i++)
		for (size_t j = 0; j < conf->relays[i].host_count; j++)
			found = found || strcasecmp(conf->relays[i].hosts[j].host, host) == 0;
	free(host);
	return found;
}

static void check_relayhost(const struct settings *settings)
{
	const struct conf *conf = settings->request->conf;
	const char *relayhost = look_expanded(settings->look, "relayhost");
	bool registered = strncmp(look_value(settings->look, "default_transport"), PLAN_TRANSPORT ":", 10) == 0;
	if (!settings->all)
		return;
	if (conf->failover == FAILOVER_DIRECT)
		add(settings, FINDING_NOTE, "relayhost",
		    *relayhost ? "The direct way, while relaypoold is away; the caps of relaypool.conf do not bind it."
			       : "Empty: while relaypoold is away mail goes to the recipients' own servers.",
		    false);
	else if (*relayhost && (registered || is_relay(conf, relayhost)))
		add(settings, FINDING_NOTE, "relayhost", "Not used any more for what goes to relaypoold.", false);
	else if (*relayhost)
		add(settings, FINDING_WRONG, "relayhost",
		    "No relay of relaypool.conf has this host: what left by it would leave by other relays.", false);
}

/* ---- filters ---- */

static void add_filter(const struct settings *settings, const char *name, const char *why)
{
	add(settings, settings->plan->tags ? FINDING_WRONG : FINDING_NOTE, name, why, false);
}

/* Some table of this list has the action FILTER. */
static bool has_filter(const char *list)
{
	const char *element;
	size_t length;
	bool found = false;
	while (!found && list_next(&list, &element, &length)) {
		char *map = mem_strndup(element, length);
		found = map_has_word(map, "FILTER");
		free(map);
	}
	return found;
}

static void check_filters(const struct settings *settings)
{
	static const char *const lists[] = {
		"header_checks",
		"mime_header_checks",
		"nested_header_checks",
		"body_checks",
		"milter_header_checks",
		"smtpd_client_restrictions",
		"smtpd_helo_restrictions",
		"smtpd_sender_restrictions",
		"smtpd_recipient_restrictions",
		"smtpd_relay_restrictions",
		"smtpd_data_restrictions",
		"smtpd_end_of_data_restrictions",
	};
	if (is_set(settings, "content_filter"))
		add_filter(
			settings, "content_filter",
			"Mail comes back from the filter as new mail, without relaypool's tag: it takes the route that "
			"its sender and recipients give.");
	if (is_set(settings, "smtpd_proxy_filter"))
		add_filter(
			settings, "smtpd_proxy_filter",
			"Milters see neither header nor body, and cannot tag: mail takes the route that its sender and "
			"recipients give.");
	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
		if (has_filter(look_expanded(settings->look, lists[i])))
			add_filter(settings, lists[i],
				   "It has the action FILTER: such mail does not go to relaypoold, or comes back "
				   "without its tag.");
}

/* ---- what does not go together ---- */

/* A macro other than $smtpd_milters, or that one in the middle, hides where ours stands. */
static void check_place(const struct settings *settings, const char *name)
{
	const char *list = look_expanded(settings->look, name), *element;
	size_t length;
	bool ours = false, last = false;
	while (list_next(&list, &element, &length)) {
		char *text = mem_strndup(element, length);
		last = spell_is_milter(settings->look, text, &settings->request->conf->milter);
		ours = ours || last;
		free(text);
	}
	const char *value = look_value(settings->look, name), *macro = strstr(value, "smtpd_milters");
	if (strcmp(name, "non_smtpd_milters") == 0 && macro > value && strchr("${(", macro[-1]) &&
	    macro[strcspn(macro, ", \t")] != '\0')
		add(settings, FINDING_WRONG, name,
		    "It has $smtpd_milters before others: relaypool's milter would be asked twice, and no tag of its "
		    "would hold. Write the milters themselves in its place.",
		    true);
	else if (ours && !last && strchr(value, '$'))
		add(settings, FINDING_WRONG, name,
		    "relaypool's milter is brought in by a parameter, before others: it has to be the last one, behind "
		    "those "
		    "that sign.",
		    false);
}

static void check_times(const struct settings *settings)
{
	bool queue = settings->request->conf->failover == FAILOVER_QUEUE;
	const char *name = queue ? "lmtp_data_init_timeout" : "smtp_data_init_timeout";
	long seconds = plan_seconds(look_expanded(settings->look, name));
	if (seconds >= 0 && seconds <= WAIT_BEFORE_DATA)
		add(settings, FINDING_WRONG, name,
		    "relaypoold may take 60 s before it says 354: make it longer, as 120s is by default.", false);
	if (json_object_get(settings->look->set, "default_destination_recipient_limit") && queue)
		add(settings, FINDING_NOTE, "default_destination_recipient_limit",
		    "Messages with more recipients are handed over in parts.", false);
}

/* A file that postconf could not change well. */
static void check_file(const struct settings *settings, const char *file)
{
	char *path = mem_printf("%s/%s", settings->look->directory, file);
	struct stat info;
	int fd = open(path, O_RDONLY | O_CLOEXEC), last = '\n';
	unsigned char octet;
	if (fd != -1 && lseek(fd, -1, SEEK_END) != -1 && read(fd, &octet, 1) == 1)
		last = octet;
	if (fd != -1)
		close(fd);
	const char *why = NULL;
	if (lstat(path, &info) == 0 && S_ISLNK(info.st_mode))
		why = "It is a symbolic link: postconf would change what it leads to, and --undo could not give it "
		      "back. Lay the file itself here.";
	else if (last != '\n')
		why = "Its last line has no end: postconf would put a setting behind it in the same line. End it "
		      "(echo >>FILE).";
	if (why && !plan_done(settings->plan))
		report_add(settings->report,
			   &(struct finding){
				   .state = FINDING_WRONG, .where = "file", .name = path, .why = why, .stops = true});
	free(path);
}

/* A domain given by --domain that is delivered here would not be any more. */
static void check_domains(const struct settings *settings)
{
	static const char *const locals[] = {"mydestination", "virtual_mailbox_domains", "virtual_alias_domains"};
	for (size_t i = 0; i < settings->request->domain_count; i++) {
		for (size_t j = 0; j < sizeof(locals) / sizeof(locals[0]); j++) {
			const char *list = look_expanded(settings->look, locals[j]), *element,
				   *domain = settings->request->domains[i];
			size_t length;
			bool local = false;
			while (!local && list_next(&list, &element, &length)) {
				char *text = mem_strndup(element, length);
				local = strcasecmp(text, domain) == 0 || map_has(settings->look, text, domain);
				free(text);
			}
			char *why = local ? mem_printf("--domain %s: mail to it is delivered here, and would leave.",
						       domain)
					  : NULL;
			if (local)
				add(settings, FINDING_CONFLICT, locals[j], why, true);
			free(why);
		}
	}
}

void check_settings(const struct plan *plan, const struct setup_request *request, const struct look *look,
		    struct report *report)
{
	const struct settings settings = {plan, request, look, report, request->domain_count == 0};
	check_file(&settings, "main.cf");
	check_file(&settings, "master.cf");
	check_domains(&settings);
	check_relayhost(&settings);
	check_transport_maps(&settings);
	check_others(&settings);
	check_filters(&settings);
	check_place(&settings, "smtpd_milters");
	check_place(&settings, "non_smtpd_milters");
	check_times(&settings);
}
