/*
 * From the greeting to readiness: banner, EHLO, STARTTLS, AUTH. Part of connection.c; what each failure means for the
 * relay is said in trouble.c.
 */
#include "connection_private.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"

void handshake_banner(struct connection *c)
{
	connection_set_state(c, CONNECTION_BANNER);
	pipeline_queue(&c->pipeline, COMMAND_BANNER, NULL, 0, NULL);
	connection_advance(c);
}

void handshake_ehlo(struct connection *c)
{
	connection_set_state(c, CONNECTION_EHLO);
	memset(&c->caps, 0, sizeof(c->caps)); /* only what is announced after the last EHLO counts */
	pipeline_queue(&c->pipeline, COMMAND_EHLO, NULL, 0, mem_printf("EHLO %s", c->conf->hostname));
}

static void fail_settings(struct connection *c, const char *enhanced, const char *text)
{
	c->settings = true;
	connection_doom(c, reply_local(LOCAL_RELAY_DOWN, 451, enhanced, "%s: %s", c->host, text));
}

static void become_ready(struct connection *c)
{
	c->ready_at = clock_now();
	c->pipeline.mode = pipeline_mode_for(c->pipeline.mode, &c->caps);
	auth_free(c->auth);
	c->auth = NULL;
	mem_free_secret(c->token);
	c->token = NULL;
	connection_set_state(c, CONNECTION_IDLE);
	c->owner->ready(c);
}

static void continue_auth(struct connection *c, const char *challenge)
{
	char error[NET_ERROR_SIZE];
	char *line = NULL;
	if (auth_next(c->auth, challenge, &line, error, sizeof(error)))
		pipeline_queue(&c->pipeline, COMMAND_AUTH, NULL, 0, line);
	else
		fail_settings(c, "4.7.0", error);
}

static void begin_auth(struct connection *c)
{
	char error[NET_ERROR_SIZE];
	if (c->relay->username == NULL && c->token == NULL) {
		become_ready(c);
		return;
	}
	connection_set_state(c, CONNECTION_AUTH);
	c->auth = auth_create(c->relay, &c->caps, connection_tried(c)->host, c->ssl != NULL, c->token, error,
			      sizeof(error));
	if (c->auth == NULL)
		fail_settings(c, "4.7.0", error);
	else
		continue_auth(c, NULL);
	if (c->trace != NULL && c->auth != NULL)
		(void)snprintf(c->trace->mechanism, sizeof(c->trace->mechanism), "%s", auth_mechanism(c->auth));
}

static void on_ehlo(struct connection *c, const struct reply *reply)
{
	capabilities_parse(reply, &c->caps);
	if (c->relay->tls == TLS_STARTTLS && c->ssl == NULL) {
		if (!(c->caps.bits & CAP_STARTTLS)) {
			fail_settings(c, "4.7.4",
				      "does not announce STARTTLS; nothing was sent to it. If it wants TLS from the "
				      "first octet set tls = \"implicit\" (port 465)");
			return;
		}
		connection_set_state(c, CONNECTION_STARTTLS);
		pipeline_queue(&c->pipeline, COMMAND_STARTTLS, NULL, 0, NULL);
		return;
	}
	begin_auth(c);
}

static void on_auth(struct connection *c, const struct reply *reply)
{
	if (reply->code == 334)
		continue_auth(c, reply->text);
	else if (auth_accept(c->auth))
		become_ready(c);
	else
		fail_settings(c, "4.7.0", "did not prove that it knows the password (SCRAM): is it the right server?");
}

const char *handshake_line(const struct connection *c, const struct reply *reply, char *out, size_t size)
{
	reply_line(reply, out, size);
	if (c->auth != NULL)
		auth_blank(c->auth, out);
	return out;
}

/* A 4xx or 5xx on the way to readiness. */
static void setup_refused(struct connection *c, enum command_kind kind, const struct reply *reply)
{
	char line[512];
	handshake_line(c, reply, line, sizeof(line));
	if (kind == COMMAND_AUTH && c->token != NULL)
		token_refused(c->token_source);
	c->settings = trouble_setup(command_stage(kind), reply, false, c->token_kept) == FAULT_SETTINGS;
	const char *advice = "";
	if (kind == COMMAND_AUTH && reply->code >= 500)
		advice = c->token == NULL ? "; check username and password-file, then relaypoolctl reload"
			 : c->token_kept ? "; that token was read some time ago: a new one is read for the next attempt"
					 : "; check username and token";
	connection_doom(c, reply_local(LOCAL_RELAY_DOWN, 451, kind == COMMAND_AUTH ? "4.7.0" : "4.4.1",
				       "%s said: %s (in reply to %s)%s", c->host, line, command_names[kind], advice));
}

static void trace_reply(struct connection *c, enum command_kind kind, const struct reply *reply)
{
	if (kind == COMMAND_BANNER)
		handshake_line(c, reply, c->trace->banner, sizeof(c->trace->banner));
	else if (kind == COMMAND_AUTH && reply->code != 334)
		handshake_line(c, reply, c->trace->auth, sizeof(c->trace->auth));
}

void handshake_reply(struct connection *c, enum command_kind kind, const struct reply *reply)
{
	if (c->trace != NULL)
		trace_reply(c, kind, reply);
	if (!command_allows(kind, reply->code)) {
		setup_refused(c, kind, reply);
		return;
	}
	switch (kind) {
	case COMMAND_BANNER:
		handshake_ehlo(c);
		break;
	case COMMAND_EHLO:
		on_ehlo(c, reply);
		break;
	case COMMAND_STARTTLS:
		dial_start_tls(c);
		break;
	case COMMAND_AUTH:
		on_auth(c, reply);
		break;
	default: /* RSET and QUIT need nothing more */
		break;
	}
}
