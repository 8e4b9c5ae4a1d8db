#!/usr/bin/python3
"""The same mail over a long link, first by Postfix alone, tuned as its own documentation says, then by relaypool.

Both send 20 uncounted messages first. Time runs from the first injection to the relay's acceptance of the last.
"""
import argparse
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "../integration"))
from lib import build, front, sandbox, senders  # noqa: E402
from lib.link import Link  # noqa: E402
from lib.relay import RelayPostfix  # noqa: E402

WARM_UP = 20


def show(label, count):
    """A line that is rewritten while the mail goes; on a terminal only, else just its last state."""
    def progress(done, seconds):
        if sys.stdout.isatty() or done == count:
            end = "\n" if done == count else ""
            sys.stdout.write(f"\r  {label:<24}{done:>5} of {count} accepted by the relay, {seconds:5.1f} s{end}")
            sys.stdout.flush()
    return progress


def measure(relay, sender, count, label):
    """{label, seconds, rate, connections} of a sender."""
    opened = relay.connections()[0]
    seconds = senders.seconds_for(sender, relay, count, WARM_UP, progress=show(label, count))
    return {"label": label, "seconds": seconds, "rate": count / seconds, "connections": relay.connections()[0] - opened}


def choose_lines(log):
    """Of what relaypoold logged: the last three outcomes and the last statistics."""
    lines = [line for line in log.splitlines() if ": " in line]
    outcomes = [line for line in lines if "status=" in line]
    return outcomes[-3:] + [line for line in lines if "statistics: relay=" in line][-1:]


def report(alone, pooled, log, options):
    print(f"\n{options.messages} messages of 4 KiB to one relay {options.rtt:g} ms away; STARTTLS, AUTH, ten connections:\n")
    for result in (alone, pooled):
        print(f"  {result['label']:<24}{result['seconds']:6.1f} s {result['rate']:7.1f} messages/s,"
              f" {result['connections']} connections opened")
    print(f"  {'ratio':<24}{pooled['rate'] / alone['rate']:16.2f}\n\nrelaypoold's log:\n")
    for line in choose_lines(log):
        print(f"  {line}")


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("-n", "--messages", type=int, default=300)
    options.add_argument("-r", "--rtt", type=float, default=100, metavar="MS", help="round trip in milliseconds")
    options = options.parse_args()
    sandbox.enter()
    build.prepare(["relaypoold", "relaypoolctl", "tests/tools/link"])
    print("Starting a relay (Postfix smtpd) behind a long link…", flush=True)
    link = Link(options.rtt)
    relay = RelayPostfix(link).start()
    alone = measure(relay, senders.Alone(front.tuned), options.messages, "tuned Postfix alone")
    pool = senders.Pooled()
    pooled = measure(relay, pool, options.messages, "Postfix with relaypool")
    report(alone, pooled, pool.daemon.log(), options)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
