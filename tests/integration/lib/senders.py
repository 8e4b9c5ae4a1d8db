"""Ways to send to one far relay, to be compared: each is started for a relay and a cap of connections, and ended."""
from . import daemon, front, rate


def measured(sender, relay, count, size=4096, **options):
    """From the first injection to the relay's acceptance of the last message; returns when the sender is idle."""
    seconds = rate.seconds_for(relay, count, inject=lambda messages: sender.inject(messages, size), **options)
    sender.drain(60)
    return seconds


def seconds_for(sender, relay, count, warm_up, cap=10, **options):
    """What `count` messages take a sender that is started for it, after some uncounted ones, and ended."""
    sender.start(relay, cap)
    measured(sender, relay, warm_up)
    seconds = measured(sender, relay, count, **options)
    sender.end()
    return seconds


class Alone:
    """Postfix by itself; `make` is front.stock or front.tuned."""

    def __init__(self, make):
        self.make, self.front = make, None

    def start(self, relay, cap):
        self.front = self.make(relay, cap).start()

    def inject(self, count, size):
        return rate.source(count, size=size)

    def drain(self, seconds):
        self.front.drain(seconds, flush=False)

    def end(self):
        self.front.remove()


class Pooled(Alone):
    """Postfix with relaypool at its default settings, but for the keys given for its relay section.

    `deliveries` are those that Postfix may have under way at once, if others than contrib/postfix says.
    """

    def __init__(self, deliveries=None, **keys):
        super().__init__(front.pooled)
        self.deliveries, self.keys, self.daemon = deliveries, keys, None

    def start(self, relay, cap):
        self.front = self.make()
        if self.deliveries:
            self.front.allow_deliveries(self.deliveries)
        section = daemon.relay_section("far", relay, max_connections=cap, **self.keys)
        self.daemon = daemon.Relaypoold(self.front, section).start()
        self.front.start()

    def end(self):
        self.front.stop()
        self.daemon.stop()
        self.front.remove()
