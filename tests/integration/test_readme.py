"""The commands of README register relaypool with Postfix, and take it out again without a trace."""
import os
import re
import subprocess

from lib import scene, settings
from lib.daemon import Relaypoold, relay_section
from lib.front import FrontPostfix
from lib.relay import RelayPostfix


def commands(begin, end):
    """The indented lines between two lines of README, less those for systemd; on the front's configuration."""
    with open(os.path.join(settings.SOURCE, "README"), encoding="utf-8") as file:
        part = re.search(f"^{begin}.*?^{end}", file.read(), re.MULTILINE | re.DOTALL).group()
    lines = re.findall(r"^    (.*)$", part, re.MULTILINE)
    assert lines, f"README has no commands from {begin!r} to {end!r}"
    return "set -e\n" + "".join(f"{line}\n" for line in lines if not line.startswith("systemctl "))


def run(script, front):
    subprocess.run(["sh", "-c", script.replace("/etc/postfix", front.config)], cwd=settings.SOURCE, check=True,
                   env={**os.environ, "MAIL_CONFIG": front.config})


def shown(front):
    return [subprocess.run(["postconf", "-c", front.config, option], capture_output=True, text=True, check=True).stdout
            for option in ("-n", "-M")]


def send(front, user):
    front.sendmail(b"Subject: x\r\n\r\ntext\r\n", "a@front.test", [f"{user}@far.example"])
    front.drain(30)


def test_readme_registers_and_undoes():
    far = RelayPostfix(secure=False).start()
    front = FrontPostfix({"relayhost": f"[{far.address}]:{far.port}"})
    before = shown(front)
    daemon = Relaypoold(front, relay_section("far", far)).start()
    front.start()
    run(commands("REGISTERING WITH POSTFIX", "To undo"), front)
    send(front, "pooled")
    run(commands("To undo", "The two copies"), front)
    scene.equal(shown(front), before, "settings after the undoing")
    send(front, "alone")
    transports = {recipient: transport for transport, recipient in
                  re.findall(r"postfix/(\S+)\[\d+\]: \w+: to=<(\w+)@", front.log())}
    scene.equal(transports, {"pooled": "relaypool/lmtp", "alone": "smtp"}, "transports")
    assert "status=sent" in daemon.log(), daemon.log()
