"""How busy the machine is, from ``/proc``, as server-sent events: the browser reconnects by itself, if it must."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import msgspec
import trio

from examples.tour.visits import Visit
from trioweb import EventStreamResponse, Request, Router, ServerSentEvent

PROC: Final = Path("/proc")
INTERVAL: Final = 0.5
"""Seconds between two events."""

router = Router()


class Sample(msgspec.Struct):
    """What ``/proc`` says at one moment; ``busy`` and ``total`` count ticks of all processors since the start."""

    busy: int
    total: int
    memory: float
    load: float


class Load(msgspec.Struct):
    """One event: shares of the processors and of the memory that are in use, and the load average of a minute."""

    processors: float
    memory: float
    load: float


def sample(proc: Path) -> Sample:
    """Read ``/proc`` once.

    Raises:
        OSError: this system has none.
        ValueError, KeyError, IndexError: it has one of another kind.
    """
    ticks = [int(text) for text in (proc / "stat").read_text().splitlines()[0].split()[1:9]]
    lines = (line.split() for line in (proc / "meminfo").read_text().splitlines())
    memory = {words[0]: int(words[1]) for words in lines}
    idle = ticks[3] + ticks[4]  # waiting for a disk is idle too
    free = memory["MemAvailable:"] / memory["MemTotal:"]
    return Sample(sum(ticks) - idle, sum(ticks), 1 - free, float((proc / "loadavg").read_text().split()[0]))


async def samples(visit: Visit, proc: Path = PROC) -> AsyncIterator[ServerSentEvent]:
    """An event each half second; on a system without ``/proc`` one that says so."""
    with visit:
        try:
            before = await trio.to_thread.run_sync(sample, proc)
        except (OSError, ValueError, LookupError):
            yield ServerSentEvent("this system has no /proc to read", event="unavailable")
            return
        while True:
            await trio.sleep(INTERVAL)
            now = await trio.to_thread.run_sync(sample, proc)
            passed = max(now.total - before.total, 1)
            visit.step()
            yield ServerSentEvent(Load((now.busy - before.busy) / passed, now.memory, now.load), event="load")
            before = now


@router.get("/load")
async def load(request: Request) -> EventStreamResponse:
    """The machine's load, for as long as someone looks."""
    visit = Visit(request, "load events", "events", b"\n\n")
    return EventStreamResponse(samples(visit), headers=visit.headers)
