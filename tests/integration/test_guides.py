"""The guides POSTFIX, SENDMAIL and SMARTHOST: every command and every fragment for our end does what the text says."""
import os
import re
import shutil
import smtplib
import socket
import ssl
import subprocess

from lib import certificates, flush, host, sandbox, scene, settings
from lib.daemon import relay_section, section
from lib.dovecot import PASSWORD, Dovecot
from lib.front import PORT, FrontPostfix
from lib.guide import Guide, blocks
from lib.link import Link
from lib.message import Message
from lib.scripted import ScriptedRelay
from lib.sendmail import LOCAL, MASTER, PLACE, FrontSendmail
from lib.smtp import SmtpClient

LMTP, SMTP = "relaypool/lmtp", "smtp"
HOSTS = {2: "near.test", 3: "second.test", 4: "third.test"}  # the last octets of relays' addresses

# Which test runs all blocks of a section.
SECTIONS = {
    "POSTFIX": {
        "BY HAND": "by_hand",
        "WHILE RELAYPOOLD IS DOWN": "direct",
        "CHROOT": "chroot",
        "SEVERAL INSTANCES": "instances",
        "OTHER MILTERS": "other_milters",
        "ACCOUNTS BY SENDER": "accounts",
        "LOCAL MAILBOXES AND THE TAG": "mailboxes",
        "WHEN IT DOES NOT WORK": "trouble",
        "BY RELAYPOOLCTL": "setup",
        "THE FIRST DAY": "setup",
    },
    "SENDMAIL": {
        "SOCKETS": "sendmail_by_hand",
        "BY RELAYPOOLCTL": "sendmail_setup",
        "BY HAND": "sendmail_by_hand",
        "WHILE RELAYPOOLD IS DOWN": "sendmail_direct",
        "MAIL BY SENDMAIL(1), AND QUEUE GROUPS": "sendmail_trouble",
        "WHEN IT DOES NOT WORK": "sendmail_trouble",
    },
    "SMARTHOST": {
        "OUR END: POSTFIX, BY ADDRESS": "address",
        "OUR END: POSTFIX, WITH A PASSWORD": "password",
        "OUR END: SIZES AND NUMBERS": "address",
        "OUR END: SENDMAIL, BY ADDRESS": "sendmail",
        "OUR END: SENDMAIL, WITH A PASSWORD": "sendmail",
        "A ROUTE FOR EACH OF THEM": "password",
        "NEVER AN OPEN RELAY": "password",
        "THEIR END: OTHER MAIL SERVERS": "others",
        "WHEN IT DOES NOT WORK": "address",
    },
}


def test_every_block_is_known():
    for name, sections in SECTIONS.items():
        scene.equal(sorted({title for title, _ in blocks(name)}), sorted(sections), f"sections of {name} with blocks")


def _finish(guide, test):
    """The test has run all that SECTIONS says it does."""
    of_test = {key for key in guide.blocks if SECTIONS[guide.name].get(key[0]) == test}
    assert of_test and of_test <= guide.done, f"not run of {guide.name}: {sorted(of_test - guide.done)}"


def _postfix(parameters=None, names=("far",), sections="", addresses=(), **keys):
    """(guide, front, daemon, {name: relay}): a host with relaypoold, and Postfix not registered with it."""
    host.furnish(addresses)
    relays, text = {}, ""
    for number, name in enumerate(names, 2):
        relays[name] = ScriptedRelay(address=f"127.0.0.{number}", port=25, host=HOSTS[number])
        text += relay_section(name, relays[name])
    first = relays[names[0]]
    front = host.HostPostfix({"relayhost": f"[{first.address}]:{first.port}", **(parameters or {})})
    daemon = host.HostRelaypoold(front, text + sections, **keys).start()
    return Guide("POSTFIX"), front.start(), daemon, relays


def _shown(config="/etc/postfix"):
    return [subprocess.run(["postconf", "-c", config, option], capture_output=True, text=True, check=True).stdout
            for option in ("-n", "-M", "-P")]


def _send(front, recipient, sender="a@front.test"):
    front.sendmail(b"Subject: x\r\n\r\ntext\r\n", sender, [recipient])
    front.drain(20)


