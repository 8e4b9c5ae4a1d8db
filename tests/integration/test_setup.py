"""relaypoolctl setup postfix: apply, mail flows pooled, undo, mail flows as before and every file is as it was."""
import os
import shutil
import signal
import stat
import subprocess
import types

from lib import front as fronts
from lib import scene, settings
from lib.daemon import Relaypoold, relay_section, section
from lib.front import FrontPostfix
from lib.message import Message
from lib.registration import Registration, transports
from lib.relay import RelayPostfix
from lib.signer import Signer
from lib.store import Store

SOCKETS = {"milter": "inet:12425@127.0.0.1", "lmtp": "inet:12424@127.0.0.1"}


def send(front, user, domain="far.example"):
    front.sendmail(b"Subject: x\r\n\r\ntext\r\n", "a@front.test", [f"{user}@{domain}"])
    settings.wait_until(lambda: user in transports(front), 30, f"the mail to {user}")
    front.drain(30)


def beside(far, parameters=None, chroot=False, **keys):
    """A front that sends by its relayhost, and a relaypoold beside it that nobody uses yet; neither runs.

    Beside NOBODY the sockets are there all the same.
    """
    front = FrontPostfix({"relayhost": f"[{far.address}]:{far.port}", **(parameters or {})}, chroot=chroot)
    daemon = Relaypoold(front, relay_section("near", far), **keys)
    if far is NOBODY:
        daemon.listen()
    return front, daemon


def there_and_back(front, daemon, far, instance=None, pooled="relaypool/lmtp"):
    """The whole way; `far` is needed for its queue only. Only an instance of postmulti is reloaded by setup itself."""
    reload = ["--reload"] if instance else []
    setup = Registration(front, daemon, instance)
    before = setup.photograph()
    daemon.start()
    front.start()
    send(front, "before")
    setup.run()
    scene.equal(setup.photograph(), before, "files after a look")
    setup.run("--apply", *reload)
    if not instance:
        front.reload()
    send(front, "pooled")
    scene.equal(setup.wrong(), {}, "what is wrong after --apply")
    way = setup.findings("--check")["smtp" if daemon.keys.get("smtp") else "lmtp"]
    scene.equal(way["state"], "ok", "that relaypoold listens")
    assert "Nothing had to be changed" in setup.run("--apply")
    setup.run("--undo", *reload)
    scene.equal(setup.photograph(), before, "files after --undo")
    if not instance:
        front.reload()
    send(front, "after")
    scene.equal(transports(front), {"before": "smtp", "pooled": pooled, "after": "smtp"}, "transports")
    assert "status=sent" in daemon.log() and "refused" not in daemon.log(), daemon.log()
    far.drain(20)


def plain_relay():
    return RelayPostfix(secure=False).start()


# Where no mail is sent.
NOBODY = types.SimpleNamespace(host="near.test", address="127.0.0.2", port=25, secure=False)


def edit(front, change):
    path = os.path.join(front.config, "main.cf")
    with open(path, encoding="utf-8") as file:
        text = file.read()
    with open(path, "w", encoding="utf-8") as file:
        file.write(change(text))
    front.age()


def test_folded_and_commented_main_cf():
    far = plain_relay()
    front, daemon = beside(far)
    edit(front, lambda text: "# Ours since 1999.\n" + text + "\n# Milters\nsmtpd_milters =\n   # the signer\n"
         f"   unix:{Signer().path},\n\t# none other\nsmtp_header_checks = regexp:$config_directory/own_checks\n# The end.\n")
    with open(os.path.join(front.config, "own_checks"), "w", encoding="utf-8") as file:
        file.write("/^X-Internal:/ IGNORE\n")
    os.chmod(os.path.join(front.config, "main.cf"), 0o640)
    there_and_back(front, daemon, far)


def test_chrooted():
    far = plain_relay()
    front, daemon = beside(far, chroot=True)
    there_and_back(front, daemon, far)


def test_inet_sockets():
    far = plain_relay()
    front, daemon = beside(far, chroot=True, **SOCKETS)
    there_and_back(front, daemon, far)


def test_direct():
    far = plain_relay()
    front, daemon = beside(far, failover="direct", smtp=f"inet:{scene.DIRECT_PORT}@127.0.0.1")
    there_and_back(front, daemon, far, pooled="relaypool/smtp")


