"""Mail in plenty and nothing wrong: no stall is told, and the stages of each message are its whole time, by Postfix's
own account of it."""
import re
import statistics

from lib import rounds, scene, settings
from lib.daemon import relay_section
from lib.link import Link
from lib.message import Message
from lib.relay import RelayPostfix

MESSAGES = 5000
LOOKED_AT = 100  # journeys, among the last ones
DIGITS = "0123456789BCDFGHJKLMNPQRSTVWXYZbcdfghjklmnpqrstvwxyz"  # of Postfix's long queue ids
DOOR = ("client", "mta")
SEEN = {*DOOR, "queue", "ingest", "pool", "mail", "rcpt", "data", "body", "reply"}
ROUNDED = 0.05  # Postfix writes two digits of a delay
# Seconds. Our loop takes the wall clock a little after the relay's reply; the client speaks before there is a queue file,
# and between its commands nobody knows who has the word; the LMTP client waits for a processor before it takes its clock.
LATE = 0.02

def _stages(journey):
    return {stage: time for stage, time in journey["stages"].items() if time is not None}


def _created(queue_id):
    """When Postfix made the queue file, in Unix time to the microsecond, as its long queue id has it."""
    seconds = micros = 0
    for digit in queue_id[:6]:
        seconds = seconds * len(DIGITS) + DIGITS.index(digit)
    for digit in queue_id[6:10]:
        micros = micros * len(DIGITS) + DIGITS.index(digit)
    return seconds + micros / 1000000


def _compare(journey, created, delays):
    """
    Seconds by which (the whole is shorter, or longer but for the client's part, what is behind the milter is beyond what it can be, what is here is too long,
    what is here is too short) than by Postfix's account.

    From the queue file to the verdict took `span`. The milter has the end of message while smtpd still has the message,
    which it has for the first of Postfix's delays: what is left of the span behind that is within the stages from the
    queue on, and these are within the span, however late anybody gets a processor.

    The last of the delays is MAIL over LMTP to the reply, by the clock of the LMTP client: our stages from ingest on
    are within that, and shorter only by what the two wait for a processor.
    """
    stages = _stages(journey)
    span = journey["at"] - created
    arrival, _manager, _setup, transfer = map(float, delays.split("/"))
    behind = sum(time for stage, time in stages.items() if stage not in DOOR)
    here = behind - stages["queue"]
    beyond = max(span - arrival * (1 + ROUNDED) - behind, behind - span)
    whole = sum(stages.values())
    return (max(span - whole, whole - stages["client"] - span), beyond, here - transfer * (1 + ROUNDED), transfer * (1 - ROUNDED) - here)


def expect_no_stall(place):
    relay = RelayPostfix(place).start()
    front, daemon = scene.pooled(relay_section("far", relay), rounds.PARAMETERS)
    scene.inject([Message(number, recipients=(f"r{number}@far.example",)) for number in range(MESSAGES)], sessions=16)
    scene.drained(front, relay, 180)
    ids = re.findall(r"/smtpd\[\d+\]: (\w+): client=", front.log())
    delays = dict(re.findall(r"/lmtp\[\d+\]: (\w+): to=.*, delays=([\d./]+), .*status=sent", front.log()))
    worst, compared = 0.0, []
    for queue_id in ids[-LOOKED_AT:]:
        journey, = daemon.json("why", queue_id)["journeys"]
        assert SEEN <= set(_stages(journey)), f"not all stages of {queue_id} were seen: {journey}"
        worst = max(worst, abs(sum(_stages(journey).values()) - journey["total"]))
        compared.append(_compare(journey, _created(queue_id), delays[queue_id]))
    stalls = daemon.json("stalls", "all")["stalls"]
    whole, beyond, longer, shorter = zip(*compared)
    settings.figure(f"{MESSAGES} messages: {len(stalls)} stalls; stages and total differ by {worst * 1000:.3f} ms at most")
    settings.figure(f"beyond Postfix's account: {statistics.median(whole) * 1000:+.1f} ms in all, "
                    f"{statistics.median(shorter) * 1000:+.1f} ms too short here, at the median; "
                    f"{max(beyond) * 1000:+.1f} ms behind the milter, {max(longer) * 1000:+.1f} ms here, at most")
    scene.equal(stalls, [], "stalls")
    scene.equal("stall:" in daemon.log(), False, "a line of a stall")
    assert worst < 0.001, f"the stages of a journey differ from its total by {worst} s"
    assert max(beyond) < LATE, f"behind the milter the stages differ from Postfix's time by {max(beyond):.3f} s"
    assert max(longer) < LATE, f"the stages here are {max(longer):.3f} s longer than the LMTP client's time"
    assert statistics.median(shorter) < LATE, f"the stages here are {statistics.median(shorter):.3f} s too short"
    assert statistics.median(whole) < LATE, f"all stages differ by {statistics.median(whole):.3f} s at the median"


def test_no_stall_without_distance():
    expect_no_stall(None)


def test_no_stall_at_a_hundred_milliseconds():
    expect_no_stall(Link(100))
