"""Mailboxes beside relaypool: a real Dovecot gets what is local, unchanged but for the tag; the rest goes pooled."""
import base64
import collections
import os
import random

from lib import front as fronts
from lib import scene, settings
from lib.daemon import Relaypoold, relay_section
from lib.dovecot import DELIVER, Dovecot
from lib.message import Message
from lib.relay import RelayPostfix
from lib.sendmail import PLACE, FrontSendmail
from lib.smtp import SmtpClient
from lib.store import Store, split_fields, without_trace

LOCAL = ("alice@front.test", "bob@front.test")
AS_SENT = {"local_header_rewrite_clients": "", "in_flow_delay": "0"}
LMTP = "lmtp:unix:private/dovecot-lmtp"
TRACE = (b"return-path", b"delivered-to", b"x-original-to", b"received", b"x-relaypool")


ADDED = (b"date", b"from", b"message-id")  # by Sendmail, where they are missing


class Given(Message):
    """A message whose header and body are given, octet for octet; it is known by its remote recipient."""

    def __init__(self, name, header, body, params=""):
        super().__init__(name, sender="carol@front.test", recipients=(*LOCAL, f"{name}@far.example"), params=params)
        self.given_header, self.given_body = header, body

    def header(self):
        return self.given_header

    def body(self):
        return self.given_body


class Bare(Given):
    """Begins with its body at once, without the empty line; the MTA writes it."""

    def content(self):
        return self.given_body


def _attachment():
    """A message with an attachment of 1 MiB, in lines of base64."""
    encoded = base64.encodebytes(random.Random(1).randbytes(1 << 20)).replace(b"\n", b"\r\n")
    body = (b"--=_x\r\nContent-Type: text/plain\r\n\r\nSee the file.\r\n"
            b"--=_x\r\nContent-Type: application/octet-stream; name=a.bin\r\nContent-Transfer-Encoding: base64\r\n\r\n"
            + encoded + b"--=_x--\r\n")
    return Given("attachment", b"Subject: a file\r\nMIME-Version: 1.0\r\n"
                 b"Content-Type: multipart/mixed; boundary=\"=_x\"\r\n", body)


def _messages():
    folded = b"Subject: " + b"\r\n\t".join(b"word%03d" % number * 8 for number in range(60)) + b"\r\n"
    long_one = b"X-Long: " + b"x" * 900 + b"\r\n"
    dots = b".\r\n..\r\n.dot\r\n\r\n. \r\nlast\r\n.\r\n"
    return [
        Given("plain", b"Subject: plain\r\n", b"text\r\n"),
        Given("eight", b"Subject: 8bit\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=iso-8859-1\r\n"
              b"Content-Transfer-Encoding: 8bit\r\n", bytes(range(0xa0, 0x100)) + b"\r\n", " BODY=8BITMIME"),
        Given("dots", b"Subject: dots\r\n", dots),
        Given("long", folded + long_one + b"X-Empty:\r\nx-ODD-case:  two  spaces \r\n", b"x" * 990 + b"\r\n"),
        Given("received", b"Subject: came a long way\r\nReceived: from a by b; Mon, 23 Nov 2026 12:00:00 +0000\r\n"
              b"Delivered-To: somebody@else.test\r\n", b"text\r\n"),
        Given("headless", b"", b"There is a body only.\r\n"),
        Bare("bare", b"", b"There is a body only\r\n\r\nat once.\r\n"),
        Given("empty", b"Subject: no body\r\n", b""),
        _attachment(),
    ]


def _utf8():
    return Given("utf8", "Subject: Gr\u00fc\u00dfe\r\nX-Who: j\u00f6rg@f\u00e4r.example\r\n".encode(),
                 "\u65e5\u672c\u8a9e\r\n".encode(), " BODY=8BITMIME SMTPUTF8")


def _with_what_sendmail_adds(messages):
    """The same with a header that lacks nothing, but for those that have none."""
    for message in messages:
        if message.header():
            message.given_header += (b"From: <carol@front.test>\r\nDate: Mon, 23 Nov 2026 12:00:00 +0000\r\n"
                                     b"Message-Id: <" + message.id.encode() + b"@client.test>\r\n")
    return messages


def _by_delivery_agent(dovecot):
    return {"mailbox_command": f'{dovecot.deliver_command()} -f "$SENDER" -a "$RECIPIENT"'}


def _beside_postfix(parameters, sieve=None, services=()):
    """(front, daemon, dovecot, relay, store).

    The front's `parameters` are made from the Dovecot; `services` are what postconf -P gets.
    """
    store = Store()
    relay = RelayPostfix(store=store.path, secure=False, parameters=AS_SENT).start()
    front = fronts.pooled({"local_header_rewrite_clients": "", "home_mailbox": ""})
    daemon = Relaypoold(front, relay_section("far", relay)).start()
    dovecot = Dovecot(os.path.join(front.queue_directory, "private"), sieve=sieve)
    front.set(**parameters(dovecot))
    for service in services:
        front.postconf("-P", service)
    front.start()
    return front, daemon, dovecot.start(), relay, store


