"""One verdict for each recipient: mixed outcomes, bounces with the relay's text, more recipients than a relay takes."""
from lib import scene, settings
from lib.daemon import relay_section
from lib.message import Message
from lib.relay import REFUSED
from lib.scripted import ScriptedRelay


def test_relay_refuses_one_of_two_and_exactly_that_one_bounces():
    front, _daemon, relay, store = scene.with_store()
    scene.inject([Message(1, sender="alice@front.test", recipients=(REFUSED, "fine@far.example"))])
    scene.drained(front, relay)
    outcomes = {address: (status, text) for _, address, status, text in front.outcomes() if address.endswith(".example")}
    scene.equal(outcomes["fine@far.example"][0], "sent", "the accepted recipient")
    scene.equal(outcomes[REFUSED][0], "bounced", "the refused recipient")
    assert "No such person here" in outcomes[REFUSED][1], outcomes
    settings.wait_until(lambda: front.mailbox("alice"), 10, "the bounce")
    bounce = b"".join(front.mailbox("alice"))
    scene.equal(bounce.count(b"Final-Recipient:"), 1, "recipients that the bounce names")
    assert REFUSED.encode() in bounce and b"No such person here" in bounce, bounce
    scene.equal(store.copies(), {("m1", "fine@far.example"): 1}, "what arrived")


def test_too_many_recipients_for_one_transaction_go_in_the_next():
    relay = ScriptedRelay(max_recipients=10)
    front, _daemon = scene.pooled(relay_section("far", relay))
    recipients = [f"r{number}@far.example" for number in range(35)]
    scene.inject([Message(1, recipients=recipients)])
    front.drain(20, flush=False)
    scene.equal(sorted(relay.accepted), sorted(("m1", address) for address in recipients), "what arrived")
    scene.equal(scene.statuses(front), {"sent": 35}, "what the front logged")


def expect_a_report_though_the_relay_has_no_dsn(**options):
    relay = ScriptedRelay(keywords=("PIPELINING", "8BITMIME"))
    front, _daemon = scene.pooled(relay_section("far", relay), **options)
    scene.inject([Message(1, recipients=("first@far.example",))])  # relaypoold learns what the relay announces
    front.drain(20, flush=False)
    scene.inject([Message(2, sender="alice@front.test", recipients=[("far@far.example", " NOTIFY=SUCCESS")])])
    front.drain(20, flush=False)
    settings.wait_until(lambda: front.mailbox("alice"), 10, "the report")
    assert b"Action: relayed" in front.mailbox("alice")[0], front.mailbox("alice")


def test_relay_without_dsn_gives_the_sender_the_report_it_asked_for():
    expect_a_report_though_the_relay_has_no_dsn()
