"""A relay that misbehaves on purpose: one kind of fault at one step, every third time; it records what it accepted.

A message is accepted when its whole body with the final dot was read and 2xx was decided. What it accepted on a
connection on which it had misbehaved before is `excused`: nobody could know the outcome, so another copy may come.
Or one that keeps limits (lib.limits) and remembers what it refused.
"""
import base64
import collections
import re
import select
import socket
import ssl
import struct
import threading

from . import certificates

STEPS = ("banner", "ehlo", "starttls", "tls", "ehlo-tls", "auth", "mail", "rcpt", "data", "body", "dot", "idle", "quit")
FAULTS = ("die", "reset", "silent", "421", "twice", "early", "garbage")

# The steps whose reply an early relay might send right after this one's.
FOLLOWS = {"banner": ("ehlo",), "ehlo": ("starttls",), "tls": ("ehlo-tls",), "ehlo-tls": ("auth",), "auth": ("mail",),
           "mail": ("rcpt",), "rcpt": ("data",), "data": ("dot",), "dot": ("mail", "quit")}
REPLIES = {
    "banner": "220 scripted.test ESMTP", "starttls": "220 2.0.0 Go ahead", "auth": "235 2.7.0 Welcome",
    "mail": "250 2.1.0 Ok", "rcpt": "250 2.1.5 Ok", "data": "354 Go on", "dot": "250 2.0.0 Taken", "quit": "221 2.0.0 Bye",
}


RECEIVE_BUFFER = 65536  # so that a sender of a large message has to wait for us


class Gone(Exception):
    """This connection has ended."""


def _login(response):
    """(user, password) of AUTH PLAIN; None if it is not that."""
    try:
        return tuple(base64.b64decode(response).decode().split("\0")[1:])
    except ValueError:
        return None


