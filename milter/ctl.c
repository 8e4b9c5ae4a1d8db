/*
 * relaypoolctl: asks the daemon over its control socket and shows the answer. Run by an administrator or a program
 * (-j). How each verb's answer is shown stands in ctl_show.c, the verbs themselves in admin/verbs.c.
 * Never reads the daemon's files, but for `check`, which also works without a daemon.
 */
#include <config.h>

#include "ctl.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/conf.h"
#include "ctl_daemon.h"

#define DEFAULT_SOCKET RUNSTATEDIR "/relaypool/control.sock"
#define DEFAULT_CONF SYSCONFDIR "/relaypool/relaypool.conf"

/* ---- the daemon ---- */

/* Reads the daemon's line; the exit code. */
static int show_answer(const char *line, enum admin_verb verb, const char *argument, bool json)
{
	json_error_t where;
	json_t *answer = json_loads(line, 0, &where);
	if (!json_is_object(answer)) {
		json_decref(answer);
		return complain(EXIT_PROBLEM, "the daemon's answer makes no sense: %s", where.text);
	}
	int code;
	if (json_object_get(answer, "error"))
		code = show_refusal(answer);
	else if (json)
		code = json_is_false(json_object_get(answer, "valid")) ? EXIT_PROBLEM : EXIT_OK;
	else
		code = shows[verb](answer, argument);
	if (json)
		fputs(line, stdout);
	json_decref(answer);
	return code;
}

/* The verb, asked of the daemon; the exit code. */
static int ask(const char *socket_path, enum admin_verb verb, const char *argument, bool json)
{
	/* The shape of stalls is seen here only: the daemon tells all of them. */
	bool shape = verb == ADMIN_STALLS && argument && strcmp(argument, "shape") == 0;
	char error[DAEMON_ERROR_SIZE];
	enum exit_code code;
	char *line = daemon_ask(socket_path, admin_verbs[verb].name, shape ? "all" : argument, &code, error);
	if (!line)
		return complain(code, "%s", error);
	int shown = show_answer(line, verb, argument, json);
	free(line);
	return shown;
}

/* `check` without a daemon. */
static int check_file(const char *path, bool json)
{
	char error[CONF_ERROR_SIZE] = "";
	struct conf *conf = conf_load(path, error);
	json_t *answer = json_pack("{s:i, s:s, s:b, s:s?, s:s?}", "schema", 1, "path", path, "valid", conf != NULL,
				   "problem", conf ? NULL : error, "warning", conf ? conf->warning : NULL);
	conf_unref(&conf);
	char *line = answer ? json_dumps(answer, JSON_COMPACT) : NULL;
	json_decref(answer);
	if (!line)
		return complain(EXIT_PROBLEM, "%s: %s", path, error);
	int code = show_answer(line, ADMIN_CHECK, NULL, json);
	if (json)
		putchar('\n');
	free(line);
	return code;
}

/* ---- the command line ---- */

struct command {
	const char *socket_path, *file, *delay;
	bool json;
	const char *name, *argument; /* the verb and what it is given; NULL */
	const char *option;          /* the same as an option: "all", "shape"; NULL */
	int words;                   /* how many there are, the verb included */
};

static int usage(FILE *to, int code)
{
	fprintf(to,
		"usage: relaypoolctl [-j] [-s SOCKET] [VERB [ARGUMENT]]\n"
		"       relaypoolctl [-j] [-c FILE] check\n"
		"       relaypoolctl [-s SOCKET] top [-d SECONDS]\n"
		"\n"
		"  -s SOCKET   the daemon's control socket, instead of\n"
		"              %s\n"
		"  -c FILE     check this file, without the daemon\n"
		"  -d SECONDS  between two frames of top\n"
		"  -j          print the daemon's JSON\n"
		"\n",
		DEFAULT_SOCKET);
	for (int i = 0; i < ADMIN_VERBS; i++)
		fprintf(to, "  %-11s %-11s %s\n", admin_verbs[i].name, admin_verbs[i].argument, admin_verbs[i].help);
	fprintf(to, "  %-11s %-11s %s\n", "top", "", "pools, connections and stalls, live");
	fprintf(to, "  %-11s %-11s %s\n", "help", "", "this text");
	return code;
}

