/*
 * The choice of congestion control (base/congestion.h says why). Called for each connection before it is made, and
 * while it sends. Apart from net.c, since only the kernel's own <linux/tcp.h> knows how many segments were sent.
 */
#include <config.h>

#include <linux/tcp.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/congestion.h"

#define NAME_SIZE 16 /* the kernel's TCP_CA_NAME_MAX */
/* The path loses packets if so many were lost, and one of so many. One alone, or a few in an hour, are no reason. */
#define LOST_MIN 3
#define LOST_ONE_OF 300

static bool get_algorithm(int fd, char name[NAME_SIZE])
{
	socklen_t length = NAME_SIZE - 1;
	memset(name, 0, NAME_SIZE);
	return getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, &length) == 0;
}

static bool set_algorithm(int fd, const char *name)
{
	return setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, (socklen_t)strlen(name)) == 0;
}

void congestion_choose(int fd)
{
	char name[NAME_SIZE];
	if (!get_algorithm(fd, name) || strncmp(name, "bbr", 3) != 0)
		return;
	if (!set_algorithm(fd, "cubic")) /* where it is not among tcp_allowed_congestion_control */
		(void)set_algorithm(fd, "reno");
}

/* What was sent again for nothing, as the other end tells by DSACK, was not lost. */
static bool loses(int fd)
{
	struct tcp_info info;
	socklen_t length = sizeof info;
	memset(&info, 0, sizeof info);
	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) != 0 || info.tcpi_total_retrans < LOST_MIN)
		return false;
	uint64_t again = info.tcpi_total_retrans, needless = info.tcpi_dsack_dups;
	uint64_t lost = again > needless ? again - needless : 0;
	return lost >= LOST_MIN && lost * LOST_ONE_OF >= info.tcpi_data_segs_out;
}

bool congestion_heed_loss(int fd)
{
	char name[NAME_SIZE];
	if (!loses(fd))
		return false;
	int fresh = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP); /* it has the system's */
	if (fresh >= 0) {
		if (get_algorithm(fresh, name))
			(void)set_algorithm(fd, name);
		close(fresh);
	}
	return true;
}
