"""Mail by way of relaypool, with the MTA that is installed: registered, it goes through the pool; undone, as before.

pool_and_undo() is the test, on this machine or in a chroot; Postfix and Sendmail are what differs.
"""
import os
import re

from machine import FILES, Relay, Relaypoold, kept, read, settings, write
from lib.message import Message
from lib.scene import equal
from lib.smtp import inject

SMTP = ("127.0.0.1", 25)
SENDER = "postmaster@localhost"  # of a domain that every MTA knows
COUNT = 10  # messages by each of the two ways into the MTA


class Postfix:
    """As Debian installs it: its services in a chroot."""

    name = "postfix"
    files = ("/etc/postfix/main.cf", "/etc/postfix/master.cf")

    def __init__(self, machine):
        self.machine = machine

    def use(self, relay):
        """The relay without relaypool: no login, so that such mail is known there by that."""
        self.machine.run("postconf", "-e", f"relayhost=[{relay.address}]:{relay.port}")

    def restart(self):
        self.machine.run("service", "postfix", "restart")

    def photograph(self):
        """All that undoing has to give back."""
        shown = {option: self.machine.run("postconf", option) for option in ("-n", "-M")}
        return {**shown, **{name: read(self.machine, name) for name in self.files}}

    def waiting(self):
        """How many messages are in the queue."""
        return len(re.findall("^{", self.machine.run("postqueue", "-j"), re.MULTILINE))

    def flush(self):
        self.machine.run("postqueue", "-f")


class Sendmail:
    """As Debian installs it: sendmail.mc, of which sendmail.cf is made; a queue for mail by sendmail(1) besides."""

    name = "sendmail"
    files = ("/etc/mail/sendmail.mc", "/etc/mail/sendmail.cf")

    def __init__(self, machine):
        self.machine = machine

    def use(self, relay):
        """The relay without relaypool: no login, so that such mail is known there by that."""
        lines = (f"define(`SMART_HOST', `[{relay.address}]')dnl\n"
                 f"define(`RELAY_MAILER_ARGS', `TCP $h {relay.port}')dnl\nMAILER_DEFINITIONS\n")
        text = read(self.machine, self.files[0])
        assert text.count("MAILER_DEFINITIONS\n") == 1, text
        write(self.machine, self.files[0], text.replace("MAILER_DEFINITIONS\n", lines))
        self.machine.run("sh", "-c", "m4 {} >{}".format(*self.files))

    def restart(self):
        self.machine.run("service", "sendmail", "restart")

    def photograph(self):
        """All that undoing has to give back."""
        return {name: read(self.machine, name) for name in self.files}

    def waiting(self):
        """How many messages are in the queues."""
        return sum(name.startswith("qf") for queue in ("mqueue", "mqueue-client")
                   for name in os.listdir(self.machine.path(f"/var/spool/{queue}")))

    def flush(self):
        self.machine.run("sendmail", "-qf")


def send(machine, label, count=1):
    """So many messages by SMTP, and as many by sendmail(1); their ids."""
    messages = [Message(f"{label}.{number}", sender=SENDER) for number in range(2 * count)]
    inject(SMTP, messages[:count], 2)
    for message in messages[count:]:
        machine.run("/usr/sbin/sendmail", "-i", "-f", message.sender, "--", message.recipients[0][0],
                    typed=message.content().decode("ascii").replace("\r\n", "\n"))
    return [message.id for message in messages]


def expect(machine, relay, label, login, count=1):
    """Mail that the relay gets once each, from somebody who has logged in so."""
    names = send(machine, label, count)
    relay.wait_for(names)
    expect_once(relay, names, login)


def expect_once(relay, names, login):
    """Each of these messages came once, from somebody who had logged in so."""
    copies = relay.copies()
    equal({name: (copies[name], relay.logins[name]) for name in names}, dict.fromkeys(names, (1, login)), "what came")


def pool_and_undo(machine, kind):
    """Mail of the MTA goes to the relay; through the pool once it is registered; and as before once that is undone."""
    mta, daemon, relay = kind(machine), Relaypoold(machine), Relay()
    with kept(machine, *FILES, *mta.files):
        mta.use(relay)
        mta.restart()
        expect(machine, relay, "before", None)
        before = mta.photograph()
        daemon.configure(relay)
        daemon.start()
        machine.run("relaypoolctl", "setup", mta.name)
        equal(mta.photograph(), before, "after looking")
        machine.run("relaypoolctl", "setup", mta.name, "--apply", "--reload")
        expect(machine, relay, "pooled", (relay.username, relay.password), COUNT)
        equal(daemon.sent(), 2 * COUNT, "what relaypoold says it sent")
        machine.run("relaypoolctl", "setup", mta.name, "--check")
        machine.run("relaypoolctl", "setup", mta.name, "--undo", "--reload")
        equal(mta.photograph(), before, "after undoing")
        expect(machine, relay, "after", None)
        equal(daemon.sent(), 2 * COUNT, "what relaypoold says it sent when it is not asked any more")
        settings.wait_until(lambda: not mta.waiting(), 10, "the queue to be empty")
        daemon.stop()
    mta.restart()
    relay.stop()
