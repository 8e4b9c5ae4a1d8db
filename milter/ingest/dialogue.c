/*
 * What each command of the MTA means, and in which state it may come: one table of commands, one of what differs
 * between LMTP and SMTP. Called by the session with a whole line; never reads the socket, never looks at the body.
 */
#include <config.h>

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include <event2/buffer.h>

#include "base/conf.h"
#include "session_private.h"
#include "smtp/command.h"
#include "smtp/envelope.h"
#include "smtp/reply.h"

#define RECIPIENTS_MAX 1000

const struct flavour flavours[PROTOCOL_COUNT] = {
	/* RFC 2033 §4.2: a reply for each recipient after the end of data. */
	[PROTOCOL_LMTP] = {"LMTP", "LMTP relaypool", "LHLO", RECIPIENTS_MAX, "Too many recipients"},
	/* A single reply cannot carry two verdicts; RFC 5321 §4.5.3.1.10 has the client send the rest again. */
	[PROTOCOL_SMTP] = {"SMTP", "ESMTP relaypool", "EHLO", 1, "One recipient at a time"},
};

/* The client's mistake: too many of them end the session. */
void dialogue_complain(struct session *session, const char *text)
{
	session->errors++;
	session_say(session, "%s", text);
}

static void run_helo(struct session *session, const char *arguments)
{
	(void)arguments;
	session_drop_transaction(session);
	session->offered = (struct capabilities){0};
	session_say(session, "250 %s", session->ingest->conf->hostname);
	session_rest(session);
}

static void run_ehlo(struct session *session, const char *arguments)
{
	struct capabilities *offered = &session->offered;
	struct ingest *ingest = session->ingest;

	(void)arguments;
	session_drop_transaction(session);
	*offered = (struct capabilities){0};
	ingest->relay.offer(ingest->relay.router, offered);
	session_say(session, "250-%s", ingest->conf->hostname);
	session_say(session, "250-PIPELINING");
	if ((offered->bits & CAP_SIZE) != 0 && offered->size > 0)
		session_say(session, "250-SIZE %" PRIu64, offered->size);
	else if ((offered->bits & CAP_SIZE) != 0)
		session_say(session, "250-SIZE");
	if ((offered->bits & CAP_8BITMIME) != 0)
		session_say(session, "250-8BITMIME");
	if ((offered->bits & CAP_SMTPUTF8) != 0)
		session_say(session, "250-SMTPUTF8");
	if ((offered->bits & CAP_DSN) != 0)
		session_say(session, "250-DSN");
	session_say(session, "250-XFORWARD NAME ADDR PROTO HELO SOURCE PORT IDENT");
	session_say(session, "250 ENHANCEDSTATUSCODES");
	session_rest(session);
}

/* The reply is the caller's no more. */
static void complain_reply(struct session *session, struct reply *reply)
{
	session->errors++;
	reply_write(reply, session->replies);
	reply_unref(&reply);
}

/* True if what is asked for was offered (RFC 5321 §4.1.1.11); otherwise the client has been told. */
static bool mail_was_offered(struct session *session, const struct mail_arguments *mail)
{
	const struct capabilities *offered = &session->offered;

	if (mail->body_8bit && (offered->bits & CAP_8BITMIME) == 0)
		dialogue_complain(session, "555 5.5.4 BODY=8BITMIME was not offered");
	else if (mail->smtputf8 && (offered->bits & CAP_SMTPUTF8) == 0)
		dialogue_complain(session, "555 5.5.4 SMTPUTF8 was not offered");
	else if (*mail->params != '\0' && (offered->bits & CAP_DSN) == 0)
		dialogue_complain(session, "555 5.5.4 RET and ENVID were not offered");
	else if (offered->size > 0 && mail->size > offered->size)
		session_say(session, "552 5.3.4 The message is larger than %" PRIu64 " octets", offered->size);
	else if (mail->size > INT64_MAX) /* as long as no file can be; RFC 1870 §3 allows twenty digits */
		session_say(session, "552 5.3.4 The message is larger than anything that can be kept");
	else
		return true;
	return false;
}

static void run_mail(struct session *session, const char *arguments)
{
	const char *why = session->peer.tcp ? peer_user_refusal(&session->peer, session->ingest->conf) : NULL;
	struct mail_arguments mail;
	struct reply *refusal;

	if (why != NULL) {
		session_refuse_peer(session, "550 5.7.1 You may not hand over mail here", why);
		return;
	}
	if (!command_parse_mail(arguments, &mail, &refusal)) {
		complain_reply(session, refusal);
		return;
	}
	if (!mail_was_offered(session, &mail)) {
		mail_arguments_clear(&mail);
		return;
	}
	struct message *message = message_create(session->ingest->conf);
	message->sender = mail.sender;
	message->params = mail.params;
	message->body_8bit = mail.body_8bit;
	message->smtputf8 = mail.smtputf8;
	static_assert(sizeof(message->queue_id) == sizeof(session->ident), "an id fits into the other");
	memcpy(message->queue_id, session->ident, sizeof(message->queue_id));
	message->arrived = clock_now();
	message->settled = session_settled;
	message->owner = session;
	session->message = message;
	session->expected = mail.size;
	session->mail_wall = clock_wall();
	session_say(session, "250 2.1.0 Ok");
	session_enter(session, SESSION_ENVELOPE);
}

