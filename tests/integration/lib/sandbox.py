"""A machine of our own for the tests and the demonstration: own processes, mounts, users and network.

Everything a test starts lives in namespaces that end with the test, even by kill -9; no packet can leave, no port
meets the real machine's, and its Postfix is never touched. Nothing outside the work directory is written.
"""
import contextlib
import ctypes
import fcntl
import os
import shutil
import signal
import socket
import struct
import sys
import tempfile
import traceback

CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWNET = 0x20000, 0x20000000, 0x40000000
MS_BIND, MS_MOVE, MS_REC, MS_PRIVATE = 0x1000, 0x2000, 0x4000, 0x40000
PR_SET_PDEATHSIG = 1
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1

# Users that exist in the sandbox only: local recipients, the daemon's user, a stranger, other mail servers' own.
USERS = ("alice", "bob", "relaypool", "stranger", "Debian-exim", "smmta", "smmsp", "opensmtpd", "opensmtpq")
FIRST_UID = 64100

HOSTS = """127.0.0.1 localhost front.test
::1 localhost ip6-localhost
10.81.0.2 relay.test
127.0.0.2 near.test
127.0.0.3 second.test
127.0.0.4 third.test
127.0.0.9 many.test
127.0.0.2 many.test
"""

libc = ctypes.CDLL(None, use_errno=True)


def _must(result, what):
    if result == -1:
        error = ctypes.get_errno()
        raise SystemExit(f"{what}: {os.strerror(error)} (root with the right to make namespaces is needed)")


def _mount(source, target, kind=None, flags=0):
    encoded = [None if text is None else os.fsencode(text) for text in (source, target, kind)]
    _must(libc.mount(*encoded, ctypes.c_ulong(flags), None), f"cannot mount {target}")


def _private_root():
    """Makes every mount private, also in a chroot, whose / is no mount point and so cannot be made private as it is."""
    _mount(None, "/proc", flags=MS_REC | MS_PRIVATE)
    _mount("tmpfs", "/proc", "tmpfs")
    os.mkdir("/proc/root")
    _mount("/", "/proc/root", flags=MS_BIND | MS_REC)
    _mount(None, "/proc/root", flags=MS_REC | MS_PRIVATE)
    os.chroot("/proc/root")
    os.chdir("/")
    _mount("proc", "/proc", "proc")


def replace(path, content, work):
    """Shows `content` at `path` in the sandbox only."""
    ours = os.path.join(work, "etc", os.path.basename(path))
    with open(ours, "w", encoding="utf-8") as file:
        file.write(content)
    shutil.copystat(path, ours)
    _mount(ours, path, flags=MS_BIND)


def bind(path, target):
    """Shows a directory or a file at another place as well."""
    _mount(path, target, flags=MS_BIND)


def private(path, work):
    """An own directory there, which shows what was in it: what is made in it is seen by the sandbox only."""
    before, ours = (os.path.join(work, place, path.strip("/")) for place in ("before", "ours"))
    os.makedirs(before)
    os.makedirs(ours)
    _mount(path, before, flags=MS_BIND | MS_REC)
    _mount("tmpfs", ours, "tmpfs")
    os.chmod(ours, 0o755)
    for name in os.listdir(before):
        os.symlink(os.path.join(before, name), os.path.join(ours, name))
    _mount(ours, path, flags=MS_MOVE)  # at once: what runs already finds all of it at any moment


def _read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def _furnish(work):
    """Users with homes, host names, and a main.cf that lets unprivileged users name a private instance."""
    os.mkdir(os.path.join(work, "etc"))
    passwd, group = _read("/etc/passwd"), _read("/etc/group")
    for number, user in enumerate(USERS, FIRST_UID):
        home = os.path.join(work, "home", user)
        os.makedirs(home)
        os.chown(home, number, number)
        passwd += f"{user}:x:{number}:{number}::{home}:/bin/sh\n"
        group += f"{user}:x:{number}:\n"
    replace("/etc/passwd", passwd, work)
    replace("/etc/group", group, work)
    replace("/etc/hosts", HOSTS, work)
    ours = os.path.join(work, "etc", "postfix")
    shutil.copytree("/etc/postfix", ours, symlinks=True)
    with open(os.path.join(ours, "main.cf"), "w", encoding="utf-8") as file:
        file.write(f"compatibility_level = 3.6\nalternate_config_directories = {work}/front/config\n")
    _mount(ours, "/etc/postfix", flags=MS_BIND)


def _loopback_up():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = struct.pack("16sh14x", b"lo", 0)
        flags = struct.unpack("16sh14x", fcntl.ioctl(control, SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | IFF_UP))


def _allow_datagrams():
    """As many that nobody has read yet as systemd allows on a real machine, not the kernel's 10: with these, Postfix's
    master waits for good once it has an eleventh line for the server of its log, which it is itself to start again."""
    with open("/proc/sys/net/unix/max_dgram_qlen", "w", encoding="ascii") as file:
        file.write("512\n")


def _exit_like(status):
    code = os.waitstatus_to_exitcode(status)
    sys.stdout.flush()
    os._exit(code if code >= 0 else 128 - code)


def _forward_term(child):
    """Whoever ends us by SIGTERM means the child."""
    def forward(_number, _frame):
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGTERM)
    signal.signal(signal.SIGTERM, forward)


def _reap_until(child):
    """Process 1 of the sandbox: whatever loses its parent is ours to wait for."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _forward_term(child)
    while True:
        pid, status = os.wait()
        if pid == child:
            _exit_like(status)


def _inside(work, keep, furnish):
    """First process in the new namespaces; returns in a child of its own, the one that works."""
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    _private_root()
    furnish(work)
    _loopback_up()
    _allow_datagrams()
    os.environ.update(RELAYPOOL_WORK=work, RELAYPOOL_KEEP="1" if keep else "")
    child = os.fork()
    if child:
        _reap_until(child)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


def _unshare(flags):
    """Goes on in namespaces of our own, in a grandchild: processes see the new ones from there on only."""
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    _must(libc.unshare(flags), "cannot make namespaces")
    child = os.fork()
    if child:
        _forward_term(child)
        _exit_like(os.waitpid(child, 0)[1])


def apart(function, *arguments):
    """Calls it in a process whose mounts and processes end with it; the network and the files are those of outside."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        _unshare(CLONE_NEWNS | CLONE_NEWPID)
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        code = 1
        try:
            _private_root()
            function(*arguments)
            code = 0
        except BaseException:
            traceback.print_exc(file=sys.stdout)
        sys.stdout.flush()
        os._exit(code)
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
        raise RuntimeError(f"{function.__name__} failed")


def enter(keep=False, before=lambda work: None, furnish=_furnish):
    """Goes on in a sandbox and returns its work directory; the caller outside waits and cleans up, and never returns.

    `before` is called with that directory while what is outside, the network above all, is still there; `furnish` when
    the sandbox has its own mounts.
    """
    if os.geteuid() != 0:
        raise SystemExit("run this as root: it makes namespaces and runs mail servers of its own")
    work = tempfile.mkdtemp(prefix="relaypool-")
    os.chmod(work, 0o755)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    child = os.fork()
    if child == 0:
        before(work)
        # Not in the caller, who could not remove what is mounted on in its own namespace.
        _unshare(CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        _inside(work, keep, furnish)
        return work
    _forward_term(child)
    status = os.waitpid(child, 0)[1]
    if keep:
        print(f"kept: {work}")
    else:
        shutil.rmtree(work)
    _exit_like(status)
