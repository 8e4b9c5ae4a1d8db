"""A guide read by a test: its sections, and in each the blocks of lines that are indented by four spaces.

A block is commands, or what a file gets, if the line above it names the file and ends with a colon. What has a margin
`|' is for machines that we have not: it is read by nobody here.
"""
import os
import re
import subprocess

from . import settings

NOT_HERE = ("systemctl ", "journalctl ")  # there is no systemd in the sandbox


def path(name):
    return os.path.join(settings.SOURCE, "contrib", name.lower(), name)


def blocks(name):
    """{(section, number from 0): (file or None, text)}"""
    found, section, count, above, lines = {}, "", 0, "", []

    def close():
        nonlocal count, lines, above
        if lines:
            match = re.search(r"(/\S+):$", above)
            found[section, count] = (match and match.group(1), "".join(f"{line}\n" for line in lines))
            count += 1
            above = ""
        lines = []

    with open(path(name), encoding="utf-8") as file:
        for line in file.read().splitlines() + [""]:
            if line.startswith("    ") and not line.startswith("    |"):
                lines.append(line[4:])
                continue
            close()
            if re.fullmatch(r"[A-Z][^a-z]*", line):
                section, count = line, 0
            above = line if line else above
    return found


class Guide:
    """Runs what the text says. `changed` are words of the text that stand for others here."""

    def __init__(self, name, changed=None):
        self.name, self.changed, self.blocks, self.done = name, changed or {}, blocks(name), set()

    def text(self, section, number=0):
        """The block, from now on counted as done."""
        self.done.add((section, number))
        text = self.blocks[section, number][1]
        for word, here in self.changed.items():
            text = text.replace(word, here)
        return text

    def run(self, section, number=0, check=True, typed="", under=(), **changed):
        """The block as a script from the top of the sources; returns what it printed.

        `typed` is what it reads, `under` the words of a command that runs it, more names stand for words in capitals.
        """
        text = self.text(section, number)
        for word, here in changed.items():
            text = text.replace(word.replace("_", "-"), here)
        lines = [line for line in text.splitlines(True) if not line.startswith(NOT_HERE)]
        script = "set -e\n" + "".join(lines)
        result = subprocess.run([*under, "sh", "-c", script], cwd=settings.SOURCE, stdout=subprocess.PIPE, input=typed,
                                stderr=subprocess.STDOUT, text=True, check=False, timeout=60)
        if check and (result.returncode or "*** ERROR" in result.stdout):  # m4 goes on when it has said that
            raise AssertionError(f"{self.name}, {section}, {number}: {script}"
                                 f"ended with {result.returncode}: {result.stdout}")
        return result.stdout

    def put(self, section, number=0, mode="a"):
        """The block goes into the file that the text names; its end, if not all of it."""
        file_path = self.blocks[section, number][0]
        assert file_path, f"{self.name}, {section}, {number}: no file is named"
        with open(file_path, mode, encoding="utf-8") as file:
            file.write(self.text(section, number))
