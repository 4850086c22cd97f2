"""What a run does, and a short one."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.benchmarks import parts, run, shapes, work
from tests.benchmarks.contenders import BARE, BY_KEY, CONTENDERS, OUR_SERVER, OURS, STARLETTE
from tests.benchmarks.environments import prepare
from tests.benchmarks.reasons import REASONS
from tests.benchmarks.rounds import FULL, QUICK, Turn
from tests.benchmarks.servers import Broken
from tests.benchmarks.work import requests
from tests.servers import ROOT


def test_names_are_those_of_something() -> None:
    """Keys of figures are unique; what contenders cannot do, and the reasons, name pieces and figures."""
    keys = [measured.key for piece in work.PIECES for measured in piece.measures]
    assert len(keys) == len(set(keys))
    pieces = {piece.key for piece in work.PIECES}
    assert len(pieces) == len(work.PIECES)
    assert all(set(contender.cannot) <= pieces for contender in CONTENDERS)
    assert {name for name in REASONS if not name.startswith("growth_")} <= set(keys)
    assert len(QUICK.crowds) == len(FULL.crowds)


def test_the_parts_that_are_counted_run() -> None:
    """Each part whose instructions are counted still does what it did, many times."""
    parts.main(list(parts.PARTS))


def test_this_python_can_stand_in_for_all(tmp_path: Path) -> None:
    """With ``here`` no environment is made, and versions are those of this one."""
    found = prepare([BY_KEY[OURS], BY_KEY[STARLETTE]], here=True, home=tmp_path)
    assert found[OURS].program == Path(sys.executable)
    assert found[OURS].versions["trio"]
    assert not list(tmp_path.iterdir())


def test_an_environment_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    """A package that cannot be had leaves its contender out, with the reason, and nobody else."""
    broken = dataclasses.replace(BY_KEY[STARLETTE], packages=("./no-such-package",))
    assert "cannot be installed" in prepare([broken], home=tmp_path)[STARLETTE].missing


def test_a_wrong_answer_of_our_own_ends_in_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The exit status says it when an app of our own answers wrongly; who runs it keeps the cores that it had."""
    cores = os.sched_getaffinity(0)

    def sample(_: Turn) -> Mapping[str, float]:
        raise Broken("wrong bytes")

    piece = dataclasses.replace(requests.PIECES[0], sample=sample)
    monkeypatch.setattr(work, "PIECES", (piece,))
    arguments = ["--quick", "--here", "--contenders", BARE, "--only", "greet", "--output", str(tmp_path)]
    assert run.main(arguments) == 1
    assert os.sched_getaffinity(0) == cores


@pytest.mark.skipif(shutil.which("wrk") is None, reason="needs wrk")
def test_a_quick_run_of_ours_measures_everything(tmp_path: Path) -> None:
    """One quick round has a figure of trioweb for each row, in JSON, in the table and in the chart."""
    names = f"{BARE},{OURS},{OUR_SERVER}"
    command = [sys.executable, "-m", "tests.benchmarks.run", "--quick", "--here", "--contenders", names]
    done = subprocess.run(
        [*command, "--output", str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False, timeout=110
    )
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "bench.json").read_text())
    found = {row["key"]: set(row["medians"]) for row in result["rows"]}
    assert set(found) == set(run.MEASURES)
    assert all(OURS in who for who in found.values()), found
    assert {curve["key"] for curve in result["curves"]} == {"chunks", "streams", "events", "routes", "middlewares"}
    assert "`GET /`, 16 at a time" in done.stdout
    ET.fromstring((tmp_path / "bench.svg").read_text())


@pytest.mark.skipif(shutil.which("wrk") is None, reason="needs wrk")
def test_shapes_beside_an_older_checkout() -> None:
    """Each line says what a request costs here and there; its plain line comes with it, whether asked for or not."""
    command = [sys.executable, "-m", "tests.benchmarks.shapes", "--against", str(ROOT), "--rounds", "1"]
    command += ["--seconds", "0.1", "--only", "middleware", "async_request"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    head, *lines = (re.split(r"  +", line.strip()) for line in done.stdout.splitlines())
    assert head == ["CPU us", "this", "x plain", "against", "x plain", "this/it"]
    assert [line[0] for line in lines] == [
        shapes.PROBES[key].title for key in ("greet", "middleware", "async", "async_request")
    ]
    assert all(float(cell.replace(",", "")) > 0 for line in lines for cell in line[1:])
