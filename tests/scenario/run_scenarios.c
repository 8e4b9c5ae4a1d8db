/*
 * Runs scenarios: the relay room against scripted relays, under a scripted clock, in one process. Run by make check on
 * every .scn file of tests/scenario; a scenario that fails is shown with its reasons and what happened.
 *
 *   run_scenarios [-v] [-l] [-t TEXT] [FILE…]    -v each title, -l list only, -t only titles that contain TEXT;
 *                                                the transcript of what happened is printed with -v too
 *
 * THE LANGUAGE (how lines are split into words, and `for`: script.h). Lines are carried out in order; after each,
 * everything happens that needs no time, unless the line ends with the word `then`. Time moves by `pass` and `run`
 * alone. There are four relays, a to d, on 127.0.0.1 to .4; those that have a `relay` line are configured, relay a if
 * none has.
 *
 * Configuration (taken at the first line that needs the router, and at `reload`):
 *   conf KEY=VALUE …             keys at the top of relaypool.conf
 *   relay a: KEY=VALUE …         keys of a relay; {x,y} is a list, @b relay b's address and port;
 *                                provider=NAME takes what contrib/providers/NAME.conf has but host, port and tls.
 *                                `password` is
 *                                written to the password file, it is "secret-word" if not given; `token` to the
 *                                token file
 *   route NAME: KEY=VALUE …      without any: one route with all relays in order
 *   forget b                     takes relay b out again
 *   server a: …                  how the scripted relay is: offers="PIPELINING,SIZE 1000" (EHLO keywords instead of the
 *                                usual ones), offers+=CHUNKING (besides them), without=PIPELINING,DSN,
 *                                username=…, password=… (what it takes),
 *                                certificate=good|wrong-name|expired|unknown, pace=joined|lines|octets (what goes
 *                                into one packet), window=65536 (receive buffer), chaos=SEED (now and then, at any
 *                                step, something of a list of mishaps; none is a refusal); and limits of which
 *                                it says nothing, part of what it does by `default`; `none` takes one off again:
 *     most-connections=N         at once; refuses=banner|auth|silent: in place of the greeting, at AUTH, without a word
 *     counts-longer=MS           how long a connection that has ended is one of them
 *     most-messages=N            on one connection
 *     life=SECONDS               closed in its idle time, or at the next command
 *     idle=SECONDS               closed after so long without a command
 *     most-rate=N/SECONDS        messages in a window of so many seconds
 *     most-in-any=N/SECONDS      messages in any stretch of so many seconds; refuses-at=mail|end
 *     bucket=RATE,BURST          messages a second, after so many at once; refuses-at=mail|end
 *     says-why=no                421 without a reason, or no word where nothing was asked
 *
 * What a relay does:
 *   at [a] STEP [N | N..M | every | every=N] [conn=N] [with=TEXT] [pipelined]: ACTION; ACTION …
 *                                at that step, the first time or the N-th time that it fits (every=3: the first,
 *                                the fourth …), counted over all connections; `with`: only commands with this text;
 *                                `pipelined`: only if more has come behind it
 *     STEP                       connect banner ehlo starttls tls auth auth-line mail rcpt data bdat body end rset quit
 *                                unknown eof (body: its first octets came, by BDAT those of each chunk; end: the end of
 *                                data or of the last chunk; eof: the client closed). What is said at bdat, or at body
 *                                by BDAT, is the reply: what is left of the chunk is swallowed, and there is no end
 *     ACTION                     default (what it would have done), say TEXT (a reply; \n within), raw TEXT (no CRLF at
 *                                the end), long N TEXT (filled up to N octets), lines N CODE (a reply of N lines),
 *                                accept (takes the message over without a word), handshake, notify
 *                                (ends TLS, not the connection), wait 5s, close, reset,
 *                                silent (reads on, says nothing any more), deaf (does not even read)
 *   do a [conn=N]: ACTION …      now, on each open connection
 *   refuse a, listen a, ignore a connections are refused; accepted again; their SYN gets no answer
 *
 * Messages and time:
 *   send m1 [to=X,Y] [rcpts=N] [from=X] [size=8M] [deadline=60s] [params=TEXT] [rcpt-params=TEXT] [8bit] [utf8]
 *                                m1..m20: many; without `to` the recipient is NAME@example.org
 *   stream m1..m400 every=500ms …  as send, with time between them
 *   abandon m1                   the MTA's session ends
 *   warm [from=X] to=Y           the milter hears of mail with this envelope; from=unknown: but not from whom
 *   probe p1 to=Y [from=X] [send]  as relaypoolctl test-route does; `send`: a message, instead of RSET
 *   hang-up p1                   nobody waits for it any more
 *   run                          until every message is settled, or nothing more would happen
 *   pass 10s
 *   mark                         from here on `refused` and `expired` are counted anew
 *   unlearn [a]                  what was learned of the relay is forgotten
 *   pause|resume|drain|reconnect [a], reload, shutdown, abort, start [unclean], restart [unclean]
 *
 * What must have happened so far (a figure N may be N..M or N..):
 *   expect m1 [to=X] sent | deferred | bounced [CODE] [X.Y.Z] [ambiguous] ["words" …]
 *   expect m1 [to=X] unbounced | refused   any verdict but bounced, but sent
 *   expect m1 waits              no recipient has a verdict
 *   expect m1 after 5s..6s       from `send` to the last verdict
 *   expect m1 accepted N         by all relays together
 *   expect m1 use N              how many messages its connection had carried, this one included
 *   expect m1 stage STAGE 3s..4s | none     how long it was in this stage, by its last outcome
 *   expect m1 held CAUSE         what it waited for in the pool, for the most part; - for nothing
 *   expect m1 seen STAGE CAUSE   what most looks saw it held by in this stage; - if nobody looked
 *   expect probe p1 accepted | refused | failed STAGE [ambiguous] ["words" …]
 *   expect probe p1 nowhere ["words" …]     there was nobody to ask
 *   expect probe p1 waits
 *   expect probe p1 after 5s..6s            from `probe` to its end
 *   expect probe p1 stage STAGE 3s..4s | none
 *   expect probe p1 held CAUSE              what it waited for in the pool when its time was up
 *   expect probe p1 addresses|banner|tls|mechanism|auth|announced|mail|rcpt|data|reply|host "words" | none
 *   expect wait STAGE [CAUSE] [relay=a] [messages=N] [since=3s..4s], expect no wait STAGE …
 *                                at this moment, as router_each_wait() tells it
 *   expect a opened|sockets|peak|accepted N        connections ever; open now; most at once; messages taken
 *   expect a refused|expired N   connections and transactions refused for its limits; connections closed in their
 *                                idle time for these; both since the last `mark`
 *   expect a got "TEXT" N        lines from the client that hold this
 *   expect pool a KEY N, expect pool a state|mode WORD        as relaypoolctl pools has it
 *   expect events KIND N         outcome opened closed failed replayed down up
 *   expect log TEXT [N], expect no log TEXT        lines of the log, and events: "event KIND relay=a: why"
 *   expect offer TEXT, expect no offer TEXT        what LHLO would say
 *   expect shutdown-done
 *
 * And in every scenario, without a word about it (promises.c, world.c, behaviour.c): each recipient has one verdict,
 * in time; what is reported sent was accepted, once, as it was given, and what is not was not (unless ambiguous);
 * verdicts other than sent were expected; an account's sockets stay within its cap; the client never talks before the
 * greeting, pipelines only where it may, never sends a body before 354, uses only what was announced, says nothing in
 * clear that belongs under TLS, never says NOOP or a needless RSET (with CHUNKING it may stand before any
 * MAIL, and must after a BDAT that was refused), never mixes DATA and BDAT; no password is logged; the stages of each
 * message add up to its time, at every moment; a probe has its end within a minute; at the end no socket, no timer, no message is left.
 */
