"""Where there is no MTA, and where it comes after the package."""
import os

import chroot
import lifecycle
from booted import booted
from lib.scene import equal
from machine import Relay, Relaypoold
from mta import Postfix, expect

PACKAGES = ()
LATER = (lifecycle.DEB, "postfix")
SOCKETS = "/var/spool/postfix/relaypool"
COMPLAINTS = ("WARNING", "warning:", "error", "failed", "No such file")  # none of these is said


def _directory(system):
    return system.run("stat", "-c", "%a %U:%G", SOCKETS).strip()


def _untroubled(said):
    equal([line for line in said.splitlines() if any(word in line for word in COMPLAINTS)], [], "complaints")


def test_without_an_mta():
    system = chroot.system()
    before, packages = system.listing(), system.packages()
    _untroubled(system.install(lifecycle.DEB, recommends=False))
    equal(_directory(system), "2750 relaypool:relaypool", "the directory of the sockets")
    _untroubled(system.apt("purge", "--autoremove", "relaypool"))
    equal(chroot.differences(before, system.listing()), [], "files when it is purged")
    equal(chroot.differences(packages, system.packages()), [], "packages when it is purged")


def test_postfix_comes_later():
    system = chroot.system()
    system.install(lifecycle.DEB, recommends=False)
    socket = system.path(os.path.join(SOCKETS, "lmtp.sock"))
    os.mknod(socket, 0o140660)  # as one that is there already
    system.install("postfix", recommends=False)
    equal(_directory(system), "2750 relaypool:postfix", "the directory of the sockets")
    equal(system.run("stat", "-c", "%G", f"{SOCKETS}/lmtp.sock").strip(), "postfix", "the group of a socket in it")
    system.run("postfix", "check")
    _untroubled(system.apt("purge", "relaypool"))
    assert not os.path.exists(system.path(SOCKETS)), "the directory is still there"
    assert os.path.isdir(system.path("/var/spool/postfix/active")), "Postfix's queue is gone"


def test_postfix_comes_to_a_relaypoold_that_runs():
    system, relay = chroot.system(), Relay()
    system.install(lifecycle.DEB, recommends=False)
    Relaypoold(system).configure(relay)
    with booted(system) as machine:
        Relaypoold(machine).start()
        machine.run("apt-get", "-q", "-y", "install", "--no-install-recommends", "postfix")
        Postfix(machine).use(relay)
        Postfix(machine).restart()
        machine.run("relaypoolctl", "setup", "postfix", "--apply", "--reload")
        expect(machine, relay, "pooled", (relay.username, relay.password))