def _ways(front):
    """{recipient: the last service that sent it}"""
    return {recipient: service for service, recipient in
            re.findall(r"postfix/(\S+)\[\d+\]: \w+: to=<([^>]+)>.* status=sent", front.log())}


def _by_relays(daemon):
    """The relays by which messages were sent, as they came."""
    return re.findall(r"relay=(\w+), .*status=sent", daemon.log())


def _queue_id(front, recipient):
    return re.search(rf": (\w+): to=<{recipient}>", front.log()).group(1)


def test_postfix_by_hand():
    guide, front, _daemon, _relays = _postfix()
    before, services = _shown(), _read("/etc/postfix/master.cf")
    guide.run("BY HAND", 0)
    guide.run("BY HAND", 1)
    _send(front, "pooled@example.net")
    guide.run("BY HAND", 2)
    guide.run("BY HAND", 3)
    scene.equal(_shown(), before, "settings after the undoing")
    assert _read("/etc/postfix/master.cf") == services, "master.cf is not what it was after the undoing"
    _send(front, "alone@example.net")
    guide.run("BY HAND", 1)  # the service must exist for one domain
    front.postconf("-X", "default_transport")
    guide.run("BY HAND", 4)
    _send(front, "domain@example.net")
    _send(front, "other@example.com")
    scene.equal(_ways(front), {"pooled@example.net": LMTP, "alone@example.net": SMTP, "domain@example.net": LMTP,
                               "other@example.com": SMTP}, "ways out")
    _finish(guide, "by_hand")


def test_postfix_goes_on_alone_while_relaypoold_is_down():
    guide, front, daemon, relays = _postfix()
    before = _shown()
    guide.put("WHILE RELAYPOOLD IS DOWN", 0)
    guide.run("WHILE RELAYPOOLD IS DOWN", 1)
    _send(front, "pooled@example.net")
    daemon.kill()
    _send(front, "down@example.net")
    daemon.start()
    guide.run("WHILE RELAYPOOLD IS DOWN", 2)
    guide.run("WHILE RELAYPOOLD IS DOWN", 3)
    scene.equal(_shown(), before, "settings after the undoing")
    _send(front, "alone@example.net")
    scene.equal(_ways(front), {"pooled@example.net": "relaypool/smtp", "down@example.net": "relaypool-direct/smtp",
                               "alone@example.net": SMTP}, "ways out")
    _finish(guide, "direct")


def test_postfix_in_its_chroot():
    guide, front, _daemon, _relays = _postfix()
    Guide("POSTFIX").run("BY HAND", 1)
    _send(front, "pooled@example.net")
    shown = guide.run("CHROOT")
    scene.equal(re.findall(r"^\d+ \S+", shown, re.MULTILINE),
                ["2750 relaypool:postfix", "660 relaypool:postfix", "660 relaypool:postfix"], "modes and owners")
    front.postconf("-F", "relaypool/unix/chroot=y")
    subprocess.run(["postfix", "reload"], check=True, capture_output=True)
    _send(front, "chrooted@example.net")
    scene.equal(_ways(front), {"pooled@example.net": LMTP, "chrooted@example.net": LMTP}, "ways out")
    _finish(guide, "chroot")


def _instance(name, far):
    """A second instance, made as postmulti makes them, which hands everything to the relay."""
    config = f"/etc/{name}"
    for words in (("-e", "init"), ("-e", "create", "-I", name)):
        subprocess.run(["postmulti", *words], check=True, capture_output=True)
    log = settings.work("front", "log-out")
    subprocess.run(["postconf", "-c", config, "-e", "authorized_submit_users=static:anyone", f"maillog_file={log}",
                    f"maillog_file_prefixes={settings.work()}", "inet_protocols=ipv4", "mydestination=", "alias_maps=",
                    "smtp_dns_support_level=disabled", "enable_long_queue_ids=yes", "myhostname=out.test",
                    "compatibility_level=3.6", f"relayhost=[{far.address}]:{far.port}"], check=True)
    for words in (("-e", "enable"), ("-p", "start")):
        subprocess.run(["postmulti", "-i", name, *words], check=True, capture_output=True)
    return log


def _send_by(config, recipient):
    subprocess.run(["sendmail", "-C", config, "-i", "-f", "a@out.test", recipient], check=True, input=b"Subject: x\n\nx\n")


