"""The same work at once, ten times and a hundred times: what a unit of it costs must not grow."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from tests.benchmarks.contenders import BY_KEY, OUR_SERVER
from tests.benchmarks.crowd import Crowd
from tests.benchmarks.figures import Curve
from tests.benchmarks.load import Small, has_wrk, wrk
from tests.benchmarks.payload import expected
from tests.benchmarks.rounds import KIB, Bench
from tests.benchmarks.servers import Server
from tests.benchmarks.work.requests import GREET

MOST_GROWTH = 1.25
"""How many times its first cost a unit may cost in the end: noise, and caches that become too small."""
REPEATS = 5


def curves(bench: Bench) -> list[Curve]:
    """All of them, of ``trioweb run``: there is least of a server's own time around them."""
    return [_chunks(bench), *_streams(bench), *([_routes(bench), _middlewares(bench)] if has_wrk() else [])]


@contextlib.contextmanager
def _server(bench: Bench, **settings: int) -> Iterator[Server]:
    told = {f"BENCHMARK_{name.upper()}": str(value) for name, value in settings.items()}
    with bench.start(BY_KEY[OUR_SERVER], told) as server:
        server.wait_until_ready()
        yield server


def _request_us(bench: Bench, server: Server, small: Small) -> float:
    """CPU time of a small request."""
    costs = []
    for _ in range(REPEATS if bench.sizes.rounds > 1 else 1):
        before = server.cpu_seconds()
        count, _ = wrk(server.port, small, bench.sizes.load)
        costs.append((server.cpu_seconds() - before) / count * 1e6)
    return min(costs)


def _chunks(bench: Bench) -> Curve:
    points = []
    with _server(bench) as server:
        for count in bench.sizes.growth["chunks"]:
            path = f"/async/{count}"
            costs = []
            for _ in range(2 * REPEATS):
                before = server.cpu_seconds()
                bench.reader.fetch(server.port, path, expected(path))
                costs.append((server.cpu_seconds() - before) / count * 1e6)
            points.append((count, min(costs)))
    return Curve("chunks", "chunks", "us each", tuple(points))


def _streams(bench: Bench) -> list[Curve]:
    memory, time = [], []
    with _server(bench) as server, contextlib.closing(Crowd(server.port)) as crowd:
        crowd.grow(1)
        crowd.publish(0)
        held, number = server.memory(), 0
        for count in bench.sizes.growth["streams"]:
            crowd.grow(count)
            memory.append((count, (server.memory() - held) / (count - 1) / KIB))
            costs = []
            for _ in range(REPEATS):
                number += 1
                before = server.cpu_seconds()
                crowd.publish(number)
                costs.append((server.cpu_seconds() - before) / count * 1e6)
            time.append((count, min(costs)))
        crowd.check()
    return [
        Curve("streams", "idle event streams", "KiB each", tuple(memory)),
        Curve("events", "event to streams", "us each", tuple(time)),
    ]


def _routes(bench: Bench) -> Curve:
    points = []
    for count in bench.sizes.growth["routes"]:
        with _server(bench, routes=count) as server:
            points.append((count, _request_us(bench, server, Small("^%d+ 7$", "/section{}/items/7", count))))
    return Curve("routes", "routes", "us a request", tuple(points))


def _middlewares(bench: Bench) -> Curve:
    points = []
    with _server(bench) as server:
        alone = _request_us(bench, server, GREET)
    for count in bench.sizes.growth["middlewares"]:
        with _server(bench, middlewares=count) as server:
            points.append((count, max(0.01, (_request_us(bench, server, GREET) - alone) / count)))
    return Curve("middlewares", "middlewares", "us each", tuple(points))
