/*
 * relaypool.conf from text to sections, keys and values, by libconfuse. Called by conf.c alone; never judges a value.
 * libconfuse miscounts lines after comments and takes none inside a list, so conf_scan() blanks them before.
 * Every value is a CFGT_PTR to a conf_value, which is how its line is kept.
 */
#include <config.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "conf_scan.h"
#include "conf_syntax.h"
#include "near.h"

#define FILE_LIMIT ((size_t)1 << 20)

/*
 * libconfuse counts a section's own line on while it reads it, but parses defaults where the section begins: this
 * key's default value is how a section remembers its first line. No file can mean it: it is not among the known.
 */
#define LINE_KEY "(line)"

struct reading {
	const char *path;
	const char *const *sections;
	const struct conf_known *known;
	size_t known_count;
	char *error; /* CONF_ERROR_SIZE octets; "" until something is wrong */
};

/* libconfuse hands no argument to its callbacks: the one reading there is at a time. */
static struct reading *reading;

void conf_syntax_error(char error[CONF_ERROR_SIZE], const char *path, unsigned line, const char *format,
		       va_list arguments)
{
	int used = snprintf(error, CONF_ERROR_SIZE, "%.256s:%u: ", path, line);
	vsnprintf(error + used, (size_t)(CONF_ERROR_SIZE - used), format, arguments);
	for (char *p = error; *p != '\0'; p++) {
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = '?';
	}
}

/* Only the first complaint counts: what follows is often its consequence. */
static void complain(unsigned line, const char *format, ...) PRINTF_LIKE(2, 3);
static void complain(unsigned line, const char *format, ...)
{
	va_list arguments;
	if (reading->error[0] != '\0')
		return;
	va_start(arguments, format);
	conf_syntax_error(reading->error, reading->path, line, format, arguments);
	va_end(arguments);
}

/* ---- unknown keys ---- */