static void run_rcpt(struct session *session, const char *arguments)
{
	struct rcpt_arguments rcpt;
	struct reply *refusal;

	if (!command_parse_rcpt(arguments, &rcpt, &refusal)) {
		complain_reply(session, refusal);
		return;
	}
	if (*rcpt.params != '\0' && (session->offered.bits & CAP_DSN) == 0) {
		dialogue_complain(session, "555 5.5.4 NOTIFY and ORCPT were not offered");
		rcpt_arguments_clear(&rcpt);
		return;
	}
	if (session->message->recipient_count >= session->flavour->recipients) {
		session_say(session, "452 4.5.3 %s", session->flavour->too_many);
		rcpt_arguments_clear(&rcpt);
		return;
	}
	/* Whether the relay takes it is known after the end of data. */
	message_add_recipient(session->message, rcpt.address, rcpt.params, rcpt.notify_success);
	session_say(session, "250 2.1.5 Ok");
}

static void run_data(struct session *session, const char *arguments)
{
	(void)arguments;
	if (session->message->recipient_count == 0) {
		/* RFC 2033 §4.2. Never 354 here: Postfix would send an end of data that nobody is there to answer. */
		session_say(session, "503 5.5.1 No valid recipients");
		return;
	}
	session->incoming = incoming_create(session->message, &session->ingest->key, session->expected,
					    session->offered.size, session->mail_wall);
	session_say(session, "354 End data with <CR><LF>.<CR><LF>");
	session_enter(session, SESSION_BODY);
}

static void run_rset(struct session *session, const char *arguments)
{
	(void)arguments;
	session_drop_transaction(session);
	if (session_let_go(session))
		return;
	session_say(session, "250 2.0.0 Ok");
	if (session->state == SESSION_ENVELOPE)
		session_rest(session);
}

static void run_noop(struct session *session, const char *arguments)
{
	(void)arguments;
	session_say(session, "250 2.0.0 Ok");
}

static void run_vrfy(struct session *session, const char *arguments)
{
	(void)arguments;
	session_say(session, "252 2.0.0 The relay will say");
}

static void run_quit(struct session *session, const char *arguments)
{
	(void)arguments;
	session_say(session, "221 2.0.0 Bye");
	session_hang_up(session);
}

/* Postfix spreads the attributes over several commands. */
static void run_xforward(struct session *session, const char *arguments)
{
	char ident[sizeof(session->ident)];

	command_xforward_ident(arguments, ident, sizeof(ident));
	if (*ident != '\0')
		memcpy(session->ident, ident, sizeof(ident));
	session_say(session, "250 2.0.0 Ok");
}

#define IN(state) (1U << (state))
#define IN_ANY (IN(SESSION_HELLO) | IN(SESSION_READY) | IN(SESSION_ENVELOPE))
#define BOTH (1U << PROTOCOL_LMTP | 1U << PROTOCOL_SMTP)

enum wants { WANTS_NOTHING = 0, WANTS_SOMETHING, WANTS_ANYTHING };

struct command {
	void (*run)(struct session *session, const char *arguments);
	unsigned protocols;
	unsigned states; /* in which it may come */
	enum wants arguments;
};

static const struct command commands[VERB_COUNT] = {
	[VERB_LHLO] = {run_ehlo, 1U << PROTOCOL_LMTP, IN_ANY, WANTS_SOMETHING},
	[VERB_EHLO] = {run_ehlo, 1U << PROTOCOL_SMTP, IN_ANY, WANTS_SOMETHING},
	[VERB_HELO] = {run_helo, 1U << PROTOCOL_SMTP, IN_ANY, WANTS_SOMETHING},
	[VERB_MAIL] = {run_mail, BOTH, IN(SESSION_READY), WANTS_ANYTHING},
	[VERB_RCPT] = {run_rcpt, BOTH, IN(SESSION_ENVELOPE), WANTS_ANYTHING},
	[VERB_DATA] = {run_data, BOTH, IN(SESSION_ENVELOPE), WANTS_NOTHING},
	[VERB_RSET] = {run_rset, BOTH, IN_ANY, WANTS_NOTHING},
	[VERB_NOOP] = {run_noop, BOTH, IN_ANY, WANTS_ANYTHING},
	[VERB_VRFY] = {run_vrfy, BOTH, IN_ANY, WANTS_ANYTHING},
	[VERB_QUIT] = {run_quit, BOTH, IN_ANY, WANTS_NOTHING},
	[VERB_XFORWARD] = {run_xforward, BOTH, IN(SESSION_READY), WANTS_SOMETHING},
};

static void complain_order(struct session *session)
{
	session->errors++;
	if (session->state == SESSION_HELLO)
		session_say(session, "503 5.5.1 %s comes first", session->flavour->hello);
	else if (session->state == SESSION_READY)
		session_say(session, "503 5.5.1 MAIL comes first");
	else
		session_say(session, "503 5.5.1 Not within a transaction");
}

void dialogue_obey(struct session *session, const char *line)
{
	const char *arguments;
	const struct command *command = &commands[command_verb(line, &arguments)];
	unsigned protocol = 1U << (session->flavour - flavours);

	if (command->run == NULL)
		dialogue_complain(session, "500 5.5.2 Unknown command");
	else if ((command->protocols & protocol) == 0) /* RFC 2033 §4.1: 500 */
		dialogue_complain(session, "500 5.5.1 Not a command of this protocol");
	else if ((command->states & IN(session->state)) == 0)
		complain_order(session);
	else if (command->arguments == WANTS_NOTHING && *arguments != '\0')
		dialogue_complain(session, "501 5.5.4 The command takes no argument");
	else if (command->arguments == WANTS_SOMETHING && *arguments == '\0')
		dialogue_complain(session, "501 5.5.4 The command needs an argument");
	else
		command->run(session, arguments);
}
