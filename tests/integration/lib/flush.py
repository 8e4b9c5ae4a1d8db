"""The command of relaypool-flush.service, run as systemd would run it."""
import os
import re
import subprocess

from . import settings

UNIT = os.path.join(settings.SOURCE, "packaging", "systemd", "relaypool-flush.service")


def run(path):
    """With the programs found along `path`."""
    with open(UNIT, encoding="utf-8") as file:
        command = re.search("^ExecStart=/bin/sh -c '(.*)'$", file.read(), re.MULTILINE).group(1)
    subprocess.run(["/bin/sh", "-c", command.replace("$$", "$")], check=True, env={"PATH": path})