static bool same_section(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

/* The only key of the section that begins with this word, as password-file with password; NULL. */
static const struct conf_known *begun(const char *section, const char *name)
{
	const struct conf_known *one = NULL;
	size_t length = strlen(name);
	for (size_t i = 0; i < reading->known_count; i++) {
		const struct conf_known *key = &reading->known[i];
		if (!same_section(key->section, section) || strncmp(key->name, name, length) != 0 ||
		    key->name[length] != '-')
			continue;
		if (one != NULL)
			return NULL;
		one = key;
	}
	return one;
}

/* The key that was meant: in its own section one that is close, elsewhere the very name. */
static const struct conf_known *meant(const char *section, const char *name)
{
	const struct conf_known *best = NULL;
	size_t least = near_enough(name);
	for (size_t i = 0; i < reading->known_count; i++) {
		const struct conf_known *key = &reading->known[i];
		size_t far = near_distance(name, key->name);
		if (far < least && (far == 0 || same_section(key->section, section))) {
			best = key;
			least = far;
		}
	}
	return best != NULL ? best : begun(section, name);
}

static void list_keys(const char *section, char *out, size_t size)
{
	size_t used = 0;
	out[0] = '\0';
	for (size_t i = 0; i < reading->known_count && used < size; i++) {
		if (same_section(reading->known[i].section, section) && !reading->known[i].refused)
			used += (size_t)snprintf(out + used, size - used, "%s%s", used ? ", " : "",
						 reading->known[i].name);
	}
	for (size_t i = 0; section == NULL && reading->sections[i] != NULL && used < size; i++)
		used += (size_t)snprintf(out + used, size - used, ", %s \"NAME\" { ... }", reading->sections[i]);
}

static void complain_unknown(cfg_t *cfg, const char *name)
{
	const char *section = cfg->title != NULL ? cfg->name : NULL;
	const struct conf_known *key = meant(section, name);
	char place[128] = "at the top", known[CONF_ERROR_SIZE];
	if (reading->sections[0] == NULL)
		snprintf(place, sizeof(place), "in a preset");
	if (section != NULL)
		snprintf(place, sizeof(place), "in %s \"%.64s\"", section, cfg->title);
	if (reading->sections[0] == NULL && key == NULL) {
		list_keys(NULL, known, sizeof(known)); /* no preset perhaps, but a file that nobody is to see */
		complain((unsigned)cfg->line, "unknown key %s; known are: %s", place, known);
	} else if (key != NULL && same_section(key->section, section)) {
		complain((unsigned)cfg->line, "unknown key %.64s %s: %s may be meant", name, place, key->name);
	} else if (key != NULL && key->section != NULL) {
		complain((unsigned)cfg->line, "unknown key %.64s %s: it belongs into a %s section", name, place,
			 key->section);
	} else if (key != NULL) {
		complain((unsigned)cfg->line, "unknown key %.64s %s: it belongs at the top", name, place);
	} else {
		list_keys(section, known, sizeof(known));
		complain((unsigned)cfg->line, "unknown key %.64s %s; known are: %s", name, place, known);
	}
}

/* ---- libconfuse ---- */

static void on_error(cfg_t *cfg, const char *format, va_list arguments)
{
	char text[CONF_ERROR_SIZE / 2];
	if (strcmp(format, "no such option '%s'") == 0) {
		complain_unknown(cfg, va_arg(arguments, const char *));
	} else if (strcmp(format, "found duplicate title '%s'") == 0) {
		complain((unsigned)cfg->line, "two sections of one kind have the name \"%.64s\": each needs its own",
			 va_arg(arguments, const char *));
	} else if (reading->sections[0] == NULL) {
		complain((unsigned)cfg->line, "syntax error");
	} else {
		vsnprintf(text, sizeof(text), format, arguments);
		complain((unsigned)cfg->line, "syntax error: %s", text);
	}
}

static bool is_known(cfg_t *cfg, const char *name)
{
	const char *section = cfg->title != NULL ? cfg->name : NULL;
	for (size_t i = 0; i < reading->known_count; i++) {
		if (same_section(reading->known[i].section, section) && strcmp(reading->known[i].name, name) == 0)
			return true;
	}
	return strcmp(name, LINE_KEY) == 0;
}

/* A control character in a value would end up in a log line or in a command to a relay. */
static bool is_printable(const char *text)
{
	for (const unsigned char *p = (const unsigned char *)text; *p != '\0'; p++) {
		if (*p < ' ' || *p == 0x7f)
			return false;
	}
	return true;
}

/* libconfuse keeps the last of two assignments; the first would be lost unseen. Its comment field marks the first. */
static bool is_second(cfg_opt_t *opt, unsigned line)
{
	char first[24];
	if (opt->nvalues == 1 && opt->comment != NULL) {
		complain(line, "%s was given on line %s already", opt->name, opt->comment);
		return true;
	}
	snprintf(first, sizeof(first), "%u", line);
	if (opt->comment == NULL)
		cfg_opt_setcomment(opt, first);
	return false;
}

static int on_value(cfg_t *cfg, cfg_opt_t *opt, const char *text, void *result)
{
	unsigned line = (unsigned)cfg->line;
	if (!is_known(cfg, opt->name)) {
		complain_unknown(cfg, opt->name); /* libconfuse would follow "section|key" */
		return -1;
	}
	if (!is_printable(text)) {
		complain(line, "%s: control characters are not allowed in a value", opt->name);
		return -1;
	}
	if (strcmp(opt->name, LINE_KEY) != 0 && is_second(opt, line))
		return -1;
	struct conf_value *value = mem_alloc(sizeof(*value) + strlen(text) + 1);
	value->line = line;
	memcpy(value->text, text, strlen(text) + 1);
	*(void **)result = value;
	return 0;
}

/* Values may be secrets (token-command). */
static void free_value(void *pointer)
{
	struct conf_value *value = pointer;
	explicit_bzero(value->text, strlen(value->text));
	free(value);
}

/* libconfuse's table of one section; it copies it. */
static cfg_opt_t *section_options(const char *section, size_t extra)
{
	cfg_opt_t *options = mem_array(reading->known_count + extra + 2, sizeof(*options));
	size_t used = 0;
	for (size_t i = 0; i < reading->known_count; i++) {
		const struct conf_known *key = &reading->known[i];
		cfg_opt_t one = CFG_PTR_CB(key->name, NULL, CFGF_NODEFAULT, on_value, free_value);
		if (!same_section(key->section, section))
			continue;
		if (key->list)
			one.flags |= CFGF_LIST;
		options[used++] = one;
	}
	if (section != NULL) {
		cfg_opt_t line = CFG_PTR_CB(LINE_KEY, NULL, CFGF_NONE, on_value, free_value);
		line.def.parsed = mem_strdup("begins");
		options[used++] = line;
	}
	return options;
}

static void free_options(cfg_opt_t *options)
{
	for (cfg_opt_t *option = options; option->name != NULL; option++)
		free(option->def.parsed);
	free(options);
}

static cfg_t *start(void)
{
	size_t kinds = 0, at;
	while (reading->sections[kinds] != NULL)
		kinds++;
	cfg_opt_t *options = section_options(NULL, kinds);
	cfg_opt_t **inner = mem_array(kinds, sizeof(cfg_opt_t *));
	for (at = 0; options[at].name != NULL; at++)
		;
	for (size_t i = 0; i < kinds; i++) {
		cfg_opt_t one = CFG_SEC(reading->sections[i], NULL, CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES);
		one.subopts = inner[i] = section_options(reading->sections[i], 0);
		options[at + i] = one;
	}
	cfg_t *cfg = cfg_init(options, CFGF_NONE);
	for (size_t i = 0; i < kinds; i++)
		free_options(inner[i]);
	free(inner);
	free_options(options);
	if (cfg != NULL)
		cfg_set_error_function(cfg, on_error);
	return cfg;
}

/* False with the reason in reading->error. */
static bool parse(cfg_t *cfg, char *text)
{
	FILE *stream = fmemopen(text, strlen(text), "r");
	if (stream == NULL) {
		snprintf(reading->error, CONF_ERROR_SIZE, "%s: %s", reading->path, strerror(errno));
		return false;
	}
	int result = cfg_parse_fp(cfg, stream);
	fclose(stream);
	if (result != CFG_SUCCESS)
		complain((unsigned)cfg->line, "syntax error");
	return reading->error[0] == '\0';
}

/* NULL with the reason in reading->error. */
static cfg_t *read_text(char *text)
{
	struct conf_mistake mistake;
	if (!conf_scan(text, reading->sections, &mistake)) {
		complain(mistake.line, "%s", mistake.text);
		return NULL;
	}
	cfg_t *cfg = start();
	if (cfg == NULL) {
		complain(1, "out of memory");
	} else if (!parse(cfg, text)) {
		cfg_free(cfg);
		cfg = NULL;
	}
	return cfg;
}

cfg_t *conf_syntax_read(const char *path, const char *const *sections, const struct conf_known *known, size_t count,
			char error[CONF_ERROR_SIZE])
{
	struct reading now = {path, sections, known, count, error};
	error[0] = '\0';
	char *text = file_read(path, FILE_PLAIN, FILE_LIMIT, error, CONF_ERROR_SIZE);
	if (text == NULL)
		return NULL;
	reading = &now;
	cfg_t *cfg = read_text(text);
	reading = NULL;
	mem_free_secret(text);
	return cfg;
}

size_t conf_syntax_count(cfg_t *section, const char *key)
{
	return cfg_size(section, key);
}

const struct conf_value *conf_syntax_value(cfg_t *section, const char *key, size_t index)
{
	return cfg_opt_getnptr(cfg_getopt(section, key), (unsigned)index);
}

unsigned conf_syntax_line(cfg_t *section, const char *key)
{
	if (key != NULL && conf_syntax_count(section, key) > 0)
		return conf_syntax_value(section, key, 0)->line;
	return section->title == NULL ? 1 : conf_syntax_value(section, LINE_KEY, 0)->line;
}
