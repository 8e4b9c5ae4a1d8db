"""Where the build and the work directory are, how large the tests run, and waiting with a limit."""
import os
import time

SOURCE = os.path.realpath(os.path.join(os.path.dirname(__file__), "../../.."))
BUILD = os.environ.get("RELAYPOOL_BUILD", SOURCE)
EXIM = os.environ.get("RELAYPOOL_EXIM", "/usr/sbin/exim4")
SENDMAIL = os.environ.get("RELAYPOOL_SENDMAIL", "/")  # below it are Sendmail's packages

# A sanitizer build is slower: limits on time are stretched by this, never those on behaviour.
PATIENCE = float(os.environ.get("RELAYPOOL_PATIENCE", "1"))


def work(*names):
    """A path below the sandbox's work directory."""
    return os.path.join(os.environ["RELAYPOOL_WORK"], *names)


def scaled(count):
    """As many messages as asked for, less with RELAYPOOL_SCALE below 1."""
    return max(10, int(count * float(os.environ.get("RELAYPOOL_SCALE", "1"))))


def figure(text):
    """Something measured on the way: shown beside the test's result, also when it passes."""
    print(f"= {text}")


def wait_until(condition, seconds, what):
    """Returns the first true value of condition(); an error that names `what` after the limit."""
    end = time.monotonic() + seconds * PATIENCE
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"waited {seconds * PATIENCE:g} s for {what}")
        time.sleep(0.02)


def open_sockets(tables, port):
    """{peer's address} of what a server holds: SYN_RECV, ESTABLISHED, CLOSE_WAIT of /proc/net/tcp."""
    peers = set()
    for table in tables:
        with open(table, encoding="ascii") as file:
            for line in file.readlines()[1:]:
                fields = line.split()
                if fields[1].endswith(f":{port:04X}") and fields[3] in ("01", "03", "08"):
                    peers.add(fields[2])
    return peers
