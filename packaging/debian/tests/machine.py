"""What the tests of the package share: the machine that they run on, a relay on it, and relaypoold as it is run there.

A machine is this one (Here), or whatever has the same methods: tests/package/chroot.py of the sources has a chroot. It
is for tests alone: a test changes its configuration, and gives back what was there at its end.
"""
import collections
import contextlib
import json
import os
import shutil
import signal
import sys

SOURCE = os.path.dirname(os.path.realpath(__file__))
while not os.path.isdir(os.path.join(SOURCE, "tests", "integration", "lib")):
    SOURCE = os.path.dirname(SOURCE)
sys.path.insert(0, os.path.join(SOURCE, "tests", "integration"))
if "AUTOPKGTEST_TMP" in os.environ:
    os.environ["RELAYPOOL_WORK"] = os.environ["AUTOPKGTEST_TMP"]
from lib import certificates, settings  # noqa: E402
from lib import command as commands  # noqa: E402
from lib.scripted import ScriptedRelay  # noqa: E402

CONF = "/etc/relaypool/relaypool.conf"
PASSWORD = "/etc/relaypool/credentials.d/example"
ADDRESS = "127.0.0.3"
AUTHORITY = "/etc/relaypool-tests.pem"
FILES = (CONF, PASSWORD, AUTHORITY)  # that Relaypoold.configure() changes
UNITS = ("relaypoold.service", "relaypool-flush.path")


class Here:
    """This machine."""

    systemd = os.path.isdir("/run/systemd/system")

    @staticmethod
    def path(name):
        return name

    @staticmethod
    def run(*command, code=0, typed=""):
        """What it printed; it has to end with `code`, None for any."""
        return commands.run(command, code, typed)


def read(machine, name):
    with open(machine.path(name), encoding="utf-8") as file:
        return file.read()


def write(machine, name, text):
    with open(machine.path(name), "w", encoding="utf-8") as file:
        file.write(text)


@contextlib.contextmanager
def kept(machine, *names):
    """Files whose content is at the end what it was, or that are gone again."""
    before = {name: read(machine, name) if os.path.exists(machine.path(name)) else None for name in names}
    try:
        yield
    finally:
        for name, text in before.items():
            if text is not None:
                write(machine, name, text)
            elif os.path.exists(machine.path(name)):
                os.unlink(machine.path(name))


class Relay(ScriptedRelay):
    """A provider's: STARTTLS, AUTH, a certificate of an authority of our own. At no address that an MTA has itself."""

    def __init__(self, **options):
        super().__init__(address=ADDRESS, host=ADDRESS, secure=True, **options)

    def copies(self):
        """{message id: how many came}"""
        with self.lock:
            return collections.Counter(name for name, _ in self.accepted)

    def wait_for(self, names, seconds=30):
        """Until each of the messages has come."""
        settings.wait_until(lambda: set(names) <= set(self.copies()), seconds, f"{sorted(names)} at the relay")


class Relaypoold:
    """As it is run on this machine: with systemd by its units, else by hand, as README has it."""

    def __init__(self, machine):
        self.machine = machine

    def configure(self, relay):
        """What a user does: the relay in the one file, its password in the other. Within kept(machine, *FILES)."""
        text = read(self.machine, CONF)
        host = f'host = "{relay.host}"\n\tport = {relay.port}\n\ttls-ca-file = "{AUTHORITY}"'
        for old, new in (('host = "smtp.example.com"', host),
                         ('username = "server1234"', f'username = "{relay.username}"')):
            assert text.count(old) == 1, f"{CONF} as installed has no {old}, or several"
            text = text.replace(old, new)
        write(self.machine, CONF, text)
        shutil.copy(certificates.path("ca.pem"), self.machine.path(AUTHORITY))
        self.machine.run("install", "-o", "root", "-g", "relaypool", "-m", "0640", "/dev/null", PASSWORD)
        write(self.machine, PASSWORD, f"{relay.password}\n")
        self.machine.run("relaypoolctl", "check")

    def start(self):
        if self.machine.systemd:
            self.machine.run("systemctl", "enable", "--now", *UNITS)
        else:
            for directory, mode in (("/var/lib/relaypool", "0700"), ("/run/relaypool", "0755")):
                self.machine.run("install", "-d", "-o", "relaypool", "-g", "relaypool", "-m", mode, directory)
            self.machine.run("relaypoold")
        settings.wait_until(self.answers, 15, "relaypoold to answer")

    def stop(self):
        if self.machine.systemd:
            self.machine.run("systemctl", "disable", "--now", *UNITS)
        else:
            os.kill(self.ask("status")["pid"], signal.SIGTERM)
        settings.wait_until(lambda: not self.answers(), 40, "relaypoold to end")

    def answers(self):
        return "pid" in self.machine.run("relaypoolctl", "-j", "status", code=None)

    def ask(self, *words):
        """Its answer in JSON."""
        return json.loads(self.machine.run("relaypoolctl", "-j", *words))

    def sent(self):
        """How many recipients it has sent mail to."""
        return sum(relay["sent"] for relay in self.ask("stats")["stats"])