def test_postfix_of_several_instances():
    guide, front, daemon, relays = _postfix(milter=None, lmtp=None)
    log = _instance("postfix-out", relays["far"])
    guide.put("SEVERAL INSTANCES", 0)
    guide.run("SEVERAL INSTANCES", 1)
    daemon.stop()
    daemon.start()
    before = _shown("/etc/postfix-out")
    guide.run("SEVERAL INSTANCES", 2)
    subprocess.run(["relaypoolctl", "setup", "postfix", "-i", "postfix-out", "--undo", "--reload"], check=True)
    scene.equal(_shown("/etc/postfix-out"), before, "settings after the undoing")
    guide.run("SEVERAL INSTANCES", 3)
    _send_by("/etc/postfix-out", "second@example.net")
    settings.wait_until(lambda: os.path.exists(log) and "status=" in _read(log), 10, "mail of the second instance")
    guide.run("SEVERAL INSTANCES", 4)
    assert re.search(r"postfix/relaypool/lmtp.*to=<second@example.net>.* status=sent", _read(log)), _read(log)
    queue_id = re.search(r": (\w+): to=<second@", _read(log)).group(1)
    assert "queue" in daemon.ctl("why", queue_id).stdout
    daemon.stop()
    _send_by("/etc/postfix-out", "third@example.net")
    settings.wait_until(lambda: "status=deferred" in _read(log), 10, "mail that waits")
    daemon.start()
    flush.run("/usr/sbin:/bin")
    settings.wait_until(lambda: "to=<third@example.net>" in _read(log).rpartition("status=sent")[0], 10, "the flush")
    subprocess.run(["postmulti", "-i", "postfix-out", "-p", "stop"], check=True, capture_output=True)
    _finish(guide, "instances")


