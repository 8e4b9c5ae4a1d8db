#!/usr/bin/python3
"""How long one message takes that meets nobody on its way: over LMTP by the pool alone, and from MTA to relay.

The relay is a real Postfix smtpd with STARTTLS and AUTH. First the pool alone: from the end of data written to
relaypoold's LMTP socket to its verdict, on connections that are open; a second relay without distance takes turns
with the far one, and what it takes is the relay's own time. Then Postfix alone and Postfix with relaypool: from the
end of injection to the relay's acceptance. Ends with 1 if the pool alone needs more than 1.15 round trips with
streaming = "deep" or 2.15 with "auto", besides the relay's own time.
"""
import argparse
import os
import statistics
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "../integration"))
from lib import build, daemon, front, rate, sandbox, scene, senders  # noqa: E402
from lib.link import Link  # noqa: E402
from lib.message import Message  # noqa: E402
from lib.relay import RelayPostfix  # noqa: E402
from lib.smtp import SmtpClient, stuff  # noqa: E402

SIZE = 2048
WARM_UP = 5  # with "deep" the first ones go as with "auto", until it is known what the relay answers to RSET
TRIPS = {"auto": 2.15, "deep": 1.15}
PAUSE = 0.3  # seconds, so that nothing of the message before is left


def milliseconds_to_verdict(client, message):
    """From the end of data, written, to the reply."""
    replies = client.begin(message)
    content = stuff(message.content())
    if replies[-1][0] == 354:
        client.send(content)
        begin = time.perf_counter()
        replies.append(client.reply())
    if replies[-1][0] != 250:
        raise RuntimeError(f"relaypoold refused a message: {replies}")
    return (time.perf_counter() - begin) * 1000


def pool_alone(relays, count):
    """{(place, way): [milliseconds]}; the relays are {place: relay}, and all take turns."""
    turns = {f"{place}-{way}": (place, way) for place in relays for way in TRIPS}
    sections = "".join(daemon.relay_section(name, relays[place], streaming=way, min_connections=1, account=name)
                       for name, (place, way) in turns.items())
    pool = daemon.Relaypoold(front.FrontPostfix(name="beside"), sections + scene.routes(turns), "alone").start()
    client = SmtpClient(pool.lmtp(), "LHLO")
    taken = {turn: [] for turn in turns.values()}
    for number in range(-WARM_UP, count):
        for name, turn in turns.items():
            message = Message(f"{name}.{number}", recipients=(f"recipient@{name}.example",), size=SIZE)
            milliseconds = milliseconds_to_verdict(client, message)
            if number >= 0:
                taken[turn].append(milliseconds)
            time.sleep(PAUSE)
    client.close()
    pool.stop()
    return taken


def report_alone(taken, options):
    """The figures; {way: round trips besides the relay's own time}."""
    trips = {}
    print(f"\n{options.messages} messages of {SIZE} octets, one at a time, by the pool alone; end of data to verdict, ms:\n")
    print(f"  {'':<24}{'without distance':>18}{f'{options.rtt:g} ms':>10}{'round trips':>14}")
    for way in TRIPS:
        near, far = (statistics.median(taken[place, way]) for place in ("near", "far"))
        trips[way] = (far - near) / options.rtt
        print(f"  streaming = {way:<12}{near:18.1f}{far:10.1f}{trips[way]:14.2f}", flush=True)
    return trips


def from_mta(label, sender, relay, count):
    """Prints what the first message and the median of later ones take from end of injection to acceptance."""
    sender.start(relay, 10)
    client = SmtpClient(scene.ADDRESS)
    taken = []
    for number in range(WARM_UP + count):
        taken.append(rate.seconds_until_accepted(relay, client, Message(f"{label}.{number}", size=SIZE)) * 1000)
        sender.front.drain(30, flush=False)
        time.sleep(PAUSE)
    client.close()
    sender.end()
    print(f"  {label:<24}{taken[0]:18.0f}{statistics.median(taken[WARM_UP:]):10.0f}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", "--messages", type=int, default=10)
    parser.add_argument("-r", "--rtt", type=float, default=100, metavar="MS", help="round trip in milliseconds")
    options = parser.parse_args()
    sandbox.enter()
    build.prepare(["relaypoold", "relaypoolctl", "tests/tools/link"])
    far = RelayPostfix(Link(options.rtt)).start()
    near = RelayPostfix(name="near").start()
    trips = report_alone(pool_alone({"near": near, "far": far}, options.messages), options)
    print(f"\nThe same through an MTA that is otherwise idle; end of injection to acceptance {options.rtt:g} ms away, ms:\n")
    print(f"  {'':<24}{'first':>18}{'later':>10}")
    from_mta("Postfix, stock", senders.Alone(front.stock), far, options.messages)
    from_mta("Postfix, tuned", senders.Alone(front.tuned), far, options.messages)
    from_mta("relaypool", senders.Pooled(), far, options.messages)
    from_mta("relaypool, deep", senders.Pooled(streaming="deep"), far, options.messages)
    print()
    for way, limit in TRIPS.items():
        relation = "at most" if trips[way] <= limit else "MORE THAN"
        print(f"With streaming = {way}, a message takes {trips[way]:.2f} round trips, {relation} {limit}.")
    sys.exit(any(trips[way] > limit for way, limit in TRIPS.items()))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
