/*
 * relaypoolctl: asks the daemon over its control socket and shows the answer. Run by an administrator or a program
 * (-j). One table says how each verb's answer is shown; the verbs themselves stand in admin/verbs.c.
 * Never reads the daemon's files, but for `check`, which also works without a daemon.
 */
#include <config.h>

#include <errno.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "admin/verbs.h"
#include "base/conf.h"

#define DEFAULT_SOCKET RUNSTATEDIR "/relaypool/control.sock"
#define DEFAULT_CONF SYSCONFDIR "/relaypool/relaypool.conf"
#define ANSWER_LIMIT 15 /* seconds until the daemon is given up */
#define SCREEN_WIDTH 80
#define CELL_SIZE 1024

enum exit_code {
	EXIT_OK = 0,
	EXIT_PROBLEM = 1,    /* the daemon refused, or the answer tells of a problem */
	EXIT_USAGE = 2,      /* the command line is wrong */
	EXIT_NO_DAEMON = 3,  /* nobody answers */
	EXIT_PERMISSION = 4, /* not for this user */
};

/* ---- cells ---- */

enum kind {
	KIND_TEXT = 0,
	KIND_COUNT,   /* right-aligned */
	KIND_SECONDS, /* a duration */
	KIND_BYTES,
	KIND_TIME /* a point of time */
};

struct column {
	const char *title;
	const char *key; /* in the daemon's JSON */
	enum kind kind;
	bool flexible; /* may be cut when 80 columns do not suffice, the last one first */
};

static void format_seconds(double seconds, char *out, size_t size)
{
	if (seconds < 0.9995)
		snprintf(out, size, "%.0fms", seconds * 1000);
	else if (seconds < 99.95)
		snprintf(out, size, "%.1fs", seconds);
	else if (seconds < 3600)
		snprintf(out, size, "%dm%02ds", (int)seconds / 60, (int)seconds % 60);
	else if (seconds < 86400)
		snprintf(out, size, "%dh%02dm", (int)seconds / 3600, (int)seconds / 60 % 60);
	else
		snprintf(out, size, "%lldd%02lldh", (long long)seconds / 86400, (long long)seconds / 3600 % 24);
}

static void format_bytes(double bytes, char *out, size_t size)
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
	size_t unit = 0;
	while (bytes >= 1024 && unit + 1 < sizeof(units) / sizeof(units[0])) {
		bytes /= 1024;
		unit++;
	}
	snprintf(out, size, unit > 0 ? "%.1f %s" : "%.0f %s", bytes, units[unit]);
}

static void format_time(double seconds, char *out, size_t size)
{
	time_t when = (time_t)seconds;
	struct tm local;
	if (!localtime_r(&when, &local) || strftime(out, size, "%Y-%m-%d %H:%M:%S", &local) == 0)
		snprintf(out, size, "-");
}

/* The value as it is shown, "-" if it is not known. What other hosts said cannot move the cursor. */
static const char *format_cell(const json_t *value, enum kind kind, char out[CELL_SIZE])
{
	double number = json_number_value(value);
	snprintf(out, CELL_SIZE, "-");
	if (json_is_string(value))
		snprintf(out, CELL_SIZE, "%s", *json_string_value(value) ? json_string_value(value) : "-");
	else if (json_is_number(value) && kind == KIND_SECONDS)
		format_seconds(number, out, CELL_SIZE);
	else if (json_is_number(value) && kind == KIND_BYTES)
		format_bytes(number, out, CELL_SIZE);
	else if (json_is_number(value) && kind == KIND_TIME)
		format_time(number, out, CELL_SIZE);
	else if (json_is_number(value))
		snprintf(out, CELL_SIZE, json_is_real(value) ? "%.6g" : "%.0f", number);
	for (char *c = out; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 127)
			*c = '?';
	return out;
}

static const char *format_key(const json_t *object, const char *key, enum kind kind, char out[CELL_SIZE])
{
	return format_cell(json_object_get(object, key), kind, out);
}

/* Columns on the screen: UTF-8 continuation octets take none. */
static size_t text_width(const char *text)
{
	size_t width = 0;
	for (; *text; text++)
		width += ((unsigned char)*text & 0xc0) != 0x80;
	return width;
}

