"""Everything arrives exactly once and unchanged, by a real Postfix and by a real Exim, within the caps."""
import math
import threading

from lib import message, scene, settings, verify
from lib.daemon import relay_section
from lib.exim import RelayExim
from lib.store import Store

CAP, MAX_MESSAGES = 10, 50


class SocketWatch(threading.Thread):
    """The most sockets that a relay's kernel had open for it at once, looked at all the time.

    The kernel's list is no snapshot: it takes a while to read. What stands in two readings was there between them.
    """

    def __init__(self, relay):
        super().__init__(daemon=True)
        self.relay, self.most, self.ended = relay, 0, threading.Event()
        self.start()

    def run(self):
        before = set()
        while not self.ended.wait(0.002):
            now = self.relay.sockets()
            self.most, before = max(self.most, len(now & before)), now

    def stop(self):
        self.ended.set()
        self.join()
        return self.most


def expect_exact(store, messages, **options):
    missing, strange, doubled = verify.differences(store, messages)
    assert not missing and not strange and not doubled, (missing, strange, doubled)
    faults = verify.faults(store, messages, **options)
    assert not faults, "\n".join(text[:1000] for text in faults[:10])


def expect_within_caps(relay, most_sockets):
    total, most = relay.connections()
    assert most <= CAP and most_sockets <= CAP, f"{most} by the relay's log, {most_sockets} by its kernel"
    settings.figure(f"{relay.accepted()} transactions over {total} connections, at most {max(most, most_sockets)} at once")
    bound = math.ceil(relay.accepted() / MAX_MESSAGES) + CAP
    assert total <= bound, f"{total} connections for {relay.accepted()} transactions, at most {bound} allowed"


def test_two_thousand_mixed_messages_arrive_once_and_unchanged():
    front, _daemon, relay, store = scene.with_store({"max_messages": MAX_MESSAGES, "max_connections": CAP})
    watch = SocketWatch(relay)
    messages = message.mixed(settings.scaled(2000))
    scene.inject(messages)
    scene.drained(front, relay, 240)
    expect_exact(store, messages)
    expect_within_caps(relay, watch.stop())
    scene.equal(set(scene.statuses(front)), {"sent"}, "what the front logged")


def test_messages_by_deep_streams_arrive_once_and_unchanged():
    front, daemon, relay, store = scene.with_store({"max_messages": MAX_MESSAGES, "max_connections": 2,
                                                    "streaming": "deep"})
    messages = message.mixed(settings.scaled(500), seed=4)
    scene.inject(messages, sessions=40)
    scene.drained(front, relay, 120)
    expect_exact(store, messages)
    scene.equal(daemon.json("pools")["pools"][0]["mode"], "deep", "mode")


def test_exim_as_relay():
    store = Store()
    relay = RelayExim(store.path, per_connection=20).start()
    front, _daemon = scene.pooled(relay_section("far", relay, max_messages=MAX_MESSAGES))
    watch = SocketWatch(relay)
    # Exim has no SMTPUTF8 here, and its LMTP client passes no DSN parameters on.
    messages = [entry for entry in message.mixed(settings.scaled(300)) if "SMTPUTF8" not in entry.params]
    for entry in messages:
        entry.params = " BODY=8BITMIME"
        entry.recipients = [(address, "") for address, _ in entry.recipients]
    scene.inject(messages)
    scene.drained(front, seconds=120)
    settings.wait_until(lambda: not verify.differences(store, messages)[0], 60, "Exim to deliver")
    expect_exact(store, messages, envelope=False)
    # Exim counts a connection until its process is reaped: what the kernel holds open is what counts.
    assert watch.stop() <= CAP


def test_relay_without_pipelining_and_without_chunking():
    front, _daemon, relay, store = scene.with_store(
        relay_parameters={"smtpd_discard_ehlo_keywords": "pipelining, chunking"})
    messages = message.mixed(settings.scaled(200), seed=2)
    scene.inject(messages)
    scene.drained(front, relay)
    expect_exact(store, messages)


def test_chrooted_front():
    front, _daemon, relay, store = scene.with_store(chroot=True)
    messages = message.mixed(50, seed=3)
    scene.inject(messages)
    scene.drained(front, relay)
    expect_exact(store, messages)
