"""Sendmail in front, asked what the main tests ask of Postfix: each message once and unchanged, local mail apart, the
relay's refusals, kill -9, and what happens while relaypoold is away."""
import os
import re
import signal
import time

import test_exactness
import test_kill
from lib import message, scene, sendmail, settings, smtp, verify
from lib.daemon import relay_section
from lib.message import Message
from lib.relay import REFUSED, RelayPostfix
from lib.scripted import ScriptedRelay
from lib.sendmail import FrontSendmail
from lib.store import Store

REGISTERED = 5  # seconds that contrib/sendmail has Sendmail wait for the milter's answer
FEATURE = "FEATURE(`relaypool')dnl\n"
MILTER = "Xrelaypool, S=unix:{}/milter.sock, F=, T=C:2s;S:5s;R:5s;E:10s"
# What Sendmail is told to remember of a host that was away, and to let pass before it tries again; Debian has the first.
PATIENT = """define(`confHOST_STATUS_DIRECTORY', `/run/front/hosts')dnl
define(`confMIN_QUEUE_AGE', `27m')dnl
"""
DIRECT = """define(`SMART_HOST', `[127.0.0.3]')dnl
define(`RELAY_MAILER_ARGS', `TCP $h 10025')dnl
define(`confAUTH_MECHANISMS', `PLAIN LOGIN')dnl
FEATURE(`authinfo', `text -k0 -v1 -z| /etc/mail/authinfo')dnl
FEATURE(`relaypool', , `direct')dnl
"""


def _options(front, *patterns):
    """The first line of sendmail.cf for each pattern."""
    with open(front.config, encoding="utf-8") as file:
        text = file.read()
    return [re.search(f"^{pattern}.*", text, re.MULTILINE).group() for pattern in patterns]


def _without_what_is_not_announced(messages):
    """Debian's Sendmail is built without SMTPUTF8."""
    client = smtp.SmtpClient(scene.ADDRESS)
    client.close()
    return [entry for entry in messages if "SMTPUTF8" not in entry.params or "SMTPUTF8" in client.announced]


def _wait_for_mailbox(front, user, count=1):
    settings.wait_until(lambda: len(front.mailbox(user)) >= count, 10, f"mail for {user}")
    return front.mailbox(user)


def test_two_thousand_mixed_messages_arrive_once_and_unchanged():
    front, _daemon, relay, store = scene.with_store({"max_messages": 50, "max_connections": 10}, front=FrontSendmail())
    watch = test_exactness.SocketWatch(relay)
    messages = _without_what_is_not_announced(message.mixed(settings.scaled(2000)))
    scene.inject(messages)
    scene.drained(front, relay, 240)
    test_exactness.expect_exact(store, messages)
    test_exactness.expect_within_caps(relay, watch.stop())
    scene.equal(set(scene.statuses(front)), {"sent"}, "what the front logged")


def test_mixed_local_and_remote_recipients():
    front, daemon, relay, store = scene.with_store(front=FrontSendmail())
    sent = Message(1, recipients=("alice@front.test", "ida@far.example", "bob@front.test", "jan@other.example"))
    scene.inject([sent])
    scene.drained(front, relay, 20)
    scene.equal(store.copies(), {("m1", "ida@far.example"): 1, ("m1", "jan@other.example"): 1}, "what went out")
    scene.equal(len(store.transactions), 1, "transactions")
    for user in ("alice", "bob"):
        text = _wait_for_mailbox(front, user)[0]
        assert sent.content().replace(b"\r\n", b"\n") in text, text
        assert text.lower().count(b"x-relaypool") <= 1, text
    assert "alice" not in daemon.log(), "relaypoold had local mail"


def test_relay_refuses_one_of_two_and_exactly_that_one_bounces():
    front, _daemon, relay, store = scene.with_store(front=FrontSendmail())
    scene.inject([Message(1, sender="alice@front.test", recipients=(REFUSED, "fine@far.example"))])
    scene.drained(front, relay, 20)
    outcomes = {address: status for _, address, status, _ in front.outcomes() if address.endswith(".example")}
    scene.equal((outcomes["fine@far.example"], outcomes[REFUSED]), ("sent", "bounced"), "outcomes")
    bounce = _wait_for_mailbox(front, "alice")[0]
    scene.equal(bounce.count(b"Final-Recipient:"), 1, "recipients that the bounce names")
    assert b"Final-Recipient: RFC822; " + REFUSED.encode() in bounce and b"No such person here" in bounce, bounce
    scene.equal(store.copies(), {("m1", "fine@far.example"): 1}, "what arrived")


def test_kill_nine_ten_times_during_a_thousand_messages():
    test_kill.kill_during(settings.scaled(1000), 10, test_kill.CAP, front=FrontSendmail())


def test_lmtp_down_queues_and_mail_leaves_at_its_return():
    relay, front = ScriptedRelay(delays={"dot": 0.3}), FrontSendmail(lines=PATIENT)
    os.mkdir(os.path.join(sendmail.PLACE, "hosts"))
    front.add_program("postqueue", "#!/bin/sh\nexit 69\n")  # of a Postfix that is there too, and does not run
    _front, daemon = scene.pooled(relay_section("far", relay), front=front)
    daemon.stop()
    scene.inject([Message("local", recipients=("alice@front.test",))])
    _wait_for_mailbox(front, "alice")
    messages = [Message(number) for number in range(60)]
    scene.inject(messages)
    settings.wait_until(lambda: scene.statuses(front)["deferred"] >= 60, 10, "the mail to be deferred")
    daemon.start()
    begin = time.monotonic()
    settings.wait_until(lambda: len(relay.accepted) >= 60, 20, "the mail to leave")
    took = time.monotonic() - begin
    settings.figure(f"60 messages left {took:.1f} s after relaypoold was back, by a relay that takes 0.3 s for each")
    assert took <= 5 * settings.PATIENCE, f"the mail left {took:.1f} s after relaypoold was back"
    front.drain(20, flush=False)
    scene.equal(sorted(relay.accepted), sorted((entry.id, "recipient@far.example") for entry in messages), "what arrived")


