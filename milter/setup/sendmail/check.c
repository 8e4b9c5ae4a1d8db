/*
 * What of relaypool is in Sendmail, what is in its way, and what keeps its way: read from sendmail.cf, of which nothing
 * of sendmail.mc's includes and defaults is hidden. Called by sendmail.c; changes nothing.
 */
#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "sendmail.h"

#define DATA_INIT_LEAST 60 /* seconds that relaypoold may wait before 354 */

static void add(struct report *report, enum finding_state state, const char *where, const char *name, const char *is,
		const char *shall, const char *why)
{
	report_add(report, &(struct finding){.state = state,
					     .where = where,
					     .name = name,
					     .is = is,
					     .shall = shall,
					     .why = why,
					     .stops = state == FINDING_CONFLICT});
}

/* ---- the two files ---- */

static void check_block(const struct site *site, bool all, struct report *report)
{
	char *there = mc_block(site->mc);
	struct finding finding = {
		.state = FINDING_DIFFERS, .where = "sendmail.mc", .name = "block", .is = there, .shall = site->block};
	if (site->state == MC_BROKEN) {
		finding.state = FINDING_WRONG;
		finding.why =
			"The lines \"dnl relaypool begin\" and \"dnl relaypool end\" are not one pair: put that right.";
		finding.stops = true;
	} else if (site->by_hand) {
		finding.state = there ? FINDING_CONFLICT : FINDING_NOTE;
		finding.shall = NULL;
		finding.why = there ? "FEATURE(`relaypool') stands outside of it as well, by hand: take that line out."
				    : "There is none: relaypool was set up by hand. That is left as it is; take those "
				      "lines out, and --apply writes them.";
		finding.stops = there != NULL;
	} else if (!there) {
		finding.state = FINDING_MISSING;
		finding.why = "It belongs before the first MAILER line.";
	} else if (strcmp(site->mc, site->shall ? site->shall : "") == 0) {
		finding.state = FINDING_OK;
	} else if (strcmp(there, site->block) == 0) {
		finding.why = "It does not stand right before the first MAILER line.";
	} else if (site->kept_block && !site_wrote(site, there)) {
		finding.state = FINDING_CONFLICT;
		finding.why = "It was edited by hand. --apply --force writes it anew; own lines belong outside of it.";
		finding.stops = true;
	} else {
		finding.why = "relaypool.conf, or what setup was asked, has changed since.";
	}
	if (all || finding.stops)
		report_add(report, &finding);
	free(there);
}

static void check_made(const struct site *site, bool all, struct report *report)
{
	struct finding finding = {.state = FINDING_MISSING, .where = "sendmail.cf", .name = "made of sendmail.mc"};
	if (!site->shall_cf) {
		finding.state = FINDING_WRONG;
		finding.is = site->shall_error;
		finding.why = "With relaypool's block no sendmail.cf can be made of sendmail.mc.";
		finding.stops = true;
	} else if (site->cf && cf_same(site->cf, site->shall_cf)) {
		finding.state = FINDING_OK;
	} else if (site_cf_ours(site)) {
		finding.shall = "with relaypool's block";
	} else {
		finding.state = FINDING_CONFLICT;
		finding.why =
			"It is not what sendmail.mc makes: it was edited by hand, or sendmail.mc was changed and no "
			"sendmail.cf made of it since. --apply --force puts in its place what sendmail.mc makes, and "
			"keeps a copy beside it.";
		finding.stops = true;
	}
	if (all || finding.stops)
		report_add(report, &finding);
}

/* What a file could not be written over: --apply would lay one in the place of the link. */
static void check_link(const char *path, const char *where, struct report *report)
{
	struct stat info;
	if (lstat(path, &info) == 0 && S_ISLNK(info.st_mode))
		report_add(report,
			   &(struct finding){.state = FINDING_WRONG,
					     .where = where,
					     .name = "symbolic link",
					     .is = path,
					     .why = "A file would be laid in its place. Name by --mc the sendmail.mc "
						    "that it leads to, with sendmail.cf beside it, or make a "
						    "file of the link.",
					     .stops = true});
}

