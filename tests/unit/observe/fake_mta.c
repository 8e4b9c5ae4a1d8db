/*
 * The milter protocol from the MTA's side (libmilter/mfdef.h): a length, a command, data. Called by check_milter.c;
 * it never sends a step that was declined, nor waits for a reply that was.
 */
#include <config.h>

#include "fake_mta.h"

#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <libmilter/mfapi.h>

#define WAIT_MSEC 5000

struct packet {
	char command; /* 0: none came */
	char data[MTA_DATA_MAX];
	size_t length;
};

void mta_raw(struct mta *mta, const void *data, size_t length)
{
	const char *from = data;
	while (length > 0) {
		ssize_t sent = send(mta->fd, from, length, MSG_NOSIGNAL);
		if (sent <= 0)
			return;
		from += sent;
		length -= (size_t)sent;
	}
}

static void send_packet(struct mta *mta, char command, const void *data, size_t length)
{
	char head[5];
	uint32_t size = htonl((uint32_t)length + 1);
	memcpy(head, &size, 4);
	head[4] = command;
	mta_raw(mta, head, sizeof head);
	mta_raw(mta, data, length);
}

static bool read_all(int fd, void *out, size_t length)
{
	char *to = out;
	while (length > 0) {
		struct pollfd ready = {.fd = fd, .events = POLLIN};
		ssize_t got = poll(&ready, 1, WAIT_MSEC) == 1 ? read(fd, to, length) : -1;
		if (got <= 0)
			return false;
		to += got;
		length -= (size_t)got;
	}
	return true;
}

static struct packet read_packet(struct mta *mta)
{
	struct packet packet = {0};
	char head[5];
	uint32_t size;
	if (!read_all(mta->fd, head, sizeof head))
		return packet;
	memcpy(&size, head, 4);
	packet.length = ntohl(size) - 1;
	if (packet.length > sizeof packet.data || !read_all(mta->fd, packet.data, packet.length))
		return (struct packet){0};
	packet.command = head[4];
	return packet;
}

/* ---- negotiation ---- */

static uint32_t number_at(const struct packet *packet, size_t offset)
{
	uint32_t number = 0;
	if (offset + 4 <= packet->length)
		memcpy(&number, packet->data + offset, 4);
	return ntohl(number);
}

static void read_macro_lists(struct mta *mta, const struct packet *packet)
{
	for (size_t at = 12; at + 4 < packet->length;) {
		uint32_t place = number_at(packet, at);
		size_t length = strnlen(packet->data + at + 4, packet->length - at - 4);
		mta->macros_asked = true;
		if (place < MTA_PLACES)
			snprintf(mta->macros[place], sizeof mta->macros[place], "%.*s", (int)length,
				 packet->data + at + 4);
		at += 4 + length + 1;
	}
}

bool mta_dial(struct mta *mta, const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	*mta = (struct mta){.fd = socket(AF_UNIX, SOCK_STREAM, 0)};
	snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
	return connect(mta->fd, (struct sockaddr *)&address, sizeof address) == 0;
}

bool mta_open(struct mta *mta, const char *path, uint32_t version, uint32_t actions, uint32_t protocol)
{
	uint32_t offer[3] = {htonl(version), htonl(actions), htonl(protocol)};
	if (!mta_dial(mta, path))
		return false;
	send_packet(mta, SMFIC_OPTNEG, offer, sizeof offer);
	struct packet answer = read_packet(mta);
	if (answer.command != SMFIC_OPTNEG || answer.length < 12)
		return false;
	mta->version = number_at(&answer, 0);
	mta->actions = number_at(&answer, 4);
	mta->protocol = number_at(&answer, 8);
	read_macro_lists(mta, &answer);
	return true;
}

void mta_close(struct mta *mta)
{
	close(mta->fd);
	mta->fd = -1;
}

/* ---- steps ---- */

/* One macro, as the packet that precedes a step. */
static void send_macro(struct mta *mta, char step, const char *name, const char *value)
{
	char data[MTA_DATA_MAX];
	int length = snprintf(data, sizeof data, "%c%s%c%s", step, name, '\0', value);
	send_packet(mta, SMFIC_MACRO, data, (size_t)length + 1);
}

static bool send_step(struct mta *mta, char command, const void *data, size_t length, uint32_t declined,
		      uint32_t no_reply)
{
	if ((mta->protocol & declined) != 0)
		return true;
	send_packet(mta, command, data, length);
	if ((mta->protocol & no_reply) != 0)
		return true;
	mta->replies++;
	return read_packet(mta).command == SMFIR_CONTINUE;
}

