"""Exim, tuned for one busy smarthost: every delivery waits for the queue runners, which hand their connections on."""
import os

from lib import front

from .mta import Mta

CONFIGURATION = """
exim_path = {binary}
primary_hostname = front.test
spool_directory = {directory}/spool
log_file_path = {directory}/logs/%s
pid_file_path = {directory}/exim.pid
exim_user = Debian-exim
exim_group = Debian-exim
keep_environment =
local_interfaces = 127.0.0.1
daemon_smtp_ports = {port}
rfc1413_query_timeout = 0s
host_lookup =
tls_advertise_hosts =
smtp_accept_max = 100
smtp_accept_queue_per_connection = 0
queue_smtp_domains = *
queue_run_max = {cap}
remote_max_parallel = {cap}
acl_smtp_rcpt = accept

begin routers
smarthost:
  driver = manualroute
  route_list = * {address}
  host_find_failed = defer
  self = send
  transport = relay

begin transports
relay:
  driver = smtp
  port = {relay_port}
  max_parallel = {cap}
  connection_max_messages = 0
  {security}

begin retry
* * F,1h,1s

begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  client_send = ^{username}^{password}
"""


class Exim(Mta):
    """The light daemon."""

    name = "exim"
    queued = "spool/input/*-H"

    def configure(self):
        for part in ("logs", "spool"):
            self.make(part, owner="Debian-exim")
        binary = os.path.join(self.unpacked, "usr/sbin/exim4")
        configuration = self.write("exim.conf", CONFIGURATION.format(
            binary=binary, directory=self.directory, port=front.PORT, cap=self.cap, address=self.relay.address,
            relay_port=self.relay.port, username=self.relay.username, password=self.relay.password,
            security="hosts_require_tls = *\n  hosts_require_auth = *" if self.relay.secure else "hosts_avoid_tls = *"))
        return [binary, "-C", configuration, "-bdf", "-q1s"]
