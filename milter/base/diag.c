/*
 * What the kernel tells of other processes' TCP sockets (sock_diag(7)): who holds one, and who has spoken last on it.
 * Called by ingest, about the other end of its connections, and by observe, about the MTA's. It asks for one socket at
 * a time, never for a list, and never waits. It keeps one socket for the questions.
 */
#include <config.h>

#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "base/net.h"

/* States of a connection, as the kernel numbers them; netinet/tcp.h names them and cannot stand beside linux/tcp.h. */
#define ESTABLISHED 1
#define CLOSE_WAIT 8 /* the peer has said that it is done */

struct diag_question {
	struct nlmsghdr header;
	struct inet_diag_req_v2 request;
};

union diag_reply {
	struct nlmsghdr header;
	char octets[4096];
};

static in_port_t port_of(const struct sockaddr *address)
{
	if (address->sa_family == AF_INET)
		return ((const struct sockaddr_in *)(const void *)address)->sin_port;
	return ((const struct sockaddr_in6 *)(const void *)address)->sin6_port;
}

/* About the socket whose own address is `source`. */
static bool make_question(const struct sockaddr *source, const struct sockaddr *destination,
			  struct diag_question *question)
{
	const unsigned char *from, *to;
	int family = net_octets(source, &from);
	if (family == AF_UNSPEC || net_octets(destination, &to) != family)
		return false;
	*question = (struct diag_question){
		.header = {.nlmsg_len = sizeof *question,
			   .nlmsg_type = SOCK_DIAG_BY_FAMILY,
			   .nlmsg_flags = NLM_F_REQUEST},
		.request = {.sdiag_family = (__u8)family,
			    .sdiag_protocol = IPPROTO_TCP,
			    .idiag_states = 1U << ESTABLISHED | 1U << CLOSE_WAIT,
			    .id = {.idiag_sport = port_of(source),
				   .idiag_dport = port_of(destination),
				   .idiag_cookie = {INET_DIAG_NOCOOKIE, INET_DIAG_NOCOOKIE}}},
	};
	size_t length = family == AF_INET ? sizeof(struct in_addr) : sizeof(struct in6_addr);
	memcpy(question->request.id.idiag_src, from, length);
	memcpy(question->request.id.idiag_dst, to, length);
	return true;
}

/* A socket for questions that nobody uses at the moment, so that there is one also when descriptors run out. -1: none */
static atomic_int spare = -1;

static int take_socket(void)
{
	int fd = atomic_exchange(&spare, -1);
	return fd >= 0 ? fd : socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
}

/* `clean`: its question has been answered. Otherwise an answer may still come, and would be taken for the next one's. */
static void give_socket_back(int fd, bool clean)
{
	int none = -1;
	if (!clean || !atomic_compare_exchange_strong(&spare, &none, fd))
		close(fd);
}

/* Why nothing is told: for want of something at the moment, or as the kernel does not tell at all. */
static enum net_answer answer_of(int reason)
{
	bool passes = reason == EMFILE || reason == ENFILE || reason == ENOMEM || reason == ENOBUFS ||
		      reason == EAGAIN || reason == EINTR;
	return passes ? NET_NOT_ASKED : NET_NO_CONNECTION;
}

/* What an answer of `length` octets says. */
static enum net_answer read_reply(const union diag_reply *reply, ssize_t length)
{
	const struct nlmsgerr *error = NLMSG_DATA(&reply->header);
	if (length >= (ssize_t)NLMSG_LENGTH(sizeof *error) && reply->header.nlmsg_type == NLMSG_ERROR)
		return answer_of(-error->error);
	bool told = length >= (ssize_t)NLMSG_LENGTH(sizeof(struct inet_diag_msg)) &&
		    reply->header.nlmsg_type == SOCK_DIAG_BY_FAMILY &&
		    reply->header.nlmsg_len >= NLMSG_LENGTH(sizeof(struct inet_diag_msg)) &&
		    reply->header.nlmsg_len <= (size_t)length;
	return told ? NET_TOLD : NET_NO_CONNECTION;
}

