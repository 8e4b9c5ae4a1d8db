"""The package on a system that has booted: its units as they are installed, with all that they forbid, below a real
systemd and beside a real Postfix."""
import re
import signal
import smtplib
import threading
import time
import urllib.request

import chroot
import lifecycle
from booted import booted
from lib import settings
from lib.message import Message
from lib.scene import equal
from lib.smtp import inject
from machine import CONF, PASSWORD, Relay, Relaypoold, read, write
from mta import SMTP, Postfix

PACKAGES = ("postfix",)
LATER = (lifecycle.DEB,)
SERVICE = "relaypoold.service"
UNITS = (SERVICE, "relaypoold.socket", "relaypoold-control.socket", "relaypool-flush.path", "relaypool-flush.service")
DROP_IN = f"system/{SERVICE}.d/{{}}.conf"
LMTP, METRICS = ("127.0.0.1", 2424), ("127.0.0.1", 9725)
LIMIT = 1.5  # by systemd-analyze security


class Site:
    """Postfix with relaypool in use, and the relay."""

    def __init__(self, machine):
        self.machine, self.relay, self.daemon = machine, Relay(), Relaypoold(machine)
        self.daemon.configure(self.relay)
        text = read(machine, CONF)
        write(machine, CONF, f'log-messages = "all"\n{text}')
        machine.run("systemctl", "enable", "--now", SERVICE)
        machine.run("relaypoolctl", "setup", "postfix", "--apply", "--reload")
        self.expect("first", 1)

    def inject(self, label, count, sessions=4):
        messages = [Message(f"{label}.{number}") for number in range(count)]
        inject(SMTP, messages, sessions)
        return [message.id for message in messages]

    def expect(self, label, count):
        """Messages arrive once each, by an account that is logged in."""
        names = self.inject(label, count)
        self.relay.wait_for(names)
        equal({self.relay.copies()[name] for name in names}, {1}, f"copies of {label}")
        equal({self.relay.logins[name] for name in names}, {(self.relay.username, self.relay.password)}, "logins")

    def pid(self):
        return int(self.machine.property(SERVICE, "MainPID"))

    def send_signal(self, number):
        self.machine.run("kill", f"-{int(number)}", str(self.pid()))

    def wait_for_another(self, pid, seconds):
        settings.wait_until(lambda: self.pid() not in (0, pid) and
                            self.machine.property(SERVICE, "SubState") == "running", seconds, "another relaypoold")

    def deferred(self):
        return [line for line in self.machine.journal("--facility=mail") if "status=deferred" in line]


def _units_are_sound(site):
    machine = site.machine
    files = [machine.property(unit, "FragmentPath") for unit in UNITS]
    equal(machine.run("systemd-analyze", "verify", "--man=no", *files), "", "what systemd-analyze has to say of the units")
    exposure = float(re.search(r"exposure level for \S+: ([\d.]+)", machine.run(
        "systemd-analyze", "security", "--no-pager", SERVICE)).group(1))
    settings.figure(f"exposure {exposure}")
    assert exposure <= LIMIT, f"exposure {exposure}, at most {LIMIT}"
    after = machine.property("relaypool-flush.service", "After").split()
    assert {"postfix.service", "sendmail.service"} <= set(after), f"a flush waits for {after} only"
    sockets = ("/run/relaypool/control.sock", "/var/spool/postfix/relaypool/lmtp.sock", "/var/spool/postfix/relaypool/milter.sock")
    equal(machine.run("stat", "-c", "%a %U:%G", "/run/relaypool", *sockets).split("\n"),
          ["755 relaypool:relaypool", "660 relaypool:relaypool", "660 root:postfix", "660 relaypool:postfix", ""],
          "the directory and the sockets")


def _it_may_do_what_it_does(site):
    """With all that the unit forbids: who is at the other end of a TCP connection is asked by netlink, what it has of
    memory in /proc; a reload opens sockets of its own."""
    text = read(site.machine, CONF)
    write(site.machine, CONF, f'lmtp = {{ "unix:/var/spool/postfix/relaypool/lmtp.sock", "inet:{LMTP[1]}@{LMTP[0]}" }}\n'
                              f'metrics = "inet:{METRICS[1]}@{METRICS[0]}"\n{text}')
    site.machine.run("systemctl", "reload", SERVICE)
    settings.wait_until(lambda: "passed=no" in "".join(site.machine.journal("-u", SERVICE)), 10, "the reload")
    with smtplib.LMTP(*LMTP, local_hostname="front.test") as client:
        equal(client.ehlo()[0], 250, "the reply to LHLO")
        equal(client.mail("a@front.test")[0], 250, "the reply to MAIL")
    with urllib.request.urlopen("http://{}:{}/metrics".format(*METRICS), timeout=10) as answer:
        memory = re.search(rb"\nprocess_resident_memory_bytes (\S+)\n", answer.read())
    assert memory and float(memory.group(1)) > 0, "it does not know its own memory"
    write(site.machine, CONF, text)
    site.machine.run("systemctl", "reload", SERVICE)


