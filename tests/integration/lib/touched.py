"""What a program does that AppArmor would judge, as strace(1) sees it: (kind, path or words, letters), as lib.apparmor
has it. Files that are not there are left out, since AppArmor is not asked about them.
"""
import glob
import os
import re

CALLS = ("open openat creat mkdir mkdirat mknod mknodat unlink unlinkat rmdir rename renameat renameat2 link linkat symlink "
         "symlinkat truncate chmod fchmod fchmodat chown fchown fchownat lchown bind connect sendto sendmsg socket flock "
         "fcntl mmap execve").split()
CALL = re.compile(r"(\w+)\((.*)\)\s+= (-?\d+)(.*)")
STRING = re.compile(r'"((?:[^"\\]|\\.)*)"')
DESCRIPTOR = re.compile(r"(?:^|[ (])(\d+|AT_FDCWD)<([^>]*)>")
FAMILIES = {"AF_INET": "inet", "AF_INET6": "inet6", "AF_NETLINK": "netlink"}


def under(prefix):
    """The words before a command that has it traced; it keeps its process id. `prefix` is that of files of our own."""
    return ["strace", "-D", "-ff", "-y", "-o", prefix, "-e", "trace=" + ",".join(f"?{call}" for call in CALLS)]


def _real(path, directory):
    """As the kernel names it; what does not exist any more keeps its own name."""
    path = os.path.join(directory, path)
    return os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path)) if not os.path.exists(path) \
        else os.path.realpath(path)


class _Process:
    """One file of strace: what one thread did."""

    def __init__(self):
        self.only_names = {}  # number: path, of descriptors with O_PATH
        self.found = set()

    def line(self, line):
        call = CALL.match(line)
        if not call:
            return
        name, arguments, result, rest = call.groups()
        if int(result) < 0 and not re.match(r" (EACCES|EPERM|EINPROGRESS|EAGAIN|EADDRINUSE|EWOULDBLOCK)\b", rest):
            return
        strings = STRING.findall(arguments)
        descriptor = DESCRIPTOR.search(arguments)
        directory = descriptor[2] if descriptor and descriptor[2].startswith("/") else os.getcwd()
        handler = getattr(self, f"_{name}", None) or getattr(self, f"_{name.removesuffix('at').removesuffix('at2')}", None)
        if handler:
            handler(strings, arguments, directory, result)

    def _file(self, path, modes):
        self.found.add(("file", path, modes))

    def _open(self, strings, arguments, directory, result):
        path = _real(strings[0], directory)
        if "O_PATH" in arguments:
            self.only_names[result] = path
        elif "O_TMPFILE" in arguments:
            self._file(os.path.join(path, "#1"), "rw")
        else:
            modes = "rw" if "O_RDWR" in arguments else "w" if "O_WRONLY" in arguments else "r"
            if re.search("O_CREAT|O_TRUNC", arguments) and "w" not in modes:
                modes += "w"
            self._file(path + "/" if os.path.isdir(path) else path, modes)

    def _creat(self, strings, _arguments, directory, _result):
        self._file(_real(strings[0], directory), "w")

    def _symlink(self, strings, _arguments, directory, _result):
        """What it points to is looked at by whoever follows it."""
        self._file(_real(strings[1], directory), "w")

    def _change(self, strings, arguments, directory, _result):
        """A name goes, comes or gets another owner or mode: AppArmor wants w. By a descriptor, with or without a name."""
        fd = re.match(r"\d+(?=<)|/proc/self/fd/(\d+)", strings[0] if strings and strings[0] else arguments)
        if strings and strings[0] and not fd:
            path = _real(strings[0], directory)
        elif strings and strings[0]:
            path = self.only_names[fd[1]]
        else:
            path = directory
        if os.path.isabs(path):
            self._file(path + "/" if os.path.isdir(path) else path, "w")

    _chmod = _fchmod = _fchmodat = _chown = _fchown = _fchownat = _lchown = _unlink = _truncate = _mknod = _change

    def _mkdir(self, strings, _arguments, directory, _result):
        self._file(_real(strings[0], directory) + "/", "w")

    _rmdir = _mkdir

    def _rename(self, strings, _arguments, directory, _result):
        self._file(_real(strings[0], directory), "rw")
        self._file(_real(strings[1], directory), "w")

    def _link(self, strings, _arguments, directory, _result):
        self._file(_real(strings[1], directory), "l")

    def _socket(self, _strings, arguments, _directory, _result):
        family, kind = re.match(r"(\w+), SOCK_(\w+)", arguments).groups()
        if family in FAMILIES:
            self.found.add(("network", f"{FAMILIES[family]} {kind.lower()}", ""))

    def _named(self, arguments, modes):
        path = re.search(r'sun_path="([^"]*)"', arguments)
        if path:
            self._file(path[1], modes)

    def _bind(self, _strings, arguments, _directory, _result):
        self._named(arguments, "rw")  # what comes in by it is read

    def _connect(self, _strings, arguments, _directory, _result):
        self._named(arguments, "w")

    _sendto = _sendmsg = _connect

    def _locks(self, _strings, arguments, directory, _result):
        if "LOCK_UN" not in arguments:
            self._file(directory, "k")

    _flock = _locks

    def _fcntl(self, strings, arguments, directory, result):
        if re.search("F_(OFD_)?SETLKW?", arguments):
            self._locks(strings, arguments, directory, result)

    def _mmap(self, _strings, arguments, directory, _result):
        if "PROT_EXEC" in arguments and DESCRIPTOR.search(arguments):
            self._file(directory, "m")

    def _execve(self, strings, _arguments, directory, _result):
        """The program itself is mapped by the kernel."""
        self._file(_real(strings[0], directory), "mr")


def accesses(prefix):
    """All that the program and its threads did; it has ended."""
    found = set()
    for path in glob.glob(f"{glob.escape(prefix)}.*"):
        process = _Process()
        with open(path, encoding="utf-8", errors="replace") as file:
            for line in file:
                process.line(line)
        found |= process.found
    return found