/* ---- ours, as Sendmail has it ---- */

static char *last_of(const char *list)
{
	const char *last = strrchr(list, ',');
	last = last ? last + 1 : list;
	last += strspn(last, " \t");
	return mem_strndup(last, strcspn(last, " \t"));
}

static void check_milter(const char *cf, struct report *report)
{
	char *filter = cf_line(cf, "X" SITE_NAME ","), *list = cf_line(cf, "O InputMailFilters=");
	char *flags = filter ? cf_field(filter, "F=") : NULL, *last = last_of(list ? list : "");
	if (!filter)
		add(report, FINDING_WRONG, "sendmail.cf", "milter relaypool", NULL, NULL, "There is none.");
	else if (flags && *flags)
		add(report, FINDING_WRONG, "sendmail.cf", "milter relaypool F=", flags, NULL,
		    "It has to be empty: else mail is refused while relaypoold is away.");
	else
		add(report, FINDING_OK, "sendmail.cf", "milter relaypool", filter, NULL, NULL);
	bool good = strcmp(last, SITE_NAME) == 0;
	add(report, good ? FINDING_OK : FINDING_WRONG, "sendmail.cf", "InputMailFilters", list, NULL,
	    good ? NULL : "relaypool has to be the last one, behind those that sign or remove header fields.");
	free(last);
	free(flags);
	free(list);
	free(filter);
}

/* What was written by hand may name a socket on which relaypoold does not listen; --apply writes what it has. */
static void check_hand_written(const struct site *site, const char *cf, struct report *report)
{
	const struct conf *conf = site->request->conf;
	char *filter = cf_line(cf, "X" SITE_NAME ","), *mailer = cf_line(cf, "M" SITE_NAME ",");
	bool milter = conf->milter.kind != ENDPOINT_UNIX || (filter && strstr(filter, conf->milter.path));
	bool lmtp = conf->failover != FAILOVER_QUEUE;
	for (size_t i = 0; i < conf->lmtp_count; i++)
		lmtp = lmtp || conf->lmtp[i].kind != ENDPOINT_UNIX || (mailer && strstr(mailer, conf->lmtp[i].path));
	if (!milter)
		add(report, FINDING_WRONG, "sendmail.cf", "milter relaypool S=", filter, conf->milter.path,
		    "relaypoold listens elsewhere.");
	if (!lmtp)
		add(report, FINDING_WRONG, "sendmail.cf", "mailer relaypool A=", mailer, conf->lmtp[0].path,
		    "relaypoold listens elsewhere.");
	free(mailer);
	free(filter);
}

/* A daemon may have its own milters: then the others are not asked. */
static void check_daemons(const char *cf, struct report *report)
{
	static const char prefix[] = "\nO DaemonPortOptions=";
	for (const char *at = strstr(cf, prefix); at; at = strstr(at + 1, prefix)) {
		const char *value = at + strlen(prefix);
		char *options = mem_strndup(value, strcspn(value, "\n"));
		char *filters = cf_field(options, "InputMailFilters=");
		if (!filters)
			filters = cf_field(options, "I=");
		if (filters && !strstr(filters, SITE_NAME))
			add(report, FINDING_CONFLICT, "sendmail.cf", "DaemonPortOptions", options, NULL,
			    "Mail at this port is seen by its own milters only: add relaypool as the last of them.");
		free(filters);
		free(options);
	}
}

