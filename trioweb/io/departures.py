"""Reports clients that have left, where a server does not: one task for all requests of a loop.

A timer for each request would take a core for 10,000 streams that wait. To ask the system for each of them, twice a
second, would be 20,000 calls a second.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Final

import trio

from trioweb.io.poller import CAN_POLL, Poller

TASK: Final = "the watch over all clients"
"""The name of the task."""

_departures: trio.lowlevel.RunVar[Poller] = trio.lowlevel.RunVar("trioweb's departures")


def departures() -> Poller | None:
    """That of the loop that runs: it tells its listeners only of clients that leave.

    ``None`` where there is no epoll, and while the process may open no more files. Does not block.
    """
    if not CAN_POLL:
        return None
    with suppress(LookupError):
        return _departures.get()
    try:
        made = Poller(0)
    except OSError:
        return None
    _departures.set(made)
    trio.lowlevel.spawn_system_task(made.run, name=TASK)
    return made
