"""A log daemon that reads nothing costs no message any time, and what was lost meanwhile is told."""
import contextlib
import json
import os
import re
import signal
import socket
import statistics
import subprocess

from lib import daemon, scene, settings
from lib import front as fronts
from lib.message import Message
from lib.relay import RelayPostfix
from lib.store import Store
from lib.syslog import Syslog

PROMISE = 0.010  # seconds that a message may take longer
ROUNDS = 21      # without and with the stall by turns: each is compared with its neighbour, under much the same load
MESSAGES = 20    # in each, one after the other, so that none waits for another


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


def _sent(log):
    """delays= of each message, once all are there."""
    found = re.findall(r"relay=\S*lmtp\.sock\](?:, conn_use=\d+)?, delay=[\d.]+, delays=([\d./]+), .*status=sent", log)
    return found if len(found) == MESSAGES else None


def _delays(front, label):
    """Seconds that each message of a round took in Postfix and relaypoold, to the relay's reply, as Postfix logs them."""
    messages = [Message(f"{label}.{number}") for number in range(MESSAGES)]
    before = len(front.log())
    scene.inject(messages, sessions=1)
    front.drain(30, flush=False)
    found = settings.wait_until(lambda: _sent(front.log()[before:]), 10, "Postfix to log all of them as sent")
    return [sum(float(part) for part in delays.split("/")[2:]) for delays in found]


def test_syslog_that_reads_nothing_delays_no_mail():
    syslog = Syslog()
    store = Store()
    relay = RelayPostfix(store=store.path).start()
    front = fronts.pooled({"delay_logging_resolution_limit": 6})
    relaypoold = BackgroundDaemon(front, daemon.relay_section("far", relay), syslog).start()
    front.start()
    _delays(front, "warm")
    scene.wait_for_line(relaypoold, "status=sent")
    quiet, stalled = [], []
    for number in range(ROUNDS):
        quiet.append(_delays(front, f"quiet{number}"))
        syslog.hold()
        relaypoold.fill_log()
        before = relaypoold.dropped()
        stalled.append(_delays(front, f"stalled{number}"))
        assert relaypoold.dropped() >= before + MESSAGES, "the log took lines: that was no stall"
        syslog.release()
        _expect_report(relaypoold)
    # On a machine that has other work a round may differ by anything, their median does not.
    longer = statistics.median(statistics.median(slow) - statistics.median(fast) for slow, fast in zip(stalled, quiet))
    settings.figure(f"a message takes {1000 * longer:+.2f} ms longer with syslog stopped, at the median of "
                    f"{ROUNDS} rounds of {MESSAGES}; {1000 * statistics.median(sum(quiet, [])):.2f} ms without")
    assert longer <= PROMISE, f"{1000 * longer:.1f} ms longer at the median of the rounds"


def _expect_report(relaypoold):
    """The log goes on, and tells of all that was dropped so far and no more."""
    def told():
        return sum(int(count) for count in re.findall(r"warning: log: dropped=(\d+) lines", relaypoold.log()))
    settings.wait_until(lambda: told() >= relaypoold.dropped(), 20, "the lines that were dropped to be told")
    scene.equal(told(), relaypoold.dropped(), "lines that were dropped")


def test_syslog_that_reads_nothing_is_told():
    """In no line, as long as it lasts; by the control socket, and by lines of the time when they can be written again."""
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
