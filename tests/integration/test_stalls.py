"""Every cause of a stall, one at a time, in real runs: each is reported while it lasts, with the right stage and
holder, and once more when it ends. And runs in which nothing stalls report nothing."""
import collections
import contextlib
import os
import re
import signal
import socket
import subprocess
import threading
import time

from lib import front as fronts
from lib import sandbox, scene, settings
from lib.daemon import Relaypoold, relay_section, section
from lib.holding import HoldingRelay
from lib.link import Link
from lib.message import Message
from lib.relay import RelayPostfix
from lib.smtp import SmtpClient

LIMITS = {"client": 2, "mta": 2, "queue": 3, "ingest": 1, "pool": 1, "dns": 1, "connect": 1, "banner": 1, "ehlo": 1, "tls": 1,
          "auth": 1, "mail": 1, "rcpt": 1, "data": 1, "body": 1, "reply": 1}
PLAIN = {"keywords": ("PIPELINING", "8BITMIME", "SMTPUTF8", "DSN", "SIZE 50000000")}

numbers = iter(range(1, 1000))


def stall_lines(text, event):
    """[{key: value}] of the lines of the log."""
    return [dict(re.findall(r"(\w+)=([^, ]+)", line)) for line in re.findall(rf"stall: (event={event}.*)", text)]


class Case:
    """One cause. begin() makes mail wait, end() takes the cause away."""

    def __init__(self, name, stage, holder, cause, begin, end=lambda: None):
        self.name, self.stage, self.holder, self.cause = name, stage, holder, cause
        self.begin, self.end = begin, end


def send(front, domain, count=1, size=1500):
    """Hands mail to the front, in a thread of its own where the front may take its time."""
    messages = [Message(next(numbers), recipients=(f"r@{domain}.example",), size=size) for _ in range(count)]
    thread = threading.Thread(target=scene.inject, args=(messages, 4), daemon=True)
    thread.start()
    return thread


def run_case(case, daemon, front, found):
    """(stage, holder) as reported; what is wrong besides goes to `found`."""
    offset, patience = len(daemon.log()), settings.PATIENCE
    case.begin()
    try:
        settings.wait_until(lambda: stall_lines(daemon.log()[offset:], "begin"), 20, f"the stall of case {case.name}")
    except AssertionError:
        case.end()
        front.drain(60)
        return "-", "-"
    line = stall_lines(daemon.log()[offset:], "begin")[0]
    late = float(line["age"]) - float(line["limit"])
    if late > 1 * patience and case.cause != "loop":
        found.append(f"{case.name}: told {late:.1f} s after its limit")
    if line["cause"] != case.cause:
        found.append(f"{case.name}: cause {line['cause']} instead of {case.cause}")
    if stall_lines(daemon.log()[offset:], "end") and case.cause != "loop":
        found.append(f"{case.name}: ended while it lasted")
    case.end()

    def ended():
        return [end for end in stall_lines(daemon.log()[offset:], "end") if end["id"] == line["id"]]
    try:
        settings.wait_until(ended, 25, f"the end of the stall of case {case.name}")
    except AssertionError as error:
        found.append(str(error))
    front.drain(60)
    others = [other for other in stall_lines(daemon.log()[offset:], "begin")[1:]
              if (other["stage"], other["holder"]) != (line["stage"], line["holder"])]
    if others:
        found.append(f"{case.name}: reported besides: {others}")
    return line["stage"], line["holder"]


def run_cases(cases, daemon, front):
    found, matrix = [], collections.Counter()
    for case in cases:
        begun = time.monotonic()
        reported = run_case(case, daemon, front, found)
        matrix[(case.stage, case.holder), reported] += 1
        print(f"{case.name}: {'/'.join(reported)}, {time.monotonic() - begun:.1f} s", flush=True)
        if reported != (case.stage, case.holder):
            found.append(f"{case.name}: reported as {reported}, not as {(case.stage, case.holder)}")
    on_diagonal = sum(count for (wanted, reported), count in matrix.items() if wanted == reported)
    settings.figure(f"stalls reported as what they were: {on_diagonal} of {len(cases)}")
    for (wanted, reported), count in sorted(matrix.items()):
        settings.figure(f"  {'/'.join(wanted):18} as {'/'.join(reported):18} {count}")
    assert not found, "\n".join(found)


