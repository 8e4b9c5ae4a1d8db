/*
 * Capabilities: of any EHLO reply, what is understood can be saved and read again; any saved text can be read.
 */
#include <string.h>

#include "base/mem.h"
#include "fuzz.h"
#include "smtp/ehlo.h"
#include "smtp/reply.h"

static void try_save(const struct capabilities *caps)
{
	char text[512], twice[512];
	struct capabilities again, mirror;
	const struct capabilities *relays[] = {caps, NULL, &again};

	capabilities_read(capabilities_format(caps, text, sizeof(text)), &again);
	REQUIRE(strcmp(capabilities_format(&again, twice, sizeof(twice)), text) == 0);
	REQUIRE(again.bits == caps->bits && again.size == caps->size && strcmp(again.auth, caps->auth) == 0);
	REQUIRE(again.mail_max == caps->mail_max && again.rcpt_max == caps->rcpt_max);
	REQUIRE(capabilities_auth(caps, "PLAIN") == capabilities_auth(&again, "PLAIN"));
	capabilities_mirror(relays, 3, &mirror);
	REQUIRE((mirror.bits & CAP_DSN) == 0 && (mirror.bits & CAP_PIPELINING) != 0);
	REQUIRE((mirror.bits & CAP_8BITMIME) == (caps->bits & CAP_8BITMIME));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = mem_strndup((const char *)data, size);
	struct capabilities caps;
	struct reply *reply;
	const char *why;
	size_t used;

	if (reply_parse((const char *)data, size, &used, &reply, &why) == REPLY_COMPLETE) {
		capabilities_parse(reply, &caps);
		try_save(&caps);
		reply_unref(&reply);
	}
	capabilities_read(text, &caps);
	try_save(&caps);
	free(text);
	return 0;
}
