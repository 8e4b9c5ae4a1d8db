"""Where the time of one message went: relaypoolctl why, asked while it is under way, and when it has its verdict."""
import re
import threading

from lib import scene, settings
from lib.daemon import relay_section
from lib.message import Message
from lib.scripted import ScriptedRelay

SLOW = 3  # seconds that the relay takes for each message


def queue_id(front):
    return settings.wait_until(lambda: re.search(r"/qmgr\[\d+\]: (\w+): from=<", front.log()), 10, "the queue id").group(1)


def journey(daemon, message, state):
    """The one journey of a message, once it is in this state."""
    def found():
        answer = daemon.ctl("-j", "why", message, check=False).stdout
        return f'"state":"{state}"' in answer and daemon.json("why", message)["journeys"]
    journeys = settings.wait_until(found, 10, f"{message} in state {state}")
    scene.equal(len(journeys), 1, "journeys")
    return journeys[0]


def test_a_message_on_its_way():
    front, daemon = scene.pooled(relay_section("far", ScriptedRelay(delays={"dot": SLOW})))
    threading.Thread(target=scene.inject, args=([Message("one")],), daemon=True).start()
    message = queue_id(front)
    now = journey(daemon, message, "under_way")
    while now["stage"] != "reply":
        now = journey(daemon, message, "under_way")
    scene.equal((now["holder"], now["cause"], now["relay"]), ("relay", "answer", "far"), "holder, cause, relay")
    assert now["stages"]["mail"] is not None, "a stage that is over is not told"
    assert now["stages"]["client"] is not None, "what the door saw is not told"
    assert "held by relay (answer: " in daemon.ctl("why", message).stdout.replace("\n", " ")
    front.drain(30)
    settled = journey(daemon, message, "settled")
    scene.equal((settled["status"], settled["longest"], settled["holder"], settled["cause"]),
                ("sent", "reply", "relay", "answer"), "status, longest stage, holder, cause")
    for stage in ("client", "mta", "queue", "ingest", "pool", "mail", "body"):
        assert settled["stages"][stage] is not None, f"stage {stage} was not seen"
    assert SLOW <= settled["stages"]["reply"] < SLOW + settings.PATIENCE, settled
    settings.figure(f"of {settled['total']:.3f} s, {settled['stages']['reply']:.3f} s at a relay that takes {SLOW} s")
    said = daemon.ctl("why", message).stdout.replace("\n", " ")
    assert "were spent waiting for the verdict: held by relay (answer: " in said, said
    scene.equal(daemon.ctl("why", "4none", check=False).returncode, 1, "exit code for a message that is not known")
