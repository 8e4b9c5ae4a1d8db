#!/usr/bin/python3
"""relaypool and its peers side by side: messages a second to one relay over a link with a delay, and ratios.

Varies one thing at a time from a base point: round trip, loss, connections allowed, size, security, what the relay
announces. Every sender takes its turn at a point, in a sandbox of its own, against the same relay (a Postfix smtpd).
Writes results.md, results.json and an SVG for each axis. `make bench-peers` takes most of an hour,
`make bench-peers-short` less than five minutes; other choices:

    peers.py -a rtt,cap                            two axes, all senders
    peers.py -s tuned,auto,deep32 -r 0,100 -n 500  three senders at two distances, 500 messages each
    peers.py -r 300 -c 1,20                        one or twenty connections at 300 ms

Debian's packages of the other mail servers are downloaded and unpacked below the output directory, not installed;
libraries that they need are. RELAYPOOL_BUILD names the build directory.
"""
import argparse
import glob
import json
import os
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "../integration"))
from axes import AXES, Plan, parse, shown  # noqa: E402
from lib import packages  # noqa: E402
from lib.build import Failed  # noqa: E402
from plot import draw  # noqa: E402
from senders import WAYS  # noqa: E402
from table import document  # noqa: E402

CELL = os.path.join(os.path.dirname(os.path.realpath(__file__)), "cell.py")
SENDERS = "stock,tuned,auto,deep,sendmail,exim,opensmtpd,nodemailer"
FULL, SHORT = 15, 6  # seconds that a sender should take at a point
SHORT_GIVEN = {"rtt": (0, 100)}
FEWEST, MOST = 10, 20000  # messages
PATIENCE = 6  # times the seconds it should take, and then it has failed
START = 40    # seconds for the relay and the sender to start, and for the warm-up


def unpack(senders, directory):
    """{sender: why its packages cannot be had}; what was unpacked before is used again."""
    missing = {}
    os.makedirs(directory, exist_ok=True)
    for sender in senders:
        target = os.path.join(directory, sender)
        if WAYS[sender].packages and not os.path.exists(os.path.join(target, packages.VERSIONS)):
            print(f"Unpacking {' '.join(WAYS[sender].packages)}…", flush=True)
            try:
                packages.unpack(WAYS[sender].packages, target)
            except (Failed, OSError) as error:
                missing[sender] = str(error).splitlines()[-1]
    return missing


def versions(options):
    """Lines that say what was compared, and on what."""
    postfix = subprocess.run(["postconf", "-dh", "mail_version"], capture_output=True, text=True, check=True).stdout
    found = [f"postfix {postfix.strip()}"]
    for sender in options.senders:
        path = os.path.join(options.packages, sender, packages.VERSIONS)
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                found += [" ".join(line.split()) for line in file]
    if options.nodemailer:
        with open(os.path.join(options.nodemailer, "package.json"), encoding="utf-8") as file:
            found.append(f"nodemailer {json.load(file)['version']}, which is measured instead of Debian's")
    return [", ".join(found), f"{os.cpu_count()} processors, Linux {os.uname().release}, load "
            f"{os.getloadavg()[0]:.1f} at the start, {time.strftime('%Y-%m-%d %H:%M')}"]


def count_for(sender, point, options):
    """Messages to send."""
    if options.messages:
        return options.messages
    return min(max(FEWEST, round(WAYS[sender].expected(point) * options.seconds)), MOST)


def run_cell(sender, point, options):
    """What cell.py found; else {error, reason}, and its output in a file."""
    count = count_for(sender, point, options)
    limit = START + PATIENCE * count / WAYS[sender].expected(point)
    order = {"sender": sender, "point": point, "messages": count, "limit": limit}
    environment = {**os.environ, "RELAYPOOL_PACKAGES": options.packages}
    process = subprocess.Popen([sys.executable, "-B", CELL, json.dumps(order)], stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True, errors="replace", env=environment)
    try:
        output = process.communicate(timeout=limit + START)[0]
    except subprocess.TimeoutExpired:
        process.terminate()
        output = process.communicate()[0] + f"ended after {limit + START:.0f} s"
    finally:
        process.terminate()
        process.wait()
    last = output.rstrip().rpartition("\n")[2]
    if process.returncode == 0:
        return json.loads(last)
    with open(os.path.join(options.output, f"failed-{sender}.txt"), "a", encoding="utf-8") as file:
        file.write(f"{json.dumps(order)}\n{output}\n")
    return {"error": "failed", "reason": last}


