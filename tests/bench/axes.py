"""What is varied, one axis at a time from a base point. A point is {axis: value} with a value for each axis."""
import collections

Axis = collections.namedtuple("Axis", "title unit kind values base")

AXES = {
    "rtt": Axis("Round trip", "ms", float, (0, 20, 100, 300), 100),
    "loss": Axis("Packets lost", "%", float, (0, 1), 0),
    "cap": Axis("Connections allowed", "", int, (1, 5, 10, 20), 10),
    "size": Axis("Message size", "KiB", int, (4, 100), 4),
    "security": Axis("Security", "", str, ("plain", "tls"), "tls"),
    "ehlo": Axis("Announced by the relay", "", str, ("chunking", "pipelining", "neither"), "chunking"),
}

# How values are shown that do not speak for themselves.
WORDS = {"plain": "plain", "tls": "STARTTLS and AUTH", "chunking": "PIPELINING, CHUNKING", "pipelining": "PIPELINING",
         "neither": "neither"}


def shown(name, value):
    """A value with its unit."""
    axis = AXES[name]
    return WORDS[value] if axis.kind is str else f"{value:g} {axis.unit}".strip()


def parse(name, text):
    """The values of an axis as given on the command line, separated by commas."""
    axis = AXES[name]
    values = tuple(axis.kind(word) for word in text.split(","))
    if any(value not in axis.values if axis.kind is str else value < 0 for value in values):
        raise ValueError(text)
    return values


class Plan:
    """The axes to vary with their values, and the base point; where only one value is given, it moves the base.

    Without names, the axes are those that several values are given for, else one point alone, else all.
    """

    def __init__(self, names=(), given=None):
        given = given or {}
        self.base = {name: axis.base for name, axis in AXES.items()}
        self.base.update({name: values[0] for name, values in given.items() if len(values) == 1})
        several = [name for name, values in given.items() if len(values) > 1]
        chosen = names or several or list(given)[:1] or AXES
        self.axes = {name: given.get(name, AXES[name].values) for name in AXES if name in [*chosen, *several]}

    def at(self, name, value):
        """The point where one axis has that value."""
        return {**self.base, name: value}

    def points(self):
        """Every point once."""
        points = []
        for name, values in self.axes.items():
            points += [point for point in (self.at(name, value) for value in values) if point not in points]
        return points

    def described(self, but=None):
        """The base in words, but for the axis that is varied."""
        words = {"rtt": "round trip {}", "loss": "{} lost", "cap": "{} connections", "size": "{}", "security": "{}",
                 "ehlo": "relay announces {}"}
        return ", ".join(words[name].format(shown(name, value)) for name, value in self.base.items() if name != but)
