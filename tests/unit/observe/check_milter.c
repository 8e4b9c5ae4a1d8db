/*
 * Unit tests of observe/milter, against real libmilter and a small MTA that keeps to what was agreed (fake_mta.c).
 * libmilter runs once in a process, so each test needs Check's fork mode.
 */
#include <config.h>

#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <libmilter/mfapi.h>
#include <openssl/crypto.h>

#include "base/conf.h"
#include "base/log_limit.h"
#include "base/loop.h"
#include "base/publish.h"
#include "check_observe.h"
#include "fake_mta.h"
#include "observe/door.h"
#include "observe/milter.h"
#include "smtp/tag.h"

#define POSTFIX 6, MTA_POSTFIX_ACTIONS, MTA_POSTFIX_PROTOCOL
/* What is declined in any case, and where no reply is promised; in a session of the sample. */
#define NEVER_NEEDED \
	(SMFIP_NOHELO | SMFIP_NOBODY | SMFIP_NOUNKNOWN | SMFIP_NR_RCPT | SMFIP_NR_DATA | SMFIP_NR_HDR | SMFIP_NR_EOH)
#define NO_HEADERS (SMFIP_NOHDRS | SMFIP_NOEOH)

static char directory[] = "/tmp/check_milter.XXXXXX";
static char path[128], conf_path[128];
static struct milter_settings settings;
static struct conf *conf;
static const struct tag_key key = {.octets = "0123456789abcdef0123456789abcde"};

/* ---- the milter under test ---- */

static struct conf *conf_with(const char *routes)
{
	char error[CONF_ERROR_SIZE];
	FILE *file = fopen(conf_path, "w");
	fprintf(file,
		"relay \"far\" { host = \"relay.example\"  tls = \"none\" }\n%sroute \"default\" { relays = { \"far\" "
		"} }\n",
		routes);
	fclose(file);
	struct conf *loaded = conf_load(conf_path, error);
	ck_assert_msg(loaded != NULL, "%s", error);
	return loaded;
}

static void lost(void *arg)
{
	atomic_store((atomic_bool *)arg, true);
	loop_stop();
}

static atomic_bool is_lost;

/* What was told of outbound mail. */
static struct {
	unsigned count;
	bool has_sender;
	char sender[600], recipient[600];
} notice;

static void outbound(const char *sender, const char *recipient)
{
	notice.count++;
	notice.has_sender = sender != NULL;
	snprintf(notice.sender, sizeof notice.sender, "%s", sender != NULL ? sender : "");
	snprintf(notice.recipient, sizeof notice.recipient, "%s", recipient);
}

static void setup(void)
{
	OPENSSL_init_crypto(OPENSSL_INIT_NO_ATEXIT, NULL); /* as main does */
	ck_assert_ptr_nonnull(mkdtemp(directory));
	snprintf(path, sizeof path, "%s/milter.sock", directory);
	snprintf(conf_path, sizeof conf_path, "%s/relaypool.conf", directory);
	settings = (struct milter_settings){.endpoint = {.kind = ENDPOINT_UNIX},
					    .group = (gid_t)-1,
					    .mode = 0660,
					    .key = key,
					    .lost = lost,
					    .arg = &is_lost,
					    .outbound = outbound};
	strcpy(settings.endpoint.path, path);
	lines_start();
	ck_assert(loop_create());
}

static void teardown(void)
{
	milter_stop();
	if (conf != NULL)
		conf_unref(&conf);
	loop_free();
	lines_stop();
	unlink(path);
	unlink(conf_path);
	rmdir(directory);
}

static void start_with(const char *routes)
{
	char error[NET_ERROR_SIZE];
	conf = conf_with(routes);
	bool started = milter_start(&settings, conf, error);
	ck_assert_msg(started, "%s", error);
}

/* A tag that stands at the very front, alone, with a right MAC. */
static struct tag tag_of(const struct mta_result *result)
{
	struct tag tag = {0};
	ck_assert_int_eq(result->verdict, SMFIR_CONTINUE);
	ck_assert_uint_eq(result->actions, 1);
	ck_assert_uint_eq(result->index, 0);
	ck_assert_str_eq(result->name, "X-Relaypool");
	ck_assert(tag_parse(result->value, strlen(result->value), &key, &tag));
	return tag;
}

/* The routes in the tag of one message of one session. */
static const char *routes_for(const char *client, const char *user, const char *header, const char *value)
{
	static struct tag tag;
	struct mta mta;
	ck_assert(mta_open(&mta, path, POSTFIX));
	ck_assert(mta_connect(&mta, client));
	ck_assert(mta_mail(&mta, "<alice@example.com>", user));
	if (header != NULL)
		ck_assert(mta_header(&mta, header, value));
	struct mta_result result = mta_end(&mta, "4fXyZ1");
	mta_close(&mta);
	tag = tag_of(&result);
	return tag.routes;
}

/* ---- negotiation ---- */

START_TEST(headers_are_not_asked_for_if_no_route_needs_them)
{
	struct mta mta;
	start_with("");
	ck_assert(mta_open(&mta, path, POSTFIX));
	ck_assert_uint_eq(mta.version, 6);
	ck_assert_uint_eq(mta.actions, SMFIF_ADDHDRS);
	ck_assert_uint_eq(mta.protocol, NEVER_NEEDED | NO_HEADERS);
	mta_close(&mta);
}
END_TEST

START_TEST(only_a_condition_about_headers_asks_for_a_step_more)
{
	static const struct {
		const char *condition;
		unsigned long declined;
	} kinds[] = {
		{"clients = { \"192.0.2.0/24\" }", NO_HEADERS},
		{"users = { \"*\" }", NO_HEADERS},
		{"headers = { \"Subject: x\" }", 0},
		{"senders = { \"@example.com\" }", NO_HEADERS},
		{"recipients = { \"@example.com\" }", NO_HEADERS},
	};
	char route[256];
	struct mta mta;
	snprintf(route, sizeof route, "route \"r\" { relays = { \"far\" }  %s }\n", kinds[_i].condition);
	start_with(route);
	ck_assert(mta_open(&mta, path, POSTFIX));
	ck_assert_uint_eq(mta.protocol, NEVER_NEEDED | kinds[_i].declined);
	mta_close(&mta);
}
END_TEST

