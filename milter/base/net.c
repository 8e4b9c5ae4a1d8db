/*
 * Sockets, as the rest of the program sees them: endpoints, listening, connecting, who is at the other end, networks.
 * Called by ingest, relay, admin and the configuration. Never waits: names are resolve.c's business.
 */
#include <config.h>

#include <arpa/inet.h>
#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/congestion.h"
#include "base/file.h"
#include "base/net.h"

/* Writes the reason; always false. */
PRINTF_LIKE(2, 3) static bool fail(char error[NET_ERROR_SIZE], const char *format, ...)
{
	va_list args;
	va_start(args, format);
	vsnprintf(error, NET_ERROR_SIZE, format, args);
	va_end(args);
	return false;
}

static void close_keeping_errno(int fd)
{
	int error = errno;
	close(fd);
	errno = error;
}

/* ---- endpoints ---- */

static bool parse_unix(const char *text, const char *path, struct endpoint *endpoint, char error[NET_ERROR_SIZE])
{
	size_t length = strlen(path);
	if (path[0] != '/' || path[length - 1] == '/')
		return fail(error, "%.100s: the path of a unix socket must begin with / and name a file", text);
	if (length >= sizeof endpoint->path)
		return fail(error, "%.100s...: the path of a unix socket may be %zu octets long", text,
			    sizeof endpoint->path - 1);
	endpoint->kind = ENDPOINT_UNIX;
	memcpy(endpoint->path, path, length + 1);
	return true;
}

static bool parse_port(const char *digits, size_t length, uint16_t *port)
{
	unsigned value = 0;
	if (length == 0 || length > 5)
		return false;
	for (size_t i = 0; i < length; i++) {
		if (!isdigit((unsigned char)digits[i]))
			return false;
		value = value * 10 + (unsigned)(digits[i] - '0');
	}
	*port = (uint16_t)value;
	return value >= 1 && value <= UINT16_MAX;
}

/* Takes an IPv6 address out of its brackets; anything else must look like a name or an IPv4 address. */
static bool parse_host(const char *text, size_t length, char host[128])
{
	struct in6_addr address;
	bool bracketed = length >= 2 && text[0] == '[' && text[length - 1] == ']';
	if (bracketed)
		text++, length -= 2;
	if (length == 0 || length >= 128)
		return false;
	memcpy(host, text, length);
	host[length] = '\0';
	if (bracketed)
		return inet_pton(AF_INET6, host, &address) == 1;
	for (size_t i = 0; i < length; i++)
		if (!isalnum((unsigned char)host[i]) && host[i] != '.' && host[i] != '-' && host[i] != '_')
			return false;
	return true;
}

/* `spec` is PORT@HOST or HOST:PORT. */
static bool parse_inet(const char *text, const char *spec, struct endpoint *endpoint, char error[NET_ERROR_SIZE])
{
	const char *at = strchr(spec, '@'), *colon = strrchr(spec, ':');
	const char *host, *port;
	size_t host_length, port_length;
	if (at) {
		port = spec, port_length = (size_t)(at - spec);
		host = at + 1, host_length = strlen(host);
	} else if (colon) {
		host = spec, host_length = (size_t)(colon - spec);
		port = colon + 1, port_length = strlen(port);
	} else {
		return fail(error, "%.100s: host and port are needed: inet:PORT@HOST or inet:HOST:PORT", text);
	}
	if (!parse_port(port, port_length, &endpoint->port))
		return fail(error, "%.100s: the port must be a number from 1 to 65535", text);
	if (!parse_host(host, host_length, endpoint->host))
		return fail(error, "%.100s: the host must be a name, an IPv4 address or an IPv6 address in brackets",
			    text);
	endpoint->kind = ENDPOINT_INET;
	return true;
}

bool endpoint_parse(const char *text, struct endpoint *endpoint, char error[NET_ERROR_SIZE])
{
	memset(endpoint, 0, sizeof *endpoint);
	if (strncmp(text, "unix:", 5) == 0)
		return parse_unix(text, text + 5, endpoint, error);
	if (strncmp(text, "inet:", 5) == 0)
		return parse_inet(text, text + 5, endpoint, error);
	if (strncmp(text, "inet6:", 6) != 0)
		return fail(error, "%.100s: a socket is unix:PATH, inet:PORT@HOST or inet:HOST:PORT", text);
	if (!parse_inet(text, text + 6, endpoint, error))
		return false;
	if (!strchr(endpoint->host, ':'))
		return fail(error, "%.100s: inet6 needs an IPv6 address in brackets", text);
	return true;
}

