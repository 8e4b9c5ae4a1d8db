"""The MTA in front, played by a real Sendmail that is not installed: unpacked beside the build, private configuration,
in a place of its own that the sandbox makes where Sendmail trusts the directories above it."""
import glob
import os
import re
import shutil
import subprocess
import time

from . import flush, packages, sandbox, settings
from .front import PORT
from .postfix import wait_for_port
from .syslog import Syslog

PLACE = "/run/front"
FEATURE = os.path.join(settings.SOURCE, "contrib", "sendmail", "relaypool.m4")
PROGRAM, MACROS = "usr/libexec/sendmail/sendmail", "usr/share/sendmail/cf"

# As much as a machine of the tests needs; the rest is as shipped. `{lines}` are relaypool's and the test's own.
MASTER = """
OSTYPE(`linux')dnl
define(`confDOMAIN_NAME', `front.test')dnl
define(`confPID_FILE', `{place}/pid')dnl
define(`QUEUE_DIR', `{place}/mqueue{queues}')dnl
define(`STATUS_FILE', `{place}/statistics')dnl
define(`HELP_FILE', `{place}/help')dnl
define(`ALIAS_FILE', `{place}/aliases')dnl
define(`confSERVICE_SWITCH_FILE', `{place}/switch')dnl
define(`confDEF_USER_ID', `nobody:nogroup')dnl
define(`confDONT_PROBE_INTERFACES', `True')dnl
define(`confDONT_BLAME_SENDMAIL', `ForwardFileInUnsafeDirPath')dnl
define(`confTO_IDENT', `0')dnl
define(`confQUEUE_LA', `1000')dnl
define(`confREFUSE_LA', `1000')dnl
define(`confDELIVERY_MODE', `{mode}')dnl
FEATURE(`no_default_msa')dnl
FEATURE(`nocanonify')dnl
FEATURE(`accept_unresolvable_domains')dnl
FEATURE(`accept_unqualified_senders')dnl
RELAY_DOMAIN(`127')dnl
{lines}
DAEMON_OPTIONS(`Port={port}, Addr=127.0.0.1, Name=MTA')dnl
{local}
MAILER(`local')dnl
MAILER(`smtp')dnl
"""
LOCAL = f"FEATURE(`local_procmail', `{PLACE}/deliver', `deliver $u', `SPn9')dnl"
SUBMIT = """
OSTYPE(`linux')dnl
define(`confDOMAIN_NAME', `front.test')dnl
define(`MSP_QUEUE_DIR', `{place}/clientmqueue')dnl
define(`confSERVICE_SWITCH_FILE', `{place}/switch')dnl
define(`confTO_IDENT', `0')dnl
define(`confQUEUE_LA', `1000')dnl
define(`RELAY_MAILER_ARGS', `TCP $h {port}')dnl
FEATURE(`msp', `[127.0.0.1]')dnl
"""
STATUSES = (("Sent", "sent"), ("Deferred", "deferred"), ("queued", "deferred"))
DELIVER = """#!/bin/sh
# To the Maildir of a local user.
set -e
box={home}/$1/Maildir
mkdir -p $box/new
cat >$box/$$
exec mv $box/$$ $box/new/$(date +%s.%N).$$
"""


def unpack(directory):
    """Into the directory, made for it, and used from then on."""
    packages.unpack(["sendmail-bin", "sendmail-cf"], directory)
    settings.SENDMAIL = os.environ["RELAYPOOL_SENDMAIL"] = directory


