divert(-1)
dnl Sendmail 8.15 to 8.18 with relaypool: all mail that would go to a smart host or to other hosts goes to relaypoold.
dnl Mail for local users, for entries of mailertable, and for LOCAL_RELAY and MAIL_HUB goes as before.
dnl
dnl One line of sendmail.mc, before the MAILER lines, of which MAILER(`smtp') must be one:
dnl
dnl	FEATURE(`relaypool')dnl				sockets /run/relaypool/milter.sock and lmtp.sock
dnl	FEATURE(`relaypool', `/other/directory')dnl	sockets in another directory
dnl
dnl FEATURE looks only where Sendmail's own features are: put this file there (Debian: /usr/share/sendmail/cf/feature,
dnl else cf/feature of what is given to m4 as _CF_DIR_). From another place it can be included, without an argument:
dnl
dnl	include(`/etc/mail/m4/relaypool.m4')dnl
dnl
dnl Sendmail connects as root; if it has RunAsUser, that user goes into allow-users and its group into socket-group.
dnl In relaypool.conf: milter = "unix:/run/relaypool/milter.sock", lmtp = "unix:/run/relaypool/lmtp.sock". Sendmail uses
dnl no sockets below a directory that others than its owner may write to, such as /tmp.
dnl DAEMON_OPTIONS with InputMailFilters= have filters of their own: relaypool has to be the last of these too.
dnl confRECEIVED_HEADER, if it is changed, has to say `id $i': it shows to which message a tag belongs.
dnl
dnl Defined before that line, these say otherwise:
dnl
dnl	define(`RELAYPOOL_MILTER', `inet:8899@127.0.0.1')dnl		where the milter listens
dnl	define(`RELAYPOOL_MAILER_ARGS', `TCP [127.0.0.1] 2424')dnl	where LMTP does; or FILE and a path
dnl	define(`RELAYPOOL_DOMAINS', `example.com example.net')dnl	only mail to these goes to relaypoold
dnl
dnl With failover = "queue", the default, mail waits in Sendmail's queue while relaypoold is away. With
dnl
dnl	define(`SMART_HOST', `[smtp.example.com]')dnl	the direct way: the provider's relay, as without relaypool
dnl	FEATURE(`relaypool', , `direct')dnl
dnl
dnl it goes to what SMART_HOST was before this line, at once. relaypool.conf has failover = "direct" then, and smtp =
dnl "inet:PORT@127.0.0.2" instead of lmtp: both hosts are tried at one port, that of the mailer relay (25, or what
dnl RELAY_MAILER_ARGS says before this line), so relaypoold has an address of its own. For a port below 1024 its unit
dnl needs AmbientCapabilities=CAP_NET_BIND_SERVICE and CapabilityBoundingSet=CAP_NET_BIND_SERVICE. AUTH and TLS for the
dnl provider stay as they are. On the direct way none of relaypoold's limits holds, and every 4xx of relaypoold is
dnl followed by an attempt there. A relaypoold that is there and hangs is waited for as long as any host is
dnl (confTO_INITIAL, five minutes). A message that came while relaypoold was there keeps its X-Relaypool header on the
dnl direct way: which headers are left out goes by mailers in Sendmail, and the two hosts have the same. It names no
dnl user and no address.
divert(0)VERSIONID(`relaypool.m4 for Sendmail 8.15 to 8.18')
divert(-1)

dnl Only within FEATURE is there an argument: one of an earlier FEATURE is not meant for us.
define(`_RELAYPOOL_DIRECTORY_', ifdef(`__D__', `ifelse(defn(`_ARG_'), `', ``/run/relaypool'', `_ARG_')', ``/run/relaypool''))
define(`_RELAYPOOL_FAILOVER_', ifdef(`__D__', `_ARG2_'))

dnl F= is empty: without the milter, and where it takes longer than this, mail goes on as if there were none.
INPUT_MAIL_FILTER(`relaypool', `S='ifdef(`RELAYPOOL_MILTER', `defn(`RELAYPOOL_MILTER')', ``unix:'_RELAYPOOL_DIRECTORY_`/milter.sock'')`, F=, T=C:2s;S:5s;R:5s;E:10s')

dnl With RELAYPOOL_DOMAINS, SMART_HOST is as it was when this is through.
ifdef(`SMART_HOST', `pushdef(`SMART_HOST', defn(`SMART_HOST'))')

dnl What was relay:HOST, or another mailer and a host, is the host alone in a list of hosts.
define(`_RELAYPOOL_STRIP_', `ifelse(index(`$1', `$2:'), `0', `substr(`$1', len(`$2:'))', `$1')')
ifelse(_RELAYPOOL_FAILOVER_, `direct',
`ifdef(`SMART_HOST', `', `errprint(`*** ERROR: FEATURE(relaypool, , direct) needs SMART_HOST before it
')')
define(`SMART_HOST', _RELAYPOOL_STRIP_(defn(`SMART_HOST'), `relay'))
define(`SMART_HOST', _RELAYPOOL_STRIP_(defn(`SMART_HOST'), `esmtp'))
define(`SMART_HOST', _RELAYPOOL_STRIP_(defn(`SMART_HOST'), `smtp'))
define(`SMART_HOST', _RELAYPOOL_STRIP_(defn(`SMART_HOST'), `smtp8'))
define(`SMART_HOST', _RELAYPOOL_STRIP_(defn(`SMART_HOST'), `dsmtp'))
define(`SMART_HOST', `relaypool:[127.0.0.2]:'defn(`SMART_HOST'))
dnl Without m, one recipient in a transaction: SMTP has one reply to the end of data, relaypoold a verdict for each. r=1
dnl would say the same, but with it Sendmail leaves the first recipient in the queue when it goes on to the second host.
define(`_RELAYPOOL_FLAGS_', `DFMuXak')
define(`_RELAYPOOL_ARGS_', ifdef(`RELAY_MAILER_ARGS', `defn(`RELAY_MAILER_ARGS')', ``TCP $h''))',
`define(`SMART_HOST', `relaypool:localhost')
define(`_RELAYPOOL_FLAGS_', `mDFMuXakz')
define(`_RELAYPOOL_ARGS_', ifdef(`RELAYPOOL_MAILER_ARGS', `defn(`RELAYPOOL_MAILER_ARGS')', ``FILE '_RELAYPOOL_DIRECTORY_`/lmtp.sock''))')

ifdef(`RELAYPOOL_DOMAINS', `
define(`_RELAYPOOL_HOSTS_', _RELAYPOOL_STRIP_(defn(`SMART_HOST'), `relaypool'))
popdef(`SMART_HOST')
PUSHDIVERT(6)
C{RelaypoolDomains}defn(`RELAYPOOL_DOMAINS')
POPDIVERT
PUSHDIVERT(3)
R$* < @ $={RelaypoolDomains} . > $*	$#relaypool $@ _RELAYPOOL_HOSTS_ $: $1 < @ $2 . > $3
R$* < @ $={RelaypoolDomains} > $*	$#relaypool $@ _RELAYPOOL_HOSTS_ $: $1 < @ $2 > $3
POPDIVERT')

dnl z is LMTP; k, since relaypoold may greet with the name of this host. The rest is as in mailer esmtp and relay, which
dnl are written when all features are known: allmasquerade may stand behind this one.
m4wrap(`PUSHDIVERT(7)
Mrelaypool,	P=[IPC], F=_RELAYPOOL_FLAGS_, S=EnvFromSMTP/HdrFromSMTP, R=ifdef(`_ALL_MASQUERADE_', `EnvToSMTP/HdrFromSMTP', `EnvToSMTP'), E=\r\n, L=2040,
		T=DNS/RFC822/SMTP,
		A=_RELAYPOOL_ARGS_
POPDIVERT`'dnl
')

dnl At the end of the .mc, before anything of it is used: the milter becomes the last one wherever its line stands, so
dnl that no other sees, signs or removes what it adds; and what would lead mail past relaypoold is told.
define(`_RELAYPOOL_OTHERS_', `ifelse(`$1', `', `', `$1', `relaypool', `', ``$1, '')ifelse($#, `0', `', $#, `1', `', `_RELAYPOOL_OTHERS_(shift($@))')')
m4wrap(`PUSHDIVERT(-1)
define(`confINPUT_MAIL_FILTERS', _RELAYPOOL_OTHERS_(confINPUT_MAIL_FILTERS)`relaypool')
ifdef(`_MAILER_smtp_', `', `errprint(`*** ERROR: FEATURE(relaypool) needs MAILER(smtp)
')')
ifelse(ifdef(`RELAYPOOL_DOMAINS', `0', `index(defn(`SMART_HOST'), `relaypool:')'), `0', `', `errprint(`*** ERROR: SMART_HOST is defined again behind FEATURE(relaypool)
')')
POPDIVERT`'dnl
')
ifdef(`__D__', `', `divert(0)')dnl
