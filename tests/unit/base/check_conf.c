/* Unit tests of base/conf: what a file means, and what every mistake in it is answered with. */
#include <config.h>

#include <arpa/inet.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/conf.h"
#include "base/mem.h"
#include "check_base.h"

#define ONE_RELAY "relay \"a\" { host = \"smtp.example.org\" }\n"

static char directory[32];
static char source[PATH_MAX]; /* of the project; srcdir may be relative */
static char error[CONF_ERROR_SIZE];
static char shown[16384]; /* what conf_show() said, as lines "key=value" */

static void make_directory(void)
{
	const char *srcdir = getenv("srcdir");
	ck_assert_ptr_nonnull(realpath(srcdir != NULL ? srcdir : ".", source));
	shown[0] = '\0';
	strcpy(directory, "/tmp/check_conf.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(directory));
	ck_assert_int_eq(chdir(directory), 0);
}

static void remove_directory(void)
{
	unlink("conf"), unlink("secret"), unlink("token");
	ck_assert_int_eq(chdir("/"), 0);
	ck_assert_int_eq(rmdir(directory), 0);
}

static void write_file(const char *name, const char *text, size_t length, mode_t mode)
{
	FILE *file = fopen(name, "w");
	ck_assert_ptr_nonnull(file);
	ck_assert_uint_eq(fwrite(text, 1, length, file), length);
	ck_assert_int_eq(fclose(file), 0);
	ck_assert_int_eq(chmod(name, mode), 0);
}

static struct conf *load(const char *text)
{
	write_file("conf", text, strlen(text), 0600);
	return conf_load("conf", error);
}

static struct conf *must_load(const char *text)
{
	struct conf *conf = load(text);
	ck_assert_msg(conf != NULL, "%s", error);
	return conf;
}

static const struct {
	const char *text;
	const char *error; /* FILE:LINE: included; a part of it is enough */
} mistakes[] = {
	/* syntax */
	{"", "conf:1: there is no relay section"},
	{"# nothing\n", "conf:1: there is no relay section"},
	{"hostnam = x\n" ONE_RELAY, "conf:1: unknown key hostnam at the top: hostname may be meant"},
	{"\n\nhost = x\n" ONE_RELAY, "conf:3: unknown key host at the top: it belongs into a relay section"},
	{"relay a {\n host = x\n max-conections = 3\n}",
	 "conf:3: unknown key max-conections in relay \"a\": max-connections"},
	{"relay a {\n host = b\n password = c\n}",
	 "conf:3: unknown key password in relay \"a\": password-file may be meant"},
	{"relay a {\n Host = b\n}", "conf:2: unknown key Host in relay \"a\": host may be meant"},
	{"relay a {\n host = b\n token = c\n}", "conf:3: unknown key token in relay \"a\"; known are: provider"},
	{"relay a {\n host = \"[smtp.example.com]:587\"\n}",
	 "conf:2: host = \"[smtp.example.com]:587\": brackets are for IPv6 addresses alone: write it without them"},
	{"relay a {\n host = \"[192.0.2.1]\"\n}", "brackets are for IPv6 addresses alone"},
	{"relay a {\n deadline = 3\n}", "conf:2: unknown key deadline in relay \"a\": it belongs at the top"},
	{"xyzzy = 3\n", "conf:1: unknown key xyzzy at the top; known are: milter, lmtp, smtp, control, user"},
	{"relay a { xyzzy = 3 }\n", "known are: provider, host, port, tls, tls-verify"},
	{"relay a { host = b }\n\"relay=a|host\" = c\n", "conf:2: unknown key host at the top"},
	{"\"\" = c\n", "conf:1: syntax error"},
	{"\"a\\nb\" = c\n", "conf:1: unknown key a?b at the top"},
	{"/* one\ntwo */ # three\nxyzzy = 3\n", "conf:3: unknown key xyzzy"},
	{"\nmilter = \"unix:/x\n\n" ONE_RELAY, "conf:2: the string that begins here is not closed on its line"},
	{"\nmilter = \"unix:/x\n\n", "conf:2: the string that begins here is not closed on its line"},
	{"\nmilter = 'unix:/x\\'\n\n", "conf:2: the string that begins here is not closed on its line"},
	{"relay a {\n host = b\n}\nroute \"r {\n relays = \"a\"\n}\n", "conf:4: the string that begins here is not"},
	{"\n\n/* milter\n", "conf:3: the comment that begins here is never closed"},
	{"\nrelay a {\n host = b\n", "conf:2: the brace that opens here is never closed"},
	{"relay a {\n host = { b\n}\n", "conf:1: the brace that opens here is never closed"},
	{"relay a {\n host = b\n}\n}\n", "conf:4: syntax error: unexpected closing brace"},
	{"deadline =\n", "conf:1: deadline has no value"},
	{"deadline = \n\nhostname = x\n" ONE_RELAY, "conf:1: deadline has no value"},
	{"deadline = # none\nallow-users += root\n" ONE_RELAY, "conf:1: deadline has no value"},
	{"/* so */ allow-users +=\n" ONE_RELAY, "conf:1: allow-users has no value"},
	{"relay a {\n host = b\n port =\n}\n", "conf:3: port has no value"},
	{"deadline = = 3\n", "conf:1: deadline has no value"},
	{"\xef\xbb\xbf" ONE_RELAY, "conf:1: the file begins with a byte order mark (UTF-8 BOM)"},
	{"relay {\n host = b\n}", "conf:1: syntax error: missing title for section 'relay'"},
	{"deadline 3\n", "conf:1: syntax error: missing equal sign after option 'deadline'"},
	{"deadline = { 3, 4 }\n", "conf:1: syntax error: unexpected token '{'"},
	{"deadline = 300\ndeadline = 400\n", "conf:2: deadline was given on line 1 already"},
	{"relay a {\n host = b\n host = { c, d }\n}", "conf:3: host was given on line 2 already"},
	{"relay a {\n host = b\n}\nrelay a {\n host = b\n}\n", "conf:4: two sections of one kind have the name \"a\""},
	{"hostname = \"a\\nb\"\n", "conf:1: hostname: control characters are not allowed"},
	{"relay \"a b\" {\n host = b\n}\n", "conf:1: relay \"a b\": a name is 1 to 64 letters"},
	{"relay \"\" {\n host = b\n}\n", "conf:1: relay \"\": a name is"},
	{"relay a23456789012345678901234567890123456789012345678901234567890abcde { host = b }", "a name is 1 to 64"},

	/* an empty list would be no list */
	{"allow-users = {}\n" ONE_RELAY, "conf:1: allow-users = {}: an empty list is not allowed"},
	{"lmtp =\n {\n }\n" ONE_RELAY, "conf:1: lmtp = {}: an empty list is not allowed"},
	{"relay a {\n host = { /* none */ }\n}\n", "conf:2: host = {}: an empty list is not allowed"},
	{"relay a {\n host = b\n auth = {}\n}\n", "conf:3: auth = {}: an empty list is not allowed"},
	{ONE_RELAY "route r {\n relays = {}\n}\n", "conf:3: relays = {}: an empty list is not allowed"},
	{ONE_RELAY "route r {\n relays = a\n senders = {\n # @example.org\n }\n}\n",
	 "conf:4: senders = {}: an empty list is not allowed: name at least one, or leave the key out"},
	{ONE_RELAY "route r {\n relays = a\n recipients = {}\n}\n", "conf:4: recipients = {}: an empty list"},
	{ONE_RELAY "route r {\n relays = a\n clients = {}\n}\n", "conf:4: clients = {}: an empty list"},
	{ONE_RELAY "route r {\n relays = a\n users += {}\n}\n", "conf:4: users = {}: an empty list"},
	{ONE_RELAY "route r {\n relays = a\n headers = {}\n}\n", "conf:4: headers = {}: an empty list"},

	/* values at the top */
	{"milter = tcp:25\n" ONE_RELAY, "conf:1: milter: tcp:25: a socket is unix:PATH, inet:PORT@HOST or"},
	{"control = inet:25@127.0.0.1\n" ONE_RELAY, "conf:1: control: unix:PATH is needed"},
	{"lmtp = inet:24@192.0.2.1\n" ONE_RELAY, "conf:1: lmtp: whoever reaches this socket may relay"},
	{"milter = unix:/a\nlmtp = { unix:/b, unix:/a }\n" ONE_RELAY,
	 "conf:2: lmtp: milter or control has the same socket"},
	{"lmtp = { unix:/b,\n unix:/b }\n" ONE_RELAY, "conf:1: lmtp: one socket stands there twice"},
	{"milter = unix:/a\ncontrol = unix:/a\n" ONE_RELAY, "conf:2: control: milter has the same socket"},
	{"smtp = inet:10025@127.0.0.1\n" ONE_RELAY, "conf:1: smtp, the direct listener, is allowed with failover"},
	{"failover = direct\n" ONE_RELAY, "conf:1: failover = \"direct\" needs the direct listener: set smtp"},
	{"failover = direct\nsmtp = inet:10025@192.0.2.1\n" ONE_RELAY, "conf:2: smtp: inet:PORT@HOST with a loopback"},
	{"failover = direct\nsmtp = inet:10025@127.example.org\n" ONE_RELAY,
	 "conf:2: smtp: inet:PORT@HOST with a loopback"},
	{"failover = direct\nsmtp = \"inet6:10025@[::2]\"\n" ONE_RELAY, "conf:2: smtp: inet:PORT@HOST with a loopback"},
	{"failover = direct\nsmtp = unix:/a\n" ONE_RELAY, "conf:2: smtp: inet:PORT@HOST with a loopback"},
	{"log-messages = slow\n" ONE_RELAY,
	 "conf:1: log-messages = \"slow\": allowed are \"auto\", \"all\", \"slow,failed\", \"none\""},
	{"slow-message = 0\n" ONE_RELAY, "conf:1: slow-message = \"0\": a number of seconds from 0.001 to 86400"},
	{"metrics = inet:9725@192.0.2.1\n" ONE_RELAY, "conf:1: metrics: inet:PORT@HOST with a loopback"},
	{"metrics = inet:9725@0.0.0.0\n" ONE_RELAY, "conf:1: metrics: inet:PORT@HOST with a loopback"},
	{"metrics = unix:/a\n" ONE_RELAY, "conf:1: metrics: inet:PORT@HOST with a loopback"},
	{"lmtp = inet:24@127.0.0.1\nmetrics = inet:24@127.0.0.1\n" ONE_RELAY,
	 "conf:2: metrics: lmtp has the same socket"},
	{"milter = inet:24@127.0.0.1\nmetrics = inet:24@127.0.0.1\n" ONE_RELAY,
	 "conf:2: metrics: milter or smtp has the same socket"},
	{"failover = direct\nsmtp = inet:24@127.0.0.1\nmetrics = inet:24@127.0.0.1\n" ONE_RELAY,
	 "conf:3: metrics: milter or smtp has the same socket"},
	{"failover = none\n" ONE_RELAY, "conf:1: failover = \"none\": allowed are queue, direct"},
	{"user = no-such-user\n" ONE_RELAY, "conf:1: user = \"no-such-user\": there is no such user"},
	{"socket-group = no-such-group\n" ONE_RELAY,
	 "conf:1: socket-group = \"no-such-group\": there is no such group"},
	{"socket-mode = 0999\n" ONE_RELAY, "conf:1: socket-mode = \"0999\": an octal mode"},
	{"socket-mode = 1777\n" ONE_RELAY, "conf:1: socket-mode = \"1777\": an octal mode"},
	{"allow-users = { root,\n no-such-user }\n" ONE_RELAY,
	 "conf:2: allow-users = \"no-such-user\": there is no such user"},
	{"allow-users = 4294967295\n" ONE_RELAY, "there is no such user"},
	{"deadline = 0\n" ONE_RELAY, "conf:1: deadline = \"0\": a number of seconds from 0.001 to 86400 is needed"},
	{"deadline = 1e3\n" ONE_RELAY, "conf:1: deadline = \"1e3\""},
	{"deadline = -1\n" ONE_RELAY, "conf:1: deadline = \"-1\""},
	{"deadline = 5m\n" ONE_RELAY, "conf:1: deadline = \"5m\""},
	{"deadline = 1.2.3\n" ONE_RELAY, "conf:1: deadline = \"1.2.3\""},
	{"reply-reserve = 540\n" ONE_RELAY, "conf:1: reply-reserve (540) must be less than deadline (540)"},
	{"deadline = 240\n" ONE_RELAY, "conf:1: reply-reserve (240) must be less than deadline (240)"},
	{"hostname = \"mail example\"\n" ONE_RELAY, "conf:1: hostname = \"mail example\": a host name in ASCII"},
	{"memory-limit = 1023K\n" ONE_RELAY, "conf:1: memory-limit = \"1023K\": a number of octets from 1M"},
	{"memory-limit = 1025G\n" ONE_RELAY, "conf:1: memory-limit = \"1025G\""},
	{"memory-limit = M\n" ONE_RELAY, "conf:1: memory-limit = \"M\""},
	{"memory-limit = 64MB\n" ONE_RELAY, "conf:1: memory-limit = \"64MB\""},
	{"spool-directory = spool\n" ONE_RELAY, "conf:1: spool-directory = \"spool\": an absolute path is needed"},

	{"stall-limits = { \"reply=10\",\n \"answer=3\" }\n" ONE_RELAY,
	 "conf:2: stall-limits = \"answer=3\": STAGE=SECONDS, as in \"reply=10\", is needed"},
	{"stall-limits = reply\n" ONE_RELAY, "conf:1: stall-limits = \"reply\""},
	{"stall-limits = \"reply=\"\n" ONE_RELAY, "conf:1: stall-limits = \"reply=\""},
	{"stall-limits = \"=5\"\n" ONE_RELAY, "conf:1: stall-limits = \"=5\""},
	{"stall-limits = \"reply=5s\"\n" ONE_RELAY, "conf:1: stall-limits = \"reply=5s\""},
	{"stall-limits = \"reply=0\"\n" ONE_RELAY, "with a number of seconds from 0.1 to 86400"},
	{"stall-limits = \"-=5\"\n" ONE_RELAY, "conf:1: stall-limits = \"-=5\""},
	{"relay a {\n host = b\n stall-limits = \"queue=60\"\n}\n",
	 "conf:3: stall-limits = \"queue=60\": this stage is no relay's, its limit stands at the top"},

	/* relays */
	{"relay a {\n}\n", "conf:1: relay \"a\" has no host"},
	{"\nrelay a {\n tls = none\n}\n", "conf:2: relay \"a\" has no host"},
	{"relay a {\n host = \"\"\n}\n", "conf:2: host = \"\": a host name in ASCII"},
	{"relay a {\n host = \"a b\"\n}\n", "conf:2: host = \"a b\""},
	{"relay a {\n host = { ok, \"b:0\" }\n}\n", "conf:2: host = \"b:0\""},
	{"relay a {\n host = \"b:65536\"\n}\n", "conf:2: host = \"b:65536\""},
	{"relay a {\n host = \"b:\"\n}\n", "conf:2: host = \"b:\""},
	{"relay a {\n host = \"[::1\"\n}\n", "conf:2: host = \"[::1\""},
	{"relay a {\n host = \"[::1]25\"\n}\n", "conf:2: host = \"[::1]25\""},
	{"relay a {\n host = \"1:2:3\"\n}\n", "conf:2: host = \"1:2:3\""},
	{"relay a {\n host = \"b\xc3\xbc.example\"\n}\n", "a host name in ASCII"},
	{"relay a {\n host = b\n port = 0\n}\n", "conf:3: port = \"0\": a port from 1 to 65535 is needed"},
	{"relay a {\n host = b\n tls = yes\n}\n", "conf:3: tls = \"yes\": allowed are none, starttls, implicit"},
	{"relay a {\n host = b\n tls-verify = maybe\n}\n", "conf:3: tls-verify = \"maybe\": true or false is needed"},
	{"relay a {\n host = b\n auth = NTLM\n}\n", "conf:3: auth = \"NTLM\": allowed are PLAIN, LOGIN, CRAM-MD5"},
	{"relay a {\n host = b\n max-connections = 1001\n}\n",
	 "conf:3: max-connections = \"1001\": a whole number from 1 to"},
	{"relay a {\n host = b\n max-connections = 0\n}\n", "conf:3: max-connections = \"0\""},
	{"relay a {\n host = b\n max-connections = 1.5\n}\n", "conf:3: max-connections = \"1.5\""},
	{"relay a {\n host = b\n min-connections = 11\n}\n",
	 "conf:3: min-connections = 11: at most max-connections (10)"},
	{"relay a {\n host = b\n rate = fast\n}\n", "conf:3: rate = \"fast\": a number of messages a second"},
	{"relay a {\n host = b\n streaming = fast\n}\n", "conf:3: streaming = \"fast\": allowed are off, auto, deep"},
	{"relay a {\n host = b\n reply-timeout = 0\n}\n", "conf:3: reply-timeout = \"0\""},
	{"relay a {\n host = b\n account = \"\"\n}\n", "conf:3: account = \"\": an empty text is not allowed"},

	{"relay a {\n host = b\n tls-ca-file = /none.pem\n}\n",
	 "conf:3: tls-ca-file: cannot open /none.pem: No such file"},
	{"relay a {\n host = b\n tls-ca-file = /dev/zero\n}\n", "conf:3: tls-ca-file: /dev/zero is not a regular file"},
	{"relay a {\n host = b\n tls-ca-file = /etc/passwd\n}\n",
	 "conf:3: tls-ca-file: cannot use /etc/passwd: no cert"},

	/* secrets; @ is the directory */
	{"relay a {\n host = b\n password-file = @/none\n username = u\n}\n", "/none: No such file or directory"},
	{"relay a {\n host = b\n password-file = secret\n username = u\n}\n", "an absolute path is needed"},
	{"relay a {\n host = b\n password-file = /dev/zero\n username = u\n}\n", "/dev/zero is not a regular file"},
	{"relay a {\n host = b\n password-file = @/secret\n}\n",
	 "conf:3: relay \"a\" has password-file but no username"},
	{"relay a {\n host = b\n token-file = @/token\n}\n", "conf:3: relay \"a\" has token-file but no username"},
	{"relay a {\n host = b\n auth = PLAIN\n}\n", "conf:3: relay \"a\" has auth but no username"},
	{"relay a {\n host = b\n username = u\n}\n", "conf:3: relay \"a\" has a username but no secret"},
	{"relay a {\n host = b\n username = u\n token-file = @/token\n token-command = x\n}\n",
	 "conf:5: relay \"a\" has both"},
	{"relay a {\n host = b\n username = u\n token-file = @/none\n}\n", "conf:4: token-file: cannot open"},
	{"relay a {\n host = b\n username = u\n password-file = @/secret\n tls = none\n}\n",
	 "conf:5: relay \"a\" has tls = \"none\" and a username: its secret would cross the network in clear. Use tls "
	 "= "
	 "\"starttls\" or \"implicit\", or say allow-cleartext-auth = true"},
	{"relay a {\n host = b\n username = u\n password-file = @/secret\n auth = XOAUTH2\n}\n",
	 "conf:5: auth: none of these mechanisms works with a password"},
	{"relay a {\n host = b\n username = u\n token-file = @/token\n auth = { PLAIN, LOGIN }\n}\n",
	 "conf:5: auth: none of these mechanisms works with a token"},

	/* routes */
	{ONE_RELAY "route r {\n}\n", "conf:2: route \"r\" has no relays"},
	{ONE_RELAY "route r {\n relays = { a, b }\n}\n",
	 "conf:3: relays = \"b\": there is no relay section of this name"},
	{ONE_RELAY "route r {\n relays = { a, a }\n}\n", "conf:3: route \"r\" names relay \"a\" twice"},
	{ONE_RELAY "route r {\n relays = a\n clients = 300.1.1.1\n}\n",
	 "conf:4: clients = \"300.1.1.1\": a network such as"},
	{ONE_RELAY "route r {\n relays = a\n headers = Subject\n}\n",
	 "conf:4: headers = \"Subject\": \"Name: pattern\""},
	{ONE_RELAY "route r {\n relays = a\n senders = { '@b', \"\" }\n}\n", "conf:4: senders = \"\": an empty text"},
	{ONE_RELAY "route r { relays = a }\nroute s {\n relays = a\n users = x\n}\n",
	 "conf:3: nothing comes to route \"s\", since route \"r\" before it has no conditions"},
	{ONE_RELAY "route r {\n relays = a\n senders = { '@x.org',\n example.org }\n}\n",
	 "conf:5: senders = \"example.org\": no address looks like this: \"@example.org\" for a domain"},
	{ONE_RELAY "route r {\n relays = a\n recipients = '<>'\n}\n", "conf:4: recipients = \"<>\": no recipient is"},
	{ONE_RELAY "route r { relays = a }\nroute r { relays = a }\n",
	 "conf:3: two sections of one kind have the name \"r\""},
};

START_TEST(a_mistake_is_named_with_its_line)
{
	char text[1024], *at;
	size_t used = 0;
	for (const char *p = mistakes[_i].text; *p != '\0' && used < sizeof(text) - sizeof(directory); p++) {
		if (*p == '@' && p[1] == '/')
			used += (size_t)snprintf(text + used, sizeof(text) - used, "%s", directory);
		else
			text[used++] = *p;
	}
	text[used] = '\0';
	write_file("secret", "pa55", 4, 0600);
	write_file("token", "t0ken", 5, 0600);
	struct conf *conf = load(text);
	ck_assert_msg(conf == NULL, "taken: %s", text);
	at = strstr(error, mistakes[_i].error);
	ck_assert_msg(at != NULL, "%s\n  said: %s\n  not: %s", text, error, mistakes[_i].error);
	ck_assert_ptr_null(strstr(error, "pa55"));
}
END_TEST

START_TEST(a_file_that_cannot_be_read_is_named)
{
	ck_assert_ptr_null(conf_load("/nonexistent/relaypool.conf", error));
	ck_assert_str_eq(error, "cannot open /nonexistent/relaypool.conf: No such file or directory");
	ck_assert_ptr_null(conf_load("/dev/zero", error));
	ck_assert_str_eq(error, "/dev/zero is not a regular file");
	write_file("conf", "relay\0a", 7, 0600);
	ck_assert_ptr_null(conf_load("conf", error));
	ck_assert_str_eq(error, "conf is not a text: a NUL octet stands in it");
}
END_TEST

START_TEST(a_value_may_stand_on_the_next_line)
{
	struct conf *conf =
		must_load("hostname = // ours\n \"relay\"\ndeadline =\n 300\nallow-users = {\n root\n}\n" ONE_RELAY);
	ck_assert_str_eq(conf->hostname, "relay");
	ck_assert_int_eq(conf->deadline, 300 * USEC_PER_SEC);
	conf_unref(&conf);
}
END_TEST

START_TEST(after_a_mistake_the_next_reading_is_unhurt)
{
	ck_assert_ptr_null(load("milter = \"unix:/a\n"));
	ck_assert_ptr_null(load("relay a { host = 'b\n"));
	ck_assert_ptr_null(load("relay a { host = { b"));
	struct conf *conf = must_load(ONE_RELAY);
	ck_assert_str_eq(conf->relays[0].name, "a");
	conf_unref(&conf);
}
END_TEST

START_TEST(one_line_is_a_whole_configuration)
{
	struct conf *conf = must_load(ONE_RELAY);
	char milter[NET_NAME_SIZE], lmtp[NET_NAME_SIZE], control[NET_NAME_SIZE];
	ck_assert_str_eq(endpoint_format(&conf->milter, milter), "unix:/var/spool/postfix/relaypool/milter.sock");
	ck_assert_uint_eq(conf->lmtp_count, 1);
	ck_assert_str_eq(endpoint_format(&conf->lmtp[0], lmtp), "unix:/var/spool/postfix/relaypool/lmtp.sock");
	ck_assert_str_eq(endpoint_format(&conf->control, control), "unix:/run/relaypool/control.sock");
	ck_assert(!conf->has_smtp);
	ck_assert_ptr_null(conf->user);
	ck_assert_ptr_null(conf->socket_group);
	ck_assert_uint_eq(conf->socket_mode, 0660);
	ck_assert_uint_eq(conf->allow_users[0], 0);
	ck_assert_uint_eq(conf->allow_user_count, getpwnam("postfix") != NULL ? 2 : 1);
	ck_assert_int_eq(conf->deadline, 540 * USEC_PER_SEC);
	ck_assert_int_eq(conf->reply_reserve, 240 * USEC_PER_SEC);
	ck_assert_str_ne(conf->hostname, "");
	ck_assert_int_eq(conf->failover, FAILOVER_QUEUE);
	ck_assert_uint_eq(conf->memory_limit, 64 << 20);
	ck_assert_str_eq(conf->spool_directory, LOCALSTATEDIR "/lib/relaypool");
	ck_assert_int_eq(conf->log_messages, LOG_MESSAGES_AUTO);
	ck_assert_int_eq(conf->slow_message, 5 * USEC_PER_SEC);
	ck_assert(!conf->wants_headers);
	conf_unref(&conf);
	ck_assert_ptr_null(conf);
}
END_TEST

START_TEST(a_relay_has_defaults)
{
	struct conf *conf = must_load(ONE_RELAY);
	const struct relay_conf *relay = conf_relay(conf, "a");
	ck_assert_ptr_nonnull(relay);
	ck_assert_ptr_eq(relay->conf, conf);
	ck_assert_str_eq(relay->hosts[0].host, "smtp.example.org");
	ck_assert_uint_eq(relay->hosts[0].port, 587);
	ck_assert_int_eq(relay->tls, TLS_STARTTLS);
	ck_assert(relay->tls_verify);
	ck_assert(!relay->allow_cleartext_auth);
	ck_assert_str_eq(relay->account, "smtp.example.org");
	ck_assert_uint_eq(relay->max_connections, 10);
	ck_assert_uint_eq(relay->min_connections, 0);
	ck_assert_uint_eq(relay->max_messages, 0);
	ck_assert_int_eq(relay->max_age, 300 * USEC_PER_SEC);
	ck_assert_int_eq(relay->idle_timeout, 60 * USEC_PER_SEC);
	ck_assert(relay->rate == 0);
	ck_assert_int_eq(relay->streaming, STREAMING_AUTO);
	ck_assert_int_eq(relay->timeouts[STAGE_CONNECT], 30 * USEC_PER_SEC);
	ck_assert_int_eq(relay->timeouts[STAGE_BODY], 180 * USEC_PER_SEC);
	ck_assert_int_eq(relay->timeouts[STAGE_REPLY], 600 * USEC_PER_SEC);
	ck_assert_int_eq(relay->timeouts[STAGE_POOL], 0);
	conf_unref(&conf);
}
END_TEST

START_TEST(hosts_may_have_their_own_ports)
{
	struct conf *conf =
		must_load("relay a { tls = implicit\n host = { one, # the first\n \"two:2525\", \"[::1]:26\", ::2,\n"
			  " '192.0.2.1' } }\nrelay b { host = one port = 25 username = u token-command = 'echo x' }");
	const struct relay_conf *relay = conf_relay(conf, "a");
	static const struct host_port expected[] = {
		{"one", 465}, {"two", 2525}, {"::1", 26}, {"::2", 465}, {"192.0.2.1", 465}};
	ck_assert_uint_eq(relay->host_count, 5);
	for (size_t i = 0; i < 5; i++) {
		ck_assert_str_eq(relay->hosts[i].host, expected[i].host);
		ck_assert_uint_eq(relay->hosts[i].port, expected[i].port);
	}
	ck_assert_uint_eq(conf_relay(conf, "b")->hosts[0].port, 25);
	ck_assert_str_eq(conf_relay(conf, "b")->account, "u@one");
	ck_assert_ptr_null(conf_relay(conf, "c"));
	conf_unref(&conf);
}
END_TEST

START_TEST(values_may_be_small_fractions)
{
	struct conf *conf =
		must_load("deadline = 0.5 reply-reserve = .2\nrelay a { host = b rate = 2.5 idle-timeout = 0.2 }");
	ck_assert_int_eq(conf->deadline, 500 * USEC_PER_MSEC);
	ck_assert_int_eq(conf->reply_reserve, 200 * USEC_PER_MSEC);
	ck_assert_int_eq(conf->relays[0].idle_timeout, 200 * USEC_PER_MSEC);
	ck_assert(conf->relays[0].rate > 2.49 && conf->relays[0].rate < 2.51);
	conf_unref(&conf);
}
END_TEST

START_TEST(users_are_names_or_numbers)
{
	struct conf *conf = must_load("allow-users = { 4711, root }\nmemory-limit = 2097152\n" ONE_RELAY);
	ck_assert_uint_eq(conf->allow_user_count, 2);
	ck_assert_uint_eq(conf->allow_users[0], 4711);
	ck_assert_uint_eq(conf->allow_users[1], 0);
	ck_assert_uint_eq(conf->memory_limit, 2 << 20);
	conf_unref(&conf);
}
END_TEST

START_TEST(the_direct_listener_is_on_loopback)
{
	static const char *const hosts[] = {"127.0.0.1", "127.8.8.8", "[::1]", "localhost"};
	for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++) {
		char *text = mem_printf("failover = direct smtp = \"inet:10025@%s\"\n" ONE_RELAY, hosts[i]);
		struct conf *conf = must_load(text);
		ck_assert(conf->has_smtp);
		ck_assert_uint_eq(conf->smtp.port, 10025);
		ck_assert_int_eq(conf->failover, FAILOVER_DIRECT);
		conf_unref(&conf);
		free(text);
	}
}
END_TEST

