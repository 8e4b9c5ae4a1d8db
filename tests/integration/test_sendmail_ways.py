"""Mail that changes its way inside Sendmail goes out pooled and right, and keeps its tag: aliases, bounces, odd
addresses, envelopes that Sendmail splits, mail by sendmail(1)."""
import os
import quopri
import re

import test_recipients
import test_tag
import test_why
from lib import scene, settings, verify
from lib.daemon import relay_section
from lib.holding import HoldingRelay
from lib.message import Message
from lib.sendmail import FrontSendmail

# Queue groups by the recipient's domain: of one no envelope has more than two recipients, so that they are split again.
GROUPS = """QUEUE_GROUP(`one', `P=/run/front/mqueue/q1, r=2')dnl
QUEUE_GROUP(`two', `P=/run/front/mqueue/q2')dnl
LOCAL_RULESETS
Squeuegroup
R$+ @ one.example	$# one
R$+ @ two.example	$# two
R$*			$# mqueue
divert(0)dnl
"""
ALIASES = """team: alice, carol@far.example
outside: dave@far.example
list: erin@far.example, frank@far.example
owner-list: bob
"""


def _envelopes(store, count):
    """[(sender, [recipients])] of what arrived, in the order of their first recipient."""
    settings.wait_until(lambda: len(store.transactions) >= count, 20, f"{count} transactions at the store")
    found = [(entry.sender[0], sorted(entry.addresses())) for entry in store.transactions]
    return sorted(found, key=lambda entry: entry[1])


def _expect_pooled(front, relay):
    """Nothing left by another mailer, and nothing stayed."""
    scene.drained(front, relay, 20)
    outbound = [line for line in front.log().splitlines() if re.search(r"\.example.* mailer=.* stat=", line)]
    assert outbound and all("mailer=relaypool," in line or "mailer=relay," in line for line in outbound), outbound


def test_aliases_to_local_and_remote_addresses():
    front, _daemon, relay, store = scene.with_store(front=FrontSendmail())
    front.write_aliases(ALIASES)
    scene.inject([Message(1, recipients=("team@front.test", "outside@front.test", "list@front.test"))])
    scene.equal(_envelopes(store, 2), [("sender@front.test", ["carol@far.example", "dave@far.example"]),
                                       ("bob@front.test", ["erin@far.example", "frank@far.example"])], "envelopes")
    _expect_pooled(front, relay)
    settings.wait_until(lambda: front.mailbox("alice"), 10, "alice's copy")


def test_dot_forward_to_a_remote_address_and_bounce_to_a_remote_sender():
    front, _daemon, relay, store = scene.with_store(front=FrontSendmail())
    path = settings.work("home", "bob", ".forward")
    with open(path, "w", encoding="utf-8") as file:
        file.write("\\bob, frank@far.example\n")
    os.chown(path, os.stat(os.path.dirname(path)).st_uid, -1)
    scene.inject([Message(1, recipients=("bob@front.test",))])
    front.sendmail(b"Subject: x\n\nx\n", "author@far.example", ["nobody-here@front.test"],
                   ends_with=os.EX_NOUSER)
    scene.equal(_envelopes(store, 2), [("", ["author@far.example"]), ("sender@front.test", ["frank@far.example"])],
                "envelopes")
    _expect_pooled(front, relay)
    settings.wait_until(lambda: front.mailbox("bob"), 10, "bob's own copy")


def test_address_literals_quoted_local_parts_and_what_dsn_asks_for():
    front, _daemon, relay, store = scene.with_store(front=FrontSendmail())
    odd = ["user@[192.0.2.1]", '"odd user"@far.example', '"a>b"@far.example', "o'neil+tag@far.example"]
    sent = Message(1, recipients=[*odd, ("x@far.example", " NOTIFY=SUCCESS,DELAY ORCPT=rfc822;a+2Bb@origin.example")],
                   params=" RET=HDRS ENVID=id+2B7")
    scene.inject([sent])
    _expect_pooled(front, relay)
    scene.equal(sorted(store.transactions[0].addresses()), sorted([*odd, "x@far.example"]), "recipients")
    faults = verify.faults(store, [sent])
    assert not faults, faults


def test_relay_without_dsn_gives_the_sender_the_report_it_asked_for():
    test_recipients.expect_a_report_though_the_relay_has_no_dsn(front=FrontSendmail())


