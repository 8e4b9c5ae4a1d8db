/*
 * What the kernel knows of octets on their way to a relay. Called by the relay room. From linux/tcp.h: the C library's
 * own struct tcp_info ends before the window's times (tcp(7), Linux 4.10).
 */
#include <config.h>

#include "base/path.h"

#include <linux/tcp.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

/* An acknowledgement is overdue after two round trips and what a receiver may delay it (RFC 9293 §3.8.6.3). */
#define DELAYED_ACK (250 * USEC_PER_MSEC)

bool path_look(int fd, struct path *out)
{
	struct tcp_info info;
	socklen_t length = sizeof info;
	memset(&info, 0, sizeof info);
	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) != 0)
		return false;
	usec_t silent = (usec_t)info.tcpi_last_ack_recv * USEC_PER_MSEC;
	usec_t sent = (usec_t)info.tcpi_last_data_sent * USEC_PER_MSEC;
	usec_t overdue = 2 * (usec_t)info.tcpi_min_rtt + DELAYED_ACK; /* the smoothed one may have grown by losses */
	out->unacknowledged = info.tcpi_unacked > 0;
	out->lost = info.tcpi_unacked > 0 && (info.tcpi_retransmits > 0 || (silent > overdue && sent > overdue));
	out->shut = info.tcpi_unacked == 0 && info.tcpi_notsent_bytes > 0;
	out->window_limit = (usec_t)info.tcpi_rwnd_limited;
	return true;
}