def test_instance_of_postmulti():
    far = plain_relay()
    front, daemon = beside(far)
    subprocess.run(["postmulti", "-e", "init"], check=True)
    front.set(multi_instance_name="postfix-front")
    subprocess.run(["postmulti", "-e", "import", f"config_directory={front.config}"], check=True)
    subprocess.run(["postmulti", "-i", "postfix-front", "-e", "enable"], check=True)
    there_and_back(front, daemon, far, instance="postfix-front")


def test_as_contrib_has_it():
    """What stands in contrib/postfix is what setup makes, in both ways of failover."""
    for failover in ("queue", "direct"):
        front, daemon = beside(NOBODY, failover=failover,
                               smtp=f"inet:{scene.DIRECT_PORT}@127.0.0.1" if failover == "direct" else None)
        Registration(front, daemon).run("--apply")
        made = Registration(front, daemon).photograph()
        Registration(front, daemon).run("--undo")
        front.remove()
        by_hand = fronts.pooled(failover=failover)
        setup = Registration(by_hand, daemon)
        daemon.listen()
        scene.equal(setup.wrong(), {}, f"what --check finds in contrib/postfix/*.{failover}")
        scene.equal(made["-M"].replace("\n", ""), setup.photograph()["-M"].replace("\n", ""), "master.cf")
        # What was there before the first --apply goes back, though it is used.
        daemon.sections = relay_section("near", NOBODY, max_connections=150)
        daemon.write_config()
        before = setup.photograph()
        assert "process_limit" in setup.run("--apply")
        setup.run("--undo")
        scene.equal(setup.photograph(), before, "files after --undo of what was begun by hand")
        by_hand.remove()
        shutil.rmtree(daemon.directory)


def test_signed_before_the_tag():
    """The signer never sees the tag, its signature arrives, and the tag does not."""
    store, signer = Store(), Signer()
    far = RelayPostfix(store=store.path, secure=False).start()
    front, daemon = beside(far, {"smtpd_milters": f"unix:{signer.path}"})
    setup = Registration(front, daemon)
    before = setup.photograph()
    daemon.start()
    setup.run("--apply")
    front.start()
    scene.inject([Message("signed")])
    scene.drained(front, far, 20)
    scene.equal(len(signer.seen), 1, "messages at the signer")
    assert "X-Relaypool" not in signer.seen[0] and "Subject" in signer.seen[0], signer.seen
    header = store.transactions[0].header
    assert b"X-Signed: " in header and b"X-Relaypool" not in header, header
    # Mail by sendmail(1) is signed by nobody, as before.
    scene.equal(setup.findings("--check")["non_smtpd_milters"]["state"], "ok", "non_smtpd_milters")
    send(front, "local")
    scene.equal(len(signer.seen), 1, "messages at the signer after sendmail(1)")
    setup.run("--undo")
    scene.equal(setup.photograph(), before, "files after --undo")


def test_one_domain_first():
    far = plain_relay()
    front, daemon = beside(far)
    setup = Registration(front, daemon)
    before = setup.photograph()
    daemon.start()
    front.start()
    setup.run("--apply", "--domain", "one.example")
    front.reload()
    send(front, "one", "one.example")
    send(front, "other")
    setup.run("--apply", "--domain", "one.example", "--domain", "two.example")
    front.reload()
    send(front, "two", "two.example")
    scene.equal(setup.wrong(), {}, "what is wrong while two domains are applied")
    assert "for one.example, two.example only" in " ".join(setup.run("--check").split())
    assert "one.example is not named any more" in " ".join(setup.run("--domain", "two.example").split())
    setup.run("--apply")
    front.reload()
    send(front, "all")
    scene.equal(transports(front), {"one": "relaypool/lmtp", "other": "smtp", "two": "relaypool/lmtp",
                                    "all": "relaypool/lmtp"}, "transports")
    assert b"transport_maps" not in setup.photograph()["main.cf"][0]
    setup.run("--undo")
    scene.equal(setup.photograph(), before, "files after --undo")
    assert "front.test" in setup.run("--apply", "--domain", "front.test", code=1)
    scene.equal(setup.photograph(), before, "files after a domain of our own was refused")
    front.set(virtual_mailbox_domains="inline:{ { v.example = x } }")
    scene.equal(setup.findings("--domain", "v.example")["virtual_mailbox_domains"]["state"], "conflict", "a domain in a table")