static struct conf *load_with_secret(const char *keys)
{
	char *text =
		mem_printf("relay a { host = b\n username = u\n %s\n password-file = %s/secret\n}", keys, directory);
	struct conf *conf = load(text);
	free(text);
	return conf;
}

START_TEST(a_password_is_one_line)
{
	static const char *const good[] = {"p a\"55", "p a\"55\n", "p a\"55\r\n"};
	static const char *const bad[] = {"", "\n", "\np a\"55", "p a\"55\nand more\n"};
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		write_file("secret", good[i], strlen(good[i]), 0640);
		struct conf *conf = load_with_secret("");
		ck_assert_msg(conf != NULL, "%s", error);
		ck_assert_str_eq(conf->relays[0].password, "p a\"55");
		conf_unref(&conf);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		write_file("secret", bad[i], strlen(bad[i]), 0640);
		ck_assert_ptr_null(load_with_secret(""));
		ck_assert_ptr_nonnull(strstr(error, "conf:4: password-file: "));
		ck_assert_ptr_nonnull(strstr(error, "must hold one line, the password"));
	}
}
END_TEST

START_TEST(a_secret_that_everybody_may_read_is_refused)
{
	write_file("secret", "pa55", 4, 0644);
	ck_assert_ptr_null(load_with_secret(""));
	ck_assert_ptr_nonnull(strstr(error, "holds a secret, but everybody may read it: chmod 0640 "));
	ck_assert_int_eq(chmod("secret", 0602), 0);
	ck_assert_ptr_null(load_with_secret(""));
	ck_assert_ptr_nonnull(strstr(error, "everybody may write it"));
}
END_TEST

