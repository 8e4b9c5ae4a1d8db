"""Ways to send to one far relay, to be compared: each is started for a relay and a cap of connections, and ended."""
from . import daemon, front


class Alone:
    """Postfix by itself; `make` is front.stock or front.tuned."""

    def __init__(self, make):
        self.make, self.front = make, None

    def start(self, relay, cap=10):
        self.front = self.make(relay, cap).start()

    def end(self):
        self.front.remove()


class Pooled:
    """Postfix with relaypool at its default settings, but for the keys given for its relay section."""

    def __init__(self, **keys):
        self.keys, self.front, self.daemon = keys, None, None

    def start(self, relay, cap=10):
        self.front = front.pooled()
        section = daemon.relay_section("far", relay, max_connections=cap, **self.keys)
        self.daemon = daemon.Relaypoold(self.front, section).start()
        self.front.start()

    def end(self):
        self.front.stop()
        self.daemon.stop()
        self.front.remove()
