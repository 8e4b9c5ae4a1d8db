"""A private Postfix instance: own directories, own ports, own log; the packaged master.cf, never the system's queue."""
import glob
import json
import os
import re
import shutil
import socket
import subprocess
import time

from . import settings
from .link import Here

MASTER_TEMPLATES = ("/usr/share/postfix/master.cf.dist", "/etc/postfix/master.cf.proto")


class Postfix:
    """`parameters` go to main.cf, `services` is [(NAME/TYPE, line)] of master.cf. Not running before start()."""

    def __init__(self, name, parameters, services, place=None, chroot=False):
        self.name = name
        self.place = place or Here()
        self.directory = settings.work(name)
        self.config, self.queue_directory, self.log_path = (
            os.path.join(self.directory, part) for part in ("config", "queue", "log"))
        self.sockets, self.socket_group = os.path.join(self.queue_directory, "relaypool"), "postfix"
        self.running = False
        for part in ("config", "queue", "data"):
            os.makedirs(os.path.join(self.directory, part))
        shutil.chown(os.path.join(self.directory, "data"), "postfix")
        self._write_main({**self._common(), **parameters})
        template = next(path for path in MASTER_TEMPLATES if os.path.exists(path))
        shutil.copy(template, os.path.join(self.config, "master.cf"))
        self.postconf("-F", f"*/*/chroot={'y' if chroot else 'n'}")
        if chroot:
            self._furnish_chroot()
            self.postconf("-F", "local/unix/chroot=n", "virtual/unix/chroot=n", "postlog/unix-dgram/chroot=n")
        self.postconf("-MX", "smtp/inet")
        for service, line in services:
            self.postconf("-M", f"{service}={line}")

    def _common(self):
        return {
            "compatibility_level": "3.6",
            "queue_directory": self.queue_directory,
            "data_directory": os.path.join(self.directory, "data"),
            "maillog_file": self.log_path,
            "maillog_file_prefixes": self.directory,
            "inet_protocols": "ipv4",
            "smtp_dns_support_level": "disabled",
            "smtpd_peername_lookup": "no",
            "enable_long_queue_ids": "yes",
            "alias_maps": "",
            "alias_database": "",
            "biff": "no",
        }

    def _write_main(self, parameters):
        with open(os.path.join(self.config, "main.cf"), "w", encoding="utf-8") as file:
            for name, value in parameters.items():
                file.write(f"{name} = {value}\n")
        self.age()

    def age(self):
        """Postfix's programs wait for two seconds where main.cf has just been written; not after this."""
        os.utime(os.path.join(self.config, "main.cf"), (1, 1))

    def _furnish_chroot(self):
        """What Debian's start script copies for the chrooted services."""
        os.makedirs(os.path.join(self.queue_directory, "etc"))
        for path in glob.glob("/etc/[hnrs]*"):
            if os.path.basename(path) in ("hosts", "nsswitch.conf", "resolv.conf", "services"):
                shutil.copy(path, os.path.join(self.queue_directory, "etc"))

    def postconf(self, *words):
        subprocess.run(["postconf", "-c", self.config, *words], check=True)
        self.age()

    def set(self, **parameters):
        """Changes parameters; a running instance rereads them."""
        self.postconf("-e", *(f"{name}={value}" for name, value in parameters.items()))
        self.reload()

    def unset(self, *names):
        self.postconf("-X", *names)
        self.reload()

    def reload(self):
        """Whoever has changed main.cf: a running instance rereads it.

        With the pause over a main.cf that is new: without it, under load, master has once waited for good to write a
        line of its log to the server of the log, which it was itself to start again.
        """
        if self.running:
            os.utime(os.path.join(self.config, "main.cf"))
            self._postfix("reload")

    def _postfix(self, verb):
        result = subprocess.run(self.place.command("postfix", "-c", self.config, verb), capture_output=True, text=True,
                                check=False)
        if result.returncode:
            raise RuntimeError(f"postfix {verb} of {self.name}: {result.stdout}{result.stderr}{self.log()}")

    def master_pid(self):
        with open(os.path.join(self.queue_directory, "pid", "master.pid"), encoding="ascii") as file:
            return int(file.read())

    def start(self):
        self._postfix("start")
        self.running = True
        return self

    def stop(self):
        if self.running:
            self._postfix("stop")
            self.running = False

    def abort(self):
        """Ends all its processes at once, whatever they are at; returns when the last of them has let its port go."""
        group = str(self.master_pid())
        self._postfix("abort")
        self.running = False
        settings.wait_until(lambda: subprocess.run(["pgrep", "-g", group], stdout=subprocess.DEVNULL, check=False).returncode,
                            10, f"the end of {self.name}")

    def kill_servers(self):
        """Every smtpd dies with the connection that it serves; new ones are started as they are needed."""
        subprocess.run(["pkill", "-KILL", "-P", str(self.master_pid()), "-x", "smtpd"], check=True)

    def remove(self):
        """Stops it and makes room for another of the same name."""
        self.stop()
        shutil.rmtree(self.directory)

    def log(self):
        try:
            with open(self.log_path, encoding="utf-8", errors="replace") as file:
                return file.read()
        except FileNotFoundError:
            return ""

    def queue(self):
        """What is in the queue, one dictionary a message (see postqueue -j)."""
        output = subprocess.run(["postqueue", "-c", self.config, "-j"], capture_output=True, text=True, check=True).stdout
        return [json.loads(line) for line in output.splitlines()]

    def flush(self):
        subprocess.run(["postqueue", "-c", self.config, "-f"], check=True)

    def drain(self, seconds, flush=True):
        """Waits until the queue is empty; with `flush`, what was deferred is tried again every two seconds, and what a
        queue manager has left that ended by a reload."""
        flushed = 0

        def empty():
            nonlocal flushed
            queue = self.queue()
            if flush and time.monotonic() - flushed > 2 and any(entry["queue_name"] != "active" for entry in queue):
                flushed = time.monotonic()
                self.flush()
            return not queue
        settings.wait_until(empty, seconds, f"the queue of {self.name} to empty")

    def outcomes(self):
        """[(message id, recipient, status, text)] as this instance logged them; the id up to its @."""
        log = self.log()
        ids = dict(re.findall(r": (\w+): message-id=<([^@>]*)", log))
        pattern = re.compile(r": (\w+): to=<(.*?)>,.* status=(\w+) \((.*)\)$", re.MULTILINE)
        return [(ids.get(queue_id), *rest) for queue_id, *rest in pattern.findall(log)]


def wait_for_port(host, port, seconds=10):
    """Until a server listens there; for places in reach of the sandbox's own network."""
    def answers():
        try:
            socket.create_connection((host, port), 1).close()
            return True
        except OSError:
            return False
    settings.wait_until(answers, seconds, f"a server at {host}:{port}")