START_TEST(only_a_few_macros_are_asked_for)
{
	struct mta mta;
	start_with("");
	ck_assert(mta_open(&mta, path, POSTFIX));
	for (int place = 0; place < MTA_PLACES; place++)
		ck_assert_str_eq(mta.macros[place], place == SMFIM_EOM || place == SMFIM_DATA ? "i"
						    : place == SMFIM_CONNECT ? "{daemon_addr} {daemon_port} {if_addr}"
						    : place == SMFIM_ENVFROM ? "{auth_authen}"
						    : place == SMFIM_ENVRCPT ? "{rcpt_mailer}"
									     : "");
	mta_close(&mta);
}
END_TEST

/* libmilter has its own idea of what may follow what; a step that it does not expect gets no answer at all. */
START_TEST(a_message_without_headers_passes)
{
	static const char *const routes[] = {"",
					     "route \"r\" { relays = { \"far\" }  headers = { \"Subject: x\" } }\n"};
	struct mta mta;
	start_with(routes[_i]);
	ck_assert(mta_open(&mta, path, POSTFIX));
	for (int i = 0; i < 2; i++) {
		struct mta_result result = mta_end(&mta, "4fXyZ1");
		ck_assert_str_eq(tag_of(&result).routes, "");
	}
	mta_close(&mta);
}
END_TEST

START_TEST(few_replies_are_awaited)
{
	struct mta mta;
	start_with("route \"r\" { relays = { \"far\" }  clients = { \"192.0.2.1\" }  users = { \"*\" }  "
		   "headers = { \"Subject: x\" } }\n");
	ck_assert(mta_open(&mta, path, POSTFIX));
	ck_assert(mta_connect(&mta, "192.0.2.1"));
	ck_assert(mta_mail(&mta, "<alice@example.com>", "alice"));
	ck_assert(mta_rcpt(&mta, "<bob@example.net>", "relaypool"));
	ck_assert(mta_header(&mta, "Subject", "x"));
	ck_assert_uint_eq(mta.replies, 2); /* connect; MAIL, in the sample */
	struct mta_result result = mta_end(&mta, "4fXyZ1");
	ck_assert_str_eq(tag_of(&result).routes, "r");
	ck_assert_uint_eq(mta.replies, 2);
	mta_close(&mta);
}
END_TEST

START_TEST(an_old_mta_gets_nothing_that_it_did_not_offer)
{
	struct mta mta;
	start_with("route \"r\" { relays = { \"far\" }  users = { \"alice\" } }\n");
	ck_assert(mta_open(&mta, path, 2, SMFI_V2_ACTS, SMFI_V2_PROT));
	ck_assert_uint_eq(mta.version, 2);
	ck_assert_uint_eq(mta.actions, SMFIF_ADDHDRS);
	ck_assert_uint_eq(mta.protocol, (NEVER_NEEDED | NO_HEADERS) & SMFI_V2_PROT);
	ck_assert(!mta.macros_asked);
	ck_assert(mta_connect(&mta, "192.0.2.1"));
	ck_assert(mta_mail(&mta, "<alice@example.com>", "alice"));
	ck_assert(mta_header(&mta, "Subject", "x"));
	struct mta_result result = mta_end(&mta, "4fXyZ1");
	ck_assert_str_eq(tag_of(&result).routes, "r");
	ck_assert_uint_gt(mta.replies, 0);
	mta_close(&mta);
}
END_TEST

START_TEST(an_mta_that_skips_nothing_is_answered_at_each_step)
{
	struct mta mta;
	start_with("");
	ck_assert(mta_open(&mta, path, 6, SMFI_CURR_ACTS, SMFIP_SKIP));
	ck_assert_uint_eq(mta.protocol, 0);
	ck_assert(mta_connect(&mta, NULL));
	ck_assert(mta_mail(&mta, "<alice@example.com>", NULL));
	ck_assert(mta_rcpt(&mta, "<bob@example.net>", NULL));
	ck_assert(mta_header(&mta, "Subject", "x"));
	struct mta_result result = mta_end(&mta, "4fXyZ1");
	ck_assert_str_eq(tag_of(&result).queue_id, "4fXyZ1");
	ck_assert_uint_eq(mta.replies, 8); /* connect, HELO, MAIL, RCPT, DATA, header, end of header, body */
	mta_close(&mta);
}
END_TEST

START_TEST(an_mta_that_takes_no_header_is_warned_of_once_and_its_mail_passes)
{
	struct mta mta;
	start_with("");
	for (int i = 0; i < 3; i++) {
		ck_assert(mta_open(&mta, path, 6, SMFIF_CHGBODY, MTA_POSTFIX_PROTOCOL));
		ck_assert_uint_eq(mta.actions, 0);
		ck_assert(mta_mail(&mta, "<alice@example.com>", NULL));
		struct mta_result result = mta_end(&mta, "4fXyZ1");
		ck_assert_int_eq(result.verdict, SMFIR_CONTINUE);
		ck_assert_uint_eq(result.actions, 0);
		mta_close(&mta);
	}
	ck_assert_uint_eq(lines_count(), 1);
	ck_assert_int_eq(lines_level(0), LOG_LEVEL_WARNING);
	ck_assert_uint_eq(milter_counts().tagged, 0);
}
END_TEST

/* ---- the tag ---- */

START_TEST(the_tag_has_the_queue_id_and_the_time)
{
	struct mta mta;
	start_with("");
	int64_t before = clock_wall();
	ck_assert(mta_open(&mta, path, POSTFIX));
	struct mta_result result = mta_end(&mta, "4fXyZ1");
	struct tag tag = tag_of(&result);
	ck_assert_str_eq(tag.queue_id, "4fXyZ1");
	ck_assert_int_ge(tag.time, before);
	ck_assert_int_le(tag.time, clock_wall());
	ck_assert_str_eq(tag.routes, "");
	mta_close(&mta);
}
END_TEST

