"""The log daemon of the sandbox: a socket /dev/log of our own, read or left unread as a test wants it."""
import os
import re
import socket
import subprocess
import threading

from . import settings


def _private_dev():
    """An own /dev, which shows what was there; a socket made in it is seen by the sandbox only."""
    before = settings.work("dev")
    os.mkdir(before)
    subprocess.run(["mount", "--rbind", "/dev", before], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/dev"], check=True)
    for name in os.listdir(before):
        if name != "log":
            os.symlink(os.path.join(before, name), os.path.join("/dev", name))


class Syslog:
    """Datagrams as syslog(3) sends them. While it is held nothing is read: the socket fills, and senders block."""

    def __init__(self):
        _private_dev()
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("/dev/log")
        os.chmod("/dev/log", 0o666)
        self.lines = []  # "IDENT[PID]: TEXT"
        self.turn = threading.Lock()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        while True:
            octets = self.socket.recv(65536, socket.MSG_PEEK)  # taken only when it is our turn
            with self.turn:
                self.socket.recv(65536)
            text = octets.decode("utf-8", "replace")
            self.lines.append(re.sub(r"^<\d+>\w{3} [ \d]\d [\d:]{8} ", "", text).rstrip("\0\n"))

    def hold(self):
        self.turn.acquire()

    def release(self):
        self.turn.release()
