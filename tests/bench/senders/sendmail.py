"""Sendmail, tuned for one busy smarthost.

Only queue runners deliver, so that there are never more connections than allowed, and one starts every second with a
message as old as that. Persistent runners would be one process and one connection. Until all runners are at work some
seconds go by, so that it shows what it can only with a few hundred messages or more.
"""
import os
import subprocess

from lib import front

from .mta import Mta

MASTER = """
OSTYPE(`linux')dnl
define(`confPID_FILE', `{directory}/pid')dnl
define(`QUEUE_DIR', `{directory}/queue')dnl
define(`STATUS_FILE', `{directory}/statistics')dnl
define(`HELP_FILE', `{directory}/help')dnl
define(`confSERVICE_SWITCH_FILE', `{directory}/switch')dnl
define(`confDOMAIN_NAME', `front.test')dnl
define(`confDONT_BLAME_SENDMAIL', `MapInUnsafeDirPath')dnl
define(`confDEF_USER_ID', `nobody:nogroup')dnl
define(`confDONT_PROBE_INTERFACES', `True')dnl
define(`confTO_IDENT', `0')dnl
define(`confDELIVERY_MODE', `queueonly')dnl
define(`confMAX_RUNNERS_PER_QUEUE', `{cap}')dnl
define(`confMAX_QUEUE_CHILDREN', `{cap}')dnl
define(`confQUEUE_SORT_ORDER', `none')dnl
define(`confMIN_QUEUE_AGE', `0')dnl
define(`confMCI_CACHE_TIMEOUT', `10m')dnl
define(`confMCI_CACHE_SIZE', `2')dnl
define(`confQUEUE_LA', `1000')dnl
define(`confREFUSE_LA', `1000')dnl
define(`confAUTH_MECHANISMS', `PLAIN LOGIN')dnl
define(`SMART_HOST', `relay:[{address}]')dnl
FEATURE(`no_default_msa')dnl
FEATURE(`nocanonify')dnl
FEATURE(`accept_unresolvable_domains')dnl
{authentication}
DAEMON_OPTIONS(`Port={port}, Addr=127.0.0.1, Name=MTA')dnl
MAILER(`smtp')dnl
"""
AUTHENTICATION = "FEATURE(`authinfo', `text -k0 -v1 -z| {directory}/authinfo')dnl"
MACROS = "usr/share/sendmail/cf"


class Sendmail(Mta):
    """Relays at port 25 only."""

    name = "sendmail"
    queued = "queue/[qd]f*"

    def configure(self):
        self.make("queue", mode=0o700)
        self.write("switch", "hosts files\naliases files\n")
        self.write("authinfo", f'AuthInfo:{self.relay.address}|"U:{self.relay.username}" "P:{self.relay.password}"'
                               ' "M:PLAIN"\n', 0o600)
        master = self.write("sendmail.mc", MASTER.format(
            directory=self.directory, cap=self.cap, address=self.relay.address, port=front.PORT,
            authentication=AUTHENTICATION.format(directory=self.directory) if self.relay.secure else "dnl"))
        macros = os.path.join(self.unpacked, MACROS)
        configuration = subprocess.run(["m4", f"-D_CF_DIR_={macros}/", os.path.join(macros, "m4/cf.m4"), master],
                                       capture_output=True, text=True, check=True, cwd=macros).stdout
        return [os.path.join(self.unpacked, "usr/libexec/sendmail/sendmail"), "-bD", "-q1s",
                f"-C{self.write('sendmail.cf', configuration)}", "-X/dev/null"]
