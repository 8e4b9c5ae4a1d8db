/*
 * OpenSSL for the connections to relays: a context per relay, a client SSL per connection, and why one failed in words
 * that help. Called by the connection; never touches a socket and never logs. Loop thread only.
 */
#include <config.h>

#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "base/mem.h"
#include "base/tls.h"

#define LONGEST_NAME 128 /* octets of a certificate's name that are repeated */

struct tls_context {
	SSL_CTX *ssl_context;
	bool own_ca;          /* ca_file was given */
	SSL_SESSION *session; /* the newest that may be resumed; NULL if there is none */
	char *session_host;   /* whose certificate was checked for it: another host must show its own */
};

/* What is remembered of one handshake: the reason is lost when OpenSSL has refused it. Owned by the SSL. */
struct handshake {
	char host[256];
	char certificate[640]; /* why the certificate is not trusted; "" */
	char alert[64];        /* what the relay said before it gave up; "" */
	unsigned long error;   /* OpenSSL's last; 0 */
};

/* ---- what is attached to an SSL ---- */

static int handshake_index;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void free_handshake(void *parent, void *pointer, CRYPTO_EX_DATA *data, int index, long argl, void *argp)
{
	(void)parent, (void)data, (void)index, (void)argl, (void)argp;
	free(pointer);
}

static void make_index(void)
{
	handshake_index = SSL_get_ex_new_index(0, NULL, NULL, NULL, free_handshake);
}

static struct handshake *handshake_of(const SSL *ssl)
{
	return SSL_get_ex_data(ssl, handshake_index);
}

/* ---- certificates ---- */

/* Puts what a peer sent into a sentence: printable characters only. */
static void append(char *out, size_t size, const char *separator, const char *text, size_t length)
{
	size_t used = strlen(out);
	int more = snprintf(out + used, size - used, "%s%.*s", separator,
			    length > LONGEST_NAME ? LONGEST_NAME : (int)length, text);
	for (size_t i = used; i < used + (size_t)more && i < size - 1; i++) {
		if (out[i] < ' ' || out[i] > '~')
			out[i] = '?';
	}
}

static void append_address(char *out, size_t size, const char *separator, const ASN1_OCTET_STRING *address)
{
	char text[INET6_ADDRSTRLEN] = "?";
	int length = ASN1_STRING_length(address);
	if (length == 4 || length == 16)
		inet_ntop(length == 4 ? AF_INET : AF_INET6, ASN1_STRING_get0_data(address), text, sizeof(text));
	append(out, size, separator, text, strlen(text));
}

/* "a.example.org, b.example.org": the first names a certificate is for. */
static void list_names(const X509 *certificate, char *out, size_t size)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
	int count = names == NULL ? 0 : sk_GENERAL_NAME_num(names);
	out[0] = '\0';
	for (int i = 0; i < count && strlen(out) + LONGEST_NAME + 2 < size; i++) {
		const char *separator = out[0] != '\0' ? ", " : "";
		int type;
		const ASN1_STRING *value = GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names, i), &type);
		if (type == GEN_DNS)
			append(out, size, separator, (const char *)ASN1_STRING_get0_data(value),
			       (size_t)ASN1_STRING_length(value));
		else if (type == GEN_IPADD)
			append_address(out, size, separator, value);
	}
	GENERAL_NAMES_free(names);
	if (out[0] == '\0')
		append(out, size, "", "none", 4);
}

static void write_name(const X509_NAME *name, char *out, size_t size)
{
	BIO *memory = BIO_new(BIO_s_mem());
	char *text;
	out[0] = '\0';
	if (memory == NULL)
		return;
	X509_NAME_print_ex(memory, name, 0, XN_FLAG_RFC2253);
	long length = BIO_get_mem_data(memory, &text);
	append(out, size, "", text, (size_t)length);
	BIO_free(memory);
}

static void write_time(const ASN1_TIME *time, char *out, size_t size)
{
	BIO *memory = BIO_new(BIO_s_mem());
	char *text;
	out[0] = '\0';
	if (memory == NULL)
		return;
	ASN1_TIME_print(memory, time);
	long length = BIO_get_mem_data(memory, &text);
	append(out, size, "", text, (size_t)length);
	BIO_free(memory);
}

