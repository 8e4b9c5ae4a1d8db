/* Unit tests of base/tls: whom a client trusts, what it says if not, what it resumes. Certificates are made here. */
#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/bufferevent_ssl.h>
#include <event2/event.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "base/loop.h"
#include "base/tls.h"
#include "check_base.h"

#define DAY 86400L

struct identity {
	EVP_PKEY *key;
	X509 *certificate;
};

static char ca_file[32];
static struct identity authority;
static struct identity server;
static SSL_CTX *server_context;
static char server_name[256]; /* SNI as the server saw it; "" for none */
static char error[512], failure[512];

/* ---- certificates ---- */

static void add_extension(X509 *certificate, int nid, const char *value)
{
	X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, nid, value);
	ck_assert_ptr_nonnull(extension);
	ck_assert_int_eq(X509_add_ext(certificate, extension, -1), 1);
	X509_EXTENSION_free(extension);
}

static struct identity make_identity(const char *name, const char *names, const struct identity *issuer, long from,
				     long to)
{
	struct identity made = {EVP_EC_gen("P-256"), X509_new()};
	X509 *certificate = made.certificate;
	static long serial;
	X509_set_version(certificate, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(certificate), ++serial);
	X509_gmtime_adj(X509_getm_notBefore(certificate), from);
	X509_gmtime_adj(X509_getm_notAfter(certificate), to);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_UTF8, (const unsigned char *)name,
				   -1, -1, 0);
	X509_set_issuer_name(certificate, X509_get_subject_name(issuer != NULL ? issuer->certificate : certificate));
	X509_set_pubkey(certificate, made.key);
	if (names != NULL)
		add_extension(certificate, NID_subject_alt_name, names);
	else
		add_extension(certificate, NID_basic_constraints, "critical,CA:TRUE");
	ck_assert_int_gt(X509_sign(certificate, issuer != NULL ? issuer->key : made.key, EVP_sha256()), 0);
	return made;
}

static void free_identity(struct identity *identity)
{
	EVP_PKEY_free(identity->key);
	X509_free(identity->certificate);
	*identity = (struct identity){0};
}

static int note_name(SSL *ssl, int *alert, void *arg)
{
	(void)alert, (void)arg;
	const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
	snprintf(server_name, sizeof(server_name), "%s", name != NULL ? name : "");
	return SSL_TLSEXT_ERR_OK;
}

/* A relay with a certificate for `names`, valid `from` to `to` seconds from now. */
static void start_server(const char *names, long from, long to)
{
	server = make_identity("relay", names, &authority, from, to);
	server_context = SSL_CTX_new(TLS_server_method());
	SSL_CTX_use_certificate(server_context, server.certificate);
	SSL_CTX_use_PrivateKey(server_context, server.key);
	SSL_CTX_set_tlsext_servername_callback(server_context, note_name);
	SSL_CTX_set_session_id_context(server_context, (const unsigned char *)"test", 4);
}

static void make_authority(void)
{
	strcpy(ca_file, "/tmp/check_tls.XXXXXX");
	int fd = mkstemp(ca_file);
	ck_assert_int_ne(fd, -1);
	FILE *file = fdopen(fd, "w");
	authority = make_identity("Test authority", NULL, NULL, -DAY, DAY);
	PEM_write_X509(file, authority.certificate);
	fclose(file);
}

static void free_authority(void)
{
	unlink(ca_file);
	free_identity(&authority);
	free_identity(&server);
	SSL_CTX_free(server_context);
	server_context = NULL;
}

/* ---- handshakes ---- */

struct pair {
	SSL *client, *server;
};

static struct pair connect_pair(struct tls_context *context, const char *host)
{
	struct pair pair = {tls_client_create(context, host), SSL_new(server_context)};
	BIO *near, *far;
	ck_assert_ptr_nonnull(pair.client);
	ck_assert_int_eq(BIO_new_bio_pair(&near, 0, &far, 0), 1);
	SSL_set_bio(pair.client, near, near);
	SSL_set_bio(pair.server, far, far);
	SSL_set_accept_state(pair.server);
	return pair;
}

/* True if both sides are done; the client has then read what came after, so TLS 1.3 tickets too. */
static bool shake_hands(struct pair *pair)
{
	char octet;
	int near = 0, far = 0;
	for (int i = 0; i < 20 && (near != 1 || far != 1); i++) {
		near = SSL_do_handshake(pair->client);
		if (near != 1 && SSL_get_error(pair->client, near) == SSL_ERROR_SSL)
			break;
		far = SSL_do_handshake(pair->server);
		ERR_clear_error();
	}
	if (near != 1 || far != 1)
		return false;
	ck_assert_int_eq(SSL_write(pair->server, "x", 1), 1);
	ck_assert_int_eq(SSL_read(pair->client, &octet, 1), 1);
	return true;
}

