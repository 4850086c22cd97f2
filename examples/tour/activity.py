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

router = Router()


class Level(msgspec.Struct):
    """How far a stream has come: what was made, what of it has left the channel, and how many bytes that was."""

    visit: int
    name: str
    unit: str
    made: int
    handed: int
    sent: int


async def follow(seen: int) -> AsyncIterator[ServerSentEvent]:
    """Each line after those that were seen, and the levels of all open streams."""
    while True:
        news = board.news  # taken before looking, so that nothing is missed in between
        for number, line in list(board.lines):
            if number > seen:
                seen = number
                yield ServerSentEvent(line, event="line", id=str(number))
        levels = [Level(v.number, v.name, v.unit, v.made, v.handed, v.sent) for v in board.open.values()]
        yield ServerSentEvent(levels, event="streams")  # "open" is EventSource's own
        with trio.move_on_after(INTERVAL if levels else math.inf):
            await news.wait()


@router.get("/activity")
async def activity(request: Request) -> EventStreamResponse:
    """What happens on this server, from the line after the one that a returning browser has seen last."""
    seen = request.last_event_id or ""
    # A number beyond the newest is one from before a restart.
    return EventStreamResponse(follow(int(seen) if seen.isdecimal() and int(seen) <= board.newest else 0))


@router.post("/visits/{number:int}/break")
async def break_on_purpose(number: int) -> None:
    """Have the producer of an open stream fail at its next step."""
    if number not in board.open:
        raise HTTPError(404, f"no stream of visit {number} is open")
    board.open[number].broken = True
