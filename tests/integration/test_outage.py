"""With relaypoold stopped or hung: local mail as ever, outbound mail waits or goes direct, nothing is lost."""
import signal
import time

from lib import scene, settings, verify
from lib.message import Message
from lib.scripted import ScriptedRelay

MILTER_TIMEOUT = 5    # command_timeout of contrib/postfix
CONTENT_TIMEOUT = 10  # content_timeout


def _expect_local_mail(front, within):
    """A message to a local user is taken and delivered; how long that may take."""
    before, begin = len(front.mailbox("alice")), time.monotonic()
    scene.inject([Message(f"local{before}", recipients=("alice@front.test",))], sessions=1)
    taken = time.monotonic() - begin
    assert taken <= within, f"the session took {taken:.1f} s, {within} s allowed"
    settings.wait_until(lambda: len(front.mailbox("alice")) > before, 10, "local delivery")


def test_stopped_daemon_queues_and_mail_leaves_at_its_return():
    front, daemon, _relay, store = scene.with_store()
    daemon.stop()
    _expect_local_mail(front, within=1)
    messages = [Message(number) for number in range(60)]
    scene.inject(messages)
    settings.wait_until(lambda: len(front.queue()) == 60, 10, "the queue to hold the mail")
    scene.wait_for_line(front, "status=deferred")
    time.sleep(1)
    daemon.start()
    begin = time.monotonic()
    settings.wait_until(lambda: not verify.differences(store, messages)[0], 20, "the mail to leave")
    took = time.monotonic() - begin
    settings.figure(f"the mail left {took:.1f} s after relaypoold was back")
    assert took <= 5 * settings.PATIENCE, f"the mail left {took:.1f} s after relaypoold was back"
    scene.equal(verify.differences(store, messages), (set(), set(), {}), "missing, strange, doubled")


def test_hung_daemon_costs_a_session_its_timeout_and_nothing_else():
    front, daemon, _relay, store = scene.with_store()
    _expect_local_mail(front, within=1)
    daemon.send_signal(signal.SIGSTOP)
    _expect_local_mail(front, within=MILTER_TIMEOUT + 1)
    messages = [Message(number) for number in range(20)]
    begin = time.monotonic()
    scene.inject(messages, sessions=20)
    assert time.monotonic() - begin <= MILTER_TIMEOUT + 2, "sessions lose more than the milter timeout"
    time.sleep(6)
    daemon.send_signal(signal.SIGCONT)
    begin = time.monotonic()
    settings.wait_until(lambda: not verify.differences(store, messages)[0], 20, "the mail to leave")
    assert time.monotonic() - begin <= 5 * settings.PATIENCE
    scene.drained(front, seconds=20)
    scene.equal(verify.differences(store, messages), (set(), set(), {}), "missing, strange, doubled")


def _expect_all_arrive_at_once(front, relay, label, seconds):
    messages = [Message(f"{label}{number}") for number in range(30)]
    begin = time.monotonic()
    scene.inject(messages)
    front.drain(30, flush=False)
    took = time.monotonic() - begin
    assert took <= seconds * settings.PATIENCE, f"{label}: {took:.1f} s, {seconds} s allowed"
    scene.equal(sorted(set(relay.accepted) & {(m.id, "recipient@far.example") for m in messages}),
                sorted((m.id, "recipient@far.example") for m in messages), f"what arrived of {label}")
    scene.equal(scene.statuses(front)["deferred"], 0, "deferred")


def test_direct_failover_sends_by_the_relay_while_the_daemon_is_away():
    relay = ScriptedRelay()
    front, daemon = scene.direct(relay)
    _expect_all_arrive_at_once(front, relay, "pooled", 10)
    assert f"127.0.0.1[127.0.0.1]:{scene.DIRECT_PORT}" in front.log(), "the listener was not used"
    daemon.stop()
    _expect_all_arrive_at_once(front, relay, "stopped", 10)
    daemon.start()
    daemon.send_signal(signal.SIGSTOP)
    _expect_all_arrive_at_once(front, relay, "hung", 25)
    daemon.send_signal(signal.SIGCONT)
    scene.equal(len(relay.accepted), len(set(relay.accepted)), "copies at the relay")
