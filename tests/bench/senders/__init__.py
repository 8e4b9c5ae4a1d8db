"""Every way to send that can be compared: {name: Way}, in the order of the table."""
import collections
import shutil

from lib import front
from lib.senders import Alone, Pooled

from .exim import Exim
from .nodemailer import Nodemailer
from .opensmtpd import OpenSmtpd
from .sendmail import PooledSendmail, Sendmail


class Way(collections.namedtuple("Way", "label colour make trips most packages", defaults=((),))):
    """`trips` and `most` say what to expect, only to choose how many messages to send: round trips a message takes on
    a connection, all told, and messages a second where there is no distance.
    """

    def expected(self, point):
        """Messages a second, roughly."""
        return 1 / max(1 / self.most, self.trips * point["rtt"] / 1000 / point["cap"])


NODE = () if shutil.which("node") else ("nodejs",)

WAYS = {
    "stock": Way("Postfix, stock", "#a6a6a6", lambda: Alone(front.stock), 10.5, 150),
    "tuned": Way("Postfix, tuned", "#404040", lambda: Alone(front.tuned), 3.2, 270),
    "auto": Way("relaypool", "#1f77b4", Pooled, 1.15, 270),
    "deep": Way("relaypool, deep", "#d62728", lambda: Pooled(streaming="deep"), 0.3, 270),
    "deep32": Way("relaypool, deep, 32", "#e377c2", lambda: Pooled(streaming="deep", max_depth=32), 0.15, 270),
    "off": Way("relaypool, streaming off", "#17becf", lambda: Pooled(streaming="off"), 2.2, 270),
    "sendmail": Way("Sendmail, tuned", "#9467bd", Sendmail, 4.7, 120, ("sendmail-bin", "sendmail-cf")),
    "sendmail-pooled": Way("Sendmail with relaypool", "#6a3d9a", PooledSendmail, 1.15, 120,
                           ("sendmail-bin", "sendmail-cf")),
    "exim": Way("Exim, tuned", "#8c564b", Exim, 10, 30, ("exim4-daemon-light",)),
    "opensmtpd": Way("OpenSMTPD, tuned", "#2ca02c", OpenSmtpd, 4.4, 50, ("opensmtpd",)),
    "nodemailer": Way("nodemailer's pool", "#ff7f0e", Nodemailer, 4.1, 400, ("node-nodemailer", *NODE)),
}
