"""Asks servers whether clients have left that these do not report: one task for all requests of a loop.

A timer for each request would take a core for 10,000 streams that wait.
"""

from __future__ import annotations

from typing import Final, Protocol

import trio

from trioweb.io.transport import LOOK_SECONDS

AT_ONCE: Final = 256
"""Clients that are asked for before other tasks run."""


class Waiter(Protocol):
    """An ``Inbox``, whose module imports this one."""

    def look(self) -> None:
        """Ask the server, and take note of a disconnect. Must not block."""
        ...


class Departures:
    """The requests that wait for their clients to leave; see ``departures``."""

    __slots__ = ("_runs", "_waiters")

    def __init__(self) -> None:
        self._waiters: dict[Waiter, None] = {}
        self._runs = False

    def add(self, waiter: Waiter) -> None:
        """Have it look every ``LOOK_SECONDS``, until ``discard``. Does not block."""
        self._waiters[waiter] = None
        if not self._runs:
            self._runs = True
            trio.lowlevel.spawn_system_task(self._run)

    def discard(self, waiter: Waiter) -> None:
        """Have it look no more. Does not block."""
        self._waiters.pop(waiter, None)

    async def _run(self) -> None:
        while self._waiters:
            await trio.sleep(LOOK_SECONDS)
            left = list(self._waiters)
            while left:
                self._look(left)
                await trio.lowlevel.checkpoint()
        self._runs = False

    def _look(self, left: list[Waiter]) -> None:
        # A function of its own: a variable of the task would keep the last request, and all that it holds.
        for waiter in left[-AT_ONCE:]:
            if waiter in self._waiters:
                waiter.look()
        del left[-AT_ONCE:]


_departures: trio.lowlevel.RunVar[Departures] = trio.lowlevel.RunVar("trioweb's departures")


def departures() -> Departures:
    """Those of the loop that runs."""
    try:
        return _departures.get()
    except LookupError:
        made = Departures()
        _departures.set(made)
        return made