START_TEST(mail_without_a_proper_queue_id_passes_without_a_tag)
{
	static const char *const ids[] = {NULL,
					  "",
					  "a b",
					  "4f\r\nBcc: x",
					  "4f;r=vip",
					  "\xff",
					  "0123456789012345678901234567890123456789012345678901234567890123"};
	struct mta mta;
	start_with("");
	ck_assert(mta_open(&mta, path, POSTFIX));
	for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
		struct mta_result result = mta_end(&mta, ids[i]);
		ck_assert_int_eq(result.verdict, SMFIR_CONTINUE);
		ck_assert_uint_eq(result.actions, 0);
	}
	struct mta_result good = mta_end(&mta, "4fXyZ1");
	ck_assert_str_eq(tag_of(&good).queue_id, "4fXyZ1");
	ck_assert_uint_eq(lines_count(), 1);
	ck_assert_uint_eq(milter_counts().messages, sizeof ids / sizeof *ids + 1);
	ck_assert_uint_eq(milter_counts().tagged, 1);
	mta_close(&mta);
}
END_TEST

START_TEST(routes_too_many_for_a_tag_leave_the_mail_without_one)
{
	char routes[16384] = "";
	struct mta mta;
	for (int i = 0; i < 30; i++)
		snprintf(routes + strlen(routes), sizeof routes - strlen(routes),
			 "route \"a-name-that-is-rather-long-and-has-sixty-one-characters-in-%02d\" { relays = { "
			 "\"far\" }  "
			 "clients = { \"0.0.0.0/0\" } }\n",
			 i);
	start_with(routes);
	ck_assert(mta_open(&mta, path, POSTFIX));
	ck_assert(mta_connect(&mta, "192.0.2.1"));
	struct mta_result result = mta_end(&mta, "4fXyZ1");
	ck_assert_int_eq(result.verdict, SMFIR_CONTINUE);
	ck_assert_uint_eq(result.actions, 0);
	ck_assert_uint_eq(lines_count(), 1);
	mta_close(&mta);
}
END_TEST

/* ---- which routes hold ---- */

START_TEST(clients_are_matched_by_network)
{
	start_with("route \"office\" { relays = { \"far\" }  clients = { \"192.0.2.0/24\", \"2001:db8::/32\" } }\n"
		   "route \"local\" { relays = { \"far\" }  clients = { \"127.0.0.0/8\" } }\n");
	ck_assert_str_eq(routes_for("192.0.2.77", NULL, NULL, NULL), "office");
	ck_assert_str_eq(routes_for("2001:db8::1", NULL, NULL, NULL), "office");
	ck_assert_str_eq(routes_for("127.0.0.1", NULL, NULL, NULL), "local");
	ck_assert_str_eq(routes_for("198.51.100.1", NULL, NULL, NULL), "");
	ck_assert_str_eq(routes_for(NULL, NULL, NULL, NULL), "");
}
END_TEST

START_TEST(users_are_matched_by_pattern_and_a_star_is_any_authenticated)
{
	start_with("route \"shop\" { relays = { \"far\" }  users = { \"shop-*\", \"till\" } }\n"
		   "route \"any\" { relays = { \"far\" }  users = { \"*\" } }\n");
	ck_assert_str_eq(routes_for(NULL, "shop-7", NULL, NULL), "shop,any");
	ck_assert_str_eq(routes_for(NULL, "till", NULL, NULL), "shop,any");
	ck_assert_str_eq(routes_for(NULL, "alice@example.com", NULL, NULL), "any");
	ck_assert_str_eq(routes_for(NULL, "", NULL, NULL), "");
	ck_assert_str_eq(routes_for(NULL, NULL, NULL, NULL), "");
}
END_TEST

START_TEST(headers_are_matched_by_name_and_pattern)
{
	start_with("route \"bulk\" { relays = { \"far\" }  headers = { \"Precedence: bulk\", \"X-Campaign: *2024*\" } "
		   "}\n");
	ck_assert_str_eq(routes_for(NULL, NULL, "Precedence", "bulk"), "bulk");
	ck_assert_str_eq(routes_for(NULL, NULL, "PRECEDENCE", " Bulk \t"), "bulk");
	ck_assert_str_eq(routes_for(NULL, NULL, "X-Campaign", "spring\n\t2024,\r\n more"), "bulk");
	ck_assert_str_eq(routes_for(NULL, NULL, "Precedence", "bulky"), "");
	ck_assert_str_eq(routes_for(NULL, NULL, "Precedenc", "e: bulk"), "");
	ck_assert_str_eq(routes_for(NULL, NULL, "X-Precedence", "bulk"), "");
}
END_TEST

START_TEST(all_kinds_of_conditions_must_hold)
{
	start_with("route \"vip\" { relays = { \"far\" }  clients = { \"192.0.2.0/24\" }  users = { \"alice\" }  "
		   "headers = { \"X-Class: vip\" } }\n");
	ck_assert_str_eq(routes_for("192.0.2.1", "alice", "X-Class", "vip"), "vip");
	ck_assert_str_eq(routes_for("198.51.100.1", "alice", "X-Class", "vip"), "");
	ck_assert_str_eq(routes_for("192.0.2.1", "bob", "X-Class", "vip"), "");
	ck_assert_str_eq(routes_for("192.0.2.1", "alice", "X-Class", "common"), "");
	ck_assert_str_eq(routes_for("192.0.2.1", "alice", NULL, NULL), "");
}
END_TEST

START_TEST(routes_by_sender_and_recipient_are_not_named)
{
	start_with("route \"news\" { relays = { \"far\" }  senders = { \"news@example.com\" } }\n"
		   "route \"both\" { relays = { \"far\" }  senders = { \"@example.com\" }  users = { \"alice\" } }\n");
	ck_assert_str_eq(routes_for(NULL, "alice", NULL, NULL), "both");
}
END_TEST