def start(sections, relays, front_parameters=None, prepare=lambda front: None, **keys):
    front = fronts.pooled(front_parameters)
    prepare(front)
    limits = [f"{stage}={seconds}" for stage, seconds in LIMITS.items()]
    daemon = Relaypoold(front, sections + scene.routes(relays), stall_limits=limits, **keys).start()
    return front.start(), daemon


def held(front, name, relay, stage, holder="relay", cause="answer", size=1500):
    """A case in which the relay holds still at its step."""
    def begin():
        relay.hold()
        send(front, name, size=size)
    return Case(name, stage, holder, cause, begin, relay.release)


# ---- the relay ----

def test_relay_causes():
    steps = {"banner": "banner", "ehlo": "ehlo", "starttls": "tls", "tls": "tls", "auth": "auth", "mail": "mail",
             "rcpt": "rcpt", "data": "data", "dot": "reply"}
    relays = {step: HoldingRelay(step, secure=True, **PLAIN) for step in steps}
    relays["body"] = HoldingRelay("body", **PLAIN)
    relays["throttle"] = HoldingRelay(**PLAIN)
    relays["backoff"] = HoldingRelay(**PLAIN)
    sections = "".join(relay_section(name, relay, account=name, max_connections=3,
                                     streaming="off" if name in ("mail", "rcpt", "data") else None)
                       for name, relay in relays.items())
    front, daemon = start(sections, relays)
    cases = [held(front, step, relays[step], stage) for step, stage in steps.items()]
    cases.append(held(front, "body", relays["body"], "body", cause="window", size=8 << 20))

    def refuse():
        relays["throttle"].refusal = "450 4.7.1 Error: too much mail from 127.0.0.1"
        send(front, "throttle")

    def accept():
        relays["throttle"].refusal = None
    cases.append(Case("throttle", "pool", "relay", "throttle", refuse, accept))

    def fail():
        relays["backoff"].step, relays["backoff"].fault, relays["backoff"].every = "banner", "die", 1
        send(front, "backoff")

    def work():
        relays["backoff"].step = None
    cases.append(Case("backoff", "pool", "relay", "backoff", fail, work))
    run_cases(cases, daemon, front)


# ---- relaypool and the network ----

class Resolver:
    """A name server that answers with one address, or holds its answers back."""

    def __init__(self, address):
        self.address = address
        self.gate = threading.Event()
        self.gate.set()
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.53", 53))
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            query, client = self.socket.recvfrom(4096)
            threading.Thread(target=self._answer, args=(query, client), daemon=True).start()

    def _answer(self, query, client):
        self.gate.wait(60)
        end = query.index(b"\0", 12) + 5
        kind = int.from_bytes(query[end - 4:end - 2], "big")
        header = query[:2] + b"\x81\x80\0\1" + (b"\0\1" if kind == 1 else b"\0\0") + b"\0\0\0\0"
        record = b"\xc0\x0c\0\1\0\1\0\0\0\0\0\4" + socket.inet_aton(self.address) if kind == 1 else b""
        self.socket.sendto(header + query[12:end] + record, client)


def one_at_a_time(relay, pause):
    """Every message takes so long at the relay: less than any limit."""
    relay.delays["dot"] = pause
    return relay


