/*
 * A milter that takes its time: it sleeps in one step of each message and otherwise has no part in it. For the
 * integration tests, in smtpd_milters before relaypool's. It refuses and changes nothing.
 */
#include <config.h>

#include <err.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include <libmilter/mfapi.h>

#define NO_STEPS                                                                                                    \
	(SMFIP_NOCONNECT | SMFIP_NOHELO | SMFIP_NOMAIL | SMFIP_NORCPT | SMFIP_NODATA | SMFIP_NOHDRS | SMFIP_NOEOH | \
	 SMFIP_NOBODY | SMFIP_NOUNKNOWN)

/* The end of message is always given. */
static const struct {
	const char *name;
	unsigned long declined;
} steps[] = {{"connect", SMFIP_NOCONNECT},
	     {"mail", SMFIP_NOMAIL},
	     {"rcpt", SMFIP_NORCPT},
	     {"data", SMFIP_NODATA},
	     {"eom", 0}};

static unsigned long step; /* the flag that would decline it; 0: the end of message */
static struct timespec pause_of_it;

static sfsistat sleep_in(unsigned long which)
{
	if (which == step)
		nanosleep(&pause_of_it, NULL);
	return SMFIS_CONTINUE;
}

static sfsistat negotiate(SMFICTX *ctx, unsigned long actions, unsigned long protocol, unsigned long unused2,
			  unsigned long unused3, unsigned long *want_actions, unsigned long *want_protocol,
			  unsigned long *want2, unsigned long *want3)
{
	(void)ctx, (void)actions, (void)unused2, (void)unused3;
	*want_actions = 0;
	*want_protocol = protocol & NO_STEPS & ~step;
	*want2 = *want3 = 0;
	return SMFIS_CONTINUE;
}

static sfsistat on_connect(SMFICTX *ctx, char *name, _SOCK_ADDR *address)
{
	(void)ctx, (void)name, (void)address;
	return sleep_in(SMFIP_NOCONNECT);
}

static sfsistat on_mail(SMFICTX *ctx, char **arguments)
{
	(void)ctx, (void)arguments;
	return sleep_in(SMFIP_NOMAIL);
}

static sfsistat on_rcpt(SMFICTX *ctx, char **arguments)
{
	(void)ctx, (void)arguments;
	return sleep_in(SMFIP_NORCPT);
}

static sfsistat on_data(SMFICTX *ctx)
{
	(void)ctx;
	return sleep_in(SMFIP_NODATA);
}

static sfsistat on_end(SMFICTX *ctx)
{
	(void)ctx;
	return sleep_in(0);
}

static void read_arguments(const char *name, const char *seconds)
{
	size_t i = 0, count = sizeof steps / sizeof *steps;
	char *end;
	double value = strtod(seconds, &end);
	while (i < count && strcmp(steps[i].name, name) != 0)
		i++;
	if (i == count || *end != '\0' || end == seconds || !(value >= 0 && value <= 3600))
		errx(EXIT_FAILURE, "usage: sleepy_milter unix:PATH connect|mail|rcpt|data|eom SECONDS");
	step = steps[i].declined;
	pause_of_it.tv_sec = (time_t)value;
	pause_of_it.tv_nsec = (long)((value - (double)pause_of_it.tv_sec) * 1e9);
}

int main(int argc, char **argv)
{
	struct smfiDesc filter = {
		.xxfi_name = (char *)"sleepy",
		.xxfi_version = SMFI_VERSION,
		.xxfi_connect = on_connect,
		.xxfi_envfrom = on_mail,
		.xxfi_envrcpt = on_rcpt,
		.xxfi_data = on_data,
		.xxfi_eom = on_end,
		.xxfi_negotiate = negotiate,
	};
	if (argc != 4)
		errx(EXIT_FAILURE, "usage: sleepy_milter unix:PATH connect|mail|rcpt|data|eom SECONDS");
	read_arguments(argv[2], argv[3]);
	umask(0); /* the MTA may connect, whoever it runs as */
	if (smfi_register(filter) != MI_SUCCESS || smfi_setconn(argv[1]) != MI_SUCCESS)
		errx(EXIT_FAILURE, "libmilter does not take %s", argv[1]);
	return smfi_main() == MI_SUCCESS ? EXIT_SUCCESS : EXIT_FAILURE;
}
