/*
 * What `relaypoolctl setup` is asked, and who answers it: one function for each MTA. Called by relaypoolctl alone, never
 * by the daemon; the room knows base only. Nothing here prints: what was found and done is a report (setup/report.h).
 */
#ifndef SETUP_SETUP_H
#define SETUP_SETUP_H

#include "relaypool.h"
#include "setup/report.h"

#define SETUP_ERROR_SIZE 1024

enum setup_action {
	SETUP_SHOW = 0, /* what SETUP_APPLY would change */
	SETUP_CHECK,    /* everything, also what is right */
	SETUP_APPLY,
	SETUP_UNDO
};

struct setup_request {
	enum setup_action action;
	const struct conf *conf; /* NULL with SETUP_UNDO, which works without relaypool.conf too */
	char **domains;          /* only mail to these; none: all outbound mail */
	size_t domain_count;
	bool reload;          /* have the MTA read its configuration again at the end */
	bool force;           /* go on where the report has something that stops */
	const char *instance; /* Postfix: as postmulti(1) names it; NULL */
	const char *mc;       /* Sendmail: the file that sendmail.cf is made of; NULL: /etc/mail/sendmail.mc */
};

/*
 * Does it, adding to the report what was found and what was done. False with a sentence for the administrator if it
 * could not be done; then nothing has changed, or the sentence says what has.
 */
typedef bool setup_fn(const struct setup_request *request, struct report *report, char error[SETUP_ERROR_SIZE]);
setup_fn setup_postfix, setup_sendmail;

#endif