def test_relaypool_and_network_causes():
    resolver = Resolver("127.0.0.3")
    sandbox.replace("/etc/resolv.conf", "nameserver 127.0.0.53\noptions timeout:60 attempts:1\n", settings.work())
    link = Link(20)
    far = RelayPostfix(link).start()
    waits = settings.work("token.wait")
    relays = {name: one_at_a_time(HoldingRelay(**PLAIN), 0.4) for name in ("cap", "account", "neighbour")}
    relays.update({name: HoldingRelay(**PLAIN) for name in ("rate", "held", "loop", "slot", "dns")})
    relays["dns"].host = "slow.test"
    relays["token"] = HoldingRelay(secure=True, **PLAIN)
    relays["token"].mechanisms = "XOAUTH2"
    own = {"cap": {"max_connections": 1}, "account": {"account": "shared", "max_connections": 1},
           "neighbour": {"account": "shared", "max_connections": 1, "stall_limits": ["pool=60"]}, "rate": {"rate": 0.25}}
    own["token"] = {"password_file": None, "token_command": f"while [ -e {waits} ]; do sleep 0.1; done; "
                                                         f"echo {relays['token'].token}"}
    sections = "".join(relay_section(name, relay, **{"account": name, **own.get(name, {})})
                       for name, relay in relays.items())
    sections += relay_section("far", far, max_connections=2)
    front, daemon = start(sections, [*relays, "far"])
    cases = []

    def slow_name():
        resolver.gate.clear()
        send(front, "dns")
    cases.append(Case("dns", "dns", "network", "dns", slow_name, resolver.gate.set))

    def no_handshake():
        link.cut()
        send(front, "far")
    cases.append(Case("connect", "connect", "network", "connect", no_handshake, link.mend))
    cases.append(Case("path", "mail", "network", "path", no_handshake, link.mend))

    def no_token():
        with open(waits, "w", encoding="utf-8"):
            pass
        send(front, "token")
    cases.append(Case("token", "auth", "relaypool", "token", no_token, lambda: os.unlink(waits)))
    cases.append(Case("cap", "pool", "relaypool", "cap", lambda: send(front, "cap", 12)))

    def share():
        send(front, "neighbour", 12)
        time.sleep(0.3)
        send(front, "account")
    cases.append(Case("account", "pool", "relaypool", "account", share))
    cases.append(Case("rate", "pool", "relaypool", "rate", lambda: send(front, "rate", 2)))

    def hold_back():
        daemon.ctl("pause", "held")
        send(front, "held")
    cases.append(Case("held", "pool", "relaypool", "held", hold_back, lambda: daemon.ctl("resume", "held")))

    def freeze():
        daemon.send_signal(signal.SIGSTOP)
        time.sleep(2)
        daemon.send_signal(signal.SIGCONT)
    cases.append(Case("loop", "-", "relaypool", "loop", freeze))

    def restart():
        daemon.kill()
        daemon.start()
        send(front, "slot")
    cases.append(Case("slot", "pool", "relaypool", "slot", restart))
    run_cases(cases, daemon, front)


# ---- the MTA's side ----

class Policy:
    """A policy service of Postfix (SMTPD_POLICY_README) that lets pass, when it is allowed to."""

    def __init__(self):
        self.gate = threading.Event()
        self.gate.set()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            threading.Thread(target=self._answer, args=(self.listener.accept()[0],), daemon=True).start()

    def _answer(self, client):
        with client, client.makefile("rwb") as file:
            while line := file.readline():
                if line == b"\n":
                    self.gate.wait(60)
                    file.write(b"action=dunno\n\n")
                    file.flush()


class Dribbler:
    """A client of the front that is slow with one message, in the way that it is told."""

    def __init__(self, domain):
        self.client = SmtpClient(scene.ADDRESS)
        self.message = Message(next(numbers), recipients=(f"r@{domain}.example",), size=20000)
        self.over = threading.Event()

    def silent_after_mail(self):
        self.client.command("MAIL FROM:<sender@front.test>")
        self.over.wait(60)
        self.client.command("RSET")
        self.client.close()

    def step_by_step(self, last):
        """Without PIPELINING, as far as `last`."""
        self.client.command("MAIL FROM:<sender@front.test>")
        self.client.send(last)
        self.over.wait(60)
        self.client.close()

    def body(self, pause, size):
        """In pieces of `size` octets, `pause` seconds apart, until it is over; then the rest at once."""
        self.client.begin(self.message)
        content = self.message.content().replace(b"\r\n.", b"\r\n..")
        place = 0
        while not self.over.is_set() and place < len(content):
            self.client.send(content[place:place + size])
            place += size
            self.over.wait(pause)
        self.client.send(content[place:] + b".\r\n")
        self.client.reply()
        self.client.close()

    def start(self, how, *arguments):
        threading.Thread(target=how, args=arguments, daemon=True).start()


def hand_over_slowly(daemon, over):
    """As an LMTP client that does not get on."""
    client = SmtpClient(daemon.lmtp(), greeting="LHLO")
    client.begin(Message(next(numbers), recipients=("r@plain.example",)))
    client.send(b"Subject: half of it\r\n")
    over.wait(60)
    client.send(b"\r\n.\r\n")
    client.reply()
    client.close()


