#!/usr/bin/python3
"""What relaypool by itself gets through, without distance, beside the best that anything else gets out of the relay.

smtp-source hands mail over by LMTP; relaypoold passes it on over ten plain connections. The relay is an Exim that
keeps what it takes in its queue, measured against smtp-source and against a client that pipelines whole transactions
straight into it; then smtp-sink, which does next to nothing, against smtp-source. All take turns in rounds; the
median of each counts. Ends with 1 if relaypool, in its better way to stream, stays below either share. Exim
waits up to 0.2 s at QUIT for the client to close first, and some milliseconds between two messages of a connection.
"""
import argparse
import os
import statistics
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "../integration"))
from lib import build, cpu, daemon, exim, front, rate, sandbox  # noqa: E402
from lib.sink import Sink  # noqa: E402
from lib.smtp import SmtpClient, stuff  # noqa: E402

CONNECTIONS = 10
SESSIONS = 200  # of LMTP: what may wait and be on its way at once
WARM_UP = 200
BATCH = 8       # transactions that the pipelining client writes at once, behind as many that are not answered yet
SHARES = {"Exim": 0.85, "smtp-sink": 0.6}
SINK_TIMES = 5  # as many messages to smtp-sink as to Exim, which is so much slower


def one_transaction():
    """A message as smtp-source makes it, by BDAT."""
    line = "X" * 78 + "\r\n"
    content = ("From: <sender@front.test>\r\nTo: <recipient@far.example>\r\nDate: Mon, 23 Nov 2026 12:00:00 +0000\r\n"
               "Message-Id: <measured@client.test>\r\n\r\n" + line * (4096 // len(line)))
    return (f"RSET\r\nMAIL FROM:<sender@front.test> SIZE={len(content)}\r\nRCPT TO:<recipient@far.example>\r\n"
            f"BDAT {len(content)} LAST\r\n{content}").encode()


def pipeline(relay, count, done):
    """One connection: batch after batch, each written while the one before it is answered. When it was, into `done`."""
    client = SmtpClient((relay.address, relay.port))
    awaited = []
    for left in range(count, 0, -BATCH):
        awaited.append(min(BATCH, left))
        client.send(one_transaction() * awaited[-1])
        if len(awaited) > 1:
            read_replies(client, awaited.pop(0))
    read_replies(client, awaited.pop(0))
    done.append(time.monotonic())
    client.close()


def read_replies(client, transactions):
    codes = [client.reply()[0] for _ in range(4 * transactions)]
    if codes != [250] * len(codes):
        raise RuntimeError(f"the relay refused a pipelined transaction: {codes}")


class Source:
    """smtp-source straight into the relay, a session for each connection."""

    label = "smtp-source"

    def __init__(self, relay):
        self.relay = relay

    def run(self, count):
        """(messages a second, microseconds of relaypoold's processor time for each or None)"""
        return count / rate.seconds_to_take(count, f"{self.relay.address}:{self.relay.port}", CONNECTIONS), None


class Pipelined(Source):
    """The same by whole transactions, several in flight."""

    label = "a pipelining client"

    def run(self, count):
        done = []
        threads = [threading.Thread(target=pipeline, args=(self.relay, count // CONNECTIONS, done))
                   for _ in range(CONNECTIONS)]
        begin = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if len(done) < CONNECTIONS:
            raise RuntimeError("the pipelining client failed")
        return count // CONNECTIONS * CONNECTIONS / (max(done) - begin), None


class Pool(Source):
    """relaypoold in between; started for each run, as the other ways have no idle daemon beside them either."""

    def __init__(self, relay, mta, streaming):
        super().__init__(relay)
        section = daemon.relay_section("far", relay, max_connections=CONNECTIONS, streaming=streaming)
        self.label = f"relaypool, streaming = {streaming}"
        self.daemon = daemon.Relaypoold(mta, section, f"{relay.host}-{streaming}")

    def run(self, count):
        self.daemon.start()
        target = f"unix:{self.daemon.lmtp()}"
        rate.seconds_to_take(WARM_UP, target, SESSIONS, lmtp=True)
        before = cpu.seconds(self.daemon.process.pid)
        seconds = rate.seconds_to_take(count, target, SESSIONS, lmtp=True)
        used = cpu.seconds(self.daemon.process.pid) - before
        self.daemon.stop()
        return count / seconds, used / count * 1e6


def compare(name, ways, count, rounds):
    """The table; the share of the best pool in the best of the others. The first ways are the others."""
    results = {way: [] for way in ways}
    for _ in range(rounds):
        for way in ways:
            results[way].append(way.run(count))
    rates = {way: statistics.median(speed for speed, _ in results[way]) for way in ways}
    best = max(rates[way] for way in ways if not isinstance(way, Pool))
    print(f"\n{count} messages of 4 KiB to {name}, {CONNECTIONS} connections, median of {rounds}:\n")
    for way in ways:
        line = f"  {way.label:<30}{rates[way]:8.0f} messages/s {rates[way] / best:6.2f}"
        if isinstance(way, Pool):
            line += f"  {statistics.median(used for _, used in results[way]):6.0f} µs of relaypoold's processor time each"
        print(line, flush=True)
    return max(rates[way] for way in ways if isinstance(way, Pool)) / best


def measure(options):
    """{name of the relay: relaypool's share}"""
    mta = front.FrontPostfix()
    relay = exim.RelayExim(None, secure=False, per_connection=0).start()
    sink = Sink()
    pools = {place: [Pool(place, mta, streaming) for streaming in ("auto", "deep")] for place in (relay, sink)}
    return {"Exim": compare("Exim", [Source(relay), Pipelined(relay), *pools[relay]], options.messages,
                            options.rounds),
            "smtp-sink": compare("smtp-sink", [Source(sink), *pools[sink]], SINK_TIMES * options.messages,
                                 options.rounds)}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", "--messages", type=int, default=5000)
    parser.add_argument("-r", "--rounds", type=int, default=3)
    options = parser.parse_args()
    sandbox.enter(before=exim.provide)
    build.prepare(["relaypoold", "relaypoolctl"])
    shares = measure(options)
    print()
    for name, share in shares.items():
        relation = "at least" if share >= SHARES[name] else "BELOW"
        print(f"Of what {name} takes at best, relaypool gets through {share:.0%}, {relation} {SHARES[name]:.0%}.")
    sys.exit(any(share < SHARES[name] for name, share in shares.items()))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
