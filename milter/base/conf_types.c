/*
 * Values of relaypool.conf: text to field, field to text. Called by conf.c through its table; looks at one value at a
 * time and never at what it means together with others.
 */
#include <config.h>

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <grp.h>
#include <netdb.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "conf_syntax.h"
#include "conf_types.h"

bool conf_complain(struct conf_build *build, unsigned line, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	conf_syntax_error(build->error, build->path, line, format, arguments);
	va_end(arguments);
	return false;
}

void conf_warn(struct conf_build *build, unsigned line, const char *format, ...)
{
	char text[CONF_ERROR_SIZE];
	va_list arguments;
	if (build->conf->warning != NULL)
		return;
	va_start(arguments, format);
	conf_syntax_error(text, build->path, line, format, arguments);
	va_end(arguments);
	build->conf->warning = mem_strdup(text);
}

/* "KEY = VALUE: what is allowed" */
static bool refuse(struct conf_build *build, const struct conf_key *key, const struct conf_value *value,
		   const char *allowed)
{
	return conf_complain(build, value->line, "%s = \"%.128s\": %s", key->name, value->text, allowed);
}

/* ---- text ---- */

static bool read_text(struct conf_build *build, const struct conf_key *key, const struct conf_value *value, void *field)
{
	if (value->text[0] == '\0')
		return refuse(build, key, value, "an empty text is not allowed; leave the key out");
	*(char **)field = mem_strdup(value->text);
	return true;
}

static void show_text(FILE *out, const struct conf_key *key, const void *field)
{
	(void)key;
	const char *text = *(char *const *)field;
	fputs(text != NULL ? text : "", out);
}

static void release_text(void *field)
{
	mem_free_secret(*(char **)field);
}

const struct conf_type conf_type_text = {sizeof(char *), read_text, show_text, release_text};

static bool read_path(struct conf_build *build, const struct conf_key *key, const struct conf_value *value, void *field)
{
	if (value->text[0] != '/')
		return refuse(build, key, value, "an absolute path is needed");
	return read_text(build, key, value, field);
}

const struct conf_type conf_type_path = {sizeof(char *), read_path, show_text, release_text};

static bool read_pattern(struct conf_build *build, const struct conf_key *key, const struct conf_value *value,
			 void *field, bool recipient)
{
	const char *problem = value->text[0] != '\0' ? conf_pattern_problem(value->text, recipient) : NULL;
	return problem != NULL ? refuse(build, key, value, problem) : read_text(build, key, value, field);
}

static bool read_sender(struct conf_build *build, const struct conf_key *key, const struct conf_value *value,
			void *field)
{
	return read_pattern(build, key, value, field, false);
}

const struct conf_type conf_type_sender = {sizeof(char *), read_sender, show_text, release_text};

static bool read_recipient(struct conf_build *build, const struct conf_key *key, const struct conf_value *value,
			   void *field)
{
	return read_pattern(build, key, value, field, true);
}

const struct conf_type conf_type_recipient = {sizeof(char *), read_recipient, show_text, release_text};

static void show_secret(FILE *out, const struct conf_key *key, const void *field)
{
	(void)key;
	fputs(*(char *const *)field != NULL ? "***" : "", out);
}

const struct conf_type conf_type_secret = {sizeof(char *), read_text, show_secret, release_text};

/* The spelling of `words` that is meant; NULL if none is. */
static const char *word_of(const struct conf_key *key, const char *text, int *index)
{
	for (*index = 0; key->words[*index] != NULL; (*index)++) {
		if (strcasecmp(key->words[*index], text) == 0)
			return key->words[*index];
	}
	return NULL;
}

static bool refuse_word(struct conf_build *build, const struct conf_key *key, const struct conf_value *value)
{
	char allowed[256];
	size_t used = (size_t)snprintf(allowed, sizeof(allowed), "allowed are");
	bool quoted = false; /* where a comma is part of one */
	for (size_t i = 0; key->words[i] != NULL; i++)
		quoted = quoted || strchr(key->words[i], ',') != NULL;
	for (size_t i = 0; key->words[i] != NULL && used < sizeof(allowed); i++)
		used += (size_t)snprintf(allowed + used, sizeof(allowed) - used, quoted ? "%s \"%s\"" : "%s %s",
					 i > 0 ? "," : "", key->words[i]);
	return refuse(build, key, value, allowed);
}

