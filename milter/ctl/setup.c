/*
 * relaypoolctl setup: reads what is wanted, has the room setup do it, and shows the report. Called by ctl.c. It changes
 * nothing itself. Of a daemon that runs it asks only whether it has loaded the file that all is judged by.
 */
#include <config.h>

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/conf.h"
#include "base/file.h"
#include "base/mem.h"
#include "ctl.h"
#include "daemon.h"
#include "setup/setup.h"

#define INDENT 10
#define WHERE_WIDTH 15 /* relaypool.conf */

static const struct mta {
	const char *name;
	setup_fn *setup;
} mtas[] = {
	{"postfix", setup_postfix},
	{"sendmail", setup_sendmail},
};

/* ---- the report on the screen ---- */

/* A text without line ends below a finding, in lines that begin where its name does. */
static void show_line(const char *text)
{
	char *lines = NULL, *clean = mem_strdup(text);
	size_t size = 0;
	FILE *folded = open_memstream(&lines, &size);
	text_clean(clean);
	if (folded) {
		text_fold(folded, SCREEN_WIDTH - INDENT, clean);
		fclose(folded);
		char *rest = NULL;
		for (char *line = strtok_r(lines, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
			printf("%*s%s\n", INDENT, "", line);
	}
	free(lines);
	free(clean);
}

/* "label: text", each line of the text by itself. */
static void show_text(const char *label, const char *text)
{
	char *lines = mem_printf(strchr(text, '\n') ? "%s\n%s" : "%s%s", label, text), *rest = NULL;
	for (char *line = strtok_r(lines, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
		show_line(line);
	free(lines);
}

static void show_value(const json_t *finding, const char *key, const char *label)
{
	const char *text = json_string_value(json_object_get(finding, key));
	if (text && label)
		show_text(label, *text ? text : "(empty)");
}

/* How `is` and `shall` are called; NULL: not shown. */
struct labels {
	const char *is, *shall;
};
static const struct labels labels[FINDING_STATES] = {
	[FINDING_OK] = {NULL, NULL},
	[FINDING_MISSING] = {NULL, "to be: "},
	[FINDING_DIFFERS] = {"is: ", "to be: "},
	[FINDING_WRONG] = {"is: ", NULL},
	[FINDING_CONFLICT] = {"is: ", NULL},
	[FINDING_NOTE] = {"is: ", NULL},
	[FINDING_CHANGED] = {"was: ", "is: "},
	[FINDING_RESTORED] = {"was: ", "is: "},
	[FINDING_KEPT] = {"is: ", "was made: "},
};

static enum finding_state state_of(const json_t *finding)
{
	const char *name = json_string_value(json_object_get(finding, "state"));
	int state = 0;
	while (state < FINDING_STATES - 1 && strcmp(finding_state_names[state], name) != 0)
		state++;
	return (enum finding_state)state;
}

static void show_finding(const json_t *finding)
{
	char where[CELL_SIZE], name[CELL_SIZE];
	enum finding_state state = state_of(finding);
	format_key(finding, "where", KIND_TEXT, where);
	format_key(finding, "name", KIND_TEXT, name);
	text_cut(name, SCREEN_WIDTH - WHERE_WIDTH - 11);
	printf("%-*s%-*s %s\n", WHERE_WIDTH, where, 42, name, finding_state_names[state]);
	show_value(finding, "is", labels[state].is);
	show_value(finding, "shall", labels[state].shall);
	show_value(finding, "why", "");
}

static void show_report(const struct report *report, bool all)
{
	size_t i;
	json_t *finding;
	json_array_foreach(report->findings, i, finding)
	{
		if (all || state_of(finding) != FINDING_OK)
			show_finding(finding);
	}
	text_fold(stdout, SCREEN_WIDTH, report->summary ? report->summary : "");
}

static int show_json(const struct report *report, const char *mta)
{
	json_t *answer = report_json(report, mta);
	int failed = json_dumpf(answer, stdout, JSON_COMPACT);
	json_decref(answer);
	putchar('\n');
	return failed;
}

/* ---- the daemon that runs ---- */

/* Its status; NULL if there is none. The sentence is empty where nobody is there, or this user may not ask. */
static json_t *daemon_status(const char *socket_path, char error[DAEMON_ERROR_SIZE])
{
	const struct daemon_question question = {.verb = "status", .limit = DAEMON_LIMIT};
	enum exit_code code;
	*error = '\0';
	char *line = daemon_present(socket_path) ? daemon_ask(socket_path, &question, &code, error) : NULL;
	json_t *status = line ? json_loads(line, 0, NULL) : NULL;
	free(line);
	return status;
}

/* What keeps the daemon from working by this file; NULL: nothing. The caller's. */
static char *not_loaded(const struct conf *conf, const json_t *status)
{
	const char *path = json_string_value(json_object_get(status, "config_path"));
	if (path && !file_same(path, conf->path))
		return mem_printf("relaypoold works by another file, %s: give that by -c, or start relaypoold with "
				  "this one.",
				  path);
	if (json_is_true(json_object_get(status, "config_changed")))
		return mem_printf("%s has changed since relaypoold loaded it: relaypoolctl reload", conf->path);
	return NULL;
}

/* The file has to be the one that mail will be treated by: routes for senders with accounts of their own, say. */
static void check_loaded(const struct command *command, const struct conf *conf, struct report *report)
{
	char error[DAEMON_ERROR_SIZE];
	json_t *status = daemon_status(conf->control.path, error);
	if (!status && !*error) /* it may work by a file that has another socket */
		status = daemon_status(command->socket_path, error);
	char *why = status ? not_loaded(conf, status) : NULL;
	if (status)
		report_add(report, &(struct finding){.state = why ? FINDING_WRONG : FINDING_OK,
						     .where = "relaypool.conf",
						     .name = "loaded",
						     .why = why,
						     .stops = why != NULL});
	else if (*error)
		why = mem_printf("Mail would wait: %s.", error);
	if (!status && why)
		report_add(report, &(struct finding){.state = FINDING_WRONG,
						     .where = "relaypool.conf",
						     .name = "loaded",
						     .why = why,
						     .stops = true});
	free(why);
	json_decref(status);
}

/* ---- the command line ---- */

struct wanted {
	struct setup_request request;
	const struct mta *mta;
	unsigned actions; /* how many of --check, --apply, --undo */
};

/* The options by themselves: false if relaypoolctl ends here, with the exit code. */
static bool read_options(struct command *command, int argc, char **argv, struct wanted *wanted, int *code)
{
	static const struct option words[] = {COMMON_WORD,
					      {"check", no_argument, NULL, 'C'},
					      {"apply", no_argument, NULL, 'A'},
					      {"undo", no_argument, NULL, 'U'},
					      {"reload", no_argument, NULL, 'R'},
					      {"force", no_argument, NULL, 'F'},
					      {"domain", required_argument, NULL, 'D'},
					      {"mc", required_argument, NULL, 'M'},
					      {0}};
	struct setup_request *request = &wanted->request;
	int option;
	while ((option = getopt_long(argc, argv, COMMON_OPTIONS "i:", words, NULL)) != -1) {
		if (option == 'C' || option == 'A' || option == 'U') {
			request->action = option == 'C' ? SETUP_CHECK : option == 'A' ? SETUP_APPLY : SETUP_UNDO;
			wanted->actions++;
		} else if (option == 'R')
			request->reload = true;
		else if (option == 'F')
			request->force = true;
		else if (option == 'D')
			request->domains[request->domain_count++] = optarg;
		else if (option == 'i')
			request->instance = optarg;
		else if (option == 'M')
			request->mc = optarg;
		else if (!command_option(command, option, code))
			return false;
	}
	return true;
}

static const struct mta *mta_find(const char *name)
{
	for (size_t i = 0; i < sizeof(mtas) / sizeof(mtas[0]); i++)
		if (strcmp(mtas[i].name, name) == 0)
			return &mtas[i];
	return NULL;
}

/* One that a list, a forgotten word or another language cannot be; the room setup says what else it must be. */
static bool is_one_domain(const char *domain)
{
	size_t length = strlen(domain);
	return length > 0 &&
	       strspn(domain, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_") == length;
}

/* What stands on the command line does not go together: the exit code, after saying why. EXIT_OK: nothing is wrong. */
static int refuse(const struct wanted *wanted)
{
	const struct setup_request *request = &wanted->request;
	bool changes = request->action == SETUP_APPLY || request->action == SETUP_UNDO;
	if (!wanted->mta)
		return complain(EXIT_USAGE, "setup needs the mail server: relaypoolctl setup postfix, or sendmail");
	if (request->instance && wanted->mta->setup != setup_postfix)
		return complain(EXIT_USAGE, "-i names an instance of Postfix");
	if (request->mc && wanted->mta->setup != setup_sendmail)
		return complain(EXIT_USAGE, "--mc names a file of Sendmail");
	for (size_t i = 0; i < request->domain_count; i++)
		if (!is_one_domain(request->domains[i]))
			return complain(EXIT_USAGE,
					"--domain takes one domain, as in example.org, and may be given several times; "
					"\"%s\" is none",
					request->domains[i]);
	if (wanted->actions > 1)
		return complain(EXIT_USAGE, "only one of --check, --apply and --undo at a time");
	if (request->reload && !changes)
		return complain(EXIT_USAGE, "--reload goes with --apply and --undo");
	if (request->force && request->action != SETUP_APPLY)
		return complain(EXIT_USAGE, "--force goes with --apply");
	if (request->domain_count > 0 && request->action == SETUP_UNDO)
		return complain(EXIT_USAGE, "--undo takes back all of it; --domain does not go with it");
	if (changes && geteuid() != 0)
		return complain(EXIT_PERMISSION, "--%s changes the mail server's configuration: become root",
				request->action == SETUP_APPLY ? "apply" : "undo");
	return EXIT_OK;
}

static int exit_code(const struct setup_request *request, const struct report *report)
{
	bool good = request->action == SETUP_CHECK  ? report_clean(report)
		    : request->action == SETUP_UNDO ? report->counts[FINDING_KEPT] == 0
						    : report->stops == 0 || request->force;
	return good ? EXIT_OK : EXIT_PROBLEM;
}

static int run(struct command *command, struct wanted *wanted)
{
	struct setup_request *request = &wanted->request;
	char error[SETUP_ERROR_SIZE], conf_error[CONF_ERROR_SIZE];
	struct report report;
	struct conf *conf = NULL;
	if (request->action != SETUP_UNDO) {
		conf = conf_load(command->file ? command->file : DEFAULT_CONF, conf_error);
		if (!conf)
			return complain(EXIT_PROBLEM, "%s", conf_error);
	}
	request->conf = conf;
	report_init(&report);
	if (conf)
		check_loaded(command, conf, &report);
	bool done = wanted->mta->setup(request, &report, error);
	if (!done)
		report_fail(&report, error);
	if (command->json)
		show_json(&report, wanted->mta->name);
	else
		show_report(&report, request->action == SETUP_CHECK);
	int code = done ? exit_code(request, &report) : complain(EXIT_PROBLEM, "%s", error);
	report_free(&report);
	conf_unref(&conf);
	return code;
}

int setup_command(struct command *command, int argc, char **argv)
{
	struct wanted wanted = {.request.domains = mem_array((size_t)argc, sizeof(char *))};
	int code = EXIT_OK;
	if (read_options(command, argc, argv, &wanted, &code)) {
		const char *name = optind < argc ? argv[optind] : "";
		wanted.mta = mta_find(name);
		if (argc - optind > 1)
			code = complain(EXIT_USAGE, "setup takes one mail server, not \"%s\" too", argv[optind + 1]);
		else
			code = refuse(&wanted);
		if (code == EXIT_OK)
			code = run(command, &wanted);
	}
	free(wanted.request.domains);
	return code;
}