/* Cuts a text to `width` columns; a '+' at the end says so. */
static void text_cut(char *text, size_t width)
{
	if (text_width(text) <= width)
		return;
	size_t seen = 0;
	char *c = text;
	for (; *c; c++)
		if (((unsigned char)*c & 0xc0) != 0x80 && seen++ == width - 1)
			break;
	c[0] = '+';
	c[1] = '\0';
}

/* ---- tables ---- */

#define COLUMNS_MAX 12

static void table_widths(const json_t *rows, const struct column *columns, size_t count, size_t widths[COLUMNS_MAX])
{
	char cell[CELL_SIZE];
	size_t total = count - 1;
	for (size_t i = 0; i < count; i++) {
		size_t row;
		const json_t *object;
		widths[i] = strlen(columns[i].title);
		json_array_foreach((json_t *)rows, row, object)
		{
			size_t width = text_width(format_key(object, columns[i].key, columns[i].kind, cell));
			widths[i] = width > widths[i] ? width : widths[i];
		}
		total += widths[i];
	}
	for (size_t i = count; i-- > 0 && total > SCREEN_WIDTH;) {
		size_t least = strlen(columns[i].title) + 4, excess = total - SCREEN_WIDTH;
		if (columns[i].flexible && widths[i] > least) {
			size_t cut = widths[i] - least < excess ? widths[i] - least : excess;
			widths[i] -= cut;
			total -= cut;
		}
	}
}

static void table_cell(char *cell, const struct column *column, size_t width, bool last)
{
	text_cut(cell, width);
	int padding = (int)(width - text_width(cell));
	bool right = column->kind != KIND_TEXT;
	printf("%*s%s%*s%s", right ? padding : 0, "", cell, right || last ? 0 : padding, "", last ? "\n" : " ");
}

static void table_print(const json_t *rows, const struct column *columns, size_t count)
{
	size_t widths[COLUMNS_MAX];
	char cell[CELL_SIZE];
	size_t row;
	const json_t *object;
	table_widths(rows, columns, count, widths);
	for (size_t i = 0; i < count; i++) {
		snprintf(cell, sizeof(cell), "%s", columns[i].title);
		table_cell(cell, &columns[i], widths[i], i + 1 == count);
	}
	json_array_foreach((json_t *)rows, row, object)
	{
		for (size_t i = 0; i < count; i++) {
			format_key(object, columns[i].key, columns[i].kind, cell);
			table_cell(cell, &columns[i], widths[i], i + 1 == count);
		}
	}
}

/* One object in full, a line for each key. */
static void record_print(const json_t *object, const struct column *columns, size_t count)
{
	char cell[CELL_SIZE];
	for (size_t i = 0; i < count; i++)
		printf("%-16s %s\n", columns[i].title, format_key(object, columns[i].key, columns[i].kind, cell));
}

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const struct column pool_columns[] = {
	{"RELAY", "relay", KIND_TEXT, true},       {"STATE", "state", KIND_TEXT, false},
	{"BUSY", "busy", KIND_COUNT, false},       {"IDLE", "idle", KIND_COUNT, false},
	{"OPENING", "opening", KIND_COUNT, false}, {"MAX", "max_connections", KIND_COUNT, false},
	{"WAIT", "waiting", KIND_COUNT, false},    {"OLDEST", "oldest_wait", KIND_SECONDS, false},
	{"SENT", "sent", KIND_COUNT, false},       {"DEFER", "deferred", KIND_COUNT, false},
	{"BOUNCE", "bounced", KIND_COUNT, false},
};

