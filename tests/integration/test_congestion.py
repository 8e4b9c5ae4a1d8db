"""Connections to relays do not pace what they send, until the path is seen to lose packets."""
import re
import subprocess

from lib import scene, settings
from lib.daemon import relay_section
from lib.link import Link
from lib.message import Message
from lib.relay import RelayPostfix

SIZE = 100 * 1024


def _system():
    with open("/proc/sys/net/ipv4/tcp_congestion_control", encoding="ascii") as file:
        return file.read().strip()


def _algorithms(relay):
    """The algorithm of every connection to the relay."""
    text = subprocess.run(["ss", "-Htin", "state", "established", "dst", f"{relay.address}:{relay.port}"],
                          capture_output=True, text=True, check=True).stdout
    return re.findall(r"^\t *(?:ts |sack |ecn )*(\w+)", text, re.MULTILINE)


def _sent_over(loss, count):
    """The algorithms in use after so many large messages."""
    relay = RelayPostfix(Link(rtt=20, loss=loss)).start()
    front, _daemon = scene.pooled(relay_section("far", relay, max_connections=1))
    scene.inject([Message(number, size=SIZE) for number in range(count)], sessions=2)
    scene.drained(front, relay)
    return _algorithms(relay)


def test_path_without_loss_is_not_paced():
    found = _sent_over(0, 5)
    wanted = ("cubic", "reno") if _system().startswith("bbr") else (_system(),)
    assert len(found) == 1 and found[0] in wanted, found


def test_path_with_loss_has_the_system_s_algorithm():
    found = _sent_over(3, settings.scaled(20))
    assert found == [_system()], found