/* The kernel answers an exact question within send(): nothing is waited for. The answer lies in `reply`. */
static enum net_answer ask(const struct diag_question *question, union diag_reply *reply)
{
	struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
	int fd = take_socket();
	if (fd < 0)
		return answer_of(errno);
	ssize_t length = -1;
	if (sendto(fd, question, sizeof *question, MSG_DONTWAIT, (struct sockaddr *)&kernel, sizeof kernel) ==
	    (ssize_t)sizeof *question)
		length = recv(fd, reply, sizeof *reply, MSG_DONTWAIT);
	int reason = errno;
	give_socket_back(fd, length > 0);
	return length > 0 ? read_reply(reply, length) : answer_of(reason);
}

/*
 * With no such connection the kernel may name a listening socket instead: the state tells. A socket whose process has
 * closed it has no inode and would read as root's.
 */
bool net_peer_tcp_user(int fd, uid_t *uid)
{
	struct sockaddr_storage ours, theirs;
	socklen_t ours_length = sizeof ours, theirs_length = sizeof theirs;
	struct diag_question question;
	union diag_reply reply;
	if (getsockname(fd, (struct sockaddr *)&ours, &ours_length) != 0 ||
	    getpeername(fd, (struct sockaddr *)&theirs, &theirs_length) != 0)
		return false;
	/* The other end's own socket is the one whose source is our peer and whose destination is ourselves. */
	if (!make_question((struct sockaddr *)&theirs, (struct sockaddr *)&ours, &question))
		return false;
	if (ask(&question, &reply) != NET_TOLD)
		return false;
	const struct inet_diag_msg *answer = NLMSG_DATA(&reply.header);
	if (answer->idiag_state != ESTABLISHED || answer->idiag_inode == 0)
		return false;
	*uid = answer->idiag_uid;
	return true;
}

/* The attribute INET_DIAG_INFO behind the answer. False if it is not there, or that of a kernel that counts less. */
static bool read_info(const struct inet_diag_msg *answer, const union diag_reply *reply, struct tcp_info *info)
{
	const struct rtattr *attribute = (const void *)(answer + 1);
	int left = (int)(reply->header.nlmsg_len - NLMSG_LENGTH(sizeof *answer));
	for (; RTA_OK(attribute, left); attribute = RTA_NEXT(attribute, left)) {
		size_t length = RTA_PAYLOAD(attribute);
		if (attribute->rta_type != INET_DIAG_INFO)
			continue;
		if (length < offsetof(struct tcp_info, tcpi_data_segs_out) + sizeof info->tcpi_data_segs_out)
			return false;
		memcpy(info, RTA_DATA(attribute), length < sizeof *info ? length : sizeof *info);
		return true;
	}
	return false;
}

enum net_answer net_tcp_turn(const struct sockaddr *local, const struct sockaddr *peer, struct net_turn *out)
{
	struct diag_question question;
	union diag_reply reply;
	struct tcp_info info;
	if (!make_question(local, peer, &question))
		return NET_NO_CONNECTION;
	question.request.idiag_ext = 1U << (INET_DIAG_INFO - 1);
	enum net_answer told = ask(&question, &reply);
	if (told != NET_TOLD)
		return told;
	const struct inet_diag_msg *answer = NLMSG_DATA(&reply.header);
	if ((answer->idiag_state != ESTABLISHED && answer->idiag_state != CLOSE_WAIT) || answer->idiag_inode == 0 ||
	    !read_info(answer, &reply, &info))
		return NET_NO_CONNECTION;
	*out = (struct net_turn){
		.unread = answer->idiag_rqueue,
		.sent = (usec_t)info.tcpi_last_data_sent * USEC_PER_MSEC,
		.received = (usec_t)info.tcpi_last_data_recv * USEC_PER_MSEC,
		.data_sent = info.tcpi_data_segs_out,
		.data_received = info.tcpi_data_segs_in,
		.acknowledgements = info.tcpi_segs_out - info.tcpi_data_segs_out,
	};
	return NET_TOLD;
}
