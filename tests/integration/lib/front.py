"""The MTA in front: a private Postfix as shipped, tuned as its own documentation says, or with relaypool beside it."""
import os
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

MILTER = ("{ unix:relaypool/milter.sock, default_action=accept, connect_timeout=2s, command_timeout=5s, "
          "content_timeout=10s }")
POOLED = {
    "default_transport": "relaypool:unix:relaypool/lmtp.sock",
    "relaypool_destination_concurrency_failed_cohort_limit": "0",
    "relaypool_destination_concurrency_limit": "100",
    "relaypool_initial_destination_concurrency": "20",
    "smtpd_milters": MILTER,
    "non_smtpd_milters": "$smtpd_milters",
}


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


def pooled(parameters=None, chroot=False):
    """With relaypool beside it, as contrib/postfix says."""
    front = FrontPostfix({**TUNED_QUEUE, **POOLED, **(parameters or {})}, chroot=chroot)
    front.postconf("-M", f"relaypool/unix=relaypool unix - - {'y' if chroot else 'n'} - 100 lmtp")
    front.postconf("-P", "relaypool/unix/syslog_name=postfix/relaypool",
                   "relaypool/unix/lmtp_send_xforward_command=yes")
    return front
