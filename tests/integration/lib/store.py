"""Where the relay delivers to: an LMTP server in the test's process that keeps each transaction for comparison."""
import hashlib
import os
import re
import socketserver
import threading

from . import settings

GREETING = ["store.test", "PIPELINING", "8BITMIME", "SMTPUTF8", "DSN", "ENHANCEDSTATUSCODES", "SIZE 0"]


def split_fields(header):
    """The header's fields, raw, continuation lines included."""
    return re.findall(rb"[^\r\n]+\r\n(?:[ \t][^\r\n]*\r\n)*", header)


def without_trace(header, hops):
    """The header less the topmost `hops` Received fields; anything else above them makes it an error."""
    fields = split_fields(header)
    for field in fields[:hops]:
        if not field.lower().startswith(b"received:"):
            raise AssertionError(f"not a Received field: {field!r}")
    return b"".join(fields[hops:])


class Transaction:
    """What the store was given: envelope with parameters, header whole, body as length and digest."""

    def __init__(self, sender, recipients, content):
        self.sender, self.recipients = sender, recipients
        self.header, _, body = content.partition(b"\r\n\r\n")
        self.header += b"\r\n"
        self.body_length, self.body_digest = len(body), hashlib.sha256(body).hexdigest()
        found = re.search(rb"^X-Test-Id: *(\S+)\r$", self.header, re.MULTILINE | re.IGNORECASE)
        self.id = found.group(1).decode() if found else None
        self.body = body if len(body) <= 65536 else None

    def addresses(self):
        return [address for address, _ in self.recipients]


class _Session(socketserver.StreamRequestHandler):
    def say(self, *lines):
        self.wfile.write(b"".join(line.encode() + b"\r\n" for line in lines))

    def handle(self):
        self.say("220 store.test LMTP")
        self.sender, self.recipients = None, []
        while line := self.rfile.readline().decode("utf-8", "surrogateescape").rstrip("\r\n"):
            verb = line.split(" ")[0].split(":")[0].upper()
            if not getattr(self, f"do_{verb.lower()}", self.do_unknown)(line):
                return

    def do_unknown(self, line):
        self.say(f"500 5.5.1 {line[:20]}?")
        return True

    def do_lhlo(self, _line):
        self.say(*(f"250-{word}" for word in GREETING[:-1]), f"250 {GREETING[-1]}")
        return True

    def do_mail(self, line):
        self.sender, self.recipients = _path(line, "FROM"), []
        self.say("250 2.1.0 Ok")
        return True

    def do_rcpt(self, line):
        self.recipients.append(_path(line, "TO"))
        self.say("250 2.1.5 Ok")
        return True

    def do_data(self, _line):
        self.say("354 Go on")
        lines = []
        while (line := self.rfile.readline()) != b".\r\n":
            if not line:
                return False
            lines.append(line[1:] if line.startswith(b".") else line)
        self.server.keep(Transaction(self.sender, self.recipients, b"".join(lines)))
        self.say(*("250 2.0.0 Kept" for _ in self.recipients))
        return True

    def do_rset(self, _line):
        self.say("250 2.0.0 Ok")
        return True

    def do_quit(self, _line):
        self.say("221 2.0.0 Bye")
        return False


def _path(line, word):
    """(address, parameters as a dictionary) of a MAIL or RCPT command."""
    address, rest = re.match(rf"\w+ {word}:<((?:\"(?:\\.|[^\"\\])*\"|[^>\"])*)>(.*)$", line, re.IGNORECASE).groups()
    pairs = (word.partition("=") for word in rest.split())
    return address, {name.upper(): value for name, _, value in pairs}


class Store(socketserver.ThreadingUnixStreamServer):
    """Listens on WORK/NAME.sock from its creation on."""

    daemon_threads = True
    request_queue_size = 100

    def __init__(self, name="store"):
        self.path = settings.work(f"{name}.sock")
        self.transactions = []
        self.lock = threading.Lock()
        super().__init__(self.path, _Session)
        os.chmod(self.path, 0o777)
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def keep(self, transaction):
        with self.lock:
            self.transactions.append(transaction)

    def copies(self):
        """{(message id, recipient): how many times it arrived}"""
        count = {}
        with self.lock:
            for transaction in self.transactions:
                for address in transaction.addresses():
                    count[transaction.id, address] = count.get((transaction.id, address), 0) + 1
        return count

    def clear(self):
        with self.lock:
            self.transactions.clear()

    def stop(self):
        self.shutdown()
        self.server_close()
        os.unlink(self.path)
