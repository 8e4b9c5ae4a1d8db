"""A raw SMTP and LMTP client: says exactly what it is told, byte for byte, and returns what it hears."""
import socket
import threading


def stuff(content):
    """Content with CRLF line ends as it goes over the wire, the final dot included."""
    if content.startswith(b"."):
        content = b"." + content
    return content.replace(b"\r\n.", b"\r\n..") + b".\r\n"


class SmtpClient:
    """`address` is (host, port) or a unix socket's path; `source` the address to come from."""

    def __init__(self, address, greeting="EHLO", name="client.test", timeout=60, source=None):
        if isinstance(address, tuple):
            self.socket = socket.create_connection(address, timeout, (source, 0) if source else None)
        else:
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(timeout)
            self.socket.connect(address)
        self.file = self.socket.makefile("rb")
        self.banner = self.reply()
        self.announced = self.command(f"{greeting} {name}")[1].split("\n")

    def reply(self):
        """(code, text); a closed connection is ConnectionError."""
        lines = []
        while True:
            line = self.file.readline()
            if not line.endswith(b"\n"):
                raise ConnectionError("the server closed the connection")
            text = line.decode("utf-8", "replace").rstrip("\r\n")
            lines.append(text[4:])
            if text[3:4] != "-":
                return int(text[:3]), "\n".join(lines)

    def send(self, octets):
        self.socket.sendall(octets)

    def command(self, line):
        self.send(line.encode() + b"\r\n")
        return self.reply()

    def begin(self, message):
        """Sends all before the content in one flight; the replies to MAIL, each RCPT and DATA."""
        lines = [f"MAIL FROM:<{message.sender}>{message.params}"]
        lines += [f"RCPT TO:<{address}>{params}" for address, params in message.recipients]
        self.send("".join(f"{line}\r\n" for line in lines + ["DATA"]).encode())
        return [self.reply() for _ in range(len(lines) + 1)]

    def transaction(self, message):
        """Sends it in two flights; the replies, with that to the end of data; stops where DATA is refused."""
        replies = self.begin(message)
        if replies[-1][0] == 354:
            self.send(stuff(message.content()))
            replies.append(self.reply())
        return replies

    def close(self):
        try:
            self.command("QUIT")
        except OSError:
            pass
        self.file.close()
        self.socket.close()


def inject(address, messages, sessions=8, source=None):
    """Sends all messages over some sessions at once; every one must be taken."""
    waiting, errors = list(reversed(messages)), []

    def session():
        client = SmtpClient(address, source=source)
        try:
            while waiting:
                replies = client.transaction(waiting.pop())
                if replies[-1][0] != 250:
                    errors.append(replies)
        except (OSError, IndexError) as error:
            if waiting:
                errors.append(error)
        client.close()

    threads = [threading.Thread(target=session) for _ in range(min(sessions, len(messages)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise AssertionError(f"the front refused mail: {errors[:3]}")
