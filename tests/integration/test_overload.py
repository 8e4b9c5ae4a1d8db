"""More than the pool can take, and mail that nobody waits for any more."""
import re
import time

from lib import scene, settings
from lib.daemon import relay_section
from lib.message import Message
from lib.scripted import ScriptedRelay
from lib.smtp import SmtpClient, stuff

CAP, SECONDS_EACH, DEADLINE = 2, 0.5, 10


def _ambiguous(daemon):
    """Recipients that the log counts as ambiguous; the last statistics are written when the daemon ends."""
    daemon.stop()
    return sum(int(count) for count in re.findall(r"ambiguous=(\d+)", daemon.log()))


def test_overload_defers_and_neither_doubts_nor_doubles():
    relay = ScriptedRelay(delays={"dot": SECONDS_EACH})
    front, daemon = scene.pooled(relay_section("far", relay, max_connections=CAP), deadline=DEADLINE, reply_reserve=3)
    capacity = CAP / SECONDS_EACH
    messages = [Message(number) for number in range(int(2 * capacity * 2 * DEADLINE))]
    for start in range(0, len(messages), int(2 * capacity)):
        scene.inject(messages[start:start + int(2 * capacity)], sessions=2)
        time.sleep(1)
    assert scene.statuses(front)["deferred"] > 0, "nothing was deferred: that was no overload"
    settings.wait_until(lambda: not _unsent(front, messages), 180, "all of it to leave")
    scene.equal(len(relay.accepted), len(set(relay.accepted)), "copies at the relay")
    scene.equal(scene.statuses(front)["bounced"], 0, "bounced")
    scene.equal(_ambiguous(daemon), 0, "ambiguous outcomes")
    deferrals = [text for _, _, status, text in front.outcomes() if status == "deferred"]
    assert all("4.3.2" in text for text in deferrals), deferrals[:3]


def _unsent(front, messages):
    if any(entry["queue_name"] == "deferred" for entry in front.queue()):
        time.sleep(1)
        front.flush()
    return scene.statuses(front)["sent"] < len(messages)


def _hand_over(daemon, message):
    """Over LMTP, up to the end of data; no verdict is read."""
    client = SmtpClient(daemon.lmtp(), "LHLO")
    client.command(f"MAIL FROM:<{message.sender}>")
    client.command(f"RCPT TO:<{message.recipients[0][0]}>")
    client.command("DATA")
    client.send(stuff(message.content()))
    return client


def test_session_that_ends_while_its_message_waits_sends_nothing():
    relay = ScriptedRelay()
    front, daemon = scene.pooled(relay_section("far", relay))
    daemon.ctl("pause", "far")
    client = _hand_over(daemon, Message("withdrawn"))
    time.sleep(0.5)
    client.socket.close()
    client.file.close()
    time.sleep(0.5)
    daemon.ctl("resume", "far")
    scene.inject([Message("kept")])
    front.drain(20, flush=False)
    scene.equal(relay.accepted, [("mkept", "recipient@far.example")], "what arrived")


def test_session_that_ends_during_the_transaction_leaves_no_copy():
    relay = ScriptedRelay(delays={"data": 1})
    front, daemon = scene.pooled(relay_section("far", relay))
    client = _hand_over(daemon, Message("withdrawn"))
    settings.wait_until(lambda: relay.verbs["DATA"], 10, "DATA at the relay")
    client.socket.close()
    client.file.close()
    settings.wait_until(lambda: not relay.connections, 10, "relaypoold to leave the open DATA by closing")
    scene.inject([Message("kept")])
    front.drain(20, flush=False)
    scene.equal(relay.accepted, [("mkept", "recipient@far.example")], "what arrived")
