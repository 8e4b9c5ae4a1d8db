"""How fast mail goes: from the first injection to the relay's acceptance of the last message."""
import contextlib
import os
import subprocess
import time

from . import front, settings


def source(count, sessions=20, recipient="recipient@far.example", target=f"127.0.0.1:{front.PORT}", lmtp=False,
           size=4096):
    """The injection: `count` messages of `size` octets, each to a recipient of its own, over sessions that stay open."""
    return subprocess.Popen(["smtp-source", "-d", "-N", *(["-L"] if lmtp else []), "-s", str(min(sessions, count)),
                             "-m", str(count), "-l", str(size), "-f", "sender@front.test", "-t", recipient, target])


def seconds_to_take(count, target, sessions, lmtp=False):
    """How long `target`, HOST:PORT or unix:PATH, needs to answer for `count` messages."""
    begin = time.monotonic()
    if source(count, sessions, target=target, lmtp=lmtp).wait():
        raise RuntimeError(f"smtp-source failed at {target}")
    return time.monotonic() - begin


@contextlib.contextmanager
def acceptances(relay):
    """A function that says how many messages a relay has accepted since it was called last, by its log."""
    with open(relay.log_path, encoding="utf-8") as log:
        log.seek(0, os.SEEK_END)
        begun = ""  # a line of which the rest is not there yet

        def count():
            nonlocal begun
            lines, _, begun = (begun + log.read()).rpartition("\n")
            return len(relay.ACCEPTANCE.findall(lines))
        yield count


def seconds_for(relay, count, progress=lambda done, seconds: None, limit=180, inject=source):
    """Sends `count` messages by inject(count); how long it took until the relay had accepted them all."""
    with acceptances(relay) as accepted:
        begin, done = time.monotonic(), 0
        injection = inject(count)
        while done < count:
            if time.monotonic() - begin > limit * settings.PATIENCE:
                raise AssertionError(f"only {done} of {count} messages arrived within {limit:.0f} s")
            time.sleep(0.005)
            done += accepted()
            progress(done, time.monotonic() - begin)
    seconds = time.monotonic() - begin
    injection.wait()
    return seconds


def seconds_until_accepted(relay, client, message, limit=30):
    """Sends one message over a session to the front; how long after its reply the relay had accepted it."""
    with acceptances(relay) as accepted:
        replies = client.transaction(message)
        if replies[-1][0] != 250:
            raise RuntimeError(f"the front refused a message: {replies}")
        begin = time.monotonic()
        while not accepted():
            if time.monotonic() - begin > limit * settings.PATIENCE:
                raise AssertionError(f"a message did not arrive within {limit} s")
            time.sleep(0.001)
    return time.monotonic() - begin