def run_all(plan, options, missing, cells):
    """Fills `cells`, so that what was measured before an interruption is not lost."""
    for path in glob.glob(os.path.join(options.output, "failed-*.txt")):
        os.unlink(path)
    for point in plan.points():
        print(", ".join(shown(name, value) for name, value in point.items()), flush=True)
        for sender in options.senders:
            if sender in missing:
                result = {"error": "not available", "reason": missing[sender]}
            else:
                result = run_cell(sender, point, options)
            cells.append({"sender": sender, "point": point, **result})
            print(f"  {WAYS[sender].label:<26}" + (f"{result['rate']:8.1f} messages/s" if "rate" in result else
                                                   f"{result['error']}: {result['reason']}"), flush=True)


def write(options, name, content):
    with open(os.path.join(options.output, name), "w", encoding="utf-8") as file:
        file.write(content)


def report(plan, options, cells, about):
    text = document(plan, options.senders, cells, about)
    print(f"\n{text}")
    write(options, "results.md", text + "\n")
    write(options, "results.json", json.dumps({"about": about, "base": plan.base, "cells": cells}, indent=1) + "\n")
    for name, values in plan.axes.items():
        picture = draw(name, values, plan, options.senders, cells)
        if picture:
            write(options, f"{name}.svg", picture)
    print(f"Tables, raw figures and plots are in {options.output}.")


def chosen(parser, text, known):
    """Names separated by commas."""
    names = text.split(",") if text else []
    for name in names:
        if name not in known:
            parser.error(f"no {name}; there are {', '.join(known)}")
    return names


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-s", "--senders", default=SENDERS, metavar="SENDER,…", help=f"of {', '.join(WAYS)}")
    parser.add_argument("-a", "--axes", default="", metavar="AXIS,…", help=f"of {', '.join(AXES)}")
    parser.add_argument("-n", "--messages", type=int, help="as many everywhere, instead of for some seconds")
    parser.add_argument("-t", "--seconds", type=int,
                        help=f"that a sender should take at a point, default {FULL}; {SHORT} if short")
    parser.add_argument("-o", "--output", default="bench-peers", metavar="DIRECTORY")
    parser.add_argument("--nodemailer", metavar="DIRECTORY", help="the module to measure, instead of Debian's")
    parser.add_argument("--short", action="store_true", help="two points, few messages")
    for (name, axis), letter in zip(AXES.items(), ("r", "l", "c", "z", "p", "e")):
        parser.add_argument(f"-{letter}", f"--{name}", metavar="VALUE,…",
                            help=f"default {','.join(map(str, axis.values))}, base {axis.base}; one moves the base")
    return parser, parser.parse_args()


def options_and_plan():
    parser, options = parse_arguments()
    if "RELAYPOOL_BUILD" not in os.environ:
        parser.error("RELAYPOOL_BUILD does not say where relaypool was built")
    options.output = os.path.realpath(options.output)
    options.packages = os.path.join(options.output, "packages")
    options.seconds = options.seconds or (SHORT if options.short else FULL)
    options.senders = chosen(parser, options.senders, WAYS)
    if options.nodemailer:
        os.environ["RELAYPOOL_NODEMAILER"] = os.path.realpath(options.nodemailer)
    given = dict(SHORT_GIVEN) if options.short else {}
    for name in AXES:
        if getattr(options, name):
            try:
                given[name] = parse(name, getattr(options, name))
            except ValueError:
                parser.error(f"no such value of {name}: {getattr(options, name)}")
    return options, Plan(chosen(parser, options.axes, AXES), given)


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    options, plan = options_and_plan()
    missing, cells = unpack(options.senders, options.packages), []
    about = versions(options)
    try:
        run_all(plan, options, missing, cells)
    finally:
        report(plan, options, cells, about)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
