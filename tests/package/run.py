#!/usr/bin/python3
"""Runs the tests of the package, each in a Debian system and a sandbox of its own; a line for each and a closing line.

    run.py [-j JOBS] [-k] [-x PATTERN]… [PATTERN…]

A pattern is part of "test_file.test_name", after -x of those to leave out; -k keeps the work directories.

RELAYPOOL_BUILD names the build directory, in which `make deb' has been run. RELAYPOOL_SUITE is bookworm unless it says
otherwise; for another suite than the host's the package is built there. RELAYPOOL_CHROOTS names a
directory where what debootstrap made is kept for the next run.
"""
import importlib
import os
import shutil
import signal
import sys
import tempfile

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path += [os.path.join(HERE, "../integration"), os.path.join(HERE, "../../packaging/debian/tests")]
from lib import runner, sandbox  # noqa: E402


def enter(module, keep):
    """A module with PACKAGES wants a system that has them; LATER are those that its tests install."""
    import chroot
    test = importlib.import_module(module)

    def prepare(work):
        os.environ["RELAYPOOL_WORK"] = work
        if hasattr(test, "PACKAGES"):
            chroot.prepare(test.PACKAGES, getattr(test, "LATER", ()))
    return sandbox.enter(keep, prepare, lambda work: None)


def main():
    ours = None
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if "RELAYPOOL_CHROOTS" not in os.environ:
        ours = os.environ["RELAYPOOL_CHROOTS"] = tempfile.mkdtemp(prefix="relaypool-chroots-")
    try:
        runner.main(__doc__, os.path.realpath(__file__), enter)
    finally:
        if ours:
            shutil.rmtree(ours)


if __name__ == "__main__":
    main()
