"""Small responses that nobody takes: found by one task that looks now and then, since they have no watch of their own.

A handler that returns at once pays for two operations on a dict; the look itself is rare.
"""

from __future__ import annotations

from typing import Final, Protocol

import trio

from trioweb.wire.transport import Transport

LOOKS: Final = 4
"""Looks in the time that a write may take: a write is broken after that time, and at most a look later."""


class Writer(Protocol):
    """Who writes: a ``Call``."""

    def find_transport(self) -> Transport:
        """The transport on which it does."""
        ...


class WritesInFlight:
    """The ``send``s of small responses that have not returned. Who sends puts itself in, and takes itself out.

    Args:
        write_timeout: seconds after which a write that was not taken is broken; ``None`` for never.
    """

    __slots__ = ("_asleep", "_some", "_write_timeout", "now")

    def __init__(self, write_timeout: float | None) -> None:
        self._write_timeout = write_timeout
        self.now: dict[object, Writer] = {}
        """By any object of the request's own."""
        self._asleep = False  # there was nothing to look at
        self._some = trio.lowlevel.ParkingLot()

    def add(self, key: object, call: Writer) -> None:
        """Put a write in; who does takes it out of ``now``."""
        self.now[key] = call
        if self._asleep:
            self._asleep = False
            self._some.unpark_all()

    async def sweep(self) -> None:
        """Break, for as long as the app runs, what was not taken within the write timeout."""
        if self._write_timeout is None:
            return
        seen: dict[object, int] = {}
        while True:
            if not self.now:
                self._asleep = True
                await self._some.park()
            await trio.sleep(self._write_timeout / LOOKS)
            seen = {key: seen.get(key, 0) + 1 for key in self.now}
            for key, looks in seen.items():
                if looks > LOOKS:
                    self._break(key)

    async def break_all_after(self, seconds: float) -> None:
        """Break what is there in so many seconds: a server that stops waits no longer, and these would hold it up."""
        await trio.sleep(seconds)
        for key in list(self.now):
            self._break(key)

    def _break(self, key: object) -> None:
        self.now[key].find_transport().release(None)
