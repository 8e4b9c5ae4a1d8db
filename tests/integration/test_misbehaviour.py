"""A relay that goes wrong at any step, every third time or whenever it is idle: nothing lost, nothing bounced, no false
`sent`, no needless copy."""
import collections
import time

from lib import scene
from lib.daemon import relay_section
from lib.message import Message
from lib.scripted import ScriptedRelay, STEPS

MESSAGES = 24  # to each relay
SMALL, LARGE = 1500, 4 << 20
WAVES = 4      # with a pause between them, so that connections become idle
TIMEOUTS = {f"{stage}_timeout": 1 for stage in
            ("connect", "banner", "ehlo", "tls", "auth", "mail", "rcpt", "data", "body", "reply")}


def _relays(faults, keywords):
    relays = {}
    for step in STEPS:
        for fault in faults:
            if (step, fault) != ("banner", "early"):  # nothing comes before it
                often = 1 if step == "idle" else 3  # a connection is idle between two waves only
                relays[f"{step}-{fault}"] = ScriptedRelay(step, fault, often, secure=True, keywords=keywords)
    return relays


def _send_in_waves(relays):
    messages = [Message(f"{name}.{number}", recipients=(f"one@{name}.example", f"two@{name}.example"),
                        size=LARGE if name in ("body-early", "body-twice") else SMALL)
                for number in range(MESSAGES) for name in relays]
    share = len(messages) // WAVES
    for wave in range(WAVES):
        scene.inject(messages[wave * share:(wave + 1) * share])
        time.sleep(0.6)
    return messages


def _faults_of(name, relay, messages, outcomes):
    """What broke a promise at this relay, in sentences."""
    accepted, excused = collections.Counter(relay.accepted), collections.Counter(relay.excused)
    sent = collections.Counter((ident, address) for ident, address, status, _ in outcomes if status == "sent")
    found = [f"{name}: {address} bounced: {text}" for _, address, status, text in outcomes
             if status == "bounced" and address.endswith(f"@{name}.example")][:2]
    for copy in ((message.id, address) for message in messages for address, _ in message.recipients):
        if not copy[0].startswith(f"m{name}."):
            continue
        if not 1 <= accepted[copy] <= 1 + excused[copy]:
            found.append(f"{name}: {accepted[copy]} copies of {copy}, 1 to {1 + excused[copy]} allowed")
        if sent[copy] != 1:
            found.append(f"{name}: {copy} reported sent {sent[copy]} times")
    if not relay.strikes:
        found.append(f"{name}: never went wrong, so nothing was tested")
    return found


def _expect_promises(faults, keywords):
    relays = _relays(faults, keywords)
    sections = "".join(relay_section(name, relay, account=name, max_messages=4, max_connections=3, **TIMEOUTS)
                       for name, relay in relays.items())
    front, _daemon = scene.pooled(sections + scene.routes(relays), deadline=30, reply_reserve=5)
    messages = _send_in_waves(relays)
    front.drain(120)
    outcomes = front.outcomes()
    found = [text for name, relay in relays.items() for text in _faults_of(name, relay, messages, outcomes)]
    assert not found, f"{len(found)} broken promises:\n" + "\n".join(found[:40])


PIPELINING = ("PIPELINING", "8BITMIME", "DSN", "SIZE 50000000")
PLAIN = ("8BITMIME", "SIZE 50000000")


def test_relays_that_die_or_fall_silent():
    _expect_promises(("die", "reset", "silent", "421"), PIPELINING)


def test_relays_that_answer_early_twice_or_garbage():
    _expect_promises(("early", "twice", "garbage"), PIPELINING)


def test_relays_without_pipelining_that_die_or_fall_silent():
    _expect_promises(("die", "reset", "silent", "421"), PLAIN)


def test_relays_without_pipelining_that_answer_early_twice_or_garbage():
    _expect_promises(("early", "twice", "garbage"), PLAIN)
