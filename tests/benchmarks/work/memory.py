"""How far a worker grows with a long stream, and with one that its client does not read."""

from __future__ import annotations

from collections.abc import Mapping

from tests.benchmarks.figures import Goal, Measure
from tests.benchmarks.load import read_through
from tests.benchmarks.payload import expected
from tests.benchmarks.rounds import KIB, MIB, Piece, Turn

BLOCK = 64 * KIB
SETTLED = Goal(2.0)
"""MiB that a worker may grow by."""


def _grown(turn: Turn, size: int, pause: float = 0.0) -> float:
    path = f"/blocks/{BLOCK}/{size // BLOCK}"
    before = turn.running.memory()
    turn.running.forget_peak()
    read_through(turn.running.port, path, expected(path), pause)
    return max(0, turn.running.memory("VmHWM") - before) / MIB


def _read(turn: Turn) -> Mapping[str, float]:
    sizes = turn.bench.sizes
    long = turn.share("grown_read", sizes.long, 8 * sizes.budget, lambda little: _timed(turn, little))
    return {"grown_read": _grown(turn, long)}


def _timed(turn: Turn, size: int) -> float:
    path = f"/blocks/{BLOCK}/{size // BLOCK}"
    return turn.bench.reader.fetch(turn.running.port, path, expected(path))


def _unread(turn: Turn) -> Mapping[str, float]:
    return {"grown_unread": _grown(turn, turn.bench.sizes.unread, turn.bench.sizes.pause)}


def _grows(key: str, title: str) -> tuple[Measure, ...]:
    return (Measure(key, title, "MiB", goals=(SETTLED,), margin=SETTLED.least),)


PIECES = (
    Piece("memory", _grows("grown_read", "growth during a stream of 10 GB"), _read, rounds=0.2, warm_up=False),
    Piece("unread", _grows("grown_unread", "growth with a client that does not read"), _unread, rounds=0.2,
          warm_up=False),
)  # fmt: skip
