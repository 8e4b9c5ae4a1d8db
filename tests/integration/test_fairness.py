"""A relay that hangs takes nothing from another's mail."""
import threading
import time

from lib import scene, settings
from lib.daemon import relay_section
from lib.message import Message
from lib.scripted import ScriptedRelay

SECONDS_EACH, CAP = 0.1, 10
SESSIONS = 100  # of Postfix's LMTP client: its process limit


def _seconds(relay, label, count):
    """For `count` messages to the good relay."""
    before, begin = len(relay.accepted), time.monotonic()
    messages = [Message(f"{label}{number}", recipients=("someone@good.example",)) for number in range(count)]
    injection = threading.Thread(target=scene.inject, args=(messages, 4))
    injection.start()
    settings.wait_until(lambda: len(relay.accepted) >= before + count, 120, f"{count} messages at the good relay")
    injection.join()
    return time.monotonic() - begin


def _active(front):
    """Messages that Postfix tries to deliver now."""
    return sum(entry["queue_name"] == "active" for entry in front.queue())


def test_other_mail_keeps_nine_tenths_of_its_speed():
    good = ScriptedRelay(delays={"dot": SECONDS_EACH})
    hung = ScriptedRelay("mail", "silent", every=1, address="127.0.0.4", host="third.test")
    front, _daemon = scene.pooled(relay_section("good", good, max_connections=CAP)
                                  + relay_section("hung", hung, max_connections=CAP) + scene.routes(("good", "hung")))
    count = settings.scaled(600)
    _seconds(good, "warm", 20)
    alone = _seconds(good, "alone", count)
    scene.inject([Message(f"hung{number}", recipients=("someone@hung.example",)) for number in range(count)])
    # That a relay hangs and is not merely busy is known after some seconds; from then on it holds its share only.
    settings.wait_until(lambda: _active(front) <= SESSIONS // 2, 8, "the hung relay's mail to be held to its share")
    beside = _seconds(good, "beside", count)
    settings.figure(f"{alone / beside:.0%} of the speed without the relay that hangs")
    assert alone >= 0.9 * beside, f"{alone:.1f} s alone, {beside:.1f} s beside a relay that hangs"