static const struct column pool_record[] = {
	{"relay", "relay", KIND_TEXT, false},
	{"account", "account", KIND_TEXT, false},
	{"state", "state", KIND_TEXT, false},
	{"reason", "reason", KIND_TEXT, false},
	{"next attempt in", "retry_in", KIND_SECONDS, false},
	{"mode", "mode", KIND_TEXT, false},
	{"because", "mode_reason", KIND_TEXT, false},
	{"for another", "mode_for", KIND_SECONDS, false},
	{"announced", "announced", KIND_TEXT, false},
	{"max-connections", "max_connections", KIND_COUNT, false},
	{"busy", "busy", KIND_COUNT, false},
	{"idle", "idle", KIND_COUNT, false},
	{"opening", "opening", KIND_COUNT, false},
	{"closing", "closing", KIND_COUNT, false},
	{"lingering", "lingering", KIND_COUNT, false},
	{"account sockets", "account_sockets", KIND_COUNT, false},
	{"account limit", "account_max", KIND_COUNT, false},
	{"waiting", "waiting", KIND_COUNT, false},
	{"oldest wait", "oldest_wait", KIND_SECONDS, false},
	{"sent", "sent", KIND_COUNT, false},
	{"deferred", "deferred", KIND_COUNT, false},
	{"bounced", "bounced", KIND_COUNT, false},
	{"ambiguous", "ambiguous", KIND_COUNT, false},
	{"wait p50", "wait_p50", KIND_SECONDS, false},
	{"wait p95", "wait_p95", KIND_SECONDS, false},
	{"transfer p50", "transfer_p50", KIND_SECONDS, false},
	{"transfer p95", "transfer_p95", KIND_SECONDS, false},
	{"transactions", "transactions", KIND_COUNT, false},
	{"reused", "reused", KIND_COUNT, false},
	{"replayed", "replayed", KIND_COUNT, false},
	{"opened", "opened", KIND_COUNT, false},
	{"closed", "closed", KIND_COUNT, false},
	{"failed", "failed", KIND_COUNT, false},
};

static const struct column connection_columns[] = {
	{"ID", "id", KIND_COUNT, false},
	{"RELAY", "relay", KIND_TEXT, true},
	{"STATE", "state", KIND_TEXT, false},
	{"FOR", "waits_for", KIND_TEXT, false},
	{"AGE", "age", KIND_SECONDS, false},
	{"SINCE", "since", KIND_SECONDS, false},
	{"USES", "uses", KIND_COUNT, false},
	{"NOW", "in_flight", KIND_COUNT, false},
	{"RTT", "round_trip", KIND_SECONDS, false},
	{"HOST", "host", KIND_TEXT, true},
};

static const struct column limit_columns[] = {
	{"RELAY", "relay", KIND_TEXT, true},      {"LIMIT", "limit", KIND_TEXT, false},
	{"NOW", "in_force", KIND_COUNT, false},   {"CONFIGURED", "configured", KIND_COUNT, false},
	{"LEARNED", "learned", KIND_TIME, false}, {"WHY", "why", KIND_TEXT, true},
};

static const struct column session_columns[] = {
	{"BY", "protocol", KIND_TEXT, false},        {"PEER", "peer", KIND_TEXT, true},
	{"UID", "uid", KIND_COUNT, false},           {"STATE", "state", KIND_TEXT, false},
	{"QUEUE-ID", "queue_id", KIND_TEXT, false},  {"RCPTS", "recipients", KIND_COUNT, false},
	{"AGE", "age", KIND_SECONDS, false},         {"SINCE", "since", KIND_SECONDS, false},
	{"MESSAGES", "messages", KIND_COUNT, false},
};

/* ---- verbs ---- */

/* Shows an answer; the exit code. */
typedef int show_fn(const json_t *answer, const char *argument);

static int show_left_out(const json_t *answer)
{
	if (json_object_get(answer, "left_out"))
		printf("and %lld more\n", (long long)json_integer_value(json_object_get(answer, "left_out")));
	return EXIT_OK;
}

static int show_pools(const json_t *answer, const char *argument)
{
	const json_t *pools = json_object_get(answer, "pools");
	int code = EXIT_OK;
	size_t i;
	const json_t *pool;
	if (argument)
		record_print(json_array_get(pools, 0), pool_record, COUNT(pool_record));
	else
		table_print(pools, pool_columns, COUNT(pool_columns));
	json_array_foreach((json_t *)pools, i, pool)
	{
		const char *state = json_string_value(json_object_get(pool, "state"));
		char reason[CELL_SIZE], retry[CELL_SIZE], relay[CELL_SIZE];
		if (!state || strcmp(state, "down") != 0)
			continue;
		code = EXIT_PROBLEM;
		if (!argument)
			printf("%s is down: %s; next attempt in %s\n", format_key(pool, "relay", KIND_TEXT, relay),
			       format_key(pool, "reason", KIND_TEXT, reason),
			       format_key(pool, "retry_in", KIND_SECONDS, retry));
	}
	show_left_out(answer);
	return code;
}

