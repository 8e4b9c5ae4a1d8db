/*
 * Who is at the other end of a session, and whether that user may hand over mail. Called by the session.
 * A unix socket names its user for good (SO_PEERCRED). Over TCP the kernel knows the user only while the client keeps
 * its socket, so it is asked when the client must be there: once greeted, and at each MAIL.
 */
#include <config.h>

#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "base/conf.h"
#include "peer.h"

static bool is_loopback(const struct sockaddr *address)
{
	static const char *const networks[] = {"127.0.0.0/8", "::1/128"};

	for (size_t i = 0; i < sizeof(networks) / sizeof(*networks); i++) {
		struct network network;
		if (network_parse(networks[i], &network) && network_contains(&network, address))
			return true;
	}
	return false;
}

void peer_init(struct peer *peer, int fd)
{
	struct sockaddr_storage storage = {0};
	struct sockaddr *address = (struct sockaddr *)&storage;
	socklen_t length = sizeof(storage);
	int domain = AF_UNSPEC;
	socklen_t domain_length = sizeof(domain);

	*peer = (struct peer){.fd = fd, .uid = -1, .name = "unix"};
	getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &domain_length);
	if (domain == AF_UNIX)
		return;
	peer->tcp = true;
	strcpy(peer->name, "-");
	if (getpeername(fd, address, &length) == -1) /* it has gone already */
		return;
	peer->loopback = is_loopback(address);
	net_address(address, peer->name);
}

bool peer_talks(const struct peer *peer)
{
	char octet;

	return recv(peer->fd, &octet, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

bool peer_gone(const struct peer *peer)
{
	struct pollfd watched = {.fd = peer->fd, .events = POLLRDHUP};

	return poll(&watched, 1, 0) > 0;
}

const char *peer_user_refusal(struct peer *peer, const struct conf *conf)
{
	uid_t uid;
	gid_t gid;

	peer->uid = -1;
	if (!(peer->tcp ? net_peer_tcp_user(peer->fd, &uid) : net_peer_credentials(peer->fd, &uid, &gid)))
		return "the user at the other end cannot be told";
	peer->uid = uid;
	for (size_t i = 0; i < conf->allow_user_count; i++)
		if (conf->allow_users[i] == uid)
			return NULL;
	return "the user is not in allow-users";
}

const char *peer_refusal(struct peer *peer, const struct conf *conf)
{
	if (!peer->tcp)
		return peer_user_refusal(peer, conf);
	return peer->loopback ? NULL : "the client is not on this host";
}
