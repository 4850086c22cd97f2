"""Small requests, many at a time; and their twins, whose handlers mention more, or stand behind middleware."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.benchmarks.contenders import BARE, FASTAPI, FASTAPI_UVICORN, OUR_SERVER, OURS, TWINS, UVICORN
from tests.benchmarks.figures import Goal, Measure
from tests.benchmarks.load import CONNECTIONS, Small, has_wrk, wrk
from tests.benchmarks.payload import GREETING, ORDER, RECEIPT
from tests.benchmarks.rounds import Piece, Turn

MANY_ROUTES = 300
WARM_UP = 0.3
"""Of the time that counts, what the first round takes."""
GREET = Small(f"^{GREETING}$")
WITH_REQUEST = dataclasses.replace(GREET, path="/request")
POST = Small(f"^{RECEIPT}$", "/order", body=ORDER)
SECTIONS = Small("^%d+ 7$", "/section{}/items/7", MANY_ROUTES)
MIDDLEWARES = "BENCHMARK_MIDDLEWARES"
AHEAD = Goal(1.15, (UVICORN,))
"""Of twins: the handlers of others always take the request."""


@dataclass(frozen=True)
class Shape:
    """A kind of small request.

    Attributes:
        key: its name in data.
        title: its name in the table.
        small: what is asked.
        goals: of the rate.
        settings: what the app needs to be told for it.
        only: the contenders that have it, if not all.
    """

    key: str
    title: str
    small: Small
    goals: tuple[Goal, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    only: tuple[str, ...] | None = None

    def piece(self) -> Piece:
        """The work that it is."""
        rate = Measure(self.key, f"{self.title}, requests a second", "/s", more=True, goals=self.goals)
        cpu = Measure(f"{self.key}_cpu", "CPU time of one", "us", shown=False, race=False)
        return Piece(self.key, (rate, cpu), self._sample, rounds=0.8, settings=self.settings, only=self.only)

    def _sample(self, turn: Turn) -> Mapping[str, float]:
        if not has_wrk():
            turn.notes = dict.fromkeys((self.key, f"{self.key}_cpu"), "needs wrk")
            return {}
        before = turn.running.cpu_seconds()
        seconds = turn.bench.sizes.load * (WARM_UP if turn.warm_up else 1)
        requests, per_second = wrk(turn.running.port, self.small, seconds)
        used = turn.running.cpu_seconds() - before
        return {self.key: per_second, f"{self.key}_cpu": used / requests * 1e6}


def _twin(key: str, title: str, small: Small, *goals: Goal, middlewares: int = 0) -> Shape:
    settings = {MIDDLEWARES: str(middlewares)} if middlewares else {}
    return Shape(key, f"handler {title}", small, (AHEAD, *goals), settings, TWINS)


SHAPES = (
    Shape("greet", f"`GET /`, {CONNECTIONS} at a time", GREET, (Goal(0.9, (BARE,)),)),
    _twin("query", "that takes a query parameter", Small("^7$", "/query?limit=7")),
    _twin("request", "that takes `request`", WITH_REQUEST, Goal(0.9, (BARE,))),
    _twin("awaits", "that awaits once", dataclasses.replace(GREET, path="/awaits")),
    _twin("dependency", "that takes what a dependency gives", dataclasses.replace(GREET, path="/dependency")),
    _twin("middleware", "behind one middleware", GREET, middlewares=1),
    _twin("middlewares", "behind three middlewares", GREET, middlewares=3),
    _twin("middleware_request", "that takes `request`, behind one middleware", WITH_REQUEST, Goal(0.85, (BARE,)),
          middlewares=1),
    Shape("typed", "typed JSON `POST`", POST, (Goal(1.3, (FASTAPI,)), Goal(1.1, (UVICORN,)))),
    Shape("pydantic", "`POST` with a model of pydantic's", dataclasses.replace(POST, path="/model"),
          (Goal(1.3, (FASTAPI, FASTAPI_UVICORN)),), {"BENCHMARK_PYDANTIC": "1"},
          (OURS, OUR_SERVER, FASTAPI, FASTAPI_UVICORN)),
    Shape("routes", f"one of {MANY_ROUTES} routes", SECTIONS, settings={"BENCHMARK_ROUTES": str(MANY_ROUTES)}),
)  # fmt: skip
PIECES = tuple(shape.piece() for shape in SHAPES)
