"""A local user who may not use the relays cannot: by the unix socket, by the direct listener."""
import subprocess
import sys

from lib import scene, settings
from lib.daemon import relay_section
from lib.message import Message
from lib.scripted import ScriptedRelay

# What a stranger tries: a whole session in one write, then the end. Prints what came back.
ATTEMPT = """
import socket, sys
address = sys.argv[1]
if address.isdigit():
    client = socket.create_connection(("127.0.0.1", int(address)), 5)
else:
    client = socket.socket(socket.AF_UNIX)
    client.connect(address)
client.settimeout(5)
greeting = sys.argv[2]
if greeting == "patient":
    print(client.recv(4096).decode())
verb = "LHLO" if not address.isdigit() else "EHLO"
try:
    client.sendall((verb + " thief.test\\r\\nMAIL FROM:<thief@front.test>\\r\\nRCPT TO:<mark@far.example>\\r\\nDATA\\r\\n"
                    "X-Test-Id: stolen\\r\\n\\r\\nx\\r\\n.\\r\\nQUIT\\r\\n").encode())
    if greeting == "vanishing":
        client.close()
        sys.exit(0)
    while True:
        octets = client.recv(4096)
        if not octets:
            break
        print(octets.decode())
except OSError as error:
    print(error)
"""


def _attempt(address, greeting="patient", group="stranger"):
    """What the stranger hears, as a user of the sandbox that is neither root nor postfix."""
    result = subprocess.run(["setpriv", "--reuid", "stranger", "--regid", group, "--clear-groups", sys.executable, "-c",
                             ATTEMPT, str(address), greeting], capture_output=True, text=True, timeout=30, check=False,
                            cwd="/")
    return result.stdout + result.stderr


def _expect_only_ours(front, relay):
    """The stranger's mail has not come, and the way is open for those who may."""
    scene.inject([Message("ours")])
    front.drain(20, flush=False)
    scene.equal(relay.accepted, [("mours", "recipient@far.example")], "what arrived")


def test_stranger_at_the_unix_socket():
    relay = ScriptedRelay()
    front, daemon = scene.pooled(relay_section("far", relay))
    assert "Permission denied" in _attempt(daemon.lmtp())
    heard = _attempt(daemon.lmtp(), group="postfix")
    assert "250" not in heard and "354" not in heard, heard
    _attempt(daemon.lmtp(), "vanishing", group="postfix")
    _expect_only_ours(front, relay)
    assert "stranger" in daemon.log() or "64103" in daemon.log(), "the attempt is not in the log"


def test_stranger_at_the_direct_listener():
    relay = ScriptedRelay()
    front, _daemon = scene.direct(relay)
    for greeting in ("patient", "hasty", "vanishing"):
        for _ in range(20):
            heard = _attempt(scene.DIRECT_PORT, greeting)
            assert "354" not in heard, heard
    _expect_only_ours(front, relay)


def test_root_and_postfix_may():
    relay = ScriptedRelay()
    _front, daemon = scene.pooled(relay_section("far", relay))
    heard = subprocess.run([sys.executable, "-c", ATTEMPT, daemon.lmtp(), "patient"], capture_output=True, text=True,
                           timeout=30, check=True).stdout
    assert "354" in heard, heard
    settings.wait_until(lambda: relay.accepted, 10, "root's mail")
