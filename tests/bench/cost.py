#!/usr/bin/python3
"""What relaypoold costs: memory for a connection that is idle and for a message that waits, and processor time.

Memory is what the process has written and shares with nobody. A daemon that keeps idle TLS connections open is
compared with one that keeps none; the same daemon with messages waiting for a paused relay, each in an LMTP session of
its own, with itself before: what a session takes is included, as are body and envelope. Processor time is compared
with that of all processes of the Postfix in front, for the same messages, to a relay behind a link with STARTTLS and
AUTH. Ends with 1 if an idle connection takes more than 64 KiB, a waiting message more than body, envelope and 4 KiB,
or relaypoold more than a tenth of Postfix's processor time.
"""
import argparse
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "../integration"))
from lib import build, cpu, daemon, front, memory, sandbox, senders, settings  # noqa: E402
from lib.link import Link  # noqa: E402
from lib.message import Message  # noqa: E402
from lib.relay import RelayPostfix  # noqa: E402
from lib.smtp import SmtpClient, stuff  # noqa: E402

IDLE, WAITING, SIZE = 200, 300, 4096
CONNECTIONS, WARM_UP = 10, 40
MOST_IDLE, MOST_WAITING, MOST_TIME = 64 * 1024, 4 * 1024, 0.1
KIB = 1024


def pool_of(pool):
    """What relaypoolctl says about the only relay."""
    return pool.json("pools")["pools"][0]


def settled(pool, key, count):
    """Memory, once that many connections or messages of the pool are `key`."""
    settings.wait_until(lambda: pool_of(pool)[key] == count, 60, f"{count} {key}")
    time.sleep(1)
    return memory.private(pool.process.pid)


def with_idle(mta, relay, count):
    """Memory of a daemon with that many idle connections."""
    section = daemon.relay_section("far", relay, max_connections=IDLE, min_connections=count, max_age=0)
    pool = daemon.Relaypoold(mta, section, f"idle-{count}").start()
    taken = settled(pool, "idle", count)
    pool.stop()
    return taken


def idle_connection(mta, relay):
    """Octets for each."""
    without, taken = with_idle(mta, relay, 0), with_idle(mta, relay, IDLE)
    each = (taken - without) / IDLE
    print(f"\n{IDLE} idle TLS connections: {taken / KIB:.0f} KiB, without any {without / KIB:.0f} KiB; "
          f"{each / KIB:.1f} KiB for each", flush=True)
    return each


def handed_over(client, message):
    """The message is relaypoold's, and its verdict is awaited."""
    replies = client.begin(message)
    if replies[-1][0] != 354:
        raise RuntimeError(f"relaypoold refused a message: {replies}")
    client.send(stuff(message.content()))


def waiting_message(mta, relay):
    """Octets for each besides body and envelope."""
    pool = daemon.Relaypoold(mta, daemon.relay_section("far", relay, max_connections=CONNECTIONS), "waiting").start()
    pool.ctl("pause")
    messages = [Message(number, size=SIZE) for number in range(WAITING)]
    for message in messages:
        message.params = f" SIZE={len(message.content())}"  # as Postfix says it
    before = settled(pool, "waiting", 0)
    clients = [SmtpClient(pool.lmtp(), "LHLO") for _ in messages]
    sessions = settled(pool, "waiting", 0)
    for client, message in zip(clients, messages):
        handed_over(client, message)
    waiting = settled(pool, "waiting", WAITING)
    pool.ctl("resume")
    if {client.reply()[0] for client in clients} != {250}:
        raise RuntimeError("relaypoold did not send what had waited")
    for client in clients:
        client.close()
    pool.stop()
    return report_waiting(messages, before, sessions, waiting)


def report_waiting(messages, before, sessions, waiting):
    own = sum(len(message.content()) + len(message.params + message.sender + message.recipients[0][0])
              for message in messages) / WAITING
    each = (waiting - before) / WAITING
    print(f"{WAITING} messages that wait: {waiting / KIB:.0f} KiB, without any {before / KIB:.0f} KiB; "
          f"{each / KIB:.1f} KiB for each, of which\n  {own / KIB:.1f} KiB body and envelope, "
          f"{(each - own) / KIB:.1f} KiB besides; a session that has said LHLO takes "
          f"{(sessions - before) / WAITING / KIB:.1f} KiB", flush=True)
    return each - own


def processor_time(relay, streaming, count):
    """relaypoold's part of what Postfix takes."""
    sender = senders.Pooled(streaming=streaming)
    sender.start(relay, CONNECTIONS)
    senders.measured(sender, relay, WARM_UP)
    master, own = sender.front.master_pid(), sender.daemon.process.pid
    before, own_before = cpu.family_seconds(master), cpu.seconds(own)
    seconds = senders.measured(sender, relay, count)
    taken, own_taken = cpu.family_seconds(master) - before, cpu.seconds(own) - own_before
    sender.end()
    print(f"streaming = {streaming}: {count / seconds:.0f} messages/s; for each Postfix takes "
          f"{taken / count * 1e6:.0f} µs, relaypoold {own_taken / count * 1e6:.0f} µs, {own_taken / taken:.1%}",
          flush=True)
    return own_taken / taken


def relation(figure, most):
    return "at most" if figure <= most else "MORE THAN"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", "--messages", type=int, default=2000, help="for each way to stream")
    parser.add_argument("-r", "--rtt", type=float, default=100, metavar="MS", help="round trip in milliseconds")
    options = parser.parse_args()
    sandbox.enter()
    build.prepare(["relaypoold", "relaypoolctl", "tests/tools/link"])
    mta, near = front.FrontPostfix(name="beside"), RelayPostfix(name="near", processes=IDLE + 50).start()
    idle, waiting = idle_connection(mta, near), waiting_message(mta, near)
    near.stop()
    far = RelayPostfix(Link(options.rtt)).start()
    time_taken = max(processor_time(far, streaming, options.messages) for streaming in ("auto", "deep"))
    print(f"\nAn idle connection takes {idle / KIB:.1f} KiB, {relation(idle, MOST_IDLE)} {MOST_IDLE // KIB} KiB.\n"
          f"A waiting message takes {waiting / KIB:.1f} KiB besides body and envelope, "
          f"{relation(waiting, MOST_WAITING)} {MOST_WAITING // KIB} KiB.\n"
          f"relaypoold takes {time_taken:.1%} of Postfix's processor time, "
          f"{relation(time_taken, MOST_TIME)} {MOST_TIME:.0%}.")
    sys.exit(idle > MOST_IDLE or waiting > MOST_WAITING or time_taken > MOST_TIME)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
