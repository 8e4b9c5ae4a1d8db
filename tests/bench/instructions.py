#!/usr/bin/python3
"""Instructions and system calls that relaypoold spends on a message: figures that a busy machine does not blur.

smtp-source hands mail over by LMTP, relaypoold passes it on to a Postfix smtpd, without and with TLS. relaypoold runs
under callgrind, which counts what it executes; what the kernel does for it is not in the instructions, only how often
it is called. Each way runs for some messages and for twice as many: the difference is what messages cost, since start,
set-up of connections and end are in both. Two runs of one build agree to within 2 %; to compare two builds, run it for
each, RELAYPOOL_BUILD says which. It needs the package valgrind.
"""
import argparse
import collections
import os
import re
import shutil
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "../integration"))
from lib import build, daemon, front, rate, sandbox, settings  # noqa: E402
from lib.relay import RelayPostfix  # noqa: E402

CONNECTIONS = 2
SESSIONS = 20  # of LMTP: more than the connections carry, so that each always has its next message
WAYS = [(streaming, secure) for streaming in ("auto", "deep") for secure in (False, True)]
ROOMS = ["base", "smtp", "relay", "ingest", "observe", "main"]
LIBRARIES = {"libevent": r"libevent", "OpenSSL": r"libssl|libcrypto", "libc": r"libc[.-]", "others": ""}
NO_CALL = "clock_gettime"  # without callgrind it is none


class Profile:
    """What callgrind wrote: {(room or library, function): instructions}, {function: system calls}."""

    def __init__(self, path):
        self.instructions, self.calls = collections.Counter(), collections.Counter()
        self.names = collections.defaultdict(dict)  # callgrind writes a name once, and then its number
        with open(path, encoding="utf-8", errors="replace") as lines:
            self._read(lines)

    def _name(self, kind, text):
        number, name = re.match(r"(\(\d+\)) ?(.*)", text).groups()
        if name:
            self.names[kind][number] = name
        return self.names[kind][number]

    def _read(self, lines):
        """Costs of a function itself; the line behind "calls=" has those of what it called, which count there."""
        events, at = [], {}
        for line in lines:
            key, _, value = line.strip().partition("=")
            if key.startswith("events: "):
                events = key.split()[1:]
            elif key == "calls":
                next(lines)
            elif value and key.lstrip("c") in ("ob", "fl", "fi", "fe", "fn"):
                name = self._name({"b": "library", "n": "function"}.get(key[-1], "file"), value)
                if key in ("ob", "fl", "fn"):
                    at[key] = name
            elif re.match(r"[+*\d-]", line):
                costs = dict(zip(events, map(int, line.split()[1:])))
                self.instructions[place(at["ob"], at["fl"]), at["fn"]] += costs.get("Ir", 0)
                if NO_CALL not in at["fn"]:
                    self.calls[at["fn"].partition("@")[0]] += costs.get("sysCount", 0)


def place(library, file):
    """The room of a function of relaypoold's own, or whose it is."""
    if library.endswith("/relaypoold"):
        found = re.search(r"/milter/(?:(\w+)/)?\w+\.c$|/include/(\w+)/", file)
        return (found.group(1) or found.group(2) or "main") if found else "others"
    return next(name for name, pattern in LIBRARIES.items() if re.match(pattern, os.path.basename(library)))


def label(streaming, secure):
    return streaming + (", TLS" if secure else "")


def run(mta, relay, streaming, count):
    """The Profile of a relaypoold that takes `count` messages."""
    name = f"{relay.host}-{streaming}-{count}"
    path = settings.work(f"{name}.profile")
    section = daemon.relay_section("far", relay, max_connections=CONNECTIONS, min_connections=CONNECTIONS,
                                   max_messages=0, streaming=streaming)
    pool = daemon.Relaypoold(mta, section, name, user=None)  # callgrind writes as who it began
    pool.start(under=["valgrind", "--tool=callgrind", "--vgdb=no", "--collect-systime=yes",
                      f"--callgrind-out-file={path}"])
    rate.seconds_to_take(count, f"unix:{pool.lmtp()}", SESSIONS, lmtp=True)
    pool.stop()
    return Profile(path)


def costs(mta, relay, streaming, count):
    """({(place, function): instructions}, {function: system calls}) of one message."""
    once, twice = (run(mta, relay, streaming, times * count) for times in (1, 2))
    return [{key: (more[key] - less[key]) / count for key in more}
            for less, more in ((once.instructions, twice.instructions), (once.calls, twice.calls))]


def report(measured, functions):
    """The tables; `measured` is {label: costs()}."""
    print(f"\n  {'instructions a message':<28}" + "".join(f"{label:>14}" for label in measured))
    for name in [*ROOMS, *LIBRARIES]:
        sums = [sum(cost for (at, _), cost in instructions.items() if at == name) for instructions, _ in measured.values()]
        print(f"  {name:<28}" + "".join(f"{cost:14.0f}" for cost in sums))
    print(f"  {'all':<28}" + "".join(f"{sum(instructions.values()):14.0f}" for instructions, _ in measured.values()))
    print(f"\n  {'system calls a message':<28}" + "".join(f"{label:>14}" for label in measured))
    for name in sorted({name for _, calls in measured.values() for name, cost in calls.items() if cost > 0.05}):
        print(f"  {name:<28}" + "".join(f"{calls.get(name, 0):14.1f}" for _, calls in measured.values()))
    print(f"  {'all':<28}" + "".join(f"{sum(calls.values()):14.1f}" for _, calls in measured.values()))
    for label, (instructions, _) in measured.items() if functions else ():
        print(f"\n  {label}, functions with the most instructions:\n")
        for (at, name), cost in sorted(instructions.items(), key=lambda item: -item[1])[:functions]:
            print(f"  {cost:12.0f}  {at}: {name}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", "--messages", type=int, default=1000)
    parser.add_argument("-f", "--functions", type=int, default=0, metavar="N", help="show the costliest N of each way")
    options = parser.parse_args()
    if not shutil.which("valgrind"):
        sys.exit("valgrind is missing: apt install valgrind")
    sandbox.enter()
    build.prepare(["relaypoold", "relaypoolctl"])
    mta = front.FrontPostfix()
    relays = {False: RelayPostfix(secure=False).start(),
              True: RelayPostfix(address="127.0.0.3", host="second.test", name="secure").start()}
    measured = {label(streaming, secure): costs(mta, relays[secure], streaming, options.messages)
                for streaming, secure in WAYS}
    report(measured, options.functions)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