static bool read_mechanism(struct conf_build *build, const struct conf_key *key, const struct conf_value *value,
			   void *field)
{
	int index;
	const char *word = word_of(key, value->text, &index);
	if (word == NULL)
		return refuse_word(build, key, value);
	*(char **)field = mem_strdup(word);
	return true;
}

const struct conf_type conf_type_mechanism = {sizeof(char *), read_mechanism, show_text, release_text};

/* An enum of int's size whose values count from 0 in the order of the words. */
static bool read_choice(struct conf_build *build, const struct conf_key *key, const struct conf_value *value,
			void *field)
{
	int index;
	if (word_of(key, value->text, &index) == NULL)
		return refuse_word(build, key, value);
	memcpy(field, &index, sizeof(index));
	return true;
}

static void show_choice(FILE *out, const struct conf_key *key, const void *field)
{
	int index;
	memcpy(&index, field, sizeof(index));
	fputs(key->words[index], out);
}

const struct conf_type conf_type_choice = {sizeof(int), read_choice, show_choice, NULL};

static bool read_header(struct conf_build *build, const struct conf_key *key, const struct conf_value *value,
			void *field)
{
	size_t name = strcspn(value->text, ":");
	bool good = name > 0 && value->text[name] == ':';
	for (size_t i = 0; i < name; i++)
		good = good && value->text[i] > ' ' && value->text[i] < 0x7f; /* RFC 5322 §2.2 */
	if (!good)
		return refuse(build, key, value, "\"Name: pattern\" is needed, as in \"X-Campaign: news-*\"");
	return read_text(build, key, value, field);
}

const struct conf_type conf_type_header = {sizeof(char *), read_header, show_text, release_text};

/* ---- numbers ---- */

/* Decimal digits with at most one point, within the key's limits. */
static bool number_of(const struct conf_key *key, const char *text, bool whole, double *number)
{
	size_t length = strlen(text);
	const char *point = strchr(text, '.');
	if (length == 0 || length > 18 || strspn(text, "0123456789.") != length || strcmp(text, ".") == 0)
		return false;
	if (point != NULL && (whole || strchr(point + 1, '.') != NULL))
		return false;
	*number = strtod(text, NULL);
	return *number >= key->min && *number <= key->max;
}

static bool read_number(struct conf_build *build, const struct conf_key *key, const struct conf_value *value,
			bool whole, const char *what, double *number)
{
	char allowed[128];
	if (number_of(key, value->text, whole, number))
		return true;
	snprintf(allowed, sizeof(allowed), "%s from %.12g to %.12g is needed", what, key->min, key->max);
	return refuse(build, key, value, allowed);
}

static bool read_count(struct conf_build *build, const struct conf_key *key, const struct conf_value *value,
		       void *field)
{
	double number = 0;
	if (!read_number(build, key, value, true, "a whole number", &number))
		return false;
	*(unsigned *)field = (unsigned)number;
	return true;
}

static void show_count(FILE *out, const struct conf_key *key, const void *field)
{
	(void)key;
	fprintf(out, "%u", *(const unsigned *)field);
}

const struct conf_type conf_type_count = {sizeof(unsigned), read_count, show_count, NULL};

static bool read_port(struct conf_build *build, const struct conf_key *key, const struct conf_value *value, void *field)
{
	double number = 0;
	if (!read_number(build, key, value, true, "a port", &number))
		return false;
	*(uint16_t *)field = (uint16_t)number;
	return true;
}

static void show_port(FILE *out, const struct conf_key *key, const void *field)
{
	(void)key;
	fprintf(out, "%u", *(const uint16_t *)field);
}

const struct conf_type conf_type_port = {sizeof(uint16_t), read_port, show_port, NULL};

