#!/usr/bin/python3
"""How fast Postfix alone and Postfix with relaypool send to a relay at some distances: messages a second, and ratios.

Every sender goes through the same relay (a real Postfix smtpd with STARTTLS and AUTH) in turn, at each distance, after
40 uncounted messages. Believe the ratios of a run, not its figures. `make bench-distance`, or with other options:

    distance.py [-n MESSAGES] [-c CONNECTIONS] [-r MS,MS…] [-s SENDER,SENDER…]
"""
import argparse
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "../integration"))
from lib import build, front, sandbox, senders  # noqa: E402
from lib.link import Link  # noqa: E402
from lib.relay import RelayPostfix  # noqa: E402
from lib.senders import Alone, Pooled  # noqa: E402

WARM_UP = 40
LIMIT = 600  # seconds for one sender at one distance


SENDERS = {
    "stock": ("Postfix, stock", lambda: Alone(front.stock)),
    "tuned": ("Postfix, tuned", lambda: Alone(front.tuned)),
    "off": ("relaypool, streaming = off", lambda: Pooled(streaming="off")),
    "auto": ("relaypool", Pooled),
    "deep": ("relaypool, streaming = deep", lambda: Pooled(streaming="deep")),
    "deep32": ("the same, max-depth = 32", lambda: Pooled(streaming="deep", max_depth=32)),
}


def measure(name, relay, options):
    """Messages a second."""
    sender = SENDERS[name][1]()
    return options.messages / senders.seconds_for(sender, relay, options.messages, WARM_UP, options.connections,
                                                  limit=LIMIT)


def at_distance(rtt, options):
    """{sender: messages a second}"""
    link = Link(rtt)
    relay = RelayPostfix(link).start()
    rates = {}
    for name in options.senders:
        rates[name] = measure(name, relay, options)
        print(f"  {rtt:5g} ms  {SENDERS[name][0]:<30}{rates[name]:8.1f} messages/s", flush=True)
    relay.remove()
    link.stop()
    return rates


def report(table, options):
    """One line for each sender: the rate at each distance, and how many times the first sender's."""
    print(f"\n{options.messages} messages of 4 KiB, {options.connections} connections, STARTTLS and AUTH; messages/s, and"
          f" times {SENDERS[options.senders[0]][0]}:\n")
    print(" " * 32 + "".join(f"{rtt:>13g} ms" for rtt in table))
    for name in options.senders:
        cells = (f"{rates[name]:9.1f} {rates[name] / rates[options.senders[0]]:6.2f}" for rates in table.values())
        print(f"  {SENDERS[name][0]:<30}" + "".join(cells))


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", "--messages", type=int, default=1000)
    parser.add_argument("-c", "--connections", type=int, default=10)
    parser.add_argument("-r", "--rtt", default="0,20,100,300", metavar="MS,MS…")
    parser.add_argument("-s", "--senders", default="tuned,auto,deep,deep32", metavar="SENDER,SENDER…",
                        help=f"of {', '.join(SENDERS)}")
    options = parser.parse_args()
    options.senders = options.senders.split(",")
    unknown = [name for name in options.senders if name not in SENDERS]
    if unknown:
        parser.error(f"no sender {unknown[0]}; there are {', '.join(SENDERS)}")
    options.distances = [float(rtt) for rtt in options.rtt.split(",")]
    return options


def main():
    options = parse()
    sandbox.enter()
    build.prepare(["relaypoold", "relaypoolctl", "tests/tools/link"])
    table = {rtt: at_distance(rtt, options) for rtt in options.distances}
    report(table, options)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
