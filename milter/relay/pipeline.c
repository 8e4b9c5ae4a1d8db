/*
 * Which command may be written when, and whose reply comes next. Called by the connection.
 * Never touches a socket, never looks at what a reply says.
 */
#include "relay/pipeline.h"

#include "base/mem.h"

#include <stdlib.h>

const char *const pipeline_mode_names[MODE_COUNT] = {"lockstep", "classic", "overlap", "deep"};
const char *const command_names[COMMAND_KINDS] = {"banner", "EHLO",        "STARTTLS", "AUTH", "RSET", "MAIL", "RCPT",
						  "DATA",   "end of data", "BDAT",     "RSET", "RSET", "QUIT"};

void pipeline_init(struct pipeline *p)
{
	list_init(&p->to_send);
	list_init(&p->awaiting);
	p->mode = MODE_LOCKSTEP;
}

static struct command *first(const struct list *head)
{
	return list_empty(head) ? NULL : LIST_ENTRY_OF(head->next, struct command, node);
}

void pipeline_clear(struct pipeline *p)
{
	struct command *c;
	while ((c = first(&p->to_send)) != NULL)
		pipeline_drop(c);
	while ((c = first(&p->awaiting)) != NULL)
		pipeline_drop(c);
}

void pipeline_queue(struct pipeline *p, enum command_kind kind, struct transaction *t, size_t recipient, char *line)
{
	struct command *c = mem_alloc(sizeof(*c));
	c->kind = kind;
	c->transaction = t;
	c->recipient = recipient;
	c->line = line;
	c->end = UINT64_MAX;
	list_append(&p->to_send, &c->node);
}

/*
 * The one predicate. Only the last command on the way matters: what stands before it was allowed to have it behind.
 */
static bool may_send(const struct pipeline *p, const struct command *c)
{
	if (list_empty(&p->awaiting))
		return true;
	const struct command *last = LIST_ENTRY_OF(p->awaiting.prev, struct command, node);
	if (p->mode == MODE_LOCKSTEP || (c->transaction && c->transaction->plain) ||
	    (last->transaction && last->transaction->plain))
		return false;
	switch (last->kind) {
	case COMMAND_RSET:
	case COMMAND_MAIL:
	case COMMAND_RCPT:
		return c->kind == COMMAND_MAIL || c->kind == COMMAND_RCPT || c->kind == COMMAND_DATA ||
		       (c->kind == COMMAND_BDAT && c->transaction->blind);
	case COMMAND_BODY:
		return p->mode >= MODE_OVERLAP && last->end != UINT64_MAX &&
		       (c->kind == COMMAND_RSET || c->kind == COMMAND_MAIL || c->kind == COMMAND_QUIT);
	case COMMAND_BDAT:
		return last->end != UINT64_MAX && c->kind == COMMAND_MARK;
	case COMMAND_MARK:
		return c->kind == COMMAND_MAIL || c->kind == COMMAND_QUIT;
	default: /* what its reply says decides what follows */
		return false;
	}
}

struct command *pipeline_sendable(const struct pipeline *p)
{
	struct command *c = first(&p->to_send);
	return c != NULL && may_send(p, c) ? c : NULL;
}

void pipeline_sent(struct pipeline *p, struct command *c, uint64_t end)
{
	c->end = end;
	list_remove(&c->node);
	list_append(&p->awaiting, &c->node);
}

struct command *pipeline_awaited(const struct pipeline *p)
{
	return first(&p->awaiting);
}

void pipeline_drop(struct command *c)
{
	list_remove(&c->node);
	mem_free_secret(c->line);
	free(c);
}

void pipeline_drop_unsent(struct pipeline *p, const struct transaction *t)
{
	LIST_EACH (node, next, &p->to_send) {
		struct command *c = LIST_ENTRY_OF(node, struct command, node);
		if (c->transaction == t)
			pipeline_drop(c);
	}
}

bool pipeline_quiet(const struct pipeline *p)
{
	return list_empty(&p->to_send) && list_empty(&p->awaiting);
}

enum pipeline_mode pipeline_mode_for(enum pipeline_mode mode, const struct capabilities *caps)
{
	if (!(caps->bits & CAP_PIPELINING))
		return MODE_LOCKSTEP;
	bool deep = !(~caps->bits & (CAP_CHUNKING | CAP_SIZE));
	return mode == MODE_DEEP && !deep ? MODE_OVERLAP : mode;
}

bool command_is_body(enum command_kind kind)
{
	return kind == COMMAND_BODY || kind == COMMAND_BDAT;
}

bool command_allows(enum command_kind kind, int code)
{
	switch (kind) {
	case COMMAND_BANNER:
	case COMMAND_STARTTLS:
		return code == 220;
	case COMMAND_AUTH:
		return code == 235 || code == 334;
	case COMMAND_RCPT:
		return code == 250 || code == 251;
	case COMMAND_DATA:
		return code == 354;
	case COMMAND_QUIT:
		return code == 221;
	default:
		return code == 250;
	}
}

enum stage command_stage(enum command_kind kind)
{
	static const enum stage stages[COMMAND_KINDS] = {
		[COMMAND_BANNER] = STAGE_BANNER, [COMMAND_EHLO] = STAGE_EHLO,  [COMMAND_STARTTLS] = STAGE_TLS,
		[COMMAND_AUTH] = STAGE_AUTH,     [COMMAND_RSET] = STAGE_MAIL,  [COMMAND_MAIL] = STAGE_MAIL,
		[COMMAND_RCPT] = STAGE_RCPT,     [COMMAND_DATA] = STAGE_DATA,  [COMMAND_BODY] = STAGE_REPLY,
		[COMMAND_BDAT] = STAGE_REPLY,    [COMMAND_MARK] = STAGE_REPLY, [COMMAND_UNDO] = STAGE_REPLY,
		[COMMAND_QUIT] = STAGE_REPLY,
	};
	return stages[kind];
}
