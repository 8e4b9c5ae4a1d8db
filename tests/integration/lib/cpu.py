"""Processor time that processes have used, user and system, in seconds."""
import contextlib
import os

TICK = os.sysconf("SC_CLK_TCK")


def _fields(pid):
    """Those of /proc/PID/stat behind the name, from the state on."""
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
        return file.read().rpartition(")")[2].split()


def seconds(pid):
    """Of one process, its threads included."""
    return sum(int(field) for field in _fields(pid)[11:13]) / TICK


def family_seconds(pid):
    """Of a process and its children, also those that have ended and were waited for."""
    total = sum(int(field) for field in _fields(pid)[11:15])
    for other in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):  # it has ended meanwhile, and its time is lost until the next call
            fields = _fields(other)
            total += sum(int(field) for field in fields[11:15]) * (int(fields[1]) == pid)
    return total / TICK