/* The relay of relaypool.conf that is this smart host, such as "relay:[smtp.example.com]"; NULL. */
static const struct relay_conf *relay_of(const struct conf *conf, const char *smart)
{
	const char *begin = strchr(smart, '[');
	const char *colon = strchr(smart, ':');
	begin = begin ? begin + 1 : colon ? colon + 1 : smart;
	size_t length = strcspn(begin, "]: \t");
	for (size_t i = 0; i < conf->relay_count; i++)
		for (size_t j = 0; j < conf->relays[i].host_count; j++) {
			const char *host = conf->relays[i].hosts[j].host;
			if (strlen(host) == length && strncasecmp(host, begin, length) == 0)
				return &conf->relays[i];
		}
	return NULL;
}

static void note_replaced(const struct conf *conf, const char *smart, struct report *report)
{
	const struct relay_conf *relay = relay_of(conf, smart);
	report_note(report, "sendmail.mc", "SMART_HOST",
		    relay ? "%s is set there, and does not hold any more: mail goes to relaypoold, which has it as "
			    "relay \"%s\"."
			  : "%s is set there, and does not hold any more: mail goes to relaypoold. No relay of "
			    "relaypool.conf has "
			    "this host; is that meant?%s",
		    smart, relay ? relay->name : "");
}

/* What becomes of the smart host that sendmail.mc has without us. */
static void note_smart_host(const struct site *site, const char *only, bool ours, struct report *report)
{
	char *before = site->bare_cf ? cf_line(site->bare_cf, "DS") : NULL;
	bool set = before && *before && !site->by_hand;
	if (only)
		report_note(report, "sendmail.mc", "SMART_HOST",
			    "Mail to other domains goes %s%s as before; an X-Relaypool field, which names nobody, "
			    "stays in it.",
			    set ? "to " : "its way", set ? before : "");
	else if (set && ours && site->request->conf->failover == FAILOVER_DIRECT)
		report_note(
			report, "sendmail.mc", "SMART_HOST",
			"%s is where mail goes while relaypoold is away, and after every 4xx of it: none of "
			"relaypoold's "
			"limits holds on that way, and an X-Relaypool field, which names nobody, stays in the mail.",
			before);
	else if (set && ours)
		note_replaced(site->request->conf, before, report);
	free(before);
}

static void check_route(const struct site *site, const char *cf, struct report *report)
{
	char *smart = cf_line(cf, "DS"), *mailer = cf_line(cf, "M" SITE_NAME ","),
	     *only = cf_line(cf, "C{RelaypoolDomains}");
	bool good = only || (smart && strncmp(smart, SITE_NAME ":", strlen(SITE_NAME) + 1) == 0);
	if (mailer)
		add(report, FINDING_OK, "sendmail.cf", "mailer relaypool", mailer, NULL, NULL);
	else
		add(report, FINDING_WRONG, "sendmail.cf", "mailer relaypool", NULL, NULL, "There is none.");
	if (only)
		add(report, FINDING_OK, "sendmail.cf", "domains", only, NULL, "Only mail to these goes to relaypoold.");
	else
		add(report, good ? FINDING_OK : FINDING_WRONG, "sendmail.cf", "SMART_HOST", smart, NULL,
		    good ? NULL : "It is set again behind relaypool's block, and leads mail past relaypoold.");
	note_smart_host(site, only, good, report);
	free(only);
	free(mailer);
	free(smart);
}

/* On the direct way both hosts are tried at one port. */
static void check_direct(const struct site *site, const char *cf, struct report *report)
{
	char *mailer = cf_line(cf, "M" SITE_NAME ","), *arguments = mailer ? cf_field(mailer, "A=") : NULL;
	const char *last = arguments ? strrchr(arguments, ' ') : NULL;
	unsigned long port = last && strcmp(last, " $h") != 0 ? strtoul(last + 1, NULL, 10) : 25;
	const struct conf *conf = site->request->conf;
	if (conf->failover == FAILOVER_DIRECT && arguments && port != conf->smtp.port) {
		char *why = mem_printf(
			"Both relaypoold and the relay behind it are tried at port %lu, but relaypool.conf has smtp at "
			"port %u: they have to be one, by define(`RELAY_MAILER_ARGS', `TCP $h %u') or smtp.",
			port, conf->smtp.port, conf->smtp.port);
		report_add(report, &(struct finding){.state = FINDING_WRONG,
						     .where = "sendmail.cf",
						     .name = "port",
						     .is = arguments,
						     .why = why,
						     .stops = true});
		free(why);
	}
	free(arguments);
	free(mailer);
}

