"""relaypoolctl setup sendmail with a real Sendmail: registered, mail goes pooled; undone, it goes as before and both
files are what they were. What is not right is refused and changes nothing."""
import json
import os
import re
import shutil
import subprocess

from lib import sandbox, scene, settings
from lib.daemon import Relaypoold, relay_section
from lib.message import Message
from lib.relay import RelayPostfix
from lib.sendmail import LOCAL, MASTER, PLACE, FrontSendmail
from lib.store import Store

MC, CF = "/etc/mail/sendmail.mc", "/etc/mail/sendmail.cf"
PROVIDER = """define(`SMART_HOST', `[127.0.0.3]')dnl
define(`RELAY_MAILER_ARGS', `TCP $h 10025')dnl
define(`confAUTH_MECHANISMS', `PLAIN LOGIN')dnl
FEATURE(`authinfo', `text -k0 -v1 -z| {credentials}')dnl
"""
OTHER = "INPUT_MAIL_FILTER(`other', `S=unix:/run/front/other.sock, F=')dnl\n"
SETUP = ["setup", "sendmail"]


def _read(path):
    with open(path, "rb") as file:
        return file.read()


def _files():
    """Both, with owner and mode."""
    return [(_read(path), os.stat(path).st_mode, os.stat(path).st_uid) for path in (MC, CF)]


def _share():
    """The directory of shared files, as the build has it."""
    with open(os.path.join(settings.BUILD, "Makefile"), encoding="utf-8") as file:
        return os.path.join(re.search("^prefix = (.*)$", file.read(), re.MULTILINE).group(1), "share")


def _install_feature(front):
    """Where `make install` puts it, instead of among Sendmail's own."""
    share = above = _share()
    while not os.path.isdir(above):
        above = os.path.dirname(above)
    sandbox.private(above, settings.work())
    place = os.path.join(share, "relaypool")
    if os.path.lexists(place):
        os.unlink(place)
    os.makedirs(os.path.join(place, "sendmail", "feature"))
    shutil.move(os.path.join(front.directory, "cf", "feature", "relaypool.m4"), os.path.join(place, "sendmail", "feature"))


class Site:
    """A Sendmail whose sendmail.mc is a file, as packages have it, and a relay that it knows without relaypool."""

    def __init__(self, lines="", installed=False, **keys):
        self.front = FrontSendmail(feature="")  # before the relay, which needs /etc
        if installed:
            _install_feature(self.front)
        self.store = Store()
        self.relay = RelayPostfix(store=self.store.path, address="127.0.0.3", host="second.test", port=10025).start()
        credentials = os.path.join(PLACE, "authinfo")  # Sendmail reads none below a directory that others may write to
        with open(credentials, "w", encoding="utf-8") as file:
            os.chmod(credentials, 0o600)
            file.write(f'AuthInfo:{self.relay.address}|"U:{self.relay.username}" "P:{self.relay.password}" "M:PLAIN"\n')
        self._write_mc(lines + PROVIDER.format(credentials=credentials))
        self._prepare(relay_section("far", self.relay), keys)
        self.daemon.start()
        self.front.start()

    def _prepare(self, sections, keys):
        self.daemon = Relaypoold(self.front, sections, **keys)
        os.environ["PATH"] = f"{PLACE}:{os.environ['PATH']}"  # where the program sendmail is
        os.environ["RELAYPOOL_SETUP_DIRECTORY"] = settings.work("setup")

    def _write_mc(self, lines):
        """As Debian has it: cf.m4 is included, definitions of mailers stand behind what else there is."""
        macros = os.path.join(self.front.directory, "cf")
        text = MASTER.format(place=PLACE, port=2525, queues="", mode="background", lines=lines, local=LOCAL)
        text = text.replace("MAILER(`local')", "MAILER_DEFINITIONS\nMAILER(`local')")
        with open(MC, "w", encoding="utf-8") as file:
            os.chmod(MC, 0o640)
            file.write(f"divert(-1)dnl\n# MAILER(`smtp') stands below.\ndivert(0)dnl\ninclude(`{macros}/m4/cf.m4')dnl{text}")
        self.make()

    @staticmethod
    def make():
        made = subprocess.run(["m4", MC], capture_output=True, check=True).stdout
        with open(CF, "wb") as file:
            file.write(made)

    def setup(self, *options, code=0):
        """Its JSON, and what it complained of as "error"."""
        result = self.daemon.ctl("-j", "-c", self.daemon.config_path, *SETUP, *options, check=False)
        assert result.returncode == code, f"{options} ended with {result.returncode}: {result.stdout}{result.stderr}"
        return {**json.loads(result.stdout), "error": result.stderr}

    def expect(self, pooled, label, domain="far.example"):
        """One message: by relaypoold, or by Sendmail itself."""
        self.store.clear()
        address = f"{label}@{domain}"
        scene.inject([Message(label, recipients=(address,))])
        settings.wait_until(lambda: self.store.copies(), 20, f"the message {label}")
        settings.wait_until(lambda: re.search(f"to=<{address}>.*stat=Sent", self.front.log()), 20, f"{label} to be logged")
        scene.equal(self.store.copies(), {(f"m{label}", address): 1}, "what arrived")
        hosts = re.findall(f"to=<{address}>.* relay=([^,]+),", self.front.log())
        scene.equal(["[127.0.0.3]" not in host for host in hosts], [pooled], f"whether {label} went by relaypoold")


