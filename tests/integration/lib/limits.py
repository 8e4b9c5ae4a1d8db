"""Limits that a scripted relay keeps, as a provider states them, in the provider's own words."""
import collections
import threading
import time

Refusal = collections.namedtuple("Refusal", "text closes")

WORDS = {
    "connections": "421 4.4.5 - Too many connections from your host",
    "messages": "421 4.7.0 Too many messages for this connection",
    "rate": "454 Throttling failure: Maximum sending rate exceeded.",
    "idle": "451 4.4.2 Timeout waiting for data from client.",
}


class Limits:
    """`connections` at once, counted where they are admitted ("banner" or "auth"); `messages` of each; `rate` is (count,
    seconds), in any stretch of so many seconds; `idle` in seconds. 0 or None is no limit."""

    def __init__(self, connections=0, messages=0, rate=None, idle=0, admitted_at="banner", words=None):
        self.connections, self.messages, self.rate, self.idle = connections, messages, rate, idle
        self.admitted_at, self.words = admitted_at, {**WORDS, **(words or {})}
        self.lock = threading.Lock()
        self.times = collections.deque()  # of the messages of late
        self.refused = []  # what was said to whoever went beyond
        self.expired = 0   # connections closed in their idle time

    def judge(self, connection, step):
        """A refusal if this step of a connection goes beyond a limit; None, and it is counted."""
        with self.lock:
            if step == self.admitted_at and self._full(connection):
                return self._refuse("connections", True)
            if step == "mail" and self._used_up(connection):
                return self._refuse("messages", True)
            if step == "dot" and self._too_fast():
                return self._refuse("rate", False)
        return None

    def expire(self):
        """What is said to a connection that was idle for too long."""
        with self.lock:
            self.expired += 1
        return self.words["idle"]

    def _refuse(self, what, closes):
        self.refused.append(self.words[what])
        return Refusal(self.words[what], closes)

    def _full(self, connection):
        others = sum(other.admitted for other in list(connection.relay.connections) if other is not connection)
        connection.admitted = not self.connections or others < self.connections
        return not connection.admitted

    def _used_up(self, connection):
        connection.messages += 1
        return self.messages and connection.messages > self.messages

    def _too_fast(self):
        if not self.rate:
            return False
        count, seconds = self.rate
        now = time.monotonic()
        while self.times and now - self.times[0] >= seconds:
            self.times.popleft()
        if len(self.times) >= count:
            return True
        self.times.append(now)
        return False
