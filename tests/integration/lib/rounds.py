"""How much longer a message takes while something goes wrong beside it: rounds with it and without by turns, so that each
is compared with its neighbour, under much the same load of the machine."""
import re
import statistics

from . import scene, settings
from .message import Message

ROUNDS = 21
MESSAGES = 20  # in each, one after the other, so that none waits for another
PARAMETERS = {"delay_logging_resolution_limit": 6}  # of the front


def _sent(log):
    """delays= of each message, once all are there."""
    found = re.findall(r"relay=\S*lmtp\.sock\](?:, conn_use=\d+)?, delay=[\d.]+, delays=([\d./]+), .*status=sent", log)
    return found if len(found) == MESSAGES else None


def delays(front, label):
    """Seconds that each message of a round took in Postfix and relaypoold, to the relay's reply, as Postfix logs them."""
    messages = [Message(f"{label}.{number}") for number in range(MESSAGES)]
    before = len(front.log())
    scene.inject(messages, sessions=1)
    front.drain(30, flush=False)
    found = settings.wait_until(lambda: _sent(front.log()[before:]), 10, "Postfix to log all of them as sent")
    return [sum(float(part) for part in times.split("/")[2:]) for times in found]


def longer(front, what, begin, end):
    """Seconds, at the median of the rounds, that a message takes longer between begin() and end()."""
    quiet, troubled = [], []
    delays(front, "warm")
    for number in range(ROUNDS):
        quiet.append(delays(front, f"quiet{number}"))
        begin()
        troubled.append(delays(front, f"troubled{number}"))
        end()
    # On a machine that has other work a round may differ by anything, their median does not.
    difference = statistics.median(statistics.median(slow) - statistics.median(fast) for slow, fast in zip(troubled, quiet))
    settings.figure(f"a message takes {1000 * difference:+.2f} ms longer with {what}, at the median of {ROUNDS} rounds of "
                    f"{MESSAGES}; {1000 * statistics.median(sum(quiet, [])):.2f} ms without")
    return difference
