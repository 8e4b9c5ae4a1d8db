"""systemd as far as the package needs it, in a chroot where it does not run: the sockets of the installed units, a
relaypoold that has them, and an answer to systemctl when the package's scripts call that.
"""
import os
import re
import signal
import socket
import subprocess
import sys
import threading

from lib import sandbox, settings
from lib.activation import LAUNCHER

PLACE = "/run/manager"
UNITS = ("relaypoold.socket", "relaypoold-control.socket")
SYSTEMCTL = f"""#!/bin/sh
echo "$*" >{PLACE}/$$.new && mv {PLACE}/$$.new {PLACE}/$$.request
while [ -e {PLACE}/$$.request ]; do sleep 0.05; done
"""


class Manager:
    """Of the package that is installed in `system`; from now on its scripts find a systemd that runs."""

    def __init__(self, system):
        self.system, self.process, self.said = system, None, []  # what was said to systemctl
        self.places = settings.work("manager")
        os.makedirs(self.places)
        for path in (PLACE, "/run/systemd/system"):
            os.makedirs(system.path(path))
        self.ear = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.ear.bind(system.path(f"{PLACE}/notify"))
        os.chmod(system.path(f"{PLACE}/notify"), 0o666)
        self._replace("/usr/bin/systemctl", SYSTEMCTL)
        self._replace("/usr/sbin/policy-rc.d", "#!/bin/sh\nexit 0\n")
        for path, mode in (("/run/relaypool", "0755"), ("/var/lib/relaypool", "0700")):
            system.run("install", "-d", "-o", "relaypool", "-g", "relaypool", "-m", mode, path)
        self.sockets = [self._listen(name) for name in UNITS]
        threading.Thread(target=self._serve, daemon=True).start()

    def _replace(self, name, text):
        ours = os.path.join(self.places, os.path.basename(name))
        with open(ours, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(ours, 0o755)
        sandbox.bind(ours, self.system.path(name))

    def _setting(self, unit, key, otherwise=None):
        path = self.system.run("sh", "-c", f"ls /usr/lib/systemd/system/{unit} /lib/systemd/system/{unit} | head -1 2>&-").split()[0]
        with open(self.system.path(path), encoding="utf-8") as file:
            found = re.search(f"^{key}=(.*)$", file.read(), re.MULTILINE)
        return found.group(1) if found else otherwise

    def _listen(self, unit):
        """The socket of the unit: made by a child in the chroot, so that it has the name that it has there."""
        path, mode = self._setting(unit, "ListenStream"), int(self._setting(unit, "SocketMode"), 8)
        ours, theirs = socket.socketpair()
        child = os.fork()
        if child == 0:
            os.chroot(self.system.root)
            listening = socket.socket(socket.AF_UNIX)
            listening.bind(path)
            listening.listen(128)
            socket.send_fds(theirs, [b"x"], [listening.fileno()])
            os._exit(0)
        _, fds, _, _ = socket.recv_fds(ours, 1, 1)
        os.waitpid(child, 0)
        user, group = self._setting(unit, "SocketUser", ""), self._setting(unit, "SocketGroup", "")
        if user:
            self.system.run("chown", f"{user}:{group}", path)
        os.chmod(self.system.path(path), mode)
        return socket.socket(fileno=fds[0])

    def _serve(self):
        directory = self.system.path(PLACE)
        while True:
            for name in os.listdir(directory):
                if name.endswith(".request"):
                    with open(os.path.join(directory, name), encoding="utf-8") as file:
                        self.said.append(file.read().strip())
                    if re.search(r"restart\b.* relaypoold\.service", self.said[-1]):
                        self.stop()
                        self.start()
                    os.unlink(os.path.join(directory, name))
            threading.Event().wait(0.02)

    def start(self):
        """Returns when it says that it is ready."""
        fds = [listening.fileno() for listening in self.sockets]
        command = [sys.executable, "-c", LAUNCHER, ",".join(map(str, fds)), "/usr/sbin/chroot",
                   "--userspec=relaypool:relaypool", self.system.root, self._setting("relaypoold.service", "ExecStart")]
        self.process = subprocess.Popen(command, pass_fds=fds, umask=0o077,
                                        env={"PATH": "/usr/sbin:/usr/bin", "NOTIFY_SOCKET": f"{PLACE}/notify"})
        self.ear.settimeout(15)
        while b"READY=1" not in self.ear.recv(4096):
            pass

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(45)
        if code:
            raise AssertionError(f"relaypoold ended with {code}")
