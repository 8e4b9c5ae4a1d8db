"""The package beside Debian's own Postfix, whose services are in a chroot."""
import lifecycle
from mta import Postfix

PACKAGES = ("postfix",)
LATER = (lifecycle.DEB,)
# What is in its queue, and its caches.
THEIRS = r"/var/spool/postfix/(active|bounce|corrupt|defer|deferred|flush|hold|incoming|maildrop|pid|private|public|" \
         r"saved|trace)/.+|/var/lib/postfix/.+"


def test_installed_registered_undone_and_purged():
    lifecycle.installed_and_gone(Postfix, THEIRS)


def test_removed_while_postfix_uses_it():
    lifecycle.removed_too_early(Postfix, THEIRS, "Postfix")


def test_autopkgtest():
    lifecycle.autopkgtest("smoke", "loopback", "postfix")
