"""Trouble with TLS and AUTH: mail is deferred, nothing secret is sent or logged, one clear line says what to do."""
import base64

from lib import scene, settings
from lib.daemon import relay_section
from lib.message import Message
from lib.relay import RelayPostfix
from lib.scripted import ScriptedRelay
from lib.store import Store

SECRET = "correct-horse-battery"
SPELLINGS = (SECRET, base64.b64encode(SECRET.encode()).decode(),
             base64.b64encode(f"\0customer\0{SECRET}".encode()).decode())


def _expect_no_secret(*logs):
    for log in logs:
        for spelling in SPELLINGS:
            assert spelling not in log, "the password is in a log"


def _expect_one_line(daemon, words):
    """That the relay is down is said once, with the reason and what to do."""
    lines = [line for line in daemon.log().splitlines() if "relay: relay=far, event=down" in line]
    scene.equal(len(lines), 1, f"lines about the relay in\n{daemon.log()}")
    assert all(word in lines[0].lower() for word in words), f"not all of {words} in: {lines[0]}"


def _expect_deferred(relay, words, **keys):
    """The message waits, AUTH was never tried, and one line of the log has all of the words."""
    front, daemon = scene.pooled(relay_section("far", relay, **keys))
    scene.inject([Message(1)])
    deferral = scene.wait_for_line(front, "status=deferred", 20)
    _expect_one_line(daemon, words)
    scene.equal(len(front.queue()), 1, "messages that wait")
    _expect_no_secret(daemon.log(), front.log())
    return front, daemon, deferral


def _expect_refused_certificate(certificate, words):
    relay = ScriptedRelay(secure=True, certificate=certificate)
    _expect_deferred(relay, words)
    scene.equal((relay.verbs["AUTH"], relay.verbs["MAIL"]), (0, 0), "AUTH and MAIL commands at the relay")


def test_wrong_name():
    _expect_refused_certificate("wrong-name", ("second.test is not in the certificate", "elsewhere.test", "set host"))


def test_expired_certificate():
    _expect_refused_certificate("expired", ("expired", "renew"))


def test_unknown_authority():
    relay = ScriptedRelay(secure=True)
    _expect_deferred(relay, ("issuer is unknown", "set tls-ca-file"), tls_ca_file=None)
    scene.equal((relay.verbs["AUTH"], relay.verbs["MAIL"]), (0, 0), "AUTH and MAIL commands at the relay")


def test_relay_without_tls():
    relay = ScriptedRelay(secure=True, starttls=False)
    _expect_deferred(relay, ("starttls",))
    scene.equal((relay.verbs["AUTH"], relay.verbs["MAIL"]), (0, 0), "AUTH and MAIL commands at the relay")


def test_wrong_password():
    relay = RelayPostfix(store=Store().path).start()
    section = relay_section("far", relay)
    with open(settings.work("far.password"), "w", encoding="utf-8") as file:
        file.write("wrong-donkey-engine\n")
    front, daemon = scene.pooled(section)
    scene.inject([Message(1)])
    scene.wait_for_line(front, "status=deferred", 20)
    _expect_one_line(daemon, ("535", "password"))
    for spelling in ("wrong-donkey-engine", base64.b64encode(b"\0customer\0wrong-donkey-engine").decode()):
        assert spelling not in daemon.log() + front.log() + relay.log()
    # The right one, and a reload: the mail leaves.
    with open(settings.work("far.password"), "w", encoding="utf-8") as file:
        file.write(relay.password + "\n")
    daemon.ctl("reload")
    front.drain(40)


def test_implicit_tls():
    relay = RelayPostfix(store=Store().path, port=465)
    relay.postconf("-P", "127.0.0.2:465/inet/smtpd_tls_wrappermode=yes")
    relay.start()
    front, _daemon = scene.pooled(relay_section("far", relay, tls="implicit"))
    scene.inject([Message(number) for number in range(20)])
    front.drain(20, flush=False)
    scene.equal(scene.statuses(front), {"sent": 20}, "what the front logged")
