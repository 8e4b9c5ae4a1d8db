"""What contrib has for other programs that read the log, or ask relaypoolctl, with those programs themselves."""
import collections
import csv
import json
import os
import re
import socket
import subprocess

from lib import scene, settings
from lib.daemon import relay_section
from lib.message import Message
from lib.scripted import ScriptedRelay

CONTRIB = os.path.join(settings.SOURCE, "contrib")
REFUSED = "refused@bad.example"

# As relaypool-log(7) has them; a stall takes too long to be made here.
STALLS = (
    "warning: stall: event=begin, id=91, relay=good, stage=reply, holder=relay, age=5.0, limit=5.0, waiting=7, cause=answer",
    "warning: stall: event=begin, id=92, relay=-, stage=mta, holder=mta, age=60, limit=60, waiting=1, cause=manager",
    "stall: event=end, id=91, relay=good, stage=reply, holder=relay, age=17.4, messages=23, cause=answer",
    "warning: stall: event=begin, id=93, relay=-, stage=-, holder=relaypool, age=0.7, limit=0.5, waiting=3, cause=loop",
    "stall: event=end, id=93, relay=-, stage=-, holder=relaypool, age=1.5, messages=3, cause=loop",
)
# Whatever a relay says stands at the end of a line; it must not count as a line of its own.
FORGED = ("4fXyZ1: relay=good, host=a[192.0.2.1]:25, conn=1, conn_use=1, nrcpt=1, size=1, delay=1, delays=-/0.5/-/0.25, "
          "dsn=5.0.0, status=bounced (550 mx relaypoold[1]: warning: stall: event=begin, id=1, relay=bad, stage=reply, "
          "holder=relay, age=5.0, limit=5.0, waiting=7, cause=answer)")
PREFIXES = ("Nov  3 09:12:01 mx1 relaypoold[812]: ", "2026-11-03T09:12:01.123456+00:00 mx1 relaypoold[812]: ")
NEWS = re.compile("warning: |error: |fatal: |control: |test-route: .*result=|relay: relay=[^ ]*, event=(mode|quit)")
OUTCOME = re.compile(r"[\w-]+: relay=([^ ,]+), .* nrcpt=(\d+), .* delays=[^/]+/([^/]+)/([^/]+)/([^ ,]+), .* status=(\w+) ")


class _Closed:
    """Where a relay should be and nobody listens."""

    def __init__(self):
        with socket.create_server(("127.0.0.4", 0)) as server:
            self.port = server.getsockname()[1]
        self.host, self.secure = "third.test", False


def _mail():
    """(front, daemon) that have sent, bounced and deferred mail, and are still there."""
    relays = {"good": ScriptedRelay(), "bad": ScriptedRelay(refused=REFUSED), "down": _Closed()}
    sections = "".join(relay_section(name, relay) for name, relay in relays.items()) + scene.routes(relays)
    front, daemon = scene.pooled(sections, deadline=10, reply_reserve=3)
    scene.inject([Message(f"good{number}", recipients=("a@good.example", "b@good.example")) for number in range(20)])
    scene.inject([Message(f"bad{number}", recipients=(REFUSED, "a@bad.example")) for number in range(10)])
    scene.inject([Message(f"down{number}", recipients=("a@down.example",)) for number in range(5)])
    settings.wait_until(lambda: scene.statuses(front)["deferred"] >= 5, 30, "the mail for the dead relay to be deferred")
    settings.wait_until(lambda: scene.statuses(front)["sent"] >= 50, 30, "the other mail to be sent")
    return front, daemon


def _texts(daemon):
    """The lines of a whole life of a daemon, without what comes before each."""
    daemon.stop()
    texts = [line.removeprefix("relaypoold: ") for line in daemon.log().splitlines() if line.startswith("relaypoold: ")]
    assert texts and texts[-1].startswith("stop: "), texts
    return texts + [*STALLS, FORGED]