static void close_pair(struct pair *pair)
{
	SSL_free(pair->client);
	SSL_free(pair->server);
	ERR_clear_error();
}

/* One connection from beginning to end: true if it came about, else `failure` says why. */
static bool visit(struct tls_context *context, const char *host, bool *resumed)
{
	struct pair pair = connect_pair(context, host);
	bool good = shake_hands(&pair);
	if (resumed != NULL)
		*resumed = tls_resumed(pair.client);
	failure[0] = '\0';
	if (!good)
		ck_assert(tls_failure(pair.client, failure, sizeof(failure)));
	close_pair(&pair);
	return good;
}

static struct tls_context *must_create(bool verify, const char *file)
{
	struct tls_context *context = tls_context_create(verify, file, error, sizeof(error));
	ck_assert_msg(context != NULL, "%s", error);
	return context;
}

static void ck_assert_refused(const char *names, long from, long to, const char *file, const char *host,
			      const char *why)
{
	struct tls_context *context = must_create(true, file);
	start_server(names, from, to);
	ck_assert(!visit(context, host, NULL));
	ck_assert_msg(strstr(failure, why) != NULL, "said: %s\nnot: %s", failure, why);
	tls_context_free(context);
}

START_TEST(a_good_certificate_is_trusted)
{
	struct tls_context *context = must_create(true, ca_file);
	start_server("DNS:smtp.example.org", -DAY, DAY);
	ck_assert(visit(context, "smtp.example.org", NULL));
	ck_assert_str_eq(server_name, "smtp.example.org");
	tls_context_free(context);
}
END_TEST

START_TEST(a_closing_dot_is_not_part_of_the_name)
{
	struct tls_context *context = must_create(true, ca_file);
	start_server("DNS:smtp.example.org", -DAY, DAY);
	ck_assert(visit(context, "SMTP.example.org.", NULL));
	ck_assert_str_eq(server_name, "SMTP.example.org");
	tls_context_free(context);
}
END_TEST

START_TEST(an_address_is_checked_and_not_announced)
{
	struct tls_context *context = must_create(true, ca_file);
	start_server("IP:192.0.2.1,IP:2001:db8::1", -DAY, DAY);
	ck_assert(visit(context, "192.0.2.1", NULL));
	ck_assert_str_eq(server_name, "");
	ck_assert(visit(context, "2001:db8::1", NULL));
	ck_assert_str_eq(server_name, "");
	ck_assert(!visit(context, "192.0.2.2", NULL));
	ck_assert_str_eq(failure,
			 "name 192.0.2.2 is not in the certificate (it has: 192.0.2.1, 2001:db8::1): set host to "
			 "one of these");
	tls_context_free(context);
}
END_TEST

START_TEST(another_name_is_refused)
{
	ck_assert_refused(
		"DNS:a.example.org,DNS:*.mail.example.org", -DAY, DAY, ca_file, "smtp.example.org",
		"name smtp.example.org is not in the certificate (it has: a.example.org, *.mail.example.org)");
}
END_TEST

START_TEST(a_wildcard_stands_for_a_whole_label)
{
	struct tls_context *context = must_create(true, ca_file);
	start_server("DNS:*.example.org,DNS:smtp-*.example.com", -DAY, DAY);
	ck_assert(visit(context, "smtp.example.org", NULL));
	ck_assert(!visit(context, "a.smtp.example.org", NULL));
	ck_assert(!visit(context, "smtp-1.example.com", NULL));
	tls_context_free(context);
}
END_TEST

START_TEST(the_common_name_is_no_name)
{
	ck_assert_refused("email:postmaster@example.org", -DAY, DAY, ca_file, "relay-2.example.org", "(it has: none)");
}
END_TEST

START_TEST(an_expired_certificate_is_refused)
{
	ck_assert_refused("DNS:smtp.example.org", -2 * DAY, -DAY, ca_file, "smtp.example.org",
			  "the relay's certificate has expired (notAfter ");
}
END_TEST

START_TEST(a_future_certificate_is_refused)
{
	ck_assert_refused("DNS:smtp.example.org", DAY, 2 * DAY, ca_file, "smtp.example.org",
			  "the relay's certificate is not valid yet (notBefore ");
}
END_TEST

START_TEST(an_unknown_issuer_is_refused)
{
	ck_assert_refused("DNS:smtp.example.org", -DAY, DAY, NULL, "smtp.example.org",
			  "issuer is unknown: CN=Test authority; set tls-ca-file if it is your own");
}
END_TEST

