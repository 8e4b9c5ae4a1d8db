"""Everything arrives exactly once and unchanged, by a real Postfix and by a real Exim, within the caps."""
import math
import threading

from lib import message, scene, settings, verify
from lib.daemon import relay_section
from lib.exim import RelayExim
from lib.store import Store

CAP, MAX_MESSAGES = 10, 50


class SocketWatch(threading.Thread):
    """The most sockets that a relay's kernel had open for it at once, looked at every few milliseconds."""

    def __init__(self, relay):
        super().__init__(daemon=True)
        self.relay, self.most, self.ended = relay, 0, threading.Event()
        self.start()

    def run(self):
        while not self.ended.wait(0.005):
            self.most = max(self.most, self.relay.sockets())

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
    assert watch.stop() <= CAP and relay.connections()[1] <= CAP


def test_relay_without_pipelining_and_without_chunking():
    front, _daemon, relay, store = scene.with_store(
        relay_parameters={"smtpd_discard_ehlo_keywords": "pipelining, chunking"})
    messages = message.mixed(settings.scaled(200), seed=2)
    scene.inject(messages)
    scene.drained(front, relay)
    expect_exact(store, messages)


def test_chrooted_front():
    store_messages = message.mixed(50, seed=3)
    from lib.relay import RelayPostfix
    store = Store()
    relay = RelayPostfix(store=store.path).start()
    front, _daemon = scene.pooled(relay_section("far", relay), chroot=True)
    scene.inject(store_messages)
    scene.drained(front, relay)
    expect_exact(store, store_messages)
