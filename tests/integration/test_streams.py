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


def batch_of(count, first):
    return [Message(number, recipients=(f"r{number}@far.example",), size=3000) for number in range(first, first + count)]


def fail_under_load(mode, in_doubt, without="", **relay_keys):
    """`in_doubt`: messages that may lose their verdict with one connection."""
    store, link = Store(), Link(RTT)
    relay = RelayPostfix(link, store=store.path, parameters={"smtpd_discard_ehlo_keywords": without}).start()
    front, daemon = scene.pooled(relay_section("far", relay, max_connections=CAP, **relay_keys))
    count = settings.scaled(300)
    messages = batch_of(count, 0)
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


def test_sudden_moves_between_the_four_ways():
    """All connections are killed at the relay in mid-stream, four times; each time it announces something else then."""
    store = Store()
    relay = RelayPostfix(Link(20), store=store.path, parameters={"service_throttle_time": "1s"}).start()
    front, daemon = scene.pooled(relay_section("far", relay, max_connections=CAP, streaming="deep"))
    part, messages, seen = settings.scaled(300), [], []
    for without in ("chunking", "pipelining, chunking", "", "pipelining"):
        batch, last = batch_of(part, len(messages)), batch_of(1, len(messages) + part)
        injection = threading.Thread(target=scene.inject, args=(batch, 4))
        injection.start()
        settings.wait_until(lambda goal=len(messages) + part // 4: relay.accepted() >= goal, 60, "a quarter of the part")
        relay.set(smtpd_discard_ehlo_keywords=without)
        relay.kill_servers()
        injection.join()
        scene.drained(front, relay, 120)
        scene.inject(last)
        scene.drained(front, relay)
        messages += batch + last
        seen.append(daemon.json("pools")["pools"][0]["mode"])
    copies = verify.copies(store, messages)
    ambiguous = daemon.json("pools")["pools"][0]["ambiguous"]
    settings.figure(f"{', '.join(seen)}: {len(messages)} messages, none missing, {ambiguous} in doubt, {copies} copies")
    scene.equal(seen, ["overlap", "lockstep", "deep", "lockstep"], "ways")
    assert copies <= ambiguous, f"{copies} copies, {ambiguous} in doubt"
    scene.equal(scene.statuses(front)["bounced"], 0, "bounced")
