/*
 * Commands: whatever MAIL or RCPT is taken can be written as one line, and read again as the same.
 */
#include <string.h>

#include <event2/buffer.h>

#include "base/mem.h"
#include "fuzz.h"
#include "smtp/command.h"
#include "smtp/reply.h"

/* The one line in `out`, behind its verb. free() it. */
static char *line_of(struct evbuffer *out)
{
	char *line = evbuffer_readln(out, NULL, EVBUFFER_EOL_CRLF_STRICT), *arguments;

	REQUIRE(line != NULL && evbuffer_get_length(out) == 0 && strpbrk(line, "\r\n") == NULL);
	arguments = mem_strdup(line + strlen("MAIL "));
	free(line);
	return arguments;
}

static void try_mail(const char *text, struct evbuffer *out)
{
	struct mail_arguments mail, again;
	struct reply *refusal;
	char *line;

	if (!command_parse_mail(text, &mail, &refusal)) {
		REQUIRE(refusal->code / 100 == 5 && mail.sender == NULL && mail.params == NULL);
		reply_unref(&refusal);
		return;
	}
	command_write_mail(out, mail.sender, mail.size, mail.body_8bit, mail.smtputf8, mail.params);
	line = line_of(out);
	REQUIRE(command_parse_mail(line, &again, &refusal));
	REQUIRE(strcmp(mail.sender, again.sender) == 0 && strcmp(mail.params, again.params) == 0);
	REQUIRE(mail.size == again.size && mail.body_8bit == again.body_8bit && mail.smtputf8 == again.smtputf8);
	mail_arguments_clear(&mail);
	mail_arguments_clear(&again);
	free(line);
}

static void try_rcpt(const char *text, struct evbuffer *out)
{
	struct rcpt_arguments rcpt, again;
	struct reply *refusal;
	char *line;

	if (!command_parse_rcpt(text, &rcpt, &refusal)) {
		REQUIRE(refusal->code / 100 == 5 && rcpt.address == NULL && rcpt.params == NULL);
		reply_unref(&refusal);
		return;
	}
	REQUIRE(rcpt.address[0] != '\0');
	command_write_rcpt(out, rcpt.address, rcpt.params);
	line = line_of(out);
	REQUIRE(command_parse_rcpt(line, &again, &refusal));
	REQUIRE(strcmp(rcpt.address, again.address) == 0 && strcmp(rcpt.params, again.params) == 0);
	REQUIRE(rcpt.notify_success == again.notify_success);
	rcpt_arguments_clear(&rcpt);
	rcpt_arguments_clear(&again);
	free(line);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *line = mem_strndup((const char *)data, size), ident[64];
	struct evbuffer *out = evbuffer_new();
	const char *arguments;

	REQUIRE(command_verb(line, &arguments) < VERB_COUNT);
	REQUIRE(arguments >= line && arguments <= line + strlen(line));
	try_mail(arguments, out);
	try_rcpt(arguments, out);
	command_xforward_ident(arguments, ident, sizeof(ident));
	for (const char *at = ident; *at != '\0'; at++)
		REQUIRE(*at > ' ' && *at <= '~');
	evbuffer_free(out);
	free(line);
	return 0;
}