START_TEST(clear_text_needs_words)
{
	write_file("secret", "pa55", 4, 0600);
	struct conf *conf = load_with_secret("tls = none\n allow-cleartext-auth = true\n auth = { login, plain }");
	ck_assert_msg(conf != NULL, "%s", error);
	ck_assert(conf->relays[0].allow_cleartext_auth);
	ck_assert_str_eq(conf->relays[0].auth[0], "LOGIN");
	ck_assert_str_eq(conf->relays[0].auth[1], "PLAIN");
	conf_unref(&conf);
}
END_TEST

START_TEST(without_routes_all_relays_are_the_default)
{
	struct conf *conf = must_load("relay b { host = x }\nrelay a { host = x }\n");
	ck_assert_uint_eq(conf->route_count, 1);
	ck_assert_str_eq(conf->routes[0].name, "default");
	ck_assert_uint_eq(conf->routes[0].relay_count, 2);
	ck_assert_str_eq(conf->routes[0].relays[0]->name, "b");
	ck_assert_str_eq(conf->routes[0].relays[1]->name, "a");
	ck_assert(route_conf_unconditional(&conf->routes[0]));
	conf_unref(&conf);
}
END_TEST

START_TEST(routes_have_conditions)
{
	struct conf *conf = must_load("route one { relays = { b, a } clients = { 192.0.2.0/24, ::1 } }\n"
				      "route two { relays = a senders = '@example.org' }\n"
				      "route three { relays = a users = '*' headers = 'X-Campaign: news-*' }\n"
				      "relay a { host = x }\nrelay b { host = x }\n");
	ck_assert_uint_eq(conf->route_count, 3);
	ck_assert_ptr_eq(conf->routes[0].relays[0], &conf->relays[1]);
	ck_assert_uint_eq(conf->routes[0].client_count, 2);
	ck_assert(route_conf_needs_tag(&conf->routes[0]));
	ck_assert(!route_conf_needs_tag(&conf->routes[1]));
	ck_assert(!route_conf_unconditional(&conf->routes[1]));
	ck_assert(route_conf_needs_tag(&conf->routes[2]));
	ck_assert_str_eq(conf->routes[2].headers[0], "X-Campaign: news-*");
	ck_assert(conf->wants_headers);
	conf_unref(&conf);
}
END_TEST

