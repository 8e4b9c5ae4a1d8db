"""The presets of contrib/providers where an installed relaypool has them, for the sandbox only."""
import functools
import json
import os
import shutil
import subprocess

from . import sandbox, settings

SOURCES = os.path.join(settings.SOURCE, "contrib", "providers")


def names():
    return sorted(name[:-len(".conf")] for name in os.listdir(SOURCES))


def read(name):
    with open(os.path.join(SOURCES, f"{name}.conf"), encoding="utf-8") as file:
        return file.read()


def ctl(*words, check=True):
    """relaypoolctl, without a daemon."""
    return subprocess.run([os.path.join(settings.BUILD, "relaypoolctl"), *words], capture_output=True, text=True,
                          timeout=20, check=check)


def directories():
    """The administrator's, and the package's."""
    return json.loads(ctl("-j", "providers").stdout)["directories"]


@functools.cache
def _directory(number):
    """A directory of the two that a test may write to: it covers the nearest one that exists, whose files show through."""
    path, missing = directories()[number], []
    while not os.path.isdir(path):
        path, name = os.path.split(path)
        missing.insert(0, name)
    below, above = settings.work(f"below-{number}"), settings.work(f"above-{number}")
    os.mkdir(below)
    os.makedirs(os.path.join(above, *missing))
    sandbox.bind(path, below)
    for name in os.listdir(below) if missing else []:
        os.symlink(os.path.join(below, name), os.path.join(above, name))
    sandbox.bind(above, path)
    return os.path.join(path, *missing)


@functools.cache
def install():
    """As make install does."""
    directory = _directory(1)
    for name in names():
        shutil.copy(os.path.join(SOURCES, f"{name}.conf"), directory)


def write_own(name, text):
    """One of the administrator's."""
    with open(os.path.join(_directory(0), f"{name}.conf"), "w", encoding="utf-8") as file:
        file.write(text)
