"""relaypoolctl setup postfix on a private instance, and what that instance looks like before and after."""
import json
import os
import re
import subprocess

from . import settings

MEMORY = "setup"  # below the work directory


class Registration:
    """Of `front` with the relaypool.conf of `daemon`; with `instance`, by the name that postmulti knows it by."""

    def __init__(self, front, daemon, instance=None):
        self.front, self.daemon, self.instance = front, daemon, instance

    def run(self, *words, code=0, path=None):
        """The output; the exit code has to be `code`, None for any."""
        environment = {**os.environ, "RELAYPOOL_SETUP_DIRECTORY": settings.work(MEMORY)}
        if path:
            environment["PATH"] = f"{path}:{os.environ['PATH']}"
        if not self.instance:
            environment["MAIL_CONFIG"] = self.front.config
        command = [os.path.join(settings.BUILD, "relaypoolctl"), "-c", self.daemon.config_path, "setup", "postfix",
                   *(["-i", self.instance] if self.instance else []), *words]
        result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
        self.front.age()
        output = result.stdout + result.stderr
        if code is not None and result.returncode != code:
            raise AssertionError(f"setup postfix {' '.join(words)} ended with {result.returncode}:\n{output}")
        too_long = [line for line in output.splitlines() if len(line) > 80 and not line.startswith("relaypoolctl: ")]
        if "-j" not in words and too_long:
            raise AssertionError(f"lines of more than 80 columns: {too_long}")
        return output

    def findings(self, *words, code=None):
        """{name: finding}"""
        answer = json.loads(self.run("-j", *words, code=code))
        return {finding["name"]: finding for finding in answer["findings"]}

    def wrong(self):
        """What --check finds to be neither right nor a mere note."""
        return {name: finding["state"] for name, finding in self.findings("--check").items()
                if finding["state"] not in ("ok", "note")}

    def photograph(self):
        """All that undoing has to give back: every file to the octet, and the settings as postconf shows them."""
        shown = {option: subprocess.run(["postconf", "-c", self.front.config, option], capture_output=True, text=True,
                                        check=True).stdout for option in ("-n", "-M")}
        for name in os.listdir(self.front.config):
            path = os.path.join(self.front.config, name)
            if os.path.isfile(path):
                with open(path, "rb") as file:
                    shown[name] = file.read(), os.stat(path).st_mode
        return shown


def transports(front):
    """{local part of a recipient: the program that had it}"""
    return {recipient: transport for transport, recipient in
            re.findall(r"postfix(?:-\w+)?/(\S+)\[\d+\]: \w+: to=<([^@>]+)@", front.log())}