START_TEST(a_huge_header_is_looked_at_only_so_far)
{
	char value[3000];
	memset(value, 'x', sizeof value);
	strcpy(value + sizeof value - 6, "eedle");
	start_with("route \"far-down\" { relays = { \"far\" }  headers = { \"X-Long: *eedle\" } }\n"
		   "route \"front\" { relays = { \"far\" }  headers = { \"X-Long: xxx*\" } }\n");
	ck_assert_str_eq(routes_for(NULL, NULL, "X-Long", value), "front");
}
END_TEST

START_TEST(a_submission_by_sendmail_is_tagged_like_any_other)
{
	struct mta mta;
	start_with("route \"local\" { relays = { \"far\" }  clients = { \"127.0.0.1\" } }\n");
	ck_assert(mta_open(&mta, path, POSTFIX));
	ck_assert(mta_connect(&mta, "127.0.0.1"));
	ck_assert(mta_mail(&mta, "alice@example.com", NULL)); /* no angle brackets */
	struct mta_result result = mta_end(&mta, "00081A91BEF");
	ck_assert_str_eq(tag_of(&result).routes, "local");
	mta_close(&mta);
}
END_TEST

/* ---- the notice of outbound mail ---- */

#define BY_SENDER "route \"news\" { relays = { \"far\" }  senders = { \"news@example.com\" } }\n"

/* One message of one session; then the loop has its turn. */
static void one_message(const char *sender, const char *recipient, const char *mailer)
{
	struct mta mta;
	ck_assert(mta_open(&mta, path, POSTFIX));
	ck_assert(mta_mail(&mta, sender, NULL));
	ck_assert(mta_rcpt(&mta, recipient, mailer));
	struct mta_result result = mta_end(&mta, "4fXyZ1"); /* what went before has been heard */
	ck_assert_int_eq(result.verdict, SMFIR_CONTINUE);
	mta_close(&mta);
	loop_settle();
}

START_TEST(outbound_mail_is_told_of)
{
	start_with(BY_SENDER);
	one_message("<alice@example.com>", "<bob@example.net>", "relaypool");
	ck_assert_uint_eq(notice.count, 1);
	ck_assert(notice.has_sender);
	ck_assert_str_eq(notice.sender, "alice@example.com");
	ck_assert_str_eq(notice.recipient, "bob@example.net");
}
END_TEST

START_TEST(addresses_are_told_as_the_envelope_has_them)
{
	static const char *const spellings[][2] = {
		{"<>", ""},
		{"<\"a>b\"@example.com>", "\"a>b\"@example.com"},
		{"alice@example.com", "alice@example.com"}, /* by sendmail(1) */
		{"<", "<"},
		{"", ""},
	};
	start_with(BY_SENDER);
	one_message(spellings[_i][0], spellings[_i][0], "relaypool");
	ck_assert_uint_eq(notice.count, 1);
	ck_assert(notice.has_sender);
	ck_assert_str_eq(notice.sender, spellings[_i][1]);
	ck_assert_str_eq(notice.recipient, spellings[_i][1]);
}
END_TEST

static void tell(enum event_kind kind)
{
	struct event event = {.kind = kind, .relay = "far", .host = "-"};
	publish(&event);
}

/* Whether the MTA is asked for recipients in a session that begins now. */
static bool asks_for_recipients(void)
{
	struct mta mta;
	ck_assert(mta_open(&mta, path, POSTFIX));
	mta_close(&mta);
	return (mta.protocol & SMFIP_NORCPT) == 0;
}

static unsigned sessions_with_recipients(unsigned count)
{
	unsigned with = 0;
	for (unsigned i = 0; i < count; i++)
		with += asks_for_recipients();
	return with;
}

START_TEST(recipients_are_asked_for_while_a_relay_is_quiet)
{
	clock_fake_start();
	start_with(BY_SENDER);
	ck_assert_uint_eq(sessions_with_recipients(30), 30);
	tell(EVENT_CONNECTION_OPENED);
	sessions_with_recipients(30); /* the sample is full */
	ck_assert(!asks_for_recipients());
	tell(EVENT_CONNECTION_OPENED);
	tell(EVENT_CONNECTION_CLOSED);
	ck_assert(!asks_for_recipients());
	tell(EVENT_CONNECTION_CLOSED);
	ck_assert(asks_for_recipients());
	publish_reset();
	clock_fake_stop();
}
END_TEST

START_TEST(more_is_asked_for_in_a_sample_of_sessions)
{
	struct mta mta;
	clock_fake_start();
	start_with("");
	tell(EVENT_CONNECTION_OPENED);
	ck_assert_uint_eq(sessions_with_recipients(30), 10);
	ck_assert(mta_open(&mta, path, POSTFIX));
	ck_assert_uint_eq(mta.protocol, NEVER_NEEDED | NO_HEADERS | SMFIP_NORCPT | SMFIP_NOMAIL | SMFIP_NR_MAIL);
	ck_assert(mta_connect(&mta, "192.0.2.1"));
	struct mta_result result = mta_end(&mta, "4fXyZ1");
	ck_assert_str_eq(tag_of(&result).queue_id, "4fXyZ1");
	ck_assert_uint_eq(mta.replies, 1);
	mta_close(&mta);
	clock_fake_advance(USEC_PER_SEC / 2);
	ck_assert_uint_eq(sessions_with_recipients(30), 5);
	publish_reset();
	clock_fake_stop();
}
END_TEST

START_TEST(outside_of_the_sample_mail_is_asked_for_by_conditions)
{
	static const struct {
		const char *condition;
		bool mail;
	} kinds[] = {{"clients = { \"192.0.2.0/24\" }", false},
		     {"users = { \"*\" }", true},
		     {"headers = { \"Subject: x\" }", true},
		     {"senders = { \"@example.com\" }", false}};
	char route[256];
	struct mta mta;
	clock_fake_start();
	snprintf(route, sizeof route, "route \"r\" { relays = { \"far\" }  %s }\n", kinds[_i].condition);
	start_with(route);
	tell(EVENT_CONNECTION_OPENED);
	sessions_with_recipients(30);
	ck_assert(mta_open(&mta, path, POSTFIX));
	ck_assert_int_eq((mta.protocol & SMFIP_NOMAIL) == 0, kinds[_i].mail);
	ck_assert((mta.protocol & SMFIP_NOCONNECT) == 0);
	ck_assert((mta.protocol & SMFIP_NR_MAIL) != 0);
	mta_close(&mta);
	publish_reset();
	clock_fake_stop();
}
END_TEST