const char *endpoint_format(const struct endpoint *endpoint, char out[NET_NAME_SIZE])
{
	if (endpoint->kind == ENDPOINT_UNIX)
		snprintf(out, NET_NAME_SIZE, "unix:%s", endpoint->path);
	else if (strchr(endpoint->host, ':'))
		snprintf(out, NET_NAME_SIZE, "inet6:%u@[%s]", endpoint->port, endpoint->host);
	else
		snprintf(out, NET_NAME_SIZE, "inet:%u@%s", endpoint->port, endpoint->host);
	return out;
}

bool endpoint_equal(const struct endpoint *a, const struct endpoint *b)
{
	if (a->kind != b->kind)
		return false;
	if (a->kind == ENDPOINT_UNIX)
		return strcmp(a->path, b->path) == 0;
	return a->port == b->port && strcasecmp(a->host, b->host) == 0;
}

/* The address of an inet endpoint; names are not looked up, since that may take long. */
static struct addrinfo *numeric_address(const struct endpoint *endpoint)
{
	const char *host = strcasecmp(endpoint->host, "localhost") == 0 ? "127.0.0.1" : endpoint->host;
	struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
	struct addrinfo *address = NULL;
	char port[8];
	snprintf(port, sizeof port, "%u", endpoint->port);
	return getaddrinfo(host, port, &hints, &address) == 0 ? address : NULL;
}

static bool same_address(const struct endpoint *a, const struct endpoint *b)
{
	struct addrinfo *first = numeric_address(a), *second = numeric_address(b);
	bool same = first && second && first->ai_addrlen == second->ai_addrlen &&
		    memcmp(first->ai_addr, second->ai_addr, first->ai_addrlen) == 0;
	if (first)
		freeaddrinfo(first);
	if (second)
		freeaddrinfo(second);
	return same;
}

bool endpoint_same_place(const struct endpoint *a, const struct endpoint *b)
{
	if (a->kind != b->kind)
		return false;
	if (a->kind == ENDPOINT_INET)
		return same_address(a, b);
	return strcmp(a->path, b->path) == 0 || file_same(a->path, b->path); /* its file may have gone */
}

/* ---- listening ---- */

static socklen_t unix_address(const struct endpoint *endpoint, struct sockaddr_un *address)
{
	*address = (struct sockaddr_un){.sun_family = AF_UNIX};
	_Static_assert(sizeof endpoint->path == sizeof address->sun_path, "a path fits");
	memcpy(address->sun_path, endpoint->path, sizeof address->sun_path);
	return sizeof *address;
}

/* Tries to connect. 0 if somebody answers, else why not. */
static int probe(const struct endpoint *endpoint)
{
	struct sockaddr_un address;
	socklen_t length = unix_address(endpoint, &address);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return errno;
	int error = connect(fd, (struct sockaddr *)&address, length) == 0 ? 0 : errno;
	close(fd);
	return error;
}

static bool directory_exists(const char *path, char error[NET_ERROR_SIZE])
{
	char directory[sizeof((struct endpoint *)NULL)->path];
	struct stat st;
	size_t length = (size_t)(strrchr(path, '/') - path);
	memcpy(directory, path, length + 1);
	directory[length > 0 ? length : 1] = '\0';
	if (stat(directory, &st) != 0)
		return fail(error, "%s: the directory cannot be used: %s", directory, strerror(errno));
	return S_ISDIR(st.st_mode) || fail(error, "%s: this is not a directory", directory);
}

bool net_clear_stale(const struct endpoint *endpoint, char error[NET_ERROR_SIZE])
{
	const char *path = endpoint->path;
	struct stat st;
	if (endpoint->kind != ENDPOINT_UNIX)
		return true;
	if (!directory_exists(path, error))
		return false;
	if (lstat(path, &st) != 0)
		return errno == ENOENT || fail(error, "%s: %s", path, strerror(errno));
	if (!S_ISSOCK(st.st_mode))
		return fail(error, "%s: this is not a socket: remove it or choose another path", path);
	int reason = probe(endpoint);
	switch (reason) {
	case 0:
	case EAGAIN:     /* … which has no time for us at present */
	case EPROTOTYPE: /* … on a socket of another type */
		return fail(error, "%s: another process is listening there", path);
	case ECONNREFUSED:
		break;
	default:
		return fail(error,
			    "%s: whether another process is listening there cannot be told: %s; if none is, remove it",
			    path, strerror(reason));
	}
	if (unlink(path) != 0 && errno != ENOENT)
		return fail(error, "%s: a stale socket cannot be removed: %s", path, strerror(errno));
	return true;
}

/* The file of a socket, to be changed by this descriptor alone: its name may mean something else a moment later. */
static int open_file_of_socket(const char *path, struct stat *st, char error[NET_ERROR_SIZE])
{
	int fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, st) != 0)
		fail(error, "%s: %s", path, strerror(errno));
	else if (!S_ISSOCK(st->st_mode))
		fail(error, "%s: this is not a socket", path);
	else
		return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

