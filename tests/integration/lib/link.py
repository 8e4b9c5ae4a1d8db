"""The far side of a long link: a network namespace behind tests/tools/link, 10.81.0.1 here and 10.81.0.2 there."""
import os
import signal
import subprocess

from . import settings

NEAR, FAR = "10.81.0.1", "10.81.0.2"


class Here:
    """The sandbox's own network: nothing between the two ends."""

    def command(self, *words):
        return list(words)

    def tcp_tables(self):
        return [f"/proc/self/net/{name}" for name in ("tcp", "tcp6")]


class Link:
    """Another network namespace and the link to it; `rtt` in milliseconds. End it by stop()."""

    def __init__(self, rtt=100, loss=0, seed=1):
        self.holder = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
        self._wait_for_namespace()
        self.process = subprocess.Popen(
            [os.path.join(settings.BUILD, "tests/tools/link"), "-d", f"{rtt / 2}ms", "-l", f"{loss}%", "-s", str(seed),
             "/proc/self/ns/net", NEAR, f"/proc/{self.holder.pid}/ns/net", FAR],
            stdout=subprocess.PIPE, text=True)
        if self.process.stdout.readline() != "ready\n":
            raise RuntimeError("the link did not come up")
        self.report = ""

    def _wait_for_namespace(self):
        ours = os.stat("/proc/self/ns/net").st_ino
        settings.wait_until(lambda: os.stat(f"/proc/{self.holder.pid}/ns/net").st_ino != ours, 5, "a network namespace")

    def command(self, *words):
        """The words that run a command at the far side."""
        return ["nsenter", f"--net=/proc/{self.holder.pid}/ns/net", *words]

    def tcp_tables(self):
        """The kernel's lists of the far side's sockets."""
        return [f"/proc/{self.holder.pid}/net/{name}" for name in ("tcp", "tcp6")]

    def cut(self):
        """No packet passes any more, and nobody is told."""
        self.process.send_signal(signal.SIGSTOP)

    def mend(self):
        self.process.send_signal(signal.SIGCONT)

    def stop(self):
        self.process.terminate()
        self.report = self.process.communicate()[0]
        self.holder.kill()
        self.holder.wait()
