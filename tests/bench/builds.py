#!/usr/bin/python3
"""Two builds of relaypoold side by side, by turns, with a real Postfix before each and one behind as the relay; without a
distance to it, processor time is what counts. For what a change costs: every line is logged, and metrics are read each
second by builds that have them. Prints messages a second for each turn, and the median of the turns' ratios.

    builds.py [-n MESSAGES] [-r MS] [-t TURNS] DIRECTORY DIRECTORY

Each directory holds relaypoold and relaypoolctl; a ratio is the second over the first.
"""
import argparse
import contextlib
import os
import statistics
import sys
import threading
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "../integration"))
from lib import daemon, front, sandbox, senders, settings  # noqa: E402
from lib.link import Link  # noqa: E402
from lib.relay import RelayPostfix  # noqa: E402

METRICS = "127.0.0.1:9725"
WARM_UP = 50


class Observed(senders.Pooled):
    """With everything on that the build has."""

    def __init__(self, directory):
        super().__init__(max_connections=10)
        with open(os.path.join(directory, "relaypoold"), "rb") as file:
            program = file.read()
        self.directory, self.over = directory, threading.Event()
        self.observed = {"log_messages": "all" if b"log-messages" in program else None}
        if b"relaypool_stage_seconds" in program:
            self.observed["metrics"] = f"inet:{METRICS.split(':')[1]}@127.0.0.1"

    def start(self, relay, cap):
        settings.BUILD = self.directory
        self.front = self.make()
        section = daemon.relay_section("far", relay, max_connections=cap)
        self.daemon = daemon.Relaypoold(self.front, section, **self.observed).start()
        self.front.start()
        self.over.clear()
        if "metrics" in self.observed:
            threading.Thread(target=self._scrape, daemon=True).start()

    def _scrape(self):
        while not self.over.wait(1):
            with contextlib.suppress(OSError), urllib.request.urlopen(f"http://{METRICS}/metrics", timeout=5) as answer:
                answer.read()

    def end(self):
        self.over.set()
        super().end()


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("-n", "--messages", type=int, default=2000)
    options.add_argument("-r", "--rtt", type=float, default=0, metavar="MS", help="round trip to the relay")
    options.add_argument("-t", "--turns", type=int, default=6)
    options.add_argument("directories", nargs=2)
    options = options.parse_args()
    directories = [os.path.realpath(directory) for directory in options.directories]
    sandbox.enter()
    relay = RelayPostfix(Link(options.rtt) if options.rtt else None, secure=False).start()
    rates = {directory: [] for directory in directories}
    for turn in range(options.turns):
        for directory in directories if turn % 2 == 0 else reversed(directories):
            seconds = senders.seconds_for(Observed(directory), relay, options.messages, WARM_UP)
            rates[directory].append(options.messages / seconds)
            print(f"{directory}: {rates[directory][-1]:.1f} messages/s", flush=True)
    ratios = sorted(second / first for first, second in zip(*(rates[directory] for directory in directories)))
    print(f"ratio: {statistics.median(ratios):.3f}, from {ratios[0]:.3f} to {ratios[-1]:.3f}")


if __name__ == "__main__":
    main()