START_TEST(a_recipient_in_the_sample_alone_is_no_notice)
{
	start_with("");
	tell(EVENT_CONNECTION_OPENED);
	one_message("<alice@example.com>", "<bob@example.net>", "relaypool");
	ck_assert_uint_eq(notice.count, 0);
	publish_reset();
}
END_TEST

START_TEST(the_sender_is_not_told_if_no_route_asks_for_it)
{
	start_with("");
	one_message("<alice@example.com>", "<bob@example.net>", "relaypool");
	ck_assert_uint_eq(notice.count, 1);
	ck_assert(!notice.has_sender);
}
END_TEST

START_TEST(mail_that_goes_another_way_is_not_told_of)
{
	static const char *const mailers[] = {"local", "smtp", "relaypool-direct", "Relaypool", "", NULL};
	start_with("");
	one_message("<alice@example.com>", "<bob@example.net>", mailers[_i]);
	ck_assert_uint_eq(notice.count, 0);
}
END_TEST

START_TEST(one_recipient_of_many_that_is_outbound_is_enough)
{
	struct mta mta;
	start_with("");
	ck_assert(mta_open(&mta, path, POSTFIX));
	ck_assert(mta_mail(&mta, "<alice@example.com>", NULL));
	ck_assert(mta_rcpt(&mta, "<alice@example.com>", "local"));
	ck_assert(mta_rcpt(&mta, "<bob@example.net>", "relaypool"));
	ck_assert(mta_rcpt(&mta, "<carol@example.com>", "local"));
	mta_end(&mta, "4fXyZ1");
	loop_settle();
	ck_assert_uint_eq(notice.count, 1);
	ck_assert_str_eq(notice.recipient, "bob@example.net");
	mta_close(&mta);
}
END_TEST

START_TEST(notices_are_a_second_apart)
{
	clock_fake_start();
	start_with("");
	for (int i = 0; i < 5; i++)
		one_message("<alice@example.com>", "<bob@example.net>", "relaypool");
	ck_assert_uint_eq(notice.count, 1);
	clock_fake_advance(USEC_PER_SEC - 1);
	one_message("<alice@example.com>", "<bob@example.net>", "relaypool");
	ck_assert_uint_eq(notice.count, 1);
	clock_fake_advance(1);
	one_message("<alice@example.com>", "<carol@example.net>", "relaypool");
	ck_assert_uint_eq(notice.count, 2);
	ck_assert_str_eq(notice.recipient, "carol@example.net");
	clock_fake_stop();
}
END_TEST

START_TEST(an_address_of_no_sensible_length_is_not_told)
{
	char address[600];
	memset(address, 'a', sizeof address);
	address[sizeof address - 1] = '\0';
	start_with(BY_SENDER);
	one_message("<alice@example.com>", address, "relaypool");
	ck_assert_uint_eq(notice.count, 0);
	one_message(address, "<bob@example.net>", "relaypool");
	ck_assert_uint_eq(notice.count, 1);
	ck_assert(!notice.has_sender);
}
END_TEST

/* ---- sessions ---- */

START_TEST(nothing_of_one_message_sticks_to_the_next)
{
	struct mta mta;
	start_with("route \"bulk\" { relays = { \"far\" }  headers = { \"Precedence: bulk\" } }\n"
		   "route \"alice\" { relays = { \"far\" }  users = { \"alice\" } }\n");
	ck_assert(mta_open(&mta, path, POSTFIX));
	ck_assert(mta_mail(&mta, "<a@example.com>", "alice"));
	ck_assert(mta_header(&mta, "Precedence", "bulk"));
	struct mta_result first = mta_end(&mta, "1st");
	ck_assert_str_eq(tag_of(&first).routes, "bulk,alice");
	ck_assert(mta_mail(&mta, "<b@example.com>", "bob"));
	struct mta_result second = mta_end(&mta, "2nd");
	ck_assert_str_eq(tag_of(&second).queue_id, "2nd");
	ck_assert_str_eq(tag_of(&second).routes, "");
	ck_assert(mta_mail(&mta, "<b@example.com>", "bob"));
	struct mta_result third = mta_end(&mta, NULL); /* the id of the last message is not this one's */
	ck_assert_uint_eq(third.actions, 0);
	ck_assert_uint_eq(milter_counts().connections, 1);
	mta_close(&mta);
}
END_TEST

START_TEST(an_aborted_message_leaves_nothing_behind)
{
	struct mta mta;
	start_with("route \"bulk\" { relays = { \"far\" }  headers = { \"Precedence: bulk\" } }\n");
	ck_assert(mta_open(&mta, path, POSTFIX));
	ck_assert(mta_mail(&mta, "<a@example.com>", NULL));
	ck_assert(mta_header(&mta, "Precedence", "bulk"));
	mta_abort(&mta);
	ck_assert(mta_mail(&mta, "<a@example.com>", NULL));
	struct mta_result result = mta_end(&mta, "2nd");
	ck_assert_str_eq(tag_of(&result).routes, "");
	ck_assert_uint_eq(milter_counts().messages, 1);
	mta_close(&mta);
}
END_TEST