static int show_status(const json_t *answer, const char *argument)
{
	char a[CELL_SIZE], b[CELL_SIZE], c[CELL_SIZE], d[CELL_SIZE];
	printf("relaypoold %s, %s, pid %s, up %s\n", format_key(answer, "version", KIND_TEXT, a),
	       format_key(answer, "state", KIND_TEXT, b), format_key(answer, "pid", KIND_COUNT, c),
	       format_key(answer, "uptime", KIND_SECONDS, d));
	printf("configuration  %s\n", format_key(answer, "config_path", KIND_TEXT, a));
	printf("loaded         %s\n", format_key(answer, "config_loaded", KIND_TIME, a));
	bool serves = !json_is_false(json_object_get(answer, "milter_serves"));
	printf("milter         %s%s\n", format_key(answer, "milter", KIND_TEXT, a),
	       serves ? "" : ", stopped by itself: restart relaypoold");
	size_t i;
	const json_t *lmtp;
	json_array_foreach(json_object_get(answer, "lmtp"), i, lmtp)
		printf("lmtp           %s\n", format_cell(lmtp, KIND_TEXT, a));
	if (json_is_string(json_object_get(answer, "smtp")))
		printf("smtp           %s\n", format_key(answer, "smtp", KIND_TEXT, a));
	printf("sessions       %s\n", format_key(answer, "sessions", KIND_COUNT, a));
	printf("bodies         %s of %s in memory, %s in files\n", format_key(answer, "memory", KIND_BYTES, a),
	       format_key(answer, "memory_limit", KIND_BYTES, b), format_key(answer, "files", KIND_COUNT, c));
	if (json_integer_value(json_object_get(answer, "log_dropped")) > 0)
		printf("log            %s lines were lost: the system's logger is too slow or stopped\n",
		       format_key(answer, "log_dropped", KIND_COUNT, a));
	printf("\n");
	int code = show_pools(answer, argument);
	return serves ? code : EXIT_PROBLEM;
}

static int show_connections(const json_t *answer, const char *argument)
{
	(void)argument;
	table_print(json_object_get(answer, "connections"), connection_columns, COUNT(connection_columns));
	return show_left_out(answer);
}

static int show_limits(const json_t *answer, const char *argument)
{
	(void)argument;
	table_print(json_object_get(answer, "limits"), limit_columns, COUNT(limit_columns));
	return show_left_out(answer);
}

static int show_sessions(const json_t *answer, const char *argument)
{
	(void)argument;
	table_print(json_object_get(answer, "sessions"), session_columns, COUNT(session_columns));
	return show_left_out(answer);
}

static int show_config(const json_t *answer, const char *argument)
{
	(void)argument;
	char key[CELL_SIZE], value[CELL_SIZE];
	size_t i;
	const json_t *row;
	printf("# %s\n", format_key(answer, "path", KIND_TEXT, value));
	json_array_foreach(json_object_get(answer, "keys"), i, row)
		printf("%s = %s\n", format_key(row, "key", KIND_TEXT, key), format_key(row, "value", KIND_TEXT, value));
	return show_left_out(answer);
}

static int show_check(const json_t *answer, const char *argument)
{
	(void)argument;
	char text[CELL_SIZE];
	if (json_is_true(json_object_get(answer, "valid"))) {
		printf("%s is valid\n", format_key(answer, "path", KIND_TEXT, text));
		if (json_is_string(json_object_get(answer, "warning")))
			printf("warning: %s\n", format_key(answer, "warning", KIND_TEXT, text));
		return EXIT_OK;
	}
	printf("%s\n", format_key(answer, "problem", KIND_TEXT, text));
	return EXIT_PROBLEM;
}

static int show_done(const json_t *answer, const char *argument)
{
	char text[CELL_SIZE];
	printf("%s: done%s%s\n", format_key(answer, "done", KIND_TEXT, text), argument ? ", " : "",
	       argument ? argument : "");
	if (json_is_string(json_object_get(answer, "note")))
		printf("%s\n", format_key(answer, "note", KIND_TEXT, text));
	return EXIT_OK;
}

