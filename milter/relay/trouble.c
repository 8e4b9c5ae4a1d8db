/*
 * Every disposition of trouble: failure in, decision out. Called by connection, pool and delivery; never acts.
 */
#include "relay/trouble.h"

#include <assert.h>
#include <string.h>

static bool negative(const struct reply *reply)
{
	return reply->code >= 400;
}

/* Their replies do not depend on MAIL. */
static bool is_reset(enum command_kind kind)
{
	return kind == COMMAND_RSET || kind == COMMAND_MARK || kind == COMMAND_UNDO;
}

/* A refusal that follows from an earlier one of the same group says nothing new. */
static bool follows_from_refusal(enum command_kind kind, const struct transaction *t)
{
	if (kind == COMMAND_MAIL || is_reset(kind))
		return false;
	if (t->mail_reply != NULL && negative(t->mail_reply))
		return true;
	return (kind == COMMAND_DATA || kind == COMMAND_BDAT) && transaction_accepted(t) == 0;
}

static bool some_refused_for_good(const struct transaction *t)
{
	for (size_t i = 0; i < t->recipient_count; i++)
		if (t->rcpt_replies[i] != NULL && t->rcpt_replies[i]->code >= 500)
			return true;
	return false;
}

static enum reply_worth worth_in_transaction(enum command_kind kind, const struct reply *reply,
					     const struct transaction *t)
{
	/* Accepted although MAIL was refused: the replies have slipped. */
	if (!negative(reply) && !is_reset(kind) && t->mail_reply != NULL && negative(t->mail_reply))
		return WORTH_CONFUSED;
	/* 354 for nobody: some servers do that, and so do replies that have slipped. Command by command it is not asked. */
	if (!negative(reply) && (kind == COMMAND_DATA || kind == COMMAND_BDAT) && transaction_accepted(t) == 0 &&
	    t->pipelined)
		return WORTH_CONFUSED;
	if (follows_from_refusal(kind, t))
		return WORTH_REFUSAL;
	if (!negative(reply))
		return WORTH_GOOD;
	if (t->plain)
		return WORTH_REFUSAL;
	/* 500 and 503 complain about the way of talking, never about the message. */
	if (t->pipelined && kind != COMMAND_BODY && (reply->code == 500 || reply->code == 503))
		return WORTH_CONFUSED;
	/*
	 * DATA refused while recipients were accepted: one reply too many before it would look the same and would
	 * bounce what the relay takes. If anything would bounce by it, it is asked once more, command by command.
	 */
	if (t->pipelined && kind == COMMAND_DATA && (reply->code >= 500 || some_refused_for_good(t)))
		return WORTH_CONFUSED;
	return WORTH_REFUSAL;
}

enum reply_worth trouble_reply(enum command_kind kind, const struct reply *reply, const struct transaction *t,
			       bool early, bool reused_first)
{
	if (early)
		return WORTH_CONFUSED;
	if (!negative(reply) && !command_allows(kind, reply->code))
		return WORTH_CONFUSED;
	if (reused_first && (reply->code == 421 || (reply->code == 451 && strcmp(reply->enhanced, "4.4.2") == 0)))
		return WORTH_STALE;
	if (reply->code == 421)
		return WORTH_CLOSING;
	if (t == NULL)
		return negative(reply) ? WORTH_REFUSAL : WORTH_GOOD;
	return worth_in_transaction(kind, reply, t);
}

/* The body was refused while it was being written, twice, the second time by itself: that is the relay's verdict. */
static bool refused_in_the_body(const struct transaction *t)
{
	return t->plain && t->final_reply != NULL && negative(t->final_reply) && t->final_reply->code != 421 &&
	       transaction_accepted(t) > 0;
}

enum disposition trouble_transaction(struct transaction *t, enum transaction_end end)
{
	switch (end) {
	case END_REPLIED:
		return DISPOSE_SETTLE;
	case END_UNKNOWN:
	case END_CANCELLED:
		return DISPOSE_DEFER;
	case END_REFUSED:
		return DISPOSE_NEXT_RELAY;
	case END_WITHDRAWN:
		return DISPOSE_FORGET;
	case END_THROTTLED:
		return DISPOSE_WAIT;
	case END_CONFUSED:
		if (refused_in_the_body(t))
			return DISPOSE_SETTLE;
		t->plain = true;
		break;
	case END_CLOSING:
	case END_UNSENT:
		break;
	}
	if (!t->stale)
		t->losses++;
	return t->losses >= TROUBLE_LOSSES_MAX ? DISPOSE_NEXT_RELAY : DISPOSE_REPLAY;
}

struct reply *trouble_defer(const struct transaction *t, enum transaction_end end, const char *relay)
{
	char said[512] = "";
	if (end == END_REFUSED || end == END_CANCELLED) {
		assert(t->local != NULL);
		return reply_ref(t->local);
	}
	if (t->last_trouble != NULL)
		(void)reply_line(t->last_trouble, said, sizeof(said));
	if (end == END_UNKNOWN)
		return reply_local(LOCAL_AMBIGUOUS, 451, "4.4.2",
				   "relay %s may have the message: no reply to the end of data (%s)", relay, said);
	if (end == END_CONFUSED)
		return reply_local(LOCAL_PROTOCOL, 451, "4.5.0", "relay %s does not speak SMTP: %s", relay, said);
	return reply_local(LOCAL_CONNECTION, 451, "4.4.2", "relay %s: connection lost %u times, last: %s", relay,
			   t->losses, said);
}

/* ---- too much at once ---- */

