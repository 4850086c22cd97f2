"""The server's own view: which streams are open, how far each has come, and how it ended. Itself a stream of events.

It is the view of one process: with several workers (``-w``) a page sees the streams of the one that it is connected to.
"""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Final, Literal

import msgspec
import trio

from trioweb import EventStreamResponse, Request, Router, ServerSentEvent

KEPT: Final = 100
"""Lines that are kept for viewers who come later, or who come back."""
INTERVAL: Final = 0.25
"""Seconds between two reports on the streams that are open."""

router = Router()


class Line(msgspec.Struct):
    """One thing that happened to a stream."""

    visit: int
    kind: Literal["started", "finished", "left", "failed"]
    text: str
    count: int


class Visit:
    """One client's use of one stream: a context manager for the generator that produces it.

    How the block is left tells how the stream ended. That works in an ``async`` generator and in a plain one, which
    runs in a worker thread.
    """

    _numbers = itertools.count(1)

    def __init__(self, request: Request, name: str, unit: str) -> None:
        self.number = next(self._numbers)
        self.name = name
        self.unit = unit
        self.count = 0
        self._request = request
        self._token = trio.lowlevel.current_trio_token()

    @property
    def headers(self) -> dict[str, str]:
        """What tells the page which of the open streams is its own."""
        return {"x-visit": str(self.number), "cache-control": "no-store"}

    def __enter__(self) -> None:
        self._report("started", "started")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        amount = f"{self.count / 2**20:.0f} MiB" if self.unit == "bytes" else f"{self.count:,} {self.unit}"
        so_far = f"after {amount}"
        if error is None:
            self._report("finished", f"finished {so_far}")
        elif isinstance(error, Exception):
            self._report("failed", f"failed {so_far}: {error}")
        elif self._request.is_disconnected:
            self._report("left", f"client left {so_far}")
        else:
            self._report("failed", f"broken off {so_far}")  # a time limit, or the server stops

    def _report(self, kind: Literal["started", "finished", "left", "failed"], text: str) -> None:
        line = Line(self.number, kind, f"{self.name}: {text}", self.count)
        self._token.run_sync_soon(_publish, self, line)  # the one way that is right in a thread and in a task


_lines: deque[tuple[int, Line]] = deque(maxlen=KEPT)
_open: dict[int, Visit] = {}
_line_numbers = itertools.count(1)
_news = trio.Event()


def _publish(visit: Visit, line: Line) -> None:
    """Note a line and wake all viewers. Each looks up what it has not seen: there is no queue that could overflow."""
    global _news  # noqa: PLW0603 - an event happens once, so each piece of news has its own
    _lines.append((next(_line_numbers), line))
    if line.kind == "started":
        _open[visit.number] = visit
    else:
        _open.pop(visit.number, None)
    _news.set()
    _news = trio.Event()


async def _follow(seen: int) -> AsyncIterator[ServerSentEvent]:
    while True:
        news = _news  # taken before looking, so that nothing is missed in between
        for number, line in list(_lines):
            if number > seen:
                seen = number
                yield ServerSentEvent(line, event="line", id=str(number))
        counts = {visit.number: [visit.name, visit.count, visit.unit] for visit in _open.values()}
        yield ServerSentEvent(counts, event="streams")  # "open" is EventSource's own
        with trio.move_on_after(INTERVAL if counts else math.inf):
            await news.wait()


@router.get("/activity")
async def activity(request: Request) -> EventStreamResponse:
    """What happens on this server, from the line after the one that a returning browser has seen last."""
    seen = request.last_event_id or ""
    newest = _lines[-1][0] if _lines else 0
    # A number beyond the newest is one from before a restart.
    return EventStreamResponse(_follow(int(seen) if seen.isdecimal() and int(seen) <= newest else 0))