def _read(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def test_postfix_with_other_milters():
    routes = section("route", "listed", {"relays": ["other"], "clients": ["127.0.0.9"]})
    routes += section("route", "rest", {"relays": ["far"]})
    guide, front, daemon, _relays = _postfix(names=("far", "other"), sections=routes)
    theirs = "inet:127.0.0.1:8891"
    milter = os.path.join(settings.BUILD, "tests/tools/sleepy_milter")
    process = subprocess.Popen([milter, "inet:8891@127.0.0.1", "eom", "0.01"])
    guide.run("BY HAND", 1)
    front.set(smtpd_milters=theirs, non_smtpd_milters=theirs)
    guide.run("OTHER MILTERS", 0)
    guide.run("OTHER MILTERS", 1)
    for name in ("smtpd_milters", "non_smtpd_milters"):
        value = subprocess.run(["postconf", "-h", name], capture_output=True, text=True, check=True).stdout
        assert value.startswith(theirs + ", { unix:relaypool/milter.sock, default_action=accept,"), value
    client = SmtpClient(scene.ADDRESS, source="127.0.0.9")
    scene.equal(client.transaction(Message("tagged"))[-1][0], 250, "reply")
    client.close()
    front.drain(10)
    _send(front, "other@example.net")
    scene.equal(_by_relays(daemon), ["other", "far"], "relays, by the route of the client that only a tag tells")
    process.terminate()
    process.wait()
    _finish(guide, "other_milters")


def test_postfix_with_an_account_for_each_sender():
    guide, front, daemon, relays = _postfix(names=("example", "shop"), parameters={
        "sender_dependent_relayhost_maps": "inline:{{@shop.example=[127.0.0.1]:1},{orders@example.org=[127.0.0.1]:1}}",
        "sender_dependent_default_transport_maps": "inline:{away@example.org=smtp:[127.0.0.2]}"})
    guide.run("BY HAND", 1)
    guide.put("ACCOUNTS BY SENDER", 0)
    guide.run("ACCOUNTS BY SENDER", 1)
    for sender in ("a@shop.example", "orders@example.org", "b@example.org", "away@example.org"):
        _send(front, f"from.{sender.replace('@', '.')}@example.net", sender)
    scene.equal(_by_relays(daemon), ["shop", "shop", "example"], "relays")
    scene.equal(_ways(front)["from.away.example.org@example.net"], SMTP, "the way of who has a transport of its own")
    _finish(guide, "accounts")


def test_postfix_keeps_the_tag_out_of_mailboxes():
    guide, front, _daemon, _relays = _postfix(parameters={"mailbox_transport": "lmtp:unix:private/dovecot-lmtp"})
    dovecot = Dovecot("/var/spool/postfix/private").start()
    guide.run("BY HAND", 1)
    _send(front, "alice@front.test")
    guide.run("LOCAL MAILBOXES AND THE TAG")
    _send(front, "alice@front.test")
    tags = sorted(message.lower().count(b"x-relaypool:") for message in dovecot.imap("alice"))
    scene.equal(tags, [0, 1], "tags of the two messages in the mailbox")
    dovecot.stop()
    _finish(guide, "mailboxes")


def test_postfix_when_it_does_not_work():
    guide, front, daemon, _relays = _postfix()
    guide.run("BY HAND", 1)
    _send(front, "pooled@example.net")
    assert "far" in guide.run("WHEN IT DOES NOT WORK", 0)
    assert "default" in guide.run("WHEN IT DOES NOT WORK", 1)
    daemon.stop()
    front.sendmail(b"Subject: x\n\nx\n", "a@front.test", ["waits@example.net"])
    settings.wait_until(lambda: "status=deferred" in front.log(), 10, "mail that waits")
    assert "No such file" in guide.run("WHEN IT DOES NOT WORK", 2), front.log()
    daemon.start()
    front.drain(10)
    assert "reply" in guide.run("WHEN IT DOES NOT WORK", 3, QUEUE_ID=_queue_id(front, "waits@example.net"))
    assert "default_transport = relaypool:unix:relaypool/lmtp.sock" in guide.run("WHEN IT DOES NOT WORK", 4)
    _finish(guide, "trouble")


def test_postfix_by_relaypoolctl():
    guide, front, _daemon, _relays = _postfix()
    before = _shown()
    assert "default_transport" in guide.run("BY RELAYPOOLCTL", 0)
    assert "default_transport" in guide.run("BY RELAYPOOLCTL", 1)
    scene.equal(_shown(), before, "settings after looking")
    guide.run("BY RELAYPOOLCTL", 2)
    _send(front, "pooled@example.net")
    guide.run("BY RELAYPOOLCTL", 3)
    scene.equal(_shown(), before, "settings after the undoing")
    _send(front, "alone@example.net")
    guide.run("THE FIRST DAY", 0)
    _send(front, "domain@example.net")
    _send(front, "other@example.com")
    guide.run("THE FIRST DAY", 1)
    _send(front, "all@example.com")
    scene.equal(_ways(front), {"pooled@example.net": LMTP, "alone@example.net": SMTP, "domain@example.net": LMTP,
                               "other@example.com": SMTP, "all@example.com": LMTP}, "ways out")
    _finish(guide, "setup")


LISTED, OF_NETWORK, STRANGER = "192.0.2.10", "192.0.2.65", "192.0.2.99"


def _smart_host(**options):
    """(guide, front, daemon, {name: relay}): with Postfix registered as POSTFIX says."""
    guide, front, daemon, relays = _postfix(addresses=(LISTED, OF_NETWORK, STRANGER), **options)
    guide.run("BY HAND", 1)
    return Guide("SMARTHOST"), front, daemon, relays


def _submit(source, recipient, port=25):
    """The reply to RCPT, or to the message where that is 250."""
    client = SmtpClient((host.ADDRESS, port), source=source)
    replies = client.transaction(Message(recipient, recipients=(recipient,)))
    client.close()
    return (replies[-1] if replies[1][0] == 250 else replies[1])[0]


def test_smart_host_relays_by_address():
    guide, front, _daemon, _relays = _smart_host()
    guide.run("OUR END: POSTFIX, BY ADDRESS")
    host.wait_for_smtp()
    guide.run("OUR END: SIZES AND NUMBERS")
    codes = [_submit(source, f"{source}@example.net") for source in (LISTED, OF_NETWORK, STRANGER)]
    scene.equal(codes, [250, 250, 554], "replies to who is listed, of a network that is, and neither")
    scene.equal(_submit(STRANGER, "alice@front.test"), 250, "reply to a stranger's mail for our own domain")
    front.drain(20)
    scene.equal({address: way for address, way in _ways(front).items() if address.endswith(".net")},
                {f"{LISTED}@example.net": LMTP, f"{OF_NETWORK}@example.net": LMTP}, "ways out")
    clients = [SmtpClient((host.ADDRESS, 25), source=LISTED) for _ in range(20)]
    assert "SIZE 36700160" in clients[0].announced, clients[0].announced
    scene.equal(_greeting(LISTED), 421, "reply to a connection too many")
    assert "Connection concurrency limit exceeded" in front.log(), front.log()[-2000:]
    for client in clients:
        client.close()
    shown = guide.run("WHEN IT DOES NOT WORK")
    assert re.search(rf"LISTEN .* {host.ADDRESS}:25 ", shown) and f"mynetworks = 127.0.0.0/8, {LISTED}" in shown, shown
    _finish(guide, "address")


def _log_in(user, password, recipient):
    """The code that a client at an address of no list gets in the end: for AUTH, or for its message."""
    client = smtplib.SMTP("mail.example.org", 587, source_address=(STRANGER, 0))
    client.starttls(context=ssl.create_default_context(cafile=certificates.path("ca.pem")))
    try:
        client.login(user, password)
    except smtplib.SMTPAuthenticationError as error:
        client.close()
        return error.smtp_code
    client.sendmail(f"{user}@front.test", [recipient], "Subject: x\r\n\r\ntext\r\n")
    client.quit()
    return 250


def _expect_password(user, password):
    """One message of the user's is taken, and none with a wrong password."""
    codes = [_log_in(user, tried, f"{user}@example.net") for tried in (password, "wrong")]
    scene.equal(codes, [250, 535], "replies to the right and the wrong password")


def _until_old_servers_have_gone(front):
    """An smtpd that has begun before a reload may take one more client, whom it asks for the password as before."""
    servers = ["pgrep", "-x", "smtpd", "-P", str(front.master_pid())]
    settings.wait_until(lambda: subprocess.run(servers, stdout=subprocess.DEVNULL, check=False).returncode, 20,
                        "the servers of before the reload to end")


def _provide_certificate():
    if os.path.islink("/etc/ssl"):  # Sendmail trusts no directory below /tmp
        shown = os.readlink("/etc/ssl")
        os.unlink("/etc/ssl")
        shutil.copytree(shown, "/etc/ssl", symlinks=True)
    for kind, directory in (("pem", "certs"), ("key", "private")):
        shutil.copy(certificates.path(f"right.{kind}"), f"/etc/ssl/{directory}/mail.example.org.{kind}")
    with open("/etc/hosts", "a", encoding="utf-8") as file:
        file.write(f"{host.ADDRESS} mail.example.org\n")


def _outsider():
    """The words that run a command on a machine which has a way to ours, and may not send."""
    link = Link(rtt=0)
    subprocess.run(link.command("ip", "route", "add", f"{host.ADDRESS}/32", "via", "10.81.0.1"), check=True)
    return link.command()


def test_smart_host_relays_with_a_password():
    guide, front, daemon, _relays = _smart_host(names=("example", "second"))
    _provide_certificate()
    guide.run("OUR END: POSTFIX, BY ADDRESS")
    guide.put("A ROUTE FOR EACH OF THEM", 0)
    guide.run("A ROUTE FOR EACH OF THEM", 1)
    guide.run("OUR END: POSTFIX, WITH A PASSWORD", 0)
    guide.put("OUR END: POSTFIX, WITH A PASSWORD", 1)
    dovecot = Dovecot("/var/spool/postfix/private").start()
    guide.run("OUR END: POSTFIX, WITH A PASSWORD", 2)
    host.wait_for_smtp(port=587)
    _expect_password("alice", PASSWORD)
    dovecot.stop()
    guide.put("OUR END: POSTFIX, WITH A PASSWORD", 3, "w")
    guide.run("OUR END: POSTFIX, WITH A PASSWORD", 4, typed="secret\n")
    _until_old_servers_have_gone(front)
    _expect_password("exchange", "secret")
    scene.equal(_submit(LISTED, "listed@example.net"), 250, "reply to who is listed")
    front.drain(20)
    scene.equal(sorted(_by_relays(daemon)), ["example", "second", "second"], "relays")
    assert "127.0.0.0/8, 192.0.2.10" in guide.run("NEVER AN OPEN RELAY", 0)
    outside = _outsider()
    for number in (1, 2):
        said = guide.run("NEVER AN OPEN RELAY", number, check=False, under=outside)
        assert "RCPT failed: 554" in said, said
    _finish(guide, "password")


def test_smart_host_of_other_mail_servers():
    guide, front, _daemon, _relays = _smart_host()
    guide.run("OUR END: POSTFIX, BY ADDRESS")
    there = FrontPostfix({"smtp_bind_address": LISTED, "inet_interfaces": LISTED, "myhostname": "there.test"},
                         name="there")
    there.postconf("-MX", "127.0.0.1:2525/inet")
    there.start()
    guide.run("THEIR END: OTHER MAIL SERVERS", 0, under=("env", f"MAIL_CONFIG={there.config}"))
    there.sendmail(b"Subject: x\n\nx\n", "a@there.test", ["by.postfix@example.net"])
    there.drain(20)
    _send_by_exim(guide.text("THEIR END: OTHER MAIL SERVERS", 1), "by.exim@example.net")
    front.drain(20)
    scene.equal(_ways(front), {"by.postfix@example.net": LMTP, "by.exim@example.net": LMTP}, "ways out")
    there.stop()
    _finish(guide, "others")


def _send_by_exim(router, recipient):
    """An Exim with that router, which sends one message from an address that may."""
    directory = settings.work("exim")
    os.makedirs(directory)
    shutil.chown(directory, "Debian-exim", "Debian-exim")
    path = os.path.join(directory, "exim.conf")
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"""exim_path = {settings.EXIM}
primary_hostname = exim.test
spool_directory = {directory}
log_file_path = {directory}/%s.log
exim_user = Debian-exim
exim_group = Debian-exim
keep_environment =
local_interfaces = {LISTED}
domainlist local_domains = exim.test
begin routers
{router}
begin transports
remote_smtp:
  driver = smtp
  interface = {LISTED}
""")
    exim = [settings.EXIM, "-C", path]
    subprocess.run([*exim, "-odq", "-f", "a@exim.test", recipient], input=b"Subject: x\n\nx\n", check=True)
    subprocess.run([*exim, "-q"], check=True)  # as root, which a delivery at once would not be
    log = _read(os.path.join(directory, "main.log"))
    assert f" => {recipient} R=smarthost " in log, log