START_TEST(garbage_ends_only_its_own_session)
{
	static const char unknown_command[] = {0, 0, 0, 1, '%'};
	static const char short_offer[] = {0, 0, 0, 3, 'O', 0, 0};
	static const char too_long[] = {0x7f, 0x7f, 0x7f, 0x7f, 'L'};
	static const struct {
		const char *octets;
		size_t length;
	} garbage[] = {{unknown_command, sizeof unknown_command},
		       {short_offer, sizeof short_offer},
		       {too_long, sizeof too_long},
		       {"GET / HTTP/1.0\r\n\r\n", 18}};
	struct mta good, bad;
	start_with("route \"bulk\" { relays = { \"far\" }  headers = { \"Precedence: bulk\" } }\n");
	ck_assert(mta_open(&good, path, POSTFIX));
	ck_assert(mta_mail(&good, "<a@example.com>", NULL));
	ck_assert(mta_header(&good, "Precedence", "bulk"));
	for (size_t i = 0; i < sizeof garbage / sizeof *garbage; i++) {
		ck_assert(mta_dial(&bad, path));
		mta_raw(&bad, garbage[i].octets, garbage[i].length);
		ck_assert(mta_closed(&bad));
		mta_close(&bad);
	}
	struct mta_result result = mta_end(&good, "4fXyZ1");
	ck_assert_str_eq(tag_of(&result).routes, "bulk");
	mta_close(&good);
}
END_TEST

/* syslog(3) may wait for a log daemon that reads nothing, and libmilter would call it where a session waits. */
START_TEST(what_libmilter_says_is_a_line_of_our_log)
{
	static const char short_offer[] = {0, 0, 0, 3, 'O', 0, 0};
	struct mta bad;
	start_with("");
	for (unsigned i = 0; i < 30; i++) {
		ck_assert(mta_dial(&bad, path));
		mta_raw(&bad, short_offer, sizeof short_offer);
		ck_assert(mta_closed(&bad));
		mta_close(&bad);
	}
	ck_assert_ptr_eq(strstr(lines_get(0), "warning: libmilter: relaypool: "), lines_get(0));
	unsigned lines = 0;
	for (unsigned i = 0; i < lines_count(); i++)
		lines += strncmp(lines_get(i), "warning: libmilter: ", 20) == 0;
	ck_assert_uint_ge(lines, 1);
	ck_assert_uint_le(lines, 11); /* it says as much each time */
	lines_forget();
	log_limit_tell();
	ck_assert_ptr_eq(strstr(lines_get(0), "log: line=libmilter, unlogged="), lines_get(0));
}
END_TEST

START_TEST(a_reload_changes_the_sessions_that_begin_after_it)
{
	struct mta before, after;
	start_with("route \"old\" { relays = { \"far\" }  users = { \"*\" } }\n");
	ck_assert(mta_open(&before, path, POSTFIX));
	struct conf *next = conf_with("route \"new\" { relays = { \"far\" }  users = { \"*\" } }\n");
	milter_set_conf(next);
	conf_unref(&next);
	conf_unref(&conf); /* only the session holds it now */
	ck_assert(mta_open(&after, path, POSTFIX));
	ck_assert(mta_mail(&before, "<a@example.com>", "alice"));
	ck_assert(mta_mail(&after, "<a@example.com>", "alice"));
	struct mta_result from_old = mta_end(&before, "1st"), from_new = mta_end(&after, "2nd");
	ck_assert_str_eq(tag_of(&from_old).routes, "old");
	ck_assert_str_eq(tag_of(&from_new).routes, "new");
	mta_close(&before);
	mta_close(&after);
}
END_TEST

/* One of many sessions: ten messages, each with a queue id of its own. */
static void *one_session(void *arg)
{
	struct mta mta;
	intptr_t number = (intptr_t)arg, right = 0;
	if (!mta_open(&mta, path, POSTFIX) || !mta_connect(&mta, number % 2 == 0 ? "192.0.2.1" : "198.51.100.1"))
		return NULL;
	for (int i = 0; i < 10; i++) {
		char id[32];
		struct tag tag;
		snprintf(id, sizeof id, "%dX%d", (int)number, i);
		if (!mta_mail(&mta, "<a@example.com>", i % 2 == 0 ? "alice" : "bob") ||
		    !mta_rcpt(&mta, "<bob@example.net>", "relaypool"))
			break;
		struct mta_result result = mta_end(&mta, id);
		if (!tag_parse(result.value, strlen(result.value), &key, &tag) || strcmp(tag.queue_id, id) != 0)
			break;
		right += strcmp(tag.routes, number % 2 == 0 && i % 2 == 0 ? "both" : "") == 0;
	}
	mta_close(&mta);
	return (void *)right;
}

START_TEST(fifty_sessions_at_once_get_each_its_own_tags)
{
	pthread_t threads[50];
	start_with("route \"both\" { relays = { \"far\" }  clients = { \"192.0.2.0/24\" }  users = { \"alice\" } }\n");
	for (intptr_t i = 0; i < 50; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, one_session, (void *)i), 0);
	for (int i = 0; i < 25; i++) { /* reloads meanwhile disturb nobody */
		milter_set_conf(conf);
		usleep(2000);
	}
	for (int i = 0; i < 50; i++) {
		void *right;
		pthread_join(threads[i], &right);
		ck_assert_int_eq((intptr_t)right, 10);
	}
	ck_assert_uint_eq(milter_counts().connections, 50);
	ck_assert_uint_eq(milter_counts().messages, 500);
	ck_assert_uint_eq(milter_counts().tagged, 500);
	ck_assert_uint_eq(notice.count, 0);
	loop_settle();
	ck_assert_uint_eq(notice.count, 1); /* while one is on its way there is no other */
}
END_TEST

/* ---- the door ---- */

static struct {
	unsigned waits, notes;
	char waiting[64];
	struct door_note note;
} door;

static void on_wait(const struct wait *wait, void *arg)
{
	(void)arg;
	door.waits++;
	snprintf(door.waiting, sizeof door.waiting, "%s", wait->queue_id);
}

static void on_note(const struct door_note *note, void *arg)
{
	(void)arg;
	door.notes++;
	door.note = *note;
}

/* DATA has no reply, so it may take a moment. */
static void wait_at_the_door(const char *queue_id)
{
	for (int i = 0; i < 500 && strcmp(door.waiting, queue_id) != 0; i++) {
		usleep(10 * 1000);
		door.waits = 0;
		door_each_wait(on_wait, NULL);
	}
	ck_assert_str_eq(door.waiting, queue_id);
	ck_assert_uint_eq(door.waits, 1);
}

