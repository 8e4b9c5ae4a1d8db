"""Presets of providers: with its preset a relay that keeps its provider's stated limits refuses nothing, and the same
relay without the preset does refuse. Rules about seconds are scaled, in the relay and in the section alike."""
import json
import os

from lib import certificates, message, presets, scene, settings
from lib.daemon import section, secret
from lib.limits import Limits
from lib.scripted import ScriptedRelay

WITH, WITHOUT = "with", "without"


def values(preset):
    """What `relaypoolctl -j providers` says of it."""
    presets.install()
    return json.loads(presets.ctl("-j", "providers", preset).stdout)


def relay_of(name, limits, **parameters):
    relay = ScriptedRelay(secure=True, limits=Limits(**limits), **parameters)
    relay.username = name  # an account of its own
    return relay


def section_of(name, relay, **keys):
    """Of the relay as the test has it; the rest comes from the preset, if `provider` names one."""
    password = {"password-file": secret(f"{name}.password", relay.password)}
    return section("relay", name, {"host": relay.host, "port": relay.port, "tls-ca-file": certificates.path("ca.pem"),
                                   "username": relay.username, **password, **keys})


def send(front, names, count, first=0, size=1000):
    scene.inject([message.Message(f"{name}-{number}", recipients=(f"r{number}@{name}.example",), size=size)
                  for number in range(first, first + count) for name in names], 20)
    scene.drained(front)


def both_ways(preset, limits, parameters=None, with_preset=None, without=None):
    """(front, daemon, relay that has its preset, relay without)."""
    relays = {name: relay_of(name, limits, **(parameters or {})) for name in (WITH, WITHOUT)}
    sections = section_of(WITH, relays[WITH], provider=preset, **(with_preset or {}))
    sections += section_of(WITHOUT, relays[WITHOUT], **{"tls": values(preset)["tls"], **(without or {})})
    front, daemon = scene.pooled(sections + scene.routes(relays))
    return front, daemon, relays[WITH], relays[WITHOUT]


def no_refusal(front, relay, count):
    scene.equal((relay.limits.refused, relay.limits.expired), ([], 0), "refused, closed in idle time")
    scene.equal(len(set(relay.accepted)), count, "messages at the relay")
    outcomes = scene.statuses(front)
    scene.equal((outcomes["deferred"], outcomes["bounced"]), (0, 0), "deferred, bounced")


def refusals(relay, text):
    """How often the counter-proof was refused, which must be: else the relay keeps no limit at all."""
    found = relay.limits.refused.count(text)
    assert found, f"without the preset nobody was told {text!r}"
    settings.figure(f"without the preset: {len(relay.limits.refused)} refusals, {relay.limits.expired} closed in idle time")


def test_socketlabs():
    front, _daemon, relay, plain = both_ways("socketlabs", {"connections": 10, "messages": 50},
                                             {"implicit": True, "delays": {"dot": 0.1}}, without={"max-connections": 20})
    count = 600
    send(front, (WITH, WITHOUT), count)
    no_refusal(front, relay, count)
    scene.equal(relay.most, 10, "connections at once")
    refusals(plain, "421 4.4.5 - Too many connections from your host")
    assert "421 4.7.0 Too many messages for this connection" in plain.limits.refused, plain.limits.refused


def test_ses():
    """14 of the 20 messages a second that the account may send; times a fifth of Amazon's."""
    scale = 5
    idle = values("ses")["idle_timeout"] / scale
    front, daemon, relay, plain = both_ways("ses", {"rate": (20, 1), "idle": 10 / scale},
                                            {"implicit": True, "keywords": ("8BITMIME",)},
                                            {"idle-timeout": idle, "rate": 14})
    send(front, (WITH, WITHOUT), 50)
    for number in range(50, 52):
        settings.wait_until(lambda: not relay.connections and not plain.connections, 10, "the connections to be closed")
        send(front, (WITH, WITHOUT), 1, number)
    no_refusal(front, relay, 52)
    scene.equal(daemon.json("pools", WITH)["pools"][0]["mode"], "lockstep", "mode")
    refusals(plain, "454 Throttling failure: Maximum sending rate exceeded.")
    assert plain.limits.expired, "without the preset no connection was closed in its idle time"


def test_office365():
    """XOAUTH2 over STARTTLS, BDAT; an eighth of the minute in which 30 messages may come."""
    scale = 8
    words = {"connections": "432 4.3.2 Concurrent connections limit exceeded", "rate": "451 4.7.0 Too many messages"}
    limits = {"connections": 3, "rate": (30, 60 / scale), "admitted_at": "auth", "words": words}
    rate = values("office365")["rate"] * scale
    parameters = {"keywords": ("PIPELINING", "CHUNKING", "BINARYMIME", "8BITMIME", "SMTPUTF8", "DSN", "SIZE 157286400")}
    token = {"token-file": secret("office365.token", "ya29.correct-horse"), "password-file": None}
    front, _daemon, relay, plain = both_ways("office365", limits, parameters,
                                             {"rate": rate, "streaming": "deep", **token}, {"streaming": "deep", **token})
    for each in (relay, plain):
        each.mechanisms = "LOGIN XOAUTH2"
    send(front, (WITH, WITHOUT), 40)
    no_refusal(front, relay, 40)
    assert relay.most <= 3 and relay.verbs["BDAT"] >= 30, (relay.most, relay.verbs)  # the first ones come by DATA
    refusals(plain, words["rate"])


