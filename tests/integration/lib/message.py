"""Messages to send: made from a number alone, so that nothing need be kept to compare what arrived."""
import hashlib
import random

LINES = (
    b".", b"..", b".leading dot", b"...three", b". ", b"", b"From the beginning of a line", b"-" * 998, b"." * 998,
    "Gr\u00fc\u00dfe, \u65e5\u672c\u8a9e".encode(), bytes(range(0x80, 0x100)), b"\ttab\x01\x7f", b"trailing space   ",
)


class Message:
    """One transaction to inject. `params` and those of a recipient are written after the path, with a leading space."""

    def __init__(self, number, sender="sender@front.test", recipients=("recipient@far.example",), size=2048, params="",
                 subject=b"test", fields=b""):
        self.id = f"m{number}"
        self.sender, self.params = sender, params
        self.recipients = [entry if isinstance(entry, tuple) else (entry, "") for entry in recipients]
        self.size, self.subject, self.fields = size, subject, fields

    def header(self):
        return (self.fields + b"From: <sender@front.test>\r\nTo: undisclosed-recipients:;\r\nDate: Mon, 23 Nov 2026 12:00:00 +0000\r\n"
                b"Message-Id: <" + self.id.encode() + b"@client.test>\r\nX-Test-Id: " + self.id.encode()
                + b"\r\nSubject: " + self.subject + b"\r\n")

    def body(self):
        """CRLF lines, dots, 998 octets, 8-bit; about as large as wanted."""
        generator = random.Random(self.id)
        lines, length = list(LINES), sum(len(line) + 2 for line in LINES) if self.size > 8192 else 0
        if not length:
            lines = generator.sample(LINES[:7], 4)
            length = sum(len(line) + 2 for line in lines)
        filler = generator.randbytes(4096).hex().encode()
        while length < self.size:
            start, width = generator.randrange(4096), generator.randrange(20, 990)
            line = filler[start:start + min(width, self.size - length)]
            lines.append(line)
            length += len(line) + 2
        return b"\r\n".join(lines) + b"\r\n"

    def content(self):
        return self.header() + b"\r\n" + self.body()

    def digest(self):
        return hashlib.sha256(self.body()).hexdigest()


def _size(generator):
    """Mostly small, some middling, a few large: 0.5 KiB to 2 MiB."""
    low, high = generator.choices([(512, 16384), (16384, 131072), (131072, 2 << 20)], (85, 12, 3))[0]
    return generator.randrange(low, high)


def _recipients(generator, number):
    count = generator.choices([1, generator.randrange(2, 11), generator.randrange(11, 51)], (70, 20, 10))[0]
    recipients = []
    for index in range(count):
        address, params = f"r{number}.{index}@far{index % 3}.example", ""
        if generator.random() < 0.2:
            params += " NOTIFY=" + generator.choice(["NEVER", "FAILURE", "SUCCESS,FAILURE", "FAILURE,DELAY"])
        if generator.random() < 0.2:
            params += f" ORCPT=rfc822;o{number}+2B{index}@origin.example"
        recipients.append((address, params))
    return recipients


def mixed(count, seed=1):
    """The corpus: sizes, numbers of recipients, DSN parameters, SMTPUTF8 addresses, and 8-bit bodies, all mixed."""
    messages = []
    for number in range(count):
        generator = random.Random(seed * 1000003 + number)
        message = Message(f"{seed}.{number}", recipients=_recipients(generator, number), size=_size(generator))
        if number == 0:
            message.size = 2 << 20
        if number == 1:
            message.size = 512
        message.params = " BODY=8BITMIME"
        if generator.random() < 0.2:
            message.params += generator.choice([" RET=HDRS", " RET=FULL"])
        if generator.random() < 0.2:
            message.params += f" ENVID=id+2B{number}"
        if generator.random() < 0.05:
            message.params += " SMTPUTF8"
            message.subject = "Gr\u00fc\u00dfe".encode()
            message.recipients.append((f"j\u00f6rg{number}@f\u00e4r.example", ""))
        messages.append(message)
    return messages