bool mta_connect(struct mta *mta, const char *address)
{
	char data[256];
	uint16_t port = htons(mta->client_port != 0 ? mta->client_port : 40000);
	size_t length = (size_t)snprintf(data, sizeof data, "client.example%c", '\0');
	data[length++] = address == NULL ? SMFIA_UNKNOWN : strchr(address, ':') != NULL ? SMFIA_INET6 : SMFIA_INET;
	if (address != NULL) {
		memcpy(data + length, &port, 2);
		strcpy(data + length + 2, address);
		length += 2 + strlen(address) + 1;
	}
	if (mta->daemon_addr != NULL)
		send_macro(mta, SMFIC_CONNECT, "{daemon_addr}", mta->daemon_addr);
	if (mta->daemon_port != NULL)
		send_macro(mta, SMFIC_CONNECT, "{daemon_port}", mta->daemon_port);
	return send_step(mta, SMFIC_CONNECT, data, length, SMFIP_NOCONNECT, SMFIP_NR_CONN) &&
	       send_step(mta, SMFIC_HELO, "client.example", sizeof "client.example", SMFIP_NOHELO, SMFIP_NR_HELO);
}

bool mta_mail(struct mta *mta, const char *sender, const char *user)
{
	mta->in_mail = true;
	if (user != NULL && (mta->protocol & SMFIP_NOMAIL) == 0)
		send_macro(mta, SMFIC_MAIL, "{auth_authen}", user);
	return send_step(mta, SMFIC_MAIL, sender, strlen(sender) + 1, SMFIP_NOMAIL, SMFIP_NR_MAIL);
}

bool mta_rcpt(struct mta *mta, const char *recipient, const char *mailer)
{
	if (!mta->in_mail && !mta_mail(mta, "<alice@example.com>", NULL))
		return false;
	mta->recipients++;
	if (mailer != NULL && (mta->protocol & SMFIP_NORCPT) == 0)
		send_macro(mta, SMFIC_RCPT, "{rcpt_mailer}", mailer);
	return send_step(mta, SMFIC_RCPT, recipient, strlen(recipient) + 1, SMFIP_NORCPT, SMFIP_NR_RCPT);
}

/* Milter protocols before 4 do not have this step. */
bool mta_data(struct mta *mta, const char *queue_id)
{
	if (mta->recipients == 0 && !mta_rcpt(mta, "<bob@example.com>", "local"))
		return false;
	mta->in_data = true;
	if (mta->version < 4)
		return true;
	if (queue_id != NULL && (mta->protocol & SMFIP_NODATA) == 0)
		send_macro(mta, SMFIC_DATA, "i", queue_id);
	return send_step(mta, SMFIC_DATA, "", 0, SMFIP_NODATA, SMFIP_NR_DATA);
}

/* No content without a recipient and DATA: libmilter ends a session that skips a step. */
static bool in_data(struct mta *mta)
{
	return mta->in_data || mta_data(mta, NULL);
}

bool mta_header(struct mta *mta, const char *name, const char *value)
{
	if (!in_data(mta))
		return false;
	char data[MTA_DATA_MAX];
	int length = snprintf(data, sizeof data, "%s%c%s", name, '\0', value);
	return send_step(mta, SMFIC_HEADER, data, (size_t)length + 1, SMFIP_NOHDRS, SMFIP_NR_HDR);
}

static void note_action(struct mta_result *result, const struct packet *packet)
{
	result->actions++;
	if (packet->command != SMFIR_INSHEADER)
		return;
	size_t name = strnlen(packet->data + 4, packet->length - 4);
	result->index = number_at(packet, 0);
	snprintf(result->name, sizeof result->name, "%.*s", (int)name, packet->data + 4);
	snprintf(result->value, sizeof result->value, "%.*s", (int)(packet->length - name - 5),
		 packet->data + name + 5);
}

struct mta_result mta_end(struct mta *mta, const char *queue_id)
{
	struct mta_result result = {0};
	struct packet packet = {0};
	bool before = in_data(mta) && send_step(mta, SMFIC_EOH, "", 0, SMFIP_NOEOH, SMFIP_NR_EOH) &&
		      send_step(mta, SMFIC_BODY, "Hello\r\n", 7, SMFIP_NOBODY, SMFIP_NR_BODY);
	mta->recipients = 0;
	mta->in_mail = mta->in_data = false;
	if (!before)
		return result;
	if (queue_id != NULL)
		send_macro(mta, SMFIC_BODYEOB, "i", queue_id);
	send_packet(mta, SMFIC_BODYEOB, "", 0);
	for (packet = read_packet(mta); packet.command != 0; packet = read_packet(mta)) {
		if (strchr("cadrty", packet.command) != NULL)
			break;
		note_action(&result, &packet);
	}
	result.verdict = packet.command;
	return result;
}

void mta_abort(struct mta *mta)
{
	mta->recipients = 0;
	mta->in_mail = mta->in_data = false;
	send_packet(mta, SMFIC_ABORT, "", 0);
}

bool mta_closed(struct mta *mta)
{
	char octet;
	while (read_all(mta->fd, &octet, 1))
		;
	struct pollfd ready = {.fd = mta->fd, .events = POLLIN};
	return poll(&ready, 1, 0) == 1;
}