/* The sentence for an administrator. */
static void explain(struct handshake *handshake, const X509 *certificate, int error, bool leaf, bool own_ca)
{
	char *out = handshake->certificate, owner[160], detail[300];
	size_t size = sizeof(handshake->certificate);
	if (leaf)
		snprintf(owner, sizeof(owner), "the relay's certificate");
	else
		write_name(X509_get_subject_name(certificate), owner, sizeof(owner));
	switch (error) {
	case X509_V_ERR_CERT_HAS_EXPIRED:
		write_time(X509_get0_notAfter(certificate), detail, sizeof(detail));
		snprintf(out, size, "%s has expired (notAfter %s): its owner must renew it", owner, detail);
		break;
	case X509_V_ERR_CERT_NOT_YET_VALID:
		write_time(X509_get0_notBefore(certificate), detail, sizeof(detail));
		snprintf(out, size, "%s is not valid yet (notBefore %s): is the clock of this host right?", owner,
			 detail);
		break;
	case X509_V_ERR_HOSTNAME_MISMATCH:
	case X509_V_ERR_IP_ADDRESS_MISMATCH:
		list_names(certificate, detail, sizeof(detail));
		snprintf(out, size, "name %.100s is not in the certificate (it has: %s): set host to one of these",
			 handshake->host, detail);
		break;
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
	case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
	case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
	case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
		write_name(X509_get_issuer_name(certificate), detail, sizeof(detail));
		snprintf(out, size, "issuer is unknown: %s; %s", detail,
			 own_ca ? "it is not in tls-ca-file" : "set tls-ca-file if it is your own");
		break;
	default:
		snprintf(out, size, "%s is not trusted: %s", owner, X509_verify_cert_error_string(error));
	}
}

static int on_verify(int good, X509_STORE_CTX *store)
{
	const SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
	const X509 *certificate = X509_STORE_CTX_get_current_cert(store);
	const struct tls_context *context = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
	if (!good && certificate != NULL)
		explain(handshake_of(ssl), certificate, X509_STORE_CTX_get_error(store),
			X509_STORE_CTX_get_error_depth(store) == 0, context != NULL && context->own_ca);
	return good;
}

/* ---- sessions ---- */

static void forget_session(struct tls_context *context)
{
	SSL_SESSION_free(context->session);
	free(context->session_host);
	context->session = NULL;
	context->session_host = NULL;
}

/*
 * The newest session is kept, as a copy: OpenSSL makes its own unfit when the connection ends without a close_notify.
 */
static int on_session(SSL *ssl, SSL_SESSION *session)
{
	struct tls_context *context = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
	if (context == NULL)
		return 0; /* freed, this connection outlives it */
	forget_session(context);
	context->session = SSL_SESSION_dup(session);
	context->session_host = mem_strdup(handshake_of(ssl)->host);
	return 0; /* OpenSSL's reference stays OpenSSL's */
}

/* A TLS 1.3 ticket is used once, lest an observer link connections by it (RFC 8446 §C.4). */
static void offer_session(struct tls_context *context, SSL *ssl, const char *host)
{
	if (context->session == NULL || strcasecmp(context->session_host, host) != 0)
		return;
	SSL_set_session(ssl, context->session);
	if (SSL_SESSION_get_protocol_version(context->session) >= TLS1_3_VERSION)
		forget_session(context);
}

/* ---- contexts ---- */

/* OpenSSL's words for an error, or the system's; NULL for none. */
static const char *words_of(unsigned long error)
{
	return ERR_SYSTEM_ERROR(error) ? strerror(ERR_GET_REASON(error)) : ERR_reason_error_string(error);
}

/* libevent takes errors off OpenSSL's queue before anybody could ask: they are kept as they happen. */
static void on_info(const SSL *ssl, int where, int result)
{
	struct handshake *handshake = handshake_of(ssl);
	if (handshake == NULL)
		return;
	if (where == SSL_CB_READ_ALERT && (result >> 8) == SSL3_AL_FATAL)
		snprintf(handshake->alert, sizeof(handshake->alert), "%s", SSL_alert_desc_string_long(result));
	if (where == SSL_CB_CONNECT_EXIT && result <= 0 && ERR_peek_last_error() != 0)
		handshake->error = ERR_peek_last_error();
}

