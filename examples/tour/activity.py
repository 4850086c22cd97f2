"""The server's own view: which streams are open, how far each has come, and how it ended. Itself a stream of events."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from typing import Final

import msgspec
import trio

from examples.tour.visits import board
from trioweb import EventStreamResponse, HTTPError, Request, Router, ServerSentEvent

INTERVAL: Final = 0.1
"""Seconds between two reports on the streams that are open."""
BEGINNING: Final = "0"
"""After this comes all that is kept, behind a gap."""

router = Router()


class Level(msgspec.Struct):
    """How far a stream has come: what was made, what of it has left the channel, and how many bytes that was."""

    visit: int
    name: str
    unit: str
    made: int
    handed: int
    sent: int


async def follow(seen: str) -> AsyncIterator[ServerSentEvent]:
    """Each line after those that were seen, and the levels of all open streams."""
    async with board.hub.subscribe("lines", after=seen) as lines:
        patience = INTERVAL  # what is kept comes first, without a wait
        while True:
            line = None
            with trio.move_on_after(patience):
                line = await anext(lines)
            if line is not None:
                yield ServerSentEvent(line.data, event=line.event, id=line.id)
                patience = min(patience, INTERVAL)
                continue
            levels = [Level(v.number, v.name, v.unit, v.made, v.handed, v.sent) for v in board.open.values()]
            yield ServerSentEvent(levels, event="streams")  # "open" is EventSource's own
            patience = INTERVAL if levels else math.inf


@router.get("/activity")
async def activity(request: Request) -> EventStreamResponse:
    """What happens on this server, from the line after the one that a returning browser has seen last."""
    return EventStreamResponse(follow(request.last_event_id or BEGINNING))


@router.post("/visits/{number:int}/break")
async def break_on_purpose(number: int) -> None:
    """Have the producer of an open stream fail at its next step."""
    if number not in board.open:
        raise HTTPError(404, f"no stream of visit {number} is open")
    board.open[number].broken = True
