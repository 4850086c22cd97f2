"""What is shown of a run: the tables, the README, the chart."""

from __future__ import annotations

import dataclasses
import re
import xml.etree.ElementTree as ET
from pathlib import Path

from tests.benchmarks import chart, run, table
from tests.benchmarks.contenders import CONTENDERS, STARLETTE
from tests.benchmarks.figures import Curve, Row
from tests.benchmarks.report import Report
from tests.servers import ROOT


def report() -> Report:
    """A report of made-up figures."""
    measures = run.MEASURES
    rows = []
    for number, key in enumerate(("async", "greet", "large", "idle_many")):
        made = Row(measures[key])
        for place, contender in enumerate(CONTENDERS):
            if contender.key in {"spikard", "node"}:
                made.notes[contender.key] = "cannot stream"
            else:
                made.add(contender.key, 10.0**number * (place + 1))
        rows.append(made)
    rows[0].counts[STARLETTE] = 30_000
    curve = Curve("chunks", "chunks of a stream", "us each", ((10, 1.0), (100, 1.0), (1000, 1.0)))
    return Report("2026-01-01", "a <machine> & more", {STARLETTE: {"starlette": "1.2.3", "anyio": "4"}}, rows, (curve,))


def test_a_report_is_read_as_it_was_written(tmp_path: Path) -> None:
    """What is shown of a report is the same after it went to disk and came back."""
    report().write(tmp_path / "there" / "bench.json")
    again = Report.read(tmp_path / "there" / "bench.json", run.MEASURES)
    assert table.readme_block(again) == table.readme_block(report())
    assert chart.draw(again) == chart.draw(report())


def test_the_tables_say_it_all() -> None:
    """Figures, ratios, what cannot be done, and goals that are missed are in the tables, whose columns are aligned."""
    text = table.tables(report())
    assert len({len(line) for line in text.splitlines() if line.startswith("| ")}) == 2, "one width a table"
    first = next(line for line in text.splitlines() if "of an async generator" in line)
    assert re.search(rf"{table.SHORT} +\| +1.00 \(0.50x\) \| +2.00 \| +3.00 \(1.50x\)", first)
    assert "cannot stream" in text
    assert "30,000" in table.less(report())
    assert any(line.startswith("short chunk of an async generator: ") for line in table.falls_short(report()))
    assert report().named_versions() == "starlette 1.2.3"


def test_what_was_not_measured_is_told() -> None:
    """Rows that a run has not had are named below its tables; a run that had all has no such sentence."""
    assert "handler that takes `request`, requests a second;" in table.readme_block(report())
    assert "`GET /`, 16 at a time" not in table.not_measured(report())
    rows = [Row(measure) for measure in run.MEASURES.values()]
    assert not table.not_measured(dataclasses.replace(report(), rows=rows))


def test_the_readme_gets_one_block(tmp_path: Path) -> None:
    """The block goes before "More", takes the place of the last one, and leaves all else as it was."""
    readme = tmp_path / "README.md"
    readme.write_text("# A\n\ntext\n\n## More\n\nend\n")
    table.write_readme(report(), readme)
    first = readme.read_text()
    table.write_readme(report(), readme)
    assert readme.read_text() == first == f"# A\n\ntext\n\n{table.readme_block(report())}\n\n## More\n\nend\n"


def test_the_readme_shows_what_was_measured() -> None:
    """The README's block and chart are those of the figures in docs, so nobody has touched them up."""
    readme = (ROOT / "README.md").read_text()
    figures = ROOT / "docs" / "bench.json"
    if not figures.exists():
        assert table.BEGIN not in readme
        return
    saved = Report.read(figures, run.MEASURES)
    assert table.readme_block(saved) in readme
    assert chart.draw(saved) == (ROOT / "docs" / "bench.svg").read_text()


def test_the_chart_is_a_picture_by_itself() -> None:
    """It is well-formed, needs nothing from elsewhere, has a dark side, and a longer bar for more."""
    drawn = chart.draw(report())
    root = ET.fromstring(drawn)
    assert "prefers-color-scheme: dark" in drawn
    assert set(re.findall(r"https?://[^\s\"]+", drawn)) == {"http://www.w3.org/2000/svg"}
    names = [element.text for element in root.iter() if element.text in {one.label for one in CONTENDERS}]
    assert set(names) == {one.label for one in CONTENDERS if one.key not in {"spikard", "node"}}
    greet = drawn[drawn.index("Small requests") : drawn.index("MiB a second")]
    widths = [float(width) for width in re.findall(r'<rect [^>]*width="([\d.]+)"', greet)]
    assert widths == sorted(widths, reverse=True)
    assert len(set(widths)) == len(widths)


def test_a_chart_of_little_is_still_one() -> None:
    """A run of some pieces has a chart too, and one of nothing has an empty one."""
    ET.fromstring(chart.draw(dataclasses.replace(report(), rows=report().rows[:1], curves=())))
    ET.fromstring(chart.draw(dataclasses.replace(report(), rows=(), curves=())))