def test_hung_daemon_costs_a_session_its_timeout_and_nothing_else():
    front, daemon, _relay, store = scene.with_store(front=FrontSendmail())
    daemon.send_signal(signal.SIGSTOP)
    messages = [Message("local", recipients=("alice@front.test",)), *map(Message, range(20))]
    begin = time.monotonic()
    scene.inject(messages, sessions=len(messages))
    took = time.monotonic() - begin
    settings.figure(f"sessions took {took:.1f} s while relaypoold hung")
    assert took <= REGISTERED + 2 * settings.PATIENCE, f"{took:.1f} s, {REGISTERED} s registered"
    _wait_for_mailbox(front, "alice")
    daemon.send_signal(signal.SIGCONT)
    front.drain(30)
    settings.wait_until(lambda: not verify.differences(store, messages[1:])[0], 20, "the mail to leave")
    scene.equal(verify.differences(store, messages[1:])[2], {}, "doubled")


def _with_direct_way():
    """(front, daemon, store): the way past relaypoold leads to the same relay, which wants TLS and AUTH of either."""
    front, store = FrontSendmail(DIRECT), Store()
    relay = RelayPostfix(store=store.path, address="127.0.0.3", host="second.test", port=10025).start()
    front, daemon = scene.pooled(relay_section("far", relay), front=front, failover="direct",
                                 smtp="inet:10025@127.0.0.2")
    with open("/etc/mail/authinfo", "w", encoding="utf-8") as file:
        os.chmod("/etc/mail/authinfo", 0o600)
        file.write(f'AuthInfo:{relay.address}|"U:{relay.username}" "P:{relay.password}" "M:PLAIN"\n')
    return front, daemon, store


def _expect_all_at_once(front, store, label):
    """Messages arrive once and without a tag, and none was deferred."""
    messages = [Message(f"{label}{number}", recipients=("a@far.example", "b@far.example")) for number in range(20)]
    store.clear()
    scene.inject(messages)
    front.drain(20, flush=False)
    settings.wait_until(lambda: not verify.differences(store, messages)[0], 10, "the relay to deliver")
    scene.equal(verify.differences(store, messages), (set(), set(), {}), label)
    scene.equal(scene.statuses(front)["deferred"], 0, "deferred")
    assert not any(b"x-relaypool" in entry.header.lower() for entry in store.transactions), "a tag has left"


def _expect_pooled(daemon, count):
    settings.wait_until(lambda: daemon.log().count("status=sent") >= count, 5, f"{count} recipients in relaypoold's log")


def test_direct_failover_sends_by_the_relay_while_the_daemon_is_away():
    front, daemon, store = _with_direct_way()
    _expect_all_at_once(front, store, "pooled")
    _expect_pooled(daemon, 40)
    daemon.stop()
    _expect_all_at_once(front, store, "direct")
    daemon.start()
    _expect_all_at_once(front, store, "back")
    _expect_pooled(daemon, 80)


def test_the_feature_is_last_and_tells_what_leads_past_it():
    other = "INPUT_MAIL_FILTER(`other', `S=inet:1@localhost')dnl\n"
    front = FrontSendmail(f"{FEATURE}{other.replace('other', 'behind')}", lines=other)
    ours = ["O InputMailFilters=other, behind, relaypool", "DSrelaypool:localhost"]
    scene.equal(_options(front, "O InputMailFilters", "DS"), ours, "sendmail.cf")
    front.configure(f"{FEATURE}define(`confINPUT_MAIL_FILTERS', `relaypool, other, behind')dnl")
    scene.equal(_options(front, "O InputMailFilters", "DS"), ours, "sendmail.cf with the filters named")
    front.configure(f"include(`{sendmail.FEATURE}')dnl")
    scene.equal(_options(front, "DS", "Xrelaypool"), [ours[1], MILTER.format("/run/relaypool")], "sendmail.cf by include")
    front.configure("FEATURE(`relaypool', `/srv/pool')dnl")
    scene.equal(_options(front, "Xrelaypool", "\t\tA=FILE"), [MILTER.format("/srv/pool"), "\t\tA=FILE /srv/pool/lmtp.sock"],
                "sendmail.cf with another directory")
    front.configure(f"{FEATURE}FEATURE(`allmasquerade')dnl")
    mailers = [line.split("R=")[1].split(",")[0] for line in _options(front, "Mrelaypool,", "Mesmtp,")]
    scene.equal(mailers, ["EnvToSMTP/HdrFromSMTP"] * 2, "who rewrites recipients with a feature that stands behind")
    for mailer in ("relay", "esmtp", "smtp8", "dsmtp"):
        front.configure(DIRECT.replace('[127.0.0.3]', f'{mailer}:[far.test]'))
        scene.equal(_options(front, "DS"), ["DSrelaypool:[127.0.0.2]:[far.test]"], f"the hosts, with mailer {mailer}")
    for lines in (f"{FEATURE}define(`SMART_HOST', `elsewhere')dnl", "FEATURE(`relaypool', , `direct')dnl"):
        try:
            front.configure(lines)
        except RuntimeError as error:
            assert "*** ERROR: " in str(error) and "SMART_HOST" in str(error), error
        else:
            raise AssertionError(f"nothing is said of {lines}")