START_TEST(routes_are_at_most_64)
{
	char text[8192] = ONE_RELAY;
	for (int i = 1; i <= CONF_ROUTES_MAX; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "route r%d { relays = a users = u }\n", i);
	struct conf *conf = must_load(text);
	ck_assert_uint_eq(conf->route_count, CONF_ROUTES_MAX);
	conf_unref(&conf);
	snprintf(text + strlen(text), sizeof(text) - strlen(text), "route more { relays = a }\n");
	ck_assert_ptr_null(load(text));
	ck_assert_str_eq(error, "conf:66: 65 route sections: at most 64 are allowed");
}
END_TEST

static const struct {
	const char *pattern, *address;
	bool matches;
} addresses[] = {
	{"a@example.org", "A@Example.Org", true},
	{"a@example.org", "b@example.org", false},
	{"*@example.org", "b@example.org", true},
	{"news-?@*", "news-1@example.org", true},
	{"@example.org", "b@EXAMPLE.org", true},
	{"@example.org", "b@sub.example.org", false},
	{"@example.org", "\"b@example.org\"@example.com", false},
	{"@example.org", "example.org", false},
	{".example.org", "b@sub.example.org", true},
	{".example.org", "b@deep.sub.EXAMPLE.org", true},
	{".example.org", "b@example.org", false},
	{".example.org", "b@badexample.org", false},
	{".example.org", "b.example.org", false},
	{"<>", "", true},
	{"<>", "a@example.org", false},
	{"@example.org", "", false},
	{"*", "", true},
};

