"""An upgrade on a system that has booted, when the new relaypoold would not start: the one that runs goes on."""
import shutil

import chroot
import lifecycle
from booted import booted
from lib.scene import equal
from machine import CONF, PASSWORD, Relay, Relaypoold, read, write

PACKAGES = ("postfix",)
LATER = (lifecycle.DEB,)
SERVICE, AGAIN = "relaypoold.service", "/root/relaypool_again.deb"


def _pid(machine):
    return machine.property(SERVICE, "MainPID")


def _left_running(machine, complaint):
    before = _pid(machine)
    said = machine.run("sh", "-c", f"dpkg -i {AGAIN} 2>&1")
    assert "relaypoold is not restarted" in said and complaint in said, said
    equal((_pid(machine), machine.property(SERVICE, "ActiveState")), (before, "active"), "who runs after an upgrade")


def _restarted(machine):
    before = _pid(machine)
    said = machine.run("sh", "-c", f"dpkg -i {AGAIN} 2>&1")
    assert "WARNING" not in said, said
    assert _pid(machine) not in (before, "0"), "it was not restarted"


def test_what_runs_goes_on():
    system, relay = chroot.system(), Relay()
    system.install(lifecycle.DEB)
    shutil.copy(lifecycle.DEB, system.path(AGAIN))
    Relaypoold(system).configure(relay)
    good = read(system, CONF)
    with booted(system) as machine:
        machine.configure(f"system/{SERVICE}.d/password.conf",
                          f"[Service]\nLoadCredential=secret:{PASSWORD}\n")
        write(machine, CONF, good.replace(PASSWORD, f"/run/credentials/{SERVICE}/secret"))
        Relaypoold(machine).start()
        _restarted(machine)
        write(machine, CONF, f"{good}no-such-key = 1\n")
        _left_running(machine, "unknown key no-such-key")
        write(machine, CONF, good)
        machine.run("chown", "root:root", PASSWORD)
        _left_running(machine, f"cannot open {PASSWORD}")
        machine.run("systemctl", "stop", SERVICE)
        equal(machine.run("sh", "-c", f"dpkg -i {AGAIN} 2>&1").count("WARNING"), 0, "warnings where none runs")
        equal(machine.property(SERVICE, "ActiveState"), "inactive", "what was stopped")
