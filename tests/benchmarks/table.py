"""The figures as tables: the same for a terminal and for the README, whose block is written here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.benchmarks import work
from tests.benchmarks.contenders import BY_KEY, CONTENDERS, OUR_SERVER, OURS, Contender
from tests.benchmarks.figures import Row, figure, ratio
from tests.benchmarks.growth import MOST_GROWTH
from tests.benchmarks.reasons import REASONS
from tests.benchmarks.report import Report

BEGIN, END = "<!-- bench: written by nox -s bench -- --readme -->", "<!-- bench: end -->"
BUSY = 0.5
"""Programs that wanted a core before a run, above which its figures are not to be trusted."""
SHORT = "\N{DAGGER}"
"""Marks a row that misses a goal."""


def tables(report: Report, *, everything: bool = True) -> str:
    """Both tables.

    Args:
        report: the figures.
        everything: also those that the README leaves out.
    """
    rows = [row for row in report.rows if everything or row.measure.shown]
    same = [contender for contender in CONTENDERS if contender.same_server]
    others = [contender for contender in CONTENDERS if not contender.same_server]
    parts = [
        "All on `hypercorn -k trio`; in brackets, how many times better trioweb is:",
        _table(rows, same, OURS, judged=report.judged),
        "Each on a server of its own; in brackets, how many times better `trioweb run` is:",
        _table(
            [row for row in rows if any(c.key in row.samples for c in others)], others, OUR_SERVER, judged=report.judged
        ),
    ]
    return "\n\n".join(part for part in parts if part)


def _table(rows: Iterable[Row], contenders: Sequence[Contender], ours: str, *, judged: bool) -> str:
    rows = list(rows)
    contenders = [one for one in contenders if any(one.key in row.samples or one.key in row.notes for row in rows)]
    lines = [["", *(contender.label for contender in contenders)]]
    for row in rows:
        unit = f" ({row.measure.unit})" if row.measure.unit != "/s" else ""
        mark = f" {SHORT}" if judged and row.shortfalls() else ""
        lines.append([row.measure.title + unit + mark, *(_cell(row, contender.key, ours) for contender in contenders)])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rule = "|".join(["-" * (widths[0] + 2), *("-" * (width + 1) + ":" for width in widths[1:])])
    lined = [_line(line, widths) for line in lines]
    return "\n".join([lined[0], f"|{rule}|", *lined[1:]])


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *rest = (
        cell.rjust(width) if number else cell.ljust(width)
        for number, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return f"| {' | '.join([first, *rest])} |"


def _cell(row: Row, contender: str, ours: str) -> str:
    value = row.median(contender)
    if value is None:
        note = row.notes.get(contender, "")
        return note if len(note) <= 30 else "not there"
    advantage = None if contender == ours else row.advantage(ours, contender)
    return figure(value) if advantage is None else f"{figure(value)} ({ratio(advantage)}x)"


def falls_short(report: Report, *, everything: bool = True) -> list[str]:
    """The rows that miss a goal, which, by how much, and why, a line each."""
    lines: list[str] = []
    if not report.judged:
        return lines
    for row in report.rows:
        missed = row.shortfalls()
        if missed and (everything or row.measure.shown):
            reason = REASONS.get(row.measure.key, "not yet looked into")
            lines.append(f"{row.measure.title}: {'; '.join(missed)}: {reason}")
    for curve in report.curves:
        if curve.growth() > MOST_GROWTH:
            reason = REASONS.get(f"growth_{curve.key}", "not yet looked into")
            lines.append(f"growth, {curve.title}: {ratio(curve.growth())} times as much a unit: {reason}")
    return lines


def curves(report: Report) -> str:
    """The growth, a line each."""
    lines = []
    for curve in report.curves:
        points = ", ".join(f"{count:,}: {figure(cost)}" for count, cost in curve.points)
        lines.append(f"{curve.title}, {curve.unit}: {points} ({ratio(curve.growth())}x)")
    return "\n".join(lines)


def less(report: Report) -> str:
    """Who was given less work, in a sentence."""
    found: dict[str, set[int]] = {}
    for row in report.rows:
        for contender, count in row.counts.items():
            if row.measure.unit == "us":
                found.setdefault(BY_KEY[contender].label, set()).add(count)
    said = [f"{who} {min(counts):,} to {max(counts):,}" if len(counts) > 1 else f"{who} {min(counts):,}"
            for who, counts in found.items()]  # fmt: skip
    return f"Chunks of a sample where a million would take too long: {', '.join(said)}." if said else ""


def not_measured(report: Report) -> str:
    """What the tables would have by now, and the run did not have yet, in a sentence."""
    found = {row.measure.key for row in report.rows}
    measures = [measure for piece in work.PIECES for measure in piece.measures if measure.shown]
    missing = [measure.title for measure in measures if measure.key not in found]
    return f"Not yet measured by that run: {'; '.join(missing)}." if missing else ""


def readme_block(report: Report) -> str:
    """What stands between the markers."""
    short = falls_short(report, everything=False)
    parts = [
        BEGIN,
        "## Measured",
        "![Bars: trioweb, and what else one would pick](docs/bench.svg)",
        (
            f"`nox -s bench`, {report.date}, on {report.machine}: {report.named_versions()}. One worker each on one "
            "core, the clients on another; medians of interleaved rounds; every response compared, byte for byte."
            + (f" The machine was busy: load {report.load:.1f} before the run." if report.load > BUSY else "")
        ),
        tables(report, everything=False),
        less(report),
        not_measured(report),
        f"{SHORT} What falls short of its goal, and why:\n\n" + _list(short) if short else "",
        "A unit costs the same however many there are: " + curves(report).replace("\n", "; ") + "."
        if report.curves else "",
        END,
    ]  # fmt: skip
    return "\n\n".join(part for part in parts if part)


def _list(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def write_readme(report: Report, path: Path) -> None:
    """Put the block where the last one stands, or before "More"."""
    text = path.read_text()
    if BEGIN in text:
        before, rest = text.split(BEGIN)
        after = rest.split(END)[1]
    else:
        before, heading, rest = text.partition("## More\n")
        after = f"\n\n{heading}{rest}"
    path.write_text(before + readme_block(report) + after)