START_TEST(an_address_matches_its_pattern)
{
	char *pattern = mem_strdup(addresses[_i].pattern);
	ck_assert_int_eq(conf_address_matches(&pattern, 1, addresses[_i].address), addresses[_i].matches);
	free(pattern);
}
END_TEST

static const struct {
	const char *pattern;
	bool recipient, possible;
} possible[] = {
	{"@example.org", true, true},
	{".example.org", true, true},
	{"a@example.org", true, true},
	{"*", true, true},
	{"news-*", true, true}, /* a whole address may look like this */
	{"@*.example.org", false, true},
	{"*@[a-m]*", false, true},
	{"\"a@b\"@example.org", false, true},
	{"@?192.0.2.1?", false, true},
	{"<>", false, true},
	{"<>", true, false},
	{"Postmaster", true, true},
	{"postmaster", false, false},
	{"example.org", true, false},
	{"@", true, false},
	{"a@", true, false},
	{".", true, false},
	{"@.example.org", true, false},
	{"@example.org.", true, false},
	{"@@example.org", true, false},
	{".*.org", true, false},
	{".a@example.org", true, false},
	{"<a@example.org>", true, false},
	{" a@example.org", true, false},
	{"a@example.org ", true, false},
	{"@[192.0.2.1]", true, false},
	{"a@[IPv6:2001:db8::1]", true, false},
};