static bool read_seconds(struct conf_build *build, const struct conf_key *key, const struct conf_value *value,
			 void *field)
{
	double number = 0;
	if (!read_number(build, key, value, false, "a number of seconds", &number))
		return false;
	*(usec_t *)field = (usec_t)(number * (double)USEC_PER_SEC + 0.5);
	return true;
}

static void show_seconds(FILE *out, const struct conf_key *key, const void *field)
{
	(void)key;
	fprintf(out, "%.12g", (double)*(const usec_t *)field / (double)USEC_PER_SEC);
}

const struct conf_type conf_type_seconds = {sizeof(usec_t), read_seconds, show_seconds, NULL};

static bool read_stage(const char *text, size_t length, enum stage *stage)
{
	for (*stage = 0; *stage < STAGE_COUNT; (*stage)++)
		if (strlen(stage_names[*stage]) == length && strncasecmp(stage_names[*stage], text, length) == 0)
			return true;
	return false;
}

/* STAGE=SECONDS; in a section of a relay the stage is one of the relay's. */
static bool read_stage_limit(struct conf_build *build, const struct conf_key *key, const struct conf_value *value,
			     void *field)
{
	char allowed[160];
	struct stage_limit *limit = field;
	const char *sign = strchr(value->text, '=');
	double number = 0;
	if (sign == NULL || !read_stage(value->text, (size_t)(sign - value->text), &limit->stage) ||
	    !number_of(key, sign + 1, false, &number)) {
		snprintf(allowed, sizeof(allowed),
			 "STAGE=SECONDS, as in \"reply=10\", is needed, with a number of seconds from %.12g to %.12g; "
			 "relaypool-log(7) lists the stages",
			 key->min, key->max);
		return refuse(build, key, value, allowed);
	}
	if (key->section != NULL && limit->stage < STAGE_POOL)
		return refuse(build, key, value, "this stage is no relay's, its limit stands at the top");
	limit->limit = (usec_t)(number * (double)USEC_PER_SEC + 0.5);
	return true;
}

static void show_stage_limit(FILE *out, const struct conf_key *key, const void *field)
{
	(void)key;
	const struct stage_limit *limit = field;
	fprintf(out, "%s=%.12g", stage_names[limit->stage], (double)limit->limit / (double)USEC_PER_SEC);
}

const struct conf_type conf_type_stage_limit = {sizeof(struct stage_limit), read_stage_limit, show_stage_limit, NULL};

static bool read_rate(struct conf_build *build, const struct conf_key *key, const struct conf_value *value, void *field)
{
	return read_number(build, key, value, false, "a number of messages a second", field);
}

static void show_rate(FILE *out, const struct conf_key *key, const void *field)
{
	(void)key;
	fprintf(out, "%.12g", *(const double *)field);
}

const struct conf_type conf_type_rate = {sizeof(double), read_rate, show_rate, NULL};

static bool read_size(struct conf_build *build, const struct conf_key *key, const struct conf_value *value, void *field)
{
	static const char *const allowed = "a number of octets from 1M to 1024G is needed; K, M or G may follow it";
	char digits[20];
	double number = 0;
	size_t length = strlen(value->text);
	unsigned shift = 0;
	if (length == 0 || length >= sizeof(digits))
		return refuse(build, key, value, allowed);
	memcpy(digits, value->text, length + 1);
	const char *unit = strchr("KMG", toupper((unsigned char)digits[length - 1]));
	if (unit != NULL) {
		shift = *unit == 'K' ? 10 : *unit == 'M' ? 20 : 30;
		digits[length - 1] = '\0';
	}
	const struct conf_key unscaled = {.max = key->max / (double)(1u << shift)};
	if (!number_of(&unscaled, digits, true, &number) || number * (double)(1u << shift) < key->min)
		return refuse(build, key, value, allowed);
	*(uint64_t *)field = (uint64_t)number << shift;
	return true;
}

static void show_size(FILE *out, const struct conf_key *key, const void *field)
{
	(void)key;
	unsigned long long size = *(const uint64_t *)field;
	if (size % (1u << 20) == 0)
		fprintf(out, "%lluM", size >> 20);
	else
		fprintf(out, "%llu", size);
}

