"""Limits that a real relay has and relaypool does not know of: learned from refusals, with no message deferred for them."""
import re

from lib import message, scene, settings
from lib.daemon import relay_section
from lib.exim import RelayExim

CONNECTIONS, MESSAGES = 4, 30  # that Exim allows, at once and on one connection
LEARNING = 1000  # messages that it is learned from
REFUSALS = re.compile(r"too many connections|too many messages in one connection")


def send(front, count):
    scene.inject([message.Message(number, recipients=(f"r{number}@far.example",), size=1000) for number in range(count)], 20)
    scene.drained(front)


def in_force(daemon):
    limits = {limit["limit"]: limit["in_force"] for limit in daemon.json("limits")["limits"]}
    return limits["max_connections"], limits["max_messages"]


def test_limits_of_exim_are_learned_and_kept():
    relay = RelayExim(None, accept_max=CONNECTIONS, per_connection=MESSAGES).start()
    front, daemon = scene.pooled(relay_section("far", relay, max_connections=10))
    send(front, LEARNING)
    learned = in_force(daemon)
    before = len(REFUSALS.findall(relay.log()))
    send(front, settings.scaled(2000))
    refused = len(REFUSALS.findall(relay.log())) - before
    settings.figure(f"connections and messages learned: {learned}; {before} refusals in learning them, then {refused} of "
                    f"{settings.scaled(2000)} messages")
    scene.equal(learned, (CONNECTIONS, MESSAGES), "learned")
    assert refused <= 2, "refusals go on"
    scene.equal(relay.accepted(), LEARNING + settings.scaled(2000), "messages at the relay")
    outcomes = scene.statuses(front)
    scene.equal((outcomes["deferred"], outcomes["bounced"]), (0, 0), "deferred, bounced")
    daemon.stop()
    daemon.start()
    scene.equal(in_force(daemon), learned, "after a restart")