static void configure(SSL_CTX *ssl_context, bool verify)
{
	SSL_CTX_set_options(ssl_context, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
	SSL_CTX_set_mode(ssl_context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
					      SSL_MODE_RELEASE_BUFFERS); /* most connections are idle */
	SSL_CTX_set_session_cache_mode(ssl_context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(ssl_context, on_session);
	SSL_CTX_set_info_callback(ssl_context, on_info);
	SSL_CTX_set_verify(ssl_context, verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, verify ? on_verify : NULL);
}

static bool load_authorities(SSL_CTX *ssl_context, const char *ca_file, char *error, size_t error_size)
{
	if (ca_file == NULL) {
		SSL_CTX_set_default_verify_paths(ssl_context); /* an empty store fails later, as an unknown issuer */
		return true;
	}
	if (SSL_CTX_load_verify_file(ssl_context, ca_file) == 1)
		return true;
	const char *reason = words_of(ERR_peek_error());
	snprintf(error, error_size, "cannot use %s: %s; a file of certificates in PEM is needed", ca_file,
		 reason != NULL ? reason : "no certificate was found");
	return false;
}

struct tls_context *tls_context_create(bool verify, const char *ca_file, char *error, size_t error_size)
{
	pthread_once(&once, make_index);
	SSL_CTX *ssl_context = SSL_CTX_new(TLS_client_method());
	if (ssl_context == NULL || SSL_CTX_set_min_proto_version(ssl_context, TLS1_2_VERSION) != 1) {
		const char *reason = words_of(ERR_peek_error());
		snprintf(error, error_size, "OpenSSL cannot be used: %s", reason != NULL ? reason : "unknown reason");
		SSL_CTX_free(ssl_context);
		return NULL;
	}
	if (!load_authorities(ssl_context, ca_file, error, error_size)) {
		ERR_clear_error();
		SSL_CTX_free(ssl_context);
		return NULL;
	}
	ERR_clear_error();
	configure(ssl_context, verify);
	struct tls_context *context = mem_alloc(sizeof(*context));
	context->ssl_context = ssl_context;
	context->own_ca = ca_file != NULL;
	SSL_CTX_set_app_data(ssl_context, context);
	return context;
}

void tls_context_free(struct tls_context *context)
{
	if (context == NULL)
		return;
	forget_session(context);
	SSL_CTX_set_app_data(context->ssl_context, NULL);
	SSL_CTX_free(context->ssl_context);
	free(context);
}

/* ---- clients ---- */

/* The name (without a closing dot) or address the certificate must be for; SNI takes names only (RFC 6066 §3). */
static bool expect_host(SSL *ssl, const char *host)
{
	X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
	if (X509_VERIFY_PARAM_set1_ip_asc(param, host) == 1)
		return true;
	ERR_clear_error();
	SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	return SSL_set1_host(ssl, host) == 1 && SSL_set_tlsext_host_name(ssl, host) == 1;
}

SSL *tls_client_create(struct tls_context *context, const char *host)
{
	SSL *ssl = SSL_new(context->ssl_context);
	struct handshake *handshake = mem_alloc(sizeof(*handshake));
	snprintf(handshake->host, sizeof(handshake->host), "%s", host);
	size_t length = strlen(handshake->host);
	if (length > 1 && handshake->host[length - 1] == '.')
		handshake->host[length - 1] = '\0';
	if (ssl == NULL || SSL_set_ex_data(ssl, handshake_index, handshake) != 1) {
		free(handshake);
		SSL_free(ssl);
		return NULL;
	}
	if (!expect_host(ssl, handshake->host)) {
		SSL_free(ssl);
		return NULL;
	}
	offer_session(context, ssl, handshake->host);
	SSL_set_connect_state(ssl);
	return ssl;
}

/* What is behind OpenSSL's words most often, and what to do about it. */
static const char *hint_for(int reason)
{
	switch (reason) {
	case SSL_R_WRONG_VERSION_NUMBER:
	case SSL_R_HTTP_REQUEST:
		return ": no TLS is spoken here; ports 25 and 587 want tls = \"starttls\", 465 \"implicit\"";
	case SSL_R_UNSUPPORTED_PROTOCOL:
		return ": TLS 1.2 or newer is needed";
	case SSL_R_UNEXPECTED_EOF_WHILE_READING:
		return ": the relay closed the connection";
	default:
		return "";
	}
}

bool tls_failure(SSL *ssl, char *text, size_t text_size)
{
	const struct handshake *handshake = handshake_of(ssl);
	if (handshake->certificate[0] != '\0') {
		snprintf(text, text_size, "%s", handshake->certificate);
		return true;
	}
	unsigned long error = handshake->error != 0 ? handshake->error : ERR_peek_last_error();
	const char *reason = words_of(error);
	if (handshake->alert[0] != '\0')
		snprintf(text, text_size, "the relay ended the handshake: %s", handshake->alert);
	else if (reason != NULL)
		snprintf(text, text_size, "the handshake failed: %s%s", reason,
			 ERR_GET_LIB(error) == ERR_LIB_SSL ? hint_for(ERR_GET_REASON(error)) : "");
	else
		snprintf(text, text_size, "the handshake failed: the connection was lost");
	return false;
}

const char *tls_describe(SSL *ssl, char *out, size_t size)
{
	const SSL_CIPHER *cipher = SSL_get_current_cipher(ssl);
	snprintf(out, size, "%s %s%s", SSL_get_version(ssl), cipher != NULL ? SSL_CIPHER_get_name(cipher) : "-",
		 tls_resumed(ssl) ? ", resumed" : "");
	return out;
}

bool tls_resumed(SSL *ssl)
{
	return SSL_session_reused(ssl) == 1;
}