START_TEST(a_pattern_that_no_address_matches_is_refused)
{
	char text[256];
	snprintf(text, sizeof(text), ONE_RELAY "route r {\n relays = a\n %s = '%s'\n}\n",
		 possible[_i].recipient ? "recipients" : "senders", possible[_i].pattern);
	struct conf *conf = load(text);
	ck_assert_msg((conf != NULL) == possible[_i].possible, "%s: %s", text, error);
	conf_unref(&conf);
}
END_TEST

START_TEST(a_milter_socket_open_to_others_is_warned_of)
{
	struct conf *conf = must_load("\nmilter = inet:8891@192.0.2.1\n" ONE_RELAY);
	ck_assert_ptr_nonnull(conf->warning);
	ck_assert_msg(strstr(conf->warning, "conf:2: milter: libmilter asks nobody") == conf->warning, "%s",
		      conf->warning);
	conf_unref(&conf);
	conf = must_load("milter = inet:8891@127.0.0.1\n" ONE_RELAY);
	ck_assert_ptr_null(conf->warning);
	conf_unref(&conf);
}
END_TEST

static const struct {
	const char *relay;   /* the section, from line 2 on */
	const char *warning; /* NULL: none */
} ports[] = {
	{"host = x\nport = 465",
	 "conf:3: port = 465 is for TLS from the first octet: tls = \"implicit\" is likely meant"},
	{"host = \"x:465\"", "conf:2: port = 465 is for TLS"},
	{"host = { x, \"y:465\" }\ntls = none", "conf:2: port = 465 is for TLS"},
	{"host = x\ntls = implicit\nport = 587",
	 "conf:4: port = 587 begins in clear: tls = \"starttls\" is likely meant"},
	{"host = \"x:25\"\ntls = implicit", "conf:2: port = 25 begins in clear"},
	{"host = x", NULL},
	{"host = x\nport = 25", NULL},
	{"host = x\nport = 2465", NULL},
	{"host = x\nport = 465\ntls = implicit", NULL},
	{"host = \"x:2587\"\ntls = implicit", NULL},
};

START_TEST(a_port_that_does_not_go_with_tls_is_warned_of)
{
	char text[256];
	snprintf(text, sizeof(text), "relay a {\n%s\n}\n", ports[_i].relay);
	struct conf *conf = must_load(text);
	if (ports[_i].warning == NULL)
		ck_assert_ptr_null(conf->warning);
	else
		ck_assert_msg(conf->warning != NULL &&
				      strncmp(conf->warning, ports[_i].warning, strlen(ports[_i].warning)) == 0,
			      "%s: %s", text, conf->warning != NULL ? conf->warning : "no warning");
	conf_unref(&conf);
}
END_TEST

