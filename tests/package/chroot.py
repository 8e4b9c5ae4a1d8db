"""Debian systems to install packages in: debootstrap makes one of a suite, each test has a copy of its own.

prepare() is called where the network is, Chroot() in the test's namespaces, with which its mounts and processes end
(lib.sandbox). The mirror is the host's own. No service starts in it, and nothing in it reaches the host's mail system.
"""
import contextlib
import fcntl
import glob
import hashlib
import os
import re
import shutil
import stat
import subprocess

from lib import command as commands
from lib import nameserver, sandbox, settings
from lib.syslog import Syslog

SUITE = os.environ.get("RELAYPOOL_SUITE", "bookworm")
STORE = os.environ["RELAYPOOL_CHROOTS"]  # what several tests share

# What there is on every Debian machine beyond debootstrap's least: packages' scripts call systemd's tools, which work
# without booting it; the rest is for the tests.
BASE = ("ca-certificates", "openssl", "procps", "python3", "systemd")
ANSWERS = """postfix postfix/main_mailer_type select Internet Site
postfix postfix/mailname string front.test
"""
ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root",
               "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
ARCHIVES = "var/cache/apt/archives"
LIMIT = 300  # seconds for a command
prepared = None  # what prepare() has returned for the test that runs

# What a listing leaves out: what the kernel has, and what runs has in /run, relaypool apart; logs; what apt, dpkg, debconf,
# ldconfig and man-db keep for themselves (packages() shows whether the same packages are there); and the backups of
# passwd and its like, which hold what was there before the last change.
NOT_LISTED = re.compile(r"""/(?:dev|proc|sys|tmp)/.+ |/run/(?!relaypool).+
    |/var/log/.+ |/var/cache/(?:apt|debconf|ldconfig|man)/.+ |/var/lib/(?:apt|dpkg)/.+ |/var/backups/.+
    |/etc/(?:passwd|group|shadow|gshadow|subuid|subgid)- |/etc/\.pwd\.lock""", re.VERBOSE)


def host_suite():
    with open("/etc/os-release", encoding="utf-8") as file:
        return re.search("^VERSION_CODENAME=(.*)$", file.read(), re.MULTILINE).group(1)


def mirror(suite):
    """Where the host gets its own packages from; the other suites are there too."""
    own = host_suite()
    targets = subprocess.run(["apt-get", "indextargets", "--format", "$(REPO_URI) $(CODENAME) $(RELEASE)",
                              "Created-By: Packages"], capture_output=True, text=True, check=True).stdout
    for name in (suite, own):
        for uri, *names in map(str.split, targets.splitlines()):
            if name in names:
                return uri
    raise RuntimeError(f"apt has no source for {own} on this host")


def _write(path, text, mode=0o644):
    with open(path, "w", encoding="utf-8") as file:
        os.chmod(file.fileno(), mode)
        file.write(text)


@contextlib.contextmanager
def _locked():
    """What is shared is changed by one at a time: the systems, and the cache of packages."""
    os.makedirs(STORE, exist_ok=True)
    with open(os.path.join(STORE, "lock"), "w", encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _apt_of_host():
    """How the host reaches its mirror, and whether it believes in dates."""
    dump = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=True).stdout
    return "".join(re.findall(r"^Acquire::(?:\w+::[Pp]roxy|Check-[\w-]+) .*\n", dump, re.MULTILINE))


def _debootstrap(place, suite):
    root, archives = os.path.join(place, "root"), os.path.join(STORE, "archives")
    os.makedirs(archives, exist_ok=True)
    commands.run(["debootstrap", "--variant=minbase", f"--include={','.join(BASE)}", f"--cache-dir={archives}", suite,
                  root, mirror(suite)], limit=LIMIT)
    _write(os.path.join(root, "usr/sbin/policy-rc.d"), "#!/bin/sh\nexit 101\n", 0o755)
    _write(os.path.join(root, "etc/apt/apt.conf.d/00host"), _apt_of_host() + 'Acquire::Languages "none";\n')
    _write(os.path.join(root, "etc/dpkg/dpkg.cfg.d/unsafe-io"), "force-unsafe-io\n")
    _write(os.path.join(root, "etc/hosts"), sandbox.HOSTS)
    _write(os.path.join(root, "etc/hostname"), "front.test\n")
    commands.run(["chroot", root, "apt-get", "-q", "update"], env=ENVIRONMENT)
    commands.run(["chroot", root, "debconf-set-selections"], typed=ANSWERS, env=ENVIRONMENT)