/* A field of DaemonPortOptions by its long or short name; the caller's, NULL. */
static char *port_field(const char *options, const char *name, const char *letter)
{
	char *value = cf_field(options, name);
	return value ? value : cf_field(options, letter);
}

static unsigned long port_number(const char *port)
{
	return !port || strcasecmp(port, "smtp") == 0 ? 25
	       : strcasecmp(port, "submission") == 0  ? 587
						      : strtoul(port, NULL, 10);
}

/* True if this port of Sendmail's takes the address on which relaypoold is to be the first of the two hosts. */
static bool takes_place(const struct endpoint *direct, const char *options)
{
	char *port = port_field(options, "Port=", "P="), *address = port_field(options, "Addr=", "A=");
	char *family = port_field(options, "Family=", "F=");
	bool takes = port_number(port) == direct->port && !(family && strcasecmp(family, "inet6") == 0) &&
		     (!address || strcmp(address, "0.0.0.0") == 0 || strcmp(address, direct->host) == 0);
	free(family);
	free(address);
	free(port);
	return takes;
}

/* While relaypoold is away Sendmail would hand mail to itself there, again and again, and then return it. */
static void check_own_ports(const struct site *site, const char *cf, struct report *report)
{
	static const char prefix[] = "\nO DaemonPortOptions=";
	const struct conf *conf = site->request->conf;
	if (conf->failover != FAILOVER_DIRECT)
		return;
	for (const char *at = strstr(cf, prefix); at; at = strstr(at + 1, prefix)) {
		const char *value = at + strlen(prefix);
		char *options = mem_strndup(value, strcspn(value, "\n"));
		char *why = mem_printf(
			"Sendmail listens there itself, at port %u of all addresses, and only one of the two can. "
			"Give this port an Addr=, or take it out (FEATURE(`no_default_msa') for that of the MSA).",
			conf->smtp.port);
		if (takes_place(&conf->smtp, options))
			add(report, FINDING_CONFLICT, "sendmail.cf", "DaemonPortOptions", options, NULL, why);
		free(why);
		free(options);
	}
}

/* ---- domains that are ours to deliver ---- */

/* True if it is one of the words, which blanks or line ends part; what stands behind a '#' is none. */
static bool has_word(const char *text, const char *word)
{
	size_t length = strlen(word);
	while (*text) {
		text += strspn(text, " \t\r\n");
		size_t found = strcspn(text, " \t\r\n");
		if (*text == '#')
			found = strcspn(text, "\n");
		else if (found == length && strncasecmp(text, word, length) == 0)
			return true;
		text += found;
	}
	return false;
}

/* True if the class has it by a C line, or by a file that an F line names. */
static bool class_has(const char *cf, const char *class, const char *word)
{
	char *words = mem_printf("\nC%s", class), *files = mem_printf("\nF%s", class), error[SETUP_ERROR_SIZE];
	bool found = false;
	for (const char *at = strstr(cf, words); at && !found; at = strstr(at + 1, words)) {
		char *line = mem_strndup(at + strlen(words), strcspn(at + strlen(words), "\n"));
		found = has_word(line, word);
		free(line);
	}
	for (const char *at = strstr(cf, files); at && !found; at = strstr(at + 1, files)) {
		const char *name = at + strlen(files);
		name += strncmp(name, "-o", 2) == 0 ? 2 : 0;
		name += strspn(name, " ");
		char *path = mem_strndup(name, strcspn(name, " \n"));
		char *text = *path == '/' ? file_read(path, FILE_PLAIN, STORE_FILE_MAX, error, sizeof(error)) : NULL;
		found = text && has_word(text, word);
		free(text);
		free(path);
	}
	free(files);
	free(words);
	return found;
}

