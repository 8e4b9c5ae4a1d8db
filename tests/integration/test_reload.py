"""Reload and stop under load: no session is dropped, no cap exceeded, no message lost or copied."""
import signal
import threading
import time

from lib import scene, settings
from lib.daemon import relay_section
from lib.message import Message
from lib.scripted import ScriptedRelay

CAP = 6


def _load(count):
    messages = [Message(number) for number in range(count)]
    injection = threading.Thread(target=scene.inject, args=(messages, 4))
    injection.start()
    return messages, injection


def _expect_each_once(relay, messages):
    scene.equal(sorted(relay.accepted), sorted((message.id, message.recipients[0][0]) for message in messages),
                "what arrived")


def test_reloads_under_load():
    relay = ScriptedRelay(delays={"dot": 0.05})
    front, daemon = scene.pooled(relay_section("far", relay, max_connections=CAP, max_messages=20))
    messages, injection = _load(settings.scaled(600))
    for cap in (CAP, 3, 1, CAP, 2, CAP):
        time.sleep(0.4)
        daemon.write_config(relay_section("far", relay, max_connections=cap, max_messages=20))
        daemon.send_signal(signal.SIGHUP)
    injection.join()
    front.drain(60, flush=False)
    _expect_each_once(relay, messages)
    assert relay.most <= CAP, f"{relay.most} connections, cap {CAP}"
    scene.equal(scene.statuses(front), {"sent": len(messages)}, "what the front logged")


def test_smaller_cap_holds_after_reload():
    relay = ScriptedRelay(delays={"dot": 0.1})
    front, daemon = scene.pooled(relay_section("far", relay, max_connections=CAP))
    messages, injection = _load(settings.scaled(300))
    settings.wait_until(lambda: relay.most == CAP, 20, "all connections to be used")
    daemon.write_config(relay_section("far", relay, max_connections=2))
    daemon.ctl("reload")
    settings.wait_until(lambda: len(relay.connections) <= 2, 10, "the connections above the new cap to close")
    relay.most = 0
    injection.join()
    front.drain(60, flush=False)
    assert relay.most <= 2, f"{relay.most} connections, cap 2"
    _expect_each_once(relay, messages)


def test_invalid_file_changes_nothing():
    relay = ScriptedRelay()
    front, daemon = scene.pooled(relay_section("far", relay))
    daemon.write_config('relay "far" { hosst = "x" }\n')
    assert daemon.ctl("reload", check=False).returncode != 0
    daemon.send_signal(signal.SIGHUP)
    scene.wait_for_line(daemon, f"{daemon.config_path}:")
    scene.inject([Message(1)])
    front.drain(20, flush=False)
    _expect_each_once(relay, [Message(1)])


def test_stops_and_starts_under_load():
    relay = ScriptedRelay(delays={"dot": 0.1})
    front, daemon = scene.pooled(relay_section("far", relay, max_connections=CAP))
    messages, injection = _load(settings.scaled(400))
    for goal in (0.2, 0.4, 0.6):
        settings.wait_until(lambda goal=goal: len(relay.accepted) >= goal * len(messages), 60, "some of it to arrive")
        daemon.stop()
        daemon.start()
    injection.join()
    front.drain(120)
    _expect_each_once(relay, messages)
    assert relay.most <= CAP, f"{relay.most} connections, cap {CAP}"
    scene.equal(scene.statuses(front)["bounced"], 0, "bounced")


def test_kill_nine_keeps_the_cap():
    relay = ScriptedRelay(delays={"dot": 0.3})
    front, daemon = scene.pooled(relay_section("far", relay, max_connections=CAP))
    _messages, injection = _load(settings.scaled(200))
    for _ in range(3):
        settings.wait_until(lambda: len(relay.connections) == CAP, 20, "all connections to be used")
        daemon.kill()
        daemon.start()
    injection.join()
    front.drain(120)
    assert relay.most <= CAP, f"{relay.most} connections, cap {CAP}"


def test_lines_of_outcomes_come_and_go_with_a_reload():
    relay = ScriptedRelay()
    front, daemon = scene.pooled(relay_section("far", relay), log_messages="none")
    for number, choice in enumerate(("none", "all", "slow,failed")):
        daemon.write_config(log_messages=choice)
        daemon.ctl("reload")
        scene.inject([Message(f"{choice}{number}")])
        front.drain(20, flush=False)
    daemon.stop()
    scene.equal(len(relay.accepted), 3, "messages that were sent")
    scene.equal(daemon.log().count("status=sent"), 1, "lines of outcomes")


def test_a_stop_defers_what_no_relay_takes_in_time():
    """20 s for what the MTA has begun to hand over, 10 s for what is being sent then."""
    relay = ScriptedRelay(delays={"dot": 4})
    front, daemon = scene.pooled(relay_section("far", relay, max_connections=2))
    messages = [Message(number) for number in range(24)]
    scene.inject(messages)
    settings.wait_until(lambda: len(daemon.json("sessions")["sessions"]) >= len(messages), 20, "all of it to be handed over")
    begin = time.monotonic()
    daemon.stop()
    took = time.monotonic() - begin
    settings.wait_until(lambda: sum(scene.statuses(front).values()) >= len(messages), 10, "all of it to have a verdict")
    statuses = scene.statuses(front)
    settings.figure(f"stopped in {took:.1f} s; {statuses['sent']} sent, {statuses['deferred']} deferred")
    assert 20 <= took <= 30, f"it took {took:.1f} s"
    assert statuses["sent"] >= 6 and statuses["deferred"] >= 4 and set(statuses) == {"sent", "deferred"}, statuses
    scene.equal(len(relay.accepted), statuses["sent"], "messages at the relay")
    scene.equal(front.log().count("451 4.3.2 relaypoold is stopping"), statuses["deferred"], "deferred because it stops")
    assert "(what waits for a relay is deferred)" in daemon.log() and "drained=yes" in daemon.log(), daemon.log()
