"""A log daemon that reads nothing costs no message any time, and what was lost meanwhile is told."""
import contextlib
import json
import os
import re
import signal
import socket
import subprocess

from lib import daemon, rounds, scene, settings
from lib import front as fronts
from lib.relay import RelayPostfix
from lib.store import Store
from lib.syslog import Syslog

PROMISE = 0.010  # seconds that a message may take longer


class Background:
    """A process that has left us: only its pid is known. What Relaypoold needs of a Popen."""

    def __init__(self, pid):
        self.pid, self.returncode = pid, None

    def poll(self):
        if not os.path.exists(f"/proc/{self.pid}"):
            self.returncode = 0  # process 1 of the sandbox has it
        return self.returncode

    def wait(self, timeout=10):
        settings.wait_until(lambda: self.poll() is not None, timeout, "relaypoold to end")

    def send_signal(self, number):
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def kill(self):
        self.send_signal(signal.SIGKILL)


class BackgroundDaemon(daemon.Relaypoold):
    """relaypoold as it is started without a service manager: its log goes to syslog."""

    def __init__(self, front, sections, syslog):
        super().__init__(front, sections)
        self.syslog = syslog

    def start(self, under=()):
        subprocess.run([*under, os.path.join(settings.BUILD, "relaypoold"), "-c", self.config_path], check=True)
        self.process = Background(self.json("status")["pid"])
        daemon.started.append(self)
        return self

    def log(self):
        return "\n".join(self.syslog.lines)

    def dropped(self):
        return self.json("status")["log_dropped"]

    def fill_log(self):
        """Lines until some are dropped: the socket is full, and the ring behind it."""
        before = self.dropped()
        with socket.socket(socket.AF_UNIX) as control:
            control.settimeout(20)
            control.connect(self.control)
            answers = control.makefile("rb")
            for _ in range(10000):
                control.sendall(b'{"verb":"resume"}\n')
                assert b"error" not in answers.readline()
                control.sendall(b'{"verb":"status"}\n')
                if json.loads(answers.readline())["log_dropped"] > before:
                    return
        raise AssertionError("10000 lines did not fill the ring")


def test_syslog_that_reads_nothing_delays_no_mail():
    syslog = Syslog()
    store = Store()
    relay = RelayPostfix(store=store.path).start()
    front = fronts.pooled(rounds.PARAMETERS)
    relaypoold = BackgroundDaemon(front, daemon.relay_section("far", relay), syslog).start()
    front.start()
    before = 0

    def hold():
        nonlocal before
        syslog.hold()
        relaypoold.fill_log()
        before = relaypoold.dropped()

    def release():
        assert relaypoold.dropped() >= before + rounds.MESSAGES, "the log took lines: that was no stall"
        syslog.release()
        _expect_report(relaypoold)
    longer = rounds.longer(front, "syslog stopped", hold, release)
    assert longer <= PROMISE, f"{1000 * longer:.1f} ms longer at the median of the rounds"


def _expect_report(relaypoold):
    """The log goes on, and tells of all that was dropped so far and no more."""
    def told():
        return sum(int(count) for count in re.findall(r"warning: log: dropped=(\d+) lines", relaypoold.log()))
    settings.wait_until(lambda: told() >= relaypoold.dropped(), 20, "the lines that were dropped to be told")
    scene.equal(told(), relaypoold.dropped(), "lines that were dropped")


def test_syslog_that_reads_nothing_is_told():
    """In no line, as long as it lasts; by the control socket, and by lines of it when they can be written again."""
    syslog = Syslog()
    relay = RelayPostfix().start()
    front = fronts.pooled()
    relaypoold = BackgroundDaemon(front, daemon.relay_section("far", relay), syslog).start()

    def open_stalls():
        return [stall for stall in relaypoold.json("stalls")["stalls"] if stall["open"]]
    scene.equal(open_stalls(), [], "stalls")
    syslog.hold()
    relaypoold.fill_log()
    stall, = settings.wait_until(open_stalls, 5, "the stall")
    scene.equal((stall["stage"], stall["holder"], stall["cause"]), (None, "relaypool", "log"), "the stall")
    assert stall["limit"] <= stall["age"] <= stall["limit"] + 1 * settings.PATIENCE, f"told at {stall['age']} s"
    syslog.release()
    settings.wait_until(lambda: not open_stalls(), 10, "the end of the stall")