def test_edited_by_hand_meanwhile():
    front, daemon = beside(NOBODY, {"smtpd_milters": "inet:127.0.0.1:1"})
    setup = Registration(front, daemon)
    setup.run("--apply")
    milters = setup.findings("--check")["smtpd_milters"]["is"]
    front.set(default_transport="smtp:")  # which has nothing of ours any more
    edit(front, lambda text: text.replace("initial_destination_concurrency = 100", "initial_destination_concurrency = 7")
         .replace("biff = no", "biff = no\n# added by hand\nmessage_size_limit = 1000000"))
    front.postconf("-e", f"smtpd_milters={milters}, inet:127.0.0.1:2")
    scene.equal(setup.wrong()["smtpd_milters"], "differs", "a milter behind ours")
    setup.run("--undo", path=killer(2, True), code=-signal.SIGKILL)  # and then once more
    said = setup.run("--undo", code=1)
    assert "relaypool_initial_destination_concurrency  kept" in said, said
    photograph = setup.photograph()
    text = photograph["main.cf"][0].decode()
    assert "# added by hand\nmessage_size_limit = 1000000\n" in text, text
    assert "smtpd_milters = inet:127.0.0.1:1, inet:127.0.0.1:2\n" in text, text
    scene.equal([line for line in text.splitlines() if "relaypool" in line.replace(settings.work(), "")],
                ["relaypool_initial_destination_concurrency = 7"], "what is left of relaypool in main.cf")
    assert "relaypool" not in photograph["-M"], photograph["-M"]
    assert "nothing of relaypool's is in it" in " ".join(said.split()), said
    assert "default_transport = smtp:\n" in text, text
    front.unset("relaypool_initial_destination_concurrency")
    assert "default_transport" not in setup.run("--undo")
    assert "nothing to undo" in setup.run("--undo", code=1)


def test_nobody_listens():
    """Mail would wait: refused, unless --force is given, and no clean --check after that."""
    front = FrontPostfix({"relayhost": "[127.0.0.2]:25"})
    daemon = Relaypoold(front, relay_section("near", NOBODY))
    setup = Registration(front, daemon)
    before = setup.photograph()
    said = setup.run("--apply", code=1)
    assert "start relaypoold first" in " ".join(said.split()) and "Nothing was changed" in said, said
    scene.equal(setup.photograph(), before, "files after a refusal")
    os.rename(daemon.sockets, f"{daemon.sockets}.away")
    said = setup.run("--apply", code=1)
    assert "make it as the README says, then start relaypoold" in " ".join(said.split()), said
    os.rename(f"{daemon.sockets}.away", daemon.sockets)
    setup.run("--apply", "--force")
    scene.equal(setup.wrong(), {"milter": "wrong", "lmtp": "wrong"}, "what is wrong while relaypoold does not run")
    setup.run("--check", code=1)
    said = " ".join(setup.run("--undo", "--reload", code=1).split())
    assert "Postfix has not read them: it does not run" in said and "removed: there was none before" in said, said
    scene.equal(setup.photograph(), before, "files after --undo")


def test_edited_between_two_applies():
    """What stood beside ours when it was applied again stays where it is; what is ours goes."""
    front, daemon = beside(NOBODY)
    setup = Registration(front, daemon)
    setup.run("--apply", "--domain", "one.example")
    listed = ("smtpd_milters", "{ inet:localhost:8891, default_action=accept }"), \
        ("transport_maps", "inline:{ { own.example = smtp: } }"), ("smtp_header_checks", "regexp:/etc/own_checks")
    found = setup.findings("--check")
    for name, own in listed:
        ours = found[name]["is"]
        front.postconf("-e", f"{name}={own}, {ours}" if name == "smtp_header_checks" else f"{name}={ours}, {own}")
    setup.run("--apply", "--domain", "one.example")
    setup.run("--undo")
    main = setup.photograph()["-n"]
    scene.equal([f"{name} = {own}" in main.splitlines() for name, own in listed], [True, True, True], main)
    assert "relaypool" not in main.replace(settings.work(), ""), main


def test_a_service_that_is_still_used_stays():
    front, daemon = beside(NOBODY)
    setup = Registration(front, daemon)
    setup.run("--apply")
    front.set(transport_maps="inline:{ { x.example = relaypool:unix:relaypool/lmtp.sock } }")
    said = setup.run("--undo", code=1)
    assert "transport_maps still brings mail here" in said, said
    assert "relaypool unix" in " ".join(setup.photograph()["-M"].split()), said
    front.unset("transport_maps")
    setup.run("--undo")
    assert "relaypool" not in setup.photograph()["-M"]


