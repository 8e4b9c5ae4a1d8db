#!/usr/bin/python3
"""One cell of the comparison: one way to send at one point, in a sandbox of its own that ends whatever it started.

Called by peers.py, with the order as JSON; the last line of standard output is the result as JSON. Where it fails, the
end of every log is there instead, and why.
"""
import json
import os
import sys
import traceback

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "../integration"))
from lib import sandbox  # noqa: E402
from lib.link import Link  # noqa: E402
from lib.relay import RelayPostfix  # noqa: E402
from lib.senders import measured  # noqa: E402
from run import show_logs  # noqa: E402
from senders import WAYS  # noqa: E402

DISCARDED = {"chunking": "", "pipelining": "silent-discard, chunking",
             "neither": "silent-discard, chunking, pipelining"}


def measure(order):
    """The result: messages, seconds, messages a second, connections opened meanwhile, and the most open at once."""
    point = order["point"]
    relay = RelayPostfix(Link(point["rtt"], point["loss"]), secure=point["security"] == "tls",
                         parameters={"smtpd_discard_ehlo_keywords": DISCARDED[point["ehlo"]]}).start()
    sender, size = WAYS[order["sender"]].make(), point["size"] * 1024
    sender.start(relay, point["cap"])
    measured(sender, relay, max(8, 4 * point["cap"]), size, limit=order["limit"])
    before = relay.connections()[0]
    count = order["messages"]
    seconds = measured(sender, relay, count, size, limit=order["limit"])
    opened, most = relay.connections()
    return {"messages": count, "seconds": seconds, "rate": count / seconds, "opened": opened - before, "most": most}


def main():
    order = json.loads(sys.argv[1])
    work = sandbox.enter()
    try:
        print(json.dumps(measure(order)))
    except Exception:
        show_logs(work)
        traceback.print_exc(file=sys.stdout)
        sys.exit(1)


if __name__ == "__main__":
    main()
