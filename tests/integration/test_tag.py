"""A tag that is not ours to believe decides nothing, and no tag ever leaves the host."""
import os
import re
import subprocess

from lib import scene, settings
from lib.daemon import relay_section, section
from lib.message import Message
from lib.relay import RelayPostfix
from lib.store import Store

SPECIAL = "127.0.0.5"  # mail of this client goes by the second relay


def two_relays(front=None, **front_parameters):
    """(front, daemon, ordinary store, special store)"""
    stores, sections = [], ""
    for name, address, host in (("plain", "127.0.0.2", "near.test"), ("special", "127.0.0.3", "second.test")):
        stores.append(Store(name + "-store"))
        relay = RelayPostfix(store=stores[-1].path, address=address, host=host, name=name).start()
        sections += relay_section(name, relay)
    sections += section("route", "special", {"relays": ["special"], "clients": [SPECIAL]})
    sections += section("route", "rest", {"relays": ["plain"]})
    front, daemon = scene.pooled(sections, front_parameters, front=front)
    return front, daemon, *stores


def expect(front, stores, wanted, flush=False):
    """Which ids came to which store; and no tag anywhere."""
    front.drain(20, flush=flush)
    settings.wait_until(lambda: sum(len(store.transactions) for store in stores) >= sum(map(len, wanted)), 20, "all mail")
    scene.equal([sorted(entry.id for entry in store.transactions) for store in stores], wanted, "plain, special")
    for store in stores:
        for entry in store.transactions:
            assert b"x-relaypool" not in entry.header.lower(), entry.header


def _tags_in_queue(front):
    """The tags that wait in the front's queue, by message id."""
    tags = {}
    for entry in front.queue():
        text = subprocess.run(["postcat", "-c", front.config, "-qh", entry["queue_id"]], capture_output=True, text=True,
                              check=True).stdout
        ident = re.search(r"^X-Test-Id: (\S+)", text, re.MULTILINE).group(1)
        tags[ident] = re.search(r"^(X-Relaypool: .*(?:\n[ \t].*)*)", text, re.MULTILINE).group(1)
    return tags


def _capture_tag(front):
    """A valid tag of the special route, as a thief with eyes in the queue would have it."""
    front.set(defer_transports="relaypool")
    scene.inject([Message("victim")], source=SPECIAL)
    settings.wait_until(lambda: front.queue(), 10, "the message in the queue")
    tag = _tags_in_queue(front)["mvictim"]
    front.unset("defer_transports")
    return tag.replace("\n", "\r\n").encode() + b"\r\n"


def test_tag_lets_the_client_decide_the_route():
    front, _daemon, plain, special = two_relays()
    scene.inject([Message("one")])
    scene.inject([Message("two")], source=SPECIAL)
    expect(front, (plain, special), [["mone"], ["mtwo"]])


def test_forged_tags_of_a_client_decide_nothing():
    front, _daemon, plain, special = two_relays()
    forged = b"X-Relaypool: v=1; id=ABC; routes=special; mac=00\r\n"
    scene.inject([Message("top", fields=forged), Message("many", fields=forged * 3),
                  Message("case", fields=forged.replace(b"X-Relaypool", b"x-rElAyPoOl")),
                  Message("folded", fields=b"X-Relaypool:\r\n v=1; id=ABC;\r\n\troutes=special; mac=00\r\n"),
                  Message("spaced", fields=b"X-Relaypool : routes=special\r\n")])
    expect(front, (plain, special), [["mcase", "mfolded", "mmany", "mspaced", "mtop"], []])


def test_tag_copied_from_another_message_decides_nothing():
    front, _daemon, plain, special = two_relays()
    tag = _capture_tag(front)
    scene.inject([Message("copy", fields=tag)])
    front.sendmail(tag.replace(b"\r\n", b"\n") + b"X-Test-Id: typed\nSubject: x\n\nx\n", "alice@front.test",
                   ["victim@far.example"], user="alice")
    settings.wait_until(lambda: len(plain.transactions) == 2, 20, "both copies")
    front.flush()
    expect(front, (plain, special), [["mcopy", "typed"], ["mvictim"]])


def test_tag_of_a_forwarded_message_decides_nothing():
    front, _daemon, plain, special = two_relays()
    path = settings.work("home", "alice", ".forward")
    with open(path, "w", encoding="utf-8") as file:
        file.write("away@far.example\n")
    os.chown(path, os.stat(os.path.dirname(path)).st_uid, -1)
    scene.inject([Message("forwarded", recipients=("alice@front.test",))], source=SPECIAL)
    expect(front, (plain, special), [["mforwarded"], []])


def test_requeued_message_keeps_its_route():
    front, _daemon, plain, special = two_relays()
    front.set(defer_transports="relaypool")
    scene.inject([Message("requeued")], source=SPECIAL)
    settings.wait_until(lambda: front.queue(), 10, "the message in the queue")
    front.unset("defer_transports")
    subprocess.run(["postsuper", "-c", front.config, "-r", "ALL"], check=True, capture_output=True)
    front.flush()
    settings.wait_until(lambda: plain.transactions or special.transactions, 30, "the message at a relay")
    expect(front, (plain, special), [[], ["mrequeued"]])


def test_local_delivery_and_direct_mail_show_no_other_change():
    front, _daemon, plain, special = two_relays()
    message = Message("local", recipients=("alice@front.test",))
    scene.inject([message])
    settings.wait_until(lambda: front.mailbox("alice"), 10, "local delivery")
    header = front.mailbox("alice")[0].split(b"\n\n")[0]
    ours = [line for line in header.split(b"\n") if line.lower().startswith(b"x-relaypool")]
    assert len(ours) <= 1, header
    assert message.body().replace(b"\r\n", b"\n") in front.mailbox("alice")[0]
    expect(front, (plain, special), [[], []])
