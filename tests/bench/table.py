"""The results of a comparison as Markdown tables that read as text too: one for each axis, ratios behind the rates."""
from axes import AXES, shown
from senders import WAYS


def reference(senders):
    """Whom the others are compared with: Postfix as well as it can be set up, else the first."""
    return "tuned" if "tuned" in senders else senders[0]


def find(cells, sender, point):
    return next((cell for cell in cells if cell["sender"] == sender and cell["point"] == point), None)


def rate(cells, sender, point):
    """Messages a second, None where there is no figure."""
    cell = find(cells, sender, point)
    return cell.get("rate") if cell else None


def _entry(cells, sender, point, base):
    cell = find(cells, sender, point)
    if cell is None:
        return ""
    if "rate" not in cell:
        return cell["error"]
    yardstick = rate(cells, base, point)
    return f"{cell['rate']:.1f}" + (f" ({cell['rate'] / yardstick:.2f})" if yardstick else "")


def _aligned(rows):
    """A Markdown table whose columns line up; the first row is the header."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["| " + " | ".join(f"{row[0]:<{widths[0]}}" if not column else f"{text:>{widths[column]}}"
                               for column, text in enumerate(row)) + " |" for row in rows]
    rule = "|" + "|".join("-" * (width + 1) + ("-" if not column else ":") for column, width in enumerate(widths)) + "|"
    return [lines[0], rule, *lines[1:]]


def _axis(name, values, plan, senders, cells):
    base = reference(senders)
    rows = [["messages/s", *(shown(name, value) for value in values)]]
    rows += [[WAYS[sender].label, *(_entry(cells, sender, plan.at(name, value), base) for value in values)]
             for sender in senders]
    return [f"## {AXES[name].title}", "", f"{plan.described(name)}; in brackets times {WAYS[base].label}", "",
            *_aligned(rows), ""]


def _failures(cells):
    lines = []
    for cell in cells:
        if "rate" not in cell:
            point = ", ".join(shown(name, value) for name, value in cell["point"].items())
            lines.append(f"- {WAYS[cell['sender']].label}, {point}: {cell['error']}: {cell['reason']}")
    return ["## Without a figure", "", *lines, ""] if lines else []


def document(plan, senders, cells, versions):
    """All of it, as text."""
    lines = ["# Outbound mail to one relay, by several senders", "",
             "Time runs from the first injection to the relay's acceptance of the last message, after an uncounted",
             "warm-up; the relay is a Postfix smtpd. Believe the ratios of one run, not its figures.", "",
             *(f"- {line}" for line in versions), ""]
    for name, values in plan.axes.items():
        lines += _axis(name, values, plan, senders, cells)
    return "\n".join(lines + _failures(cells))
