/*
 * The cheapest filter that still writes a header: of all that the MTA offers it takes the end of message and the right
 * to add headers. milter_cost.py runs it beside relaypoold as the measure of what any milter costs. It decides nothing.
 */
#include <config.h>

#include <err.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <libmilter/mfapi.h>

/* About as long as a tag. */
#define HEADER_VALUE "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

#define NO_STEPS                                                                                                    \
	(SMFIP_NOCONNECT | SMFIP_NOHELO | SMFIP_NOMAIL | SMFIP_NORCPT | SMFIP_NODATA | SMFIP_NOHDRS | SMFIP_NOEOH | \
	 SMFIP_NOBODY | SMFIP_NOUNKNOWN)
#define NO_REPLIES                                                                                                     \
	(SMFIP_NR_CONN | SMFIP_NR_HELO | SMFIP_NR_MAIL | SMFIP_NR_RCPT | SMFIP_NR_DATA | SMFIP_NR_HDR | SMFIP_NR_EOH | \
	 SMFIP_NR_BODY | SMFIP_NR_UNKN)

static sfsistat negotiate(SMFICTX *ctx, unsigned long actions, unsigned long protocol, unsigned long unused2,
			  unsigned long unused3, unsigned long *want_actions, unsigned long *want_protocol,
			  unsigned long *want2, unsigned long *want3)
{
	(void)unused2, (void)unused3;
	if ((actions & SMFIF_SETSYMLIST) != 0)
		smfi_setsymlist(ctx, SMFIM_EOM, (char *)"");
	*want_actions = actions & SMFIF_ADDHDRS;
	*want_protocol = protocol & (NO_STEPS | NO_REPLIES);
	*want2 = *want3 = 0;
	return SMFIS_CONTINUE;
}

static sfsistat end_of_message(SMFICTX *ctx)
{
	return smfi_insheader(ctx, 0, (char *)"X-Empty", (char *)HEADER_VALUE) == MI_SUCCESS ? SMFIS_CONTINUE
											     : SMFIS_TEMPFAIL;
}

int main(int argc, char **argv)
{
	struct smfiDesc filter = {
		.xxfi_name = (char *)"empty",
		.xxfi_version = SMFI_VERSION,
		.xxfi_flags = SMFIF_ADDHDRS,
		.xxfi_eom = end_of_message,
		.xxfi_negotiate = negotiate,
	};
	if (argc != 2)
		errx(EXIT_FAILURE, "usage: empty_milter unix:PATH");
	umask(0); /* the MTA may connect, whoever it runs as */
	if (smfi_register(filter) != MI_SUCCESS || smfi_setconn(argv[1]) != MI_SUCCESS)
		errx(EXIT_FAILURE, "libmilter does not take %s", argv[1]);
	return smfi_main() == MI_SUCCESS ? EXIT_SUCCESS : EXIT_FAILURE;
}
