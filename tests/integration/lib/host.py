"""A mail host as guides mean it: /etc, /run, /var and /usr/local of the sandbox, Postfix where packages have it.

Commands of the guides run here as they are written. Nothing of it is seen outside the sandbox.
"""
import os
import shutil
import subprocess

from . import front, settings
from .daemon import Relaypoold
from .postfix import wait_for_port

ADDRESS = "192.0.2.25"  # ours in the network of the guides
COVERED = ("/run", "/usr/local", "/var/lib", "/var/spool")  # empty at first
PROGRAMS = ("relaypoold", "relaypoolctl")


def _mount(*words):
    subprocess.run(["mount", *words], check=True)


def furnish(addresses=()):
    """Before all else in a test: the host's directories, and its addresses besides ADDRESS."""
    etc = settings.work("host-etc")
    shutil.copytree("/etc", etc, symlinks=True)
    _mount("--bind", etc, "/etc")
    for directory in COVERED:
        _mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", directory)
    for name in ("etc", "var"):  # for builds with the usual prefix
        os.symlink(f"/{name}", f"/usr/local/{name}")
    os.mkdir("/usr/local/sbin")
    for program in PROGRAMS:
        os.symlink(os.path.join(settings.BUILD, program), f"/usr/local/sbin/{program}")
    os.environ["PATH"] = "/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"
    for address in (ADDRESS, *addresses):
        subprocess.run(["ip", "address", "add", f"{address}/32", "dev", "lo"], check=True)


class HostPostfix(front.FrontPostfix):
    """Configuration in /etc/postfix, queue in /var/spool/postfix, and chrooted services: as Debian's package has it."""

    def __init__(self, parameters=None, chroot=True):
        super().__init__({
            "smtpd_relay_restrictions": "permit_mynetworks, permit_sasl_authenticated, defer_unauth_destination",
            "inet_interfaces": "loopback-only",
            **(parameters or {}),
        }, chroot)
        self.postconf("-X", "queue_directory", "data_directory")
        self.postconf("-M", f"smtp/inet=smtp inet n - {'y' if chroot else 'n'} - - smtpd")
        if chroot:
            self.postconf("-F", "proxymap/unix/chroot=n", "proxywrite/unix/chroot=n")
        for name in set(os.listdir("/etc/postfix")) - set(os.listdir(self.config)):
            path = os.path.join("/etc/postfix", name)
            (shutil.copytree if os.path.isdir(path) else shutil.copy)(path, os.path.join(self.config, name))
        for ours, usual in ((self.config, "/etc/postfix"), (self.queue_directory, "/var/spool/postfix"),
                            (os.path.join(self.directory, "data"), "/var/lib/postfix")):
            os.makedirs(usual, exist_ok=True)
            _mount("--bind", ours, usual)
        self.config, self.queue_directory = "/etc/postfix", "/var/spool/postfix"
        self.sockets = os.path.join(self.queue_directory, "relaypool")


class HostRelaypoold(Relaypoold):
    """Configuration in /etc/relaypool, sockets in Postfix's queue directory, control socket below /run."""

    def __init__(self, postfix, sections, **keys):
        self.etc = "/etc/relaypool"
        os.makedirs(self.etc, exist_ok=True)
        super().__init__(postfix, sections, **keys)

    def write_config(self, sections=None, **keys):
        self.config_path = os.path.join(self.etc, "relaypool.conf")
        self.control = "/run/relaypool/control.sock"
        os.makedirs("/run/relaypool", exist_ok=True)
        shutil.chown("/run/relaypool", "relaypool", "relaypool")
        super().write_config(sections, **keys)


def wait_for_smtp(address=ADDRESS, port=25):
    wait_for_port(address, port)
