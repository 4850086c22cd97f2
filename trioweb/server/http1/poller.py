"""One epoll for all connections of a worker: tells which of them are readable, and which clients have disconnected.

Trio's ``wait_readable`` registers the descriptor for each wait, and takes 1.3 KiB while it lasts. Here a descriptor is
registered once, edge-triggered, and a disconnect is reported even if no task reads. One trio task waits for the epoll.
"""

from __future__ import annotations

import select
from contextlib import suppress
from typing import Protocol

import trio

CAN_POLL = hasattr(select, "epoll")
"""Only on Linux; elsewhere each connection calls ``wait_readable``."""
READ, LEFT = (1, 0x2018) if not CAN_POLL else (
    select.EPOLLIN,
    select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR,
)  # fmt: skip
"""Events: data has come; the other end has shut down for writing, or the connection is broken."""


class Listener(Protocol):
    """Receives the events of a descriptor."""

    def heard(self, events: int) -> None:
        """Take events, which are reported once. Must not block."""
        ...

    def deserted(self) -> None:
        """No more events will come, since the worker ends. Must not block."""
        ...


class Poller:
    """Passes events to listeners. ``run`` is a task of the worker."""

    __slots__ = ("_epoll", "_listeners")

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._listeners: dict[int, Listener] = {}

    def add(self, fd: int, listener: Listener) -> None:
        """Report events of a descriptor, also those that are pending, until ``discard``."""
        if self._epoll.closed:
            listener.deserted()
            return
        self._listeners[fd] = listener
        self._epoll.register(fd, READ | select.EPOLLRDHUP | select.EPOLLET)

    def discard(self, fd: int) -> None:
        """Stop reporting. Call it before the descriptor is closed: epoll keeps it if a forked process has it open."""
        if self._listeners.pop(fd, None) is not None:
            with suppress(OSError, ValueError):
                self._epoll.unregister(fd)

    async def run(self) -> None:
        """Report events until cancelled; then call ``deserted`` of all listeners."""
        fd, poll, listeners = self._epoll.fileno(), self._epoll.poll, self._listeners
        try:
            while True:
                found = poll(0)
                if not found:
                    await trio.lowlevel.wait_readable(fd)
                    continue
                for known, events in found:
                    listener = listeners.get(known)
                    if listener is not None:
                        listener.heard(events)
                listener = None  # or the last connection would be kept until another one has news
                await trio.lowlevel.checkpoint()  # on a busy worker more events have come by then: no wait
        finally:
            self._epoll.close()
            for listener in list(listeners.values()):
                listener.deserted()
