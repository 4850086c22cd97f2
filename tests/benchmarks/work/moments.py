"""How soon: a stream's first byte, and the end of its generator after its client has left."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping
from statistics import median

from tests.benchmarks.figures import Goal, Measure
from tests.benchmarks.load import exchange, request
from tests.benchmarks.rounds import Piece, Turn
from tests.benchmarks.servers import Broken, Server

NEVER = 5.0
"""Seconds after which a generator that has not ended is not waited for any more."""
ASLEEP, TICKING = 3_600_000, 10
"""Milliseconds between two chunks."""
CHUNK = b"here\n"

keys = itertools.count()


def _visit(server: Server, pause: int) -> tuple[float, float | None]:
    """Begin a stream and leave it: seconds until its first byte, and from leaving until its end was through."""
    key = f"stream{next(keys)}"
    begin = time.perf_counter()
    with request(server.port, f"/leave/{key}/{pause}") as client:
        data = b""
        while CHUNK not in data:
            if not (part := client.recv(4096)):
                raise Broken(f"closed after {data!r}")
            data += part
        first = time.perf_counter() - begin
        if not data.startswith(b"HTTP/1.1 200"):
            raise Broken(f"wrong head: {data!r}")
        time.sleep(0.002)  # it has gone to sleep, if it does
    left = time.monotonic()
    wait = 0.005
    while time.monotonic() < left + NEVER:
        time.sleep(wait)
        if end := exchange(server.port, f"/left/{key}"):
            return first, max(0.0, float(end) - left)
        wait = min(0.2, wait * 2)
    return first, None


def _moments(name: str, pause: int) -> Callable[[Turn], Mapping[str, float]]:
    def sample(turn: Turn) -> Mapping[str, float]:
        firsts, ends = [], []
        for _ in range(turn.bench.sizes.moments):
            first, end = _visit(turn.running, pause)
            firsts.append(first * 1e3)
            if end is None:
                turn.notes[f"end_{name}"] = f"not within {NEVER:g} s"
                return {f"first_{name}": median(firsts)}
            ends.append(end * 1e3)
        return {f"first_{name}": median(firsts), f"end_{name}": median(ends)}

    return sample


def _end(name: str, what: str) -> Measure:
    title = f"end of a generator that {what}, after its client has left"
    return Measure(f"end_{name}", title, "ms", goals=(Goal(5.0),), race=False)


FIRST = Measure("first_asleep", "first byte of a stream, connecting included", "ms", margin=0.2)

PIECES = (
    Piece("asleep", (FIRST, _end("asleep", "sleeps")), _moments("asleep", ASLEEP), rounds=0.6, warm_up=False),
    Piece("ticking", (_end("ticking", f"yields every {TICKING} ms"),), _moments("ticking", TICKING), rounds=0.6,
          warm_up=False),
)  # fmt: skip
