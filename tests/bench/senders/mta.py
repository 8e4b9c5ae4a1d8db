"""A mail server that is not Postfix, with private configuration and queue, as one of lib.senders."""
import glob
import os
import shutil
import subprocess

from lib import front, rate, settings
from lib.postfix import wait_for_port


class Mta:
    """A subclass says what packages it is in, what files its queue has, and how it is configured and started.

    Its packages are below RELAYPOOL_PACKAGES, and copied from there to where every user of the sandbox may look.
    """

    name = None      # of the program, and of its directory
    queued = None    # pattern of the files that stand for a message each, below the directory

    def __init__(self):
        self.directory, self.unpacked = settings.work(self.name), settings.work(self.name, "unpacked")
        self.relay, self.cap, self.process = None, None, None

    def path(self, *names):
        return os.path.join(self.directory, *names)

    def write(self, name, content, mode=0o644):
        with open(self.path(name), "w", encoding="utf-8") as file:
            os.chmod(file.fileno(), mode)
            file.write(content)
        return self.path(name)

    def make(self, *names, owner="root", mode=0o755):
        """A directory of its own."""
        os.makedirs(self.path(*names))
        shutil.chown(self.path(*names), owner, owner)
        os.chmod(self.path(*names), mode)
        return self.path(*names)

    def configure(self):
        """Writes its files; the command that starts it in the foreground."""
        raise NotImplementedError

    def start(self, relay, cap):
        self.relay, self.cap = relay, cap
        shutil.copytree(os.path.join(os.environ["RELAYPOOL_PACKAGES"], self.name), self.unpacked, symlinks=True)
        command = self.configure()
        with open(self.path("log"), "ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        wait_for_port("127.0.0.1", front.PORT)

    def inject(self, count, size):
        return rate.source(count, size=size)

    def drain(self, seconds):
        settings.wait_until(lambda: not glob.glob(self.path(self.queued), recursive=True), seconds,
                            f"the queue of {self.name} to empty")

    def end(self):
        self.process.terminate()
        self.process.wait()
