"""The MTA in front: a private Postfix as shipped, tuned as its own documentation says, or with relaypool beside it."""
import os
import re
import subprocess

from . import settings
from .postfix import Postfix

PORT = 2525

# Every variant may use all of the machine; these are the queue manager's and have nothing to do with the way out.
TUNED_QUEUE = {
    "qmgr_message_active_limit": "20000",
    "qmgr_message_recipient_limit": "20000",
    "in_flow_delay": "0",
    "max_use": "100000",
}

CONTRIB = os.path.join(settings.SOURCE, "contrib", "postfix")


class FrontPostfix(Postfix):
    """Listens on 127.0.0.1:2525; alice and bob are local, everything else goes out."""

    def __init__(self, parameters=None, chroot=False, name="front"):
        super().__init__(name, {
            "myhostname": "front.test",
            "mydestination": "front.test, localhost",
            "mynetworks": "127.0.0.0/8",
            "home_mailbox": "Maildir/",
            "smtpd_client_connection_count_limit": "0",
            **(parameters or {}),
        }, [(f"127.0.0.1:{PORT}/inet", f"127.0.0.1:{PORT} inet n - {'y' if chroot else 'n'} - - smtpd")], chroot=chroot)

    def sendmail(self, message, sender, recipients, *options, user=None):
        """sendmail(1) of this instance, as a local user would call it."""
        command = ["sendmail", "-C", self.config, "-i", *options, "-f", sender, "--", *recipients]
        if user:
            command = ["runuser", "-u", user, "--", *command]
        subprocess.run(command, input=message, check=True)

    def allow_deliveries(self, count):
        """So many to relaypoold at once, from the beginning."""
        self.set(relaypool_destination_concurrency_limit=count, relaypool_initial_destination_concurrency=count)
        self.postconf("-F", f"relaypool/unix/process_limit={count}")

    def mailbox(self, user):
        """The messages delivered to a local user."""
        directory = settings.work("home", user, "Maildir", "new")
        messages = []
        for name in sorted(os.listdir(directory)) if os.path.isdir(directory) else []:
            with open(os.path.join(directory, name), "rb") as file:
                messages.append(file.read())
        return messages


def _direct(relay):
    """relayhost and, where the relay wants them, TLS and AUTH."""
    parameters = {"relayhost": f"[{relay.address}]:{relay.port}"}
    if relay.secure:
        parameters.update({
            "smtp_tls_security_level": "encrypt",
            "smtp_sasl_auth_enable": "yes",
            "smtp_sasl_security_options": "noanonymous",
            "smtp_sasl_password_maps": f"static:{relay.username}:{relay.password}",
        })
    return parameters


def stock(relay, cap=10):
    """As shipped; the only setting is the cap that the relay demands."""
    front = FrontPostfix({**_direct(relay), "smtp_destination_concurrency_limit": cap})
    front.postconf("-F", f"smtp/unix/process_limit={cap}")
    return front


def tuned(relay, cap=10):
    """What CONNECTION_CACHE_README, TUNING_README and TLS_README recommend for one busy destination."""
    front = FrontPostfix({
        **_direct(relay), **TUNED_QUEUE,
        "smtp_destination_concurrency_limit": cap,
        "initial_destination_concurrency": cap,
        "smtp_connection_cache_destinations": relay.address,
        "smtp_connection_cache_time_limit": "30s",
        "connection_cache_ttl_limit": "30s",
        "smtp_connection_reuse_time_limit": "3600s",
        "smtp_connection_reuse_count_limit": "0",
        "smtp_tls_connection_reuse": "yes",
        "smtp_tls_session_cache_database": "btree:${data_directory}/smtp_scache",
    })
    front.postconf("-M", "tlsproxy/unix=tlsproxy unix - - n - 0 tlsproxy")
    front.postconf("-F", f"smtp/unix/process_limit={cap}")
    return front


def _contributed(name):
    with open(os.path.join(CONTRIB, name), encoding="utf-8") as file:
        return file.read()


def pooled(parameters=None, chroot=False, failover="queue"):
    """With relaypool beside it, set up as contrib/postfix says; with failover "direct", `relayhost` is the direct way."""
    settings_of_main = dict(re.findall(r"^(\w+) = (.*)$", _contributed(f"main.cf.{failover}"), re.MULTILINE))
    front = FrontPostfix({**TUNED_QUEUE, **settings_of_main, **(parameters or {})}, chroot=chroot)
    with open(os.path.join(front.config, "master.cf"), "a", encoding="utf-8") as file:
        file.write(_contributed(f"master.cf.{failover}"))
    with open(os.path.join(front.config, "relaypool_header_checks"), "w", encoding="utf-8") as file:
        file.write(_contributed("header_checks"))
    if chroot:
        front.postconf("-F", "relaypool/unix/chroot=y")
    return front