/* A word that names somebody or something: what it is called says nothing of why. */
static bool is_name(const char *word, size_t length)
{
	for (size_t i = 0; i < length; i++) {
		bool inside = i > 0 && i + 1 < length;
		if (strchr("<>@", word[i]) != NULL || (inside && word[i] == '.'))
			return true;
	}
	return false;
}

/* The text in its own words: no address, no host's name. */
static void own_words(const char *text, char *out, size_t size)
{
	size_t used = 0;
	while (*text != '\0') {
		size_t blanks = strspn(text, " \n"), length = strcspn(text + blanks, " \n");
		if (!is_name(text + blanks, length) && length + 2 < size - used) {
			out[used++] = ' ';
			memcpy(out + used, text + blanks, length);
			used += length;
		}
		text += blanks + length;
	}
	out[used] = '\0';
}

static bool says_one_of(const char *text, const char *const *words, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (strcasestr(text, words[i]) != NULL)
			return true;
	return false;
}

/* Policy, system not accepting, routing congestion (RFC 3463 §3); many servers say nothing more precise. */
static bool may_be_about_pace(const char *enhanced)
{
	return enhanced[0] == '\0' || strncmp(enhanced, "4.7.", 4) == 0 || strcmp(enhanced, "4.3.2") == 0 ||
	       strcmp(enhanced, "4.4.5") == 0;
}

/*
 * A 4xx that is about the pace and not about the message. No code is kept for that; the words are those of Postfix,
 * Exchange, SES and others. Where a provider means a day's or month's quota, waiting here does not help.
 */
static bool about_pace(const struct reply *reply)
{
	static const char *const pace[] = {"throttl",      "too many messages", "too many connections",
					   "concurrent",   "too many emails",   "too much mail",
					   "too fast",     "rate limit",        "ratelimit",
					   "sending rate", "rate exceeded",     "slow down"};
	static const char *const other[] = {"quota",    "daily",    "per day", "monthly", "recipient",
					    "greylist", "graylist", "mailbox", "errors"};
	char text[512];
	if (reply == NULL || reply->code < 400 || reply->code > 499 || !may_be_about_pace(reply->enhanced))
		return false;
	own_words(reply->text, text, sizeof(text));
	return says_one_of(text, pace, sizeof(pace) / sizeof(pace[0])) &&
	       !says_one_of(text, other, sizeof(other) / sizeof(other[0]));
}

struct reply *trouble_throttle(const struct transaction *t, enum transaction_end end, bool fresh)
{
	struct reply *reply = NULL;
	if (end == END_CLOSING)
		reply = fresh && !t->stale ? t->last_trouble : NULL;
	else if (end == END_REPLIED && t->mail_reply != NULL && negative(t->mail_reply))
		reply = t->mail_reply;
	else if (end == END_REPLIED && transaction_accepted(t) > 0) /* what is said to RCPT is about that recipient */
		reply = t->final_reply != NULL ? t->final_reply : t->data_reply;
	return about_pace(reply) ? reply : NULL;
}

bool trouble_one_too_many(enum stage stage, bool settings)
{
	switch (stage) {
	case STAGE_BANNER:
	case STAGE_EHLO:
		return true;
	case STAGE_TLS:
	case STAGE_AUTH:
		return !settings;
	default:
		return false;
	}
}

/* RFC 5321 §4.5.3.1.10: 452, and the older 552, for one recipient too many, after at least one was accepted. */
bool trouble_recipient_again(const struct transaction *t, size_t i)
{
	const struct reply *reply = t->rcpt_replies[i];
	if (reply == NULL || transaction_accepted(t) == 0)
		return false;
	if (reply->code == 452)
		return reply->enhanced[0] == '\0' || strcmp(reply->enhanced, "4.5.3") == 0 ||
		       strcmp(reply->enhanced, "5.5.3") == 0;
	return reply->code == 552 && (strcmp(reply->enhanced, "5.5.3") == 0 || strcmp(reply->enhanced, "4.5.3") == 0);
}

enum setup_fault trouble_setup(enum stage stage, const struct reply *reply, bool settings, bool token_kept)
{
	if (settings)
		return FAULT_SETTINGS;
	if (reply == NULL || !reply_is_remote(reply) || reply->code < 500)
		return FAULT_PASSING;
	if (stage == STAGE_AUTH && token_kept)
		return FAULT_PASSING;
	/* A 5xx to the greeting, to EHLO or to AUTH does not go away by itself. */
	return stage == STAGE_AUTH || stage == STAGE_BANNER || stage == STAGE_EHLO || stage == STAGE_TLS
		       ? FAULT_SETTINGS
		       : FAULT_PASSING;
}

usec_t trouble_backoff(enum setup_fault fault, unsigned failures)
{
	usec_t first = fault == FAULT_SETTINGS ? 60 * USEC_PER_SEC : USEC_PER_SEC;
	usec_t most = fault == FAULT_SETTINGS ? 600 * USEC_PER_SEC : 60 * USEC_PER_SEC;
	unsigned doublings = failures > 0 ? failures - 1 : 0;
	if (doublings > 10)
		doublings = 10;
	usec_t wait = first << doublings;
	return wait < most ? wait : most;
}

enum pipeline_mode trouble_mode(enum pipeline_mode mode, unsigned confused_overlap, unsigned confused_group)
{
	if (confused_group >= TROUBLE_CONFUSED_MAX)
		return MODE_LOCKSTEP;
	if (confused_overlap >= TROUBLE_CONFUSED_MAX && mode >= MODE_OVERLAP)
		return MODE_CLASSIC;
	return mode;
}