#include <config.h>

#include <event2/buffer.h>
#include <event2/event.h>
#include <glob.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "certificate.h"
#include "script.h"
#include "world.h"

#define SECONDS_MAX 60 /* of real time for one scenario */
#define DIRECTORY_SIZE 64
#define REASONS_MAX 12     /* lines shown of a scenario that failed */
#define TRANSCRIPT_MAX 120 /* … of what happened in it; all with -v */

static struct {
	bool verbose, list;
	const char *title;
} options;

static char directory[DIRECTORY_SIZE] = "/tmp/relaypool-scenario-XXXXXX";
static const char *current = "none";
static unsigned passed, failed;

/* The process ends within a scenario: say in which. */
static void on_fatal(int signal_number)
{
	const char *text = signal_number == SIGALRM ? "\nnot ok, takes too long: " : "\nnot ok, the process ends in: ";

	if (write(STDERR_FILENO, text, strlen(text)) == -1 || write(STDERR_FILENO, current, strlen(current)) == -1 ||
	    write(STDERR_FILENO, "\n", 1) == -1)
		_exit(1);
	signal(signal_number, SIG_DFL);
	raise(signal_number);
}

/* Each scenario begins with an empty directory. */
static void empty_directory(const char *path)
{
	char *pattern = mem_printf("%s/*", path);
	glob_t found;

	if (glob(pattern, 0, NULL, &found) == 0) {
		for (size_t i = 0; i < found.gl_pathc; i++)
			unlink(found.gl_pathv[i]);
		globfree(&found);
	}
	free(pattern);
}

