/*
 * relaypoolctl: asks the daemon over its control socket and shows the answer. Run by an administrator or a program
 * (-j). How each verb's answer is shown stands in ctl/show.c, the verbs themselves in admin/verbs.c.
 * Never reads the daemon's files, but for `check`, which also works without a daemon.
 */
#include <config.h>

#include "ctl/ctl.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/conf.h"
#include "base/mem.h"
#include "ctl/daemon.h"

#define DEFAULT_SOCKET RUNSTATEDIR "/relaypool/control.sock"

/* ---- the daemon ---- */

/* A file that is not valid, a recipient that is not accepted. */
static bool says_no(const json_t *answer)
{
	return json_is_false(json_object_get(answer, "valid")) || json_is_false(json_object_get(answer, "accepted"));
}

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
		code = says_no(answer) ? EXIT_PROBLEM : EXIT_OK;
	else
		code = shows[verb](answer, argument);
	if (json)
		fputs(line, stdout);
	json_decref(answer);
	return code;
}

/* What the daemon is asked. */
struct question {
	enum admin_verb verb;
	const char *argument; /* NULL: none */
	const char *option;   /* the same as an option: "all", "shape"; NULL */
	int words;            /* arguments in all, options aside */
	const char *from;     /* test-route: whose mail it would be; NULL */
	bool send;            /* … and sends a message */
};

