/*
 * A small MTA that speaks the milter protocol over a unix socket: it offers what a test says, keeps to what was
 * agreed, and hands over what the milter asks for. Used by check_milter.c.
 */
#ifndef TESTS_UNIT_OBSERVE_FAKE_MTA_H
#define TESTS_UNIT_OBSERVE_FAKE_MTA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MTA_DATA_MAX 4096
#define MTA_PLACES 7 /* SMFIM_CONNECT … SMFIM_EOH */

/* What Postfix offers. */
#define MTA_POSTFIX_ACTIONS 0x1ffu
#define MTA_POSTFIX_PROTOCOL 0x1fffffu

struct mta {
	int fd;
	/* What the milter answered. */
	uint32_t version, actions, protocol;
	char macros[MTA_PLACES][64]; /* asked for by smfi_setsymlist; "" */
	bool macros_asked;
	unsigned replies;    /* waited for, since the negotiation */
	unsigned recipients; /* of the present message */
	bool in_mail;        /* … MAIL was sent */
	bool in_data;        /* … DATA was sent */
	/* For mta_connect(): the client's port, 0: 40000; the macros of our end of its connection, NULL: none. */
	uint16_t client_port;
	const char *daemon_addr, *daemon_port;
};

/* What the milter did with a message. */
struct mta_result {
	char verdict; /* 'c': continue; 0: the socket was closed */
	unsigned actions;
	uint32_t index; /* of the header inserted last */
	char name[64];
	char value[2048];
};

/* Connects. False if nobody is there. */
bool mta_dial(struct mta *mta, const char *path);
/* Connects and negotiates. False if the milter is not there or closes. */
bool mta_open(struct mta *mta, const char *path, uint32_t version, uint32_t actions, uint32_t protocol);
void mta_close(struct mta *mta);

/*
 * Each sends its step, with macros, if the milter wants it, and awaits a reply if it gives one. False: the reply was
 * not to continue.
 */
bool mta_connect(struct mta *mta, const char *address); /* NULL: not known */
bool mta_mail(struct mta *mta, const char *sender, const char *user);
/* `mailer`: of the recipient; NULL: no macro. A message without any is given a local one, and MAIL before it. */
bool mta_rcpt(struct mta *mta, const char *recipient, const char *mailer);
/* Without it, a message is given one, without a queue id, before its content. */
bool mta_data(struct mta *mta, const char *queue_id);
bool mta_header(struct mta *mta, const char *name, const char *value);
/* The end of message; `queue_id` NULL: no macro. */
struct mta_result mta_end(struct mta *mta, const char *queue_id);
void mta_abort(struct mta *mta);

/* Any octets. */
void mta_raw(struct mta *mta, const void *data, size_t length);
/* True once the milter has closed the socket, after at most 5 s; what it still sends is read and forgotten. */
bool mta_closed(struct mta *mta);

#endif
