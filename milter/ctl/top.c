/*
 * relaypoolctl top: pools, connections and stalls on one screen, drawn anew every few seconds. Called by ctl.c. Where
 * nobody looks, or the terminal cannot, it writes all three once. It leaves the terminal as it found it, whatever ends
 * it but SIGKILL.
 */
#include <config.h>

#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "ctl.h"
#include "daemon.h"

/* Seconds between two frames. */
#define DELAY_DEFAULT 2.0
#define DELAY_LEAST 0.2
#define DELAY_MOST 3600.0

enum view { VIEW_POOLS = 0, VIEW_CONNECTIONS, VIEW_STALLS, VIEWS };
static const struct table *const view_tables[VIEWS] = {
	[VIEW_POOLS] = &pools_table,
	[VIEW_CONNECTIONS] = &connections_table,
	[VIEW_STALLS] = &stalls_table,
};

struct top {
	const char *socket_path;
	double delay;
	enum view view;
	bool paused;
	json_t *answers[VIEWS];        /* as they came last; NULL: none yet */
	time_t answered;               /* when they came */
	char error[DAEMON_ERROR_SIZE]; /* why they do not come any more; "" if they do */
};

/* ---- the daemon ---- */

/* One list anew. EXIT_OK, or why not, with the sentence in `error`. */
static int top_ask(struct top *top, enum view view)
{
	enum exit_code code = EXIT_PROBLEM;
	const struct daemon_question question = {.verb = view_tables[view]->rows, .limit = DAEMON_LIMIT};
	char *line = daemon_ask(top->socket_path, &question, &code, top->error);
	if (!line)
		return code;
	json_t *answer = json_loads(line, 0, NULL);
	free(line);
	if (!json_is_array(json_object_get(answer, view_tables[view]->rows))) {
		char sentence[CELL_SIZE];
		format_key(answer, "error", KIND_TEXT, sentence);
		snprintf(top->error, sizeof(top->error), "relaypoold refuses: %.400s", sentence);
		json_decref(answer);
		return EXIT_PROBLEM;
	}
	json_decref(top->answers[view]);
	top->answers[view] = answer;
	return EXIT_OK;
}

static int top_ask_all(struct top *top)
{
	int code = EXIT_OK;
	for (enum view view = 0; view < VIEWS && code == EXIT_OK; view++)
		code = top_ask(top, view);
	if (code == EXIT_OK) {
		top->error[0] = '\0';
		top->answered = time(NULL);
	}
	return code;
}

static void top_free(struct top *top)
{
	for (enum view view = 0; view < VIEWS; view++)
		json_decref(top->answers[view]);
}

/* ---- frames ---- */

static void view_print(const struct top *top, FILE *to, size_t width, enum view view)
{
	const json_t *rows = json_object_get(top->answers[view], view_tables[view]->rows);
	if (json_array_size(rows) > 0)
		rows_print(to, width, top->answers[view], view_tables[view]);
	else
		fprintf(to, "%s\n", view == VIEW_STALLS ? "Nothing is held up." : "None.");
}

/* All views, once. */
static int top_once(const struct top *top)
{
	for (enum view view = 0; view < VIEWS; view++) {
		printf("%s%s\n", view > 0 ? "\n" : "", view_tables[view]->rows);
		view_print(top, stdout, SCREEN_WIDTH, view);
	}
	return EXIT_OK;
}

static void head_print(const struct top *top, FILE *to)
{
	char clock[16] = "-";
	struct tm local;
	if (localtime_r(&top->answered, &local) && strftime(clock, sizeof(clock), "%H:%M:%S", &local) == 0)
		snprintf(clock, sizeof(clock), "-");
	fprintf(to, "%s", clock);
	for (enum view view = 0; view < VIEWS; view++)
		fprintf(to, top->view == view ? "  [%d %s]" : "   %d %s ", view + 1, view_tables[view]->rows);
	fprintf(to, "   p pause   q quit%s\n", top->paused ? "   paused" : "");
	fprintf(to, "%s\n", top->error);
}

/* As many columns and lines as the terminal has; 80 and 24 if it does not say. */
static void screen_size(size_t *width, size_t *height)
{
	struct winsize size = {0};
	bool known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 && size.ws_row > 0;
	*width = known ? size.ws_col : SCREEN_WIDTH;
	*height = known ? size.ws_row : 24;
}

/* Writes what fits, over what was there. The last line has no end, so that nothing scrolls. */
static void screen_write(char *frame, size_t width, size_t height)
{
	fputs("\x1b[H", stdout);
	char *line = frame;
	for (size_t i = 0; i < height && *line; i++) {
		char *end = line + strcspn(line, "\n");
		bool last = !*end;
		*end = '\0';
		text_cut(line, width);
		printf("%s%s\x1b[K", i > 0 ? "\r\n" : "", line);
		line = last ? end : end + 1;
	}
	fputs("\x1b[J", stdout);
	fflush(stdout);
}

static void top_draw(const struct top *top)
{
	char *frame = NULL;
	size_t length, width, height;
	screen_size(&width, &height);
	FILE *to = open_memstream(&frame, &length);
	if (!to)
		abort();
	head_print(top, to);
	view_print(top, to, width, top->view);
	if (fclose(to) == EOF)
		abort();
	screen_write(frame, width, height);
	free(frame);
}

/* ---- the terminal ---- */

static struct termios terminal_before;
static bool terminal_taken;

