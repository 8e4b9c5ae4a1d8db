"""Large mail and little room: memory stays bounded, a full disk is a clean deferral."""
import os
import subprocess

from lib import scene, settings
from lib.daemon import relay_section
from lib.message import Message
from lib.scripted import ScriptedRelay


def _small_disk():
    path = settings.work("small-disk")
    os.mkdir(path)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m,mode=1777", "tmpfs", path], check=True)
    return os.path.join(path, "spool")


def test_full_disk_defers_with_452_and_harms_no_small_mail():
    relay = ScriptedRelay()
    front, _daemon = scene.pooled(relay_section("far", relay), spool_directory=_small_disk(), memory_limit="1M")
    scene.inject([Message("large", size=6 << 20), Message("small")])
    line = scene.wait_for_line(front, "status=deferred", 20)
    assert "452 4.3.1" in line, line
    settings.wait_until(lambda: ("msmall", "recipient@far.example") in relay.accepted, 10, "the small message")
    scene.equal(len(front.queue()), 1, "messages that wait")


def test_many_large_messages_in_little_memory():
    relay = ScriptedRelay()
    front, daemon = scene.pooled(relay_section("far", relay), memory_limit="4M")
    messages = [Message(number, size=2 << 20) for number in range(40)]
    scene.inject(messages)
    front.drain(60, flush=False)
    scene.equal(len(relay.accepted), len(messages), "messages at the relay")
    with open(f"/proc/{daemon.process.pid}/status", encoding="ascii") as file:
        peak = int(next(line for line in file if line.startswith("VmHWM")).split()[1])
    if not os.environ.get("RELAYPOOL_SANITIZED"):
        assert peak < 64 * 1024, f"{peak} KiB at its peak"
