"""Processor time that processes have used, user and system, in seconds."""
import os

TICK = os.sysconf("SC_CLK_TCK")


def _fields(pid):
    """Those of /proc/PID/stat behind the name, from the state on."""
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
        return file.read().rpartition(")")[2].split()


def seconds(pid):
    """Of one process, its threads included."""
    return sum(int(field) for field in _fields(pid)[11:13]) / TICK