class QuietSite(Site):
    """The files and programs alone: nothing runs."""

    def __init__(self):
        self.front = FrontSendmail(feature="")
        self._write_mc("define(`SMART_HOST', `relay:[127.0.0.3]')dnl")
        self._prepare('relay "far" { host = "127.0.0.3" }\nroute "default" { relays = { "far" } }\n', {})
        self.daemon.listen()


def _states(report, state):
    return [(entry["where"], entry["name"]) for entry in report["findings"] if entry["state"] == state]


def test_apply_pools_and_undo_gives_both_files_back():
    site = Site(OTHER)
    before = _files()
    site.expect(False, "before")
    shown = site.setup()
    scene.equal((_files(), shown["clean"]), (before, False), "after looking")
    scene.equal(_states(shown, "missing"), [("sendmail.mc", "block"), ("sendmail.cf", "made of sendmail.mc")], "missing")
    scene.equal(_states(shown, "wrong") + _states(shown, "conflict"), [], "in the way")
    site.setup("--check", code=1)
    site.setup("--apply", "--reload")
    site.expect(True, "pooled")
    assert b"\nO InputMailFilters=other, relaypool\n" in _read(CF), "relaypool is not the last milter"
    applied = _files()
    report = site.setup("--check")
    assert report["clean"], report
    assert "[127.0.0.3] is set there" in str(report), report
    site.setup("--apply")
    scene.equal(_files(), applied, "after applying twice")
    site.setup("--undo", "--reload")
    scene.equal(_files(), before, "after undoing")
    site.expect(False, "after")
    assert "nothing to undo" in site.setup("--undo", code=1)["error"]
    scene.equal(os.listdir(settings.work("setup")), ["lock"], "what is remembered")


def test_one_domain_goes_pooled_and_the_rest_as_before():
    site = Site(installed=True)
    before = _files()
    site.setup("--apply", "--domain", "far.example", "--domain", "near.example", "--reload")
    site.expect(True, "chosen")
    site.expect(True, "second", "near.example")
    site.expect(False, "other", "other.example")
    assert b"pushdef(`_CF_DIR_'" in _read(MC), "the feature was not taken from where it is installed"
    assert site.setup("--check")["clean"]
    site.setup("--undo", "--reload")
    scene.equal(_files(), before, "after undoing")
    assert ("sendmail.cf", "domain") in _states(site.setup("--apply", "--domain", "front.test", code=1), "conflict")


def test_direct_way_goes_to_the_smart_host_that_was_there():
    site = Site(failover="direct", smtp="inet:10025@127.0.0.2")
    before = _files()
    site.setup("--apply", "--reload")
    site.expect(True, "pooled")
    site.daemon.stop()
    site.expect(False, "direct")
    site.setup("--undo", "--reload")
    scene.equal(_files(), before, "after undoing")


def test_sockets_elsewhere_and_on_tcp():
    site = Site(milter="inet:8899@127.0.0.1", lmtp="inet:2424@127.0.0.1")
    site.setup("--apply", "--reload")
    site.expect(True, "tcp")
    unsafe = settings.work("unsafe.conf")
    with open(site.daemon.config_path, encoding="utf-8") as file:
        text = file.read()
    with open(unsafe, "w", encoding="utf-8") as file:
        file.write(text.replace("inet:8899@127.0.0.1", "unix:/tmp/milter.sock"))
    result = site.daemon.ctl("-c", unsafe, *SETUP, "--apply", check=False)
    scene.equal(result.returncode, 1, "exit code with /tmp/milter.sock")
    words = " ".join(result.stdout.split())
    assert "everybody may write to /tmp" in words and 'milter = "unix:/run/relaypool/milter.sock"' in words, words