MC = "/etc/mail/sendmail.mc"


class HostSendmail(FrontSendmail):
    """Sendmail as a package has it: its programs in the path, its features below /usr/share, its .mc in /etc/mail."""

    def __init__(self):
        super().__init__(feature="")
        self.starts = 1
        sandbox.private("/usr/share", settings.work())
        shutil.copytree(os.path.join(settings.SENDMAIL, "usr/share/sendmail"), "/usr/share/sendmail")
        os.makedirs("/run/sendmail/mta")
        os.symlink(os.path.join(PLACE, "pid"), "/run/sendmail/mta/sendmail.pid")
        os.symlink(self.program, os.path.join(PLACE, "mailq"))
        programs = os.path.join(settings.SENDMAIL, "usr/libexec/sendmail")
        os.environ["PATH"] = f"{PLACE}:{os.environ['PATH']}:{programs}"
        text = MASTER.format(place=PLACE, port=PORT, queues="", mode="background", local=LOCAL, lines="")
        with open(MC, "w", encoding="utf-8") as file:
            file.write("include(`/usr/share/sendmail/cf/m4/cf.m4')dnl" + text)
        subprocess.run(f"m4 {MC} >/etc/mail/sendmail.cf", shell=True, check=True)

    def insert(self, text, before="{local}"):
        """Lines of sendmail.mc, before MAILER and its kind."""
        content = _read(MC)
        place = content.index(before if before != "{local}" else LOCAL)
        with open(MC, "w", encoding="utf-8") as file:
            file.write(content[:place] + text + content[place:])


