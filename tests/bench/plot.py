"""One axis of a comparison as an SVG: lines where the axis is a scale with several values, else groups of bars."""
import html
import math

from axes import AXES, shown
from senders import WAYS
from table import rate

LEFT, TOP, WIDTH, HEIGHT, LEGEND = 70, 64, 620, 380, 230
BAR = 18
FONT = "font-family='Helvetica, Arial, sans-serif'"
INK, FAINT = "#222222", "#dddddd"


def _text(x, y, text, size=12, anchor="start", extra=""):
    return (f"<text x='{x:.1f}' y='{y:.1f}' font-size='{size}' text-anchor='{anchor}' fill='{INK}' {FONT} {extra}>"
            f"{html.escape(text)}</text>")


def _line(x1, y1, x2, y2, colour, width=1.0):
    return f"<line x1='{x1:.1f}' y1='{y1:.1f}' x2='{x2:.1f}' y2='{y2:.1f}' stroke='{colour}' stroke-width='{width}'/>"


class Logarithmic:
    """Messages a second to height: each step of ten is as high as the next, so that ratios can be compared by eye."""

    def __init__(self, rates):
        self.low, self.high = min(rates) / 1.3, max(rates) * 1.3

    def y(self, value):
        return TOP + HEIGHT * (1 - math.log(value / self.low) / math.log(self.high / self.low))

    def ticks(self):
        steps = [digit * 10 ** power for power in range(-3, 6) for digit in (1, 2, 5)]
        return [step for step in steps if self.low <= step <= self.high]


class Linear:
    """The same for bars, which begin at nothing."""

    def __init__(self, rates):
        self.high = max(rates) * 1.08
        self.step = next(step for power in range(-1, 6) for step in (10 ** power, 2 * 10 ** power, 5 * 10 ** power)
                         if self.high / step <= 8)

    def y(self, value):
        return TOP + HEIGHT * (1 - value / self.high)

    def ticks(self):
        return [self.step * count for count in range(int(self.high / self.step) + 1)]


def _frame(scale, width):
    """Grid, and the figures at its left."""
    parts = []
    for tick in scale.ticks():
        parts += [_line(LEFT, scale.y(tick), LEFT + width, scale.y(tick), FAINT),
                  _text(LEFT - 8, scale.y(tick) + 4, f"{tick:g}", 12, "end")]
    parts += [_line(LEFT, TOP, LEFT, TOP + HEIGHT, INK), _line(LEFT, TOP + HEIGHT, LEFT + width, TOP + HEIGHT, INK)]
    middle = TOP + HEIGHT / 2
    return parts + [_text(20, middle, "messages a second", 13, "middle", f"transform='rotate(-90 20 {middle})'")]


def _lines(name, values, rows, scale):
    """A polyline for each sender; the values stand where they belong on a linear scale."""
    def x(value):
        return LEFT + 20 + (WIDTH - 40) * (value - min(values)) / (max(values) - min(values))
    parts = [_text(x(value), TOP + HEIGHT + 20, f"{value:g}", 12, "middle") for value in values]
    for sender, rates in rows.items():
        points = [(x(value), scale.y(figure)) for value, figure in zip(values, rates) if figure]
        colour = WAYS[sender].colour
        path = " ".join(f"{px:.1f},{py:.1f}" for px, py in points)
        parts.append(f"<polyline points='{path}' fill='none' stroke='{colour}' stroke-width='2.5'/>")
        parts += [f"<circle cx='{px:.1f}' cy='{py:.1f}' r='4' fill='{colour}'/>" for px, py in points]
    unit = f", {AXES[name].unit}" if AXES[name].unit else ""
    return parts + [_text(LEFT + WIDTH / 2, TOP + HEIGHT + 46, AXES[name].title + unit, 13, "middle")]


def _bars(name, values, rows, scale, width):
    """A group for each value, each bar with its figure."""
    parts, group = [], width / len(values)
    for place, value in enumerate(values):
        left = LEFT + place * group + (group - BAR * len(rows)) / 2
        parts.append(_text(LEFT + (place + 0.5) * group, TOP + HEIGHT + 20, shown(name, value), 12, "middle"))
        for number, (sender, rates) in enumerate(rows.items()):
            x = left + number * BAR
            y = scale.y(rates[place] or 0)
            parts.append(f"<rect x='{x + 1:.1f}' y='{y:.1f}' width='{BAR - 2}' height='{TOP + HEIGHT - y:.1f}'"
                         f" fill='{WAYS[sender].colour}'/>")
            figure = f"{rates[place]:.0f}" if rates[place] else "none"
            parts.append(_text(x + BAR / 2 + 4, y - 5, figure, 10, "start",
                               f"transform='rotate(-90 {x + BAR / 2 + 4:.1f} {y - 5:.1f})'"))
    return parts + [_text(LEFT + width / 2, TOP + HEIGHT + 46, AXES[name].title, 13, "middle")]


def _legend(senders, left):
    parts = []
    for number, sender in enumerate(senders):
        y = TOP + 10 + number * 24
        parts += [f"<rect x='{left}' y='{y - 10}' width='14' height='14' fill='{WAYS[sender].colour}'/>",
                  _text(left + 22, y + 2, WAYS[sender].label, 13)]
    return parts


def draw(name, values, plan, senders, cells):
    """The SVG as text; None where nothing was measured."""
    rows = {sender: [rate(cells, sender, plan.at(name, value)) for value in values] for sender in senders}
    rates = [figure for figures in rows.values() for figure in figures if figure]
    if not rates:
        return None
    scaled = AXES[name].kind is not str and len(values) > 2
    scale = (Logarithmic if scaled else Linear)(rates)
    width = WIDTH if scaled else max(WIDTH, len(values) * (len(rows) + 2) * BAR)
    body = _lines(name, values, rows, scale) if scaled else _bars(name, values, rows, scale, width)
    wide, high = LEFT + width + LEGEND, TOP + HEIGHT + 60
    title = f"Messages a second to one relay: {AXES[name].title.lower()}"
    return "\n".join([
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{wide}' height='{high}' viewBox='0 0 {wide} {high}'>",
        "<rect width='100%' height='100%' fill='#ffffff'/>", _text(LEFT, 26, title, 17),
        _text(LEFT, 46, plan.described(name), 12), *_frame(scale, width), *body, *_legend(rows, LEFT + width + 24),
        "</svg>\n"])
