"""The provider's relay, played by a real Postfix smtpd: STARTTLS and AUTH, final delivery to a store or to nowhere."""
import os
import re
import subprocess

from . import certificates, settings
from .link import FAR
from .postfix import Postfix

REFUSED = "refused@far.example"
REFUSAL = "550 5.1.1 No such person here"


class RelayPostfix(Postfix):
    """`place` is Here() or a Link; `store` an LMTP socket's path, None discards. More settings by `parameters`."""

    ACCEPTANCE = re.compile(r"/cleanup\[\d+\]: \w+: message-id=")  # in its log, one for each message

    def __init__(self, place=None, host=None, address=None, port=25, secure=True, store=None, certificate="right",
                 parameters=None, name="relay", processes=200, username="customer"):
        self.address = address or (FAR if place else "127.0.0.2")
        self.host = host or ("relay.test" if place else "near.test")
        self.port, self.secure = port, secure
        self.username, self.password = username, "correct-horse-battery"
        super().__init__(name, {
            "myhostname": self.host,
            "mydestination": "",
            "mynetworks": "" if secure else "0.0.0.0/0",
            "default_transport": f"lmtp:unix:{store}" if store else "discard:",
            "smtpd_recipient_restrictions": f"check_recipient_access inline:{{ {{ {REFUSED} = {REFUSAL} }} }}",
            "smtpd_client_connection_count_limit": "0",
            "lmtp_destination_concurrency_limit": "20",
            "max_use": "100000",
            **(self._security(certificate) if secure else {}),
            **(parameters or {}),
        }, [(f"{self.address}:{port}/inet", f"{self.address}:{port} inet n - n - {processes} smtpd")], place)
        if secure:
            self._add_user()

    @staticmethod
    def _security(certificate):
        return {
            "smtpd_tls_security_level": "may",
            "smtpd_tls_auth_only": "yes",
            "smtpd_tls_cert_file": certificates.path(f"{certificate}.pem"),
            "smtpd_tls_key_file": certificates.path(f"{certificate}.key"),
            "smtpd_tls_loglevel": "1",
            "smtpd_sasl_auth_enable": "yes",
            "smtpd_relay_restrictions": "permit_sasl_authenticated, reject",
        }

    def _add_user(self):
        """Cyrus SASL looks for smtpd.conf in CONFIG_DIR/sasl; PLAIN and LOGIN only, as providers have it."""
        directory = os.path.join(self.config, "sasl")
        database = os.path.join(directory, "users")
        os.mkdir(directory)
        with open(os.path.join(directory, "smtpd.conf"), "w", encoding="utf-8") as file:
            file.write("pwcheck_method: auxprop\nauxprop_plugin: sasldb\nmech_list: PLAIN LOGIN\n"
                       f"sasldb_path: {database}\n")
        subprocess.run(["saslpasswd2", "-f", database, "-c", "-p", "-u", self.host, self.username],
                       input=self.password.encode(), check=True)
        os.chmod(database, 0o644)

    def accepted(self):
        """How many messages it has taken responsibility for."""
        return len(self.ACCEPTANCE.findall(self.log()))

    def connections(self):
        """(connections in all, most at once) by its own log, which it writes before it closes a socket."""
        total = open_now = most = 0
        for event in re.findall(r"/smtpd\[\d+\]: (connect|disconnect) from ", self.log()):
            total += event == "connect"
            open_now += 1 if event == "connect" else -1
            most = max(most, open_now)
        return total, most

    def sockets(self):
        """The peers of the connections that the relay's kernel holds for it, half-closed by the client included."""
        return settings.open_sockets(self.place.tcp_tables(), self.port)