def test_relay_without_8bitmime_gets_seven_bits():
    front, _daemon, relay, store = scene.with_store(front=FrontSendmail(), relay_parameters={
        "smtpd_discard_ehlo_keywords": "8bitmime, chunking", "lmtp_discard_lhlo_keywords": "8bitmime"})
    sent = Message(1, size=20000, params=" BODY=8BITMIME",
                   fields=b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
                          b"Content-Transfer-Encoding: 8bit\r\n")
    scene.inject([sent])
    _expect_pooled(front, relay)
    arrived = store.transactions[0]
    assert b"Content-Transfer-Encoding: quoted-printable" in arrived.header, arrived.header
    assert arrived.body.isascii(), "eight bits"
    scene.equal(quopri.decodestring(arrived.body).replace(b"\r\n", b"\n"), sent.body().replace(b"\r\n", b"\n"), "text")


def test_split_envelopes_keep_their_tag_and_the_id_of_the_message():
    front, daemon, plain, special = test_tag.two_relays(FrontSendmail(lines=GROUPS, queues="012"))
    recipients = [f"r{number}@one.example" for number in range(5)] + [f"r{number}@two.example" for number in range(2)]
    forged = b"X-Relaypool: v=1; q=x; t=1; r=special; m=AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    scene.inject([Message("split", recipients=["alice@front.test", "zoe@far.example", *recipients])],
                 source=test_tag.SPECIAL)
    scene.inject([Message("forged", recipients=recipients, fields=forged)])
    front.drain(20, flush=False)
    settings.wait_until(lambda: len(plain.transactions) + len(special.transactions) >= 9, 10, "all copies")
    scene.equal({entry.id for entry in plain.transactions}, {"mforged"}, "by the plain way")
    scene.equal(sorted(len(entry.recipients) for entry in special.transactions), [1, 1, 2, 2, 2], "by the special way")
    scene.equal(sum(special.copies().values()), 8, "copies")
    log = front.log()
    first = re.search(r": (\w+): from=.*, msgid=<msplit@", log).group(1)
    copies = re.search(rf": {first}: split: .* ids=(\w+); (\w+)", log).groups()
    for known in (first, *copies):
        answer = daemon.json("why", known)
        recipients = sorted(journey["recipients"] for journey in answer["journeys"])
        scene.equal(recipients, [1, 1, 2, 2, 2], f"recipients of {known}")
        scene.equal({journey["relay"] for journey in answer["journeys"]}, {"special"}, "relays")
        scene.equal(answer["copy_of"], None if known == first else first, "what it is a copy of")


def test_mail_of_sendmail_by_an_unprivileged_user_and_a_queue_run_of_one_group():
    front, daemon, plain, _special = test_tag.two_relays(FrontSendmail(lines=GROUPS, mode="queueonly", queues="012"))
    settings.wait_until(lambda: daemon.flushes, 20, "the runs of the queue at relaypoold's start")
    front.sendmail(b"X-Test-Id: typed\nSubject: x\n\nfrom the command line\n", "alice@front.test",
                   ["hugo@one.example", "ida@two.example", "alice@front.test"], user="alice")
    settings.wait_until(lambda: len(front.queue()) == 3, 10, "an envelope in each of the queue groups")
    front.flush("one")
    settings.wait_until(lambda: plain.transactions, 10, "the mail of one group")
    scene.equal([entry.addresses() for entry in plain.transactions], [["hugo@one.example"]], "by the run of one group")
    test_tag.expect(front, (plain,), [["typed", "typed"]], flush=True)
    settings.wait_until(lambda: front.mailbox("alice"), 10, "alice's copy")
    taken = re.search(r"stat=Sent \((\w+) Message accepted", front.log()).group(1)
    scene.equal(re.findall(r"relaypoold: (\w+): relay=plain", daemon.log()), [taken, taken], "ids in relaypoold's log")


def test_why_and_stalls_name_the_relay_that_hangs():
    relay = HoldingRelay("dot")
    front, daemon = scene.pooled(relay_section("far", relay), front=FrontSendmail(), stall_limits=["reply=1"])
    relay.hold()
    scene.inject([Message("one")])
    queue_id = scene.wait_for_line(front, "msgid=<mone@").split(": ")[1]
    line = scene.wait_for_line(daemon, "stall: event=begin")
    assert "relay=far, stage=reply, holder=relay" in line, line
    now = test_why.journey(daemon, queue_id, "under_way")
    scene.equal((now["stage"], now["holder"], now["relay"]), ("reply", "relay", "far"), "stage, holder, relay")
    relay.release()
    front.drain(20, flush=False)
    settled = test_why.journey(daemon, queue_id, "settled")
    scene.equal((settled["status"], settled["longest"], settled["holder"]), ("sent", "reply", "relay"), "the journey")
    seen = [settled["stages"][stage] for stage in ("client", "mta", "queue", "ingest", "pool", "mail", "body", "reply")]
    assert None not in seen, settled
    total = sum(spent for spent in settled["stages"].values() if spent is not None)
    assert abs(total - settled["total"]) < 0.01, (total, settled)
