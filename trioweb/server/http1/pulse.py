"""What all HTTP/1.1 connections of a worker share: one clock for all their time limits, and the headers of a second.

A timer a connection would cost more than the rest of a small request. One task looks a few times a second who is late.
"""

from __future__ import annotations

import math
from contextvars import copy_context
from typing import Any, Final, Protocol

import trio

from trioweb.ground.pace import AUTO
from trioweb.io.transport import GIVEN_RATE
from trioweb.server.config import ServerConfig
from trioweb.server.http1.poller import CAN_POLL, Poller
from trioweb.server.rates import Writes
from trioweb.server.streams import LINGER_SECONDS

LOOKS: Final = 8
"""Looks in the shortest time limit: a client is late by up to one more of them."""
SHORTEST, LONGEST = 0.02, 0.25
"""Bounds on the seconds between two looks."""


class Timed(Protocol):
    """What has a time limit."""

    due: float

    def overdue(self) -> None:
        """Hear that the time is over. Does not block."""


class Pulse:
    """A worker's clock for its connections. ``run`` is a task of the worker.

    Args:
        config: the server's configuration.
        nursery: for connections that go on in another task.
        min_rate: see the attribute.
    """

    def __init__(self, config: ServerConfig, nursery: trio.Nursery, min_rate: float | None = None) -> None:
        self.nursery = nursery
        self.min_rate = min_rate
        """Bytes a second that a client must send, or take, while these are waited for; ``None`` for no limit."""
        self.poller = Poller() if CAN_POLL else None
        limits = [config.head_timeout, config.body_timeout, config.read_timeout, config.keep_alive_timeout]
        shortest = min([LINGER_SECONDS, *(limit for limit in limits if limit)])
        self.extensions: dict[str, Any] = {"http.response.pathsend": {}}
        """Those of each request's scope."""
        if config.min_rate != AUTO:
            self.extensions[GIVEN_RATE] = config.min_rate
        self._interval = min(LONGEST, max(SHORTEST, shortest / LOOKS))
        self._config = config
        self._timed: set[Timed] = set()
        self._writes: set[Writes] = set()
        self._some = trio.lowlevel.ParkingLot()
        self._second = -1
        self.context = copy_context()
        """What each request begins with: no variable of another one."""
        self.now = 0.0
        """The time by trio's clock, as of the last look: a limit may be longer by one interval."""
        self.fields = b""
        """The server's own headers: date, server, alt-svc."""
        self._beat()

    def add(self, timed: Timed) -> None:
        """Watch over something until it is taken out of this."""
        self._wake()
        self._timed.add(timed)

    def discard(self, timed: Timed) -> None:
        """Watch over it no longer."""
        self._timed.discard(timed)

    def watch_writes(self, writes: Writes) -> None:
        """See ``rates.Sweeper``."""
        self._wake()
        self._writes.add(writes)

    def forget_writes(self, writes: Writes) -> None:
        """See ``rates.Sweeper``."""
        self._writes.discard(writes)

    def _wake(self) -> None:
        if not (self._timed or self._writes):
            self._beat()
            self._some.unpark_all()

    def after(self, seconds: float | None) -> float:
        """The time in so many seconds; without a number, never."""
        return math.inf if seconds is None else self.now + seconds

    async def run(self) -> None:
        """Look after what is there, until cancelled."""
        while True:
            if not (self._timed or self._writes):
                await self._some.park()
            await trio.sleep(self._interval)
            self._beat()
            now = self.now
            for timed in [timed for timed in self._timed if timed.due <= now]:
                timed.overdue()
            for writes in list(self._writes):
                writes.look(now)

    def _beat(self) -> None:
        self.now = trio.current_time()
        if int(self.now) != self._second:
            self._second = int(self.now)
            self.fields = b"".join(b"%b: %b\r\n" % field for field in self._config.response_headers("h11"))
