"""Runs tests, each in a process and a sandbox of its own; prints a line for each and a closing line. Called by the
run.py of each kind of test, whose text for -h says how.
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

from . import daemon

LIMIT = 600  # seconds for one test
LOG_LINES = 40


def names(directory):
    """Every test, "module.function", as the files there spell them; nothing is imported for it."""
    found = []
    for path in sorted(glob.glob(os.path.join(directory, "test_*.py"))):
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


def run_inside(name, keep, enter):
    """One test, in this process, in a sandbox. Never returns."""
    module, function = name.split(".")
    work = enter(module, keep)
    try:
        getattr(importlib.import_module(module), function)()
        daemon.stop_all()
    except BaseException:
        show_logs(work)
        traceback.print_exc(file=sys.stdout)
        sys.exit(1)
    sys.exit(0)


def run_apart(name, keep, script):
    """(name, passed, seconds, output)"""
    begin = time.monotonic()
    command = [sys.executable, script, "--inside", name] + (["-k"] if keep else [])
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
                               cwd="/")
    try:
        output = process.communicate(timeout=LIMIT)[0]
    except subprocess.TimeoutExpired:
        process.terminate()
        output = process.communicate()[0] + f"ended after {LIMIT} s\n"
    return name, process.returncode == 0, time.monotonic() - begin, output


def main(text, script, enter):
    """Of `script`, which is beside its tests. enter(MODULE, KEEP) goes on in a sandbox and returns its directory."""
    options = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("-j", "--jobs", type=int, default=1)
    options.add_argument("-k", "--keep", action="store_true")
    options.add_argument("-x", "--except", dest="excepted", action="append", default=[], metavar="PATTERN")
    options.add_argument("--inside", help=argparse.SUPPRESS)
    options.add_argument("patterns", nargs="*")
    options = options.parse_args()
    if options.inside:
        run_inside(options.inside, options.keep, enter)
    chosen = [name for name in names(os.path.dirname(script)) if any(part in name for part in options.patterns or [""])
              and not any(part in name for part in options.excepted)]
    passed = 0
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        runs = [pool.submit(run_apart, name, options.keep, script) for name in chosen]
        for done in concurrent.futures.as_completed(runs):
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