static int top(const struct command *command)
{
	if (command->words > 1 || command->file || command->json)
		return complain(EXIT_USAGE, "top takes -s and -d only; for a program: -j pools, connections, stalls");
	double delay = TOP_DELAY_DEFAULT;
	if (command->delay) {
		char *end;
		delay = strtod(command->delay, &end);
		if (*end || end == command->delay || !(delay >= TOP_DELAY_LEAST && delay <= TOP_DELAY_MOST))
			return complain(EXIT_USAGE, "-d takes seconds, from %g to %g", TOP_DELAY_LEAST, TOP_DELAY_MOST);
	}
	return top_run(command->socket_path, delay);
}

/* What stands on the command line is wrong for this verb: the exit code, after saying why. EXIT_OK: nothing is. */
static int command_refuse(const struct command *command, enum admin_verb verb)
{
	const char *takes = admin_verbs[verb].argument;
	if (command->words > (*takes ? 2 : 1))
		return complain(EXIT_USAGE, "%s takes %s", command->name,
				*takes ? "one argument at most" : "no argument");
	if (*takes && *takes != '[' && !command->argument)
		return complain(EXIT_USAGE, "%s needs an argument: relaypoolctl %s %s", command->name, command->name,
				takes);
	if (command->option && verb != ADMIN_STALLS)
		return complain(EXIT_USAGE, "--%s goes with stalls only", command->option);
	if (command->file && verb != ADMIN_CHECK)
		return complain(EXIT_USAGE, "-c goes with check only");
	if (command->delay)
		return complain(EXIT_USAGE, "-d goes with top only");
	if (verb == ADMIN_STALLS && command->argument && strcmp(command->argument, "all") != 0 &&
	    strcmp(command->argument, "shape") != 0)
		return complain(EXIT_USAGE, "stalls takes all, shape or nothing");
	return EXIT_OK;
}

static int command_run(const struct command *command)
{
	enum admin_verb verb;
	if (strcmp(command->name, "help") == 0)
		return usage(stdout, EXIT_OK);
	if (strcmp(command->name, "top") == 0)
		return top(command);
	if (!admin_verb_find(command->name, &verb))
		return complain(EXIT_USAGE, "there is no verb \"%s\"; relaypoolctl help lists them", command->name);
	int code = command_refuse(command, verb);
	if (code != EXIT_OK)
		return code;
	/* A daemon that runs knows best which file is the right one. */
	if (verb == ADMIN_CHECK && (command->file || !daemon_present(command->socket_path)))
		return check_file(command->file ? command->file : DEFAULT_CONF, command->json);
	return ask(command->socket_path, verb, command->argument, command->json);
}

int main(int argc, char **argv)
{
	/* "stalls --all" and "stalls all" are the same. */
	static const struct option words[] = {{"all", no_argument, NULL, 'A'}, {"shape", no_argument, NULL, 'S'}, {0}};
	struct command command = {.socket_path = DEFAULT_SOCKET};
	int option;
	while ((option = getopt_long(argc, argv, "s:c:d:jh", words, NULL)) != -1) {
		switch (option) {
		case 's':
			command.socket_path = optarg;
			break;
		case 'c':
			command.file = optarg;
			break;
		case 'd':
			command.delay = optarg;
			break;
		case 'j':
			command.json = true;
			break;
		case 'A':
			command.option = "all";
			break;
		case 'S':
			command.option = "shape";
			break;
		case 'h':
			return usage(stdout, EXIT_OK);
		default:
			return usage(stderr, EXIT_USAGE);
		}
	}
	command.name = optind < argc ? argv[optind] : "status";
	command.argument = optind + 1 < argc ? argv[optind + 1] : command.option;
	command.words = argc - optind + (command.option ? 1 : 0);
	return command_run(&command);
}