def _sendmail(names=("far",), addresses=(), **keys):
    """(guide, front, daemon, {name: relay}): a host with relaypoold, and Sendmail not registered with it."""
    host.furnish(addresses)
    relays, text = {}, ""
    for number, name in enumerate(names, 3):  # 127.0.0.2 is relaypoold's on the direct way
        relays[name] = ScriptedRelay(address=f"127.0.0.{number}", port=587, host=HOSTS[number])
        text += relay_section(name, relays[name])
    guide = Guide("SENDMAIL", {"smtp.example.com": relays[names[0]].address})  # there is no name server
    front = HostSendmail()
    return guide, front.start(), host.HostRelaypoold(front, text, **keys), relays


def _submit_here(front, recipient):
    front.sendmail(b"Subject: x\n\ntext\n", "a@front.test", [recipient])
    front.drain(20, flush=False)


def _mailers(front):
    """{recipient: the mailer that sent it over LMTP}; what the MSP gave to the daemon has a text behind Sent."""
    return dict(re.findall(r"to=<?([^>,]+@[^>,]+)>?, .*mailer=(\w+), .*stat=Sent$", front.log(), re.MULTILINE))


def _wait_for_restart(front):
    """Once more than before it has said that it starts; until then its port may be closed, or the old one's."""
    front.starts += 1
    settings.wait_until(lambda: front.log().count("starting daemon") >= front.starts, 10, "Sendmail's restart")
    host.wait_for_smtp("127.0.0.1", PORT)


