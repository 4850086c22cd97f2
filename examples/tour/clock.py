"""A clock that never ends, and one that breaks: a stream that failed must not look like one that is complete."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Final

import trio

from examples.tour.visits import Visit
from trioweb import Request, Router, StreamingResponse

INTERVAL: Final = 0.25
"""Seconds between two ticks."""

router = Router()


class SpringBroke(Exception):
    """What goes wrong in a clock."""


async def ticks(visit: Visit, last: int | None = None) -> AsyncIterator[str]:
    """The time, a line each tick; after the ``last`` one the spring breaks.

    By then the status 200 has long been sent. The connection is cut instead, so that the client knows.
    """
    with visit:
        while visit.made != last:
            visit.step()
            yield f"{datetime.now().astimezone():%H:%M:%S.%f}"[:-4] + "\n"
            await trio.sleep(INTERVAL)
        raise SpringBroke("the spring broke")


@router.get("/clock")
async def clock(request: Request) -> StreamingResponse:
    """Ticks until the client leaves."""
    visit = Visit(request, "clock", "ticks", b"\n")
    return StreamingResponse(ticks(visit), headers=visit.headers)


@router.get("/clock/breaks-after/{last:int}")
async def broken_clock(request: Request, last: int) -> StreamingResponse:
    """Ticks until it breaks."""
    visit = Visit(request, "broken clock", "ticks", b"\n")
    return StreamingResponse(ticks(visit, last), headers=visit.headers)