/* With the macros of the MTA's end of the connection, or without: then nobody can be asked. */
START_TEST(the_door_hears_of_each_step)
{
	struct mta mta;
	start_with("");
	ck_assert(mta_open(&mta, path, POSTFIX));
	if (_i == 1)
		mta.daemon_addr = "192.0.2.25", mta.daemon_port = "25";
	ck_assert(mta_connect(&mta, "198.51.100.1"));
	ck_assert(mta_mail(&mta, "<alice@example.com>", NULL));
	ck_assert(mta_rcpt(&mta, "<bob@example.net>", "relaypool"));
	ck_assert(mta_rcpt(&mta, "<alice@example.com>", "local"));
	ck_assert(mta_data(&mta, "4fXyZ1"));
	wait_at_the_door("4fXyZ1");
	mta_end(&mta, "4fXyZ1");
	door.waits = 0;
	door_each_wait(on_wait, NULL);
	ck_assert_uint_eq(door.waits, 0);
	ck_assert_uint_eq(door_take_notes(on_note, NULL), 0);
	ck_assert_uint_eq(door.notes, 1);
	ck_assert_str_eq(door.note.queue_id, "4fXyZ1");
	ck_assert(door.note.outbound);
	ck_assert_int_eq(door.note.client >= 0, _i == 1);
	ck_assert_int_eq(door.note.unknown > 0, _i == 0);
	mta_close(&mta);
}
END_TEST

START_TEST(an_aborted_message_is_gone_from_the_door)
{
	struct mta mta;
	start_with("");
	ck_assert(mta_open(&mta, path, POSTFIX));
	ck_assert(mta_connect(&mta, "198.51.100.1"));
	ck_assert(mta_mail(&mta, "<alice@example.com>", NULL));
	mta_abort(&mta);
	door.waits = 1;
	for (int i = 0; i < 500 && door.waits > 0; i++) {
		usleep(10 * 1000);
		door.waits = 0;
		door_each_wait(on_wait, NULL);
	}
	ck_assert_uint_eq(door.waits, 0);
	ck_assert_uint_eq(door_take_notes(on_note, NULL), 0);
	ck_assert_uint_eq(door.notes, 0);
	mta_close(&mta);
}
END_TEST

/* ---- start and stop ---- */

START_TEST(the_socket_has_its_mode)
{
	struct stat status;
	settings.mode = 0620;
	start_with("");
	ck_assert_int_eq(stat(path, &status), 0);
	ck_assert_uint_eq(status.st_mode & 07777, 0620);
}
END_TEST

static int bind_socket(bool listening)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	strcpy(address.sun_path, path);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
	if (listening)
		ck_assert_int_eq(listen(fd, 5), 0);
	return fd;
}

START_TEST(a_stale_socket_is_replaced)
{
	struct mta mta;
	close(bind_socket(true));
	start_with("");
	ck_assert(mta_open(&mta, path, POSTFIX));
	mta_close(&mta);
}
END_TEST

START_TEST(a_live_socket_is_left_alone)
{
	char error[NET_ERROR_SIZE] = "";
	struct stat before, after;
	int fd = bind_socket(true);
	ck_assert_int_eq(stat(path, &before), 0);
	conf = conf_with("");
	ck_assert(!milter_start(&settings, conf, error));
	ck_assert_ptr_nonnull(strstr(error, path));
	ck_assert_int_eq(stat(path, &after), 0);
	ck_assert_uint_eq(before.st_ino, after.st_ino);
	close(fd);
}
END_TEST

START_TEST(an_unusable_path_is_named)
{
	char error[NET_ERROR_SIZE] = "";
	snprintf(settings.endpoint.path, sizeof settings.endpoint.path, "%s/missing/milter.sock", directory);
	conf = conf_with("");
	ck_assert(!milter_start(&settings, conf, error));
	ck_assert_ptr_nonnull(strstr(error, "/missing"));
	ck_assert_ptr_nonnull(strstr(error, "No such file"));
}
END_TEST

static uint16_t free_port(void)
{
	struct sockaddr_in6 address = {.sin6_family = AF_INET6}; /* both families */
	socklen_t length = sizeof address;
	int fd = socket(AF_INET6, SOCK_STREAM, 0);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, length), 0);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&address, &length), 0);
	close(fd);
	return ntohs(address.sin6_port);
}

START_TEST(it_listens_on_inet_too)
{
	static const char *const hosts[] = {"127.0.0.1", "::1", "localhost"};
	char error[NET_ERROR_SIZE];
	settings.endpoint = (struct endpoint){.kind = ENDPOINT_INET, .port = free_port()};
	strcpy(settings.endpoint.host, hosts[_i]);
	conf = conf_with("");
	bool started = milter_start(&settings, conf, error);
	ck_assert_msg(started, "%s", error);
}
END_TEST

START_TEST(after_the_stop_nobody_new_comes_and_sessions_go_on)
{
	struct mta session, late;
	start_with("");
	ck_assert(mta_open(&session, path, POSTFIX));
	milter_stop();
	milter_stop(); /* harmless */
	ck_assert(!mta_dial(&late, path));
	struct mta_result result = mta_end(&session, "4fXyZ1");
	ck_assert_str_eq(tag_of(&result).queue_id, "4fXyZ1");
	mta_close(&session);
	mta_close(&late);
}
END_TEST

#ifndef __SANITIZE_THREAD__
START_TEST(main_is_told_if_libmilter_ends_by_itself)
{
	struct mta mta;
	start_with("");
	ck_assert(mta_open(&mta, path, POSTFIX)); /* it has begun */
	ck_assert_int_eq(smfi_stop(), MI_SUCCESS);
	loop_run();
	ck_assert(atomic_load(&is_lost));
	mta_close(&mta);
}
END_TEST
#endif

START_TEST(a_signal_that_main_cannot_take_yet_waits_for_it)
{
	sigset_t term, pending;
	struct mta mta;
	start_with("");
	ck_assert(mta_open(&mta, path, POSTFIX)); /* it has begun */
	usleep(100 * 1000);
	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &term, NULL);
	kill(getpid(), SIGTERM);
	usleep(100 * 1000);
	ck_assert_int_eq(sigpending(&pending), 0);
	ck_assert(sigismember(&pending, SIGTERM)); /* nobody has taken it */
	struct mta_result result = mta_end(&mta, "4fXyZ1");
	ck_assert_str_eq(tag_of(&result).queue_id, "4fXyZ1");
	mta_close(&mta);
}
END_TEST