/* This host by its own name, which Sendmail adds to class w by itself. */
static bool is_host(const char *cf, const char *domain)
{
	char host[256] = "", *name = cf_line(cf, "Dj");
	bool same = name ? strcasecmp(name, domain) == 0
			 : gethostname(host, sizeof(host) - 1) == 0 && strcasecmp(host, domain) == 0;
	free(name);
	return same;
}

/* --domain comes before what Sendmail does with its own domains: their mail would leave the host. */
static void check_domains(const struct site *site, const char *cf, struct report *report)
{
	for (size_t i = 0; i < site->request->domain_count; i++) {
		const char *domain = site->request->domains[i];
		if (is_host(cf, domain) || class_has(cf, "w", domain) || class_has(cf, "{VirtHost}", domain))
			add(report, FINDING_CONFLICT, "sendmail.cf", "domain", domain, NULL,
			    "Mail to this domain is delivered here, and would go to relaypoold instead.");
	}
}

/* ---- how long it waits ---- */

static void check_timeout(const char *cf, const char *name, long least, const char *what, struct report *report)
{
	char *option = mem_printf("Timeout.%s", name), *value = cf_option(cf, option);
	long seconds = value ? cf_seconds(value) : -1;
	char *why = mem_printf("It has to be longer than %s, %ld s: else Sendmail gives up before relaypoold answers.",
			       what, least);
	/* 0 is no limit. */
	bool good = seconds < 0 || seconds == 0 || seconds > least;
	add(report, good ? FINDING_OK : FINDING_WRONG, "sendmail.cf", option, value, NULL, good ? NULL : why);
	free(why);
	free(value);
	free(option);
}

static void check_timeouts(const struct site *site, const char *cf, struct report *report)
{
	check_timeout(cf, "datafinal", (long)(site->request->conf->deadline / USEC_PER_SEC),
		      "the deadline in relaypool.conf", report);
	check_timeout(cf, "datainit", DATA_INIT_LEAST, "what relaypoold may wait before the message", report);
}

/* ---- what keeps its way ---- */

static void note_host(const char *cf, const char *prefix, const char *name, const char *what, struct report *report)
{
	char *host = cf_line(cf, prefix);
	if (host && *host)
		report_note(report, "sendmail.cf", name, "%s goes to %s as before.", what, host);
	free(host);
}

static void note_credentials(const struct conf *conf, const char *cf, struct report *report)
{
	char *map = cf_line(cf, "Kauthinfo "), *option = cf_line(cf, "O DefaultAuthInfo=");
	char *only = cf_line(cf, "C{RelaypoolDomains}");
	const char *where = map ? map : option;
	if (where && only)
		report_note(report, "sendmail.cf", "authinfo",
			    "What is in %s is used for mail to other domains; for relaypoold, "
			    "user and password stand in relaypool.conf.",
			    where);
	else if (where && conf->failover == FAILOVER_DIRECT)
		report_note(report, "sendmail.cf", "authinfo",
			    "Sendmail uses what it has in %s on the direct way; relaypool.conf has its own.", where);
	else if (where)
		report_note(report, "sendmail.cf", "authinfo",
			    "Sendmail does not log in at the smart host any more: what it has in %s is not used for "
			    "that, but the "
			    "user and password of relaypool.conf.",
			    where);
	free(only);
	free(option);
	free(map);
}

static void note_queues(const char *cf, struct report *report)
{
	for (const char *line = strstr(cf, "\nQ"); line; line = strstr(line + 1, "\nQ")) {
		char *group = mem_strndup(line + 2, strcspn(line + 2, "\n")), *most = cf_field(group, "r=");
		if (most)
			report_note(report, "sendmail.cf", "queue group",
				    "%s: messages with more than %s recipients are split, and each part has a queue id "
				    "of its own in "
				    "the log.",
				    group, most);
		free(most);
		free(group);
	}
}

