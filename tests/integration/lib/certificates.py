"""A certificate authority of our own, made anew for each run: right, wrong-name and expired server certificates."""
import os
import subprocess

from . import settings

HOSTS = ("relay.test", "near.test", "second.test", "third.test", "many.test", "mail.example.org", "127.0.0.3")
# {name: (hosts, days)}; each is made when it is asked for, since keys take their time.
SERVERS = {
    "right": (HOSTS, 2),
    "wrong-name": (("elsewhere.test",), 2),
    "expired": (HOSTS, -1),
}
# The authority's own is of a kind that is made at once; those of servers are what most providers have.
CURVE = ("ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")


def _openssl(*words):
    subprocess.run(["openssl", *words], check=True, capture_output=True, cwd=settings.work("certificates"))


def _issue(name, hosts, days):
    _openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.csr",
             "-subj", f"/CN={hosts[0]}")
    with open(settings.work("certificates", f"{name}.ext"), "w", encoding="utf-8") as file:
        names = [f"{'IP' if host[0].isdigit() else 'DNS'}:{host}" for host in hosts]
        file.write(f"subjectAltName={','.join(names)}\n")
    _openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
             "-days", str(days), "-extfile", f"{name}.ext", "-out", f"{name}.pem")


def path(name):
    """Of ca.pem, right.pem, right.key, wrong-name.pem, expired.pem …"""
    directory, server = settings.work("certificates"), os.path.splitext(name)[0]
    if not os.path.exists(directory):
        os.mkdir(directory)
        _openssl("req", "-x509", "-newkey", *CURVE, "-nodes", "-keyout", "ca.key", "-out", "ca.pem",
                 "-subj", "/CN=relaypool test authority", "-days", "2")
    if server in SERVERS and not os.path.exists(os.path.join(directory, f"{server}.pem")):
        _issue(server, *SERVERS[server])
    return os.path.join(directory, name)
