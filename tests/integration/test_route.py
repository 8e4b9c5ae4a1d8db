"""relaypoolctl test-route against a real Postfix behind TLS and AUTH, and what is left when whoever asked is killed."""
import os
import subprocess

from lib import front as fronts
from lib import scene, settings
from lib.daemon import Relaypoold, relay_section
from lib.relay import REFUSED, RelayPostfix
from lib.scripted import ScriptedRelay
from lib.store import Store

SENDER = "me@front.example"
CAP = 2


def _daemon(relay, **keys):
    """It needs no MTA beside it for this."""
    return Relaypoold(fronts.pooled(), relay_section("far", relay, max_connections=CAP, **keys)).start()


def _test(daemon, *words, code=0):
    done = daemon.ctl("test-route", *words, check=False)
    scene.equal(done.returncode, code, f"exit code, with\n{done.stdout}{done.stderr}")
    for line in done.stdout.splitlines():
        assert len(line) <= 80, f"longer than 80 columns: {line}"
    return done.stdout


def test_tls_auth_and_recipient():
    store = Store()
    relay = RelayPostfix(store=store.path).start()
    daemon = _daemon(relay)
    shown = _test(daemon, "user@far.example", "--from", SENDER)
    steps = [line.split(" ")[0] for line in shown.splitlines()]
    for step in ("route", "relay", "pool", "dns", "connect", "banner", "ehlo", "tls", "auth", "mail", "rcpt", "rset"):
        assert step in steps, f"no {step} in\n{shown}"
    for text in ("TLSv1.3", "verified", "PLAIN: 235", "rcpt       250", "Accepted. A first message takes"):
        assert text in shown, f"no {text!r} in\n{shown}"
    answer = daemon.json("test-route", "user@far.example", "--from", SENDER)
    assert all(answer["stages"][step] > 0 for step in ("connect", "tls", "auth", "mail", "rcpt", "rset")), answer
    scene.equal(relay.accepted(), 0, "messages that the relay has taken")
    scene.equal(daemon.json("stats")["stats"][0]["sent"], 0, "recipients that count as sent")

    shown = _test(daemon, REFUSED, "--from", SENDER, code=1)
    assert "ended in stage rcpt" in shown and "550 5.1.1" in shown, shown

    shown = _test(daemon, "user@far.example", "--from", SENDER, "--send")
    assert "Sent." in shown and "queued as" in shown, shown
    taken = settings.wait_until(lambda: store.transactions and store.transactions[0], 20, "the message to arrive")
    scene.equal((taken.addresses(), b"Subject: relaypool test message" in taken.header), (["user@far.example"], True),
                "what arrived")
    scene.equal(daemon.json("stats")["stats"][0]["sent"], 1, "recipients that count as sent")
    for line in ("result=accepted (250", "stage=rcpt, result=refused (550", "test-route: relay=far, host=", "status=sent"):
        assert line in daemon.log(), f"no {line!r} in\n{daemon.log()}"
    assert relay.password not in daemon.log()
    assert relay.connections()[1] <= CAP, "connections at once"

    with open(settings.work("far.password"), "w", encoding="utf-8") as file:
        file.write("wrong-donkey-engine\n")
    daemon.ctl("reload")
    shown = _test(daemon, "user@far.example", code=1)
    assert "ended in stage auth" in shown and "535" in shown and "password-file" in shown, shown
    assert "wrong-donkey-engine" not in shown + daemon.log()


def test_who_asked_is_killed():
    relay = ScriptedRelay("rcpt", "silent", every=1)
    daemon = _daemon(relay)
    with subprocess.Popen([os.path.join(settings.BUILD, "relaypoolctl"), "-s", daemon.control, "test-route",
                           "user@far.example"], stdout=subprocess.DEVNULL) as asking:
        settings.wait_until(lambda: relay.verbs["RCPT"], 10, "the relay to be asked")
        scene.equal(daemon.json("connections")["connections"][0]["waits_for"], "rcpt", "what others are told meanwhile")
        asking.kill()
    scene.wait_for_line(daemon, "stage=rcpt, result=given-up")
    settings.wait_until(lambda: not daemon.json("connections")["connections"], 10, "its connection to go")
    scene.equal(daemon.json("pools")["pools"][0]["state"], "up", "what that says of the relay")
