"""A newer package over an older one, on a system that has booted and while mail flows: nothing is refused, lost or sent
twice, the configuration stays, and the caps hold."""
import collections
import os
import re
import subprocess
import threading

import chroot
import lifecycle
from booted import booted
from lib import settings, smtp
from lib.limits import Limits
from lib.message import Message
from lib.scene import equal
from machine import CONF, PASSWORD, Relay, Relaypoold, read, write
from mta import SMTP, Postfix, expect_once

PACKAGES = ("postfix",)
LATER = (lifecycle.DEB,)
COUNT, CAP = 600, 4
SECONDS = 0.08  # that the relay takes for a message
NEWER = "/root/relaypool_newer.deb"


def _make_newer(system):
    """The same package with a higher version."""
    tree = settings.work("newer")
    subprocess.run(["dpkg-deb", "-R", lifecycle.DEB, tree], check=True)
    control = os.path.join(tree, "DEBIAN", "control")
    with open(control, encoding="utf-8") as file:
        text = re.sub("^Version: .*", r"\g<0>+newer", file.read(), flags=re.MULTILINE)
    with open(control, "w", encoding="utf-8") as file:
        file.write(text)
    subprocess.run(["dpkg-deb", "-b", "--root-owner-group", tree, system.path(NEWER)], check=True,
                   stdout=subprocess.DEVNULL)


def _version(system):
    return next(version for name, (_, version) in system.packages().items() if name.startswith("relaypool:"))


def _configuration(system):
    return {name: (read(system, name), os.stat(system.path(name)).st_mode) for name in (CONF, PASSWORD)}


def _upgrade_under_load(system, machine, relay):
    """How many messages were still to come when it was done."""
    messages = [Message(number) for number in range(COUNT)]
    load = threading.Thread(target=smtp.inject, args=(SMTP, messages, 8))
    load.start()
    settings.wait_until(lambda: len(relay.accepted) > COUNT / 30, 30, "the mail to flow")
    machine.run("apt-get", "-q", "-y", "install", NEWER)
    after = COUNT - len(relay.accepted)
    load.join()
    names = [message.id for message in messages]
    relay.wait_for(names, 60)
    expect_once(relay, names, (relay.username, relay.password))
    assert after > COUNT / 10, f"only {after} messages went out when it was done"
    return after


def test_under_load():
    system = chroot.Chroot(settings.work("system"), chroot.prepared)
    relay = Relay(limits=Limits(connections=CAP), delays={"dot": SECONDS})
    system.install(lifecycle.DEB)
    _make_newer(system)
    Relaypoold(system).configure(relay)
    write(system, CONF, read(system, CONF).replace("max-connections = 10", f"max-connections = {CAP}"))
    before, version = _configuration(system), _version(system)
    with booted(system) as machine:
        Relaypoold(machine).start()
        machine.run("relaypoolctl", "setup", "postfix", "--apply", "--reload")
        pid = machine.property("relaypoold.service", "MainPID")
        after = _upgrade_under_load(system, machine, relay)
        equal(_version(system), f"{version}+newer", "the version after the upgrade")
        assert machine.property("relaypoold.service", "MainPID") not in (pid, "0"), "it was not restarted"
        equal(_configuration(system), before, "the configuration after the upgrade")
        equal(relay.limits.refused, [], "what the relay refused")
        assert relay.most <= CAP, f"{relay.most} connections at once"
        settings.wait_until(lambda: not Postfix(machine).waiting(), 20, "Postfix's queue to be empty")
        outcomes = re.findall(r" to=<.*, status=(\w+)", "\n".join(machine.journal("--facility=mail")))
        equal(collections.Counter(outcomes), {"sent": COUNT}, "what Postfix says of its messages")
    settings.figure(f"{COUNT} messages, {after} of them after the upgrade; at most {relay.most} connections")
