"""Responses that nobody takes, found by one task that looks now and then: they have no watch of their own for it.

A handler that returns at once pays for two operations on a dict; the look itself is rare.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final, Protocol

import trio

from trioweb.ground.pace import Pace
from trioweb.io.outbox import Outbox
from trioweb.io.transport import Transport

LOOKS: Final = 4
"""Looks in the time that a write may take: a write is broken after that time, and at most a look later."""
LOOK_SECONDS: Final = 0.5
"""Seconds between looks, at most, where clients are held to a rate."""


class Writer(Protocol):
    """Who writes: a ``Call``."""

    def find_transport(self) -> Transport:
        """The transport on which it does."""
        ...

    def rate_for(self, timeout: float | None) -> float | None:
        """Bytes a second that its client must take, given for how long it may take nothing."""
        ...


class Taking:
    """Whether a client takes what is sent to it fast enough, on a server that tells how much that is.

    Args:
        outbox: where it leaves.
        rate: says bytes a second; ``None`` for no limit.
        on_slow: called where it is too little.
    """

    __slots__ = ("_on_slow", "_outbox", "_pace", "_rate", "_told", "_watched")

    def __init__(self, outbox: Outbox, rate: Callable[[], float | None], on_slow: Callable[[], object]) -> None:
        self._outbox = outbox
        self._on_slow = on_slow
        self._rate = rate
        self._pace = Pace(None)
        self._watched = False  # since a look
        self._told = False

    def look(self, now: float) -> None:
        """See how much of it the client has taken."""
        since = self._outbox.sending_since
        taken = None if since is None else self._outbox.transport.progress(self._outbox.handed)
        if since is None or taken is None or self._told:
            self._watched = False
        elif not self._watched:
            self._watched = True
            self._pace.rate = self._rate()
            self._pace.start(since, taken)
        elif self._pace.look(now, taken, since):
            self._told = True
            self._on_slow()


class WritesInFlight:
    """The ``send``s of small responses that have not returned. Who sends puts itself in, and takes itself out.

    Args:
        write_timeout: seconds after which a write that was not taken is broken; ``None`` for never.
    """

    __slots__ = ("_asleep", "_some", "_write_timeout", "now", "others")

    def __init__(self, write_timeout: float | None) -> None:
        self._write_timeout = write_timeout
        self.now: dict[object, Writer] = {}
        """By any object of the request's own."""
        self.others: set[Taking] = set()
        """Responses that are not small."""
        self._asleep = False  # there was nothing to look at
        self._some = trio.lowlevel.ParkingLot()

    def add(self, key: object, call: Writer) -> None:
        """Put a write in; who does takes it out of ``now``."""
        self.now[key] = call
        if self._asleep:
            self._wake()

    def watch(self, taking: Taking) -> None:
        """Look at another response; who asks for that takes it out of ``others``."""
        self.others.add(taking)
        if self._asleep:
            self._wake()

    def _wake(self) -> None:
        self._asleep = False
        self._some.unpark_all()

    async def sweep(self) -> None:
        """Break, for as long as the app runs, what was not taken within the write timeout, or comes too slowly."""
        limit = math.inf if self._write_timeout is None else self._write_timeout
        seen: dict[object, tuple[float, Pace]] = {}
        while True:
            if not (self.now or self.others):
                self._asleep = True
                await self._some.park()
            await trio.sleep(min(LOOK_SECONDS, limit / LOOKS))
            now = trio.current_time()
            seen = {
                key: seen.get(key) or (now, Pace(writer.rate_for(self._write_timeout)))
                for key, writer in self.now.items()
            }
            for key, (since, pace) in seen.items():
                if self._is_overdue(key, pace, since, now) or now - since > limit:
                    self._break(key)
            for taking in list(self.others):
                taking.look(now)

    def _is_overdue(self, key: object, pace: Pace, since: float, now: float) -> bool:
        taken = None if pace.rate is None else self.now[key].find_transport().progress(0)
        if taken is None:
            return False
        if since == now:
            pace.start(now, taken)
            return False
        return pace.look(now, taken)

    async def break_all_after(self, seconds: float) -> None:
        """Break what is there in so many seconds: a server that stops waits no longer, and these would hold it up."""
        await trio.sleep(seconds)
        for key in list(self.now):
            self._break(key)

    def _break(self, key: object) -> None:
        self.now[key].find_transport().release(None)