def test_what_does_not_build_or_load_changes_nothing():
    site = QuietSite()
    text = _read(MC)
    for broken, said in ((b"FEATURE(`nonesuch')dnl\nMAILER(`local", "nonesuch"),
                         (b"LOCAL_CONFIG\nZgarbage\nMAILER(`local", "unknown configuration line")):
        with open(MC, "wb") as file:
            file.write(text.replace(b"MAILER(`local", broken, 1))
        subprocess.run(f"m4 {MC} >{CF}", shell=True, check=False, stderr=subprocess.DEVNULL)
        before = _files()
        result = site.daemon.ctl("-c", site.daemon.config_path, *SETUP, "--apply", check=False)
        scene.equal(result.returncode, 1, "exit code")
        assert said in " ".join((result.stdout + result.stderr).split()), result
        scene.equal(_files(), before, f"after refusing {said}")


def test_a_directory_that_its_group_may_write_to():
    site = QuietSite()
    os.chmod("/run/relaypool", 0o775)
    found = [entry for entry in site.setup("--apply", code=1)["findings"] if entry["name"] == "milter"]
    assert "chmod 755 /run/relaypool" in found[0]["why"], found


def test_nobody_listens():
    site = QuietSite()
    before = _files()
    os.unlink(site.daemon.lmtp())
    scene.equal(_states(site.setup("--apply", code=1), "wrong"), [("socket", "lmtp")], "wrong")
    scene.equal(_files(), before, "after a refusal")
    site.setup("--apply", "--force")
    site.setup("--check", code=1)


def test_what_others_edited_is_left_to_them():
    site = QuietSite()
    before = _files()
    with open(CF, "ab") as file:
        file.write(b"# a comment says nothing\nC{Mine}example.org\n")
    assert ("sendmail.cf", "made of sendmail.mc") in _states(site.setup("--apply", code=1), "conflict")
    site.setup("--apply", "--force")
    applied = _read(MC)
    # Elsewhere in the file: that stays, the block goes.
    with open(MC, "ab") as file:
        file.write(b"dnl a line of the administrator's\n")
    site.make()
    assert site.setup("--check")["clean"]
    site.setup("--undo")
    scene.equal(_read(MC), before[0][0] + b"dnl a line of the administrator's\n", "sendmail.mc without the block")
    assert b"Mrelaypool" not in _read(CF), "sendmail.cf was not made anew"
    # In sendmail.cf, after the first --apply: the memory has an older one, so that a copy is left beside it.
    site.setup("--apply")
    with open(CF, "ab") as file:
        file.write(b"C{Late}example.org\n")
    assert f"{CF}.edited.2" in str(site.setup("--apply", "--force")), "where the edited one is does not stand there"
    assert _read(f"{CF}.edited.2").endswith(b"C{Late}example.org\n") and b"C{Late}" not in _read(CF), "the copy"
    site.setup("--undo")
    # In the block: nothing is undone, and --apply does not write over it.
    site.setup("--apply")
    edited = _read(MC).replace(b"FEATURE(`relaypool')dnl", b"FEATURE(`relaypool')dnl mine")
    with open(MC, "wb") as file:
        file.write(edited)
    scene.equal(_states(site.setup("--undo", code=1), "kept"), [("sendmail.mc", "block")], "kept")
    assert ("sendmail.mc", "block") in _states(site.setup("--apply", code=1), "conflict")
    scene.equal(_read(MC), edited, "the edited file")
    site.setup("--apply", "--force")
    assert applied.split(b"MAILER(`local")[0] in _read(MC), "the block was not written anew"
    site.setup("--undo")
    # A block that somebody has written with our marks.
    with open(MC, "wb") as file:
        file.write(edited)
    site.make()
    before = _files()
    site.setup("--apply")
    assert b"mine" not in _read(MC), "the block of before"
    site.setup("--undo")
    scene.equal(_files(), before, "after undoing with a block by hand")


