"""What is made of the figures, and how contenders take turns."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.benchmarks.contenders import BARE, BY_KEY, CONTENDERS, OUR_SERVER, OURS, STARLETTE, UVICORN
from tests.benchmarks.environments import Environment
from tests.benchmarks.figures import NOISE, Curve, Goal, Measure, Row
from tests.benchmarks.load import Reader
from tests.benchmarks.rounds import QUICK, SHARES, Bench, Piece, Turn, measure
from tests.benchmarks.servers import Broken, Server


def row(samples: Mapping[str, list[float]], **attributes: object) -> Row:
    """A row of these samples."""
    made = Measure("made", "made up", "ms")
    return Row(dataclasses.replace(made, **attributes), {key: list(values) for key, values in samples.items()})  # type: ignore[arg-type]


def test_medians_and_advantages() -> None:
    """An advantage is above 1 where ours is better, whichever way the figure counts, and 1 within the margin."""
    samples = {OURS: [1.0, 9.0, 2.0], STARLETTE: [4.0, 4.0], BARE: [2.5]}
    less = row(samples)
    assert (less.median(OURS), less.median("nobody")) == (2.0, None)
    assert (less.advantage(OURS, STARLETTE), less.advantage(OURS, "nobody")) == (2.0, None)
    assert row(samples, more=True).advantage(OURS, STARLETTE) == 0.5
    assert row(samples, margin=0.5).advantage(OURS, BARE) == 1.0


def test_a_row_is_short_where_a_framework_on_the_same_server_is_ahead() -> None:
    """Being behind any framework on the same server counts, beyond noise; the bare app and other servers do not."""
    within = 1.0 / (1 - NOISE / 2)
    others = {BARE: [0.1], UVICORN: [0.1], OUR_SERVER: [1.0]}
    assert not row({OURS: [1.0], STARLETTE: [1 / within], **others}).shortfalls()
    (missed,) = row({OURS: [1.0], STARLETTE: [0.5]}).shortfalls()
    assert "0.50 of Starlette (goal: 1)" in missed
    assert not row({OURS: [1.0], STARLETTE: [0.5]}, race=False).shortfalls()


def test_goals_name_whom_they_are_held_against() -> None:
    """A goal against another server is one of our server's; one against nobody is of both."""
    samples = {OURS: [1.0], OUR_SERVER: [1.0], STARLETTE: [50.0], UVICORN: [50.0]}
    assert not row(samples, goals=(Goal(50, (STARLETTE, UVICORN)),)).shortfalls()
    (missed,) = row({**samples, OUR_SERVER: [10.0]}, goals=(Goal(10, (UVICORN,)),)).shortfalls()
    assert missed.startswith("trioweb run is at 5.0 of Starlette, uvicorn")
    assert len(row(samples, goals=(Goal(0.5),)).shortfalls()) == 2


def test_a_curve_grows_where_a_unit_costs_more() -> None:
    """Growth compares the last cost with those before."""
    assert Curve("a", "a", "us", ((1, 2.0), (10, 2.0), (100, 2.0))).growth() == 1
    assert Curve("a", "a", "us", ((1, 1.0), (10, 3.0), (100, 8.0))).growth() == 4


def bench() -> Bench:
    """What pieces share, without servers."""
    environments = {one.key: Environment(Path(sys.executable)) for one in CONTENDERS}

    def start(*_: object) -> Server:
        raise AssertionError("nothing is to be started")

    return Bench(QUICK, [BY_KEY[OURS], BY_KEY[BARE]], environments, start, Reader(1), set())


def test_who_is_slow_gets_less_work() -> None:
    """The share is the largest that fits the budget, the smallest if none does, and is found out once."""
    quick, slow = Turn(bench(), BY_KEY[OURS], None), Turn(bench(), BY_KEY[OURS], None)
    assert quick.share("made", 1000, 1.0, lambda little: little / 2000) == 1000
    assert not quick.less
    assert slow.share("made", 1000, 1.0, lambda little: little / 120) == 100
    assert slow.share("made", 1000, 1.0, lambda _: 1e-9) == 100
    assert slow.less == {"made": 100}
    assert Turn(bench(), BY_KEY[OURS], None).share("made", 1000, 1.0, lambda _: 1000.0) == 1000 * SHARES[-1]


def test_rounds_are_interleaved_and_the_first_warms_up() -> None:
    """Contenders take turns, and what the first round gives does not count."""
    took: list[tuple[str, bool]] = []

    def sample(turn: Turn) -> Mapping[str, float]:
        took.append((turn.contender.key, turn.warm_up))
        return {"made": 100.0 if turn.warm_up else 1.0}

    piece = Piece("made", (Measure("made", "made up", "ms"),), sample, rounds=2, alone=True)
    (made,) = measure(piece, bench(), {})
    assert took == [(key, warm) for warm in (True, False, False) for key in (OURS, BARE)]
    assert made.samples == {OURS: [1.0, 1.0], BARE: [1.0, 1.0]}


def test_one_that_fails_is_noted_and_the_others_go_on() -> None:
    """A wrong answer leaves a note in place of a figure, and is told of at the end."""

    def sample(turn: Turn) -> Mapping[str, float]:
        if turn.contender.key == BARE:
            raise Broken("wrong bytes")
        return {"made": 1.0}

    shared = bench()
    (made,) = measure(Piece("made", (Measure("made", "made up", "ms"),), sample, alone=True), shared, {})
    assert (made.samples, made.notes) == ({OURS: [1.0]}, {BARE: "fails"})
    assert shared.broken == {(BARE, "made"): "Broken: wrong bytes"}


def test_who_cannot_do_it_or_is_not_there_says_so() -> None:
    """What a contender cannot do, and one that is not installed, stands in the table."""
    shared = bench()
    shared.contenders = [BY_KEY["spikard"], BY_KEY["node"], BY_KEY[OURS]]
    shared.environments = {**shared.environments, "node": Environment(missing="not installed")}
    piece = Piece("async", (Measure("async", "made up", "ms"),), lambda _: {"async": 1.0}, alone=True)
    (made,) = measure(piece, shared, {})
    assert made.notes == {"spikard": "cannot stream", "node": "not installed"}
    assert list(made.samples) == [OURS]
