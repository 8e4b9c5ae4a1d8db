"""The AppArmor profile has what relaypoold needs, from its start as root to its end, and no more."""
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import urllib.request

from lib import apparmor, certificates, daemon, presets, scene, settings, touched
from lib import front as fronts
from lib.daemon import relay_section
from lib.message import Message
from lib.scripted import ScriptedRelay
from lib.syslog import Syslog

PROFILE = os.path.join(settings.SOURCE, "packaging", "apparmor", "usr.sbin.relaypoold")
LMTP, METRICS = 2424, 9725
# Asked for before dac_override, which does as well: here it keeps the kernel's log quiet.
SPARE = "dac_read_search"
# Of hosts that are not like this one: names are resolved by systemd-resolved(8).
ELSEWHERE = {("file", "/run/systemd/resolve/io.systemd.Resolve", "rw")}


class Traced(daemon.Relaypoold):
    """As a service manager starts it, with a directory below /run to be made: it tells when it is ready."""

    def start(self, under=()):
        path = settings.work("notify")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(path)
            os.chmod(path, 0o666)
            manager.settimeout(30 * settings.PATIENCE)
            self.process = subprocess.Popen([*under, os.path.join(settings.BUILD, "relaypoold"), "-c", self.config_path],
                                            env={**os.environ, "NOTIFY_SOCKET": path})
            scene.equal(manager.recv(100), b"READY=1", "what the service manager is told")
        daemon.started.append(self)
        return self


def _installed(running):
    """{where it is in this test: where a package has it}"""
    return {
        os.path.join(settings.BUILD, "relaypoold"): "/usr/sbin/relaypoold",
        running.config_path: "/etc/relaypool/relaypool.conf",
        settings.work("far.password"): "/run/credentials/relaypoold.service/far",
        settings.work("strange.password"): "/etc/relaypool/credentials.d/strange",
        certificates.path("ca.pem"): "/etc/relaypool/ca.pem",
        presets.directories()[1]: "/usr/share/relaypool/providers",
        os.path.join(running.directory, "spool"): "/var/lib/relaypool",
        os.path.dirname(running.control): "/run/relaypool",
        running.sockets: "/var/spool/postfix/relaypool",
        settings.work("notify"): "/run/systemd/notify",
        "/dev/log": "/run/systemd/journal/dev-log",
        settings.work("before", "dev"): "/dev",
    }


def _as_installed(accesses, places):
    """The same by a relaypoold from a package; of sockets that systemd may have made, by both of their names."""
    found = set()
    for kind, about, modes in accesses:
        for place, there in places.items():
            if kind == "file" and (about == place or about.startswith(f"{place}/")):
                about = there + about[len(place):]
        found.add((kind, about, modes))
        if about.endswith((".sock", "/notify", "/dev-log")):
            found.add((kind, about.removeprefix("/run"), modes))
    return found


def _scene():
    """(front, daemon, log), the daemon not started: one relay that it trusts, one that it does not."""
    log = Syslog()
    presets.install()
    far = ScriptedRelay(secure=True)
    strange = ScriptedRelay(secure=True, host="second.test")
    sections = (relay_section("far", far, provider="generic")
                + relay_section("strange", strange, tls_ca_file=None) + scene.routes(["far", "strange"]))
    front = fronts.pooled()
    running = Traced(front, sections, memory_limit="1M", metrics=f"inet:{METRICS}@127.0.0.1")
    running.write_config(lmtp=[f"unix:{running.lmtp()}", f"inet:{LMTP}@127.0.0.1"])
    os.rmdir(os.path.dirname(running.control))
    return front, running, log


def _work(front, running, log):
    """Mail, small and large, refused and taken; metrics; reloads, one of them with a preset that is not there."""
    scene.inject([Message("small"), Message("large", size=3 << 20),
                  Message("strange", recipients=["recipient@strange.example"])])
    settings.wait_until(lambda: scene.statuses(front)["sent"] == 2 and scene.statuses(front)["deferred"], 40,
                        "two messages to be sent and one to be deferred")
    with urllib.request.urlopen(f"http://127.0.0.1:{METRICS}/metrics", timeout=10) as metrics:
        assert b"process_resident_memory" in metrics.read(), "no memory among the metrics"
    with socket.create_connection(("127.0.0.1", LMTP), 10) as peer:
        peer.makefile("rb").readline()
    running.send_signal(signal.SIGHUP)
    settings.wait_until(lambda: any(": reload: path=" in line for line in log.lines), 10, "the reload")
    running.write_config(running.sections.replace('"generic"', '"genric"'))
    assert "generic" in running.ctl("reload", check=False).stderr, "no preset is proposed"
    running.write_config(running.sections.replace('"genric"', '"generic"'))


def _watched():
    """What relaypoold did in a whole life, and in a second one after an end that was not clean."""
    front, running, log = _scene()
    running.start(touched.under(settings.work("first")))
    front.start()
    _work(front, running, log)
    running.kill()
    running.start(touched.under(settings.work("second")))
    running.stop()
    settings.wait_until(lambda: not subprocess.run(["pgrep", "-x", "strace"], capture_output=True, check=False).stdout, 10,
                        "strace to end")
    found = touched.accesses(settings.work("first")) | touched.accesses(settings.work("second"))
    return _as_installed(found, _installed(running))


def test_the_profile_allows_what_is_done_and_no_more():
    profile, accesses = apparmor.Profile(PROFILE), _watched() | ELSEWHERE
    settings.figure(f"{len(accesses)} accesses, {len(profile.own)} rules, {len(profile.rules)} with those of abstractions")
    scene.equal(sorted(access for access in accesses if not profile.allows(access)), [], "what is not allowed")
    scene.equal(profile.needless(accesses), [], "what is allowed for nothing")


def _starts(running, capabilities):
    """Whether it starts as root with these alone, for the first time, answers, and ends well."""
    shutil.rmtree(os.path.join(running.directory, "spool"), ignore_errors=True)
    words = [f"+{capability}" for capability in capabilities]
    try:
        running.start(["setpriv", "--inh-caps=-all", "--bounding-set", ",".join(["-all", *words]), "--"])
    except RuntimeError:
        return False
    running.stop()
    return True


def test_each_capability_is_needed_and_no_other():
    running = daemon.Relaypoold(fronts.pooled(), relay_section("far", ScriptedRelay(secure=True)))
    running.write_config(lmtp=[f"unix:{running.lmtp()}", "inet:24@127.0.0.1"])
    capabilities = apparmor.Profile(PROFILE).capabilities()
    for capability in capabilities:
        left = [name for name in capabilities if name != capability]
        scene.equal(_starts(running, left), capability == SPARE, f"whether it starts without {capability}")
    assert _starts(running, capabilities), f"it does not start with {capabilities}"
