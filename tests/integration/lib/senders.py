"""Ways to send to one far relay, to be compared: each is started for a relay and a cap of connections, and ended."""
from . import daemon, front, rate


def seconds_for(sender, relay, count, warm_up, cap=10, **options):
    """From the first injection to the relay's acceptance of the last of `count` messages, after some uncounted ones."""
    sender.start(relay, cap)
    rate.seconds_for(relay, warm_up)
    sender.front.drain(30, flush=False)
    seconds = rate.seconds_for(relay, count, **options)
    sender.front.drain(60, flush=False)
    sender.end()
    return seconds


class Alone:
    """Postfix by itself; `make` is front.stock or front.tuned."""

    def __init__(self, make):
        self.make, self.front = make, None

    def start(self, relay, cap):
        self.front = self.make(relay, cap).start()

    def end(self):
        self.front.remove()


class Pooled:
    """Postfix with relaypool at its default settings, but for the keys given for its relay section."""

    def __init__(self, **keys):
        self.keys, self.front, self.daemon = keys, None, None

    def start(self, relay, cap):
        self.front = front.pooled()
        section = daemon.relay_section("far", relay, max_connections=cap, **self.keys)
        self.daemon = daemon.Relaypoold(self.front, section).start()
        self.front.start()

    def end(self):
        self.front.stop()
        self.daemon.stop()
        self.front.remove()
