#!/usr/bin/python3
"""What a relay's limits cost: ten connections at once and 50 messages on each, as SocketLabs has it.

Postfix hands mail over to relaypoold with its default way to stream, which passes it on to an Exim behind a link, with
STARTTLS and AUTH, that answers 421 beyond either limit; and, in turn, to one without limits. t, a message's time on a
connection, is what the run without limits took; the time to set a connection up is what relaypoold logged. 50 t of
each 50 t + set-up is then what can be had. Ends with 1 if the median of the rounds is less than 95 % of that or less
than 80 % of the throughput without limits, or if there was a single 421.
"""
import argparse
import collections
import os
import re
import statistics
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "../integration"))
from lib import build, exim, sandbox, senders  # noqa: E402
from lib.link import Link  # noqa: E402

CONNECTIONS, MESSAGES = 10, 50
ROTATIONS = 3  # of each connection in a run
WARM_UP = 40
OF_POSSIBLE, OF_UNLIMITED = 0.95, 0.8

Run = collections.namedtuple("Run", "rate setup opened refused replayed")


def refusals(text):
    """Whatever says in a log that a limit was exceeded."""
    return len(re.findall(r"\b421[ -]|too many", text, re.IGNORECASE))


def median_setup(log):
    """Seconds that messages waited for a connection to be set up, of those that did, by relaypoold's log."""
    waits = [float(seconds) for seconds in re.findall(r" delays=[^/]+/[^/]+/([\d.]+)/", log)]
    return statistics.median(seconds for seconds in waits if seconds)


def run(relay, limit):
    """One run of enough messages, by a relaypoold of its own."""
    count = ROTATIONS * CONNECTIONS * MESSAGES
    before, said = relay.connections()[0], refusals(relay.log())
    pool = senders.Pooled(max_messages=limit)
    pool.start(relay, CONNECTIONS)
    senders.measured(pool, relay, WARM_UP)
    seconds = senders.measured(pool, relay, count)
    replayed = pool.daemon.json("pools")["pools"][0]["replayed"]
    pool.end()
    log = pool.daemon.log()
    return Run(count / seconds, median_setup(log), relay.connections()[0] - before,
               refusals(relay.log()) - said + refusals(log), replayed)


def possible(free, limited):
    """The share of the throughput without limits that the set-up of connections leaves."""
    busy = MESSAGES * CONNECTIONS / free.rate
    return busy / (busy + limited.setup)


def show(free, limited):
    share = limited.rate / free.rate
    print(f"  {free.rate:8.1f}{limited.rate:10.1f}{share:9.0%}{limited.setup:10.2f} s{possible(free, limited):11.0%}"
          f"{share / possible(free, limited):14.0%}{limited.opened:9}{limited.refused:6}{limited.replayed:10}",
          flush=True)


def measure(options):
    """[(run without limits, run with them)]"""
    link = Link(options.rtt)
    unlimited = exim.RelayExim(None, link, per_connection=0, name="unlimited").start()
    limited = exim.RelayExim(None, link, port=26, accept_max=CONNECTIONS, per_connection=MESSAGES, name="limited")
    limited.start()
    print(f"\n{ROTATIONS * CONNECTIONS * MESSAGES} messages of 4 KiB to a relay {options.rtt:g} ms away, {CONNECTIONS} "
          f"connections; messages/s without limits and with {MESSAGES} messages a connection:\n")
    print(f"  {'without':>8}{'with':>10}{'share':>9}{'set-up':>12}{'possible':>11}{'of possible':>14}{'opened':>9}"
          f"{'421':>6}{'replayed':>10}")
    rounds = []
    for _ in range(options.rounds):
        rounds.append((run(unlimited, 0), run(limited, MESSAGES)))
        show(*rounds[-1])
    return rounds


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", "--rounds", type=int, default=3)
    parser.add_argument("-r", "--rtt", type=float, default=100, metavar="MS", help="round trip in milliseconds")
    options = parser.parse_args()
    sandbox.enter(before=exim.provide)
    build.prepare(["relaypoold", "relaypoolctl", "tests/tools/link"])
    rounds = measure(options)
    of_possible = statistics.median(limited.rate / free.rate / possible(free, limited) for free, limited in rounds)
    of_unlimited = statistics.median(limited.rate / free.rate for free, limited in rounds)
    refused = sum(free.refused + limited.refused for free, limited in rounds)
    print(f"\nWith the limits relaypool has {of_possible:.0%} of what is possible, "
          f"{'at least' if of_possible >= OF_POSSIBLE else 'BELOW'} {OF_POSSIBLE:.0%},\nand {of_unlimited:.0%} of what "
          f"it has without, {'at least' if of_unlimited >= OF_UNLIMITED else 'BELOW'} {OF_UNLIMITED:.0%}; "
          f"the relays said 421 {refused} times.")
    sys.exit(of_possible < OF_POSSIBLE or of_unlimited < OF_UNLIMITED or refused > 0)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
