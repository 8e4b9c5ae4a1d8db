"""Mail in plenty and nothing wrong: no stall is told, and the stages of each message are its whole time."""
import re

from lib import scene, settings
from lib.daemon import relay_section
from lib.link import Link
from lib.message import Message
from lib.relay import RelayPostfix

MESSAGES = 5000
LOOKED_AT = 100  # journeys, among the last ones


def _stages(journey):
    return {stage: time for stage, time in journey["stages"].items() if time is not None}


def expect_no_stall(place):
    relay = RelayPostfix(place).start()
    front, daemon = scene.pooled(relay_section("far", relay))
    scene.inject([Message(number, recipients=(f"r{number}@far.example",)) for number in range(MESSAGES)], sessions=16)
    scene.drained(front, relay, 180)
    ids = re.findall(r"/smtpd\[\d+\]: (\w+): client=", front.log())
    worst = 0.0
    for queue_id in ids[-LOOKED_AT:]:
        journey, = daemon.json("why", queue_id)["journeys"]
        assert {"client", "mta", "queue", "ingest", "pool", "mail", "rcpt", "data", "body", "reply"} <= set(_stages(journey)), \
            f"not all stages of {queue_id} were seen: {journey}"
        worst = max(worst, abs(sum(_stages(journey).values()) - journey["total"]))
    stalls = daemon.json("stalls", "all")["stalls"]
    settings.figure(f"{MESSAGES} messages: {len(stalls)} stalls; stages and total differ by {worst * 1000:.3f} ms at most")
    scene.equal(stalls, [], "stalls")
    scene.equal("stall:" in daemon.log(), False, "a line of a stall")
    assert worst < 0.001, f"the stages of a journey differ from its total by {worst} s"


def test_no_stall_without_distance():
    expect_no_stall(None)


def test_no_stall_at_a_hundred_milliseconds():
    expect_no_stall(Link(100))
