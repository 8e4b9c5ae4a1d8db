"""A system of chroot.py with its systemd as process 1: it boots in namespaces of its own, as in a container.

Processes and the mounts it makes are its own; files on its disk and the network are those of the sandbox that boots it.
"""
import contextlib
import os
import subprocess

import chroot
from lib import command as commands
from lib import settings

# The kernel's second hierarchy of control groups has the processes that systemd starts; no controllers are needed. The
# root is a real one, since services have roots of their own made of it, and shared, so that these get its later mounts.
BOOT = """set -e
echo $$ >{group}/cgroup.procs
exec unshare --fork --kill-child --pid --mount --propagation private --uts --ipc --cgroup sh -ec '
    mount -t proc proc {root}/proc
    mount -t sysfs sysfs {root}/sys
    mount -t cgroup2 cgroup2 {root}/sys/fs/cgroup
    hostname front.test
    cd {root}
    mkdir -p outside
    pivot_root . outside
    exec chroot . sh -ec "umount -l /outside && rmdir /outside && mount --make-rshared / &&
        exec env -i container=relaypool {systemd}"'
"""
SYSTEMD = "/lib/systemd/systemd --system --log-target=journal --show-status=no --unit=multi-user.target"


class Booted:
    """For machine.py. Of what is below /run and /tmp only run() sees anything."""

    systemd = True

    def __init__(self, system, process, first):
        self.root, self.system, self.process = system.root, system, process
        self.enter = ("nsenter", "-t", str(first), "-a", "--root", "--wd=/")

    def path(self, name):
        return self.system.path(name)

    def run(self, *command, code=0, typed="", limit=chroot.LIMIT):
        """What it printed; it has to end with `code`, None for any."""
        return commands.run([*self.enter, *command], code, typed, limit, chroot.ENVIRONMENT)

    def property(self, unit, name):
        return self.run("systemctl", "show", "--value", "-p", name, unit).strip()

    def journal(self, *words):
        """The lines, of a unit or a program by journalctl's options."""
        self.run("journalctl", "--sync")
        return self.run("journalctl", "-q", "-o", "cat", "--no-pager", *words).splitlines()

    def configure(self, name, text):
        """A file below /run/systemd, which systemd reads; it goes when the system is shut down."""
        self.run("sh", "-ec", f"mkdir -p $(dirname /run/systemd/{name}); cat >/run/systemd/{name}", typed=text)
        self.run("systemctl", "daemon-reload")


def _first_process(process):
    """The one that is process 1 inside; 0 while there is none."""
    if process.poll() is not None:
        raise RuntimeError(f"the system did not boot: {process.returncode}")
    with open(f"/proc/{process.pid}/task/{process.pid}/children", encoding="ascii") as file:
        return int((file.read().split() or ["0"])[0])


def _remove(group):
    """With the groups below it, once nothing is in them."""
    for directory, _, _ in os.walk(group, topdown=False):
        with contextlib.suppress(OSError):
            os.rmdir(directory)
    return not os.path.exists(group)


@contextlib.contextmanager
def booted(system):
    """The system, up until it is left; everything in it ends then."""
    hierarchy = settings.work("groups")
    os.makedirs(hierarchy, exist_ok=True)
    commands.run(["mount", "-t", "cgroup2", "cgroup2", hierarchy])
    group = os.path.join(hierarchy, os.path.basename(os.environ["RELAYPOOL_WORK"]))
    os.mkdir(group)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(system.path("/usr/sbin/policy-rc.d"))
    log = open(settings.work("system", "log"), "wb")  # shown if the test fails
    process = subprocess.Popen(["sh", "-c", BOOT.format(group=group, root=system.root, systemd=SYSTEMD)],
                               stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    machine = None
    try:
        first = settings.wait_until(lambda: _first_process(process), 10, "a process 1")
        machine = Booted(system, process, first)
        settings.wait_until(lambda: machine.run("systemctl", "is-active", "multi-user.target", code=None) == "active\n", 60,
                            "the system to be up")
        yield machine
    except BaseException:
        if machine:
            log.write("\n".join(machine.journal("-n", "200", "-o", "short")).encode())
        raise
    finally:
        log.close()
        process.kill()
        process.wait()
        settings.wait_until(lambda: _remove(group), 10, "the processes of the system to end")
