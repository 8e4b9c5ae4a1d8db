"""The package beside Debian's own Sendmail."""
import lifecycle
from mta import Sendmail

PACKAGES = ("sendmail-bin", "sensible-mda")
LATER = (lifecycle.DEB,)
THEIRS = r"/var/spool/mqueue(-client)?/.+|/var/lib/sendmail/.+"  # what is in its queues


def test_installed_registered_undone_and_purged():
    lifecycle.installed_and_gone(Sendmail, THEIRS)


def test_removed_while_sendmail_uses_it():
    lifecycle.removed_too_early(Sendmail, THEIRS, "Sendmail")
