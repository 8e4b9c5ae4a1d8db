/*
 * relaypoolctl providers: the presets there are, or the text of one, whose comments have the sources. Called by ctl.c.
 * It needs no daemon and asks none; it reads presets and nothing else.
 */
#include <config.h>

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "base/conf.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/provider.h"
#include "ctl.h"

#define TEXT_LIMIT ((size_t)1 << 20)

static const struct column provider_columns[] = {
	{"NAME", "name", KIND_TEXT, true},
	{"HOST", "host", KIND_TEXT, true},
	{"PORT", "port", KIND_COUNT, false},
	{"TLS", "tls", KIND_TEXT, false},
	{"CONNS", "max_connections", KIND_COUNT, false},
	{"MSGS", "max_messages", KIND_COUNT, false},
	{"IDLE", "idle_timeout", KIND_SECONDS, false},
	{"RATE", "rate", KIND_RATE, false},
};
static const struct table providers_table = TABLE("providers", provider_columns);

/* ---- reading ---- */

static json_t *must(json_t *json)
{
	if (!json)
		abort(); /* no memory */
	return json;
}

/* JSON has UTF-8 only; a file may have anything. */
static json_t *json_of(const char *text)
{
	json_t *json = json_string(text);
	char *plain = json ? NULL : mem_strdup(text);
	for (char *c = plain; c && *c; c++)
		*c = (unsigned char)*c >= 0x80 ? '?' : *c;
	if (plain)
		json = json_string(plain);
	free(plain);
	return must(json);
}

/* "max-connections" of the preset as "max_connections"; the keys without a column are in the text. */
static void note_value(const char *key, const char *value, void *object)
{
	char name[48];
	snprintf(name, sizeof(name), "%s", key);
	for (char *c = name; *c; c++)
		*c = *c == '-' ? '_' : *c;
	for (size_t i = 1; i < providers_table.count; i++) {
		const struct column *column = &provider_columns[i];
		if (strcmp(column->key, name) != 0)
			continue;
		json_t *json = column->kind == KIND_TEXT    ? json_of(value)
			       : column->kind == KIND_COUNT ? json_integer(strtoll(value, NULL, 10))
							    : json_real(strtod(value, NULL));
		json_object_set_new(object, name, must(json));
	}
}

/* The port that follows from TLS, where the preset says no other. */
static void complete_port(json_t *row)
{
	const char *tls = json_string_value(json_object_get(row, "tls"));
	if (tls && !json_is_integer(json_object_get(row, "port")))
		json_object_set_new(row, "port", must(json_integer(strcmp(tls, "implicit") == 0 ? 465 : 587)));
}

/* What is not in the preset is null: learned, or the account's own. */
static json_t *read_provider(const struct provider *provider)
{
	char error[CONF_ERROR_SIZE] = "";
	json_t *row = must(json_pack("{s:o, s:o}", "name", json_of(provider->name), "path", json_of(provider->path)));
	for (size_t i = 1; i < providers_table.count; i++)
		json_object_set_new(row, provider_columns[i].key, json_null());
	bool good = conf_preset_show(provider->path, note_value, row, error);
	complete_port(row);
	json_object_set_new(row, "problem", good ? json_null() : json_of(error));
	return row;
}

/* ---- showing ---- */

static int print_json(json_t *answer)
{
	char *line = json_dumps(answer, JSON_COMPACT);
	json_decref(answer);
	if (!line)
		return complain(EXIT_PROBLEM, "the answer cannot be written as JSON");
	puts(line);
	free(line);
	return EXIT_OK;
}

/* Each directory, on a line of its own, and the names in it. */
static void print_places(const json_t *rows)
{
	for (const char *const *directory = provider_directories; *directory; directory++) {
		char *line = mem_strdup("");
		size_t i;
		const json_t *row;
		json_array_foreach((json_t *)rows, i, row)
		{
			const char *path = json_string_value(json_object_get(row, "path"));
			size_t length = strlen(*directory);
			if (strncmp(path, *directory, length) != 0 || path[length] != '/')
				continue;
			char *longer = mem_printf("%s %s", line, json_string_value(json_object_get(row, "name")));
			free(line);
			line = longer;
		}
		if (*line)
			printf("\n%s\n", *directory);
		text_fold(stdout, SCREEN_WIDTH, line);
		free(line);
	}
}

static int print_problems(const json_t *rows)
{
	int code = EXIT_OK;
	size_t i;
	const json_t *row;
	json_array_foreach((json_t *)rows, i, row)
	{
		const char *problem = json_string_value(json_object_get(row, "problem"));
		if (problem)
			code = complain(EXIT_PROBLEM, "%s", problem);
	}
	return code;
}

static int list_providers(bool json)
{
	size_t count;
	struct provider *list = provider_list(provider_directories, &count);
	json_t *rows = must(json_array()), *directories = must(json_array());
	for (size_t i = 0; i < count; i++)
		json_array_append_new(rows, read_provider(&list[i]));
	provider_list_free(list, count);
	for (const char *const *directory = provider_directories; *directory; directory++)
		json_array_append_new(directories, json_of(*directory));
	if (!json && count > 0) {
		table_print(stdout, SCREEN_WIDTH, rows, &providers_table);
		puts("\nA \"-\" is learned, or the account's own. The sources are in the presets.");
		print_places(rows);
	} else if (!json) {
		printf("There are no presets in\n%s or\n%s.\n", provider_directories[0], provider_directories[1]);
	}
	int code = print_problems(rows);
	json_t *answer = must(json_pack("{s:i, s:o, s:o}", "schema", 1, "directories", directories, "providers", rows));
	if (json)
		print_json(answer);
	else
		json_decref(answer);
	return code;
}

static int refuse_name(const char *name)
{
	char *meant = provider_meant(provider_directories, name);
	int code =
		meant ? complain(EXIT_PROBLEM, "there is no preset \"%.64s\"; %s may be meant", name, meant)
		      : complain(EXIT_PROBLEM, "there is no preset \"%.64s\"; relaypoolctl providers lists them", name);
	free(meant);
	return code;
}

static int show_provider(const char *name, bool json)
{
	char error[512];
	char *path = provider_name_valid(name) ? provider_path(provider_directories, name) : NULL;
	if (!path)
		return refuse_name(name);
	char *text = file_read(path, FILE_PLAIN, TEXT_LIMIT, error, sizeof(error));
	struct provider provider = {(char *)name, path};
	int code = EXIT_OK;
	if (!text) {
		code = complain(EXIT_PROBLEM, "%s", error);
	} else if (json) {
		json_t *row = read_provider(&provider), *answer = must(json_pack("{s:i}", "schema", 1));
		json_object_update(answer, row);
		json_object_set_new(answer, "text", json_of(text));
		json_decref(row);
		code = print_json(answer);
	} else {
		fputs(text, stdout);
	}
	free(text);
	free(path);
	return code;
}

int providers_command(struct command *command, int argc, char **argv)
{
	static const struct option words[] = {COMMON_WORD, {0}};
	int option, code;
	while ((option = getopt_long(argc, argv, COMMON_OPTIONS, words, NULL)) != -1)
		if (!command_option(command, option, &code))
			return code;
	if (argc > optind + 1)
		return complain(EXIT_USAGE, "providers takes one name at most");
	if (command->file)
		return complain(EXIT_USAGE, "-c does not go with providers");
	return optind < argc ? show_provider(argv[optind], command->json) : list_providers(command->json);
}
