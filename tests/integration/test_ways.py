"""Mail that changes its way inside the MTA goes out pooled and right: bounces, forwards, copies, odd addresses."""
import os

from lib import scene, settings
from lib.message import Message

ALIASES = """team  alice, carol@far.example
outside  dave@far.example
"""


def _table(name, text):
    path = settings.work(f"{name}.table")
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return f"texthash:{path}"


def _scene(**parameters):
    return scene.with_store(front_parameters=parameters)


def _arrived(store, count):
    """[(sender, [recipients], header)] once so many transactions are there, in the order of their first recipient."""
    settings.wait_until(lambda: len(store.transactions) >= count, 20, f"{count} transactions at the store")
    found = [(entry.sender[0], sorted(entry.addresses()), entry.header) for entry in store.transactions]
    return sorted(found, key=lambda entry: entry[1])


def _expect_pooled(front, relay, count=0):
    """Nothing left by another transport, and nothing stayed."""
    scene.drained(front, relay, 20)
    outbound = [line for line in front.log().splitlines() if "status=" in line and ".example>" in line]
    assert outbound and len(outbound) >= count and all("postfix/relaypool/lmtp" in line for line in outbound), outbound


def _deliver(front, relay, store, message, count=1):
    scene.inject([message], sessions=1)
    arrived = _arrived(store, count)
    _expect_pooled(front, relay)
    return arrived


def test_bounce_to_a_remote_sender():
    front, _daemon, relay, store = _scene()
    front.sendmail(b"Subject: x\n\nx\n", "author@far.example", ["nobody-here@front.test"])
    arrived = _arrived(store, 1)
    _expect_pooled(front, relay)
    scene.equal([entry[:2] for entry in arrived], [("", ["author@far.example"])], "the bounce's envelope")
    assert b"multipart/report" in arrived[0][2]


def test_alias_to_a_local_and_a_remote_address():
    front, _daemon, relay, store = _scene(alias_maps=_table("aliases", ALIASES))
    arrived = _deliver(front, relay, store, Message(1, recipients=("team@front.test", "outside@front.test")), 2)
    scene.equal([entry[1] for entry in arrived], [["carol@far.example"], ["dave@far.example"]], "recipients")
    settings.wait_until(lambda: front.mailbox("alice"), 10, "alice's copy")


def test_dot_forward_to_a_remote_address():
    front, _daemon, relay, store = _scene()
    path = settings.work("home", "bob", ".forward")
    with open(path, "w", encoding="utf-8") as file:
        file.write("\\bob, frank@far.example\n")
    os.chown(path, os.stat(os.path.dirname(path)).st_uid, -1)
    arrived = _deliver(front, relay, store, Message(1, recipients=("bob@front.test",)))
    scene.equal([entry[:2] for entry in arrived], [("sender@front.test", ["frank@far.example"])], "envelope")
    settings.wait_until(lambda: front.mailbox("bob"), 10, "bob's own copy")


def test_virtual_alias_to_a_remote_address_keeps_the_original_recipient():
    front, _daemon, relay, store = _scene(
        virtual_alias_maps=_table("virtual", "sales@front.test erin@far.example\n"))
    _deliver(front, relay, store, Message(1, recipients=("sales@front.test",)))
    address, params = store.transactions[0].recipients[0]
    scene.equal((address, params.get("ORCPT")), ("erin@far.example", "rfc822;sales@front.test"), "recipient and ORCPT")


def test_always_bcc_to_a_remote_address():
    front, _daemon, relay, store = _scene(always_bcc="archive@far.example")
    scene.inject([Message(1, recipients=("alice@front.test",)), Message(2, recipients=("grace@far.example",))])
    settings.wait_until(lambda: sum(store.copies().values()) >= 3, 20, "two copies for the archive and one for grace")
    _expect_pooled(front, relay)
    scene.equal(store.copies(), {("m1", "archive@far.example"): 1, ("m2", "archive@far.example"): 1,
                                 ("m2", "grace@far.example"): 1}, "what arrived")
    settings.wait_until(lambda: front.mailbox("alice"), 10, "alice's own")


def test_verp_gives_each_recipient_a_sender_of_its_own():
    front, _daemon, relay, store = _scene()
    front.sendmail(b"Subject: x\n\nx\n", "list@front.test", ["ann@far.example", "ben@far.example"], "-XV")
    arrived = _arrived(store, 2)
    _expect_pooled(front, relay)
    scene.equal([entry[:2] for entry in arrived], [
        ("list+ann=far.example@front.test", ["ann@far.example"]),
        ("list+ben=far.example@front.test", ["ben@far.example"])], "envelopes")


def test_address_literals_and_quoted_local_parts():
    front, _daemon, relay, store = _scene()
    odd = ["user@[192.0.2.1]", '"odd user"@far.example', '"a>b"@far.example', "o'neil+tag@far.example"]
    arrived = _deliver(front, relay, store, Message(1, recipients=odd))
    scene.equal(sorted(address for entry in arrived for address in entry[1]), sorted(odd), "recipients")


def test_mail_of_sendmail_by_an_unprivileged_user():
    front, _daemon, relay, store = _scene()
    front.sendmail(b"X-Test-Id: local\nSubject: x\n\nfrom the command line\n", "alice@front.test",
                   ["hugo@far.example", "alice@front.test"], user="alice")
    arrived = _arrived(store, 1)
    _expect_pooled(front, relay)
    scene.equal([entry[:2] for entry in arrived], [("alice@front.test", ["hugo@far.example"])], "envelope")
    settings.wait_until(lambda: front.mailbox("alice"), 10, "alice's copy")


def test_mixed_local_and_remote_recipients():
    front, _daemon, relay, store = _scene()
    _deliver(front, relay, store, Message(1, recipients=("alice@front.test", "ida@far.example", "bob@front.test")))
    scene.equal(store.copies(), {("m1", "ida@far.example"): 1}, "what went out")
    settings.wait_until(lambda: front.mailbox("alice") and front.mailbox("bob"), 10, "the local copies")
