#!/usr/bin/python3
"""Builds Debian's package twice by `make deb' and compares what came out: the second time in another directory, from
sources with other times, under another umask, locale and time zone. No root is needed, and nothing is installed.

    test_reproducible.py [DIRECTORY]

A directory with what `make deb' has built of the same sources, such as deb/ of a build directory, saves the first build.
make check runs in the first build, where DEB_BUILD_OPTIONS does not say otherwise; never in the second.
"""
import glob
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "integration"))
from lib.build import Failed, build, copy_source  # noqa: E402

# The description of a build names the machine; all else is what people get.
COMPARED = ("*.deb", "*.ddeb", "*.dsc", "*.tar.*")
ANOTHER_TIME = 1_000_000_000


def digests(directory):
    paths = [path for pattern in COMPARED for path in glob.glob(os.path.join(directory, pattern))]
    found = {}
    for path in sorted(paths):
        with open(path, "rb") as file:
            found[os.path.basename(path)] = hashlib.sha256(file.read()).hexdigest()
    return found


def build_first(work):
    source, place = os.path.join(work, "source"), os.path.join(work, "first")
    os.umask(0o022)
    copy_source(source)
    os.environ.update(LC_ALL="C", TZ="UTC0")
    build(source, place, ["deb"])
    return os.path.join(place, "deb")


def build_second(work):
    source, place = os.path.join(work, "a.longer.name", "source"), os.path.join(work, "a.longer.name", "second")
    os.umask(0o077)
    os.mkdir(os.path.dirname(source))
    copy_source(source)
    subprocess.run(["find", source, "-exec", "touch", "-h", "-d", f"@{ANOTHER_TIME}", "{}", "+"], check=True)
    os.environ.update(DEB_BUILD_OPTIONS="nocheck", LC_ALL="C.UTF-8", LANGUAGE="de", TZ="Asia/Kathmandu")
    build(source, place, ["deb"])
    return os.path.join(place, "deb")


def main():
    work = tempfile.mkdtemp(prefix="relaypool-reproducible-")
    try:
        first = digests(sys.argv[1] if sys.argv[1:] else build_first(work))
        second = digests(build_second(work))
    except Failed as error:
        sys.exit(str(error))
    finally:
        shutil.rmtree(work, ignore_errors=True)
    for name in sorted({**first, **second}):
        same = first.get(name) == second.get(name)
        print(f"{'same     ' if same else 'different'} {first.get(name, '-')[:16]:16} {second.get(name, '-')[:16]:16} {name}")
    kinds = {os.path.splitext(name)[1] for name in first}
    sys.exit(first != second or not {".deb", ".dsc", ".gz", ".xz"} <= kinds)


if __name__ == "__main__":
    main()