def test_office365_connections():
    """More than three at once are told 432, which only a relay without the preset hears."""
    refused = "432 4.3.2 Concurrent connections limit exceeded"
    front, _daemon, relay, plain = both_ways(
        "office365", {"connections": 3, "admitted_at": "auth", "words": {"connections": refused}}, {"delays": {"dot": 0.2}},
        {"rate": 0})
    send(front, (WITH, WITHOUT), 60)
    no_refusal(front, relay, 60)
    scene.equal(relay.most, 3, "connections at once")
    refusals(plain, refused)


def test_mailersend():
    front, _daemon, relay, plain = both_ways("mailersend", {"messages": 5})
    send(front, (WITH, WITHOUT), 100)
    no_refusal(front, relay, 100)
    refusals(plain, "421 4.7.0 Too many messages for this connection")


def test_sparkpost():
    """Idle time is scaled by 30; fewer connections than it allows have more messages each."""
    scale = 30
    keys = {"max-connections": 3}
    idle = values("sparkpost")["idle_timeout"] / scale
    front, _daemon, relay, plain = both_ways("sparkpost", {"connections": 10, "messages": 100, "idle": 60 / scale},
                                             {"delays": {"dot": 0.01}}, {"idle-timeout": idle, **keys}, keys)
    send(front, (WITH, WITHOUT), 400)
    settings.wait_until(lambda: not relay.connections and not plain.connections, 10, "the connections to be closed")
    no_refusal(front, relay, 400)
    refusals(plain, "421 4.7.0 Too many messages for this connection")
    assert plain.limits.expired, "without the preset no connection was closed in its idle time"


def test_postmark():
    front, _daemon, relay, plain = both_ways("postmark", {"connections": 10}, {"delays": {"dot": 0.2}},
                                             without={"max-connections": 20})
    send(front, (WITH, WITHOUT), 200)
    no_refusal(front, relay, 200)
    scene.equal(relay.most, 10, "connections at once")
    refusals(plain, "421 4.4.5 - Too many connections from your host")


# ---- the list ----

def test_list_has_every_preset_and_the_administrators_own():
    presets.install()
    lines = presets.ctl("providers").stdout.splitlines()
    scene.equal([line.split()[0] for line in lines[1:1 + len(presets.names())]], presets.names(), "the first column")
    assert max(len(line) for line in lines if "/" not in line) <= 80, lines
    ours, theirs = presets.directories()
    assert theirs in lines and ours not in lines, lines
    for name in presets.names():
        scene.equal(presets.ctl("providers", name).stdout, presets.read(name), f"the text of {name}")
    scene.equal(values("socketlabs")["max_connections"], 10, "max-connections")
    presets.write_own("socketlabs", "host = smtp.example.org\nmax-connections = 20\nrate = 2.5\n")
    own = values("socketlabs")
    scene.equal((own["max_connections"], own["rate"], own["max_messages"]), (20, 2.5, None), "of the administrator's own")
    scene.equal(own["path"], os.path.join(ours, "socketlabs.conf"), "its path")
    assert ours in presets.ctl("providers").stdout.splitlines()
    with open(settings.work("relaypool.conf"), "w", encoding="utf-8") as file:
        file.write('relay "a" {\n    provider = "socketlab"\n}\n')
    refused = presets.ctl("-c", settings.work("relaypool.conf"), "check", check=False)
    scene.equal(refused.returncode, 1, "exit code of check")
    assert 'relaypool.conf:2: provider = "socketlab": there is no such preset' in refused.stdout, refused
    assert ", ".join(presets.names()) in refused.stdout, refused


def test_mistake_in_a_preset_is_told_and_a_reload_leaves_everything_as_it_is():
    presets.install()
    relay = relay_of(WITH, {}, implicit=True)
    front, daemon = scene.pooled(section_of(WITH, relay, provider="socketlabs") + scene.routes([WITH]))
    presets.write_own("socketlabs", "tls = implicit\n\nmax-conections = 20\n")
    refused = daemon.ctl("reload", check=False)
    assert refused.returncode == 1, refused
    assert "socketlabs.conf:3: unknown key max-conections in a preset" in refused.stderr + refused.stdout, refused
    presets.write_own("socketlabs", "tls = implicit\n\nmax-connections = 20\n")
    daemon.ctl("reload")
    assert "relay.with.max-connections = 20" in daemon.ctl("config").stdout, daemon.ctl("config").stdout
    send(front, (WITH,), 3)
    no_refusal(front, relay, 3)