def _as_syslog(texts, prefix):
    """A file as syslog would have written it."""
    path = settings.work("mail.log")
    with open(path, "w", encoding="utf-8") as file:
        file.write("".join(f"{prefix}{text}\n" for text in texts))
    return path


def _output(*command, **options):
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, **options).stdout


# ---- by our own reading ----

def _outcomes(texts):
    return [found.groups() for found in map(OUTCOME.match, texts) if found]


def _lines_by_status(texts):
    """{(relay, status): (lines, recipients)}"""
    counts = collections.defaultdict(lambda: [0, 0])
    for relay, recipients, _pool, _setup, _transfer, status in _outcomes(texts):
        counts[relay, status][0] += 1
        counts[relay, status][1] += int(recipients)
    return {key: tuple(value) for key, value in counts.items()}


def _levels(texts):
    return collections.Counter(match.group(1) if (match := re.match("(warning|error|fatal): ", text)) else "info"
                               for text in texts)


# ---- mtail ----

def _metrics(path):
    """{name: {labels in the order of their names: value}} as mtail has read them."""
    output = _output("mtail", "--one_shot", "--one_shot_format=prometheus", "--progs", os.path.join(CONTRIB, "mtail"),
                     "--logs", path)
    metrics = collections.defaultdict(dict)
    for name, labels, value in re.findall(r"^(relaypool_\w+)(?:\{(.*)\})? (\S+)$", output, re.MULTILINE):
        values = [text for label, text in sorted(re.findall(r'(\w+)="([^"]*)"', labels)) if label not in ("prog", "le")]
        metrics[name][tuple(values)] = float(value)
    return metrics


def _expect_metrics(texts, metrics):
    statistics = collections.Counter()
    for relay, *numbers in re.findall(r"^statistics: relay=([^ ,]+), .*?sent=(\d+), deferred=(\d+), bounced=(\d+), ",
                                      "\n".join(texts), re.MULTILINE):
        for status, number in zip(("sent", "deferred", "bounced"), numbers):
            statistics[relay, status] += int(number)
    scene.equal(dict(metrics["relaypool_recipients_total"]), dict(statistics), "recipients by mtail")
    made_here = [text for text in texts if text != FORGED]
    scene.equal({key: number for key, number in statistics.items() if number},
                {key: recipients for key, (_, recipients) in _lines_by_status(made_here).items()}, "recipients by statistics")
    delays = collections.Counter()
    for relay, _recipients, *parts, _status in _outcomes(texts):
        for stage, part in zip(("pool", "setup", "transfer"), parts):
            delays[relay, stage] += part != "-"
    scene.equal(dict(metrics["relaypool_delay_seconds_count"]), {key: n for key, n in delays.items() if n}, "delays")
    failures = sum(int(count) for count in re.findall("^warning: connection: relay=down, .*count=(\\d+),", "\n".join(texts),
                                                      re.MULTILINE))
    assert failures > 0, "no failure of the dead relay is in the log"
    scene.equal(metrics["relaypool_connection_failures_total"], {("down",): failures}, "failures")
    scene.equal(metrics["relaypool_relay_up"], {("down",): 0}, "relays that are up or down")
    scene.equal(metrics["relaypool_stalls_total"],
                {("answer", "relay", "good", "reply"): 1, ("manager", "mta", "-", "mta"): 1,
                 ("loop", "relaypool", "-", "-"): 1}, "stalls")
    scene.equal(metrics["relaypool_stall_seconds_total"],
                {("answer", "relay", "good", "reply"): 17.4, ("loop", "relaypool", "-", "-"): 1.5}, "time of stalls")
    scene.equal(metrics["relaypool_warnings_total"],
                {(level,): n for level, n in _levels(texts).items() if level != "info"}, "warnings")


# ---- lnav ----

