/*
 * A long link between two network namespaces, for kernels without netem: one TUN device in each, and every packet is
 * held for the delay, in order, before it is written to the other. Started by tests/integration/lib/link.py; prints
 * "ready" once packets can pass, and what it carried when SIGTERM ends it. It keeps nothing: the devices go with it.
 */
#include "config.h"

#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define DEVICE "long0"
#define PACKET_MAX 2048 /* above the device's MTU of 1500 */
#define MEMORY_MAX (256u << 20)

struct packet {
	struct packet *next;
	uint64_t due; /* nanoseconds, CLOCK_MONOTONIC */
	int to;       /* descriptor of the device it leaves by */
	size_t length;
	unsigned char octets[];
};

static struct {
	uint64_t delay;  /* one way, nanoseconds */
	uint64_t loss;   /* a packet is lost if a random 32-bit number is below this */
	uint64_t random; /* state of the generator, never 0 */
	int device[2];   /* in namespace A and in B */
	int timer;
	/* One queue: the delay is the same both ways, so the order of arrival is that of leaving. */
	struct packet *held, **last;
	size_t held_octets;
	uint64_t carried, lost, overflowed, latest; /* latest: by how many nanoseconds a packet left too late at most */
} wire;

static uint64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

/* xorshift64*: the same packets are lost for the same seed and the same traffic. */
static bool is_lost(void)
{
	wire.random ^= wire.random >> 12;
	wire.random ^= wire.random << 25;
	wire.random ^= wire.random >> 27;
	return wire.random * 2685821657736338717u >> 32 < wire.loss;
}

/* Enters a namespace: a path as /proc/PID/ns/net, or a name that `ip netns` gave. */
static void enter_namespace(const char *name)
{
	char path[256];
	int fd;

	snprintf(path, sizeof(path), "%s%s", strchr(name, '/') ? "" : "/run/netns/", name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd == -1)
		err(1, "%s", path);
	if (setns(fd, CLONE_NEWNET) == -1)
		err(1, "cannot enter the network namespace %s", path);
	close(fd);
}

static int open_tun(void)
{
	int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);

	if (fd == -1 && errno == ENOENT) {
		mkdir("/dev/net", 0755);
		if (mknod("/dev/net/tun", S_IFCHR | 0600, makedev(10, 200)) == -1)
			err(1, "/dev/net/tun is missing and cannot be made");
		fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	}
	if (fd == -1)
		err(1, "/dev/net/tun");
	return fd;
}

static void set_address(int control, struct ifreq *request, int what, const char *address)
{
	struct sockaddr_in in = {.sin_family = AF_INET};

	if (inet_pton(AF_INET, address, &in.sin_addr) != 1)
		errx(1, "%s is not an IPv4 address", address);
	memcpy(&request->ifr_addr, &in, sizeof(in));
	if (ioctl(control, what, request) == -1)
		err(1, "cannot give %s the address %s", request->ifr_name, address);
}

static void bring_up(int control, const char *device)
{
	struct ifreq request = {0};

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", device);
	if (ioctl(control, SIOCGIFFLAGS, &request) == -1)
		err(1, "%s", device);
	request.ifr_flags |= IFF_UP;
	if (ioctl(control, SIOCSIFFLAGS, &request) == -1)
		err(1, "cannot bring up %s", device);
}

/* One end: a device in the namespace, with its address and a route to the other end's. */
static int open_end(const char *namespace, const char *local, const char *remote)
{
	struct ifreq request = {0};
	int fd, control;

	enter_namespace(namespace);
	fd = open_tun();
	request.ifr_flags = IFF_TUN | IFF_NO_PI;
	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", DEVICE);
	if (ioctl(fd, TUNSETIFF, &request) == -1)
		err(1, "cannot make %s in %s", DEVICE, namespace);
	control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (control == -1)
		err(1, "socket");
	set_address(control, &request, SIOCSIFADDR, local);
	set_address(control, &request, SIOCSIFDSTADDR, remote);
	bring_up(control, DEVICE);
	bring_up(control, "lo");
	close(control);
	return fd;
}

static void set_timer(uint64_t due)
{
	struct itimerspec when = {
		.it_value = {.tv_sec = (time_t)(due / 1000000000u), .tv_nsec = (long)(due % 1000000000u)}};

	if (timerfd_settime(wire.timer, TFD_TIMER_ABSTIME, &when, NULL) == -1)
		err(1, "timerfd_settime");
}