def test_interrupted_between_the_two_files():
    site = QuietSite()
    before = _files()
    for then in ("--undo", "--apply"):
        site.setup("--apply")
        with open(CF, "wb") as file:
            file.write(before[1][0])
        scene.equal(_states(site.setup("--check", code=1), "missing"), [("sendmail.cf", "made of sendmail.mc")], "missing")
        site.setup(then)
        scene.equal((then, b"Mrelaypool" in _read(CF)), (then, then == "--apply"), "whether it is there")
        assert then == "--apply" or _files() == before, "not as before"
    # A second --apply: the memory has its block already, sendmail.mc that of the first, or sendmail.cf is made of that.
    os.chdir("/etc")
    for paths in ((MC, CF), (CF,)):
        site.daemon.write_config(milter=f"unix:{site.daemon.sockets}/milter.sock")
        site.daemon.listen()
        site.setup("--apply")
        applied = {path: _read(path) for path in paths}
        site.daemon.write_config(milter="inet:8899@127.0.0.1")
        site.daemon.listen()
        site.setup("--apply")
        for path, content in applied.items():
            with open(path, "wb") as file:
                file.write(content)
        scene.equal(_states(site.setup("--check", code=1), "conflict"), [], "conflicts")
        site.setup("--undo", "--mc", "./mail/../mail/sendmail.mc")
        scene.equal(_files(), before, f"after undoing, with the first of {paths}")


def _expect_in_the_way(site, text, names, *options):
    """With this sendmail.mc --apply refuses because of settings of these names, and changes nothing."""
    with open(MC, "wb") as file:
        file.write(text)
    site.make()
    before = _files()
    report = site.setup("--apply", *options, code=1)
    scene.equal([entry["name"] for entry in report["findings"] if entry["stops"]], names, "in the way")
    scene.equal(_files(), before, "after refusing")


def test_what_would_keep_mail_away_is_in_the_way():
    site = QuietSite()
    text, mailer = _read(MC), b"MAILER(`local')dnl\n"
    for name, content in (("mt", "far.example esmtp:[10.0.0.1]\n.inner.example esmtp:[10.0.0.2]\n"),
                          ("access", "Connect:10 RELAY\nTLS_Srv: ENCR:112\nTLS_Rcpt:far.example PERM+VERIFY\n")):
        with open(f"/etc/mail/{name}", "w", encoding="utf-8") as file:
            file.write(content)
    maps = (b"FEATURE(`mailertable', `text -o -k0 -v1 /etc/mail/mt')dnl\n"
            b"FEATURE(`access_db', `text -o -k0 -v1 -T<TMPF> /etc/mail/access')dnl\n")
    _expect_in_the_way(site, text.replace(mailer, maps + mailer), ["mailertable", "access", "access"],
                       "--domain", "x.inner.example", "--domain", "other.example")
    _expect_in_the_way(site, text.replace(mailer, b"ifdef(`nonesuch', `\n" + mailer + b"')dnl\n"), ["made of sendmail.mc"])
    site.daemon.write_config(failover="direct", smtp="inet:25@127.0.0.2")
    site.daemon.listen()
    _expect_in_the_way(site, text + b"DAEMON_OPTIONS(`Name=everywhere')dnl\n", ["DaemonPortOptions"])
    with open(MC, "wb") as file:
        file.write(text + b"define(`confHOST_STATUS_DIRECTORY', `/run/front/hosts')dnl\n")
    site.make()
    assert ("sendmail.cf", "HostStatusDirectory") in _states(site.setup("--check", code=1), "wrong"), "not told"
    os.rename(MC, "/etc/mail/there.mc")
    os.symlink("there.mc", MC)
    assert ("sendmail.mc", "symbolic link") in _states(site.setup("--check", code=1), "wrong"), "a link is not told"


def test_check_names_what_is_wrong():
    site = QuietSite()
    assert 'has it as relay "far"' in str(site.setup("--apply")), "the smart host is not known as a relay"
    text = _read(MC)
    late = text + b"define(`confTO_DATAFINAL', `5m')dnl\ndefine(`confSINGLE_THREAD_DELIVERY', `True')dnl\n"
    with open(MC, "wb") as file:
        file.write(late)
    site.make()
    scene.equal(_states(site.setup("--check", code=1), "wrong"),
                [("sendmail.cf", "Timeout.datafinal"), ("sendmail.cf", "SingleThreadDelivery")], "wrong")
    with open(MC, "wb") as file:
        file.write(text.replace(b"MAILER(`smtp')dnl", b"define(`SMART_HOST', `[127.0.0.9]')dnl\nMAILER(`smtp')dnl"))
    report = site.setup("--check", code=1)
    assert "SMART_HOST" in json.dumps(report["findings"]), report
    with open(MC, "wb") as file:
        file.write(text.replace(b"MAILER(`smtp')dnl", b""))
    report = site.setup("--check", code=1)
    assert "needs MAILER(smtp)" in json.dumps(report["findings"]), report


