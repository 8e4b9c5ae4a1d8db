"""Mailboxes behind the MTA: a private Dovecot with LMTP and its delivery agent, read back over IMAP and POP3."""
import imaplib
import os
import poplib
import pwd
import shutil
import subprocess

from . import settings
from .postfix import wait_for_port

IMAP, POP3 = 143, 110
PASSWORD = "open-sesame"
DELIVER = "/usr/lib/dovecot/dovecot-lda"

# Dovecot 2.3. {sockets} is where the MTA finds lmtp.
CONFIGURATION = """
base_dir = {directory}/run
state_dir = {directory}/state
log_path = {directory}/log
protocols = imap pop3 lmtp
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
auth_username_format = %Ln
mail_location = maildir:{directory}/mail/%n
first_valid_uid = 1000
postmaster_address = postmaster@front.test
hostname = front.test
passdb {{
  driver = passwd-file
  args = {directory}/users
}}
userdb {{
  driver = passwd-file
  args = {directory}/users
}}
service lmtp {{
  unix_listener {sockets}/dovecot-lmtp {{
    mode = 0600
    user = {mta}
  }}
}}
service stats {{
  unix_listener stats-writer {{
    mode = 0666
  }}
}}
protocol lda {{
  log_path = {directory}/deliver.log
}}
!include_try /etc/dovecot/local.conf
"""

# Takes a header field out of what is delivered, before the user's own script has it.
SIEVE = """
protocol lmtp {{
  mail_plugins = $mail_plugins sieve
}}
protocol lda {{
  mail_plugins = $mail_plugins sieve
}}
plugin {{
  sieve_before = {script}
  sieve_extensions = +editheader
}}
"""


class Dovecot:
    """`sockets` is a directory of the MTA's, `mta` the user it delivers as, `sieve` a script run for all mail."""

    def __init__(self, sockets, users=("alice", "bob"), mta="postfix", sieve=None, name="dovecot"):
        self.users = users
        self.directory = settings.work(name)
        self.config_path = os.path.join(self.directory, "dovecot.conf")
        for part in ("run", "state", "mail"):
            os.makedirs(os.path.join(self.directory, part))
        self._add_users()
        text = CONFIGURATION.format(directory=self.directory, sockets=sockets, mta=mta)
        self._write("dovecot.conf", text + self._sieve(sieve))
        self._write("deliver.log", "", 0o666)
        self.process = None

    def _write(self, name, text, mode=0o644):
        path = os.path.join(self.directory, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(path, mode)
        return path

    def _add_users(self):
        lines = []
        for user in self.users:
            entry = pwd.getpwnam(user)
            ids = f"{entry.pw_uid}:{entry.pw_gid}"
            lines.append(f"{user}:{{PLAIN}}{PASSWORD}:{ids}::{entry.pw_dir}::\n")
            mailbox = os.path.join(self.directory, "mail", user)
            os.mkdir(mailbox)
            shutil.chown(mailbox, user, user)
        shutil.chown(self._write("users", "".join(lines), 0o640), "root", "dovecot")

    def _sieve(self, script):
        if not script:
            return ""
        path = self._write("before.sieve", script)
        subprocess.run(["sievec", "-x", "+editheader", path], check=True, capture_output=True)
        os.chmod(path.replace(".sieve", ".svbin"), 0o644)
        return SIEVE.format(script=path)

    def start(self):
        self.process = subprocess.Popen(["dovecot", "-F", "-c", self.config_path], stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL)
        wait_for_port("127.0.0.1", IMAP)
        return self

    def stop(self):
        self.process.terminate()
        self.process.wait(20)

    def deliver_command(self):
        """The delivery agent as the MTA has to call it."""
        return f"{DELIVER} -c {self.config_path}"

    def imap(self, user):
        """Every message in the user's inbox, as IMAP gives it."""
        with imaplib.IMAP4("127.0.0.1", IMAP) as client:
            client.login(user, PASSWORD)
            client.select("INBOX", readonly=True)
            numbers = client.search(None, "ALL")[1][0].split()
            return [client.fetch(number, "(BODY.PEEK[])")[1][0][1] for number in numbers]

    def pop3(self, user):
        """The same by POP3."""
        client = poplib.POP3("127.0.0.1", POP3)
        client.user(user)
        client.pass_(PASSWORD)
        numbers = range(1, client.stat()[0] + 1)
        messages = [b"".join(line + b"\r\n" for line in client.retr(number)[1]) for number in numbers]
        client.quit()
        return messages