def killer(step, after):
    """A directory with a postconf that ends whoever runs it by kill -9, before or after its `step`th change."""
    directory = settings.work(f"killer-{step}-{after}")
    count = os.path.join(directory, "count")
    os.mkdir(directory)
    path = os.path.join(directory, "postconf")
    real = shutil.which("postconf")
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"""#!/bin/sh
case " $* " in
*rehearsal*) exec {real} "$@" ;;
*" -e "* | *" -M "*=* | *" -X "*)
    echo x >>{count}
    [ "$(wc -l <{count})" = {step} ] || exec {real} "$@"
    {real} "$@" {"" if after else "--no-such-option 2>/dev/null"}
    kill -9 $PPID ;;
*) exec {real} "$@" ;;
esac
""")
    os.chmod(path, stat.S_IRWXU)
    return directory


def test_killed_in_the_middle():
    front, daemon = beside(NOBODY, {"smtpd_milters": "inet:127.0.0.1:1"})
    edit(front, lambda text: text.replace("smtpd_milters = ", "smtpd_milters =\n# folded\n    "))
    setup = Registration(front, daemon)
    before = setup.photograph()
    changed = 0
    for step, after in (1, False), (1, True), (5, True), (8, True):
        setup.run("--apply", path=killer(step, after), code=-signal.SIGKILL)
        changed += setup.photograph() != before
        setup.run("--undo")
        scene.equal(setup.photograph(), before, f"files after kill -9 at step {step}")
    assert changed == 4, changed  # the header checks are there before the first step
    # Going on instead of undoing works as well.
    setup.run("--apply", path=killer(6, True), code=-signal.SIGKILL)
    setup.run("--apply")
    scene.equal(setup.wrong(), {}, "what is wrong after a second --apply")
    setup.run("--undo")
    scene.equal(setup.photograph(), before, "files after both")


def test_failure_is_taken_back():
    """A postconf that fails half-way: what was done until then goes back by itself."""
    front, daemon = beside(NOBODY)
    setup = Registration(front, daemon)
    before = setup.photograph()
    directory = killer(5, False)
    path = os.path.join(directory, "postconf")
    with open(path, encoding="utf-8") as file:
        script = file.read().replace("kill -9 $PPID", "exit 1")
    with open(path, "w", encoding="utf-8") as file:
        file.write(script)
    said = setup.run("--apply", path=directory, code=1)
    assert "was taken back" in said, said
    scene.equal(setup.photograph(), before, "files after a failure")
    assert "nothing to undo" in setup.run("--undo", code=1)
    front.config += "//"
    setup.run("--apply")
    front.config = front.config.rstrip("/")
    setup.run("--undo")  # it is the same directory


def account(name, host, address, username, store):
    """A relay with an account of its own."""
    relay = RelayPostfix(host=host, address=address, store=store.path, name=name, username=username)
    return relay.start()


