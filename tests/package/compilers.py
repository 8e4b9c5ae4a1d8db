#!/usr/bin/python3
"""Builds what `make dist` packs with gcc and with clang on each Debian that relaypool is for, and runs `make check`.

    compilers.py [-c COMPILER]… [SUITE…]

As root; by hand only, since it takes some minutes for each suite. Warnings are errors. With gcc all of it is done as a
user without rights, as packages are built, with clang as root. Nothing in the chroots reaches a network. The last line
is "N passed, N failed". RELAYPOOL_BUILD names a build directory to take the tarball from, RELAYPOOL_CHROOTS where the
chroots are kept for the next time.
"""
import argparse
import glob
import os
import subprocess
import sys
import time

TESTS = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
sys.path[:0] = [os.path.join(TESTS, "integration"), TESTS, os.path.join(TESTS, "package")]
from lib import build, sandbox, settings  # noqa: E402

SUITES = ["bookworm", "trixie"]
USERS = {"gcc": "builder", "clang": "root"}
PACKAGES = ["check", "gcc", "libc6-dev", "libconfuse-dev", "libevent-dev", "libgsasl-dev", "libjansson-dev", "libmilter-dev",
            "libssl-dev", "make", "pkg-config"]
LIBRARIES = ["libevent", "openssl", "libgsasl", "libconfuse", "jansson", "check"]
LIMIT = 1800  # seconds for one step, also on a slow machine
ROW = "{:<10} {:<8} {:<10} {:<8} {:>6} {:>6} {:>6}"


def pack(work):
    """The path of the tarball. Outside of the sandbox."""
    os.environ["RELAYPOOL_WORK"] = work
    build.prepare(["dist"])
    if "RELAYPOOL_BUILD" in os.environ:
        build.quietly(["make", "dist"], settings.BUILD)
    return max(glob.glob(os.path.join(settings.BUILD, "relaypool-*.tar.gz")), key=os.path.getmtime)


class Run:
    """One compiler on one suite."""

    def __init__(self, suite, compiler, lowers):
        import chroot
        self.suite, self.compiler, self.user = suite, compiler, USERS.get(compiler, "root")
        self.chroot = chroot.Chroot(settings.work(f"{suite}-{compiler}"), lowers)
        if self.user != "root":
            self.chroot.run("useradd", "--create-home", self.user)

    def run(self, command):
        words = ["runuser", "-u", self.user, "--"] if self.user != "root" else []
        return self.chroot.run(*words, "sh", "-c", f"cd /tmp/relaypool && {command}", limit=LIMIT)

    def versions(self):
        modules = self.chroot.run("sh", "-c", f"for module in {' '.join(LIBRARIES)}; do "
                                  "echo $module $(pkg-config --modversion $module); done")
        return ", ".join(modules.splitlines())

    def version(self):
        return self.chroot.run(self.compiler, "-dumpversion").strip()

    def build(self, tarball):
        """(passed, failed) of make check."""
        from suite import checks_below
        with open(tarball, "rb") as packed, open(self.chroot.path("tmp/relaypool.tar.gz"), "wb") as there:
            there.write(packed.read())
        self.chroot.run("install", "-d", "-o", self.user, "/tmp/relaypool")
        self.run("tar -xzf ../relaypool.tar.gz --strip-components=1")
        self.run(f"./configure --enable-werror CC={self.compiler} && make -j{os.cpu_count()}")
        error = None
        try:
            self.run(f"make -j{os.cpu_count()} -k check")
        except AssertionError as caught:
            error = caught
        results = checks_below(self.chroot.path("tmp/relaypool"))  # shows what of those that failed
        if error and not any(failed for _, failed in results):
            raise error
        return sum(passed for passed, _ in results), sum(failed for _, failed in results)


def row(run, tarball):
    """Prints a line for it; (passed, failed)."""
    begin = time.monotonic()
    try:
        passed, failed = run.build(tarball)
    except (AssertionError, subprocess.TimeoutExpired) as error:
        print(str(error)[-6000:])
        passed, failed = 0, 1
    print(ROW.format(run.suite, run.compiler, run.version(), run.user, passed, failed, f"{time.monotonic() - begin:.0f} s"),
          flush=True)
    return passed, failed


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("-c", "--compiler", dest="compilers", action="append", metavar="COMPILER")
    options.add_argument("suites", nargs="*", default=SUITES, metavar="SUITE")
    options = options.parse_args()
    compilers = options.compilers or list(USERS)
    found = {}

    def before(work):
        found["tarball"] = pack(work)
        import chroot
        for suite in options.suites:
            found[suite] = chroot.prepare(PACKAGES + sorted({*compilers} - {*PACKAGES}), suite=suite)

    sandbox.enter(before=before, furnish=lambda work: None)
    print(ROW.format("SUITE", "COMPILER", "VERSION", "USER", "PASSED", "FAILED", "TIME"), flush=True)
    sums = [0, 0]
    for suite in options.suites:
        for compiler in compilers:
            run = Run(suite, compiler, found[suite])
            sums = [sum(pair) for pair in zip(sums, row(run, found["tarball"]))]
        print(f"           {run.versions()}", flush=True)
    print(f"{sums[0]} passed, {sums[1]} failed")
    sys.exit(sums[1] != 0)


if __name__ == "__main__":
    main()
