"""A hub: one event for all subscribers, and many events for some. Peers have the best that one writes by hand."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from statistics import median

from tests.benchmarks.contenders import GRANIAN, NODE, OUR_SERVER, OURS, STARLETTE, UVICORN
from tests.benchmarks.crowd import Crowd
from tests.benchmarks.figures import Goal, Measure
from tests.benchmarks.rounds import KIB, MIB, Piece, Turn
from tests.benchmarks.servers import Server

FEW = 100
"""Subscribers that get an event each millisecond."""
ANNOUNCE = "/hub/publish/{}"


@contextlib.contextmanager
def _subscribers(turn: Turn) -> Iterator[tuple[Server, Crowd]]:
    with turn.bench.start(turn.contender, {"BENCHMARK_HUB": "1"}) as server:
        server.wait_until_ready()
        with contextlib.closing(Crowd(server.port, "/hub/events", "")) as crowd:
            crowd.grow(FEW)
            crowd.publish(0, ANNOUNCE)
            yield server, crowd


def _fan_out(turn: Turn) -> Mapping[str, float]:
    """One event for all: seconds until the last has it, and the CPU time of each."""
    with _subscribers(turn) as (server, crowd):
        before, size = server.memory(), FEW + turn.bench.sizes.crowds[-1]
        crowd.grow(size)
        idle = (server.memory() - before) / (size - FEW) / KIB
        seconds, costs = [], []
        for number in range(1, turn.bench.sizes.events + 1):
            spent = server.cpu_seconds()
            seconds.append(crowd.publish(number, ANNOUNCE))
            costs.append((server.cpu_seconds() - spent) / size)
        crowd.check()
    return {"hub_idle": idle, "hub_event": median(seconds) * 1e3, "hub_cpu": median(costs) * 1e6}


def _pace(turn: Turn) -> Mapping[str, float]:
    """An event each millisecond: the CPU time of each, and what is left of them when they have gone by."""
    with _subscribers(turn) as (server, crowd):
        first = turn.bench.sizes.paced // 4  # fills what is kept of the past
        crowd.hear_many(f"/hub/run/1/{first}", first)
        before, spent = server.memory(), server.cpu_seconds()
        rest = turn.bench.sizes.paced - first
        crowd.hear_many(f"/hub/run/{first + 1}/{rest}", rest)
        used, grown = server.cpu_seconds() - spent, server.memory() - before
        crowd.check()
    return {"paced_cpu": used / rest * 1e6, "paced_grown": max(0, grown) / MIB}


CONTENDERS = (OURS, STARLETTE, OUR_SERVER, UVICORN, GRANIAN, NODE)

PIECES = (
    Piece(
        "hub", (
            Measure("hub_idle", "idle subscriber of a hub, of 10,000", "KiB", shown=False),
            Measure("hub_event", "an event of a hub to 10,000 subscribers", "ms", shown=False),
            Measure("hub_cpu", "CPU time of that, a subscriber", "us", shown=False),
        ),
        _fan_out, rounds=0.2, alone=True, warm_up=False, only=CONTENDERS,
    ),
    Piece(
        "hub_paced", (
            Measure("paced_cpu", f"an event to {FEW} subscribers, 1,000 a second, CPU", "us", shown=False),
            Measure("paced_grown", "growth meanwhile", "MiB", goals=(Goal(2.0),), margin=2.0, shown=False),
        ),
        _pace, rounds=0.2, alone=True, warm_up=False, only=CONTENDERS,
    ),
)  # fmt: skip
