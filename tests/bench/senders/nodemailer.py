"""nodemailer's pool: an application that keeps its connections itself. It has no queue, and makes the messages."""
import json
import os
import shutil
import subprocess

from lib import certificates, settings

SCRIPT = os.path.join(os.path.dirname(os.path.realpath(__file__)), "nodemailer_pool.js")


class _Injection:
    """What rate.seconds_for() waits for at the end: the pool's word that all is sent."""

    def __init__(self, pool):
        self.pool = pool

    def wait(self):
        line = self.pool.stdout.readline()
        if line != "sent\n":
            raise RuntimeError(f"nodemailer: {line or 'ended'}")


class Nodemailer:
    """One of lib.senders."""

    def __init__(self):
        self.pool = None

    def start(self, relay, cap):
        # JSON knows no Infinity, of which this does as well.
        options = {"pool": True, "maxConnections": cap, "maxMessages": 10 ** 9, "host": relay.address,
                   "port": relay.port, "name": "front.test", "ignoreTLS": not relay.secure}
        if relay.secure:
            options.update(requireTLS=True, auth={"user": relay.username, "pass": relay.password},
                           tls={"servername": relay.host})
        unpacked = os.path.join(os.environ["RELAYPOOL_PACKAGES"], "nodemailer/usr")
        module = os.environ.get("RELAYPOOL_NODEMAILER", os.path.join(unpacked, "share/nodejs/nodemailer"))
        node = shutil.which("node") or os.path.join(unpacked, "bin/node")
        self.pool = subprocess.Popen(
            [node, SCRIPT, module, json.dumps(options)], text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env={**os.environ, "NODE_EXTRA_CA_CERTS": certificates.path("ca.pem")})
        if self.pool.stdout.readline() != "ready\n":
            raise RuntimeError("nodemailer did not start")

    def inject(self, count, size):
        self.pool.stdin.write(f"{count} {size}\n")
        self.pool.stdin.flush()
        return _Injection(self.pool)

    def drain(self, seconds):
        """Nothing is left when the injection has ended."""

    def end(self):
        self.pool.stdin.close()
        self.pool.wait(10 * settings.PATIENCE)
