"""The provider's relay, played by a real Exim that is not installed: unpacked beside the build, private configuration."""
import os
import re
import shutil
import subprocess

from . import certificates, packages, settings
from .link import FAR, Here

CONFIGURATION = """
exim_path = {binary}
primary_hostname = {host}
spool_directory = {directory}/spool
log_file_path = {directory}/log/%s
pid_file_path = {directory}/exim.pid
log_selector = +smtp_connection +smtp_no_mail
exim_user = Debian-exim
exim_group = Debian-exim
local_interfaces = {address}
daemon_smtp_ports = {port}
rfc1413_query_timeout = 0s
host_lookup =
domainlist local_domains =
message_size_limit = 10M
smtp_accept_max = {accept_max}
smtp_accept_max_per_connection = {per_connection}
smtp_accept_queue_per_connection = 0
queue_run_max = 20
queue_only = {queue_only}
tls_advertise_hosts = {tls_hosts}
tls_certificate = {certificate}
tls_privatekey = {key}
auth_advertise_hosts = ${{if eq{{$tls_in_cipher}}{{}}{{}}{{*}}}}
dsn_advertise_hosts = *
smtputf8_advertise_hosts =
acl_smtp_rcpt = rcpt
acl_smtp_data = accept

begin acl
rcpt:
  deny recipients = refused@far.example
       message = 550 5.1.1 No such person here
  accept {allowed}
  deny message = 550 5.7.1 Authentication required

begin routers
store:
  driver = accept
  transport = store

begin transports
store:
  driver = lmtp
  socket = {store}
  batch_max = 100

begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_condition = ${{if and{{{{eq{{$auth2}}{{{username}}}}}{{eq{{$auth3}}{{{password}}}}}}}}}
  server_set_id = $auth2
"""


def unpack(directory):
    """Into the directory, made for it, and used from then on."""
    packages.unpack(["exim4-daemon-light"], directory)
    settings.EXIM = os.environ["RELAYPOOL_EXIM"] = os.path.join(directory, "usr/sbin/exim4")


def provide(work):
    """For a program of its own: before it enters its sandbox, where nothing can be fetched any more."""
    if not os.path.exists(settings.EXIM):
        print("Unpacking Exim…", flush=True)
        unpack(os.path.join(work, "unpacked"))


class RelayExim:
    """The same use as RelayPostfix: STARTTLS and AUTH PLAIN required if `secure`, delivery to a store.

    With `store` None whatever it takes stays in its queue. Beyond `accept_max` connections at once and `per_connection`
    messages on one, 0 for no limit, it answers 421.
    """

    ACCEPTANCE = re.compile(r"^\S+ \S+ \S+ <= ", re.MULTILINE)  # in its log, one for each message

    def __init__(self, store, place=None, host=None, address=None, port=25, secure=True, accept_max=100,
                 per_connection=1000, name="exim"):
        self.place, self.secure, self.store = place or Here(), secure, store
        self.address = address or (FAR if place else "127.0.0.2")
        self.host = host or ("relay.test" if place else "near.test")
        self.port = port
        self.username, self.password = "customer", "correct-horse-battery"
        self.directory = settings.work(name)
        for part in ("spool", "log"):
            os.makedirs(os.path.join(self.directory, part))
            shutil.chown(os.path.join(self.directory, part), "Debian-exim", "Debian-exim")
        key = os.path.join(self.directory, "key")
        shutil.copy(certificates.path("right.key"), key)
        shutil.chown(key, "Debian-exim")
        self.log_path = os.path.join(self.directory, "log", "main")
        self.configuration = os.path.join(self.directory, "exim.conf")
        with open(self.configuration, "w", encoding="utf-8") as file:
            file.write(CONFIGURATION.format(
                binary=settings.EXIM, host=self.host, directory=self.directory, address=self.address, port=port,
                store=store, key=key, queue_only=str(store is None).lower(), tls_hosts="*" if secure else "",
                allowed="authenticated = *" if secure else "hosts = *",
                accept_max=accept_max, per_connection=per_connection, certificate=certificates.path("right.pem"),
                username=self.username, password=self.password))
        self.process = None

    def start(self):
        command = self.place.command(settings.EXIM, "-C", self.configuration, "-bdf",
                                     *(["-q10s"] if self.store else []))
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        settings.wait_until(lambda: "daemon started" in self.log() or self.process.poll() is not None, 10, "Exim")
        if self.process.poll() is not None:
            raise RuntimeError(f"Exim did not start: {self.process.stderr.read()}")
        return self

    def stop(self):
        self.process.terminate()
        self.process.communicate()

    def log(self):
        texts = []
        for name in ("main", "panic", "reject"):
            path = os.path.join(self.directory, "log", name)
            if os.path.exists(path):
                with open(path, encoding="utf-8", errors="replace") as file:
                    texts.append(file.read())
        return "".join(texts)

    def accepted(self):
        return len(self.ACCEPTANCE.findall(self.log()))

    def connections(self):
        """(connections in all, most at once), by its own log."""
        counts = [int(count) for count in re.findall(r"SMTP connection from .*TCP/IP connection count = (\d+)", self.log())]
        return len(counts), max(counts, default=0)

    def sockets(self):
        return settings.open_sockets(self.place.tcp_tables(), self.port)
