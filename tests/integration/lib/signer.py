"""A milter that signs: it adds a field over the header fields it was shown, and remembers which they were."""
import hashlib
import os
import socketserver
import struct
import threading

from . import settings

ADD_HEADERS = 0x01


class _Session(socketserver.StreamRequestHandler):
    """The milter protocol, version 6, of one connection of the MTA's; see libmilter's mfdef.h."""

    def handle(self):
        names = []
        while head := self.rfile.read(4):
            packet = self.rfile.read(struct.unpack("!I", head)[0])
            command, data = packet[:1], packet[1:]
            if command == b"Q":
                return
            if command == b"O":
                self.reply(b"O", struct.pack("!III", 6, ADD_HEADERS, 0))
            elif command == b"L":
                names.append(data.split(b"\0")[0].decode())
                self.reply(b"c")
            elif command == b"E":
                self.server.seen.append(names)
                self.reply(b"h", b"X-Signed\0" + hashlib.sha256(repr(names).encode()).hexdigest().encode() + b"\0")
                self.reply(b"c")
                names = []
            elif command not in b"DAK":
                self.reply(b"c")

    def reply(self, command, data=b""):
        self.wfile.write(struct.pack("!I", len(data) + 1) + command + data)


class Signer(socketserver.ThreadingUnixStreamServer):
    """Listens on WORK/signer.sock from its creation on; `seen` has the names of each message's fields."""

    daemon_threads = True

    def __init__(self):
        self.seen = []
        self.path = settings.work("signer.sock")
        super().__init__(self.path, _Session)
        os.chmod(self.path, 0o777)
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()