class FrontSendmail:
    """Listens on 127.0.0.1:2525; alice and bob are local, everything else goes out by relaypool.

    `lines` of sendmail.mc stand before `feature`. `queues` are the names of queue directories, if others than one,
    `local` is how local mail is delivered.
    """

    socket_group = None  # Sendmail connects as root

    def __init__(self, feature="FEATURE(`relaypool')dnl", lines="", mode="background", queues=(), local=LOCAL):
        sandbox.private("/run", settings.work())
        sandbox.private("/etc", settings.work())
        self.sockets = "/run/relaypool"
        self.running, self.process = False, None
        self.directory = settings.work("sendmail")
        self.program, self.config = os.path.join(PLACE, "sendmail"), "/etc/mail/sendmail.cf"
        os.makedirs(self.directory)
        self.syslog = Syslog(os.path.join(self.directory, "log"))
        self._furnish(queues)
        self.configure(f"{lines}\n{feature}", mode, queues, local)
        self._write_configuration(SUBMIT, "submit.cf")
        self.write_aliases("")

    def _furnish(self, queues):
        """Directories and files as Debian's packages make them; sendmail(1) has the group that submission needs."""
        for path in (PLACE, "/etc/mail", os.path.join(PLACE, "mqueue")):
            os.mkdir(path, 0o755)
        for queue in queues:
            os.mkdir(os.path.join(PLACE, "mqueue", f"q{queue}"), 0o700)
        os.mkdir(os.path.join(PLACE, "clientmqueue"))
        shutil.chown(os.path.join(PLACE, "clientmqueue"), "smmsp", "smmsp")
        os.chmod(os.path.join(PLACE, "clientmqueue"), 0o770)
        shutil.copy(os.path.join(settings.SENDMAIL, PROGRAM), self.program)
        shutil.chown(self.program, "root", "smmsp")
        os.chmod(self.program, 0o2755)
        self._write(os.path.join(PLACE, "switch"), "hosts files\naliases files\npasswd files\n")
        self._write(os.path.join(PLACE, "deliver"), DELIVER.format(home=settings.work("home")), 0o755)
        self._write(os.path.join(PLACE, "statistics"), "")

    @staticmethod
    def _write(path, content, mode=0o644):
        with open(path, "w", encoding="utf-8") as file:
            os.chmod(file.fileno(), mode)
            file.write(content)

    def add_program(self, name, text):
        """Beside sendmail(1), for whoever looks there."""
        self._write(os.path.join(PLACE, name), text, 0o755)

    def _write_configuration(self, text, name, **values):
        """By m4, from a copy of Sendmail's macros that has our feature among its own."""
        macros = os.path.join(self.directory, "cf")
        if not os.path.exists(macros):
            shutil.copytree(os.path.join(settings.SENDMAIL, MACROS), macros)
            shutil.copy(FEATURE, os.path.join(macros, "feature"))
        result = subprocess.run(["m4", f"-D_CF_DIR_={macros}/", os.path.join(macros, "m4/cf.m4"), "-"],
                                input=text.format(place=PLACE, port=PORT, **values), capture_output=True, text=True,
                                check=True, cwd=macros)
        if result.stderr:
            raise RuntimeError(f"m4 says of {name}: {result.stderr}")
        self._write(os.path.join("/etc/mail", name), result.stdout)

    def configure(self, lines, mode="background", queues=(), local=LOCAL):
        """Writes sendmail.cf; what m4 has to say against it is an error."""
        self._write_configuration(MASTER, "sendmail.cf", lines=lines, mode=mode, local=local,
                                  queues="/q*" if queues else "")

    def write_aliases(self, text):
        self._write(os.path.join(PLACE, "aliases"), f"MAILER-DAEMON: postmaster\npostmaster: root\n{text}")
        subprocess.run([self.program, "-bi"], check=True, capture_output=True)

    def start(self):
        self.process = subprocess.Popen([self.program, "-bD", "-q1h"])
        wait_for_port("127.0.0.1", PORT)
        self.running = True
        return self

    def stop(self):
        self.process.terminate()
        self.process.wait()
        self.running = False

    def log(self):
        return "\n".join(line for line in list(self.syslog.lines) if line.startswith("sendmail["))

    def _jobs(self, name):
        return glob.glob(os.path.join(PLACE, name, "**", "[hq]f*"), recursive=True)

    def queue(self):
        """The ids of what is in the queue."""
        return [os.path.basename(path)[2:] for path in self._jobs("mqueue")]

    def flush(self, group=None):
        """By the command of relaypool-flush.service; or one queue group."""
        if group:
            subprocess.run([self.program, f"-qG{group}"], check=True)
            return
        flush.run(f"{PLACE}:/bin")

    def drain(self, seconds, flush=True):
        """Waits until the queues are empty; with `flush`, what was deferred is tried again every two seconds."""
        flushed = time.monotonic()

        def empty():
            nonlocal flushed
            if flush and time.monotonic() - flushed > 2:
                self.flush()
                flushed = time.monotonic()
            return not self._jobs("mqueue") and not self._jobs("clientmqueue")
        settings.wait_until(empty, seconds, "Sendmail's queue to empty")

    def _message_ids(self, log):
        """{queue id: message id up to its @}, copies that Sendmail makes of a message included."""
        ids = dict(re.findall(r": (\w+): from=.*, msgid=<([^@>]*)", log))
        for queue_id, copies in re.findall(r": (\w+): split: .* ids?=(.*)$", log, re.MULTILINE):
            ids.update((copy, ids.get(queue_id)) for copy in copies.split("; "))
        ids.update((copy, ids.get(queue_id)) for queue_id, copy in re.findall(r": (\w+): (\w+): clone: ", log))
        return ids

    def outcomes(self):
        """[(message id, recipient, status, text)] as logged, in the words of Postfix; the id up to its @."""
        log, found = self.log(), []
        ids = self._message_ids(log)
        for queue_id, recipients, text in re.findall(r": (\w+): to=(.*?), (?:\w+=.*, )?stat=(.*)$", log, re.MULTILINE):
            status = next((word for start, word in STATUSES if text.startswith(start)), "bounced")
            for address in re.findall(r'(?:[^,"]|"(?:\\.|[^"])*")+', recipients):
                found.append((ids.get(queue_id), re.sub("^<(.*)>$", r"\1", address), status, text))
        return found

    def sendmail(self, message, sender, recipients, *options, user=None, ends_with=os.EX_OK):
        """sendmail(1), as a local user would call it: the mail submission program."""
        command = [self.program, "-i", *options, "-f", sender, "--", *recipients]
        if user:
            command = ["runuser", "-u", user, "--", *command]
        code = subprocess.run(command, input=message, check=False).returncode
        if code != ends_with:
            raise AssertionError(f"sendmail ended with {code}, not {ends_with}")

    def mailbox(self, user):
        """The messages delivered to a local user."""
        messages = []
        for path in sorted(glob.glob(settings.work("home", user, "Maildir", "new", "*"))):
            with open(path, "rb") as file:
                messages.append(file.read())
        return messages