def test_senders_with_accounts_of_their_own():
    stores = [Store("one"), Store("two")]
    one = account("one", "near.test", "127.0.0.2", "first", stores[0])
    two = account("two", "second.test", "127.0.0.3", "second", stores[1])
    passwords = f"inline:{{ {{ a@one.example = {one.username}:{one.password} }}, {{ [{two.address}]:25 = x:y }}, " \
                f"{{ @two.example = {two.username}:{two.password} }} }}"
    front = FrontPostfix({
        "relayhost": f"[{one.address}]:25",
        "sender_dependent_relayhost_maps": f"inline:{{ {{ @two.example = [{two.address}]:25 }} }}",
        "smtp_sender_dependent_authentication": "yes",
        "smtp_sasl_password_maps": passwords,
    })
    relays = relay_section("one", one) + relay_section("two", two)
    daemon = Relaypoold(front, relays + section("route", "all", {"relays": ["one"]}))
    setup = Registration(front, daemon)
    before = setup.photograph()
    said = setup.run("--apply", code=1)
    assert "@two.example" in said and "a@one.example" in said and "Nothing was changed" in said, said
    assert "[127.0.0.3]" not in said.split("smtp_sasl_password_maps")[-1].split("No route")[-1], said
    assert one.password not in said + setup.run("-j", "--check", code=1), said
    scene.equal(setup.photograph(), before, "files after a refusal")
    setup.run("--apply", "--force")
    setup.run("--undo")
    scene.equal(setup.photograph(), before, "files after --force and --undo")
    daemon.write_config(relays + section("route", "one", {"relays": ["one"], "senders": ["a@one.example"]})
                        + section("route", "two", {"relays": ["two"], "senders": ["@two.example"]})
                        + section("route", "all", {"relays": ["one"]}))
    scene.equal(setup.findings()["sender_dependent_relayhost_maps"]["state"], "note", "with a route for each sender")
    routes = daemon.sections
    daemon.write_config(relays + section("route", "all", {"relays": ["one"]}))
    daemon.start()
    assert "the file has changed" not in daemon.ctl("status", check=False).stdout
    daemon.write_config(routes)
    assert "the file has changed" in daemon.ctl("status", check=False).stdout
    said = setup.run("--apply", code=1)
    assert "loaded it: relaypoolctl reload" in " ".join(said.split()) and "Nothing was changed" in said, said
    daemon.ctl("reload")
    setup.run("--apply")
    other = f"{daemon.config_path}.other"
    shutil.copy(daemon.config_path, other)
    found = Registration(front, types.SimpleNamespace(config_path=other)).findings()["loaded"]
    assert "works by another file" in found["why"] and found["stops"], found
    front.start()
    for sender in ("a@one.example", "b@two.example"):
        front.sendmail(b"Subject: x\r\n\r\ntext\r\n", sender, ["r@far.example"])
    front.drain(30)
    for relay in (one, two):
        relay.drain(20)
        assert f"sasl_username={relay.username}" in relay.log(), relay.log()
    scene.equal([[transaction.sender[0] for transaction in store.transactions] for store in stores],
                [["a@one.example"], ["b@two.example"]], "senders at each relay")
    scene.equal(set(transports(front).values()), {"relaypool/lmtp"}, "transports")


def test_tables_that_cannot_be_listed():
    front, daemon = beside(NOBODY, {"sender_dependent_relayhost_maps": "regexp:/etc/hosts"})
    said = Registration(front, daemon).run("--apply", code=1)
    assert "cannot be listed" in said, said
    front.set(sender_dependent_relayhost_maps="", smtp_sender_dependent_authentication="yes",
              smtp_sasl_password_maps="inline:{ { a@b.example = user:secret }, broken }")
    said = Registration(front, daemon).run("--apply", code=1)
    assert "passwords in it cannot be listed" in said and "secret" not in said, said


def test_check_says_what_is_in_the_way():
    """One instance with everything that --check looks for, each named."""
    front, daemon = beside(NOBODY, {
        "relayhost": "[elsewhere.example]",
        "content_filter": "smtp:[127.0.0.1]:10024",
        "smtpd_sender_restrictions": f"check_sender_access texthash:{settings.work('access')}",
        "transport_maps": "inline:{ { * = smtp: } }",
        "relay_domains": "relay.example",
        "sender_dependent_default_transport_maps": "inline:{ { @x.example = smtp: } }",
        "smtpd_milter_maps": "inline:{ { 192.0.2.1 = DISABLE } }",
        "smtp_sasl_password_maps": "static:a:b",
        "lmtp_data_init_timeout": "30s",
    }, chroot=True, milter=f"unix:{settings.work('milter.sock')}", allow_users=["root"])
    with open(settings.work("access"), "w", encoding="utf-8") as file:
        file.write("a@b.example FILTER smtp:[127.0.0.1]:10024\n")
    daemon.sections += section("route", "users", {"relays": ["near"], "users": ["*"]})
    daemon.write_config()
    front.postconf("-M", "submission/inet=submission inet n - n - - smtpd -o smtpd_milters=")
    front.postconf("-M", "relaypool/unix=relaypool unix - - y - 5 pipe flags=R user=nobody argv=/bin/false")
    setup = Registration(front, daemon)
    found = {name: finding["state"] for name, finding in setup.findings("--check", code=1).items()}
    for name, state in {
            "relayhost": "wrong", "content_filter": "wrong", "smtpd_sender_restrictions": "wrong", "transport_maps": "wrong",
            "relay_domains": "note", "sender_dependent_default_transport_maps": "note", "smtpd_milter_maps": "note",
            "smtp_sasl_password_maps": "note", "lmtp_data_init_timeout": "wrong", "allow-users": "wrong",
            "submission/inet/smtpd_milters": "wrong", "relaypool/unix": "conflict", "cleanup/unix/chroot": "wrong",
            "default_transport": "missing", "milter": "ok"}.items():
        scene.equal(found.get(name), state, name)
    setup.run("--apply", code=1)