START_TEST(the_first_warning_stays)
{
	struct conf *conf = must_load("milter = inet:8891@192.0.2.1\nrelay a { host = \"x:465\" }\n");
	ck_assert_ptr_nonnull(strstr(conf->warning, "conf:1: milter"));
	conf_unref(&conf);
}
END_TEST

START_TEST(no_pattern_matches_everything)
{
	ck_assert(conf_address_matches(NULL, 0, ""));
	ck_assert(conf_address_matches(NULL, 0, "a@example.org"));
}
END_TEST

START_TEST(any_pattern_of_several_is_enough)
{
	char one[] = "@example.org", two[] = "<>", *patterns[] = {one, two};
	ck_assert(conf_address_matches(patterns, 2, ""));
	ck_assert(conf_address_matches(patterns, 2, "a@example.org"));
	ck_assert(!conf_address_matches(patterns, 2, "a@example.com"));
}
END_TEST

static void show_line(const char *key, const char *value, void *arg)
{
	(void)arg;
	snprintf(shown + strlen(shown), sizeof(shown) - strlen(shown), "%s=%s\n", key, value);
}

static void ck_assert_shown(const char *line)
{
	ck_assert_msg(strstr(shown, line) != NULL, "%s is not in\n%s", line, shown);
}

START_TEST(metrics_are_on_loopback)
{
	struct conf *conf = must_load("metrics = inet:9725@127.0.0.1\n" ONE_RELAY);
	ck_assert(conf->has_metrics);
	ck_assert_uint_eq(conf->metrics.port, 9725);
	conf_show(conf, show_line, NULL);
	ck_assert_shown("\nmetrics=inet:9725@127.0.0.1\n");
	conf_unref(&conf);
	conf = must_load(ONE_RELAY);
	ck_assert(!conf->has_metrics);
	conf_unref(&conf);
}
END_TEST

START_TEST(what_is_used_is_shown_and_secrets_are_not)
{
	write_file("secret", "pa55\n", 5, 0600);
	char *text = mem_printf(
		"memory-limit = 1048577\nallow-users = { 1, 2 }\nrelay \"a.b\" { host = { x, '[::1]:26' }\n"
		"username = u password-file = %s/secret\ntoken-command = 's3cret' body-timeout = 1.5 rate = 2.5\n"
		"stall-limits = { 'reply=2.5', 'POOL=0.1' } }\nstall-limits = 'queue=60'\n"
		"route r { relays = a.b clients = { 192.0.2.0/24, 2001:db8::/32 } }",
		directory);
	struct conf *conf = must_load(text);
	conf_show(conf, show_line, NULL);
	ck_assert_shown("\ncontrol=unix:/run/relaypool/control.sock\n");
	ck_assert_shown("\nsmtp=\n");
	ck_assert_shown("\nsocket-mode=0660\n");
	ck_assert_shown("\nmemory-limit=1048577\n");
	ck_assert_shown("\nallow-users=1, 2\n");
	ck_assert_shown("\nrelay.a.b.host=x:587, [::1]:26\n");
	ck_assert_shown("\nrelay.a.b.tls-verify=true\n");
	ck_assert_shown("\nrelay.a.b.tls=starttls\n");
	ck_assert_shown("\nrelay.a.b.token-command=***\n");
	ck_assert_shown("\nrelay.a.b.token-file=\n");
	ck_assert_shown("\nrelay.a.b.body-timeout=1.5\n");
	ck_assert_shown("\nrelay.a.b.rate=2.5\n");
	ck_assert_shown("\nrelay.a.b.stall-limits=reply=2.5, pool=0.1\n");
	ck_assert_shown("\nstall-limits=queue=60\n");
	ck_assert_shown("\nroute.r.relays=a.b\n");
	ck_assert_shown("\nroute.r.clients=192.0.2.0/24, 2001:db8::/32\n");
	ck_assert_shown("\nroute.r.senders=\n");
	ck_assert_ptr_null(strstr(shown, "pa55"));
	ck_assert_ptr_null(strstr(shown, "s3cret"));
	conf_unref(&conf);
	free(text);
}
END_TEST

START_TEST(every_key_is_shown_once)
{
	char line[128];
	size_t lines = 0, count = 0;
	struct conf *conf = must_load(ONE_RELAY);
	conf_show(conf, show_line, NULL);
	for (const char *const *key = conf_keys(); *key != NULL; key++, count++) {
		const char *dot = strchr(*key, '.');
		if (dot == NULL)
			snprintf(line, sizeof(line), "%s%s=", count == 0 ? "" : "\n", *key);
		else if (strncmp(*key, "relay", 5) == 0)
			snprintf(line, sizeof(line), "\nrelay.a%s=", dot);
		else
			snprintf(line, sizeof(line), "\nroute.default%s=", dot);
		ck_assert_shown(line);
	}
	for (const char *p = shown; *p != '\0'; p++)
		lines += *p == '\n';
	ck_assert_uint_eq(lines, count);
	conf_unref(&conf);
}
END_TEST

START_TEST(the_last_reference_frees)
{
	struct conf *conf = must_load(ONE_RELAY), *other = conf_ref(conf);
	conf_unref(&conf);
	ck_assert_ptr_null(conf);
	ck_assert_str_eq(other->relays[0].name, "a");
	conf_unref(&other);
	conf_unref(&other);
}
END_TEST

/* ---- contrib/relaypool.conf ---- */

#define SAMPLE_SECRET "/etc/relaypool/credentials.d/example"

static void replace(char *text, size_t size, const char *old, const char *new)
{
	char *at = strstr(text, old), rest[16384];
	ck_assert_msg(at != NULL, "%s is not in the sample", old);
	snprintf(rest, sizeof(rest), "%s", at + strlen(old));
	snprintf(at, size - (size_t)(at - text), "%s%s", new, rest);
}

/* The sample as it would be installed here: with a password, and with a user that exists. */
static char *read_sample(void)
{
	static char text[16384];
	char secret[64];
	snprintf(text, sizeof(text), "%s/contrib/relaypool.conf", source);
	FILE *file = fopen(text, "r");
	ck_assert_msg(file != NULL, "%s cannot be opened", text);
	text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
	fclose(file);
	write_file("secret", "pa55\n", 5, 0640);
	snprintf(secret, sizeof(secret), "%s/secret", directory);
	replace(text, sizeof(text), SAMPLE_SECRET, secret);
	replace(text, sizeof(text), "user = \"relaypool\"", "user = \"root\"");
	replace(text, sizeof(text), "\"/var/lib/relaypool\"", "\"" LOCALSTATEDIR "/lib/relaypool\"");
	return text;
}