def _add(place, packages, lowers):
    Chroot(place, lowers).install(*packages, recommends=False)


def _rebuild(place, dsc, lowers):
    chroot = Chroot(place, lowers)
    for path in glob.glob(re.sub(r"-\w+\.dsc$", "[-.]*", dsc)):
        shutil.copy(path, chroot.path("tmp"))
    chroot.install("dpkg-dev", recommends=False)
    chroot.run("dpkg-source", "--no-check", "-x", f"/tmp/{os.path.basename(dsc)}", "/tmp/tree")
    chroot.apt("build-dep", "--no-install-recommends", "/tmp/tree")
    chroot.run("sh", "-c", "cd /tmp/tree && DEB_BUILD_OPTIONS=nocheck dpkg-buildpackage -us -uc -b", limit=4 * LIMIT)
    shutil.copytree(chroot.path("tmp"), os.path.join(place, "deb"), ignore=shutil.ignore_patterns("tree"))


def _download(place, packages, lowers):
    chroot = Chroot(place, lowers)
    for package in chroot.lend(packages):  # one by one: some exclude one another
        chroot.apt("install", "--download-only", package)


def _layer(name, make, *arguments):
    """A directory of the store; `make` fills it, if it is not there from before, in mounts of its own."""
    path = os.path.join(STORE, name)
    if not os.path.exists(path):
        new = f"{path}.new"
        shutil.rmtree(new, ignore_errors=True)
        os.makedirs(new)
        sandbox.apart(make, new, *arguments)
        os.rename(new, path)
    return path


def _with(layer, lowers):
    """The directories that a system consists of, the topmost first."""
    upper = os.path.join(layer, "upper")
    return [upper, *lowers] if os.path.exists(upper) else [os.path.join(layer, "root")]


def rebuilt(dsc):
    """The directory with what the suite makes of a source package. With the network only; without its tests."""
    with _locked():
        lowers = _with(_layer(SUITE, _debootstrap, SUITE), [])
        with open(dsc, "rb") as file:
            name = f"{SUITE}-{hashlib.sha256(file.read()).hexdigest()[:8]}"
        return os.path.join(_layer(name, _rebuild, dsc, lowers), "deb")


def prepare(packages=(), later=(), suite=SUITE):
    """The layers for Chroot(), also in `prepared`: a system of the suite with these packages. With the network only.

    What is installed `later`, names and .deb files, finds all that it depends on in the cache then.
    """
    global prepared
    with _locked():
        lowers = _with(_layer(suite, _debootstrap, suite), [])
        if packages:
            lowers = _with(_layer("+".join([suite, *packages]), _add, packages, lowers), lowers)
        if later:
            place = settings.work("later")
            sandbox.apart(_download, place, later, lowers)
            shutil.rmtree(place)
    prepared = lowers
    return lowers


def system():
    """A system with the PACKAGES of the test, its log in lines, and a name server that knows no name."""
    chroot = Chroot(settings.work("system"), prepared)
    nameserver.serve()
    chroot.write("/etc/resolv.conf", "nameserver 127.0.0.1\n")
    chroot.log = Syslog(settings.work("system", "log"), chroot.path("dev/log"))
    return chroot


