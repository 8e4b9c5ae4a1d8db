"""An AppArmor profile as apparmor.d(5) has it: its rules, and whether they allow what a program did.

Only what such a profile of a daemon has is understood: files, capabilities and networks; signals and the like are left
out. What it includes is read by apparmor_parser, which also judges its spelling.
"""
import re
import subprocess

FILE_RULE = re.compile(r'(?P<words>(?:(?:audit|allow|deny|owner|file) )*)"?(?P<path>[/@{][^"]*?)"?\s+(?P<modes>[rwaklmixUPCucp]+),')
OTHER_RULE = re.compile(r"(?P<deny>deny )?(?P<kind>capability|network) (?P<words>[^,=]*),")


class Rule:
    """kind is file, capability or network; what it is about is a pattern or words; modes are letters."""

    def __init__(self, kind, deny, about, modes, text):
        self.kind, self.deny, self.about, self.modes, self.text = kind, deny, about, modes, text

    def covers(self, access):
        kind, about, _modes = access
        if kind != self.kind:
            return False
        return bool(self.about.fullmatch(about)) if kind == "file" else set(self.about) <= set(about.split())


def _braces(pattern, at):
    """The alternatives of the braces that open there, and where they end."""
    parts, depth, begin = [], 0, at + 1
    for i in range(at, len(pattern)):
        if pattern[i] == "{":
            depth += 1
        elif pattern[i] in ",}" and depth == 1:
            parts.append(pattern[begin:i])
            begin = i + 1
        if pattern[i] == "}":
            depth -= 1
            if depth == 0:
                return parts, i + 1
    raise ValueError(f"braces without an end: {pattern}")


def expression(pattern, variables):
    """The regular expression of a glob; * and ** alone behind a slash stand for one octet at least."""
    out, i = "", 0
    while i < len(pattern):
        if pattern.startswith("@{", i):
            end = pattern.index("}", i)
            values = variables[pattern[i + 2:end]]
            out += "(?:" + "|".join(expression(value, variables) for value in values) + ")"
            i = end + 1
            if all(value.endswith("/") for value in values) and pattern[i:i + 1] == "/":
                i += 1  # @{run}/x is /run//x, which means the same
        elif pattern[i] == "{":
            parts, i = _braces(pattern, i)
            out += "(?:" + "|".join(expression(part, variables) for part in parts) + ")"
        elif pattern[i] == "*":
            stars = 2 if pattern.startswith("**", i) else 1
            alone = i > 0 and pattern[i - 1] == "/" and pattern[i + stars:i + stars + 1] in ("", "/")
            out += ("[^/]" if alone else "") + (".*" if stars == 2 else "[^/]*")
            i += stars
        elif pattern[i] == "[":
            end = pattern.index("]", i)
            out += pattern[i:end + 1]
            i = end + 1
        else:
            out += "[^/]" if pattern[i] == "?" else re.escape(pattern[i])
            i += 1
    return out


def _rules(lines, variables):
    rules = []
    for line in lines:
        text = re.sub(r"\s+#.*", "", line).strip()
        file, other = FILE_RULE.fullmatch(text), OTHER_RULE.fullmatch(text)
        if file:
            pattern = re.compile(expression(file["path"], variables))
            rules.append(Rule("file", "deny" in file["words"], pattern, file["modes"], text))
        elif other:
            rules.append(Rule(other["kind"], bool(other["deny"]), other["words"].split(), "", text))
    return rules


class Profile:
    """`rules` are all of them, `own` those that stand in the file itself."""

    def __init__(self, path):
        subprocess.run(["apparmor_parser", "-QTK", path], check=True, capture_output=True, text=True)
        whole = subprocess.run(["apparmor_parser", "-p", path], check=True, capture_output=True, text=True).stdout
        variables = {name: values.replace('"', "").split() for name, values in
                     re.findall(r"^@\{(\w+)\}\s*\+?=\s*(.*)$", whole, re.MULTILINE)}
        self.rules = _rules(whole.splitlines(), variables)
        with open(path, encoding="utf-8") as file:
            self.own = _rules(file, variables)

    def allows(self, access):
        """An access is (kind, path or words, letters)."""
        found = [rule for rule in self.rules if rule.covers(access)]
        if access[0] != "file":
            return any(not rule.deny for rule in found) and not any(rule.deny for rule in found)
        given, denied = ({letter for rule in found if rule.deny == deny for letter in rule.modes} for deny in (False, True))
        return set(access[2]) <= given - denied

    def needless(self, accesses):
        """Of the file's own rules about files and networks, what none of the accesses needs beside the others of them: a
        rule, or "LETTER of RULE". What an abstraction has too is not looked at: releases of AppArmor differ in that."""
        found = []
        for rule in self.own:
            for letter in rule.modes or [""] if rule.kind != "capability" else []:
                others = [other for other in self.own if other is not rule and letter in other.modes]
                if not any(rule.covers(access) and letter in access[2] and not any(other.covers(access) for other in others)
                           for access in accesses):
                    found.append(f"{letter} of {rule.text}" if letter else rule.text)
        return found

    def capabilities(self):
        return [rule.about[0] for rule in self.own if rule.kind == "capability"]
