"""What most tests begin with: a front with relaypoold beside it, relays behind, and the questions asked at the end."""
import collections

from . import front as fronts
from . import settings, smtp
from .daemon import Relaypoold, relay_section, section
from .message import Message
from .relay import RelayPostfix
from .store import Store

DIRECT_PORT = 10025  # as in contrib/postfix
ADDRESS = ("127.0.0.1", fronts.PORT)


def equal(got, wanted, what):
    if got != wanted:
        raise AssertionError(f"{what}: {got!r} instead of {wanted!r}")


def pooled(sections, front_parameters=None, chroot=False, front=None, kind=Relaypoold, **keys):
    """(front, daemon), both running. `front` is one that is not Postfix, `kind` how the daemon is run."""
    front = front or fronts.pooled(front_parameters, chroot, keys.get("failover", "queue"))
    daemon = kind(front, sections, **keys).start()
    return front.start(), daemon


def with_store(relay_keys=None, front_parameters=None, relay_parameters=None, chroot=False, front=None, **keys):
    """(front, daemon, relay, store): one real Postfix as the relay, which hands all it takes to the store.

    A first message has gone through: only then does relaypoold know what the relay announces, DSN above all.
    """
    store = Store()
    relay = RelayPostfix(store=store.path, parameters=relay_parameters).start()
    front, daemon = pooled(relay_section("far", relay, **(relay_keys or {})), front_parameters, chroot, front, **keys)
    inject([Message("first")])
    drained(front, relay, 20)
    store.clear()
    return front, daemon, relay, store


def direct(relay):
    """The same with failover = "direct": while relaypoold is away, mail goes straight to the relay."""
    return pooled(relay_section("far", relay), {"relayhost": f"[{relay.address}]:{relay.port}"}, failover="direct",
                  smtp=f"inet:{DIRECT_PORT}@127.0.0.1")


def routes(names):
    """A route for each relay: mail to @NAME.example takes relay NAME."""
    return "".join(section("route", name, {"relays": [name], "recipients": [f"@{name}.example"]}) for name in names)


def drained(front, relay=None, seconds=60):
    """Until nothing is left in the front's queue, nor in a relay that is a Postfix."""
    front.drain(seconds)
    if relay:
        relay.drain(seconds)


def statuses(front):
    """How many recipients the front's log calls sent, deferred, bounced."""
    return collections.Counter(status for _, _, status, _ in front.outcomes())


def inject(messages, sessions=8, source=None):
    smtp.inject(ADDRESS, messages, sessions, source)


def wait_for_line(program, text, seconds=10):
    """A line of the log of a front or daemon that has the text."""
    return settings.wait_until(lambda: next((line for line in program.log().splitlines() if text in line), None), seconds,
                               f"a line with {text!r}")