static int show_version(const json_t *answer, const char *argument)
{
	(void)argument;
	static const struct column columns[] = {
		{"relaypoold", "version", KIND_TEXT, false}, {"libmilter", "libmilter", KIND_TEXT, false},
		{"libevent", "libevent", KIND_TEXT, false},  {"openssl", "openssl", KIND_TEXT, false},
		{"libgsasl", "libgsasl", KIND_TEXT, false},  {"libconfuse", "libconfuse", KIND_TEXT, false},
		{"jansson", "jansson", KIND_TEXT, false},
	};
	printf("%-16s %s\n", "relaypoolctl", PACKAGE_VERSION);
	record_print(answer, columns, COUNT(columns));
	return EXIT_OK;
}

static show_fn *const shows[ADMIN_VERBS] = {
	[ADMIN_STATUS] = show_status,     [ADMIN_POOLS] = show_pools,    [ADMIN_CONNECTIONS] = show_connections,
	[ADMIN_SESSIONS] = show_sessions, [ADMIN_CONFIG] = show_config,  [ADMIN_CHECK] = show_check,
	[ADMIN_RELOAD] = show_done,       [ADMIN_PAUSE] = show_done,     [ADMIN_RESUME] = show_done,
	[ADMIN_DRAIN] = show_done,        [ADMIN_RECONNECT] = show_done, [ADMIN_VERSION] = show_version,
	[ADMIN_FORGET] = show_done,       [ADMIN_LIMITS] = show_limits,
};

/* ---- the daemon ---- */

static int complain(int code, const char *format, ...) PRINTF_LIKE(2, 3);

static int complain(int code, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	fputs("relaypoolctl: ", stderr);
	vfprintf(stderr, format, arguments);
	fputc('\n', stderr);
	va_end(arguments);
	return code;
}

/* A connected socket, or -1 with errno. */
static int daemon_connect(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	if (snprintf(address.sun_path, sizeof(address.sun_path), "%s", path) >= (int)sizeof(address.sun_path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	const struct timeval limit = {.tv_sec = ANSWER_LIMIT};
	if (fd == -1 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) == -1 ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) == -1 ||
	    connect(fd, (struct sockaddr *)&address, sizeof(address)) == -1) {
		int why = errno;
		if (fd != -1)
			close(fd);
		errno = why;
		return -1;
	}
	return fd;
}

/*
 * Sends all of it, without SIGPIPE. A daemon that turns us away has said why before it closed, so that a connection
 * closed meanwhile is no failure yet: its answer is read. False with errno.
 */
static bool daemon_send(int fd, const char *text, size_t length)
{
	while (length > 0) {
		ssize_t sent = send(fd, text, length, MSG_NOSIGNAL);
		if (sent == -1)
			return errno == EPIPE || errno == ECONNRESET;
		text += sent;
		length -= (size_t)sent;
	}
	return true;
}

/* Reads one line and closes. The caller's; NULL with errno (0: the daemon closed early). */
static char *daemon_answer(int fd)
{
	char *answer = NULL;
	size_t size = 0;
	FILE *stream = fdopen(fd, "r");
	if (!stream)
		return NULL;
	errno = 0;
	ssize_t length = getline(&answer, &size, stream);
	int why = errno;
	fclose(stream);
	if (length > 0 && answer[length - 1] == '\n')
		return answer;
	free(answer);
	errno = why;
	return NULL;
}

/* Sends the request and reads one line. The caller's; NULL with errno (0: the daemon closed early). */
static char *daemon_ask(int fd, const char *verb, const char *argument)
{
	json_t *request =
		argument ? json_pack("{s:s, s:[s]}", "verb", verb, "args", argument) : json_pack("{s:s}", "verb", verb);
	char *line = request ? json_dumps(request, JSON_COMPACT) : NULL;
	json_decref(request);
	if (!line) {
		close(fd);
		errno = EINVAL;
		return NULL;
	}
	bool sent = daemon_send(fd, line, strlen(line)) && daemon_send(fd, "\n", 1);
	int why = errno;
	free(line);
	if (sent)
		return daemon_answer(fd);
	close(fd);
	errno = why;
	return NULL;
}

