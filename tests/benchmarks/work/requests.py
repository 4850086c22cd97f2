"""Small requests, many at a time."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tests.benchmarks.contenders import BARE, FASTAPI
from tests.benchmarks.figures import Goal, Measure
from tests.benchmarks.load import CONNECTIONS, Small, has_wrk, wrk
from tests.benchmarks.payload import GREETING, ORDER, RECEIPT
from tests.benchmarks.rounds import Piece, Turn

MANY_ROUTES = 300
WARM_UP = 0.3
"""Of the time that counts, what the first round takes."""
GREET = Small(f"^{GREETING}$")
POST = Small(f"^{RECEIPT}$", "/order", body=ORDER)
SECTIONS = Small("^%d+ 7$", "/section{}/items/7", MANY_ROUTES)


@dataclass(frozen=True)
class Shape:
    """What a handler mentions and stands behind: the ordinary way of a small request.

    Attributes:
        key: its name in data.
        title: of the handler.
        small: what is asked.
        middlewares: how many are in front of the app.
    """

    key: str
    title: str
    small: Small
    middlewares: int = 0

    @property
    def settings(self) -> dict[str, str]:
        """What the app needs to be told for it."""
        return {"BENCHMARK_MIDDLEWARES": str(self.middlewares)} if self.middlewares else {}


TAKES_REQUEST = dataclasses.replace(GREET, path="/request")
SHAPES = (
    Shape("query", "takes a query parameter", Small("^7$", "/query?limit=7")),
    Shape("request", "takes `request`", TAKES_REQUEST),
    Shape("awaits", "awaits once", dataclasses.replace(GREET, path="/awaits")),
    Shape("dependency", "takes what a dependency gives", dataclasses.replace(GREET, path="/dependency")),
    Shape("one", "behind one middleware", GREET, 1),
    Shape("three", "behind three middlewares", GREET, 3),
    Shape("one_request", "takes `request`, behind one middleware", TAKES_REQUEST, 1),
)
"""Twins of ``GET /``."""


def _rate(key: str, small: Small) -> Callable[[Turn], Mapping[str, float]]:
    def sample(turn: Turn) -> Mapping[str, float]:
        if not has_wrk():
            turn.notes = dict.fromkeys((key, f"{key}_cpu"), "needs wrk")
            return {}
        before = turn.running.cpu_seconds()
        seconds = turn.bench.sizes.load * (WARM_UP if turn.warm_up else 1)
        requests, per_second = wrk(turn.running.port, small, seconds)
        used = turn.running.cpu_seconds() - before
        return {key: per_second, f"{key}_cpu": used / requests * 1e6}

    return sample


def _piece(key: str, title: str, small: Small, goal: Goal | None, **settings: str) -> Piece:
    rate = Measure(key, f"{title}, requests a second", "/s", more=True, goals=(goal,) if goal else ())
    cpu = Measure(f"{key}_cpu", "CPU time of one", "us", shown=False, race=False)
    return Piece(key, (rate, cpu), _rate(key, small), rounds=0.8, settings=settings)


PIECES = (
    _piece("greet", f"`GET /`, {CONNECTIONS} at a time", GREET, Goal(0.9, (BARE,))),
    _piece("typed", "typed JSON `POST`", POST, Goal(1.3, (FASTAPI,))),
    _piece("routes", f"one of {MANY_ROUTES} routes", SECTIONS, None, BENCHMARK_ROUTES=str(MANY_ROUTES)),
)