def _query(path, query):
    """Rows of a query of the log; its format is installed in a home of its own."""
    environment = {**os.environ, "HOME": settings.work("home", "alice"), "TERM": "dumb"}
    environment.pop("XDG_CONFIG_HOME", None)
    _output("lnav", "-i", os.path.join(CONTRIB, "lnav", "relaypoold.json"), env=environment)
    checked = subprocess.run(["lnav", "-W", "-C"], capture_output=True, text=True, check=True, env=environment)
    scene.equal(checked.stdout + checked.stderr, "", "what lnav says of the format and its samples")
    output = _output("lnav", "-n", "-c", f";{query}", "-c", ":write-csv-to -", path, env=environment)
    return list(csv.reader(output.splitlines()))[1:]


def _expect_rows(texts, path):
    rows = _query(path, "select relay, status, count(*), sum(nrcpt) from relaypoold_log where status is not null "
                        "group by relay, status")
    scene.equal({(relay, status): (int(lines), int(recipients)) for relay, status, lines, recipients in rows},
                _lines_by_status(texts), "outcomes by lnav")
    levels = {"warning": "warning", "error": "error", "critical": "fatal", "info": "info"}
    rows = _query(path, "select log_level, count(*) from relaypoold_log group by log_level")
    scene.equal({levels[level]: int(count) for level, count in rows}, dict(_levels(texts)), "severities by lnav")
    rows = _query(path, "select event, relay, stage, holder, cause, age from relaypoold_log where kind = 'stall'")
    scene.equal([(*words, float(age)) for *words, age in rows],
                [("begin", "good", "reply", "relay", "answer", 5.0), ("begin", "-", "mta", "mta", "manager", 60.0),
                 ("end", "good", "reply", "relay", "answer", 17.4), ("begin", "-", "-", "relaypool", "loop", 0.7),
                 ("end", "-", "-", "relaypool", "loop", 1.5)], "stalls by lnav")


# ---- logcheck ----

def _documented():
    """The lines of relaypool-log(7)."""
    with open(os.path.join(settings.SOURCE, "milter", "relaypool-log.7"), encoding="utf-8") as file:
        return [line.replace('""', '"') for line in re.findall(r'^\.It Li "(.*)"$', file.read(), re.MULTILINE)]


def _expect_passed(texts, path):
    """What logcheck would mail: grep, called as it does."""
    rules = os.path.join(CONTRIB, "logcheck", "relaypool")
    left = subprocess.run(["grep", "--text", "-E", "-v", "-f", rules, path], capture_output=True, text=True,
                          check=False).stdout.splitlines()
    prefix = next(prefix for prefix in PREFIXES if left[0].startswith(prefix))
    scene.equal([line.removeprefix(prefix) for line in left],
                [text for text in texts if NEWS.match(text)], "what logcheck reports")


def test_log_is_read_by_mtail_lnav_and_logcheck():
    _front, daemon = _mail()
    daemon.ctl("resume")
    texts = _texts(daemon)
    assert {("good", "sent"), ("bad", "sent"), ("bad", "bounced")} <= set(_lines_by_status(texts)), _lines_by_status(texts)
    for prefix in PREFIXES:
        path = _as_syslog(texts, prefix)
        _expect_metrics(texts, _metrics(path))
        _expect_rows(texts, path)
        _expect_passed(texts, path)
        documented = _documented()
        _expect_passed(documented, _as_syslog(documented, prefix))
    settings.figure(f"{len(texts)} lines read alike by mtail, lnav and logcheck's grep")


# ---- the plugin ----

def _check(control, *words, ctl=None):
    """(exit code, text, {name: figure}) of check_relaypool."""
    result = subprocess.run(["sh", os.path.join(CONTRIB, "nagios", "check_relaypool"), "-s", control, *words],
                            capture_output=True, text=True, check=False, timeout=60,
                            env={**os.environ, "RELAYPOOLCTL": ctl or os.path.join(settings.BUILD, "relaypoolctl")})
    scene.equal(result.stderr, "", "what the plugin complains of")
    text, _, figures = result.stdout.partition("|")
    return result.returncode, text.strip(), dict(re.findall(r"'([^']+)'=([\d.]+)", figures))