def _restarts_refuse_nothing(site, restarts=4):
    names, before = [], site.pid()
    injection = threading.Thread(target=lambda: names.extend(site.inject("restart", 400)))
    injection.start()
    for _ in range(restarts):
        time.sleep(0.3)
        site.machine.run("systemctl", "restart", SERVICE)
    injection.join()
    site.relay.wait_for(names)
    assert site.pid() != before
    equal({site.relay.copies()[name] for name in names}, {1}, "copies over the restarts")
    equal(site.deferred(), [], "what Postfix deferred over the restarts")


def _killed_it_is_back(site):
    before = site.pid()
    site.send_signal(signal.SIGKILL)
    site.wait_for_another(before, 20)
    site.expect("killed", 10)


def _it_is_tried_until_it_can_start(site, starts=21):
    """More often than limits of systemd's would have it, while Postfix waits at the socket."""
    fails = DROP_IN.format("fails")
    site.machine.configure(fails, "[Service]\nExecStart=\nExecStart=/bin/false\nRestartSec=200ms\n")
    site.machine.run("systemctl", "restart", SERVICE, code=None)
    names = site.inject("waiting", 10)
    settings.wait_until(lambda: int(site.machine.property(SERVICE, "NRestarts")) >= starts, 30, f"{starts} starts in vain")
    site.machine.configure(fails, "")
    site.relay.wait_for(names)
    equal(site.deferred(), [], "what Postfix deferred meanwhile")


def _hung_it_is_replaced(site):
    site.machine.configure(DROP_IN.format("watchdog"), "[Service]\nWatchdogSec=2s\nRestartSec=1s\n")
    site.machine.run("systemctl", "restart", SERVICE)
    before = site.pid()
    time.sleep(4)
    equal(site.pid(), before, "who runs when nothing hangs")
    site.send_signal(signal.SIGSTOP)
    begin = time.monotonic()
    site.wait_for_another(before, 15)
    settings.figure(f"a daemon that hung was replaced {time.monotonic() - begin:.1f} s later; its watchdog has 2 s")
    site.expect("hung", 10)
    assert any("Watchdog timeout" in line for line in site.machine.journal("-u", SERVICE)), "by whom?"


def _its_log_is_whole(site):
    """Where journald throws away what others have to say."""
    machine = site.machine
    machine.configure("journald.conf.d/test.conf", "[Journal]\nRateLimitIntervalSec=1h\nRateLimitBurst=1\n")
    machine.run("systemctl", "restart", "systemd-journald")
    machine.configure("system/talker.service", "[Service]\nType=oneshot\nExecStart=/usr/bin/seq 500\n")
    machine.run("systemctl", "start", "talker")
    assert machine.journal("-u", "talker").count("400") == 0, "journald has no limit here"
    site.expect("logged", 300)
    lines = [line for line in machine.journal("-u", SERVICE, "-t", "relaypoold") if "status=sent" in line]
    logged = {line.split(":")[0] for line in lines}
    assert len(logged) >= 300, f"{len(logged)} messages in the log"


def _credentials_are_handed_over(site):
    machine = site.machine
    machine.run("chown", "root:root", PASSWORD)
    machine.run("chmod", "0600", PASSWORD)
    machine.configure(DROP_IN.format("credential"), f"[Service]\nLoadCredential=example:{PASSWORD}\n")
    text = read(machine, CONF)
    assert PASSWORD in text
    write(machine, CONF, text.replace(PASSWORD, f"/run/credentials/{SERVICE}/example"))
    machine.run("systemctl", "restart", SERVICE)
    site.expect("credential", 10)
    machine.run("systemctl", "reload", SERVICE)
    site.expect("reloaded", 10)


def _stopped_it_is_gone(site):
    machine = site.machine
    machine.run("systemctl", "stop", "relaypoold.socket", "relaypoold-control.socket", SERVICE)
    equal(machine.run("find", "/run/relaypool", "/var/spool/postfix/relaypool", "-type", "s"), "", "sockets that are left")
    equal(machine.property(SERVICE, "ActiveState"), "inactive", "state")
    machine.run("systemctl", "start", SERVICE)
    site.expect("back", 10)


def test_units_on_a_booted_system():
    system = chroot.Chroot(settings.work("system"), chroot.prepared)
    system.install(lifecycle.DEB)
    with booted(system) as machine:
        site = Site(machine)
        for part in (_units_are_sound, _it_may_do_what_it_does, _restarts_refuse_nothing, _killed_it_is_back,
                     _it_is_tried_until_it_can_start, _hung_it_is_replaced, _its_log_is_whole, _credentials_are_handed_over,
                     _stopped_it_is_gone):
            begin = time.monotonic()
            part(site)
            settings.figure(f"{part.__name__[1:]}: {time.monotonic() - begin:.1f} s")
        complaints = [line for line in machine.journal("-u", SERVICE, "-t", "relaypoold")
                      if line.startswith(("warning: ", "error: ", "fatal: "))]
        equal(complaints, [], "what relaypoold complains of")
