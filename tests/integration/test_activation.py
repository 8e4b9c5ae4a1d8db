"""Below a service manager that holds the sockets: a restart refuses nothing, a kill loses nothing, a hang is seen."""
import os
import signal
import socket
import threading
import time

import test_kill
from lib import front as fronts
from lib import scene, settings
from lib.activation import Activated, repeatedly
from lib.daemon import relay_section
from lib.message import Message
from lib.scripted import ScriptedRelay
from lib.sendmail import FrontSendmail

CAP = 6


def _under_load(count, action, pause, front=None):
    """(front, daemon, relay, messages, how often the action was done), while mail went out all the time."""
    relay = ScriptedRelay(delays={"dot": 0.1})
    front, daemon = scene.pooled(relay_section("far", relay, max_connections=CAP), front=front, kind=Activated)
    before = daemon.files()
    messages = [Message(number) for number in range(count)]
    injection = threading.Thread(target=scene.inject, args=(messages, 4))
    injection.start()
    settings.wait_until(lambda: relay.accepted, 20, "the first of it to arrive")
    with repeatedly(lambda: action(daemon), pause) as done:
        settings.wait_until(lambda: len(set(relay.accepted)) >= 0.9 * count, 240, "most of it to arrive")
    injection.join()
    front.drain(60, flush=False)
    scene.equal(daemon.files(), before, "the sockets' files")
    assert relay.most <= CAP, f"{relay.most} connections, cap {CAP}"
    return front, relay, messages, len(done)


def _expect_nothing_refused(front, relay, messages, restarts, least=4):
    settings.figure(f"{len(messages)} messages, {restarts} restarts")
    scene.equal(sorted(relay.accepted), sorted((message.id, message.recipients[0][0]) for message in messages),
                "what arrived")
    scene.equal(scene.statuses(front), {"sent": len(messages)}, "what the front logged")
    assert restarts >= least, f"{restarts} restarts only"


def test_restarts_under_load_refuse_nothing():
    _expect_nothing_refused(*_under_load(settings.scaled(600), Activated.restart, 0.5))


def test_restarts_of_an_idle_pool_refuse_nothing():
    """One message after the other: sessions that Postfix keeps and tries again are what ends here."""
    relay = ScriptedRelay()
    front, daemon = scene.pooled(relay_section("far", relay, max_connections=CAP), kind=Activated)
    messages = [Message(number) for number in range(settings.scaled(400))]
    with repeatedly(daemon.restart, 0.2) as done:
        for message in messages:
            scene.inject([message], sessions=1)
            time.sleep(0.02)
    front.drain(60, flush=False)
    _expect_nothing_refused(front, relay, messages, len(done))


def test_restarts_beside_sendmail_refuse_nothing():
    _expect_nothing_refused(*_under_load(settings.scaled(300), Activated.restart, 0.3, FrontSendmail()), least=2)


def test_kills_under_load_lose_nothing():
    test_kill.kill_during(settings.scaled(300), 3, test_kill.CAP, kind=Activated)


# ---- what it is told and tells ----

def _alone(**keys):
    """A daemon without mail."""
    return Activated(fronts.pooled(), relay_section("far", ScriptedRelay()), **keys)


def _answers(path):
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(path)
        except OSError:
            return False
        return True


def test_it_is_ready_once_all_sockets_listen_and_tells_of_a_reload_and_of_its_end():
    daemon = _alone()
    own = os.path.join(daemon.sockets, "own.sock")
    daemon.write_config(lmtp=[f"unix:{daemon.lmtp()}", f"unix:{own}"])
    wanted = [own, daemon.lmtp(), daemon.control, os.path.join(daemon.sockets, "milter.sock")]
    daemon.at_ready = lambda: [path for path in wanted if not _answers(path)]
    daemon.start()
    daemon.wait_told("READY=1")
    scene.equal(daemon.found, [[]], "what did not listen")
    assert not daemon.told("RELOADING=1") and not daemon.told("WATCHDOG=1"), daemon.said
    begin = time.monotonic()
    daemon.send_signal(signal.SIGHUP)
    reloading, ready = daemon.wait_told("RELOADING=1"), daemon.wait_told("READY=1", since=begin)
    assert reloading <= ready, daemon.said
    daemon.stop()
    daemon.wait_told("STOPPING=1")
    scene.equal([_answers(path) for path in wanted], [False, True, True, False], "what listens after its end")


def test_the_watchdog_is_fed_until_it_hangs():
    daemon = _alone(watchdog=1)
    daemon.start()
    time.sleep(3)
    meals = [when for when, line in daemon.said if line == "WATCHDOG=1"]
    longest = max(later - earlier for earlier, later in zip(meals, meals[1:]))
    settings.figure(f"fed {len(meals)} times in 3 s, {longest:.2f} s apart at most; the limit is 1 s")
    assert longest < 1, meals
    daemon.send_signal(signal.SIGSTOP)
    time.sleep(0.2)
    begin = time.monotonic()
    time.sleep(2)
    assert not daemon.told("WATCHDOG=1", begin), "fed by a daemon that hangs"
    daemon.send_signal(signal.SIGCONT)
    daemon.wait_told("WATCHDOG=1", since=begin)


def test_what_it_starts_is_not_told_of_the_manager():
    relay = ScriptedRelay(secure=True)
    relay.mechanisms = "XOAUTH2"
    seen = os.path.join(settings.work("relaypoold"), "run", "environment")
    keys = {"password_file": None, "token_command": f"env >{seen}; echo {relay.token}"}
    front, _ = scene.pooled(relay_section("far", relay, **keys), kind=Activated, watchdog=30)
    scene.inject([Message("token")])
    front.drain(20)
    with open(seen, encoding="utf-8") as file:
        names = {line.partition("=")[0] for line in file}
    assert "PATH" in names, names
    scene.equal([name for name in sorted(names) if name.startswith(("LISTEN_", "NOTIFY_", "WATCHDOG_"))], [],
                "what a token-command is told")


def test_a_socket_that_nothing_is_configured_for_is_named_and_closed():
    daemon = _alone()
    path = os.path.join(daemon.directory, "other.sock")
    listening = daemon.pass_socket(path)
    daemon.start()
    scene.wait_for_line(daemon, f"warning: passed: endpoint=unix:{path}, name=-")
    scene.equal(daemon.log().count("warning: passed:"), 1, "warnings of passed sockets")
    assert _answers(path)
    listening.close()
    assert not _answers(path), "the daemon has kept its descriptor"


def test_a_socket_for_the_milter_is_refused():
    daemon = _alone()
    daemon.pass_socket(os.path.join(daemon.sockets, "milter.sock"))
    before = daemon.files()
    try:
        daemon.start()
    except RuntimeError as error:
        assert "libmilter takes none" in str(error) and "milter.sock" in str(error), error
    else:
        raise AssertionError("it starts")
    scene.equal(daemon.process.returncode, 1, "exit code")
    scene.equal(daemon.files(), before, "the sockets' files")