def _played(answers):
    """A relaypoolctl that gives these answers and knows no other verb."""
    path = settings.work("relaypoolctl")
    for verb, answer in answers.items():
        with open(f"{path}.{verb}", "w", encoding="utf-8") as file:
            json.dump(answer, file)
    with open(path, "w", encoding="utf-8") as file:
        file.write(f'#!/bin/sh\nfor verb; do :; done\n[ -e {path}.$verb ] || exit 2\ncat {path}.$verb\n')
    os.chmod(path, 0o755)
    return path


def test_nagios_plugin_tells_what_relaypoolctl_tells():
    _front, daemon = _mail()
    code, text, figures = _check(daemon.control, "-r", "good")
    scene.equal((code, text), (0, "RELAYPOOL OK - 1 relay"), "the relay that works")
    pools = {pool["relay"]: pool for pool in daemon.json("pools")["pools"]}
    scene.equal({key: float(figures[f"good_{key}"]) for key in ("sent", "deferred", "bounced", "waiting")},
                {key: pools["good"][key] for key in ("sent", "deferred", "bounced", "waiting")}, "figures")
    code, text, figures = _check(daemon.control)
    assert code == 2 and "down is down: " in text and "Connection refused" in text, (code, text)
    scene.equal({name for name in figures if name.endswith("_sent")}, {"good_sent", "bad_sent", "down_sent"}, "relays")
    daemon.ctl("pause", "good")
    scene.equal(_check(daemon.control, "-r", "good")[:2], (1, "RELAYPOOL WARNING - good is paused"), "the paused relay")
    scene.equal(_check(daemon.control, "-r", "nobody")[:2], (3, "RELAYPOOL UNKNOWN - there is no relay nobody"), "no relay")
    scene.equal(_check(daemon.control, "-w", "x")[0], 3, "a bad argument")
    status = daemon.json("status")
    daemon.ctl("resume", "good")
    daemon.stop()
    scene.equal(_check(daemon.control)[:2], (2, "RELAYPOOL CRITICAL - relaypoold does not answer"), "no daemon")
    _expect_stalls(daemon, status)


def _expect_stalls(daemon, status):
    """Its limits, by answers of the daemon above that are made worse."""
    pool = next(pool for pool in status["pools"] if pool["relay"] == "good")
    stall = {"id": 1, "relay": "good", "stage": "reply", "holder": "relay", "open": True, "age": 9.5, "waiting": 7}
    pool.update({"state": "up", "reason": "\"} quoted | and \\"})
    status["pools"] = [pool]
    cases = (
        ({}, {}, 0, "1 relay"),
        ({}, {"age": 70.5}, 1, "stalled in reply at good, held by relay, for 70 s, 7 wait"),
        ({}, {"age": 300}, 2, "stalled in reply at good, held by relay, for 300 s, 7 wait"),
        ({}, {"age": 3000, "open": False}, 0, "1 relay"),
        ({"waiting": 3, "oldest_wait": 61}, {}, 1, "3 wait for good, the first for 61 s"),
        ({"state": "down"}, {}, 2, "good is down:  } quoted   and"),
    )
    for changed, stalled, code, text in cases:
        ctl = _played({"status": {**status, "pools": [{**pool, **changed}]}, "stalls": {"stalls": [{**stall, **stalled}]}})
        got_code, got, figures = _check(daemon.control, ctl=ctl)
        assert (got_code, text in got) == (code, True), (changed, stalled, got_code, got)
        scene.equal(figures["stalls"], "0" if stalled.get("open") is False else "1", "stalls that are open")
    os.unlink(settings.work("relaypoolctl.stalls"))  # a relaypoold that knows no such verb
    code, _text, figures = _check(daemon.control, ctl=settings.work("relaypoolctl"))
    scene.equal((code, "stalls" in figures), (2, False), "without the verb")
