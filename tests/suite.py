#!/usr/bin/python3
"""Every test there is: unit tests and scenarios in a normal build and under the sanitizers, make distcheck, the form of
the sources, the packages, and the integration tests with real mail servers. Called by tests/run.sh. The last line is
the sum.
"""
import argparse
import concurrent.futures
import contextlib
import glob
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, os.path.join(HERE, "integration"))
from lib import exim, sendmail  # noqa: E402
from lib.build import Failed, build, copy_source, quietly  # noqa: E402

CPUS = str(os.cpu_count())
BUILDS = {
    "normal": ["--enable-werror"],
    "address": ["--enable-werror", "--enable-sanitizer=address,undefined", "CFLAGS=-g -O1"],
    "thread": ["--enable-werror", "--enable-sanitizer=thread", "CFLAGS=-g -O1"],
}
# The sanitizers of some compilers fail now and then where the kernel spreads addresses widely.
FIXED_ADDRESSES = ["setarch", os.uname().machine, "-R"]

# What measures speed runs in the normal build and alone. So do runs in which nothing may stall, two at a time, and what
# looks at system calls, which the sanitizers add some to. The rest runs under the sanitizers; most of it waits, so that
# four at a time do not take the processors from each other.
MEASURES = ["test_fairness", "test_link", "test_ratio", "test_slow_readers", "test_syslog"]
CLEAN = ["test_apparmor", "test_clean"]
REST = ["-j", "4", *(f"--except={name}" for name in MEASURES + CLEAN)]
# What other programs read, what relays do that are one at a time, what is set in other programs, what another MTA does of
# what one has shown, and restarts, of which there are too few in a small run: nothing in it that threads could disturb.
NO_THREADS = [f"--except={name}" for name in (
    "test_activation", "test_guides", "test_logtools", "test_mailboxes", "test_metrics",
    "test_misbehaviour", "test_providers", "test_relay_causes", "test_relaypool_and", "test_sendmail.test_direct", "test_sendmail.test_hung",
    "test_sendmail.test_kill", "test_sendmail.test_lmtp", "test_sendmail.test_the", "test_sendmail.test_two_thousand",
    "test_sendmail_ways", "test_setup", "test_streams")]

total = {"passed": 0, "failed": 0}
failures = []  # a line or a few for each, repeated at the end


def count(name, passed, failed, begin):
    total["passed"] += passed
    total["failed"] += failed
    result = "FAIL" if failed or not passed else "ok  "
    if failed or not passed:
        failures.append(f"FAIL {name}")
    print(f"{result} {name}: {passed} passed, {failed} failed ({time.monotonic() - begin:.0f} s)", flush=True)


def step(name, function, *arguments):
    """Something that passes or fails as a whole. Whether it passed."""
    begin = time.monotonic()
    try:
        function(*arguments)
    except (Failed, OSError) as error:
        print(error)
        count(name, 0, 1, begin)
        return False
    count(name, 1, 0, begin)
    return True


def checks_of(result_path):
    """(passed, failed) of one test program: as Check counted, or one for a program that counts nothing."""
    with open(result_path[:-len(".trs")] + ".log", encoding="utf-8", errors="replace") as file:
        log = file.read()
    with open(result_path, encoding="utf-8") as file:
        good = re.search(r"^:test-result: (PASS|SKIP)", file.read(), re.MULTILINE) is not None
    figures = [(int(checks) - int(wrong) - int(errors), int(wrong) + int(errors)) for checks, wrong, errors in
               re.findall(r"^\d+%: Checks: (\d+), Failures: (\d+), Errors: (\d+)", log, re.MULTILINE)]
    figures += [(int(passed), int(failed)) for passed, failed in
                re.findall(r"^scenarios: (\d+) passed, (\d+) failed", log, re.MULTILINE)]
    passed, failed = (sum(column) for column in zip(*figures)) if figures else (0, 0)
    if not good:
        print(log[-6000:])
        failures.append(log[-1500:])
    return (passed or int(good), failed or int(not good))


def checks_below(directory):
    """[(passed, failed)] of every test program that make check ran there."""
    return [checks_of(path) for path in glob.glob(os.path.join(directory, "tests", "**", "*.trs"), recursive=True)]


def check(name, directory):
    """make check; the programs' own counts are added up."""
    begin = time.monotonic()
    with contextlib.suppress(Failed):
        quietly([*FIXED_ADDRESSES, "make", f"-j{CPUS}", "-k", "check"], directory)
    results = checks_below(directory)
    count(name, sum(passed for passed, _ in results), sum(failed for _, failed in results) + (not results), begin)


def distcheck(directory):
    """All that the tarball has to do but the tests, which have run; that it has them all tarball_is_whole() sees."""
    quietly(["make", f"-j{CPUS}", "distcheck", "AM_MAKEFLAGS=TESTS= check_PROGRAMS="], directory)


