"""The metrics as a real Prometheus reads them, and the rules and the dashboard of contrib/ evaluated by it."""
import contextlib
import json
import os
import re
import socket
import threading
import time
import urllib.error
import urllib.request

from lib import scene, settings
from lib.daemon import relay_section
from lib.message import Message
from lib.prometheus import Prometheus, promtool
from lib.scripted import ScriptedRelay

PORT, OTHER_PORT = 9725, 9726
ALERTS = os.path.join(settings.SOURCE, "contrib", "prometheus", "alerts.yml")
DASHBOARD = os.path.join(settings.SOURCE, "contrib", "grafana", "relaypool.json")

# There while something is wrong only.
FOR_TROUBLE = "relaypool_stalls_open"


def _get(port=PORT, path="/metrics", method="GET"):
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", method=method)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.read().decode()


def _code(**what):
    try:
        _get(**what)
    except urllib.error.HTTPError as error:
        return error.code
    return 200


def _refused(port):
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) != 0


def _families(text):
    return re.findall(r"^# TYPE (\S+)", text, re.MULTILINE)


def _pooled():
    """One connection and a relay that takes its time, so that mail waits for it."""
    relay = ScriptedRelay(delays={"dot": 0.03})
    front, daemon = scene.pooled(relay_section("far", relay, max_connections=1, streaming="off"),
                                 metrics=f"inet:{PORT}@127.0.0.1")
    return relay, front, daemon


def test_a_port_that_is_taken_keeps_no_mail_waiting():
    taken = socket.create_server(("127.0.0.1", PORT))
    _relay, front, daemon = _pooled()
    scene.wait_for_line(daemon, "nothing is told to Prometheus: metrics: ")
    scene.inject([Message(1)])
    front.drain(20)
    taken.close()
    daemon.ctl("reload")
    assert "relaypool_recipients_total" in _get()


def _panels():
    """(title, expression) of everything that the dashboard asks for, with its variables at All."""
    with open(DASHBOARD, encoding="utf-8") as file:
        dashboard = json.load(file)
    asked = [(panel["title"], target["expr"]) for panel in dashboard["panels"] for target in panel["targets"]]
    asked += [(mark["name"], mark["expr"]) for mark in dashboard["annotations"]["list"]]
    variables = [(variable["name"], re.search(r"label_values\((\w+), (\w+)\)", variable["query"]))
                 for variable in dashboard["templating"]["list"] if variable["type"] == "query"]
    asked += [(name, f"group by ({found[2]}) ({found[1]})") for name, found in variables]
    return [(title, re.sub(r"\$(job|instance|relay)\b", ".*", expression).replace("$__rate_interval", "10s"))
            for title, expression in asked]


def _selected(expression):
    """The metrics that an expression reads, each by itself."""
    return set(re.findall(r"\b(?:relaypool|process)_\w+", expression))


def _expect_answers(prometheus, asked):
    for title, expression in asked:
        found = prometheus.query(expression)
        for name in _selected(expression) - {FOR_TROUBLE}:
            assert prometheus.query(name), f"{title}: there is no {name}"
        compares = re.search(r"[<>=] ?[\d.]+\b(?!\")|[<>] relaypool", expression)
        if FOR_TROUBLE not in expression and not compares:
            assert found, f"{title}: nothing comes of {expression}"
            assert any(value == value for _, value in found), f"{title}: {expression} is {found}"


def test_prometheus_reads_and_evaluates_it():
    relay, front, daemon = _pooled()
    promtool("check", "rules", ALERTS)
    messages = [Message(number) for number in range(settings.scaled(100))]
    injection = threading.Thread(target=scene.inject, args=(messages, 4))
    prometheus = Prometheus(f"127.0.0.1:{PORT}", ALERTS).start()
    settings.wait_until(lambda: prometheus.query("relaypool_build_info"), 10, "the first scrape")
    injection.start()
    settings.wait_until(lambda: prometheus.query("relaypool_oldest_wait_seconds > 0"), 15, "messages that wait")
    injection.join()
    front.drain(30, flush=False)
    scene.equal(len(relay.accepted), len(messages), "messages that arrived")
    settings.wait_until(lambda: prometheus.query('relaypool_recipients_total{relay="far",status="sent"}')[0][1]
                        == len(messages), 10, "the last scrape")
    _expect_answers(prometheus, _panels())
    rules = prometheus.rules()
    assert len(rules) > 5, f"{len(rules)} rules"
    _expect_answers(prometheus, [(rule["name"], rule["query"]) for rule in rules])
    settings.wait_until(lambda: all(rule["health"] == "ok" for rule in prometheus.rules()), 10, "every rule to be ok")
    prometheus.stop()
    text = daemon.ctl("metrics").stdout
    promtool("check", "metrics", text=text)
    promtool("check", "metrics", text=_get())
    scene.equal(_families(_get()), _families(text), "what HTTP and relaypoolctl show")
    scene.equal(_families(daemon.json("metrics")["metrics"]), _families(text), "what -j shows")


