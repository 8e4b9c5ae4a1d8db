"""A newer package over an older one while mail flows: nothing is refused, lost, or sent twice, and the caps hold."""
import os
import re
import subprocess
import threading

import chroot
import lifecycle
from lib import settings, smtp
from lib.limits import Limits
from lib.message import Message
from lib.scene import equal
from machine import CONF, PASSWORD, Relay, Relaypoold, read, write
from manager import Manager
from mta import SMTP, Postfix, expect_once

PACKAGES = ("postfix",)
LATER = (lifecycle.DEB,)
COUNT, CAP = 600, 4
SECONDS = 0.08  # that the relay takes for a message


def _newer():
    """The same package with a higher version."""
    tree, path = settings.work("newer"), settings.work("relaypool_newer.deb")
    subprocess.run(["dpkg-deb", "-R", lifecycle.DEB, tree], check=True)
    control = os.path.join(tree, "DEBIAN", "control")
    with open(control, encoding="utf-8") as file:
        text = re.sub("^Version: .*", r"\g<0>+newer", file.read(), flags=re.MULTILINE)
    with open(control, "w", encoding="utf-8") as file:
        file.write(text)
    subprocess.run(["dpkg-deb", "-b", "--root-owner-group", tree, path], check=True, stdout=subprocess.DEVNULL)
    return path


def _configuration(system):
    return {name: (read(system, name), os.stat(system.path(name)).st_mode) for name in (CONF, PASSWORD)}


def test_under_load():
    system = chroot.system()
    relay = Relay(limits=Limits(connections=CAP), delays={"dot": SECONDS})
    Postfix(system).restart()
    system.install(lifecycle.DEB)
    Relaypoold(system).configure(relay)
    write(system, CONF, read(system, CONF).replace("max-connections = 10", f"max-connections = {CAP}"))
    manager = Manager(system)
    manager.start()
    system.run("relaypoolctl", "setup", "postfix", "--apply", "--reload")
    before, version, pid = _configuration(system), system.packages()["relaypool:amd64"], manager.process.pid

    newer, messages = _newer(), [Message(number) for number in range(COUNT)]
    load = threading.Thread(target=smtp.inject, args=(SMTP, messages, 8))
    load.start()
    settings.wait_until(lambda: len(relay.accepted) > COUNT / 30, 30, "the mail to flow")
    system.install(newer)
    after = COUNT - len(relay.accepted)
    load.join()
    relay.wait_for([message.id for message in messages], 60)

    assert system.packages()["relaypool:amd64"] > version, "it was not upgraded"
    assert manager.process.pid != pid, f"it was not restarted: {manager.said}"
    assert after > COUNT / 10, f"only {after} messages went out when it was done"
    equal(_configuration(system), before, "the configuration after the upgrade")
    expect_once(relay, [message.id for message in messages], (relay.username, relay.password))
    equal(relay.limits.refused, [], "what the relay refused")
    assert relay.most <= CAP, f"{relay.most} connections at once"
    settings.wait_until(lambda: not Postfix(system).waiting(), 20, "Postfix's queue to be empty")
    log = [line for line in list(system.log.lines) if "postfix/" in line]
    equal([line for line in log if re.search(r"status=(deferred|bounced)|refused", line)], [], "what did not go at once")
    settings.figure(f"{COUNT} messages, {after} of them after the upgrade; at most {relay.most} connections")