class _Connection:
    def __init__(self, relay, client):
        self.relay, self.socket, self.file = relay, client, client.makefile("rb")
        self.faulty = self.mute = False
        self.admitted, self.messages, self.chunks, self.login = False, 0, [], None
        self.answered = set()  # steps whose reply went out early

    def run(self):
        try:
            if self.relay.implicit:
                self.secure()
            self.session()
        except (Gone, OSError, ssl.SSLError):
            pass
        self.relay.closed(self)
        self.file.close()
        self.socket.close()

    def session(self):
        self.refuse("banner")
        self.reply("banner")
        secured = self.relay.implicit
        verb = ""
        while verb != "QUIT":
            if verb == "DOT":
                self.look_idle()
            line = self.read_command()
            verb = line.split(" ")[0].split(":")[0].upper()
            self.relay.verbs[verb] += 1
            if verb == "STARTTLS" and not secured:
                self.start_tls()
                secured = True
            elif verb in ("EHLO", "LHLO"):
                self.reply("ehlo-tls" if secured else "ehlo", self.relay.greeting(secured))
            elif verb == "DATA":
                self.data()
                verb = "DOT"
            elif verb == "BDAT":
                verb = self.chunk(line.upper().split())
            else:
                self.command(verb, line)

    def command(self, verb, line):
        if verb == "AUTH":
            self.auth(line)
        elif verb == "MAIL":
            self.sender, self.recipients, self.chunks = line, [], []
            if not self.refuse("mail"):
                self.reply("mail")
        elif verb == "RCPT":
            self.rcpt(re.search("<(.*?)>", line).group(1))
        elif verb == "QUIT":
            self.reply("quit")
        else:
            self.say("250 2.0.0 Ok" if verb in ("RSET", "NOOP") else f"500 5.5.2 {verb}?")

    def auth(self, line):
        if "PLAIN" in line.upper():
            words = line.split()
            if len(words) < 3:
                self.say("334 ")
                words.append(self.read_line())
            self.login = _login(words[-1])
        if "XOAUTH2" in line.upper() and not self.token_is_right(line.split()[-1]):
            self.say("535 5.7.3 Authentication unsuccessful")
        elif not self.refuse("auth"):
            self.reply("auth")

    def token_is_right(self, response):
        wanted = f"user={self.relay.username}\1auth=Bearer {self.relay.token}\1\1"
        return base64.b64decode(response).decode() == wanted

    def refuse(self, step):
        """Whether a limit of the relay forbids this step; then that has been said."""
        refusal = self.relay.limits and self.relay.limits.judge(self, step)
        if refusal:
            self.say(refusal.text)
            if refusal.closes:
                raise Gone
        return bool(refusal)

    def rcpt(self, address):
        if self.relay.max_recipients and len(self.recipients) >= self.relay.max_recipients:
            self.say("452 4.5.3 Too many recipients")
        elif address == self.relay.refused:
            self.say("550 5.1.1 No such person here")
        else:
            self.recipients.append(address)
            self.reply("rcpt")

    def data(self):
        if not self.recipients:
            self.say("554 5.5.1 No valid recipients")
            return
        self.relay.pause("data")
        self.reply("data")
        lines = []
        while (line := self.read_octets()) != b".\r\n":
            lines.append(line[1:] if line.startswith(b".") else line)
            if len(lines) == 3:
                self.strike_in_body()
        # An early 250 was a lie: this relay never took the message.
        if "dot" in self.answered:
            raise Gone
        self.relay.pause("dot")
        self.take(b"".join(lines))

    def chunk(self, words):
        """BDAT; the verb that it is like."""
        self.chunks.append(self.file.read(int(words[1])))
        if words[2:] != ["LAST"]:
            self.say("250 2.0.0 Chunk taken")
            return "BDAT"
        self.relay.pause("dot")
        self.take(b"".join(self.chunks))
        return "DOT"

    def take(self, content):
        if self.refuse("dot"):
            return
        copies = self.relay.accept(self.recipients, content, self.login)
        try:
            self.reply("dot")
        finally:
            if self.faulty:
                self.relay.excuse(copies)

    def secure(self):
        self.file.close()
        self.socket = self.relay.tls.wrap_socket(self.socket, server_side=True)
        self.file = self.socket.makefile("rb")

    def start_tls(self):
        self.reply("starttls")
        fault = self.relay.due("tls")
        if fault:
            self.strike(fault, "250 2.0.0 Ok")
        if fault == "silent":
            while self.socket.recv(4096):
                pass
        self.secure()
        self.say(*self.early_replies("tls"))

    # ---- what goes wrong ----

    def reply(self, step, text=None):
        """The reply of this step, unless it is this step's turn to go wrong."""
        fault = self.relay.due(step, but="early")
        texts = [text or self.relay.reply_to(step) or REPLIES[step]]
        if fault:
            self.strike(fault, texts.pop())
        elif step in self.answered:
            self.answered.discard(step)
            texts.pop()
        self.say(*texts, *self.early_replies(step))

    def early_replies(self, step):
        """What is said too soon. In one write with the reply before it, so that it cannot be taken for punctual."""
        texts = []
        for following in FOLLOWS.get(step, ()):
            if self.relay.due(following, only="early"):
                self.faulty = True
                self.answered.add(following)
                texts.append(REPLIES.get(following) or self.relay.greeting(step == "tls"))
        return texts

    def strike(self, fault, text):
        self.faulty = True
        if fault == "silent":
            self.mute = True
        elif fault in ("twice", "early"):
            self.say(text, text)
        elif fault == "garbage":
            self.say("*** core dumped ***")
        else:
            self.leave(fault)

    def leave(self, fault):
        if fault == "421":
            self.say("421 4.3.2 Shutting down")
        if fault == "reset":
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise Gone

    def strike_in_body(self):
        """An early verdict can be told from a punctual one only while the sender writes: the message must be large."""
        fault = self.relay.due("body")
        if fault in ("twice", "early"):
            self.say(REPLIES["dot"])
            threading.Event().wait(0.5)
            raise Gone
        if fault:
            self.strike(fault, "")

    def look_idle(self):
        """Nothing to do for a while: the moment for trouble out of the blue."""
        if self.relay.step == "idle" and not select.select([self.socket], [], [], 0.15)[0]:
            fault = self.relay.due("idle")
            if fault:
                self.strike(fault, REPLIES["dot"])

    # ---- octets ----

    def say(self, *texts):
        if texts and not self.mute:
            self.socket.sendall("".join(f"{text}\r\n" for text in texts).encode())

    def read_octets(self):
        line = self.file.readline()
        if not line.endswith(b"\n"):
            raise Gone
        return line

    def read_command(self):
        """A line; or the end, where the relay's limits allow no such idle time."""
        if not self.relay.limits or not self.relay.limits.idle:
            return self.read_line()
        self.socket.settimeout(self.relay.limits.idle)
        try:
            line = self.read_line()
        except TimeoutError:
            self.say(self.relay.limits.expire())
            raise Gone from None
        self.socket.settimeout(None)
        return line

    def read_line(self):
        return self.read_octets().decode("utf-8", "replace").rstrip("\r\n")


