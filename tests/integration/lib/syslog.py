"""The log daemon of the sandbox: a socket /dev/log of our own, read or left unread as a test wants it."""
import contextlib
import os
import re
import socket
import threading

from . import sandbox, settings


class Syslog:
    """Datagrams as syslog(3) sends them. While it is held nothing is read: the socket fills, and senders block."""

    def __init__(self, path=None, name=None):
        """`name` is that of the socket, where a chroot has it; else /dev becomes the sandbox's own."""
        if not name:
            sandbox.private("/dev", settings.work())
            name = "/dev/log"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
        self.file = open(path, "w", encoding="utf-8") if path else None  # what the lines go to besides
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(name)
        os.chmod(name, 0o666)
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
            if self.file:
                print(self.lines[-1], file=self.file, flush=True)

    def hold(self):
        self.turn.acquire()

    def release(self):
        self.turn.release()
