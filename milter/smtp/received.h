/*
 * What a Received field says of the message's id and, with Postfix, of the user who submitted it. For the room smtp.
 */
#ifndef SMTP_RECEIVED_H
#define SMTP_RECEIVED_H

#include <sys/types.h>

#include "relaypool.h"

struct received {
	char id[64];     /* the queue id; "" if there is none */
	bool has_userid; /* "(…, from userid N)" stands behind the host that received it */
	uid_t userid;
};

/* From the field's value, folded as it came. What is malformed is not found. */
void received_parse(const char *value, size_t length, struct received *out);

#endif
