"""Outbound mail has a connection opened while it is still at the MTA's door; local mail opens none."""
from lib import scene, settings
from lib.daemon import relay_section
from lib.message import Message
from lib.relay import RelayPostfix


def _scene():
    """(front, daemon, relay): nothing has been sent yet, and nothing will leave the front's queue."""
    relay = RelayPostfix().start()
    front, daemon = scene.pooled(relay_section("far", relay))
    front.set(defer_transports="relaypool")
    return front, daemon, relay


def _connections(daemon):
    return daemon.json("connections")["connections"]


def _wait_for_warm(daemon):
    """One connection, authenticated, that has carried nothing."""
    settings.wait_until(lambda: [entry["state"] for entry in _connections(daemon)] == ["idle"], 10, "a warm connection")
    scene.equal([entry["uses"] for entry in _connections(daemon)], [0], "uses")


def _expect_used(front, daemon, relay):
    """The message that waits is sent on the warm connection."""
    scene.equal(daemon.log().count("status="), 0, "messages that relaypoold has seen")
    front.unset("defer_transports")
    front.flush()
    scene.drained(front, relay, 20)
    scene.equal((relay.connections(), [entry["uses"] for entry in _connections(daemon)]), ((1, 1), [1]),
                "sessions at the relay, uses")


def test_local_mail_warms_nothing_and_outbound_mail_does():
    front, daemon, relay = _scene()
    scene.inject([Message(1, recipients=("alice@front.test", "bob@front.test"))])
    settings.wait_until(lambda: front.mailbox("alice") and front.mailbox("bob"), 10, "the local copies")
    scene.equal((relay.connections(), _connections(daemon)), ((0, 0), []), "connections after local mail")
    scene.inject([Message(2, recipients=("alice@front.test", "dora@far.example"))])
    _wait_for_warm(daemon)
    _expect_used(front, daemon, relay)
