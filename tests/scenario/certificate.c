/*
 * Certificates made at run time, one of each kind that a scripted relay may show (certificate.h). Called by the
 * scripted relay and the world; every one is signed by itself, so that trusting it is putting it into the CA file.
 */
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>

#include "certificate.h"

const char *const certificate_names[CERTIFICATES] = {"good", "wrong-name", "expired", "unknown"};

static SSL_CTX *contexts[CERTIFICATES];

static bool set_names(X509 *x509, const char *names)
{
	X509V3_CTX context;
	X509_EXTENSION *extension;
	bool good;

	X509V3_set_ctx_nodb(&context);
	X509V3_set_ctx(&context, x509, x509, NULL, NULL, 0);
	if ((extension = X509V3_EXT_conf_nid(NULL, &context, NID_subject_alt_name, names)) == NULL)
		return false;
	good = X509_add_ext(x509, extension, -1) == 1;
	X509_EXTENSION_free(extension);
	return good;
}

/* The caller's; NULL if OpenSSL refuses. */
static X509 *make(enum certificate kind, EVP_PKEY *key)
{
	const char *names = "IP:127.0.0.1,IP:127.0.0.2,IP:127.0.0.3,IP:127.0.0.4";
	const long day = 24 * 3600;
	X509 *x509 = X509_new();
	X509_NAME *name;

	if (x509 == NULL)
		return NULL;
	if (kind == CERTIFICATE_WRONG_NAME)
		names = "DNS:elsewhere.example";
	X509_set_version(x509, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(x509), 1 + (long)kind);
	X509_gmtime_adj(X509_getm_notBefore(x509), -10 * day);
	X509_gmtime_adj(X509_getm_notAfter(x509), kind == CERTIFICATE_EXPIRED ? -1 * day : 10 * day);
	X509_set_pubkey(x509, key);
	name = X509_get_subject_name(x509);
	X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)certificate_names[kind], -1, -1, 0);
	X509_set_issuer_name(x509, name);
	if (!set_names(x509, names) || X509_sign(x509, key, EVP_sha256()) == 0) {
		X509_free(x509);
		return NULL;
	}
	return x509;
}

static bool create_one(enum certificate kind, FILE *ca_file)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *x509 = key == NULL ? NULL : make(kind, key);
	SSL_CTX *context = SSL_CTX_new(TLS_server_method());
	bool good = x509 != NULL && context != NULL && SSL_CTX_use_certificate(context, x509) == 1 &&
		    SSL_CTX_use_PrivateKey(context, key) == 1;

	if (good && kind != CERTIFICATE_UNKNOWN)
		good = PEM_write_X509(ca_file, x509) == 1;
	contexts[kind] = context;
	X509_free(x509);
	EVP_PKEY_free(key);
	return good;
}

bool certificates_create(const char *ca_file)
{
	FILE *file = fopen(ca_file, "w");
	bool good = file != NULL;

	for (enum certificate kind = 0; good && kind < CERTIFICATES; kind++)
		good = create_one(kind, file);
	if (file != NULL && fclose(file) != 0)
		good = false;
	return good;
}

void certificates_free(void)
{
	for (enum certificate kind = 0; kind < CERTIFICATES; kind++) {
		SSL_CTX_free(contexts[kind]);
		contexts[kind] = NULL;
	}
}

SSL_CTX *certificate_context(enum certificate certificate)
{
	return contexts[certificate];
}