SLEEPY = {"rcpt": 2526, "eom": 2527}  # ports whose first milter sleeps in that step
NAP = 5                               # seconds


def add_sleepy_milters(front):
    for step, port in SLEEPY.items():
        path = os.path.join(front.queue_directory, f"{step}.sock")
        subprocess.Popen([os.path.join(settings.BUILD, "tests/tools/sleepy_milter"), f"unix:{path}", step, str(NAP)])
        ours = "unix:relaypool/milter.sock"
        front.postconf("-M", f"127.0.0.1:{port}/inet=127.0.0.1:{port} inet n - n - - smtpd"
                       f" -o {{ smtpd_milters = unix:{step}.sock, {ours} }}")


def send_to(port, domain):
    message = Message(next(numbers), recipients=(f"r@{domain}.example",))
    threading.Thread(target=lambda: SmtpClient(("127.0.0.1", port)).transaction(message), daemon=True).start()


def queue_manager(front):
    return int(subprocess.run(["pgrep", "-P", str(front.master_pid()), "-x", "qmgr"], capture_output=True, text=True,
                              check=True).stdout)


def test_mta_causes():
    policy = Policy()
    relays = {"plain": HoldingRelay(**PLAIN), "policy": HoldingRelay(**PLAIN),
              "few": one_at_a_time(HoldingRelay(**PLAIN), 0.3)}
    sections = "".join(relay_section(name, relay, account=name) for name, relay in relays.items())
    front, daemon = start(sections, relays, {
        "smtpd_restriction_classes": "slow",
        "slow": f"check_policy_service inet:127.0.0.1:{policy.port}",
        "smtpd_recipient_restrictions": "check_recipient_access inline:{ { policy.example = slow } }, permit_mynetworks, reject",
    }, prepare=add_sleepy_milters)
    cases = []

    def client_case(name, holder, cause, how, *arguments):
        dribbler = []

        def begin():
            dribbler.append(Dribbler("plain"))
            dribbler[0].start(getattr(dribbler[0], how), *arguments)
        cases.append(Case(name, "client", holder, cause, begin, lambda: dribbler[0].over.set()))
    client_case("silent client", "client", "client", "silent_after_mail")
    client_case("half a command", "unknown", "door", "step_by_step", b"RCPT TO:<r@")
    client_case("dribbling client", "client", "client", "body", 0.1, 20)
    client_case("client that stops", "unknown", "door", "body", 60, 5000)

    # A client that sends all at once is owed the answer to MAIL; of the others nobody can tell it from half a command.
    def slow_policy():
        policy.gate.clear()
        send(front, "policy")
    cases.append(Case("policy", "mta", "mta", "server", slow_policy, policy.gate.set))
    waiting = []

    def slow_policy_step_by_step():
        policy.gate.clear()
        waiting.append(Dribbler("policy"))
        waiting[0].start(waiting[0].step_by_step, b"RCPT TO:<r@policy.example>\r\n")

    def no_policy():
        policy.gate.set()
        waiting[0].over.set()
    cases.append(Case("policy, step by step", "client", "unknown", "door", slow_policy_step_by_step, no_policy))
    cases.append(Case("milter at RCPT", "mta", "mta", "server", lambda: send_to(SLEEPY["rcpt"], "plain")))
    cases.append(Case("milter at the end", "client", "unknown", "door", lambda: send_to(SLEEPY["eom"], "plain")))

    def stop_manager():
        os.kill(queue_manager(front), signal.SIGSTOP)
        send(front, "plain")
    cases.append(Case("queue manager", "queue", "mta", "manager", stop_manager,
                      lambda: os.kill(queue_manager(front), signal.SIGCONT)))

    def few_processes():
        front.allow_deliveries(1)
        send(front, "few", 30)
    cases.append(Case("delivery processes", "queue", "mta", "processes", few_processes))
    over = threading.Event()
    cases.append(Case("handover", "ingest", "mta", "handover",
                      lambda: threading.Thread(target=hand_over_slowly, args=(daemon, over), daemon=True).start(), over.set))
    run_cases(cases, daemon, front)
