"""Event streams that wait, and an event for all of them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from statistics import median

from tests.benchmarks.contenders import TWINS
from tests.benchmarks.crowd import Crowd
from tests.benchmarks.figures import Measure
from tests.benchmarks.rounds import KIB, Piece, Turn

FIRST = 10
"""Streams that a server has had before its memory is looked at."""
NAMES = ("few", "many")


def _crowd(path: str, names: tuple[str, ...]) -> Callable[[Turn], Mapping[str, float]]:
    def sample(turn: Turn) -> Mapping[str, float]:
        got: dict[str, float] = {}
        with turn.fresh_server() as server, contextlib.closing(Crowd(server.port, path)) as crowd:
            crowd.grow(FIRST)
            crowd.publish(0)
            before, number = server.memory(), 0
            for name, size in zip(names, turn.bench.sizes.crowds, strict=True):
                crowd.grow(size)
                got[f"idle_{name}"] = (server.memory() - before) / (size - FIRST) / KIB
                seconds = []
                for _ in range(turn.bench.sizes.events):
                    number += 1
                    seconds.append(crowd.publish(number))
                got[f"event_{name}"] = median(seconds) * 1e3
            crowd.check()
        return got

    return sample


PIECES = (
    Piece(
        "idle", (
            Measure("idle_few", "idle event stream, of 1,000", "KiB"),
            Measure("idle_many", "idle event stream, of 10,000", "KiB"),
            Measure("event_few", "an event to 1,000 streams, until the last has it", "ms"),
            Measure("event_many", "an event to 10,000 streams, until the last has it", "ms"),
        ),
        _crowd("/events", NAMES), rounds=0.2, alone=True, warm_up=False,
    ),
    Piece(
        "idle_request", (
            Measure("idle_request_few", "idle stream whose handler takes `request`, of 1,000", "KiB", shown=False),
            Measure("idle_request_many", "idle stream whose handler takes `request`, of 10,000", "KiB"),
            Measure("event_request_few", "an event to 1,000 streams whose handler takes `request`", "ms", shown=False),
            Measure("event_request_many", "an event to 10,000 streams whose handler takes `request`", "ms"),
        ),
        _crowd("/request/events", tuple(f"request_{name}" for name in NAMES)), rounds=0.2, alone=True, warm_up=False,
        only=TWINS,
    ),
)  # fmt: skip