def run_tests(name, directory, options, **environment):
    """run.py of the directory that is the name's first word; its lines are shown as they come."""
    begin = time.monotonic()
    script = os.path.join(HERE, name.split(",")[0], "run.py")
    process = subprocess.Popen([*FIXED_ADDRESSES, sys.executable, "-B", script, *options], stdout=subprocess.PIPE,
                               text=True, errors="replace",
                               env={**os.environ, "RELAYPOOL_BUILD": directory, **environment})
    closing = None
    for line in process.stdout:
        if re.match(r'FAIL |[\w.]*(Error|Expired|Failed)\b|  File ".*/test_', line):
            failures.append(line.rstrip("\n"))
        closing = re.fullmatch(r"(\d+) passed, (\d+) failed\n", line)
        if not closing:
            print(f"     {line}", end="", flush=True)
    process.wait()
    passed, failed = map(int, closing.groups()) if closing else (0, 1)
    count(name, passed, failed, begin)


def tarball_is_whole(source, directory):
    tarball, = glob.glob(os.path.join(directory, "deb", "*.orig.tar.gz"))
    with tarfile.open(tarball) as file:
        packed = {name.partition("/")[2] for name in file.getnames()}
    ours = {os.path.relpath(os.path.join(place, name), source) for folder in ("contrib", "include", "milter", "packaging", "tests")
            for place, _, names in os.walk(os.path.join(source, folder)) for name in names}
    if ours - packed:
        raise Failed(f"not in the tarball: {', '.join(sorted(ours - packed))}")


def run_packages(source, directory, chroots):
    """Packages are built without make check, which has run, and while debootstrap makes what their tests begin with."""
    tests, python = os.path.join(HERE, "package"), [sys.executable, "-B"]
    with concurrent.futures.ThreadPoolExecutor() as pool:
        pool.submit(quietly, [*python, "-c", "import chroot; chroot.prepare()"], tests, RELAYPOOL_CHROOTS=chroots,
                    PYTHONPATH=os.path.join(HERE, "integration"))
        if step("make deb", quietly, ["env", "DEB_BUILD_OPTIONS=nocheck", "make", "deb"], directory):
            step("the tarball is whole", tarball_is_whole, source, directory)
            pool.submit(step, "make deb, the same again", quietly, [*python, "test_reproducible.py",
                        os.path.join(directory, "deb")], tests)
            run_tests("package", directory, ["-j", "4"], RELAYPOOL_CHROOTS=chroots)


def sources(source, *folders):
    return sorted(path for folder in folders for pattern in ("*.c", "*.h")
                  for path in glob.glob(os.path.join(source, folder, "**", pattern), recursive=True))


def check_form(source):
    quietly(["clang-format", "--dry-run", "-Werror", *sources(source, "include", "milter", "tests")], source)


def tidy(source, directory):
    """clang-tidy over every translation unit, as many at once as there are processors."""
    folders = [f"-I{path}" for path in glob.glob(f"{source}/milter/*/")]
    flags = ["-std=gnu11", "-D_GNU_SOURCE", f"-I{source}/include", f"-I{directory}", *folders, "-DSYSCONFDIR=\"/etc\"",
             "-DLOCALSTATEDIR=\"/var\"", "-DPKGDATADIR=\"/usr/share/relaypool\"", "-DRUNSTATEDIR=\"/run\""]
    units = [path for path in sources(source, "milter", "tests") if path.endswith(".c")]
    def look(unit):
        result = subprocess.run(["clang-tidy", "--quiet", unit, "--", *flags], cwd=source, capture_output=True, text=True,
                                check=False)
        return result.stdout if result.returncode else ""

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        found = "".join(pool.map(look, units))
    if found:
        raise Failed(found)


def run_built(work, source):
    places = {kind: os.path.join(work, kind) for kind in BUILDS}
    for kind, place in places.items():
        if not step(f"build, {kind}", build, source, place, ["all", "tests/tools/link", "tests/tools/sleepy_milter"], BUILDS[kind]):
            return
    for kind, place in places.items():
        check(f"make check, {kind}", place)
    step("make distcheck", distcheck, places["normal"])
    run_packages(source, places["normal"], os.path.join(work, "chroots"))
    if not os.path.exists("/usr/sbin/exim4"):
        step("unpack Exim", exim.unpack, os.path.join(work, "exim"))
    step("unpack Sendmail", sendmail.unpack, os.path.join(work, "sendmail"))
    run_tests("integration, normal", places["normal"], MEASURES)
    run_tests("integration, clean", places["normal"], ["-j", "2", *CLEAN])
    run_tests("integration, address", places["address"], REST, RELAYPOOL_PATIENCE="3", RELAYPOOL_SANITIZED="1")
    run_tests("integration, thread", places["thread"], REST + NO_THREADS, RELAYPOOL_PATIENCE="5",
              RELAYPOOL_SANITIZED="1", RELAYPOOL_SCALE="0.2")


def main():
    argparse.ArgumentParser(description=__doc__).parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    work = tempfile.mkdtemp(prefix="relaypool-suite-")
    os.chmod(work, 0o755)
    try:
        source = os.path.join(work, "source")
        copy_source(source)
        run_built(work, source)
        step("clang-format", check_form, source)
        step("clang-tidy", tidy, source, os.path.join(work, "normal"))
    finally:
        shutil.rmtree(work, ignore_errors=True)
    if failures:
        print("\nWhat failed:", *failures, sep="\n")
    print(f"{total['passed']} passed, {total['failed']} failed")
    sys.exit(total["failed"] != 0)


if __name__ == "__main__":
    main()
