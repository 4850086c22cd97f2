"""One client's use of one stream: how far it has come, how it ended, and a way to break it. For the page to tell of.

It is the view of one process: with several workers (``-w``) a page sees the streams of the one that it is connected to.
"""

from __future__ import annotations

import itertools
import math
from types import TracebackType
from typing import Final, Literal
from weakref import WeakValueDictionary

import msgspec
import trio

from trioweb import Request
from trioweb.hub import MemoryHub

KEPT: Final = 100
"""Lines that are kept for viewers who come later, or who come back."""

Kind = Literal["started", "finished", "left", "failed"]


class Line(msgspec.Struct):
    """One thing that happened to a stream."""

    visit: int
    kind: Kind
    text: str
    made: int


class BrokenOnPurpose(Exception):
    """What a producer raises because a visitor of the page asked for it."""


class Visit:
    """A context manager for the generator that produces a stream: how its block is left tells how the stream ended.

    That works in an ``async`` generator and in a plain one, which runs in a worker thread.

    Args:
        request: whose stream it is.
        name: what it is called.
        unit: what is counted.
        mark: the bytes that end one of these, as they leave; ``b""`` where each byte is one.
    """

    _numbers = itertools.count(1)

    def __init__(self, request: Request, name: str, unit: str, mark: bytes = b"") -> None:
        self.number = next(self._numbers)
        self.name = name
        self.unit = unit
        self.made = 0
        """Units that the producer has made."""
        self.handed = 0
        """Units that have left the channel. The rest waits in it."""
        self.sent = 0
        """Bytes that have left it."""
        self.broken = False
        """The producer is to fail at its next step."""
        self.over = False
        """Its response has ended."""
        self._mark = mark
        self._request = request
        self._token = trio.lowlevel.current_trio_token()
        board.all[self.number] = self

    @property
    def headers(self) -> dict[str, str]:
        """What tells the page which of the open streams is its own."""
        return {"x-visit": str(self.number), "cache-control": "no-store"}

    def step(self, amount: int = 1) -> None:
        """Count what the producer is about to give.

        Raises:
            BrokenOnPurpose: somebody wants to see what happens then.
        """
        if self.broken:
            raise BrokenOnPurpose("broken on purpose")
        self.made += amount

    def hand_over(self, data: bytes) -> None:
        """Count what leaves the channel."""
        self.sent += len(data)
        self.handed += data.count(self._mark) if self._mark else len(data)

    def __enter__(self) -> None:
        self._report("started", "started")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        amount = f"{self.made / 2**20:.0f} MiB" if self.unit == "bytes" else f"{self.made:,} {self.unit}"
        so_far = f"after {amount}"
        if error is None:
            self._report("finished", f"finished {so_far}")
        elif isinstance(error, Exception):
            self._report("failed", f"failed {so_far}: {error}")
        elif self._request.is_disconnected:
            self._report("left", f"client left {so_far}")
        else:
            self._report("failed", f"broken off {so_far}")  # a time limit, or the server stops

    def _report(self, kind: Kind, text: str) -> None:
        line = Line(self.number, kind, f"{self.name}: {text}", self.made)
        self._token.run_sync_soon(board.add, self, line)  # the one way that is right in a thread and in a task


class Board:
    """Which visits there are, and what happened to them: the lines are the topic ``lines`` of a hub."""

    def __init__(self) -> None:
        self.all: WeakValueDictionary[int, Visit] = WeakValueDictionary()
        self.open: dict[int, Visit] = {}
        self.hub = MemoryHub(history=KEPT)
        self._put, self._take = trio.open_memory_channel[Line](math.inf)  # a visit does not wait

    def add(self, visit: Visit, line: Line) -> None:
        """Note a line."""
        if line.kind == "started" and not visit.over:
            self.open[visit.number] = visit
        self._put.send_nowait(line)

    def close(self, visit: Visit) -> None:
        """Its response has ended, which may be after its producer."""
        visit.over = True
        self.open.pop(visit.number, None)

    async def publish(self) -> None:
        """Publish the lines, in their order, until cancelled."""
        async for line in self._take:
            await self.hub.publish("lines", line, event="line")


board: Final = Board()