/* Keys one by one and unseen, signals as ever; another screen, without a cursor. */
static bool terminal_take(void)
{
	if (tcgetattr(STDIN_FILENO, &terminal_before) == -1)
		return false;
	struct termios raw = terminal_before;
	raw.c_lflag &= (tcflag_t) ~(ICANON | ECHO);
	raw.c_cc[VMIN] = 1;
	raw.c_cc[VTIME] = 0;
	if (tcsetattr(STDIN_FILENO, TCSAFLUSH, &raw) == -1)
		return false;
	terminal_taken = true;
	fputs("\x1b[?1049h\x1b[?25l", stdout);
	return true;
}

/* Also at exit(3). */
static void terminal_give_back(void)
{
	if (!terminal_taken)
		return;
	terminal_taken = false;
	fputs("\x1b[?25h\x1b[?1049l", stdout);
	fflush(stdout);
	tcsetattr(STDIN_FILENO, TCSAFLUSH, &terminal_before);
}

/* ---- signals: they only say that they came ---- */

static const int signals_told[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGWINCH};
static volatile sig_atomic_t signal_seen; /* the last that ends or stops us; 0 */

static void signal_note(int number)
{
	if (number != SIGWINCH) /* that one needs only to interrupt the wait */
		signal_seen = number;
}

/* A signal that was ignored before stays so. A new size of the terminal interrupts nothing but the wait for a key. */
static void signals_watch(void)
{
	struct sigaction action = {.sa_handler = signal_note}, before;
	sigset_t resized;
	sigemptyset(&resized);
	sigaddset(&resized, SIGWINCH);
	sigprocmask(SIG_BLOCK, &resized, NULL);
	for (size_t i = 0; i < sizeof(signals_told) / sizeof(signals_told[0]); i++)
		if (sigaction(signals_told[i], NULL, &before) == 0 && before.sa_handler != SIG_IGN)
			sigaction(signals_told[i], &action, NULL);
}

/* Waits for a key, a signal, or that the time is up. While it looks whether a signal has come already none can come. */
static bool wait_for_key(double delay)
{
	sigset_t none, told;
	sigemptyset(&none);
	sigemptyset(&told);
	for (size_t i = 0; i < sizeof(signals_told) / sizeof(signals_told[0]); i++)
		sigaddset(&told, signals_told[i]);
	struct pollfd keys = {.fd = STDIN_FILENO, .events = POLLIN};
	struct timespec limit = {.tv_sec = (time_t)delay};
	limit.tv_nsec = (long)((delay - (double)limit.tv_sec) * 1e9);
	sigprocmask(SIG_BLOCK, &told, NULL);
	bool key = !signal_seen && ppoll(&keys, 1, &limit, &none) > 0;
	sigdelset(&told, SIGWINCH);
	sigprocmask(SIG_UNBLOCK, &told, NULL);
	return key;
}

/* The terminal is as it was: now the signal may do what it does to everybody. Returns if it let us go on. */
static void signal_obey(int number)
{
	signal_seen = 0;
	terminal_give_back();
	struct sigaction plain = {.sa_handler = SIG_DFL}, ours;
	sigaction(number, &plain, &ours);
	raise(number);
	sigaction(number, &ours, NULL);
}

/* ---- the loop ---- */

/* What a key does. False: it ends. */
static bool key_obey(struct top *top, char key)
{
	if (key >= '1' && key < '1' + VIEWS)
		top->view = (enum view)(key - '1');
	else if (key == 'p')
		top->paused = !top->paused;
	return key != 'q';
}

static double now(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* Until a key, the end of the keyboard or a signal ends it. */
static int top_loop(struct top *top)
{
	double due = now() + top->delay;
	for (;;) {
		top_draw(top);
		double left = due - now();
		char key;
		if (wait_for_key(left > 0 ? left : 0) && (read(STDIN_FILENO, &key, 1) != 1 || !key_obey(top, key)))
			return EXIT_OK;
		if (signal_seen) {
			signal_obey(signal_seen);
			if (!terminal_take())
				return EXIT_PROBLEM;
		}
		if (now() < due)
			continue;
		if (!top->paused && top_ask_all(top) != EXIT_OK && signal_seen)
			top->error[0] = '\0'; /* it was the signal that broke it off */
		due = now() + top->delay;
	}
}

static bool somebody_looks(void)
{
	const char *terminal = getenv("TERM");
	return isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) && terminal && strcmp(terminal, "dumb") != 0;
}

/* Again and again until somebody ends it; once if nobody looks. The exit code. */
static int top_run(const char *socket_path, double delay)
{
	struct top top = {.socket_path = socket_path, .delay = delay};
	int code = top_ask_all(&top);
	if (code != EXIT_OK) {
		complain(code, "%s", top.error);
	} else if (!somebody_looks()) {
		code = top_once(&top);
	} else {
		atexit(terminal_give_back);
		signals_watch();
		code = terminal_take() ? top_loop(&top)
				       : complain(EXIT_PROBLEM, "the terminal cannot be set: %s", strerror(errno));
		terminal_give_back();
	}
	top_free(&top);
	return code;
}

int top_command(struct command *command, int argc, char **argv)
{
	static const struct option words[] = {COMMON_WORD, {0}};
	double delay = DELAY_DEFAULT;
	int option, code;
	while ((option = getopt_long(argc, argv, COMMON_OPTIONS "d:", words, NULL)) != -1)
		if (!command_option(command, option, &code))
			return code;
	if (argc > optind || command->file || command->json)
		return complain(EXIT_USAGE, "top takes -s and -d only; for a program: -j pools, connections, stalls");
	if (command->delay) {
		char *end;
		delay = strtod(command->delay, &end);
		if (*end || end == command->delay || !(delay >= DELAY_LEAST && delay <= DELAY_MOST))
			return complain(EXIT_USAGE, "-d takes seconds, from %g to %g", DELAY_LEAST, DELAY_MOST);
	}
	return top_run(command->socket_path, delay);
}