START_TEST(an_issuer_that_is_not_in_the_file_is_refused)
{
	free_identity(&authority);
	authority = make_identity("Other\n\xc3\xa4uthority", NULL, NULL, -DAY, DAY);
	ck_assert_refused("DNS:smtp.example.org", -DAY, DAY, ca_file, "smtp.example.org", "it is not in tls-ca-file");
	for (const char *p = failure; *p != '\0'; p++)
		ck_assert(*p >= ' ' && *p <= '~');
}
END_TEST

START_TEST(without_verification_anything_goes)
{
	struct tls_context *context = must_create(false, NULL);
	start_server("DNS:a.example.org", -2 * DAY, -DAY);
	ck_assert(visit(context, "smtp.example.org", NULL));
	tls_context_free(context);
}
END_TEST

START_TEST(a_file_without_certificates_is_refused)
{
	ck_assert_ptr_null(tls_context_create(true, "/nonexistent.pem", error, sizeof(error)));
	ck_assert_str_eq(error,
			 "cannot use /nonexistent.pem: No such file or directory; a file of certificates in PEM is "
			 "needed");
	ck_assert_ptr_null(tls_context_create(true, "/dev/null", error, sizeof(error)));
	ck_assert_str_eq(error,
			 "cannot use /dev/null: no certificate or crl found; a file of certificates in PEM is needed");
}
END_TEST

START_TEST(old_tls_is_refused)
{
	struct tls_context *context = must_create(true, ca_file);
	start_server("DNS:smtp.example.org", -DAY, DAY);
	SSL_CTX_set_security_level(server_context, 0);
	SSL_CTX_set_min_proto_version(server_context, TLS1_VERSION);
	SSL_CTX_set_max_proto_version(server_context, TLS1_1_VERSION);
	struct pair pair = connect_pair(context, "smtp.example.org");
	ck_assert(!shake_hands(&pair));
	ck_assert(!tls_failure(pair.client, failure, sizeof(failure)));
	ck_assert_str_eq(failure, "the relay ended the handshake: protocol version");
	close_pair(&pair);
	tls_context_free(context);
}
END_TEST

/* ---- resumption ---- */

START_TEST(a_session_is_resumed)
{
	struct tls_context *context = must_create(true, ca_file);
	bool resumed;
	char text[128];
	start_server("DNS:smtp.example.org", -DAY, DAY);
	ck_assert(visit(context, "smtp.example.org", &resumed));
	ck_assert(!resumed);
	for (int i = 0; i < 3; i++) {
		ck_assert(visit(context, "smtp.example.org", &resumed));
		ck_assert(resumed);
	}
	struct pair pair = connect_pair(context, "smtp.example.org");
	ck_assert(shake_hands(&pair));
	ck_assert_str_eq(tls_describe(pair.client, text, sizeof(text)), "TLSv1.3 TLS_AES_256_GCM_SHA384, resumed");
	close_pair(&pair);
	tls_context_free(context);
}
END_TEST

START_TEST(a_ticket_is_used_once)
{
	struct tls_context *context = must_create(true, ca_file);
	start_server("DNS:smtp.example.org", -DAY, DAY);
	ck_assert(visit(context, "smtp.example.org", NULL));
	struct pair one = connect_pair(context, "smtp.example.org"), two = connect_pair(context, "smtp.example.org");
	ck_assert(shake_hands(&one) && shake_hands(&two));
	ck_assert(tls_resumed(one.client));
	ck_assert(!tls_resumed(two.client));
	close_pair(&one);
	close_pair(&two);
	tls_context_free(context);
}
END_TEST

START_TEST(a_tls_1_2_session_may_be_used_often)
{
	struct tls_context *context = must_create(true, ca_file);
	start_server("DNS:smtp.example.org", -DAY, DAY);
	SSL_CTX_set_max_proto_version(server_context, TLS1_2_VERSION);
	ck_assert(visit(context, "smtp.example.org", NULL));
	struct pair one = connect_pair(context, "smtp.example.org"), two = connect_pair(context, "smtp.example.org");
	ck_assert(shake_hands(&one) && shake_hands(&two));
	ck_assert(tls_resumed(one.client));
	ck_assert(tls_resumed(two.client));
	close_pair(&one);
	close_pair(&two);
	tls_context_free(context);
}
END_TEST

START_TEST(another_host_must_show_its_own_certificate)
{
	struct tls_context *context = must_create(true, ca_file);
	bool resumed;
	start_server("DNS:smtp.example.org", -DAY, DAY);
	ck_assert(visit(context, "smtp.example.org", NULL));
	ck_assert(!visit(context, "smtp.example.com", NULL));
	ck_assert(visit(context, "SMTP.example.org", &resumed));
	ck_assert(resumed);
	tls_context_free(context);
}
END_TEST

