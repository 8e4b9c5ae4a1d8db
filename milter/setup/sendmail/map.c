/*
 * The maps of Sendmail that decide over mail before relaypool does: mailertable and access. Called by check.c.
 * Reads the sources, beside which makemap(8) puts the maps; what has none is told of, and not looked into.
 */
#include <config.h>

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/file.h"
#include "base/mem.h"
#include "sendmail.h"

#define DATABASE ".db"

/* ---- sources ---- */

/* The text of the source of a map such as "hash -o /etc/mail/access.db"; NULL if it cannot be read. The caller's. */
static char *source_read(const char *map)
{
	const char *path = map ? strchr(map, '/') : NULL;
	char error[SETUP_ERROR_SIZE];
	if (!path)
		return NULL;
	size_t length = strcspn(path, " \t"), extension = strlen(DATABASE);
	if (length > extension && strncmp(path + length - extension, DATABASE, extension) == 0)
		length -= extension;
	char *name = mem_strndup(path, length);
	char *text = file_read(name, FILE_PLAIN, STORE_FILE_MAX, error, sizeof(error));
	free(name);
	return text;
}

/* The next line that has an entry, beginning at `line`; NULL: none. */
static const char *entry(const char *line)
{
	while (line && *line && strchr("# \t\r\n", *line)) {
		line = strchr(line, '\n');
		line += line != NULL;
	}
	return line && *line ? line : NULL;
}

static const char *entry_next(const char *line)
{
	const char *end = strchr(line, '\n');
	return end ? entry(end + 1) : NULL;
}

static size_t key_length(const char *line)
{
	return strcspn(line, " \t\r\n");
}

static bool key_is(const char *line, const char *key)
{
	return key_length(line) == strlen(key) && strncasecmp(line, key, strlen(key)) == 0;
}

/* The line of a key; NULL. */
static const char *find(const char *text, const char *key)
{
	const char *line = entry(text);
	while (line && !key_is(line, key))
		line = entry_next(line);
	return line;
}

/* ---- mailertable ---- */

/* The entry that holds for a domain: its own, or that of the nearest domain above with a dot before it; NULL. */
static const char *mailertable_entry(const char *text, const char *domain)
{
	const char *line = find(text, domain);
	for (const char *above = strchr(domain, '.'); above && !line; above = strchr(above + 1, '.'))
		line = find(text, above);
	return line;
}

/* --domain comes before mailertable. */
static void check_mailertable_domains(const struct site *site, const char *text, struct report *report)
{
	for (size_t i = 0; i < site->request->domain_count; i++) {
		const char *line = mailertable_entry(text, site->request->domains[i]);
		char *is = line ? mem_strndup(line, strcspn(line, "\r\n")) : NULL;
		if (is)
			report_add(report, &(struct finding){.state = FINDING_CONFLICT,
							     .where = "sendmail.cf",
							     .name = "mailertable",
							     .is = is,
							     .why = "Mail to this domain has a way of its own, and "
								    "would go to relaypoold instead.",
							     .stops = true});
		free(is);
	}
}

static void check_mailertable(const struct site *site, const char *cf, struct report *report)
{
	char *map = cf_line(cf, "Kmailertable "), *text = source_read(map);
	unsigned entries = 0;
	for (const char *line = entry(text); line; line = entry_next(line))
		entries++;
	if (text)
		check_mailertable_domains(site, text, report);
	if (entries > 0)
		report_note(report, "sendmail.cf", "mailertable",
			    "%u entr%s of %s: their mail keeps the way that they give it.", entries,
			    entries == 1 ? "y" : "ies", map);
	else if (map && !text)
		report_note(report, "sendmail.cf", "mailertable",
			    "Mail for entries of %s keeps the way that they give it.", map);
	free(text);
	free(map);
}

/* ---- access ---- */

/* True if the entry asks for TLS: "ENCR:112", "PERM+VERIFY". */
static bool demands_tls(const char *line)
{
	const char *value = line + key_length(line);
	value += strspn(value, " \t");
	if (strncasecmp(value, "PERM+", 5) == 0 || strncasecmp(value, "TEMP+", 5) == 0)
		value += 5;
	return strncasecmp(value, "ENCR", 4) == 0 || strncasecmp(value, "VERIFY", 6) == 0;
}

static void add_demand(const char *line, const char *advice, struct report *report)
{
	char *is = mem_strndup(line, strcspn(line, "\r\n"));
	char *why = mem_printf("Sendmail speaks without TLS with relaypoold, on this host, and would not hand it mail: "
			       "%s. TLS towards the relay is relaypoold's, by tls in relaypool.conf.",
			       advice);
	report_add(report, &(struct finding){.state = FINDING_CONFLICT,
					     .where = "sendmail.cf",
					     .name = "access",
					     .is = is,
					     .why = why,
					     .stops = true});
	free(why);
	free(is);
}

/* Of every server, or for a recipient: Sendmail asks it of the connection to relaypoold too. */
static void check_access(const struct site *site, const char *cf, struct report *report)
{
	static const char recipient[] = "TLS_Rcpt:";
	bool direct = site->request->conf->failover == FAILOVER_DIRECT;
	char *map = cf_line(cf, "Kaccess "), *text = source_read(map);
	const char *line = text ? find(text, "TLS_Srv:") : NULL;
	if (line && demands_tls(line) && !find(text, direct ? "TLS_Srv:127.0.0.2" : "TLS_Srv:localhost"))
		add_demand(line, direct ? "add \"TLS_Srv:127.0.0.2 NO\" there" : "add \"TLS_Srv:localhost NO\" there",
			   report);
	for (line = entry(text); line; line = entry_next(line))
		if (strncasecmp(line, recipient, strlen(recipient)) == 0 && demands_tls(line))
			add_demand(line, "take this entry out", report);
	free(text);
	free(map);
}

void site_check_maps(const struct site *site, const char *cf, struct report *report)
{
	check_mailertable(site, cf, report);
	check_access(site, cf, report);
}