/* chmod(2) by name is the one way for a descriptor of the kind O_PATH; this name leads to what it holds. */
static bool set_mode(int fd, const struct stat *st, mode_t mode)
{
	char name[32];
	snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
	return (st->st_mode & 07777) == mode || chmod(name, mode) == 0;
}

bool net_set_access(const struct endpoint *endpoint, gid_t group, mode_t mode, char error[NET_ERROR_SIZE])
{
	const char *path = endpoint->path;
	struct stat st;
	if (endpoint->kind != ENDPOINT_UNIX)
		return true;
	int fd = open_file_of_socket(path, &st, error);
	if (fd < 0)
		return false;
	bool done = false;
	if (group != (gid_t)-1 && fchownat(fd, "", (uid_t)-1, group, AT_EMPTY_PATH) != 0)
		fail(error, "%s: the group cannot be set to %u: %s; start as root, or make the directory setgid", path,
		     (unsigned)group, strerror(errno));
	else if (!set_mode(fd, &st, mode))
		fail(error, "%s: the mode cannot be set to %04o: %s", path, (unsigned)mode, strerror(errno));
	else
		done = true;
	close(fd);
	return done;
}

bool net_set_owner(const struct endpoint *endpoint, uid_t user, gid_t group, char error[NET_ERROR_SIZE])
{
	struct stat st;
	if (endpoint->kind != ENDPOINT_UNIX)
		return true;
	int fd = open_file_of_socket(endpoint->path, &st, error);
	if (fd < 0)
		return false;
	bool done = fchownat(fd, "", user, group, AT_EMPTY_PATH) == 0;
	if (!done)
		fail(error, "%s: %s", endpoint->path, strerror(errno));
	close(fd);
	return done;
}

/* Bound and not yet listening, so that nobody can connect before group and mode are set. */
static int bind_unix(const struct endpoint *endpoint, gid_t group, mode_t mode, char error[NET_ERROR_SIZE])
{
	struct sockaddr_un address;
	socklen_t length = unix_address(endpoint, &address);
	if (!net_clear_stale(endpoint, error))
		return -1;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, length) != 0) {
		fail(error, "%s: the socket cannot be made: %s", endpoint->path, strerror(errno));
		if (fd >= 0)
			close(fd);
		return -1;
	}
	if (!net_set_access(endpoint, group, mode, error)) {
		unlink(endpoint->path);
		close(fd);
		return -1;
	}
	return fd;
}

static int bind_inet(const struct endpoint *endpoint, char error[NET_ERROR_SIZE])
{
	char name[NET_NAME_SIZE];
	struct addrinfo *address = numeric_address(endpoint);
	if (!address) {
		fail(error, "%s: give the address in numbers, or localhost", endpoint_format(endpoint, name));
		return -1;
	}
	static const int one = 1;
	int fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	bool ok = fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) == 0;
	if (ok && address->ai_family == AF_INET6)
		ok = setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one) == 0;
	if (!ok || bind(fd, address->ai_addr, address->ai_addrlen) != 0) {
		fail(error, "%s: the socket cannot be made: %s", endpoint_format(endpoint, name), strerror(errno));
		if (fd >= 0)
			close(fd);
		fd = -1;
	}
	freeaddrinfo(address);
	return fd;
}

int net_listen(const struct endpoint *endpoint, gid_t group, mode_t mode, char error[NET_ERROR_SIZE])
{
	char name[NET_NAME_SIZE];
	int fd = endpoint->kind == ENDPOINT_UNIX ? bind_unix(endpoint, group, mode, error) : bind_inet(endpoint, error);
	if (fd >= 0 && listen(fd, SOMAXCONN) != 0) {
		fail(error, "%s: %s", endpoint_format(endpoint, name), strerror(errno));
		close(fd);
		fd = -1;
	}
	return fd;
}

union address {
	struct sockaddr any;
	struct sockaddr_un un;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
};

/* False for an address that no endpoint can name, such as an abstract one. */
static bool endpoint_at(const union address *address, struct endpoint *endpoint)
{
	memset(endpoint, 0, sizeof *endpoint);
	if (address->any.sa_family == AF_UNIX) {
		endpoint->kind = ENDPOINT_UNIX;
		memcpy(endpoint->path, address->un.sun_path, sizeof endpoint->path - 1);
		return endpoint->path[0] == '/';
	}
	bool ip4 = address->any.sa_family == AF_INET;
	const void *octets = ip4 ? (const void *)&address->in.sin_addr : (const void *)&address->in6.sin6_addr;
	endpoint->kind = ENDPOINT_INET;
	endpoint->port = ntohs(ip4 ? address->in.sin_port : address->in6.sin6_port);
	return inet_ntop(address->any.sa_family, octets, endpoint->host, sizeof endpoint->host) != NULL;
}