/* Takes what a device offers, a few packets at a time, and holds it; the timer runs for the head of the queue only. */
static void hold(int from, int to)
{
	unsigned char octets[PACKET_MAX];
	struct packet *packet;
	ssize_t length;

	for (int turn = 0; turn < 64 && (length = read(from, octets, sizeof(octets))) > 0; turn++) {
		if (is_lost()) {
			wire.lost++;
			continue;
		}
		if (wire.held_octets + (size_t)length > MEMORY_MAX) {
			wire.overflowed++;
			continue;
		}
		packet = malloc(sizeof(*packet) + (size_t)length);
		if (!packet)
			err(1, NULL);
		packet->next = NULL;
		packet->due = now() + wire.delay;
		packet->to = to;
		packet->length = (size_t)length;
		memcpy(packet->octets, octets, (size_t)length);
		if (!wire.held)
			set_timer(packet->due);
		*wire.last = packet;
		wire.last = &packet->next;
		wire.held_octets += packet->length;
	}
}

static void release_due(void)
{
	struct packet *packet;
	uint64_t expirations, time = now();

	if (read(wire.timer, &expirations, sizeof(expirations)) == -1 && errno != EAGAIN)
		err(1, "timerfd");
	while ((packet = wire.held) && packet->due <= time) {
		if (time - packet->due > wire.latest)
			wire.latest = time - packet->due;
		if (write(packet->to, packet->octets, packet->length) == (ssize_t)packet->length)
			wire.carried++;
		else
			wire.overflowed++;
		wire.held = packet->next;
		if (!wire.held)
			wire.last = &wire.held;
		wire.held_octets -= packet->length;
		free(packet);
		time = now();
	}
	if (packet)
		set_timer(packet->due);
}

static int open_signals(void)
{
	sigset_t ends;
	int fd;

	sigemptyset(&ends);
	sigaddset(&ends, SIGTERM);
	sigaddset(&ends, SIGINT);
	sigprocmask(SIG_BLOCK, &ends, NULL);
	fd = signalfd(-1, &ends, SFD_CLOEXEC);
	if (fd == -1)
		err(1, "signalfd");
	return fd;
}

static void watch(int epoll, int fd)
{
	struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};

	if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == -1)
		err(1, "epoll_ctl");
}

/* What is measured shares the processors with us, and must not lengthen the line. Allowed to fail. */
static void claim_priority(void)
{
	struct sched_param priority = {.sched_priority = 1};

	if (sched_setscheduler(0, SCHED_FIFO, &priority) == -1)
		warn("running without real-time priority");
}

static void run(void)
{
	int signals = open_signals();
	int epoll = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event event;

	wire.timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	if (epoll == -1 || wire.timer == -1)
		err(1, "cannot wait for events");
	watch(epoll, signals);
	watch(epoll, wire.timer);
	watch(epoll, wire.device[0]);
	watch(epoll, wire.device[1]);
	puts("ready");
	fflush(stdout);
	for (;;) {
		if (epoll_wait(epoll, &event, 1, -1) != 1)
			continue;
		if (event.data.fd == signals)
			return;
		if (event.data.fd == wire.timer)
			release_due();
		else if (event.data.fd == wire.device[0])
			hold(wire.device[0], wire.device[1]);
		else
			hold(wire.device[1], wire.device[0]);
	}
}

static uint64_t number(const char *text, double scale, const char *unit)
{
	char *end;
	double value = strtod(text, &end);

	if (end == text || strcmp(end, unit) != 0 || !(value >= 0 && value * scale < 0x1p63))
		errx(2, "%s: a number with the unit \"%s\" is wanted", text, unit);
	return (uint64_t)(value * scale);
}

int main(int argc, char **argv)
{
	int option;

	wire.delay = 50u * 1000000u;
	wire.random = 1;
	while ((option = getopt(argc, argv, "d:l:s:")) != -1) {
		if (option == 'd')
			wire.delay = number(optarg, 1e6, "ms");
		else if (option == 'l')
			wire.loss = number(optarg, 0x1p32 / 100, "%");
		else if (option == 's')
			wire.random = number(optarg, 1, "") | 1;
		else
			return 2;
	}
	if (argc - optind != 4)
		errx(2, "usage: link [-d 50ms] [-l 0%%] [-s SEED] NAMESPACE_A ADDRESS_A NAMESPACE_B ADDRESS_B\n"
			"-d is the delay one way: half of the round trip");
	wire.last = &wire.held;
	claim_priority();
	wire.device[0] = open_end(argv[optind], argv[optind + 1], argv[optind + 3]);
	wire.device[1] = open_end(argv[optind + 2], argv[optind + 3], argv[optind + 1]);
	run();
	printf("carried=%ju, lost=%ju, overflowed=%ju, latest_us=%ju\n", (uintmax_t)wire.carried, (uintmax_t)wire.lost,
	       (uintmax_t)wire.overflowed, (uintmax_t)(wire.latest / 1000));
	return 0;
}
