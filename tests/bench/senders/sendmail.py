"""Sendmail, tuned for one busy smarthost, and with relaypool beside it.

By itself only queue runners deliver, so that there are never more connections than allowed, and one starts every
second with a message as old as that. Persistent runners would be one process and one connection. Until all runners are
at work some seconds go by, so that it shows what it can only with a few hundred messages or more.

With relaypool each message is delivered as it comes, by a process of its own: relaypoold sees to the connections.
"""
import os
import shutil
import subprocess

from lib import daemon, front, sandbox, settings
from lib.sendmail import FEATURE

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
define(`confQUEUE_LA', `1000')dnl
define(`confREFUSE_LA', `1000')dnl
FEATURE(`no_default_msa')dnl
FEATURE(`nocanonify')dnl
FEATURE(`accept_unresolvable_domains')dnl
{way_out}
DAEMON_OPTIONS(`Port={port}, Addr=127.0.0.1, Name=MTA')dnl
MAILER(`smtp')dnl
"""
# Runners deliver, so many as there may be connections.
ALONE = """define(`confDELIVERY_MODE', `queueonly')dnl
define(`confMAX_RUNNERS_PER_QUEUE', `{cap}')dnl
define(`confMAX_QUEUE_CHILDREN', `{cap}')dnl
define(`confQUEUE_SORT_ORDER', `none')dnl
define(`confMIN_QUEUE_AGE', `0')dnl
define(`confMCI_CACHE_TIMEOUT', `10m')dnl
define(`confMCI_CACHE_SIZE', `2')dnl
define(`confAUTH_MECHANISMS', `PLAIN LOGIN')dnl
define(`SMART_HOST', `relay:[{address}]')dnl
"""
AUTHENTICATION = "FEATURE(`authinfo', `text -k0 -v1 -z| {directory}/authinfo')dnl"
POOLED = """define(`confDELIVERY_MODE', `background')dnl
FEATURE(`relaypool')dnl
"""
MACROS = "usr/share/sendmail/cf"


class Sendmail(Mta):
    """Relays at port 25 only."""

    name = "sendmail"
    queued = "queue/[qd]f*"

    def __init__(self):
        super().__init__()
        self.program, self.options = None, []

    def way_out(self):
        """Lines of sendmail.mc."""
        self.write("authinfo", f'AuthInfo:{self.relay.address}|"U:{self.relay.username}" "P:{self.relay.password}"'
                               ' "M:PLAIN"\n', 0o600)
        authentication = AUTHENTICATION.format(directory=self.directory) if self.relay.secure else "dnl"
        return ALONE.format(cap=self.cap, address=self.relay.address) + authentication

    def configure(self):
        self.make("queue", mode=0o700)
        self.write("switch", "hosts files\naliases files\n")
        master = self.write("sendmail.mc", MASTER.format(directory=self.directory, port=front.PORT,
                                                         way_out=self.way_out()))
        macros = os.path.join(self.unpacked, MACROS)
        configuration = subprocess.run(["m4", f"-D_CF_DIR_={macros}/", os.path.join(macros, "m4/cf.m4"), master],
                                       capture_output=True, text=True, check=True, cwd=macros).stdout
        self.program = os.path.join(self.unpacked, "usr/libexec/sendmail/sendmail")
        self.options = [f"-C{self.write('sendmail.cf', configuration)}", "-X/dev/null"]
        return [self.program, "-bD", "-q1s", *self.options]


class PooledSendmail(Sendmail):
    """With relaypool at its default settings."""

    name = "sendmail-pooled"
    sockets, socket_group = "/run/relaypool", None  # for lib.daemon
    running = False

    def __init__(self):
        super().__init__()
        self.daemon = None

    def way_out(self):
        shutil.copy(FEATURE, os.path.join(self.unpacked, MACROS, "feature"))
        return POOLED

    def flush(self):
        subprocess.run([self.program, "-qf", *self.options], check=True)

    def start(self, relay, cap):
        sandbox.private("/run", settings.work())
        self.daemon = daemon.Relaypoold(self, daemon.relay_section("far", relay, max_connections=cap)).start()
        super().start(relay, cap)
        self.running = True

    def end(self):
        super().end()
        self.daemon.stop()