def test_place_and_access():
    """Our milter hidden in a parameter before others; sockets that Postfix may not use."""
    front, daemon = beside(NOBODY)
    front.postconf("-e", "ours=unix:relaypool/milter.sock", "smtpd_milters=$ours, inet:127.0.0.1:1")
    setup = Registration(front, daemon)
    scene.equal(setup.wrong()["smtpd_milters"], "wrong", "a milter in a parameter")
    os.chmod(daemon.sockets, 0o700)
    finding = setup.findings("--check", code=1)["lmtp/access"]
    scene.equal([finding["state"], finding["is"], finding["stops"]], ["wrong", daemon.sockets, True],
                "a directory that is closed to Postfix")
    setup.run("--apply", code=1)


def test_failover_changes():
    """Another way of failover in relaypool.conf: what the first needed goes, what was before it is remembered."""
    front, daemon = beside(NOBODY)
    setup = Registration(front, daemon)
    before = setup.photograph()
    setup.run("--apply")
    once = setup.photograph()
    daemon.write_config(failover="direct", smtp=f"inet:{scene.DIRECT_PORT}@127.0.0.1")
    daemon.listen()
    setup.run("--apply")
    scene.equal(setup.wrong(), {}, "what is wrong with failover direct")
    daemon.write_config(failover="queue", smtp=None)
    setup.run("--apply")
    scene.equal([setup.wrong(), setup.photograph()["-M"]], [{}, once["-M"]], "back with failover queue")
    setup.run("--undo")
    scene.equal(setup.photograph(), before, "files after --undo")


def test_limits_and_times_that_have_become_too_small():
    front, daemon = beside(NOBODY)
    setup = Registration(front, daemon)
    before = setup.photograph()
    setup.run("--apply")
    daemon.sections = relay_section("near", NOBODY, max_connections=150)
    daemon.write_config(deadline=900)
    scene.equal(setup.wrong(), {"relaypool_destination_concurrency_limit": "differs",
                                "relaypool_initial_destination_concurrency": "differs",
                                "relaypool/unix/process_limit": "differs",
                                "relaypool/unix/lmtp_data_done_timeout": "differs"}, "what has become too small")
    setup.run("--apply")
    scene.equal(setup.wrong(), {}, "what is wrong after another --apply")
    edit(front, lambda text: text + "# by hand\n")
    setup.run("--undo")
    scene.equal(setup.photograph()["-n"], before["-n"], "postconf -n")
    scene.equal(setup.photograph()["master.cf"], before["master.cf"], "master.cf")


def test_who_may():
    """Nobody but root changes anything; no Postfix is said to be none."""
    front, daemon = beside(NOBODY)
    os.chmod(os.path.dirname(daemon.config_path), 0o755)
    stranger = subprocess.run(["runuser", "-u", "stranger", "--", os.path.join(settings.BUILD, "relaypoolctl"), "-c",
                               daemon.config_path, "setup", "postfix", "--apply"], capture_output=True, text=True, check=False)
    scene.equal(stranger.returncode, 4, stranger.stderr)
    assert "become root" in stranger.stderr, stranger.stderr
    said = Registration(front, daemon, instance="no-such-instance").run("--check", code=1)
    assert "no-such-instance" in said, said
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/usr/sbin"], check=True)  # of the sandbox
    said = Registration(front, daemon).run(code=1)
    assert "Postfix is not installed here" in said, said


def test_registered_by_hand_before():
    """What stood there already, as contrib/postfix has it, is right, and is still there after --undo of the rest."""
    _, daemon = beside(NOBODY)
    daemon.front.remove()
    front = fronts.pooled({"relaypool_initial_destination_concurrency": "5"})
    daemon.front = front
    daemon.listen()
    setup = Registration(front, daemon)
    before = setup.photograph()
    scene.equal(setup.wrong(), {"relaypool_initial_destination_concurrency": "differs"}, "what is wrong")
    setup.run("--apply")
    scene.equal(setup.wrong(), {}, "what is wrong after --apply")
    front.postconf("-e", "biff=yes")
    setup.run("--undo")
    front.postconf("-e", "biff=no")
    scene.equal(setup.photograph(), before, "files after --undo")