RULE_TEST = """
rule_files: ["{rules}"]
tests:
  - interval: 1m
    input_series:
      - {{series: 'relaypool_stalls_open{{instance="mx1:9725", {labels}}}', values: "1x5"}}
    alert_rule_test:
      - eval_time: 3m
        alertname: RelaypoolStall
        exp_alerts:
          - exp_labels: {{severity: warning, instance: "mx1:9725", {expected}}}
            exp_annotations:
              summary: "{summary}"
              description: "The log has a line `stall: event=begin` with what is waited for."
"""


def test_the_alert_of_a_stall_says_whose_mail_is_stuck():
    for relay, stage, holder, summary in (
            ("far", "reply", "relay", "Mail for far is stuck in stage reply, kept by: relay"),
            ("-", "queue", "mta", "Mail that has no relay yet is stuck in stage queue, kept by: mta"),
            ("-", "-", "relaypool", "relaypoold on mx1:9725 is late itself, or syslog takes no lines")):
        labels = {"relay": relay, "stage": stage, "holder": holder}
        path = settings.work("rules.yml")
        with open(path, "w", encoding="utf-8") as file:
            file.write(RULE_TEST.format(rules=ALERTS, summary=summary,
                                        labels=", ".join(f'{name}="{value}"' for name, value in labels.items()),
                                        expected=", ".join(f'{name}: "{value}"' for name, value in labels.items())))
        promtool("test", "rules", path)


def test_alerts_fire():
    """Those that need no more than a wait in the rules; their conditions, not the wait."""
    hung = ScriptedRelay("dot", "silent", every=1)
    _front, daemon = scene.pooled(relay_section("far", hung), metrics=f"inet:{PORT}@127.0.0.1")
    prometheus = Prometheus(f"127.0.0.1:{PORT}", ALERTS).start()
    conditions = {rule["name"]: rule["query"] for rule in prometheus.rules()}

    def expect(alert):
        settings.wait_until(lambda: prometheus.query(conditions[alert]), 15, f"{alert}: {conditions[alert]}")

    settings.wait_until(lambda: prometheus.query("up == 1"), 10, "the first scrape")
    scene.equal([name for name, query in conditions.items() if prometheus.query(query)], [], "alerts without a reason")
    scene.inject([Message(1)])
    expect("RelaypoolStall")
    daemon.write_config(relay_section("far", hung, tls="starttls"))  # which it has not
    daemon.ctl("reload")
    scene.inject([Message(2)])
    expect("RelaypoolRelayDown")
    daemon.stop()
    expect("RelaypoolNotScraped")
    prometheus.stop()


def test_the_socket_and_those_who_hang_on_it():
    relay, front, daemon = _pooled()
    scene.equal((_code(), _code(method="HEAD"), _code(path="/"), _code(method="POST")), (200, 200, 404, 405), "answers")
    with contextlib.ExitStack() as sockets:
        for number in range(8):
            client = sockets.enter_context(socket.create_connection(("127.0.0.1", PORT)))
            if number % 2:
                client.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")  # and never reads
        begin = time.monotonic()
        scene.inject([Message(number) for number in range(30)])
        front.drain(20, flush=False)
        settings.figure(f"30 messages in {time.monotonic() - begin:.1f} s beside eight scrapers that hang")
        scene.equal(len(relay.accepted), 30, "messages that arrived")
    daemon.write_config(metrics=f"inet:{OTHER_PORT}@127.0.0.1")
    daemon.ctl("reload")
    assert _refused(PORT), "the old socket is still there"
    scene.equal(_code(port=OTHER_PORT), 200, "the new socket")
    with socket.create_server(("127.0.0.1", PORT)):
        daemon.write_config(metrics=f"inet:{PORT}@127.0.0.1", deadline=500)
        assert daemon.ctl("reload", check=False).returncode == 1, "a socket that is taken is no error"
        scene.equal(_code(port=OTHER_PORT), 200, "the socket after a reload that failed")
        assert "deadline = 500" not in daemon.ctl("config").stdout, "half a reload"
    daemon.write_config(metrics=None)
    daemon.ctl("reload")
    assert _refused(OTHER_PORT), "the socket is still there without its key"
