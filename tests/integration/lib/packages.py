"""Mail servers that exclude Postfix as packages: unpacked into a directory, never installed, started by nobody."""
import glob
import os
import re
import shutil
import subprocess

from .build import quietly

VERSIONS = "versions"  # a file in the directory: a line for each package


def _libraries(package):
    """The libraries that a package file depends on."""
    depends = subprocess.run(["dpkg-deb", "-f", package, "Depends"], capture_output=True, text=True, check=True).stdout
    return [re.match(r"[^ (:]+", word).group() for word in depends.split(", ") if word.startswith("lib")]


def unpack(names, directory):
    """Downloads packages and unpacks them into `directory`, made anew; the libraries that they need are installed."""
    shutil.rmtree(directory, ignore_errors=True)
    os.mkdir(directory)
    quietly(["apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", *names], directory)
    packages = glob.glob(os.path.join(directory, "*.deb"))
    versions = [subprocess.run(["dpkg-deb", "-W", package], capture_output=True, text=True, check=True).stdout
                for package in packages]
    libraries = sorted({library for package in packages for library in _libraries(package)})
    if libraries:
        quietly(["apt-get", "-qq", "-y", "--no-install-recommends", "--no-remove", "install", *libraries], directory,
                DEBIAN_FRONTEND="noninteractive")
    for package in packages:
        quietly(["dpkg-deb", "-x", package, directory], directory)
        os.unlink(package)
    with open(os.path.join(directory, VERSIONS), "w", encoding="utf-8") as file:
        file.write("".join(versions))
