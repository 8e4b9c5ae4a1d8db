/* What the tests of the room ingest share; see harness.h. */
#include <config.h>

#include <errno.h>
#include <ftw.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <check.h>

#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/publish.h"
#include "base/spool.h"
#include "harness.h"
#include "smtp/envelope.h"
#include "smtp/reply.h"

struct router router;
struct ingest ingest;
unsigned sessions_ended;
char directory[64];

static char log_lines[65536], outcomes[65536], heard[1 << 20], body[1 << 20];

/* ---- the router ---- */

static void fake_take(struct router *self, struct message *message)
{
	ck_assert_uint_lt(self->taken_count, ROUTER_MESSAGES_MAX);
	self->taken[self->taken_count++] = message_ref(message);
}

static void fake_abandon(struct router *self, struct message *message)
{
	ck_assert_uint_lt(self->abandoned_count, ROUTER_MESSAGES_MAX);
	self->abandoned[self->abandoned_count++] = message;
	message->abandoned = true;
	message->owner = NULL;
}

static void fake_offer(const struct router *self, struct capabilities *out)
{
	*out = self->offer;
}

const struct ingest_router router_door = {
	.router = &router,
	.take = fake_take,
	.abandon = fake_abandon,
	.offer = fake_offer,
};

void relay_says(size_t message, size_t recipient, const char *line)
{
	char text[256];
	struct reply *reply;
	size_t used;
	const char *why;

	ck_assert_uint_lt(message, router.taken_count);
	snprintf(text, sizeof(text), "%s\r\n", line);
	ck_assert_int_eq(reply_parse(text, strlen(text), &used, &reply, &why), REPLY_COMPLETE);
	message_settle(&router.taken[message]->recipients[recipient], reply);
	reply_unref(&reply);
}

/* ---- what is said of it ---- */

static void append(char *lines, size_t size, const char *line)
{
	size_t length = strlen(lines);

	snprintf(lines + length, size - length, "%s\n", line);
}

static void on_log(enum log_level level, const char *line)
{
	(void)level;
	append(log_lines, sizeof(log_lines), line);
}

static void on_event(const struct event *event)
{
	char line[512], reply[256];

	if (event->kind == EVENT_ARRIVED)
		return;
	ck_assert_int_eq(event->kind, EVENT_OUTCOME);
	snprintf(line, sizeof(line), "%s: relay=%s, nrcpt=%u, status=%s (%s)", event->message->queue_id, event->relay,
		 event->recipients, status_names[event->status], reply_line(event->reply, reply, sizeof(reply)));
	append(outcomes, sizeof(outcomes), line);
}

const char *logged(void)
{
	return log_lines;
}

const char *published(void)
{
	return outcomes;
}

/* ---- life ---- */

static void on_ended(struct ingest *self)
{
	(void)self;
	sessions_ended++;
}

struct conf *harness_conf(const char *extra_lines)
{
	char path[128], error[CONF_ERROR_SIZE];

	snprintf(path, sizeof(path), "%s/relaypool.conf", directory);
	FILE *file = fopen(path, "w");
	ck_assert_ptr_nonnull(file);
	fprintf(file,
		"milter = \"unix:%s/milter.sock\"\n"
		"control = \"unix:%s/control.sock\"\n"
		"allow-users = { \"%s\" }\n"
		"hostname = \"mx.example\"\n"
		"spool-directory = \"%s\"\n"
		"%s"
		"relay \"one\" {\n\thost = \"relay.example\"\n\ttls = \"starttls\"\n}\n"
		"route \"staff\" {\n\trelays = { \"one\" }\n\tusers = { \"*\" }\n}\n"
		"route \"lists\" {\n\trelays = { \"one\" }\n\tclients = { \"192.0.2.0/24\" }\n}\n"
		"route \"default\" {\n\trelays = { \"one\" }\n}\n",
		directory, directory, getpwuid(geteuid())->pw_name, directory, extra_lines);
	ck_assert_int_eq(fclose(file), 0);
	struct conf *conf = conf_load(path, error);
	ck_assert_msg(conf != NULL, "%s", error);
	return conf;
}

void harness_start(void)
{
	strcpy(directory, "/tmp/check_ingest.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(directory));
	ck_assert(loop_create());
	clock_fake_start();
	log_capture(on_log);
	publish_subscribe(on_event);
	spool_configure(UINT64_C(64) << 20, directory);
	router = (struct router){
		.offer = {.bits = CAP_SIZE | CAP_8BITMIME | CAP_SMTPUTF8 | CAP_DSN, .size = 100000},
	};
	log_lines[0] = outcomes[0] = '\0';
	sessions_ended = 0;
	char lmtp[128];
	snprintf(lmtp, sizeof(lmtp), "lmtp = \"unix:%s/lmtp.sock\"\n", directory);
	ingest = (struct ingest){.relay = router_door, .ended = on_ended, .conf = harness_conf(lmtp)};
	memset(ingest.key.octets, 'k', sizeof(ingest.key.octets));
	list_init(&ingest.sessions);
}

static int remove_entry(const char *path, const struct stat *status, int kind, struct FTW *where)
{
	(void)status, (void)kind, (void)where;
	return remove(path);
}

void harness_stop(void)
{
	sessions_end(&ingest);
	for (size_t i = 0; i < router.taken_count; i++)
		message_unref(&router.taken[i]);
	conf_unref(&ingest.conf);
	ck_assert_int_eq(clock_next_due(), -1); /* no timer was left armed */
	ck_assert_uint_eq(spool_memory(), 0);
	ck_assert_uint_eq(spool_files(), 0);
	publish_reset();
	log_capture(NULL);
	clock_fake_stop();
	loop_free();
	ck_assert_int_eq(nftw(directory, remove_entry, 8, FTW_DEPTH | FTW_PHYS), 0);
}

/* ---- the MTA ---- */

int mta_connect_type(enum protocol protocol, int type)
{
	int pair[2];

	ck_assert_int_eq(socketpair(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
	session_start(&ingest, protocol, pair[0]);
	loop_settle();
	return pair[1];
}

int mta_connect(enum protocol protocol)
{
	return mta_connect_type(protocol, SOCK_STREAM);
}

void mta_say_octets(int fd, const char *octets, size_t length)
{
	size_t sent = 0;

	while (sent < length) {
		ssize_t n = send(fd, octets + sent, length - sent, MSG_NOSIGNAL);
		ck_assert_msg(n > 0 || errno == EAGAIN, "the session cannot be written to: %s", strerror(errno));
		sent += n > 0 ? (size_t)n : 0;
		loop_settle();
	}
}

void mta_say(int fd, const char *text)
{
	mta_say_octets(fd, text, strlen(text));
}

const char *mta_hear(int fd)
{
	size_t length = 0;
	ssize_t n;

	loop_settle();
	while ((n = recv(fd, heard + length, sizeof(heard) - length - 16, 0)) > 0) {
		length += (size_t)n;
		loop_settle();
	}
	strcpy(heard + length, n == 0 || errno == ECONNRESET ? "<closed>" : "");
	return heard;
}

void pass(usec_t time)
{
	clock_fake_advance(time);
	loop_settle();
}

const char *body_of(const struct message *message)
{
	ck_assert_ptr_nonnull(message->body);
	ck_assert_uint_lt(spool_size(message->body), sizeof(body));
	ssize_t n = spool_read(message->body, 0, body, sizeof(body) - 1);
	ck_assert_int_eq(n, (ssize_t)spool_size(message->body));
	body[n] = '\0';
	return body;
}
