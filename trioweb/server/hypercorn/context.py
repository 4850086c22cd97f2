"""What the connections of a worker share, with the interface of Hypercorn's ``WorkerContext``.

This module imports nothing of Hypercorn: a worker that only serves HTTP/1.1 never loads its protocols.
"""

from __future__ import annotations

from typing import Final

import trio


class Event:
    """An event with the interface of Hypercorn's, around one of trio's."""

    def __init__(self) -> None:
        self.own = trio.Event()

    async def clear(self) -> None:
        """Unset it."""
        self.own = trio.Event()

    async def wait(self) -> None:
        """Wait until it is set."""
        await self.own.wait()

    async def set(self) -> None:
        """Set it."""
        self.own.set()

    def is_set(self) -> bool:
        """Whether it is set."""
        return self.own.is_set()


class Context:
    """What connections share.

    Args:
        max_requests: requests after which the worker is to be replaced; ``None`` for no limit.

    Attributes:
        terminate: set when the worker is to stop.
        terminated: set when it stops.
    """

    event_class: Final = Event
    sleep = staticmethod(trio.sleep)
    time = staticmethod(trio.current_time)

    def __init__(self, max_requests: int | None) -> None:
        self.max_requests = max_requests
        self.requests = 0
        self.terminate = Event()
        self.terminated = Event()

    @property
    def single_task_class(self) -> object:
        """The class of HTTP/3's timers."""
        from hypercorn.trio.worker_context import TrioSingleTask  # noqa: PLC0415 - only for HTTP/3

        return TrioSingleTask

    async def mark_request(self) -> None:
        """Count a request."""
        if self.max_requests is not None:
            self.requests += 1
            if self.requests > self.max_requests:
                await self.terminate.set()