def test_sendmail_by_hand():
    guide, front, daemon, _relays = _sendmail(milter=None, lmtp=None)
    before = _read("/etc/mail/sendmail.cf")
    guide.put("SOCKETS", 0)
    daemon.start()
    shown = guide.run("SOCKETS", 1)
    assert re.search(r"^755 relaypool:relaypool /run/relaypool$", shown, re.MULTILINE), shown
    guide.run("BY HAND", 0)
    front.insert(guide.text("BY HAND", 1))
    assert "Mrelaypool" in guide.run("BY HAND", 2)
    _wait_for_restart(front)
    assert "mailer relaypool, host localhost" in guide.run("BY HAND", 3)
    _submit_here(front, "pooled@example.net")
    guide.run("BY HAND", 4)
    _wait_for_restart(front)
    scene.equal(_read("/etc/mail/sendmail.cf"), before, "sendmail.cf after the undoing")
    front.insert(guide.text("BY HAND", 5) + guide.text("BY HAND", 1))
    guide.run("BY HAND", 6)
    guide.run("BY HAND", 7)
    _wait_for_restart(front)
    shown = [subprocess.run(["sendmail", "-bt"], input=f"/parse a@{domain}\n", capture_output=True, text=True,
                            check=True).stdout for domain in ("example.net", "example.com")]
    assert "mailer relaypool, host localhost" in shown[0] and "mailer relay, host [127.0.0.3]" in shown[1], shown
    _submit_here(front, "domain@example.net")
    scene.equal([_mailers(front)[f"{name}@example.net"] for name in ("pooled", "domain")], ["relaypool"] * 2, "mailers")
    scene.equal(len(_by_relays(daemon)), 2, "messages by relaypoold")
    _finish(guide, "sendmail_by_hand")


def test_sendmail_goes_on_alone_while_relaypoold_is_down():
    guide, front, daemon, relays = _sendmail()
    guide.run("BY HAND", 0)
    guide.put("WHILE RELAYPOOLD IS DOWN", 1)
    front.insert(guide.text("WHILE RELAYPOOLD IS DOWN", 2))
    daemon.start()
    guide.run("WHILE RELAYPOOLD IS DOWN", 3)
    _wait_for_restart(front)
    _submit_here(front, "pooled@example.net")
    daemon.stop()
    _submit_here(front, "down@example.net")
    guide.run("WHILE RELAYPOOLD IS DOWN", 0)
    scene.equal((len(_by_relays(daemon)), len(relays["far"].accepted)), (1, 2), "by relaypoold, and to the relay")
    _finish(guide, "sendmail_direct")


def test_sendmail_when_it_does_not_work():
    guide, front, daemon, _relays = _sendmail()
    daemon.start()
    guide.run("BY HAND", 0)
    front.insert(guide.text("BY HAND", 1))
    guide.run("BY HAND", 2)
    _wait_for_restart(front)
    _submit_here(front, "pooled@example.net")
    assert "far" in guide.run("WHEN IT DOES NOT WORK", 0)
    daemon.stop()
    front.sendmail(b"Subject: x\n\nx\n", "a@front.test", ["waits@example.net"])
    settings.wait_until(lambda: "stat=Deferred" in front.log(), 10, "mail that waits")
    assert "waits@example.net" in guide.run("WHEN IT DOES NOT WORK", 2), front.log()
    assert "is empty" in guide.run("MAIL BY SENDMAIL(1), AND QUEUE GROUPS"), front.log()
    daemon.start()
    front.drain(10, flush=False)  # the daemon asks for it at its start
    queue_id = re.search(r": (\w+): to=<?waits@example.net>?, .*mailer=relaypool", front.log()).group(1)
    assert "reply" in guide.run("WHEN IT DOES NOT WORK", 3, QUEUE_ID=queue_id)
    assert "default" in guide.run("WHEN IT DOES NOT WORK", 1)
    _finish(guide, "sendmail_trouble")


