/*
 * Whether relaypoold listens where an MTA is to bring its mail. Called by the room setup; takes two seconds at most.
 */
#ifndef SETUP_LISTENING_H
#define SETUP_LISTENING_H

#include "base/net.h"
#include "setup/report.h"

/* 0 if somebody listens there, else an error of errno(3). */
int listening_probe(const struct endpoint *endpoint) MUST_CHECK;
/*
 * A finding about the socket `name`, which stops --apply if nobody listens; `meanwhile` says what becomes of mail then.
 * Where this user may not look, a note.
 */
void listening_check(const struct endpoint *endpoint, const char *name, const char *meanwhile, struct report *report);

#endif