/* relaypoold is one host to Sendmail, whatever the domain. */
static void check_hosts(const struct site *site, const char *cf, struct report *report)
{
	char *single = cf_line(cf, "O SingleThreadDelivery="), *status = cf_line(cf, "O HostStatusDirectory=");
	if (single && strncasecmp(single, "true", 4) == 0)
		add(report, FINDING_WRONG, "sendmail.cf", "SingleThreadDelivery", single, NULL,
		    "One message at a time goes to a host, and relaypoold is one host for all: take "
		    "confSINGLE_THREAD_DELIVERY out.");
	if (status && site->request->conf->failover == FAILOVER_DIRECT)
		add(report, FINDING_WRONG, "sendmail.cf", "HostStatusDirectory", status, NULL,
		    "Sendmail remembers there for Timeout.hoststatus, 30 minutes by default, that relaypoold was away, "
		    "and so long all mail takes the direct way: undefine confHOST_STATUS_DIRECTORY.");
	else if (status)
		report_note(report, "sendmail.cf", "HostStatusDirectory",
			    "%s remembers for Timeout.hoststatus, 30 minutes by default, that a host was away, and "
			    "relaypoold is one host for all. relaypool-flush sets that aside; undefine "
			    "confHOST_STATUS_DIRECTORY if nothing else needs it.",
			    status);
	free(status);
	free(single);
}

/* sendmail(1) hands mail to the MTA by submit.cf. */
static void check_submission(const struct site *site, struct report *report)
{
	char *path = mem_printf("%s/submit.cf", site->directory), error[SETUP_ERROR_SIZE];
	char *text = file_read(path, FILE_PLAIN, STORE_FILE_MAX, error, sizeof(error));
	char *host = text ? cf_line(text, "D{MTAHost}") : NULL;
	bool here = host && (strstr(host, "127.0.0.1") || strstr(host, "::1") || strstr(host, "localhost"));
	if (!text)
		report_note(report, "submit.cf", "the file",
			    "There is none here: mail by sendmail(1) that does not go to the MTA first is not seen by "
			    "the milter, "
			    "and takes the route that its sender and recipients alone give.");
	else if (here)
		add(report, FINDING_OK, "submit.cf", "MTAHost", host, NULL, NULL);
	else if (host)
		add(report, FINDING_WRONG, "submit.cf", "MTAHost", host, NULL,
		    "Mail by sendmail(1) goes to that host, past this Sendmail and relaypoold: FEATURE(`msp', "
		    "`[127.0.0.1]') in "
		    "submit.mc has it come here.");
	free(host);
	free(text);
	free(path);
}

void site_check(const struct site *site, bool all, struct report *report)
{
	check_block(site, all, report);
	check_made(site, all, report);
	check_link(site->mc_path, "sendmail.mc", report);
	check_link(site->cf_path, "sendmail.cf", report);
	/* What is in use if relaypool is in it; else what would be. */
	const char *cf = site->cf && strstr(site->cf, "\nM" SITE_NAME ",") ? site->cf : site->shall_cf;
	site_check_sockets(site, cf, report);
	if (!cf)
		return;
	check_milter(cf, report);
	if (site->by_hand)
		check_hand_written(site, cf, report);
	check_daemons(cf, report);
	check_route(site, cf, report);
	check_direct(site, cf, report);
	check_own_ports(site, cf, report);
	check_domains(site, cf, report);
	check_timeouts(site, cf, report);
	check_submission(site, report);
	site_check_maps(site, cf, report);
	note_host(cf, "DR", "LOCAL_RELAY", "Mail to names without a domain", report);
	note_host(cf, "DH", "MAIL_HUB", "Local mail", report);
	note_host(cf, "DL", "LUSER_RELAY", "Mail to unknown local users", report);
	note_credentials(site->request->conf, cf, report);
	note_queues(cf, report);
	check_hosts(site, cf, report);
}