/* The last `most` lines. */
static void print(struct evbuffer *text, const char *before, size_t most)
{
	size_t lines = 0;
	char *line;
	struct evbuffer_ptr at;

	for (evbuffer_ptr_set(text, &at, 0, EVBUFFER_PTR_SET); (at = evbuffer_search(text, "\n", 1, &at)).pos != -1;
	     lines++)
		evbuffer_ptr_set(text, &at, 1, EVBUFFER_PTR_ADD);
	if (lines > most)
		printf("%s(%zu lines before)\n", before, lines - most);
	for (; (line = evbuffer_readln(text, NULL, EVBUFFER_EOL_LF)) != NULL; lines--) {
		if (lines <= most)
			printf("%s%s\n", before, line);
		free(line);
	}
}

static void run_one(const struct script *script, const struct scenario *scenario, const char *ca_file)
{
	char *path = mem_printf("%s/one", directory);
	char *title = mem_printf("%s:%u: %s", script->path, scenario->number, scenario->title);
	struct world *world;
	bool good;

	current = title;
	mkdir(path, 0700);
	alarm(SECONDS_MAX);
	world = world_create(path, ca_file);
	for (size_t i = 0; i < scenario->line_count && world_step(world, &scenario->lines[i]); i++)
		;
	world_finish(world);
	alarm(0);
	good = evbuffer_get_length(world->failures) == 0;
	good ? passed++ : failed++;
	if (!good || options.verbose)
		printf("%s %s\n", good ? "ok" : "not ok", title);
	print(world->failures, "    - ", REASONS_MAX);
	if (!good || options.verbose)
		print(world->transcript, "      ", options.verbose ? SIZE_MAX : TRANSCRIPT_MAX);
	world_free(world);
	empty_directory(path);
	rmdir(path);
	current = "none";
	free(title);
	free(path);
}

static bool run_file(const char *path, const char *ca_file)
{
	struct script script;
	char error[512];
	bool good = script_read(path, &script, error, sizeof(error));

	if (!good)
		fprintf(stderr, "%s\n", error);
	for (size_t i = 0; good && i < script.count; i++) {
		const struct scenario *scenario = &script.scenarios[i];

		if (options.title != NULL && strstr(scenario->title, options.title) == NULL)
			continue;
		if (options.list)
			printf("%s:%u: %s\n", path, scenario->number, scenario->title);
		else
			run_one(&script, scenario, ca_file);
	}
	script_free(&script);
	return good;
}

/* Those given, or all of them beside the source of this file. */
static bool run_files(int count, char **paths, const char *ca_file)
{
	const char *srcdir = getenv("srcdir");
	char *pattern = mem_printf("%s/tests/scenario/*.scn", srcdir != NULL ? srcdir : ".");
	glob_t found = {.gl_pathc = 0};
	bool good = true;

	if (count == 0 && glob(pattern, 0, NULL, &found) != 0)
		fprintf(stderr, "no scenarios: %s\n", pattern);
	for (int i = 0; i < count; i++)
		good = run_file(paths[i], ca_file) && good;
	for (size_t i = 0; i < found.gl_pathc; i++)
		good = run_file(found.gl_pathv[i], ca_file) && good;
	if (count == 0)
		globfree(&found);
	free(pattern);
	return good;
}

static void read_options(int argc, char **argv)
{
	int option;

	while ((option = getopt(argc, argv, "vlt:")) != -1) {
		switch (option) {
		case 'v':
			options.verbose = true;
			break;
		case 'l':
			options.list = true;
			break;
		case 't':
			options.title = optarg;
			break;
		default:
			exit(2);
		}
	}
}

int main(int argc, char **argv)
{
	char *ca_file;
	bool good;

	read_options(argc, argv);
	setvbuf(stdout, NULL, _IOLBF, 0);
	prctl(PR_SET_TIMERSLACK, 1); /* world.c pauses for microseconds, very often */
	signal(SIGPIPE, SIG_IGN);
	signal(SIGABRT, on_fatal);
	signal(SIGALRM, on_fatal);
	umask(077);
	if (mkdtemp(directory) == NULL) {
		perror(directory);
		return 1;
	}
	ca_file = mem_printf("%s/ca.pem", directory);
	good = certificates_create(ca_file) && run_files(argc - optind, argv + optind, ca_file);
	certificates_free();
	unlink(ca_file);
	rmdir(directory);
	free(ca_file);
	libevent_global_shutdown();
	if (!options.list)
		printf("scenarios: %u passed, %u failed\n", passed, failed);
	return good && failed == 0 && (passed > 0 || options.list) ? 0 : 1;
}