def test_sendmail_by_relaypoolctl():
    guide, front, daemon, _relays = _sendmail()
    daemon.start()
    guide.run("BY HAND", 0)
    before = [_read(path) for path in (MC, "/etc/mail/sendmail.cf")]
    assert "relaypool" in guide.run("BY RELAYPOOLCTL", 0)
    assert "relaypool" in guide.run("BY RELAYPOOLCTL", 1)
    scene.equal([_read(path) for path in (MC, "/etc/mail/sendmail.cf")], before, "files after looking")
    guide.run("BY RELAYPOOLCTL", 2)
    _wait_for_restart(front)
    _submit_here(front, "pooled@example.net")
    scene.equal(len(_by_relays(daemon)), 1, "messages by relaypoold")
    guide.run("BY RELAYPOOLCTL", 3)
    _wait_for_restart(front)
    scene.equal([_read(path) for path in (MC, "/etc/mail/sendmail.cf")], before, "files after the undoing")
    guide.run("BY RELAYPOOLCTL", 4)
    _wait_for_restart(front)
    _submit_here(front, "domain@example.net")
    scene.equal(len(_by_relays(daemon)), 2, "messages by relaypoold")
    _finish(guide, "sendmail_setup")


def test_smart_host_with_sendmail():
    guide, front, daemon, _relays = _sendmail(addresses=(LISTED, STRANGER))
    daemon.start()
    with open("/etc/hosts", "a", encoding="utf-8") as file:
        # Whose name it cannot find Sendmail refuses for a while only.
        file.write(f"{LISTED} listed.test\n{STRANGER} stranger.test\n")
    _provide_certificate()
    guide.run("BY HAND", 0)
    front.insert(guide.text("BY HAND", 1))
    guide = Guide("SMARTHOST")
    front.insert(guide.text("OUR END: SENDMAIL, BY ADDRESS", 0))
    guide.put("OUR END: SENDMAIL, BY ADDRESS", 1)
    guide.run("OUR END: SENDMAIL, BY ADDRESS", 2)
    _wait_for_restart(front)
    host.wait_for_smtp()
    scene.equal([_submit(source, f"{source}@example.net") for source in (LISTED, STRANGER)], [250, 550],
                "replies to who is listed and who is not")
    clients = [SmtpClient((host.ADDRESS, 25), source=LISTED) for _ in range(20)]
    assert any(line.startswith("SIZE 36700160") for line in clients[0].announced), clients[0].announced
    scene.equal(_greeting(LISTED), 421, "reply to a connection too many")
    for client in clients:
        client.close()
    front.insert(guide.text("OUR END: SENDMAIL, WITH A PASSWORD", 0))
    os.makedirs("/etc/sasl2", exist_ok=True)
    guide.put("OUR END: SENDMAIL, WITH A PASSWORD", 1)
    guide.run("OUR END: SENDMAIL, WITH A PASSWORD", 2, typed="secret\n")
    _wait_for_restart(front)
    host.wait_for_smtp(port=587)
    _expect_password("exchange", "secret")
    front.drain(20, flush=False)
    scene.equal(len(_by_relays(daemon)), 2, "messages by relaypoold")
    outside = _outsider()
    for number, refusal in ((1, "RCPT failed: 550"), (2, "MAIL failed: 530")):
        said = guide.run("NEVER AN OPEN RELAY", number, check=False, under=outside)
        assert refusal in said, said
    _finish(guide, "sendmail")


def _greeting(source):
    """The code of the greeting, to a client that says nothing."""
    with socket.create_connection((host.ADDRESS, 25), 10, (source, 0)) as client:
        return int(client.makefile("rb").readline()[:3])
