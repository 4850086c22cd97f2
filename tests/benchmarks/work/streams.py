"""Streams to a client that reads as fast as it can."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tests.benchmarks.contenders import GRANIAN, NODE, ROBYN, STARLETTE, TWINS, UVICORN
from tests.benchmarks.figures import Goal, Measure
from tests.benchmarks.payload import expected
from tests.benchmarks.rounds import KIB, MIB, SHARES, Piece, Sizes, Turn

OTHERS = (UVICORN, GRANIAN, ROBYN, NODE)
BLOCK = 64 * KIB
SHORT = (Goal(100, (STARLETTE,)), Goal(10, (UVICORN,)), Goal(30, (GRANIAN,)), Goal(300, (ROBYN,)))


Sample = Callable[[Turn], Mapping[str, float]]


def _fetch(turn: Turn, path: str) -> tuple[float, float]:
    before = turn.running.cpu_seconds()
    seconds = turn.bench.reader.fetch(turn.running.port, path, expected(path))
    return seconds, turn.running.cpu_seconds() - before


def _pieces_of(key: str, path: str) -> Sample:
    """Many short pieces: what each takes."""

    def sample(turn: Turn) -> Mapping[str, float]:
        sizes = turn.bench.sizes
        count = turn.share(key, sizes.chunks, sizes.budget, lambda little: _fetch(turn, f"{path}/{little}")[0])
        seconds, used = _fetch(turn, f"{path}/{count}")
        return {key: seconds / count * 1e6, f"{key}_cpu": used / count * 1e6}

    return sample


def _bytes_of(key: str, size_of: Callable[[Sizes], int], path: Callable[[int], str], unit: int) -> Sample:
    """Many bytes: how many a second."""

    def sample(turn: Turn) -> Mapping[str, float]:
        sizes = turn.bench.sizes
        full = size_of(sizes) // unit
        count = turn.share(key, full, 2 * sizes.budget, lambda little: _fetch(turn, path(little))[0])
        seconds, used = _fetch(turn, path(count))
        size = count * unit / MIB
        return {key: size / seconds, f"{key}_cpu": used / size * 1e3}

    return sample


def file_sizes(sizes: Sizes) -> list[int]:
    """Of the files that are asked for: all of it, and less for who would take too long."""
    return [max(1, int(sizes.large // BLOCK * share)) * BLOCK for share in SHARES]


def _short(key: str, title: str, *goals: Goal, path: str = "", only: tuple[str, ...] | None = None) -> Piece:
    cpu = Measure(f"{key}_cpu", "CPU time of one", "us", shown=False, race=False)
    measures = (Measure(key, title, "us", goals=goals), cpu)
    return Piece(key, measures, _pieces_of(key, path or f"/{key}"), rounds=0.6, only=only)


def _long(
    key: str, title: str, size_of: Callable[[Sizes], int], path: Callable[[int], str], unit: int, *goals: Goal
) -> Piece:
    cpu = Measure(f"{key}_cpu", "CPU time of a MiB", "ms", shown=False, race=False)
    rate = Measure(key, title, "MiB/s", more=True, goals=goals)
    return Piece(key, (rate, cpu), _bytes_of(key, size_of, path, unit), rounds=0.6)


def _large(sizes: Sizes) -> int:
    return sizes.large


def _small(sizes: Sizes) -> int:
    return sizes.small


FASTEST = Goal(0.8, OTHERS)

PIECES = (
    _short("async", "short chunk of an async generator", *SHORT),
    _short(
        "async_request", "short chunk, of a handler that takes `request`", *SHORT, path="/request/async", only=TWINS
    ),
    _short("sync", "short chunk of a sync generator", *SHORT),
    _short("json", "dict as a JSON line", Goal(40, (STARLETTE,))),
    _short("csv", "dict as a CSV row"),
    _long("large", "stream in 64 KiB chunks", _large, lambda count: f"/blocks/{BLOCK}/{count}", BLOCK, FASTEST),
    _long("small", "stream in 8 KiB chunks", _small, lambda count: f"/blocks/{8 * KIB}/{count}", 8 * KIB),
    _long("file", "file", _large, lambda count: f"/file/{count * BLOCK}", BLOCK),
)