class ScriptedRelay:
    """Listens from its creation on. `fault` at `step` each time that `every` transactions (or connections) came."""

    def __init__(self, step=None, fault=None, every=3, address="127.0.0.3", port=0, host="second.test", secure=False,
                 certificate="right", keywords=("PIPELINING", "8BITMIME", "SMTPUTF8", "DSN", "SIZE 50000000"),
                 max_recipients=0, refused=None, delays=None, starttls=True, implicit=False, limits=None):
        self.step, self.fault, self.every = step, fault, every
        self.address, self.host, self.secure, self.keywords = address, host, secure, keywords
        self.username, self.password, self.token = "customer", "correct-horse-battery", "ya29.correct-horse"
        self.implicit, self.limits = implicit, limits
        self.max_recipients, self.refused, self.delays, self.starttls = max_recipients, refused, delays or {}, starttls
        self.mechanisms = "PLAIN LOGIN"
        self.lock = threading.Lock()
        self.connections = []  # open now
        self.opened = self.most = self.turns = self.strikes = 0
        self.accepted = []  # (message id, recipient) for each copy taken
        self.excused = []   # the same, of those whose outcome nobody could know
        self.logins = {}    # {message id: (user, password) of the connection that brought it, or None}
        self.verbs = collections.Counter()  # commands heard
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.load_cert_chain(certificates.path(f"{certificate}.pem"), certificates.path(f"{certificate}.key"))
        self.listener = socket.create_server((address, port), backlog=100)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self):
        while True:
            try:
                client = self.listener.accept()[0]
            except OSError:
                return
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = _Connection(self, client)
            with self.lock:
                self.connections.append(connection)
                self.opened += 1
                self.most = max(self.most, len(self.connections))
            threading.Thread(target=connection.run, daemon=True).start()

    def closed(self, connection):
        with self.lock:
            self.connections.remove(connection)

    def greeting(self, secured):
        words = ["scripted.test", *self.keywords]
        if self.secure and self.starttls and not secured:
            words.append("STARTTLS")
        if secured:
            words.append(f"AUTH {self.mechanisms}")
        return "\r\n".join([f"250-{word}" for word in words[:-1]] + [f"250 {words[-1]}"])

    def due(self, step, only=None, but=None):
        """The fault, if it is the turn of this step to fail now."""
        if step != self.step or (only and self.fault != only) or (but and self.fault == but):
            return None
        with self.lock:
            self.turns += 1
            if self.turns % self.every:
                return None
            self.strikes += 1
        return self.fault

    def reply_to(self, _step):
        """Said instead of what is usual; None: what is usual."""
        return None

    def pause(self, step):
        if step in self.delays:
            threading.Event().wait(self.delays[step])

    def accept(self, recipients, content, login=None):
        """Takes the message; the copies that it is."""
        found = re.search(rb"^X-Test-Id: *(\S+)\r$", content, re.MULTILINE | re.IGNORECASE)
        copies = [(found.group(1).decode() if found else None, address) for address in recipients]
        with self.lock:
            self.accepted += copies
            self.logins.update((name, login) for name, _ in copies)
        return copies

    def excuse(self, copies):
        with self.lock:
            self.excused += copies

    def stop(self):
        self.listener.close()
        with self.lock:
            for connection in self.connections:
                connection.socket.shutdown(socket.SHUT_RDWR)
