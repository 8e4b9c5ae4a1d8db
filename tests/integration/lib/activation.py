"""relaypoold below a service manager, which is played here: it holds the sockets, and hears what the daemon tells it."""
import contextlib
import os
import shutil
import socket
import sys
import threading
import time

from . import settings
from .daemon import USER, Relaypoold

# What a service manager does between fork and exec: descriptors from 3 on, and the words that say so.
LAUNCHER = """import fcntl, os, sys
ours = [int(word) for word in sys.argv[1].split(",")]
given = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 100) for fd in ours]
for fd in ours:
    os.set_inheritable(fd, False)
for place, fd in enumerate(given, 3):
    os.dup2(fd, place)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(given)), WATCHDOG_PID=str(os.getpid()))
os.execv(sys.argv[2], sys.argv[2:])
"""


class Activated(Relaypoold):
    """Sockets of lmtp and control outlive it. More of them by pass_socket(); `watchdog` is in seconds."""

    def __init__(self, *arguments, watchdog=0, **keys):
        super().__init__(*arguments, **keys)
        self.watchdog, self.said, self.begun = watchdog, [], 0.0  # [(when, line)]
        self.at_ready, self.found = lambda: None, []  # what is done when it says that it is ready, and what came of it
        self.passed = []
        self.pass_socket(self.lmtp(), None, self.front.socket_group)
        self.pass_socket(self.control, USER, USER)
        self.ear = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.ear.bind(os.path.join(self.directory, "notify"))
        os.chmod(os.path.join(self.directory, "notify"), 0o666)
        threading.Thread(target=self._hear, daemon=True).start()

    def pass_socket(self, path, user=None, group=None):
        """A listening socket there, passed at every start from now on."""
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(path)
        os.chmod(path, 0o660)
        if user or group:
            shutil.chown(path, user, group)
        listening.listen(128)
        self.passed.append(listening)
        return listening

    def _hear(self):
        while True:
            text = self.ear.recv(4096).decode()
            if text == "READY=1":
                self.found.append(self.at_ready())
            self.said += [(time.monotonic(), line) for line in text.splitlines()]

    def answers(self):
        """A connection to the control socket would wait for the daemon, even if it has ended."""
        return self.told("READY=1", self.begun)

    def start(self, under=(), environment=(), **options):
        self.begun = time.monotonic()
        fds = [listening.fileno() for listening in self.passed]
        words = [sys.executable, "-c", LAUNCHER, ",".join(map(str, fds)), *under]
        told = {"NOTIFY_SOCKET": os.path.join(self.directory, "notify")}
        if self.watchdog:
            told["WATCHDOG_USEC"] = str(int(self.watchdog * 1000000))
        return super().start(words, {**told, **dict(environment)}, pass_fds=fds, **options)

    def told(self, line, since=0.0):
        """When it said so first, after `since`; None if never."""
        return next((when for when, text in list(self.said) if text == line and when >= since), None)

    def wait_told(self, line, seconds=10, since=0.0):
        return settings.wait_until(lambda: self.told(line, since), seconds, f"{line} from relaypoold")

    def files(self):
        """What is where the sockets are, down to the change of a mode."""
        paths = [listening.getsockname() for listening in self.passed]
        return {path: (status.st_ino, status.st_mode, status.st_uid, status.st_gid, status.st_ctime_ns)
                for path, status in ((path, os.stat(path)) for path in paths)}

    def restart(self):
        """As systemctl restart: a clean end, then the next one."""
        self.stop()
        self.start()


@contextlib.contextmanager
def repeatedly(action, pause):
    """Calls it again and again beside what the caller does; a list grows by one for each time."""
    done, ended, failed = [], threading.Event(), []

    def work():
        while not ended.wait(pause):
            try:
                action()
            except BaseException as error:
                failed.append(error)
                raise
            done.append(time.monotonic())
    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield done
    finally:
        ended.set()
        thread.join()
        if failed:
            raise failed[0]