/* What a refusal means for the caller. */
static int show_refusal(const json_t *answer)
{
	const char *reason = json_string_value(json_object_get(answer, "reason"));
	char text[CELL_SIZE];
	complain(EXIT_PROBLEM, "%s", format_key(answer, "error", KIND_TEXT, text));
	if (reason && strcmp(reason, "permission") == 0)
		return EXIT_PERMISSION;
	return reason && strcmp(reason, "usage") == 0 ? EXIT_USAGE : EXIT_PROBLEM;
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
		code = json_is_false(json_object_get(answer, "valid")) ? EXIT_PROBLEM : EXIT_OK;
	else
		code = shows[verb](answer, argument);
	if (json)
		fputs(line, stdout);
	json_decref(answer);
	return code;
}

static int no_daemon(const char *socket_path, int why)
{
	if (why == EACCES || why == EPERM)
		return complain(EXIT_PERMISSION,
				"may not connect to %s: become root or a member of the group that owns it",
				socket_path);
	if (why == ENOENT || why == ECONNREFUSED)
		return complain(EXIT_NO_DAEMON,
				"relaypoold does not run, or its control socket is not %s (-s names another)",
				socket_path);
	return complain(EXIT_NO_DAEMON, "cannot connect to %s: %s", socket_path, strerror(why));
}

/* The verb, asked of the daemon; the exit code. */
static int ask(const char *socket_path, enum admin_verb verb, const char *argument, bool json)
{
	int fd = daemon_connect(socket_path);
	if (fd == -1)
		return no_daemon(socket_path, errno);
	char *line = daemon_ask(fd, admin_verbs[verb].name, argument);
	if (!line)
		return complain(EXIT_NO_DAEMON, "relaypoold has not answered on %s: %s", socket_path,
				errno == EAGAIN ? "it is busy or hangs"
				: errno         ? strerror(errno)
						: "it closed the connection");
	int code = show_answer(line, verb, argument, json);
	free(line);
	return code;
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

static int usage(FILE *to, int code)
{
	fprintf(to,
		"usage: relaypoolctl [-j] [-s SOCKET] [VERB [RELAY]]\n"
		"       relaypoolctl [-j] [-c FILE] check\n"
		"\n"
		"  -s SOCKET  the daemon's control socket, instead of\n"
		"             %s\n"
		"  -c FILE    check this file, without the daemon\n"
		"  -j         print the daemon's JSON\n"
		"\n",
		DEFAULT_SOCKET);
	for (int i = 0; i < ADMIN_VERBS; i++)
		fprintf(to, "  %-11s %-8s %s\n", admin_verbs[i].name, admin_verbs[i].argument, admin_verbs[i].help);
	fprintf(to, "  %-11s %-8s %s\n", "help", "", "this text");
	return code;
}

/* True if a daemon listens there, to whom `check` can leave the question which file is the right one. */
static bool daemon_present(const char *socket_path)
{
	int fd = daemon_connect(socket_path);
	if (fd != -1)
		close(fd);
	return fd != -1;
}

int main(int argc, char **argv)
{
	const char *socket_path = DEFAULT_SOCKET, *file = NULL;
	bool json = false;
	int option;
	while ((option = getopt(argc, argv, "s:c:jh")) != -1) {
		switch (option) {
		case 's':
			socket_path = optarg;
			break;
		case 'c':
			file = optarg;
			break;
		case 'j':
			json = true;
			break;
		case 'h':
			return usage(stdout, EXIT_OK);
		default:
			return usage(stderr, EXIT_USAGE);
		}
	}
	const char *name = optind < argc ? argv[optind] : "status";
	const char *argument = optind + 1 < argc ? argv[optind + 1] : NULL;
	enum admin_verb verb;
	if (strcmp(name, "help") == 0)
		return usage(stdout, EXIT_OK);
	if (!admin_verb_find(name, &verb))
		return complain(EXIT_USAGE, "there is no verb \"%s\"; relaypoolctl help lists them", name);
	if (argc - optind > (*admin_verbs[verb].argument ? 2 : 1))
		return complain(EXIT_USAGE, "%s takes %s", name,
				*admin_verbs[verb].argument ? "one relay at most" : "no argument");
	if (file && verb != ADMIN_CHECK)
		return complain(EXIT_USAGE, "-c goes with check only");
	if (verb == ADMIN_CHECK && (file || !daemon_present(socket_path)))
		return check_file(file ? file : DEFAULT_CONF, json);
	return ask(socket_path, verb, argument, json);
}