def _beside_sendmail(local):
    """The same with Sendmail in front; `local` is made from the Dovecot's deliver_command()."""
    front = FrontSendmail(local=local(f"{DELIVER} -c {settings.work('dovecot', 'dovecot.conf')}"))
    store = Store()  # behind it: while /etc becomes the front's own, nobody may look for a user there
    relay = RelayPostfix(store=store.path, secure=False, parameters=AS_SENT).start()
    daemon = Relaypoold(front, relay_section("far", relay)).start()
    return front.start(), daemon, Dovecot(PLACE, mta="root").start(), relay, store


def _send(messages):
    client = SmtpClient(scene.ADDRESS)
    for message in messages:
        scene.equal(client.transaction(message)[-1][0], 250, f"reply to {message.id}")
    client.close()


def _without_trace(message):
    """(tags, header, body): what the MTA and Dovecot put on top is taken away, up to the MTA's own Received."""
    header, _, body = message.partition(b"\r\n\r\n") if not message.startswith(b"\r\n") else (b"", b"", message[2:])
    fields, tags = split_fields(header + b"\r\n"), 0
    while fields and not fields[0].lower().startswith(b"received: from client.test "):
        name = fields.pop(0).split(b":")[0].lower()
        assert name in TRACE, f"{name} stands above what the MTA put there: {header[:600]!r}"
        tags += name == b"x-relaypool"
    return tags, _as_sent(b"".join(fields[1:])), body


def _as_sent(header):
    """What was sent without any header has by now what Sendmail adds, and nothing else."""
    return b"" if all(field.split(b":")[0].lower() in ADDED for field in split_fields(header)) else header


def _same(got, wanted, what):
    """Compared as multisets; only the beginnings are shown when they differ."""
    missing, strange = wanted - got, got - wanted
    assert not missing and not strange, f"{what}: missing {[str(item)[:200] for item in missing]}, " \
        f"instead {[str(item)[:200] for item in strange]}"


def _expect_local(dovecot, messages, tags):
    """Each user has each message once, over IMAP and over POP3, with so many tags."""
    wanted = collections.Counter((tags, message.header(), message.body()) for message in messages)
    for user in dovecot.users:
        settings.wait_until(lambda user=user: len(dovecot.imap(user)) >= len(messages), 10, f"mail for {user}")
        for way in (dovecot.imap, dovecot.pop3):
            _same(collections.Counter(map(_without_trace, way(user))), wanted, f"{user} by {way.__name__}")


def _expect_remote(store, messages):
    """Each message once, for its remote recipient alone, without a tag."""
    settings.wait_until(lambda: len(store.transactions) >= len(messages), 10, "the mail for others")
    got = collections.Counter((entry.sender[0], *entry.addresses(), _as_sent(without_trace(entry.header, 2)),
                               entry.body_digest)
                              for entry in store.transactions)
    wanted = collections.Counter((message.sender, message.recipients[-1][0], message.header(), message.digest())
                                 for message in messages)
    _same(got, wanted, "what the relay got")


def _deliver(scene_of, messages, tags=1):
    front, _daemon, dovecot, relay, store = scene_of
    _send(messages)
    front.drain(20, flush=False)
    relay.drain(20, flush=False)
    _expect_local(dovecot, messages, tags)
    _expect_remote(store, messages)
    dovecot.stop()


def test_virtual_mailboxes_of_postfix_over_lmtp():
    _deliver(_beside_postfix(lambda _: {
        "mydestination": "localhost",
        "virtual_mailbox_domains": "front.test",
        "virtual_mailbox_maps": "inline:{{alice@front.test=1},{bob@front.test=1}}",
        "virtual_transport": LMTP,
    }), _messages())


def test_local_users_of_postfix_by_the_delivery_agent():
    _deliver(_beside_postfix(_by_delivery_agent), [*_messages(), _utf8()])


def test_header_check_of_the_service_lmtp_takes_the_tag_out():
    checks = "lmtp/unix/lmtp_header_checks=regexp:$config_directory/relaypool_header_checks"
    _deliver(_beside_postfix(lambda _: {"mailbox_transport": LMTP}, services=[checks]), _messages(), tags=0)


def test_sieve_script_takes_the_tag_out():
    _deliver(_beside_postfix(_by_delivery_agent, 'require "editheader";\ndeleteheader "X-Relaypool";\n'),
             [*_messages(), _utf8()], tags=0)


def test_local_users_of_sendmail_by_the_delivery_agent():
    _deliver(_beside_sendmail(
        lambda command: f"FEATURE(`local_procmail', `{DELIVER}', `{command} -d $u -f $g', `SPfhn9')dnl"),
             _with_what_sendmail_adds(_messages()))


def test_local_users_of_sendmail_over_lmtp():
    _deliver(_beside_sendmail(lambda _: f"FEATURE(`local_lmtp', `[IPC]', `FILE {PLACE}/dovecot-lmtp')dnl"),
             _with_what_sendmail_adds(_messages()))