const struct conf_type conf_type_size = {sizeof(uint64_t), read_size, show_size, NULL};

static bool read_bool(struct conf_build *build, const struct conf_key *key, const struct conf_value *value, void *field)
{
	int truth = cfg_parse_boolean(value->text);
	if (truth == CFG_FAIL)
		return refuse(build, key, value, "true or false is needed");
	*(bool *)field = truth == 1;
	return true;
}

static void show_bool(FILE *out, const struct conf_key *key, const void *field)
{
	(void)key;
	fputs(*(const bool *)field ? "true" : "false", out);
}

const struct conf_type conf_type_bool = {sizeof(bool), read_bool, show_bool, NULL};

static bool read_mode(struct conf_build *build, const struct conf_key *key, const struct conf_value *value, void *field)
{
	size_t length = strlen(value->text);
	if (length < 3 || length > 4 || strspn(value->text, "01234567") != length ||
	    strtoul(value->text, NULL, 8) > 0777)
		return refuse(build, key, value, "an octal mode such as \"0660\" is needed, at most \"0777\"");
	*(mode_t *)field = (mode_t)strtoul(value->text, NULL, 8);
	return true;
}

static void show_mode(FILE *out, const struct conf_key *key, const void *field)
{
	(void)key;
	fprintf(out, "%04o", (unsigned)*(const mode_t *)field);
}

const struct conf_type conf_type_mode = {sizeof(mode_t), read_mode, show_mode, NULL};

/* ---- users ---- */

static bool read_user(struct conf_build *build, const struct conf_key *key, const struct conf_value *value, void *field)
{
	if (getpwnam(value->text) == NULL)
		return refuse(build, key, value, "there is no such user");
	return read_text(build, key, value, field);
}

const struct conf_type conf_type_user = {sizeof(char *), read_user, show_text, release_text};

static bool read_group(struct conf_build *build, const struct conf_key *key, const struct conf_value *value,
		       void *field)
{
	if (getgrnam(value->text) == NULL)
		return refuse(build, key, value, "there is no such group");
	return read_text(build, key, value, field);
}

const struct conf_type conf_type_group = {sizeof(char *), read_group, show_text, release_text};

static bool read_uid(struct conf_build *build, const struct conf_key *key, const struct conf_value *value, void *field)
{
	const struct passwd *user = getpwnam(value->text);
	size_t length = strlen(value->text);
	if (user != NULL) {
		*(uid_t *)field = user->pw_uid;
		return true;
	}
	unsigned long long number = strtoull(value->text, NULL, 10);
	if (length == 0 || length > 10 || strspn(value->text, "0123456789") != length || number >= (uid_t)-1)
		return refuse(build, key, value, "there is no such user; a name or a numeric uid is needed");
	*(uid_t *)field = (uid_t)number;
	return true;
}

static void show_uid(FILE *out, const struct conf_key *key, const void *field)
{
	(void)key;
	fprintf(out, "%u", (unsigned)*(const uid_t *)field);
}

const struct conf_type conf_type_uid = {sizeof(uid_t), read_uid, show_uid, NULL};

/* ---- places ---- */

static bool read_endpoint(struct conf_build *build, const struct conf_key *key, const struct conf_value *value,
			  void *field)
{
	char why[NET_ERROR_SIZE];
	if (!endpoint_parse(value->text, field, why))
		return conf_complain(build, value->line, "%s: %s", key->name, why);
	return true;
}

static void show_endpoint(FILE *out, const struct conf_key *key, const void *field)
{
	(void)key;
	const struct endpoint *endpoint = field;
	char name[NET_NAME_SIZE];
	if (endpoint->path[0] != '\0' || endpoint->host[0] != '\0')
		fputs(endpoint_format(endpoint, name), out);
}

const struct conf_type conf_type_endpoint = {sizeof(struct endpoint), read_endpoint, show_endpoint, NULL};

static bool read_network(struct conf_build *build, const struct conf_key *key, const struct conf_value *value,
			 void *field)
{
	if (!network_parse(value->text, field))
		return refuse(build, key, value, "a network such as 192.0.2.0/24 or 2001:db8::/32 is needed");
	return true;
}

