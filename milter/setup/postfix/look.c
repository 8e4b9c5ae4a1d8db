/*
 * An instance of Postfix as postconf(1) shows it. Called before a plan is made, and again after it was carried out. Reads
 * no file of Postfix itself and changes nothing.
 */
#include <config.h>

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "postfix.h"

/* ---- which instance ---- */

char *look_find(const char *instance, char error[SETUP_ERROR_SIZE])
{
	const char *plain[] = {"postconf", "-h", "config_directory", NULL};
	const char *named[] = {"postmulti", "-i", instance, "-x", "postconf", "-h", "config_directory", NULL};
	struct run run;
	char *directory = NULL;
	if (run_program(instance ? named : plain, RUN_LIMIT, &run, error)) {
		size_t length = strcspn(run.output, "\n");
		while (length > 1 && run.output[length - 1] == '/') /* as MAIL_CONFIG may have it: it is the same one */
			length--;
		directory = mem_strndup(run.output, length);
		if (directory[0] != '/') {
			snprintf(error, SETUP_ERROR_SIZE, "postconf does not tell where main.cf is");
			free(directory);
			directory = NULL;
		}
	} else if (instance && run.code > 0) {
		snprintf(error, SETUP_ERROR_SIZE, "postmulti knows no instance \"%s\"; `postmulti -l' lists them",
			 instance);
	} else if (run.code == -1 && strstr(error, "there is no program")) {
		snprintf(error, SETUP_ERROR_SIZE, "Postfix is not installed here: there is no program %s",
			 instance ? "postmulti" : "postconf");
	}
	run_free(&run);
	return directory;
}

/* ---- what postconf prints ---- */

/* "NAME = VALUE" lines as an object. */
static json_t *read_pairs(char *output)
{
	json_t *pairs = json_object();
	char *rest = NULL;
	for (char *line = strtok_r(output, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		char *equals = strstr(line, " =");
		if (!equals)
			continue;
		*equals = '\0';
		const char *value = equals + 2 + strspn(equals + 2, " ");
		json_t *text = json_string(value);
		json_object_set_new(pairs, line, text ? text : json_stringn_nocheck(value, strlen(value)));
	}
	return pairs;
}

/* Runs of blanks, by which postconf aligns columns, become one. */
static void squeeze(char *line)
{
	char *out = line;
	for (const char *c = line; *c; c++)
		if (!strchr(" \t", *c) || (c[1] != '\0' && !strchr(" \t", c[1])))
			*out++ = *c == '\t' ? ' ' : *c;
	*out = '\0';
}

/* "smtp inet n - y - - smtpd -o …" lines as {"smtp/inet": line}. */
static json_t *read_services(char *output)
{
	json_t *services = json_object();
	char *rest = NULL;
	for (char *line = strtok_r(output, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		squeeze(line);
		size_t name = strcspn(line, " ");
		const char *type = line + name + strspn(line + name, " ");
		char *key = mem_printf("%.*s/%.*s", (int)name, line, (int)strcspn(type, " "), type);
		json_object_set_new_nocheck(services, key, json_stringn_nocheck(line, strlen(line)));
		free(key);
	}
	return services;
}

static bool ask(const char *directory, const char *option, json_t *(*read)(char *output), json_t **answer,
		char error[SETUP_ERROR_SIZE])
{
	const char *command[] = {"postconf", "-c", directory, option, NULL};
	struct run run;
	bool good = run_program(command, RUN_LIMIT, &run, error);
	if (good)
		*answer = read(run.output);
	run_free(&run);
	return good;
}

bool look_set(const char *directory, json_t **set, char error[SETUP_ERROR_SIZE])
{
	if (!ask(directory, "-n", read_pairs, set, error))
		return false;
	json_object_del(*set, "config_directory"); /* ours, by -c */
	return true;
}

bool look_at(struct look *look, const char *directory, char error[SETUP_ERROR_SIZE])
{
	*look = (struct look){.directory = mem_strdup(directory)};
	bool good = ask(directory, "-d", read_pairs, &look->values, error) && look_set(directory, &look->set, error) &&
		    ask(directory, "-x", read_pairs, &look->expanded, error) &&
		    ask(directory, "-M", read_services, &look->services, error) &&
		    ask(directory, "-F", read_pairs, &look->fields, error) &&
		    ask(directory, "-P", read_pairs, &look->overrides, error);
	if (!good) {
		look_free(look);
		return false;
	}
	json_object_update(look->values, look->set);
	return true;
}

void look_free(struct look *look)
{
	json_decref(look->values);
	json_decref(look->set);
	json_decref(look->expanded);
	json_decref(look->services);
	json_decref(look->fields);
	json_decref(look->overrides);
	free(look->directory);
	*look = (struct look){0};
}

/* ---- questions ---- */

static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));
	return text ? text : "";
}

const char *look_item(const struct look *look, enum item_kind kind, const char *name)
{
	const json_t *places[ITEM_KINDS] = {look->set, look->services, look->overrides, look->fields, NULL, NULL};
	return json_string_value(json_object_get(places[kind], name));
}

const char *look_value(const struct look *look, const char *parameter)
{
	return text_of(look->values, parameter);
}

const char *look_expanded(const struct look *look, const char *parameter)
{
	return text_of(look->expanded, parameter);
}

const char *look_shown(const struct look *look, const char *parameter)
{
	const char *value = look_expanded(look, parameter);
	bool secret = strstr(parameter, "password") && (strstr(value, "inline:") || strstr(value, "static:"));
	return secret ? NULL : value;
}

const char *look_field(const struct look *look, const char *service, const char *field)
{
	char *key = mem_printf("%s/%s", service, field);
	const char *text = text_of(look->fields, key);
	free(key);
	return text;
}

char *look_program(const struct look *look, const char *service)
{
	const char *command = look_field(look, service, "command");
	return mem_strndup(command, strcspn(command, " "));
}

bool look_is_ours(const struct look *look, const char *service)
{
	char *key = mem_printf("%s/syslog_name", service);
	const char *name = look_item(look, ITEM_OVERRIDE, key);
	free(key);
	return name && strncmp(name, "postfix/relaypool", strlen("postfix/relaypool")) == 0;
}

bool look_chrooted(const struct look *look, const char *service)
{
	const char *column = look_field(look, service, "chroot");
	/* "-" was "y" before Postfix 3.0, whose level of compatibility is 0. */
	return strcmp(column, "y") == 0 ||
	       (strcmp(column, "-") == 0 && atof(look_expanded(look, "compatibility_level")) < 1);
}

char *look_path(const struct look *look, const char *path)
{
	return path[0] == '/' ? mem_strdup(path) : mem_printf("%s/%s", look_expanded(look, "queue_directory"), path);
}
