"""Whoever asks relaypoold and then does not read costs no message any time."""
import contextlib
import socket

from lib import front as fronts
from lib import rounds
from lib.daemon import Relaypoold, relay_section
from lib.relay import RelayPostfix
from lib.store import Store

PROMISE = 0.010  # seconds that a message may take longer
METRICS_PORT = 9725
READERS = 8


def _control(path):
    client = socket.socket(socket.AF_UNIX)
    client.connect(path)
    return client


def _ask_without_end(client, question):
    """Sends questions and reads nothing, until the other end takes no more."""
    client.setblocking(False)
    with contextlib.suppress(BlockingIOError, ConnectionError):
        while client.send(question):
            pass
    return client


def test_readers_that_never_read_delay_no_mail():
    store = Store()
    relay = RelayPostfix(store=store.path).start()
    front = fronts.pooled(rounds.PARAMETERS)
    daemon = Relaypoold(front, relay_section("far", relay), metrics=f"inet:{METRICS_PORT}@127.0.0.1").start()
    front.start()
    readers = []

    def begin():
        for _ in range(READERS):
            readers.append(_ask_without_end(_control(daemon.control), b'{"verb":"config"}\n'))
            scraper = socket.create_connection(("127.0.0.1", METRICS_PORT))
            readers.append(_ask_without_end(scraper, b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n"))

    def end():
        while readers:
            readers.pop().close()
    longer = rounds.longer(front, f"{READERS} clients of ctl and {READERS} scrapers that never read", begin, end)
    assert longer <= PROMISE, f"{1000 * longer:.1f} ms longer at the median of the rounds"