static void show_network(FILE *out, const struct conf_key *key, const void *field)
{
	(void)key;
	const struct network *network = field;
	char address[INET6_ADDRSTRLEN];
	inet_ntop(network->family, network->address, address, sizeof(address));
	fprintf(out, "%s/%u", address, network->prefix);
}

const struct conf_type conf_type_network = {sizeof(struct network), read_network, show_network, NULL};

/* A name or an address in ASCII, without port or brackets. */
static bool is_host(const char *host, bool address)
{
	struct addrinfo hints = {.ai_flags = AI_NUMERICHOST, .ai_family = AF_INET6}, *found;
	size_t length = strlen(host);
	if (!address) {
		return length > 0 && length <= 253 && host[0] != '-' && host[0] != '.' &&
		       strspn(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == length;
	}
	if (getaddrinfo(host, NULL, &hints, &found) != 0)
		return false;
	freeaddrinfo(found);
	return true;
}

/* "name", "name:port", "[v6]", "[v6]:port" or a bare v6 address. The port stays 0 where there is none. */
static bool parse_host(char *text, struct host_port *out)
{
	char *port = strrchr(text, ':');
	bool bracket = text[0] == '[', address = bracket || (port != NULL && strchr(text, ':') != port);
	if (bracket) {
		char *close = strchr(text, ']');
		if (close == NULL || (close[1] != '\0' && close[1] != ':'))
			return false;
		port = close[1] == ':' ? close + 1 : NULL;
		*close = '\0';
		text++;
	} else if (address) {
		port = NULL;
	}
	if (port != NULL) {
		const struct conf_key limits = {.min = 1, .max = UINT16_MAX};
		double number = 0;
		*port++ = '\0';
		if (!number_of(&limits, port, true, &number))
			return false;
		out->port = (uint16_t)number;
	}
	if (!is_host(text, address))
		return false;
	out->host = mem_strdup(text);
	return true;
}

/* "[name]" or "[name]:port", as Postfix and Sendmail have it. */
static bool is_name_in_brackets(const char *text)
{
	const char *close = strchr(text, ']');
	if (text[0] != '[' || close == NULL)
		return false;
	char *name = mem_strndup(text + 1, (size_t)(close - text - 1));
	bool good = is_host(name, false);
	free(name);
	return good;
}

static bool read_host(struct conf_build *build, const struct conf_key *key, const struct conf_value *value, void *field)
{
	char *text = mem_strdup(value->text);
	bool good = parse_host(text, field);
	free(text);
	if (!good && is_name_in_brackets(value->text))
		return refuse(build, key, value,
			      "brackets are for IPv6 addresses alone: write it without them, as \"name:port\"");
	if (!good)
		return refuse(build, key, value,
			      "a host name in ASCII, an address, \"name:port\" or \"[address]:port\" is needed");
	return true;
}

static void show_host(FILE *out, const struct conf_key *key, const void *field)
{
	(void)key;
	const struct host_port *host = field;
	fprintf(out, strchr(host->host, ':') != NULL ? "[%s]:%u" : "%s:%u", host->host, host->port);
}

static void release_host(void *field)
{
	free(((struct host_port *)field)->host);
}

const struct conf_type conf_type_host = {sizeof(struct host_port), read_host, show_host, release_host};

/* A relay of the snapshot by its name; all relays are read before the first route. */
static bool read_relay(struct conf_build *build, const struct conf_key *key, const struct conf_value *value,
		       void *field)
{
	for (size_t i = 0; i < build->conf->relay_count; i++) {
		if (strcmp(build->conf->relays[i].name, value->text) == 0) {
			*(struct relay_conf **)field = &build->conf->relays[i];
			return true;
		}
	}
	return refuse(build, key, value, "there is no relay section of this name");
}

static void show_relay(FILE *out, const struct conf_key *key, const void *field)
{
	(void)key;
	fputs((*(struct relay_conf *const *)field)->name, out);
}

const struct conf_type conf_type_relay = {sizeof(struct relay_conf *), read_relay, show_relay, NULL};
