"""All that a run has found, and where: to be written down, and read again."""

from __future__ import annotations

import datetime as dt
import json
import os
import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.benchmarks.contenders import CONTENDERS
from tests.benchmarks.environments import Environment
from tests.benchmarks.figures import Curve, Measure, Row


@dataclass(frozen=True)
class Report:
    """The result of a run.

    Attributes:
        date: of the run, UTC.
        machine: what it ran on, in words.
        versions: of all packages, by contender.
        rows: the table.
        curves: the growth.
        instructions: how many a pure part takes for a unit of its work.
        seconds: how long the run took.
        load: how many programs wanted a core in the minute before it.
        judged: there was enough of everything for goals to mean something.
    """

    date: str
    machine: str
    versions: Mapping[str, Mapping[str, str]]
    rows: Sequence[Row]
    curves: Sequence[Curve] = ()
    instructions: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    load: float = 0.0
    judged: bool = True

    def write(self, path: Path) -> None:
        """As JSON."""
        data = {
            "date": self.date,
            "machine": self.machine,
            "seconds": self.seconds,
            "load": self.load,
            "judged": self.judged,
            "versions": self.versions,
            "rows": [row.as_data() for row in self.rows],
            "curves": [curve.as_data() for curve in self.curves],
            "instructions": self.instructions,
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(_rounded(data), indent=1) + "\n")

    @classmethod
    def read(cls, path: Path, measures: Mapping[str, Measure]) -> Report:
        """The same again; rows that are not measured any more are left out."""
        data = json.loads(path.read_text())
        rows = [Row.from_data(measures[row["key"]], row) for row in data["rows"] if row["key"] in measures]
        curves = [Curve.from_data(curve) for curve in data["curves"]]
        return cls(
            data["date"], data["machine"], data["versions"], rows, curves, data["instructions"], data["seconds"],
            data["load"], data["judged"],
        )  # fmt: skip

    def named_versions(self) -> str:
        """Those that matter."""
        named: dict[str, str] = {}
        for contender in CONTENDERS:
            found = self.versions.get(contender.key, {})
            named.update({name: found[name] for name in contender.shown if name in found})
        return ", ".join(f"{name} {version}" for name, version in named.items())


def begin(environments: Mapping[str, Environment], load: float) -> Report:
    """A report that has no figures yet."""
    now = dt.datetime.now(dt.UTC).date().isoformat()
    return Report(now, _machine(), {key: found.versions for key, found in environments.items()}, (), load=load)


def _machine() -> str:
    names = re.findall(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    cores = len(os.sched_getaffinity(0))
    system = f"{platform.system()} {platform.release().split('-')[0]}"
    return f"{names[0] if names else platform.machine()}, {cores} cores, {system}, Python {platform.python_version()}"


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, Mapping):
        return {key: _rounded(inside) for key, inside in value.items()}
    return [_rounded(inside) for inside in value] if isinstance(value, list | tuple) else value
