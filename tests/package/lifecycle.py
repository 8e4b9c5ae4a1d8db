"""What becomes of a system on which relaypool is installed, used with an MTA, and removed again."""
import glob
import os
import re

import chroot
from lib import command as commands
from lib import settings
from lib.scene import equal
from machine import FILES, Relay, Relaypoold, kept
from mta import COUNT, expect, expect_once, pool_and_undo, send

MEMORY = "/var/lib/relaypool-setup"


def _one(pattern):
    found = glob.glob(pattern)
    if len(found) != 1:
        raise SystemExit(f"{len(found)} of {pattern}: has `make deb' been run there?")
    return found[0]


# What `make deb' has built; for another suite than the host's, what that makes of the sources.
DSC = _one(os.path.join(settings.BUILD, "deb", "relaypool_*.dsc"))
PLACE = os.path.dirname(DSC) if chroot.SUITE == chroot.host_suite() else chroot.rebuilt(DSC)
DEB = _one(os.path.join(PLACE, "relaypool_*.deb"))


def installed_and_gone(kind, theirs):
    """Installed, edited, registered, undone, purged: all is as before. `theirs` is what the MTA writes by itself."""
    system = chroot.system()
    mta = kind(system)
    mta.restart()
    before, packages, settings_before = system.listing(theirs), system.packages(), mta.photograph()
    system.install(DEB)
    equal(mta.photograph(), settings_before, "the MTA's configuration when relaypool is installed")
    pool_and_undo(system, kind)
    equal(sum("status=sent" in line for line in relaypoold_log(system)), 2 * COUNT, "messages in relaypoold's log")
    said = system.apt("remove", "relaypool")
    assert "WARNING" not in said and "relaypool-setup" not in said, said
    system.apt("purge", "--autoremove", "relaypool")
    equal(chroot.differences(before, system.listing(theirs)), [], "files when it is purged")
    equal(chroot.differences(packages, system.packages()), [], "packages when it is purged")


def relaypoold_log(system):
    return [line for line in list(system.log.lines) if line.startswith("relaypoold[")]


def removed_too_early(kind, theirs, uses):
    """Removed while the MTA uses it: that is said, mail waits; installed again and undone, it leaves as before."""
    system, relay = chroot.system(), Relay()
    mta, daemon = kind(system), Relaypoold(system)
    mta.use(relay)
    mta.restart()
    before, listing = mta.photograph(), system.listing(theirs)
    system.install(DEB)
    with kept(system, *FILES):
        daemon.configure(relay)
        daemon.start()
        system.run("relaypoolctl", "setup", mta.name, "--apply", "--reload")
        expect(system, relay, "pooled", (relay.username, relay.password))
        daemon.stop()
    said = " ".join(system.apt("remove", "relaypool").split())
    undo = f"relaypoolctl setup {mta.name} --undo --reload"
    for text in (f"WARNING: {uses} still hands its mail to relaypool", undo, f"stays in {MEMORY}/"):
        assert text in said, f"{text} was not said: {said}"
    names = send(system, "waiting")
    settings.wait_until(lambda: mta.waiting() == len(names), 20, "the mail to wait in the queue")
    said = system.apt("purge", "relaypool")
    assert f"{MEMORY} is kept" in said, said
    equal(mta.waiting(), len(names), "messages that wait")

    system.install(DEB)
    system.run(*undo.split())
    equal(mta.photograph(), before, "the MTA's configuration when it is undone")
    mta.flush()
    relay.wait_for(names)
    expect_once(relay, names, None)
    system.apt("purge", "--autoremove", "relaypool")
    equal(chroot.differences(listing, system.listing(theirs)), [], "files when it is purged")


def autopkgtest(*names):
    """Debian's own tests of the package, run as Debian runs them, on the system as it is."""
    system = chroot.system()
    system.install(DEB)
    tree = settings.work("tree")
    commands.run(["dpkg-source", "--no-check", "-x", DSC, tree])
    with open(os.path.join(tree, "debian", "files"), "w", encoding="ascii"):
        pass  # so that it counts as built, and nothing has to be installed for a build
    said = commands.run(["autopkgtest", "--ignore-restrictions=isolation-container,breaks-testbed",
                         *(f"--test-name={name}" for name in names), f"{tree}/", "--", "chroot", system.root], None,
                        limit=chroot.LIMIT, env={**os.environ, "TMPDIR": "/tmp"})  # it is there in the chroot, too
    results = dict(re.findall(r"^(\w+) +(PASS|FAIL|SKIP)", said.rsplit(" summary\n", 1)[-1], re.MULTILINE))
    if results != dict.fromkeys(names, "PASS"):
        raise AssertionError(said[-8000:])
