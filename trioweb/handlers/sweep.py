"""Abort responses that their clients do not receive, from one task for all of an app's responses.

It looks at them a few times within the write timeout. So a small response needs no task or timer: only to be added to a
dict and removed again.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final, Protocol

import trio

from trioweb.ground.pace import Pace
from trioweb.io.outbox import Outbox
from trioweb.io.transport import LOOK_SECONDS, Transport

LOOKS: Final = 4
"""Looks within the write timeout: a write is aborted after the timeout, at most one look later."""


class Writer(Protocol):
    """The ``Call`` of a response: its folder is above this one."""

    def find_transport(self) -> Transport:
        """The transport of the response."""
        ...

    def rate_for(self, timeout: float | None) -> float | None:
        """Bytes a second that the client must receive, if it may receive nothing for ``timeout`` seconds."""
        ...


class Taking:
    """Measures how fast a client receives a response, on a server that reports how much the client has received.

    Args:
        outbox: sends the response.
        rate: the least bytes a second.
        on_slow: called once if the client is slower.
    """

    __slots__ = ("_called", "_on_slow", "_outbox", "_pace", "_waiting")

    def __init__(self, outbox: Outbox, rate: float, on_slow: Callable[[], object]) -> None:
        self._outbox = outbox
        self._on_slow = on_slow
        self._pace = Pace(rate)
        self._waiting = False  # the last look found a write in progress
        self._called = False

    def look(self, now: float) -> None:
        """Measure the progress of the client since the last look."""
        since = self._outbox.sending_since
        taken = None if since is None else self._outbox.transport.progress(self._outbox.handed)
        if since is None or taken is None or self._called:
            self._waiting = False
        elif not self._waiting:
            self._waiting = True
            self._pace.start(since, taken)
        elif self._pace.look(now, taken, since):
            self._called = True
            self._on_slow()


class WritesInFlight:
    """The responses that are being sent.

    Args:
        write_timeout: seconds after which a write that the client does not receive is aborted; ``None`` for never.
    """

    __slots__ = ("_added", "_write_timeout", "now", "others")

    def __init__(self, write_timeout: float | None) -> None:
        self._write_timeout = write_timeout
        self.now: dict[object, Writer] = {}
        """The ``send`` calls of small responses that have not returned, by any object of the request."""
        self.others: set[Taking] = set()
        """Responses that are not small."""
        self._added: trio.Event | None = None  # `sweep` waits for a response

    def add(self, key: object, call: Writer) -> None:
        """Add a write; the caller removes it from ``now``."""
        self.now[key] = call
        if self._added is not None:
            self._added.set()

    def watch(self, taking: Taking) -> None:
        """Add a response that is not small; the caller removes it from ``others``."""
        self.others.add(taking)
        if self._added is not None:
            self._added.set()

    async def sweep(self) -> None:
        """Abort writes that exceed the write timeout or are too slow, for as long as the app runs."""
        limit = math.inf if self._write_timeout is None else self._write_timeout
        seen: dict[object, tuple[float, Pace]] = {}
        while True:
            if not (self.now or self.others):
                seen = {}
                self._added = trio.Event()
                await self._added.wait()
                self._added = None
            await trio.sleep(min(LOOK_SECONDS, limit / LOOKS))
            seen = self._look(seen, limit)

    def _look(self, seen: dict[object, tuple[float, Pace]], limit: float) -> dict[object, tuple[float, Pace]]:
        # A function of its own: a variable of the task would keep the last response, and all that it holds.
        now = trio.current_time()
        seen = {
            key: seen.get(key) or (now, Pace(writer.rate_for(self._write_timeout))) for key, writer in self.now.items()
        }
        for key, (since, pace) in seen.items():
            if self._is_overdue(key, pace, since, now) or now - since > limit:
                self._break(key)
        for taking in list(self.others):
            taking.look(now)
        return seen

    def _is_overdue(self, key: object, pace: Pace, since: float, now: float) -> bool:
        taken = None if pace.rate is None else self.now[key].find_transport().progress(0)
        if taken is None:
            return False
        if since == now:
            pace.start(now, taken)
            return False
        return pace.look(now, taken)

    async def break_all_after(self, seconds: float) -> None:
        """Abort all writes after some seconds: a server that stops waits no longer for its clients."""
        await trio.sleep(seconds)
        for key in list(self.now):
            self._break(key)

    def _break(self, key: object) -> None:
        self.now[key].find_transport().release(None)