class Chroot:
    """Below `place`, in the namespaces of whoever calls, with which its mounts go; he removes the rest."""

    systemd = False  # it does not run there

    def __init__(self, place, lowers):
        self.place, self.root = place, os.path.join(place, "root")
        os.makedirs(self.root, exist_ok=True)
        if not self._lay_over(lowers):
            commands.run(["cp", "-a", "--reflink=auto", f"{lowers[0]}/.", self.root])
        self._furnish()

    def _lay_over(self, lowers):
        """Whether the kernel shows our own files over those of the layers."""
        own = {part: os.path.join(self.place, part) for part in ("upper", "work")}
        for path in own.values():
            os.makedirs(path, exist_ok=True)
        options = f"lowerdir={':'.join(lowers)},upperdir={own['upper']},workdir={own['work']}"
        if subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, self.root], capture_output=True,
                          check=False).returncode == 0:
            return True
        for path in own.values():
            shutil.rmtree(path)
        return False

    def path(self, name):
        return os.path.join(self.root, name.lstrip("/"))

    def _furnish(self):
        """What a running system has there; the devices are the host's, its log is not."""
        commands.run(["mount", "-t", "proc", "proc", self.path("proc")])
        for directory, mode in (("dev", "755"), ("run", "755"), ("tmp", "1777")):
            commands.run(["mount", "-t", "tmpfs", "-o", f"mode={mode}", "tmpfs", self.path(directory)])
        os.makedirs(self.path("run/lock"))
        for device in ("full", "null", "random", "tty", "urandom", "zero"):
            _write(self.path(f"dev/{device}"), "")
            sandbox.bind(f"/dev/{device}", self.path(f"dev/{device}"))
        for name, target in (("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2")):
            os.symlink(f"/proc/self/fd{target}", self.path(f"dev/{name}"))
        os.mkdir(self.path("dev/shm"), 0o1777)
        os.mkdir(self.path("dev/pts"))
        commands.run(["mount", "-t", "devpts", "-o", "newinstance,ptmxmode=0666,mode=0620", "devpts",
                      self.path("dev/pts")])
        os.symlink("pts/ptmx", self.path("dev/ptmx"))
        archives = os.path.join(STORE, "archives")
        os.makedirs(os.path.join(archives, "partial"), exist_ok=True)
        sandbox.bind(archives, self.path(ARCHIVES))

    def run(self, *command, code=0, typed="", limit=LIMIT):
        """What it printed; it has to end with `code`, None for any."""
        return commands.run(["chroot", self.root, *command], code, typed, limit, ENVIRONMENT)

    def apt(self, *words):
        """A question that it would ask is an error: it can read no answer."""
        return self.run("apt-get", "-q", "-y", "-o", "Debug::NoLocking=true", *words)

    def lend(self, packages):
        """The same for apt in the chroot: files are below /tmp there, names stay as they are."""
        return [self._lend(package) if os.path.isfile(package) else package for package in packages]

    def _lend(self, package):
        name = os.path.join("/tmp", os.path.basename(package))
        shutil.copy(package, self.path(name))
        return name

    def install(self, *packages, recommends=True):
        """Names and .deb files, as a user would: apt gets what they depend on. What apt and their scripts said."""
        return self.apt("install", *(() if recommends else ("--no-install-recommends",)), *self.lend(packages))

    def write(self, name, text, mode=0o644):
        _write(self.path(name), text, mode)

    def read(self, name):
        with open(self.path(name), encoding="utf-8", errors="replace") as file:
            return file.read()

    def packages(self):
        """{name: (state, version)}"""
        lines = self.run("dpkg-query", "-W", "-f", "${Package}:${Architecture} ${db:Status-Abbrev} ${Version}\n")
        return {name: rest for name, *rest in map(str.split, lines.splitlines())}

    def _names(self, file):
        return {int(fields[2]): fields[0] for fields in (line.split(":") for line in self.read(file).splitlines())}

    def listing(self, less=""):
        """{path: "TYPE MODE OWNER:GROUP and what is in it"}, without NOT_LISTED and what matches `less`."""
        users, groups, found = self._names("etc/passwd"), self._names("etc/group"), {}
        excluded = re.compile(less)
        for directory, names, files in os.walk(self.root):
            shown = directory[len(self.root):]
            names[:] = [name for name in names if not NOT_LISTED.fullmatch(f"{shown}/{name}")]
            for path in (f"{shown}/{name}" for name in names + files):
                if NOT_LISTED.fullmatch(path) or excluded.fullmatch(path):
                    continue
                status = os.lstat(self.path(path))
                owner, group = users.get(status.st_uid, status.st_uid), groups.get(status.st_gid, status.st_gid)
                what = _content(self.path(path), status.st_mode)
                found[path] = f"{stat.filemode(status.st_mode)} {owner}:{group} {what}"
        return found


def _content(path, mode):
    if stat.S_ISLNK(mode):
        return f"-> {os.readlink(path)}"
    if stat.S_ISREG(mode):
        with open(path, "rb") as file:
            return hashlib.sha256(file.read()).hexdigest()
    return ""


def differences(before, after):
    """Lines such as those of diff; empty where two listings, or two of anything by name, are alike."""
    lines = []
    for name in sorted({**before, **after}):
        if before.get(name) != after.get(name):
            lines += [f"{sign} {name}: {value[name]}" for sign, value in (("-", before), ("+", after)) if name in value]
    return lines