START_TEST(a_connection_may_outlive_its_context)
{
	struct tls_context *context = must_create(true, ca_file);
	start_server("DNS:smtp.example.org", -DAY, DAY);
	struct pair pair = connect_pair(context, "smtp.example.org");
	tls_context_free(context);
	ck_assert(shake_hands(&pair));
	close_pair(&pair);
}
END_TEST

/* ---- under libevent ---- */

static short seen;

static void on_event(struct bufferevent *bev, short what, void *arg)
{
	(void)bev, (void)arg;
	seen = what;
	loop_stop();
}

/* What tls_failure() says where libevent has run the handshake and the relay sent `text` (NULL: closed). */
static void fail_under_libevent(const char *text)
{
	struct tls_context *context = must_create(true, ca_file);
	int ends[2];
	ck_assert(loop_create());
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
	SSL *ssl = tls_client_create(context, "smtp.example.org");
	struct bufferevent *bev = bufferevent_openssl_socket_new(loop_base(), ends[0], ssl, BUFFEREVENT_SSL_CONNECTING,
								 BEV_OPT_CLOSE_ON_FREE);
	bufferevent_setcb(bev, NULL, NULL, on_event, NULL);
	bufferevent_enable(bev, EV_READ | EV_WRITE);
	if (text != NULL)
		ck_assert_int_eq(write(ends[1], text, strlen(text)), (ssize_t)strlen(text));
	else
		ck_assert_int_eq(shutdown(ends[1], SHUT_WR), 0);
	loop_run();
	ck_assert_int_ne(seen & (BEV_EVENT_ERROR | BEV_EVENT_EOF), 0);
	ck_assert(!tls_failure(ssl, failure, sizeof(failure)));
	bufferevent_free(bev);
	close(ends[1]);
	loop_free();
	tls_context_free(context);
}

START_TEST(a_relay_that_speaks_no_tls_is_understood)
{
	fail_under_libevent("220 smtp.example.org ESMTP\r\n");
	ck_assert_str_eq(failure, "the handshake failed: wrong version number: no TLS is spoken here; "
				  "ports 25 and 587 want tls = \"starttls\", 465 \"implicit\"");
}
END_TEST

START_TEST(a_relay_that_hangs_up_is_understood)
{
	fail_under_libevent(NULL);
	ck_assert_str_eq(failure, "the handshake failed: unexpected eof while reading: the relay closed "
				  "the connection");
}
END_TEST

static TCase *make_tcase(const char *name)
{
	TCase *tcase = tcase_create(name);
	tcase_add_checked_fixture(tcase, make_authority, free_authority);
	return tcase;
}

Suite *tls_suite(void)
{
	Suite *suite = suite_create("tls");
	TCase *trust = make_tcase("trust"), *resumption = make_tcase("resumption"), *libevent = make_tcase("libevent");
	tcase_add_test(trust, a_good_certificate_is_trusted);
	tcase_add_test(trust, a_closing_dot_is_not_part_of_the_name);
	tcase_add_test(trust, an_address_is_checked_and_not_announced);
	tcase_add_test(trust, another_name_is_refused);
	tcase_add_test(trust, a_wildcard_stands_for_a_whole_label);
	tcase_add_test(trust, the_common_name_is_no_name);
	tcase_add_test(trust, an_expired_certificate_is_refused);
	tcase_add_test(trust, a_future_certificate_is_refused);
	tcase_add_test(trust, an_unknown_issuer_is_refused);
	tcase_add_test(trust, an_issuer_that_is_not_in_the_file_is_refused);
	tcase_add_test(trust, without_verification_anything_goes);
	tcase_add_test(trust, a_file_without_certificates_is_refused);
	tcase_add_test(trust, old_tls_is_refused);
	tcase_add_test(resumption, a_session_is_resumed);
	tcase_add_test(resumption, a_ticket_is_used_once);
	tcase_add_test(resumption, a_tls_1_2_session_may_be_used_often);
	tcase_add_test(resumption, another_host_must_show_its_own_certificate);
	tcase_add_test(resumption, a_connection_may_outlive_its_context);
	tcase_add_test(libevent, a_relay_that_speaks_no_tls_is_understood);
	tcase_add_test(libevent, a_relay_that_hangs_up_is_understood);
	suite_add_tcase(suite, trust);
	suite_add_tcase(suite, resumption);
	suite_add_tcase(suite, libevent);
	return suite;
}
