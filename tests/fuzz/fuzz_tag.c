/*
 * The tag's value: as it comes, and with the right MAC behind it, so that the form is tried too. What is taken is what
 * tag_format() writes of it.
 */
#include <stdio.h>
#include <string.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "fuzz.h"
#include "smtp/tag.h"

static const struct tag_key key = {"0123456789abcdef0123456789abcde"};

static void try_value(const char *value, size_t size)
{
	struct tag tag, again;
	char text[TAG_VALUE_MAX];

	if (!tag_parse(value, size, &key, &tag))
		return;
	REQUIRE(tag_format(&tag, &key, text));
	REQUIRE(tag_parse(text, strlen(text), &key, &again));
	REQUIRE(memcmp(&tag, &again, sizeof(tag)) == 0);
	/* White space aside, nothing else has this meaning. */
	for (size_t i = 0, at = 0; i <= strlen(text); i++) {
		if (strchr(" \t\r\n", text[i]) != NULL && text[i] != '\0')
			continue;
		while (at < size && memchr(" \t\r\n", value[at], 4) != NULL)
			at++;
		REQUIRE(text[i] == '\0' ? at == size : at < size && value[at++] == text[i]);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char text[TAG_VALUE_MAX + 64];
	unsigned char mac[EVP_MAX_MD_SIZE];

	try_value((const char *)data, size);
	if (size >= TAG_VALUE_MAX)
		return 0;
	memcpy(text, data, size);
	REQUIRE(HMAC(EVP_sha256(), key.octets, TAG_KEY_SIZE, data, size, mac, NULL) != NULL);
	memcpy(text + size, "; m=", 4);
	EVP_EncodeBlock((unsigned char *)text + size + 4, mac, 16);
	try_value(text, size + 4 + 24);
	return 0;
}