/* The verb, asked of the daemon; the exit code. */
static int ask(const char *socket_path, const struct question *question, bool json)
{
	enum admin_verb verb = question->verb;
	/* The shape of stalls is seen here only: the daemon tells all of them. */
	bool shape = verb == ADMIN_STALLS && question->argument && strcmp(question->argument, "shape") == 0;
	struct daemon_question asked = {.verb = admin_verbs[verb].name,
					.arguments = {shape ? "all" : question->argument},
					.limit = verb == ADMIN_TEST_ROUTE ? DAEMON_LIMIT_LATER : DAEMON_LIMIT};
	char error[DAEMON_ERROR_SIZE], *from = question->from ? mem_printf("from=%s", question->from) : NULL;
	enum exit_code code;
	if (from)
		asked.arguments[1] = from;
	if (question->send)
		asked.arguments[from ? 2 : 1] = "send";
	char *line = daemon_ask(socket_path, &asked, &code, error);
	free(from);
	if (!line)
		return complain(code, "%s", error);
	int shown = show_answer(line, verb, question->argument, json);
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

/* Verbs that are no question to the daemon, each with its own reading of what follows it. */
static int help(struct command *command, int argc, char **argv);
static const struct local_verb {
	const char *name, *argument, *help; /* as in admin_verbs */
	int (*run)(struct command *command, int argc, char **argv);
} local_verbs[] = {
	{"providers", "[NAME]", "what is known of providers, or the preset of one", providers_command},
	{"top", "", "pools, connections and stalls, live", top_command},
	{"setup", "MTA", "register with the mail server, look, or undo", setup_command},
	{"help", "", "this text", help},
};
#define LOCAL_VERBS (sizeof(local_verbs) / sizeof(local_verbs[0]))

static const struct local_verb *local_verb_find(const char *name)
{
	for (size_t i = 0; i < LOCAL_VERBS; i++)
		if (strcmp(local_verbs[i].name, name) == 0)
			return &local_verbs[i];
	return NULL;
}

static int usage(void)
{
	printf("usage: relaypoolctl [-j] [-s SOCKET] [VERB [ARGUMENT]]\n"
	       "       relaypoolctl [-j] [-c FILE] check\n"
	       "       relaypoolctl [-j] [-s SOCKET] test-route ADDRESS [--from SENDER] [--send]\n"
	       "       relaypoolctl [-s SOCKET] top [-d SECONDS]\n"
	       "       relaypoolctl [-j] [-c FILE] setup postfix [-i INSTANCE]\n"
	       "                    [--check | --apply | --undo] [--domain DOMAIN]...\n"
	       "                    [--reload] [--force]\n"
	       "       relaypoolctl [-j] [-c FILE] setup sendmail [--mc FILE]\n"
	       "                    [the same options]\n"
	       "\n"
	       "  -s SOCKET   the daemon's control socket, instead of\n"
	       "              %s\n"
	       "  -c FILE     check this file without the daemon, or set up by it\n"
	       "  -d SECONDS  between two frames of top\n"
	       "  -j          print the daemon's JSON\n"
	       "  -h, --help  this text\n"
	       "\n",
	       DEFAULT_SOCKET);
	for (int i = 0; i < ADMIN_VERBS; i++)
		printf("  %-11s %-11s %s\n", admin_verbs[i].name, admin_verbs[i].argument, admin_verbs[i].help);
	for (size_t i = 0; i < LOCAL_VERBS; i++)
		printf("  %-11s %-11s %s\n", local_verbs[i].name, local_verbs[i].argument, local_verbs[i].help);
	return EXIT_OK;
}

static int help(struct command *command, int argc, char **argv)
{
	(void)command, (void)argc, (void)argv;
	return usage();
}

bool command_option(struct command *command, int option, int *code)
{
	*code = EXIT_OK;
	switch (option) {
	case 's':
		command->socket_path = optarg;
		return true;
	case 'c':
		command->file = optarg;
		return true;
	case 'd':
		command->delay = optarg;
		return true;
	case 'j':
		command->json = true;
		return true;
	case 'h':
		*code = usage();
		return false;
	default:
		*code = complain(EXIT_USAGE, "\"relaypoolctl help\" lists the verbs and their options");
		return false;
	}
}

/* An argument that the daemon would not read, as of a variable that is not set or an address with a name before it. */
static int words_refuse(const struct question *question)
{
	bool address = question->verb == ADMIN_TEST_ROUTE;
	const char *words[] = {question->argument, question->from}, *name = admin_verbs[question->verb].name;
	if (question->from && !*question->from)
		return complain(EXIT_USAGE, "%s: --from is empty: the null sender is \"<>\"", name);
	if (question->argument && !*question->argument)
		return complain(EXIT_USAGE, "%s: the %s is empty", name, address ? "address" : "argument");
	for (size_t i = 0; address && i < sizeof(words) / sizeof(words[0]); i++)
		if (words[i] && words[i][strcspn(words[i], " \t")])
			return complain(EXIT_USAGE,
					"%s: an address alone is needed, as in user@example.org, not \"%s\"", name,
					words[i]);
	return EXIT_OK;
}

/* What stands on the command line is wrong for this verb: the exit code, after saying why. EXIT_OK: nothing is. */
static int question_refuse(const struct question *question, const struct command *command)
{
	const char *name = admin_verbs[question->verb].name, *takes = admin_verbs[question->verb].argument;
	if (question->words > (*takes ? 1 : 0))
		return complain(EXIT_USAGE, "%s takes %s", name, *takes ? "one argument at most" : "no argument");
	if (*takes && *takes != '[' && !question->argument)
		return complain(EXIT_USAGE, "%s needs an argument: relaypoolctl %s %s", name, name, takes);
	if (question->option && question->verb != ADMIN_STALLS)
		return complain(EXIT_USAGE, "--%s goes with stalls only", question->option);
	if ((question->from || question->send) && question->verb != ADMIN_TEST_ROUTE)
		return complain(EXIT_USAGE, "--from and --send go with test-route only");
	if (command->delay)
		return complain(EXIT_USAGE, "-d goes with top only");
	if (command->file && question->verb != ADMIN_CHECK)
		return complain(EXIT_USAGE, "-c goes with check only");
	if (question->verb == ADMIN_STALLS && question->argument && strcmp(question->argument, "all") != 0 &&
	    strcmp(question->argument, "shape") != 0)
		return complain(EXIT_USAGE, "stalls takes all, shape or nothing");
	return words_refuse(question);
}

/* A verb of the daemon, with its options and argument behind it. */
static int question_run(struct command *command, enum admin_verb verb, int argc, char **argv)
{
	/* "stalls --all" and "stalls all" are the same. */
	static const struct option words[] = {COMMON_WORD,
					      {"all", no_argument, NULL, 'A'},
					      {"shape", no_argument, NULL, 'S'},
					      {"from", required_argument, NULL, 'F'},
					      {"send", no_argument, NULL, 'N'},
					      {0}};
	struct question question = {.verb = verb};
	int option, code;
	while ((option = getopt_long(argc, argv, COMMON_OPTIONS "d:", words, NULL)) != -1) {
		if (option == 'A' || option == 'S')
			question.option = option == 'A' ? "all" : "shape";
		else if (option == 'F')
			question.from = optarg;
		else if (option == 'N')
			question.send = true;
		else if (!command_option(command, option, &code))
			return code;
	}
	question.argument = optind < argc ? argv[optind] : question.option;
	question.words = argc - optind + (question.option ? 1 : 0);
	code = question_refuse(&question, command);
	if (code != EXIT_OK)
		return code;
	/* A daemon that runs knows best which file is the right one; one that cannot start may have this for its reason. */
	if (verb == ADMIN_CHECK && (command->file || !daemon_answers(command->socket_path)))
		return check_file(command->file ? command->file : DEFAULT_CONF, command->json);
	return ask(command->socket_path, &question, command->json);
}

int main(int argc, char **argv)
{
	static char *status[] = {(char *)"status", NULL}; /* without a verb */
	static const struct option words[] = {COMMON_WORD, {0}};
	struct command command = {.socket_path = DEFAULT_SOCKET};
	enum admin_verb verb;
	int option, code;
	while ((option = getopt_long(argc, argv, "+" COMMON_OPTIONS "d:", words, NULL)) != -1) /* up to the verb */
		if (!command_option(&command, option, &code))
			return code;
	argc -= optind;
	argv += optind;
	if (argc == 0) {
		argc = 1;
		argv = status;
	}
	optind = 0; /* the verb's own options are read from the beginning */
	const struct local_verb *local = local_verb_find(argv[0]);
	if (local && command.delay && local->run != top_command)
		return complain(EXIT_USAGE, "-d goes with top only");
	if (local)
		return local->run(&command, argc, argv);
	if (!admin_verb_find(argv[0], &verb))
		return complain(EXIT_USAGE, "there is no verb \"%s\"; relaypoolctl help lists them", argv[0]);
	return question_run(&command, verb, argc, argv);
}
