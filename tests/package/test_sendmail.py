"""The package beside Debian's own Sendmail."""
import lifecycle
from mta import Sendmail

PACKAGES = ("sendmail-bin", "sensible-mda")
LATER = (lifecycle.DEB,)
# What is in its queues, and two files that its start script writes anew, with the date.
THEIRS = r"/var/spool/mqueue(-client)?/.+|/var/lib/sendmail/.+|/etc/mail/(Makefile|databases)"


def test_installed_registered_undone_and_purged():
    lifecycle.installed_and_gone(Sendmail, THEIRS)


def test_removed_while_sendmail_uses_it():
    lifecycle.removed_too_early(Sendmail, THEIRS, "Sendmail")


def test_autopkgtest():
    lifecycle.autopkgtest("sendmail")
