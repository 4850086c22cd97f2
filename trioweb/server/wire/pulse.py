"""What the connections of a worker share: one task for all time limits, and the server's own headers.

A timer for each read would cost more CPU than the rest of a small request. So one task checks all time limits, and the
rates of slow clients, a few times per second.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextvars import copy_context
from typing import Final, Protocol

import trio

from trioweb.ground.pace import AUTO, Pace
from trioweb.io.poller import CAN_POLL, Poller
from trioweb.io.transport import GIVEN_RATE
from trioweb.server.config import ServerConfig
from trioweb.server.streams import LINGER_SECONDS

LOOKS: Final = 8
"""Checks within the shortest time limit: so a limit is exceeded by at most an eighth."""
SHORTEST, LONGEST = 0.02, 0.25
"""Limits of the seconds between two checks."""


class Timed(Protocol):
    """Something with a time limit."""

    due: float

    def overdue(self) -> None:
        """Called when ``due`` has passed. Must not block."""


class Pulse:
    """The time limits of a worker's connections. ``run`` is a task of the worker.

    Args:
        config: the server's configuration.
        nursery: for further tasks of connections.
        min_rate: see the attribute.
    """

    def __init__(self, config: ServerConfig, nursery: trio.Nursery, min_rate: float | None = None) -> None:
        self.nursery = nursery
        self.min_rate = min_rate
        """Bytes per second that a client must send, or take, while the server waits; ``None`` for no limit."""
        self.poller = Poller() if CAN_POLL else None
        limits = [config.head_timeout, config.body_timeout, config.read_timeout, config.keep_alive_timeout]
        shortest = min([LINGER_SECONDS, *(limit for limit in limits if limit)])
        self.extensions: dict[str, object] = {"http.response.pathsend": {}}
        """The extensions of each request's scope."""
        if config.min_rate != AUTO:
            self.extensions[GIVEN_RATE] = config.min_rate
        self.root_path: str = config.root_path
        """The path that the app is mounted under."""
        self._interval = min(LONGEST, max(SHORTEST, shortest / LOOKS))
        self._config = config
        self._timed: set[Timed] = set()
        self._writes: set[Writes] = set()
        self._not_empty = trio.lowlevel.ParkingLot()
        self._second = -1
        self.context = copy_context()
        """The context of each request, without variables of another."""
        self.now = 0.0
        """Trio's clock at the last check, up to one interval old."""
        self.fields = b""
        """The server's own header lines, beginning with ``date``."""
        self._update()

    def add(self, timed: Timed) -> None:
        """Check a time limit until ``discard``."""
        self._wake()
        self._timed.add(timed)

    def discard(self, timed: Timed) -> None:
        """Stop checking a time limit."""
        self._timed.discard(timed)

    def watch_writes(self, writes: Writes) -> None:
        """Check a client's rate until ``forget_writes``."""
        self._wake()
        self._writes.add(writes)

    def forget_writes(self, writes: Writes) -> None:
        """Stop checking a client's rate."""
        self._writes.discard(writes)

    def _wake(self) -> None:
        if not (self._timed or self._writes):
            self._update()
            self._not_empty.unpark_all()

    def after(self, seconds: float | None) -> float:
        """The time in ``seconds``; infinity for ``None``."""
        return math.inf if seconds is None else self.now + seconds

    async def run(self) -> None:
        """Check until cancelled."""
        while True:
            if not (self._timed or self._writes):
                await self._not_empty.park()
            await trio.sleep(self._interval)
            self._update()
            self._look(self.now)

    def _look(self, now: float) -> None:
        # A function of its own: a local variable of ``run`` would keep the last connection alive.
        for timed in [timed for timed in self._timed if timed.due <= now]:
            timed.overdue()
        for writes in list(self._writes):
            writes.look(now)

    def _update(self) -> None:
        self.now = trio.current_time()
        if int(self.now) != self._second:
            self._second = int(self.now)
            self.fields = b"".join(b"%b: %b\r\n" % field for field in self._config.response_headers("h11"))


class Writes:
    """The writes of one connection or stream that wait for its client.

    A wait that ends before the next check costs only two operations on a set.

    Args:
        pulse: calls ``look``.
        taken: returns the bytes that the client has taken; ``None`` if that is not known.
        cut: called if the client is too slow.
    """

    __slots__ = ("_cut", "_pace", "_pulse", "_taken", "_waiting", "_watched")

    def __init__(self, pulse: Pulse, taken: Callable[[], int | None], cut: Callable[[], None]) -> None:
        self._pulse = pulse
        self._taken = taken
        self._cut = cut
        self._pace = Pace(None)
        self._waiting = 0
        self._watched = False  # by a first `look` in this wait

    def begin(self, rate: float | None) -> None:
        """A write begins to wait. The client must take ``rate`` bytes per second."""
        self._pace.rate = rate
        self._watched = False
        self._waiting += 1
        if rate is not None:
            self._pulse.watch_writes(self)

    def end(self) -> None:
        """A write waits no more."""
        self._waiting -= 1
        if not self._waiting:
            self._pulse.forget_writes(self)

    def look(self, now: float) -> None:
        """Check how much the client has taken."""
        taken = self._taken()
        if taken is None:
            return
        if not self._watched:
            self._watched = True
            self._pace.start(now, taken)
        elif self._pace.look(now, taken):
            self._cut()
