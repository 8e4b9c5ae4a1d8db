#!/usr/bin/python3
"""Runs the integration tests, each in a sandbox of its own, and prints a line for each and a closing line.

    run.py [-j JOBS] [-k] [-x PATTERN]… [PATTERN…]

A pattern is part of "test_file.test_name", after -x of those to leave out; -k keeps the work directories.

RELAYPOOL_BUILD names the build directory, RELAYPOOL_SCALE below 1 makes the large tests smaller, RELAYPOOL_PATIENCE
above 1 stretches limits on time for slow builds.
"""
import argparse
import concurrent.futures
import glob
import importlib
import os
import re
import subprocess
import sys
import time
import traceback

HERE = os.path.dirname(os.path.realpath(__file__))
LIMIT = 600  # seconds for one test
LOG_LINES = 40


def names():
    """Every test, "module.function", as the files spell them; nothing is imported for it."""
    found = []
    for path in sorted(glob.glob(os.path.join(HERE, "test_*.py"))):
        with open(path, encoding="utf-8") as file:
            module = os.path.basename(path)[:-3]
            found += [f"{module}.{function}" for function in re.findall(r"^def (test_\w+)\(\)", file.read(), re.MULTILINE)]
    return found


def show_logs(work):
    """The end of every log, less what went well."""
    for path in sorted(glob.glob(os.path.join(work, "*", "log"))):
        if os.path.isfile(path):
            with open(path, encoding="utf-8", errors="replace") as file:
                lines = [line for line in file if not re.search(r"status=sent|: removed$|connect from|queue active", line)]
            print(f"--- the end of {path[len(work) + 1:]}")
            print("".join(line[:400].rstrip("\n") + "\n" for line in lines[-LOG_LINES:]))


def run_inside(name, keep):
    """One test, in this process, in a sandbox. Never returns."""
    from lib import daemon, sandbox
    work = sandbox.enter(keep)
    module, function = name.split(".")
    try:
        getattr(importlib.import_module(module), function)()
        daemon.stop_all()
    except BaseException:
        show_logs(work)
        traceback.print_exc(file=sys.stdout)
        sys.exit(1)
    sys.exit(0)


def run_apart(name, keep):
    """(name, passed, seconds, output)"""
    begin = time.monotonic()
    command = [sys.executable, os.path.realpath(__file__), "--inside", name] + (["-k"] if keep else [])
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
                               cwd="/")
    try:
        output = process.communicate(timeout=LIMIT)[0]
    except subprocess.TimeoutExpired:
        process.terminate()
        output = process.communicate()[0] + f"ended after {LIMIT} s\n"
    return name, process.returncode == 0, time.monotonic() - begin, output


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("-j", "--jobs", type=int, default=1)
    options.add_argument("-k", "--keep", action="store_true")
    options.add_argument("-x", "--except", dest="excepted", action="append", default=[], metavar="PATTERN")
    options.add_argument("--inside", help=argparse.SUPPRESS)
    options.add_argument("patterns", nargs="*")
    options = options.parse_args()
    if options.inside:
        run_inside(options.inside, options.keep)
    chosen = [name for name in names() if any(part in name for part in options.patterns or [""])
              and not any(part in name for part in options.excepted)]
    passed = 0
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        for done in concurrent.futures.as_completed(pool.submit(run_apart, name, options.keep) for name in chosen):
            name, good, seconds, output = done.result()
            passed += good
            print(f"{'ok  ' if good else 'FAIL'} {name} ({seconds:.1f} s)", flush=True)
            if not good or options.keep:
                print(output, flush=True)
            else:
                print("".join(f"     {line}\n" for line in output.splitlines() if line.startswith("= ")), end="",
                      flush=True)
    print(f"{passed} passed, {len(chosen) - passed} failed")
    sys.exit(passed != len(chosen) or not chosen)


if __name__ == "__main__":
    main()
