"""OpenSMTPD, tuned for one busy smarthost: as many connections as allowed at once, none of its waits between them."""
import os
import shlex

from lib import front

from .mta import Mta

CONFIGURATION = """
table credentials {{ far = "{username}:{password}" }}
queue ttl 1h
smtp limit max-mails 1000000
scheduler limit max-inflight 20000
mta limit max-conn-per-host {cap}
mta limit max-conn-per-route {cap}
mta limit max-conn-per-source {cap}
mta limit max-conn-per-connector {cap}
mta limit max-conn-per-relay {cap}
mta limit max-conn-per-domain {cap}
mta limit conn-delay-route 0
mta limit conn-delay-relay 0
mta limit reconn-delay-route 0
mta limit session-mail-max 1000000
mta limit session-keepalive 60
listen on 127.0.0.1 port {port}
action "out" relay host {url} {security}
match from any for any action "out"
"""

# Where it looks for its spool, its socket and its empty directory is compiled in: seen by its own processes only.
START = """
mount --bind {run} /run && mount --bind {spool} /var/spool && mount --bind {lib} /var/lib &&
exec {binary} -d -f {configuration}
"""


class OpenSmtpd(Mta):
    """Takes what the machine has; one mount namespace for its processes."""

    name = "opensmtpd"
    queued = "spool/smtpd/queue/*/*"

    def configure(self):
        directories = {"run": self.make("run"), "spool": self.make("spool"), "lib": self.make("lib")}
        self.make("spool/smtpd", mode=0o711)
        self.make("lib/opensmtpd/empty")
        security, scheme = "", "smtp://"
        if self.relay.secure:
            security, scheme = "tls no-verify auth <credentials>", "smtp+tls://far@"
        configuration = self.write("smtpd.conf", CONFIGURATION.format(
            cap=self.cap, port=front.PORT, username=self.relay.username, password=self.relay.password,
            url=f"{scheme}{self.relay.address}:{self.relay.port}", security=security), 0o600)
        binary = os.path.join(self.unpacked, "usr/sbin/smtpd")
        script = START.format(binary=shlex.quote(binary), configuration=configuration, **directories)
        return ["unshare", "--mount", "sh", "-c", script]
