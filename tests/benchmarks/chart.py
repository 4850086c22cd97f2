"""The figures as a picture: an SVG without anything from elsewhere, to be read in light and in dark."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from html import escape

from tests.benchmarks.contenders import BARE, CONTENDERS, OUR_SERVER, OURS
from tests.benchmarks.figures import Curve, Row, figure
from tests.benchmarks.report import Report

WIDTH, MARGIN, GAP = 900, 16, 32
LINE, BAR, HEAD = 19, 13, 44
LABEL, NUMBER = 128, 62
"""Room left of a bar, and right of it."""
CURVE_HEIGHT, DECADES = 120, 3
"""Of a panel with a curve: how high, and how many powers of ten its cost scale spans."""
STYLE = """
text { font: 12px system-ui, sans-serif; fill: #1f2937 }
.title { font-weight: 600; font-size: 13px }
.small { font-size: 11px; fill: #6b7280 }
.ours { fill: #2563eb } .other { fill: #9ca3af } .bare { fill: #d1d5db }
.line { fill: none; stroke: #2563eb; stroke-width: 2 } .axis { stroke: #9ca3af; stroke-width: 1; opacity: 0.35 }
@media (prefers-color-scheme: dark) {
  text { fill: #e5e7eb } .small { fill: #9ca3af }
  .ours { fill: #60a5fa } .other { fill: #6b7280 } .bare { fill: #4b5563 } .line { stroke: #60a5fa }
}
"""


@dataclass(frozen=True)
class Bars:
    """A panel of bars, the best on top.

    Attributes:
        row: whose medians they are.
        title: what stands above.
        note: and below that.
        of: what is drawn of a median.
        logarithmic: each step of the scale is ten times the last.
        less: less is better.
    """

    row: str
    title: str
    note: str
    of: Callable[[float], float] = float
    logarithmic: bool = False
    less: bool = False


PANELS = (
    Bars("async", "Short chunks a second", "46 bytes each, async generator; each line is ten times the one before",
         lambda us: 1e6 / us, logarithmic=True),
    Bars("json", "Dicts a second as JSON lines", "each line is ten times the one before", lambda us: 1e6 / us,
         logarithmic=True),
    Bars("greet", "Small requests a second", "GET /, 16 at a time"),
    Bars("middleware_request", "The same, as most are", "the handler takes the request, behind one middleware"),
    Bars("large", "MiB a second in 64 KiB chunks", "one client"),
    Bars("idle_many", "KiB of an idle event stream", "of 10,000; less is better", less=True),
    Bars("event_many", "ms until 10,000 have an event", "less is better", less=True),
    Bars("request", "Small requests a second, with the request", "which others' handlers always take"),
)  # fmt: skip


def draw(report: Report) -> str:
    """The picture of a report."""
    rows = {row.measure.key: row for row in report.rows}
    width, y, parts = (WIDTH - 2 * MARGIN - GAP) / 2, float(MARGIN), []
    panels = [panel for panel in PANELS if panel.row in rows and rows[panel.row].samples]
    for number in range(0, len(panels), 2):
        heights = []
        for column, panel in enumerate(panels[number : number + 2]):
            drawn, height = _bars(panel, rows[panel.row], MARGIN + column * (width + GAP), y, width)
            parts.append(drawn)
            heights.append(height)
        y += max(heights) + GAP / 2
    if report.curves:
        each = (WIDTH - 2 * MARGIN - GAP * (len(report.curves) - 1)) / len(report.curves)
        for number, curve in enumerate(report.curves):
            parts.append(_curve(curve, MARGIN + number * (each + GAP), y, each))
        y += HEAD + CURVE_HEIGHT + LINE
    y += LINE
    parts.append(_text(MARGIN, y - 4, f"{report.date}, {report.machine}", "small"))
    size = f'width="{WIDTH}" height="{y + 4:.0f}" viewBox="0 0 {WIDTH} {y + 4:.0f}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}><style>{STYLE}</style>\n' + "\n".join(parts) + "\n</svg>\n"


def _bars(panel: Bars, row: Row, x: float, y: float, width: float) -> tuple[str, float]:
    found = [(one, median) for one in CONTENDERS if (median := row.median(one.key))]
    values = sorted(
        ((panel.of(median), one) for one, median in found), key=lambda pair: pair[0], reverse=not panel.less
    )
    most, least = max(value for value, _ in values), min(value for value, _ in values)
    room = width - LABEL - NUMBER
    floor = 10 ** math.floor(math.log10(least)) if panel.logarithmic else 0.0
    parts = [_text(x, y + 14, panel.title, "title"), _text(x, y + 30, panel.note, "small")]
    if panel.logarithmic:
        for power in range(1, math.ceil(math.log10(most / floor))):
            at = x + LABEL + room * power / math.log10(most / floor)
            parts.append(_line(at, y + HEAD - 6, at, y + HEAD + LINE * len(values)))
    for number, (value, contender) in enumerate(values):
        part = math.log10(value / floor) / math.log10(most / floor) if panel.logarithmic else value / most
        top = y + HEAD + number * LINE
        kind = "ours" if contender.key in {OURS, OUR_SERVER} else "bare" if contender.key == BARE else "other"
        length = max(1.0, part * room)
        parts += [
            _text(x + LABEL - 6, top + 10, contender.label, "", "end"),
            f'<rect class="{kind}" x="{x + LABEL:.1f}" y="{top:.1f}" width="{length:.1f}" height="{BAR}" rx="2"/>',
            _text(x + LABEL + length + 5, top + 10, figure(value), "small"),
        ]
    return "\n".join(parts), HEAD + LINE * len(values)


def _curve(curve: Curve, x: float, y: float, width: float) -> str:
    counts = [math.log10(count) for count, _ in curve.points]
    costs = [math.log10(cost) for _, cost in curve.points]
    bottom, base = y + HEAD + CURVE_HEIGHT, (max(costs) + min(costs) - DECADES) / 2
    places = [
        (x + width * (count - counts[0]) / (counts[-1] - counts[0]), bottom - CURVE_HEIGHT * (cost - base) / DECADES)
        for count, cost in zip(counts, costs, strict=True)
    ]
    parts = [
        _text(x, y + 14, curve.title, "title"),
        _text(x, y + 30, curve.unit, "small"),
        _line(x, bottom, x + width, bottom),
        f'<polyline class="line" points="{" ".join(f"{a:.1f},{b:.1f}" for a, b in places)}"/>',
    ]
    for number, ((count, cost), (at, height)) in enumerate(zip(curve.points, places, strict=True)):
        anchor = "start" if not number else "end" if number == len(places) - 1 else "middle"
        parts += [
            f'<circle class="ours" cx="{at:.1f}" cy="{height:.1f}" r="3"/>',
            _text(at, height - 8, figure(cost), "small", anchor),
            _text(at, bottom + 14, f"{count:,}", "small", anchor),
        ]
    return "\n".join(parts)


def _text(x: float, y: float, text: str, kind: str, anchor: str = "start") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _line(x: float, y: float, to_x: float, to_y: float) -> str:
    return f'<line class="axis" x1="{x:.1f}" y1="{y:.1f}" x2="{to_x:.1f}" y2="{to_y:.1f}"/>'
