"""relaypoold under test: a configuration of its own, log captured, and the part of the flush unit played beside it."""
import contextlib
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import threading

from . import certificates, settings

USER = "relaypool"
started = []  # every daemon of this test


def quoted(value):
    """A value as relaypool.conf writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return "{ " + ", ".join(quoted(item) for item in value) + " }"
    return str(value) if isinstance(value, (int, float)) else f'"{value}"'


def secret(name, text):
    """The path of a file that holds it, for the daemon alone."""
    path = settings.work(name)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text + "\n")
    os.chmod(path, 0o600)
    os.chown(path, *_user())
    return path


def relay_section(name, relay, **keys):
    """The section of a relay object of lib.relay, lib.exim or lib.scripted; more keys with _ for -."""
    values = {"host": relay.host, "port": relay.port}
    if relay.secure:
        values.update({"tls": "starttls", "tls-ca-file": certificates.path("ca.pem"), "username": relay.username,
                       "password-file": secret(f"{name}.password", relay.password)})
    else:
        values["tls"] = "none"
    values.update({key.replace("_", "-"): value for key, value in keys.items()})
    return section("relay", name, values)


def section(kind, name, values):
    lines = [f"    {key} = {quoted(value)}\n" for key, value in values.items() if value is not None]
    return f'{kind} "{name}" {{\n{"".join(lines)}}}\n'


def _user():
    entry = pwd.getpwnam(USER)
    return entry.pw_uid, entry.pw_gid


class Relaypoold:
    """Beside `front`: sockets where that wants them. `sections` is the text of relays and routes."""

    def __init__(self, front, sections, name="relaypoold", **keys):
        self.front, self.sections, self.keys = front, sections, keys
        self.directory = settings.work(name)
        self.config_path = os.path.join(self.directory, "relaypool.conf")
        self.log_path = os.path.join(self.directory, "log")
        self.sockets = front.sockets
        self.control = os.path.join(self.directory, "run", "control.sock")
        for path in (self.directory, os.path.join(self.directory, "run"), self.sockets):
            os.makedirs(path, exist_ok=True)
        os.chown(os.path.dirname(self.control), *_user())
        shutil.chown(self.sockets, USER, front.socket_group or USER)
        os.chmod(self.sockets, 0o2750 if front.socket_group else 0o755)
        self.process = None
        self.ears = []
        self.flushes = 0
        self.write_config()

    def write_config(self, sections=None, **keys):
        """A new file; reload() makes it hold."""
        self.sections = self.sections if sections is None else sections
        self.keys.update(keys)
        values = {
            "milter": f"unix:{self.sockets}/milter.sock",
            "lmtp": f"unix:{self.lmtp()}",
            "control": f"unix:{self.control}",
            "user": USER,
            "socket-group": self.front.socket_group,
            "hostname": "front.test",
            "spool-directory": os.path.join(self.directory, "spool"),
            "log-messages": "all",  # many tests count them, at rates at which `auto` leaves some out
            **{key.replace("_", "-"): value for key, value in self.keys.items()},
        }
        lines = [f"{key} = {quoted(value)}\n" for key, value in values.items() if value is not None]
        with open(self.config_path, "w", encoding="utf-8") as file:
            file.write("".join(lines) + self.sections)

    def listen(self):
        """Instead of start(): its sockets are there, which is all that setup wants of it; nobody speaks."""
        for ear in self.ears:
            ear.close()
        self.ears = []
        os.makedirs(self.sockets, exist_ok=True)
        for name in "milter", "lmtp", "smtp":
            address = self.keys.get(name) or (name != "smtp" and f"unix:{self.sockets}/{name}.sock")
            if address and address.startswith("unix:"):
                if os.path.exists(address[5:]):
                    os.unlink(address[5:])
                self.ears.append(socket.socket(socket.AF_UNIX))
                self.ears[-1].bind(address[5:])
                os.chmod(address[5:], 0o666)
                self.ears[-1].listen()
            elif address:
                port, host = address[5:].split("@")
                self.ears.append(socket.create_server((host, int(port))))

    def lmtp(self):
        return os.path.join(self.sockets, "lmtp.sock")

    def start(self, under=(), environment=(), **options):
        """Returns when it answers on its control socket; an error with its log if it does not.

        `under` are the words of a program that runs it, such as a profiler; more options are those of Popen.
        """
        suppressions = os.path.join(settings.SOURCE, "tests", "tsan.supp")
        environment = {**os.environ, "ASAN_OPTIONS": "detect_leaks=1", "TSAN_OPTIONS": f"suppressions={suppressions}",
                       **dict(environment)}
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen([*under, os.path.join(settings.BUILD, "relaypoold"), "-f", "-c",
                                             self.config_path], stderr=log, env=environment, **options)
        threading.Thread(target=self._play_flush_unit, args=(self.process,), daemon=True).start()
        settings.wait_until(lambda: self.process.poll() is not None or self.answers(), 15, "relaypoold to start")
        if self.process.poll() is not None:
            raise RuntimeError(f"relaypoold did not start:\n{self.log()[-3000:]}")
        started.append(self)
        return self

    def answers(self):
        return self.ctl("version", check=False).returncode == 0

    def _play_flush_unit(self, process):
        """relaypool-flush.path and .service: takes the request away, then flushes the queue as root."""
        request = os.path.join(os.path.dirname(self.control), "flush")
        while process.poll() is None:
            if os.path.exists(request):
                os.unlink(request)
                if self.front.running:
                    self.front.flush()
                self.flushes += 1
            threading.Event().wait(0.1)

    def ctl(self, *words, check=True):
        """relaypoolctl; its output is in .stdout."""
        return subprocess.run([os.path.join(settings.BUILD, "relaypoolctl"), "-s", self.control, *words],
                              capture_output=True, text=True, timeout=20, check=check)

    def json(self, *words):
        return json.loads(self.ctl("-j", *words).stdout)

    def send_signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        """As kill -9 does; nothing is said to anybody."""
        self.process.kill()
        self.process.wait()
        self.process = None

    def stop(self, hurry=False, seconds=40):
        """SIGTERM, a second one in a hurry; the exit code must be 0, which also says that the sanitizers found nothing."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            if hurry:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self.process.wait(5 * settings.PATIENCE)
                self.process.send_signal(signal.SIGTERM)
            self.process.wait(seconds * settings.PATIENCE)
        if self.process and self.process.returncode:
            raise AssertionError(f"relaypoold ended with {self.process.returncode}:\n{self.log()[-6000:]}")

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as file:
            return file.read()


def stop_all():
    """At the end of every test: each must end well."""
    for daemon in started:
        daemon.stop(hurry=True)
