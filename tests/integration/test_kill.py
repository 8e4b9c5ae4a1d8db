"""kill -9 at any moment loses nothing, and copies no more than what was in flight."""
import threading
import time

from lib import message, scene, settings, verify
from lib.daemon import Relaypoold

CAP, DEPTH = 10, 8


def kill_during(count, kills, in_flight, front=None, kind=Relaypoold, **relay_keys):
    """`in_flight`: messages that may be at the relay without a verdict at once; `kind` is how the daemon is run."""
    front, daemon, relay, store = scene.with_store({"max_connections": CAP, **relay_keys}, front=front, kind=kind)
    messages = [message.Message(number, recipients=(f"r{number}@far.example",), size=4096) for number in range(count)]
    injection = threading.Thread(target=scene.inject, args=(messages, 2))
    injection.start()
    for kill in range(kills):
        goal = count * (kill + 1) // (kills + 2)
        settings.wait_until(lambda goal=goal: relay.accepted() >= goal, 60, f"{goal} messages at the relay")
        daemon.kill()
        time.sleep(0.1)
        daemon.start()
    injection.join()
    scene.drained(front, relay, 120)
    copies = verify.copies(store, messages)
    settings.figure(f"{count} messages, {kills} kills, none missing, {copies} copies")
    assert copies <= kills * in_flight, f"{copies} copies, at most {kills * in_flight} were in flight"
    assert relay.connections()[1] <= CAP, relay.connections()
    scene.equal(scene.statuses(front)["bounced"], 0, "bounced")


def test_kill_nine_ten_times_during_a_thousand_messages():
    kill_during(settings.scaled(1000), 10, CAP)


def test_kill_nine_amid_deep_streams():
    kill_during(settings.scaled(400), 4, CAP * DEPTH, streaming="deep", max_depth=DEPTH)