def test_set_up_by_hand_is_seen_and_left():
    site = QuietSite()
    text = _read(MC)
    with open(MC, "wb") as file:
        file.write(text.replace(b"MAILER(`local')", b"FEATURE(`relaypool')dnl\nMAILER(`local')"))
    site.make()
    before = _files()
    report = site.setup("--check")
    assert report["clean"] and ("sendmail.mc", "block") in _states(report, "note"), report
    site.setup("--apply")
    scene.equal(_files(), before, "after applying")
    site.daemon.write_config(milter="unix:/run/elsewhere/milter.sock", lmtp="unix:/run/elsewhere/lmtp.sock")
    scene.equal(_states(site.setup("--check", code=1), "wrong"),
                [("socket", "milter"), ("socket", "lmtp"), ("sendmail.cf", "milter relaypool S="),
                 ("sendmail.cf", "mailer relaypool A=")], "wrong")
    with open(MC, "wb") as file:
        file.write(text)
    site.make()
    sockets = site.daemon.sockets
    site.daemon.write_config(milter=f"unix:{sockets}/milter.sock", lmtp=f"unix:{sockets}/lmtp.sock")
    site.setup("--apply")
    twice = _read(MC).replace(b"dnl relaypool end", b"dnl relaypool end\nFEATURE(`relaypool')dnl")
    with open(MC, "wb") as file:
        file.write(twice)
    assert ("sendmail.mc", "block") in _states(site.setup("--apply", code=1), "conflict"), "twice"


def test_without_its_files_it_says_what_to_do():
    site = QuietSite()
    shutil.move(MC, MC + ".away")
    assert "--mc" in site.setup("--apply", code=1)["error"]
    shutil.copy(MC + ".away", "/etc/mail/other.mc")
    assert "no running Sendmail" in site.setup("--apply", "--reload", "--mc", "/etc/mail/other.mc", code=1)["error"]
    assert b"Mrelaypool" in _read("/etc/mail/other.cf")
    assert b"Mrelaypool" not in _read(CF)
    site.setup("--undo", "--mc", "/etc/mail/other.mc")
    assert not os.path.exists("/etc/mail/other.cf"), "a sendmail.cf that was not there before"
    assert "end in .mc" in site.setup("--mc", "/etc/mail/other.cf", code=1)["error"]


def test_the_sendmail_mc_of_debian():
    site = QuietSite()
    sandbox.private("/usr/share", settings.work())
    os.symlink(os.path.join(settings.SENDMAIL, "usr/share/sendmail"), "/usr/share/sendmail")
    _install_feature(site.front)
    os.mkdir("/etc/mail/m4")
    for name in ("local-host-names", "m4/dialup.m4", "m4/provider.m4"):
        with open(os.path.join("/etc/mail", name), "w", encoding="utf-8") as file:
            file.write("define(`SMART_HOST', `[smtp.example.com]')dnl\n" if name == "m4/provider.m4" else "")
    shutil.copy("/usr/share/sendmail/cf/debian/sendmail.mc", MC)
    site.make()
    before = _files()
    report = site.setup("--apply")
    assert "No relay of relaypool.conf has this host" in json.dumps(report["findings"]), report
    lines = _read(MC).decode().splitlines()
    scene.equal([line for line in lines if line not in before[0][0].decode().splitlines()],
                ["dnl relaypool begin (by relaypoolctl setup sendmail)",
                 f"pushdef(`_CF_DIR_', `{_share()}/relaypool/sendmail/')dnl", "FEATURE(`relaypool')dnl",
                 "popdef(`_CF_DIR_')dnl", "dnl relaypool end"], "lines added")
    assert lines[lines.index("dnl relaypool end") + 1].startswith("MAILER("), lines
    assert b"\nDSrelaypool:localhost\n" in _read(CF) and b"\nMrelaypool,\t" in _read(CF)
    site.setup("--check")
    site.setup("--undo")
    scene.equal(_files(), before, "after undoing")
