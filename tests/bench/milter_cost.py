#!/usr/bin/python3
"""What the milter adds to a message's time in the MTA, beside no milter and beside a filter that only inserts a header.

One Postfix, four smtpd services that differ in smtpd_milters alone, a session kept open to each. The services take
turns message by message, in an order that changes, so that whatever else the machine does meets all alike. Time runs
from MAIL to the reply to the end of data. Ends with 1 if the milter, with its default configuration and one recipient,
adds more to the median than --limit.
"""
import argparse
import os
import random
import re
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "../integration"))
from lib import build, daemon, front, sandbox, settings  # noqa: E402
from lib.smtp import SmtpClient, stuff  # noqa: E402

FIELDS, SIZE = 20, 2048
WARM_UP = 50
RECIPIENTS = (1, 20)

# Nothing is delivered, and nobody but smtpd, cleanup and the filters has work: what arrives is held.
HOLD = {"smtpd_data_restrictions": "check_client_access static:HOLD"}
RELAY = daemon.section("relay", "far", {"host": "127.0.0.2", "tls": "none"})
ROUTES = (daemon.section("route", "news", {"relays": ["far"], "headers": ["X-Campaign: news-*"]})
          + daemon.section("route", "rest", {"relays": ["far"]}))


class Service:
    """An smtpd with a filter, or with none, and the one session to it; `field` is what the filter inserts."""

    def __init__(self, label, field=None, socket=None):
        self.label, self.field, self.socket = label, field, socket
        self.session, self.queue_id = None, None
        self.milliseconds = {count: [] for count in RECIPIENTS}

    def open(self, mta, port):
        name = f"127.0.0.1:{port}/inet"
        mta.postconf("-M", f"{name}=127.0.0.1:{port} inet n - n - - smtpd")
        mta.postconf("-P", f"{name}/smtpd_milters={f'unix:relaypool/{self.socket}' if self.socket else ''}")

    def connect(self, port):
        self.session = SmtpClient(("127.0.0.1", port))

    def send(self, envelope, content):
        """One message; the milliseconds that it took."""
        begin = time.perf_counter()
        self.session.send(envelope)
        codes = [self.session.reply()[0] for _ in range(envelope.count(b"\n"))]
        self.session.send(content)
        code, text = self.session.reply()
        seconds = time.perf_counter() - begin
        if codes[-1] != 354 or code != 250:
            raise RuntimeError(f"{self.label}: {codes} {code} {text}")
        self.queue_id = re.search(r"queued as (\w+)", text).group(1)
        return seconds * 1000

    def check(self, mta):
        """The last message has the filter's header and no other's: what was measured is what is said."""
        header = subprocess.run(["postcat", "-c", mta.config, "-qh", self.queue_id], capture_output=True, text=True,
                                check=True).stdout
        found = re.findall(r"^(X-Empty|X-Relaypool):", header, re.MULTILINE)
        if found != ([self.field] if self.field else []):
            raise RuntimeError(f"{self.label}: inserted {found}, not {self.field}")


def make_message(recipients):
    """(MAIL, RCPT and DATA in one flight; the content as it goes over the wire)"""
    envelope = "MAIL FROM:<sender@front.test>\r\n" + "".join(
        f"RCPT TO:<recipient{number}@far.example>\r\n" for number in range(recipients)) + "DATA\r\n"
    names = ["From: <sender@front.test>", "To: undisclosed-recipients:;", "Date: Mon, 23 Nov 2026 12:00:00 +0000",
             "Message-Id: <measured@client.test>", "Subject: measured", "X-Campaign: news-1"]
    names += [f"X-Field-{number}: value of field {number}" for number in range(FIELDS - len(names))]
    header = "".join(f"{name}\r\n" for name in names) + "\r\n"
    line = "a line of the body, about as long as those that people write\r\n"
    body = (line * (SIZE // len(line)))[:SIZE - len(header) - 2].rstrip("\r") + "\r\n"
    return envelope.encode(), stuff((header + body).encode())


def start_filters(mta):
    """The empty filter and a relaypoold for each configuration; the daemons, to be stopped."""
    directory = os.path.join(mta.queue_directory, "relaypool")
    daemons = [daemon.Relaypoold(mta, RELAY),
               daemon.Relaypoold(mta, RELAY + ROUTES, "headers", milter=f"unix:{directory}/headers.sock",
                                 lmtp=f"unix:{directory}/headers-lmtp.sock")]
    for pool in daemons:
        pool.start()
    path = os.path.join(directory, "empty.sock")
    subprocess.Popen([os.path.join(settings.BUILD, "tests/bench/empty_milter"), f"unix:{path}"])
    settings.wait_until(lambda: os.path.exists(path), 10, "the empty filter")
    return daemons


def measure(services, messages, count):
    """Fills in what each message took. A seed of its own, so that the order is the same in every run."""
    order = random.Random(1)
    turns = [(service, recipients) for service in services for recipients in RECIPIENTS]
    for number in range(-WARM_UP, count):
        order.shuffle(turns)
        for service, recipients in turns:
            taken = service.send(*messages[recipients])
            if number >= 0:
                service.milliseconds[recipients].append(taken)


def report(services, recipients):
    """The figures; what the milter with its default configuration adds to the empty filter's median."""
    print(f"\n{len(services[0].milliseconds[recipients])} messages of {SIZE} octets with {FIELDS} header fields, "
          f"{recipients} recipient{'s'[:recipients > 1]}, milliseconds each:\n")
    print(f"  {'':<30}{'median':>8}{'quartiles':>16}{'over none':>12}{'over empty':>12}")
    medians = [statistics.median(service.milliseconds[recipients]) for service in services]
    for service, median in zip(services, medians):
        low, _, high = statistics.quantiles(service.milliseconds[recipients], n=4)
        print(f"  {service.label:<30}{median:8.3f}{low:8.3f}{high:8.3f}{median - medians[0]:+12.3f}"
              f"{median - medians[1]:+12.3f}")
    return medians[2] - medians[1]


def run(count):
    """What the milter adds with one recipient."""
    mta = front.FrontPostfix({**front.TUNED_QUEUE, **HOLD})
    services = [Service("no milter"), Service("empty filter", "X-Empty", "empty.sock"),
                Service("relaypool, default", "X-Relaypool", "milter.sock"),
                Service("relaypool, a headers route", "X-Relaypool", "headers.sock")]
    ports = range(front.PORT + 1, front.PORT + 1 + len(services))
    for service, port in zip(services, ports):
        service.open(mta, port)
    daemons = start_filters(mta)
    mta.start()
    for service, port in zip(services, ports):
        service.connect(port)
    measure(services, {recipients: make_message(recipients) for recipients in RECIPIENTS}, count)
    for service in services:
        service.check(mta)
        service.session.close()
    for pool in daemons:
        pool.stop()
    return [report(services, recipients) for recipients in RECIPIENTS][0]


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("-n", "--messages", type=int, default=2000, help="for each service and number of recipients")
    options.add_argument("-l", "--limit", type=float, default=0.2, metavar="MS")
    options = options.parse_args()
    sandbox.enter()
    build.prepare(["relaypoold", "relaypoolctl", "tests/bench/empty_milter"])
    added = run(options.messages)
    relation = "at most" if added <= options.limit else "MORE THAN"
    print(f"\nThe milter adds {added:.3f} ms, {relation} {options.limit:g} ms.")
    sys.exit(added > options.limit)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