bool net_listening_at(int fd, struct endpoint *endpoint)
{
	union address address = {0};
	socklen_t length = sizeof address, size = sizeof(int);
	int listens = 0, type = 0;
	return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) == 0 && listens &&
	       getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_STREAM &&
	       getsockname(fd, &address.any, &length) == 0 && endpoint_at(&address, endpoint);
}

/* ---- connecting ---- */

int net_connect(const struct sockaddr *address, socklen_t length)
{
	static const int one = 1;
	int fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);
	if (fd < 0)
		return -1;
	congestion_choose(fd);
	if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) == 0 &&
	    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one) == 0 &&
	    (connect(fd, address, length) == 0 || errno == EINPROGRESS))
		return fd;
	close_keeping_errno(fd);
	return -1;
}

usec_t net_round_trip(int fd)
{
	struct tcp_info info;
	socklen_t length = sizeof info;
	memset(&info, 0, sizeof info);
	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) != 0 || info.tcpi_rtt == 0)
		return -1;
	return info.tcpi_rtt;
}

/* ---- who is at the other end ---- */

bool net_peer_credentials(int fd, uid_t *uid, gid_t *gid)
{
	struct ucred peer;
	socklen_t length = sizeof peer;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0 || peer.uid == (uid_t)-1)
		return false;
	*uid = peer.uid;
	*gid = peer.gid;
	return true;
}

/* ---- addresses and networks ---- */

int net_octets(const struct sockaddr *address, const unsigned char **octets)
{
	if (address->sa_family == AF_INET) {
		*octets = (const unsigned char *)&((const struct sockaddr_in *)(const void *)address)->sin_addr;
		return AF_INET;
	}
	if (address->sa_family != AF_INET6)
		return AF_UNSPEC;
	const struct in6_addr *in6 = &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr;
	bool mapped = IN6_IS_ADDR_V4MAPPED(in6);
	*octets = in6->s6_addr + (mapped ? 12 : 0);
	return mapped ? AF_INET : AF_INET6;
}

const char *net_address(const struct sockaddr *address, char out[NET_NAME_SIZE])
{
	const unsigned char *octets;
	int family = net_octets(address, &octets);
	if (family == AF_UNSPEC || !inet_ntop(family, octets, out, NET_NAME_SIZE))
		snprintf(out, NET_NAME_SIZE, "unknown");
	return out;
}

/* Whether the first `prefix` bits are the same. */
static bool same_prefix(const unsigned char *a, const unsigned char *b, unsigned prefix)
{
	unsigned whole = prefix / 8, rest = prefix % 8;
	return memcmp(a, b, whole) == 0 && (rest == 0 || (a[whole] ^ b[whole]) >> (8 - rest) == 0);
}

/* Bits beyond the prefix: most likely another network was meant. */
static bool has_host_bits(const struct network *network)
{
	unsigned bits = network->family == AF_INET ? 32 : 128;
	for (unsigned i = network->prefix; i < bits; i++)
		if (network->address[i / 8] & (0x80 >> i % 8))
			return true;
	return false;
}

bool network_parse(const char *text, struct network *network)
{
	char address[INET6_ADDRSTRLEN];
	const char *slash = strchrnul(text, '/');
	size_t length = (size_t)(slash - text);
	memset(network, 0, sizeof *network);
	if (length >= sizeof address)
		return false;
	memcpy(address, text, length);
	address[length] = '\0';
	network->family = strchr(address, ':') ? AF_INET6 : AF_INET;
	if (inet_pton(network->family, address, network->address) != 1)
		return false;
	unsigned bits = network->family == AF_INET ? 32 : 128;
	network->prefix = bits;
	if (*slash) {
		char *end;
		if (!isdigit((unsigned char)slash[1]) || strlen(slash + 1) > 3)
			return false;
		network->prefix = (unsigned)strtoul(slash + 1, &end, 10);
		if (*end || network->prefix > bits)
			return false;
	}
	if (has_host_bits(network))
		return false;
	if (network->family == AF_INET6 && network->prefix >= 96 &&
	    IN6_IS_ADDR_V4MAPPED((const struct in6_addr *)(const void *)network->address)) {
		network->family = AF_INET;
		network->prefix -= 96;
		memmove(network->address, network->address + 12, 4);
		memset(network->address + 4, 0, 12);
	}
	return true;
}

bool network_contains(const struct network *network, const struct sockaddr *address)
{
	const unsigned char *octets;
	int family = net_octets(address, &octets);
	return family != AF_UNSPEC && family == network->family &&
	       same_prefix(octets, network->address, network->prefix);
}
