"""Memory that a process has to itself."""
import re


def private(pid):
    """Octets that it has written and shares with nobody: heap, stacks, data. Not the kernel's socket buffers."""
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
        return int(re.search(r"^Private_Dirty: +(\d+) kB$", file.read(), re.MULTILINE).group(1)) * 1024