/* What stands on a line: "key" and "section.key", with or without "#"; "" if it is no key. Follows the sections. */
static const char *key_on(const char *line, size_t length, char section[16], bool *active)
{
	static char full[64];
	char text[256], key[48];
	snprintf(text, sizeof(text), "%.*s", (int)length, line);
	const char *p = text + strspn(text, " \t");
	*active = *p != '#' && *p != '\0';
	full[0] = '\0';
	if (*p == '}')
		section[0] = '\0';
	else if (sscanf(p, "%15[a-z] \"%*[a-z]\" {", key) == 1 && strchr(p, '{') != NULL && strchr(p, '=') == NULL)
		snprintf(section, 16, "%.10s.", key);
	else if (sscanf(p + (*p == '#'), "%47[a-z-] =", key) == 1 && strstr(p, " = ") == p + (*p == '#') + strlen(key))
		snprintf(full, sizeof(full), "%s%s", section, key);
	return full;
}

START_TEST(the_sample_is_a_working_pool_in_few_lines)
{
	char section[16] = "";
	unsigned lines = 0;
	bool active;
	const char *text = read_sample();
	struct conf *conf = must_load(text);
	ck_assert_str_eq(conf->relays[0].password, "pa55");
	for (const char *p = text; *p != '\0'; p += strcspn(p, "\n") + 1) {
		key_on(p, strcspn(p, "\n"), section, &active);
		lines += active;
	}
	ck_assert_uint_le(lines, 20);
	conf_unref(&conf);
}
END_TEST

START_TEST(the_sample_has_every_key_once)
{
	char section[16] = "";
	unsigned found[64] = {0};
	bool active;
	for (const char *p = read_sample(); *p != '\0'; p += strcspn(p, "\n") + 1) {
		const char *name = key_on(p, strcspn(p, "\n"), section, &active);
		size_t i = 0;
		while (conf_keys()[i] != NULL && strcmp(conf_keys()[i], name) != 0)
			i++;
		ck_assert_msg(name[0] == '\0' || conf_keys()[i] != NULL, "%s is in the sample, but no key", name);
		found[i]++;
	}
	for (size_t i = 0; conf_keys()[i] != NULL; i++)
		ck_assert_msg(found[i] == 1, "%s is in the sample %u times", conf_keys()[i], found[i]);
}
END_TEST

START_TEST(the_sample_has_the_defaults)
{
	static char as_it_is[sizeof(shown)];
	char section[16] = "";
	bool active;
	char *text = read_sample();
	struct conf *conf = must_load(text);
	conf_show(conf, show_line, NULL);
	strcpy(as_it_is, shown);
	conf_unref(&conf);
	for (char *p = text; *p != '\0'; p += strcspn(p, "\n") + 1) {
		if (key_on(p, strcspn(p, "\n"), section, &active)[0] != '\0' && !active && strstr(p, " = ")[3] != '(')
			*strchr(p, '#') = ' ';
	}
	conf = must_load(text);
	shown[0] = '\0';
	conf_show(conf, show_line, NULL);
	ck_assert_str_eq(shown, as_it_is);
	conf_unref(&conf);
}
END_TEST

static TCase *meaning_tcase(void)
{
	TCase *tcase = tcase_create("meaning");
	tcase_add_checked_fixture(tcase, make_directory, remove_directory);
	tcase_add_test(tcase, one_line_is_a_whole_configuration);
	tcase_add_test(tcase, a_relay_has_defaults);
	tcase_add_test(tcase, hosts_may_have_their_own_ports);
	tcase_add_test(tcase, values_may_be_small_fractions);
	tcase_add_test(tcase, users_are_names_or_numbers);
	tcase_add_test(tcase, metrics_are_on_loopback);
	tcase_add_test(tcase, the_direct_listener_is_on_loopback);
	tcase_add_test(tcase, a_password_is_one_line);
	tcase_add_test(tcase, clear_text_needs_words);
	tcase_add_test(tcase, without_routes_all_relays_are_the_default);
	tcase_add_test(tcase, routes_have_conditions);
	tcase_add_test(tcase, what_is_used_is_shown_and_secrets_are_not);
	tcase_add_test(tcase, every_key_is_shown_once);
	tcase_add_test(tcase, the_last_reference_frees);
	return tcase;
}

static TCase *mistakes_tcase(void)
{
	TCase *tcase = tcase_create("mistakes");
	tcase_add_checked_fixture(tcase, make_directory, remove_directory);
	tcase_add_loop_test(tcase, a_mistake_is_named_with_its_line, 0, (int)(sizeof(mistakes) / sizeof(mistakes[0])));
	tcase_add_test(tcase, a_file_that_cannot_be_read_is_named);
	tcase_add_test(tcase, a_value_may_stand_on_the_next_line);
	tcase_add_loop_test(tcase, a_pattern_that_no_address_matches_is_refused, 0,
			    (int)(sizeof(possible) / sizeof(possible[0])));
	tcase_add_test(tcase, a_milter_socket_open_to_others_is_warned_of);
	tcase_add_loop_test(tcase, a_port_that_does_not_go_with_tls_is_warned_of, 0,
			    (int)(sizeof(ports) / sizeof(ports[0])));
	tcase_add_test(tcase, the_first_warning_stays);
	tcase_add_test(tcase, after_a_mistake_the_next_reading_is_unhurt);
	tcase_add_test(tcase, a_secret_that_everybody_may_read_is_refused);
	tcase_add_test(tcase, routes_are_at_most_64);
	return tcase;
}

static TCase *sample_tcase(void)
{
	TCase *tcase = tcase_create("sample");
	tcase_add_checked_fixture(tcase, make_directory, remove_directory);
	tcase_add_test(tcase, the_sample_is_a_working_pool_in_few_lines);
	tcase_add_test(tcase, the_sample_has_every_key_once);
	tcase_add_test(tcase, the_sample_has_the_defaults);
	return tcase;
}

Suite *conf_suite(void)
{
	Suite *suite = suite_create("conf");
	TCase *patterns = tcase_create("patterns");
	tcase_add_loop_test(patterns, an_address_matches_its_pattern, 0,
			    (int)(sizeof(addresses) / sizeof(addresses[0])));
	tcase_add_test(patterns, no_pattern_matches_everything);
	tcase_add_test(patterns, any_pattern_of_several_is_enough);
	suite_add_tcase(suite, meaning_tcase());
	suite_add_tcase(suite, mistakes_tcase());
	suite_add_tcase(suite, patterns);
	suite_add_tcase(suite, sample_tcase());
	return suite;
}
