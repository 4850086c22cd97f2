"""Clients that take what is written to them too slowly: found by a worker's pulse, and left."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from trioweb.ground.pace import Pace
from trioweb.io.tcp import TCPSocket, bytes_taken


class Sweeper(Protocol):
    """Who looks a few times a second."""

    min_rate: float | None

    def watch_writes(self, writes: Writes) -> None:
        """Look at it until ``forget_writes``. Does not block."""
        ...

    def forget_writes(self, writes: Writes) -> None:
        """Look at it no more. Does not block."""
        ...


class Writes:
    """The writes of one connection that wait for its client.

    A wait that is over before the next look costs nothing but two operations on a set.

    Args:
        sweeper: who calls ``look``.
        sock: the connection.
        cut: called where the client is too slow.
    """

    __slots__ = ("_cut", "_pace", "_sock", "_sweeper", "_waiting", "_watched")

    def __init__(self, sweeper: Sweeper, sock: TCPSocket, cut: Callable[[], None]) -> None:
        self._sweeper = sweeper
        self._sock = sock
        self._cut = cut
        self._pace = Pace(None)
        self._waiting = 0
        self._watched = False  # since a look

    def begin(self, rate: float | None) -> None:
        """A write waits for the client, which is held to this rate."""
        self._pace.rate = rate
        self._watched = False
        self._waiting += 1
        if rate is not None:
            self._sweeper.watch_writes(self)

    def end(self) -> None:
        """It waits no more."""
        self._waiting -= 1
        if not self._waiting:
            self._sweeper.forget_writes(self)

    def look(self, now: float) -> None:
        """See how much the client has taken."""
        taken = bytes_taken(self._sock)
        if taken is None:
            return
        if not self._watched:
            self._watched = True
            self._pace.start(now, taken)
        elif self._pace.look(now, taken):
            self._cut()
