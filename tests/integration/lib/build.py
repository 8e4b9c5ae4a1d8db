"""Builds relaypool in a copy of the sources, so that they stay as they are."""
import os
import shutil
import subprocess
import sys

from . import settings

BUILT = shutil.ignore_patterns(".git", "*.o", "*.a", "config.status", "__pycache__", "autom4te.cache")
LOG_LINES = 40


class Failed(Exception):
    """A command failed; the text is the end of what it printed."""


def quietly(command, directory, **environment):
    """Runs it; what it prints is shown only if it fails."""
    result = subprocess.run(command, cwd=directory, env={**os.environ, **environment}, text=True, errors="replace",
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if result.returncode:
        raise Failed(f"{' '.join(command)} ended with {result.returncode}:\n"
                     + "\n".join(result.stdout.splitlines()[-LOG_LINES:]))


def copy_source(target):
    shutil.copytree(settings.SOURCE, target, symlinks=True, ignore=BUILT)
    quietly(["autoreconf", "-i"], target)


def build(source, directory, targets, options=()):
    """configure and make, out of tree."""
    os.makedirs(directory, exist_ok=True)
    quietly([os.path.join(source, "configure"), *options], directory)
    quietly(["make", f"-j{os.cpu_count()}", *targets], directory)


def prepare(targets):
    """For a program of its own in a sandbox: builds there, unless RELAYPOOL_BUILD says where that was done."""
    if "RELAYPOOL_BUILD" in os.environ:
        return
    print("Building relaypool…", flush=True)
    source, settings.BUILD = settings.work("source"), settings.work("build")
    try:
        copy_source(source)
        build(source, settings.BUILD, targets)
    except Failed as error:
        sys.exit(str(error))
