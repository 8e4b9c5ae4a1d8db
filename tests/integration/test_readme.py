"""The commands of README register relaypool with Postfix, and take it out again without a trace."""
import os
import re
import subprocess

from lib import host, scene, settings
from lib.daemon import relay_section
from lib.relay import RelayPostfix


def commands(title):
    """The indented lines of a section of README."""
    with open(os.path.join(settings.SOURCE, "README"), encoding="utf-8") as file:
        part = re.search(f"^{title}\n.*?^[A-Z ]+$", file.read(), re.MULTILINE | re.DOTALL).group()
    return re.findall(r"^    (.*)$", part, re.MULTILINE)


def run(command):
    result = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert result.returncode == 0, f"{command} ended with {result.returncode}: {result.stdout}{result.stderr}"
    return result.stdout


def shown():
    """The files of Postfix, and what postconf says of them."""
    files = [subprocess.run(["cat", f"/etc/postfix/{name}"], capture_output=True, check=True).stdout
             for name in ("main.cf", "master.cf")]
    return files + [run(f"postconf {option}") for option in ("-n", "-M")]


def send(front, recipient):
    front.sendmail(b"Subject: x\r\n\r\ntext\r\n", "a@front.test", [recipient])
    scene.wait_for_line(front, f": to=<{recipient}>", 30)  # pickup's messages are in no queue for a moment
    front.drain(30)


def test_readme_registers_and_undoes():
    show, apply, check, undo, one_domain = commands("REGISTERING WITH THE MTA")
    host.furnish()
    far = RelayPostfix(secure=False).start()
    front = host.HostPostfix({"relayhost": f"[{far.address}]:{far.port}"})
    daemon = host.HostRelaypoold(front, relay_section("far", far)).start()
    before = shown()
    front.start()
    assert "default_transport" in run(show)
    scene.equal(shown(), before, "settings after a look")
    run(apply)
    run(check)
    send(front, "pooled@far.example")
    run(undo)
    scene.equal(shown(), before, "settings after the undoing")
    send(front, "alone@far.example")
    run(one_domain)
    send(front, "other@far.example")
    send(front, "domain@example.org")
    transports = {recipient: transport for transport, recipient in
                  re.findall(r"postfix/(\S+)\[\d+\]: \w+: to=<(\w+)@", front.log())}
    scene.equal(transports, {"pooled": "relaypool/lmtp", "alone": "smtp", "other": "smtp", "domain": "relaypool/lmtp"},
                "transports")
    assert "status=sent" in daemon.log(), daemon.log()
