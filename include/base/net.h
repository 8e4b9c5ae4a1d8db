/*
 * Sockets: the endpoints of the configuration, listening, connecting, who is at the other end.
 * Knows nothing of mail or of the loop; never blocks.
 */
#ifndef BASE_NET_H
#define BASE_NET_H

#include <sys/socket.h>
#include <sys/types.h>

#include "relaypool.h"

#define NET_ERROR_SIZE 256
#define NET_NAME_SIZE 160

enum endpoint_kind { ENDPOINT_UNIX = 0, ENDPOINT_INET };

/*
 * unix:PATH, inet:PORT@HOST (Sendmail's spelling) or inet:HOST:PORT (Postfix's); IPv6 in brackets. libmilter wants
 * inet6:PORT@HOST for IPv6: this is accepted too, and written.
 */
struct endpoint {
	enum endpoint_kind kind;
	char path[108];
	char host[128]; /* a name, or an address without brackets */
	uint16_t port;
};

/* False with a sentence in `error` if the text is neither. */
bool endpoint_parse(const char *text, struct endpoint *endpoint, char error[NET_ERROR_SIZE]) MUST_CHECK;
/* As libmilter and relaypool.conf spell it. Returns `out`. */
const char *endpoint_format(const struct endpoint *endpoint, char out[NET_NAME_SIZE]);
bool endpoint_equal(const struct endpoint *a, const struct endpoint *b);
/* Whether both lead to one socket, however they are spelt: localhost, another form of an address, a link to the file. */
bool endpoint_same_place(const struct endpoint *a, const struct endpoint *b);

/*
 * Before a unix socket is made: removes a stale file nobody answers on; false if somebody does (or the path cannot
 * be used), with the reason in `error`. Nothing to do for inet.
 */
bool net_clear_stale(const struct endpoint *endpoint, char error[NET_ERROR_SIZE]) MUST_CHECK;
/*
 * Sets a unix socket's group (ignored if (gid_t)-1) and mode, or its owner and group. Only of a socket: never of what
 * somebody to whom the directory belongs has put in its place. False with the reason in `error`.
 */
bool net_set_access(const struct endpoint *endpoint, gid_t group, mode_t mode, char error[NET_ERROR_SIZE]) MUST_CHECK;
bool net_set_owner(const struct endpoint *endpoint, uid_t user, gid_t group, char error[NET_ERROR_SIZE]) MUST_CHECK;
/*
 * A non-blocking listening socket, close-on-exec; stale files are cleared first. The host of an inet endpoint must be
 * an address or localhost (127.0.0.1). -1 with the reason in `error`.
 */
int net_listen(const struct endpoint *endpoint, gid_t group, mode_t mode, char error[NET_ERROR_SIZE]) MUST_CHECK;

/*
 * Where a socket listens that somebody else has made, its host in numbers. False if `fd` is not a listening stream socket,
 * or is at an address that no endpoint can name.
 */
bool net_listening_at(int fd, struct endpoint *endpoint) MUST_CHECK;

/* Starts a non-blocking TCP connection, close-on-exec, TCP_NODELAY. -1 with errno, else a socket in progress. */
int net_connect(const struct sockaddr *address, socklen_t length) MUST_CHECK;

/* Who is at the other end of a unix socket (SO_PEERCRED). */
bool net_peer_credentials(int fd, uid_t *uid, gid_t *gid) MUST_CHECK;
/*
 * The user who owns the other end of a TCP connection within this host, asked of the kernel (sock_diag(7)). True only
 * while that end is ESTABLISHED and has a socket inode: a closed socket would read as uid 0.
 */
bool net_peer_tcp_user(int fd, uid_t *uid) MUST_CHECK;

/*
 * What the kernel knows of who has spoken last on a TCP connection of this host, whichever process holds it. Ages are
 * as exact as the kernel's clock tick (1 to 10 ms): equal ones may have been either way round.
 */
struct net_turn {
	unsigned unread;       /* octets that came and have not been read; 1 also once the peer has said it is done */
	usec_t sent, received; /* how long ago data was sent last, and came last */
	uint32_t data_sent, data_received; /* segments with data, since the connection began; they wrap */
	uint32_t acknowledgements;         /* … sent without any */
};
/* NET_NOT_ASKED: for want of a descriptor or of memory; the next time it may do. */
enum net_answer { NET_TOLD, NET_NO_CONNECTION, NET_NOT_ASKED };
/*
 * Asks it (sock_diag(7)) of the connection between the two addresses with their ports, `local` on this host. A
 * v4-mapped IPv6 address counts as IPv4. Waits for nothing; takes about 5 µs. Any thread. NET_NO_CONNECTION if there is
 * no such connection in our network namespace, if no process holds it, or if the kernel does not tell. Unless NET_TOLD
 * `out` is left alone.
 */
enum net_answer net_tcp_turn(const struct sockaddr *local, const struct sockaddr *peer,
			     struct net_turn *out) MUST_CHECK;

/* Smoothed round-trip time of a TCP connection (TCP_INFO); -1 if it cannot be told. */
usec_t net_round_trip(int fd);

/* "192.0.2.1" or "2001:db8::1", without the port; a v4-mapped IPv6 address as IPv4. Returns `out`. */
const char *net_address(const struct sockaddr *address, char out[NET_NAME_SIZE]);

/*
 * The octets of an address, borrowed from it, and its family; an IPv4 one within IPv6 (RFC 4291 §2.5.5.2) counts as
 * IPv4. AF_UNSPEC for other families: then there are no octets.
 */
int net_octets(const struct sockaddr *address, const unsigned char **octets);

/* A network in CIDR form, for `clients`. */
struct network {
	int family;
	unsigned char address[16];
	unsigned prefix;
};
/* ADDRESS or ADDRESS/PREFIX, the bits beyond the prefix 0. */
bool network_parse(const char *text, struct network *network) MUST_CHECK;
/* Compares v4-mapped IPv6 addresses as IPv4. */
bool network_contains(const struct network *network, const struct sockaddr *address);

#endif
