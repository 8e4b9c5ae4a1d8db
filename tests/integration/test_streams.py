"""Each way to talk to a relay, with the relay and the link failing under it: nothing lost, nothing bounced, copies only of
what was in doubt."""
import threading
import time

from lib import scene, settings, verify
from lib.daemon import relay_section
from lib.link import Link
from lib.message import Message
from lib.relay import RelayPostfix
from lib.store import Store

RTT = 60
CAP = 4


def fail_under_load(mode, in_doubt, without="", **relay_keys):
    """`in_doubt`: messages that may lose their verdict with one connection."""
    store, link = Store(), Link(RTT)
    relay = RelayPostfix(link, store=store.path, parameters={"smtpd_discard_ehlo_keywords": without}).start()
    front, daemon = scene.pooled(relay_section("far", relay, max_connections=CAP, **relay_keys))
    count = settings.scaled(300)
    messages = [Message(number, recipients=(f"r{number}@far.example",), size=3000) for number in range(count)]
    injection = threading.Thread(target=scene.inject, args=(messages, 4))
    injection.start()
    settings.wait_until(lambda: relay.accepted() >= count // 4, 60, "a quarter of the messages")
    scene.equal(daemon.json("pools")["pools"][0]["mode"], mode, "mode")
    relay.abort()
    relay.start()
    settings.wait_until(lambda: relay.accepted() >= count // 2, 60, "half of the messages")
    link.cut()
    time.sleep(1)
    daemon.ctl("reconnect")
    link.mend()
    injection.join()
    scene.drained(front, relay, 120)
    copies = verify.copies(store, messages)
    ambiguous = daemon.json("pools")["pools"][0]["ambiguous"]
    settings.figure(f"{mode}: {count} messages, none missing, {ambiguous} in doubt, {copies} copies")
    assert copies <= ambiguous <= 2 * CAP * in_doubt, f"{copies} copies, {ambiguous} in doubt"
    scene.equal(scene.statuses(front)["bounced"], 0, "bounced")


def test_lockstep():
    fail_under_load("lockstep", 1, without="pipelining, chunking")


def test_classic():
    fail_under_load("classic", 1, streaming="off")


def test_overlap():
    fail_under_load("overlap", 1)


def test_deep():
    fail_under_load("deep", 8, streaming="deep", max_depth=8)
