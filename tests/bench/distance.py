#!/usr/bin/python3
"""Whether a far relay takes as much as a near one: streaming = "deep" at three distances, and one connection of it.

Postfix with relaypool hands mail to a Postfix smtpd behind a link, with STARTTLS and AUTH. At 100 ms once with the
default max-depth and once with what relaypool.conf(5) says of this distance, at 300 ms with Postfix's limits raised as
well. One connection with max-depth = 32 at 100 ms stands beside Postfix alone, tuned, with ten. All take turns in
rounds; the median of each counts. Ends with 1 if deep gets less than 90 % of its throughput without distance at 100 ms
(by the manual) or less than 80 % at 300 ms, or if the one connection gets less than twice what the ten do.
"""
import argparse
import collections
import os
import statistics
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "../integration"))
from lib import build, front, sandbox, senders  # noqa: E402
from lib.link import Link  # noqa: E402
from lib.relay import RelayPostfix  # noqa: E402

NEARER, DEPTH, DELIVERIES = 16, 32, 300  # instead of max-depth 8 and 100 deliveries

# `keys` are relaypool's, None for Postfix alone; `expected` messages a second, only to choose how many to send.
Way = collections.namedtuple("Way", "label keys rtt cap expected")
WAYS = {
    "near": Way("deep, without distance", {}, 0, 10, 300),
    "default": Way("deep, 100 ms, max-depth 8", {}, 100, 10, 250),
    "far": Way("deep, 100 ms, max-depth 16", {"max_depth": NEARER}, 100, 10, 250),
    "farthest": Way("deep, 300 ms, limits raised", {"max_depth": DEPTH, "deliveries": DELIVERIES}, 300, 10, 250),
    "one": Way("deep, 100 ms, one connection", {"max_depth": DEPTH}, 100, 1, 150),
    "tuned": Way("Postfix, tuned, 100 ms", None, 100, 10, 30),
}

Relation = collections.namedtuple("Relation", "way base least text")
RELATIONS = (Relation("far", "near", 0.9, "Deep at 100 ms has {} of what it has without distance"),
             Relation("farthest", "near", 0.8, "Deep at 300 ms has {} of what it has without distance"),
             Relation("one", "tuned", 2, "One connection has {} of what tuned Postfix has on ten"))


def measure(way, options):
    """Messages a second, over a link of its own."""
    link = Link(way.rtt)
    relay = RelayPostfix(link).start()
    if way.keys is None:
        sender = senders.Alone(front.tuned)
    else:
        sender = senders.Pooled(streaming="deep", **way.keys)
    count = way.expected * options.seconds
    rate = count / senders.seconds_for(sender, relay, count, 20 * way.cap, way.cap)
    relay.remove()
    link.stop()
    return rate


def measure_all(options):
    """{way: [messages a second in each round]}"""
    rates = {name: [] for name in WAYS}
    for _ in range(options.rounds):
        for name, way in WAYS.items():
            rates[name].append(measure(way, options))
    return rates


def report(rates):
    """The figures; {way: median}."""
    print("\nMessages of 4 KiB a second; STARTTLS, AUTH, ten connections where nothing else is\n"
          f"said. Raised: at 300 ms max-depth to {DEPTH}, Postfix's\n"
          "relaypool_destination_concurrency_limit, relaypool_initial_destination_concurrency\n"
          f"and the process limit of the service to {DELIVERIES}; with one connection max-depth to {DEPTH}.\n")
    medians = {name: statistics.median(found) for name, found in rates.items()}
    for name, way in WAYS.items():
        rounds = ", ".join(f"{rate:.1f}" for rate in rates[name])
        print(f"  {way.label:<30}{medians[name]:8.1f}   of {rounds}")
    print()
    return medians


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", "--rounds", type=int, default=3)
    parser.add_argument("-t", "--seconds", type=int, default=12, help="that each takes its turn for, roughly")
    options = parser.parse_args()
    sandbox.enter()
    build.prepare(["relaypoold", "relaypoolctl", "tests/tools/link"])
    medians = report(measure_all(options))
    shares = {relation: medians[relation.way] / medians[relation.base] for relation in RELATIONS}
    for relation, share in shares.items():
        said = "at least" if share >= relation.least else "BELOW"
        print(f"{relation.text.format(f'{share:.0%}')}, {said} {relation.least:.0%}.")
    sys.exit(any(share < relation.least for relation, share in shares.items()))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
