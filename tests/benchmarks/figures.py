"""What was measured, and what is wanted of it: rows of samples, their medians, ratios and goals. Nothing measures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from statistics import mean, median
from typing import Any

from tests.benchmarks.contenders import BARE, BY_KEY, OUR_SERVER, OURS

NOISE = 0.03
"""Medians that differ by less than this part are level: two runs of the same code differ as much."""


@dataclass(frozen=True)
class Goal:
    """How our median must compare.

    Attributes:
        least: how many times better than each of these; or the worst it may be, if there are none.
        of: keys of contenders.
    """

    least: float
    of: tuple[str, ...] = ()


@dataclass(frozen=True)
class Measure:
    """A figure that each contender has.

    Attributes:
        key: its name in data.
        title: its name in the table.
        unit: of its samples.
        more: whether more is better.
        goals: what is wanted, besides being ahead of each framework on the same server.
        shown: whether the README has it.
        margin: a difference that says nothing, in its unit.
        race: whether being ahead is wanted at all.
    """

    key: str
    title: str
    unit: str
    more: bool = False
    goals: tuple[Goal, ...] = ()
    shown: bool = True
    margin: float = 0.0
    race: bool = True


@dataclass
class Row:
    """A line of the table: samples of a figure, by contender.

    Attributes:
        measure: which figure.
        samples: one a round.
        notes: why there are none of a contender.
        counts: how much work a sample was, where it was less than for the others.
    """

    measure: Measure
    samples: dict[str, list[float]] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    def add(self, contender: str, value: float) -> None:
        """Add what one round gave."""
        self.samples.setdefault(contender, []).append(value)

    def median(self, contender: str) -> float | None:
        """What counts of a contender's figures."""
        return median(self.samples[contender]) if self.samples.get(contender) else None

    def advantage(self, ours: str, other: str) -> float | None:
        """How many times better ours is than another's; above 1 it is ahead."""
        mine, theirs = self.median(ours), self.median(other)
        if mine is None or theirs is None:
            return None
        if abs(mine - theirs) <= self.measure.margin:
            return 1.0
        if self.measure.more:
            mine, theirs = theirs, mine
        return theirs / mine if mine > 0 else float("inf")

    def shortfalls(self) -> list[str]:
        """Which goals are missed, in words."""
        return [missed for goal in self._goals() for missed in self._missed(goal)]

    def _goals(self) -> Iterable[Goal]:
        named = {key for goal in self.measure.goals for key in goal.of}
        rivals = [c.key for c in BY_KEY.values() if c.same_server and c.key not in {OURS, BARE, *named}]
        if self.measure.race:
            yield Goal(1.0, tuple(rivals))
        yield from self.measure.goals

    def _missed(self, goal: Goal) -> Iterable[str]:
        if not goal.of:
            for ours in (OURS, OUR_SERVER):
                value = self.median(ours)
                if value is not None and (value < goal.least if self.measure.more else value > goal.least):
                    yield f"{BY_KEY[ours].label}: {figure(value)} {self.measure.unit} (goal: {goal.least:g})"
        for other in goal.of:
            ours = OURS if BY_KEY[other].same_server else OUR_SERVER
            value = self.advantage(ours, other)
            if value is not None and value < goal.least * (1 - NOISE):
                yield f"{BY_KEY[ours].label} is at {ratio(value)} of {BY_KEY[other].label} (goal: {goal.least:g})"

    def as_data(self) -> dict[str, Any]:
        """For JSON."""
        medians = {contender: self.median(contender) for contender in self.samples}
        data = {"key": self.measure.key, "title": self.measure.title, "unit": self.measure.unit, "medians": medians}
        return {**data, "samples": self.samples, "notes": self.notes, "counts": self.counts}

    @classmethod
    def from_data(cls, measure: Measure, data: Mapping[str, Any]) -> Row:
        """The same again."""
        return cls(measure, dict(data["samples"]), dict(data["notes"]), dict(data["counts"]))


@dataclass(frozen=True)
class Curve:
    """What a unit of work costs as there is more of it; flat where the cost is in proportion.

    Attributes:
        key: its name in data.
        title: of what the units are.
        unit: of the cost.
        points: how many units, and what one cost.
    """

    key: str
    title: str
    unit: str
    points: tuple[tuple[int, float], ...]

    def growth(self) -> float:
        """How many times what it was at fewer a unit costs with the most of them."""
        return self.points[-1][1] / mean(cost for _, cost in self.points[:-1])

    def as_data(self) -> dict[str, Any]:
        """For JSON."""
        return {"key": self.key, "title": self.title, "unit": self.unit, "points": self.points}

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Curve:
        """The same again."""
        points = tuple((int(count), float(cost)) for count, cost in data["points"])
        return cls(data["key"], data["title"], data["unit"], points)


def figure(value: float) -> str:
    """A number with three digits that count."""
    if value >= 100:
        return f"{value:,.0f}"
    if value >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}"


def ratio(value: float) -> str:
    """How many times, with two digits that count."""
    if value >= 10:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 2 else f"{value:.2f}"