static atomic_int taken_by_main, taken_by_others;
static pthread_t main_thread;

static void on_term(int signal_number)
{
	(void)signal_number;
	if (pthread_equal(pthread_self(), main_thread))
		atomic_fetch_add(&taken_by_main, 1);
	else
		atomic_fetch_add(&taken_by_others, 1);
}

START_TEST(signals_go_to_the_main_thread_and_libmilter_goes_on)
{
	const struct sigaction action = {.sa_handler = on_term};
	struct mta mta;
	main_thread = pthread_self();
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGHUP, &action, NULL);
	start_with("");
	for (int i = 0; i < 50; i++) {
		kill(getpid(), i % 2 == 0 ? SIGTERM : SIGHUP);
		ck_assert(mta_open(&mta, path, POSTFIX));
		mta_close(&mta);
	}
	ck_assert_int_eq(atomic_load(&taken_by_main), 50);
	ck_assert_int_eq(atomic_load(&taken_by_others), 0);
}
END_TEST

static TCase *routes_case(void)
{
	TCase *tcase = tcase_create("routes");
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, the_tag_has_the_queue_id_and_the_time);
	tcase_add_test(tcase, mail_without_a_proper_queue_id_passes_without_a_tag);
	tcase_add_test(tcase, routes_too_many_for_a_tag_leave_the_mail_without_one);
	tcase_add_test(tcase, clients_are_matched_by_network);
	tcase_add_test(tcase, users_are_matched_by_pattern_and_a_star_is_any_authenticated);
	tcase_add_test(tcase, headers_are_matched_by_name_and_pattern);
	tcase_add_test(tcase, all_kinds_of_conditions_must_hold);
	tcase_add_test(tcase, routes_by_sender_and_recipient_are_not_named);
	tcase_add_test(tcase, a_huge_header_is_looked_at_only_so_far);
	tcase_add_test(tcase, a_submission_by_sendmail_is_tagged_like_any_other);
	return tcase;
}

static TCase *notice_case(void)
{
	TCase *tcase = tcase_create("notice");
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, outbound_mail_is_told_of);
	tcase_add_loop_test(tcase, addresses_are_told_as_the_envelope_has_them, 0, 5);
	tcase_add_test(tcase, recipients_are_asked_for_while_a_relay_is_quiet);
	tcase_add_test(tcase, more_is_asked_for_in_a_sample_of_sessions);
	tcase_add_loop_test(tcase, outside_of_the_sample_mail_is_asked_for_by_conditions, 0, 4);
	tcase_add_test(tcase, a_recipient_in_the_sample_alone_is_no_notice);
	tcase_add_test(tcase, the_sender_is_not_told_if_no_route_asks_for_it);
	tcase_add_loop_test(tcase, mail_that_goes_another_way_is_not_told_of, 0, 6);
	tcase_add_test(tcase, one_recipient_of_many_that_is_outbound_is_enough);
	tcase_add_test(tcase, notices_are_a_second_apart);
	tcase_add_test(tcase, an_address_of_no_sensible_length_is_not_told);
	return tcase;
}

static TCase *sessions_case(void)
{
	TCase *tcase = tcase_create("sessions");
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_set_timeout(tcase, 30);
	tcase_add_test(tcase, nothing_of_one_message_sticks_to_the_next);
	tcase_add_test(tcase, an_aborted_message_leaves_nothing_behind);
	tcase_add_test(tcase, garbage_ends_only_its_own_session);
	tcase_add_test(tcase, what_libmilter_says_is_a_line_of_our_log);
	tcase_add_test(tcase, a_reload_changes_the_sessions_that_begin_after_it);
	tcase_add_test(tcase, fifty_sessions_at_once_get_each_its_own_tags);
	tcase_add_loop_test(tcase, the_door_hears_of_each_step, 0, 2);
	tcase_add_test(tcase, an_aborted_message_is_gone_from_the_door);
	tcase_add_test(tcase, the_socket_has_its_mode);
	tcase_add_test(tcase, a_stale_socket_is_replaced);
	tcase_add_test(tcase, a_live_socket_is_left_alone);
	tcase_add_test(tcase, an_unusable_path_is_named);
	tcase_add_loop_test(tcase, it_listens_on_inet_too, 0, 3);
	tcase_add_test(tcase, after_the_stop_nobody_new_comes_and_sessions_go_on);
#ifndef __SANITIZE_THREAD__ /* libmilter's threads end by pulling the mutexes from under each other */
	tcase_add_test(tcase, main_is_told_if_libmilter_ends_by_itself);
#endif
	tcase_add_test(tcase, a_signal_that_main_cannot_take_yet_waits_for_it);
	tcase_add_test(tcase, signals_go_to_the_main_thread_and_libmilter_goes_on);
	return tcase;
}

Suite *milter_suite(void)
{
	Suite *suite = suite_create("milter");
	TCase *tcase = tcase_create("negotiation");
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, headers_are_not_asked_for_if_no_route_needs_them);
	tcase_add_loop_test(tcase, only_a_condition_about_headers_asks_for_a_step_more, 0, 5);
	tcase_add_test(tcase, only_a_few_macros_are_asked_for);
	tcase_add_loop_test(tcase, a_message_without_headers_passes, 0, 2);
	tcase_add_test(tcase, few_replies_are_awaited);
	tcase_add_test(tcase, an_old_mta_gets_nothing_that_it_did_not_offer);
	tcase_add_test(tcase, an_mta_that_skips_nothing_is_answered_at_each_step);
	tcase_add_test(tcase, an_mta_that_takes_no_header_is_warned_of_once_and_its_mail_passes);
	suite_add_tcase(suite, tcase);
	suite_add_tcase(suite, routes_case());
	suite_add_tcase(suite, notice_case());
	suite_add_tcase(suite, sessions_case());
	return suite;
}
